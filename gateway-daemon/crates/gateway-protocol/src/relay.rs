//! The one loop that moves the bytes of sans-I/O protocols: reading, writing, back-pressure,
//! half-close, time limits and the end.
//!
//! Both directions live in one task, as one poll function. A turn reads what a side has, gives it
//! to the [`Session`], and writes what comes out straight from where it was read; only what the
//! receiver does not take, and frames that are not complete, are copied and kept. So an exchange
//! costs a read and a write per direction and no wake-up besides the sockets' own, and a session
//! that waits owns no buffer.
//!
//! - A side is read only while the other side takes what it gets, and while what the gateway
//!   itself has to tell it is bounded: memory stays bounded by one turn and one frame.
//! - The last byte of a side is passed on as such; the other direction goes on.
//! - An end that is not the peers' own wish is told apart: a stream that was cut short ends with a
//!   reset, never with the clean end that a receiver would take for all of it.
mod buffers;
mod closing;
mod end;
mod idle;
mod open;
pub mod reactor;
mod scratch;
mod send;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
pub mod turn;

pub use stream::Stream;

use crate::meter::Meter;
use crate::protocol::{Closed, Link};
use crate::session::{Session, Side};
use crate::stop::Stop;
use crate::wire::Wire;
use closing::{Cause, Closing};
use end::End;
use gateway_core::governor::Ending;
use gateway_core::{Governor, SessionEnd};
use nix::sys::epoll::EpollFlags;
use open::Open;
use reactor::Handed;
use socket::Socket;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;

/// After this many rounds without a pause, other sessions of the thread come first. Far below
/// tokio's own budget, which would let one bulk transfer keep the thread for many milliseconds; an
/// exchange of questions and answers needs two.
const ROUNDS_MAX: usize = 4;

/// What one link may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// The longest incomplete frame that is kept, in bytes. Sessions have limits of their own,
    /// which are lower; this one holds when a session has none.
    pub frame_bytes_max: usize,
    /// A side is not read while more bytes than this, made by the gateway, wait to be taken by it.
    pub made_bytes_max: usize,
    /// How long the last bytes may take to leave.
    pub linger: Duration,
    /// A link that moves no byte for this long is ended. `None`: never.
    pub idle: Option<Duration>,
    /// The same for a link of which one side has sent its last byte: the peers of a link that is
    /// half closed and silent may both be gone, and nothing would tell.
    pub half_closed: Option<Duration>,
}

impl Default for RelayLimits {
    fn default() -> RelayLimits {
        RelayLimits {
            frame_bytes_max: 128 * 1024 * 1024,
            made_bytes_max: 64 * 1024,
            linger: Duration::from_secs(5),
            idle: None,
            half_closed: Some(Duration::from_secs(3600)),
        }
    }
}

/// Runs a session over a link until it ends, with the default [`RelayLimits`]. Needs a tokio
/// runtime with I/O and time.
pub fn run(
    link: Link,
    governor: Governor,
    session: Box<dyn Session>,
) -> impl Future<Output = Closed> + Send {
    run_with(link, governor, session, RelayLimits::default())
}

/// As [`run`], with other limits.
pub fn run_with(
    link: Link,
    governor: Governor,
    session: Box<dyn Session>,
    limits: RelayLimits,
) -> impl Future<Output = Closed> + Send {
    let Link {
        client,
        upstream,
        from_client,
        from_upstream,
        connected: _,
        stop,
        terms: _,
        login: _,
        meter,
        reactor,
    } = link;
    let Some(reactor) = reactor else {
        let client = End::new(client, from_client);
        let upstream = End::new(upstream, from_upstream);
        let relay = Relay::new(client, upstream, stop, meter, governor, session, limits);
        return Run::Here(Box::new(relay));
    };
    let leave = |stream: TcpStream| stream.into_std().map(Socket::new);
    match (client.try_map(leave), upstream.try_map(leave)) {
        (Ok(client), Ok(upstream)) => {
            let client = End::new(client, from_client);
            let upstream = End::new(upstream, from_upstream);
            let relay = Relay::new(client, upstream, stop, meter, governor, session, limits);
            Run::There(reactor.hand_over(relay))
        }
        (client, upstream) => {
            let error = client.err().or(upstream.err());
            Run::Over(Some(Box::new(unmovable(governor, error.as_ref()))))
        }
    }
}

/// A socket could not leave the runtime that it was opened in.
fn unmovable(governor: Governor, error: Option<&std::io::Error>) -> Closed {
    let words = error.map(|error| Arc::from(error.to_string()));
    let ending = Ending {
        end: SessionEnd::Error,
        bytes_up: 0,
        bytes_down: 0,
        error: words,
    };
    Closed {
        governor,
        ending,
        error: None,
    }
}

/// A link that runs in the task that waits for it, or elsewhere.
enum Run {
    Here(Box<Relay<Wire<TcpStream>>>),
    There(Handed),
    Over(Option<Box<Closed>>),
}

impl Future for Run {
    type Output = Closed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Closed> {
        match &mut *self {
            Run::Here(relay) => Pin::new(relay).poll(context),
            Run::There(handed) => Pin::new(handed).poll(context),
            Run::Over(closed) => closed
                .take()
                .map_or(Poll::Pending, |closed| Poll::Ready(*closed)),
        }
    }
}

/// The whole life of a link, over any kind of stream. Written by hand: nested async functions
/// each keep their state at the far end of what they hold, and each poll would visit all of them.
enum Relay<S> {
    Open(Open<S>),
    Closing(Closing<S>, Option<Closed>),
    Over,
}

impl<S: Stream> Relay<S> {
    fn new(
        client: End<S>,
        upstream: End<S>,
        stop: Arc<Stop>,
        meter: Arc<dyn Meter>,
        governor: Governor,
        session: Box<dyn Session>,
        limits: RelayLimits,
    ) -> Relay<S> {
        Relay::Open(Open::new(
            client, upstream, stop, meter, governor, session, limits,
        ))
    }
}

impl Relay<Wire<Socket>> {
    /// The kernel has something to say about a side.
    fn tell(&mut self, side: Side, events: EpollFlags) {
        let socket = match self {
            Relay::Open(open) => Some(&mut open.end_mut(side).stream),
            Relay::Closing(closing, _) => closing.stream_mut(side),
            Relay::Over => None,
        };
        if let Some(socket) = socket {
            socket.stream_mut().tell(events);
        }
    }

    /// The sockets of a link that has not begun to close.
    fn sockets(&self) -> impl Iterator<Item = (Side, &Socket)> {
        let open = match self {
            Relay::Open(open) => Some(open),
            Relay::Closing(..) | Relay::Over => None,
        };
        let sides = [Side::Client, Side::Upstream];
        open.into_iter()
            .flat_map(move |open| sides.map(|side| (side, open.end(side).stream.stream())))
    }

    /// The link cannot be run.
    fn fail(&mut self, side: Side, error: &std::io::Error) {
        if let Relay::Open(_) = self {
            self.abort();
            self.end(Cause::failed(side, error));
        }
    }

    /// Dropping it resets both connections, unless it has begun to say farewell.
    fn abort(&self) {
        self.sockets().for_each(|(_, socket)| socket.abort());
    }
}

impl<S: Stream> Relay<S> {
    /// What ends it from outside, while it is open.
    fn stop(&self) -> Option<Arc<Stop>> {
        match self {
            Relay::Open(open) => Some(open.stop()),
            Relay::Closing(..) | Relay::Over => None,
        }
    }

    fn end(&mut self, cause: Cause) {
        if let Relay::Open(open) = mem::replace(self, Relay::Over) {
            let (closing, closed) = open.close(cause);
            *self = Relay::Closing(closing, Some(closed));
        }
    }
}

impl<S: Stream> Future for Relay<S> {
    type Output = Closed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Closed> {
        loop {
            match &mut *self {
                Relay::Open(open) => {
                    let cause = ready!(open.poll(context));
                    self.end(cause);
                }
                Relay::Closing(closing, closed) => {
                    let bytes_down = ready!(closing.poll(context));
                    if let Some(mut closed) = closed.take() {
                        closed.ending.bytes_down += bytes_down;
                        *self = Relay::Over;
                        return Poll::Ready(closed);
                    }
                }
                // Polled again after its end, which no caller does.
                Relay::Over => return Poll::Pending,
            }
        }
    }
}

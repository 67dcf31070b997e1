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
mod scratch;
mod send;
mod stream;
#[cfg(test)]
mod tests;
pub mod turn;

pub use stream::Stream;

use crate::protocol::{Closed, Link};
use crate::session::{ProtocolError, Session, Side};
use crate::stop::Stop;
use buffers::{Held, Pending};
use closing::{Cause, Closing};
use gateway_core::Governor;
use gateway_core::governor::Ending;
use scratch::Scratch;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};
use turn::{Output, Outputs};

/// After this many rounds without a pause, other sessions of the thread come first. Below tokio's
/// own budget, which would let one bulk transfer keep the thread for several milliseconds.
const ROUNDS_MAX: usize = 16;

/// An incomplete frame up to this size is copied before what is read next, so that it needs no
/// memory of its own to grow in. More would let a peer that sends byte by byte buy a large copy
/// with each of them.
const COPIED_MAX: usize = 16 * 1024;

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
}

impl Default for RelayLimits {
    fn default() -> RelayLimits {
        RelayLimits {
            frame_bytes_max: 128 * 1024 * 1024,
            made_bytes_max: 64 * 1024,
            linger: Duration::from_secs(5),
            idle: None,
        }
    }
}

/// Runs a session over a link until it ends, with the default [`RelayLimits`]. Needs a tokio
/// runtime with I/O and time.
pub async fn run(link: Link, governor: Governor, session: Box<dyn Session>) -> Closed {
    run_with(link, governor, session, RelayLimits::default()).await
}

/// As [`run`], with other limits.
pub async fn run_with(
    link: Link,
    governor: Governor,
    session: Box<dyn Session>,
    limits: RelayLimits,
) -> Closed {
    let Link {
        client,
        upstream,
        from_client,
        from_upstream,
        connected: _,
        stop,
    } = link;
    let client = End::new(client, from_client);
    let upstream = End::new(upstream, from_upstream);
    relay(client, upstream, stop, governor, session, limits).await
}

/// The whole life of a link, over any kind of stream.
async fn relay<S: Stream>(
    client: End<S>,
    upstream: End<S>,
    stop: Arc<Stop>,
    governor: Governor,
    session: Box<dyn Session>,
    limits: RelayLimits,
) -> Closed {
    let mut relay = Relay::new(client, upstream, stop, governor, session, limits);
    let cause = poll_fn(|context| relay.poll(context)).await;
    let Relay {
        client,
        upstream,
        stop,
        governor,
        bytes_up,
        mut bytes_down,
        ..
    } = relay;
    let Cause {
        end,
        error,
        note,
        farewells,
    } = cause;
    Closing::new(client, upstream, farewells, &stop, limits.linger)
        .run(&mut bytes_down)
        .await;
    let words = error.as_ref().map(|error| Arc::from(error.to_string()));
    let ending = Ending {
        end,
        bytes_up,
        bytes_down,
        error: words.or(note.map(Arc::from)),
    };
    Closed {
        governor,
        ending,
        error,
    }
}

/// One side of a link.
#[derive(Debug)]
struct End<S> {
    stream: S,
    /// What it sent and the session did not use yet.
    held: Held,
    /// What it did not take yet.
    pending: Pending,
    /// It has sent its last byte.
    finished: bool,
    /// It was told that nothing more comes.
    told: bool,
    /// It takes no bytes any more. What it said before is still read, since a server that refuses
    /// a client says why and closes at once.
    deaf: Option<Arc<str>>,
}

impl<S: Stream> End<S> {
    fn new(stream: S, held: Vec<u8>) -> End<S> {
        let held = Held::new(held);
        End {
            stream,
            held,
            pending: Pending::default(),
            finished: false,
            told: false,
            deaf: None,
        }
    }

    fn set_deaf(&mut self, error: &io::Error) {
        self.deaf = Some(error.to_string().into());
        self.pending.clear();
    }

    /// Writes what waits. Ready when nothing does.
    fn poll_flush(&mut self, context: &mut Context<'_>, count: &mut u64) -> Poll<()> {
        if self.pending.is_empty() {
            return Poll::Ready(());
        }
        if let Err(error) = ready!(self.pending.poll_flush(&mut self.stream, context, count)) {
            self.set_deaf(&error);
        }
        Poll::Ready(())
    }

    /// Says that nothing more comes, once.
    fn poll_tell(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.told && self.deaf.is_none() {
            // It fails when the peer is gone, which the next read tells as well.
            let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(context));
            self.told = true;
        }
        Poll::Ready(())
    }
}

struct Relay<S> {
    client: End<S>,
    upstream: End<S>,
    stop: Arc<Stop>,
    governor: Governor,
    session: Box<dyn Session>,
    limits: RelayLimits,
    idle: Option<Idle>,
    begun: bool,
    bytes_up: u64,
    bytes_down: u64,
    cleared: bool,
    refused: bool,
    /// The side that sent its last byte first.
    first_finished: Option<Side>,
}

/// Ends links that do not move.
struct Idle {
    after: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Idle {
    fn new(after: Duration) -> Idle {
        let last = Instant::now();
        Idle {
            after,
            last,
            sleep: Box::pin(tokio::time::sleep_until(last + after)),
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(context));
            let due = self.last + self.after;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(due);
        }
    }
}

impl<S: Stream> Relay<S> {
    fn new(
        client: End<S>,
        upstream: End<S>,
        stop: Arc<Stop>,
        governor: Governor,
        session: Box<dyn Session>,
        limits: RelayLimits,
    ) -> Relay<S> {
        let bytes_up = client.held.len() as u64;
        Relay {
            client,
            upstream,
            stop,
            governor,
            session,
            limits,
            idle: limits.idle.map(Idle::new),
            begun: false,
            bytes_up,
            bytes_down: 0,
            cleared: false,
            refused: false,
            first_finished: None,
        }
    }

    const fn end(&self, side: Side) -> &End<S> {
        match side {
            Side::Client => &self.client,
            Side::Upstream => &self.upstream,
        }
    }

    const fn end_mut(&mut self, side: Side) -> &mut End<S> {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Cause> {
        self.stop.register(context.waker());
        if let Some(reason) = self.stop.reason() {
            return Poll::Ready(Cause::stopped(reason));
        }
        match scratch::lend(|scratch| self.poll_rounds(context, scratch)) {
            Ok(()) => {}
            Err(cause) => return Poll::Ready(cause),
        }
        match &mut self.idle {
            Some(idle) => idle.poll(context).map(|()| Cause::idle()),
            None => Poll::Pending,
        }
    }

    /// Moves bytes until neither side has any, or until it is time to let others run.
    fn poll_rounds(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<(), Cause> {
        if !self.begun {
            self.begun = true;
            // Nothing has gone upstream yet, so what the upstream said, it said first.
            self.offer_held(Side::Upstream, context, &mut scratch.outputs)?;
            self.offer_held(Side::Client, context, &mut scratch.outputs)?;
        }
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for from in [Side::Upstream, Side::Client] {
                moved |= self.poll_direction(from, context, scratch)?;
            }
            if self.client.finished && self.upstream.finished && self.is_delivered() {
                return Err(Cause::finished(self.first_finished.unwrap_or(Side::Client)));
            }
            if !moved {
                return Ok(());
            }
            if let Some(idle) = &mut self.idle {
                idle.last = Instant::now();
            }
        }
        // Polled once, it wakes this task after the others and after a look at the sockets.
        let _ = pin!(tokio::task::yield_now()).poll(context);
        Ok(())
    }

    fn is_delivered(&self) -> bool {
        [&self.client, &self.upstream]
            .iter()
            .all(|end| end.told || end.deaf.is_some())
    }

    /// One direction once: what waits is written, then new bytes are read. True when it moved.
    fn poll_direction(
        &mut self,
        from: Side,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Result<bool, Cause> {
        let mut moved = self.poll_flush(from.other(), context)?;
        if self.may_read(from) {
            match self.poll_receive(from, context, scratch) {
                Poll::Ready(result) => {
                    result?;
                    moved = true;
                }
                Poll::Pending => {}
            }
        }
        if self.end(from).finished && self.end(from.other()).pending.is_empty() {
            let _ = self.end_mut(from.other()).poll_tell(context);
        }
        Ok(moved)
    }

    /// True when something was written.
    fn poll_flush(&mut self, to: Side, context: &mut Context<'_>) -> Result<bool, Cause> {
        if self.end(to).pending.is_empty() {
            return Ok(false);
        }
        let mut count = 0;
        let _ = self.end_mut(to).poll_flush(context, &mut count);
        self.count_sent(to, count);
        self.check_deaf(to)?;
        Ok(count > 0)
    }

    fn count_sent(&mut self, to: Side, count: u64) {
        if to == Side::Client {
            self.bytes_down += count;
        }
    }

    /// A side that neither takes nor sends bytes is gone.
    fn check_deaf(&self, side: Side) -> Result<(), Cause> {
        match &self.end(side).deaf {
            Some(words) if self.end(side).finished => Err(Cause::gone(side, words)),
            _ => Ok(()),
        }
    }

    fn may_read(&self, from: Side) -> bool {
        let (end, to) = (self.end(from), self.end(from.other()));
        !end.finished
            && to.pending.is_empty()
            && to.deaf.is_none()
            && end.pending.made() <= self.limits.made_bytes_max
    }

    /// Reads what a side has and takes it through the session.
    fn poll_receive(
        &mut self,
        from: Side,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
    ) -> Poll<Result<(), Cause>> {
        let Scratch { input, outputs } = scratch;
        let end = self.end_mut(from);
        let kept = end.held.len();
        if kept > COPIED_MAX {
            return self.poll_receive_large(from, context, outputs);
        }
        let Some(room) = input.get_mut(kept..) else {
            return Poll::Pending;
        };
        let mut buffer = ReadBuf::new(room);
        if let Err(error) = ready!(Pin::new(&mut end.stream).poll_read(context, &mut buffer)) {
            return Poll::Ready(Err(self.read_failed(from, &error)));
        }
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(self.finish(from, context, outputs));
        }
        // What was kept goes before what was read, only now that something was.
        if let Some(front) = input.get_mut(..kept) {
            front.copy_from_slice(end.held.filled());
        }
        self.count_received(from, read);
        let bytes = input.get(..kept + read).unwrap_or_default();
        let used = self.offer(from, bytes, context, outputs);
        Poll::Ready(used.map(|used| {
            let rest = bytes.get(used..).unwrap_or_default();
            self.end_mut(from).held.replace(rest);
        }))
    }

    /// The same for a frame that is too large for the scratch memory: it grows where it is held.
    fn poll_receive_large(
        &mut self,
        from: Side,
        context: &mut Context<'_>,
        outputs: &mut Outputs,
    ) -> Poll<Result<(), Cause>> {
        let limit = self.limits.frame_bytes_max;
        let end = self.end_mut(from);
        let size = end.held.len() as u64;
        let room = end.held.room(limit);
        if room.is_empty() {
            let limit = limit as u64;
            let limit_name = "limits.frame";
            let error = ProtocolError::TooLarge {
                side: from,
                size,
                limit,
                limit_name,
            };
            return Poll::Ready(Err(Cause::broken(error, false, false)));
        }
        let mut buffer = ReadBuf::new(room);
        if let Err(error) = ready!(Pin::new(&mut end.stream).poll_read(context, &mut buffer)) {
            return Poll::Ready(Err(self.read_failed(from, &error)));
        }
        let read = buffer.filled().len();
        if read == 0 {
            return Poll::Ready(self.finish(from, context, outputs));
        }
        end.held.extend(read);
        self.count_received(from, read);
        Poll::Ready(self.offer_held(from, context, outputs))
    }

    fn count_received(&mut self, from: Side, read: usize) {
        if from == Side::Client {
            self.bytes_up += read as u64;
        }
    }

    fn read_failed(&self, from: Side, error: &io::Error) -> Cause {
        match &self.end(from).deaf {
            // The write that failed before says more than the read that fails because of it.
            Some(words) => Cause::gone(from, words),
            None => Cause::failed(from, error),
        }
    }

    /// Offers what is held, without a read.
    fn offer_held(
        &mut self,
        from: Side,
        context: &mut Context<'_>,
        outputs: &mut Outputs,
    ) -> Result<(), Cause> {
        let mut held = std::mem::take(&mut self.end_mut(from).held);
        if held.len() > 0 {
            let used = self.offer(from, held.filled(), context, outputs)?;
            held.consume(used);
        }
        self.end_mut(from).held = held;
        Ok(())
    }

    /// One turn: bytes to the session, and what comes out to where it belongs.
    fn offer(
        &mut self,
        from: Side,
        bytes: &[u8],
        context: &mut Context<'_>,
        outputs: &mut Outputs,
    ) -> Result<usize, Cause> {
        let result = turn::receive(&mut *self.session, from, bytes, &mut self.governor, outputs);
        self.deliver(from, bytes, context, outputs, result)
    }

    /// A side has sent its last byte.
    fn finish(
        &mut self,
        from: Side,
        context: &mut Context<'_>,
        outputs: &mut Outputs,
    ) -> Result<(), Cause> {
        let end = self.end_mut(from);
        if let Some(words) = &end.deaf {
            // The error was told to the write before; this is no clean end.
            return Err(Cause::gone(from, words));
        }
        end.finished = true;
        let unused = end.held.len();
        end.held = Held::default();
        self.first_finished.get_or_insert(from);
        let result = turn::finish(
            &mut *self.session,
            from,
            unused,
            &mut self.governor,
            outputs,
        );
        self.deliver(from, &[], context, outputs, result)
    }

    /// Sends what a turn brought, whether it went well or not.
    fn deliver<T>(
        &mut self,
        from: Side,
        input: &[u8],
        context: &mut Context<'_>,
        outputs: &Outputs,
        result: Result<T, ProtocolError>,
    ) -> Result<T, Cause> {
        self.cleared |= outputs.cleared > 0;
        self.refused |= outputs.refused > 0;
        self.send(Side::Upstream, &outputs.to_upstream, input, context);
        self.send(Side::Client, &outputs.to_client, input, context);
        match result {
            Err(error) => {
                let worded = outputs.to_client.made_len() > 0;
                Err(Cause::broken(error, worded, self.refused && !self.cleared))
            }
            Ok(_) if outputs.close => Err(Cause::closed(from, self.refused && !self.cleared)),
            Ok(value) => {
                self.check_deaf(Side::Upstream)?;
                self.check_deaf(Side::Client)?;
                Ok(value)
            }
        }
    }

    /// Writes at once what the receiver takes, and keeps the rest. Words of the gateway for a side
    /// that was told the end already come too late.
    fn send(&mut self, to: Side, output: &Output, input: &[u8], context: &mut Context<'_>) {
        let end = self.end_mut(to);
        if output.is_empty() || end.told || end.deaf.is_some() {
            return;
        }
        let mut cursor = turn::Cursor::default();
        let mut count = 0;
        if end.pending.is_empty() {
            match send::poll_send(&mut end.stream, context, output, input, &mut cursor) {
                Ok(written) => count = written,
                Err(error) => return end.set_deaf(&error),
            }
        }
        if count < output.len() {
            output.copy_rest(cursor, input, end.pending.tail(output.made_len()));
        }
        self.count_sent(to, count as u64);
    }
}

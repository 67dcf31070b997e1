//! Which protocol is spoken, from the first bytes of either side.
//!
//! The bytes are read, not peeked, and go on to the protocol with the link. They are bounded, and
//! until a protocol is recognised none of them passes to the other side.
use gateway_core::Destination;
use gateway_protocol::{Opening, Protocol, Recognition, Side, Stop, StopReason};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Read at once while a protocol is not recognised.
const READ_BYTES: usize = 4096;

/// What one side said so far.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    /// It said its last byte.
    pub(crate) ended: bool,
}

impl Heard {
    /// Reads what there is, up to `limit` bytes in all. True when there was something.
    fn poll_hear(
        &mut self,
        stream: &mut TcpStream,
        limit: usize,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let room = limit.saturating_sub(self.bytes.len()).min(READ_BYTES);
        if self.ended || room == 0 {
            return Poll::Pending;
        }
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
        let polled = Pin::new(stream).poll_read(context, &mut buffer);
        polled.map_ok(|()| {
            self.ended = buffer.filled().is_empty();
            self.bytes.extend_from_slice(buffer.filled());
            !self.ended
        })
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Recognised {
    /// The protocol with this number.
    Protocol(usize),
    /// None of them, or not in time.
    Nothing,
    /// A side closed before anything was said, or failed.
    Ended(Side, Option<io::Error>),
    /// The session was ended meanwhile.
    Stopped(StopReason),
}

/// What is asked, of whom, and how long.
pub(crate) struct Recogniser<'a> {
    pub(crate) protocols: &'a [Arc<dyn Protocol>],
    pub(crate) destination: &'a Destination,
    pub(crate) bytes_max: usize,
    pub(crate) timeout: Duration,
    pub(crate) stop: &'a Stop,
}

/// The opening of a link, while it is being listened to.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    pub(crate) client: Heard,
    pub(crate) upstream: Heard,
    /// Runs from the first byte on, or from the end of what the client says.
    patience: Option<Pin<Box<Sleep>>>,
    /// The upstream knows that the client says nothing.
    passed_on: bool,
}

impl Openings {
    /// A client that ends without a word may still want to hear something: the upstream is told,
    /// and says it, or closes.
    fn poll_pass_on(&mut self, upstream: &mut TcpStream, context: &mut Context<'_>) {
        if self.client.ended && self.client.bytes.is_empty() && !self.passed_on {
            // What goes wrong with the upstream shows when it is read.
            self.passed_on = Pin::new(upstream).poll_shutdown(context).is_ready();
        }
    }
}

impl Recogniser<'_> {
    /// Listens to both sides until it is clear what they speak.
    pub(crate) async fn listen(
        &self,
        client: &mut TcpStream,
        upstream: &mut TcpStream,
        openings: &mut Openings,
    ) -> Recognised {
        poll_fn(|context| self.poll(client, upstream, openings, context)).await
    }

    fn poll(
        &self,
        client: &mut TcpStream,
        upstream: &mut TcpStream,
        openings: &mut Openings,
        context: &mut Context<'_>,
    ) -> Poll<Recognised> {
        self.stop.register(context.waker());
        if let Some(reason) = self.stop.reason() {
            return Poll::Ready(Recognised::Stopped(reason));
        }
        loop {
            let mut heard = false;
            for side in [Side::Client, Side::Upstream] {
                let polled = match side {
                    Side::Client => openings.client.poll_hear(client, self.bytes_max, context),
                    Side::Upstream => {
                        openings
                            .upstream
                            .poll_hear(upstream, self.bytes_max, context)
                    }
                };
                match polled {
                    Poll::Ready(Ok(something)) => heard |= something,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Recognised::Ended(side, Some(error)));
                    }
                    Poll::Pending => {}
                }
            }
            openings.poll_pass_on(upstream, context);
            if let Some(recognised) = self.judge(openings) {
                return Poll::Ready(recognised);
            }
            if !heard {
                return self.poll_patience(openings, context);
            }
        }
    }

    /// What the bytes heard so far say; `None` when more are needed.
    fn judge(&self, openings: &Openings) -> Option<Recognised> {
        let Openings {
            client, upstream, ..
        } = openings;
        if client.bytes.is_empty() && upstream.bytes.is_empty() {
            let first = match client.ended {
                true => Side::Client,
                false => Side::Upstream,
            };
            return upstream.ended.then_some(Recognised::Ended(first, None));
        }
        match self.ask(&client.bytes, &upstream.bytes) {
            Answer::Yes(number) => Some(Recognised::Protocol(number)),
            Answer::No => Some(Recognised::Nothing),
            // Nothing more comes from a side that has ended or may not say more.
            Answer::NeedMore
                if client.ended
                    || upstream.ended
                    || client.bytes.len() >= self.bytes_max
                    || upstream.bytes.len() >= self.bytes_max =>
            {
                Some(Recognised::Nothing)
            }
            Answer::NeedMore => None,
        }
    }

    fn ask(&self, client: &[u8], upstream: &[u8]) -> Answer {
        let opening = Opening {
            destination: self.destination,
            client,
            upstream,
        };
        let mut answer = Answer::No;
        for (number, protocol) in self.protocols.iter().enumerate() {
            match protocol.recognise(opening) {
                Recognition::Yes => return Answer::Yes(number),
                Recognition::NeedMore => answer = Answer::NeedMore,
                Recognition::No => {}
            }
        }
        answer
    }

    fn poll_patience(
        &self,
        openings: &mut Openings,
        context: &mut Context<'_>,
    ) -> Poll<Recognised> {
        let Openings {
            client, upstream, ..
        } = openings;
        if client.bytes.is_empty() && upstream.bytes.is_empty() && !client.ended {
            return Poll::Pending;
        }
        let timeout = self.timeout;
        let new = || Box::pin(tokio::time::sleep(timeout));
        let patience = openings.patience.get_or_insert_with(new);
        patience
            .as_mut()
            .poll(context)
            .map(|()| Recognised::Nothing)
    }
}

enum Answer {
    Yes(usize),
    No,
    NeedMore,
}

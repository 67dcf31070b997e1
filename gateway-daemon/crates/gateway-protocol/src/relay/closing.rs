//! The end of a link: why it came, and what each side still gets.
use super::end::End;
use super::stream::Stream;
use super::{ROUNDS_MAX, scratch};
use crate::session::{ProtocolError, Side};
use crate::stop::{Stop, StopReason};
use gateway_core::SessionEnd;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::Sleep;

/// What a side gets before it is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// Nothing: it is gone, or it has had everything.
    Drop,
    /// All that is queued, and a clean end. Then it is read until it closes, since the kernel
    /// answers bytes that nobody reads with a reset, which can overtake the last words.
    Deliver,
    /// All that is queued, then a reset: what it got is not the whole.
    Reset,
    /// A reset at once.
    Abort,
}

/// Farewells of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Farewells {
    pub(super) client: Farewell,
    pub(super) upstream: Farewell,
}

impl Farewells {
    const fn both(farewell: Farewell) -> Farewells {
        Farewells {
            client: farewell,
            upstream: farewell,
        }
    }

    /// One side is gone, the other gets what is queued and a reset.
    const fn after_loss_of(side: Side) -> Farewells {
        match side {
            Side::Client => Farewells {
                client: Farewell::Drop,
                upstream: Farewell::Reset,
            },
            Side::Upstream => Farewells {
                client: Farewell::Reset,
                upstream: Farewell::Drop,
            },
        }
    }
}

/// Why a link ends.
#[derive(Debug)]
pub(super) struct Cause {
    pub(super) end: SessionEnd,
    pub(super) error: Option<ProtocolError>,
    pub(super) note: Option<&'static str>,
    pub(super) farewells: Farewells,
}

const fn end_by(side: Side) -> SessionEnd {
    match side {
        Side::Client => SessionEnd::Client,
        Side::Upstream => SessionEnd::Upstream,
    }
}

impl Cause {
    /// Both sides have sent and got everything.
    pub(super) const fn finished(first: Side) -> Cause {
        let farewells = Farewells::both(Farewell::Drop);
        Cause {
            end: end_by(first),
            error: None,
            note: None,
            farewells,
        }
    }

    /// The session asked for it in a turn of `from`. When it got no clearance for anything, the
    /// policy did not let it begin.
    pub(super) const fn closed(from: Side, denied: bool) -> Cause {
        let end = if denied {
            SessionEnd::Denied
        } else {
            end_by(from)
        };
        Cause {
            end,
            error: None,
            note: None,
            farewells: Farewells::both(Farewell::Deliver),
        }
    }

    /// The session cannot go on. The client gets a clean end only behind words that say why.
    pub(super) const fn broken(error: ProtocolError, worded: bool, denied: bool) -> Cause {
        let client = if worded {
            Farewell::Deliver
        } else {
            Farewell::Reset
        };
        let end = if denied {
            SessionEnd::Denied
        } else {
            SessionEnd::Error
        };
        let farewells = Farewells {
            client,
            upstream: Farewell::Reset,
        };
        Cause {
            end,
            error: Some(error),
            note: None,
            farewells,
        }
    }

    /// Reading from a side failed. A reset is a way to close; anything else is a failure.
    pub(super) fn failed(side: Side, error: &io::Error) -> Cause {
        let end = match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected => end_by(side),
            _ => SessionEnd::Error,
        };
        let error = ProtocolError::Io {
            side,
            error: error.to_string().into(),
        };
        Cause {
            end,
            error: Some(error),
            note: None,
            farewells: Farewells::after_loss_of(side),
        }
    }

    /// A side neither takes nor sends bytes; `words` are those of the write that failed.
    pub(super) fn gone(side: Side, words: &Arc<str>) -> Cause {
        let error = ProtocolError::Io {
            side,
            error: Arc::clone(words),
        };
        let farewells = Farewells::after_loss_of(side);
        Cause {
            end: end_by(side),
            error: Some(error),
            note: None,
            farewells,
        }
    }

    /// Somebody ended it.
    pub(super) const fn stopped(reason: StopReason) -> Cause {
        let farewells = Farewells::both(Farewell::Abort);
        Cause {
            end: SessionEnd::Killed,
            error: None,
            note: Some(reason.words()),
            farewells,
        }
    }

    /// Nothing moved for too long.
    pub(super) const fn idle() -> Cause {
        let farewells = Farewells::both(Farewell::Abort);
        Cause {
            end: SessionEnd::Killed,
            error: None,
            note: Some("idle for too long"),
            farewells,
        }
    }
}

/// A link on its way out. A side whose farewell is done is dropped at once, not with the other.
pub(super) struct Closing<S> {
    client: Option<Leaving<S>>,
    upstream: Option<Leaving<S>>,
    stop: Arc<Stop>,
    bytes_down: u64,
    linger: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

struct Leaving<S> {
    end: End<S>,
    farewell: Farewell,
}

impl<S: Stream> Closing<S> {
    pub(super) fn new(
        client: End<S>,
        upstream: End<S>,
        farewells: Farewells,
        stop: Arc<Stop>,
        linger: Duration,
    ) -> Closing<S> {
        let client = Some(Leaving {
            end: client,
            farewell: farewells.client,
        });
        let upstream = Some(Leaving {
            end: upstream,
            farewell: farewells.upstream,
        });
        Closing {
            client,
            upstream,
            stop,
            bytes_down: 0,
            linger,
            sleep: None,
        }
    }

    /// The stream of a side that is not let go yet.
    pub(super) fn stream_mut(&mut self, side: Side) -> Option<&mut S> {
        let leaving = match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        };
        leaving.as_mut().map(|leaving| &mut leaving.end.stream)
    }

    /// Says farewell to both sides, for as long as they may linger. Ready with the number of bytes
    /// that the client still took.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<u64> {
        let mut unused = 0;
        let client = poll_leave(&mut self.client, context, &mut self.bytes_down);
        let upstream = poll_leave(&mut self.upstream, context, &mut unused);
        if client.is_ready() && upstream.is_ready() {
            return Poll::Ready(self.bytes_down);
        }
        self.stop.register(context.waker());
        let linger = self.linger;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(linger)));
        if self.stop.reason().is_none() && sleep.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        for leaving in [self.client.take(), self.upstream.take()]
            .into_iter()
            .flatten()
        {
            // What was not taken in time is lost, and the side is told so.
            if !leaving.end.has_taken_all() || self.stop.reason().is_some() {
                leaving.end.stream.abort();
            }
        }
        Poll::Ready(self.bytes_down)
    }
}

fn poll_leave<S: Stream>(
    slot: &mut Option<Leaving<S>>,
    context: &mut Context<'_>,
    count: &mut u64,
) -> Poll<()> {
    if let Some(leaving) = slot {
        ready!(leaving.poll(context, count));
        *slot = None;
    }
    Poll::Ready(())
}

impl<S: Stream> Leaving<S> {
    fn poll(&mut self, context: &mut Context<'_>, count: &mut u64) -> Poll<()> {
        match self.farewell {
            Farewell::Drop => {}
            Farewell::Abort => self.end.stream.abort(),
            Farewell::Reset => {
                ready!(self.end.poll_flush(context, count));
                self.end.stream.abort();
            }
            Farewell::Deliver => {
                ready!(self.end.poll_flush(context, count));
                ready!(self.end.poll_tell(context));
                if !self.end.finished && self.end.deaf.is_none() {
                    ready!(self.poll_drain(context));
                }
            }
        }
        Poll::Ready(())
    }

    /// Reads and throws away, until the peer closes.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<()> {
        scratch::lend(|scratch| {
            for _ in 0..ROUNDS_MAX {
                let mut buffer = ReadBuf::new(&mut scratch.input);
                let read = ready!(Pin::new(&mut self.end.stream).poll_read(context, &mut buffer));
                if read.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(());
                }
            }
            let _ = pin!(tokio::task::yield_now()).poll(context);
            Poll::Pending
        })
    }
}

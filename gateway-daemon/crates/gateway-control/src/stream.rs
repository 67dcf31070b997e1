//! Lines of JSON from a thread that blocks to a caller that may be slow, with a bound between.
use crate::ports::{Gone, LineSink, PortError};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Lines travel together up to this size, in bytes.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks between the thread and the connection.
const CHUNKS_MAX: usize = 4;

/// What the thread says.
pub(crate) enum Event {
    /// Some lines.
    Lines(Bytes),
    /// All was said; `false` when there was nothing by that name.
    Done(bool),
    /// It could not go on.
    Failed(String),
}

/// The thread's end.
pub(crate) struct ChannelSink {
    sender: mpsc::Sender<Event>,
    runtime: Handle,
    pending: Vec<u8>,
}

impl ChannelSink {
    fn flush(&mut self) -> Result<(), Gone> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let lines = Bytes::from(std::mem::take(&mut self.pending));
        self.sender
            .blocking_send(Event::Lines(lines))
            .map_err(|_| Gone)
    }
}

impl LineSink for ChannelSink {
    fn line(&mut self, json: Vec<u8>) -> Result<(), Gone> {
        self.pending.extend_from_slice(&json);
        self.pending.push(b'\n');
        if self.pending.len() >= CHUNK_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn pause(&mut self, time: Duration) -> Result<(), Gone> {
        self.flush()?;
        let left = self
            .runtime
            .block_on(tokio::time::timeout(time, self.sender.closed()));
        if left.is_ok() { Err(Gone) } else { Ok(()) }
    }
}

/// Runs `work` on a thread that may block, and returns the connection's end.
pub(crate) fn spawn<F>(work: F) -> mpsc::Receiver<Event>
where
    F: FnOnce(&mut ChannelSink) -> Result<bool, PortError> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut sink = ChannelSink {
            sender,
            runtime,
            pending: Vec::new(),
        };
        let last = match work(&mut sink) {
            Ok(found) => Event::Done(found),
            Err(PortError(reason)) => Event::Failed(reason),
        };
        if sink.flush().is_ok() {
            let _ = sink.sender.blocking_send(last);
        }
    });
    receiver
}

/// A body of lines. When the thread fails or dies in the middle, the body ends with an error, so
/// that the caller cannot take a part for the whole.
pub(crate) struct Lines {
    first: Option<Event>,
    rest: mpsc::Receiver<Event>,
    ended: bool,
    /// What has to live as long as the stream does: the permit of a follower.
    _held: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Lines {
    pub(crate) fn new(
        first: Option<Event>,
        rest: mpsc::Receiver<Event>,
        held: Option<tokio::sync::OwnedSemaphorePermit>,
    ) -> Lines {
        Lines {
            first,
            rest,
            ended: false,
            _held: held,
        }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let event = match self.first.take() {
            Some(event) => Some(event),
            None => match self.rest.poll_recv(context) {
                Poll::Ready(event) => event,
                Poll::Pending => return Poll::Pending,
            },
        };
        self.ended = !matches!(event, Some(Event::Lines(_)));
        Poll::Ready(match event {
            Some(Event::Lines(lines)) => Some(Ok(Frame::data(lines))),
            Some(Event::Done(_)) => None,
            Some(Event::Failed(reason)) => {
                tracing::warn!(reason, "an answer on the control socket was cut");
                Some(Err(io::Error::other(reason)))
            }
            None => Some(Err(io::Error::other("the thread that answers has died"))),
        })
    }
}

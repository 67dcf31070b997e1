//! One side of a link, and what the relay remembers of it.
use super::buffers::{Held, Pending};
use super::stream::Stream;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// One side of a link.
#[derive(Debug)]
#[repr(C)]
pub(super) struct End<S> {
    pub(super) stream: S,
    /// What it sent and the session did not use yet.
    pub(super) held: Held,
    /// What it did not take yet.
    pub(super) pending: Pending,
    /// It has sent its last byte.
    pub(super) finished: bool,
    /// It was told that nothing more comes.
    pub(super) told: bool,
    /// It takes no bytes any more. What it said before is still read, since a server that refuses
    /// a client says why and closes at once.
    pub(super) deaf: Option<Arc<str>>,
}

impl<S: Stream> End<S> {
    pub(super) fn new(stream: S, held: Vec<u8>) -> End<S> {
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

    pub(super) fn set_deaf(&mut self, error: &io::Error) {
        self.deaf = Some(error.to_string().into());
        self.pending.clear();
    }

    /// Has it taken all that it was sent?
    pub(super) fn has_taken_all(&self) -> bool {
        self.pending.is_empty() && !self.stream.has_unsent()
    }

    /// Writes what waits. Ready when nothing does.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>, count: &mut u64) -> Poll<()> {
        if self.has_taken_all() || self.deaf.is_some() {
            return Poll::Ready(());
        }
        let mut flushed = Ok(());
        if !self.pending.is_empty() {
            flushed = ready!(self.pending.poll_flush(&mut self.stream, context, count));
        }
        if flushed.is_ok() {
            flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        }
        if let Err(error) = flushed {
            self.set_deaf(&error);
        }
        Poll::Ready(())
    }

    /// Says that nothing more comes, once.
    pub(super) fn poll_tell(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.told && self.deaf.is_none() {
            // It fails when the peer is gone, which the next read tells as well.
            let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(context));
            self.told = true;
        }
        Poll::Ready(())
    }
}

//! A stream in memory that splits, stalls and fails as a test wants.
use crate::relay::Stream;
use gateway_testkit::chunks::Dice;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What comes behind the last byte of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    Open,
    End,
    Reset,
}

/// One end of a link in memory.
#[derive(Debug)]
pub(super) struct Wire {
    /// What it says, and how that ends.
    pub(super) says: Vec<u8>,
    pub(super) tail: Tail,
    /// Bytes that it takes in all; then it stalls.
    pub(super) takes: usize,
    /// Writing fails once it took everything it takes.
    pub(super) fails: bool,
    /// Reads and writes are this large at most; often smaller, often not yet.
    pub(super) grain: usize,
    pub(super) dice: Dice,
    pub(super) said: usize,
    pub(super) took: Vec<u8>,
    pub(super) told: bool,
    pub(super) aborted: bool,
    pub(super) dropped: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) reads_after_stall: usize,
}

impl Wire {
    pub(super) fn new(says: &[u8], tail: Tail, seed: u64) -> Arc<Mutex<Wire>> {
        let mut dice = Dice::new(seed);
        let grain = 1 << (3 + dice.below(15));
        Arc::new(Mutex::new(Wire {
            says: says.to_vec(),
            tail,
            takes: usize::MAX,
            fails: false,
            grain,
            dice,
            said: 0,
            took: Vec::new(),
            told: false,
            aborted: false,
            dropped: false,
            reader: None,
            writer: None,
            reads_after_stall: 0,
        }))
    }
}

pub(super) struct Plug(pub(super) Arc<Mutex<Wire>>);

impl Drop for Plug {
    fn drop(&mut self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .dropped = true;
    }
}

impl Stream for Plug {
    fn abort(&self) {
        self.0.lock().unwrap().aborted = true;
    }

    fn is_over(&self) -> bool {
        false
    }
}

impl AsyncRead for Plug {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock().unwrap();
        let left = wire.says.len() - wire.said;
        if left > 0 && wire.dice.below(4) == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if left == 0 {
            return match wire.tail {
                Tail::End => Poll::Ready(Ok(())),
                Tail::Reset => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Tail::Open => {
                    wire.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            };
        }
        let grain = wire.grain;
        let n = (1 + wire.dice.below(grain))
            .min(left)
            .min(buffer.remaining());
        let said = wire.said;
        buffer.put_slice(&wire.says[said..said + n]);
        wire.said += n;
        if wire.took.len() == wire.takes {
            wire.reads_after_stall += n;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Plug {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.lock().unwrap();
        assert!(!wire.told, "nothing is written behind the end");
        let room = wire.takes - wire.took.len();
        if room == 0 {
            if wire.fails {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            wire.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        if wire.dice.below(4) == 0 {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let grain = wire.grain;
        let n = (1 + wire.dice.below(grain)).min(all).min(room);
        let mut left = n;
        for slice in slices {
            let part = &slice[..left.min(slice.len())];
            wire.took.extend_from_slice(part);
            left -= part.len();
        }
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().told = true;
        Poll::Ready(Ok(()))
    }
}

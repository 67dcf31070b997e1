//! A TCP socket that a [`super::reactor::Reactor`] watches.
//!
//! It is registered once, edge-triggered, so the kernel says only what changes. What it said is
//! kept here: a read or a write is tried only while it may succeed, and costs one system call.
use super::stream::Stream;
use nix::sys::epoll::EpollFlags;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a socket is watched for.
pub(super) const INTEREST: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLOUT)
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

/// After one of these there is always something to read: the end, or an error.
const ENDED: EpollFlags = EpollFlags::EPOLLRDHUP
    .union(EpollFlags::EPOLLHUP)
    .union(EpollFlags::EPOLLERR);

/// The socket, and what the kernel has said of it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    readable: bool,
    writable: bool,
    ended: bool,
    /// A read stops in front of an urgent byte (tcp_recvmsg), so a short one means nothing here.
    urgent: bool,
}

impl Socket {
    /// `stream` has to be non-blocking.
    pub(super) const fn new(stream: TcpStream) -> Socket {
        Socket {
            stream,
            readable: true,
            writable: true,
            ended: false,
            urgent: false,
        }
    }

    /// Takes what the kernel says.
    pub(super) const fn tell(&mut self, events: EpollFlags) {
        self.ended |= events.intersects(ENDED);
        self.urgent |= events.contains(EpollFlags::EPOLLPRI);
        self.readable |= self.ended || events.contains(EpollFlags::EPOLLIN);
        self.writable |= self.ended || events.contains(EpollFlags::EPOLLOUT);
    }

    fn written(&mut self, offered: usize, result: io::Result<usize>) -> Poll<io::Result<usize>> {
        match result {
            Ok(count) => {
                self.writable = count == offered;
                Poll::Ready(Ok(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.writable = false;
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Stream for Socket {
    fn abort(&self) {
        super::stream::linger_zero(&self.stream);
    }

    fn is_over(&self) -> bool {
        self.ended
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.readable {
            let room = buffer.initialize_unfilled();
            let offered = room.len();
            match self.stream.read(room) {
                Ok(count) => {
                    buffer.advance(count);
                    // Less than there was room for: the kernel has no more, and will say when it
                    // has (epoll(7), question 9). An end that it has already told it tells once.
                    self.readable = count == offered || self.ended || self.urgent;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if !self.writable {
            return Poll::Pending;
        }
        let result = self.stream.write(bytes);
        self.written(bytes.len(), result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.writable {
            return Poll::Pending;
        }
        let result = self.stream.write_vectored(slices);
        let offered = slices.iter().map(|slice| slice.len()).sum();
        self.written(offered, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

//! One end of a link: its socket, in the clear or under TLS.
#[cfg(test)]
mod tests;
mod tls;

pub use tls::Tls;

use crate::relay::Stream;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a link over a stream of bytes, as a socket is.
#[derive(Debug)]
pub enum Wire<S> {
    /// Bytes as they are.
    Clear(S),
    /// Bytes in records of TLS. In a box: most links have none.
    Tls(Box<Tls<S>>),
}

impl<S> Wire<S> {
    /// What carries the bytes.
    #[must_use]
    pub const fn stream(&self) -> &S {
        match self {
            Wire::Clear(stream) => stream,
            Wire::Tls(tls) => tls.stream(),
        }
    }

    /// What carries the bytes.
    pub const fn stream_mut(&mut self) -> &mut S {
        match self {
            Wire::Clear(stream) => stream,
            Wire::Tls(tls) => tls.stream_mut(),
        }
    }

    /// The version of TLS in the words of its standards, like `TLSv1.3`; `None` in the clear.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        match self {
            Wire::Clear(_) => None,
            Wire::Tls(tls) => tls.version(),
        }
    }

    /// The same over another kind of stream.
    ///
    /// # Errors
    /// That of `change`; the stream is gone then.
    pub fn try_map<T, E>(self, change: impl FnOnce(S) -> Result<T, E>) -> Result<Wire<T>, E> {
        Ok(match self {
            Wire::Clear(stream) => Wire::Clear(change(stream)?),
            Wire::Tls(tls) => Wire::Tls(Box::new(tls.try_map(change)?)),
        })
    }
}

impl<S> From<S> for Wire<S> {
    fn from(stream: S) -> Wire<S> {
        Wire::Clear(stream)
    }
}

impl<S: Stream> Stream for Wire<S> {
    fn abort(&self) {
        self.stream().abort();
    }

    fn is_over(&self) -> bool {
        self.stream().is_over()
    }

    fn announces_end(&self) -> bool {
        matches!(self, Wire::Tls(_))
    }

    fn has_unsent(&self) -> bool {
        match self {
            Wire::Clear(stream) => stream.has_unsent(),
            Wire::Tls(tls) => tls.has_unsent(),
        }
    }
}

impl<S: Stream> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Tls(tls) => tls.poll_read(context, buffer),
        }
    }
}

impl<S: Stream> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Tls(tls) => tls.poll_write(context, &[IoSlice::new(bytes)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Wire::Tls(tls) => tls.poll_write(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_flush(context),
            Wire::Tls(tls) => tls.poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Tls(tls) => tls.poll_shutdown(context),
        }
    }
}

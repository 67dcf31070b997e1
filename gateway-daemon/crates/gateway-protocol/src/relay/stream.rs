//! A socket, as far as the relay needs one. Tests put one in memory in its place.
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use std::os::fd::AsFd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// One end of a link.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// From now on dropping the stream tells the peer that it broke, and throws away what the
    /// kernel still has to send: a reset instead of a clean end.
    fn abort(&self);

    /// Has the peer said its last byte, as far as that is known without reading what is before it?
    fn is_over(&self) -> bool;

    /// Does it tell its peer that it ends by more than closing?
    fn announces_end(&self) -> bool {
        false
    }

    /// Does it keep bytes that were written to it and have not left? They leave with a flush.
    fn has_unsent(&self) -> bool {
        false
    }
}

impl Stream for TcpStream {
    fn abort(&self) {
        linger_zero(self);
    }

    /// tokio does not tell without waiting.
    fn is_over(&self) -> bool {
        false
    }
}

/// Closing this socket resets the connection.
pub(super) fn linger_zero(socket: &impl AsFd) {
    let zero = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // It fails only on a socket that is no connection any more; then there is nobody to tell.
    let _ = setsockopt(socket, sockopt::Linger, &zero);
}

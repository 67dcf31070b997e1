//! The sockets with which the gateway reaches upstreams: non-blocking, and not to be inherited.
use crate::load::Capture;
use gateway_core::TreeId;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

impl Capture {
    /// A TCP socket to dial `destination` with, in the network namespace with this cookie. The
    /// kernel half knows it as one that stands for the tree: what the tree itself listens on takes
    /// it.
    ///
    /// # Errors
    /// The system gives none, or the gateway is not in this namespace.
    pub fn dial(&self, netns: u64, tree: TreeId, destination: SocketAddr) -> io::Result<OwnedFd> {
        let domain = Domain::for_address(destination);
        let make = move || Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP));
        let socket = self.socket_in(netns, make)?;
        let said = self.write().dial_for(socket.as_raw_fd(), tree);
        said.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(socket.into())
    }

    /// A UDP socket to ask `destination` with, in the network namespace with this cookie.
    ///
    /// # Errors
    /// As of [`Capture::dial`].
    pub fn ask(&self, netns: u64, destination: SocketAddr) -> io::Result<OwnedFd> {
        let domain = Domain::for_address(destination);
        let make = move || Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP));
        Ok(self.socket_in(netns, make)?.into())
    }
}

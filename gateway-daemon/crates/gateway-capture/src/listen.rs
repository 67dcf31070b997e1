//! The gateway's listeners: on loopback, on ports that the kernel chose, with a mark that nobody
//! else can give to a socket.
use crate::error::CaptureError;
use crate::load::Capture;
use crate::wire::Wire;
use gateway_common::config::Listeners;
use gateway_common::flow::Mark;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

/// How many connections may wait to be accepted. The kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

impl Capture {
    /// Opens the listeners of this network namespace, and opens the gate: from now on governed
    /// connections arrive. Where the host has no IPv6 on loopback, there is none for it, and
    /// governed IPv6 connections are refused.
    ///
    /// # Errors
    /// The listener on 127.0.0.1 cannot be opened, or a map cannot be written.
    pub fn listen(&self) -> Result<Vec<TcpListener>, CaptureError> {
        let v4 = open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .map_err(|error| CaptureError::new("listen on 127.0.0.1", &error))?;
        let mut listeners = vec![v4];
        match open(SocketAddr::from((Ipv6Addr::LOCALHOST, 0))) {
            Ok(v6) => listeners.push(v6),
            Err(error) => tracing::warn!(%error, "no listener on ::1: IPv6 will be refused"),
        }
        let mut ports = Listeners::default();
        for listener in &listeners {
            self.mark(listener)?;
            let address = listener
                .local_addr()
                .map_err(|error| CaptureError::new("ask for a listener's port", &error))?;
            match address {
                SocketAddr::V4(v4) => ports.v4 = u32::from(v4.port()),
                SocketAddr::V6(v6) => ports.v6 = u32::from(v6.port()),
            }
        }
        let cookie = netns_cookie(&listeners)
            .map_err(|error| CaptureError::new("ask for the network namespace", &error))?;
        self.write()
            .listeners
            .insert(cookie, Wire(ports), 0)
            .map_err(|error| CaptureError::new("write the map LISTENERS", &error))?;
        Ok(listeners)
    }

    fn mark(&self, listener: &TcpListener) -> Result<(), CaptureError> {
        let mark = Mark {
            generation: self.generation,
        };
        self.write()
            .marks
            .insert(&listener.as_raw_fd(), Wire(mark), 0)
            .map_err(|error| CaptureError::new("write the map MARKS", &error))
    }
}

fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // Never SO_REUSEPORT: a process of the same uid could join.
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// `SO_NETNS_COOKIE` (5.14): what the programs call this network namespace.
fn netns_cookie(listeners: &[TcpListener]) -> std::io::Result<u64> {
    use std::io::{Error, ErrorKind};
    let listener = listeners.first().ok_or(Error::from(ErrorKind::NotFound))?;
    Ok(nix::sys::socket::getsockopt(listener, option::NetnsCookie)?)
}

#[allow(unsafe_code, missing_docs)] // the macro of nix for an option that it does not have
mod option {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    /// include/uapi/asm-generic/socket.h
    const SO_NETNS_COOKIE: libc::c_int = 71;
    sockopt_impl!(NetnsCookie, GetOnly, libc::SOL_SOCKET, SO_NETNS_COOKIE, u64);
}

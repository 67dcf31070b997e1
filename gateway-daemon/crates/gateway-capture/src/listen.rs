//! The gateway's listeners: on loopback, on ports that the kernel chose, with a mark that nobody
//! else can give to a socket.
use crate::error::CaptureError;
use crate::load::Capture;
use crate::maps::keys;
use crate::wire::Wire;
use gateway_common::config::Listeners as Ports;
use gateway_common::flow::Mark;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::Ordering;

/// How many connections may wait to be accepted. The kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// How many bytes of questions may wait at one port.
const QUEUE_BYTES: usize = 1 << 20;

/// The gateway's sockets in one network namespace.
#[derive(Debug)]
pub struct Listeners {
    /// For connections.
    pub streams: Vec<TcpListener>,
    /// For questions to name servers.
    pub questions: Vec<UdpSocket>,
}

impl Capture {
    /// Opens the listeners of this network namespace, and opens the gate: from now on governed
    /// connections and questions arrive. Where the host has no IPv6 on loopback, there is none for
    /// it, and governed IPv6 connections are refused.
    ///
    /// # Errors
    /// A listener on 127.0.0.1 cannot be opened, or a map cannot be written.
    pub fn listen(&self) -> Result<Listeners, CaptureError> {
        let mut ports = Ports::default();
        let mut streams = Vec::new();
        let mut questions = Vec::new();
        for ip in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let sockets = self.open_all(ip, &mut ports);
            match sockets {
                Ok((stream, datagrams)) => {
                    streams.push(stream);
                    questions.extend(datagrams);
                }
                Err(error) if ip.is_ipv4() => {
                    return Err(CaptureError::new("listen on 127.0.0.1", &error));
                }
                Err(error) => {
                    tracing::warn!(%error, "no listener on ::1: IPv6 will be refused");
                }
            }
        }
        let cookie = streams
            .first()
            .ok_or(Error::from(ErrorKind::NotFound))
            .and_then(netns_cookie)
            .map_err(|error| CaptureError::new("ask for the network namespace", &error))?;
        self.netns.store(cookie, Ordering::Relaxed);
        self.publish_slots(&ports)?;
        self.write()
            .listeners
            .insert(cookie, Wire(ports), 0)
            .map_err(|error| CaptureError::new("write the map LISTENERS", &error))?;
        Ok(Listeners { streams, questions })
    }

    /// The listeners on one address of loopback, marked.
    fn open_all(
        &self,
        ip: IpAddr,
        ports: &mut Ports,
    ) -> Result<(TcpListener, Vec<UdpSocket>), CaptureError> {
        let failed = |error: std::io::Error| CaptureError::new(format!("listen on {ip}"), &error);
        let stream = open(SocketAddr::new(ip, 0)).map_err(failed)?;
        self.mark(stream.as_raw_fd())?;
        let port = stream.local_addr().map_err(failed)?.port();
        let (of_stream, of_questions) = match ip {
            IpAddr::V4(_) => (&mut ports.v4, &mut ports.dns4),
            IpAddr::V6(_) => (&mut ports.v6, &mut ports.dns6),
        };
        *of_stream = u32::from(port);
        let mut datagrams = Vec::new();
        for place in of_questions {
            let socket = open_datagrams(SocketAddr::new(ip, 0)).map_err(failed)?;
            self.mark(socket.as_raw_fd())?;
            *place = u32::from(socket.local_addr().map_err(failed)?.port());
            datagrams.push(socket);
        }
        Ok((stream, datagrams))
    }

    /// Tells which ports are for questions, in the place of those of an earlier daemon.
    fn publish_slots(&self, ports: &Ports) -> Result<(), CaptureError> {
        let mut maps = self.write();
        let failed = |error| CaptureError::new("write the map DNS_SLOTS", &error);
        for old in keys(&maps.dns_slots, "DNS_SLOTS")? {
            maps.dns_slots.remove(&old).map_err(failed)?;
        }
        for of_family in [&ports.dns4, &ports.dns6] {
            for (place, port) in (0u32..).zip(of_family).filter(|(_, port)| **port != 0) {
                maps.dns_slots.insert(port, place, 0).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn mark(&self, socket: RawFd) -> Result<(), CaptureError> {
        let mark = Mark {
            generation: self.generation,
        };
        self.write()
            .marks
            .insert(&socket, Wire(mark), 0)
            .map_err(|error| CaptureError::new("write the map MARKS", &error))
    }
}

/// A socket for datagrams. Nobody else can bind its address, which would need SO_REUSEADDR or
/// SO_REUSEPORT on both.
fn open_datagrams(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Root may have more than net.core.rmem_max; without it less waits, and what is over is lost
    // as on any network.
    let _ = socket.set_recv_buffer_size(QUEUE_BYTES);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
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

/// `SO_NETNS_COOKIE` (5.14): what the programs call the network namespace of a socket.
pub(crate) fn netns_cookie(socket: &impl AsFd) -> std::io::Result<u64> {
    Ok(nix::sys::socket::getsockopt(socket, option::NetnsCookie)?)
}

#[allow(unsafe_code, missing_docs)] // the macro of nix for an option that it does not have
mod option {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    /// include/uapi/asm-generic/socket.h
    const SO_NETNS_COOKIE: libc::c_int = 71;
    sockopt_impl!(NetnsCookie, GetOnly, libc::SOL_SOCKET, SO_NETNS_COOKIE, u64);
}

//! What a socket is that was taken from somebody, and how it is ended.
use crate::listen::netns_cookie;
use nix::errno::Errno;
use rustix::net::sockopt::{socket_cookie, socket_domain, socket_protocol, socket_type};
use rustix::net::{
    AddressFamily, Shutdown, SocketType, connect_unspec, getpeername, getsockname, ipproto,
    shutdown,
};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// States of a TCP socket (include/net/tcp_states.h).
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

/// How a socket carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, or MPTCP.
    Tcp,
    /// UDP, or UDP-Lite.
    Udp,
    /// Something else over IP: raw, ping, SCTP, DCCP.
    Other,
}

/// A socket of AF_INET or AF_INET6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inet {
    pub(crate) transport: Transport,
    /// 4 or 6.
    pub(crate) family: u16,
    /// Unique until the next boot.
    pub(crate) cookie: u64,
    /// Its network namespace's.
    pub(crate) netns: u64,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    /// It can send without naming a destination, or is about to.
    pub(crate) connected: bool,
}

/// Any socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Inet(Inet),
    /// Not for the network by itself: unix and netlink.
    Local,
    /// Of another family, by its number: no hook and no backstop of ours sees it.
    Foreign(u16),
}

/// Asks a socket what it is.
pub(crate) fn examine(socket: &OwnedFd) -> Result<Kind, Errno> {
    let domain = socket_domain(socket).map_err(errno)?;
    let family = match domain {
        AddressFamily::INET => 4,
        AddressFamily::INET6 => 6,
        AddressFamily::UNIX | AddressFamily::NETLINK => return Ok(Kind::Local),
        other => return Ok(Kind::Foreign(other.as_raw())),
    };
    let transport = transport_of(socket)?;
    let peer = getpeername(socket).ok().flatten();
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let local = getsockname(socket).ok();
    let local = local.and_then(|local| SocketAddr::try_from(local).ok());
    let connected = match transport {
        // One that is on its way has no peer yet, and one whose peer has gone has none any more.
        Transport::Tcp => match nix::sys::socket::getsockopt(socket, option::TcpState) {
            Ok(state) => state != TCP_CLOSE && state != TCP_LISTEN,
            Err(_) => peer.is_some(),
        },
        _ => peer.is_some(),
    };
    Ok(Kind::Inet(Inet {
        transport,
        family,
        cookie: socket_cookie(socket).map_err(errno)?,
        netns: netns_cookie(socket).map_err(|_| Errno::ENOTSUP)?,
        local: local.map(canonical),
        peer: peer.map(canonical),
        connected,
    }))
}

fn transport_of(socket: &OwnedFd) -> Result<Transport, Errno> {
    let kind = socket_type(socket).map_err(errno)?;
    let protocol = socket_protocol(socket).map_err(errno)?;
    Ok(match (kind, protocol) {
        (SocketType::STREAM, Some(ipproto::TCP | ipproto::MPTCP)) => Transport::Tcp,
        (SocketType::DGRAM, Some(ipproto::UDP | ipproto::UDPLITE)) => Transport::Udp,
        _ => Transport::Other,
    })
}

/// Ends a connection: a TCP peer gets a reset, nothing that was queued is sent, and who holds the
/// socket may connect it again, through the hooks. `SOCK_DESTROY` does the same from outside, where
/// the kernel is built with it (tcp_disconnect, udp_disconnect). What cannot be disconnected (kTLS;
/// somebody waits in it, from 6.4 to 6.6) is shut down, so that it sends no more.
pub(crate) fn end(socket: &impl AsFd) -> Result<(), Errno> {
    match connect_unspec(socket) {
        Ok(()) => Ok(()),
        Err(_) => match shutdown(socket, Shutdown::Both) {
            // It ended by itself meanwhile.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
            Err(error) => Err(errno(error)),
        },
    }
}

/// IPv4-mapped addresses are IPv4, and a scope does not tell two ends apart.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Does this address stay on the host?
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

#[allow(unsafe_code, missing_docs)] // the macro of nix for an option that it does not have
mod option {
    use nix::{getsockopt_impl, libc, sockopt_impl};

    // The first byte of `struct tcp_info`, which the kernel cuts to what is asked for.
    sockopt_impl!(
        TcpState,
        GetOnly,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        u8,
        nix::sys::socket::sockopt::GetU8
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    fn inet(socket: impl Into<OwnedFd>) -> Inet {
        match examine(&socket.into()).unwrap() {
            Kind::Inet(inet) => inet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sockets_say_what_they_are() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        let (accepted, from) = listener.accept().unwrap();
        let of_listener = inet(listener);
        assert_eq!(of_listener.transport, Transport::Tcp);
        assert!(!of_listener.connected);
        let (of_stream, of_accepted) = (inet(stream), inet(accepted));
        assert!(of_stream.connected && of_accepted.connected);
        assert_eq!(of_stream.peer, Some(address));
        assert_eq!(
            (of_accepted.local, of_accepted.peer),
            (Some(address), Some(from))
        );
        assert_eq!(of_stream.netns, of_accepted.netns);
        assert_ne!(of_stream.cookie, of_accepted.cookie);
        let datagrams = UdpSocket::bind("[::1]:0").unwrap();
        let own = datagrams.local_addr().unwrap();
        let of_datagrams = inet(datagrams.try_clone().unwrap());
        assert_eq!((of_datagrams.family, of_datagrams.connected), (6, false));
        datagrams.connect(own).unwrap();
        let of_datagrams = inet(datagrams);
        assert_eq!(of_datagrams.transport, Transport::Udp);
        assert!(of_datagrams.connected);
    }

    #[test]
    fn other_families_are_told_apart() {
        let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(examine(&unix.into()), Ok(Kind::Local));
        let vsock = rustix::net::socket(AddressFamily::VSOCK, SocketType::STREAM, None);
        if let Ok(vsock) = vsock {
            assert_eq!(examine(&vsock), Ok(Kind::Foreign(40)));
        }
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(examine(&file.into()), Err(Errno::ENOTSOCK));
    }

    /// What is ended is ended for the peer too, at once: not a FIN behind what was queued.
    #[test]
    fn an_ended_connection_is_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        end(&stream).unwrap();
        assert!(stream.write(b"token").is_err());
        let reset = accepted.read(&mut [0; 8]).unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        assert!(!inet(stream).connected);
    }

    #[test]
    fn a_datagram_socket_that_is_ended_has_no_destination() {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(sink.local_addr().unwrap()).unwrap();
        socket.send(b"before").unwrap();
        end(&socket).unwrap();
        assert!(socket.send(b"after").is_err());
        assert!(!inet(socket).connected);
    }

    /// Somebody who waits in it learns of it, and does not keep it alive.
    #[test]
    fn who_waits_in_a_connection_does_not_save_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let waiting = stream.try_clone().unwrap();
        let waiter = std::thread::spawn(move || {
            let mut waiting = waiting;
            waiting.read(&mut [0; 8])
        });
        accepted.set_nonblocking(false).unwrap();
        end(&stream).unwrap();
        assert!(waiter.join().unwrap().is_ok_and(|read| read == 0) || stream.write(b"x").is_err());
        assert!(matches!(accepted.read(&mut [0; 8]), Err(_) | Ok(0)));
    }
}

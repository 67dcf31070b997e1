//! Reaching the upstream, from the address that the client had bound its socket to.
use crate::ports::{Capture, Flow, Transport};
use gateway_protocol::{Stop, StopReason};
use nix::sys::socket::{SockaddrStorage, bind, setsockopt, sockopt};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};

/// The upstream was not reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The system's answer, or the time limit.
    #[error("{0}")]
    Failed(String),
    /// The session was ended meanwhile.
    #[error("given up: the session was ended")]
    Stopped(StopReason),
}

/// Connects to the destination of a flow within `timeout`, or until the session is told to stop.
pub(crate) async fn dial(
    capture: &dyn Capture,
    flow: &Flow,
    timeout: Duration,
    stop: &Stop,
) -> Result<TcpStream, DialError> {
    let address = flow.destination;
    let failed = |error: io::Error| DialError::Failed(format!("dial {address}: {error}"));
    let socket = open(capture, flow).map_err(failed)?;
    let connected = tokio::select! {
        biased;
        reason = stop.stopped() => return Err(DialError::Stopped(reason)),
        connected = tokio::time::timeout(timeout, socket.connect(address)) => connected,
    };
    match connected {
        Ok(stream) => stream.map_err(failed),
        Err(_) => {
            let seconds = timeout.as_secs_f32();
            Err(DialError::Failed(format!(
                "dial {address}: no answer within {seconds} s"
            )))
        }
    }
}

/// A socket for datagrams to the destination of a flow, on a port that the kernel chooses at random.
/// Connected: nobody else can answer.
pub(crate) fn datagrams(capture: &dyn Capture, flow: &Flow) -> io::Result<UdpSocket> {
    let socket = UdpSocket::from(capture.socket(flow, Transport::Datagram)?);
    if let Some(source) = flow.bound_source {
        let source = SocketAddr::new(source.to_canonical(), 0);
        bind(socket.as_raw_fd(), &SockaddrStorage::from(source))?;
    }
    socket.connect(flow.destination)?;
    Ok(socket)
}

fn open(capture: &dyn Capture, flow: &Flow) -> io::Result<TcpSocket> {
    let socket = capture.socket(flow, Transport::Stream)?;
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
    socket.set_nodelay(true)?;
    // An upstream that vanished without a word is noticed at last.
    socket.set_keepalive(true)?;
    if let Some(source) = flow.bound_source {
        // The port is chosen in connect, where the whole tuple counts; else 28,000 connections
        // would use up the ports of the source for all destinations together. Without the option
        // it still works, so a failure is no failure.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        socket.bind(SocketAddr::new(source.to_canonical(), 0))?;
    }
    Ok(socket)
}

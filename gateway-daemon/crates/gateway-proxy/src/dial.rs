//! Reaching the upstream, from the address that the client had bound its socket to.
use gateway_core::Destination;
use gateway_protocol::{Stop, StopReason};
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::net::{IpAddr, SocketAddr};
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

/// Connects within `timeout`, or until the session is told to stop.
pub(crate) async fn dial(
    destination: &Destination,
    source: Option<IpAddr>,
    timeout: Duration,
    stop: &Stop,
) -> Result<TcpStream, DialError> {
    let address = destination.address();
    let failed = |error: io::Error| DialError::Failed(format!("dial {address}: {error}"));
    let socket = open(address, source).map_err(failed)?;
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

fn open(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_nodelay(true)?;
    // An upstream that vanished without a word is noticed at last.
    socket.set_keepalive(true)?;
    if let Some(source) = source {
        // The port is chosen in connect, where the whole tuple counts; else 28,000 connections
        // would use up the ports of the source for all destinations together. Without the option
        // it still works, so a failure is no failure.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        socket.bind(SocketAddr::new(source.to_canonical(), 0))?;
    }
    Ok(socket)
}

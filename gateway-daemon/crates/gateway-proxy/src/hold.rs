//! Asking permission for a whole connection, which may take a human some time.
use crate::ports::Clock;
use gateway_core::{Clearance, Governor, Obstacle, Operation, Refusal};
use gateway_protocol::{Stop, StopReason};
use std::io;
use std::os::fd::AsFd;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What came of it.
pub(crate) enum Asked {
    /// It may go on.
    Cleared(Clearance),
    /// It may not.
    Refused(Refusal),
    /// The client did not wait for the answer.
    Left,
    /// The session was ended from outside.
    Stopped(StopReason),
}

/// Submits an operation, and waits for the answer when it is held.
pub(crate) async fn submit(
    governor: &mut Governor,
    operation: &Operation<'_>,
    clock: &dyn Clock,
    client: &TcpStream,
    stop: &Stop,
) -> Asked {
    loop {
        match governor.submit(operation, clock.now()) {
            Ok(clearance) => return Asked::Cleared(clearance),
            Err(Obstacle::Refused(refusal)) => return Asked::Refused(refusal),
            Err(Obstacle::Held(_)) => {}
        }
        tokio::select! {
            biased;
            reason = stop.stopped() => return Asked::Stopped(reason),
            () = left(client) => return Asked::Left,
            () = governor.answered() => {}
        }
    }
}

/// Resolves when the peer has said its last byte, and reads none of what is before it.
///
/// Through a descriptor of its own: readiness that is used up here is still there for whoever
/// reads. Without one it cannot be told, and the wait has a limit all the same.
async fn left(client: &TcpStream) {
    let watched = client.as_fd().try_clone_to_owned();
    let watched = watched.and_then(|copy| TcpStream::from_std(copy.into()));
    let Ok(watched) = watched else {
        return std::future::pending().await;
    };
    loop {
        match watched.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() && !ready.is_error() => {}
            _ => return,
        }
        // There is something to read, and it stays unread: wait for the next thing that happens.
        let _ = watched.try_io(Interest::READABLE, || -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        });
    }
}

//! What older versions of the format stored otherwise. Nothing here is ever written.
use gateway_core::{SessionClosed, SessionEnd, SessionId, Timestamp};
use serde::Deserialize;
use std::sync::Arc;

/// The end of a session in version 1, when nothing could be held.
#[derive(Deserialize)]
pub(super) struct SessionClosed1 {
    session: SessionId,
    time: Timestamp,
    protocol: Arc<str>,
    resource: Arc<str>,
    operations: u64,
    denied: u64,
    bytes_up: u64,
    bytes_down: u64,
    end: SessionEnd,
    error: Option<Arc<str>>,
}

impl From<SessionClosed1> for SessionClosed {
    fn from(read: SessionClosed1) -> Self {
        SessionClosed {
            session: read.session,
            time: read.time,
            protocol: read.protocol,
            resource: read.resource,
            operations: read.operations,
            denied: read.denied,
            held: 0,
            bytes_up: read.bytes_up,
            bytes_down: read.bytes_down,
            end: read.end,
            error: read.error,
        }
    }
}

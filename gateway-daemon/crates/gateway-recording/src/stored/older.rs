//! What older versions of the format stored otherwise. Nothing here is ever written.
use gateway_core::{
    OperationId, OperationOutcome, SessionClosed, SessionEnd, SessionId, Timestamp,
};
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
            masked: 0,
            bytes_up: read.bytes_up,
            bytes_down: read.bytes_down,
            end: read.end,
            error: read.error,
        }
    }
}

/// The end of a session in version 2, when nothing could be masked.
#[derive(Deserialize)]
pub(super) struct SessionClosed2 {
    session: SessionId,
    time: Timestamp,
    protocol: Arc<str>,
    resource: Arc<str>,
    operations: u64,
    denied: u64,
    held: u64,
    bytes_up: u64,
    bytes_down: u64,
    end: SessionEnd,
    error: Option<Arc<str>>,
}

impl From<SessionClosed2> for SessionClosed {
    fn from(read: SessionClosed2) -> Self {
        SessionClosed {
            session: read.session,
            time: read.time,
            protocol: read.protocol,
            resource: read.resource,
            operations: read.operations,
            denied: read.denied,
            held: read.held,
            masked: 0,
            bytes_up: read.bytes_up,
            bytes_down: read.bytes_down,
            end: read.end,
            error: read.error,
        }
    }
}

/// The outcome of an operation up to version 2.
#[derive(Deserialize)]
pub(super) struct Outcome2 {
    id: OperationId,
    time: Timestamp,
    rows: Option<u64>,
    bytes_up: u64,
    bytes_down: u64,
    error: Option<Arc<str>>,
}

impl From<Outcome2> for OperationOutcome {
    fn from(read: Outcome2) -> Self {
        OperationOutcome {
            id: read.id,
            time: read.time,
            rows: read.rows,
            bytes_up: read.bytes_up,
            bytes_down: read.bytes_down,
            error: read.error,
            masked: Vec::new(),
            disclosed: Vec::new(),
        }
    }
}

//! Every limit of the control socket, in one place.
use serde::Serialize;
use std::time::Duration;

/// What a caller of the control socket can take from the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Connections at once, of each kind of caller: one kind cannot use up another's.
    pub connections_max: usize,
    /// Requests that stream until the caller leaves (`log --follow`), of each kind of caller.
    pub followers_max: usize,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Bytes of a body with a SAML response in it: such a response may have 256 KiB, and JSON
    /// writes some of its characters as two.
    pub assertion_body_bytes_max: usize,
    /// How long a caller may take to send a request, in milliseconds.
    pub request_ms_max: u64,
    /// How long a write to a caller may make no progress, in milliseconds.
    pub stall_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 64,
            followers_max: 16,
            head_bytes_max: 16 * 1024,
            body_bytes_max: 64 * 1024,
            assertion_body_bytes_max: 512 * 1024,
            request_ms_max: 10_000,
            stall_ms_max: 30_000,
        }
    }
}

impl Limits {
    /// How long a caller may take to send a request.
    #[must_use]
    pub const fn request_time(&self) -> Duration {
        Duration::from_millis(self.request_ms_max)
    }

    /// How long a write to a caller may make no progress.
    #[must_use]
    pub const fn stall_time(&self) -> Duration {
        Duration::from_millis(self.stall_ms_max)
    }
}

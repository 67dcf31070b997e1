//! Every limit of the control port, in one place.
use crate::limits::Limits;
use serde::Serialize;
use std::time::Duration;

/// What callers by the network can take from the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RemoteLimits {
    /// Those of a request, as on the socket. The head has room for a token of 16 KiB;
    /// `connections_max` is not used here.
    pub requests: Limits,
    /// Connections at once, in all.
    pub connections_max: usize,
    /// Connections at once from one IPv4 address, or one IPv6 network of 64 bits.
    pub connections_per_address_max: usize,
    /// How long a TLS handshake may take, in milliseconds.
    pub handshake_ms_max: u64,
    /// How long a connection may live, in milliseconds: `log --follow` has to come again by then,
    /// with a token that is still good.
    pub connection_ms_max: u64,
    /// Bytes of a bearer token.
    pub bearer_bytes_max: usize,
    /// Tokens and sign-ins that are checked at once.
    pub authentications_max: usize,
    /// How long a check may take, in milliseconds; an issuer may have to be asked for its keys.
    pub authentication_ms_max: u64,
    /// Bytes of a body for the directory.
    pub scim_body_bytes_max: usize,
    /// Requests for the directory that are answered at once.
    pub scim_calls_max: usize,
    /// Bytes of a form of the page.
    pub form_bytes_max: usize,
}

impl Default for RemoteLimits {
    fn default() -> RemoteLimits {
        RemoteLimits {
            requests: Limits {
                head_bytes_max: 32 * 1024,
                ..Limits::default()
            },
            connections_max: 256,
            connections_per_address_max: 32,
            handshake_ms_max: 5_000,
            connection_ms_max: 15 * 60 * 1000,
            bearer_bytes_max: 16 * 1024,
            authentications_max: 16,
            authentication_ms_max: 10_000,
            scim_body_bytes_max: 1024 * 1024,
            scim_calls_max: 4,
            form_bytes_max: 16 * 1024,
        }
    }
}

impl RemoteLimits {
    pub(super) const fn handshake_time(&self) -> Duration {
        Duration::from_millis(self.handshake_ms_max)
    }

    pub(super) const fn connection_time(&self) -> Duration {
        Duration::from_millis(self.connection_ms_max)
    }

    pub(super) const fn authentication_time(&self) -> Duration {
        Duration::from_millis(self.authentication_ms_max)
    }
}

//! Where a client meant to go.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The destination that the client named, before the gateway took the connection over.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// Its address. IPv4-mapped IPv6 addresses are given as IPv4.
    pub ip: IpAddr,
    /// Its TCP or UDP port.
    pub port: u16,
    /// The names that lead to the address, where a trusted resolver's answers are known; what was
    /// asked for last comes first.
    pub hosts: Vec<Arc<str>>,
    /// It is in another network namespace than the gateway's: who or what is at the address there
    /// is for whoever made the namespace. Not in records, which name the process's container.
    #[serde(skip)]
    pub abroad: bool,
}

impl Destination {
    /// A destination of which only the address is known.
    #[must_use]
    pub fn from_address(address: SocketAddr) -> Destination {
        Destination {
            ip: address.ip().to_canonical(),
            port: address.port(),
            hosts: Vec::new(),
            abroad: false,
        }
    }

    /// The name that was asked for last.
    #[must_use]
    pub fn host(&self) -> Option<&Arc<str>> {
        self.hosts.first()
    }

    /// Where to dial.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host() {
            Some(host) => write!(f, "{host}:{}", self.port),
            None => self.address().fmt(f),
        }
    }
}

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
    /// Which of these names the client says that it means. Not in records, which have it among the
    /// attributes of what was said.
    #[serde(skip)]
    pub claim: Claim,
}

/// Which server a client says that it wants, where many may be at its destination. Its word takes
/// names away, and adds none: what restricts by any name counts whatever it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It says nothing.
    #[default]
    Nothing,
    /// This one. Where no such name leads there, the address is judged without names.
    Server(Arc<str>),
    /// It says it in a way that cannot be read: the address is judged without names.
    Unreadable,
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
            claim: Claim::Nothing,
        }
    }

    /// The names that it may be, by what the client says; what was asked for last comes first.
    pub fn believed(&self) -> impl Iterator<Item = &Arc<str>> {
        self.hosts.iter().filter(|host| match &self.claim {
            Claim::Nothing => true,
            Claim::Server(name) => *host == name,
            Claim::Unreadable => false,
        })
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

//! What is remembered about a governed socket, from its creation until it is gone.
use crate::address::Ip;
use crate::config::DNS_PORTS;

/// What became of a governed socket.
pub mod state {
    /// Created by a governed process; not connected yet.
    pub const CREATED: u32 = 1;
    /// Connected to the gateway in place of its destination.
    pub const REDIRECTED: u32 = 2;
    /// Connected to a listener of its own tree, on loopback.
    pub const OWN_TREE: u32 = 3;
    /// Let through without inspection, since its policy does not enforce.
    pub const PASSED: u32 = 4;
    /// Accepted by a listener that has this storage: a copy of the listener's. Or connected within its
    /// tree before that was governed.
    pub const ACCEPTED: u32 = 5;
}

/// The storage of a governed socket, and what the daemon finds on the socket that it accepts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the process meant to go.
    pub destination: Ip,
    /// The address that the socket was bound to; all zero when it was not. The daemon dials from it.
    pub source: Ip,
    /// The start time of the process.
    pub start: u64,
    /// Its tree.
    pub tree: u64,
    /// The socket's cookie.
    pub cookie: u64,
    /// The cookie of the socket's network namespace: not to be had in the egress hook before 6.13.
    pub netns: u64,
    /// When this was written: nanoseconds since boot.
    pub at: u64,
    /// The process (tgid).
    pub tgid: u32,
    /// The policy of its tree.
    pub slot: u32,
    /// One of [`state`].
    pub state: u32,
    /// The port it meant to reach, in host byte order.
    pub port: u16,
    /// The domain of the socket: 4 or 6.
    pub family: u16,
}

/// A name server that a datagram socket was sent away from.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub ip: Ip,
    /// Under which source its last question was published; port 0: none was.
    pub source: Ip,
    /// The port of that source, in host byte order.
    pub source_port: u32,
    /// The gateway's port that it was published for, in host byte order.
    pub listener: u32,
    /// It was named; the rest is zero when not.
    pub named: u32,
    /// Its port, in host byte order.
    pub port: u32,
}

/// The storage of a governed socket that asks for names: a port of the gateway stands for each of
/// the servers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Questions {
    /// The servers, by the number of the gateway's port.
    pub servers: [Server; DNS_PORTS],
    /// The start time of the process that asked last.
    pub start: u64,
    /// Its tree.
    pub tree: u64,
    /// The socket's cookie.
    pub cookie: u64,
    /// The cookie of the socket's network namespace.
    pub netns: u64,
    /// The process (tgid).
    pub tgid: u32,
    /// The policy of its tree.
    pub slot: u32,
    /// Which server makes room for the next one when all places are taken.
    pub next: u32,
    /// The domain of the socket: 4 or 6.
    pub family: u32,
}

/// Where a handshake, or a question, on loopback comes from. The source port alone is not enough:
/// two network namespaces have the same ones.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The network namespace's cookie.
    pub netns: u64,
    /// The source address.
    pub ip: Ip,
    /// The source port, in host byte order.
    pub port: u32,
    /// The listener's port, in host byte order.
    pub listener: u32,
}

/// For which tree the daemon dials, on the sockets that it dials with: what the tree itself listens
/// on is reached by it through the gateway too.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// The tree.
    pub tree: u64,
}

/// The mark on the daemon's own listeners: whoever binds a dead daemon's port does not have it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The daemon that listens: [`config::Config::generation`](crate::config::Config) of its time.
    pub generation: u64,
}

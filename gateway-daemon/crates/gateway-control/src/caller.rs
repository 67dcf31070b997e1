//! Who asks: a process on this host, or somebody who signed in and comes by the network.
use crate::peer::Peer;
use crate::ports::Role;
use gateway_core::Principal;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Who asks. Whatever is done in somebody's name is recorded with this.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A process that connected to the control socket; the kernel says which.
    Local(Arc<Peer>),
    /// Somebody whose word an issuer's signature vouches for. Never inside a governed tree.
    Remote(Arc<RemoteCaller>),
}

/// Who comes by the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteCaller {
    /// As whom they signed in.
    pub principal: Principal,
    /// What their groups let them do.
    pub role: Role,
    /// Where the connection comes from: the proxy, where one stands in front.
    pub address: SocketAddr,
}

/// For a log: `pid 7 (uid 0)`, or `user:alice from 192.0.2.1:4711`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Local(peer) => write!(f, "pid {} (uid {})", peer.pid, peer.uid),
            Caller::Remote(remote) => {
                write!(f, "{} from {}", remote.principal.id, remote.address)
            }
        }
    }
}

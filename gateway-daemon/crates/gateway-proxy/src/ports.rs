//! What the proxy needs from others. The binary wires the rest of the product into these.
use gateway_core::{Approver, Judge, Masker, Recorder, Subject, Timestamp, TreeId};
use gateway_protocol::{Encryption, Logins, Meter, Protocol};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::SystemTime;

/// What the kernel remembers about the connection behind an accepted socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the process meant to go.
    pub destination: SocketAddr,
    /// The tree of the process.
    pub tree: TreeId,
    /// The process (tgid) in the init pid namespace.
    pub pid: u32,
    /// When its leader started: nanoseconds since boot.
    pub start: u64,
    /// The number of the tree's policy in the kernel's maps.
    pub policy_slot: u32,
    /// The address that the process bound its socket to. The upstream is dialled from it.
    pub bound_source: Option<IpAddr>,
    /// The cookie of the process's socket.
    pub cookie: u64,
    /// The cookie of its network namespace.
    pub netns: u64,
    /// That is another one than the daemon's.
    pub abroad: bool,
}

/// The kernel could not be asked about a socket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("capture: {0}")]
pub struct CaptureError(pub Arc<str>);

/// Knows which connection stands behind an accepted socket.
pub trait Capture: Send + Sync {
    /// The flow behind an accepted socket. `None`: the kernel redirected no connection to it, so
    /// somebody connected by themselves; it is reset and counted.
    ///
    /// Called once per connection, on the thread that serves it; it must not block.
    ///
    /// # Errors
    /// The kernel could not be asked. The connection is reset.
    fn flow(&self, accepted: BorrowedFd<'_>) -> Result<Option<Flow>, CaptureError>;

    /// The flow behind a datagram that came from `source` to the listener on `port` in the network
    /// namespace with the cookie `netns`. `None`: nobody was redirected, and it is dropped. It must
    /// not block.
    ///
    /// # Errors
    /// The kernel could not be asked. The datagram is dropped.
    fn question(
        &self,
        netns: u64,
        port: u16,
        source: SocketAddr,
    ) -> Result<Option<Flow>, CaptureError>;

    /// A socket to reach the destination of a flow with: non-blocking, not to be inherited, in the
    /// network namespace of the process, and known to the kernel as one that stands for its tree.
    /// It must not block for longer than the system calls take.
    ///
    /// # Errors
    /// The system gave none, or the namespace is gone.
    fn socket(&self, flow: &Flow, transport: Transport) -> io::Result<OwnedFd>;
}

/// What is spoken beneath a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Stream,
    /// UDP.
    Datagram,
}

/// Knows by which names trees came to addresses.
pub trait Names: Send + Sync {
    /// The names that led a tree to an address, by the word of servers that are trusted; what it
    /// asked for last comes first. It must not block.
    fn names(&self, tree: TreeId, address: IpAddr, now: Timestamp) -> Vec<Arc<str>>;
}

/// No name is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNames;

impl Names for NoNames {
    fn names(&self, _: TreeId, _: IpAddr, _: Timestamp) -> Vec<Arc<str>> {
        Vec::new()
    }
}

/// Who stands behind a flow, and under which policy.
#[derive(Clone, Debug)]
pub struct Attributed {
    /// Who asks.
    pub subject: Arc<Subject>,
    /// The name of the policy that the tree is under.
    pub policy: Arc<str>,
}

/// What is known of who stands behind a flow.
#[derive(Clone, Debug)]
pub enum Behind {
    /// All of it.
    Known(Attributed),
    /// The process or its tree is not known: the connection is reset.
    Nobody,
    /// Not yet: a user is being looked up, or a token verified.
    Unsettled,
}

/// Knows who stands behind a flow.
pub trait Attribution: Send + Sync {
    /// The subject and the policy of a flow. It must not block.
    fn subject(&self, flow: &Flow) -> Behind;

    /// The same when it was not settled: waits for it, but not for long. Called on a thread where
    /// that harms nobody. `None`: the connection is reset.
    fn settle(&self, flow: &Flow) -> Option<Attributed>;
}

/// Tells the time of records.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Everything that stands behind the proxy.
#[derive(Clone)]
pub struct Ports {
    /// Which connection stands behind an accepted socket.
    pub capture: Arc<dyn Capture>,
    /// Who stands behind it.
    pub attribution: Arc<dyn Attribution>,
    /// Decides.
    pub judge: Arc<dyn Judge>,
    /// Records.
    pub recorder: Arc<dyn Recorder>,
    /// Brings what is held before humans.
    pub approver: Arc<dyn Approver>,
    /// Covers sensitive values.
    pub masker: Arc<dyn Masker>,
    /// The time of records.
    pub clock: Arc<dyn Clock>,
    /// Makes TLS of the ends.
    pub encryption: Arc<dyn Encryption>,
    /// Has what the gateway logs in with.
    pub logins: Arc<dyn Logins>,
    /// Is told how long the gateway keeps bytes.
    pub meter: Arc<dyn Meter>,
    /// Knows the names of destinations.
    pub names: Arc<dyn Names>,
    /// What can be recognised, in the order in which it is asked.
    pub protocols: Vec<Arc<dyn Protocol>>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocols: Vec<_> = self
            .protocols
            .iter()
            .map(|protocol| protocol.name())
            .collect();
        f.debug_struct("Ports")
            .field("protocols", &protocols)
            .finish_non_exhaustive()
    }
}

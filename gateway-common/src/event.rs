//! What the kernel half reports. Enforcement never depends on it: a lost event costs a gap marker.

/// What happened.
pub mod kind {
    /// A process became the root of a new tree.
    pub const ROOTED: u32 = 1;
    /// A governed process forked.
    pub const FORKED: u32 = 2;
    /// A governed process executed a file; the file's name and the arguments follow.
    pub const EXECUTED: u32 = 3;
    /// The last thread of a governed process exited.
    pub const EXITED: u32 = 4;
    /// Something was refused; a [`Refused`](super::Refused) follows.
    pub const REFUSED: u32 = 5;
    /// A cgroup could not be judged in the kernel: the daemon has to look.
    pub const RESCAN: u32 = 6;
}

/// How a process became a root, in [`Event::detail`].
pub mod rooted {
    /// It forked, or was forked, in a governed cgroup.
    pub const FORK: u32 = 1;
    /// It executed a file in a governed cgroup.
    pub const EXEC: u32 = 2;
    /// It connected from a governed cgroup.
    pub const CONNECT: u32 = 3;
    /// It was forked by a service whose children begin trees of their own.
    pub const BOUNDARY: u32 = 4;
}

/// Why something was refused, in [`Event::detail`].
pub mod refused {
    /// No marked listener: the daemon is down, or not yet in this network namespace.
    pub const DOWN: u32 = 1;
    /// A datagram to something that is not a resolver of the host.
    pub const DATAGRAM: u32 = 2;
    /// A kind of socket that could not be inspected.
    pub const SOCKET: u32 = 3;
    /// A link-local address.
    pub const LINK_LOCAL: u32 = 4;
    /// The gateway's own listener.
    pub const LISTENER: u32 = 5;
    /// The socket is bound to a device and could not be freed of it.
    pub const DEVICE: u32 = 6;
    /// Tags may be missing, and this process has none.
    pub const UNSURE: u32 = 7;
    /// State could not be kept.
    pub const STORAGE: u32 = 8;
    /// Somebody else connects to what the process listens on; the address is theirs.
    pub const INBOUND: u32 = 9;
    /// Not refused: the daemon had been silent for as long as the policy says, so it passed.
    pub const WAITED: u32 = 10;
    /// A family of sockets that cannot be inspected (BPF LSM, as all that follow).
    pub const FAMILY: u32 = 11;
    /// The system call bpf().
    pub const BPF: u32 = 12;
    /// What a bpffs holds was to be removed, renamed or unmounted.
    pub const PINS: u32 = 13;
    /// Another process was to be traced.
    pub const TRACE: u32 = 14;
    /// A unix socket of somebody outside of the tree.
    pub const UNIX: u32 = 15;
    /// A socket or device was passed in from outside of the tree.
    pub const PASSED_IN: u32 = 16;
    /// A device that makes packets, or is the memory.
    pub const DEVICE_FILE: u32 = 17;
    /// A file that names what the kernel starts, or speaks to.
    pub const KERNEL_FILE: u32 = 18;
    /// A file system that speaks to others.
    pub const MOUNT: u32 = 19;
    /// Code for the kernel.
    pub const CODE: u32 = 20;
    /// Rules that redirect packets.
    pub const RULES: u32 = 21;
    /// A key that the kernel has somebody fetch.
    pub const KEY: u32 = 22;
    /// A ring that a process outside of the tree serves.
    pub const RING: u32 = 23;
    /// The gateway's own files, or those that have others work.
    pub const GUARDED: u32 = 24;
    /// A signal for the gateway.
    pub const SIGNAL: u32 = 25;
}

/// The longest argument list that is kept, in bytes.
pub const ARGV_MAX: usize = 4096;
/// The longest file name that is kept, in bytes, with its zero.
pub const FILE_MAX: usize = 512;

/// The head of every event.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// One of [`kind`].
    pub kind: u32,
    /// The process.
    pub tgid: u32,
    /// When it started: nanoseconds since boot.
    pub start: u64,
    /// Its tree.
    pub tree: u64,
    /// When this happened: nanoseconds since boot.
    pub at: u64,
    /// The parent's start time, in a fork.
    pub parent_start: u64,
    /// Its cgroup's id.
    pub cgroup: u64,
    /// The parent, in a fork.
    pub parent_tgid: u32,
    /// Its tree's policy.
    pub slot: u32,
    /// Its real user id, in the init user namespace.
    pub uid: u32,
    /// One of [`rooted`] or [`refused`]; in an exec, 1 when the arguments were cut.
    pub detail: u32,
    /// How many bytes of file name follow, in an exec.
    pub file_len: u32,
    /// How many bytes of arguments follow the file name, in an exec.
    pub argv_len: u32,
}

/// What was refused, behind the head.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where it would have gone.
    pub destination: crate::address::Ip,
    /// The port, in host byte order.
    pub port: u32,
    /// The socket's type (SOCK_STREAM is 1).
    pub socket_type: u32,
    /// The socket's protocol (TCP is 6).
    pub protocol: u32,
    /// The socket's domain (AF_INET is 2).
    pub family: u32,
}

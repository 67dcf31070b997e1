//! What the kernel half reports. Losses are counted there: see [`Counters::events_lost`].
//!
//! [`Counters::events_lost`]: crate::Counters::events_lost
use crate::error::CaptureError;
use crate::host::boot_epoch_ns;
use crate::maps::ip_of;
use crate::wire::{read_event, read_refused};
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use gateway_common::event::{self, FILE_MAX, kind, refused, rooted};
use gateway_core::{Timestamp, TreeId};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

/// A process: unique until the next boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessKey {
    /// Its id (tgid) in the init pid namespace.
    pub pid: u32,
    /// When its leader started: nanoseconds since boot.
    pub start: u64,
}

/// What a process did when it became the root of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootedBy {
    /// It forked, or was forked, in a governed cgroup.
    Fork,
    /// It executed a file in a governed cgroup.
    Exec,
    /// It connected, or made a socket, in a governed cgroup.
    Connect,
    /// It was forked by a boundary.
    Boundary,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It became the root of a new tree.
    Rooted(RootedBy),
    /// It was forked.
    Forked {
        /// By whom.
        parent: ProcessKey,
    },
    /// It executed a file.
    Executed {
        /// The file as it was named, at most 511 bytes.
        file: Vec<u8>,
        /// The arguments, each with a zero behind it, at most 4 KiB.
        argv: Vec<u8>,
        /// There were more arguments, or they could not be read.
        argv_cut: bool,
    },
    /// Its last thread exited.
    Exited,
    /// Something it asked for was refused; or would have been, where its policy does not enforce.
    Refused {
        /// Why, in words.
        reason: &'static str,
        /// Where it would have gone.
        destination: SocketAddr,
        /// The socket's domain, type and protocol, as in socket(2).
        socket: (u32, u32, u32),
    },
    /// Call [`Capture::watch`](crate::Capture::watch). The event is about no process.
    Rescan,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// When, in nanoseconds since boot: the clock of [`ProcessKey::start`].
    pub boot_ns: u64,
    /// Which process.
    pub process: ProcessKey,
    /// Its tree.
    pub tree: TreeId,
    /// The policy of its tree.
    pub slot: u32,
    /// Its real user id in the init user namespace; in a fork, its parent's.
    pub uid: u32,
    /// The id of its cgroup; 0 when it was not looked up.
    pub cgroup: u64,
    /// What happened.
    pub kind: Kind,
}

/// The reader of the ring. One thread owns it.
pub struct Events {
    ring: RingBuf<MapData>,
    epoch_ns: u64,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl Events {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Events, CaptureError> {
        let map = ebpf
            .take_map("EVENTS")
            .ok_or_else(|| CaptureError::System {
                what: "find the map EVENTS".into(),
                detail: "the eBPF object does not have it".into(),
            })?;
        let ring = RingBuf::try_from(map)
            .map_err(|error| CaptureError::new("open the map EVENTS", &error))?;
        Ok(Events {
            ring,
            epoch_ns: boot_epoch_ns()?,
        })
    }

    /// The next event; `None` when the ring is empty.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let item = self.ring.next()?;
            // An event that cannot be read is of a version that introduce() would have refused.
            if let Some(event) = decode(&item, self.epoch_ns) {
                return Some(event);
            }
        }
    }

    /// Waits until the ring has something, or for this long. Forks and exits do not wake, so that
    /// they cost the forking process nothing: look again after some milliseconds at most.
    pub fn wait(&self, at_most: Duration) {
        let timeout = PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX);
        let _ = poll(
            &mut [PollFd::new(self.ring.as_fd(), PollFlags::POLLIN)],
            timeout,
        );
    }

    /// The descriptor that becomes readable.
    #[must_use]
    pub fn raw_fd(&self) -> std::os::fd::RawFd {
        self.ring.as_raw_fd()
    }
}

fn decode(bytes: &[u8], epoch_ns: u64) -> Option<Event> {
    let (head, rest) = read_event(bytes)?;
    let kind = match head.kind {
        kind::ROOTED => Kind::Rooted(match head.detail {
            rooted::FORK => RootedBy::Fork,
            rooted::EXEC => RootedBy::Exec,
            rooted::BOUNDARY => RootedBy::Boundary,
            _ => RootedBy::Connect,
        }),
        kind::FORKED => Kind::Forked {
            parent: ProcessKey {
                pid: head.parent_tgid,
                start: head.parent_start,
            },
        },
        kind::EXECUTED => executed(&head, rest)?,
        kind::EXITED => Kind::Exited,
        kind::REFUSED => {
            let (what, _) = read_refused(rest)?;
            Kind::Refused {
                reason: reason(head.detail),
                destination: SocketAddr::new(ip_of(what.destination), what.port as u16),
                socket: (what.family, what.socket_type, what.protocol),
            }
        }
        kind::RESCAN => Kind::Rescan,
        _ => return None,
    };
    Some(Event {
        time: Timestamp(epoch_ns + head.at),
        boot_ns: head.at,
        process: ProcessKey {
            pid: head.tgid,
            start: head.start,
        },
        tree: TreeId(head.tree),
        slot: head.slot,
        uid: head.uid,
        cgroup: head.cgroup,
        kind,
    })
}

fn executed(head: &event::Event, rest: &[u8]) -> Option<Kind> {
    let (file, argv) = rest.split_at_checked(FILE_MAX)?;
    Some(Kind::Executed {
        file: file.get(..head.file_len as usize)?.to_vec(),
        argv: argv.get(..head.argv_len as usize)?.to_vec(),
        argv_cut: head.detail != 0,
    })
}

fn reason(detail: u32) -> &'static str {
    match detail {
        refused::DOWN => "the gateway does not listen in this network namespace",
        refused::DATAGRAM => "datagrams are refused, but DNS to the host's resolvers",
        refused::SOCKET => "a kind of socket that cannot be inspected",
        refused::LINK_LOCAL => "a link-local address",
        refused::LISTENER => "the gateway's own listener",
        refused::DEVICE => "the socket is bound to a device",
        refused::STORAGE => "no memory to remember the connection",
        refused::INBOUND => "somebody outside of the tree connects to what it listens on",
        refused::FAMILY => "a family of sockets that cannot be inspected",
        refused::BPF => "the system call bpf()",
        refused::PINS => "what a bpffs holds, or a mount above it",
        refused::TRACE => "tracing a process outside of the tree",
        refused::UNIX => "a unix socket outside of the tree that the policy does not list",
        refused::PASSED_IN => "a descriptor of somebody outside of the tree",
        refused::DEVICE_FILE => {
            "a device by which packets are made, others are acted for, or memory is seen"
        }
        refused::KERNEL_FILE => "a file that says what the kernel starts, or whom it speaks to",
        refused::MOUNT => "a file system that may speak to others",
        refused::CODE => "code for the kernel",
        refused::RULES => "a rule of tc or netfilter",
        refused::KEY => "a key that the kernel has fetched",
        refused::RING => "a ring of io_uring that others serve",
        refused::GUARDED => "a file of the gateway's, or one that has others work",
        refused::SIGNAL => "a signal for the gateway",
        refused::WAITED => "passed: the gateway was silent for as long as when_down says",
        _ => "the gateway is not sure whether the process is governed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_events_are_not_read() {
        for length in 0..size_of::<event::Event>() {
            assert!(decode(&vec![0xff; length], 0).is_none());
        }
        assert!(decode(&[0xff; 4096], 0).is_none(), "an unknown kind");
    }
}

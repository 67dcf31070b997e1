//! What the kernel half reports, in the words of this crate. The binary translates.
use gateway_core::TreeId;
use serde::{Deserialize, Serialize};

/// A process, unique until reboot: its tgid, and when its leader started.
///
/// It survives exec, also by a thread that is not the leader (the kernel's `de_thread` hands the
/// leader's start time over), and a reused pid has another one. Ordered by start: a parent always
/// sorts before its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    /// The leader's `start_boottime`, nanoseconds since boot.
    pub start: u64,
    /// The tgid in the init pid namespace.
    pub pid: u32,
}

impl ProcessKey {
    /// The process `pid` that started `start` nanoseconds after boot.
    #[must_use]
    pub const fn new(pid: u32, start: u64) -> ProcessKey {
        ProcessKey { start, pid }
    }
}

/// How a process became the root of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RootedBy {
    /// It was forked into a governed cgroup.
    CgroupAtFork,
    /// It was found in a governed cgroup when it executed a file.
    CgroupAtExec,
    /// It was found in a governed cgroup when it connected.
    CgroupAtConnect,
    /// `gateway run` started it.
    Run,
    /// It was there before the gateway was, and stood in a governed cgroup.
    Scan,
    /// It was forked by a service whose children begin trees of their own.
    Boundary,
}

/// One report of the kernel half.
///
/// `time` is in nanoseconds since boot, of the same clock as [`ProcessKey::start`]
/// (`bpf_ktime_get_boot_ns`), since a child is taken to have inherited what its parent was at the
/// child's start. Reports may come late, twice, in another order, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A process became the root of a new tree.
    Rooted {
        /// When, nanoseconds since boot.
        time: u64,
        /// Which process.
        key: ProcessKey,
        /// The new tree.
        tree: TreeId,
        /// The slot of the policy that the tree is under.
        policy_slot: u32,
        /// Its effective user id.
        uid: u32,
        /// The id of its cgroup in the default hierarchy.
        cgroup_id: u64,
        /// What made it a root.
        how: RootedBy,
    },
    /// A governed process made a new one. Threads are not reported.
    Forked {
        /// When, nanoseconds since boot.
        time: u64,
        /// The process that called fork, whatever `real_parent` says.
        parent: ProcessKey,
        /// The new process.
        child: ProcessKey,
        /// The tree of both.
        tree: TreeId,
        /// The child's effective user id.
        uid: u32,
        /// The id of the child's cgroup.
        cgroup_id: u64,
    },
    /// A governed process executed a file.
    Executed {
        /// When, nanoseconds since boot.
        time: u64,
        /// Which process.
        key: ProcessKey,
        /// Its tree.
        tree: TreeId,
        /// Its effective user id afterwards.
        uid: u32,
        /// The id of its cgroup.
        cgroup_id: u64,
        /// The file as it was given to the system call; may be relative, a link, or a script.
        file: &'a [u8],
        /// The arguments, each ended by NUL.
        argv: &'a [u8],
        /// There were more arguments than are given here.
        argv_cut: bool,
    },
    /// The last thread of a governed process ended.
    Exited {
        /// When, nanoseconds since boot.
        time: u64,
        /// Which process.
        key: ProcessKey,
        /// Its tree.
        tree: TreeId,
    },
    /// Reports were lost before this one.
    Lost {
        /// How many.
        count: u64,
    },
}

/// What the kernel's tag map says about one governed process: the truth about membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The process.
    pub key: ProcessKey,
    /// Its tree.
    pub tree: TreeId,
    /// The slot of the policy that its tree is under.
    pub policy_slot: u32,
    /// Who forked it; `None` when it is a root, or was tagged where it stood.
    pub parent: Option<ProcessKey>,
}

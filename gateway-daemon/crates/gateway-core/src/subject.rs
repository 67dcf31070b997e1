//! Who: the principal at the root of a tree, the delegates on the way, the process that acts.
use crate::id::TreeId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// How sure the gateway is of a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Assurance {
    /// Nothing is known.
    None,
    /// The job says so itself.
    Asserted,
    /// The kernel says so: the login uid, or the root's uid.
    Kernel,
    /// A signature was checked.
    Verified,
}

impl Assurance {
    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Assurance::None => "none",
            Assurance::Asserted => "asserted",
            Assurance::Kernel => "kernel",
            Assurance::Verified => "verified",
        }
    }
}

impl fmt::Display for Assurance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A person, a job or a service: `local:alice`, `ci:github:acme/api`, `unknown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The name that rules match.
    pub id: Arc<str>,
    /// How sure we are of it.
    pub assurance: Assurance,
    /// Groups from the directory or the token.
    pub groups: Vec<Arc<str>>,
}

impl Principal {
    /// Nobody knows.
    #[must_use]
    pub fn unknown() -> Principal {
        Principal {
            id: "unknown".into(),
            assurance: Assurance::None,
            groups: Vec::new(),
        }
    }
}

/// Where the facts about a process come from, so that a responder knows what to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// The kernel reported the fork and the exec as they happened.
    Kernel,
    /// Some facts were read from /proc later; the process could have changed them.
    Proc,
    /// The process was there before the gateway, its parents were gone: placed by its cgroup.
    Cgroup,
    /// Events were lost here; the maps name the process, its details are missing.
    Gap,
}

/// One process of a tree, alive or exited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The process id (tgid) in the init pid namespace.
    pub pid: u32,
    /// When its leader started: nanoseconds since boot. With the pid it is unique until reboot.
    pub start: u64,
    /// The file that it last executed.
    pub exe: Arc<str>,
    /// Its arguments at that moment, at most 4 KiB in all.
    pub argv: Vec<Arc<str>>,
    /// Its effective user id at its last exec or fork.
    pub uid: u32,
    /// Its working directory, where it could still be asked.
    pub cwd: Option<Arc<str>>,
    /// Its cgroup, from the cgroup2 mount.
    pub cgroup: Arc<str>,
    /// The container it lives in, where one is known.
    pub container: Option<Arc<str>>,
    /// Where these facts come from.
    pub provenance: Provenance,
    /// The arguments were longer than what was kept.
    pub argv_cut: bool,
    /// It has exited; it is kept because descendants live.
    pub exited: bool,
}

/// The chain from the root of a tree to the process that acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The tree.
    pub tree: TreeId,
    /// Root first, the acting process last. Never empty for a session.
    pub processes: Vec<Process>,
}

impl Lineage {
    /// How many hops the acting process is away from the root; the root itself is at 0.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.processes.len().saturating_sub(1)
    }

    /// The process that acts.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.processes.last()
    }

    /// The process at the root of the tree.
    #[must_use]
    pub fn root(&self) -> Option<&Process> {
        self.processes.first()
    }
}

/// Who asks: every record carries all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Who stands at the root of the tree.
    pub principal: Principal,
    /// Who was added on the way down; each can only narrow.
    pub delegates: Vec<Principal>,
    /// The processes from the root to the one that acts.
    pub lineage: Lineage,
}

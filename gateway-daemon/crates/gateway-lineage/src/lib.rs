//! Where does this process come from? The trees of governed processes, kept in userspace.
//!
//! The kernel half reports forks, execs and exits; [`Forest`] keeps each process with its parents,
//! also those that have exited, as long as descendants live. A connection's [`gateway_core::Lineage`]
//! is read from it. Nothing here decides anything: membership of a tree is the kernel's tag map's
//! word, and a lost report costs details, which are marked ([`gateway_core::Provenance`]), never a
//! verdict.
//!
//! Start with [`Event`], then `table.rs`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod cgroup;
mod container;
mod event;
mod forest;
mod image;
mod limits;
mod proc;
mod state;
mod table;
#[cfg(test)]
mod tests;

pub use cgroup::{CgroupNames, CgroupPaths};
pub use event::{Event, ProcessKey, RootedBy, Tag};
pub use forest::{Forest, Restored, Stats, TreeProcess, TreeSummary, TreeView};
pub use limits::Limits;
pub use proc::{Depth, Facts, Look, ProcSource, SystemProc};
pub use state::{StateFile, StateNote};
pub use table::{LINEAGE_MAX, Repaired, UNKNOWN_CGROUP};

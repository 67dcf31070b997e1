//! The ABI between kernel and daemon, and every rule that both must share.
//!
//! Everything here is plain data of a fixed layout, or a pure function. The kernel half runs the
//! very functions that the tests on the host run. One module per concern:
//!
//! - [`tag`]: who is governed, and how a process is told from another with the same pid
//! - [`flow`]: what is remembered about a governed socket
//! - [`free`]: what a CPU remembers of who is not governed
//! - [`event`]: what the kernel half reports; never what it decides
//! - [`glob`]: cgroup paths against the globs of the policies
//! - [`guard`]: files that governed processes leave alone
//! - [`address`]: which addresses are loopback, link-local, or somebody's metadata
//! - [`scan`]: the processes that were there before the programs
//! - [`socket`]: whose a socket is that is not of IP
//! - [`config`]: what the daemon tells the kernel half
#![no_std]

pub mod address;
pub mod config;
pub mod counter;
pub mod event;
pub mod flow;
pub mod free;
pub mod glob;
pub mod guard;
pub mod scan;
pub mod socket;
pub mod tag;

/// The version of every layout in this crate. Pinned maps of another version are not taken over.
pub const ABI_VERSION: u32 = 4;

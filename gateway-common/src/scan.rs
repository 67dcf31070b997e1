//! One process, as the daemon reads it from the kernel's own list.

/// A process with the start time that the tags use: /proc gives it in ticks only.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// When its leader started: nanoseconds since boot.
    pub start: u64,
    /// The id of its cgroup in the default hierarchy.
    pub cgroup: u64,
    /// The process (tgid).
    pub tgid: u32,
    /// The process that it is a child of now.
    pub parent_tgid: u32,
}

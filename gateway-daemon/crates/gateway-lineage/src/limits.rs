//! How much memory the trees may take.

/// The bounds of a forest, and what happens at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes that are kept, alive and exited. Beyond it, the largest tree gives up its exited
    /// ancestors, oldest first, never its root; what they left is marked as a gap. A living process
    /// is always kept: the host's `pid_max` bounds these.
    pub processes_max: usize,
    /// Bytes of files, arguments, directories and cgroup paths. Beyond it, and for one tree beyond
    /// a quarter of it, only a short form of the file is kept, and `argv_cut` is set.
    pub detail_bytes_max: usize,
    /// For how long an exited process without descendants is kept, in nanoseconds: a connection of
    /// its may not have been accepted yet, and reports may be late.
    pub grace_ns: u64,
    /// How many such are kept at most; beyond it the oldest goes early.
    pub departed_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            processes_max: 131_072,
            detail_bytes_max: 32 << 20,
            grace_ns: 10_000_000_000,
            departed_max: 16_384,
        }
    }
}

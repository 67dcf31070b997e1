//! Files that governed processes leave alone: the gateway's own, and those that have others work.

/// A file of the host, whatever it is called.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Its inode's number.
    pub number: u64,
    /// The device of its file system, as the kernel counts it.
    pub device: u64,
}

/// How a file is guarded: bits.
pub mod guarded {
    /// A guarded file is below: it stays where it is, and nothing is mounted over it.
    pub const ABOVE: u64 = 1;
    /// It is not changed, nor is anything below it.
    pub const CLOSED: u64 = 2;
    /// It is not read either.
    pub const SECRET: u64 = 4;
    /// Whoever guards writes its generation behind these bits, and finds what earlier ones have left.
    pub const GENERATION_SHIFT: u32 = 8;
    /// All bits that say how.
    pub const HOW: u64 = ABOVE | CLOSED | SECRET;
}

/// How many files can be guarded.
pub const GUARDED_MAX: u32 = 1024;
/// How deep below a guarded directory something is still found. What is guarded is not as deep.
pub const DEPTH_MAX: u32 = 24;

/// What the daemon says before it opens a file that is to be guarded: the thread that opens it, and the
/// value that it gets. Only the kernel half knows a file's device as hooks see it: btrfs and overlayfs tell
/// others another one.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lesson {
    /// The thread's id; 0: none.
    pub thread: u64,
    /// Bits of [`guarded`].
    pub value: u64,
}

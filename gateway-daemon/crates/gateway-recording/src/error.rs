//! What can go wrong, one variant per fault, each naming the file that it is about.
use std::io;
use std::path::PathBuf;

/// The journal could not be opened, and so nothing may be let through.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file operation failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried: `create`, `read` …
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no room for the next segment.
    #[error("the disk is full: no room for a journal segment of {bytes} bytes in {}", dir.display())]
    Full {
        /// The journal directory.
        dir: PathBuf,
        /// What a segment takes.
        bytes: u64,
    },
    /// The filesystem cannot set space aside, without which a full disk would kill the daemon.
    #[error("the filesystem of {} cannot preallocate files (fallocate); put state_dir on ext4, xfs, btrfs or tmpfs", dir.display())]
    NoPreallocation {
        /// The journal directory.
        dir: PathBuf,
    },
    /// Another daemon writes this journal.
    #[error("the journal in {} is in use by another daemon{}", dir.display(), owner.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The journal directory.
        dir: PathBuf,
        /// Who holds it, where that is known.
        owner: Option<u32>,
    },
    /// The segment was written by another version of the gateway.
    #[error("{} has journal format {found}, this gateway writes format {expected}: move the journal away or use the gateway that wrote it", file.display())]
    Version {
        /// The segment.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The segment was written on a machine with the other byte order.
    #[error("{} was written on a machine with the other byte order: it can be read there only", file.display())]
    ByteOrder {
        /// The segment.
        file: PathBuf,
    },
    /// An option makes no sense.
    #[error("journal segments of {bytes} bytes: expected {min} to {max}")]
    SegmentBytes {
        /// What was asked for.
        bytes: u64,
        /// The smallest possible.
        min: u64,
        /// The largest possible.
        max: u64,
    },
}

/// A record could not be read. Reading can go on behind it: ask for the next one.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file operation failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no journal there.
    #[error("no journal in {}", dir.display())]
    NoJournal {
        /// The directory.
        dir: PathBuf,
    },
    /// The segment was written by another version of the gateway; it is skipped.
    #[error("{} has journal format {found}, this gateway reads format {expected}", file.display())]
    Version {
        /// The segment.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// The segment was written on a machine with the other byte order; it is skipped.
    #[error("{} was written on a machine with the other byte order", file.display())]
    ByteOrder {
        /// The segment.
        file: PathBuf,
    },
    /// The segment's header is not what the gateway writes; the segment is skipped.
    #[error("{} is not a journal segment, or its header is damaged", file.display())]
    Header {
        /// The segment.
        file: PathBuf,
    },
    /// Bytes that are no record; reading goes on behind them.
    #[error("{} is damaged at byte {offset}: {bytes} bytes are not readable", file.display())]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// How much cannot be read.
        bytes: u64,
    },
    /// The last record was not written to its end, which a power loss does.
    #[error("{} ends with a torn record at byte {offset}", file.display())]
    Torn {
        /// The segment.
        file: PathBuf,
        /// Where the torn record begins.
        offset: u64,
    },
    /// Segments are not there, between others that are.
    #[error("journal segments {from} to {to} are missing in {}", dir.display())]
    Missing {
        /// The journal directory.
        dir: PathBuf,
        /// The first missing one.
        from: u64,
        /// The last missing one.
        to: u64,
    },
    /// Records are not there, between others that are.
    #[error("journal records {expected} to {} are missing before {} at byte {offset}", found.saturating_sub(1), file.display())]
    Gap {
        /// The segment.
        file: PathBuf,
        /// Where the reader stands.
        offset: u64,
        /// The sequence number that should have come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// A record is whole, and still means nothing to this gateway.
    #[error("record {sequence} in {} cannot be understood: {reason}", file.display())]
    Undecodable {
        /// The segment.
        file: PathBuf,
        /// The record.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The index could not be asked.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// The index could not be used. The journal does not depend on it.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Another process has it open.
    #[error("the index in {} is in use by another process", dir.display())]
    InUse {
        /// The index directory.
        dir: PathBuf,
    },
    /// The database says no.
    #[error("the index in {}: {source}", dir.display())]
    Database {
        /// The index directory.
        dir: PathBuf,
        /// What it said.
        source: sled::Error,
    },
    /// The database broke down, which it does on files that it cannot make sense of.
    #[error("the index in {} is corrupt: {reason}", dir.display())]
    Corrupt {
        /// The index directory.
        dir: PathBuf,
        /// What it said.
        reason: String,
    },
    /// A file operation failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

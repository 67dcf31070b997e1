//! The file that lets a restarted daemon remember exited ancestors.
//!
//! It is a log of what changed, not an image of all: on a busy host tens of thousands of processes
//! stand still while a few come and go, so a save costs what changed since the last one. When the
//! log has grown to several times what is alive in it, it is written anew beside the old one and
//! renamed over it. Processes that came and went between two saves are never written.
//!
//! Nothing is synced to disk: the file is bound to the boot, after a power loss it means nothing,
//! and what was written outlives a killed daemon in any case.
use crate::table::{Change, Replay};
use gateway_files::{Lasting, PRIVATE};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "lineage.bin";
const MAGIC: &[u8; 8] = b"GWLINEAG";
/// To be raised with each change of what a [`Change`] looks like.
const VERSION: u32 = 1;
/// How many changes one block holds; a torn block loses no more.
const BLOCK_CHANGES_MAX: usize = 1024;
/// A block that claims to be longer is not one of ours.
const BLOCK_BYTES_MAX: usize = 64 << 20;
/// A file that is longer is not one of ours.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Below this the log is never written anew.
const REWRITE_BYTES_MIN: u64 = 4 << 20;
/// How many times its size after the last rewrite the log may reach.
const GROWTH_MAX: u64 = 3;

/// Which boot and which form the file is of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    version: u32,
    boot_id: String,
}

/// Why earlier state was not, or not wholly, taken over. The daemon goes on; repair fills in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateNote {
    /// There is none.
    #[error("no earlier lineage at {0}")]
    Absent(PathBuf),
    /// It is from before the last reboot, when none of these processes existed.
    #[error("the lineage at {0} is from another boot")]
    AnotherBoot(PathBuf),
    /// It is of another version of the gateway.
    #[error("the lineage at {0} is of version {1}, this gateway writes {VERSION}")]
    AnotherVersion(PathBuf, u32),
    /// It is not a lineage file.
    #[error("{0} is not a lineage file")]
    Foreign(PathBuf),
    /// It cannot be read.
    #[error("the lineage at {0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
    /// Its end is damaged, as after a write that was interrupted; what comes before is used.
    #[error("the lineage at {0} is damaged from byte {1} on; what comes before is used")]
    Damaged(PathBuf, u64),
}

/// The state file of one daemon.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    boot_id: String,
    /// Open for appending; `None` when the next save must write everything.
    log: Option<File>,
    bytes: u64,
    bytes_after_rewrite: u64,
}

impl StateFile {
    /// The file in the state directory, for the boot with this id
    /// (`/proc/sys/kernel/random/boot_id`). Nothing is read or written yet.
    #[must_use]
    pub fn new(state_dir: &Path, boot_id: &str) -> StateFile {
        StateFile {
            path: state_dir.join(FILE_NAME),
            boot_id: boot_id.trim().to_owned(),
            log: None,
            bytes: 0,
            bytes_after_rewrite: 0,
        }
    }

    /// Reads what an earlier daemon wrote, as far as it is sound.
    pub(crate) fn read(&self) -> (Replay, Option<StateNote>) {
        let mut replay = Replay::default();
        let path = || self.path.clone();
        let contents = match self.read_file() {
            Ok(contents) => contents,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return (replay, Some(StateNote::Absent(path())));
            }
            Err(error) => {
                return (
                    replay,
                    Some(StateNote::Unreadable(path(), error.to_string())),
                );
            }
        };
        let header = contents
            .strip_prefix(MAGIC)
            .and_then(|rest| next_block(rest));
        let Some((header, mut rest)) = header else {
            return (replay, Some(StateNote::Foreign(path())));
        };
        // The version comes first and keeps its form, so that it can be told.
        let version = postcard::take_from_bytes::<u32>(header).map(|(version, _)| version);
        match (version, postcard::from_bytes::<Header>(header)) {
            (Ok(version), _) if version != VERSION => {
                return (replay, Some(StateNote::AnotherVersion(path(), version)));
            }
            (_, Ok(header)) if header.boot_id != self.boot_id => {
                return (replay, Some(StateNote::AnotherBoot(path())));
            }
            (_, Ok(_)) => {}
            (_, Err(_)) => return (replay, Some(StateNote::Foreign(path()))),
        }
        while !rest.is_empty() {
            let block = next_block(rest)
                .and_then(|(block, after)| Some((postcard::from_bytes(block).ok()?, after)));
            let Some((changes, after)) = block else {
                let sound = contents.len() - rest.len();
                return (replay, Some(StateNote::Damaged(path(), sound as u64)));
            };
            let changes: Vec<Change> = changes;
            changes.into_iter().for_each(|change| replay.take(change));
            rest = after;
        }
        (replay, None)
    }

    fn read_file(&self) -> io::Result<Vec<u8>> {
        let mut contents = Vec::new();
        let file = File::open(&self.path)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut contents)?;
        if contents.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other("larger than any lineage file"));
        }
        Ok(contents)
    }

    /// Must the next [`StateFile::write`] be given everything?
    pub(crate) fn wants_everything(&self) -> bool {
        let limit = REWRITE_BYTES_MIN.max(self.bytes_after_rewrite.saturating_mul(GROWTH_MAX));
        self.log.is_none() || self.bytes > limit
    }

    /// Appends changes, or replaces the file by them.
    pub(crate) fn write(&mut self, changes: &[Change], everything: bool) -> io::Result<u64> {
        let mut bytes = Vec::new();
        if everything {
            let header = Header {
                version: VERSION,
                boot_id: self.boot_id.clone(),
            };
            bytes.extend_from_slice(MAGIC);
            append_block(&mut bytes, &header)?;
        }
        for block in changes.chunks(BLOCK_CHANGES_MAX) {
            append_block(&mut bytes, &block)?;
        }
        let written = if everything {
            self.replace(&bytes)
        } else {
            self.append(&bytes)
        };
        if written.is_err() {
            self.log = None;
        }
        written.map(|()| bytes.len() as u64)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let log = self
            .log
            .as_mut()
            .ok_or_else(|| io::Error::other("no log to append to"))?;
        log.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Arguments can hold secrets: nobody else reads them.
        let file = gateway_files::replace(&self.path, PRIVATE, Lasting::Process, &[bytes])?;
        self.log = Some(file);
        self.bytes = bytes.len() as u64;
        self.bytes_after_rewrite = self.bytes;
        Ok(())
    }
}

/// A block is its length, the CRC-32C of its contents, and its contents.
fn append_block<T: Serialize>(bytes: &mut Vec<u8>, value: &T) -> io::Result<()> {
    let contents = postcard::to_stdvec(value).map_err(io::Error::other)?;
    let length = u32::try_from(contents.len()).map_err(io::Error::other)?;
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&contents).to_le_bytes());
    bytes.extend_from_slice(&contents);
    Ok(())
}

/// The contents of the first block and what follows it; `None` when it is torn or damaged.
fn next_block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > BLOCK_BYTES_MAX {
        return None;
    }
    let (contents, rest) = rest.split_at_checked(length)?;
    (crc32c::crc32c(contents) == u32::from_le_bytes(*checksum)).then_some((contents, rest))
}

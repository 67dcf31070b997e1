//! The file in which a restarted daemon finds whose trees are whose.
//!
//! It is small, a few dozen bytes for each living tree, and is written whole. It is not synced to
//! disk: it is bound to the boot, and a killed daemon loses nothing that was written.
use gateway_core::TreeId;
use gateway_files::{Lasting, sealed};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE_NAME: &str = "identity.bin";
const MAGIC: &sealed::Magic = b"GWIDENTI";
/// To be raised with each change of what [`Contents`] looks like.
const VERSION: u32 = 1;
/// A file that is longer is not one of ours.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Whose tree it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedIdentity {
    pub tree: TreeId,
    pub uid: u32,
    /// Not there when the directory had not answered.
    pub id: Option<Arc<str>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    version: u32,
    boot_id: String,
    trees: Vec<SavedIdentity>,
}

/// Why earlier state was not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityNote {
    /// There is none.
    #[error("no earlier identities at {0}")]
    Absent(PathBuf),
    /// It is from before the last reboot, when none of these trees existed.
    #[error("the identities at {0} are from another boot")]
    AnotherBoot(PathBuf),
    /// It is of another version of the gateway.
    #[error("the identities at {0} are of version {1}, this gateway writes {VERSION}")]
    AnotherVersion(PathBuf, u32),
    /// It is not an identity file, or damaged.
    #[error("{0} is not an identity file, or is damaged")]
    Damaged(PathBuf),
    /// It cannot be read.
    #[error("the identities at {0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
}

/// The identity file of one daemon.
#[derive(Debug)]
pub struct IdentityFile {
    path: PathBuf,
    boot_id: String,
    /// The last write failed: what it should have said is not in the file.
    pub(crate) failed: bool,
}

impl IdentityFile {
    /// The file in the state directory, for the boot with this id
    /// (`/proc/sys/kernel/random/boot_id`). Nothing is read or written yet.
    #[must_use]
    pub fn new(state_dir: &Path, boot_id: &str) -> IdentityFile {
        let boot_id = boot_id.trim().to_owned();
        IdentityFile {
            path: state_dir.join(FILE_NAME),
            boot_id,
            failed: false,
        }
    }

    pub(crate) fn read(&self) -> Result<Vec<SavedIdentity>, IdentityNote> {
        let path = || self.path.clone();
        let mut bytes = Vec::new();
        let read = File::open(&self.path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        match read {
            Ok(length) if length as u64 > FILE_BYTES_MAX => {
                return Err(IdentityNote::Damaged(path()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(IdentityNote::Absent(path()));
            }
            Err(error) => return Err(IdentityNote::Unreadable(path(), error.to_string())),
        }
        let contents =
            sealed::contents(&bytes, MAGIC).ok_or_else(|| IdentityNote::Damaged(path()))?;
        // The version comes first and keeps its form, so that it can be told.
        let version = postcard::take_from_bytes::<u32>(contents).map(|(version, _)| version);
        match version {
            Ok(VERSION) => {}
            Ok(version) => return Err(IdentityNote::AnotherVersion(path(), version)),
            Err(_) => return Err(IdentityNote::Damaged(path())),
        }
        let contents: Contents =
            postcard::from_bytes(contents).map_err(|_| IdentityNote::Damaged(path()))?;
        if contents.boot_id == self.boot_id {
            Ok(contents.trees)
        } else {
            Err(IdentityNote::AnotherBoot(path()))
        }
    }

    pub(crate) fn write(&mut self, trees: Vec<SavedIdentity>) -> io::Result<()> {
        let contents = Contents {
            version: VERSION,
            boot_id: self.boot_id.clone(),
            trees,
        };
        let contents = postcard::to_stdvec(&contents).map_err(io::Error::other)?;
        let written = sealed::write(&self.path, MAGIC, Lasting::Process, &contents);
        self.failed = written.is_err();
        written
    }
}

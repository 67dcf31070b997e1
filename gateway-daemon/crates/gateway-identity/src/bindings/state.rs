//! The file in which a restarted daemon finds who stands where.
//!
//! As for identities: it is written whole, and not synced to disk, since it is bound to the boot
//! and a killed daemon loses nothing that was written. No token is in it, only their ids.
use super::Binding;
use gateway_core::{Timestamp, TreeId};
use gateway_files::{Lasting, sealed};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILE_NAME: &str = "bindings.bin";
const MAGIC: &sealed::Magic = b"GWBINDIN";
/// To be raised with each change of what [`Contents`] looks like.
const VERSION: u32 = 1;
/// A file that is longer is not one of ours.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// What is saved.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Those of one process in their order.
    pub bindings: Vec<(TreeId, Binding)>,
    pub tokens: Vec<SavedToken>,
    pub doubtful: Vec<TreeId>,
}

/// Whose a token is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedToken {
    pub issuer: Arc<str>,
    pub id: Arc<str>,
    pub tree: TreeId,
    pub expires: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    version: u32,
    boot_id: String,
    saved: Saved,
}

/// Why earlier bindings were not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindingNote {
    /// There are none.
    #[error("no earlier bindings at {0}")]
    Absent(PathBuf),
    /// They are from before the last reboot, when none of these trees existed.
    #[error("the bindings at {0} are from another boot")]
    AnotherBoot(PathBuf),
    /// They are of another version of the gateway.
    #[error("the bindings at {0} are of version {1}, this gateway writes {VERSION}")]
    AnotherVersion(PathBuf, u32),
    /// It is not a file of bindings, or damaged.
    #[error("{0} is not a file of bindings, or is damaged")]
    Damaged(PathBuf),
    /// It cannot be read.
    #[error("the bindings at {0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
}

impl BindingNote {
    /// Were there bindings that trees of this boot may still depend on?
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        !matches!(self, BindingNote::Absent(_) | BindingNote::AnotherBoot(_))
    }
}

/// The file of bindings of one daemon.
#[derive(Debug)]
pub struct BindingFile {
    path: PathBuf,
    boot_id: String,
    /// The last write failed: what it should have said is not in the file.
    pub(crate) failed: bool,
}

impl BindingFile {
    /// The file in the state directory, for the boot with this id
    /// (`/proc/sys/kernel/random/boot_id`). Nothing is read or written yet.
    #[must_use]
    pub fn new(state_dir: &Path, boot_id: &str) -> BindingFile {
        BindingFile {
            path: state_dir.join(FILE_NAME),
            boot_id: boot_id.trim().to_owned(),
            failed: false,
        }
    }

    pub(crate) fn read(&self) -> Result<Saved, BindingNote> {
        let path = || self.path.clone();
        let mut bytes = Vec::new();
        let read = File::open(&self.path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        match read {
            Ok(length) if length as u64 > FILE_BYTES_MAX => {
                return Err(BindingNote::Damaged(path()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BindingNote::Absent(path()));
            }
            Err(error) => return Err(BindingNote::Unreadable(path(), error.to_string())),
        }
        let contents =
            sealed::contents(&bytes, MAGIC).ok_or_else(|| BindingNote::Damaged(path()))?;
        // The version and the boot come first and keep their form, so that they can be told.
        let (version, boot_id) = postcard::take_from_bytes::<(u32, &str)>(contents)
            .map(|(both, _)| both)
            .map_err(|_| BindingNote::Damaged(path()))?;
        if boot_id != self.boot_id {
            return Err(BindingNote::AnotherBoot(path()));
        }
        if version != VERSION {
            return Err(BindingNote::AnotherVersion(path(), version));
        }
        let contents: Contents =
            postcard::from_bytes(contents).map_err(|_| BindingNote::Damaged(path()))?;
        Ok(contents.saved)
    }

    pub(crate) fn write(&mut self, saved: Saved) -> io::Result<()> {
        let contents = Contents {
            version: VERSION,
            boot_id: self.boot_id.clone(),
            saved,
        };
        let contents = postcard::to_stdvec(&contents).map_err(io::Error::other)?;
        let written = sealed::write(&self.path, MAGIC, Lasting::Process, &contents);
        self.failed = written.is_err();
        written
    }
}

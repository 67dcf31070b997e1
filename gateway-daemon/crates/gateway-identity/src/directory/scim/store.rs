//! The file in which a restarted daemon finds what the identity provider told.
//!
//! It is written whole beside the old one, synced, and renamed over it, so whatever interrupts that
//! leaves one of the two, whole. Unlike the other state files it is not bound to the boot, and a
//! damaged one is an error: to forget an offboarding would open the gate.
use super::problem::Problem;
use super::state::Content;
use gateway_files::{Lasting, sealed};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub(super) const FILE_NAME: &str = "scim.bin";
const MAGIC: &sealed::Magic = b"GWSCIM\0\0";
/// To be raised with each change of what [`Content`] looks like.
const VERSION: u32 = 1;
/// What would be longer is refused when it is written.
const FILE_BYTES_MAX: usize = 256 << 20;

/// The store cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScimStoreError {
    /// It is of another version of the gateway.
    #[error("the SCIM store {0} is of version {1} (expected {VERSION})")]
    AnotherVersion(PathBuf, u32),
    /// It is not a store, or damaged.
    #[error(
        "{0} is not a SCIM store, or is damaged (expected one as this gateway writes it; \
         restore it, or remove it and let the identity provider push everybody again)"
    )]
    Damaged(PathBuf),
    /// It cannot be read.
    #[error("the SCIM store {0} cannot be read: {1}")]
    Unreadable(PathBuf, String),
    /// It cannot be written.
    #[error("the SCIM store {0} cannot be written: {1}")]
    Unwritable(PathBuf, String),
}

/// The store of one daemon.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    /// The last write failed, and may have reached the disk all the same.
    pub(super) unsure: bool,
}

impl Store {
    /// Reads the store, or makes an empty one with this nonce.
    pub(super) fn open(state_dir: &Path, nonce: u64) -> Result<(Store, Content), ScimStoreError> {
        let path = state_dir.join(FILE_NAME);
        let store = Store {
            path,
            unsure: false,
        };
        let mut bytes = Vec::new();
        let read = File::open(&store.path).and_then(|file| {
            file.take(FILE_BYTES_MAX as u64 + 64)
                .read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => {
                let content = store.decode(&bytes)?;
                Ok((store, content))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let content = Content {
                    nonce,
                    next: 1,
                    users: BTreeMap::new(),
                    groups: BTreeMap::new(),
                    gone: BTreeSet::new(),
                };
                match store.write(&content) {
                    Ok(()) => Ok((store, content)),
                    Err(error) => Err(ScimStoreError::Unwritable(store.path, error.to_string())),
                }
            }
            Err(error) => Err(ScimStoreError::Unreadable(store.path, error.to_string())),
        }
    }

    pub(super) fn damaged(&self) -> ScimStoreError {
        ScimStoreError::Damaged(self.path.clone())
    }

    /// Writes the content. When this returns `Ok`, it survives a power loss.
    pub(super) fn save(&mut self, content: &Content) -> Result<(), Problem> {
        self.unsure = true;
        self.write(content).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => Problem::new(507, "the store is full"),
            // The identity provider is not told about paths.
            _ => Problem::new(500, "the change could not be saved, and was not made"),
        })?;
        self.unsure = false;
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Content, ScimStoreError> {
        let contents = sealed::contents(bytes, MAGIC).ok_or_else(|| self.damaged())?;
        // Asked first: how the rest is read depends on it.
        let (version, rest) =
            postcard::take_from_bytes::<u32>(contents).map_err(|_| self.damaged())?;
        if version != VERSION {
            return Err(ScimStoreError::AnotherVersion(self.path.clone(), version));
        }
        match postcard::take_from_bytes(rest) {
            Ok((content, [])) => Ok(content),
            _ => Err(self.damaged()),
        }
    }

    fn write(&self, content: &Content) -> io::Result<()> {
        let contents = postcard::to_stdvec(&(VERSION, content)).map_err(io::Error::other)?;
        if contents.len() > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        sealed::write(&self.path, MAGIC, Lasting::Disk, &contents)
    }
}

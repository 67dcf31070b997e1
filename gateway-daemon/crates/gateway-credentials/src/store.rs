//! The store: one sealed file, which the command line changes and the daemon only reads.
use crate::content::{CONTENT_BYTES_MAX, Content, ContentFault, Held};
use crate::credential::{Credential, Kind};
use crate::error::StoreError;
use crate::file::{self, Stamp};
use crate::key::{KeyPlace, StoreKey};
use crate::name::Name;
use crate::seal::{self, Fault};
use gateway_core::Timestamp;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// Nothing that we write is larger.
const FILE_BYTES_MAX: u64 = (CONTENT_BYTES_MAX + seal::SEAL_BYTES) as u64;

/// The sealed file and the place of its key. Each question reads the file anew, and each change
/// replaces it under a lock.
#[derive(Clone, Debug)]
pub struct Store {
    file: PathBuf,
    keys: KeyPlace,
}

/// What may be known of a credential: not its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is called.
    pub name: Name,
    /// Which sort it is.
    pub kind: Kind,
    /// Who logs in with it; `None`: whom the client names.
    pub user: Option<Box<str>>,
    /// When it came.
    pub added: Timestamp,
    /// When its value was put there.
    pub changed: Timestamp,
}

/// The store as it was read.
pub(crate) struct Opened {
    /// Kept open, so that its [`Stamp`] stays its own.
    pub(crate) _file: File,
    pub(crate) stamp: Stamp,
    pub(crate) content: Content,
}

impl Store {
    /// A store that may not be there yet. Nothing is read.
    #[must_use]
    pub fn new(file: PathBuf, keys: KeyPlace) -> Store {
        Store { file, keys }
    }

    /// What is in it, by name; nothing when there is no file.
    ///
    /// # Errors
    /// The file or its key cannot be used.
    pub fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        let content = self
            .open()?
            .map_or_else(Content::default, |opened| opened.content);
        let entry = |(name, held): (Name, Held)| Entry {
            name,
            kind: held.credential.kind(),
            user: held.credential.user().map(Into::into),
            added: held.added,
            changed: held.changed,
        };
        Ok(content.0.into_iter().map(entry).collect())
    }

    /// Adds a credential, with the store and its key when there are none.
    ///
    /// # Errors
    /// There is one of this name; or the file or its key cannot be used, or made.
    pub fn add(
        &self,
        name: Name,
        credential: Credential,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.change(|content| {
            if content.0.contains_key(&name) {
                return Err(StoreError::Exists(name));
            }
            put(content, name, credential, now);
            Ok(())
        })
    }

    /// Puts a credential in the place of the one that has its name, whatever that is, or adds it.
    /// True: there was one.
    ///
    /// # Errors
    /// The file or its key cannot be used, or made.
    pub fn replace(
        &self,
        name: Name,
        credential: Credential,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.change(|content| Ok(put(content, name, credential, now)))
    }

    /// Removes a credential.
    ///
    /// # Errors
    /// There is none of this name; or the file or its key cannot be used.
    pub fn remove(&self, name: &Name) -> Result<(), StoreError> {
        let missing = || StoreError::NotThere(name.clone());
        // Nothing is made only to find that nothing is in it.
        Stamp::of(&self.file)?.ok_or_else(missing)?;
        self.change(|content| content.0.remove(name).map(drop).ok_or_else(missing))
    }

    /// Reads it; `None` when there is no file.
    pub(crate) fn open(&self) -> Result<Option<Opened>, StoreError> {
        let Some(read) = file::read(&self.file, FILE_BYTES_MAX)? else {
            return Ok(None);
        };
        let key = self.keys.find()?;
        let text = seal::open(&key, &read.bytes).map_err(|fault| self.fault(fault, &key))?;
        let content = Content::decode(&text).map_err(|_| self.fault(Fault::Damaged, &key))?;
        Ok(Some(Opened {
            _file: read.file,
            stamp: read.stamp,
            content,
        }))
    }

    /// Which file is there now; `None` when there is none.
    pub(crate) fn stamp(&self) -> Result<Option<Stamp>, StoreError> {
        Ok(Stamp::of(&self.file)?)
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Content) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _one_at_a_time = file::lock(&self.file)?;
        let opened = self.open()?;
        // A key is made for a new store alone: in the place of a lost one it would be of no use.
        let key = match &opened {
            Some(_) => self.keys.find()?,
            None => self.keys.find_or_make()?,
        };
        let mut content = opened.map_or_else(Content::default, |opened| opened.content);
        let outcome = change(&mut content)?;
        let text = content.encode().map_err(|fault| match fault {
            ContentFault::TooLarge => StoreError::Full {
                bytes_max: CONTENT_BYTES_MAX,
            },
            ContentFault::Malformed => StoreError::Sealing,
        })?;
        let sealed = seal::seal(&key, text).map_err(|_| StoreError::Sealing)?;
        file::replace(&self.file, &sealed)?;
        Ok(outcome)
    }

    fn fault(&self, fault: Fault, key: &StoreKey) -> StoreError {
        let file = self.file.clone();
        match fault {
            Fault::NotSealed => StoreError::NotAStore { file },
            Fault::Version(found) => StoreError::Version {
                file,
                found,
                expected: seal::VERSION,
            },
            Fault::OtherKey => StoreError::OtherKey {
                file,
                key: key.source.clone(),
            },
            Fault::Damaged => StoreError::Damaged { file },
        }
    }
}

/// True: there was one of this name.
fn put(content: &mut Content, name: Name, credential: Credential, now: Timestamp) -> bool {
    let added = content.0.get(&name).map(|held| held.added);
    let held = Held {
        credential: Arc::new(credential),
        added: added.unwrap_or(now),
        changed: now,
    };
    content.0.insert(name, held).is_some()
}

#[cfg(test)]
mod tests;

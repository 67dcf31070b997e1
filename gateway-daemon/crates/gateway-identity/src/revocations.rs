//! Principals that somebody revoked here, beside what the directory says. They are denied
//! everything until that is taken back.
use arc_swap::ArcSwap;
use gateway_files::{Lasting, PRIVATE};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const FILE_NAME: &str = "revoked.json";
/// More than any incident has. Beyond it the directory is the place.
pub const REVOCATIONS_MAX: usize = 10_000;

/// Why nothing was revoked, or nothing can be.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// What was revoked before cannot be known. The daemon must not start: it would let them in.
    #[error("{}: {reason} (expected a JSON list of principals)", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// It could not be kept, so it is not in force.
    #[error("the revocation could not be kept: {0}")]
    Unsaved(#[from] io::Error),
    /// The list is full.
    #[error("{REVOCATIONS_MAX} principals are revoked already; the directory takes more")]
    TooMany,
}

/// Who is revoked. In force from the moment that a call returns, over a restart too.
#[derive(Debug)]
pub struct Revocations {
    file: PathBuf,
    revoked: ArcSwap<BTreeSet<Arc<str>>>,
    /// One change at a time.
    changing: Mutex<()>,
    generation: AtomicU64,
}

impl Revocations {
    /// Reads what was revoked before.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(state_dir: &Path) -> Result<Revocations, RevocationError> {
        let file = state_dir.join(FILE_NAME);
        let unreadable = |reason: String| RevocationError::Unreadable {
            file: file.clone(),
            reason,
        };
        let revoked: BTreeSet<Arc<str>> = match std::fs::read(&file) {
            Ok(bytes) => {
                let names: Vec<String> = serde_json::from_slice(&bytes)
                    .map_err(|error| unreadable(error.to_string()))?;
                names.into_iter().map(Arc::from).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(unreadable(error.to_string())),
        };
        Ok(Revocations {
            file,
            revoked: ArcSwap::from_pointee(revoked),
            changing: Mutex::new(()),
            generation: AtomicU64::new(0),
        })
    }

    /// Is this principal revoked? `user:` names are the same whatever their case, as they are in
    /// the directory.
    #[must_use]
    pub fn contains(&self, principal: &str) -> bool {
        let revoked = self.revoked.load();
        !revoked.is_empty() && revoked.contains(&*canonical(principal))
    }

    /// Changes whenever the list does.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Revokes a principal, or takes that back. False: it was so before.
    ///
    /// # Errors
    /// It could not be kept; nothing has changed.
    pub fn set(&self, principal: &str, revoked: bool) -> Result<bool, RevocationError> {
        let _one_at_a_time = self.changing.lock();
        let mut all = BTreeSet::clone(&self.revoked.load());
        let name = canonical(principal);
        let changed = match revoked {
            true if all.len() >= REVOCATIONS_MAX && !all.contains(&*name) => {
                return Err(RevocationError::TooMany);
            }
            true => all.insert(name.into()),
            false => all.remove(&*name),
        };
        if changed {
            self.write(&all)?;
            self.revoked.store(Arc::new(all));
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        Ok(changed)
    }

    fn write(&self, all: &BTreeSet<Arc<str>>) -> io::Result<()> {
        let names: Vec<&str> = all.iter().map(|name| &**name).collect();
        let names = serde_json::to_vec(&names)?;
        gateway_files::replace(&self.file, PRIVATE, Lasting::Disk, &[&names]).map(drop)
    }
}

/// The name of a principal, in the one form in which it is compared.
#[must_use]
pub fn canonical(principal: &str) -> String {
    match principal.strip_prefix("user:") {
        Some(name) => format!("user:{}", name.to_lowercase()),
        None => principal.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_revoked_stays_so_over_a_restart_until_it_is_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let revocations = Revocations::open(directory.path()).unwrap();
        assert!(!revocations.contains("user:mallory@acme.com"));
        assert!(revocations.set("user:Mallory@acme.com", true).unwrap());
        assert!(!revocations.set("user:mallory@acme.com", true).unwrap());
        assert!(revocations.set("local:mallory", true).unwrap());
        assert_eq!(revocations.generation(), 2);
        let again = Revocations::open(directory.path()).unwrap();
        assert!(again.contains("user:MALLORY@acme.com"));
        assert!(again.contains("local:mallory") && !again.contains("local:Mallory"));
        assert!(again.set("user:mallory@acme.com", false).unwrap());
        let last = Revocations::open(directory.path()).unwrap();
        assert!(!last.contains("user:mallory@acme.com"));
    }

    #[test]
    fn what_cannot_be_read_or_kept_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE_NAME), "[\"a\"").unwrap();
        assert!(matches!(
            Revocations::open(directory.path()),
            Err(RevocationError::Unreadable { .. })
        ));
        std::fs::remove_file(directory.path().join(FILE_NAME)).unwrap();
        let revocations = Revocations::open(directory.path()).unwrap();
        std::fs::create_dir(directory.path().join("revoked.json.new")).unwrap();
        assert!(revocations.set("a", true).is_err());
        assert!(!revocations.contains("a"), "it is not in force");
    }
}

//! The daemon's view: a credential by its name, as the store has it now.
use crate::content::Content;
use crate::credential::Credential;
use crate::error::{StoreError, VaultError};
use crate::store::{Opened, Store};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// Hands credentials out. The store is read when a credential is asked for and the file is another
/// one than before, so a change counts from the next question on, without a restart.
///
/// What is opened stays in memory, in the clear, until the store changes; whoever was given a
/// credential keeps it until they drop it. Then it is overwritten.
pub struct Vault {
    store: Store,
    /// The lock is held to look and to put, never while the file is read.
    opened: Mutex<Option<Arc<Opened>>>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// A vault over a store that may not be there yet. Nothing is read.
    #[must_use]
    pub fn new(store: Store) -> Vault {
        Vault {
            store,
            opened: Mutex::new(None),
        }
    }

    /// The credential of this name. Looks at the file each time (some microseconds), and reads it
    /// when it has changed, which waits for the disk.
    ///
    /// # Errors
    /// There is none; or the store or its key cannot be used: then nothing that it held before is
    /// handed out either.
    pub fn get(&self, name: &str) -> Result<Arc<Credential>, VaultError> {
        let opened = self.opened().map_err(|error| VaultError::Unreadable {
            name: name.into(),
            error,
        })?;
        let content: Option<&Content> = opened.as_deref().map(|opened| &opened.content);
        let held = content.and_then(|content| content.0.get(name));
        held.map(|held| Arc::clone(&held.credential))
            .ok_or_else(|| VaultError::NotThere { name: name.into() })
    }

    fn opened(&self) -> Result<Option<Arc<Opened>>, StoreError> {
        let known = self.opened.lock().clone();
        let stamp = self.store.stamp();
        let is_current =
            |opened: &Arc<Opened>| matches!(&stamp, Ok(Some(now)) if *now == opened.stamp);
        if known.as_ref().is_some_and(is_current) {
            return Ok(known);
        }
        drop(known);
        let read = match stamp {
            Ok(None) => Ok(None),
            Ok(Some(_)) => self.store.open(),
            Err(error) => Err(error),
        };
        // Two threads may read at once, and the older file may be put last: the next question
        // finds that it is not the one that is there.
        let (keep, outcome) = match read {
            Ok(opened) => {
                let opened = opened.map(Arc::new);
                (opened.clone(), Ok(opened))
            }
            Err(error) => (None, Err(error)),
        };
        *self.opened.lock() = keep;
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Place, name, password, revealed};
    use gateway_core::Timestamp;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    const NOW: Timestamp = Timestamp(1);

    fn value(vault: &Vault, name: &str) -> String {
        revealed(&vault.get(name).unwrap()).to_owned()
    }

    #[test]
    fn a_change_counts_from_the_next_question_on() {
        let place = Place::new();
        let (vault, store) = (Vault::new(place.store()), place.store());
        assert!(matches!(vault.get("a"), Err(VaultError::NotThere { .. })));
        store.add(name("a"), password("one"), NOW).unwrap();
        assert_eq!(value(&vault, "a"), "one");
        let held = vault.get("a").unwrap();
        assert!(Arc::ptr_eq(&held, &vault.get("a").unwrap()), "read once");
        // Of the same size, and as fast as the disk allows.
        for number in 100..200 {
            let text = number.to_string();
            store.replace(name("a"), password(&text), NOW).unwrap();
            assert_eq!(value(&vault, "a"), text);
        }
        assert_eq!(revealed(&held), "one", "who has it keeps it");
        store.remove(&name("a")).unwrap();
        assert!(matches!(vault.get("a"), Err(VaultError::NotThere { .. })));
        store.add(name("b"), password("two"), NOW).unwrap();
        fs::remove_file(place.file()).unwrap();
        assert!(matches!(vault.get("b"), Err(VaultError::NotThere { .. })));
    }

    /// Another file in the place of the store.
    fn put(place: &Place, bytes: &[u8], mode: u32) {
        fs::remove_file(place.file()).unwrap();
        fs::write(place.file(), bytes).unwrap();
        fs::set_permissions(place.file(), Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_store_that_went_bad_gives_nothing_until_it_is_good_again() {
        let place = Place::new();
        let (vault, store) = (Vault::new(place.store()), place.store());
        store.add(name("a"), password("hunter2"), NOW).unwrap();
        assert_eq!(value(&vault, "a"), "hunter2");
        let good = fs::read(place.file()).unwrap();
        let mut bad = good.clone();
        bad[50] ^= 1;
        put(&place, &bad, 0o600);
        let error = vault.get("a").unwrap_err();
        assert!(matches!(error, VaultError::Unreadable { .. }));
        let said = format!("{error} {error:?} {vault:?}");
        assert!(said.contains("\"a\"") && said.contains("damaged"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
        put(&place, &good, 0o600);
        assert_eq!(value(&vault, "a"), "hunter2");
        put(&place, &good, 0o644);
        assert!(vault.get("a").is_err(), "open to others");
    }

    #[test]
    fn a_store_without_its_key_gives_nothing_and_makes_none() {
        let place = Place::new();
        place.store().add(name("a"), password("x"), NOW).unwrap();
        let key = fs::read(place.key_file()).unwrap();
        fs::remove_file(place.key_file()).unwrap();
        let vault = Vault::new(place.store());
        assert!(matches!(vault.get("a"), Err(VaultError::Unreadable { .. })));
        assert!(!place.key_file().exists());
        fs::write(place.key_file(), key).unwrap();
        fs::set_permissions(place.key_file(), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(value(&vault, "a"), "x");
    }

    #[test]
    fn many_threads_see_whole_stores_only() {
        let place = Place::new();
        let (vault, store) = (Vault::new(place.store()), place.store());
        store.add(name("a"), password("0"), NOW).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let seen: u32 = value(&vault, "a").parse().unwrap();
                        assert!(seen >= last, "{seen} after {last}");
                        last = seen;
                    }
                });
            }
            for number in 1..=100 {
                let text = number.to_string();
                store.replace(name("a"), password(&text), NOW).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

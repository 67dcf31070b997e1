//! The key of the store: 32 random bytes that lie apart from what they seal.
//!
//! systemd hands it to the daemon as a credential (`LoadCredentialEncrypted=`, which can bind it to
//! the machine's TPM), or it is a file of root's. The daemon never makes one: a new key in the
//! place of a lost one would look like an empty store.
use crate::error::KeyError;
use crate::file;
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What systemd calls it: `LoadCredential=gateway-credentials-key:…`.
pub const CREDENTIAL: &str = "gateway-credentials-key";

/// Bytes of a key: AES-256.
pub(crate) const KEY_BYTES: usize = 32;
/// What is read of a file that is none; enough to say how long it is.
const FILE_BYTES_MAX: u64 = 4096;

/// The key, and where it was found. Overwritten in memory when it is dropped.
pub struct StoreKey {
    pub(crate) bytes: Zeroizing<[u8; KEY_BYTES]>,
    pub(crate) source: PathBuf,
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreKey")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Where the key may be.
#[derive(Clone, Debug)]
pub struct KeyPlace {
    /// What systemd hands over comes first.
    given: Option<PathBuf>,
    file: PathBuf,
}

impl KeyPlace {
    /// The file, and the directory in which systemd puts credentials of this process.
    #[must_use]
    pub fn new(file: PathBuf, credentials_directory: Option<&Path>) -> KeyPlace {
        KeyPlace {
            given: credentials_directory.map(|directory| directory.join(CREDENTIAL)),
            file,
        }
    }

    /// The same with the directory that the environment names (`CREDENTIALS_DIRECTORY`).
    #[must_use]
    pub fn of_process(file: PathBuf) -> KeyPlace {
        let directory = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let directory = directory.filter(|directory| directory.is_absolute());
        KeyPlace::new(file, directory.as_deref())
    }

    /// The file in which the key is when systemd hands none over.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The key.
    ///
    /// # Errors
    /// There is none, or what is there is none, or others may read it.
    pub fn find(&self) -> Result<StoreKey, KeyError> {
        let missing = || KeyError::Missing {
            file: self.file.clone(),
        };
        self.look()?.ok_or_else(missing)
    }

    /// The key; where there is none, a new one is made. For the first credential of a store alone.
    ///
    /// # Errors
    /// As [`KeyPlace::find`]; or it cannot be made.
    pub fn find_or_make(&self) -> Result<StoreKey, KeyError> {
        if let Some(key) = self.look()? {
            return Ok(key);
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(bytes.as_mut_slice()).map_err(|_| KeyError::Randomness)?;
        let _one_at_a_time = file::lock(&self.file)?;
        // Whoever was faster has made the key.
        file::create(&self.file, bytes.as_slice())?;
        self.find()
    }

    fn look(&self) -> Result<Option<StoreKey>, KeyError> {
        if let Some(given) = &self.given
            && let Some(key) = read(given)?
        {
            return Ok(Some(key));
        }
        read(&self.file)
    }
}

fn read(path: &Path) -> Result<Option<StoreKey>, KeyError> {
    let Some(contents) = file::read(path, FILE_BYTES_MAX)? else {
        return Ok(None);
    };
    let length = |_| KeyError::Length {
        file: path.to_owned(),
        found: contents.bytes.len(),
    };
    let bytes = <[u8; KEY_BYTES]>::try_from(contents.bytes.as_slice()).map_err(length)?;
    Ok(Some(StoreKey {
        bytes: Zeroizing::new(bytes),
        source: path.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Place;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once() {
        let place = Place::new();
        let keys = KeyPlace::new(place.key_file(), None);
        assert!(matches!(keys.find(), Err(KeyError::Missing { .. })));
        assert!(!place.key_file().exists(), "looking makes none");
        let made = keys.find_or_make().unwrap();
        assert_ne!(*made.bytes, [0; KEY_BYTES]);
        assert_eq!(*keys.find().unwrap().bytes, *made.bytes);
        assert_eq!(*keys.find_or_make().unwrap().bytes, *made.bytes);
        let mode = fs::metadata(place.key_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn threads_that_make_one_have_the_same() {
        let place = Place::new();
        let keys = KeyPlace::new(place.key_file(), None);
        let made: Vec<_> = std::thread::scope(|scope| {
            let make = || *keys.find_or_make().unwrap().bytes;
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(made.iter().all(|key| *key == made[0]));
    }

    #[test]
    fn what_systemd_hands_over_comes_first() {
        let place = Place::new();
        let given = place.directory.path().join("given");
        fs::create_dir(&given).unwrap();
        let keys = KeyPlace::new(place.key_file(), Some(&given));
        let own = keys.find_or_make().unwrap();
        assert_eq!(own.source, place.key_file(), "nothing is handed over");
        let file = given.join(CREDENTIAL);
        fs::write(&file, [7; KEY_BYTES]).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
        let found = keys.find().unwrap();
        assert_eq!((*found.bytes, found.source), ([7; KEY_BYTES], file));
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        let place = Place::new();
        let keys = KeyPlace::new(place.key_file(), None);
        for length in [0, 31, 33, 64] {
            fs::write(place.key_file(), vec![1; length]).unwrap();
            fs::set_permissions(place.key_file(), Permissions::from_mode(0o600)).unwrap();
            for found in [keys.find(), keys.find_or_make()] {
                let error = found.unwrap_err();
                assert!(matches!(error, KeyError::Length { found, .. } if found == length));
            }
        }
        fs::write(place.key_file(), [1; KEY_BYTES]).unwrap();
        fs::set_permissions(place.key_file(), Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(keys.find_or_make(), Err(KeyError::File(_))));
    }

    #[test]
    fn debug_shows_no_key() {
        let place = Place::new();
        let key = KeyPlace::new(place.key_file(), None)
            .find_or_make()
            .unwrap();
        let shown = format!("{key:?}");
        assert!(!shown.contains(&format!("{}", key.bytes[0])) || !shown.contains("bytes"));
        assert!(shown.ends_with(".. }"), "{shown}");
    }
}

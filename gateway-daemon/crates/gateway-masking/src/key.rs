//! The key of the digests: 32 random bytes in a file of the state directory, made once.
//!
//! Whoever has it can try values out until one has the digest that was seen. Whoever loses it
//! gets other digests from then on, so a file that is no key is never replaced by a new one.
use nix::libc;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The file cannot be used as the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Others may read or write it. Whatever is in it may be known, or theirs.
    #[error("{}: open to others, mode {mode:04o} (expected 0600)", file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Somebody else has made it.
    #[error("{}: belongs to user {owner} (expected {expected})", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose it must be.
        expected: u32,
    },
    /// A directory, a pipe, a device.
    #[error("{}: not a regular file", file.display())]
    NotAFile {
        /// What it was to be.
        file: PathBuf,
    },
    /// Not as long as a key is.
    #[error(
        "{}: {found} bytes are no key (expected {KEY_BYTES}); bring back a copy, or move it away \
         for a new key, which makes other digests",
        file.display()
    )]
    Length {
        /// The file.
        file: PathBuf,
        /// How long it is, in bytes.
        found: u64,
    },
    /// The kernel gives no random bytes.
    #[error("no random bytes for a key")]
    Randomness,
    /// The system refused something.
    #[error("cannot {doing} {}: {error}", file.display())]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// With which file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The key. Overwritten in memory when it is dropped, and not shown by `Debug`.
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    /// The key in this file; where there is none, a new one is made. Daemons that do so at once
    /// have the same.
    ///
    /// # Errors
    /// What is there is no key, or others may read it, or it cannot be made.
    pub fn open_or_make(path: &Path) -> Result<Key, KeyError> {
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|_| KeyError::Randomness)?;
        create(path, bytes.as_slice())?;
        // Whoever was faster has made the key.
        let gone = || failed("read", path)(ErrorKind::NotFound.into());
        read(path)?.ok_or_else(gone)
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl From<[u8; KEY_BYTES]> for Key {
    fn from(bytes: [u8; KEY_BYTES]) -> Key {
        Key(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

fn read(path: &Path) -> Result<Option<Key>, KeyError> {
    // A pipe with this name must not keep us waiting for somebody who writes.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            let file = path.to_owned();
            return Err(KeyError::NotAFile { file });
        }
        Err(error) => return Err(failed("read", path)(error)),
    };
    let metadata = file.metadata().map_err(failed("read", path))?;
    check(path, &metadata)?;
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    file.read_exact(bytes.as_mut_slice())
        .map_err(failed("read", path))?;
    Ok(Some(Key(bytes)))
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), KeyError> {
    let file = path.to_owned();
    if !metadata.is_file() {
        return Err(KeyError::NotAFile { file });
    }
    let (owner, expected) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    if owner != expected {
        return Err(KeyError::Foreign {
            file,
            owner,
            expected,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & !0o600 != 0 {
        return Err(KeyError::Exposed { file, mode });
    }
    let found = metadata.len();
    if found != KEY_BYTES as u64 {
        return Err(KeyError::Length { file, found });
    }
    Ok(())
}

/// Makes the file, unless there is one. A file with that name is whole, also after a crash.
fn create(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let unfinished = name_beside(path)?;
    let made = write(&unfinished, bytes).and_then(|()| {
        // Unlike a rename, a link never takes the place of what is there.
        match fs::hard_link(&unfinished, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked.map_err(failed("make", path)),
        }
    });
    let removed = fs::remove_file(&unfinished);
    made?;
    removed.map_err(failed("remove", &unfinished))?;
    // A name in a directory lasts once the directory is on the disk.
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(failed("sync", directory))
}

/// A name that nobody else writes to at the same time.
fn name_beside(path: &Path) -> Result<PathBuf, KeyError> {
    let random = getrandom::u64().map_err(|_| KeyError::Randomness)?;
    let mut name = OsString::from(path);
    name.push(format!(".{random:016x}.new"));
    Ok(name.into())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), KeyError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("make", path))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed("write", path))
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> KeyError {
    move |error| KeyError::Io {
        doing,
        file: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn put(path: &Path, bytes: &[u8], mode: u32) {
        let _ = fs::remove_file(path);
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_is_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("masks.key");
        let made = Key::open_or_make(&path).unwrap();
        assert_ne!(made.bytes(), &[0; KEY_BYTES]);
        assert_eq!(Key::open_or_make(&path).unwrap().bytes(), made.bytes());
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), made.bytes());
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
    }

    #[test]
    fn who_makes_one_at_once_has_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("masks.key");
        let keys: Vec<[u8; KEY_BYTES]> = std::thread::scope(|scope| {
            let make = || *Key::open_or_make(&path).unwrap().bytes();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
    }

    #[test]
    fn what_others_may_open_is_refused_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("masks.key");
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o700, 0o1600, 0o4600] {
            put(&path, &[1; KEY_BYTES], mode);
            let error = Key::open_or_make(&path).unwrap_err();
            assert!(
                matches!(error, KeyError::Exposed { mode: said, .. } if said == mode),
                "{error}"
            );
            assert_eq!(fs::read(&path).unwrap(), [1; KEY_BYTES]);
        }
        put(&path, &[1; KEY_BYTES], 0o400);
        assert_eq!(
            Key::open_or_make(&path).unwrap().bytes(),
            &[1; KEY_BYTES],
            "narrower is as good"
        );
    }

    #[test]
    fn what_is_no_key_is_refused_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("masks.key");
        for length in [0, 31, 33, 64] {
            put(&path, &vec![1; length], 0o600);
            let error = Key::open_or_make(&path).unwrap_err();
            assert!(
                matches!(error, KeyError::Length { found, .. } if found == length as u64),
                "{error}"
            );
            assert_eq!(fs::read(&path).unwrap().len(), length);
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let error = Key::open_or_make(&path).unwrap_err();
        assert!(matches!(error, KeyError::NotAFile { .. }), "{error}");
        let own = directory.path();
        let error = Key::open_or_make(own).unwrap_err();
        assert!(matches!(error, KeyError::NotAFile { .. }), "{error}");
        let nowhere = own.join("missing").join("masks.key");
        let error = Key::open_or_make(&nowhere).unwrap_err();
        assert!(matches!(error, KeyError::Io { .. }), "{error}");
    }

    #[test]
    fn what_belongs_to_somebody_else_is_refused() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("masks.key");
        put(&path, &[1; KEY_BYTES], 0o600);
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let error = Key::open_or_make(&path).unwrap_err();
        assert!(
            matches!(error, KeyError::Foreign { owner: 65534, .. }),
            "{error}"
        );
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Key::from([7; 32])), "Key(…)");
    }
}

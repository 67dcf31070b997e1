//! Files that are ours alone: read only where nobody else can have read or written them, replaced
//! as one, or not at all.
use crate::error::FileError;
use nix::fcntl::{Flock, FlockArg};
use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Which file it is, and in which state. While the file is open its inode is not given to another
/// one, so a file that was put in its place is never taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Stamp {
    fn new(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }

    /// Of what has this path now; `None` when nothing has.
    pub(crate) fn of(path: &Path) -> Result<Option<Stamp>, FileError> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Stamp::new(&metadata))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed("look at", path, error)),
        }
    }
}

/// A file that was read.
pub(crate) struct Contents {
    /// Still open.
    pub(crate) file: File,
    pub(crate) stamp: Stamp,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// Reads a file of the effective user that nobody else may open; `None` when there is none.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Option<Contents>, FileError> {
    // A pipe with this name must not keep us waiting for somebody who writes.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(failed("read", path, error)),
    };
    let fail = |error| failed("read", path, error);
    let metadata = file.metadata().map_err(fail)?;
    check(path, &metadata, bytes_max)?;
    // Neither file changes once it has its name, and a buffer that grows leaves copies behind.
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(vec![0; length]);
    file.read_exact(&mut bytes).map_err(fail)?;
    Ok(Some(Contents {
        file,
        stamp: Stamp::new(&metadata),
        bytes,
    }))
}

fn check(path: &Path, metadata: &Metadata, bytes_max: u64) -> Result<(), FileError> {
    let file = path.to_owned();
    if !metadata.is_file() {
        return Err(FileError::NotAFile { file });
    }
    let expected = nix::unistd::geteuid().as_raw();
    let owner = metadata.uid();
    if owner != expected {
        return Err(FileError::Foreign {
            file,
            owner,
            expected,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { file, mode });
    }
    if metadata.len() > bytes_max {
        return Err(FileError::TooLarge { file, bytes_max });
    }
    Ok(())
}

/// One change at a time, over processes too. Of a file beside, since the file itself is replaced.
pub(crate) fn lock(path: &Path) -> Result<Flock<File>, FileError> {
    let path = beside(path, ".lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(&path)
        .map_err(|error| failed("open", &path, error))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| failed("lock", &path, error.into()))
}

/// Puts a file in the place of another one. After a crash at any moment there is either. To be
/// called with the lock.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let unfinished = write_beside(path, bytes)?;
    fs::rename(&unfinished, path).map_err(|error| failed("replace", path, error))?;
    sync_directory(path)
}

/// Makes a file; false when there is one, which stays. A file with that name is whole.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> Result<bool, FileError> {
    let unfinished = write_beside(path, bytes)?;
    // Unlike a rename, a link never takes the place of what is there.
    let linked = fs::hard_link(&unfinished, path);
    let removed = fs::remove_file(&unfinished);
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(failed("make", path, error)),
        Ok(()) => {}
    }
    removed.map_err(|error| failed("remove", &unfinished, error))?;
    sync_directory(path)?;
    Ok(true)
}

/// The whole of a file that has not got its name yet, on the disk.
fn write_beside(path: &Path, bytes: &[u8]) -> Result<PathBuf, FileError> {
    let unfinished = beside(path, ".new");
    let fail = |error| failed("write", &unfinished, error);
    // What a killed process left, and whatever else has the name, is not written into.
    match fs::remove_file(&unfinished) {
        Err(error) if !is_missing(&error) => return Err(fail(error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .map_err(fail)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(fail)?;
    Ok(unfinished)
}

/// A name in a directory lasts once the directory is on the disk.
fn sync_directory(path: &Path) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(|error| failed("sync", directory, error))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Also when a directory above is none.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn failed(doing: &'static str, path: &Path, error: io::Error) -> FileError {
    let file = path.to_owned();
    match error.kind() {
        ErrorKind::PermissionDenied => FileError::NotPermitted { doing, file },
        _ => FileError::Io { doing, file, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_what_is_ours_alone_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert!(read(&path, 10).unwrap().is_none());
        assert!(read(&path.join("below"), 10).unwrap().is_none());
        assert!(create(&path, b"0123456789").unwrap());
        assert_eq!(
            read(&path, 10).unwrap().unwrap().bytes.as_slice(),
            b"0123456789"
        );
        assert!(matches!(read(&path, 9), Err(FileError::TooLarge { .. })));
        for mode in [0o640, 0o604, 0o620, 0o610, 0o601, 0o1777] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let found = read(&path, 10).err().unwrap();
            assert!(
                matches!(&found, FileError::Exposed { mode: said, .. } if *said == mode),
                "{found}"
            );
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path, 10).is_ok(), "systemd's credentials are 0400");
        let own = directory.path();
        fs::set_permissions(own, Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(read(own, 10), Err(FileError::NotAFile { .. })));
        let pipe = own.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(read(&pipe, 10), Err(FileError::NotAFile { .. })));
    }

    /// Only root can give a file away.
    #[test]
    fn what_belongs_to_somebody_else_is_not_read() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        create(&path, b"x").unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        let found = read(&path, 10).err().unwrap();
        assert!(
            matches!(found, FileError::Foreign { owner: 65534, .. }),
            "{found}"
        );
    }

    #[test]
    fn a_file_is_made_once_and_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let bytes = || read(&path, 10).unwrap().unwrap().bytes.to_vec();
        assert!(create(&path, b"one").unwrap());
        assert!(!create(&path, b"two").unwrap(), "the first one stays");
        assert_eq!(bytes(), b"one");
        replace(&path, b"two").unwrap();
        assert_eq!(bytes(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        // Killed before the rename: the old one is whole, and the next change goes through.
        write_beside(&path, b"thr").unwrap();
        assert_eq!(bytes(), b"two");
        replace(&path, b"four").unwrap();
        assert_eq!(bytes(), b"four");
        let names = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_in_the_place_of_the_unfinished_file_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let victim = directory.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, directory.path().join("file.new")).unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    }
}

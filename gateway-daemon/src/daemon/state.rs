//! The state directory: one version, one owner, one daemon.
use crate::exit::Failure;
use gateway_files::{Lasting, PRIVATE};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The version of what is in the state directory.
const VERSION: &str = "1";
const LOCK: &str = "lock";
const RUNS: &str = "run-cgroups";

/// The state directory, held. While this lives, no other daemon uses it.
#[derive(Debug)]
pub(crate) struct State {
    directory: PathBuf,
    lock: Flock<File>,
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{doing} {}: {error}", path.display()))
}

impl State {
    /// Makes the directory if it is missing, takes it, and checks its version.
    pub(crate) fn open(directory: &Path) -> Result<State, Failure> {
        make_directory(directory, 0o700)?;
        let permissions = fs::metadata(directory).map_err(|e| failed("read", directory, &e))?;
        if permissions.permissions().mode() & 0o077 != 0 {
            tracing::warn!(directory = %directory.display(), "was open to others; it is closed now");
            fs::set_permissions(directory, Permissions::from_mode(0o700))
                .map_err(|error| failed("close", directory, &error))?;
        }
        let mut lock = match take(directory)? {
            Taken::Held(lock) => lock,
            Taken::By(pid) => {
                let place = directory.display();
                return Err(Failure::usage(format!(
                    "{place} is in use by another daemon (pid {pid})"
                )));
            }
        };
        let path = directory.join(LOCK);
        check_version(directory)?;
        write_pid(&mut lock).map_err(|error| failed("write", &path, &error))?;
        Ok(State {
            directory: directory.to_owned(),
            lock,
        })
    }

    /// The same with the lock of a daemon that hands it over: no other one can come in between.
    pub(crate) fn take_over(directory: &Path, lock: OwnedFd) -> Result<State, Failure> {
        let path = directory.join(LOCK);
        check_version(directory)?;
        let lock = Flock::lock(File::from(lock), FlockArg::LockExclusiveNonblock);
        let mut lock = lock.map_err(|(_, error)| failed("lock", &path, &error.into()))?;
        write_pid(&mut lock).map_err(|error| failed("write", &path, &error))?;
        Ok(State {
            directory: directory.to_owned(),
            lock,
        })
    }

    /// The lock once more, to be handed over.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.lock.try_clone()?.into())
    }

    /// Lets go of the lock without giving it back: it is another daemon's.
    pub(crate) fn forsake(self) {
        let lock = self.lock.as_raw_fd();
        // To drop it would give the lock back, whoever else has it.
        std::mem::forget(self);
        if let Err(error) = nix::unistd::close(lock) {
            tracing::error!(%error, "the lock of the state directory stays open");
        }
    }

    /// Remembers where the cgroups of `gateway run` are, for `gateway uninstall`.
    pub(crate) fn remember_runs(&self, base: &Path, keep_base: bool) -> Result<(), Failure> {
        let path = self.directory.join(RUNS);
        let text = format!(
            "{} {}\n",
            if keep_base { "keep" } else { "remove" },
            base.display()
        );
        fs::write(&path, text).map_err(|error| failed("write", &path, &error))
    }

    /// Where the cgroups of `gateway run` are, and whether the directory itself stays.
    pub(crate) fn runs(directory: &Path) -> Option<(PathBuf, bool)> {
        let text = fs::read_to_string(directory.join(RUNS)).ok()?;
        let (keep, base) = text.trim_end_matches('\n').split_once(' ')?;
        Some((PathBuf::from(base), keep == "keep"))
    }
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)
        .and_then(|()| lock.rewind())
        .and_then(|()| write!(lock, "{}", std::process::id()))
}

impl Drop for State {
    fn drop(&mut self) {
        // An empty file says that nobody is there; the lock itself goes with the descriptor.
        let _ = self.lock.set_len(0);
    }
}

/// The lock of a state directory.
pub(crate) enum Taken {
    /// It is ours.
    Held(Flock<File>),
    /// A daemon has it: its pid, or 0 while it has not written it yet.
    By(u32),
}

/// Tries to take the lock. A lock that is held is the proof that a daemon lives.
pub(crate) fn take(directory: &Path) -> Result<Taken, Failure> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| failed("open", &path, &error))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Taken::Held(lock)),
        Err((file, nix::Error::EWOULDBLOCK)) => {
            let mut text = String::new();
            let _ = file.take(32).read_to_string(&mut text);
            Ok(Taken::By(text.trim().parse().unwrap_or(0)))
        }
        Err((_, error)) => Err(failed("lock", &path, &error.into())),
    }
}

fn check_version(directory: &Path) -> Result<(), Failure> {
    let path = directory.join("VERSION");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == VERSION => Ok(()),
        Ok(found) => {
            let found: String = found.trim().chars().take(20).collect();
            Err(Failure::usage(format!(
                "{}: the state is of version {found:?}, this gateway has version {VERSION:?}: use \
                 the gateway that wrote it, or another state_dir (governed processes stay cut off)",
                path.display()
            )))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let version = format!("{VERSION}\n");
            gateway_files::replace(&path, PRIVATE, Lasting::Disk, &[version.as_bytes()])
                .map(drop)
                .map_err(|error| failed("write", &path, &error))
        }
        Err(error) => Err(failed("read", &path, &error)),
    }
}

/// Makes a directory and those above it.
pub(crate) fn make_directory(directory: &Path, mode: u32) -> Result<(), Failure> {
    if let Some(above) = directory.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(above);
        made.map_err(|error| failed("make", above, &error))?;
    }
    match DirBuilder::new().mode(mode).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        made => made.map_err(|error| failed("make", directory, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn a_directory_is_made_closed_and_taken_by_one() {
        let above = tempfile::tempdir().unwrap();
        let directory = above.path().join("a/b/state");
        let state = State::open(&directory).unwrap();
        assert_eq!(
            fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(
            fs::read_to_string(directory.join("VERSION")).unwrap(),
            "1\n"
        );
        let second = State::open(&directory).unwrap_err();
        assert_eq!(second.exit, Exit::Usage);
        assert!(
            second.message.contains(&std::process::id().to_string()),
            "{second}"
        );
        assert!(matches!(take(&directory), Ok(Taken::By(pid)) if pid == std::process::id()));
        drop(state);
        assert!(matches!(take(&directory), Ok(Taken::Held(_))));
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        let again = State::open(&directory).unwrap();
        assert_eq!(
            fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(State::runs(&directory), None);
        again
            .remember_runs(Path::new("/sys/fs/cgroup/a b/gateway"), true)
            .unwrap();
        assert_eq!(
            State::runs(&directory),
            Some(("/sys/fs/cgroup/a b/gateway".into(), true))
        );
    }

    #[test]
    fn another_version_is_refused() {
        for found in ["2", "999999\n", "", "1.0", "\u{1b}[2J"] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("VERSION"), found).unwrap();
            let error = State::open(directory.path()).unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(error.message.contains("version"), "{error}");
            assert!(!error.message.contains('\u{1b}'));
        }
    }

    #[test]
    fn what_is_not_a_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(State::open(file.path()).is_err());
        assert!(State::open(&file.path().join("below")).is_err());
    }
}

//! One writer per journal: a lock that dies with its process, and can be asked about without
//! being taken.
use crate::error::JournalError;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

const NAME: &str = "lock";
/// A process that the last owner had just forked holds the lock until it executes something.
const LOOKS: usize = 15;
const PAUSE: Duration = Duration::from_millis(20);

/// Held as long as the journal is open for writing.
///
/// An open-file-description lock and not flock: readers ask whether a daemon lives
/// ([`is_held`]), and with flock they could only find out by taking the lock for a moment, in
/// which a daemon that starts would be turned away.
#[derive(Debug)]
pub(crate) struct WriterLock {
    /// The kernel gives the lock back when this closes, here and wherever it was handed to, however
    /// the processes end.
    file: File,
}

impl WriterLock {
    pub(crate) fn take(dir: &Path) -> Result<WriterLock, JournalError> {
        let path = dir.join(NAME);
        let failed = |doing, source| JournalError::Io {
            doing,
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed("open", error))?;
        WriterLock::hold(dir, file)
    }

    /// Takes the lock with a file that was opened already: by this process, or by one that holds the
    /// lock and hands it over.
    pub(crate) fn hold(dir: &Path, mut file: File) -> Result<WriterLock, JournalError> {
        let path = dir.join(NAME);
        let failed = |doing, source| JournalError::Io {
            doing,
            path: path.clone(),
            source,
        };
        let mut looks = 0;
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file())) {
                Ok(_) => break,
                Err(Errno::EAGAIN | Errno::EACCES) if looks < LOOKS => {
                    looks += 1;
                    std::thread::sleep(PAUSE);
                }
                Err(Errno::EAGAIN | Errno::EACCES) => {
                    let mut text = String::new();
                    let read = file.read_to_string(&mut text);
                    let owner = read.ok().and_then(|_| text.trim().parse().ok());
                    return Err(JournalError::InUse {
                        dir: dir.to_owned(),
                        owner,
                    });
                }
                Err(error) => return Err(failed("lock", error.into())),
            }
        }
        // The number only makes the message of the next daemon clearer; without it all still holds.
        let named = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = named {
            tracing::debug!(%error, "the journal's lock file does not name its owner");
        }
        Ok(WriterLock { file })
    }

    /// The lock once more: it is held until both are closed.
    pub(crate) fn share(&self) -> std::io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }
}

/// Is the journal open for writing, in whichever process?
pub(crate) fn is_held(dir: &Path) -> bool {
    let file = match File::open(dir.join(NAME)) {
        Ok(file) => file,
        // Not to be told is not to know; a daemon that lives is the case without consequences.
        Err(error) => return error.kind() != std::io::ErrorKind::NotFound,
    };
    let mut asked = whole_file();
    match fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked)) {
        Ok(_) => i32::from(asked.l_type) != libc::F_UNLCK,
        Err(_) => true,
    }
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

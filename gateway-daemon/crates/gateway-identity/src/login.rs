//! The login uid that the kernel's audit keeps for each process.
use procfs::ProcError;
use procfs::process::Process;
use std::path::PathBuf;

/// What stands for a login uid that was never set: `(uid_t) -1`.
pub const UNSET_LOGIN_UID: u32 = u32::MAX;

/// The answer to the question for a login uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginUid {
    /// Somebody logged in, and all that came of it carries this.
    Set(u32),
    /// Nobody did, the kernel keeps no login uids, or the process is gone.
    Unset,
    /// It could not be read, and may well be set: to take the uid instead could raise a person
    /// who called sudo to root.
    Unreadable,
}

/// Where login uids are read.
pub trait LoginUids: Send + Sync {
    /// The login uid of the process with this pid and this start (nanoseconds since boot), and of
    /// no other.
    fn login_uid(&self, pid: u32, start: u64) -> LoginUid;
}

/// `/proc/PID/loginuid`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLoginUids;

impl LoginUids for SystemLoginUids {
    fn login_uid(&self, pid: u32, start: u64) -> LoginUid {
        match read(pid, start) {
            Ok(Some(login_uid)) if login_uid != UNSET_LOGIN_UID => LoginUid::Set(login_uid),
            Ok(_) | Err(ProcError::NotFound(_)) => LoginUid::Unset,
            Err(ProcError::Io(error, _)) if error.raw_os_error() == Some(ESRCH) => LoginUid::Unset,
            Err(_) => LoginUid::Unreadable,
        }
    }
}

/// What a read from a /proc directory fails with once its process is gone.
const ESRCH: i32 = 3;

/// `None`: the pid belongs to another process by now.
fn read(pid: u32, start: u64) -> Result<Option<u32>, ProcError> {
    // Both reads go through one directory, which stays bound to the process that it was opened
    // for: a pid that is reused in between makes them fail.
    let process = Process::new_with_root(PathBuf::from(format!("/proc/{pid}")))?;
    let is_it = process.stat()?.starttime == ticks(start, procfs::ticks_per_second());
    if is_it {
        process.loginuid().map(Some)
    } else {
        Ok(None)
    }
}

/// Nanoseconds since boot as /proc/PID/stat shows them (kernel: `nsec_to_clock_t`).
pub(crate) fn ticks(nanoseconds: u64, ticks_per_second: u64) -> u64 {
    let ticks = u128::from(nanoseconds) * u128::from(ticks_per_second) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    fn start_of(pid: u32) -> u64 {
        let process = Process::new(pid.cast_signed()).expect("process");
        let ticks = process.stat().expect("stat").starttime;
        ticks * (1_000_000_000 / procfs::ticks_per_second())
    }

    fn in_words(line: &str) -> LoginUid {
        match line.trim().parse().expect("number") {
            UNSET_LOGIN_UID => LoginUid::Unset,
            uid => LoginUid::Set(uid),
        }
    }

    #[test]
    fn it_is_read_from_the_very_process() {
        let own = std::fs::read_to_string("/proc/self/loginuid").expect("audit in this kernel");
        let pid = std::process::id();
        let start = start_of(pid);
        assert_eq!(SystemLoginUids.login_uid(pid, start), in_words(&own));
        let another_start = start + 1_000_000_000;
        assert_eq!(
            SystemLoginUids.login_uid(pid, another_start),
            LoginUid::Unset
        );
        assert_eq!(SystemLoginUids.login_uid(u32::MAX, start), LoginUid::Unset);
    }

    #[test]
    fn one_that_is_set_is_seen_for_that_process_alone() {
        // Where it is unset, every process may set its own: exactly the limit that lib.rs states.
        let mut child = Command::new("sh")
            .args([
                "-c",
                "echo 4242 >/proc/self/loginuid; cat /proc/self/loginuid; echo; read x",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("line");
        let start = start_of(child.id());
        // `cat` is a child of the shell, and inherited what the shell has.
        assert_eq!(
            SystemLoginUids.login_uid(child.id(), start),
            in_words(&line)
        );
        drop(child.stdin.take());
        child.wait().expect("wait");
        assert_eq!(
            SystemLoginUids.login_uid(child.id(), start),
            LoginUid::Unset,
            "gone"
        );
    }
}

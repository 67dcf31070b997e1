//! The process of sshd that serves a connection, as the kernel shows it.
use gateway_control::Peer;
use procfs::process::Process;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Others may write.
const WRITABLE: u32 = 0o022;

/// It is the parent of the process that asks.
pub(super) struct Sshd {
    /// /proc/PID, opened: what is read through it is of this process or of none.
    process: Process,
    /// When it started, in clock ticks since boot.
    start_ticks: u64,
}

impl Sshd {
    /// The parent of a caller, if that is sshd; or why it is not.
    pub(super) fn behind(peer: &Peer, daemons: &[PathBuf]) -> Result<Sshd, String> {
        if peer.uid != 0 {
            return Err("not permitted: sshd asks as root".to_owned());
        }
        let parent = parent_of(peer).ok_or("not permitted: the caller's parent cannot be told")?;
        let gone = |error: procfs::ProcError| format!("the caller's parent {parent}: {error}");
        let process = Process::new(parent).map_err(gone)?;
        let stat = process.stat().map_err(gone)?;
        let status = process.status().map_err(gone)?;
        let sshd = Sshd {
            start_ticks: stat.starttime,
            process,
        };
        if [status.ruid, status.euid, status.suid, status.fuid] != [0; 4] {
            return Err(format!(
                "not permitted: the caller's parent {parent} is not root"
            ));
        }
        let exe = std::fs::metadata(format!("/proc/{parent}/exe"));
        let exe = exe.map_err(|error| format!("the caller's parent {parent}: {error}"))?;
        is_one_of(&exe, daemons).map_err(|reason| {
            let path = sshd.process.exe().unwrap_or_default();
            let path = path.to_string_lossy().escape_debug().to_string();
            format!("not permitted: the caller's parent {parent} executes {path}, {reason}")
        })?;
        // Whatever was looked up by number was this process's, if it is still the parent.
        match peer.alive() && sshd.is_parent_of(peer) {
            true => Ok(sshd),
            false => Err("not permitted: the caller's parent has changed".to_owned()),
        }
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid.unsigned_abs()
    }

    /// Did it start at this time, given in nanoseconds since boot?
    pub(super) fn started_at(&self, start_ns: u64) -> bool {
        let tick_ns = 1_000_000_000 / procfs::ticks_per_second().max(1);
        start_ns / tick_ns == self.start_ticks
    }

    /// Is it, still, the parent of the caller?
    pub(super) fn is_parent_of(&self, peer: &Peer) -> bool {
        let lives = self.process.stat();
        let lives = lives.is_ok_and(|stat| stat.starttime == self.start_ticks && stat.state != 'Z');
        lives && parent_of(peer) == Some(self.process.pid)
    }
}

/// Of a process that lives, and whose parent is not the kernel.
fn parent_of(peer: &Peer) -> Option<i32> {
    const BYTES_MAX: u64 = 4096;
    let stat = peer.read("stat", BYTES_MAX).ok()?;
    // The name may hold anything, so the fields count from its last `)`: the state, the parent.
    let (_, fields) = stat.rsplit_once(')')?;
    let parent = fields.split_ascii_whitespace().nth(1)?.parse().ok()?;
    (parent > 0).then_some(parent)
}

/// Is a file one of these programs, which nobody but root can have written?
fn is_one_of(exe: &Metadata, programs: &[PathBuf]) -> Result<(), String> {
    for program in programs {
        let Ok(path) = program.canonicalize() else {
            continue;
        };
        let same = |found: Metadata| (found.dev(), found.ino()) == (exe.dev(), exe.ino());
        if path.metadata().is_ok_and(same) {
            return is_closed(&path);
        }
    }
    Err("which is not one of [ssh] daemons".to_owned())
}

/// Is a path root's alone, up to the top?
fn is_closed(path: &Path) -> Result<(), String> {
    for part in path.ancestors() {
        let closed = |found: Metadata| found.uid() == 0 && found.mode() & WRITABLE == 0;
        if !part.symlink_metadata().is_ok_and(closed) {
            return Err(format!("and others than root can write {}", part.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_is_known_by_what_it_is_and_not_by_its_name() {
        let sh = PathBuf::from("/bin/sh").canonicalize().unwrap();
        let exe = sh.metadata().unwrap();
        let absent = PathBuf::from("/nowhere/sshd");
        assert_eq!(is_one_of(&exe, &[absent.clone(), "/bin/sh".into()]), Ok(()));
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("sh");
        fs::copy(&sh, &copy).unwrap();
        let stranger = is_one_of(&copy.metadata().unwrap(), &[absent, sh]);
        assert!(stranger.unwrap_err().contains("[ssh] daemons"));
    }

    #[test]
    fn a_program_that_others_can_write_is_none() {
        // Beneath /tmp, which is everybody's.
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("sshd");
        fs::write(&program, "").unwrap();
        let found = || is_one_of(&program.metadata().unwrap(), std::slice::from_ref(&program));
        assert!(found().unwrap_err().contains("can write /"));
        fs::set_permissions(&program, Permissions::from_mode(0o775)).unwrap();
        assert!(found().unwrap_err().contains("sshd"));
    }
}

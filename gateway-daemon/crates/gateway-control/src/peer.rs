//! Who is at the other end of a connection, as the kernel says.
//!
//! `SO_PEERCRED` is written when the caller connects and names a pid, which the kernel may hand to
//! somebody else once the caller has exited. So the pid alone proves nothing: `SO_PEERPIDFD`
//! (Linux 6.5) holds on to the very process, and the directory of /proc that is opened here does
//! so from the accept on. A caller that has exited is nobody, and is refused.
use nix::sys::socket::{getsockopt, sockopt};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use tokio::net::UnixStream;

/// The longest /proc/PID/stat: a name of 64 bytes and 52 numbers fit many times over.
const STAT_BYTES_MAX: u64 = 4096;
/// The 22nd field of stat, counted behind the name, which is the second.
const START_FIELD: usize = 19;

/// The caller cannot be told. It is refused.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The kernel gave no credentials.
    #[error("the kernel does not say who connected: {0}")]
    Credentials(#[source] std::io::Error),
    /// The caller lives in a pid namespace that the daemon cannot see.
    #[error("the caller is not visible from the daemon's pid namespace")]
    Invisible,
    /// It has exited, so nobody can say what it was.
    #[error("the caller has exited")]
    Exited,
}

/// The process that connected.
#[derive(Debug)]
pub struct Peer {
    /// Its process id, in the daemon's pid namespace.
    pub pid: u32,
    /// Its effective user id when it connected, in the daemon's user namespace.
    pub uid: u32,
    /// Its effective group id when it connected.
    pub gid: u32,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// /proc/PID, opened: reads through it fail once the process is gone, even if its pid is not.
    directory: File,
    /// The process itself, where the kernel gives it.
    pidfd: Option<OwnedFd>,
}

impl Peer {
    /// Asks the kernel who connected.
    ///
    /// # Errors
    /// The caller has exited, or cannot be seen.
    pub fn of(stream: &UnixStream) -> Result<Peer, PeerError> {
        let credentials = stream.peer_cred().map_err(PeerError::Credentials)?;
        let pid = credentials
            .pid()
            .and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or(0);
        if pid == 0 {
            return Err(PeerError::Invisible);
        }
        let pidfd = match getsockopt(stream, sockopt::PeerPidfd) {
            Ok(pidfd) => Some(pidfd),
            Err(nix::Error::ENOPROTOOPT) => None,
            Err(_) => return Err(PeerError::Exited),
        };
        let directory = File::open(format!("/proc/{pid}")).map_err(|_| PeerError::Exited)?;
        let start_ticks = read_start(&directory).ok_or(PeerError::Exited)?;
        let peer = Peer {
            pid,
            uid: credentials.uid(),
            gid: credentials.gid(),
            start_ticks,
            directory,
            pidfd,
        };
        // The directory was opened by number. It is the caller's only if the caller still lives.
        if peer.alive() {
            Ok(peer)
        } else {
            Err(PeerError::Exited)
        }
    }

    /// Is it still the same process? To be asked after whatever was looked up by its pid.
    #[must_use]
    pub fn alive(&self) -> bool {
        let same = read_start(&self.directory) == Some(self.start_ticks);
        same && self
            .pidfd
            .as_ref()
            .is_none_or(|pidfd| pid_of(pidfd) == Some(self.pid))
    }

    /// Did it start at this time, given in nanoseconds since boot?
    #[must_use]
    pub fn started_at(&self, start_ns: u64) -> bool {
        start_ns / (1_000_000_000 / ticks_per_second()) == self.start_ticks
    }

    /// A short text of /proc/PID/`name`, at most `bytes_max` of it.
    ///
    /// # Errors
    /// The process is gone.
    pub fn read(&self, name: &str, bytes_max: u64) -> std::io::Result<String> {
        read_in(&self.directory, name, bytes_max)
    }
}

/// The kernel's USER_HZ, which is 100 wherever Linux has been since 2.4 but may be asked.
fn ticks_per_second() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)
        .ok()
        .flatten()
        .and_then(|ticks| u64::try_from(ticks).ok())
        .filter(|ticks| *ticks > 0)
        .unwrap_or(100)
}

fn read_in(directory: &File, name: &str, bytes_max: u64) -> std::io::Result<String> {
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_start(directory: &File) -> Option<u64> {
    let stat = read_in(directory, "stat", STAT_BYTES_MAX).ok()?;
    start_of_stat(&stat)
}

/// The name may hold anything, `)` and spaces too, so the fields count from its last `)`.
fn start_of_stat(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields
        .split_ascii_whitespace()
        .nth(START_FIELD)?
        .parse()
        .ok()
}

/// `Pid:` of a pidfd is -1 once the process was reaped.
fn pid_of(pidfd: &OwnedFd) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:"))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_forge_its_start_by_its_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        for name in ["sh", "a b", ") R 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 7"] {
            assert_eq!(
                start_of_stat(&format!("77 ({name}) {fields}")),
                Some(4242),
                "{name}"
            );
        }
        assert_eq!(start_of_stat("77 (sh) S 1"), None);
        assert_eq!(start_of_stat(""), None);
    }

    #[tokio::test]
    async fn the_caller_is_this_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert!(peer.alive());
        assert!(peer.started_at(peer.start_ticks * 10_000_000 + 1));
        assert!(!peer.started_at(peer.start_ticks * 10_000_000 + 10_000_000));
        assert!(peer.read("comm", 64).is_ok());
    }

    #[tokio::test]
    async fn a_caller_that_has_exited_is_nobody() {
        use std::process::{Command, Stdio};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1])\n\
                      print('x',flush=True)\nsys.stdin.read()";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (alive, _) = listener.accept().await.unwrap();
        let peer = Peer::of(&alive).unwrap();
        assert_eq!(peer.pid, child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            !peer.alive(),
            "it was alive when it was looked up, and is not now"
        );
        assert!(matches!(Peer::of(&alive), Err(PeerError::Exited)));
    }
}

//! Tells the service manager how far the daemon is: one datagram of `KEY=value` lines to the
//! socket that `NOTIFY_SOCKET` names (sd_notify(3)). And has it keep the listeners open, from one
//! daemon to the next (its store of descriptors, sd_pid_notify_with_fds(3), sd_listen_fds(3)).
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use nix::time::{ClockId, clock_gettime};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::ffi::OsStr;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};

/// By what the manager knows the listeners.
const LISTENERS: &str = "gateway-listeners";
/// The first descriptor that a manager passes (`SD_LISTEN_FDS_START`).
const FIRST_KEPT: RawFd = 3;

/// The listeners that the manager kept from the daemon before this one. To be called before
/// anything else is opened.
pub(super) fn kept() -> Vec<OwnedFd> {
    let number = |name| std::env::var(name).ok()?.parse::<RawFd>().ok();
    // Meant for this process, and not for one that it was started by.
    if number("LISTEN_PID") != i32::try_from(std::process::id()).ok() {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or_default();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let ours = (FIRST_KEPT..FIRST_KEPT.saturating_add(count)).zip(names.split(':'));
    let ours = ours.filter(|(_, name)| *name == LISTENERS);
    let taken = ours.map(|(number, _)| take(number));
    taken.collect::<io::Result<_>>().unwrap_or_else(|error| {
        tracing::error!(%error, "the listeners that were kept cannot be taken");
        Vec::new()
    })
}

/// A descriptor of this process, by its number.
fn take(number: RawFd) -> io::Result<OwnedFd> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let taken = pidfd_getfd(own, number, PidfdGetfdFlags::empty())?;
    nix::unistd::close(number)?;
    Ok(taken)
}

/// The service manager, or nobody.
pub(super) struct Manager {
    socket: Option<(UnixDatagram, UnixAddr)>,
    /// It was given the listeners by this process.
    keeps: AtomicBool,
}

impl Manager {
    /// The one that started this process.
    pub(super) fn from_environment() -> Manager {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = name.and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used");
                None
            }
        });
        Manager {
            socket,
            keeps: AtomicBool::new(false),
        }
    }

    /// Has the listeners kept for the daemon after this one, or, without any, no more.
    pub(super) fn keep(&self, listeners: &[OwnedFd]) {
        if self.keeps.swap(!listeners.is_empty(), Ordering::Relaxed) != listeners.is_empty() {
            return;
        }
        let listeners: Vec<RawFd> = listeners.iter().map(AsRawFd::as_raw_fd).collect();
        self.say(&format!("FDSTOREREMOVE=1\nFDNAME={LISTENERS}"));
        if !listeners.is_empty() {
            // They are not to be dropped for an error that waits to be read.
            let state = format!("FDSTORE=1\nFDNAME={LISTENERS}\nFDPOLL=0");
            self.send(&state, &[ControlMessage::ScmRights(&listeners)]);
        }
    }

    /// Connections are taken over from now on.
    pub(super) fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// The policies are read anew; [`Manager::ready`] follows.
    pub(super) fn reloading(&self) {
        // Type=notify-reload asks for the time, so that a late answer is not taken for an early one.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
            .map_or(0, |now| now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000);
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    /// Another process is the daemon from now on.
    pub(super) fn main_is(&self, pid: u32) {
        self.say(&format!("MAINPID={pid}"));
    }

    /// The daemon ends.
    pub(super) fn stopping(&self) {
        self.say("STOPPING=1");
    }

    fn say(&self, state: &str) {
        self.send(state, &[]);
    }

    fn send(&self, state: &str, more: &[ControlMessage<'_>]) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        let text = [IoSlice::new(state.as_bytes())];
        let flags = MsgFlags::MSG_NOSIGNAL;
        if let Err(error) = sendmsg(socket.as_raw_fd(), &text, more, flags, Some(address)) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

fn connect(name: &OsStr) -> io::Result<(UnixDatagram, UnixAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(hidden) => UnixAddr::new_abstract(hidden)?,
        None => UnixAddr::new(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that hangs must not hang the daemon.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// A status is one line.
fn line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;

    fn manager(name: &str) -> Manager {
        Manager {
            socket: Some(connect(OsStr::new(name)).unwrap()),
            keeps: AtomicBool::new(false),
        }
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn the_manager_hears_each_step() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = manager(path.to_str().unwrap());
        manager.ready("1 policy\nREADY=0");
        assert_eq!(received(&socket), "READY=1\nSTATUS=1 policy READY=0");
        manager.reloading();
        assert!(received(&socket).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        manager.stopping();
        assert_eq!(received(&socket), "STOPPING=1");
        let listener = [OwnedFd::from(UnixDatagram::unbound().unwrap())];
        manager.keep(&listener);
        let said = ["FDSTOREREMOVE=1\nFDNAME=", "FDSTORE=1\nFDNAME="];
        for said in said {
            assert!(received(&socket).starts_with(said));
        }
        // It is told what changes, once.
        manager.keep(&listener);
        manager.keep(&[]);
        assert!(received(&socket).starts_with("FDSTOREREMOVE=1"));
        manager.keep(&[]);
        manager.main_is(7);
        assert_eq!(received(&socket), "MAINPID=7");
    }

    #[test]
    fn an_abstract_socket_is_reached_and_a_dead_one_is_survived() {
        let name = format!("gateway-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let manager = manager(&format!("@{name}"));
        manager.stopping();
        assert_eq!(received(&socket), "STOPPING=1");
        drop(socket);
        manager.ready("nobody hears this");
        let nobody = Manager {
            socket: None,
            keeps: AtomicBool::new(false),
        };
        nobody.ready("nobody is there");
    }
}

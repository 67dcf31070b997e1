//! The daemon after this one, as this one sees it: it is started, given everything, and served
//! until what is left here is done.
use super::relay::Relay;
use super::{DESCRIPTORS_MAX, ENVIRONMENT, Open, SESSIONS_MAX, Wire, Word, out_of_turn};
use gateway_proxy::{LiveSession, Proxy};
use gateway_recording::{FORMAT_VERSION, Journal};
use parking_lot::{Mutex, MutexGuard};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long a successor may take to say that its configuration is good.
const HELLO_MAX: Duration = Duration::from_secs(20);
/// How long it may take to accept.
const READY_MAX: Duration = Duration::from_secs(60);

/// What is handed over.
pub(in crate::daemon) struct Estate {
    pub(in crate::daemon) state: OwnedFd,
    pub(in crate::daemon) listeners: Vec<OwnedFd>,
    pub(in crate::daemon) sessions: Vec<LiveSession>,
    pub(in crate::daemon) journal: Arc<Journal>,
    relay: Arc<Relay>,
}

impl Estate {
    pub(in crate::daemon) fn new(
        state: OwnedFd,
        listeners: Vec<OwnedFd>,
        sessions: Vec<LiveSession>,
        journal: Arc<Journal>,
    ) -> Estate {
        Estate {
            state,
            listeners,
            sessions,
            journal,
            relay: Arc::default(),
        }
    }

    /// Nobody takes it.
    pub(in crate::daemon) fn lose(&self) {
        self.relay.lead_nowhere();
    }
}

/// A daemon that is to take over. Dropping it before it did ends it.
pub(in crate::daemon) struct Successor {
    child: Child,
    wire: Wire,
    took_over: bool,
    /// Held from a word to its answer.
    answering: Mutex<()>,
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.took_over {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Successor {
    /// Starts this file with the arguments of this process, and waits until it says that it could
    /// take over. Nothing has changed until then.
    pub(in crate::daemon) fn call(file: &Path) -> io::Result<Successor> {
        let flags = SocketFlags::CLOEXEC;
        let (own, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let child = Command::new(file)
            .args(std::env::args_os().skip(1))
            .env(ENVIRONMENT, "1")
            .stdin(Stdio::from(other))
            .spawn()?;
        let successor = Successor {
            child,
            wire: Wire(own),
            took_over: false,
            answering: Mutex::new(()),
        };
        match successor.wire.hear_within(HELLO_MAX)? {
            (Word::Hello { records }, _) if records == FORMAT_VERSION => Ok(successor),
            (Word::Hello { records }, _) => Err(io::Error::other(format!(
                "it writes records of version {records}, and this one of version \
                 {FORMAT_VERSION}: stop this daemon and start the other one"
            ))),
            (word, _) => Err(out_of_turn(&word)),
        }
    }

    pub(in crate::daemon) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it everything, and waits until it accepts. Records go there from then on; `main` says
    /// to the service manager who the daemon is now, before the successor speaks to it.
    pub(in crate::daemon) fn install(
        &mut self,
        estate: &Estate,
        main: impl FnOnce(u32),
    ) -> io::Result<()> {
        let (records, other) = UnixStream::pair()?;
        let heir = Arc::clone(&estate.relay) as _;
        let lock = estate.journal.hand_over(heir).map_err(io::Error::other)?;
        let locks = [estate.state.as_fd(), lock.as_fd(), other.as_fd()];
        self.wire.say(&Word::Locks, &locks)?;
        drop(other);
        for some in estate.sessions.chunks(SESSIONS_MAX) {
            let some = some.iter().map(open).collect();
            self.wire.say(&Word::Sessions(some), &[])?;
        }
        for some in estate.listeners.chunks(DESCRIPTORS_MAX) {
            let some: Vec<_> = some.iter().map(AsFd::as_fd).collect();
            self.wire.say(&Word::Listeners, &some)?;
        }
        self.wire.say(&Word::All, &[])?;
        match self.wire.hear_within(READY_MAX)? {
            (Word::Ready, _) => self.took_over = true,
            (word, _) => return Err(out_of_turn(&word)),
        }
        main(self.pid());
        // From here on it has everything; when it is gone, that shows with the first record.
        let _ = self.wire.say(&Word::Number(0), &[]);
        estate.relay.lead_to(records)
    }

    /// Does what it says with the sessions that are left, until it says that they end, or is gone.
    pub(in crate::daemon) fn serve(&self, proxy: &Proxy) {
        loop {
            let heard = self.wire.hear();
            let _answering = self.answering.lock();
            let number = match heard {
                Ok((Word::Kill(session), _)) => u64::from(proxy.kill_session(session)),
                Ok((Word::KillTree(tree), _)) => proxy.kill_tree(tree) as u64,
                Ok((Word::Count, _)) => proxy.sessions().len() as u64,
                Ok((Word::End, _)) => {
                    let _ = self
                        .wire
                        .say(&Word::Number(proxy.sessions().len() as u64), &[]);
                    return tracing::info!("the daemon after this one ends what is left");
                }
                Ok((word, _)) => return tracing::error!(?word, "an unexpected word"),
                Err(_) => return tracing::error!("the daemon after this one is gone"),
            };
            if self.wire.say(&Word::Number(number), &[]).is_err() {
                return;
            }
        }
    }

    /// Waits for the answer that is under way, and lets there be no other: to end the last session
    /// ends this process, and who asked for that would not hear that it was done.
    pub(in crate::daemon) fn after_answers(&self) -> MutexGuard<'_, ()> {
        self.answering.lock()
    }
}

fn open(session: &LiveSession) -> Open {
    Open {
        session: session.session,
        protocol: session.protocol.to_owned(),
        resource: session.resource.to_string(),
        operations: session.operations,
        denied: session.denied,
        held: session.held,
        masked: session.masked,
    }
}

//! The daemon before this one, as this one sees it: what it hands over, and what is left of it.
use super::{ENVIRONMENT, Open, Wire, Word, out_of_turn, relay};
use crate::exit::Failure;
use gateway_core::{SessionId, TreeId};
use gateway_recording::{FORMAT_VERSION, Journal};
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long the predecessor may take to stop.
const STOP_MAX: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long its sessions may take to end when they are told to.
const END_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What was handed over.
pub(crate) struct Inheritance {
    pub(crate) listeners: Vec<OwnedFd>,
    /// The lock of the state directory.
    pub(crate) state: OwnedFd,
    pub(crate) held: Held,
}

/// What the journal goes on with.
pub(crate) struct Held {
    /// The journal's lock.
    lock: OwnedFd,
    sessions: Sessions,
}

/// The sessions that go on in the predecessor, and the way to it.
pub(crate) struct Sessions {
    records: UnixStream,
    open: Vec<Open>,
    wire: Wire,
}

impl Held {
    /// The journal's lock, and the rest.
    pub(crate) fn split(self) -> (OwnedFd, Sessions) {
        (self.lock, self.sessions)
    }
}

impl Inheritance {
    /// Takes it over, when this process was started for that. To be called when the configuration
    /// is known to be good: the predecessor stops for it.
    pub(in crate::daemon) fn receive() -> Result<Option<Inheritance>, Failure> {
        if std::env::var_os(ENVIRONMENT).is_none() {
            return Ok(None);
        }
        let failed = |error: io::Error| {
            Failure::no(format!(
                "the daemon before this one does not hand over: {error}"
            ))
        };
        let wire = io::stdin().as_fd().try_clone_to_owned();
        Inheritance::take(Wire(wire.map_err(failed)?))
            .map_err(failed)
            .map(Some)
    }

    fn take(wire: Wire) -> io::Result<Inheritance> {
        let hello = Word::Hello {
            records: FORMAT_VERSION,
        };
        wire.say(&hello, &[])?;
        let (word, locks) = wire.hear_within(STOP_MAX)?;
        let locks: Result<[OwnedFd; 3], _> = locks.try_into();
        let (Word::Locks, Ok([state, lock, records])) = (&word, locks) else {
            return Err(out_of_turn(&word));
        };
        let (mut sessions, mut listeners) = (Vec::new(), Vec::new());
        loop {
            match wire.hear_within(STOP_MAX)? {
                (Word::Sessions(some), _) => sessions.extend(some),
                (Word::Listeners, some) => listeners.extend(some),
                (Word::All, _) => break,
                (word, _) => return Err(out_of_turn(&word)),
            }
        }
        Ok(Inheritance {
            listeners,
            state,
            held: Held {
                lock,
                sessions: Sessions {
                    records: records.into(),
                    open: sessions,
                    wire,
                },
            },
        })
    }
}

/// The daemon before this one, while it drains.
pub(crate) struct Predecessor {
    /// `None` once it does not answer any more.
    wire: Mutex<Option<Wire>>,
    /// Its records still come.
    there: AtomicBool,
}

impl Predecessor {
    /// Keeps the records of its sessions from now on, in the journal that was taken over.
    pub(crate) fn follow(
        sessions: Sessions,
        journal: &Arc<Journal>,
    ) -> io::Result<Arc<Predecessor>> {
        let Sessions {
            records,
            open,
            wire,
        } = sessions;
        let predecessor = Arc::new(Predecessor {
            wire: Mutex::new(Some(wire)),
            there: AtomicBool::new(true),
        });
        let (journal, own) = (Arc::clone(journal), Arc::clone(&predecessor));
        let thread = std::thread::Builder::new().name("gateway-relay".to_owned());
        thread.spawn(move || {
            relay::keep(&records, &journal, open);
            own.there.store(false, Ordering::Release);
            *own.wire.lock() = None;
            tracing::info!("the daemon before this one is gone");
        })?;
        Ok(predecessor)
    }

    /// This daemon accepts: the other one keeps its sessions, and nothing else. False when it has died
    /// before it could tell the service manager, which would start another daemon beside this one.
    pub(crate) fn dismiss(&self) -> bool {
        self.ask(&Word::Ready).is_some()
    }

    /// Has it not ended yet?
    pub(crate) fn is_there(&self) -> bool {
        self.there.load(Ordering::Acquire)
    }

    /// Waits until it has ended, when it was told to.
    pub(crate) async fn wait(&self) {
        let deadline = Instant::now() + END_MAX;
        while self.is_there() && Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends one of its sessions. Says whether it was there.
    pub(crate) fn kill_session(&self, session: SessionId) -> bool {
        self.ask(&Word::Kill(session)).unwrap_or(0) > 0
    }

    /// Ends its sessions of a tree. Says how many.
    pub(crate) fn kill_tree(&self, tree: TreeId) -> u64 {
        self.ask(&Word::KillTree(tree)).unwrap_or(0)
    }

    /// How many sessions it has.
    pub(crate) fn sessions(&self) -> u64 {
        self.ask(&Word::Count).unwrap_or(0)
    }

    /// Ends all of them: it knows nothing of what has changed since, and does not need to.
    pub(crate) fn end(&self, why: &str) {
        let ended = self.ask(&Word::End).unwrap_or(0);
        if ended > 0 {
            tracing::info!(
                ended,
                why,
                "what the daemon before this one still had is ended"
            );
        }
    }

    /// `None` when it does not answer: it is gone then, or as good as that.
    fn ask(&self, word: &Word) -> Option<u64> {
        let mut wire = self.wire.lock();
        let there = wire.as_ref()?;
        let asked = there.say(word, &[]);
        let error = match asked.and_then(|()| there.hear_within(ANSWER_MAX)) {
            Ok((Word::Number(number), _)) => return Some(number),
            Ok((word, _)) => out_of_turn(&word),
            Err(error) => error,
        };
        if self.is_there() {
            tracing::error!(%error, "the daemon before this one does not answer");
        }
        // An answer that comes late would be taken for that to the next question.
        *wire = None;
        None
    }
}

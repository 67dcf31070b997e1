//! The live sessions: to look at, to end, and to close with a last record whatever happens.
use crate::counters::{Counters, count};
use crate::ports::Clock;
use gateway_core::{
    AnswerRecord, Destination, Mode, OperationOutcome, OperationRecord, RecordError, Recorder,
    Resolution, SessionClosed, SessionEnd, SessionId, SessionOpened, Subject, Timestamp, TreeId,
    Verdict, mask,
};
use gateway_protocol::{Stop, StopReason};
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A live session, as it was when it was asked for.
#[derive(Clone, Debug)]
pub struct LiveSession {
    /// The session.
    pub session: SessionId,
    /// Its tree.
    pub tree: TreeId,
    /// When it was taken over.
    pub since: Timestamp,
    /// Who.
    pub subject: Arc<Subject>,
    /// Where it goes.
    pub destination: Destination,
    /// The catalogue name of the destination, or `host:port`.
    pub resource: Arc<str>,
    /// What is spoken; empty while that is not known.
    pub protocol: &'static str,
    /// How many operations were asked for so far.
    pub operations: u64,
    /// How many of them were denied.
    pub denied: u64,
    /// How many of them were held.
    pub held: u64,
    /// How many values of their answers were covered so far.
    pub masked: u64,
}

/// A live session as the proxy sees it. It stands between the governor and the recorder, so it
/// knows what was recorded, and whether the last record was.
pub(crate) struct Live {
    opened: OnceLock<SessionOpened>,
    recorder: Arc<dyn Recorder>,
    pub(crate) stop: Arc<Stop>,
    protocol: OnceLock<&'static str>,
    resource: OnceLock<Arc<str>>,
    operations: AtomicU64,
    denied: AtomicU64,
    held: AtomicU64,
    masked: AtomicU64,
    closed: AtomicBool,
}

impl Live {
    pub(crate) fn new(recorder: Arc<dyn Recorder>) -> Live {
        Live {
            opened: OnceLock::new(),
            recorder,
            stop: Arc::new(Stop::default()),
            protocol: OnceLock::new(),
            resource: OnceLock::new(),
            operations: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            held: AtomicU64::new(0),
            masked: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn recognised(&self, protocol: &'static str) {
        // The first word stands; a session changes its protocol no more than its destination.
        let _ = self.protocol.set(protocol);
    }

    fn protocol(&self) -> &'static str {
        self.protocol.get().copied().unwrap_or_default()
    }

    fn resource(&self, opened: &SessionOpened) -> Arc<str> {
        let resource = self.resource.get().cloned();
        resource.unwrap_or_else(|| opened.destination.to_string().into())
    }

    fn snapshot(&self) -> Option<LiveSession> {
        let opened = self.opened.get()?;
        Some(LiveSession {
            session: opened.session,
            tree: opened.subject.lineage.tree,
            since: opened.time,
            subject: Arc::clone(&opened.subject),
            destination: opened.destination.clone(),
            resource: self.resource(opened),
            protocol: self.protocol(),
            operations: self.operations.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
            held: self.held.load(Ordering::Relaxed),
            masked: self.masked.load(Ordering::Relaxed),
        })
    }

    /// The last record of a session whose task did not come to write it.
    fn abandoned(&self, now: Timestamp, end: SessionEnd, why: &str) -> Option<SessionClosed> {
        let opened = self.opened.get()?;
        if self.closed.load(Ordering::Acquire) {
            return None;
        }
        Some(SessionClosed {
            session: opened.session,
            time: now,
            protocol: self.protocol().into(),
            resource: self.resource(opened),
            operations: self.operations.load(Ordering::Relaxed),
            denied: self.denied.load(Ordering::Relaxed),
            held: self.held.load(Ordering::Relaxed),
            masked: self.masked.load(Ordering::Relaxed),
            bytes_up: 0,
            bytes_down: 0,
            end,
            error: Some(why.into()),
        })
    }
}

impl Recorder for Live {
    fn session_opened(&self, record: &SessionOpened) -> Result<(), RecordError> {
        self.recorder.session_opened(record)?;
        let _ = self.opened.set(record.clone());
        Ok(())
    }

    fn operation(&self, record: &OperationRecord<'_>) -> Result<(), RecordError> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        match record.verdict {
            Verdict::Deny => self.denied.fetch_add(1, Ordering::Relaxed),
            Verdict::Hold if record.mode == Mode::Enforce => {
                self.held.fetch_add(1, Ordering::Relaxed)
            }
            _ => 0,
        };
        self.resource.get_or_init(|| record.resource.into());
        self.recorder.operation(record)
    }

    fn resolution(&self, record: &Resolution) -> Result<(), RecordError> {
        if !record.verdict.passes() {
            self.denied.fetch_add(1, Ordering::Relaxed);
        }
        self.recorder.resolution(record)
    }

    fn answer(&self, record: &AnswerRecord) -> Result<(), RecordError> {
        self.recorder.answer(record)
    }

    fn outcome(&self, record: &OperationOutcome) -> Result<(), RecordError> {
        let masked = mask::total(&record.masked);
        if masked > 0 {
            self.masked.fetch_add(masked, Ordering::Relaxed);
        }
        self.recorder.outcome(record)
    }

    fn session_closed(&self, record: &SessionClosed) -> Result<(), RecordError> {
        self.recorder.session_closed(record)?;
        self.closed.store(true, Ordering::Release);
        Ok(())
    }
}

#[derive(Default)]
struct Sessions {
    live: FxHashMap<SessionId, Arc<Live>>,
    /// Sessions that come from now on are ended at once.
    stopping: Option<StopReason>,
}

/// All live sessions.
#[derive(Default)]
pub(crate) struct Registry {
    sessions: Mutex<Sessions>,
}

impl Registry {
    /// What is kept under the lock is whole between any two calls, so a panic elsewhere while it
    /// was held breaks nothing.
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, session: SessionId, live: &Arc<Live>) {
        let mut sessions = self.lock();
        sessions.live.insert(session, Arc::clone(live));
        if let Some(reason) = sessions.stopping {
            live.stop.stop(reason);
        }
    }

    fn remove(&self, session: SessionId) {
        let removed = self.lock().live.remove(&session);
        // Dropped behind the lock.
        drop(removed);
    }

    pub(crate) fn sessions(&self) -> Vec<LiveSession> {
        let live: Vec<_> = self.lock().live.values().cloned().collect();
        let mut sessions: Vec<_> = live.iter().filter_map(|live| live.snapshot()).collect();
        sessions.sort_by_key(|session| session.session);
        sessions
    }

    pub(crate) fn stop_session(&self, session: SessionId) -> bool {
        let live = self.lock().live.get(&session).cloned();
        live.inspect(|live| live.stop.stop(StopReason::Killed))
            .is_some()
    }

    pub(crate) fn stop_tree(&self, tree: TreeId) -> usize {
        let live: Vec<_> = self.lock().live.values().cloned().collect();
        let of_tree = live.iter().filter(|live| {
            live.opened
                .get()
                .is_some_and(|opened| opened.subject.lineage.tree == tree)
        });
        of_tree
            .inspect(|live| live.stop.stop(StopReason::Killed))
            .count()
    }

    pub(crate) fn stop_all(&self, reason: StopReason) {
        let mut sessions = self.lock();
        sessions.stopping = Some(reason);
        sessions
            .live
            .values()
            .for_each(|live| live.stop.stop(reason));
    }
}

/// Keeps a session in the registry for as long as its task lives, and writes its last record when
/// the task is gone without having done so: it panicked, or the proxy was dropped.
pub(crate) struct Registered {
    pub(crate) live: Arc<Live>,
    session: SessionId,
    registry: Arc<Registry>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
}

impl Registered {
    pub(crate) fn new(
        session: SessionId,
        live: Arc<Live>,
        registry: Arc<Registry>,
        counters: Arc<Counters>,
        clock: Arc<dyn Clock>,
    ) -> Registered {
        registry.insert(session, &live);
        Registered {
            live,
            session,
            registry,
            counters,
            clock,
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.remove(self.session);
        let panicking = std::thread::panicking();
        let (end, why) = if panicking {
            (SessionEnd::Error, "the gateway failed (panic)")
        } else {
            (SessionEnd::Killed, StopReason::Drained.words())
        };
        if panicking {
            count(&self.counters.panics);
            tracing::error!(session = %self.session, "a session panicked; it alone ends");
        }
        if let Some(record) = self.live.abandoned(self.clock.now(), end, why)
            && let Err(error) = self.live.recorder.session_closed(&record)
        {
            count(&self.counters.recording_failures);
            tracing::error!(session = %self.session, %error, "the end of a session is lost");
        }
    }
}

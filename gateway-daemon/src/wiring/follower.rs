//! Brings the kernel's reports to the lineage: on a thread of its own, and on the thread that
//! accepts a connection, so that its lineage is never older than the connection.
use super::before::{Before, Beginning};
use super::boundaries::Boundaries;
use super::capture::{key, rooted, tag};
use super::clock;
use super::identity::Principals;
use super::namespaces::Namespaces;
use super::refusals::Refusals;
use crate::terminal::moment;
use gateway_capture::{Capture, CaptureError, Event, Events, Kind};
use gateway_lineage::{Event as Report, Forest, ProcessKey, Repaired};
use gateway_recording::{Journal, Note, NoteKind};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::{Mutex, MutexGuard};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Forks and exits wake nobody, so that they cost the forking process nothing.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between two looks at all cgroups and processes, and after one that failed.
const RESCAN_PAUSE: Duration = Duration::from_millis(10);
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long an accepted connection waits for the reports before it. They were written before the
/// connection was; only the reading of a storm takes this long.
const CATCH_UP_MAX: Duration = Duration::from_millis(50);
/// After this many reports the clock is looked at, and others may have the ring.
const BATCH: usize = 64;

/// How far a batch came.
enum Progress {
    /// There is nothing more.
    Empty,
    /// What follows is too new to count.
    Reached,
    /// There may be more.
    More,
}

/// Those who look closer at processes of which something is reported.
pub(crate) struct Watchers {
    /// May it be a service whose children begin trees of their own?
    pub(crate) boundaries: Arc<Boundaries>,
    /// Is it in a network namespace that is not known?
    pub(crate) namespaces: Arc<Namespaces>,
    /// Has it sockets from before it was governed?
    pub(crate) before: Arc<Before>,
}

/// The reports on their way.
pub(crate) struct Follower {
    events: Mutex<Events>,
    /// The ring's descriptor once more, to wait on it without holding the ring.
    readable: OwnedFd,
    capture: Arc<Capture>,
    forest: Arc<Forest>,
    principals: Arc<Principals>,
    /// The wall clock's time at boot, by which the kernel half's times are told.
    epoch_ns: u64,
    /// How many reports the kernel had counted as lost when that was last told to the lineage.
    lost: AtomicU64,
    /// Tags were lost, or a cgroup could not be judged: the kernel half waits for a rescan.
    rescan: AtomicBool,
    /// The reports are another daemon's.
    closed: AtomicBool,
    watchers: Watchers,
    journal: Arc<Journal>,
    refusals: Refusals,
}

impl Follower {
    pub(crate) fn new(
        events: Events,
        capture: Arc<Capture>,
        forest: Arc<Forest>,
        principals: Arc<Principals>,
        watchers: Watchers,
        journal: Arc<Journal>,
    ) -> Result<Follower, CaptureError> {
        Ok(Follower {
            readable: events.as_fd().try_clone_to_owned().map_err(|error| {
                CaptureError::System {
                    what: "share the ring of reports".to_owned(),
                    detail: error.to_string(),
                }
            })?,
            epoch_ns: gateway_capture::host::boot_epoch_ns()?,
            lost: AtomicU64::new(capture.counters()?.events_lost),
            events: Mutex::new(events),
            capture,
            forest,
            principals,
            closed: AtomicBool::new(false),
            rescan: AtomicBool::new(false),
            watchers,
            journal,
            refusals: Refusals::default(),
        })
    }

    /// Applies the reports as they come, until `stop` is set.
    pub(crate) fn run(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let mut waited = [PollFd::new(self.readable.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(LOOK_EVERY).unwrap_or(PollTimeout::MAX);
            let _ = poll(&mut waited, timeout);
            self.follow();
            if self.rescan.swap(false, Ordering::AcqRel) {
                self.rescan();
                // Whoever makes cgroups that cannot be judged must not keep us from all else.
                thread::sleep(RESCAN_PAUSE);
            }
            self.tell_losses();
        }
    }

    /// Takes no more reports: what comes is for the daemon that takes over.
    pub(crate) fn close(&self) {
        // Whoever reads now has finished then.
        let _events = self.events.lock();
        self.closed.store(true, Ordering::Release);
    }

    /// Applies what is there, and lets accepted connections in between.
    fn follow(&self) {
        loop {
            let before = clock::since_boot();
            let mut events = self.events.lock();
            match self.apply_some(&mut events, u64::MAX) {
                Progress::Empty => return self.forest.followed_to(before),
                Progress::Reached | Progress::More => MutexGuard::unlock_fair(events),
            }
        }
    }

    /// Applies the reports from before now, on the thread of an accepted connection. False: there
    /// are too many for that.
    pub(crate) fn catch_up(&self) -> bool {
        let now = clock::since_boot();
        let deadline = Instant::now() + CATCH_UP_MAX;
        while let Some(mut events) = self.events.try_lock_until(deadline) {
            match self.apply_some(&mut events, now) {
                Progress::More if Instant::now() < deadline => MutexGuard::unlock_fair(events),
                Progress::More => return false,
                Progress::Empty | Progress::Reached => return true,
            }
        }
        false
    }

    /// Applies some reports, up to one that was made after `until` (nanoseconds since boot).
    fn apply_some(&self, events: &mut Events, until: u64) -> Progress {
        if self.closed.load(Ordering::Acquire) {
            return Progress::Empty;
        }
        for _ in 0..BATCH {
            let Some(event) = events.next_event() else {
                return Progress::Empty;
            };
            self.apply(&event);
            if event.time.0.saturating_sub(self.epoch_ns) > until {
                return Progress::Reached;
            }
        }
        Progress::More
    }

    fn apply(&self, event: &Event) {
        let time = event.time.0.saturating_sub(self.epoch_ns);
        let process = key(event.process);
        let (tree, uid, cgroup_id) = (event.tree, event.uid, event.cgroup);
        match &event.kind {
            Kind::Rooted(by) => {
                self.forest.observe(&Report::Rooted {
                    time,
                    key: process,
                    tree,
                    policy_slot: event.slot,
                    uid,
                    cgroup_id,
                    how: rooted(*by),
                });
                self.principals
                    .rooted(tree, process.pid, process.start, uid);
                self.watchers.namespaces.look(process.pid);
                self.watchers.before.began(tree, Beginning::Seen);
            }
            Kind::Forked { parent } => {
                let parent = key(*parent);
                let child = process;
                self.forest.observe(&Report::Forked {
                    time,
                    parent,
                    child,
                    tree,
                    uid,
                    cgroup_id,
                });
            }
            Kind::Executed {
                file,
                argv,
                argv_cut,
            } => {
                self.forest.observe(&Report::Executed {
                    time,
                    key: process,
                    tree,
                    uid,
                    cgroup_id,
                    file,
                    argv,
                    argv_cut: *argv_cut,
                });
                self.principals.tokens().executed(tree, process);
                self.watchers
                    .boundaries
                    .executed(tree, event.process, event.slot);
                self.watchers.namespaces.look(process.pid);
                self.watchers.before.executed(tree);
            }
            Kind::Exited => self.forest.observe(&Report::Exited {
                time,
                key: process,
                tree,
            }),
            Kind::Refused { .. } => {
                self.refusals.say(event);
                self.watchers.namespaces.look(process.pid);
            }
            Kind::Rescan => self.rescan.store(true, Ordering::Release),
        }
    }

    /// Until this succeeds, untagged processes younger than the failure may not connect.
    fn rescan(&self) {
        match self.capture.rescan() {
            Ok(0) => tracing::debug!("a cgroup was judged that the kernel half could not judge"),
            Ok(found) => {
                tracing::warn!(found, "tags were lost in the kernel and are repaired");
                self.watchers.before.review();
            }
            Err(error) => {
                tracing::error!(%error, "tags were lost in the kernel; the repair is tried again");
                self.rescan.store(true, Ordering::Release);
                thread::sleep(RETRY_PAUSE);
            }
        }
        if let Err(error) = self.repair() {
            tracing::error!(%error, "the lineage could not be repaired");
        }
    }

    /// What the ring had no room for costs details, which are marked and looked up again.
    fn tell_losses(&self) {
        let Ok(counters) = self.capture.counters() else {
            return;
        };
        let before = self.lost.swap(counters.events_lost, Ordering::AcqRel);
        let count = counters.events_lost.saturating_sub(before);
        if count == 0 {
            return;
        }
        tracing::warn!(
            count,
            "reports of the kernel found no room; the lineage has a gap here"
        );
        self.forest.observe(&Report::Lost { count });
        let text = format!("{count} reports of the kernel were lost");
        let note = Note {
            time: moment::now(),
            kind: NoteKind::Gap,
            text,
        };
        if let Err(error) = self.journal.note(&note) {
            tracing::error!(%error, "the gap could not be recorded");
        }
        if let Err(error) = self.repair() {
            tracing::error!(%error, "the lineage could not be repaired");
        }
    }

    /// Makes the lineage agree with the kernel's tags.
    pub(crate) fn repair(&self) -> Result<Repaired, CaptureError> {
        let read_at = clock::since_boot();
        let tags = self.capture.tags()?;
        let repaired = self.forest.repair(tags.iter().map(tag), read_at);
        // An exec whose report was lost may have brought a token.
        for tag in &tags {
            let process = ProcessKey::new(tag.pid, tag.start);
            self.principals.tokens().executed(tag.tree, process);
        }
        self.watchers.boundaries.review();
        self.watchers.namespaces.review();
        Ok(repaired)
    }
}

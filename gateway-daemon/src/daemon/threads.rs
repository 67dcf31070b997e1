//! The threads beside the sessions: one follows the kernel's reports, one keeps house. When one of
//! them dies, the daemon ends: governed trees are cut off then, and the service manager restarts.
use super::handover::Predecessor;
use super::parts::Parts;
use crate::exit::Failure;
use crate::wiring::before::Before;
use crate::wiring::cgroups::RunCgroups;
use crate::wiring::clock;
use crate::wiring::columns::ColumnsFile;
use crate::wiring::follower::Follower;
use crate::wiring::identity::Principals;
use crate::wiring::people::People;
use gateway_capture::{Capture, DebugLog};
use gateway_lineage::{Forest, StateFile};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Between two rounds of the housekeeping.
const ROUND: Duration = Duration::from_secs(1);
/// How long the end of the daemon may wait for the reader of the debug log.
const DEBUG_LOG_WAIT: Duration = Duration::from_millis(100);
/// Stale tags cost memory only.
const ROUNDS_PER_SWEEP: u32 = 5;
/// And names of cgroups, for which all of the hierarchy is looked at.
const ROUNDS_PER_NAMES: u32 = 60;

/// The threads, to be ended.
pub(super) struct Threads {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts them. The name of one that dies is sent to `fatal`.
    pub(super) fn start(
        parts: &Parts,
        lineage_file: StateFile,
        fatal: Sender<&'static str>,
    ) -> Result<Threads, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        let (follower, following) = (Arc::clone(&parts.follower), Arc::clone(&stop));
        threads.push(supervised(
            "gateway-follow",
            &stop,
            fatal.clone(),
            move || {
                follower.run(&following);
            },
        )?);
        let (before, looking) = (Arc::clone(&parts.before), Arc::clone(&stop));
        threads.push(supervised(
            "gateway-before",
            &stop,
            fatal.clone(),
            move || before.run(&looking),
        )?);
        let mut house = House {
            capture: Arc::clone(&parts.capture),
            forest: Arc::clone(&parts.forest),
            follower: Arc::clone(&parts.follower),
            before: Arc::clone(&parts.before),
            principals: Arc::clone(&parts.principals),
            runs: Arc::clone(&parts.runs),
            people: Arc::clone(&parts.people),
            columns: Arc::clone(&parts.columns),
            predecessor: parts.predecessor.clone(),
            lineage_file,
        };
        let keeping = Arc::clone(&stop);
        threads.push(supervised("gateway-house", &stop, fatal, move || {
            house.keep(&keeping)
        })?);
        if let Some(log) = parts.capture.debug_log() {
            threads.push(pass_on(log, &stop)?);
        }
        Ok(Threads { stop, threads })
    }

    /// Ends them, and waits until they have written what they had to write.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// For debugging only: a daemon whose kernel half falls silent does its work as before.
fn pass_on(mut log: DebugLog, stop: &Arc<AtomicBool>) -> Result<JoinHandle<()>, Failure> {
    let stop = Arc::clone(stop);
    let thread = thread::Builder::new().name("gateway-debug".to_owned());
    Ok(thread.spawn(move || {
        while !stop.load(Ordering::Acquire) {
            log.pass_on(DEBUG_LOG_WAIT);
        }
    })?)
}

fn supervised(
    name: &'static str,
    stop: &Arc<AtomicBool>,
    fatal: Sender<&'static str>,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Failure> {
    let stop = Arc::clone(stop);
    let supervise = move || {
        // What the closure leaves behind is not used again: the daemon ends.
        let _ = catch_unwind(AssertUnwindSafe(work));
        if !stop.load(Ordering::Acquire) {
            let _ = fatal.try_send(name);
        }
    };
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .stack_size(super::STACK_BYTES);
    Ok(thread.spawn(supervise)?)
}

/// What has to be done now and then.
struct House {
    capture: Arc<Capture>,
    forest: Arc<Forest>,
    follower: Arc<Follower>,
    before: Arc<Before>,
    principals: Arc<Principals>,
    runs: Arc<RunCgroups>,
    people: Arc<People>,
    columns: Arc<ColumnsFile>,
    predecessor: Option<Arc<Predecessor>>,
    lineage_file: StateFile,
}

impl House {
    fn keep(&mut self, stop: &AtomicBool) {
        let mut round: u32 = 0;
        while !stop.load(Ordering::Acquire) {
            thread::park_timeout(ROUND);
            round = round.wrapping_add(1);
            if round.is_multiple_of(ROUNDS_PER_SWEEP) {
                self.sweep();
            }
            if round.is_multiple_of(ROUNDS_PER_NAMES)
                && let Err(error) = self.capture.sweep_cgroups()
            {
                tracing::error!(%error, "names of cgroups that are gone could not be removed");
            }
            self.watch();
            self.read_directory();
            self.tidy();
        }
        self.save();
    }

    /// Tags of processes that are gone. What has left a tag has left without a report too: the same
    /// program makes both, and the kernel has skipped it.
    fn sweep(&self) {
        match self.capture.sweep() {
            Ok(0) => {}
            Ok(removed) => {
                tracing::debug!(removed, "stale tags are removed");
                self.repair();
            }
            Err(error) => tracing::error!(%error, "stale tags could not be removed"),
        }
    }

    /// Programs that the kernel skipped, and tags that found no memory.
    fn watch(&self) {
        match self.capture.watch() {
            Ok(0) => {}
            Ok(written) => {
                tracing::warn!(written, "the kernel missed tags; they are written now");
                self.repair();
                self.before.review();
            }
            Err(error) => tracing::error!(%error, "missing tags could not be looked for"),
        }
    }

    /// Whoever leaves is denied from the next operation on: within a second of the change.
    fn read_directory(&self) {
        let directory = &self.people.directory;
        if !directory.changed_on_disk() {
            return;
        }
        match directory.reload() {
            Ok(true) => {
                tracing::info!("the directory is read anew");
                if let Some(earlier) = &self.predecessor {
                    earlier.end("the directory has changed");
                }
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "the directory is bad; what it said before is in force");
            }
        }
    }

    fn repair(&self) {
        if let Err(error) = self.follower.repair() {
            tracing::error!(%error, "the lineage could not be repaired");
        }
    }

    fn tidy(&mut self) {
        if self.forest.needs_repair() {
            self.repair();
        }
        self.forest.sweep(clock::since_boot());
        let trees = self.forest.trees();
        let alive = trees
            .iter()
            .filter(|tree| tree.alive > 0)
            .map(|tree| tree.tree);
        self.runs.sweep(&alive.collect());
        if let Err(error) = self.principals.tidy(&trees) {
            tracing::error!(%error, "the identities could not be saved");
        }
        self.save();
    }

    fn save(&mut self) {
        if let Err(error) = self.forest.save(&mut self.lineage_file) {
            tracing::error!(%error, "the lineage could not be saved");
        }
        if let Err(error) = self.columns.save() {
            tracing::error!(%error, "the sensitive columns could not be saved");
        }
    }
}

//! When sockets from before are looked at, and what is said of them.
//!
//! A tree is looked at when a policy comes into force, and when it has just begun: behind its
//! first exec, since until then it has all of its parent's descriptors, most of which it is about
//! to lose; and soon where none comes. What others share is looked at again: a launcher often lets
//! go of what it has handed on only when the job runs already. All that is done on a thread of its
//! own, for all trees that wait at once.
use crate::terminal::moment;
use gateway_capture::{Capture, CaptureError, Fate, FromBefore, Transport};
use gateway_control::view::BeforeView;
use gateway_core::TreeId;
use gateway_recording::{Journal, Note, NoteKind};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long the first exec of a tree is waited for. Who was moved into its cgroup and goes on as
/// it was has none.
const EXEC_SOON: Duration = Duration::from_millis(200);
/// The same for `gateway run`, which takes things from itself before it becomes the command.
const EXEC_OF_RUN: Duration = Duration::from_secs(10);
/// Where others share something, it is looked at again after this, and after four times that, and
/// so on, this often: the last look is half a minute later.
const SHARED_AGAIN: Duration = Duration::from_millis(100);
const LOOKS_AGAIN: u32 = 5;
/// When it failed, it is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Nobody wakes us for longer than this.
const PARKED_MAX: Duration = Duration::from_secs(1);
/// A look is followed by a rest as long as it took, or this: storms of jobs do not take a CPU.
const REST_MAX: Duration = Duration::from_millis(100);
/// Trees that wait. Where one more comes, all that there are are looked at.
const WAITING_MAX: usize = 1 << 16;
/// Lines in the log for one look, and connections in a note of the journal.
const LINES_MAX: usize = 20;
/// Holders that are named.
const HOLDERS_MAX: usize = 8;

/// How a tree begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// The kernel saw it.
    Seen,
    /// `gateway run` is about to execute its command.
    Run,
}

/// Trees that are to be looked at.
#[derive(Default)]
struct Waiting {
    due: HashMap<TreeId, Instant>,
    all: bool,
    /// Those with something that others share.
    sharing: HashMap<TreeId, Sharing>,
}

/// A tree of which others share something.
#[derive(Default)]
struct Sharing {
    /// What was said: both ends.
    said: HashSet<(Option<SocketAddr>, Option<SocketAddr>)>,
    /// It was found in the last look.
    found: bool,
    looks: u32,
}

impl Waiting {
    fn add(&mut self, tree: TreeId, due: Instant) {
        if self.due.len() >= WAITING_MAX {
            self.all = true;
            self.due.clear();
        }
        self.due.entry(tree).or_insert(due);
    }

    /// Is it one that waits? Then it waits no longer.
    fn hurry(&mut self, tree: TreeId, now: Instant) -> bool {
        match self.due.get_mut(&tree) {
            Some(due) => {
                *due = now;
                true
            }
            None => false,
        }
    }

    fn take(&mut self, now: Instant) -> HashSet<TreeId> {
        let taken = self.due.extract_if(|_, due| *due <= now);
        taken.map(|(tree, _)| tree).collect()
    }

    /// Is it to be said? What others share is found in each look.
    fn is_news(&mut self, found: &FromBefore) -> bool {
        let Fate::Shared(_) = found.fate else {
            return true;
        };
        let sharing = self.sharing.entry(found.tree).or_default();
        sharing.found = true;
        sharing.said.insert((found.local, found.peer))
    }

    /// These were looked at: some of them have to be again.
    fn come_back(&mut self, trees: &HashSet<TreeId>, now: Instant) {
        for tree in trees {
            let Some(sharing) = self.sharing.get_mut(tree) else {
                continue;
            };
            if !std::mem::take(&mut sharing.found) || sharing.looks >= LOOKS_AGAIN {
                self.sharing.remove(tree);
                continue;
            }
            let pause = SHARED_AGAIN * 4_u32.pow(sharing.looks);
            sharing.looks += 1;
            self.add(*tree, now + pause);
        }
    }

    fn next(&self) -> Option<Instant> {
        self.due.values().min().copied()
    }
}

/// What became of them since the daemon started.
#[derive(Default)]
struct Counts {
    ended: AtomicU64,
    shared: AtomicU64,
    observed: AtomicU64,
    gaps: AtomicU64,
}

/// Sockets from before.
pub(crate) struct Before {
    capture: Arc<Capture>,
    journal: Arc<Journal>,
    waiting: Mutex<Waiting>,
    /// The thread that looks.
    looker: OnceLock<Thread>,
    counts: Counts,
}

impl Before {
    pub(crate) fn new(capture: Arc<Capture>, journal: Arc<Journal>) -> Before {
        Before {
            capture,
            journal,
            waiting: Mutex::default(),
            looker: OnceLock::new(),
            counts: Counts::default(),
        }
    }

    /// A tree has begun. Does not wait.
    pub(crate) fn began(&self, tree: TreeId, how: Beginning) {
        let patience = match how {
            Beginning::Seen => EXEC_SOON,
            Beginning::Run => EXEC_OF_RUN,
        };
        self.waiting.lock().add(tree, Instant::now() + patience);
        self.wake();
    }

    /// Something of this tree executed a file. Does not wait.
    pub(crate) fn executed(&self, tree: TreeId) {
        // Nearly all execs end here.
        if self.waiting.lock().hurry(tree, Instant::now()) {
            self.wake();
        }
    }

    /// The kernel missed processes, and it is not known whose they are. Does not wait.
    pub(crate) fn review(&self) {
        self.waiting.lock().all = true;
        self.wake();
    }

    fn wake(&self) {
        if let Some(looker) = self.looker.get() {
            looker.unpark();
        }
    }

    /// How many there were.
    pub(crate) fn view(&self) -> BeforeView {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        BeforeView {
            ended: count(&self.counts.ended),
            shared: count(&self.counts.shared),
            observed: count(&self.counts.observed),
            gaps: count(&self.counts.gaps),
        }
    }

    /// Looks at what waits, until `stop` is set and the thread is unparked.
    pub(crate) fn run(&self, stop: &AtomicBool) {
        let _ = self.looker.set(thread::current());
        while !stop.load(Ordering::Acquire) {
            let now = Instant::now();
            let (trees, all, next) = {
                let mut waiting = self.waiting.lock();
                let all = std::mem::take(&mut waiting.all);
                (waiting.take(now), all, waiting.next())
            };
            if all {
                self.look_at_all();
            } else if trees.is_empty() {
                let rest = next.map_or(PARKED_MAX, |next| next.saturating_duration_since(now));
                thread::park_timeout(rest.min(PARKED_MAX));
                continue;
            } else {
                self.look_at(&trees);
            }
            thread::sleep(now.elapsed().min(REST_MAX));
        }
    }

    fn look_at_all(&self) {
        match self.capture.tags() {
            Ok(tags) => self.look_at(&tags.iter().map(|tag| tag.tree).collect()),
            Err(error) => {
                tracing::error!(%error, "sockets from before could not be looked for");
                self.waiting.lock().all = true;
                thread::park_timeout(AGAIN);
            }
        }
    }

    /// Looks at these trees now, and returns when that is done.
    pub(crate) fn look_at(&self, trees: &HashSet<TreeId>) {
        match self.capture.judge_sockets(trees) {
            Ok(mut found) => {
                let mut waiting = self.waiting.lock();
                found.retain(|found| waiting.is_news(found));
                waiting.come_back(trees, Instant::now());
                drop(waiting);
                self.wake();
                self.tell(&found);
            }
            Err(error) => self.try_again(trees, &error),
        }
    }

    fn try_again(&self, trees: &HashSet<TreeId>, error: &CaptureError) {
        tracing::error!(%error, "sockets from before could not be looked at; it is tried again");
        let mut waiting = self.waiting.lock();
        for tree in trees {
            waiting.add(*tree, Instant::now() + AGAIN);
        }
    }

    fn tell(&self, found: &[FromBefore]) {
        let mut lines = 0;
        let mut unseen = Vec::new();
        for found in found {
            let count = match &found.fate {
                Fate::Marked => continue,
                Fate::Ended => &self.counts.ended,
                Fate::Shared(_) => &self.counts.shared,
                Fate::Observed => &self.counts.observed,
                Fate::Gap(_) => &self.counts.gaps,
            };
            count.fetch_add(1, Ordering::Relaxed);
            lines += 1;
            if lines <= LINES_MAX {
                say(found);
            }
            if found.fate != Fate::Ended {
                unseen.push(found);
            }
        }
        if lines > LINES_MAX {
            let more = lines - LINES_MAX;
            tracing::warn!(more, "there are more sockets from before");
        }
        if !unseen.is_empty() {
            self.record(&unseen);
        }
    }

    /// What goes on unseen is a gap in what the journal knows.
    fn record(&self, unseen: &[&FromBefore]) {
        let note = Note {
            time: moment::now(),
            kind: NoteKind::Gap,
            text: in_words(unseen),
        };
        if let Err(error) = self.journal.note(&note) {
            tracing::error!(%error, "the gap could not be recorded");
        }
    }
}

const fn word(transport: Option<Transport>) -> &'static str {
    match transport {
        Some(Transport::Tcp) => "tcp",
        Some(Transport::Udp) => "udp",
        Some(Transport::Other) => "ip",
        None => "socket",
    }
}

fn shown(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "?".to_owned(), |address| address.to_string())
}

fn holders(pids: &[u32]) -> String {
    let named = pids.iter().take(HOLDERS_MAX).map(u32::to_string);
    let mut text = named.collect::<Vec<_>>().join(" ");
    match pids.len() {
        0 => text.push_str("not known"),
        count if count > HOLDERS_MAX => text.push_str(" …"),
        _ => {}
    }
    text
}

fn say(found: &FromBefore) {
    let (pid, tree) = (found.process.pid, found.tree);
    let (transport, local, peer) = (word(found.transport), shown(found.local), shown(found.peer));
    match &found.fate {
        Fate::Marked => {}
        Fate::Ended => tracing::info!(
            pid, %tree, transport, local, peer,
            "a connection from before its process was governed is ended"
        ),
        Fate::Shared(pids) => tracing::warn!(
            pid, %tree, transport, local, peer, holders = holders(pids),
            "a connection from before its process was governed goes on: others share it"
        ),
        Fate::Observed => tracing::warn!(
            pid, %tree, transport, local, peer,
            "a connection from before its process was governed goes on: the policy does not enforce"
        ),
        Fate::Gap(reason) => tracing::warn!(
            pid, %tree, transport, local, peer, reason,
            "something from before a process was governed cannot be judged"
        ),
    }
}

fn in_words(unseen: &[&FromBefore]) -> String {
    let mut text = format!("{} from before go on unseen:", unseen.len());
    for found in unseen.iter().take(LINES_MAX) {
        let why = match &found.fate {
            Fate::Shared(pids) => format!("shared with {}", holders(pids)),
            Fate::Observed => "not enforced".to_owned(),
            Fate::Gap(reason) => (*reason).to_owned(),
            Fate::Ended | Fate::Marked => continue,
        };
        // Writing to a string does not fail.
        let _ = write!(
            text,
            " {} {} -> {} of process {} in tree {} ({why});",
            word(found.transport),
            shown(found.local),
            shown(found.peer),
            found.process.pid,
            found.tree,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_capture::ProcessKey;

    #[test]
    fn a_tree_waits_for_its_exec_or_for_its_time() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        waiting.add(TreeId(1), now + EXEC_SOON);
        waiting.add(TreeId(2), now + EXEC_OF_RUN);
        waiting.add(TreeId(2), now);
        assert!(waiting.take(now).is_empty());
        assert_eq!(waiting.next(), Some(now + EXEC_SOON));
        assert!(waiting.hurry(TreeId(2), now) && !waiting.hurry(TreeId(3), now));
        assert_eq!(waiting.take(now), HashSet::from([TreeId(2)]));
        assert!(!waiting.hurry(TreeId(2), now), "its second exec");
        assert_eq!(waiting.take(now + EXEC_SOON), HashSet::from([TreeId(1)]));
        assert_eq!(waiting.next(), None);
    }

    fn shared(pids: impl Iterator<Item = u32>) -> FromBefore {
        FromBefore {
            process: ProcessKey { pid: 7, start: 1 },
            tree: TreeId(9),
            transport: Some(Transport::Tcp),
            local: None,
            peer: Some("192.0.2.1:443".parse().unwrap()),
            fate: Fate::Shared(pids.collect()),
        }
    }

    #[test]
    fn what_others_share_is_said_once_and_looked_at_a_few_times() {
        let mut waiting = Waiting::default();
        let trees = HashSet::from([TreeId(9)]);
        let mut now = Instant::now();
        let began = now;
        let mut news = 0;
        for look in 0..=LOOKS_AGAIN {
            news += u32::from(waiting.is_news(&shared(1..2)));
            waiting.come_back(&trees, now);
            let next = waiting.next();
            assert_eq!(next.is_some(), look < LOOKS_AGAIN, "{look}");
            now = next.unwrap_or(now);
            waiting.take(now);
        }
        assert_eq!(news, 1);
        let took = now - began;
        assert!(took > Duration::from_secs(30) && took < Duration::from_secs(40));
        assert!(waiting.is_news(&shared(1..2)), "nothing is kept");
        waiting.come_back(&trees, now);
        waiting.take(now + SHARED_AGAIN);
        waiting.come_back(&trees, now);
        assert!(waiting.sharing.is_empty() && waiting.next().is_none());
    }

    #[test]
    fn more_than_can_wait_means_all() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        for tree in 0..WAITING_MAX as u64 {
            waiting.add(TreeId(tree), now);
        }
        assert!(!waiting.all);
        waiting.add(TreeId(u64::MAX), now);
        assert!(waiting.all && waiting.due.len() <= WAITING_MAX);
    }

    #[test]
    fn what_goes_on_is_said_with_who_shares_it() {
        let text = in_words(&[&shared(1..20)]);
        let part = "1 from before go on unseen: tcp ? -> 192.0.2.1:443 of process 7 in tree";
        assert!(text.starts_with(part), "{text}");
        assert!(text.contains("(shared with 1 2 3 4 5 6 7 8 …);"), "{text}");
        assert_eq!(holders(&[]), "not known");
    }
}

//! The trees as a service: one writer that follows the kernel's reports, many readers.
//!
//! /proc and the cgroup file system are only ever read without the lock, and texts are copied after
//! it is released: an accept never waits for a file, nor for somebody else's long lineage.
use crate::cgroup::CgroupPaths;
use crate::event::{Event, ProcessKey, Tag};
use crate::limits::Limits;
use crate::proc::{Depth, Look, ProcSource};
use crate::state::{StateFile, StateNote};
use crate::table::{Chain, Inspection, Link, Plan, Repaired, Sightings, Table};
use gateway_core::{Lineage, Process, TreeId};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// All governed trees.
pub struct Forest {
    table: RwLock<Table>,
    proc: Box<dyn ProcSource>,
    cgroups: Arc<dyn CgroupPaths>,
    /// Held while something is asked outside and then applied, so that no report of another thread
    /// comes in between.
    writing: Mutex<()>,
    /// Up to when all reports have been applied, nanoseconds since boot.
    followed_to: AtomicU64,
    followed: Notify,
}

/// One tree in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeSummary {
    /// The tree.
    pub tree: TreeId,
    /// The slot of the policy that it is under; `None` when the report that said so was lost.
    pub policy_slot: Option<u32>,
    /// The process at its root; `None` when nothing is known about it.
    pub root: Option<Process>,
    /// How many of its processes are alive.
    pub alive: usize,
    /// How many of its processes are kept, the exited ones too.
    pub processes: usize,
    /// Since when it is known, nanoseconds since boot.
    pub since: u64,
}

/// One tree with its processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeView {
    /// The tree as a whole.
    pub summary: TreeSummary,
    /// Its processes; each comes after its parent.
    pub processes: Vec<TreeProcess>,
}

/// One process of a [`TreeView`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeProcess {
    /// Which process forked it; `None` for the root, and where that is not known.
    pub parent: Option<ProcessKey>,
    /// The process.
    pub process: Process,
}

/// Numbers about the forest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Trees with at least one process.
    pub trees: usize,
    /// Processes that are kept.
    pub processes: usize,
    /// Those of them that are alive.
    pub alive: usize,
    /// Bytes of files, arguments, directories and cgroup paths.
    pub detail_bytes: usize,
    /// Reports that were lost since the start.
    pub lost: u64,
    /// How often a file's details were not kept for lack of memory.
    pub scarce: u64,
    /// How many exited ancestors were given up for lack of memory.
    pub collapsed: u64,
}

/// What a restart brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Trees.
    pub trees: usize,
    /// Processes.
    pub processes: usize,
    /// Why it was not all, when it was not.
    pub note: Option<StateNote>,
}

impl fmt::Debug for Forest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forest")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Forest {
    /// An empty forest.
    #[must_use]
    pub fn new(limits: Limits, proc: Box<dyn ProcSource>, cgroups: Arc<dyn CgroupPaths>) -> Forest {
        Forest {
            table: RwLock::new(Table::new(limits)),
            proc,
            cgroups,
            writing: Mutex::new(()),
            followed_to: AtomicU64::new(0),
            followed: Notify::new(),
        }
    }

    /// Applies one report of the kernel half. For the thread that reads them.
    pub fn observe(&self, event: &Event<'_>) {
        let _writing = self.writing.lock();
        let plan = self.table.read().plan(event);
        let sightings = self.ask(&plan);
        self.table.write().apply(event, &sightings);
    }

    fn ask(&self, plan: &Plan) -> Sightings {
        // The cgroup before the process: that its start still fits afterwards shows that both
        // answers are about the same one.
        let parent_cgroup = plan.parent.and_then(|key| self.cgroups.of_process(key.pid));
        let parent = plan.parent.map(|key| self.proc.look(key, Depth::Whole));
        let is_alive = parent.as_ref().is_some_and(|look| look.facts().is_some());
        Sightings {
            process: plan.process.map(|(key, depth)| self.proc.look(key, depth)),
            parent_cgroup: parent_cgroup.filter(|_| is_alive),
            parent,
            cgroup: plan
                .cgroup
                .and_then(|(cgroup_id, pid)| self.cgroups.path_of(cgroup_id, pid)),
        }
    }

    /// Says that every report from before `time` (nanoseconds since boot) has been applied. For
    /// the thread that reads them, when it finds no more: with the time from before it looked.
    pub fn followed_to(&self, time: u64) {
        self.followed_to.fetch_max(time, Ordering::Release);
        self.followed.notify_waiters();
    }

    /// Waits until every report from before `time` has been applied. A connection is accepted
    /// within microseconds of the exec that it comes from; without this its lineage could name
    /// what the process ran before. The caller limits the wait, and has the reports read.
    pub async fn follow_to(&self, time: u64) {
        loop {
            // Registered before the check, so that no notice falls in between.
            let mut notified = std::pin::pin!(self.followed.notified());
            notified.as_mut().enable();
            if self.followed_to.load(Ordering::Acquire) >= time {
                return;
            }
            notified.await;
        }
    }

    /// The way from the root of its tree to a process, alive or lately exited. At most
    /// [`crate::LINEAGE_MAX`] processes: of a longer one the root and the nearest, with a gap.
    #[must_use]
    pub fn lineage_of(&self, key: ProcessKey) -> Option<Lineage> {
        let mut chain: Chain = self.table.read().chain(key)?;
        chain
            .links
            .iter_mut()
            .for_each(|link| self.name_cgroup_of(link));
        Some(chain.into_lineage())
    }

    /// Asks again for a name that was not known, or not kept.
    fn name_cgroup_of(&self, link: &mut Link) {
        if link.cgroup.is_none() && link.cgroup_id != 0 {
            link.cgroup = self.cgroups.path_of(link.cgroup_id, link.key.pid);
        }
    }

    /// The tree that a process belongs to.
    #[must_use]
    pub fn tree_of_process(&self, key: ProcessKey) -> Option<TreeId> {
        let table = self.table.read();
        table
            .find(key)
            .and_then(|index| table.node(index))
            .map(|node| node.tree)
    }

    /// The process that has this pid, else the last that is known to have had it.
    #[must_use]
    pub fn find_pid(&self, pid: u32) -> Option<ProcessKey> {
        self.table.read().find_pid(pid)
    }

    /// One tree with all its processes.
    #[must_use]
    pub fn tree_of(&self, tree: TreeId) -> Option<TreeView> {
        let (summary, links) = {
            let table = self.table.read();
            (summary_of(&table, tree)?, table.members(tree))
        };
        let processes = links.into_iter().map(|(mut link, parent)| {
            self.name_cgroup_of(&mut link);
            TreeProcess {
                parent,
                process: whole(link),
            }
        });
        Some(TreeView {
            summary: self.summarise(summary),
            processes: processes.collect(),
        })
    }

    /// All trees, oldest first.
    #[must_use]
    pub fn trees(&self) -> Vec<TreeSummary> {
        let rough: Vec<RoughSummary> = {
            let table = self.table.read();
            table
                .trees
                .keys()
                .filter_map(|&tree| summary_of(&table, tree))
                .collect()
        };
        let mut trees: Vec<TreeSummary> = rough
            .into_iter()
            .map(|rough| self.summarise(rough))
            .collect();
        trees.sort_unstable_by_key(|tree| (tree.since, tree.tree));
        trees
    }

    fn summarise(&self, (mut summary, root): RoughSummary) -> TreeSummary {
        summary.root = root.map(|mut root| {
            self.name_cgroup_of(&mut root);
            whole(root)
        });
        summary
    }

    /// Lets go of processes whose exit is long enough ago. For a timer; `now` in nanoseconds since
    /// boot.
    pub fn sweep(&self, now: u64) {
        self.table.write().settle(now);
    }

    /// Reports were lost, or a daemon was restarted, and [`Forest::repair`] has not run since.
    #[must_use]
    pub fn needs_repair(&self) -> bool {
        self.table.read().suspect
    }

    /// Makes the trees agree with the kernel's tag map: adds who is missing, marks who has gone,
    /// completes details from /proc. `read_at` (nanoseconds since boot) is a moment before the
    /// reading of the tags began; whoever was heard of after it is left alone.
    pub fn repair(&self, tags: impl IntoIterator<Item = Tag>, read_at: u64) -> Repaired {
        // A later tag for the same process is the fresher one; parents come before children.
        let tags: FxHashMap<ProcessKey, Tag> = tags.into_iter().map(|tag| (tag.key, tag)).collect();
        let mut tags: Vec<Tag> = tags.into_values().collect();
        tags.sort_unstable_by_key(|tag| tag.key);
        let lost = self.table.read().begin_repair();
        let mut repaired = Repaired::default();
        for tag in &tags {
            self.repair_one(tag, read_at, &mut repaired);
        }
        let _writing = self.writing.lock();
        self.table
            .write()
            .finish_repair(&tags, read_at, lost, &mut repaired);
        repaired
    }

    fn repair_one(&self, tag: &Tag, read_at: u64, repaired: &mut Repaired) {
        let _writing = self.writing.lock();
        let needed = self.table.read().needs_inspection(tag);
        let inspection = needed.then(|| self.inspect(tag.key));
        self.table
            .write()
            .repair_one(tag, inspection.as_ref(), read_at, repaired);
    }

    fn inspect(&self, key: ProcessKey) -> Inspection {
        let cgroup = self.cgroups.of_process(key.pid);
        let look = self.proc.look(key, Depth::Whole);
        let cgroup = cgroup.filter(|_| matches!(look, Look::Alive(_)));
        Inspection { look, cgroup }
    }

    /// Takes in one process that the kernel has a tag for and of which no report has come, and
    /// returns its lineage. `read_at` as in [`Forest::repair`].
    #[must_use]
    pub fn adopt(&self, tag: Tag, read_at: u64) -> Option<Lineage> {
        self.repair_one(&tag, read_at, &mut Repaired::default());
        self.lineage_of(tag.key)
    }

    /// Numbers for status and metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let table = self.table.read();
        Stats {
            trees: table.trees.len(),
            processes: table.len(),
            alive: table.alive(),
            detail_bytes: table.detail_bytes(),
            lost: table.lost,
            scarce: table.scarce,
            collapsed: table.collapsed,
        }
    }

    /// Writes what changed since the last save. Cheap when nothing did. Returns the bytes written.
    ///
    /// # Errors
    /// The file could not be written. The next save writes everything.
    pub fn save(&self, file: &mut StateFile) -> io::Result<u64> {
        let everything = file.wants_everything();
        if !everything && !self.table.read().is_dirty() {
            return Ok(0);
        }
        let changes = self.table.write().take_changes(everything);
        file.write(&changes, everything)
    }

    /// Takes over what an earlier daemon saved in this boot. For an empty forest, before the first
    /// report; [`Forest::repair`] must follow.
    pub fn restore(&self, file: &StateFile) -> Restored {
        let (replay, note) = file.read();
        let _writing = self.writing.lock();
        let mut table = self.table.write();
        if !replay.is_empty() && table.is_unused() {
            replay.fill(&mut table);
        }
        Restored {
            trees: table.trees.len(),
            processes: table.len(),
            note,
        }
    }

    #[cfg(test)]
    pub(crate) fn check(&self) {
        self.table.read().check();
    }
}

/// A summary before the root's texts are copied.
type RoughSummary = (TreeSummary, Option<Link>);

fn summary_of(table: &Table, tree: TreeId) -> Option<RoughSummary> {
    let entry = table.trees.get(&tree)?;
    let root = entry
        .root
        .and_then(|root| Some(table.link_of(table.node(root)?, root)));
    let summary = TreeSummary {
        tree,
        policy_slot: entry.policy_slot,
        root: None,
        alive: entry.alive as usize,
        processes: entry.members as usize,
        since: entry.since,
    };
    Some((summary, root))
}

/// A process with all its arguments.
fn whole(link: Link) -> Process {
    let mut argv_bytes = usize::MAX;
    link.into_process(&mut argv_bytes)
}

//! A world in which time, processes and losses are ours to arrange.
mod bounds;
mod properties;
mod real;
mod saved;
mod scenarios;

use crate::cgroup::CgroupPaths;
use crate::event::{Event, ProcessKey, RootedBy, Tag};
use crate::forest::Forest;
use crate::limits::Limits;
use crate::proc::{Depth, Facts, Look, ProcSource};
use gateway_core::{Lineage, TreeId};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::sync::Arc;

pub(super) const SECOND: u64 = 1_000_000_000;

/// The processes that /proc shows; `None`: /proc cannot be read.
pub(super) struct FakeProc(Mutex<Option<FxHashMap<ProcessKey, Facts>>>);

#[derive(Clone)]
pub(super) struct Shared(pub Arc<FakeProc>);

impl ProcSource for Shared {
    fn look(&self, key: ProcessKey, _: Depth) -> Look {
        match &*self.0.0.lock() {
            None => Look::Unknown,
            Some(shown) => shown.get(&key).cloned().map_or(Look::Gone, Look::Alive),
        }
    }
}

/// Names cgroup 7 `c7`, up to 99; process P is in cgroup P mod 10.
pub(super) struct FakeCgroups;

impl CgroupPaths for FakeCgroups {
    fn path_of(&self, cgroup_id: u64, _: u32) -> Option<Arc<str>> {
        (cgroup_id < 100).then(|| format!("c{cgroup_id}").into())
    }

    fn of_process(&self, pid: u32) -> Option<(u64, Arc<str>)> {
        let id = u64::from(pid % 10);
        Some((id, format!("c{id}").into()))
    }
}

/// A forest, its /proc, and a clock that moves on with each event.
pub(super) struct World {
    pub proc: Shared,
    pub forest: Forest,
    pub now: u64,
}

pub(super) fn key(pid: u32) -> ProcessKey {
    // Starts in the order of the pids, a microsecond apart.
    ProcessKey::new(pid, u64::from(pid) * 1000)
}

pub(super) fn tag(pid: u32, parent: Option<u32>) -> Tag {
    Tag {
        key: key(pid),
        tree: TreeId(1),
        policy_slot: 3,
        parent: parent.map(key),
    }
}

impl World {
    pub(super) fn new(limits: Limits) -> World {
        let proc = Shared(Arc::new(FakeProc(Mutex::new(Some(FxHashMap::default())))));
        let forest = Forest::new(limits, Box::new(proc.clone()), Arc::new(FakeCgroups));
        World {
            proc,
            forest,
            now: 0,
        }
    }

    /// A world in which process 1 is the root of tree 1 and runs `job`.
    pub(super) fn with_job() -> World {
        let mut world = World::new(Limits::default());
        world.root(1, 1, RootedBy::Run);
        world.exec(1, "/srv/job");
        world
    }

    /// The time of the next report about a process: after the last one, and after its start.
    fn tick(&mut self, pid: u32) -> u64 {
        self.now = key(pid).start.max(self.now) + 1;
        self.now
    }

    pub(super) fn root(&mut self, pid: u32, tree: u64, how: RootedBy) {
        let time = self.tick(pid);
        self.forest.observe(&Event::Rooted {
            time,
            key: key(pid),
            tree: TreeId(tree),
            policy_slot: 3,
            uid: 1000,
            cgroup_id: 5,
            how,
        });
    }

    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        let time = self.tick(child);
        self.fork_at(time, parent, child);
    }

    pub(super) fn fork_at(&mut self, time: u64, parent: u32, child: u32) {
        self.forest.observe(&Event::Forked {
            time,
            parent: key(parent),
            child: key(child),
            tree: TreeId(1),
            uid: 1000,
            cgroup_id: 5,
        });
    }

    pub(super) fn exec(&mut self, pid: u32, file: &str) {
        let time = self.tick(pid);
        self.exec_at(time, pid, file);
    }

    pub(super) fn exec_at(&mut self, time: u64, pid: u32, file: &str) {
        let argv = format!("{file}\0-x\0");
        self.forest.observe(&Event::Executed {
            time,
            key: key(pid),
            tree: TreeId(1),
            uid: 1000,
            cgroup_id: 5,
            file: file.as_bytes(),
            argv: argv.as_bytes(),
            argv_cut: false,
        });
    }

    pub(super) fn exit(&mut self, pid: u32) {
        let time = self.tick(pid);
        self.forest.observe(&Event::Exited {
            time,
            key: key(pid),
            tree: TreeId(1),
        });
    }

    pub(super) fn lose(&mut self) {
        self.forest.observe(&Event::Lost { count: 1 });
    }

    /// Lets so much time pass that the exited are let go.
    pub(super) fn pass(&mut self) {
        self.now += 60 * SECOND;
        self.forest.sweep(self.now);
        self.forest.check();
    }

    /// Makes /proc show a process.
    pub(super) fn show(&self, pid: u32, file: &str, layout: u64) {
        let facts = Facts {
            exe: Some(file.to_owned()),
            argv: format!("{file}\0from-proc\0").into_bytes(),
            cwd: Some("/work".to_owned()),
            uid: Some(2000),
            layout,
            ..Facts::default()
        };
        self.show_as(key(pid), facts);
    }

    pub(super) fn show_as(&self, key: ProcessKey, facts: Facts) {
        self.proc
            .0
            .0
            .lock()
            .get_or_insert_default()
            .insert(key, facts);
    }

    /// Makes /proc unreadable.
    pub(super) fn blind(&self) {
        *self.proc.0.0.lock() = None;
    }

    pub(super) fn repair(&mut self, tags: &[Tag]) -> crate::Repaired {
        let last = tags.iter().map(|tag| tag.key.pid).max();
        let read_at = self.tick(last.unwrap_or(0));
        let repaired = self.forest.repair(tags.iter().copied(), read_at);
        self.forest.check();
        repaired
    }

    /// The lineage of a process on one line.
    pub(super) fn draw(&self, pid: u32) -> String {
        self.forest.check();
        self.forest
            .lineage_of(key(pid))
            .map_or_else(|| "nothing".to_owned(), |line| draw(&line))
    }
}

/// `1:/srv/job kernel > 2:/usr/bin/psql gap exited`
pub(super) fn draw(lineage: &Lineage) -> String {
    let processes = lineage.processes.iter().map(|process| {
        let provenance = format!("{:?}", process.provenance).to_lowercase();
        let exited = if process.exited { " exited" } else { "" };
        format!("{}:{} {provenance}{exited}", process.pid, process.exe)
    });
    processes.collect::<Vec<_>>().join(" > ")
}

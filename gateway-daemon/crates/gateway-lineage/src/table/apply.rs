//! One report after the other.
use super::{Details, NO_UID, Place, Table};
use crate::event::{Event, ProcessKey, RootedBy};
use crate::image::Image;
use crate::proc::{Depth, Look};
use gateway_core::TreeId;
use std::sync::Arc;

/// What has to be asked outside before an event can be applied. Asked without the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The process that the event is about.
    pub process: Option<(ProcessKey, Depth)>,
    /// A parent that is not known.
    pub parent: Option<ProcessKey>,
    /// A cgroup without a name, and who is in it.
    pub cgroup: Option<(u64, u32)>,
}

/// The answers to a [`Plan`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Sightings {
    pub process: Option<Look>,
    pub parent: Option<Look>,
    pub parent_cgroup: Option<(u64, Arc<str>)>,
    pub cgroup: Option<Arc<str>>,
}

/// What every report about a process says.
#[derive(Clone, Copy)]
struct Report {
    time: u64,
    key: ProcessKey,
    tree: TreeId,
    uid: u32,
    cgroup_id: u64,
}

impl Table {
    /// What to ask before [`Table::apply`].
    pub(crate) fn plan(&self, event: &Event<'_>) -> Plan {
        let mut plan = Plan::default();
        let (time, key, cgroup_id) = match *event {
            Event::Rooted {
                time,
                key,
                cgroup_id,
                ..
            } => {
                plan.process = self.misses_details(key).then_some((key, Depth::Whole));
                (time, key, cgroup_id)
            }
            Event::Forked {
                time,
                parent,
                child,
                cgroup_id,
                ..
            } => {
                if self.find(parent).is_none() && parent < child {
                    plan.parent = Some(parent);
                    plan.process = Some((child, Depth::Whole));
                }
                (time, child, cgroup_id)
            }
            Event::Executed {
                time,
                key,
                cgroup_id,
                ..
            } => {
                plan.process = Some((key, Depth::Place));
                (time, key, cgroup_id)
            }
            Event::Exited { .. } | Event::Lost { .. } => return plan,
        };
        if self.is_stale(key, time) && plan.process.is_none() {
            plan.process = Some((key, Depth::Place));
        }
        if cgroup_id != 0 && !self.knows_cgroup(cgroup_id) {
            plan.cgroup = Some((cgroup_id, key.pid));
        }
        plan
    }

    fn misses_details(&self, key: ProcessKey) -> bool {
        let node = self.find(key).and_then(|index| self.node(index));
        node.is_none_or(|node| node.details == Details::Missing)
    }

    /// A report about a process that is not known and that may have been let go already.
    fn is_stale(&self, key: ProcessKey, time: u64) -> bool {
        time < self.clock.saturating_sub(self.limits.grace_ns)
            && self.find(key).is_none()
            && !self.gone.contains(&key)
    }

    /// Applies one report.
    pub(crate) fn apply(&mut self, event: &Event<'_>, sightings: &Sightings) {
        match *event {
            Event::Rooted {
                time,
                key,
                tree,
                policy_slot,
                uid,
                cgroup_id,
                how,
            } => {
                let report = Report {
                    time,
                    key,
                    tree,
                    uid,
                    cgroup_id,
                };
                self.rooted(report, policy_slot, how, sightings);
            }
            Event::Forked {
                time,
                parent,
                child,
                tree,
                uid,
                cgroup_id,
            } => {
                let report = Report {
                    time,
                    key: child,
                    tree,
                    uid,
                    cgroup_id,
                };
                self.forked(report, parent, sightings);
            }
            Event::Executed {
                time,
                key,
                tree,
                uid,
                cgroup_id,
                file,
                argv,
                argv_cut,
            } => {
                let report = Report {
                    time,
                    key,
                    tree,
                    uid,
                    cgroup_id,
                };
                self.executed(report, file, argv, argv_cut, sightings);
            }
            Event::Exited { time, key, .. } => match self.find(key) {
                Some(index) => self.mark_exited(index, time),
                None => self.depart(key, time),
            },
            Event::Lost { count } => {
                self.lost = self.lost.saturating_add(count);
                self.suspect = true;
            }
        }
        let time = match *event {
            Event::Rooted { time, .. }
            | Event::Forked { time, .. }
            | Event::Executed { time, .. }
            | Event::Exited { time, .. } => time,
            Event::Lost { .. } => 0,
        };
        self.settle(time);
    }

    /// Finds or adds the process, and notes tree, user and cgroup unless something later is known.
    /// `None`: the report is too old to be about a living process.
    fn note(&mut self, report: Report, sightings: &Sightings) -> Option<u32> {
        let alive = sightings
            .process
            .as_ref()
            .is_some_and(|look| look.facts().is_some());
        if self.is_stale(report.key, report.time) && !alive {
            return None;
        }
        let mut index = match self.find(report.key) {
            Some(index) => index,
            None => self.insert(report.key, report.tree, report.time),
        };
        let node = self.node(index)?;
        if node.told <= report.time {
            if node.tree != report.tree {
                index = self.move_to(index, report.tree, report.time)?;
            }
            let node = self.node_mut(index)?;
            node.told = report.time;
            node.uid = report.uid;
            self.enter_cgroup(index, report.cgroup_id);
        }
        // Where something later was said about the tree alone, this is still the best about the rest.
        let node = self.node(index)?;
        let (no_uid, no_cgroup) = (node.uid == NO_UID, node.cgroup_id == 0);
        if no_uid {
            self.node_mut(index)?.uid = report.uid;
        }
        if no_cgroup {
            self.enter_cgroup(index, report.cgroup_id);
        }
        if let Some(path) = &sightings.cgroup {
            self.name_cgroup(report.cgroup_id, path);
        }
        Some(index)
    }

    /// The kernel says that a process is in another tree now. Its descendants stay where their own
    /// tags put them, so a memory of it stays with them.
    pub(super) fn move_to(&mut self, index: u32, tree: TreeId, time: u64) -> Option<u32> {
        let node = self.node_mut(index)?;
        let was_alive = !std::mem::replace(&mut node.exited, true);
        node.left = true;
        let (key, before, children) = (node.key, node.tree, node.children);
        let (uid, cgroup_id) = (node.uid, node.cgroup_id);
        let (image, image_time, details) = (node.image, node.image_time, node.details);
        if let Some(before) = self.tree_mut(before) {
            before.alive -= u32::from(was_alive);
        }
        self.by_key.remove(&key);
        let moved = self.insert(key, tree, time);
        self.node_mut(moved)?.uid = uid;
        self.enter_cgroup(moved, cgroup_id);
        self.point_to(moved, image, image_time, details);
        if children == 0 {
            self.prune_from(index);
        } else {
            self.push_hollow(index);
        }
        Some(moved)
    }

    fn rooted(&mut self, report: Report, slot: u32, how: RootedBy, sightings: &Sightings) {
        let Some(index) = self.note(report, sightings) else {
            return;
        };
        self.complete(index, sightings.process.as_ref());
        // An older report of a tree that the process has left.
        if self.node(index).is_none_or(|node| node.tree != report.tree) {
            return;
        }
        if let Some(tree) = self.tree_mut(report.tree) {
            tree.policy_slot = Some(slot);
            tree.since = tree.since.min(report.time);
        }
        let place = if how == RootedBy::Scan {
            Place::Cgroup
        } else {
            Place::Seen
        };
        self.make_root(index, place);
    }

    /// Puts a process at the root of its tree, unless an older one is there.
    pub(super) fn make_root(&mut self, index: u32, place: Place) -> bool {
        let Some(node) = self.node(index) else {
            return false;
        };
        let (key, tree) = (node.key, node.tree);
        let root = self.trees.get(&tree).and_then(|tree| tree.root);
        if root
            .and_then(|root| self.node(root))
            .is_some_and(|root| root.key < key)
        {
            return false;
        }
        let parent = self.node(index).and_then(|node| node.parent);
        self.unlink(index);
        if let Some(tree) = self.tree_mut(tree) {
            tree.root = Some(index);
        }
        if let Some(node) = self.node_mut(index) {
            node.place = place;
        }
        if let Some(former) = root.filter(|&former| former != index)
            && let Some(former) = self.node_mut(former)
        {
            former.place = Place::Unknown;
        }
        // Either may have been kept for what it no longer is.
        for former in parent.into_iter().chain(root) {
            self.prune_from(former);
        }
        true
    }

    fn forked(&mut self, report: Report, parent: ProcessKey, sightings: &Sightings) {
        let Some(child) = self.note(report, sightings) else {
            return;
        };
        let settled = self.node(child).is_none_or(|node| {
            let root = self.trees.get(&node.tree).and_then(|tree| tree.root);
            let has_place = node.parent.is_some() && node.place == Place::Seen;
            has_place || root == Some(child) || node.tree != report.tree || parent >= node.key
        });
        if settled {
            return;
        }
        let above = match self.find(parent) {
            Some(above) => above,
            None => self.stand_in(parent, report.tree, report.time, sightings),
        };
        let former = self.node(child).and_then(|node| node.parent);
        self.unlink(child);
        if self.link(child, above) {
            if let Some(node) = self.node_mut(child) {
                node.place = Place::Seen;
            }
            self.inherit(child, above);
        }
        self.complete(child, sightings.process.as_ref());
        // It may have been kept for this child alone.
        if let Some(former) = former {
            self.prune_from(former);
        }
    }

    /// A parent of which nothing was reported. That it forked says in which tree it was then.
    fn stand_in(&mut self, key: ProcessKey, tree: TreeId, time: u64, sightings: &Sightings) -> u32 {
        let index = self.insert(key, tree, time);
        if let Some(node) = self.node_mut(index) {
            node.told = time;
        }
        if let Some((cgroup_id, path)) = &sightings.parent_cgroup {
            self.enter_cgroup(index, *cgroup_id);
            self.name_cgroup(*cgroup_id, path);
        }
        self.complete(index, sightings.parent.as_ref());
        if sightings.parent == Some(Look::Gone) {
            self.mark_exited(index, time);
        }
        index
    }

    /// A forked process runs what its parent ran at that moment.
    pub(super) fn inherit(&mut self, child: u32, parent: u32) {
        let (Some(below), Some(above)) = (self.node(child), self.node(parent)) else {
            return;
        };
        let missing = below.details == Details::Missing;
        if missing && above.image.is_some() && above.image_time <= below.key.start {
            let (image, time, details) = (above.image, above.image_time, above.details);
            self.point_to(child, image, time, details);
        }
    }

    fn executed(
        &mut self,
        report: Report,
        file: &[u8],
        argv: &[u8],
        argv_cut: bool,
        sightings: &Sightings,
    ) {
        let Some(index) = self.note(report, sightings) else {
            return;
        };
        let Some(node) = self.node(index) else { return };
        let repeated = node.image_time == report.time && node.details == Details::Kernel;
        if node.image_time > report.time || repeated {
            return;
        }
        let facts = sightings.process.as_ref().and_then(Look::facts);
        let image = Image::from_exec(file, argv, argv_cut, facts);
        self.give_image(index, image, report.time, Details::Kernel);
    }

    /// Fills in from /proc what no report has said.
    pub(super) fn complete(&mut self, index: u32, look: Option<&Look>) {
        let Some(facts) = look.and_then(Look::facts) else {
            return;
        };
        let Some(node) = self.node(index) else { return };
        if node.uid == NO_UID
            && let Some(uid) = facts.uid
            && let Some(node) = self.node_mut(index)
        {
            node.uid = uid;
        }
        let missing = self
            .node(index)
            .is_some_and(|node| node.details == Details::Missing);
        if missing && let Some(image) = Image::from_facts(facts) {
            self.give_image(index, image, 0, Details::Proc);
        }
    }
}

//! The trees as data: no lock, no file, no clock. Every operation is iterative, so that no chain of
//! forks is too deep.
//!
//! Processes live in a slab and refer to each other by index. What must hold between them is
//! written down in `table/check.rs`, and is checked after each step of the property tests.
mod apply;
mod change;
#[cfg(test)]
mod check;
mod memory;
mod repair;
mod view;

pub(crate) use apply::{Plan, Sightings};
pub(crate) use change::{Change, Replay};
pub(crate) use repair::Inspection;
pub use repair::Repaired;
pub(crate) use view::{Chain, Link};
pub use view::{LINEAGE_MAX, UNKNOWN_CGROUP};

use crate::event::ProcessKey;
use crate::image::Held;
use crate::limits::Limits;
use gateway_core::{Provenance, TreeId};
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use slab::Slab;
use std::collections::VecDeque;
use std::sync::Arc;

/// The uid of a process that was never seen itself: `(uid_t) -1`, which no user has.
pub(crate) const NO_UID: u32 = u32::MAX;

/// How sure the position in the tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Place {
    /// Reported by the kernel, now or through its tag map.
    Seen,
    /// Found standing in a governed cgroup.
    Cgroup,
    /// It belongs to the tree, below something that is not known.
    Unknown,
}

/// Where file and arguments come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Details {
    /// An exec was reported, here or before the fork.
    Kernel,
    /// /proc was read.
    Proc,
    /// Nowhere.
    Missing,
}

/// One process in one tree.
#[derive(Debug)]
pub(crate) struct Node {
    pub key: ProcessKey,
    pub tree: TreeId,
    pub parent: Option<u32>,
    first_child: Option<u32>,
    previous: Option<u32>,
    next: Option<u32>,
    pub children: u32,
    /// The latest start among the children that were ever linked: a later exec concerns none.
    newest_child: u64,
    pub uid: u32,
    /// 0: not known.
    pub cgroup_id: u64,
    image: Option<u32>,
    /// When the file was executed, by the kernel's report; 0: not known.
    image_time: u64,
    /// The time of the report that tree, uid and cgroup are from; older reports do not change them.
    told: u64,
    pub place: Place,
    pub details: Details,
    pub exited: bool,
    /// It was put into another tree, where another node stands for it; this one is a memory.
    left: bool,
    /// It differs from what the state file says.
    changed: bool,
    saved: bool,
}

impl Node {
    fn new(key: ProcessKey, tree: TreeId) -> Node {
        Node {
            key,
            tree,
            parent: None,
            first_child: None,
            previous: None,
            next: None,
            children: 0,
            newest_child: 0,
            uid: NO_UID,
            cgroup_id: 0,
            image: None,
            image_time: 0,
            told: 0,
            place: Place::Unknown,
            details: Details::Missing,
            exited: false,
            left: false,
            changed: true,
            saved: false,
        }
    }

    /// The least that must be said about it.
    pub(crate) fn provenance(&self) -> Provenance {
        match (self.place, self.details) {
            (Place::Unknown, _) | (_, Details::Missing) => Provenance::Gap,
            (Place::Cgroup, _) => Provenance::Cgroup,
            (Place::Seen, Details::Proc) => Provenance::Proc,
            (Place::Seen, Details::Kernel) => Provenance::Kernel,
        }
    }
}

/// What is known about a tree as a whole.
#[derive(Debug)]
pub(crate) struct Tree {
    pub root: Option<u32>,
    pub policy_slot: Option<u32>,
    /// Nanoseconds since boot.
    pub since: u64,
    pub members: u32,
    pub alive: u32,
    detail_bytes: usize,
    /// Exited ancestors in the order of their exit: the first to be given up when memory is short.
    hollow: VecDeque<(u32, ProcessKey)>,
    changed: bool,
    saved: bool,
}

/// A cgroup in which processes stand.
#[derive(Debug, Default)]
struct HeldCgroup {
    path: Option<Arc<str>>,
    references: u32,
    saved: bool,
}

/// All trees.
#[derive(Debug)]
pub(crate) struct Table {
    limits: Limits,
    nodes: Slab<Node>,
    by_key: FxHashMap<ProcessKey, u32>,
    pub(crate) trees: FxHashMap<TreeId, Tree>,
    images: Slab<Held>,
    next_serial: u64,
    cgroups: FxHashMap<u64, HeldCgroup>,
    /// Bytes of files, arguments, directories and cgroup paths.
    detail_bytes: usize,
    /// Who exited lately, and when. They are kept a while also without descendants, since a
    /// connection may still ask for them, and a late report about them must not revive them.
    departed: VecDeque<(u64, ProcessKey)>,
    gone: FxHashSet<ProcessKey>,
    /// The latest moment that was heard of, nanoseconds since boot.
    clock: u64,
    /// When the table is over its limit and nothing could be given up: not tried again below this.
    full_until: usize,
    pub(crate) lost: u64,
    /// Reports were lost and nothing has been repaired since.
    pub(crate) suspect: bool,
    /// How often details were not kept for lack of memory.
    pub(crate) scarce: u64,
    /// How many exited ancestors were given up for lack of memory.
    pub(crate) collapsed: u64,
    /// Counts every change that the state file should know.
    dirty: bool,
    removed: Vec<u32>,
    removed_trees: Vec<TreeId>,
}

impl Table {
    pub(crate) fn new(limits: Limits) -> Table {
        Table {
            limits,
            nodes: Slab::new(),
            by_key: FxHashMap::default(),
            trees: FxHashMap::default(),
            images: Slab::new(),
            next_serial: 1,
            cgroups: FxHashMap::default(),
            detail_bytes: 0,
            departed: VecDeque::new(),
            gone: FxHashSet::default(),
            clock: 0,
            full_until: 0,
            lost: 0,
            suspect: false,
            scarce: 0,
            collapsed: 0,
            dirty: false,
            removed: Vec::new(),
            removed_trees: Vec::new(),
        }
    }

    pub(crate) fn node(&self, index: u32) -> Option<&Node> {
        self.nodes.get(index as usize)
    }

    /// For every change that the state file should know.
    fn node_mut(&mut self, index: u32) -> Option<&mut Node> {
        let node = self.nodes.get_mut(index as usize)?;
        node.changed = true;
        self.dirty = true;
        Some(node)
    }

    fn tree_mut(&mut self, tree: TreeId) -> Option<&mut Tree> {
        let tree = self.trees.get_mut(&tree)?;
        tree.changed = true;
        self.dirty = true;
        Some(tree)
    }

    pub(crate) fn find(&self, key: ProcessKey) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Has nothing been put in yet?
    pub(crate) fn is_unused(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(crate) fn detail_bytes(&self) -> usize {
        self.detail_bytes
    }

    pub(crate) fn alive(&self) -> usize {
        self.trees.values().map(|tree| tree.alive as usize).sum()
    }

    fn ensure_tree(&mut self, tree: TreeId, since: u64) -> &mut Tree {
        self.dirty = true;
        let tree = self.trees.entry(tree).or_insert_with(|| Tree {
            root: None,
            policy_slot: None,
            since,
            members: 0,
            alive: 0,
            detail_bytes: 0,
            hollow: VecDeque::new(),
            changed: true,
            saved: false,
        });
        tree.changed = true;
        tree
    }

    /// Adds a process that is not known. One that is known to have exited is added as such.
    fn insert(&mut self, key: ProcessKey, tree: TreeId, since: u64) -> u32 {
        let mut node = Node::new(key, tree);
        node.exited = self.gone.contains(&key);
        let entry = self.ensure_tree(tree, since);
        entry.members += 1;
        entry.alive += u32::from(!node.exited);
        // The slab's limit is that of the processes of a host, far below 2^32.
        let index = self.nodes.insert(node) as u32;
        self.by_key.insert(key, index);
        index
    }

    /// Removes a process that has no children, with the tree when it was the last.
    fn remove(&mut self, index: u32) {
        self.unlink(index);
        let Some(node) = self.nodes.try_remove(index as usize) else {
            return;
        };
        self.dirty = true;
        if node.saved {
            self.removed.push(index);
        }
        if let Some(image) = node.image {
            self.release_image(image);
        }
        self.release_cgroup(node.cgroup_id);
        if self.by_key.get(&node.key) == Some(&index) {
            self.by_key.remove(&node.key);
        }
        let Some(tree) = self.tree_mut(node.tree) else {
            return;
        };
        tree.members -= 1;
        tree.alive -= u32::from(!node.exited);
        if tree.root == Some(index) {
            tree.root = None;
        }
        if tree.members == 0 {
            if tree.saved {
                self.removed_trees.push(node.tree);
            }
            self.trees.remove(&node.tree);
        }
    }

    /// Makes `child` a child of `parent`, when that can be: same tree, the parent started before.
    /// The order of starts is what keeps cycles out, whatever is reported.
    fn link(&mut self, child: u32, parent: u32) -> bool {
        let (Some(below), Some(above)) = (self.node(child), self.node(parent)) else {
            return false;
        };
        if below.parent.is_some() || below.tree != above.tree || above.key >= below.key {
            return false;
        }
        let start = below.key.start;
        let first = above.first_child;
        if let Some(first) = first.and_then(|first| self.nodes.get_mut(first as usize)) {
            first.previous = Some(child);
        }
        if let Some(below) = self.node_mut(child) {
            below.parent = Some(parent);
            below.next = first;
        }
        if let Some(above) = self.node_mut(parent) {
            above.first_child = Some(child);
            above.children += 1;
            above.newest_child = above.newest_child.max(start);
        }
        true
    }

    fn unlink(&mut self, child: u32) {
        let Some(node) = self.node(child) else { return };
        let Some(parent) = node.parent else { return };
        let (previous, next) = (node.previous, node.next);
        if let Some(previous) = previous.and_then(|index| self.nodes.get_mut(index as usize)) {
            previous.next = next;
        }
        if let Some(next) = next.and_then(|index| self.nodes.get_mut(index as usize)) {
            next.previous = previous;
        }
        if let Some(above) = self.node_mut(parent) {
            above.children -= 1;
            if above.first_child == Some(child) {
                above.first_child = next;
            }
        }
        if let Some(node) = self.node_mut(child) {
            (node.parent, node.previous, node.next) = (None, None, None);
        }
    }

    fn children_of(&self, index: u32) -> Vec<u32> {
        let mut children = Vec::new();
        let mut next = self.node(index).and_then(|node| node.first_child);
        while let Some(child) = next {
            children.push(child);
            next = self.node(child).and_then(|node| node.next);
        }
        children
    }

    fn mark_exited(&mut self, index: u32, time: u64) {
        let Some(node) = self.node_mut(index) else {
            return;
        };
        if node.exited {
            return;
        }
        node.exited = true;
        let (key, tree) = (node.key, node.tree);
        if let Some(tree) = self.tree_mut(tree) {
            tree.alive -= 1;
        }
        self.depart(key, time);
    }

    /// It is alive after all: /proc says so of this very process.
    fn revive(&mut self, index: u32) {
        let Some(node) = self.node_mut(index) else {
            return;
        };
        if !node.exited || node.left {
            return;
        }
        node.exited = false;
        let (key, tree) = (node.key, node.tree);
        if let Some(tree) = self.tree_mut(tree) {
            tree.alive += 1;
        }
        self.gone.remove(&key);
    }

    fn depart(&mut self, key: ProcessKey, time: u64) {
        if self.gone.insert(key) {
            self.departed.push_back((time, key));
        }
    }

    /// Lets go of those whose exit is long enough ago. To be called after each change.
    pub(crate) fn settle(&mut self, now: u64) {
        self.clock = self.clock.max(now);
        let horizon = self.clock.saturating_sub(self.limits.grace_ns);
        while let Some(&(time, key)) = self.departed.front()
            && (time < horizon || self.departed.len() > self.limits.departed_max)
        {
            self.departed.pop_front();
            self.let_go(key);
        }
        self.make_room();
    }

    fn let_go(&mut self, key: ProcessKey) {
        self.gone.remove(&key);
        let Some(index) = self.find(key) else { return };
        match self.node(index) {
            Some(node) if node.exited && node.children > 0 => self.push_hollow(index),
            Some(node) if node.exited => self.prune_from(index),
            _ => {}
        }
    }

    /// Removes an exited process without descendants, then its parent if that was waiting for
    /// this, and so on. The root goes last, also when nothing links to it.
    fn prune_from(&mut self, index: u32) {
        let mut next = Some(index);
        while let Some(index) = next {
            let Some(node) = self.node(index) else { return };
            let lingers = !node.left && self.gone.contains(&node.key);
            if !node.exited || node.children > 0 || lingers {
                return;
            }
            let (tree, parent) = (node.tree, node.parent);
            let Some(entry) = self.trees.get(&tree) else {
                return;
            };
            if entry.root == Some(index) && entry.members > 1 {
                return;
            }
            self.remove(index);
            next = parent.or_else(|| {
                self.trees
                    .get(&tree)
                    .filter(|tree| tree.members == 1)
                    .and_then(|tree| tree.root)
            });
        }
    }
}

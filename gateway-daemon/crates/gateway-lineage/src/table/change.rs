//! The table as a sequence of changes: what the state file holds.
use super::{Details, Place, Table};
use crate::event::ProcessKey;
use crate::image::{Held, Image};
use gateway_core::TreeId;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One line of the state file. Later ones replace earlier ones about the same thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Change {
    /// A tree is, or has become, this.
    Tree {
        tree: TreeId,
        policy_slot: Option<u32>,
        since: u64,
        root: Option<u32>,
    },
    /// A tree ended.
    TreeEnded { tree: TreeId },
    /// What was executed; never changes.
    Image {
        serial: u64,
        tree: TreeId,
        image: Arc<Image>,
    },
    /// The name of a cgroup; never changes.
    Cgroup { cgroup_id: u64, path: Arc<str> },
    /// A process is, or has become, this.
    Process { index: u32, process: SavedProcess },
    /// A process is not kept any more, and its index is free.
    ProcessRemoved { index: u32 },
}

/// One process in the state file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SavedProcess {
    key: ProcessKey,
    tree: TreeId,
    parent: Option<u32>,
    uid: u32,
    cgroup_id: u64,
    image: Option<u64>,
    image_time: u64,
    told: u64,
    place: Place,
    details: Details,
    exited: bool,
    left: bool,
}

/// The index that a process had in the file, and the index that it has now.
type Indices = FxHashMap<u32, u32>;

impl Table {
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// What changed since the last call, or everything. Afterwards the table counts as saved, so
    /// when the writing fails, everything must be asked for the next time.
    pub(crate) fn take_changes(&mut self, everything: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        let removed = std::mem::take(&mut self.removed);
        let removed_trees = std::mem::take(&mut self.removed_trees);
        if !everything {
            let removed = removed
                .into_iter()
                .map(|index| Change::ProcessRemoved { index });
            let ended = removed_trees
                .into_iter()
                .map(|tree| Change::TreeEnded { tree });
            changes.extend(removed.chain(ended));
        }
        self.take_texts(everything, &mut changes);
        self.take_processes(everything, &mut changes);
        for (&tree, entry) in &mut self.trees {
            if everything || entry.changed {
                let (policy_slot, since, root) = (entry.policy_slot, entry.since, entry.root);
                changes.push(Change::Tree {
                    tree,
                    policy_slot,
                    since,
                    root,
                });
            }
            (entry.changed, entry.saved) = (false, true);
        }
        self.dirty = false;
        changes
    }

    fn take_texts(&mut self, everything: bool, changes: &mut Vec<Change>) {
        for (_, held) in &mut self.images {
            if everything || !held.saved {
                let (serial, tree, image) = (held.serial, held.tree, Arc::clone(&held.image));
                changes.push(Change::Image {
                    serial,
                    tree,
                    image,
                });
            }
            held.saved = true;
        }
        for (&cgroup_id, held) in &mut self.cgroups {
            if let Some(path) = &held.path
                && (everything || !held.saved)
            {
                changes.push(Change::Cgroup {
                    cgroup_id,
                    path: Arc::clone(path),
                });
                held.saved = true;
            }
        }
    }

    fn take_processes(&mut self, everything: bool, changes: &mut Vec<Change>) {
        for (index, node) in &mut self.nodes {
            if !everything && !node.changed {
                continue;
            }
            node.changed = false;
            // Who exited without descendants is of no use to the next daemon.
            if node.exited && node.children == 0 {
                if node.saved && !everything {
                    changes.push(Change::ProcessRemoved {
                        index: index as u32,
                    });
                }
                node.saved = false;
                continue;
            }
            node.saved = true;
            let image = node.image.and_then(|image| self.images.get(image as usize));
            let process = SavedProcess {
                key: node.key,
                tree: node.tree,
                parent: node.parent,
                uid: node.uid,
                cgroup_id: node.cgroup_id,
                image: image.map(|held| held.serial),
                image_time: node.image_time,
                told: node.told,
                place: node.place,
                details: node.details,
                exited: node.exited,
                left: node.left,
            };
            changes.push(Change::Process {
                index: index as u32,
                process,
            });
        }
    }
}

/// Collects changes in the order of the file, and makes the table anew from what they end in.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    trees: FxHashMap<TreeId, (Option<u32>, u64, Option<u32>)>,
    images: FxHashMap<u64, (TreeId, Arc<Image>)>,
    cgroups: FxHashMap<u64, Arc<str>>,
    processes: FxHashMap<u32, SavedProcess>,
}

impl Replay {
    pub(crate) fn take(&mut self, change: Change) {
        match change {
            Change::Tree {
                tree,
                policy_slot,
                since,
                root,
            } => {
                self.trees.insert(tree, (policy_slot, since, root));
            }
            Change::TreeEnded { tree } => {
                self.trees.remove(&tree);
            }
            Change::Image {
                serial,
                tree,
                image,
            } => {
                self.images.insert(serial, (tree, image));
            }
            Change::Cgroup { cgroup_id, path } => {
                self.cgroups.insert(cgroup_id, path);
            }
            Change::Process { index, process } => {
                self.processes.insert(index, process);
            }
            Change::ProcessRemoved { index } => {
                self.processes.remove(&index);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Fills an empty table. What does not fit together becomes a gap, never another tree.
    pub(crate) fn fill(mut self, table: &mut Table) {
        let mut saved: Vec<(u32, SavedProcess)> = self.processes.drain().collect();
        // Parents before children, memories before the process that they are of.
        saved.sort_unstable_by_key(|(_, process)| (process.key, !process.left));
        let mut indices = Indices::default();
        let mut images = FxHashMap::default();
        for (before, process) in &saved {
            let index = self.fill_process(process, &indices, &mut images, table);
            indices.insert(*before, index);
        }
        for (tree, (policy_slot, since, root)) in self.trees {
            let root = root.and_then(|root| indices.get(&root).copied());
            let belongs = |&root: &u32| table.node(root).is_some_and(|node| node.tree == tree);
            let root = root.filter(belongs);
            // A tree without a process has ended.
            let Some(entry) = table.tree_mut(tree) else {
                continue;
            };
            (entry.policy_slot, entry.since, entry.root) = (policy_slot, since, root);
            if let Some(root) = root {
                table.unlink(root);
            }
        }
        for index in indices.into_values() {
            match table.node(index) {
                Some(node) if node.exited && node.children > 0 => table.push_hollow(index),
                Some(node) if node.exited => table.prune_from(index),
                _ => {}
            }
        }
        // What happened since the last save is not known.
        table.suspect = true;
        table.settle(0);
    }

    fn fill_process(
        &self,
        process: &SavedProcess,
        indices: &Indices,
        images: &mut FxHashMap<u64, u32>,
        table: &mut Table,
    ) -> u32 {
        let index = table.insert(process.key, process.tree, process.key.start);
        if process.left {
            table.by_key.remove(&process.key);
        }
        if process.exited
            && let Some(tree) = table.tree_mut(process.tree)
        {
            tree.alive -= 1;
        }
        if let Some(node) = table.node_mut(index) {
            node.uid = process.uid;
            node.told = process.told;
            node.place = process.place;
            node.exited = process.exited;
            node.left = process.left;
        }
        table.enter_cgroup(index, process.cgroup_id);
        if let Some(path) = self.cgroups.get(&process.cgroup_id) {
            table.name_cgroup(process.cgroup_id, path);
        }
        if let Some((serial, (tree, image))) = process
            .image
            .and_then(|serial| Some((serial, self.images.get(&serial)?)))
        {
            let held = *images.entry(serial).or_insert_with(|| {
                table.restore_image(Held {
                    image: Arc::clone(image),
                    serial,
                    references: 0,
                    tree: *tree,
                    saved: false,
                })
            });
            table.point_to(index, Some(held), process.image_time, process.details);
        }
        let parent = process
            .parent
            .and_then(|parent| indices.get(&parent).copied());
        let linked = parent.is_some_and(|parent| table.link(index, parent));
        if process.parent.is_some()
            && !linked
            && let Some(node) = table.node_mut(index)
        {
            node.place = Place::Unknown;
        }
        index
    }
}

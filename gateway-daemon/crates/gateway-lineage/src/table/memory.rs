//! What the table holds beyond its links, and what it gives up when memory is short.
use super::{Details, Place, Table};
use crate::event::ProcessKey;
use crate::image::{Held, Image};
use gateway_core::TreeId;
use std::sync::Arc;

/// A process with more children than this is not given up: moving them costs time, and there can
/// be at most one such for every so many processes.
const CHILDREN_MOVED_MAX: u32 = 64;
/// How many exited ancestors are given up at a time, so that the search for the largest tree is
/// paid for.
const COLLAPSED_AT_ONCE: usize = 256;

impl Table {
    /// Takes an image in, shortened when memory is short.
    fn hold_image(&mut self, tree: TreeId, mut image: Image) -> u32 {
        let held = self.trees.get(&tree).map_or(0, |tree| tree.detail_bytes);
        let bytes = image.bytes();
        if self.detail_bytes + bytes > self.limits.detail_bytes_max
            || held + bytes > self.limits.detail_bytes_max / 4
        {
            image.make_scarce();
            self.scarce += 1;
        }
        let bytes = image.bytes();
        self.detail_bytes += bytes;
        if let Some(tree) = self.trees.get_mut(&tree) {
            tree.detail_bytes += bytes;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let held = Held {
            image: Arc::new(image),
            serial,
            references: 0,
            tree,
            saved: false,
        };
        self.images.insert(held) as u32
    }

    /// Takes an image in as it was kept before.
    pub(super) fn restore_image(&mut self, held: Held) -> u32 {
        let bytes = held.image.bytes();
        self.detail_bytes += bytes;
        if let Some(tree) = self.trees.get_mut(&held.tree) {
            tree.detail_bytes += bytes;
        }
        self.next_serial = self.next_serial.max(held.serial.saturating_add(1));
        self.images.insert(held) as u32
    }

    pub(super) fn release_image(&mut self, image: u32) {
        let Some(held) = self.images.get_mut(image as usize) else {
            return;
        };
        held.references -= 1;
        if held.references > 0 {
            return;
        }
        let (bytes, tree) = (held.image.bytes(), held.tree);
        self.images.remove(image as usize);
        self.detail_bytes -= bytes;
        if let Some(tree) = self.trees.get_mut(&tree) {
            tree.detail_bytes = tree.detail_bytes.saturating_sub(bytes);
        }
    }

    /// Lets a process refer to another image.
    pub(super) fn point_to(&mut self, index: u32, image: Option<u32>, time: u64, details: Details) {
        if let Some(held) = image.and_then(|image| self.images.get_mut(image as usize)) {
            held.references += 1;
        }
        let Some(node) = self.node_mut(index) else {
            return;
        };
        let before = std::mem::replace(&mut node.image, image);
        node.image_time = time;
        node.details = details;
        if let Some(before) = before {
            self.release_image(before);
        }
    }

    /// Gives a process a new image, and hands it on to those of its descendants that were forked
    /// since the exec and have executed nothing themselves: a report that comes late.
    pub(super) fn give_image(&mut self, index: u32, image: Image, time: u64, details: Details) {
        let Some(node) = self.node(index) else { return };
        let (tree, newest_child, before) = (node.tree, node.newest_child, node.image);
        let image = self.hold_image(tree, image);
        self.point_to(index, Some(image), time, details);
        if newest_child < time {
            return;
        }
        let mut parents = vec![index];
        while let Some(parent) = parents.pop() {
            for child in self.children_of(parent) {
                let Some(node) = self.node(child) else {
                    continue;
                };
                let inherited = node.image == before && node.image_time < time;
                if inherited && node.key.start > time {
                    self.point_to(child, Some(image), time, details);
                    parents.push(child);
                }
            }
        }
    }

    pub(super) fn image_of(&self, index: u32) -> Option<&Arc<Image>> {
        let image = self.node(index)?.image?;
        self.images.get(image as usize).map(|held| &held.image)
    }

    pub(crate) fn knows_cgroup(&self, cgroup_id: u64) -> bool {
        self.cgroups
            .get(&cgroup_id)
            .is_some_and(|held| held.path.is_some())
    }

    pub(super) fn cgroup_path(&self, cgroup_id: u64) -> Option<&Arc<str>> {
        self.cgroups.get(&cgroup_id)?.path.as_ref()
    }

    /// Puts a process into a cgroup; 0 stands for one that is not known.
    pub(super) fn enter_cgroup(&mut self, index: u32, cgroup_id: u64) {
        let Some(node) = self.node_mut(index) else {
            return;
        };
        let before = std::mem::replace(&mut node.cgroup_id, cgroup_id);
        if before == cgroup_id {
            return;
        }
        if cgroup_id != 0 {
            self.cgroups.entry(cgroup_id).or_default().references += 1;
        }
        self.release_cgroup(before);
    }

    pub(super) fn release_cgroup(&mut self, cgroup_id: u64) {
        let Some(held) = self.cgroups.get_mut(&cgroup_id) else {
            return;
        };
        held.references -= 1;
        if held.references == 0 {
            self.detail_bytes -= held.path.as_ref().map_or(0, |path| path.len());
            self.cgroups.remove(&cgroup_id);
        }
    }

    /// Names a cgroup in which processes stand. Without memory for it, it is asked for when needed.
    pub(super) fn name_cgroup(&mut self, cgroup_id: u64, path: &Arc<str>) {
        let room = self
            .limits
            .detail_bytes_max
            .saturating_sub(self.detail_bytes);
        let Some(held) = self.cgroups.get_mut(&cgroup_id) else {
            return;
        };
        if held.path.is_none() && path.len() <= room {
            held.path = Some(Arc::clone(path));
            self.detail_bytes += path.len();
            self.dirty = true;
        }
    }

    /// Remembers an exited ancestor as one that could be given up.
    pub(super) fn push_hollow(&mut self, index: u32) {
        let Some(node) = self.node(index) else { return };
        let (key, tree) = (node.key, node.tree);
        let Some(tree) = self.trees.get_mut(&tree) else {
            return;
        };
        tree.hollow.push_back((index, key));
        // Entries whose process is gone by now are swept out when they are the most.
        if tree.hollow.len() > 64 + 2 * tree.members as usize {
            let nodes = &self.nodes;
            tree.hollow.retain(|&(index, key)| {
                nodes
                    .get(index as usize)
                    .is_some_and(|node| node.key == key && node.exited)
            });
        }
    }

    /// Gives up exited ancestors of the largest tree while there are too many processes.
    pub(super) fn make_room(&mut self) {
        if self.nodes.len() <= self.limits.processes_max.max(self.full_until) {
            if self.nodes.len() <= self.limits.processes_max {
                self.full_until = 0;
            }
            return;
        }
        let largest = self
            .trees
            .iter()
            .max_by_key(|(id, tree)| (tree.members, **id));
        let Some((&largest, _)) = largest else { return };
        let before = self.nodes.len();
        for _ in 0..COLLAPSED_AT_ONCE {
            let oldest = self
                .trees
                .get_mut(&largest)
                .and_then(|tree| tree.hollow.pop_front());
            let Some((index, key)) = oldest else { break };
            self.collapse(index, key);
        }
        // Those who exited lately are next, before their time.
        for _ in 0..COLLAPSED_AT_ONCE {
            if self.nodes.len() < before {
                break;
            }
            let Some((_, key)) = self.departed.pop_front() else {
                break;
            };
            self.let_go(key);
        }
        self.full_until = if self.nodes.len() < before {
            0
        } else {
            before + COLLAPSED_AT_ONCE
        };
    }

    /// Takes an exited ancestor out; its children move up to its parent and are marked.
    fn collapse(&mut self, index: u32, key: ProcessKey) {
        let Some(node) = self.node(index) else { return };
        let is_root = self
            .trees
            .get(&node.tree)
            .is_some_and(|tree| tree.root == Some(index));
        let lingers = !node.left && self.gone.contains(&key);
        if node.key != key || !node.exited || is_root || lingers {
            return;
        }
        if node.children > CHILDREN_MOVED_MAX {
            return;
        }
        let parent = node.parent;
        for child in self.children_of(index) {
            self.unlink(child);
            if let Some(parent) = parent {
                self.link(child, parent);
            }
            if let Some(child) = self.node_mut(child) {
                child.place = Place::Unknown;
            }
        }
        self.remove(index);
        self.collapsed += 1;
    }
}

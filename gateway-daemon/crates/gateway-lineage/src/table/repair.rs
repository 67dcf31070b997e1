//! Making the table agree with the kernel's tag map, which is the truth about membership.
use super::{Details, Place, Table};
use crate::event::{ProcessKey, Tag};
use crate::image::Image;
use crate::proc::Look;
use rustc_hash::FxHashSet;
use std::sync::Arc;

/// What a repair changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Processes that the map had and the trees had not.
    pub added: usize,
    /// Processes that the trees took for alive and the map no longer has.
    pub vanished: usize,
    /// Processes whose place, tree or file was corrected.
    pub corrected: usize,
}

/// What /proc said about a tagged process.
#[derive(Clone, Debug)]
pub(crate) struct Inspection {
    pub look: Look,
    pub cgroup: Option<(u64, Arc<str>)>,
}

impl Table {
    /// Must /proc be asked about this process, to repair it?
    pub(crate) fn needs_inspection(&self, tag: &Tag) -> bool {
        let Some(node) = self.find(tag.key).and_then(|index| self.node(index)) else {
            return true;
        };
        self.suspect || node.exited || node.details == Details::Missing || node.cgroup_id == 0
    }

    /// Makes one process agree with its tag, which was read after `read_at`.
    pub(crate) fn repair_one(
        &mut self,
        tag: &Tag,
        inspection: Option<&Inspection>,
        read_at: u64,
        repaired: &mut Repaired,
    ) {
        let look = inspection.map(|inspection| &inspection.look);
        let Some(index) = self.locate(tag, look, read_at, repaired) else {
            return;
        };
        let slot = self.trees.get(&tag.tree).and_then(|tree| tree.policy_slot);
        if slot != Some(tag.policy_slot)
            && let Some(tree) = self.tree_mut(tag.tree)
        {
            tree.policy_slot = Some(tag.policy_slot);
        }
        if let Some((cgroup_id, path)) = inspection.and_then(|seen| seen.cgroup.as_ref()) {
            if self.node(index).is_some_and(|node| node.cgroup_id == 0) {
                self.enter_cgroup(index, *cgroup_id);
            }
            self.name_cgroup(*cgroup_id, path);
        }
        self.repair_image(index, look, repaired);
        self.complete(index, look);
        // Only then: what it runs now counts more than what its parent runs now.
        self.repair_place(index, tag, read_at, repaired);
        self.settle(0);
    }

    /// The process of a tag, added or moved where the tag says so. `None`: nothing is to be done.
    fn locate(
        &mut self,
        tag: &Tag,
        look: Option<&Look>,
        read_at: u64,
        repaired: &mut Repaired,
    ) -> Option<u32> {
        let Some(index) = self.find(tag.key) else {
            // A stale tag, or its exit was reported while the map was read.
            if look == Some(&Look::Gone) || self.gone.contains(&tag.key) {
                return None;
            }
            repaired.added += 1;
            let index = self.insert(tag.key, tag.tree, tag.key.start);
            self.node_mut(index)?.told = read_at;
            return Some(index);
        };
        let alive = look.and_then(Look::facts).is_some();
        let node = self.node(index)?;
        let (exited, elsewhere) = (node.exited, node.tree != tag.tree && node.told < read_at);
        if exited && alive {
            repaired.corrected += 1;
            self.revive(index);
        } else if exited || node.tree != tag.tree && !elsewhere {
            return None;
        }
        if look == Some(&Look::Gone) {
            repaired.vanished += 1;
            self.mark_exited(index, read_at);
        }
        if !elsewhere {
            return Some(index);
        }
        repaired.corrected += 1;
        let moved = self.move_to(index, tag.tree, read_at)?;
        self.node_mut(moved)?.told = read_at;
        Some(moved)
    }

    /// Puts a process whose place is not known below its parent, or at the root.
    fn repair_place(&mut self, index: u32, tag: &Tag, read_at: u64, repaired: &mut Repaired) {
        let placed = self
            .node(index)
            .is_none_or(|node| node.place != Place::Unknown);
        if placed {
            return;
        }
        let Some(parent) = tag.parent.filter(|&parent| parent < tag.key) else {
            let has_root = self
                .trees
                .get(&tag.tree)
                .is_some_and(|tree| tree.root.is_some());
            if !has_root {
                self.make_root(index, Place::Cgroup);
            }
            return;
        };
        let above = match self.find(parent) {
            Some(above) => above,
            None => {
                // It has no tag of its own, or one would have come before its child's.
                let above = self.insert(parent, tag.tree, parent.start);
                self.mark_exited(above, read_at);
                above
            }
        };
        let former = self.node(index).and_then(|node| node.parent);
        self.unlink(index);
        if self.link(index, above) {
            if let Some(node) = self.node_mut(index) {
                node.place = Place::Seen;
            }
            self.inherit(index, above);
            repaired.corrected += 1;
        }
        if let Some(former) = former {
            self.prune_from(former);
        }
    }

    /// After a loss: another layout in memory means an exec that was not reported.
    fn repair_image(&mut self, index: u32, look: Option<&Look>, repaired: &mut Repaired) {
        let Some(facts) = look.and_then(Look::facts) else {
            return;
        };
        let Some(known) = self.image_of(index).map(|image| image.layout) else {
            return;
        };
        let Some(image) = Image::from_facts(facts) else {
            return;
        };
        if known == 0 || facts.layout == 0 || known == facts.layout {
            return;
        }
        let Some(node) = self.node_mut(index) else {
            return;
        };
        // The report of that exec, should it still come, is later than what is known and counts.
        let time = node.image_time;
        if let Some(uid) = facts.uid {
            node.uid = uid;
        }
        self.give_image(index, image, time, Details::Proc);
        repaired.corrected += 1;
    }

    /// How many reports were lost when a repair begins: it does not make good what is lost later.
    pub(crate) fn begin_repair(&self) -> u64 {
        self.lost
    }

    /// Ends a repair that began when so many reports were lost: who is not in the map any more has exited. Who started, or was heard of,
    /// after the reading began may have been missed by it.
    pub(crate) fn finish_repair(
        &mut self,
        tags: &[Tag],
        read_at: u64,
        lost: u64,
        repaired: &mut Repaired,
    ) {
        self.suspect &= self.lost != lost;
        let tagged: FxHashSet<ProcessKey> = tags.iter().map(|tag| tag.key).collect();
        let vanished = self.nodes.iter().filter(|(_, node)| {
            let before = node.key.start < read_at && node.told < read_at;
            !node.exited && before && !tagged.contains(&node.key)
        });
        let vanished: Vec<u32> = vanished.map(|(index, _)| index as u32).collect();
        for index in vanished {
            repaired.vanished += 1;
            self.mark_exited(index, read_at);
        }
        self.settle(read_at);
    }
}

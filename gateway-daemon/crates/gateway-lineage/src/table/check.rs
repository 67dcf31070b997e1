//! What must hold between the parts of a table after each step.
use super::Table;
use crate::event::ProcessKey;
use rustc_hash::FxHashMap;

impl Table {
    /// Panics when something does not fit.
    pub(crate) fn check(&self) {
        self.check_links();
        self.check_counts();
        self.check_bounds();
    }

    fn check_links(&self) {
        for (index, node) in &self.nodes {
            let index = index as u32;
            assert!(
                node.left || self.find(node.key) == Some(index),
                "{:?} is not found",
                node.key
            );
            assert!(!node.left || node.exited, "a memory is not alive");
            let children = self.children_of(index);
            assert_eq!(children.len(), node.children as usize);
            for child in children {
                let child = self.node(child).expect("children exist");
                assert_eq!(child.parent, Some(index));
                assert_eq!(child.tree, node.tree, "a link never leaves the tree");
                assert!(node.key < child.key, "no cycles: parents are older");
            }
            if let Some(parent) = node.parent {
                assert!(self.children_of(parent).contains(&index));
            }
            let root = self.trees.get(&node.tree).expect("each has a tree").root;
            let kept = !node.exited
                || node.children > 0
                || self.gone.contains(&node.key)
                || root == Some(index);
            assert!(kept, "{:?} is kept for no reason", node.key);
        }
        assert!(
            self.by_key
                .values()
                .all(|&index| self.node(index).is_some())
        );
    }

    fn check_counts(&self) {
        let mut references: FxHashMap<u32, u32> = FxHashMap::default();
        let mut cgroups: FxHashMap<u64, u32> = FxHashMap::default();
        for (_, node) in &self.nodes {
            node.image
                .into_iter()
                .for_each(|image| *references.entry(image).or_default() += 1);
            if node.cgroup_id != 0 {
                *cgroups.entry(node.cgroup_id).or_default() += 1;
            }
        }
        let mut bytes = 0;
        for (index, held) in &self.images {
            assert_eq!(references.get(&(index as u32)), Some(&held.references));
            bytes += held.image.bytes();
        }
        for (id, held) in &self.cgroups {
            assert_eq!(cgroups.get(id), Some(&held.references));
            bytes += held.path.as_ref().map_or(0, |path| path.len());
        }
        assert_eq!(
            (references.len(), cgroups.len()),
            (self.images.len(), self.cgroups.len())
        );
        assert_eq!(bytes, self.detail_bytes);
        for (id, tree) in &self.trees {
            let members = || self.nodes.iter().filter(|(_, node)| node.tree == *id);
            assert_eq!(members().count(), tree.members as usize);
            assert!(tree.members > 0, "an empty tree is no tree");
            assert_eq!(
                members().filter(|(_, node)| !node.exited).count(),
                tree.alive as usize
            );
            if let Some(root) = tree.root {
                let root = self.node(root).expect("the root exists");
                assert_eq!((root.tree, root.parent), (*id, None));
            }
        }
    }

    fn check_bounds(&self) {
        assert!(self.departed.len() <= self.limits.departed_max);
        // Beyond the limit there are only the living, the roots, and ancestors with many children.
        let needed = self.alive() + self.trees.len() + self.nodes.len() / 64;
        let limit = self.limits.processes_max.max(needed);
        assert!(
            self.nodes.len() <= limit + 2 * 256 + self.gone.len(),
            "{} processes",
            self.len()
        );
        let scarce = self.images.len() * 255;
        assert!(self.detail_bytes <= self.limits.detail_bytes_max + scarce);
    }

    /// Is there nothing left at all?
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
            && self.by_key.is_empty()
            && self.trees.is_empty()
            && self.images.is_empty()
            && self.cgroups.is_empty()
            && self.detail_bytes == 0
            && self.departed.is_empty()
            && self.gone.is_empty()
    }

    pub(crate) fn keys(&self) -> Vec<ProcessKey> {
        self.by_key.keys().copied().collect()
    }
}

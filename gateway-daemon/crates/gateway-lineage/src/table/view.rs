//! What readers take out, in two steps: references under the lock, copies after it.
use super::{Node, Table};
use crate::container;
use crate::event::ProcessKey;
use crate::image::Image;
use gateway_core::{Lineage, Process, Provenance, TreeId};
use std::sync::Arc;

/// How many processes a lineage names at most: the root and the nearest to the one that acts.
pub const LINEAGE_MAX: usize = 256;
/// How many bytes of arguments a lineage carries at most, each argument counted with what its
/// place in memory costs. The process that acts comes first, then the root, then the nearest.
const LINEAGE_ARGV_BYTES_MAX: usize = 64 << 10;
/// What an argument costs beyond its text.
const ARGUMENT_COST: usize = 32;
/// What stands for a cgroup that is not known; the empty path is the top.
pub const UNKNOWN_CGROUP: &str = "?";

/// One process as it stands in the table, without its texts being copied.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub key: ProcessKey,
    pub uid: u32,
    pub cgroup_id: u64,
    pub cgroup: Option<Arc<str>>,
    image: Option<Arc<Image>>,
    provenance: Provenance,
    exited: bool,
}

/// A lineage before its texts are copied.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub tree: TreeId,
    /// Root first.
    pub links: Vec<Link>,
}

impl Table {
    pub(crate) fn link_of(&self, node: &Node, index: u32) -> Link {
        Link {
            key: node.key,
            uid: node.uid,
            cgroup_id: node.cgroup_id,
            cgroup: self.cgroup_path(node.cgroup_id).cloned(),
            image: self.image_of(index).cloned(),
            provenance: node.provenance(),
            exited: node.exited,
        }
    }

    /// The way from the root to a process. Visits at most [`LINEAGE_MAX`] of them.
    pub(crate) fn chain(&self, key: ProcessKey) -> Option<Chain> {
        let acting = self.find(key)?;
        let tree = self.node(acting)?.tree;
        let root = self.trees.get(&tree)?.root;
        let mut links = Vec::new();
        let mut next = Some(acting);
        let mut top = acting;
        while let Some(index) = next
            && links.len() < LINEAGE_MAX
        {
            let node = self.node(index)?;
            links.push(self.link_of(node, index));
            top = index;
            next = node.parent;
        }
        if let Some(root) = root.filter(|&root| root != top) {
            // Something between the root and these is missing, or was left out here.
            links.truncate(LINEAGE_MAX - 1);
            if let Some(first) = links.last_mut() {
                first.provenance = Provenance::Gap;
            }
            links.push(self.link_of(self.node(root)?, root));
        } else if (next.is_some() || root.is_none())
            && let Some(first) = links.last_mut()
        {
            first.provenance = Provenance::Gap;
        }
        links.reverse();
        Some(Chain { tree, links })
    }

    /// The processes of a tree, each with its parent; parents come before their children.
    pub(crate) fn members(&self, tree: TreeId) -> Vec<(Link, Option<ProcessKey>)> {
        let members = self.nodes.iter().filter(|(_, node)| node.tree == tree);
        let links = members.map(|(index, node)| {
            let parent = node
                .parent
                .and_then(|parent| self.node(parent))
                .map(|parent| parent.key);
            (self.link_of(node, index as u32), parent)
        });
        let mut links: Vec<_> = links.collect();
        links.sort_unstable_by_key(|(link, _)| link.key);
        links
    }

    /// The process that has this pid now, else the last one that is known to have had it.
    pub(crate) fn find_pid(&self, pid: u32) -> Option<ProcessKey> {
        let nodes = self
            .nodes
            .iter()
            .map(|(_, node)| node)
            .filter(|node| node.key.pid == pid);
        nodes
            .map(|node| (!node.exited, node.key))
            .max()
            .map(|(_, key)| key)
    }
}

impl Link {
    /// Copies the texts; arguments only as far as `argv_bytes` reaches, which it lessens.
    pub(crate) fn into_process(self, argv_bytes: &mut usize) -> Process {
        let mut argv = Vec::new();
        let mut argv_cut = false;
        if let Some(image) = &self.image {
            argv_cut = image.argv_cut;
            for argument in image.arguments() {
                let cost = argument.len() + ARGUMENT_COST;
                if cost > *argv_bytes {
                    argv_cut = true;
                    break;
                }
                *argv_bytes -= cost;
                argv.push(Arc::from(argument));
            }
        }
        let cgroup = self.cgroup.unwrap_or_else(|| Arc::from(UNKNOWN_CGROUP));
        Process {
            pid: self.key.pid,
            start: self.key.start,
            exe: self
                .image
                .as_ref()
                .map_or_else(|| Arc::from(""), |image| Arc::clone(&image.exe)),
            argv,
            uid: self.uid,
            cwd: self.image.as_ref().and_then(|image| image.cwd.clone()),
            container: container::by_cgroup(&cgroup),
            cgroup,
            provenance: self.provenance,
            argv_cut,
            exited: self.exited,
        }
    }
}

impl Chain {
    /// Copies the texts.
    pub(crate) fn into_lineage(self) -> Lineage {
        // Half of it for the one that acts, so that it leaves something for the others.
        let mut argv_bytes = LINEAGE_ARGV_BYTES_MAX / 2;
        let mut links = self.links.into_iter();
        let root = links.next();
        let mut rest: Vec<Link> = links.collect();
        let acting = rest.pop().map(|link| link.into_process(&mut argv_bytes));
        argv_bytes += LINEAGE_ARGV_BYTES_MAX / 2;
        let root = root.map(|link| link.into_process(&mut argv_bytes));
        let between = rest
            .into_iter()
            .rev()
            .map(|link| link.into_process(&mut argv_bytes));
        let mut processes: Vec<Process> = acting.into_iter().chain(between).chain(root).collect();
        processes.reverse();
        container::name_all(&mut processes);
        Lineage {
            tree: self.tree,
            processes,
        }
    }
}

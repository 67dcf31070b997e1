//! Who asks on the control socket: the kernel's tags outweigh every user and group.
use super::before::{Before, Beginning};
use super::follower::Follower;
use super::governance::Governance;
use super::people::People;
use gateway_capture::{Capture, TagEntry};
use gateway_control::{Callers, Peer, PortError, Role};
use gateway_core::TreeId;
use gateway_lineage::Forest;
use std::sync::Arc;

/// How much of /proc/PID/cgroup is read.
const CGROUP_BYTES_MAX: u64 = 64 * 1024;

/// Callers, by tag and by cgroup.
pub(crate) struct TaggedCallers {
    pub(crate) capture: Arc<Capture>,
    pub(crate) governance: Arc<Governance>,
    pub(crate) follower: Arc<Follower>,
    pub(crate) forest: Arc<Forest>,
    pub(crate) people: Arc<People>,
    pub(crate) before: Arc<Before>,
}

impl TaggedCallers {
    /// The caller's tag, if it is its own and not that of an earlier owner of its pid.
    pub(crate) fn tag_of(&self, peer: &Peer) -> Result<Option<TagEntry>, PortError> {
        let tags = self
            .capture
            .tags()
            .map_err(|error| PortError(error.to_string()))?;
        Ok(tags
            .into_iter()
            .find(|tag| tag.pid == peer.pid && peer.started_at(tag.start)))
    }

    /// The policy whose cgroups the caller stands in.
    pub(crate) fn policy_by_cgroup(&self, peer: &Peer) -> Option<Arc<str>> {
        let path = unified_cgroup(&peer.read("cgroup", CGROUP_BYTES_MAX).ok()?)?;
        let root = self.capture.root().path.as_str();
        let inside = root.is_empty() || path == root || path.starts_with(&format!("{root}/"));
        let set = self.governance.policies().set();
        let policy = set.for_cgroup(&path).filter(|_| inside)?;
        Some(Arc::clone(policy.name()))
    }
}

/// The line of the cgroup2 hierarchy, without its leading slash.
pub(super) fn unified_cgroup(text: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(path.trim_end_matches(" (deleted)").to_owned())
}

impl Callers for TaggedCallers {
    fn tree_of(&self, peer: &Peer) -> Result<Option<TreeId>, PortError> {
        // What the lineage knows is found at once, whatever a job does to make the tags many. What
        // it does not know is looked for in the tags themselves.
        self.follower.catch_up();
        if let Some(key) = self
            .forest
            .find_pid(peer.pid)
            .filter(|key| peer.started_at(key.start))
            && let Some(tree) = self.forest.tree_of_process(key)
        {
            return Ok(Some(tree));
        }
        if let Some(tag) = self.tag_of(peer)? {
            return Ok(Some(tag.tree));
        }
        // It stands in a governed cgroup and has done nothing yet that would have tagged it: it is
        // governed all the same, and the kernel is told so now.
        let Some(policy) = self.policy_by_cgroup(peer) else {
            return Ok(None);
        };
        let Some(slot) = self.governance.slot_of(&policy) else {
            return Ok(None);
        };
        let governed = self.capture.govern(peer.pid, slot);
        let tree = governed.map_err(|error| PortError(error.to_string()))?;
        self.before.began(tree, Beginning::Seen);
        Ok(Some(tree))
    }

    fn role_of(&self, peer: &Peer) -> Role {
        self.people.role_of(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_among_others() {
        let hybrid = "12:memory:/x\n1:name=systemd:/y\n0::/a/b\n";
        assert_eq!(unified_cgroup(hybrid).as_deref(), Some("a/b"));
        assert_eq!(unified_cgroup("0::/\n").as_deref(), Some(""));
        assert_eq!(unified_cgroup("0::/a (deleted)\n").as_deref(), Some("a"));
        assert_eq!(unified_cgroup("1:name=systemd:/y\n"), None);
    }
}

//! Who is governed: one tag per process, by thread group id, checked against the start time.

/// The value of the tag map. Its key is the thread group id (`u32`), which the kernel reuses;
/// [`Tag::is_of`] tells the process from a later one with the same number.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// `start_boottime` of the thread group's leader, in nanoseconds since boot.
    pub start: u64,
    /// The tree that the process belongs to; never 0.
    pub tree: u64,
    /// The start time of the parent at the fork; 0 for the root of a tree, unless a boundary
    /// forked it: then that is the parent, in another tree.
    pub parent_start: u64,
    /// The thread group id of the parent at the fork, likewise.
    pub parent_tgid: u32,
    /// The policy that the tree is under: an index into the policy slots.
    pub slot: u32,
}

impl Tag {
    /// Does this tag belong to the process that started then? A stale tag never matches.
    #[must_use]
    pub const fn is_of(&self, start: u64) -> bool {
        self.start == start
    }

    /// The tag of a child: the same tree under the same policy, whatever the child does next.
    #[must_use]
    pub const fn inherited(&self, parent_tgid: u32, child_start: u64) -> Tag {
        Tag {
            start: child_start,
            tree: self.tree,
            parent_start: self.start,
            parent_tgid,
            slot: self.slot,
        }
    }

    /// The tag of what a boundary forks: the root of a new tree, under the same policy.
    #[must_use]
    pub const fn begun(&self, parent_tgid: u32, tgid: u32, start: u64, boot_salt: u64) -> Tag {
        Tag {
            tree: tree_id(tgid, start, boot_salt),
            ..self.inherited(parent_tgid, start)
        }
    }

    /// Is this process the root of its tree?
    #[must_use]
    pub const fn is_root(&self, tgid: u32, boot_salt: u64) -> bool {
        self.tree == tree_id(tgid, self.start, boot_salt)
    }

    /// The tag of the root of a new tree.
    #[must_use]
    pub const fn root(tgid: u32, start: u64, boot_salt: u64, slot: u32) -> Tag {
        Tag {
            start,
            tree: tree_id(tgid, start, boot_salt),
            parent_start: 0,
            parent_tgid: 0,
            slot,
        }
    }
}

/// The id of the tree whose root is this process: unique within a boot, since the pair of pid and
/// start time is, and across boots by the salt (splitmix64, which is a bijection). Never 0.
#[must_use]
pub const fn tree_id(tgid: u32, start: u64, boot_salt: u64) -> u64 {
    let mut x = start ^ (tgid as u64).rotate_left(42) ^ boot_salt;
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    if x == 0 { 1 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_does_not_match() {
        let tag = Tag::root(7, 100, 3, 0);
        assert!(tag.is_of(100));
        assert!(!tag.is_of(101));
    }

    #[test]
    fn a_child_stays_in_the_tree() {
        let root = Tag::root(7, 100, 3, 2);
        let child = root.inherited(7, 150);
        assert_eq!((child.tree, child.slot), (root.tree, 2));
        assert_eq!((child.parent_tgid, child.parent_start), (7, 100));
    }

    #[test]
    fn a_child_of_a_boundary_begins_a_tree() {
        let service = Tag::root(7, 100, 3, 2);
        let job = service.begun(7, 9, 150, 3);
        assert_ne!(job.tree, service.tree);
        assert_eq!((job.parent_tgid, job.parent_start, job.slot), (7, 100, 2));
        let step = job.inherited(9, 160);
        assert_eq!(step.tree, job.tree);
        let roots = [
            service.is_root(7, 3),
            job.is_root(9, 3),
            step.is_root(10, 3),
        ];
        assert_eq!(roots, [true, true, false]);
    }

    #[test]
    fn trees_of_neighbouring_processes_differ() {
        let mut seen = [0u64; 1000];
        for (index, slot) in seen.iter_mut().enumerate() {
            *slot = tree_id(100 + index as u32 % 10, 1_000_000 + index as u64 / 10, 42);
        }
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

//! Who may ask what. The whole table, for an auditor.
use crate::ports::Role;
use gateway_core::TreeId;

/// What a caller is, when its request is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Inside a governed tree, root included.
    Governed(TreeId),
    /// Outside, and root.
    Admin,
    /// Outside, and a member of the group that reads.
    Reader,
    /// Outside, and nobody.
    Stranger,
}

impl Standing {
    /// The tag of the tree outweighs whatever user the caller is.
    #[must_use]
    pub const fn new(tree: Option<TreeId>, role: Role) -> Standing {
        match (tree, role) {
            (Some(tree), _) => Standing::Governed(tree),
            (None, Role::Admin) => Standing::Admin,
            (None, Role::Reader) => Standing::Reader,
            (None, Role::None) => Standing::Stranger,
        }
    }

    /// The number of its budget of connections.
    pub(crate) const fn kind(self) -> usize {
        match self {
            Standing::Governed(_) => 0,
            Standing::Stranger => 1,
            Standing::Reader => 2,
            Standing::Admin => 3,
        }
    }
}

/// How many kinds of callers there are.
pub(crate) const KINDS: usize = 4;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `/healthz`, `/readyz`: is the daemon there?
    Health,
    /// Status and metrics.
    Status,
    /// The list of trees; a governed caller gets its own.
    Trees,
    /// One lineage; for a governed caller only of its own tree.
    Lineage,
    /// Sessions and operations, as recorded.
    Records,
    /// End sessions.
    Kill,
    /// Put the caller itself into a tree.
    Run,
}

/// The answer of [`permits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Yes.
    All,
    /// Only what belongs to this tree.
    Own(TreeId),
    /// No.
    No,
}

/// May a caller of this standing ask this?
///
/// `run` takes rights away from the caller and gives none, so anybody may ask for it. A caller
/// inside a tree sees that tree, never the records: they tell what others may not do.
#[must_use]
pub const fn permits(standing: Standing, request: Request) -> Permission {
    match (standing, request) {
        (Standing::Governed(tree), Request::Run | Request::Trees | Request::Lineage) => {
            Permission::Own(tree)
        }
        (Standing::Governed(_), _) => Permission::No,
        (Standing::Admin, _) => Permission::All,
        (Standing::Reader, Request::Kill) => Permission::No,
        (Standing::Reader, _) => Permission::All,
        (Standing::Stranger, Request::Health | Request::Run) => Permission::All,
        (Standing::Stranger, _) => Permission::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Request::{Health, Kill, Lineage, Records, Run, Status, Trees};

    #[test]
    fn the_table() {
        let own = TreeId(7);
        let rows = [
            (Standing::Governed(own), vec![], vec![Run, Trees, Lineage]),
            (
                Standing::Admin,
                vec![Health, Status, Trees, Lineage, Records, Kill, Run],
                vec![],
            ),
            (
                Standing::Reader,
                vec![Health, Status, Trees, Lineage, Records, Run],
                vec![],
            ),
            (Standing::Stranger, vec![Health, Run], vec![]),
        ];
        for (standing, all, only_own) in rows {
            for request in [Health, Status, Trees, Lineage, Records, Kill, Run] {
                let expected = if all.contains(&request) {
                    Permission::All
                } else if only_own.contains(&request) {
                    Permission::Own(own)
                } else {
                    Permission::No
                };
                assert_eq!(
                    permits(standing, request),
                    expected,
                    "{standing:?} {request:?}"
                );
            }
        }
    }

    #[test]
    fn root_inside_a_tree_is_not_root() {
        let standing = Standing::new(Some(TreeId(1)), Role::Admin);
        assert_eq!(standing, Standing::Governed(TreeId(1)));
        assert_eq!(permits(standing, Kill), Permission::No);
    }
}

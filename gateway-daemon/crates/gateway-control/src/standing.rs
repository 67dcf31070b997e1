//! Who may ask what. The whole table, for an auditor.
use crate::ports::Role;
use gateway_core::TreeId;

/// What a caller is, when its request is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Inside a governed tree, root included.
    Governed(TreeId),
    /// Outside, and root, or of the role `admin`.
    Admin,
    /// Outside, and of the role `responder`: reads, and ends sessions.
    Responder,
    /// Outside, and a member of the group that reads.
    Reader,
    /// Outside, and of the role `approver`: sees what waits for a human.
    Approver,
    /// Outside, and nobody. Whether somebody may answer a question, the question's rules say.
    Stranger,
}

impl Standing {
    /// The tag of the tree outweighs whatever user the caller is.
    #[must_use]
    pub const fn new(tree: Option<TreeId>, role: Role) -> Standing {
        match (tree, role) {
            (Some(tree), _) => Standing::Governed(tree),
            (None, Role::Admin) => Standing::Admin,
            (None, Role::Responder) => Standing::Responder,
            (None, Role::Reader) => Standing::Reader,
            (None, Role::Approver) => Standing::Approver,
            (None, Role::None) => Standing::Stranger,
        }
    }

    /// The number of its budget of connections.
    pub(crate) const fn kind(self) -> usize {
        match self {
            Standing::Governed(_) => 0,
            Standing::Stranger => 1,
            Standing::Approver => 2,
            Standing::Reader => 3,
            Standing::Responder => 4,
            Standing::Admin => 5,
        }
    }
}

/// How many kinds of callers there are.
pub(crate) const KINDS: usize = 6;

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
    /// Revoke a principal, or take that back.
    Revoke,
    /// What waits for a human.
    Approvals,
    /// Approve or deny something. Who may do that, the rules that hold it say.
    Answer,
    /// Put the caller itself into a tree.
    Run,
    /// Sign in for the tree that the caller is in.
    Login,
    /// Say, for sshd, who logged in, and have that connection governed.
    SshSession,
}

/// The answer of [`permits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Yes.
    All,
    /// Only what belongs to this tree.
    Own(TreeId),
    /// Only the questions that the caller may answer.
    Answerable,
    /// No.
    No,
}

/// May a caller of this standing ask this?
///
/// `run` takes rights away from the caller and gives none, so anybody may ask for it. So may who is
/// in no tree ask to `login`, and is told that there is none to sign in for. A caller inside a tree sees that tree, never the records: they tell what others may not do.
/// Who logged in by SSH, only root outside of every tree says: what is in one may pose as anybody.
#[must_use]
pub const fn permits(standing: Standing, request: Request) -> Permission {
    match (standing, request) {
        (
            Standing::Governed(tree),
            Request::Run | Request::Login | Request::Trees | Request::Lineage,
        ) => Permission::Own(tree),
        (Standing::Governed(_), _) => Permission::No,
        (Standing::Admin, Request::SshSession) => Permission::All,
        (_, Request::SshSession) => Permission::No,
        // Also a stranger may be somebody whom a rule names.
        (_, Request::Answer) => Permission::All,
        (Standing::Admin | Standing::Responder, _) => Permission::All,
        (Standing::Reader, Request::Kill | Request::Revoke) => Permission::No,
        (Standing::Reader, _) => Permission::All,
        (_, Request::Health | Request::Run | Request::Login) => Permission::All,
        (Standing::Approver, Request::Approvals) => Permission::All,
        (Standing::Stranger, Request::Approvals) => Permission::Answerable,
        (Standing::Approver | Standing::Stranger, _) => Permission::No,
    }
}

/// May somebody who came by the network ask this?
///
/// As outside of every tree; but there is no process here that could `run`, `login` for its tree, or be
/// sshd's.
#[must_use]
pub const fn permits_remote(role: Role, request: Request) -> Permission {
    match request {
        Request::Run | Request::Login | Request::SshSession => Permission::No,
        _ => permits(Standing::new(None, role), request),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Request::{
        Answer, Approvals, Health, Kill, Lineage, Login, Records, Revoke, Run, SshSession, Status,
        Trees,
    };

    #[test]
    fn the_table() {
        let own = Permission::Own(TreeId(7));
        let all = Permission::All;
        let requests = [
            Health, Status, Trees, Lineage, Records, Kill, Revoke, Approvals, Answer, Run, Login,
            SshSession,
        ];
        let rows: [(Standing, &[(Request, Permission)]); 6] = [
            (
                Standing::Governed(TreeId(7)),
                &[(Run, own), (Login, own), (Trees, own), (Lineage, own)],
            ),
            (Standing::Admin, &requests.map(|request| (request, all))),
            (
                Standing::Responder,
                &[
                    Health, Status, Trees, Lineage, Records, Kill, Revoke, Approvals, Answer, Run,
                    Login,
                ]
                .map(|request| (request, all)),
            ),
            (
                Standing::Reader,
                &[
                    Health, Status, Trees, Lineage, Records, Approvals, Answer, Run, Login,
                ]
                .map(|request| (request, all)),
            ),
            (
                Standing::Approver,
                &[Health, Approvals, Answer, Run, Login].map(|request| (request, all)),
            ),
            (
                Standing::Stranger,
                &[
                    (Health, all),
                    (Approvals, Permission::Answerable),
                    (Answer, all),
                    (Run, all),
                    (Login, all),
                ],
            ),
        ];
        for (standing, permitted) in rows {
            for request in requests {
                let row = permitted.iter().find(|(asked, _)| *asked == request);
                let expected = row.map_or(Permission::No, |(_, permission)| *permission);
                assert_eq!(
                    permits(standing, request),
                    expected,
                    "{standing:?} {request:?}"
                );
            }
        }
    }

    #[test]
    fn by_the_network_nobody_runs_and_the_rest_is_as_outside() {
        for role in Role::ALL {
            for request in [
                Health, Status, Trees, Lineage, Records, Kill, Revoke, Approvals, Answer,
            ] {
                let outside = permits(Standing::new(None, role), request);
                assert_eq!(permits_remote(role, request), outside);
            }
            assert_eq!(permits_remote(role, Run), Permission::No);
            assert_eq!(permits_remote(role, Login), Permission::No);
            assert_eq!(permits_remote(role, SshSession), Permission::No);
        }
    }

    #[test]
    fn root_inside_a_tree_is_not_root() {
        let standing = Standing::new(Some(TreeId(1)), Role::Admin);
        assert_eq!(standing, Standing::Governed(TreeId(1)));
        assert_eq!(permits(standing, Kill), Permission::No);
        assert_eq!(permits(standing, SshSession), Permission::No);
    }
}

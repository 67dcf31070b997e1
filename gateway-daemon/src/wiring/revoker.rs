//! Revokes a principal: denied from now on, its sessions ended, its questions denied, and when
//! asked for its processes stopped.
use super::acts::Acts;
use super::identity::Principals;
use super::people::People;
use crate::daemon::handover::Predecessor;
use gateway_approvals::Approvals;
use gateway_capture::Capture;
use gateway_control::view::RevokeView;
use gateway_control::{Caller, PortError, Revoker};
use gateway_core::{Lineage, Principal, Subject, TreeId};
use gateway_identity::RevocationError;
use gateway_lineage::Forest;
use gateway_proxy::Proxy;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long the processes of a tree may take to go.
const STOP_MAX: Duration = Duration::from_secs(10);

/// Revokes.
pub(crate) struct Revocation {
    pub(crate) people: Arc<People>,
    pub(crate) principals: Arc<Principals>,
    pub(crate) forest: Arc<Forest>,
    pub(crate) capture: Arc<Capture>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) predecessor: Option<Arc<Predecessor>>,
    pub(crate) acts: Acts,
}

impl Revocation {
    /// Is this who acts, through whom, or whose tree the kernel says it is?
    fn stands_behind(&self, principal: &Principal, subject: &Subject) -> bool {
        let described = self.principals.described_by_kernel(subject.lineage.tree);
        let mut all = std::iter::once(&subject.principal)
            .chain(&subject.delegates)
            .chain(&described);
        all.any(|other| self.people.same(principal, other))
    }

    /// The trees in which a principal stands, at the root or further down.
    fn trees_of(&self, principal: &Principal) -> BTreeSet<TreeId> {
        let mut trees = BTreeSet::new();
        for session in self.proxy.sessions() {
            if self.stands_behind(principal, &session.subject) {
                trees.insert(session.tree);
            }
        }
        for summary in self.forest.trees() {
            let Some(view) = self.forest.tree_of(summary.tree) else {
                continue;
            };
            let processes = view.processes.into_iter().map(|found| found.process);
            let lineage = Lineage {
                tree: summary.tree,
                processes: processes.collect(),
            };
            let (root, delegates) = self.principals.of(&lineage);
            let described = self.principals.described_by_kernel(summary.tree);
            let mut all = std::iter::once(&root).chain(&delegates).chain(&described);
            if all.any(|other| self.people.same(principal, other)) {
                trees.insert(summary.tree);
            }
        }
        trees
    }

    fn end(&self, principal: &Principal, stop: bool) -> Result<RevokeView, PortError> {
        let mut view = RevokeView {
            principal: principal.id.to_string(),
            revoked: true,
            trees: 0,
            sessions: 0,
            questions: 0,
            processes: 0,
        };
        if let Some(earlier) = &self.predecessor {
            earlier.end("somebody is revoked");
        }
        // A session that was opened in the very moment is found by the second look: from the
        // first on, nothing new is cleared for it.
        let mut ended = BTreeSet::new();
        for _ in 0..2 {
            for session in self.proxy.sessions() {
                if self.stands_behind(principal, &session.subject)
                    && self.proxy.kill_session(session.session)
                {
                    ended.insert(session.session);
                }
            }
        }
        view.sessions = ended.len() as u64;
        let trees = self.trees_of(principal);
        view.trees = trees.len() as u64;
        for tree in &trees {
            let reason = format!("{} is revoked", principal.id);
            view.questions += self.approvals.deny_all(*tree, &reason) as u64;
            self.approvals.revoke_tree(*tree);
        }
        for name in self.people.names_of(&principal.id) {
            self.approvals.revoke_approver(&name);
        }
        let mut left = Vec::new();
        for tree in trees.iter().filter(|_| stop) {
            match self.capture.end_tree(*tree, STOP_MAX) {
                Ok(killed) => view.processes += killed as u64,
                Err(error) => left.push(error.to_string()),
            }
        }
        if left.is_empty() {
            Ok(view)
        } else {
            Err(PortError(format!(
                "{} is revoked, {} sessions are ended, but: {}",
                principal.id,
                view.sessions,
                left.join("; ")
            )))
        }
    }
}

impl Revoker for Revocation {
    fn revoke(
        &self,
        caller: &Caller,
        principal: &str,
        stop: bool,
        undo: bool,
    ) -> Result<RevokeView, PortError> {
        let who = self.people.acting(caller)?;
        let act = if undo { "undo revoke" } else { "revoke" };
        let recorded = self
            .acts
            .record(act, &who.id, caller, Some(principal), None);
        recorded.map_err(|error| PortError(error.to_string()))?;
        for name in self.people.names_of(principal) {
            let set = self.people.revocations.set(&name, !undo);
            set.map_err(|error: RevocationError| PortError(error.to_string()))?;
        }
        tracing::warn!(%principal, by = %who.id, undo, stop, "revocation");
        let named = Principal {
            id: principal.into(),
            ..Principal::unknown()
        };
        if undo {
            return Ok(RevokeView {
                principal: principal.to_owned(),
                revoked: false,
                trees: 0,
                sessions: 0,
                questions: 0,
                processes: 0,
            });
        }
        self.end(&named, stop)
    }
}

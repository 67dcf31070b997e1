//! Who stands behind a connection: the process by the kernel's word, its lineage, its principal,
//! its policy. What is missing any of these is reset.
use super::clock;
use super::follower::Follower;
use super::governance::Governance;
use super::identity::Principals;
use super::people::People;
use gateway_core::Subject;
use gateway_lineage::{Forest, ProcessKey, Tag};
use gateway_proxy::{Attributed, Attribution, Flow};
use std::sync::Arc;

/// Knows the subject of a flow.
pub(crate) struct Attributor {
    pub(crate) follower: Arc<Follower>,
    pub(crate) forest: Arc<Forest>,
    pub(crate) principals: Arc<Principals>,
    pub(crate) governance: Arc<Governance>,
    pub(crate) people: Arc<People>,
}

impl Attribution for Attributor {
    fn subject(&self, flow: &Flow) -> Option<Attributed> {
        self.follower.catch_up();
        let key = ProcessKey::new(flow.pid, flow.start);
        let known = self
            .forest
            .lineage_of(key)
            .filter(|lineage| lineage.tree == flow.tree);
        let lineage = known.or_else(|| {
            // No report of it came, or it was lost. The kernel's tag is the truth about the tree.
            let tag = Tag {
                key,
                tree: flow.tree,
                policy_slot: flow.policy_slot,
                parent: None,
            };
            self.forest.adopt(tag, clock::since_boot())
        })?;
        if lineage.tree != flow.tree {
            return None;
        }
        let policy = self.governance.policy_of(flow.policy_slot)?;
        let Some((principal, delegates)) = self.principals.subject(&lineage) else {
            tracing::warn!(tree = %flow.tree, pid = flow.pid, "whose it is is not known in time");
            return None;
        };
        let subject = Subject {
            principal: self.people.enrich(&principal),
            delegates: delegates
                .iter()
                .map(|delegate| self.people.enrich(delegate))
                .collect(),
            lineage,
        };
        Some(Attributed {
            subject: Arc::new(subject),
            policy,
        })
    }
}

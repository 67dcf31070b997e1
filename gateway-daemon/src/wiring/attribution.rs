//! Who stands behind a connection: the process by the kernel's word, its lineage, its principal,
//! its policy. What is missing any of these is reset.
use super::clock;
use super::follower::Follower;
use super::governance::Governance;
use super::identity::{Principals, Standing};
use super::people::People;
use gateway_core::{Lineage, Subject};
use gateway_lineage::{Forest, ProcessKey, Tag};
use gateway_proxy::{Attributed, Attribution, Behind, Flow};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a connection waits for the reports before it, in a storm of them.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);

/// Knows the subject of a flow.
pub(crate) struct Attributor {
    pub(crate) follower: Arc<Follower>,
    pub(crate) forest: Arc<Forest>,
    pub(crate) principals: Arc<Principals>,
    pub(crate) governance: Arc<Governance>,
    pub(crate) people: Arc<People>,
}

impl Attribution for Attributor {
    fn subject(&self, flow: &Flow) -> Behind {
        if !self.follower.catch_up() {
            return Behind::Unsettled;
        }
        let Some((lineage, policy)) = self.lineage(flow) else {
            return Behind::Nobody;
        };
        match self.principals.settled(&lineage) {
            Some(standing) => Behind::Known(self.attributed(lineage, policy, standing)),
            None => Behind::Unsettled,
        }
    }

    fn settle(&self, flow: &Flow) -> Option<Attributed> {
        let deadline = Instant::now() + CATCH_UP_MAX;
        while !self.follower.catch_up() {
            if Instant::now() > deadline {
                tracing::warn!(tree = %flow.tree, pid = flow.pid, "too many reports before it");
                return None;
            }
        }
        let (lineage, policy) = self.lineage(flow)?;
        let Some(standing) = self.principals.subject(&lineage) else {
            tracing::warn!(tree = %flow.tree, pid = flow.pid, "whose it is is not known in time");
            return None;
        };
        Some(self.attributed(lineage, policy, standing))
    }
}

impl Attributor {
    /// The process with its ancestors, and the policy that its tree is under.
    fn lineage(&self, flow: &Flow) -> Option<(Lineage, Arc<str>)> {
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
        if let Some(described) = self.principals.described_by_kernel(flow.tree)
            && self.people.is_barred(&described)
        {
            // Whatever token was presented since: this user is out.
            tracing::warn!(tree = %flow.tree, principal = %described.id, "offboarded or revoked");
            return None;
        }
        let policy = self.governance.policy_of(flow.policy_slot)?;
        Some((lineage, policy))
    }

    fn attributed(
        &self,
        lineage: Lineage,
        policy: Arc<str>,
        (principal, delegates): Standing,
    ) -> Attributed {
        let subject = Subject {
            principal: self.people.enrich(&principal),
            delegates: delegates
                .iter()
                .map(|delegate| self.people.enrich(delegate))
                .collect(),
            lineage,
        };
        Attributed {
            subject: Arc::new(subject),
            policy,
        }
    }
}

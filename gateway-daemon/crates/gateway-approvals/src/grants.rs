//! Approvals that reach further than one operation.
//!
//! A grant belongs to one tree, one resource and one set of rules, by name. It ends at its time,
//! counted from the approval: no use of it and no new connection makes it longer. It does not
//! survive a restart. A reload of the policies ends it only as far as it changes what it rests on:
//! it covers a question when the rules that hold *now* have the same names, still give grants (the
//! shorter time counts), and would still let the same person approve.
use crate::authority::Authority;
use crate::moment::{Moment, after};
use gateway_core::ports::Question;
use gateway_core::{Grant, HoldTerms, OperationId, Principal, Timestamp, TreeId};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A grant as people are shown it. JSON keys: `id, tree, rules, resource, approver, time, until,
/// used`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantView {
    /// The operation that was approved.
    pub id: OperationId,
    /// The tree that it covers.
    pub tree: TreeId,
    /// The rules that it satisfies, sorted.
    pub rules: Vec<Arc<str>>,
    /// The resource that it is about.
    pub resource: Arc<str>,
    /// Who gave it.
    pub approver: Arc<str>,
    /// When.
    pub time: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How many operations it has covered, beside the first.
    pub used: u64,
}

impl Serialize for GrantView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = serializer.serialize_struct("Grant", 8)?;
        keys.serialize_field("id", &self.id.to_string())?;
        keys.serialize_field("tree", &self.tree)?;
        keys.serialize_field("rules", &self.rules)?;
        keys.serialize_field("resource", &self.resource)?;
        keys.serialize_field("approver", &self.approver)?;
        keys.serialize_field("time", &Moment(self.time))?;
        keys.serialize_field("until", &Moment(self.until))?;
        keys.serialize_field("used", &self.used)?;
        keys.end()
    }
}

/// What a grant is for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tree: TreeId,
    /// Sorted, each once.
    rules: Vec<Arc<str>>,
    resource: Arc<str>,
}

impl Key {
    fn of(question: &Question) -> Key {
        Key {
            tree: question.subject.lineage.tree,
            rules: rule_names(&question.terms),
            resource: Arc::clone(&question.resource),
        }
    }
}

fn rule_names(terms: &HoldTerms) -> Vec<Arc<str>> {
    let mut names: Vec<_> = terms
        .rules
        .iter()
        .map(|rule| Arc::clone(&rule.rule))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

struct Given {
    id: OperationId,
    approver: Principal,
    /// When, by the clock that counts.
    since: Instant,
    span: Duration,
    time: Timestamp,
    used: u64,
}

impl Given {
    /// Is it over, when no more than `span` is given?
    fn is_over(&self, span: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= span
    }
}

/// What an earlier approval says about a question.
pub(crate) struct Covered {
    pub(crate) id: OperationId,
    pub(crate) approver: Arc<str>,
    pub(crate) until: Timestamp,
}

/// The grants in force.
pub(crate) struct Grants {
    given: HashMap<Key, Given>,
    max: usize,
}

impl Grants {
    pub(crate) fn new(max: usize) -> Grants {
        Grants {
            given: HashMap::new(),
            max,
        }
    }

    /// An approval of `question` was given. Until when it reaches, if further than the question.
    pub(crate) fn give(
        &mut self,
        question: &Question,
        approver: &Principal,
        now: Instant,
        time: Timestamp,
    ) -> Option<Timestamp> {
        let Grant::Until(span) = question.terms.grant else {
            return None;
        };
        let key = Key::of(question);
        if self.given.len() >= self.max && !self.given.contains_key(&key) {
            self.given
                .retain(|_, given| !given.is_over(given.span, now));
            if self.given.len() >= self.max {
                tracing::warn!(
                    id = %question.id,
                    max = self.max,
                    "the approval counts once: no more grants are kept"
                );
                return None;
            }
        }
        self.given.insert(
            key,
            Given {
                id: question.id,
                approver: approver.clone(),
                since: now,
                span,
                time,
                used: 0,
            },
        );
        Some(after(time, span))
    }

    /// The approval that covers this question, if one does.
    pub(crate) fn covering(
        &mut self,
        question: &Question,
        authority: &Authority,
        now: Instant,
    ) -> Option<Covered> {
        let Grant::Until(allowed) = question.terms.grant else {
            return None;
        };
        let key = Key::of(question);
        let given = self.given.get_mut(&key)?;
        if given.is_over(given.span, now) {
            self.given.remove(&key);
            return None;
        }
        let span = given.span.min(allowed);
        if given.is_over(span, now) || !authority.reaches(&given.approver, question) {
            return None;
        }
        given.used = given.used.saturating_add(1);
        Some(Covered {
            id: given.id,
            approver: Arc::clone(&given.approver.id),
            until: after(given.time, span),
        })
    }

    /// Ends what a tree was given.
    pub(crate) fn revoke_tree(&mut self, tree: TreeId) -> usize {
        self.remove_where(|key, _| key.tree == tree)
    }

    /// Ends what somebody has given.
    pub(crate) fn revoke_approver(&mut self, principal: &str) -> usize {
        self.remove_where(|_, given| &*given.approver.id == principal)
    }

    fn remove_where(&mut self, mut ends: impl FnMut(&Key, &Given) -> bool) -> usize {
        let before = self.given.len();
        self.given.retain(|key, given| !ends(key, given));
        before.saturating_sub(self.given.len())
    }

    pub(crate) fn clear(&mut self) {
        self.given.clear();
    }

    /// Those in force, oldest first.
    pub(crate) fn list(&self, now: Instant) -> Vec<GrantView> {
        let mut views: Vec<_> = self
            .given
            .iter()
            .filter(|(_, given)| !given.is_over(given.span, now))
            .map(|(key, given)| GrantView {
                id: given.id,
                tree: key.tree,
                rules: key.rules.clone(),
                resource: Arc::clone(&key.resource),
                approver: Arc::clone(&given.approver.id),
                time: given.time,
                until: after(given.time, given.span),
                used: given.used,
            })
            .collect();
        views.sort_by_key(|view| (view.time, view.id));
        views
    }
}

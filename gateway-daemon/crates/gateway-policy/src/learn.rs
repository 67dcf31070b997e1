//! Learns a policy from what was recorded: observations in, the text of a policy file out.
//!
//! The policy allows every operation that passed, and nothing that touches a resource by a verb,
//! an object or a principal that was not seen, but for what the comments in it say: many tables
//! of one schema become `schema.*`, many refs of one repository `repository@*`, and what cannot
//! be said narrower gets a rule of its own.
mod needs;
mod places;
mod text;

use crate::compile::compile;
use crate::diagnostic::{Diagnostic, Source};
use crate::directory::FILE_MAX;
use crate::document::TABLES_MAX;
use crate::rule::may_touch_anything;
use gateway_core::{Destination, Effect, Object, Principal, Subject, Timestamp, Verb, Verdict};
use rustc_hash::FxHashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// How many kinds of operations can be told apart. Each takes some hundred bytes.
pub const KINDS_MAX: usize = 100_000;
/// The longest text that a list of a policy can hold, in bytes.
const TEXT_MAX: usize = 1024;

/// An operation that was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// When it was decided.
    pub time: Timestamp,
    /// Who.
    pub subject: &'a Subject,
    /// Where it went.
    pub destination: &'a Destination,
    /// The name that the destination had then.
    pub resource: &'a str,
    /// The protocol it came by; empty before that was known.
    pub protocol: &'a str,
    /// Everything it did.
    pub effects: &'a [Effect],
    /// Its text.
    pub statement: &'a str,
    /// What the rules said, and of an operation that was held, what came of it. Only
    /// [`Verdict::Allow`] and [`Verdict::Approved`] are learned from.
    pub verdict: Verdict,
}

/// The head of the policy that is written.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its name.
    pub name: &'a str,
    /// The cgroups it is to govern, as globs.
    pub cgroups: &'a [Box<str>],
}

/// What was seen, in numbers of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Learned from.
    pub learned: u64,
    /// Of those, let through by a human.
    pub approved: u64,
    /// Denied by the rules, also where the mode let them pass.
    pub denied: u64,
    /// Held, and not approved.
    pub not_approved: u64,
    /// No rule can name what they are about.
    pub unnameable: u64,
    /// When the first of those that were learned from was decided.
    pub first: Option<Timestamp>,
}

/// No policy can be made of what was seen.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// More than fits in memory.
    #[error("more than {KINDS_MAX} different kinds of operations; learn from fewer of them")]
    Kinds,
    /// More than a policy can have.
    #[error(
        "it would take {0} resources or rules, and a policy has at most {TABLES_MAX}; learn from fewer operations"
    )]
    Tables(usize),
    /// More than a file can have.
    #[error(
        "it would take {0} bytes, and a policy file has at most {FILE_MAX}; learn from fewer operations"
    )]
    Bytes(usize),
    /// The head is wrong, or this module.
    #[error("what was learned is no policy: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NoPolicy(Vec<Diagnostic>),
}

/// What a verb was done to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Touch {
    /// To no object.
    Nothing,
    /// To this one.
    Named(Arc<str>),
    /// To what nobody can name: only a rule without `objects` covers it.
    Anything,
}

/// One thing that an operation did.
type Fact = (Verb, Touch);

/// Operations that need the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Kind {
    /// The principal and its delegates, sorted: each of them needs all of it.
    who: Vec<Arc<str>>,
    ip: IpAddr,
    port: u16,
    host: Option<Arc<str>>,
    resource: Arc<str>,
    protocol: Arc<str>,
    /// Sorted, each once.
    facts: Vec<Fact>,
    /// A human let it pass.
    approved: bool,
}

/// What speaks for a rule.
#[derive(Clone, Debug, Default)]
struct Evidence {
    operations: u64,
    first: Option<Timestamp>,
    /// The oldest statement, as it is shown.
    example: Option<(Timestamp, Box<str>)>,
}

impl Evidence {
    fn add(&mut self, other: &Evidence) {
        self.operations += other.operations;
        self.first = match (self.first, other.first) {
            (Some(mine), Some(other)) => Some(mine.min(other)),
            (mine, other) => mine.or(other),
        };
        if let Some(example) = &other.example
            && self.example.as_ref().is_none_or(|mine| example < mine)
        {
            self.example = Some(example.clone());
        }
    }
}

/// Collects observations. Memory is bounded by [`KINDS_MAX`].
#[derive(Debug, Default)]
pub struct Learner {
    kinds: FxHashMap<Kind, Evidence>,
    seen: Seen,
}

impl Learner {
    /// Takes one observation. Their order does not matter.
    ///
    /// # Errors
    /// There are too many kinds of them.
    pub fn observe(&mut self, observed: &Observation<'_>) -> Result<(), LearnError> {
        match observed.verdict {
            Verdict::Allow | Verdict::Approved => {}
            Verdict::Deny => {
                self.seen.denied += 1;
                return Ok(());
            }
            Verdict::Hold | Verdict::Denied | Verdict::Expired => {
                self.seen.not_approved += 1;
                return Ok(());
            }
        }
        let Some(kind) = kind(observed) else {
            self.seen.unnameable += 1;
            return Ok(());
        };
        self.seen.learned += 1;
        self.seen.approved += u64::from(kind.approved);
        let time = observed.time;
        self.seen.first = Some(self.seen.first.map_or(time, |first| first.min(time)));
        if self.kinds.len() >= KINDS_MAX && !self.kinds.contains_key(&kind) {
            return Err(LearnError::Kinds);
        }
        let evidence = self.kinds.entry(kind).or_default();
        evidence.operations += 1;
        evidence.first = Some(evidence.first.map_or(time, |first| first.min(time)));
        let older = |(known, _): &(Timestamp, Box<str>)| time <= *known;
        if !observed.statement.is_empty() && evidence.example.as_ref().is_none_or(older) {
            let example = (time, text::example(observed.statement).into());
            if evidence
                .example
                .as_ref()
                .is_none_or(|known| example < *known)
            {
                evidence.example = Some(example);
            }
        }
        Ok(())
    }

    /// What was seen so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// Writes the policy. It is in mode shadow, so that people can look at what it would deny
    /// before it does.
    ///
    /// # Errors
    /// It would be larger than a policy can be, or the head is not one that a policy can have.
    pub fn policy(&self, head: &Head<'_>) -> Result<String, LearnError> {
        let mut kinds: Vec<(&Kind, &Evidence)> = self.kinds.iter().collect();
        kinds.sort_unstable_by_key(|(kind, _)| *kind);
        let places = places::places(&kinds);
        let rules = needs::rules(&kinds, &places);
        let tables = places.resources.len().max(rules.len());
        if tables > TABLES_MAX {
            return Err(LearnError::Tables(tables));
        }
        let text = text::policy(head, &self.seen, &places.resources, &rules);
        if text.len() as u64 > FILE_MAX {
            return Err(LearnError::Bytes(text.len()));
        }
        match compile(&Source::new("learned", text.as_str())) {
            Ok(_) => Ok(text),
            Err(diagnostics) => Err(LearnError::NoPolicy(diagnostics)),
        }
    }
}

/// `None`: no rule can say exactly this, and a wider one is not for a machine to write.
fn kind(observed: &Observation<'_>) -> Option<Kind> {
    let subject = observed.subject;
    let mut who = std::iter::once(&subject.principal)
        .chain(&subject.delegates)
        .map(nameable_principal)
        .collect::<Option<Vec<_>>>()?;
    who.sort_unstable();
    who.dedup();
    let mut facts = Vec::new();
    for effect in observed.effects {
        if effect.objects.is_empty() {
            facts.push((effect.verb, nothing(effect.verb)));
        }
        for object in &effect.objects {
            let touch = match object {
                Object::Named(name) if is_nameable(name) => Touch::Named(Arc::clone(name)),
                Object::Named(_) => return None,
                Object::Unresolved(_) => Touch::Anything,
            };
            facts.push((effect.verb, touch));
        }
    }
    facts.sort_unstable();
    facts.dedup();
    let destination = observed.destination;
    (!facts.is_empty() && destination.port != 0).then(|| Kind {
        who,
        ip: destination.ip.to_canonical(),
        port: destination.port,
        host: destination.host().cloned(),
        resource: observed.resource.into(),
        protocol: observed.protocol.into(),
        facts,
        approved: observed.verdict == Verdict::Approved,
    })
}

/// What an effect without objects touches.
fn nothing(verb: Verb) -> Touch {
    if may_touch_anything(verb) {
        Touch::Anything
    } else {
        Touch::Nothing
    }
}

/// In a pattern, `group:` means something else than a name.
fn nameable_principal(principal: &Principal) -> Option<Arc<str>> {
    let id = &principal.id;
    (is_nameable(id) && !id.starts_with("group:")).then(|| Arc::clone(id))
}

/// Can a pattern say this text and no other? A `*` in it would match more, so whoever can choose
/// a name could choose what is learned.
fn is_nameable(text: &str) -> bool {
    let plain = |c: char| c != '*' && !c.is_control();
    !text.is_empty() && text.len() <= TEXT_MAX && text.chars().all(plain)
}

//! Recorded operations under a draft: what it would have decided.
use gateway_core::ports::Case;
use gateway_core::{
    Attribute, Decision, Effect, Mode, Operation, SessionId, SessionOpened, Verb, Verdict,
};
use gateway_policy::{Policy, PolicySet};
use gateway_recording::StoredOperation;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// How many decisions of one session are remembered, as the governor does.
const REMEMBERED_MAX: usize = 64;
/// How many sessions are known at once. Beyond it they are forgotten, and met anew.
const SESSIONS_MAX: usize = 4096;

/// What a draft says of one operation.
#[derive(Debug)]
pub(super) enum Judged<'j> {
    /// This.
    Decided(&'j Decision),
    /// Nothing.
    Skipped(Skip),
}

/// Why an operation is not judged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Skip {
    /// The draft has no policy of the name that the session was under.
    NoPolicy(Arc<str>),
    /// It was denied since somebody was offboarded or revoked, whatever the rules said.
    Barred,
    /// This version does not know the protocol.
    Protocol(Arc<str>),
}

/// Judges by one draft.
pub(super) struct Judging<'d> {
    set: &'d PolicySet,
    /// The policy that judges everything, when one does.
    only: Option<&'d Arc<Policy>>,
    protocols: Vec<&'static str>,
    sessions: HashMap<SessionId, Session>,
}

/// Subject and destination of a session do not change, and neither does what a stable decision
/// depends on otherwise.
struct Session {
    policy: Option<Arc<Policy>>,
    remembered: Vec<(Shape, Decision)>,
    /// The last decision that is not remembered.
    last: Option<Decision>,
}

/// What a stable decision of a session depends on.
struct Shape {
    hash: u64,
    protocol: Arc<str>,
    verb: Verb,
    effects: Vec<Effect>,
    attributes: Vec<(Arc<str>, Attribute)>,
}

impl Shape {
    fn is_of(&self, hash: u64, operation: &StoredOperation) -> bool {
        self.hash == hash
            && self.verb == operation.verb
            && self.protocol == operation.protocol
            && self.effects == operation.effects
            && self.attributes == operation.attributes
    }
}

impl<'d> Judging<'d> {
    /// The protocols are those that this version knows.
    pub(super) fn new(
        set: &'d PolicySet,
        only: Option<&'d Arc<Policy>>,
        mut protocols: Vec<&'static str>,
    ) -> Judging<'d> {
        // That of a connection before anything is spoken.
        protocols.push("");
        Judging {
            set,
            only,
            protocols,
            sessions: HashMap::new(),
        }
    }

    pub(super) fn judge(
        &mut self,
        operation: &StoredOperation,
        opened: &SessionOpened,
    ) -> Judged<'_> {
        if was_barred(operation, opened) {
            return Judged::Skipped(Skip::Barred);
        }
        let known = |name: &&&'static str| ***name == *operation.protocol;
        let Some(protocol) = self.protocols.iter().find(known).copied() else {
            return Judged::Skipped(Skip::Protocol(Arc::clone(&operation.protocol)));
        };
        if self.sessions.len() >= SESSIONS_MAX && !self.sessions.contains_key(&opened.session) {
            self.sessions.clear();
        }
        let session = self
            .sessions
            .entry(opened.session)
            .or_insert_with(|| Session {
                policy: self
                    .only
                    .or_else(|| self.set.policy(&opened.policy))
                    .cloned(),
                remembered: Vec::new(),
                last: None,
            });
        match session.decide(operation, opened, protocol) {
            Some(decision) => Judged::Decided(decision),
            None => Judged::Skipped(Skip::NoPolicy(Arc::clone(&opened.policy))),
        }
    }
}

impl Session {
    /// `None`: there is no policy to decide by.
    fn decide(
        &mut self,
        operation: &StoredOperation,
        opened: &SessionOpened,
        protocol: &'static str,
    ) -> Option<&Decision> {
        let policy = self.policy.as_ref()?;
        let hash = hash(operation);
        let mut shapes = self.remembered.iter();
        if let Some(at) = shapes.position(|(shape, _)| shape.is_of(hash, operation)) {
            return self.remembered.get(at).map(|(_, decision)| decision);
        }
        let announces = announces(operation);
        let mut decision = policy.decide(
            &Case {
                policy: policy.name(),
                subject: &opened.subject,
                destination: &opened.destination,
                operation: &Operation {
                    protocol,
                    verb: operation.verb,
                    effects: &operation.effects,
                    statement: &operation.statement,
                    parameters: &operation.parameters,
                    attributes: &operation.attributes,
                    announces,
                    uses: &[],
                    shown: None,
                    shape: None,
                    basis: 0,
                },
            },
            operation.time,
        );
        // As the governor does: the human is asked when it is executed.
        if announces && decision.verdict == Verdict::Hold {
            decision.verdict = Verdict::Allow;
        }
        if !decision.stable {
            return Some(self.last.insert(decision));
        }
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        let shape = Shape {
            hash,
            protocol: Arc::clone(&operation.protocol),
            verb: operation.verb,
            effects: operation.effects.clone(),
            attributes: operation.attributes.clone(),
        };
        self.remembered.push((shape, decision));
        self.remembered.last().map(|(_, decision)| decision)
    }
}

fn hash(operation: &StoredOperation) -> u64 {
    let mut hasher = DefaultHasher::new();
    operation.protocol.hash(&mut hasher);
    operation.verb.hash(&mut hasher);
    operation.effects.hash(&mut hasher);
    for (name, value) in &operation.attributes {
        name.hash(&mut hasher);
        match value {
            Attribute::Bool(value) => value.hash(&mut hasher),
            Attribute::Int(value) => value.hash(&mut hasher),
            Attribute::Text(value) => value.hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// Did it only announce what another operation does? The journal says so by an attribute of
/// Postgres, whose Parse does.
fn announces(operation: &StoredOperation) -> bool {
    let parse = |(name, value): &(Arc<str>, Attribute)| {
        **name == *"sql.phase" && matches!(value, Attribute::Text(phase) if **phase == *"parse")
    };
    operation.attributes.iter().any(parse)
}

/// Was it denied for what the directory or a revocation said of somebody? No draft changes that.
/// The words are those of `wiring/people.rs`.
fn was_barred(operation: &StoredOperation, opened: &SessionOpened) -> bool {
    if operation.verdict != Verdict::Deny || operation.rule.is_some() {
        return false;
    }
    let Some(message) = operation.message.as_deref() else {
        return false;
    };
    let subject = &opened.subject;
    let mut ids = std::iter::once(&subject.principal).chain(&subject.delegates);
    ids.any(|principal| {
        let word = message.strip_prefix(&*principal.id);
        matches!(word, Some(" is offboarded" | " is revoked"))
    })
}

/// Does a verdict stop an operation in this mode, for the time being at least?
pub(super) fn stops(verdict: Verdict, mode: Mode) -> bool {
    !verdict.passes() && mode == Mode::Enforce
}

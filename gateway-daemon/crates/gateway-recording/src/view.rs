//! What people are shown: an operation with its outcome and its session, and a session whole.
//!
//! The keys are a contract with scripts. The verdict of an operation that was held is that of its
//! resolution; `hold` while it waits, and where observe or shadow asked nobody. `masked` counts
//! values, by field; `disclosed` names the fields of which values were returned in the clear. Both
//! are empty until there is an answer, and in the order of the names. Beyond the contract:
//! `disclosed_rows` (in how many rows, by field), `reason` and `resolved` (why and when a hold
//! ended), `parameters`, `attributes`, `mode`, `policy`, and for processes `cgroup`, `provenance`,
//! `argv_cut`, `exited`. Times are RFC 3339 in UTC with microseconds; `start` of a process is a
//! number, nanoseconds since boot, because that is what makes a pid unique.
mod event;

pub use event::{Event, EventView};

use crate::record::{Act, StoredOperation, was_refused};
use gateway_core::mask::FieldCounts;
use gateway_core::{
    Attribute, Destination, Mode, OperationOutcome, Parameter, Principal, Process, Resolution,
    SessionClosed, SessionId, SessionOpened, Timestamp, TreeId, VerbSet, Verdict,
};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An operation with what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationView {
    /// The number of its record.
    pub sequence: u64,
    /// The operation.
    pub operation: StoredOperation,
    /// What came of the hold; `None` when nobody was asked: it was not held, or not in enforce.
    pub hold: Option<HoldEnding>,
    /// How it was answered; `None` while it is not, when it was refused, and when the daemon did
    /// not live to see it.
    pub outcome: Option<OperationOutcome>,
    /// Its session; `None` when that record is lost.
    pub session: Option<Arc<SessionOpened>>,
}

/// What came of an operation that was held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldEnding {
    /// Nothing yet: a human is asked.
    Waiting,
    /// It was approved, denied, or nobody answered in time.
    Resolved(Resolution),
    /// Its session ended, or the daemon that served it, and the journal has no resolution.
    Lost,
}

impl OperationView {
    /// An operation of which only the decision is known.
    #[must_use]
    pub fn new(
        sequence: u64,
        operation: StoredOperation,
        session: Option<Arc<SessionOpened>>,
    ) -> OperationView {
        OperationView {
            sequence,
            hold: operation.was_held().then_some(HoldEnding::Waiting),
            operation,
            outcome: None,
            session,
        }
    }

    /// The verdict as it is known now: of an operation that was held, that of its resolution.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.hold {
            None => self.operation.verdict,
            Some(HoldEnding::Waiting) => Verdict::Hold,
            Some(HoldEnding::Resolved(resolution)) => resolution.verdict,
            // What has an outcome has been let through, whatever became of the record of that.
            Some(HoldEnding::Lost) if self.outcome.is_some() => Verdict::Approved,
            Some(HoldEnding::Lost) => Verdict::Denied,
        }
    }

    /// Was it stopped? One that waits is not, as yet.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        was_refused(self.verdict(), self.operation.mode)
    }

    /// Does it wait for a human?
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.hold == Some(HoldEnding::Waiting)
    }

    /// Who answered.
    #[must_use]
    pub fn approver(&self) -> Option<&str> {
        self.resolution()?.approver.as_deref()
    }

    /// Why it was approved or not, in the words of who answered, or what else ended the wait.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match &self.hold {
            Some(HoldEnding::Lost) if self.outcome.is_some() => Some(ANSWER_LOST),
            Some(HoldEnding::Lost) => Some(UNANSWERED),
            _ => self.resolution()?.reason.as_deref(),
        }
    }

    fn resolution(&self) -> Option<&Resolution> {
        match &self.hold {
            Some(HoldEnding::Resolved(resolution)) => Some(resolution),
            _ => None,
        }
    }

    /// Takes the first answer; there is no second one.
    pub(crate) fn resolve(&mut self, resolution: Resolution) {
        if self.is_waiting() {
            self.hold = Some(HoldEnding::Resolved(resolution));
        }
    }

    /// Nothing more comes.
    pub(crate) fn lose(&mut self) {
        if self.is_waiting() {
            self.hold = Some(HoldEnding::Lost);
        }
    }

    pub(crate) fn answer(&mut self, outcome: OperationOutcome) {
        self.outcome = Some(outcome);
        self.lose();
    }
}

/// What is shown for a hold that nothing says the end of.
const UNANSWERED: &str = "the gateway ended before it was answered";
/// What is shown for one that was let through all the same.
const ANSWER_LOST: &str = "the record of the approval is lost";

/// A session from its beginning to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionView {
    /// How it began.
    pub opened: Arc<SessionOpened>,
    /// How it ended, if it did.
    pub ending: SessionEnding,
    /// What was spoken, as far as an operation or the end says.
    pub protocol: Option<Arc<str>>,
    /// The catalogue name of the destination, as far as an operation or the end says.
    pub resource: Option<Arc<str>>,
    /// How many operations were asked for.
    pub operations: u64,
    /// How many of them were denied, those included that were held and did not pass.
    pub denied: u64,
    /// How many of them were held.
    pub held: u64,
    /// How many of those wait for a human now.
    pub waiting: u64,
    /// How many values were covered; while the session is open, in the answers that are whole.
    pub masked: u64,
    /// Bytes from the client; while the session is open, those of the answered operations.
    pub bytes_up: u64,
    /// Bytes to the client; while the session is open, those of the answered operations.
    pub bytes_down: u64,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionEnding {
    /// It has not.
    Live,
    /// It was closed.
    Closed(SessionClosed),
    /// The daemon that served it ended before it could write that down.
    Lost {
        /// When the next daemon began, which is the latest that the session can have ended;
        /// `None`: no daemon has begun since.
        before: Option<Timestamp>,
    },
}

impl SessionView {
    /// A session of which only the beginning is known.
    #[must_use]
    pub fn new(opened: Arc<SessionOpened>) -> SessionView {
        SessionView {
            opened,
            ending: SessionEnding::Live,
            protocol: None,
            resource: None,
            operations: 0,
            denied: 0,
            held: 0,
            waiting: 0,
            masked: 0,
            bytes_up: 0,
            bytes_down: 0,
        }
    }

    /// Is it open?
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.ending == SessionEnding::Live
    }

    /// Takes the word of the last record for all that it counts.
    pub(crate) fn close(&mut self, closed: SessionClosed) {
        if !closed.protocol.is_empty() {
            self.protocol = Some(Arc::clone(&closed.protocol));
        }
        self.resource = Some(Arc::clone(&closed.resource));
        self.operations = closed.operations;
        self.denied = closed.denied;
        self.held = closed.held;
        self.waiting = 0;
        self.masked = closed.masked;
        self.bytes_up = closed.bytes_up;
        self.bytes_down = closed.bytes_down;
        self.ending = SessionEnding::Closed(closed);
    }

    /// The daemon ended. Whatever waited was never let through.
    pub(crate) fn lose(&mut self, before: Option<Timestamp>) {
        self.denied += std::mem::take(&mut self.waiting);
        self.ending = SessionEnding::Lost { before };
    }
}

/// What somebody did to the gateway itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActView {
    /// The number of its record.
    pub sequence: u64,
    /// The act.
    pub act: Act,
}

/// What is shown for a session whose daemon was killed.
const LOST: &str = "the gateway ended before the session did";

/// A moment in output.
struct Moment(Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&rfc3339(self.0))
    }
}

/// RFC 3339, UTC, microseconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    // 64 bits of nanoseconds end in the year 2554, which every calendar has.
    match jiff::Timestamp::from_nanosecond(i128::from(time.0)) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => time.0.to_string(),
    }
}

#[derive(Serialize)]
struct DestinationKeys<'a> {
    ip: String,
    port: u16,
    host: Option<&'a str>,
    /// The other names that lead there.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    other_hosts: &'a [Arc<str>],
}

impl<'a> From<&'a Destination> for DestinationKeys<'a> {
    fn from(destination: &'a Destination) -> Self {
        DestinationKeys {
            ip: destination.ip.to_string(),
            port: destination.port,
            host: destination.host().map(|host| &**host),
            other_hosts: destination.hosts.get(1..).unwrap_or_default(),
        }
    }
}

#[derive(Serialize)]
struct PrincipalKeys<'a> {
    id: &'a str,
    assurance: &'static str,
    groups: &'a [Arc<str>],
}

impl<'a> From<&'a Principal> for PrincipalKeys<'a> {
    fn from(principal: &'a Principal) -> Self {
        PrincipalKeys {
            id: &principal.id,
            assurance: principal.assurance.name(),
            groups: &principal.groups,
        }
    }
}

/// Of a session whose first record is lost.
const NOBODY: PrincipalKeys<'static> = PrincipalKeys {
    id: "unknown",
    assurance: "none",
    groups: &[],
};

#[derive(Serialize)]
struct ProcessKeys<'a> {
    pid: u32,
    start: u64,
    exe: &'a str,
    argv: &'a [Arc<str>],
    uid: u32,
    cwd: Option<&'a str>,
    container: Option<&'a str>,
    cgroup: &'a str,
    provenance: gateway_core::Provenance,
    argv_cut: bool,
    exited: bool,
}

impl<'a> From<&'a Process> for ProcessKeys<'a> {
    fn from(process: &'a Process) -> Self {
        ProcessKeys {
            pid: process.pid,
            start: process.start,
            exe: &process.exe,
            argv: &process.argv,
            uid: process.uid,
            cwd: process.cwd.as_deref(),
            container: process.container.as_deref(),
            cgroup: &process.cgroup,
            provenance: process.provenance,
            argv_cut: process.argv_cut,
            exited: process.exited,
        }
    }
}

/// The keys that operations and sessions share: whose it is.
struct Who<'a> {
    tree: Option<TreeId>,
    principal: PrincipalKeys<'a>,
    delegates: Vec<PrincipalKeys<'a>>,
    process: Option<ProcessKeys<'a>>,
    lineage: Vec<ProcessKeys<'a>>,
    destination: Option<DestinationKeys<'a>>,
    policy: Option<&'a str>,
}

impl<'a> Who<'a> {
    fn of(session: Option<&'a SessionOpened>) -> Who<'a> {
        let Some(opened) = session else {
            return Who {
                tree: None,
                principal: NOBODY,
                delegates: Vec::new(),
                process: None,
                lineage: Vec::new(),
                destination: None,
                policy: None,
            };
        };
        let subject = &opened.subject;
        Who {
            tree: Some(subject.lineage.tree),
            principal: (&subject.principal).into(),
            delegates: subject.delegates.iter().map(Into::into).collect(),
            process: subject.lineage.process().map(Into::into),
            lineage: subject.lineage.processes.iter().map(Into::into).collect(),
            destination: Some((&opened.destination).into()),
            policy: Some(&opened.policy),
        }
    }
}

/// Counts by field, in the order of the names and each name once, whatever the record says.
fn by_field(counts: Option<&FieldCounts>) -> BTreeMap<&str, u64> {
    let mut sorted = BTreeMap::new();
    for (field, count) in counts.into_iter().flatten() {
        let sum: &mut u64 = sorted.entry(&**field).or_default();
        *sum = sum.saturating_add(*count);
    }
    sorted
}

struct AttributeKeys<'a>(&'a [(Arc<str>, Attribute)]);

impl Serialize for AttributeKeys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (&**name, value)))
    }
}

#[derive(Serialize)]
struct OperationKeys<'a> {
    time: Moment,
    id: String,
    session: SessionId,
    tree: Option<TreeId>,
    seq: u32,
    protocol: &'a str,
    verb: &'static str,
    verbs: Vec<&'static str>,
    resource: &'a str,
    destination: Option<DestinationKeys<'a>>,
    objects: Vec<&'a str>,
    statement: &'a str,
    verdict: &'static str,
    rule: Option<&'a str>,
    message: Option<&'a str>,
    approver: Option<&'a str>,
    reason: Option<&'a str>,
    resolved: Option<Moment>,
    principal: PrincipalKeys<'a>,
    delegates: Vec<PrincipalKeys<'a>>,
    process: Option<ProcessKeys<'a>>,
    lineage: Vec<ProcessKeys<'a>>,
    cgroup: Option<&'a str>,
    rows: Option<u64>,
    bytes_up: Option<u64>,
    bytes_down: Option<u64>,
    masked: BTreeMap<&'a str, u64>,
    disclosed: Vec<&'a str>,
    duration_ms: Option<f64>,
    error: Option<&'a str>,
    disclosed_rows: BTreeMap<&'a str, u64>,
    parameters: &'a [Parameter],
    attributes: AttributeKeys<'a>,
    mode: Mode,
    policy: Option<&'a str>,
}

impl Serialize for OperationView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let operation = &self.operation;
        let outcome = self.outcome.as_ref();
        let who = Who::of(self.session.as_deref());
        let verbs: VerbSet = operation.effects.iter().map(|effect| effect.verb).collect();
        let disclosed_rows = by_field(outcome.map(|outcome| &outcome.disclosed));
        OperationKeys {
            time: Moment(operation.time),
            id: operation.id.to_string(),
            session: operation.id.session,
            tree: who.tree,
            seq: operation.id.seq,
            protocol: &operation.protocol,
            verb: operation.verb.name(),
            verbs: verbs.iter().map(gateway_core::Verb::name).collect(),
            resource: &operation.resource,
            destination: who.destination,
            objects: objects(operation),
            statement: &operation.statement,
            verdict: self.verdict().name(),
            rule: operation.rule.as_deref(),
            message: operation.message.as_deref(),
            approver: self.approver(),
            reason: self.reason(),
            resolved: self.resolution().map(|resolution| Moment(resolution.time)),
            principal: who.principal,
            delegates: who.delegates,
            cgroup: who.process.as_ref().map(|process| process.cgroup),
            process: who.process,
            lineage: who.lineage,
            rows: outcome.and_then(|outcome| outcome.rows),
            bytes_up: outcome.map(|outcome| outcome.bytes_up),
            bytes_down: outcome.map(|outcome| outcome.bytes_down),
            masked: by_field(outcome.map(|outcome| &outcome.masked)),
            disclosed: disclosed_rows.keys().copied().collect(),
            duration_ms: outcome.map(|outcome| milliseconds(operation.time, outcome.time)),
            error: outcome.and_then(|outcome| outcome.error.as_deref()),
            disclosed_rows,
            parameters: &operation.parameters,
            attributes: AttributeKeys(&operation.attributes),
            mode: operation.mode,
            policy: who.policy,
        }
        .serialize(serializer)
    }
}

/// The objects of all effects, each once, in the order in which they come. Statements name a
/// handful; the rare one with thousands is worth a set.
fn objects(operation: &StoredOperation) -> Vec<&str> {
    let mut seen = rustc_hash::FxHashSet::default();
    let all = operation.effects.iter().flat_map(|effect| &effect.objects);
    all.map(gateway_core::Object::name)
        .filter(|name| seen.insert(*name))
        .collect()
}

/// With three digits behind the point: microseconds.
#[allow(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53 microseconds, which is 285 years"
)]
fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.0.saturating_sub(from.0) / 1000) as f64 / 1000.0
}

#[derive(Serialize)]
struct SessionKeys<'a> {
    session: SessionId,
    tree: Option<TreeId>,
    opened: Moment,
    closed: Option<Moment>,
    protocol: Option<&'a str>,
    resource: String,
    destination: Option<DestinationKeys<'a>>,
    principal: PrincipalKeys<'a>,
    delegates: Vec<PrincipalKeys<'a>>,
    process: Option<ProcessKeys<'a>>,
    lineage: Vec<ProcessKeys<'a>>,
    operations: u64,
    denied: u64,
    held: u64,
    masked: u64,
    bytes_up: u64,
    bytes_down: u64,
    end: Option<&'static str>,
    error: Option<&'a str>,
    cgroup: Option<&'a str>,
    policy: Option<&'a str>,
}

impl SessionView {
    /// The catalogue name of the destination, or the destination itself where none is known.
    #[must_use]
    pub fn resource_or_destination(&self) -> String {
        match &self.resource {
            Some(resource) => resource.to_string(),
            None => self.opened.destination.to_string(),
        }
    }
}

impl Serialize for SessionView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let who = Who::of(Some(&self.opened));
        let (closed, end, error) = match &self.ending {
            SessionEnding::Live => (None, None, None),
            SessionEnding::Lost { .. } => (None, Some("error"), Some(LOST)),
            SessionEnding::Closed(closed) => (
                Some(Moment(closed.time)),
                Some(closed.end.name()),
                closed.error.as_deref(),
            ),
        };
        SessionKeys {
            session: self.opened.session,
            tree: who.tree,
            opened: Moment(self.opened.time),
            closed,
            protocol: self.protocol.as_deref(),
            resource: self.resource_or_destination(),
            destination: who.destination,
            principal: who.principal,
            delegates: who.delegates,
            cgroup: who.process.as_ref().map(|process| process.cgroup),
            process: who.process,
            lineage: who.lineage,
            operations: self.operations,
            denied: self.denied,
            held: self.held,
            masked: self.masked,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            end,
            error,
            policy: who.policy,
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct ActKeys<'a> {
    time: Moment,
    act: &'a str,
    who: &'a str,
    uid: Option<u32>,
    target: Option<&'a str>,
    reason: Option<&'a str>,
}

impl Serialize for ActView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ActKeys {
            time: Moment(self.act.time),
            act: &self.act.act,
            who: &self.act.who,
            uid: self.act.uid,
            target: self.act.target.as_deref(),
            reason: self.act.reason.as_deref(),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests;

//! What people are shown: an operation with its outcome and its session, and a session whole.
//!
//! The keys are a contract with scripts. Those that nothing fills yet are there all the same:
//! `approver` is null, `masked` and `disclosed` are empty, `held` is zero. Beyond the contract:
//! `parameters`, `attributes`, `mode`, `policy`, and for processes `cgroup`, `provenance`,
//! `argv_cut`, `exited`. Times are RFC 3339 in UTC with microseconds; `start` of a process is a
//! number, nanoseconds since boot, because that is what makes a pid unique.
use crate::record::StoredOperation;
use gateway_core::{
    Attribute, Destination, Mode, OperationOutcome, Parameter, Principal, Process, SessionClosed,
    SessionId, SessionOpened, Timestamp, TreeId, VerbSet,
};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// An operation with what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationView {
    /// The number of its record.
    pub sequence: u64,
    /// The operation.
    pub operation: StoredOperation,
    /// How it was answered; `None` while it is not, when it was refused, and when the daemon did
    /// not live to see it.
    pub outcome: Option<OperationOutcome>,
    /// Its session; `None` when that record is lost.
    pub session: Option<Arc<SessionOpened>>,
}

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
    /// How many of them were denied.
    pub denied: u64,
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
        self.bytes_up = closed.bytes_up;
        self.bytes_down = closed.bytes_down;
        self.ending = SessionEnding::Closed(closed);
    }
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
}

impl<'a> From<&'a Destination> for DestinationKeys<'a> {
    fn from(destination: &'a Destination) -> Self {
        DestinationKeys {
            ip: destination.ip.to_string(),
            port: destination.port,
            host: destination.host.as_deref(),
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

struct Empty;

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
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
    principal: PrincipalKeys<'a>,
    delegates: Vec<PrincipalKeys<'a>>,
    process: Option<ProcessKeys<'a>>,
    lineage: Vec<ProcessKeys<'a>>,
    cgroup: Option<&'a str>,
    rows: Option<u64>,
    bytes_up: Option<u64>,
    bytes_down: Option<u64>,
    masked: Empty,
    disclosed: [&'a str; 0],
    duration_ms: Option<f64>,
    error: Option<&'a str>,
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
            verdict: operation.verdict.name(),
            rule: operation.rule.as_deref(),
            message: operation.message.as_deref(),
            approver: None,
            principal: who.principal,
            delegates: who.delegates,
            cgroup: who.process.as_ref().map(|process| process.cgroup),
            process: who.process,
            lineage: who.lineage,
            rows: outcome.and_then(|outcome| outcome.rows),
            bytes_up: outcome.map(|outcome| outcome.bytes_up),
            bytes_down: outcome.map(|outcome| outcome.bytes_down),
            masked: Empty,
            disclosed: [],
            duration_ms: outcome.map(|outcome| milliseconds(operation.time, outcome.time)),
            error: outcome.and_then(|outcome| outcome.error.as_deref()),
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
            held: 0,
            masked: 0,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            end,
            error,
            policy: who.policy,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests;

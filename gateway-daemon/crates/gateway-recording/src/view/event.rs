//! One moment of a session, for those who watch it again.
//!
//! The keys `time, event, record, session, seq` are those of all; `event` says which others there
//! are. `record` is the number of the record, behind which another question can go on.
use super::{
    AttributeKeys, DestinationKeys, LOST, Moment, PrincipalKeys, ProcessKeys, Who, by_field,
    objects,
};
use crate::record::{Record, RecordKind, StoredOperation};
use gateway_core::{
    AnswerPart, AnswerRecord, Mode, OperationId, OperationOutcome, Parameter, Resolution,
    SessionClosed, SessionId, SessionOpened, Timestamp, TreeId, VerbSet,
};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something that happened in a session.
#[derive(Clone, Debug, PartialEq)]
pub struct EventView {
    /// The number of its record; `None`: no record says it.
    pub sequence: Option<u64>,
    /// The session.
    pub session: SessionId,
    /// What happened.
    pub event: Event,
}

/// What happened in a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It began.
    Opened(Arc<SessionOpened>),
    /// An operation was decided.
    Operation(StoredOperation),
    /// A human answered, or nobody did.
    Resolution(Resolution),
    /// A part of an answer came back.
    Answer(AnswerRecord),
    /// An answer was whole.
    Outcome(OperationOutcome),
    /// It ended.
    Closed(SessionClosed),
    /// It ended with the daemon that served it.
    Lost {
        /// When the next daemon began; `None`: none has since.
        before: Option<Timestamp>,
    },
}

impl EventView {
    /// What a record says of its session; `None`: it is the daemon's own.
    pub(crate) fn of(record: Record) -> Option<EventView> {
        let session = record.kind.session()?;
        let event = match record.kind {
            RecordKind::SessionOpened(opened) => Event::Opened(opened),
            RecordKind::Operation(operation) => Event::Operation(operation),
            RecordKind::Resolution(resolution) => Event::Resolution(resolution),
            RecordKind::Answer(answer) => Event::Answer(answer),
            RecordKind::Outcome(outcome) => Event::Outcome(outcome),
            RecordKind::SessionClosed(closed) => Event::Closed(closed),
            RecordKind::Note(_) | RecordKind::Act(_) => return None,
        };
        Some(EventView {
            sequence: Some(record.sequence),
            session,
            event,
        })
    }

    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        match &self.event {
            Event::Opened(opened) => Some(opened.time),
            Event::Operation(operation) => Some(operation.time),
            Event::Resolution(resolution) => Some(resolution.time),
            Event::Answer(answer) => Some(answer.time),
            Event::Outcome(outcome) => Some(outcome.time),
            Event::Closed(closed) => Some(closed.time),
            Event::Lost { before } => *before,
        }
    }

    /// The operation that it is about.
    fn id(&self) -> Option<OperationId> {
        match &self.event {
            Event::Operation(operation) => Some(operation.id),
            Event::Resolution(resolution) => Some(resolution.id),
            Event::Answer(answer) => Some(answer.id),
            Event::Outcome(outcome) => Some(outcome.id),
            Event::Opened(_) | Event::Closed(_) | Event::Lost { .. } => None,
        }
    }
}

#[derive(Serialize)]
struct Keys<'a> {
    time: Option<Moment>,
    event: &'static str,
    record: Option<u64>,
    session: SessionId,
    seq: Option<u32>,
    #[serde(flatten)]
    more: More<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum More<'a> {
    Opened(OpenedKeys<'a>),
    Operation(Box<OperationKeys<'a>>),
    Resolution(ResolutionKeys<'a>),
    Columns {
        columns: &'a [Arc<str>],
    },
    Values {
        values: &'a [Vec<Option<String>>],
    },
    Text {
        text: &'a str,
    },
    Cut {
        cut: CutKeys,
    },
    Outcome(OutcomeKeys<'a>),
    Closed(ClosedKeys<'a>),
    Lost {
        end: &'static str,
        error: &'static str,
    },
}

#[derive(Serialize)]
struct OpenedKeys<'a> {
    tree: Option<TreeId>,
    destination: Option<DestinationKeys<'a>>,
    principal: PrincipalKeys<'a>,
    delegates: Vec<PrincipalKeys<'a>>,
    process: Option<ProcessKeys<'a>>,
    lineage: Vec<ProcessKeys<'a>>,
    policy: Option<&'a str>,
}

#[derive(Serialize)]
struct OperationKeys<'a> {
    protocol: &'a str,
    verb: &'static str,
    verbs: Vec<&'static str>,
    resource: &'a str,
    objects: Vec<&'a str>,
    statement: &'a str,
    /// As it was decided: `hold` of what was held.
    verdict: &'static str,
    rule: Option<&'a str>,
    message: Option<&'a str>,
    parameters: &'a [Parameter],
    attributes: AttributeKeys<'a>,
    mode: Mode,
}

#[derive(Serialize)]
struct ResolutionKeys<'a> {
    verdict: &'static str,
    approver: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct CutKeys {
    rows: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct OutcomeKeys<'a> {
    rows: Option<u64>,
    bytes_up: u64,
    bytes_down: u64,
    masked: BTreeMap<&'a str, u64>,
    disclosed: Vec<&'a str>,
    error: Option<&'a str>,
    disclosed_rows: BTreeMap<&'a str, u64>,
}

#[derive(Serialize)]
struct ClosedKeys<'a> {
    protocol: &'a str,
    resource: &'a str,
    operations: u64,
    denied: u64,
    held: u64,
    masked: u64,
    bytes_up: u64,
    bytes_down: u64,
    end: &'static str,
    error: Option<&'a str>,
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Event::Opened(_) => "opened",
            Event::Operation(_) => "operation",
            Event::Resolution(_) => "resolution",
            Event::Answer(_) => "answer",
            Event::Outcome(_) => "outcome",
            Event::Closed(_) | Event::Lost { .. } => "closed",
        }
    }

    fn more(&self) -> More<'_> {
        match self {
            Event::Opened(opened) => More::Opened(opened_keys(opened)),
            Event::Operation(operation) => More::Operation(Box::new(operation_keys(operation))),
            Event::Resolution(resolution) => More::Resolution(ResolutionKeys {
                verdict: resolution.verdict.name(),
                approver: resolution.approver.as_deref(),
                reason: resolution.reason.as_deref(),
            }),
            Event::Answer(answer) => match &answer.part {
                AnswerPart::Columns(columns) => More::Columns { columns },
                AnswerPart::Rows(values) => More::Values { values },
                AnswerPart::Text(text) => More::Text { text },
                AnswerPart::Cut { rows, bytes } => More::Cut {
                    cut: CutKeys {
                        rows: *rows,
                        bytes: *bytes,
                    },
                },
            },
            Event::Outcome(outcome) => More::Outcome(outcome_keys(outcome)),
            Event::Closed(closed) => More::Closed(closed_keys(closed)),
            Event::Lost { .. } => More::Lost {
                end: "error",
                error: LOST,
            },
        }
    }
}

fn opened_keys(opened: &SessionOpened) -> OpenedKeys<'_> {
    let who = Who::of(Some(opened));
    OpenedKeys {
        tree: who.tree,
        destination: who.destination,
        principal: who.principal,
        delegates: who.delegates,
        process: who.process,
        lineage: who.lineage,
        policy: who.policy,
    }
}

fn operation_keys(operation: &StoredOperation) -> OperationKeys<'_> {
    let verbs: VerbSet = operation.effects.iter().map(|effect| effect.verb).collect();
    OperationKeys {
        protocol: &operation.protocol,
        verb: operation.verb.name(),
        verbs: verbs.iter().map(gateway_core::Verb::name).collect(),
        resource: &operation.resource,
        objects: objects(operation),
        statement: &operation.statement,
        verdict: operation.verdict.name(),
        rule: operation.rule.as_deref(),
        message: operation.message.as_deref(),
        parameters: &operation.parameters,
        attributes: AttributeKeys(&operation.attributes),
        mode: operation.mode,
    }
}

fn outcome_keys(outcome: &OperationOutcome) -> OutcomeKeys<'_> {
    let disclosed_rows = by_field(Some(&outcome.disclosed));
    OutcomeKeys {
        rows: outcome.rows,
        bytes_up: outcome.bytes_up,
        bytes_down: outcome.bytes_down,
        masked: by_field(Some(&outcome.masked)),
        disclosed: disclosed_rows.keys().copied().collect(),
        error: outcome.error.as_deref(),
        disclosed_rows,
    }
}

fn closed_keys(closed: &SessionClosed) -> ClosedKeys<'_> {
    ClosedKeys {
        protocol: &closed.protocol,
        resource: &closed.resource,
        operations: closed.operations,
        denied: closed.denied,
        held: closed.held,
        masked: closed.masked,
        bytes_up: closed.bytes_up,
        bytes_down: closed.bytes_down,
        end: closed.end.name(),
        error: closed.error.as_deref(),
    }
}

impl Serialize for EventView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Keys {
            time: self.time().map(Moment),
            event: self.event.name(),
            record: self.sequence,
            session: self.session,
            seq: self.id().map(|id| id.seq),
            more: self.event.more(),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests;

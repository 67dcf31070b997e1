//! The payload of a record: postcard, written from borrowed values and read back as owned ones.
//!
//! Most records are stored as gateway-core declares them; a test pins their bytes, so that a
//! change there cannot pass unseen. Operations have a form of their own here, because attributes
//! are an untagged enum, which a format without field names cannot read back. What an older
//! version of the format stored otherwise has a form of its own in `stored/older.rs`.
mod older;

use crate::record::{Act, Note, NoteKind, RecordKind, StoredOperation};
use gateway_core::{
    AnswerRecord, Attribute, Effect, Mode, OperationId, OperationOutcome, OperationRecord,
    Parameter, Resolution, SessionClosed, SessionId, SessionOpened, Timestamp, Verb, Verdict,
};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize, Serializer};
use std::sync::Arc;

/// The first byte of what a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    SessionOpened = 1,
    Operation = 2,
    Outcome = 3,
    SessionClosed = 4,
    Note = 5,
    Resolution = 6,
    Act = 7,
    Answer = 8,
}

/// Appends to a vector in whole slices; postcard's own flavor for that goes byte by byte.
struct Appending<'a>(&'a mut Vec<u8>);

impl Flavor for Appending<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Replaces the content of `buffer` by the kind and the payload of a record.
pub(crate) fn encode<T: Serialize>(
    buffer: &mut Vec<u8>,
    tag: Tag,
    value: &T,
) -> Result<(), postcard::Error> {
    buffer.clear();
    buffer.push(tag as u8);
    postcard::serialize_with_flavor(value, Appending(buffer))
}

/// Reads what [`encode`] wrote in a version of the format.
pub(crate) fn decode(version: u32, body: &[u8]) -> Result<RecordKind, String> {
    let (tag, payload) = body.split_first().ok_or("it is empty")?;
    let kind = match *tag {
        tag if tag == Tag::SessionOpened as u8 => {
            RecordKind::SessionOpened(Arc::new(whole::<SessionOpened>(payload)?))
        }
        tag if tag == Tag::Operation as u8 => {
            RecordKind::Operation(whole::<OperationRead>(payload)?.into())
        }
        tag if tag == Tag::Outcome as u8 => RecordKind::Outcome(match version {
            1 | 2 => whole::<older::Outcome2>(payload)?.into(),
            _ => whole::<OperationOutcome>(payload)?,
        }),
        tag if tag == Tag::SessionClosed as u8 => RecordKind::SessionClosed(match version {
            1 => whole::<older::SessionClosed1>(payload)?.into(),
            2 => whole::<older::SessionClosed2>(payload)?.into(),
            _ => whole::<SessionClosed>(payload)?,
        }),
        tag if tag == Tag::Note as u8 => RecordKind::Note(whole::<Note>(payload)?),
        tag if tag == Tag::Resolution as u8 => {
            RecordKind::Resolution(whole::<Resolution>(payload)?)
        }
        tag if tag == Tag::Act as u8 => RecordKind::Act(whole::<Act>(payload)?),
        tag if tag == Tag::Answer as u8 => RecordKind::Answer(whole::<AnswerRecord>(payload)?),
        other => return Err(format!("kind {other} is not known here")),
    };
    Ok(kind)
}

/// The beginnings of records: enough to know what they are about. Each is the first fields of
/// what is stored, which in postcard is the first of its bytes, in every version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brief<'a> {
    SessionOpened(SessionBrief),
    Operation(OperationBrief<'a>),
    Outcome(OutcomeBrief),
    SessionClosed(SessionBrief),
    Note(NoteBrief),
    Resolution(ResolutionBrief),
    Act(ActBrief),
    Answer(AnswerBrief),
}

/// The beginning of both records of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct SessionBrief {
    pub(crate) session: SessionId,
    pub(crate) time: Timestamp,
}

/// The beginning of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct OperationBrief<'a> {
    pub(crate) id: OperationId,
    pub(crate) time: Timestamp,
    pub(crate) verdict: Verdict,
    pub(crate) mode: Mode,
    pub(crate) verb: Verb,
    pub(crate) protocol: &'a str,
    pub(crate) resource: &'a str,
}

/// The beginning of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct OutcomeBrief {
    pub(crate) id: OperationId,
    pub(crate) time: Timestamp,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
}

/// The beginning of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct NoteBrief {
    pub(crate) time: Timestamp,
    pub(crate) kind: NoteKind,
}

/// The beginning of a resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct ResolutionBrief {
    pub(crate) id: OperationId,
    pub(crate) time: Timestamp,
    pub(crate) verdict: Verdict,
}

/// The beginning of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct ActBrief {
    pub(crate) time: Timestamp,
}

/// The beginning of a part of an answer. Parts are many and large, and most questions are not
/// about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct AnswerBrief {
    pub(crate) id: OperationId,
    pub(crate) time: Timestamp,
}

impl Brief<'_> {
    /// When it happened.
    pub(crate) fn time(&self) -> Timestamp {
        match self {
            Brief::SessionOpened(brief) | Brief::SessionClosed(brief) => brief.time,
            Brief::Operation(brief) => brief.time,
            Brief::Outcome(brief) => brief.time,
            Brief::Note(brief) => brief.time,
            Brief::Resolution(brief) => brief.time,
            Brief::Act(brief) => brief.time,
            Brief::Answer(brief) => brief.time,
        }
    }

    /// The session it belongs to, unless it is the daemon's own.
    pub(crate) fn session(&self) -> Option<SessionId> {
        match self {
            Brief::SessionOpened(brief) | Brief::SessionClosed(brief) => Some(brief.session),
            Brief::Operation(brief) => Some(brief.id.session),
            Brief::Outcome(brief) => Some(brief.id.session),
            Brief::Resolution(brief) => Some(brief.id.session),
            Brief::Answer(brief) => Some(brief.id.session),
            Brief::Note(_) | Brief::Act(_) => None,
        }
    }

    /// Did a daemon begin here, and so end what was open?
    pub(crate) fn is_boundary(&self) -> bool {
        matches!(self, Brief::Note(note) if note.kind == NoteKind::Opened)
    }
}

/// Reads the beginning of what [`encode`] wrote.
pub(crate) fn brief(body: &[u8]) -> Result<Brief<'_>, String> {
    let (tag, payload) = body.split_first().ok_or("it is empty")?;
    match *tag {
        tag if tag == Tag::SessionOpened as u8 => start(payload).map(Brief::SessionOpened),
        tag if tag == Tag::Operation as u8 => start(payload).map(Brief::Operation),
        tag if tag == Tag::Outcome as u8 => start(payload).map(Brief::Outcome),
        tag if tag == Tag::SessionClosed as u8 => start(payload).map(Brief::SessionClosed),
        tag if tag == Tag::Note as u8 => start(payload).map(Brief::Note),
        tag if tag == Tag::Resolution as u8 => start(payload).map(Brief::Resolution),
        tag if tag == Tag::Act as u8 => start(payload).map(Brief::Act),
        tag if tag == Tag::Answer as u8 => start(payload).map(Brief::Answer),
        other => Err(format!("kind {other} is not known here")),
    }
}

fn start<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, String> {
    match postcard::take_from_bytes(payload) {
        Ok((value, _)) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

fn whole<'de, T: Deserialize<'de>>(payload: &'de [u8]) -> Result<T, String> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// How an operation is written: what [`OperationBrief`] needs comes first.
#[derive(Serialize)]
pub(crate) struct OperationWritten<'a> {
    id: OperationId,
    time: Timestamp,
    verdict: Verdict,
    mode: Mode,
    verb: Verb,
    protocol: &'a str,
    resource: &'a str,
    rule: Option<&'a str>,
    message: Option<&'a str>,
    effects: &'a [Effect],
    statement: &'a str,
    parameters: &'a [Parameter],
    attributes: Attributes<'a>,
}

struct Attributes<'a>(&'a [(Arc<str>, Attribute)]);

#[derive(Serialize, Deserialize)]
enum Tagged<T> {
    Bool(bool),
    Int(i64),
    Text(T),
}

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(name, value)| {
            let value = match value {
                Attribute::Bool(value) => Tagged::Bool(*value),
                Attribute::Int(value) => Tagged::Int(*value),
                Attribute::Text(value) => Tagged::Text(&**value),
            };
            (&**name, value)
        }))
    }
}

impl<'a> From<&OperationRecord<'a>> for OperationWritten<'a> {
    fn from(record: &OperationRecord<'a>) -> Self {
        OperationWritten {
            id: record.id,
            time: record.time,
            verdict: record.verdict,
            mode: record.mode,
            verb: record.verb,
            protocol: record.protocol,
            resource: record.resource,
            rule: record.rule,
            message: record.message,
            effects: record.effects,
            statement: record.statement,
            parameters: record.parameters,
            attributes: Attributes(record.attributes),
        }
    }
}

/// How an operation is read.
#[derive(Deserialize)]
struct OperationRead {
    id: OperationId,
    time: Timestamp,
    verdict: Verdict,
    mode: Mode,
    verb: Verb,
    protocol: Arc<str>,
    resource: Arc<str>,
    rule: Option<Arc<str>>,
    message: Option<Arc<str>>,
    effects: Vec<Effect>,
    statement: String,
    parameters: Vec<Parameter>,
    attributes: Vec<(Arc<str>, Tagged<Arc<str>>)>,
}

impl From<OperationRead> for StoredOperation {
    fn from(read: OperationRead) -> Self {
        let plain = |value| match value {
            Tagged::Bool(value) => Attribute::Bool(value),
            Tagged::Int(value) => Attribute::Int(value),
            Tagged::Text(value) => Attribute::Text(value),
        };
        StoredOperation {
            id: read.id,
            time: read.time,
            protocol: read.protocol,
            verb: read.verb,
            effects: read.effects,
            resource: read.resource,
            statement: read.statement,
            parameters: read.parameters,
            attributes: read
                .attributes
                .into_iter()
                .map(|(n, v)| (n, plain(v)))
                .collect(),
            verdict: read.verdict,
            mode: read.mode,
            rule: read.rule,
            message: read.message,
        }
    }
}

#[cfg(test)]
mod tests;

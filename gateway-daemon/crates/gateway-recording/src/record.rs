//! Records as they are read back: owned, and in the words of gateway-core.
use crate::reader::Position;
use gateway_core::{
    AnswerRecord, Attribute, Effect, Mode, OperationId, OperationOutcome, Parameter, Resolution,
    SessionClosed, SessionId, SessionOpened, Timestamp, Verb, Verdict,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// One record of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where it begins.
    pub position: Position,
    /// Its number: one more than that of the record before.
    pub sequence: u64,
    /// What it says.
    pub kind: RecordKind,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordKind {
    /// A connection was taken over.
    SessionOpened(Arc<SessionOpened>),
    /// An operation was decided.
    Operation(StoredOperation),
    /// An operation was answered.
    Outcome(OperationOutcome),
    /// A connection ended.
    SessionClosed(SessionClosed),
    /// The daemon has something to say about itself.
    Note(Note),
    /// An operation that was held is held no more.
    Resolution(Resolution),
    /// Somebody did something to the gateway itself.
    Act(Act),
    /// A part of what came back for an operation.
    Answer(AnswerRecord),
}

impl RecordKind {
    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        match self {
            RecordKind::SessionOpened(record) => record.time,
            RecordKind::Operation(record) => record.time,
            RecordKind::Outcome(record) => record.time,
            RecordKind::SessionClosed(record) => record.time,
            RecordKind::Note(record) => record.time,
            RecordKind::Resolution(record) => record.time,
            RecordKind::Act(record) => record.time,
            RecordKind::Answer(record) => record.time,
        }
    }

    /// The session it belongs to, unless it is the daemon's own.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match self {
            RecordKind::SessionOpened(record) => Some(record.session),
            RecordKind::Operation(record) => Some(record.id.session),
            RecordKind::Outcome(record) => Some(record.id.session),
            RecordKind::SessionClosed(record) => Some(record.session),
            RecordKind::Resolution(record) => Some(record.id.session),
            RecordKind::Answer(record) => Some(record.id.session),
            RecordKind::Note(_) | RecordKind::Act(_) => None,
        }
    }
}

/// An operation as it was decided: [`gateway_core::OperationRecord`], owned.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredOperation {
    /// Which one.
    pub id: OperationId,
    /// When it was decided.
    pub time: Timestamp,
    /// The protocol it came by.
    pub protocol: Arc<str>,
    /// The verb that people would name it by.
    pub verb: Verb,
    /// Everything it does.
    pub effects: Vec<Effect>,
    /// The catalogue name of the destination, or `host:port`.
    pub resource: Arc<str>,
    /// Its text.
    pub statement: String,
    /// Its bind values.
    pub parameters: Vec<Parameter>,
    /// What the protocol adds.
    pub attributes: Vec<(Arc<str>, Attribute)>,
    /// What the rules said.
    pub verdict: Verdict,
    /// How the policy was applied.
    pub mode: Mode,
    /// The rule that decided.
    pub rule: Option<Arc<str>>,
    /// What the rule said to the client.
    pub message: Option<Arc<str>>,
}

impl StoredOperation {
    /// Was it stopped when it was decided? Then no outcome will ever follow. One that was held
    /// is not: what came of it is in another record, and in [`OperationView`].
    ///
    /// [`OperationView`]: crate::OperationView
    #[must_use]
    pub fn was_refused(&self) -> bool {
        was_refused(self.verdict, self.mode)
    }

    /// Was a human asked about it? A resolution follows then.
    #[must_use]
    pub fn was_held(&self) -> bool {
        was_held(self.verdict, self.mode)
    }
}

/// Observe and shadow let everything pass.
pub(crate) fn was_refused(verdict: Verdict, mode: Mode) -> bool {
    let denied = matches!(verdict, Verdict::Deny | Verdict::Denied | Verdict::Expired);
    denied && mode == Mode::Enforce
}

/// Observe and shadow ask nobody.
pub(crate) fn was_held(verdict: Verdict, mode: Mode) -> bool {
    verdict == Verdict::Hold && mode == Mode::Enforce
}

/// How much of each text of an [`Act`] and of a [`Resolution`] is kept, in bytes.
pub const TEXT_MAX: usize = 4096;
/// Stands at the end of a text that was cut.
const CUT: &str = "\u{2026}";

/// Somebody did something to the gateway itself: answered a question, ended a session, brought
/// policies into force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When.
    pub time: Timestamp,
    /// What: `approve`, `deny`, `kill`, `revoke`, `reload` …
    pub act: Arc<str>,
    /// The principal who did it: `user:alice@acme.com`, `local:root`.
    pub who: Arc<str>,
    /// The uid of the process that asked for it; `None` when it did not come by the socket.
    pub uid: Option<u32>,
    /// What it was done to: an operation, a session, a tree, a principal.
    pub target: Option<Arc<str>>,
    /// Why, in their words.
    pub reason: Option<Arc<str>>,
}

impl Act {
    /// The same, with each text cut to [`TEXT_MAX`] bytes. What was cut ends in `…`.
    pub(crate) fn bounded(&self) -> Act {
        Act {
            time: self.time,
            act: bounded(&self.act),
            who: bounded(&self.who),
            uid: self.uid,
            target: self.target.as_ref().map(bounded),
            reason: self.reason.as_ref().map(bounded),
        }
    }
}

/// The same, with each text cut as those of an [`Act`] are.
pub(crate) fn bounded_resolution(resolution: &Resolution) -> Resolution {
    Resolution {
        id: resolution.id,
        time: resolution.time,
        verdict: resolution.verdict,
        approver: resolution.approver.as_ref().map(bounded),
        reason: resolution.reason.as_ref().map(bounded),
    }
}

fn bounded(text: &Arc<str>) -> Arc<str> {
    if text.len() <= TEXT_MAX {
        return Arc::clone(text);
    }
    let end = text.floor_char_boundary(TEXT_MAX - CUT.len());
    let kept = text.get(..end).unwrap_or_default();
    format!("{kept}{CUT}").into()
}

/// What the daemon says about itself between the records of sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    pub time: Timestamp,
    /// Of which kind.
    pub kind: NoteKind,
    /// In words.
    pub text: String,
}

/// The kind of a [`Note`]. New ones are added at the end, which is another format version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteKind {
    /// The journal was opened for writing. Written by the journal itself; sessions that are open
    /// before it ended with the daemon that served them.
    Opened,
    /// The daemon began its work.
    Start,
    /// The daemon ended its work.
    Stop,
    /// Something was cut or found damaged when the journal was opened. Written by the journal.
    Recovered,
    /// Something went on unseen: events of the kernel were lost here, or connections from before
    /// their process was governed were left.
    Gap,
    /// Other policies came into force, or were rejected.
    Policy,
}

impl NoteKind {
    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            NoteKind::Opened => "opened",
            NoteKind::Start => "start",
            NoteKind::Stop => "stop",
            NoteKind::Recovered => "recovered",
            NoteKind::Gap => "gap",
            NoteKind::Policy => "policy",
        }
    }
}

impl fmt::Display for NoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

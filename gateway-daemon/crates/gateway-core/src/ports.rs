//! What the governor needs from others. Each port is named for its role.
use crate::answer::AnswerRecord;
use crate::destination::Destination;
use crate::id::OperationId;
use crate::operation::{Attribute, Operation, Parameter};
use crate::record::{OperationOutcome, OperationRecord, Resolution, SessionClosed, SessionOpened};
use crate::subject::Subject;
use crate::terms::LinkTerms;
use crate::time::Timestamp;
use crate::verb::Verb;
use crate::verdict::{Decision, HoldTerms, Verdict};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Everything a decision may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The name of the policy that the tree is under.
    pub policy: &'a str,
    /// Who asks.
    pub subject: &'a Subject,
    /// Where it goes.
    pub destination: &'a Destination,
    /// What is asked.
    pub operation: &'a Operation<'a>,
}

/// Decides. A pure function of the case and of the policies in force.
pub trait Judge: Send + Sync {
    /// Changes with each reload. Decisions of another generation are not to be reused.
    fn generation(&self) -> u64;

    /// Decides one case. A policy that is not there, or an error inside, is a denial.
    fn decide(&self, case: &Case<'_>) -> Decision;

    /// How the way to a destination is to be, under the policy of this name. Asked when `connect`
    /// was cleared.
    fn terms(&self, policy: &str, destination: &Destination) -> Arc<LinkTerms>;
}

/// Nothing could be written. What was to be recorded must not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("recording failed: {0}")]
pub struct RecordError(pub Arc<str>);

/// Keeps what happened. When a call returns `Ok`, the record survives the death of this process.
pub trait Recorder: Send + Sync {
    /// A connection was taken over.
    ///
    /// # Errors
    /// The record could not be kept; the session must be refused.
    fn session_opened(&self, record: &SessionOpened) -> Result<(), RecordError>;

    /// An operation was decided. Called before its first byte goes upstream.
    ///
    /// # Errors
    /// The record could not be kept; the operation must be refused.
    fn operation(&self, record: &OperationRecord<'_>) -> Result<(), RecordError>;

    /// An operation that was held was approved, denied, or nobody answered. Called before its
    /// first byte goes upstream.
    ///
    /// # Errors
    /// The record could not be kept; the operation must be refused.
    fn resolution(&self, record: &Resolution) -> Result<(), RecordError>;

    /// A part of what came back for an operation that was let through, where the policy wants it
    /// kept. Called before its outcome, in the order in which the client got it.
    ///
    /// # Errors
    /// The record could not be kept; the session must end.
    fn answer(&self, record: &AnswerRecord) -> Result<(), RecordError>;

    /// An operation was answered.
    ///
    /// # Errors
    /// The record could not be kept; the session must end.
    fn outcome(&self, record: &OperationOutcome) -> Result<(), RecordError>;

    /// A connection ended.
    ///
    /// # Errors
    /// The record could not be kept.
    fn session_closed(&self, record: &SessionClosed) -> Result<(), RecordError>;
}

/// What a human is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The operation that waits.
    pub id: OperationId,
    /// Since when.
    pub time: Timestamp,
    /// Who asks.
    pub subject: Arc<Subject>,
    /// The catalogue name of the destination, or `host:port`.
    pub resource: Arc<str>,
    /// The protocol it came by.
    pub protocol: &'static str,
    /// The verb that people would name it by.
    pub verb: Verb,
    /// What it touches, by name; the first [`QUESTION_OBJECTS_MAX`].
    pub objects: Vec<Arc<str>>,
    /// It touches more than that.
    pub objects_cut: bool,
    /// Its text, cut to [`QUESTION_STATEMENT_MAX`] bytes.
    pub statement: Arc<str>,
    /// The whole length in bytes of a text that was cut.
    pub statement_cut_from: Option<u64>,
    /// Bind values, without which a text with `$1` in it says nothing.
    pub parameters: Vec<Parameter>,
    /// What the protocol adds.
    pub attributes: Vec<(Arc<str>, Attribute)>,
    /// What the rule says to the client.
    pub message: Option<Arc<str>>,
    /// Who may answer, and until when.
    pub terms: Arc<HoldTerms>,
}

/// How much of a statement a question shows. All of it is in the record.
pub const QUESTION_STATEMENT_MAX: usize = 16 * 1024;

/// How many objects a question shows.
pub const QUESTION_OBJECTS_MAX: usize = 64;

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// [`Verdict::Approved`], [`Verdict::Denied`] or [`Verdict::Expired`].
    pub verdict: Verdict,
    /// Who answered.
    pub approver: Option<Arc<str>>,
    /// Why, in their words.
    pub reason: Option<Arc<str>>,
}

/// Resolves when a question is answered. Dropping it withdraws the question.
pub type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Brings questions before humans.
pub trait Approver: Send + Sync {
    /// Asks. Answered at once when an earlier approval reaches this far, or when nobody can be
    /// asked. It must not block.
    fn ask(&self, question: Question) -> Answering;
}

/// Nobody can be asked: whatever is held is denied.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoApprover;

impl Approver for NoApprover {
    fn ask(&self, _: Question) -> Answering {
        Box::pin(std::future::ready(Answer {
            verdict: Verdict::Denied,
            approver: None,
            reason: Some("nobody can be asked".into()),
        }))
    }
}

//! What the governor needs from others. Each port is named for its role.
use crate::destination::Destination;
use crate::operation::Operation;
use crate::record::{OperationOutcome, OperationRecord, SessionClosed, SessionOpened};
use crate::subject::Subject;
use crate::verdict::Decision;
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

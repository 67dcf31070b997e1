//! What is written down. The recorder stores these; the command line joins them again.
use crate::destination::Destination;
use crate::id::{OperationId, SessionId};
use crate::mask::FieldCounts;
use crate::operation::{Attribute, Effect, Parameter};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::verb::Verb;
use crate::verdict::{Mode, Verdict};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A connection was taken over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionOpened {
    /// The session.
    pub session: SessionId,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub subject: Arc<Subject>,
    /// Where it goes.
    pub destination: Destination,
    /// The policy that the tree is under.
    pub policy: Arc<str>,
}

/// An operation was decided. Borrowed, since it is written on the hot path.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OperationRecord<'a> {
    /// Which one.
    pub id: OperationId,
    /// When it was decided.
    pub time: Timestamp,
    /// The protocol it came by.
    pub protocol: &'a str,
    /// The verb that people would name it by.
    pub verb: Verb,
    /// Everything it does.
    pub effects: &'a [Effect],
    /// The catalogue name of the destination, or `host:port`.
    pub resource: &'a str,
    /// Its text.
    pub statement: &'a str,
    /// Its bind values.
    pub parameters: &'a [Parameter],
    /// What the protocol adds.
    pub attributes: &'a [(Arc<str>, Attribute)],
    /// What the rules said.
    pub verdict: Verdict,
    /// How the policy was applied: a `deny` outside of enforce did not stop it.
    pub mode: Mode,
    /// The rule that decided.
    pub rule: Option<&'a str>,
    /// What the rule said to the client.
    pub message: Option<&'a str>,
}

/// An operation that was held is held no more. Sent once per operation with [`Verdict::Hold`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Which one.
    pub id: OperationId,
    /// When.
    pub time: Timestamp,
    /// Approved, denied or expired.
    pub verdict: Verdict,
    /// Who answered.
    pub approver: Option<Arc<str>>,
    /// Why, in their words; or what else ended the wait.
    pub reason: Option<Arc<str>>,
}

/// An operation was answered. Sent once per operation that was let through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationOutcome {
    /// Which one.
    pub id: OperationId,
    /// When the last byte of its answer came.
    pub time: Timestamp,
    /// Rows returned or changed, where the protocol says.
    pub rows: Option<u64>,
    /// Bytes of the request.
    pub bytes_up: u64,
    /// Bytes of the answer.
    pub bytes_down: u64,
    /// The upstream's error, when it answered with one.
    pub error: Option<Arc<str>>,
    /// How many values were covered, by field.
    pub masked: FieldCounts,
    /// In how many rows sensitive fields were returned in the clear, by field.
    pub disclosed: FieldCounts,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionEnd {
    /// The client closed.
    Client,
    /// The upstream closed.
    Upstream,
    /// The policy did not let it begin.
    Denied,
    /// Somebody ended it: `gateway kill`, a drain, a limit.
    Killed,
    /// It failed.
    Error,
}

impl SessionEnd {
    /// The name used in output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SessionEnd::Client => "client",
            SessionEnd::Upstream => "upstream",
            SessionEnd::Denied => "denied",
            SessionEnd::Killed => "killed",
            SessionEnd::Error => "error",
        }
    }
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A connection ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionClosed {
    /// The session.
    pub session: SessionId,
    /// When.
    pub time: Timestamp,
    /// What was spoken: `postgres`, `opaque`; empty when it ended before that was known.
    pub protocol: Arc<str>,
    /// The catalogue name of the destination at the end.
    pub resource: Arc<str>,
    /// How many operations were asked for.
    pub operations: u64,
    /// How many of them were denied.
    pub denied: u64,
    /// How many of them were held.
    pub held: u64,
    /// How many values of their answers were covered.
    pub masked: u64,
    /// Bytes from the client.
    pub bytes_up: u64,
    /// Bytes to the client.
    pub bytes_down: u64,
    /// Why it ended.
    pub end: SessionEnd,
    /// What went wrong, when something did.
    pub error: Option<Arc<str>>,
}

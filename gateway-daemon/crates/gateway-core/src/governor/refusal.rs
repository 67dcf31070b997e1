//! What stands between an operation and its clearance, in words for people.
use crate::id::OperationId;
use crate::ports::Answer;
use crate::verb::Verb;
use crate::verdict::{HoldTerms, Verdict};
use std::fmt;
use std::sync::Arc;

/// Why an operation may not pass. Not an error: an answer, which each protocol words in its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The operation.
    pub id: OperationId,
    /// What it would have done.
    pub verb: Verb,
    /// Where.
    pub resource: Arc<str>,
    /// Why.
    pub reason: RefusalReason,
}

/// The reason of a [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// The policy says no.
    Denied {
        /// The rule that says so; `None` when it is the default.
        rule: Option<Arc<str>>,
        /// What the rule says to the client.
        message: Option<Arc<str>>,
    },
    /// It was held, and a human said no, or nobody said yes.
    NotApproved {
        /// The rules that held it.
        terms: Arc<HoldTerms>,
        /// What came of it.
        answer: Answer,
    },
    /// It could not be recorded.
    Unrecorded,
}

/// What stands between an operation and its [`Clearance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It may not pass.
    Refused(Refusal),
    /// A human is asked. Submit the same operation again when [`Governor::poll_answer`] says so,
    /// and nothing else of this session before.
    Held(Notice),
}

/// What a client may be told while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The operation.
    pub id: OperationId,
    /// The rules that hold it, and for how long.
    pub terms: Arc<HoldTerms>,
    /// What the rule says to the client.
    pub message: Option<Arc<str>>,
    /// It was told before: the operation was submitted again before there was an answer.
    pub again: bool,
}

impl fmt::Display for Notice {
    /// One line for the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("gateway: held ")?;
        write_rules(f, &self.terms)?;
        write!(
            f,
            ": waits up to {} s for approval",
            self.terms.timeout.as_secs()
        )?;
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        write!(f, " (session {})", self.id.session)
    }
}

fn write_rules(f: &mut fmt::Formatter<'_>, terms: &HoldTerms) -> fmt::Result {
    for (index, rule) in terms.rules.iter().enumerate() {
        let before = if index == 0 { "by rule" } else { "," };
        write!(f, "{before} \"{}\"", rule.rule)?;
    }
    Ok(())
}

impl fmt::Display for Refusal {
    /// One line for the client: what was refused, why, and the number to ask the responders about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gateway: {} on {} ", self.verb, self.resource)?;
        match &self.reason {
            RefusalReason::Denied {
                rule: Some(rule), ..
            } => write!(f, "denied by rule \"{rule}\"")?,
            RefusalReason::Denied { rule: None, .. } => f.write_str("denied: no rule allows it")?,
            RefusalReason::NotApproved { terms, answer } => {
                f.write_str("held ")?;
                write_rules(f, terms)?;
                f.write_str(match answer.verdict {
                    Verdict::Expired => ": nobody approved it in time",
                    _ => ": not approved",
                })?;
                if let Some(approver) = &answer.approver {
                    write!(f, " by {approver}")?;
                }
                if let Some(reason) = &answer.reason {
                    write!(f, ": {reason}")?;
                }
            }
            RefusalReason::Unrecorded => {
                f.write_str(
                    "refused: it could not be recorded, and what is not recorded does not happen",
                )?;
            }
        }
        if let RefusalReason::Denied {
            message: Some(message),
            ..
        } = &self.reason
        {
            write!(f, ": {message}")?;
        }
        write!(f, " (session {})", self.id.session)
    }
}

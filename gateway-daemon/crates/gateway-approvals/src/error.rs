//! What can be wrong with an answer, a link, a webhook.
use crate::outcomes::Answered;
use std::sync::Arc;

/// Why somebody may not give an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The caller is part of what is governed.
    #[error("a process inside a governed tree answers no questions")]
    Governed,
    /// The caller is not known with any certainty.
    #[error("only a principal that the kernel or a signature vouches for may answer")]
    Unproven,
    /// The caller is the principal or a delegate of the tree that asks.
    #[error("nobody approves for a tree of their own")]
    OwnTree,
    /// The caller is none of the approvers of a rule that holds the operation.
    #[error("not among the approvers of the rule {rule:?}")]
    NotAnApprover {
        /// The first such rule.
        rule: Arc<str>,
    },
    /// A rule names no approvers.
    #[error("a rule that holds it names nobody who may answer")]
    NoApprovers,
}

/// An answer that does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing of that id waits, and nothing did among the last that ended.
    #[error(
        "no question has the id {0:?} (expected one that `gateway approvals` lists, such as `s0000000000001.4`)"
    )]
    NoSuchQuestion(String),
    /// It has ended before: somebody was faster, its time is over, or the client left.
    #[error("{0}")]
    AlreadyAnswered(Answered),
    /// Not by this caller.
    #[error("not permitted: {0}")]
    NotAllowed(#[from] NotAllowed),
    /// The reason is longer than 1,024 bytes.
    #[error("the reason has {0} bytes (at most 1,024 are kept)")]
    ReasonTooLong(usize),
    /// The reason could deceive whoever reads it in a terminal.
    #[error("the reason has the control character U+{0:04X} (one line of plain text was expected)")]
    ReasonNotPlain(u32),
}

/// A link that does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// This gateway, since it was started, has not signed it; or it was changed on the way.
    #[error("the link is not one of this gateway's, or was cut")]
    Forged,
    /// It was good once.
    #[error("the link is too old: the question has ended")]
    Expired,
}

/// Links cannot be made on this address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url:?} cannot carry links: {fault}")]
pub struct LinksError {
    /// The address.
    pub url: String,
    /// What is wrong, and what was expected.
    pub fault: &'static str,
}

/// A webhook that cannot be. The address is not repeated: for many receivers it is a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Not an address that questions may be sent to.
    #[error("webhook url: {0}")]
    Url(&'static str),
    /// The key that signs is too weak.
    #[error("webhook secret: {0} bytes (at least 16 were expected)")]
    Secret(usize),
}

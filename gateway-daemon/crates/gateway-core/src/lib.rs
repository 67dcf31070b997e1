//! The vocabulary of the gateway, its ports, and the governor that no operation gets around.
//!
//! This crate knows no socket, no clock, no storage, no protocol and no kernel. What it defines is
//! what all others talk in: an [`Operation`] on a [`Destination`] by a [`Subject`], a [`Decision`]
//! about it, and the [`Clearance`] without which no byte goes upstream.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod answer;
pub mod destination;
pub mod governor;
pub mod id;
pub mod inside;
pub mod mask;
pub mod operation;
pub mod ports;
pub mod record;
pub mod subject;
pub mod terms;
pub mod time;
pub mod verb;
pub mod verdict;

pub use answer::{AnswerPart, AnswerRecord, AnswerTerms, Excerpt};
pub use destination::{Claim, Destination};
pub use governor::{Clearance, Governor, Obstacle, Refusal};
pub use id::{OperationId, SessionId, TreeId};
pub use mask::{Mask, Masker, Masks};
pub use operation::{Attribute, DATAGRAMS, Effect, Object, Operation, Parameter};
pub use ports::{Approver, Judge, RecordError, Recorder};
pub use record::{
    OperationOutcome, OperationRecord, Resolution, SessionClosed, SessionEnd, SessionOpened,
};
pub use subject::{Assurance, Lineage, Principal, Process, Provenance, Subject};
pub use terms::{ClientTls, LinkTerms, UpstreamTls};
pub use time::Timestamp;
pub use verb::{Verb, VerbSet};
pub use verdict::{Decision, Grant, HoldRule, HoldTerms, Inbound, Mode, Posture, Verdict};

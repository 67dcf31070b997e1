//! What is held waits here until a human answers, or until its time is over.
//!
//! [`Approvals`] implements [`gateway_core::Approver`]. A question is a future that any reactor
//! can poll: a thread of this crate keeps the time. Each answer is checked against the rules that
//! hold the operation ([`Authority`]); nobody approves for a tree of their own, and a process of a
//! governed tree answers nothing. An approval with a time covers what the same tree asks of the
//! same resource under the same rules until it is over ([`GrantView`]). [`Webhook`]s tell people
//! that somebody waits, and [`Links`] bring them to the page that shows it.
//!
//! Nothing here outlives the process: a restart denies what waits, and ends every grant.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod authority;
pub mod clock;
pub mod error;
mod grants;
pub mod links;
mod moment;
mod outcomes;
pub mod pending;
mod signature;
pub mod store;
pub mod webhook;

#[cfg(test)]
mod testing;

pub use authority::{Authority, Caller};
pub use clock::{Clock, SystemClock};
pub use error::{AnswerError, LinkError, LinksError, NotAllowed, WebhookError};
pub use grants::GrantView;
pub use links::Links;
pub use outcomes::Answered;
pub use pending::Pending;
pub use store::{Approvals, Counts, Limits, Options};
pub use webhook::{
    Backoff, Form, HttpPost, Jitter, Post, PostError, Secret, Secrets, Webhook, WebhookCounts,
    WebhookUrl,
};

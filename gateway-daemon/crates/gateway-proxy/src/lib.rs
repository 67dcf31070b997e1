//! The driver: takes the connections of governed processes over, from accept to the last record.
//!
//! [`Proxy`] owns the workers and the live sessions. A connection goes through the files in this
//! order: `accept` → `connection` (whose is it, and may it connect) → `dial` → `recognise` →
//! `secure` (who encrypts; by `tls`) → the protocol, or `opaque` when no protocol knows it. `refuse` words what the policy forbids.
//! A datagram with a question goes from `questions` (whose is it) to its `conversation`, which asks the server.
//!
//! This crate knows no kernel, no policy and no storage: they stand behind [`ports`].
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod accept;
mod connection;
mod conversation;
mod counters;
mod dial;
mod flows;
mod hold;
mod id;
mod limits;
mod opaque;
pub mod ports;
mod proxy;
mod questions;
mod recognise;
mod refuse;
mod registry;
mod secure;
pub mod tls;
mod worker;

pub use counters::Counts;
pub use id::SessionIds;
pub use limits::ProxyLimits;
pub use ports::{
    Attributed, Attribution, Behind, Capture, CaptureError, Clock, Flow, Names, NoNames, Ports,
    SystemClock, Transport,
};
pub use proxy::{Ear, Proxy, ProxyError};
pub use registry::LiveSession;

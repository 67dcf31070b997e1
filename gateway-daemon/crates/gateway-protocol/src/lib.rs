//! What every protocol implements, and the one loop that moves the bytes.
//!
//! A protocol judges the opening bytes ([`Protocol::recognise`]) and then serves the link. Those
//! whose bytes we parse ourselves are a [`Session`], a state machine without socket or clock, and
//! leave reading, writing, back-pressure and shutdown to [`relay`].
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod datagram;
pub mod encryption;
pub mod hello;
pub mod login;
pub mod meter;
pub mod opening;
pub mod protocol;
pub mod relay;
pub mod session;
pub mod stop;
pub mod wire;

pub use datagram::{Asker, Datagrams, Heard, No, Question};
pub use encryption::{Accepted, Alpn, Encryption, SecureError};
pub use login::{Login, LoginError, Logins, Proof};
pub use meter::{Meter, Unmetered};
pub use opening::{Opening, Recognition};
pub use protocol::{BoxFuture, Closed, Interpretation, Link, Protocol, Secured};
pub use session::{Answer, Effects, ProtocolError, Session, Side};
pub use stop::{Stop, StopReason};
pub use wire::{Tls, Wire};

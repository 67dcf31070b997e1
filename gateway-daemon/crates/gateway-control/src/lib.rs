//! The control API of the daemon: HTTP/1.1 over a unix socket, and over TLS for who signs in.
//!
//! Anybody may connect to the socket; who a caller is, the kernel says. On the port an issuer's
//! signature says it ([`remote`]). [`standing`] decides what that caller may ask. What the answers are made of comes in through the [`ports`]: this crate knows
//! no policy, no journal and no kernel map. The other end is here too: [`Client`] is what the
//! command line talks through.
//!
//! A caller that hangs, floods or lies costs one connection of its own kind's budget and nothing
//! else: headers, bodies, connections, lists and stalled writes all have limits.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod body;
pub mod caller;
pub mod client;
pub mod filter;
pub mod limits;
pub mod metrics;
#[cfg(test)]
mod openapi;
pub mod peer;
pub mod ports;
pub mod remote;
mod reply;
pub mod roles;
mod route;
mod routes;
pub mod server;
pub mod socket;
pub mod standing;
mod stream;
mod timed;
pub mod view;

pub use caller::{Caller, RemoteCaller};
pub use client::{Client, ClientError, EachLine};
pub use filter::{ActFilter, Filter, FilterError};
pub use limits::Limits;
pub use metrics::Metrics;
pub use peer::{Peer, PeerError};
pub use ports::{
    AnswerError, Approvals, Archive, Callers, Gone, Launcher, LineSink, LoginError, Logins,
    Overview, PendingLogin, PortError, Ports, Revoker, Role, RunError, Switch, Target, Trees,
};
pub use remote::{
    Attempt, AuthenticationError, Authenticator, Entropy, Identity, Page, PagePorts, PrincipalLine,
    ProcessLine, QuestionView, RemoteLimits, RemotePorts, ScimPort, ScimRequest, ScimResponse,
    Shown, SignIn, serve_remote,
};
pub use server::serve;
pub use socket::{ControlSocket, SocketError};
pub use standing::{Request, Standing};

#[cfg(test)]
mod tests;

//! TLS on both ends of a link, for protocols that ask for it in words of their own.
use crate::login::{Login, LoginError};
use crate::protocol::BoxFuture;
use crate::session::Side;
use crate::wire::Wire;
use gateway_core::{Destination, LinkTerms};
use std::sync::Arc;
use tokio::net::TcpStream;

/// A link could not be settled. The peer's bytes never appear in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecureError {
    /// TLS could not be agreed on.
    #[error("TLS with the {}: {words}", match side { Side::Client => "client", Side::Upstream => "upstream" })]
    Tls {
        /// With whom.
        side: Side,
        /// Why, for people.
        words: Arc<str>,
    },
    /// The gateway has nothing to log in with.
    #[error("{0}")]
    Login(#[from] LoginError),
}

impl SecureError {
    /// An error on one side.
    #[must_use]
    pub fn new(side: Side, words: impl Into<Arc<str>>) -> SecureError {
        SecureError::Tls {
            side,
            words: words.into(),
        }
    }
}

/// A client that speaks TLS now.
#[derive(Debug)]
pub struct Accepted {
    /// Its end.
    pub client: Wire<TcpStream>,
    /// The name that it asked for (SNI). It only claims that.
    pub name: Option<Arc<str>>,
}

/// Makes TLS of the ends of links.
pub trait Encryption: Send + Sync {
    /// Speaks TLS with a client in the place of its destination. `said` is what was read of its
    /// TLS already; `alpn` is the one protocol that it may ask for.
    ///
    /// # Errors
    /// They do not agree, or the client does not believe the gateway. Nothing more can be told it.
    fn accept<'a>(
        &'a self,
        client: TcpStream,
        said: Vec<u8>,
        destination: &'a Destination,
        alpn: Alpn,
    ) -> BoxFuture<'a, Result<Accepted, SecureError>>;

    /// Speaks TLS with an upstream, and believes it as the terms say. `claimed` is the name that
    /// the client asked for; it counts where the policy has none, and no credential is at stake.
    /// `login`: what the gateway shows of itself, where it is a certificate.
    ///
    /// # Errors
    /// They do not agree, or the upstream is not to be believed.
    fn connect<'a>(
        &'a self,
        upstream: TcpStream,
        destination: &'a Destination,
        terms: &'a LinkTerms,
        claimed: Option<&'a str>,
        login: Option<&'a Login>,
        alpn: Alpn,
    ) -> BoxFuture<'a, Result<Wire<TcpStream>, SecureError>>;
}

/// What is spoken inside of TLS, by its registered name (RFC 7301).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alpn {
    /// The name.
    pub name: &'static [u8],
    /// A client has to say it.
    pub needed: bool,
}

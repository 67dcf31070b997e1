//! The face of a protocol towards the proxy.
use crate::encryption::{Encryption, SecureError};
use crate::login::{Login, LoginError};
use crate::meter::Meter;
use crate::opening::{Opening, Recognition};
use crate::relay::reactor::Reactor;
use crate::session::ProtocolError;
use crate::stop::Stop;
use crate::wire::Wire;
use gateway_core::governor::Ending;
use gateway_core::{Attribute, Clearance, Destination, Effect, Governor, LinkTerms, Refusal, Verb};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;

/// A future that can be stored. One per connection, so the box costs nothing that counts.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Both ends of a connection, with what was read from them to recognise the protocol.
#[derive(Debug)]
pub struct Link {
    /// The governed process's end.
    pub client: Wire<TcpStream>,
    /// The server's end, already dialled.
    pub upstream: Wire<TcpStream>,
    /// What the client sent before the protocol was known.
    pub from_client: Vec<u8>,
    /// What the upstream sent before the protocol was known.
    pub from_upstream: Vec<u8>,
    /// The clearance of `connect`, under which bytes travel that ask for nothing by themselves.
    pub connected: Clearance,
    /// How the policy wants the way to the upstream.
    pub terms: Arc<LinkTerms>,
    /// What the gateway logs in with, where the terms name a credential; or why it cannot.
    pub login: Option<Result<Arc<Login>, LoginError>>,
    /// Ends the link from outside.
    pub stop: Arc<Stop>,
    /// Is told how long the relay keeps bytes.
    pub meter: Arc<dyn Meter>,
    /// Where the relay runs the link; `None`: in the task that waits for it.
    pub reactor: Option<Reactor>,
}

/// What came of the question who encrypts.
#[derive(Debug)]
pub enum Secured {
    /// It is settled.
    Ready(Link),
    /// The client's own TLS goes through to the upstream, and nobody can read it.
    Opaque(Link),
    /// It could not be settled, and the upstream was let go.
    Failed {
        /// The client, where it can still be told.
        client: Option<Wire<TcpStream>>,
        /// Whose fault it is, and what went wrong.
        error: SecureError,
        /// For the client, in the protocol's words.
        farewell: Vec<u8>,
    },
}

/// How a served link ended. The governor comes back for its last record.
#[derive(Debug)]
pub struct Closed {
    /// The gate of the session, to be closed with `ending`.
    pub governor: Governor,
    /// How it ended.
    pub ending: Ending,
    /// What the session broke on, when it did.
    pub error: Option<ProtocolError>,
}

/// A statement, taken apart without a connection: for `gateway policy test` and `explain`.
#[derive(Clone, Debug, PartialEq)]
pub struct Interpretation {
    /// The verb that people would name it by.
    pub verb: Verb,
    /// Everything it does.
    pub effects: Vec<Effect>,
    /// What the protocol adds.
    pub attributes: Vec<(Arc<str>, Attribute)>,
}

/// What every protocol implements. Object-safe on purpose.
pub trait Protocol: Send + Sync {
    /// Its name in policies and records: `postgres`.
    fn name(&self) -> &'static str;

    /// Judges the first bytes of either side and consumes nothing.
    fn recognise(&self, opening: Opening<'_>) -> Recognition;

    /// Words a refusal for a client that has sent `opening` and nothing else, when the link is
    /// closed right behind it. Empty when the protocol has no words at that moment.
    ///
    /// When the client says more before it leaves, this is asked again with all that it said, and
    /// what the new answer has behind the old one is sent too. So a client that asks a question
    /// before it listens (Postgres: TLS?) is answered that question alone, and refused when it
    /// goes on.
    fn refuse(&self, opening: Opening<'_>, refusal: &Refusal) -> Vec<u8>;

    /// Takes a statement apart as it would be on a fresh session.
    fn interpret(&self, statement: &str) -> Interpretation;

    /// Settles with both ends who encrypts, as the link's terms want it, before anything else is
    /// said. By default nothing is asked and nothing encrypted: a protocol that knows no TLS.
    ///
    /// The link comes back with bytes in the clear, which count as said behind the settlement.
    /// It may take long, and be dropped.
    fn secure<'a>(
        &'a self,
        link: Link,
        _destination: &'a Destination,
        _encryption: &'a dyn Encryption,
    ) -> BoxFuture<'a, Secured> {
        Box::pin(async move { Secured::Ready(link) })
    }

    /// Speaks to both ends until one closes.
    fn serve(&self, link: Link, governor: Governor) -> BoxFuture<'_, Closed>;
}

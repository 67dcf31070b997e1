//! The DNS protocol: questions and answers, what they mean, and how much a tree may ask.
//!
//! A question is one operation: it reads the name. Datagrams come one by one
//! ([`gateway_protocol::Datagrams`]), a TCP connection is a session like any other.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod codec;
pub mod interpret;
mod limits;
mod names;
mod question;
mod session;
#[cfg(test)]
mod tests;
mod tunnels;

pub use limits::Limits;
pub use names::NameTable;
pub use question::DnsQuestion;
pub use session::TcpSession;
pub use tunnels::{Excess, Tunnels};

use codec::HEADER_BYTES;
use gateway_core::{Effect, Governor, Object, Refusal, Timestamp, Verb};
use gateway_protocol::relay::{RelayLimits, run_with};
use gateway_protocol::{
    Asker, BoxFuture, Closed, Datagrams, Interpretation, Link, Opening, Protocol, Question,
    Recognition,
};
use interpret::{Meaning, TCP, UDP};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The name of the protocol in policies and records.
pub const NAME: &str = "dns";

/// The port of name servers, by which a connection is known: the bytes tell little.
const PORT: u16 = 53;

/// Tells the time of what is learned and counted.
pub type Clock = fn() -> Timestamp;

/// What all sessions share.
pub struct Shared {
    limits: Limits,
    tunnels: Tunnels,
    names: Arc<NameTable>,
    /// The servers whose answers are believed.
    servers: HashSet<IpAddr>,
    clock: Clock,
}

/// DNS, over UDP and TCP.
#[derive(Clone)]
pub struct Dns {
    shared: Arc<Shared>,
}

impl Dns {
    /// Ready for the first question. Answers of `servers` are what `names` learns from.
    #[must_use]
    pub fn new(
        limits: Limits,
        servers: impl IntoIterator<Item = IpAddr>,
        names: Arc<NameTable>,
        clock: Clock,
    ) -> Dns {
        Dns {
            shared: Arc::new(Shared {
                limits,
                tunnels: Tunnels::new(limits),
                names,
                servers: servers.into_iter().collect(),
                clock,
            }),
        }
    }
}

impl Datagrams for Dns {
    fn name(&self) -> &'static str {
        NAME
    }

    fn serves(&self, server: SocketAddr) -> bool {
        server.port() == PORT
    }

    fn question(&self, asker: Asker, datagram: &[u8]) -> Box<dyn Question> {
        let shared = Arc::clone(&self.shared);
        Box::new(DnsQuestion::read(shared, asker, datagram, UDP))
    }
}

impl Protocol for Dns {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Whatever a client says to the port of name servers is taken for DNS, and refused when it is
    /// none: it is not to get through as something unknown.
    fn recognise(&self, opening: Opening<'_>) -> Recognition {
        if opening.destination.port != PORT || !opening.upstream.is_empty() {
            Recognition::No
        } else if opening.client.is_empty() {
            Recognition::NeedMore
        } else {
            Recognition::Yes
        }
    }

    fn refuse(&self, opening: Opening<'_>, refusal: &Refusal) -> Vec<u8> {
        let asker = Asker {
            tree: gateway_core::TreeId(0),
            server: opening.destination.address(),
            abroad: opening.destination.abroad,
        };
        let mut words = Vec::new();
        let mut rest = opening.client;
        while let Some((length, behind)) = rest.split_first_chunk::<2>()
            && let length = usize::from(u16::from_be_bytes(*length))
            && length >= HEADER_BYTES
            && let Some((message, behind)) = behind.split_at_checked(length)
        {
            let shared = Arc::clone(&self.shared);
            let question = DnsQuestion::read(shared, asker, message, TCP);
            let answer = question.refuse((&refusal.reason).into(), &refusal.to_string());
            words.extend(session::framed(&answer));
            rest = behind;
        }
        words
    }

    fn interpret(&self, statement: &str) -> Interpretation {
        match Meaning::of_statement(statement) {
            Some(meaning) => meaning.into_interpretation(),
            None => Interpretation {
                verb: Verb::Unknown,
                effects: vec![Effect {
                    verb: Verb::Unknown,
                    objects: vec![Object::Unresolved("*".into())],
                }],
                attributes: Vec::new(),
            },
        }
    }

    fn serve(&self, link: Link, governor: Governor) -> BoxFuture<'_, Closed> {
        let context = governor.context();
        let asker = Asker {
            tree: context.subject.lineage.tree,
            server: context.destination.address(),
            abroad: context.destination.abroad,
        };
        let session = TcpSession::new(Arc::clone(&self.shared), asker);
        let limits = RelayLimits {
            frame_bytes_max: usize::from(u16::MAX) + 2,
            ..RelayLimits::default()
        };
        Box::pin(run_with(link, governor, Box::new(session), limits))
    }
}

//! The PostgreSQL protocol: messages, their order, and what each statement does.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod cancel;
pub mod codec;
mod error;
pub mod interpret;
mod limits;
mod mask;
mod secure;
pub mod session;
#[cfg(test)]
mod tests;

pub use cancel::{CancelTable, Origin};
pub use error::Error;
pub use limits::Limits;
pub use mask::marks::{ColumnKeeper, SensitiveColumn, SensitiveColumns};
pub use session::{Channel, Injected, PgSession};

use codec::startup::{self, Packet};
use codec::types::TypeNames;
use gateway_core::{Destination, Effect, Governor, Object, Refusal, Verb};
use gateway_protocol::hello::{self, Hello};
use gateway_protocol::relay::{RelayLimits, run_with};
use gateway_protocol::{
    BoxFuture, Closed, Encryption, Interpretation, Link, Opening, Protocol, Recognition, Secured,
};
use interpret::{Classifier, SqlContext};
use std::sync::Arc;

/// The name of the protocol in policies and records.
pub const NAME: &str = "postgres";

/// What all sessions share.
pub struct Shared {
    pub(crate) limits: Limits,
    pub(crate) classifier: Classifier,
    pub(crate) cancels: Arc<CancelTable>,
    pub(crate) types: TypeNames,
    pub(crate) store: mask::store::Store,
    /// The effects of what cannot be read.
    pub(crate) anything: Vec<Effect>,
    /// How a request ends that the upstream never looked at.
    pub(crate) skipped: Arc<str>,
}

impl Shared {
    /// Ready for the first session.
    #[must_use]
    pub fn new(limits: Limits) -> Shared {
        Shared::remembering(limits, Vec::new(), Arc::new(mask::marks::Nowhere))
    }

    /// The same, with the sensitive columns that were found `before`; those that are found from now
    /// on are kept with `keeper`.
    #[must_use]
    pub fn remembering(
        limits: Limits,
        before: Vec<SensitiveColumns>,
        keeper: Arc<dyn ColumnKeeper>,
    ) -> Shared {
        let marks = mask::marks::Marks::new(before, keeper);
        let objects = vec![Object::Unresolved(Arc::from("*"))];
        Shared {
            classifier: Classifier::new(limits.classifications),
            cancels: Arc::new(CancelTable::new(limits.cancel_keys)),
            types: TypeNames::new(),
            store: mask::store::Store::new(std::time::Instant::now, marks),
            anything: vec![Effect {
                verb: Verb::Unknown,
                objects,
            }],
            skipped: Arc::from("not executed: a request before it failed"),
            limits,
        }
    }
}

/// PostgreSQL, protocol 3.0 to 3.2.
pub struct Postgres {
    shared: Arc<Shared>,
}

impl Postgres {
    /// Ready for the first session.
    #[must_use]
    pub fn new(limits: Limits) -> Postgres {
        let shared = Arc::new(Shared::new(limits));
        Postgres { shared }
    }

    /// The same, with the sensitive columns that were found `before`; those that are found from now
    /// on are kept with `keeper`.
    #[must_use]
    pub fn remembering(
        limits: Limits,
        before: Vec<SensitiveColumns>,
        keeper: Arc<dyn ColumnKeeper>,
    ) -> Postgres {
        let shared = Arc::new(Shared::remembering(limits, before, keeper));
        Postgres { shared }
    }
}

/// Settling the link has made sure that what the terms name is there.
fn injected(link: &Link) -> Option<Injected> {
    let login = link.login.as_ref()?.as_ref().ok()?;
    Some(Injected {
        login: Arc::clone(login),
        resource: Arc::clone(&link.terms.resource),
        credential: link.terms.credential.clone()?,
    })
}

impl Protocol for Postgres {
    fn name(&self) -> &'static str {
        NAME
    }

    fn recognise(&self, opening: Opening<'_>) -> Recognition {
        // A server waits for the StartupMessage.
        if !opening.upstream.is_empty() {
            return Recognition::No;
        }
        if hello::begins(opening.client) {
            // Not every TLS is PostgreSQL; a client that begins with it says so (ALPN).
            return match hello::read(opening.client) {
                Hello::Tls(wants) if wants.alpn.iter().any(|name| name == secure::ALPN) => {
                    Recognition::Yes
                }
                Hello::NeedMore => Recognition::NeedMore,
                Hello::Tls(_) | Hello::No => Recognition::No,
            };
        }
        match startup::recognise(opening.client) {
            Some(true) => Recognition::Yes,
            Some(false) => Recognition::No,
            None => Recognition::NeedMore,
        }
    }

    fn refuse(&self, opening: Opening<'_>, refusal: &Refusal) -> Vec<u8> {
        let mut words = Vec::new();
        let mut rest = opening.client;
        // A question about encryption is answered first: since CVE-2021-23222 clients do not show
        // an error that comes in its place.
        while let Ok(Some(size)) = startup::packet_size(rest)
            && let Some((packet, behind)) = rest.split_at_checked(size)
        {
            match startup::packet(packet) {
                Ok(Packet::Ssl | Packet::Gssenc) => words.push(b'N'),
                // Whoever asks to cancel expects no answer.
                Ok(Packet::Cancel { .. }) => break,
                Ok(Packet::Startup { .. } | Packet::OtherVersion) | Err(_) => {
                    words.extend(session::farewell(refusal));
                    break;
                }
            }
            rest = behind;
        }
        words
    }

    fn interpret(&self, statement: &str) -> Interpretation {
        let meaning = self
            .shared
            .classifier
            .classify(statement, &SqlContext::default());
        Interpretation {
            verb: meaning.verb,
            effects: meaning.effects.clone(),
            attributes: meaning.attributes.clone(),
        }
    }

    fn secure<'a>(
        &'a self,
        link: Link,
        destination: &'a Destination,
        encryption: &'a dyn Encryption,
    ) -> BoxFuture<'a, Secured> {
        Box::pin(secure::secure(link, destination, encryption))
    }

    fn serve(&self, link: Link, governor: Governor) -> BoxFuture<'_, Closed> {
        let context = governor.context();
        let origin = Origin {
            tree: context.subject.lineage.tree,
            destination: context.destination.address(),
        };
        let channel = Channel {
            client: link.client.tls_version(),
            upstream: link.upstream.tls_version(),
            verified: link.upstream.tls_version().is_some() && link.terms.upstream.verifies(),
        };
        let session = PgSession::new(Arc::clone(&self.shared), origin)
            .over(channel)
            .logging_in(injected(&link));
        let limits = RelayLimits {
            frame_bytes_max: self.shared.limits.frame_bytes(),
            ..RelayLimits::default()
        };
        Box::pin(run_with(link, governor, Box::new(session), limits))
    }
}

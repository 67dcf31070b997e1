//! What no protocol understands: judged once as `unknown`, then bytes both ways.
//!
//! It runs over the same loop as every other session, so half-close, back-pressure, limits and
//! ends are the same. Each read is written at once from where it was read.
use crate::hold::{self, Asked};
use crate::ports::Clock;
use gateway_core::{Attribute, Claim, Clearance, Effect, Governor, Object, Operation, Verb};
use gateway_protocol::hello;
use gateway_protocol::{Effects, ProtocolError, Session, Side, Stop};
use std::sync::Arc;
use tokio::net::TcpStream;

/// The name in records.
pub(crate) const NAME: &str = "opaque";

/// The attributes of what the client says in TLS.
const SERVER: &str = "tls.server_name";
const HIDDEN: &str = "tls.hidden";

/// Asks for the one operation that an opaque session is: anything, on anything. `opening` is what
/// the client has said so far.
///
/// A name leads to an address where others may be too, so the policy hears which one is meant.
pub(crate) async fn submit(
    governor: &mut Governor,
    clock: &dyn Clock,
    client: &TcpStream,
    opening: &[u8],
    stop: &Stop,
) -> Asked {
    let claim = hello::claim(opening);
    let attribute = match &claim {
        Claim::Nothing => None,
        Claim::Server(name) => Some((SERVER.into(), Attribute::Text(Arc::clone(name)))),
        Claim::Unreadable => Some((HIDDEN.into(), Attribute::Bool(true))),
    };
    if claim != Claim::Nothing {
        governor.claims(claim);
    }
    let attributes: Vec<(Arc<str>, Attribute)> = attribute.into_iter().collect();
    let objects = vec![Object::Unresolved("*".into())];
    let effects = [Effect {
        verb: Verb::Unknown,
        objects,
    }];
    let operation = Operation {
        attributes: &attributes,
        ..Operation::new(NAME, Verb::Unknown, &effects)
    };
    hold::submit(governor, &operation, clock, client, stop).await
}

/// Passes everything, under the clearance of its operation.
pub(crate) struct Opaque {
    pub(crate) clearance: Clearance,
}

impl Session for Opaque {
    fn receive(
        &mut self,
        from: Side,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        match from {
            Side::Client => out.pass_upstream(&self.clearance, 0..bytes.len()),
            Side::Upstream => out.pass_client(0..bytes.len()),
        }
        Ok(bytes.len())
    }

    fn finish(&mut self, _: Side, _: usize, _: &mut dyn Effects) -> Result<(), ProtocolError> {
        Ok(())
    }
}

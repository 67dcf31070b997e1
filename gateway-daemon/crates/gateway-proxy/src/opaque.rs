//! What no protocol understands: judged once as `unknown`, then bytes both ways.
//!
//! It runs over the same loop as every other session, so half-close, back-pressure, limits and
//! ends are the same. Each read is written at once from where it was read.
use gateway_core::{Clearance, Effect, Governor, Object, Operation, Refusal, Timestamp, Verb};
use gateway_protocol::{Effects, ProtocolError, Session, Side};

/// The name in records.
pub(crate) const NAME: &str = "opaque";

/// Asks for the one operation that an opaque session is: anything, on anything.
pub(crate) fn submit(governor: &mut Governor, now: Timestamp) -> Result<Clearance, Refusal> {
    let objects = vec![Object::Unresolved("*".into())];
    let effects = [Effect {
        verb: Verb::Unknown,
        objects,
    }];
    let operation = Operation {
        protocol: NAME,
        verb: Verb::Unknown,
        effects: &effects,
        statement: "",
        parameters: &[],
        attributes: &[],
        shape: None,
    };
    governor.submit(&operation, now)
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

//! The order of messages: a state machine between a client and an upstream, without a socket.
//!
//! What the client sends is taken apart frame by frame. Frames that ask for nothing by themselves
//! pass; those that the upstream would act on are judged first. A refused frame never goes
//! upstream: one that cannot succeed goes in its place, so the upstream itself keeps the order of
//! the answers and the state of the transaction truthful, and its complaint is exchanged for the
//! refusal on the way back.
mod answer;
mod binding;
mod copying;
mod cursors;
mod inject;
mod judge;
mod login;
mod masking;
mod names;
mod opening;
mod path;
mod pipeline;
mod queue;
mod recording;
mod refusal;
mod request;
mod serving;
mod settings;
mod statement;

pub use inject::Injected;
pub(crate) use refusal::farewell;

use crate::Shared;
use crate::cancel::Origin;
use crate::error::Error;
use gateway_core::OperationId;
use gateway_protocol::{Answer, Effects, ProtocolError, Session, Side};
use serving::Serving;
use std::sync::Arc;

/// What was settled before the session: the versions of TLS, like `TLSv1.3`. `None`: in the clear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// With the client.
    pub client: Option<&'static str>,
    /// With the upstream.
    pub upstream: Option<&'static str>,
    /// The upstream's certificate was verified: it is no other, and nobody listens in between.
    pub verified: bool,
}

/// One connection.
pub struct PgSession {
    shared: Arc<Shared>,
    origin: Origin,
    channel: Channel,
    injected: Option<Injected>,
    stage: Stage,
}

enum Stage {
    /// Nothing has been said but about encryption, which is settled.
    Opening,
    /// A cancel request went upstream, which closes when it has taken it.
    Cancelling(OperationId, Answer),
    /// A StartupMessage went upstream.
    Serving(Box<Serving>),
    /// Nothing more is said.
    Ended,
}

impl PgSession {
    /// A connection of a process in `origin.tree` to `origin.destination`, on which nothing has
    /// been said yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, origin: Origin) -> PgSession {
        PgSession {
            shared,
            origin,
            channel: Channel::default(),
            injected: None,
            stage: Stage::Opening,
        }
    }

    /// The same, where encryption was settled before: nothing is asked about it any more.
    #[must_use]
    pub fn over(self, channel: Channel) -> PgSession {
        PgSession { channel, ..self }
    }

    /// The same, where the gateway logs in.
    #[must_use]
    pub fn logging_in(self, injected: Option<Injected>) -> PgSession {
        PgSession { injected, ..self }
    }

    fn receive_client(
        &mut self,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        let mut used = 0;
        while matches!(self.stage, Stage::Opening) {
            match self.open(bytes, used, out)? {
                0 => return Ok(used),
                packet => used += packet,
            }
        }
        match &mut self.stage {
            Stage::Serving(serving) => serving.receive_client(bytes, used, out),
            // What follows a cancel request, PostgreSQL does not read either.
            Stage::Cancelling(..) | Stage::Ended | Stage::Opening => Ok(bytes.len()),
        }
    }
}

impl Session for PgSession {
    fn receive(
        &mut self,
        from: Side,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        match (from, &mut self.stage) {
            (Side::Client, _) => self.receive_client(bytes, out),
            (Side::Upstream, Stage::Serving(serving)) => serving.receive_upstream(bytes, out),
            (Side::Upstream, Stage::Ended) => Ok(bytes.len()),
            (Side::Upstream, Stage::Opening | Stage::Cancelling(..)) => {
                if bytes.is_empty() {
                    Ok(0)
                } else {
                    Err(Error::Unasked.of(Side::Upstream))
                }
            }
        }
    }

    fn finish(
        &mut self,
        from: Side,
        unused: usize,
        out: &mut dyn Effects,
    ) -> Result<(), ProtocolError> {
        match (from, &mut self.stage) {
            (Side::Client, Stage::Opening) if unused > 0 => Err(Error::Cut.of(from)),
            (Side::Upstream, Stage::Opening) if unused > 0 => Err(Error::Unasked.of(from)),
            (Side::Upstream, Stage::Cancelling(id, answer)) => {
                let (id, answer) = (*id, std::mem::take(answer));
                self.stage = Stage::Ended;
                out.complete(id, answer)
            }
            (_, Stage::Opening | Stage::Cancelling(..) | Stage::Ended) => Ok(()),
            (Side::Client, Stage::Serving(serving)) => serving.finish_client(unused),
            (Side::Upstream, Stage::Serving(serving)) => serving.finish_upstream(unused, out),
        }
    }
}

//! A protocol as a state machine: bytes in, effects out. No socket, no clock.
use gateway_core::mask::FieldCounts;
use gateway_core::{
    AnswerPart, AnswerTerms, Clearance, Masker, Masks, Obstacle, Operation, OperationId,
    OperationOutcome, Timestamp,
};
use std::ops::Range;
use std::sync::Arc;

/// One end of a link. There are no other words for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The governed process.
    Client,
    /// The server that it meant to reach.
    Upstream,
}

impl Side {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Side {
        match self {
            Side::Client => Side::Upstream,
            Side::Upstream => Side::Client,
        }
    }
}

/// A link cannot go on. It says who is at fault; the peer's bytes never appear in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The client broke the protocol.
    #[error("client: {0}")]
    Client(&'static str),
    /// The upstream broke the protocol.
    #[error("upstream: {0}")]
    Upstream(&'static str),
    /// A frame is larger than the configured limit.
    #[error("{side:?} sent a frame of {size} bytes; the limit {limit_name} is {limit}")]
    TooLarge {
        /// Who sent it.
        side: Side,
        /// How large the frame says it is.
        size: u64,
        /// The limit in bytes.
        limit: u64,
        /// The key of the limit in the configuration.
        limit_name: &'static str,
    },
    /// The record could not be written, so nothing more may happen.
    #[error("{0}")]
    Unrecorded(#[from] gateway_core::RecordError),
    /// A socket failed.
    #[error("{side:?}: {error}")]
    Io {
        /// Which one.
        side: Side,
        /// The system's words.
        error: Arc<str>,
    },
    /// A session broke a rule of the relay: a defect of the gateway, found before a byte left.
    #[error("gateway: {0}")]
    Gateway(&'static str),
}

/// How a cleared operation was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Rows returned or changed, where the protocol says.
    pub rows: Option<u64>,
    /// Bytes of the request.
    pub bytes_up: u64,
    /// Bytes of the answer.
    pub bytes_down: u64,
    /// The upstream's error: a code and a text that may be recorded.
    pub error: Option<Arc<str>>,
    /// How many values were covered, by field.
    pub masked: FieldCounts,
    /// In how many rows sensitive fields were returned in the clear, by field.
    pub disclosed: FieldCounts,
}

impl Answer {
    /// That an operation was answered so, for the record.
    #[must_use]
    pub fn outcome(self, id: OperationId, time: Timestamp) -> OperationOutcome {
        OperationOutcome {
            id,
            time,
            rows: self.rows,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            error: self.error,
            masked: self.masked,
            disclosed: self.disclosed,
        }
    }
}

/// What a session may cause. The relay implements it.
///
/// Every byte that goes upstream needs a [`Clearance`]: that of its statement, or that of the
/// session (`connect`) for bytes that ask for nothing by themselves, such as a Sync.
pub trait Effects {
    /// `bytes[range]` of the current input go upstream as they are. Input from the client only.
    fn pass_upstream(&mut self, clearance: &Clearance, range: Range<usize>);

    /// `bytes[range]` of the current input go to the client as they are. Input from the upstream
    /// only.
    fn pass_client(&mut self, range: Range<usize>);

    /// Bytes of the gateway's own making go upstream, behind all that was passed before.
    fn send_upstream(&mut self, clearance: &Clearance, bytes: &[u8]);

    /// Bytes of the gateway's own making go to the client, behind all that was passed before.
    fn send_client(&mut self, bytes: &[u8]);

    /// Asks for permission. Decided and recorded when this returns.
    ///
    /// # Errors
    /// The refusal, to be worded for the client. Or [`Obstacle::Held`]: a human is asked. Then the
    /// session does as if the bytes that ask for it were not whole yet, and uses none of them.
    /// They are offered again when there is an answer, and nothing of the client before; a session
    /// that then does not submit it first has to [`Effects::withdraw`] it before it submits
    /// anything else.
    fn submit(&mut self, operation: &Operation<'_>) -> Result<Clearance, Obstacle>;

    /// Would it be cleared at once? Nothing is recorded.
    fn would_pass(&mut self, operation: &Operation<'_>) -> bool;

    /// What the policy says about the answer to this operation, should it be allowed.
    fn answer_terms(&mut self, operation: &Operation<'_>) -> AnswerTerms;

    /// What it calls sensitive in that answer.
    fn masks(&mut self, operation: &Operation<'_>) -> Option<Arc<dyn Masks>> {
        self.answer_terms(operation).masks
    }

    /// What covers values.
    fn masker(&self) -> &dyn Masker;

    /// Nothing more of the client is wanted, while the session waits for something of the upstream;
    /// or it is again: what the client has sent and the session did not use is offered anew, though
    /// nothing of it is new.
    fn pause_client(&mut self, paused: bool);

    /// Is an operation of this session held? Then the input begins with what asks for it.
    fn is_holding(&self) -> bool;

    /// What is held is not asked for any more: the session went on without submitting it again,
    /// since the upstream has made it pointless meanwhile.
    ///
    /// # Errors
    /// It could not be recorded; the session must end.
    fn withdraw(&mut self) -> Result<(), ProtocolError>;

    /// A part of the answer to a cleared operation is to be kept, as the client gets it. What
    /// drives a session without a gate behind it keeps nothing.
    ///
    /// # Errors
    /// It could not be recorded; the session must end.
    fn answer(&mut self, id: OperationId, part: AnswerPart) -> Result<(), ProtocolError> {
        let _ = (id, part);
        Ok(())
    }

    /// A cleared operation has been answered.
    ///
    /// # Errors
    /// It could not be recorded; the session must end.
    fn complete(&mut self, id: OperationId, answer: Answer) -> Result<(), ProtocolError>;

    /// Ends the link once everything that was sent has left.
    fn close(&mut self);
}

/// A protocol whose bytes we parse ourselves.
pub trait Session: Send {
    /// Takes bytes of one side and says how many it used. The rest is offered again, with more
    /// behind it, and nothing is offered twice that was used. Any split of a stream into calls
    /// gives the same effects, but for where a kept answer is divided into parts.
    ///
    /// # Errors
    /// The link cannot go on: both sides are closed, what was sent before is still delivered.
    fn receive(
        &mut self,
        from: Side,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError>;

    /// One side has sent its last byte; `unused` of its bytes never became a frame.
    ///
    /// # Errors
    /// The stream ended where the protocol does not allow it.
    fn finish(
        &mut self,
        from: Side,
        unused: usize,
        out: &mut dyn Effects,
    ) -> Result<(), ProtocolError>;
}

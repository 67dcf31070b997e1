//! A protocol of single questions and answers, each a datagram: no connection, no stream. Whoever
//! moves the datagrams keeps the order of things: a question is read, submitted, sent upstream, and
//! answered; what cannot be read is submitted too, and never sent.
use crate::session::Answer;
use gateway_core::governor::RefusalReason;
use gateway_core::{AnswerPart, Operation, Timestamp, TreeId};
use std::net::SocketAddr;
use std::sync::Arc;

/// Who asks, and whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The tree of the process.
    pub tree: TreeId,
    /// The server that it meant.
    pub server: SocketAddr,
    /// It is in another network namespace than the gateway's, where anybody may stand at the
    /// server's address.
    pub abroad: bool,
}

/// Why a question is not answered by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// The policy, a human or a limit says so.
    Refused,
    /// It could not be done: no answer, no record, no socket.
    Failed,
}

impl From<&RefusalReason> for No {
    /// What could not be recorded is no decision about the question.
    fn from(reason: &RefusalReason) -> No {
        match reason {
            RefusalReason::Unrecorded => No::Failed,
            _ => No::Refused,
        }
    }
}

/// What a datagram of the server is.
#[derive(Debug)]
pub enum Heard {
    /// It does not answer this question: go on listening.
    Strange,
    /// It claims to answer it and cannot be read. Why, for the record.
    Broken(&'static str),
    /// The answer.
    Answer {
        /// For the client.
        bytes: Vec<u8>,
        /// For the record.
        answer: Answer,
        /// What it says, for the record.
        part: Option<AnswerPart>,
    },
}

/// One question of a client.
pub trait Question: Send {
    /// What is asked.
    fn operation(&self) -> Operation<'_>;

    /// May it be asked, apart from what the policy says? Counts it. To be called once, when it was
    /// cleared.
    ///
    /// # Errors
    /// Why it must not go upstream: it cannot be read, or the tree asks too much.
    fn admit(&mut self, now: Timestamp) -> Result<(), Arc<str>>;

    /// What goes upstream in its place, under this number. Empty when nothing may.
    fn forward(&mut self, number: u16) -> Vec<u8>;

    /// Reads a datagram of the server.
    fn hear(&mut self, datagram: &[u8], now: Timestamp) -> Heard;

    /// What the client is told when it is not answered. Empty: nothing.
    fn refuse(&self, no: No, reason: &str) -> Vec<u8>;
}

/// What a protocol of datagrams implements. Object-safe on purpose.
pub trait Datagrams: Send + Sync {
    /// Its name in policies and records.
    fn name(&self) -> &'static str;

    /// Are datagrams to this server questions of this protocol, whatever is in them? Others are none of
    /// its business.
    fn serves(&self, server: SocketAddr) -> bool;

    /// Takes a datagram of a client, whatever is in it.
    fn question(&self, asker: Asker, datagram: &[u8]) -> Box<dyn Question>;
}

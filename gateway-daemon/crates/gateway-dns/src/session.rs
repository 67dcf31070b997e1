//! DNS over TCP (RFC 7766): messages with their length in front, answered in any order.
use crate::Shared;
use crate::codec::{HEADER_BYTES, QUESTION_BYTES_MAX};
use crate::interpret::TCP;
use crate::question::DnsQuestion;
use gateway_core::{Obstacle, OperationId};
use gateway_protocol::{Answer, Asker, Effects, Heard, No, ProtocolError, Question, Session, Side};
use std::collections::VecDeque;
use std::sync::Arc;

/// The length in front of a message.
const LENGTH_BYTES: usize = 2;

/// A question that was sent upstream.
struct Pending {
    number: u16,
    id: OperationId,
    question: DnsQuestion,
}

/// One connection.
pub struct TcpSession {
    shared: Arc<Shared>,
    asker: Asker,
    pending: VecDeque<Pending>,
    /// The number of the next question upstream.
    next: u16,
    paused: bool,
}

impl TcpSession {
    /// A connection of `asker`, on which nothing was said.
    #[must_use]
    pub fn new(shared: Arc<Shared>, asker: Asker) -> TcpSession {
        TcpSession {
            shared,
            asker,
            pending: VecDeque::new(),
            next: 0,
            paused: false,
        }
    }

    /// False: it is held, and stays where it is.
    fn ask(&mut self, message: &[u8], out: &mut dyn Effects) -> Result<bool, ProtocolError> {
        let mut question = DnsQuestion::read(Arc::clone(&self.shared), self.asker, message, TCP);
        let clearance = match out.submit(&question.operation()) {
            Ok(clearance) => clearance,
            Err(Obstacle::Held(_)) => return Ok(false),
            Err(Obstacle::Refused(refusal)) => {
                let no = No::from(&refusal.reason);
                send(&question.refuse(no, &refusal.to_string()), out);
                return Ok(true);
            }
        };
        if let Err(reason) = question.admit((self.shared.clock)()) {
            send(&question.refuse(No::Refused, &reason), out);
            out.complete(clearance.id(), failed(reason))?;
            return Ok(true);
        }
        let number = self.number();
        let bytes = question.forward(number);
        out.send_upstream(&clearance, &framed(&bytes));
        self.pending.push_back(Pending {
            number,
            id: clearance.id(),
            question,
        });
        Ok(true)
    }

    /// A number that no question waits under; there are fewer of these than numbers.
    fn number(&mut self) -> u16 {
        loop {
            self.next = self.next.wrapping_add(1);
            if self
                .pending
                .iter()
                .all(|pending| pending.number != self.next)
            {
                return self.next;
            }
        }
    }

    fn answer(&mut self, message: &[u8], out: &mut dyn Effects) -> Result<(), ProtocolError> {
        let broken = ProtocolError::Upstream("an answer to no question");
        let [first, second, ..] = message else {
            return Err(broken);
        };
        let number = u16::from_be_bytes([*first, *second]);
        let place = self
            .pending
            .iter()
            .position(|pending| pending.number == number);
        let Some(mut pending) = place.and_then(|place| self.pending.remove(place)) else {
            return Err(broken);
        };
        match pending.question.hear(message, (self.shared.clock)()) {
            Heard::Strange => Err(broken),
            Heard::Broken(words) => {
                send(&pending.question.refuse(No::Failed, words), out);
                out.complete(pending.id, failed(words.into()))
            }
            Heard::Answer {
                bytes,
                answer,
                part,
            } => {
                if let Some(part) = part {
                    out.answer(pending.id, part)?;
                }
                out.complete(pending.id, answer)?;
                send(&bytes, out);
                Ok(())
            }
        }
    }

    fn pace(&mut self, out: &mut dyn Effects) {
        let full = self.pending.len() >= self.shared.limits.pending;
        if full != self.paused {
            self.paused = full;
            out.pause_client(full);
        }
    }
}

impl Session for TcpSession {
    fn receive(
        &mut self,
        from: Side,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        let mut used = 0;
        while let Some(message) = first(from, bytes.get(used..).unwrap_or_default())? {
            match from {
                Side::Upstream => self.answer(message, out)?,
                Side::Client if self.pending.len() >= self.shared.limits.pending => break,
                Side::Client => {
                    if !self.ask(message, out)? {
                        break;
                    }
                }
            }
            used += LENGTH_BYTES + message.len();
        }
        self.pace(out);
        Ok(used)
    }

    fn finish(
        &mut self,
        from: Side,
        unused: usize,
        out: &mut dyn Effects,
    ) -> Result<(), ProtocolError> {
        if from == Side::Upstream {
            for pending in self.pending.drain(..) {
                out.complete(
                    pending.id,
                    failed("the server closed before it answered".into()),
                )?;
            }
        }
        match (unused, from) {
            (0, _) => Ok(()),
            (_, Side::Client) => Err(ProtocolError::Client("it ended inside of a message")),
            (_, Side::Upstream) => Err(ProtocolError::Upstream("it ended inside of a message")),
        }
    }
}

/// The first message, when it is whole.
fn first(from: Side, bytes: &[u8]) -> Result<Option<&[u8]>, ProtocolError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length < HEADER_BYTES {
        let words = "a message without a header";
        return Err(match from {
            Side::Client => ProtocolError::Client(words),
            Side::Upstream => ProtocolError::Upstream(words),
        });
    }
    if from == Side::Client && length > QUESTION_BYTES_MAX {
        return Err(ProtocolError::Client("a question of more than 4096 bytes"));
    }
    Ok(rest.get(..length))
}

fn failed(reason: Arc<str>) -> Answer {
    Answer {
        error: Some(reason),
        ..Answer::default()
    }
}

/// A message with its length in front. One that is too long for that is none.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let Ok(length) = u16::try_from(message.len()) else {
        return Vec::new();
    };
    [&length.to_be_bytes()[..], message].concat()
}

fn send(message: &[u8], out: &mut dyn Effects) {
    if !message.is_empty() {
        out.send_client(&framed(message));
    }
}

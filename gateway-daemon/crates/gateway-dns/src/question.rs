//! One question on its way: asked, counted, sent upstream, answered.
use crate::Shared;
use crate::codec::{self, Asked, Fault, Reply};
use crate::interpret::{Meaning, kept};
use gateway_core::{Operation, Timestamp};
use gateway_protocol::{Answer, Asker, Heard, No, Question};
use std::sync::Arc;

/// A question that a client sent, or what it sent in the place of one.
pub struct DnsQuestion {
    shared: Arc<Shared>,
    asker: Asker,
    asked: Result<Asked, (Fault, Vec<u8>)>,
    meaning: Meaning,
    number: u16,
    bytes_up: u64,
}

impl DnsQuestion {
    /// Reads it, whatever it is.
    #[must_use]
    pub fn read(
        shared: Arc<Shared>,
        asker: Asker,
        bytes: &[u8],
        transport: &'static str,
    ) -> DnsQuestion {
        let asked = Asked::read(bytes);
        let meaning = match &asked {
            Ok(asked) => Meaning::of(asked, transport),
            Err(fault) => Meaning::unread(*fault, transport),
        };
        let head = bytes.get(..codec::HEADER_BYTES).unwrap_or_default();
        DnsQuestion {
            shared,
            asker,
            asked: asked.map_err(|fault| (fault, head.to_vec())),
            meaning,
            number: 0,
            bytes_up: bytes.len() as u64,
        }
    }

    /// What the policy's names are learned from.
    fn learn(&self, asked: &Asked, answered: &codec::Answered, now: Timestamp) {
        if self.asker.abroad || !self.shared.servers.contains(&self.asker.server.ip()) {
            return;
        }
        for (address, ttl) in answered.addresses(&asked.query.name) {
            let (tree, name) = (self.asker.tree, &self.meaning.name);
            self.shared.names.learn(tree, address, name, ttl, now);
        }
    }
}

impl Question for DnsQuestion {
    fn operation(&self) -> Operation<'_> {
        self.meaning.operation()
    }

    fn admit(&mut self, now: Timestamp) -> Result<(), Arc<str>> {
        match &self.asked {
            Err((fault, _)) => Err(format!("the client's message is {}", fault.words()).into()),
            Ok(_) => {
                let (tree, name) = (self.asker.tree, &self.meaning.name);
                let admitted = self.shared.tunnels.admit(tree, name, now);
                admitted.map_err(|excess| excess.to_string().into())
            }
        }
    }

    fn forward(&mut self, number: u16) -> Vec<u8> {
        self.number = number;
        let asked = self.asked.as_ref().ok();
        asked
            .and_then(|asked| asked.forward(number).ok())
            .unwrap_or_default()
    }

    fn hear(&mut self, datagram: &[u8], now: Timestamp) -> Heard {
        let Ok(asked) = &self.asked else {
            return Heard::Strange;
        };
        match asked.hear(self.number, datagram) {
            Reply::Strange => Heard::Strange,
            Reply::Malformed => Heard::Broken("the server's answer cannot be read"),
            Reply::Answer(answered) => {
                self.learn(asked, &answered, now);
                let answer = Answer {
                    rows: Some(answered.records().len() as u64),
                    bytes_up: self.bytes_up,
                    bytes_down: datagram.len() as u64,
                    error: answered.error().map(Into::into),
                    ..Answer::default()
                };
                Heard::Answer {
                    part: kept(&answered),
                    bytes: answered.bytes,
                    answer,
                }
            }
        }
    }

    fn refuse(&self, no: No, reason: &str) -> Vec<u8> {
        match &self.asked {
            Ok(asked) => asked.refuse(no, reason),
            Err((fault, head)) => codec::refuse_unread(head, *fault),
        }
    }
}

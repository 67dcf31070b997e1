//! Messages: a question is read whole or not at all, and what goes upstream is made anew from what
//! was read, so that nothing travels that is not understood (RFC 1035, RFC 6891).
use gateway_protocol::No;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::net::IpAddr;

/// The length of a header.
pub const HEADER_BYTES: usize = 12;
/// A question is not longer than this: a name, and the options of a client that has many.
pub const QUESTION_BYTES_MAX: usize = 4096;
/// How much a client may want to have at once; what is over fits no network.
const PAYLOAD_MAX: u16 = 4096;
/// Without EDNS (RFC 1035, 4.2.1).
const PAYLOAD_MIN: u16 = 512;
/// A chain of names is not followed any further.
const CHAIN_MAX: usize = 16;
/// Extended DNS Errors (RFC 8914): the option, and "prohibited" and "other" in it.
const EDE: u16 = 15;
const EDE_PROHIBITED: u16 = 18;
const EDE_OTHER: u16 = 0;
/// So much of a reason is told; the answer is to fit into one packet.
const REASON_BYTES_MAX: usize = 200;

/// Why a message is no question that could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no message, or not all of it.
    Malformed,
    /// It is longer than a question is.
    Long,
    /// It is an answer.
    Answer,
    /// It asks for something else than a look-up: an update, a transfer of zones.
    Operation,
    /// It has no question, or several.
    Questions,
    /// It has records that belong into answers, or a signature.
    Records,
    /// It is not about the Internet (class IN).
    Class,
}

impl Fault {
    /// For records and for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Fault::Malformed => "malformed",
            Fault::Long => "too long",
            Fault::Answer => "an answer in the place of a question",
            Fault::Operation => "not a look-up",
            Fault::Questions => "not one question",
            Fault::Records => "records in a question",
            Fault::Class => "not of class IN",
        }
    }

    const fn code(self) -> ResponseCode {
        match self {
            Fault::Operation => ResponseCode::NotImp,
            Fault::Class => ResponseCode::Refused,
            _ => ResponseCode::FormErr,
        }
    }
}

/// A question that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The client's number for it.
    pub id: u16,
    /// What is asked, with the client's upper and lower case.
    pub query: Query,
    recursion: bool,
    authentic: bool,
    unchecked: bool,
    /// How much fits, and whether signatures are wanted, where the client speaks EDNS.
    edns: Option<(u16, bool)>,
}

impl Asked {
    /// Reads a message of a client.
    ///
    /// # Errors
    /// It is no question that could be asked.
    pub fn read(bytes: &[u8]) -> Result<Asked, Fault> {
        if bytes.len() > QUESTION_BYTES_MAX {
            return Err(Fault::Long);
        }
        let message = Message::from_vec(bytes).map_err(|_| Fault::Malformed)?;
        let head = message.metadata;
        if head.message_type != MessageType::Query {
            return Err(Fault::Answer);
        }
        if head.op_code != OpCode::Query {
            return Err(Fault::Operation);
        }
        let [query] = message.queries.as_slice() else {
            return Err(Fault::Questions);
        };
        let records = [&message.answers, &message.authorities, &message.additionals];
        if records.iter().any(|records| !records.is_empty()) || message.signature.is_some() {
            return Err(Fault::Records);
        }
        if query.query_class != DNSClass::IN {
            return Err(Fault::Class);
        }
        if is_transfer(query.query_type) {
            return Err(Fault::Operation);
        }
        let edns = message.edns.as_ref().map(|edns| {
            let payload = edns.max_payload().clamp(PAYLOAD_MIN, PAYLOAD_MAX);
            (payload, edns.flags().dnssec_ok)
        });
        Ok(Asked {
            id: head.id,
            query: query.clone(),
            recursion: head.recursion_desired,
            authentic: head.authentic_data,
            unchecked: head.checking_disabled,
            edns,
        })
    }

    /// The same question under another number, of the gateway's own making.
    ///
    /// # Errors
    /// It cannot be written, which a name that was read can.
    pub fn forward(&self, number: u16) -> Result<Vec<u8>, Fault> {
        let mut message = Message::new(number, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = self.recursion;
        message.metadata.authentic_data = self.authentic;
        message.metadata.checking_disabled = self.unchecked;
        message.add_query(self.query.clone());
        if let Some((payload, signed)) = self.edns {
            message.set_edns(edns(payload, signed));
        }
        message.to_vec().map_err(|_| Fault::Malformed)
    }

    /// Says no, and why where the client can be told (RFC 8914).
    #[must_use]
    pub fn refuse(&self, no: No, reason: &str) -> Vec<u8> {
        let code = match no {
            No::Refused => ResponseCode::Refused,
            No::Failed => ResponseCode::ServFail,
        };
        let mut message = Message::error_msg(self.id, OpCode::Query, code);
        message.metadata.recursion_desired = self.recursion;
        message.metadata.recursion_available = true;
        message.add_query(self.query.clone());
        if let Some((payload, signed)) = self.edns {
            let mut edns = edns(payload, signed);
            let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
            let code = match no {
                No::Refused => EDE_PROHIBITED,
                No::Failed => EDE_OTHER,
            };
            let data = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            edns.options_mut().insert(EdnsOption::Unknown(EDE, data));
            message.set_edns(edns);
        }
        message.to_vec().unwrap_or_default()
    }

    /// Reads what came from the server for the question of this number.
    #[must_use]
    pub fn hear(&self, number: u16, bytes: &[u8]) -> Reply {
        let [first, second, third, ..] = bytes else {
            return Reply::Strange;
        };
        if u16::from_be_bytes([*first, *second]) != number || third & 0x80 == 0 {
            return Reply::Strange;
        }
        let Ok(message) = Message::from_vec(bytes) else {
            return Reply::Malformed;
        };
        let same = match message.queries.as_slice() {
            [query] => {
                query.name == self.query.name
                    && query.query_type == self.query.query_type
                    && query.query_class == self.query.query_class
            }
            // A server that could not read the question does not repeat it.
            [] => message.metadata.response_code == ResponseCode::FormErr,
            _ => false,
        };
        if !same || message.metadata.op_code != OpCode::Query {
            return Reply::Strange;
        }
        let mut bytes = bytes.to_vec();
        for (byte, own) in bytes.iter_mut().zip(self.id.to_be_bytes()) {
            *byte = own;
        }
        Reply::Answer(Answered { message, bytes })
    }
}

/// What a message from the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It answers something else. Whoever listens goes on.
    Strange,
    /// It claims to answer this and cannot be read.
    Malformed,
    /// The answer.
    Answer(Answered),
}

/// An answer, as it came and as the client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    message: Message,
    /// As it came, under the client's number.
    pub bytes: Vec<u8>,
}

impl Answered {
    /// The code, in the words of the protocol; `None`: there was no error.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let code = self.message.metadata.response_code;
        (code != ResponseCode::NoError).then(|| match code {
            ResponseCode::NXDomain => "NXDOMAIN".into(),
            ResponseCode::ServFail => "SERVFAIL".into(),
            ResponseCode::Refused => "REFUSED".into(),
            ResponseCode::FormErr => "FORMERR".into(),
            ResponseCode::NotImp => "NOTIMP".into(),
            other => format!("{other:?}"),
        })
    }

    /// The records of the answer itself.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.message.answers
    }

    /// The addresses that the name comes to, over its aliases, each with how many seconds that may
    /// be believed: the least on its way. Of an answer that says there is none, none.
    #[must_use]
    pub fn addresses(&self, name: &Name) -> Vec<(IpAddr, u32)> {
        if self.message.metadata.response_code != ResponseCode::NoError {
            return Vec::new();
        }
        let mut name = name;
        let mut ttl = u32::MAX;
        let mut found = Vec::new();
        for _ in 0..CHAIN_MAX {
            let mut alias = None;
            let own = self.records().iter().filter(|record| record.name == *name);
            for record in own.filter(|record| record.dns_class == DNSClass::IN) {
                let seconds = ttl.min(record.ttl);
                match &record.data {
                    RData::A(a) => found.push((IpAddr::V4(a.0), seconds)),
                    RData::AAAA(aaaa) => found.push((IpAddr::V6(aaaa.0), seconds)),
                    RData::CNAME(to) => alias = Some((&to.0, seconds)),
                    _ => {}
                }
            }
            match alias {
                Some((to, seconds)) if found.is_empty() => (name, ttl) = (to, seconds),
                _ => break,
            }
        }
        found
    }
}

/// Answers a message that is no question, when it has at least a number.
#[must_use]
pub fn refuse_unread(bytes: &[u8], fault: Fault) -> Vec<u8> {
    let [first, second, third, ..] = bytes else {
        return Vec::new();
    };
    // An answer is not answered: two gateways would go on for ever.
    if bytes.len() < HEADER_BYTES || fault == Fault::Answer || third & 0x80 != 0 {
        return Vec::new();
    }
    let id = u16::from_be_bytes([*first, *second]);
    let code = OpCode::from_u8((third >> 3) & 0x0f);
    let message = Message::error_msg(id, code, fault.code());
    message.to_vec().unwrap_or_default()
}

fn is_transfer(kind: RecordType) -> bool {
    // AXFR and IXFR move zones in many messages; OPT, TSIG and TKEY (249) are no data.
    matches!(
        kind,
        RecordType::AXFR | RecordType::IXFR | RecordType::OPT | RecordType::TSIG
    ) || u16::from(kind) == 249
}

fn edns(payload: u16, signed: bool) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_dnssec_ok(signed);
    edns
}

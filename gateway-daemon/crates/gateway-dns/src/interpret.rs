//! What a question means: the only place that gives meaning.
use crate::codec::{Answered, Asked, Fault};
use gateway_core::{AnswerPart, Attribute, Effect, Object, Operation, Verb};
use gateway_protocol::Interpretation;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::sync::Arc;

/// How much of an answer is on record, in bytes.
const KEPT_BYTES_MAX: usize = 4096;
/// How a question came: in a datagram, or on a connection.
pub const UDP: &str = "udp";
/// See [`UDP`].
pub const TCP: &str = "tcp";

/// A question or what should have been one, in the words that every protocol shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// The name in lower case, without the dot at its end; the root is `.`.
    pub name: Arc<str>,
    effects: Vec<Effect>,
    statement: String,
    attributes: Vec<(Arc<str>, Attribute)>,
}

impl Meaning {
    /// A look-up reads the name. A datagram opens the way to the server at the same time, and has to
    /// be allowed both; of a connection that has been asked before.
    #[must_use]
    pub fn of(asked: &Asked, transport: &'static str) -> Meaning {
        let name: Arc<str> = written(&asked.query.name).into();
        let kind = asked.query.query_type.to_string();
        Meaning::named(name, kind, Some(transport))
    }

    fn named(name: Arc<str>, kind: String, transport: Option<&'static str>) -> Meaning {
        let object = Object::Named(Arc::clone(&name));
        let statement = format!("{kind} {name}");
        let mut attributes = vec![text("dns.type", kind)];
        attributes.extend(transport.map(|transport| text("dns.transport", transport.to_owned())));
        Meaning {
            name,
            effects: effects(Verb::Read, object, transport),
            statement,
            attributes,
        }
    }

    /// What cannot be read may ask for anything.
    #[must_use]
    pub fn unread(fault: Fault, transport: &'static str) -> Meaning {
        Meaning {
            name: "".into(),
            effects: effects(
                Verb::Unknown,
                Object::Unresolved("*".into()),
                Some(transport),
            ),
            statement: String::new(),
            attributes: vec![
                text("dns.fault", fault.words().to_owned()),
                text("dns.transport", transport.to_owned()),
            ],
        }
    }

    /// A statement like `A example.com`, as records show it.
    #[must_use]
    pub fn of_statement(statement: &str) -> Option<Meaning> {
        let (kind, name) = statement.trim().split_once(char::is_whitespace)?;
        let kind: RecordType = kind.to_ascii_uppercase().parse().ok()?;
        let name = Name::from_ascii(name.trim()).ok()?;
        Some(Meaning::named(
            written(&name).into(),
            kind.to_string(),
            None,
        ))
    }

    /// As cases of policies ask for it.
    #[must_use]
    pub fn into_interpretation(self) -> Interpretation {
        Interpretation {
            verb: self.verb(),
            effects: self.effects,
            attributes: self.attributes,
        }
    }

    /// The verb that people would name it by.
    fn verb(&self) -> Verb {
        self.effects
            .first()
            .map_or(Verb::Unknown, |effect| effect.verb)
    }

    /// As it is submitted.
    #[must_use]
    pub fn operation(&self) -> Operation<'_> {
        // Without a shape: names are chosen by whoever asks, and a decision is remembered for none.
        Operation {
            statement: &self.statement,
            attributes: &self.attributes,
            ..Operation::new(crate::NAME, self.verb(), &self.effects)
        }
    }
}

/// The records of an answer as rows: name, seconds, type, and what it says where that is a name or
/// an address. Of all else (texts, keys) only that it was there.
#[must_use]
pub fn kept(answered: &Answered) -> Option<AnswerPart> {
    let mut size = 0;
    let rows: Vec<_> = answered
        .records()
        .iter()
        .map(row)
        .take_while(|row| {
            size += row
                .iter()
                .flatten()
                .map(|value| 8 + value.len())
                .sum::<usize>();
            size <= KEPT_BYTES_MAX
        })
        .collect();
    (!rows.is_empty()).then_some(AnswerPart::Rows(rows))
}

fn row(record: &Record) -> Vec<Option<String>> {
    let data = match &record.data {
        RData::A(a) => Some(a.to_string()),
        RData::AAAA(aaaa) => Some(aaaa.to_string()),
        RData::CNAME(name) => Some(written(&name.0)),
        RData::NS(name) => Some(written(&name.0)),
        RData::PTR(name) => Some(written(&name.0)),
        RData::MX(mx) => Some(written(&mx.exchange)),
        RData::SRV(srv) => Some(format!("{}:{}", written(&srv.target), srv.port)),
        _ => None,
    };
    vec![
        Some(written(&record.name)),
        Some(record.ttl.to_string()),
        Some(record.record_type().to_string()),
        data,
    ]
}

/// A name as policies and people write it.
fn written(name: &Name) -> String {
    let mut text = name.to_lowercase().to_ascii();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text
}

fn effects(verb: Verb, object: Object, transport: Option<&str>) -> Vec<Effect> {
    let mut effects = vec![Effect {
        verb,
        objects: vec![object],
    }];
    if transport == Some(UDP) {
        effects.push(Effect {
            verb: Verb::Connect,
            objects: Vec::new(),
        });
    }
    effects
}

fn text(key: &str, value: String) -> (Arc<str>, Attribute) {
    (key.into(), Attribute::Text(value.into()))
}

//! `[[case]]`: a question with the answer that the policy must give.
pub(crate) mod who;

use super::rule::read_names;
use super::{Asked, CaseTable, VERDICTS, read_verdict};
use crate::reader::{Located, Reader, Section, Value};
use crate::schema::{Form, Key};
use gateway_core::{Attribute, Verb};
use std::sync::Arc;
use toml::de::DeValue;

/// The keys of a case.
pub(crate) const KEYS: [Key; 5] = [
    Key::needed("who", Form::Who, "Who asks"),
    Key::needed("operation", Form::Operation, "What is asked"),
    Key::needed("verdict", Form::Verdict, "The verdict that is wanted"),
    Key::new("rule", Form::Name, "The rule that must give it"),
    Key::new(
        "masks",
        Form::Names,
        "The masks that must be covered, and no others",
    ),
];

/// The keys of `operation`: a statement with its protocol, or a verb with the rest.
pub(crate) const OPERATION_KEYS: [Key; 6] = [
    Key::needed(
        "resource",
        Form::Name,
        "The name of a resource, or address:port, or name:port",
    ),
    Key::new("protocol", Form::Name, "The protocol"),
    Key::new(
        "statement",
        Form::Text,
        "The statement, which its protocol takes apart",
    ),
    Key::new("verb", Form::Verb, "In place of a statement: what is done"),
    Key::new("objects", Form::Texts, "Beside a verb: what is touched"),
    Key::new(
        "attributes",
        Form::Attributes,
        "Beside a verb: what the protocol adds",
    ),
];

const WHO: &str = "{ principal = \"local:alice\" }";
const OPERATION: &str = "{ resource = \"…\", protocol = \"…\", statement = \"…\" }, or a `verb` in place of the statement";

/// `None` when something is missing, which the reader knows by then.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<CaseTable> {
    reader.check_keys(section, &KEYS);
    let who = reader
        .required(section, "who", WHO)
        .and_then(|value| reader.table("who", value, WHO))
        .and_then(|who| who::read(reader, &who));
    let operation = reader
        .required(section, "operation", OPERATION)
        .and_then(|value| reader.table("operation", value, OPERATION))
        .and_then(|operation| read_operation(reader, &operation));
    let verdict = reader
        .required(section, "verdict", "\"allow\", \"deny\" or \"hold\"")
        .and_then(|value| read_verdict(reader, "verdict", value, &VERDICTS));
    let rule = section
        .get("rule")
        .and_then(|value| reader.name("rule", value));
    let masks = section
        .get("masks")
        .map(|value| read_names(reader, "masks", "mask", value));
    let (subject, time) = who?;
    let (resource, protocol, asked, attributes) = operation?;
    let span = section.span.clone();
    Some(CaseTable {
        span,
        subject,
        time,
        resource,
        protocol,
        attributes,
        asked,
        verdict: verdict?,
        rule,
        masks,
    })
}

type Attributes = Vec<(Arc<str>, Attribute)>;
type Operation = (Located<String>, Option<String>, Asked, Attributes);

fn read_operation(reader: &mut Reader<'_>, operation: &Section<'_>) -> Option<Operation> {
    reader.check_keys(operation, &OPERATION_KEYS);
    let resource = reader
        .required(
            operation,
            "resource",
            "the name of a resource, or address:port",
        )
        .and_then(|value| reader.name("resource", value));
    let protocol = operation.get("protocol").map(|value| {
        reader
            .name("protocol", value)
            .map(|protocol| protocol.value)
    });
    let objects = match operation.get("objects") {
        Some(value) => reader.strings("objects", value, "a list of names"),
        None => Some(Vec::new()),
    };
    let attributes = match operation.get("attributes") {
        Some(value) => read_attributes(reader, value),
        None => Vec::new(),
    };
    let statement = operation.get("statement");
    let asked = match (statement, operation.get("verb")) {
        (Some(value), None) => {
            let text = reader.string("statement", value, "the text of a statement");
            if protocol.is_none() {
                let message = "a statement without a `protocol` that reads it";
                reader.error(value.span(), message, "`protocol` beside it");
            }
            if let Some(objects) = operation.get("objects") {
                let message = "`objects` beside a statement, which names its own";
                reader.error(objects.span(), message, "`objects` beside a `verb` only");
            }
            if let Some(attributes) = operation.get("attributes") {
                let message = "`attributes` beside a statement, which has its own";
                reader.error(
                    attributes.span(),
                    message,
                    "`attributes` beside a `verb` only",
                );
            }
            Asked::Statement(text?.value)
        }
        (None, Some(value)) => {
            let words = Verb::ALL.map(|verb| (verb.name(), verb));
            let verb = reader.word("verb", value, &words)?;
            Asked::Verb(
                verb,
                objects?.into_iter().map(|object| object.value).collect(),
            )
        }
        (Some(_), Some(verb)) => {
            reader.error(verb.span(), "`verb` beside a statement", "one of them");
            return None;
        }
        (None, None) => {
            if reader.is_whole() {
                let message = "`operation` has neither a statement nor a verb";
                reader.error(operation.span.clone(), message, OPERATION);
            }
            return None;
        }
    };
    let protocol = match protocol {
        Some(protocol) => Some(protocol?),
        None => None,
    };
    Some((resource?, protocol, asked, attributes))
}

/// `{ "sql.has_where" = true }`
fn read_attributes(reader: &mut Reader<'_>, value: &Value<'_>) -> Attributes {
    const EXPECTED: &str = "a table like { \"sql.has_where\" = true }";
    const KINDS: &str = "true or false, a whole number, or a text";
    let Some(section) = reader.table("attributes", value, EXPECTED) else {
        return Vec::new();
    };
    let mut attributes = Vec::new();
    for (name, value) in section.table.iter() {
        let attribute = match value.get_ref() {
            DeValue::Boolean(value) => Some(Attribute::Bool(*value)),
            DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix())
                .ok()
                .map(Attribute::Int),
            DeValue::String(value) => Some(Attribute::Text((&**value).into())),
            _ => None,
        };
        match attribute {
            Some(attribute) => attributes.push(((&**name.get_ref()).into(), attribute)),
            None => reader.wrong_type("attributes", value, KINDS),
        }
    }
    attributes
}

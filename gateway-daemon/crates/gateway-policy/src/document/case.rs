//! `[[case]]`: a question with the answer that the policy must give.
use super::{Asked, CaseTable, read_verdict};
use crate::diagnostic::quoted;
use crate::reader::{Located, Reader, Section};
use gateway_core::Verb;

const WHO: &str = "{ principal = \"local:alice\" }";
const OPERATION: &str = "{ resource = \"…\", protocol = \"…\", statement = \"…\" }, or a `verb` in place of the statement";

/// `None` when something is missing, which the reader knows by then.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<CaseTable> {
    reader.check_keys(section, &["who", "operation", "verdict", "rule"]);
    let who = reader
        .required(section, "who", WHO)
        .and_then(|value| reader.table("who", value, WHO))
        .and_then(|who| read_who(reader, &who));
    let operation = reader
        .required(section, "operation", OPERATION)
        .and_then(|value| reader.table("operation", value, OPERATION))
        .and_then(|operation| read_operation(reader, &operation));
    let verdict = reader
        .required(section, "verdict", "\"allow\" or \"deny\"")
        .and_then(|value| read_verdict(reader, "verdict", value));
    let rule = section
        .get("rule")
        .and_then(|value| reader.name("rule", value));
    let (principal, groups) = who?;
    let (resource, protocol, asked) = operation?;
    let span = section.span.clone();
    Some(CaseTable {
        span,
        principal,
        groups,
        resource,
        protocol,
        asked,
        verdict: verdict?,
        rule,
    })
}

fn read_who(reader: &mut Reader<'_>, who: &Section<'_>) -> Option<(String, Vec<String>)> {
    reader.check_keys(who, &["principal", "depth", "groups"]);
    let principal = reader
        .required(
            who,
            "principal",
            "the name of a principal like \"local:alice\"",
        )
        .and_then(|value| reader.name("principal", value));
    if let Some(value) = who.get("depth") {
        // No rule that is built looks at it; it is checked, so that the case stays right later.
        reader.number(
            "depth",
            value,
            0..1 << 32,
            "a whole number, 0 for the root of the tree",
        );
    }
    let groups = match who.get("groups") {
        Some(value) => reader.strings("groups", value, "a list of group names")?,
        None => Vec::new(),
    };
    for group in &groups {
        if let Some(name) = group.value.strip_prefix("group:") {
            let text = quoted(&group.value);
            let message = format!("{text} in `groups` begins with `group:`");
            reader.error(
                group.span.clone(),
                message,
                format!("the name alone: {}", quoted(name)),
            );
        }
    }
    Some((
        principal?.value,
        groups.into_iter().map(|group| group.value).collect(),
    ))
}

type Operation = (Located<String>, Option<String>, Asked);

fn read_operation(reader: &mut Reader<'_>, operation: &Section<'_>) -> Option<Operation> {
    reader.check_keys(
        operation,
        &["resource", "protocol", "statement", "verb", "objects"],
    );
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
    Some((resource?, protocol, asked))
}

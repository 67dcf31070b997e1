//! The keys of a policy file, and the JSON schema that is made of them.
//!
//! Each section has one table of keys, beside the code that reads it. The reader refuses what is
//! not in the table, and the schema is written from it, so neither can know a key that the other
//! does not. The schema is the coarser of the two: it knows no reference from one part of a file
//! to another, no pattern's meaning and no condition.
use crate::document::{self, case, hold, link, mask, resource, rule};
use crate::harden::Measure;
use crate::{size, unix};
use gateway_core::mask::Detector;
use gateway_core::{Assurance, ClientTls, Inbound, Mode, UpstreamTls, Verb, Verdict};
use serde_json::{Map, Value, json};

/// A key of a section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    form: Form,
    required: bool,
    /// For people, in one line.
    about: &'static str,
}

impl Key {
    /// A key that may be left out.
    pub(crate) const fn new(name: &'static str, form: Form, about: &'static str) -> Key {
        Key {
            name,
            form,
            required: false,
            about,
        }
    }

    /// A key that has to be there.
    pub(crate) const fn needed(name: &'static str, form: Form, about: &'static str) -> Key {
        Key {
            name,
            form,
            required: true,
            about,
        }
    }
}

/// The names of keys, in their order.
pub(crate) fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// 1 to 200 characters.
    Name,
    /// 1 to 1024 characters.
    Line,
    /// A text of any length.
    Text,
    /// Lines, at least one.
    Lines,
    /// Texts, none included.
    Texts,
    /// Names, none included.
    Names,
    /// Absolute paths, none included.
    Paths,
    UnixNames,
    /// A whole number below this one.
    Below(u64),
    /// Ports, at least one.
    Ports,
    /// The name of a protocol.
    Protocol,
    /// An absolute path.
    Path,
    /// `tls` of a resource.
    Tls,
    ClientTls,
    /// Those that have a word.
    UpstreamTls,
    /// The name of a credential.
    Credential,
    Mode,
    /// What can be said where no rule covers.
    Default,
    Verdict,
    Verb,
    /// Verbs or `*`, at least one.
    Verbs,
    Assurance,
    /// `60s`
    Duration,
    /// `64KiB`
    Size,
    /// `once`, or a duration.
    Grant,
    /// Names to true or false, whole numbers and texts.
    Attributes,
    /// Names, or tables that say more.
    Delegates,
    /// `[policy]`
    Policy,
    /// `[[resource]]`
    Resources,
    /// `[[rule]]`
    Rules,
    /// `[[case]]`
    Cases,
    /// `who` of a case.
    Who,
    /// `operation` of a case.
    Operation,
    /// `[[mask]]`
    Masks,
    /// Patterns over names of fields, none included; no JSON path.
    Fields,
    /// Names of detectors, none included.
    Detectors,
    /// Names of measures.
    Measures,
    Treatment,
    Predicates,
    /// A word of [`mask::LONG_ROWS`].
    LongRows,
    Inbound,
    /// The word `deny`, or a table.
    WhenDown,
}

/// The JSON schema (draft 7) of a policy file, as `docs/policy.schema.json` has it.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = table(&document::KEYS);
    if let Some(schema) = schema.as_object_mut() {
        let dialect = "http://json-schema.org/draft-07/schema#";
        schema.insert("$schema".into(), json!(dialect));
        schema.insert("title".into(), json!("A policy of the gateway"));
    }
    schema
}

/// A table with these keys.
fn table(keys: &[Key]) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let mut value = key.form.schema();
        if let Some(value) = value.as_object_mut() {
            value.insert("description".into(), json!(key.about));
        }
        properties.insert(key.name.into(), value);
    }
    let required = keys.iter().filter(|key| key.required);
    let required: Vec<&str> = required.map(|key| key.name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// The same, with what else has to hold.
fn with(mut table: Value, more: &[(&str, Value)]) -> Value {
    if let Some(table) = table.as_object_mut() {
        let more = more.iter().cloned();
        table.extend(more.map(|(key, value)| (key.to_owned(), value)));
    }
    table
}

fn tables(table: Value) -> Value {
    let max = document::TABLES_MAX;
    json!({ "type": "array", "items": table, "maxItems": max })
}

/// What holds by the word of this key says who is asked, and nothing else does.
fn with_hold(table: Value, by: &str) -> Value {
    let [needed, ..] = hold::KEYS;
    let none = hold::KEYS.map(|key| (key.to_owned(), json!(false)));
    let none: Map<String, Value> = none.into_iter().collect();
    let holds =
        json!({ "required": [by], "properties": { by: { "const": Verdict::Hold.name() } } });
    with(
        table,
        &[
            ("if", holds),
            ("then", json!({ "required": [needed] })),
            ("else", json!({ "properties": none })),
        ],
    )
}

/// A mask calls something sensitive.
fn mask_table() -> Value {
    let filled = |key: &str| json!({ "required": [key], "properties": { key: { "minItems": 1 } } });
    let mask = with_hold(table(&mask::KEYS), "predicates");
    with(
        mask,
        &[("anyOf", json!([filled("fields"), filled("detect")]))],
    )
}

/// A statement with the protocol that reads it, or a verb.
fn operation_table() -> Value {
    let statement = json!({
        "required": ["statement", "protocol"],
        "properties": { "verb": false, "objects": false, "attributes": false },
    });
    let verb = json!({ "required": ["verb"], "properties": { "statement": false } });
    let operation = table(&case::OPERATION_KEYS);
    with(operation, &[("oneOf", json!([statement, verb]))])
}

fn list(items: Value, min: usize) -> Value {
    json!({ "type": "array", "items": items, "minItems": min })
}

fn text(min: usize, max: usize) -> Value {
    json!({ "type": "string", "minLength": min, "maxLength": max })
}

impl Form {
    fn schema(self) -> Value {
        let line = || text(1, 1024);
        let any = || json!({ "type": "string" });
        match self {
            Form::Name => text(1, 200),
            Form::Line => line(),
            Form::Text => any(),
            Form::Lines => list(line(), 1),
            Form::Texts => list(any(), 0),
            Form::Names => list(text(1, 200), 0),
            Form::Paths => list(json!({ "type": "string", "pattern": "^(/[^/]+)+$" }), 0),
            Form::UnixNames => list(json!({ "type": "string", "pattern": unix::PATTERN }), 0),
            Form::Below(end) => json!({ "type": "integer", "minimum": 0, "maximum": end - 1 }),
            Form::Ports => {
                let port = json!({ "type": "integer", "minimum": 1, "maximum": 65_535 });
                list(port, 1)
            }
            Form::Protocol => json!({ "type": "string", "pattern": "^[a-z0-9-]{1,32}$" }),
            Form::Path => json!({ "type": "string", "pattern": "^/" }),
            Form::Tls => table(&link::TLS_KEYS),
            Form::ClientTls => json!({ "enum": ClientTls::ALL.map(ClientTls::word) }),
            Form::UpstreamTls => json!({ "enum": UpstreamTls::NAMED.map(UpstreamTls::word) }),
            Form::Credential => {
                json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$" })
            }
            Form::Mode => {
                let modes = [Mode::Observe, Mode::Shadow, Mode::Enforce];
                json!({ "enum": modes.map(Mode::name) })
            }
            Form::Default => {
                let verdicts = [Verdict::Allow, Verdict::Deny].map(Verdict::name);
                json!({ "enum": verdicts })
            }
            Form::Verdict => json!({ "enum": document::VERDICTS.map(Verdict::name) }),
            Form::Verb => json!({ "enum": Verb::ALL.map(Verb::name) }),
            Form::Verbs => {
                let names = Verb::ALL.map(Verb::name);
                let names: Vec<&str> = names.into_iter().chain(["*"]).collect();
                list(json!({ "enum": names }), 1)
            }
            Form::Assurance => {
                use Assurance::{Asserted, Kernel, None, Verified};
                let names = [Verified, Kernel, Asserted, None].map(Assurance::name);
                json!({ "enum": names })
            }
            Form::Duration => json!({ "type": "string", "pattern": "^[0-9]+[smh]$" }),
            Form::Size => {
                let units = size::UNITS.map(|(unit, _)| unit).join("|");
                json!({ "type": "string", "pattern": format!("^[0-9]+({units})$") })
            }
            Form::Grant => json!({ "type": "string", "pattern": "^(once|[0-9]+[smh])$" }),
            Form::Attributes => {
                let value = json!({ "type": ["boolean", "integer", "string"] });
                json!({ "type": "object", "additionalProperties": value })
            }
            Form::Delegates => {
                let delegate = table(&case::who::DELEGATE_KEYS);
                list(json!({ "anyOf": [text(1, 200), delegate] }), 0)
            }
            Form::Policy => table(&document::policy::KEYS),
            Form::Resources => tables(table(&resource::KEYS)),
            Form::Rules => tables(with_hold(table(&rule::KEYS), "verdict")),
            Form::Cases => list(table(&case::KEYS), 0),
            Form::Who => table(&case::who::KEYS),
            Form::Operation => operation_table(),
            Form::Masks => tables(mask_table()),
            Form::Fields => {
                let field = json!({ "type": "string", "pattern": "^[^$]", "maxLength": 1024 });
                list(field, 0)
            }
            Form::Measures => {
                let names = Measure::ALL.map(Measure::name);
                list(json!({ "enum": names }), 0)
            }
            Form::Detectors => {
                let names = Detector::ALL.map(Detector::name);
                list(json!({ "enum": names }), 0)
            }
            Form::Treatment => json!({ "enum": mask::TREATMENTS.map(|(word, _)| word) }),
            Form::Predicates => json!({ "enum": mask::PREDICATES }),
            Form::Inbound => json!({ "enum": Inbound::ALL.map(Inbound::name) }),
            Form::WhenDown => {
                let waits = table(&document::policy::WHEN_DOWN_KEYS);
                json!({ "anyOf": [{ "const": "deny" }, waits] })
            }
            Form::LongRows => json!({ "enum": mask::LONG_ROWS.map(|(word, _)| word) }),
        }
    }
}

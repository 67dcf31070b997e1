//! `[[mask]]`: what is sensitive in answers, and what becomes of it.
use super::{MaskTable, PredicatesTable, hold};
use crate::diagnostic::quoted;
use crate::reader::{Located, Reader, Section, Value, list, nearest};
use crate::schema::{Form, Key};
use crate::unbuilt;
use gateway_core::mask::{Detector, Treatment};
use toml::de::DeValue;

/// The keys of a mask.
pub(crate) const KEYS: [Key; 9] = [
    Key::needed("name", Form::Name, "By which rules name it"),
    Key::new(
        "fields",
        Form::Fields,
        "Globs over the names of fields: schema.table.column",
    ),
    Key::new(
        "detect",
        Form::Detectors,
        "What is looked for in the values of all fields",
    ),
    Key::new(
        "with",
        Form::Treatment,
        "What becomes of the values; by default redact",
    ),
    Key::new(
        "predicates",
        Form::Predicates,
        "What becomes of operations that ask about a field without returning it; by default deny",
    ),
    Key::new(
        "long_rows",
        Form::LongRows,
        "What becomes of rows that are too long to be looked into; by default refuse",
    ),
    Key::new("approvers", Form::Lines, "Of a hold: who may answer"),
    Key::new(
        "timeout",
        Form::Duration,
        "Of a hold: how long it waits; by default 60s",
    ),
    Key::new(
        "grant",
        Form::Grant,
        "Of a hold: how far an approval reaches; by default once",
    ),
];

/// What can become of a value, with its word.
pub(crate) const TREATMENTS: [(&str, Treatment); 4] = [
    ("redact", Treatment::Redact),
    ("partial", Treatment::Partial),
    ("hash", Treatment::Hash),
    ("null", Treatment::Null),
];

/// What can become of an operation that only asks.
pub(crate) const PREDICATES: [&str; 3] = ["allow", "deny", "hold"];

/// What can become of a row that is too long to be looked into. True: it is cut.
pub(crate) const LONG_ROWS: [(&str, bool); 2] = [("refuse", false), ("cut", true)];

const FIELDS: &str = "a list of patterns like [\"public.users.email\", \"*.ssn\"]";

pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> MaskTable {
    reader.check_keys(section, &KEYS);
    let name = reader
        .required(section, "name", "a name of 1 to 200 characters")
        .and_then(|value| reader.name("name", value));
    let fields = section
        .get("fields")
        .map(|value| read_fields(reader, value));
    let detectors = section
        .get("detect")
        .map(|value| read_detectors(reader, value));
    let filled = |key| match section.get(key).map(Value::get_ref) {
        Some(DeValue::Array(array)) => !array.is_empty(),
        // Of another type, which is said by then.
        other => other.is_some(),
    };
    if !filled("fields") && !filled("detect") && reader.is_whole() {
        let message = "[[mask]] calls nothing sensitive";
        reader.error(
            section.span.clone(),
            message,
            "`fields`, `detect` or both, with something in them",
        );
    }
    let with = section
        .get("with")
        .and_then(|value| reader.word("with", value, &TREATMENTS));
    let cuts_long_rows = section
        .get("long_rows")
        .and_then(|value| reader.word("long_rows", value, &LONG_ROWS));
    let predicates = read_predicates(reader, section);
    MaskTable {
        name,
        fields: fields.unwrap_or_default(),
        detectors: detectors.unwrap_or_default(),
        with: with.unwrap_or(Treatment::Redact),
        // What is missing was said; denial is what cannot do harm till then.
        predicates: predicates.unwrap_or(PredicatesTable::Deny),
        cuts_long_rows: cuts_long_rows.unwrap_or(false),
    }
}

fn read_predicates(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<PredicatesTable> {
    let word = match section.get("predicates") {
        Some(value) => reader.word("predicates", value, &PREDICATES.map(|word| (word, word)))?,
        None => "deny",
    };
    if word == "hold" {
        return hold::read(reader, section).map(PredicatesTable::Hold);
    }
    let whose = format!("a mask whose `predicates` is \"{word}\"");
    hold::refuse(reader, section, &whose, "predicates");
    Some(match word {
        "allow" => PredicatesTable::Allow,
        _ => PredicatesTable::Deny,
    })
}

fn read_fields(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<String> {
    let mut texts = reader.strings("fields", value, FIELDS).unwrap_or_default();
    texts.retain(|text| reader.check_text("fields", text) && check_field(reader, text));
    texts.into_iter().map(|text| text.value).collect()
}

/// A mask that can never match would look as if it covered something.
fn check_field(reader: &mut Reader<'_>, text: &Located<String>) -> bool {
    let pattern = &text.value;
    if pattern.starts_with('$') {
        let what = format!("the JSON path {} in `fields`", quoted(pattern));
        let message = unbuilt::message(&what, "masking within JSON");
        let expected = "a pattern over schema.table.column";
        reader.error(text.span.clone(), message, expected);
        return false;
    }
    // A star matches dots too. Without one the name has to be there as a whole; and what begins
    // with the name of a column begins with no name of a schema.
    let whole = match pattern.contains('*') {
        true => pattern.starts_with('*') || pattern.contains('.'),
        false => pattern.matches('.').count() >= 2,
    };
    if !whole {
        let message = format!(
            "the pattern {} in `fields` names no column",
            quoted(pattern)
        );
        let near = quoted(&format!("*.{pattern}"));
        let expected = format!("{near}, perhaps: names are schema.table.column");
        reader.error(text.span.clone(), message, expected);
    }
    whole
}

fn read_detectors(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Detector> {
    let names = Detector::ALL.map(Detector::name);
    let expected = list(&names, '"');
    let mut detectors = Vec::new();
    for text in reader
        .strings("detect", value, &format!("a list of {expected}"))
        .unwrap_or_default()
    {
        let named = |detector: &&Detector| detector.name() == text.value;
        match Detector::ALL.iter().find(named) {
            Some(detector) => detectors.push(*detector),
            None => {
                let expected = match nearest(&text.value, &names) {
                    Some(near) => format!("\"{near}\", perhaps"),
                    None => expected.clone(),
                };
                let message = format!("there is no detector {}", quoted(&text.value));
                reader.error(text.span, message, expected);
            }
        }
    }
    detectors
}

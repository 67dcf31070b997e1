//! The terms of a hold, as rules and masks have them.
use super::HoldTable;
use crate::diagnostic::quoted;
use crate::hold::{HOLD_MAX, TIMEOUT_DEFAULT, TIMEOUT_MIN, duration};
use crate::reader::{Located, Reader, Section, Value};
use gateway_core::Grant;
use std::time::Duration;

/// The keys that only what holds can have. The first is required there.
pub(crate) const KEYS: [&str; 3] = ["approvers", "timeout", "grant"];

/// The terms, where a rule holds or a mask lets a human answer.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<HoldTable> {
    const APPROVERS: &str = "a list of who may answer like [\"group:dba\"]";
    const TIMEOUT: &str = "a time from \"1s\" to \"24h\"";
    const GRANT: &str = "\"once\", or a time from \"1s\" to \"24h\"";
    let approvers = reader
        .required(section, "approvers", APPROVERS)
        .and_then(|value| reader.filled_strings("approvers", value, APPROVERS));
    let approvers = approvers.map(|mut texts| {
        texts.retain(|text| reader.check_text("approvers", text) && check_pattern(reader, text));
        texts
    });
    let timeout = match section.get("timeout") {
        None => Some(TIMEOUT_DEFAULT),
        Some(value) => read_duration(reader, "timeout", value, TIMEOUT),
    };
    let once = |value: &Value<'_>| value.get_ref().as_str() == Some("once");
    let grant = match section.get("grant") {
        None => Some(Grant::Once),
        Some(value) if once(value) => Some(Grant::Once),
        Some(value) => read_duration(reader, "grant", value, GRANT).map(Grant::Until),
    };
    let approvers = approvers?.into_iter().map(|text| text.value.into());
    Some(HoldTable {
        approvers: approvers.collect(),
        timeout: timeout?,
        grant: grant?,
    })
}

fn read_duration(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    expected: &str,
) -> Option<Duration> {
    let text = reader.string(key, value, expected)?;
    let duration = duration(&text.value);
    let duration = duration.filter(|time| (TIMEOUT_MIN..=HOLD_MAX).contains(time));
    if duration.is_none() {
        let message = format!("`{key}` is {}", quoted(&text.value));
        reader.error(text.span, message, expected);
    }
    duration
}

/// Terms of a hold where nothing is held would look as if somebody were asked. `by` is the key that
/// says what is done.
pub(super) fn refuse(reader: &mut Reader<'_>, section: &Section<'_>, whose: &str, by: &str) {
    for key in KEYS {
        if let Some(value) = section.get(key) {
            let message = format!("`{key}` in {whose}");
            let expected = format!("no `{key}`, or `{by} = \"hold\"`");
            reader.error(value.span(), message, expected);
        }
    }
}

/// A pattern over principals that can match one.
pub(super) fn check_pattern(reader: &mut Reader<'_>, text: &Located<String>) -> bool {
    if text.value != "group:" {
        return true;
    }
    let expected = "a group like \"group:engineering\"";
    reader.error(text.span.clone(), "`group:` is without a name", expected);
    false
}

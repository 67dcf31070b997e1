//! Reads JSON as SCIM means it: names of attributes without regard to case, `null` as absence.
use super::problem::Problem;
use crate::directory::diagnostic::quoted;
use serde_json::Value;
use std::collections::BTreeMap;

/// The longest value that is stored, in bytes.
const VALUE_BYTES_MAX: usize = 256;

/// The attributes of an object, by their names in lower case.
#[derive(Debug)]
pub(super) struct Attributes<'a>(BTreeMap<String, &'a Value>);

/// The body of a request. How deep it may be is bounded by the parser.
pub(super) fn body(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|error| Problem::syntax(format!("the body is not JSON: {error}")))
}

impl<'a> Attributes<'a> {
    pub(super) fn of(value: &'a Value, what: &str) -> Result<Attributes<'a>, Problem> {
        let object = value
            .as_object()
            .ok_or_else(|| Problem::syntax(format!("{what} is not an object")))?;
        let mut attributes = BTreeMap::new();
        for (name, value) in object {
            // Which of the two would count?
            if attributes.insert(name.to_lowercase(), value).is_some() {
                let message = format!("{what} has the attribute {} twice", quoted(name));
                return Err(Problem::syntax(message));
            }
        }
        attributes.retain(|_, value| !value.is_null());
        Ok(Attributes(attributes))
    }

    /// `name` is in lower case.
    pub(super) fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).copied()
    }

    /// A resource or message has to name its schema.
    pub(super) fn check_schema(&self, schema: &str) -> Result<(), Problem> {
        let named = self.get("schemas").and_then(Value::as_array);
        let has = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| text.eq_ignore_ascii_case(schema))
        };
        if named.is_some_and(|schemas| schemas.iter().any(has)) {
            return Ok(());
        }
        let message = format!("`schemas` does not name {schema}");
        Err(Problem::syntax(message))
    }

    pub(super) fn text(&self, key: &str, name: &str) -> Result<Option<String>, Problem> {
        self.get(key)
            .map_or(Ok(None), |value| text(value, name).map(Some))
            .map(|text| text.filter(|text| !text.is_empty()))
    }
}

/// A string that can be stored.
pub(super) fn text(value: &Value, name: &str) -> Result<String, Problem> {
    let Some(text) = value.as_str() else {
        return Err(Problem::value(format!("`{name}` is not a string")));
    };
    if text.len() > VALUE_BYTES_MAX {
        let message = format!("`{name}` is longer than {VALUE_BYTES_MAX} bytes");
        return Err(Problem::value(message));
    }
    if text.chars().any(char::is_control) {
        let message = format!("`{name}` has a control character in it");
        return Err(Problem::value(message));
    }
    Ok(text.to_owned())
}

/// A truth value: Entra sends `"False"`, a string.
pub(super) fn truth(value: &Value, name: &str) -> Result<bool, Problem> {
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(Problem::value(format!(
            "`{name}` is neither true nor false"
        ))),
    }
}

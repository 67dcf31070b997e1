//! Sensitive fields of answers, as `gateway show` has them: of each operation, and their sums.
use super::rows::labelled;
use crate::terminal::screen::Screen;
use serde_json::Value;
use std::collections::BTreeMap;

/// The names of the fields that an operation disclosed.
pub(super) fn disclosed(operation: &Value) -> Vec<&str> {
    let names = operation.pointer("/disclosed").and_then(Value::as_array);
    let names = names.into_iter().flatten();
    names.filter_map(Value::as_str).collect()
}

/// Counts by field.
#[derive(Debug, Default)]
pub(super) struct Fields {
    masked: BTreeMap<String, u64>,
    disclosed: BTreeMap<String, u64>,
}

impl Fields {
    /// Those of one operation.
    pub(super) fn of(operation: &Value) -> Fields {
        let counts = |pointer| {
            let object = operation.pointer(pointer).and_then(Value::as_object);
            let pairs = object.into_iter().flatten();
            pairs
                .map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(0)))
                .collect()
        };
        Fields {
            masked: counts("/masked"),
            disclosed: counts("/disclosed_rows"),
        }
    }

    /// Adds those of another operation.
    pub(super) fn add(&mut self, other: Fields) {
        let sums = [
            (&mut self.masked, other.masked),
            (&mut self.disclosed, other.disclosed),
        ];
        for (sums, counts) in sums {
            for (name, count) in counts {
                let sum = sums.entry(name).or_default();
                *sum = sum.saturating_add(count);
            }
        }
    }

    /// A line for what was masked and one for what was disclosed, as far as something was.
    pub(super) fn lines(&self, screen: &Screen) -> Vec<String> {
        let kinds = [
            ("masked", "value", &self.masked),
            ("disclosed", "row", &self.disclosed),
        ];
        let some = kinds
            .into_iter()
            .filter(|(_, _, counts)| !counts.is_empty());
        some.map(|(name, unit, counts)| labelled(screen, name, &list(counts, unit)))
            .collect()
    }
}

/// `public.users.email (2 values), public.users.name (1 value)`.
fn list(counts: &BTreeMap<String, u64>, unit: &str) -> String {
    let each = counts.iter().map(|(name, count)| {
        let plural = if *count == 1 { "" } else { "s" };
        format!("{name} ({count} {unit}{plural})")
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SCREEN: Screen = Screen {
        width: None,
        colours: false,
    };

    #[test]
    fn operations_and_their_sum_say_what_was_masked_and_disclosed() {
        let first = json!({
            "masked": { "users.name": 2, "users.email": 1 },
            "disclosed": ["users.phone"], "disclosed_rows": { "users.phone": 1 },
        });
        let second = json!({ "masked": { "users.email": 7 }, "disclosed_rows": {} });
        assert_eq!(disclosed(&first), ["users.phone"]);
        assert_eq!(
            Fields::of(&first).lines(&SCREEN),
            [
                "masked      users.email (1 value), users.name (2 values)",
                "disclosed   users.phone (1 row)",
            ]
        );
        let mut sums = Fields::default();
        for operation in [first, second] {
            sums.add(Fields::of(&operation));
        }
        assert_eq!(
            sums.lines(&SCREEN)[0],
            "masked      users.email (8 values), users.name (2 values)"
        );
    }

    #[test]
    fn records_with_holes_say_nothing() {
        for value in [
            json!(null),
            json!({ "masked": [], "disclosed": {}, "disclosed_rows": 5 }),
            json!({ "masked": {}, "disclosed": [], "disclosed_rows": {} }),
        ] {
            assert!(Fields::of(&value).lines(&SCREEN).is_empty(), "{value}");
            assert!(disclosed(&value).is_empty(), "{value}");
        }
    }

    #[test]
    fn no_name_reaches_the_terminal_unescaped() {
        let value = json!({ "masked": { "\u{1b}[2J\n": 1 } });
        assert_eq!(
            Fields::of(&value).lines(&SCREEN),
            ["masked      \\e[2J\\n (1 value)"]
        );
    }
}

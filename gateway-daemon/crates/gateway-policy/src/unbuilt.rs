//! What the policy language knows and this version does not do: refused by name, never ignored.
use crate::diagnostic::quoted;
use crate::reader::{Reader, Section, Value};
use serde_json::{Value as Json, json};
use toml::de::DeValue;

/// A key that is known, but not built. Its default may be written out, since it changes nothing.
struct Unbuilt {
    section: &'static str,
    key: &'static str,
    purpose: &'static str,
    accepts: Accepts,
}

enum Accepts {
    /// The default; the other words are known. No words: any other text is.
    Word {
        default: &'static str,
        known: &'static [&'static str],
    },
    /// The default; or a table with this key is known.
    WordOrTable {
        default: &'static str,
        table: &'static str,
    },
}

const UNBUILT: &[Unbuilt] = &[
    Unbuilt {
        section: "[policy]",
        key: "when_down",
        purpose: "what happens while the daemon is dead",
        accepts: Accepts::WordOrTable {
            default: "deny",
            table: "allow_after",
        },
    },
    Unbuilt {
        section: "[policy]",
        key: "inbound",
        purpose: "who may connect to what the tree listens on",
        accepts: Accepts::Word {
            default: "own-tree",
            known: &["any"],
        },
    },
];

/// What is said about everything in this file.
pub(crate) fn message(what: &str, purpose: &str) -> String {
    format!("{what} is known, but not built in this version: {purpose}")
}

/// The keys of a section that are known but not built.
pub(crate) fn keys(section: &str) -> impl Iterator<Item = &str> {
    UNBUILT
        .iter()
        .filter(move |unbuilt| unbuilt.section == section)
        .map(|unbuilt| unbuilt.key)
}

/// The same, each with the schema of what may be written out: its default.
pub(crate) fn schemas(section: &str) -> impl Iterator<Item = (&'static str, Json)> {
    let unbuilt = UNBUILT.iter().filter(move |of| of.section == section);
    unbuilt.map(|unbuilt| {
        let schema = match &unbuilt.accepts {
            Accepts::Word { default, .. } | Accepts::WordOrTable { default, .. } => {
                json!({ "const": default })
            }
        };
        (unbuilt.key, schema)
    })
}

/// Refuses what the section asks for and this version does not do.
pub(crate) fn refuse(reader: &mut Reader<'_>, section: &Section<'_>) {
    for unbuilt in UNBUILT
        .iter()
        .filter(|unbuilt| unbuilt.section == section.name)
    {
        if let Some(value) = section.get(unbuilt.key) {
            unbuilt.refuse(reader, value);
        }
    }
}

impl Unbuilt {
    fn refuse(&self, reader: &mut Reader<'_>, value: &Value<'_>) {
        let key = self.key;
        match &self.accepts {
            Accepts::Word { default, known } => self.word(reader, value, default, known),
            Accepts::WordOrTable { default, table } => match value.get_ref() {
                DeValue::Table(found) if found.iter().any(|(key, _)| key.get_ref() == table) => {
                    let what = format!("`{key} = {{ {table} = … }}`");
                    let expected = format!("\"{default}\", the default");
                    reader.error(value.span(), message(&what, self.purpose), expected);
                }
                DeValue::String(text) if text == default => {}
                DeValue::String(text) => {
                    let message = format!("`{key}` is {}", quoted(text));
                    reader.error(value.span(), message, format!("\"{default}\""));
                }
                _ => reader.wrong_type(key, value, &format!("\"{default}\"")),
            },
        }
    }

    fn word(&self, reader: &mut Reader<'_>, value: &Value<'_>, default: &str, known: &[&str]) {
        let expected = format!("\"{default}\", the default");
        let Some(text) = reader.string(self.key, value, &expected) else {
            return;
        };
        if text.value == default {
            return;
        }
        let what = format!("`{} = {}`", self.key, quoted(&text.value));
        if known.is_empty() || known.contains(&text.value.as_str()) {
            reader.error(text.span, message(&what, self.purpose), expected);
        } else {
            let message = format!("`{}` is {}", self.key, quoted(&text.value));
            reader.error(text.span, message, expected);
        }
    }
}

//! One statement, command or request, in words that every protocol shares.
use crate::mask::Use;
use crate::verb::{Verb, VerbSet};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The protocol of flows of datagrams that nobody understands. They pass only to resources that
/// say so.
pub const DATAGRAMS: &str = "udp";

/// What an effect touches.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Object {
    /// Its full name: `public.users`, `session:42`, `/etc/passwd`.
    Named(Arc<str>),
    /// A name that could not be resolved. An allow covers it only with `*`; a deny catches it
    /// when the pattern could mean it.
    Unresolved(Arc<str>),
}

impl Object {
    /// The name, resolved or not.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Object::Named(name) | Object::Unresolved(name) => name,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One of the things that an operation does. A statement can have several.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Effect {
    /// What it does.
    pub verb: Verb,
    /// To what. Empty when the verb has no object, such as BEGIN.
    pub objects: Vec<Object>,
}

/// A value of an operation's attribute, such as `sql.has_where = true`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(Arc<str>),
}

/// A value that travels beside the statement: a bind parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// The type as the protocol names it (`int4`, `oid:600`), where it was said.
    pub kind: Option<Arc<str>>,
    /// The value as text, or in hexadecimal with the prefix `\x` when it was binary; `None` is NULL.
    pub value: Option<String>,
    /// The value was longer than what is kept here; this is its whole length in bytes.
    pub cut_from: Option<u64>,
}

/// What a client asks for, before it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// The protocol it came by: `postgres`, `opaque`.
    pub protocol: &'static str,
    /// The verb that people would name it by; the strongest of the effects.
    pub verb: Verb,
    /// Everything it does. Never empty.
    pub effects: &'a [Effect],
    /// Its text, when it has one.
    pub statement: &'a str,
    /// Its text as it may be written down and shown, where that is another: literals that the
    /// policy calls sensitive are covered.
    pub shown: Option<&'a str>,
    /// Bind values, as they may be written down.
    pub parameters: &'a [Parameter],
    /// What the protocol adds.
    pub attributes: &'a [(Arc<str>, Attribute)],
    /// It only announces what a later operation does, which is submitted by itself: a rule that
    /// holds lets it pass, since the human is to be asked once, about what happens.
    pub announces: bool,
    /// Operations of one session with the same number have the same protocol, effects and
    /// attributes, so the decision about one is the decision about the other. `None`: decide anew.
    pub shape: Option<u64>,
    /// What it does with masked fields, besides returning them covered.
    pub uses: &'a [Use],
    /// What it does depends on more than its text: another number where that has changed. What a human
    /// has approved is not approved any more then.
    pub basis: u64,
}

impl<'a> Operation<'a> {
    /// One that has no text and nothing else beside what it does.
    #[must_use]
    pub const fn new(protocol: &'static str, verb: Verb, effects: &'a [Effect]) -> Operation<'a> {
        Operation {
            protocol,
            verb,
            effects,
            statement: "",
            shown: None,
            parameters: &[],
            attributes: &[],
            announces: false,
            shape: None,
            uses: &[],
            basis: 0,
        }
    }

    /// The text that may be written down.
    #[must_use]
    pub fn written(&self) -> &str {
        self.shown.unwrap_or(self.statement)
    }

    /// The verbs of all effects.
    #[must_use]
    pub fn verbs(&self) -> VerbSet {
        self.effects.iter().map(|effect| effect.verb).collect()
    }
}

//! The operations of a PATCH: RFC 7644, 3.5.2, in the dialects of Okta and Entra.
use super::filter::{self, Term};
use super::json::Attributes;
use super::problem::Problem;
use crate::directory::diagnostic::quoted;
use serde_json::Value;

const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const OPERATIONS_MAX: usize = 10_000;
const PATH_BYTES_MAX: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Replace,
    Remove,
}

/// One change of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) path: AttributePath,
    /// `Null` when there is none.
    pub(super) value: Value,
    /// The path was a name in the value. What is read-only is passed over there: Okta sends the
    /// `id` of a group along with its new name.
    pub(super) implied: bool,
}

/// `emails[type eq "work"].value`
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AttributePath {
    /// In lower case; empty for one of a schema that is not known here, which is passed over.
    pub(super) attribute: String,
    pub(super) filter: Option<Vec<Term>>,
    /// In lower case.
    pub(super) sub: Option<String>,
}

impl Operation {
    /// All operations of a PATCH. `schema` is that of the resource.
    pub(super) fn all(body: &Value, schema: &str) -> Result<Vec<Operation>, Problem> {
        let message = Attributes::of(body, "the body")?;
        message.check_schema(PATCH_SCHEMA)?;
        let Some(Value::Array(listed)) = message.get("operations") else {
            return Err(Problem::syntax("`Operations` is not a list"));
        };
        let mut operations = Vec::new();
        for operation in listed {
            Operation::read(operation, schema, &mut operations)?;
            if operations.len() > OPERATIONS_MAX {
                let message = format!("more than {OPERATIONS_MAX} operations");
                return Err(Problem::new(413, message));
            }
        }
        Ok(operations)
    }

    fn read(value: &Value, schema: &str, out: &mut Vec<Operation>) -> Result<(), Problem> {
        let operation = Attributes::of(value, "an operation")?;
        let verb = match operation.get("op").and_then(Value::as_str) {
            Some(op) if op.eq_ignore_ascii_case("add") => Verb::Add,
            Some(op) if op.eq_ignore_ascii_case("replace") => Verb::Replace,
            Some(op) if op.eq_ignore_ascii_case("remove") => Verb::Remove,
            _ => return Err(Problem::syntax("`op` is not add, replace or remove")),
        };
        let value = operation.get("value").cloned().unwrap_or(Value::Null);
        let path = match operation.get("path") {
            None => None,
            Some(Value::String(path)) => Some(path),
            Some(_) => return Err(invalid_path("it is not a string")),
        };
        if let Some(path) = path {
            out.push(Operation {
                verb,
                path: AttributePath::parse(path, schema)?,
                value,
                implied: false,
            });
            return Ok(());
        }
        if verb == Verb::Remove {
            return Err(Problem::bad("noTarget", "a remove needs a path"));
        }
        Attributes::of(&value, "the value of an operation without a path")?;
        let Value::Object(attributes) = value else {
            return Ok(());
        };
        for (name, value) in attributes {
            out.push(Operation {
                verb,
                path: AttributePath::parse(&name, schema)?,
                value,
                implied: true,
            });
        }
        Ok(())
    }

    /// Whether this operation has nothing to change: an attribute that is read-only or unknown.
    pub(super) fn passes_over(&self, read_only: &[&str]) -> Result<bool, Problem> {
        let name = self.path.attribute.as_str();
        if !read_only.contains(&name) {
            return Ok(name.is_empty());
        }
        if self.implied {
            return Ok(true);
        }
        Err(Problem::bad("mutability", format!("`{name}` is read-only")))
    }

    /// The new value of an attribute that has a single one; `None` when it is taken away.
    pub(super) fn single(&self) -> Result<Option<&Value>, Problem> {
        if self.path.filter.is_some() || self.path.sub.is_some() {
            let message = format!("`{}` has a single value", self.path.attribute);
            return Err(invalid_path(&message));
        }
        Ok(self.given())
    }

    /// The value, unless it is taken away.
    pub(super) fn given(&self) -> Option<&Value> {
        (self.verb != Verb::Remove && !self.value.is_null()).then_some(&self.value)
    }
}

impl AttributePath {
    fn parse(text: &str, schema: &str) -> Result<AttributePath, Problem> {
        if text.len() > PATH_BYTES_MAX {
            return Err(invalid_path("it is longer than 1024 bytes"));
        }
        let text = filter::unqualified(text.trim(), schema);
        let urn = text
            .get(..4)
            .is_some_and(|it| it.eq_ignore_ascii_case("urn:"));
        if urn {
            // An extension, such as the enterprise user: nothing of it is stored.
            return Ok(AttributePath {
                attribute: String::new(),
                filter: None,
                sub: None,
            });
        }
        AttributePath::split(text, schema)
            .ok_or_else(|| invalid_path(&format!("{} is none", quoted(text))))?
    }

    fn split(text: &str, schema: &str) -> Option<Result<AttributePath, Problem>> {
        let end = text.find(['[', '.']).unwrap_or(text.len());
        let (attribute, mut rest) = text.split_at_checked(end)?;
        let mut terms = None;
        if let Some(inside) = rest.strip_prefix('[') {
            let (filter, behind) = bracketed(inside)?;
            match filter::parse(filter, schema) {
                Ok(parsed) => terms = Some(parsed),
                Err(problem) => return Some(Err(problem)),
            }
            rest = behind;
        }
        let sub = match rest {
            "" => None,
            _ => Some(rest.strip_prefix('.')?.to_lowercase()),
        };
        let plain = name_like(attribute) && sub.as_deref().is_none_or(name_like);
        plain.then(|| {
            Ok(AttributePath {
                attribute: attribute.to_lowercase(),
                filter: terms,
                sub,
            })
        })
    }
}

pub(super) fn invalid_path(why: &str) -> Problem {
    Problem::bad("invalidPath", format!("the path is not valid: {why}"))
}

/// What is before the closing bracket, and what is behind it. Brackets in strings do not count.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let next = rest.find(['"', ']'])?;
        let from = rest.get(next..)?;
        if from.starts_with(']') {
            return Some((text.get(..at + next)?, from.get(1..)?));
        }
        at += next + filter::quoted_end(from)?;
    }
}

fn name_like(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "$-_".contains(c);
    !text.is_empty() && text.chars().all(plain)
}

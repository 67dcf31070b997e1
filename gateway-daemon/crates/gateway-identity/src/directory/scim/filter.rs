//! Filters: `userName eq "alice@acme.com"`, and several of them with `and` between.
//!
//! The rest of RFC 7644, 3.4.2.2 is refused, never guessed at: a filter that were read as a wider
//! one would make the identity provider change the wrong user.
use super::problem::Problem;
use serde_json::Value;

const TERMS_MAX: usize = 8;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// In lower case, without the URN of the resource's schema.
    pub(super) attribute: String,
    /// A string or a truth value.
    pub(super) value: Value,
}

impl Term {
    /// The value, when it is a string.
    pub(super) fn text(&self) -> Option<&str> {
        self.value.as_str()
    }
}

/// The comparisons of a filter, all of which have to hold. At least one.
pub(super) fn parse(text: &str, schema: &str) -> Result<Vec<Term>, Problem> {
    let mut terms = Vec::new();
    let mut rest = text.trim();
    loop {
        let (term, behind) = term(rest, schema).ok_or_else(unsupported)?;
        terms.push(term);
        if behind.is_empty() {
            return Ok(terms);
        }
        let (and, next) = word(behind).ok_or_else(unsupported)?;
        if !and.eq_ignore_ascii_case("and") || terms.len() == TERMS_MAX {
            return Err(unsupported());
        }
        rest = next;
    }
}

pub(super) fn unsupported() -> Problem {
    let message = "the filter is not one of those supported: ATTRIBUTE eq \"VALUE\", \
                   several of them with `and` between";
    Problem::bad("invalidFilter", message)
}

/// A comparison, and what follows it.
fn term<'a>(text: &'a str, schema: &str) -> Option<(Term, &'a str)> {
    let (attribute, rest) = word(text)?;
    let (operator, rest) = word(rest)?;
    if !operator.eq_ignore_ascii_case("eq") {
        return None;
    }
    let (literal, behind) = literal(rest)?;
    let term = Term {
        attribute: unqualified(attribute, schema).to_lowercase(),
        value: literal,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".$-_".contains(c);
    term.attribute.chars().all(plain).then_some((term, behind))
}

/// A string or a truth value, and what follows it behind a space.
fn literal(text: &str) -> Option<(Value, &str)> {
    let end = if text.starts_with('"') {
        quoted_end(text)?
    } else {
        text.find(' ').unwrap_or(text.len())
    };
    let (literal, behind) = text.split_at_checked(end)?;
    let value: Value = serde_json::from_str(literal).ok()?;
    let known = value.is_string() || value.is_boolean();
    let apart = behind.is_empty() || behind.starts_with(' ');
    (known && apart).then_some((value, behind.trim_start_matches(' ')))
}

/// Where the JSON string ends with which the text begins.
pub(super) fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = text.split_once(' ')?;
    (!word.is_empty()).then_some((word, rest.trim_start_matches(' ')))
}

/// The name of an attribute without the URN of its schema, if it is this one.
pub(super) fn unqualified<'a>(attribute: &'a str, schema: &str) -> &'a str {
    match attribute.split_at_checked(schema.len()) {
        Some((urn, rest)) if urn.eq_ignore_ascii_case(schema) => {
            rest.strip_prefix(':').unwrap_or(attribute)
        }
        _ => attribute,
    }
}

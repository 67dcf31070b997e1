//! How the claims of a token become a principal's name, so that no token can make another's.
use super::TokenError;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::sync::Arc;

/// A claim's value that is longer is refused, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 256;
/// What a template may be long, in bytes.
const TEMPLATE_BYTES_MAX: usize = 512;
/// What stands for itself in a value, beside letters and digits.
const PLAIN: &[u8] = b"._-@+$/";
/// Kinds of names that no token makes: the kernel's word, and what rules call groups.
const RESERVED: [&str; 3] = ["local:", "group:", "ssh-cert:"];

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is too long.
    #[error("it is longer than {TEMPLATE_BYTES_MAX} bytes")]
    Long,
    /// A brace without its other half, or one in another.
    #[error("the braces do not match at byte {0}: expected {{claim}}")]
    Braces(usize),
    /// `{}`, or a name that is none.
    #[error(
        "{0:?} at byte {1} is not the name of a claim (letters, digits and _ - . / : are expected)"
    )]
    Claim(String, usize),
    /// The text before the first claim does not fix the kind.
    #[error("it must begin with a kind of its own and a colon, such as \"ci:github:\"")]
    Kind,
    /// The kind is one that tokens do not make.
    #[error("names that begin with {0:?} are not made from tokens")]
    Reserved(&'static str),
    /// Without a claim all tokens of an issuer were one principal.
    #[error("it names no claim: all tokens of the issuer would be the same principal")]
    Constant,
    /// Two claims with nothing between them that tells them apart.
    #[error("between two claims there must be one of . _ - @ + $ / : (claim at byte {0})")]
    Adjacent(usize),
    /// A character that a principal's name does not have.
    #[error("{0:?} cannot be part of a principal's name")]
    Character(char),
}

/// A checked template such as `ci:github:{repository}@{ref}`.
///
/// A value's letters, digits and `. _ - @ + $ /` stand for themselves; every other byte is written
/// as `%XX`, a `:` and a `*` too. So is each of the former that the template itself has anywhere
/// behind its first claim: with the template above an `@` in a branch's name is `%40`. Therefore
/// different claims make different names, and a rule for `ci:github:acme/*@refs/heads/main` does
/// not match the branch `x@refs/heads/main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
    /// What a value may have as it is.
    plain: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Claim(String),
}

impl Template {
    pub(crate) fn parse(template: &str) -> Result<Template, TemplateError> {
        if template.len() > TEMPLATE_BYTES_MAX {
            return Err(TemplateError::Long);
        }
        let parts = parts(template)?;
        let prefix = match parts.first() {
            Some(Part::Text(text)) => text.as_str(),
            _ => "",
        };
        let (kind, _) = prefix.split_once(':').ok_or(TemplateError::Kind)?;
        if kind.is_empty() {
            return Err(TemplateError::Kind);
        }
        if let Some(reserved) = RESERVED.iter().find(|kind| prefix.starts_with(**kind)) {
            return Err(TemplateError::Reserved(reserved));
        }
        let behind = || parts.iter().skip(1);
        if behind().next().is_none() {
            return Err(TemplateError::Constant);
        }
        let separates = |byte: &u8| behind().any(|part| part.text().as_bytes().contains(byte));
        let plain = PLAIN.iter().copied().filter(|byte| !separates(byte));
        let plain = plain.collect();
        Ok(Template { parts, plain })
    }

    /// The claims that it names.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Claim(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Is this claim a part of the name?
    pub(crate) fn has(&self, claim: &str) -> bool {
        let is_it = |part: &Part| matches!(part, Part::Claim(name) if name == claim);
        self.parts.iter().any(is_it)
    }

    /// The principal's name that these claims make.
    pub(crate) fn fill(&self, claims: &Map<String, Value>) -> Result<Arc<str>, TokenError> {
        let mut id = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => id.push_str(text),
                Part::Claim(name) => escape_to(&mut id, &value(claims, name)?, &self.plain),
            }
        }
        Ok(id.into())
    }
}

impl Part {
    fn text(&self) -> &str {
        match self {
            Part::Text(text) => text,
            Part::Claim(_) => "",
        }
    }
}

/// Cuts a template at its braces.
fn parts(template: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let at = template.len() - rest.len();
        if let Some(inner) = rest.strip_prefix('{') {
            let (name, behind) = inner.split_once('}').ok_or(TemplateError::Braces(at))?;
            if name.contains('{') {
                return Err(TemplateError::Braces(at));
            }
            if !is_claim(name) {
                return Err(TemplateError::Claim(name.to_owned(), at));
            }
            parts.push(Part::Claim(name.to_owned()));
            rest = behind;
        } else {
            let (text, behind) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            check_text(text, at)?;
            if !behind.is_empty() && !parts.is_empty() && !text.bytes().any(is_separator) {
                return Err(TemplateError::Adjacent(at + text.len()));
            }
            parts.push(Part::Text(text.to_owned()));
            rest = behind;
        }
        if let [.., Part::Claim(_), Part::Claim(_)] = parts.as_slice() {
            return Err(TemplateError::Adjacent(at));
        }
    }
    Ok(parts)
}

fn check_text(text: &str, at: usize) -> Result<(), TemplateError> {
    if let Some(brace) = text.find('}') {
        return Err(TemplateError::Braces(at + brace));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || u8::try_from(c).is_ok_and(is_separator);
    match text.chars().find(|c| !plain(*c)) {
        Some(other) => Err(TemplateError::Character(other)),
        None => Ok(()),
    }
}

fn is_separator(byte: u8) -> bool {
    byte == b':' || PLAIN.contains(&byte)
}

fn is_claim(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
    !name.is_empty() && name.chars().all(fits)
}

/// A claim's value as text.
fn value(claims: &Map<String, Value>, name: &str) -> Result<String, TokenError> {
    let refuse = |expected| TokenError::Claim {
        name: name.to_owned(),
        expected,
    };
    let text = match claims.get(name) {
        None | Some(Value::Null) => return Err(TokenError::MissingClaim(name.to_owned())),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
        Some(_) => return Err(refuse("a string, a whole number, true or false")),
    };
    match text.len() {
        1..=VALUE_BYTES_MAX => Ok(text),
        0 => Err(refuse("a value that is not empty")),
        _ => Err(refuse("a value of at most 256 bytes")),
    }
}

fn escape_to(id: &mut String, value: &str, plain: &[u8]) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            id.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(id, "%{byte:02X}");
        }
    }
}

/// A group's name, escaped as a lone claim's value is.
pub(crate) fn escape(value: &str) -> Arc<str> {
    let mut text = String::new();
    escape_to(&mut text, value, PLAIN);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fill(template: &str, claims: &Value) -> Result<String, TokenError> {
        let template = Template::parse(template).expect("template");
        let claims = claims.as_object().expect("object");
        template.fill(claims).map(|id| id.to_string())
    }

    #[test]
    fn templates_are_checked() {
        let cases = [
            ("", TemplateError::Kind),
            ("{sub}", TemplateError::Kind),
            ("user{sub}", TemplateError::Kind),
            (":{sub}", TemplateError::Kind),
            ("user{x}:{sub}", TemplateError::Kind),
            ("user:all", TemplateError::Constant),
            ("user:", TemplateError::Constant),
            ("local:{sub}", TemplateError::Reserved("local:")),
            ("group:{sub}", TemplateError::Reserved("group:")),
            ("ssh-cert:{sub}", TemplateError::Reserved("ssh-cert:")),
            ("user:{sub", TemplateError::Braces(5)),
            ("user:sub}", TemplateError::Braces(8)),
            ("user:{a{b}}", TemplateError::Braces(5)),
            ("user:{}", TemplateError::Claim(String::new(), 5)),
            ("user:{a b}", TemplateError::Claim("a b".to_owned(), 5)),
            ("user:{a}{b}", TemplateError::Adjacent(8)),
            ("user:{a}and{b}", TemplateError::Adjacent(11)),
            ("user:*{a}", TemplateError::Character('*')),
            ("user:ä{a}", TemplateError::Character('ä')),
            ("user:%{a}", TemplateError::Character('%')),
        ];
        for (template, expected) in cases {
            assert_eq!(Template::parse(template), Err(expected), "{template:?}");
        }
        let long = format!("user:{}{{a}}", "x".repeat(TEMPLATE_BYTES_MAX));
        assert_eq!(Template::parse(&long), Err(TemplateError::Long));
    }

    #[test]
    fn claims_make_names_and_hostile_ones_make_no_others() {
        let github = "ci:github:{repository}@{ref}";
        let cases = [
            (
                github,
                json!({"repository": "acme/api", "ref": "refs/heads/main"}),
                "ci:github:acme/api@refs/heads/main",
            ),
            // A branch that is called like another branch of another repository.
            (
                github,
                json!({"repository": "acme/api", "ref": "x@refs/heads/main"}),
                "ci:github:acme/api@x%40refs/heads/main",
            ),
            (
                github,
                json!({"repository": "acme/*", "ref": "a\nb:c"}),
                "ci:github:acme/%2A@a%0Ab%3Ac",
            ),
            (
                "user:{email}",
                json!({"email": "alice@acme.com"}),
                "user:alice@acme.com",
            ),
            (
                "user:{email}",
                json!({"email": "jörg#1%41"}),
                "user:j%C3%B6rg%231%2541",
            ),
            (
                "job:{id}.{last}",
                json!({"id": 7, "last": true}),
                "job:7.true",
            ),
        ];
        for (template, claims, expected) in cases {
            assert_eq!(fill(template, &claims).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn claims_that_are_no_names_are_refused() {
        let missing = Err(TokenError::MissingClaim("a".to_owned()));
        assert_eq!(fill("x:{a}", &json!({})), missing);
        assert_eq!(fill("x:{a}", &json!({"a": null})), missing);
        let hostile = [
            json!({"a": ""}),
            json!({"a": "x".repeat(257)}),
            json!({"a": [1]}),
            json!({"a": {"b": 1}}),
            json!({"a": 1.5}),
        ];
        for claims in hostile {
            let refused = fill("x:{a}", &claims);
            assert!(
                matches!(&refused, Err(TokenError::Claim { name, .. }) if name == "a"),
                "{refused:?}"
            );
        }
        assert!(fill("x:{a}", &json!({"a": "x".repeat(256)})).is_ok());
    }

    proptest! {
        #[test]
        fn different_claims_make_different_plain_names(
            one in ("[ab@:/.*%-]{1,5}", "[ab@:/.*%-]{1,5}"),
            other in ("[ab@:/.*%-]{1,5}", "[ab@:/.*%-]{1,5}"),
            template in prop::sample::select(vec!["t:{a}@{b}", "t:{a}/x.{b}", "t:{a}a:{b}b"]),
        ) {
            let name = |(a, b): &(String, String)| fill(template, &json!({"a": a, "b": b}));
            let (first, second) = (name(&one).expect("name"), name(&other).expect("name"));
            prop_assert_eq!(first == second, one == other);
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-@+$/%:".contains(c);
            prop_assert!(first.starts_with("t:") && first.chars().all(plain));
        }
    }
}

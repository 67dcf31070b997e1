//! Hosts in a policy: names, and patterns over names.
//!
//! They are compared with the names that trusted name servers were asked for, which are in lower
//! case and without the dot at their end.
use crate::diagnostic::quoted;
use crate::glob::{self, Glob};
use std::fmt;

/// The longest name, and the longest part of one, in bytes (RFC 1035, section 2.3.4).
const NAME_MAX: usize = 253;
const PART_MAX: usize = 63;

/// The name of a host, or a pattern over names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostName {
    Exact(Box<str>),
    Pattern(Glob),
}

/// Why a text is no name: what is wrong, and what was expected.
type Fault = (String, String);

impl HostName {
    /// Reads a name or a pattern, in upper or lower case, with or without the dot at its end.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<HostName, Fault> {
        const EXPECTED: &str = "a name like \"orders.db.internal\"";
        let wrong =
            |what: &str, expected: &str| Err((format!("{} {what}", quoted(text)), expected.into()));
        if !text.is_ascii() {
            return wrong(
                "has letters in it that names on the wire do not have",
                "the form that begins with xn--",
            );
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.len() > NAME_MAX {
            return wrong("is longer than a name can be", "at most 253 characters");
        }
        if let Some(part) = name.split('.').find(|part| !is_part(part)) {
            return match part.len() {
                0 => wrong("has an empty part in it", EXPECTED),
                _ if part.len() > PART_MAX => wrong(
                    "has a part that is too long",
                    "at most 63 characters between the dots",
                ),
                _ => wrong(
                    "is no name",
                    "letters, digits, `-` and `_` between the dots, and `*`",
                ),
            };
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) {
            return wrong("ends like an address", EXPECTED);
        }
        if last.contains('*') {
            // Anybody can own a domain under the last part, and let it point anywhere.
            return wrong(
                "leaves open in which domain the names are",
                "a pattern whose last part is written out, like \"*.db.internal\"",
            );
        }
        Ok(match name.contains('*') {
            true => HostName::Pattern(Glob::new(&name)),
            false => HostName::Exact(name.into()),
        })
    }

    /// How many characters of it are no star: of two patterns, the one with more counts.
    pub(crate) fn literal_length(&self) -> usize {
        let text = self.text();
        text.len() - text.matches('*').count()
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            HostName::Exact(name) => name,
            HostName::Pattern(glob) => glob.text(),
        }
    }

    /// Could one name be found by both, with the same right?
    pub(crate) fn ties(&self, other: &HostName) -> bool {
        match (self, other) {
            (HostName::Exact(left), HostName::Exact(right)) => left == right,
            (HostName::Pattern(left), HostName::Pattern(right)) => {
                self.literal_length() == other.literal_length()
                    && glob::overlap(left.text(), right.text())
            }
            _ => false,
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

fn is_part(part: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte);
    (1..=PART_MAX).contains(&part.len()) && part.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_are_read_in_one_form() {
        for (text, expected) in [
            ("orders.db.internal", "orders.db.internal"),
            ("Orders.DB.Internal.", "orders.db.internal"),
            ("_sip._tcp.example", "_sip._tcp.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
            ("1.2.3.4a", "1.2.3.4a"),
        ] {
            assert_eq!(HostName::parse(text), Ok(HostName::Exact(expected.into())));
        }
        for text in ["*.DB.internal", "db-*.internal.", "a*b*.internal"] {
            let read = HostName::parse(text).unwrap();
            assert!(matches!(read, HostName::Pattern(_)), "{text}");
        }
        assert!(HostName::parse(&format!("{}.internal", "a".repeat(63))).is_ok());
        assert!(HostName::parse(&format!("{}.internal", "a.".repeat(121) + "b")).is_ok());
    }

    #[test]
    fn what_is_no_name_says_why() {
        let long_part = format!("{}.internal", "a".repeat(64));
        let long_name = format!("{}.internal", "a.".repeat(123) + "b");
        for (text, message, expected) in [
            ("büro.example", "letters in it", "begins with xn--"),
            ("db..internal", "an empty part", "a name like"),
            (".internal", "an empty part", "a name like"),
            ("internal..", "an empty part", "a name like"),
            (&long_part, "a part that is too long", "at most 63"),
            (&long_name, "longer than a name can be", "at most 253"),
            ("db internal", "is no name", "letters, digits"),
            ("a/b", "is no name", "letters, digits"),
            ("db.10", "ends like an address", "a name like"),
            ("*.10", "ends like an address", "a name like"),
            ("*", "leaves open in which domain", "like \"*.db.internal\""),
            (
                "db.*",
                "leaves open in which domain",
                "like \"*.db.internal\"",
            ),
            (
                "db.int*",
                "leaves open in which domain",
                "like \"*.db.internal\"",
            ),
        ] {
            let (said, wanted) = HostName::parse(text).unwrap_err();
            assert!(said.contains(message), "{text}: {said}");
            assert!(wanted.contains(expected), "{text}: {wanted}");
        }
    }

    #[test]
    fn names_tie_when_one_could_be_found_by_both() {
        let ties = |left: &str, right: &str| {
            let (left, right) = (
                HostName::parse(left).unwrap(),
                HostName::parse(right).unwrap(),
            );
            assert_eq!(left.ties(&right), right.ties(&left), "{left} {right}");
            left.ties(&right)
        };
        assert!(ties("db.internal", "DB.internal."));
        assert!(!ties("db.internal", "dc.internal"));
        assert!(!ties("db.internal", "*.internal"));
        assert!(ties("*.internal", "*.internal"));
        assert!(ties("a*.internal", "*a.internal"));
        assert!(!ties("a*.internal", "b*.internal"));
        assert!(
            !ties("*.db.internal", "*.internal"),
            "the longer one counts"
        );
    }
}

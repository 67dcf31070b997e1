//! Names with wildcards: `*` stands for any characters, also none.
use std::fmt;
use std::str::FromStr;

/// A pattern for the names of principals, resources and fields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern from its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Pattern {
        Pattern(text.into())
    }

    /// Does it match the whole of `text`?
    ///
    /// In time proportional to the product of both lengths at worst: only the last `*` is ever
    /// gone back to.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Behind the last `*`, and where the text went on when it was met.
        let mut back: Option<(usize, usize)> = None;
        loop {
            match (pattern.get(p), text.get(t)) {
                (None, None) => return true,
                (Some(b'*'), _) => {
                    p += 1;
                    back = Some((p, t));
                }
                (Some(wanted), Some(found)) if wanted == found => {
                    p += 1;
                    t += 1;
                }
                (_, found) => match (&mut back, found) {
                    (Some((behind, from)), Some(_)) => {
                        *from += 1;
                        (p, t) = (*behind, *from);
                    }
                    _ => return false,
                },
            }
        }
    }

    /// The characters before the first `*`.
    pub(crate) fn prefix(&self) -> &str {
        self.0.split('*').next().unwrap_or_default()
    }

    /// Does it match everything?
    pub(crate) fn is_any(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }
}

impl FromStr for Pattern {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Pattern, Self::Err> {
        Ok(Pattern::new(text))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_characters() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
            ("*", "anything/at:all", true),
            ("**", "x", true),
            (
                "ci:github:acme/*",
                "ci:github:acme/api@refs/heads/main",
                true,
            ),
            ("ci:github:acme/*", "ci:github:acme", false),
            (
                "*@refs/heads/main",
                "ci:github:acme/api@refs/heads/main",
                true,
            ),
            (
                "*@refs/heads/main",
                "ci:github:acme/api@refs/heads/main2",
                false,
            ),
            ("local:*ce", "local:alice", true),
            ("a*b*c", "aXbbXbc", true),
            ("a*b*c", "acb", false),
            ("*aab", "aaaab", true),
            ("prod-*", "PROD-x", false),
            ("ü*", "über", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(text),
                expected,
                "{pattern} on {text}"
            );
        }
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let pattern = Pattern::new("*a".repeat(2000) + "b");
        assert!(!pattern.matches(&"a".repeat(4000)));
    }
}

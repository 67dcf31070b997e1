//! Names of principals, as they are compared, and what a name or a group must look like.
use std::borrow::Cow;
use std::sync::Arc;

/// The longest name or group, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 256;
/// The scheme of people.
pub(super) const USER: &str = "user:";

/// A principal id in the form in which two are compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key<'a>(Cow<'a, str>);

impl<'a> Key<'a> {
    pub(super) fn of(principal_id: &'a str) -> Key<'a> {
        let folds = |c: char| fold(c) != Some(c);
        match principal_id.strip_prefix(USER) {
            Some(name) if name.contains(folds) => {
                Key(Cow::Owned(format!("{USER}{}", folded(name))))
            }
            _ => Key(Cow::Borrowed(principal_id)),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<str> {
        Arc::from(&*self.0)
    }
}

/// A text without the difference of case.
pub(super) fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match fold(c) {
            Some(c) => out.push(c),
            None => out.extend(c.to_lowercase()),
        }
    }
    out
}

/// The lower case of a character, `None` when that is more than one. A character outside of ASCII
/// stays outside: the sign of the kelvin is not a k.
fn fold(c: char) -> Option<char> {
    let mut lower = c.to_lowercase();
    let first = lower.next()?;
    match lower.next() {
        Some(_) => None,
        None if first.is_ascii() && !c.is_ascii() => Some(c),
        None => Some(first),
    }
}

/// What is wrong with a text that names somebody or something; `None` when nothing is.
pub(super) fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("is empty")
    } else if text.len() > TEXT_BYTES_MAX {
        Some("is longer than 256 bytes")
    } else if text.chars().any(char::is_control) {
        Some("has a control character in it")
    } else if text.contains('*') {
        Some("has a `*` in it")
    } else if text.trim() != text {
        Some("begins or ends with a space")
    } else {
        None
    }
}

/// What is wrong with the name of a group.
pub(super) fn group_fault(text: &str) -> Option<&'static str> {
    let prefixed = text.starts_with("group:");
    fault(text).or(prefixed.then_some("begins with `group:`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_counts_for_nobody_but_look_alikes_stay_apart() {
        for (one, other, same) in [
            ("user:Alice@Acme.com", "user:alice@acme.com", true),
            ("user:JÖRG", "user:jörg", true),
            ("user:\u{212a}im", "user:kim", false),
            ("user:\u{212a}im", "user:Kim", false),
            ("user:\u{130}", "user:i", false),
            ("user:\u{3a3}", "user:\u{3c3}", true),
            ("local:Alice", "local:alice", false),
            ("ci:github:Acme/api", "ci:github:acme/api", false),
            ("User:alice", "user:alice", false),
        ] {
            assert_eq!(Key::of(one) == Key::of(other), same, "{one} {other}");
        }
    }

    #[test]
    fn folding_twice_changes_nothing() {
        for c in ('\0'..=char::MAX).map(String::from) {
            assert_eq!(folded(&folded(&c)), folded(&c), "{c:?}");
            assert_eq!(folded(&c).is_ascii(), c.is_ascii(), "{c:?}");
        }
    }
}

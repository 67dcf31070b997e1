//! Globs over text, where `*` stands for any characters, none included. Nothing else is special.
use std::fmt;

/// A pattern is refused beyond this length in bytes, so that a decision stays cheap.
pub(crate) const PATTERN_MAX: usize = 1024;

/// A glob, taken apart once so that matching is a few comparisons.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    text: Box<str>,
    shape: Shape,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// `*`
    Any,
    /// No star at all.
    Exact,
    /// `first*last`, either of them possibly empty.
    Ends { first: Box<str>, last: Box<str> },
    /// `first*middle*…*last`; no middle piece is empty.
    Pieces {
        first: Box<str>,
        middle: Box<[Box<str>]>,
        last: Box<str>,
    },
}

impl Glob {
    pub(crate) fn new(text: &str) -> Glob {
        Glob {
            text: text.into(),
            shape: shape(text),
        }
    }

    /// The pattern as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Does it match every text?
    pub(crate) fn is_any(&self) -> bool {
        self.shape == Shape::Any
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match &self.shape {
            Shape::Any => true,
            Shape::Exact => *self.text == *text,
            Shape::Ends { first, last } => inner(text, first, last).is_some(),
            Shape::Pieces {
                first,
                middle,
                last,
            } => {
                let Some(mut rest) = inner(text, first, last) else {
                    return false;
                };
                // The leftmost place of each piece leaves the most room for those behind it.
                middle.iter().all(|piece| match rest.find(&**piece) {
                    Some(at) => {
                        rest = rest.get(at + piece.len()..).unwrap_or_default();
                        true
                    }
                    None => false,
                })
            }
        }
    }

    /// Could the glob match the full name of something that is only known as `name`? The full
    /// name is taken to be the last component of `name`, alone or behind anything that ends in a
    /// separator (`.`, `/` or `:`).
    pub(crate) fn could_mean(&self, name: &str) -> bool {
        let component = name.rsplit(SEPARATORS).next().unwrap_or(name);
        if component.is_empty() || component.contains('*') {
            // Protocols say `*` for what may be anything.
            return true;
        }
        let last = match &self.shape {
            Shape::Any => return true,
            Shape::Exact => {
                let Some(front) = self.text.strip_suffix(component) else {
                    return false;
                };
                return front.is_empty() || front.ends_with(SEPARATORS);
            }
            Shape::Ends { last, .. } | Shape::Pieces { last, .. } => &**last,
        };
        // A star can stand for all that is in front. So either what follows the last star ends
        // with the component, behind a separator, or the component ends with what follows it.
        match last.strip_suffix(component) {
            Some(front) => front.is_empty() || front.ends_with(SEPARATORS),
            None => component.ends_with(last),
        }
    }
}

const SEPARATORS: [char; 3] = ['.', '/', ':'];

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

fn shape(text: &str) -> Shape {
    let Some((first, behind)) = text.split_once('*') else {
        return Shape::Exact;
    };
    let Some((middle, last)) = behind.rsplit_once('*') else {
        if first.is_empty() && behind.is_empty() {
            return Shape::Any;
        }
        return Shape::Ends {
            first: first.into(),
            last: behind.into(),
        };
    };
    let middle: Box<[Box<str>]> = middle
        .split('*')
        .filter(|piece| !piece.is_empty())
        .map(Into::into)
        .collect();
    match (first.is_empty() && last.is_empty(), middle.is_empty()) {
        (true, true) => Shape::Any,
        (false, true) => Shape::Ends {
            first: first.into(),
            last: last.into(),
        },
        (_, false) => Shape::Pieces {
            first: first.into(),
            middle,
            last: last.into(),
        },
    }
}

/// What is between `first` and `last`, which must not overlap.
fn inner<'a>(text: &'a str, first: &str, last: &str) -> Option<&'a str> {
    text.strip_prefix(first)?.strip_suffix(last)
}

/// Is there a text that both patterns match? `*` as everywhere.
pub(crate) fn overlap(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    // reachable[j]: the first i bytes of `left` and the first j of `right` match a common text.
    let mut reachable = vec![false; right.len() + 1];
    for i in 0..=left.len() {
        let mut row = vec![false; right.len() + 1];
        for j in 0..=right.len() {
            let l = i.checked_sub(1).and_then(|i| left.get(i));
            let r = j.checked_sub(1).and_then(|j| right.get(j));
            let get = |row: &[bool], j: usize| row.get(j).copied().unwrap_or(false);
            // A star may stand for nothing, or for whatever the other side just had.
            let value = (i == 0 && j == 0)
                || (l == Some(&b'*') && get(&reachable, j))
                || (r == Some(&b'*') && j > 0 && get(&row, j - 1))
                || (l == Some(&b'*') && j > 0 && get(&row, j - 1))
                || (r == Some(&b'*') && i > 0 && get(&reachable, j))
                || (l.is_some() && l == r && j > 0 && get(&reachable, j - 1));
            if let Some(cell) = row.get_mut(j) {
                *cell = value;
            }
        }
        reachable = row;
    }
    reachable.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, without any cleverness.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| naive(rest, &text[skip..])),
            Some((c, rest)) => text.first() == Some(c) && naive(rest, &text[1..]),
        }
    }

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[test]
    fn stars_match_any_characters() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
            (
                "ci:github:acme/*",
                "ci:github:acme/api@refs/heads/main",
                true,
            ),
            ("ci:github:acme/*", "ci:github:acme", false),
            ("public.*", "public.users", true),
            ("public.*", "PUBLIC.users", false),
            ("public.*", "xpublic.users", false),
            ("*.ssn", "public.users.ssn", true),
            ("aba*aba", "aba", false),
            ("aba*aba", "abaaba", true),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "acb", false),
            ("*ab*ab*", "ab", false),
            ("*ab*ab*", "abab", true),
            ("prod-?", "prod-1", false),
            ("prod-?", "prod-?", true),
            ("[a]*", "a", false),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn an_unresolved_name_is_met_by_every_pattern_that_could_mean_it() {
        for (pattern, name, expected) in [
            ("public.users", "users", true),
            ("users", "users", true),
            ("public.superusers", "users", false),
            ("public.*", "users", true),
            ("public*", "users", true),
            ("*", "users", true),
            ("public.us*", "users", true),
            ("*.users", "users", true),
            ("*users", "users", true),
            ("*ers", "users", true),
            ("*.ers", "users", false),
            ("public.*s", "users", true),
            ("public.*x", "users", false),
            ("public.users", "other.users", true),
            ("public.users", "users.public", false),
            ("default/pods/web-1", "pods/web-1", true),
            ("default/pods/*", "web-1", true),
            ("session:42", "42", true),
            ("*.a.users", "users", true),
            ("*superusers", "users", false),
            ("vault.keys", "*", true),
            ("vault.keys", "vault.*", true),
            ("vault.keys", "vault.", true),
        ] {
            assert_eq!(
                Glob::new(pattern).could_mean(name),
                expected,
                "{pattern} {name}"
            );
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_definition_says(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(
                Glob::new(&pattern).matches(&text),
                naive(&chars(&pattern), &chars(&text))
            );
        }

        #[test]
        fn a_name_that_is_matched_when_known_is_met_when_not(
            pattern in "[ab.*]{0,8}", front in "([ab]{1,2}\\.){0,2}", last in "[ab]{1,4}",
        ) {
            let glob = Glob::new(&pattern);
            if glob.matches(&format!("{front}{last}")) {
                prop_assert!(glob.could_mean(&last));
                let longer = format!("x.{last}");
                prop_assert!(glob.could_mean(&longer));
            }
        }

        #[test]
        fn what_is_met_has_a_full_name_that_is_matched(pattern in "[ab.*]{0,6}", last in "[ab]{1,3}") {
            let glob = Glob::new(&pattern);
            if glob.could_mean(&last) {
                // Anything the stars may have to stand for, in front of the component.
                let front: String = pattern.replace('*', "");
                let witness = (0..=front.len()).any(|cut| {
                    let front = &front[..cut];
                    [String::new(), ".".into(), "a.".into()].iter().any(|dot| {
                        naive(&chars(&pattern), &chars(&format!("{front}{dot}{last}")))
                    })
                });
                prop_assert!(witness, "{} {}", pattern, last);
            }
        }

        #[test]
        fn patterns_that_match_the_same_text_overlap(
            left in "[ab*]{0,6}", right in "[ab*]{0,6}", text in "[ab]{0,8}",
        ) {
            if naive(&chars(&left), &chars(&text)) && naive(&chars(&right), &chars(&text)) {
                prop_assert!(overlap(&left, &right));
            }
        }

        #[test]
        fn patterns_that_overlap_match_the_same_text(left in "[ab*]{0,4}", right in "[ab*]{0,4}") {
            // With two letters, a common text need not be longer than both patterns together.
            let mut texts = vec![String::new()];
            let mut grown = texts.clone();
            for _ in 0..8 {
                grown = grown.iter().flat_map(|t| [format!("{t}a"), format!("{t}b")]).collect();
                texts.extend(grown.iter().cloned());
            }
            let (l, r) = (Glob::new(&left), Glob::new(&right));
            let common = texts.iter().any(|text| l.matches(text) && r.matches(text));
            prop_assert_eq!(overlap(&left, &right), common);
        }
    }
}

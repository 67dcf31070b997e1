//! Globs over cgroup paths: `*` is one component, `**` any number, and the longest literal prefix wins.
//!
//! What is below a cgroup that a glob names is governed with it, since a process takes its tag
//! along; so every glob ends as if with `/**`.
use crate::diagnostic::quoted;
use crate::glob::{self, Glob, PATTERN_MAX};
use std::fmt;

/// A glob over cgroup2 paths as in `/proc/PID/cgroup` after `0::/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupGlob {
    text: Box<str>,
    /// The last one is always [`Component::AnyNumber`], and no other one is behind the last
    /// [`Component::One`].
    components: Box<[Component]>,
    /// The bytes in front of the first star.
    literal: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    /// `**`
    AnyNumber,
    /// One component; a star inside of it matches any characters of it.
    One(Glob),
}

/// Why a text is not a cgroup glob: what is wrong, and what was expected.
pub(crate) type Fault = (String, &'static str);

impl CgroupGlob {
    pub(crate) fn parse(text: &str) -> Result<CgroupGlob, Fault> {
        const EXPECTED: &str =
            "a path like \"system.slice/runner.service/**\", relative to the cgroup2 mount";
        let fault =
            |what: &str| Err((format!("the cgroup glob {} {what}", quoted(text)), EXPECTED));
        if text.is_empty() {
            return Err((
                "a cgroup glob is empty".into(),
                "a path, or \"**\" for every cgroup",
            ));
        }
        if text.len() > PATTERN_MAX {
            return fault("is longer than 1024 bytes");
        }
        if text.starts_with('/') || text.ends_with('/') {
            return fault("begins or ends with `/`");
        }
        if text.chars().any(char::is_control) {
            return fault("has a control character in it");
        }
        for component in text.split('/') {
            match component {
                "" => return fault("has an empty component"),
                "." | ".." => return fault("has the component `.` or `..`"),
                "**" => {}
                _ if component.contains("**") => {
                    return Err((
                        format!(
                            "`**` is only part of a component in the cgroup glob {}",
                            quoted(text)
                        ),
                        "`**` as a component of its own, or a single `*`",
                    ));
                }
                _ => {}
            }
        }
        let components = head(text)
            .split('/')
            .filter(|component| !component.is_empty());
        let components = components.map(|component| match component {
            "**" => Component::AnyNumber,
            _ => Component::One(Glob::new(component)),
        });
        Ok(CgroupGlob {
            text: text.into(),
            components: components.chain([Component::AnyNumber]).collect(),
            literal: text.find('*').unwrap_or(text.len()),
        })
    }

    /// The glob as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text in front of the first star. The longer it is, the more specific the glob.
    pub(crate) fn literal_prefix(&self) -> &str {
        self.text.get(..self.literal).unwrap_or_default()
    }

    /// The glob without what it does not need at its end: two with the same head name the same
    /// cgroups.
    pub(crate) fn head(&self) -> &str {
        head(&self.text)
    }

    /// Does the glob name the cgroup of a path, or one above it? The path is without a leading
    /// `/`; the empty path is the mount itself.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').filter(|_| !path.is_empty()).collect();
        let (mut at, mut part) = (0, 0);
        // Where to go on when a later component does not match: behind the last `**`, with one
        // more component given to it.
        let mut retry = None;
        loop {
            match (self.components.get(at), parts.get(part)) {
                (None, None) => return true,
                (Some(Component::AnyNumber), _) => {
                    at += 1;
                    retry = Some((at, part));
                }
                (Some(Component::One(glob)), Some(text)) if glob.matches(text) => {
                    at += 1;
                    part += 1;
                }
                _ => match retry {
                    Some((behind, given)) if given < parts.len() => {
                        (at, part) = (behind, given + 1);
                        retry = Some((behind, given + 1));
                    }
                    _ => return false,
                },
            }
        }
    }

    /// Is there a cgroup that both globs govern?
    pub(crate) fn overlaps(&self, other: &CgroupGlob) -> bool {
        let (left, right) = (&self.components, &other.components);
        // reachable[j]: the first i components here and the first j there match a common path.
        let mut reachable = vec![false; right.len() + 1];
        for i in 0..=left.len() {
            let mut row = vec![false; right.len() + 1];
            for j in 0..=right.len() {
                let l = i.checked_sub(1).and_then(|i| left.get(i));
                let r = j.checked_sub(1).and_then(|j| right.get(j));
                let get = |row: &[bool], j: Option<usize>| {
                    j.and_then(|j| row.get(j)).copied().unwrap_or(false)
                };
                let any_left = matches!(l, Some(Component::AnyNumber));
                let any_right = matches!(r, Some(Component::AnyNumber));
                let both = match (l, r) {
                    (Some(Component::One(l)), Some(Component::One(r))) => {
                        get(&reachable, j.checked_sub(1)) && glob::overlap(l.text(), r.text())
                    }
                    _ => false,
                };
                let value = (i == 0 && j == 0)
                    || ((any_left || any_right) && l.is_some() && get(&reachable, Some(j)))
                    || ((any_left || any_right) && r.is_some() && get(&row, j.checked_sub(1)))
                    || both;
                if let Some(cell) = row.get_mut(j) {
                    *cell = value;
                }
            }
            reachable = row;
        }
        reachable.last().copied().unwrap_or(false)
    }
}

impl fmt::Display for CgroupGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn head(mut text: &str) -> &str {
    loop {
        match text
            .strip_suffix("**")
            .map(|rest| rest.strip_suffix('/').unwrap_or(rest))
        {
            Some(rest) => text = rest,
            None => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn glob(text: &str) -> CgroupGlob {
        CgroupGlob::parse(text).unwrap()
    }

    #[test]
    fn a_star_is_one_component_and_two_are_any_number() {
        for (pattern, path, expected) in [
            ("a/**", "a", true),
            ("a/**", "a/b", true),
            ("a/**", "a/b/c", true),
            ("a/**", "ab", false),
            ("a/*", "a", false),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", true),
            ("a/*/**", "a", false),
            ("a/*/**", "a/b", true),
            ("**", "", true),
            ("*", "", false),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("**/b/**/c", "a/b/x/b/c", true),
            ("**/b/**/c", "a/b/x/b/c/d", true),
            ("a/*/c", "a/b/d/c", false),
            ("**/b/*/c", "b/b/b/c", true),
            ("**/b/*/c", "b/c", false),
            ("a/**/**/b", "a/b", true),
            (
                "system.slice/ci-*.service",
                "system.slice/ci-7.service",
                true,
            ),
            (
                "system.slice/ci-*.service",
                "system.slice/ci-.service",
                true,
            ),
            (
                "system.slice/ci-*.service",
                "system.slice/ci-7/x.service",
                false,
            ),
            ("a", "a", true),
            ("a", "a/b", true),
            ("a", "ab", false),
            ("a/b", "a", false),
        ] {
            assert_eq!(glob(pattern).matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_not_a_glob_is_refused() {
        for text in [
            "", "/a", "a/", "a//b", "/", ".", "a/../b", "a/./b", "a**", "a/**b", "***", "a\n",
        ] {
            assert!(CgroupGlob::parse(text).is_err(), "{text:?}");
        }
        assert!(CgroupGlob::parse(&"a".repeat(1025)).is_err());
    }

    #[test]
    fn globs_overlap_where_a_path_matches_both() {
        for (left, right, expected) in [
            ("a/*", "a/**", true),
            ("a/**", "a", true),
            ("a/*", "a", true),
            ("a/*", "a/*/d", true),
            ("a/*/c", "a/b*/c", true),
            ("a/*/c", "a/*/d", false),
            ("a/*-x", "a/y-*", true),
            ("**/a", "**/b", true),
            ("**/a/**", "b/**", true),
            ("*", "**/x/*", true),
            ("a/b", "a/c", false),
            ("a/b", "a", true),
            ("a/*x", "a/*y/z", false),
            ("*/*/a/a", "**/*b/*/b", true),
        ] {
            assert_eq!(
                glob(left).overlaps(&glob(right)),
                expected,
                "{left} {right}"
            );
            assert_eq!(
                glob(right).overlaps(&glob(left)),
                expected,
                "{right} {left}"
            );
        }
    }

    #[test]
    fn a_glob_has_a_literal_prefix_and_a_head() {
        for (text, prefix, head) in [
            ("**", "", ""),
            ("a", "a", "a"),
            ("a/**", "a/", "a"),
            ("a/**/**", "a/", "a"),
            ("a/*/**", "a/", "a/*"),
            ("**/a", "", "**/a"),
            ("a/b*", "a/b", "a/b*"),
        ] {
            assert_eq!(
                (glob(text).literal_prefix(), glob(text).head()),
                (prefix, head),
                "{text}"
            );
        }
    }

    /// The definition, without any cleverness.
    fn naive(pattern: &[&str], path: &[&str]) -> bool {
        match pattern.split_first() {
            None => true,
            Some((&"**", rest)) => (0..=path.len()).any(|skip| naive(rest, &path[skip..])),
            Some((one, rest)) => {
                !path.is_empty() && Glob::new(one).matches(path[0]) && naive(rest, &path[1..])
            }
        }
    }

    fn pattern() -> impl Strategy<Value = Vec<&'static str>> {
        proptest::collection::vec(
            prop_oneof![
                Just("**"),
                Just("*"),
                Just("a"),
                Just("b"),
                Just("a*"),
                Just("*b")
            ],
            1..5,
        )
    }

    proptest! {
        #[test]
        fn matching_is_what_the_definition_says(
            pattern in pattern(),
            path in proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("ab")], 0..6),
        ) {
            let matches = glob(&pattern.join("/")).matches(&path.join("/"));
            prop_assert_eq!(matches, naive(&pattern, &path));
        }

        #[test]
        fn overlap_is_a_common_path(left in pattern(), right in pattern()) {
            let mut paths: Vec<Vec<&str>> = vec![vec![]];
            let mut grown = paths.clone();
            // Long enough for the two to match in different places of it.
            for _ in 0..left.len() + right.len() {
                grown = grown.iter().flat_map(|path| ["a", "b", "ab"].map(|part| {
                    path.iter().copied().chain([part]).collect::<Vec<_>>()
                })).collect();
                paths.extend(grown.iter().cloned());
            }
            let common = paths.iter().any(|path| naive(&left, path) && naive(&right, path));
            prop_assert_eq!(glob(&left.join("/")).overlaps(&glob(&right.join("/"))), common);
        }
    }
}

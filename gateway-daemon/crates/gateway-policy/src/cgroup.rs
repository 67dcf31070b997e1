//! Globs over cgroup paths: `*` is one component, `**` any number, and the longest literal prefix wins.
use crate::diagnostic::quoted;
use crate::glob::{self, Glob, PATTERN_MAX};
use std::fmt;

/// A glob over cgroup2 paths as in `/proc/PID/cgroup` after `0::/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupGlob {
    text: Box<str>,
    components: Box<[Component]>,
    rank: Rank,
}

/// How specific a glob is. The greatest rank that matches a path has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Rank {
    /// A path without any star is its own literal prefix, and no other one is longer.
    whole: bool,
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
        let components = text
            .split('/')
            .map(|component| match component {
                "**" => Component::AnyNumber,
                _ => Component::One(Glob::new(component)),
            })
            .collect();
        let rank = match text.find('*') {
            Some(literal) => Rank {
                whole: false,
                literal,
            },
            None => Rank {
                whole: true,
                literal: text.len(),
            },
        };
        Ok(CgroupGlob {
            text: text.into(),
            components,
            rank,
        })
    }

    /// The glob as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn rank(&self) -> Rank {
        self.rank
    }

    /// The text in front of the first star.
    pub(crate) fn literal_prefix(&self) -> &str {
        self.text.get(..self.rank.literal).unwrap_or_default()
    }

    /// Does the glob match a path without a leading `/`? The empty path is the mount itself.
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

    /// Is there a path that both globs match?
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
            ("a/*", "a/b/c", false),
            ("a/*/**", "a", false),
            ("a/*/**", "a/b", true),
            ("**", "", true),
            ("*", "", false),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("**/b/**/c", "a/b/x/b/c", true),
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
            ("a", "a/b", false),
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
            ("a/*", "a", false),
            ("a/*/c", "a/b*/c", true),
            ("a/*/c", "a/*/d", false),
            ("a/*-x", "a/y-*", true),
            ("**/a", "**/b", false),
            ("**/a/**", "b/**", true),
            ("*", "**/x/*", false),
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
    fn the_longer_literal_prefix_ranks_higher_and_a_whole_path_highest() {
        let ranks = ["**", "a*/**", "a/**", "a/b*", "a/b/**", "a"].map(|text| glob(text).rank());
        assert!(
            ranks.is_sorted() && ranks.windows(2).all(|pair| pair[0] < pair[1]),
            "{ranks:?}"
        );
        assert_eq!(glob("a/**").rank(), glob("a/*").rank());
        assert_eq!(glob("a/b*").literal_prefix(), "a/b");
    }

    /// The definition, without any cleverness.
    fn naive(pattern: &[&str], path: &[&str]) -> bool {
        match pattern.split_first() {
            None => path.is_empty(),
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
            for _ in 0..6 {
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

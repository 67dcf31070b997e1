//! Compiles the cgroup globs of all policies into one automaton ([`Table`]).
//!
//! A glob is a list of components between slashes. `*` stands for one component, or inside one for
//! any of its characters; `**` for any number of components, none included. What is below a cgroup
//! that a glob names is governed with it. Of several globs the one with the longest literal prefix
//! counts. Only cgroups at or below the root are governed; paths are from the cgroup2 mount.
use crate::error::CaptureError;
use gateway_common::glob::{CLASSES, NO_SLOT, STATES, Table};
use std::collections::{BTreeSet, HashMap};

/// One glob, and the policy slot that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The pattern, without a leading slash.
    pub pattern: String,
    /// The policy.
    pub slot: u32,
}

/// What a step of the nondeterministic automaton takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Byte(u8),
    NotSlash,
    Any,
}

impl Takes {
    fn matches(self, byte: u8) -> bool {
        match self {
            Takes::Byte(expected) => byte == expected,
            Takes::NotSlash => byte != b'/',
            Takes::Any => true,
        }
    }
}

#[derive(Default)]
struct Node {
    steps: Vec<(Takes, usize)>,
    /// Reached without a byte.
    free: Vec<usize>,
    /// Accepts: the index of the glob, or the root's.
    accepts: Option<usize>,
}

/// The nondeterministic automaton of all globs.
#[derive(Default)]
struct Nodes(Vec<Node>);

impl Nodes {
    fn add(&mut self) -> usize {
        self.0.push(Node::default());
        self.0.len() - 1
    }

    fn step(&mut self, from: usize, takes: Takes, to: usize) {
        self.0[from].steps.push((takes, to));
    }

    fn free(&mut self, from: usize, to: usize) {
        self.0[from].free.push(to);
    }

    /// One glob, from node `start`. Where it ends, anything below is accepted as well.
    fn glob(&mut self, start: usize, pattern: &str, accepts: usize) {
        let mut at = start;
        // Does a slash have to come before the next component?
        let mut separated = false;
        let mut components: Vec<&str> = pattern
            .split('/')
            .filter(|component| !component.is_empty())
            .collect();
        // What is below is governed anyway.
        while components.last() == Some(&"**") {
            components.pop();
        }
        for component in components {
            if component == "**" {
                at = self.any_components(at, separated);
                // Behind `**` the slash is taken by it, or is still to come.
                continue;
            }
            if separated {
                let next = self.add();
                self.step(at, Takes::Byte(b'/'), next);
                at = next;
            }
            at = self.component(at, component);
            separated = true;
        }
        self.0[at].accepts = Some(accepts);
        let below = self.add();
        if at == start {
            self.step(at, Takes::Any, below);
        } else {
            self.step(at, Takes::Byte(b'/'), below);
        }
        self.step(below, Takes::Any, below);
        self.0[below].accepts = Some(accepts);
    }

    /// `**`: returns the node behind it, from where a component follows as it would have before.
    fn any_components(&mut self, at: usize, separated: bool) -> usize {
        let behind = self.add();
        self.free(at, behind);
        if separated {
            // ( "/" not-slash+ )*
            let (slash, inside) = (self.add(), self.add());
            self.step(at, Takes::Byte(b'/'), slash);
            self.step(slash, Takes::NotSlash, inside);
            self.step(inside, Takes::NotSlash, inside);
            self.step(inside, Takes::Byte(b'/'), slash);
            self.free(inside, behind);
        } else {
            // ( not-slash+ "/" )*
            let inside = self.add();
            self.step(behind, Takes::NotSlash, inside);
            self.step(inside, Takes::NotSlash, inside);
            self.step(inside, Takes::Byte(b'/'), behind);
        }
        behind
    }

    fn component(&mut self, mut at: usize, component: &str) -> usize {
        if component == "*" {
            let next = self.add();
            self.step(at, Takes::NotSlash, next);
            self.step(next, Takes::NotSlash, next);
            return next;
        }
        for byte in component.bytes() {
            let next = self.add();
            if byte == b'*' {
                self.free(at, next);
                self.step(next, Takes::NotSlash, next);
            } else {
                self.step(at, Takes::Byte(byte), next);
            }
            at = next;
        }
        at
    }

    fn close(&self, set: &mut BTreeSet<usize>) {
        let mut open: Vec<usize> = set.iter().copied().collect();
        while let Some(node) = open.pop() {
            for &next in &self.0[node].free {
                if set.insert(next) {
                    open.push(next);
                }
            }
        }
    }
}

/// The length of the literal text before the first wildcard.
#[must_use]
pub fn literal_prefix(pattern: &str) -> usize {
    pattern.find('*').unwrap_or(pattern.len())
}

/// Compiles. `root` is the cgroup root's own path from the cgroup2 mount; empty for the mount.
///
/// # Errors
/// The automaton would have more states or classes than the kernel half has room for.
pub fn compile(root: &str, globs: &[Glob]) -> Result<Box<Table>, CaptureError> {
    let mut nodes = Nodes::default();
    let start = nodes.add();
    for (index, glob) in globs.iter().enumerate() {
        let own = nodes.add();
        nodes.free(start, own);
        nodes.glob(own, &glob.pattern, index);
    }
    let under_root = globs.len();
    let own = nodes.add();
    nodes.free(start, own);
    nodes.glob(own, root, under_root);

    let (class, samples) = classes(root, globs)?;
    let mut table = empty_table();
    table.class = class;
    let mut first: BTreeSet<usize> = [start].into();
    nodes.close(&mut first);
    // State 0 is dead: the empty set.
    let mut known: HashMap<BTreeSet<usize>, u16> = HashMap::from([(BTreeSet::new(), 0)]);
    known.insert(first.clone(), 1);
    let mut open = vec![(1u16, first)];
    while let Some((state, set)) = open.pop() {
        table.accept[usize::from(state)] = slot_of(&nodes, &set, globs, under_root).wrapping_add(1);
        for (index, &byte) in samples.iter().enumerate() {
            let mut next: BTreeSet<usize> = BTreeSet::new();
            for &node in &set {
                for &(takes, to) in &nodes.0[node].steps {
                    if takes.matches(byte) {
                        next.insert(to);
                    }
                }
            }
            nodes.close(&mut next);
            let number = match known.get(&next) {
                Some(&number) => number,
                None => {
                    let number = known.len();
                    if number >= STATES {
                        return Err(CaptureError::Globs {
                            what: format!("more than {STATES} states"),
                        });
                    }
                    let number = number as u16;
                    known.insert(next.clone(), number);
                    open.push((number, next));
                    number
                }
            };
            table.next[usize::from(state) * CLASSES + index] = number;
        }
    }
    Ok(table)
}

fn empty_table() -> Box<Table> {
    Box::new(Table {
        class: [0; 256],
        next: [0; STATES * CLASSES],
        accept: [0; STATES],
    })
}

/// Bytes that no glob tells apart share a class. Returns the class of each byte, and one byte of
/// each class.
fn classes(root: &str, globs: &[Glob]) -> Result<([u8; 256], Vec<u8>), CaptureError> {
    let mut literal = [false; 256];
    literal[usize::from(b'/')] = true;
    for byte in globs
        .iter()
        .flat_map(|glob| glob.pattern.bytes())
        .chain(root.bytes())
    {
        literal[usize::from(byte)] = true;
    }
    let other = (0..=255u8)
        .find(|byte| !literal[usize::from(*byte)])
        .unwrap_or(0);
    let mut samples = vec![other];
    let mut class = [0u8; 256];
    for byte in 0..=255u8 {
        if literal[usize::from(byte)] {
            if samples.len() >= CLASSES {
                return Err(CaptureError::Globs {
                    what: format!("more than {CLASSES} different characters"),
                });
            }
            class[usize::from(byte)] = samples.len() as u8;
            samples.push(byte);
        }
    }
    Ok((class, samples))
}

fn slot_of(nodes: &Nodes, set: &BTreeSet<usize>, globs: &[Glob], under_root: usize) -> u32 {
    let mut best: Option<&Glob> = None;
    let mut inside = false;
    for accepts in set.iter().filter_map(|node| nodes.0[*node].accepts) {
        if accepts == under_root {
            inside = true;
        } else if let Some(glob) = globs.get(accepts)
            && best.is_none_or(|best| literal_prefix(&best.pattern) < literal_prefix(&glob.pattern))
        {
            best = Some(glob);
        }
    }
    match best {
        Some(glob) if inside => glob.slot,
        _ => NO_SLOT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judge(root: &str, globs: &[(&str, u32)], path: &str) -> Option<u32> {
        let globs: Vec<Glob> = globs
            .iter()
            .map(|(pattern, slot)| Glob {
                pattern: (*pattern).to_owned(),
                slot: *slot,
            })
            .collect();
        let slot = compile(root, &globs).unwrap().judge(path.as_bytes());
        (slot != NO_SLOT).then_some(slot)
    }

    #[test]
    fn globs_mean_what_the_contract_says() {
        for (glob, path, governed) in [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/b", "a", false),
            ("a/b", "a/b/c", true), // below a governed cgroup
            ("a/*", "a/b", true),
            ("a/*", "a", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/d/c", false),
            ("a/*/c", "a/c", false),
            ("a/**", "a", true),
            ("a/**", "a/b/c/d", true),
            ("a/**", "ab", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/b/c/y", false),
            ("**/z", "z", true),
            ("**/z", "a/b/z", true),
            ("**/z", "a/bz", false),
            ("**", "anything/at/all", true),
            ("**", "", true),
            ("a/ci-*.service", "a/ci-7.service", true),
            ("a/ci-*.service", "a/ci-.service", true),
            ("a/ci-*.service", "a/ci-7/x.service", false),
            ("a/ci-*.service/**", "a/ci-7.service/job/1", true),
        ] {
            assert_eq!(
                judge("", &[(glob, 3)], path).is_some(),
                governed,
                "{glob} on {path}"
            );
        }
    }

    #[test]
    fn the_longest_literal_prefix_counts() {
        let globs = [("**", 1), ("a/**", 2), ("a/b/*", 3)];
        assert_eq!(judge("", &globs, "x"), Some(1));
        assert_eq!(judge("", &globs, "a/x"), Some(2));
        assert_eq!(judge("", &globs, "a/b"), Some(2));
        assert_eq!(judge("", &globs, "a/b/c/d"), Some(3));
    }

    #[test]
    fn nothing_outside_of_the_root_is_governed() {
        assert_eq!(judge("t/1", &[("**", 1)], "t/2/x"), None);
        assert_eq!(judge("t/1", &[("**", 1)], "t/1"), Some(1));
        assert_eq!(judge("t/1", &[("t/*/x", 1)], "t/1/x"), Some(1));
        assert_eq!(judge("t/1", &[("t/*/x", 1)], "t/2/x"), None);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let globs: Vec<Glob> = (0..200)
            .map(|n| Glob {
                pattern: format!("some.slice/a-long-name-{n}.service"),
                slot: n,
            })
            .collect();
        assert!(compile("", &globs).is_err());
    }

    /// The same meaning, written as recursion over components.
    fn naive(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, _) => true, // below
            (Some((&"**", rest)), None) => naive(rest, &[]),
            (Some(_), None) => false,
            (Some((&"**", rest)), Some((_, tail))) => naive(rest, path) || naive(pattern, tail),
            (Some((head, rest)), Some((name, tail))) => {
                component_matches(head.as_bytes(), name.as_bytes()) && naive(rest, tail) // names are not empty
            }
        }
    }

    fn component_matches(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                component_matches(rest, name)
                    || name
                        .split_first()
                        .is_some_and(|(_, tail)| component_matches(pattern, tail))
            }
            (Some((a, rest)), Some((b, tail))) => a == b && component_matches(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_automaton_agrees_with_the_recursion(
            pattern in proptest::collection::vec("[ab]|\\*|\\*\\*|a\\*|\\*b", 1..4),
            path in proptest::collection::vec("[ab]{1,2}", 0..5),
        ) {
            let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            prop_assert_eq!(
                judge("", &[(&pattern.join("/"), 1)], &path.join("/")).is_some(),
                naive(&pattern, &path)
            );
        }
    }
}

//! Sets of rules as bits, and indexes that answer with one: how a decision over many rules stays cheap.
use crate::document::TABLES_MAX;
use crate::glob::Glob;
use rustc_hash::FxHashMap;

const WORDS: usize = TABLES_MAX.div_ceil(64);

/// A set of rules of one policy, or of its masks, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RuleSet([u64; WORDS]);

impl RuleSet {
    pub(crate) const EMPTY: RuleSet = RuleSet([0; WORDS]);

    /// Adds a rule. A number beyond [`TABLES_MAX`] does not occur, and is not added.
    pub(crate) fn insert(&mut self, rule: u16) {
        if let Some(word) = self.0.get_mut(usize::from(rule / 64)) {
            *word |= 1 << (rule % 64);
        }
    }

    pub(crate) fn contains(&self, rule: u16) -> bool {
        let word = self.0.get(usize::from(rule / 64)).copied().unwrap_or(0);
        word & (1 << (rule % 64)) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == RuleSet::EMPTY
    }

    /// Those that are not in the other set.
    pub(crate) fn without(mut self, other: &RuleSet) -> RuleSet {
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(word, other)| *word &= !other);
        self
    }

    pub(crate) fn and(mut self, other: &RuleSet) -> RuleSet {
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(word, other)| *word &= other);
        self
    }

    pub(crate) fn or(mut self, other: &RuleSet) -> RuleSet {
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(word, other)| *word |= other);
        self
    }

    /// The numbers in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> {
        self.0
            .iter()
            .zip((0u16..).step_by(64))
            .flat_map(|(word, base)| {
                let mut rest = *word;
                std::iter::from_fn(move || {
                    let bit = rest.trailing_zeros() as u16;
                    rest &= rest.checked_sub(1)?;
                    Some(base + bit)
                })
            })
    }
}

impl FromIterator<u16> for RuleSet {
    fn from_iter<I: IntoIterator<Item = u16>>(rules: I) -> RuleSet {
        let mut set = RuleSet::EMPTY;
        rules.into_iter().for_each(|rule| set.insert(rule));
        set
    }
}

impl std::fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Which rules have a pattern that matches a text. Each pattern is matched once, however many
/// rules have it; one without a star is looked up.
#[derive(Clone, Debug, Default)]
pub(crate) struct PatternIndex {
    exact: FxHashMap<Box<str>, Vec<u16>>,
    globs: Vec<Starred>,
}

/// A pattern with a star, and the rules that have it.
#[derive(Clone, Debug)]
struct Starred {
    /// The byte in front of the first star. Most patterns begin with another one than the text
    /// does, and are not looked at any closer.
    first: Option<u8>,
    glob: Glob,
    rules: Vec<u16>,
}

impl PatternIndex {
    pub(crate) fn new<'p>(patterns: impl IntoIterator<Item = (&'p Glob, u16)>) -> PatternIndex {
        let mut index = PatternIndex::default();
        let mut known: FxHashMap<&str, usize> = FxHashMap::default();
        for (glob, rule) in patterns {
            if !glob.text().contains('*') {
                index
                    .exact
                    .entry(glob.text().into())
                    .or_default()
                    .push(rule);
                continue;
            }
            let place = *known.entry(glob.text()).or_insert(index.globs.len());
            match index.globs.get_mut(place) {
                Some(starred) => starred.rules.push(rule),
                None => index.globs.push(Starred {
                    first: glob.text().bytes().next().filter(|byte| *byte != b'*'),
                    glob: glob.clone(),
                    rules: vec![rule],
                }),
            }
        }
        index
    }

    /// Adds the rules that have a pattern for the text.
    pub(crate) fn add_matching(&self, text: &str, set: &mut RuleSet) {
        for rule in self.exact.get(text).into_iter().flatten() {
            set.insert(*rule);
        }
        let first = text.bytes().next();
        for Starred {
            first: of,
            glob,
            rules,
        } in &self.globs
        {
            if (of.is_none() || *of == first) && glob.matches(text) {
                rules.iter().for_each(|rule| set.insert(*rule));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_a_set() {
        let numbers = [0u16, 1, 63, 64, 127, 1000, 2047];
        let set: RuleSet = numbers.into_iter().chain([2048, 9999]).collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), numbers);
        let other: RuleSet = [1u16, 2, 64].into_iter().collect();
        assert_eq!(set.and(&other).iter().collect::<Vec<_>>(), [1, 64]);
        assert_eq!(set.or(&other).iter().count(), 8);
        assert_eq!(
            set.without(&other).iter().collect::<Vec<_>>(),
            [0, 63, 127, 1000, 2047]
        );
        assert!(set.contains(2047) && !set.contains(2) && !set.contains(9999));
        assert!(RuleSet::EMPTY.is_empty() && !set.is_empty());
        assert_eq!(RuleSet::EMPTY.iter().count(), 0);
    }

    #[test]
    fn an_index_finds_every_rule_that_has_a_pattern_for_the_text() {
        let globs = ["a", "a*", "b", "*", "a"].map(Glob::new);
        let index = PatternIndex::new(globs.iter().zip([0u16, 1, 2, 3, 4]).chain([(&globs[1], 5)]));
        for (text, expected) in [
            ("a", vec![0, 1, 3, 4, 5]),
            ("ab", vec![1, 3, 5]),
            ("", vec![3]),
        ] {
            let mut set = RuleSet::EMPTY;
            index.add_matching(text, &mut set);
            assert_eq!(set.iter().collect::<Vec<_>>(), expected, "{text}");
        }
        assert_eq!(index.globs.len(), 2, "equal patterns are one");
    }
}

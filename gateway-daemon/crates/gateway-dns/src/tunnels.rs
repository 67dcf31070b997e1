//! What keeps names from being a way out: how long they are, how many, and how fast they come.
//!
//! A tunnel puts its data into the names that it asks for, each one different and below a zone of
//! its own. So what is counted is different names, by zone and in all, in an hour; names that are
//! asked for again cost nothing but their place in the rate.
use crate::limits::Limits;
use gateway_core::{Timestamp, TreeId};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
/// Trees that are remembered. Each that asks has one; those of the last hour that are gone too.
const TREES_MAX: usize = 65_536;

/// Which limit a question is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// The name is too long.
    NameBytes(usize),
    /// It has too many labels.
    Labels(usize),
    /// Too many questions in a second.
    Rate(usize),
    /// Too many different names of one zone in an hour.
    ZoneNames(usize),
    /// Too many different names in an hour.
    Names(usize),
    /// Too many trees ask.
    Trees,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excess::NameBytes(max) => write!(f, "limits.dns_name_bytes: longer than {max} bytes"),
            Excess::Labels(max) => write!(f, "limits.dns_labels: more than {max} labels"),
            Excess::Rate(max) => write!(f, "limits.dns_rate: more than {max} questions a second"),
            Excess::ZoneNames(max) => {
                write!(
                    f,
                    "limits.dns_zone_names: more than {max} names of a zone in an hour"
                )
            }
            Excess::Names(max) => write!(f, "limits.dns_names: more than {max} names in an hour"),
            Excess::Trees => write!(f, "more than {TREES_MAX} trees ask for names"),
        }
    }
}

/// What one tree asked.
#[derive(Debug, Default)]
struct Tree {
    /// When the hour began.
    since: u64,
    /// The second that is being counted, and its questions.
    second: u64,
    questions: usize,
    names: FxHashSet<u64>,
    zones: FxHashMap<u64, usize>,
}

/// Counts, per tree.
#[derive(Debug)]
pub struct Tunnels {
    limits: Limits,
    /// Names and zones are kept as digests that nobody outside can aim at.
    digest: RandomState,
    trees: Mutex<FxHashMap<TreeId, Tree>>,
}

impl Tunnels {
    /// Nobody has asked yet.
    #[must_use]
    pub fn new(limits: Limits) -> Tunnels {
        Tunnels {
            limits,
            digest: RandomState::new(),
            trees: Mutex::default(),
        }
    }

    /// Counts a question of a tree. `name` is in lower case, without the dot at its end.
    ///
    /// # Errors
    /// The limit that it is over; it must not be asked.
    pub fn admit(&self, tree: TreeId, name: &str, now: Timestamp) -> Result<(), Excess> {
        let limits = &self.limits;
        if name.len() > limits.name_bytes {
            return Err(Excess::NameBytes(limits.name_bytes));
        }
        if name.split('.').count() > limits.labels {
            return Err(Excess::Labels(limits.labels));
        }
        let (name, zone) = (self.digest.hash_one(name), self.digest.hash_one(zone(name)));
        let mut trees = self.trees.lock();
        if trees.len() >= TREES_MAX && !trees.contains_key(&tree) {
            trees.retain(|_, tree| now.0.saturating_sub(tree.since) < HOUR);
            if trees.len() >= TREES_MAX {
                return Err(Excess::Trees);
            }
        }
        trees
            .entry(tree)
            .or_default()
            .count(limits, name, zone, now.0)
    }
}

impl Tree {
    fn count(&mut self, limits: &Limits, name: u64, zone: u64, now: u64) -> Result<(), Excess> {
        if now.saturating_sub(self.since) >= HOUR {
            self.names.clear();
            self.zones.clear();
            self.since = now;
        }
        if now / SECOND != self.second {
            self.second = now / SECOND;
            self.questions = 0;
        }
        if self.questions >= limits.rate {
            return Err(Excess::Rate(limits.rate));
        }
        self.questions += 1;
        if self.names.contains(&name) {
            return Ok(());
        }
        if self.names.len() >= limits.names {
            return Err(Excess::Names(limits.names));
        }
        let of_zone = self.zones.entry(zone).or_default();
        if *of_zone >= limits.zone_names {
            return Err(Excess::ZoneNames(limits.zone_names));
        }
        *of_zone += 1;
        self.names.insert(name);
        Ok(())
    }
}

/// The last two labels. Of `co.uk` and the like that is more than one zone, which is the strict
/// side.
fn zone(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.');
    let second = dots.nth(1).map_or(0, |(at, _)| at + 1);
    name.get(second..).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000 * SECOND;

    fn small() -> Tunnels {
        Tunnels::new(Limits {
            name_bytes: 20,
            labels: 4,
            rate: 3,
            zone_names: 2,
            names: 4,
            pending: 1,
        })
    }

    #[test]
    fn a_zone_is_the_last_two_labels() {
        for (name, expected) in [
            ("", ""),
            ("localhost", "localhost"),
            ("example.com", "example.com"),
            ("a.b.example.com", "example.com"),
        ] {
            assert_eq!(zone(name), expected);
        }
    }

    #[test]
    fn long_names_and_many_labels_are_refused() {
        let tunnels = small();
        let now = Timestamp(START);
        let ask = |name: &str| tunnels.admit(TreeId(1), name, now);
        assert_eq!(ask(&"a".repeat(20)), Ok(()));
        assert_eq!(ask(&"a".repeat(21)), Err(Excess::NameBytes(20)));
        assert_eq!(ask("a.b.c.d.e"), Err(Excess::Labels(4)));
    }

    #[test]
    fn the_rate_is_by_tree_and_second() {
        let tunnels = small();
        let ask = |tree, at| tunnels.admit(TreeId(tree), "example.com", Timestamp(START + at));
        for _ in 0..3 {
            assert_eq!(ask(1, 0), Ok(()));
        }
        assert_eq!(ask(1, SECOND - 1), Err(Excess::Rate(3)));
        assert_eq!(ask(2, 0), Ok(()), "another tree");
        assert_eq!(ask(1, SECOND), Ok(()), "the next second");
    }

    #[test]
    fn different_names_are_counted_by_zone_and_in_all_for_an_hour() {
        let tunnels = small();
        let mut at = START;
        let mut ask = |name: &str, later: u64| {
            at += later;
            tunnels.admit(TreeId(1), name, Timestamp(at))
        };
        assert_eq!(ask("one.example.com", 0), Ok(()));
        assert_eq!(ask("two.example.com", SECOND), Ok(()));
        assert_eq!(ask("one.example.com", SECOND), Ok(()), "asked again");
        assert_eq!(ask("three.example.com", SECOND), Err(Excess::ZoneNames(2)));
        assert_eq!(ask("three.example.org", SECOND), Ok(()));
        assert_eq!(ask("four.example.net", SECOND), Ok(()));
        assert_eq!(ask("five.example.net", SECOND), Err(Excess::Names(4)));
        assert_eq!(ask("five.example.net", HOUR), Ok(()), "the next hour");
        assert_eq!(ask("three.example.com", SECOND), Ok(()));
    }

    #[test]
    fn a_limit_says_its_key() {
        let said = Excess::Rate(200).to_string();
        assert_eq!(said, "limits.dns_rate: more than 200 questions a second");
    }
}

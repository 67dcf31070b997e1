//! Which names led a tree to an address, by the word of servers that are trusted.
//!
//! Only the name that was asked for is kept, never one on the way (CNAME) or beside it: whoever
//! answers for their own name could point from there to any other, and add an address to it.
use gateway_core::{Timestamp, TreeId};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::net::IpAddr;
use std::sync::Arc;

const SECOND: u64 = 1_000_000_000;
/// Clients keep addresses for longer than servers say. So long at least, in seconds.
const KEPT_MIN: u64 = 300;
/// And so long at most.
const KEPT_MAX: u64 = 86_400;
/// Names of addresses of one tree.
const NAMES_MAX: usize = 1024;
/// Names of one address. Whoever asks for more is as if the first had never been asked for.
const NAMES_OF_ADDRESS_MAX: usize = 16;
/// Trees.
const TREES_MAX: usize = 16_384;

#[derive(Clone, Debug)]
struct Known {
    name: Arc<str>,
    until: u64,
}

/// What one tree knows: of each address its names, the one that was told last at the end.
#[derive(Debug, Default)]
struct Tree {
    addresses: FxHashMap<IpAddr, Vec<Known>>,
    /// How many names that are.
    names: usize,
}

impl Tree {
    fn learn(&mut self, address: IpAddr, known: Known, now: u64) {
        self.forget(address, |other| other.name == known.name);
        if self.names_of(address) >= NAMES_OF_ADDRESS_MAX {
            self.forget(address, |other| other.until <= now);
        }
        if self.names_of(address) >= NAMES_OF_ADDRESS_MAX {
            let mut first = true;
            self.forget(address, |_| std::mem::take(&mut first));
        }
        if self.names >= NAMES_MAX {
            self.forget_old(now);
        }
        self.addresses.entry(address).or_default().push(known);
        self.names += 1;
    }

    fn names_of(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).map_or(0, Vec::len)
    }

    fn forget(&mut self, address: IpAddr, mut is_old: impl FnMut(&Known) -> bool) {
        let Some(names) = self.addresses.get_mut(&address) else {
            return;
        };
        let before = names.len();
        names.retain(|known| !is_old(known));
        self.names -= before - names.len();
        if names.is_empty() {
            self.addresses.remove(&address);
        }
    }

    /// Forgets what is over, else the address whose names end first.
    fn forget_old(&mut self, now: u64) {
        self.addresses.retain(|_, names| {
            names.retain(|known| known.until > now);
            !names.is_empty()
        });
        self.names = self.addresses.values().map(Vec::len).sum();
        let end = |names: &Vec<Known>| names.iter().map(|known| known.until).max();
        if self.names >= NAMES_MAX
            && let Some(first) = self.addresses.iter().min_by_key(|(_, names)| end(names))
        {
            let first = *first.0;
            self.forget(first, |_| true);
        }
    }

    fn is_over(&self, now: u64) -> bool {
        let mut names = self.addresses.values().flatten();
        names.all(|known| known.until <= now)
    }
}

/// Names by tree and address. What does not fit is forgotten, and then the policy decides on the
/// address.
#[derive(Debug, Default)]
pub struct NameTable {
    trees: Mutex<FxHashMap<TreeId, Tree>>,
}

impl NameTable {
    /// A tree was told that `name` has this address, for `ttl` seconds.
    pub fn learn(&self, tree: TreeId, address: IpAddr, name: &Arc<str>, ttl: u32, now: Timestamp) {
        let kept = u64::from(ttl).clamp(KEPT_MIN, KEPT_MAX) * SECOND;
        let known = Known {
            name: Arc::clone(name),
            until: now.0.saturating_add(kept),
        };
        let mut trees = self.trees.lock();
        if trees.len() >= TREES_MAX && !trees.contains_key(&tree) {
            trees.retain(|_, tree| !tree.is_over(now.0));
            if trees.len() >= TREES_MAX {
                return;
            }
        }
        let tree = trees.entry(tree).or_default();
        tree.learn(address.to_canonical(), known, now.0);
    }

    /// All names by which a tree knows an address, the one that it asked for last first. One that
    /// it asked for later does not take the place of another: a job that lets a name of its own
    /// point to a server would choose by it what the policy calls the server.
    #[must_use]
    pub fn names(&self, tree: TreeId, address: IpAddr, now: Timestamp) -> Vec<Arc<str>> {
        let trees = self.trees.lock();
        let names = trees
            .get(&tree)
            .and_then(|tree| tree.addresses.get(&address.to_canonical()));
        let valid = names.into_iter().flatten().rev();
        let valid = valid.filter(|known| known.until > now.0);
        valid.map(|known| Arc::clone(&known.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000 * SECOND);
    const TREE: TreeId = TreeId(1);

    fn later(seconds: u64) -> Timestamp {
        Timestamp(NOW.0 + seconds * SECOND)
    }

    fn names(table: &NameTable, tree: TreeId, address: &str, now: Timestamp) -> String {
        table.names(tree, address.parse().unwrap(), now).join(" ")
    }

    #[test]
    fn a_name_is_of_its_tree_and_ends() {
        let table = NameTable::default();
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        table.learn(TREE, address, &"db.internal".into(), 3600, NOW);
        assert_eq!(names(&table, TREE, "192.0.2.7", NOW), "db.internal");
        assert_eq!(names(&table, TREE, "::ffff:192.0.2.7", NOW), "db.internal");
        assert_eq!(names(&table, TreeId(2), "192.0.2.7", NOW), "");
        assert_eq!(names(&table, TREE, "192.0.2.8", NOW), "");
        assert_eq!(names(&table, TREE, "192.0.2.7", later(3600)), "");
    }

    #[test]
    fn a_later_name_does_not_take_the_place_of_another() {
        let table = NameTable::default();
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        table.learn(TREE, mapped, &"db.internal".into(), 3600, NOW);
        table.learn(TREE, mapped, &"other.internal".into(), 0, NOW);
        let at = |time| names(&table, TREE, "192.0.2.7", time);
        assert_eq!(at(later(299)), "other.internal db.internal");
        assert_eq!(at(later(300)), "db.internal", "kept for a while, and over");
        // Asked again it is the last one, and known once.
        table.learn(TREE, mapped, &"db.internal".into(), 3600, NOW);
        assert_eq!(at(NOW), "db.internal other.internal");
    }

    #[test]
    fn a_tree_cannot_make_it_grow() {
        let table = NameTable::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..2000 {
            let at = later(u64::from(number));
            table.learn(TREE, address(number), &"x".into(), 3600, at);
        }
        assert_eq!(table.trees.lock()[&TREE].names, NAMES_MAX);
        assert_eq!(table.trees.lock()[&TREE].addresses.len(), NAMES_MAX);
        assert_eq!(table.names(TREE, address(1999), later(2000)).len(), 1);
        assert!(table.names(TREE, address(0), later(2000)).is_empty());
        for number in 0..100 {
            let name = format!("name-{number}").into();
            table.learn(TreeId(2), address(1), &name, 3600, NOW);
        }
        let names = table.names(TreeId(2), address(1), NOW);
        assert_eq!(names.len(), NAMES_OF_ADDRESS_MAX);
        assert_eq!(*names[0], *"name-99");
        assert_eq!(*names[15], *"name-84");
        assert_eq!(table.trees.lock()[&TreeId(2)].names, NAMES_OF_ADDRESS_MAX);
        // What is over makes room at once.
        for number in 0..2000 {
            table.learn(TREE, address(number), &"y".into(), 3600, later(10_000));
        }
        assert_eq!(table.trees.lock()[&TREE].names, NAMES_MAX);
        let counted: usize = table.trees.lock()[&TREE]
            .addresses
            .values()
            .map(Vec::len)
            .sum();
        assert_eq!(counted, NAMES_MAX);
    }
}

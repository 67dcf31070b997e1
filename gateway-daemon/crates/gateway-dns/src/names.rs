//! Which name led a tree to an address, by the word of servers that are trusted.
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
/// Addresses of one tree.
const ADDRESSES_MAX: usize = 1024;
/// Trees.
const TREES_MAX: usize = 16_384;

#[derive(Clone, Debug)]
struct Known {
    name: Arc<str>,
    until: u64,
}

/// Names by tree and address. What does not fit is forgotten, and then the policy decides on the
/// address.
#[derive(Debug, Default)]
pub struct NameTable {
    trees: Mutex<FxHashMap<TreeId, FxHashMap<IpAddr, Known>>>,
}

impl NameTable {
    /// A tree was told that `name` has this address, for `ttl` seconds. The last word counts.
    pub fn learn(&self, tree: TreeId, address: IpAddr, name: &Arc<str>, ttl: u32, now: Timestamp) {
        let kept = u64::from(ttl).clamp(KEPT_MIN, KEPT_MAX) * SECOND;
        let known = Known {
            name: Arc::clone(name),
            until: now.0.saturating_add(kept),
        };
        let mut trees = self.trees.lock();
        if trees.len() >= TREES_MAX && !trees.contains_key(&tree) {
            trees.retain(|_, addresses| addresses.values().any(|known| known.until > now.0));
            if trees.len() >= TREES_MAX {
                return;
            }
        }
        let addresses = trees.entry(tree).or_default();
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&address) {
            addresses.retain(|_, known| known.until > now.0);
            let first = addresses.iter().min_by_key(|(_, known)| known.until);
            if let Some(first) = first.map(|(address, _)| *address)
                && addresses.len() >= ADDRESSES_MAX
            {
                addresses.remove(&first);
            }
        }
        addresses.insert(address.to_canonical(), known);
    }

    /// The name by which a tree knows an address.
    #[must_use]
    pub fn name(&self, tree: TreeId, address: IpAddr, now: Timestamp) -> Option<Arc<str>> {
        let trees = self.trees.lock();
        let known = trees.get(&tree)?.get(&address.to_canonical())?;
        (known.until > now.0).then(|| Arc::clone(&known.name))
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

    #[test]
    fn a_name_is_of_its_tree_and_ends() {
        let table = NameTable::default();
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        table.learn(TREE, address, &"db.internal".into(), 3600, NOW);
        assert_eq!(
            table.name(TREE, address, NOW).as_deref(),
            Some("db.internal")
        );
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert!(table.name(TREE, mapped, NOW).is_some());
        assert_eq!(table.name(TreeId(2), address, NOW), None);
        assert_eq!(table.name(TREE, address, later(3600)), None);
        table.learn(TREE, address, &"other.internal".into(), 0, NOW);
        assert_eq!(
            table.name(TREE, address, later(299)).as_deref(),
            Some("other.internal"),
            "the last word counts, and is kept for a while"
        );
        assert_eq!(table.name(TREE, address, later(300)), None);
    }

    #[test]
    fn a_tree_cannot_make_it_grow() {
        let table = NameTable::default();
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..2000 {
            let at = later(u64::from(number));
            table.learn(TREE, address(number), &"x".into(), 3600, at);
        }
        assert_eq!(table.trees.lock()[&TREE].len(), ADDRESSES_MAX);
        assert!(table.name(TREE, address(1999), later(2000)).is_some());
        assert!(table.name(TREE, address(0), later(2000)).is_none());
    }
}

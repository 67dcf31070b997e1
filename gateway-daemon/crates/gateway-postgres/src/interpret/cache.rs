//! Remembers classifications: bounded, shared by all sessions, and compared in full, so that a
//! statement never gets the answer of another whose hash is the same.
use super::classification::{Classification, PreparedChange};
use super::context::SqlContext;
use parking_lot::Mutex;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

const SHARDS: usize = 16;
/// Largest mean size of the entries, in bytes: the memory of a full cache.
const ENTRY_BYTES_MEAN_MAX: usize = 4 * 1024;
/// Largest size of one entry, in bytes, but for what it may take of the mean.
const ENTRY_BYTES_MAX: usize = 72 * 1024;

/// How the text of an entry was made from a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Its literals were taken out.
    Shape,
    /// It is the statement.
    Exact,
}

/// What an entry is found by.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) form: Form,
    pub(super) text: &'a [u8],
    pub(super) context: &'a SqlContext,
    hash: u64,
}

/// A map from text and context to classification, bounded in entries and in bytes. An entry that
/// is asked for stays; of those that are not, the oldest goes first (the clock algorithm).
pub(super) struct Cache {
    shards: Vec<Mutex<Shard>>,
    /// Makes the hashes of this process unlike those of any other.
    seed: u64,
}

struct Shard {
    /// From hash to slot. Where two texts have one hash, the later has the slot.
    slots: FxHashMap<u64, usize>,
    entries: Vec<Entry>,
    /// Most entries, and most bytes of all together.
    capacity: usize,
    bytes_max: usize,
    bytes: usize,
    hand: usize,
}

struct Entry {
    hash: u64,
    form: Form,
    text: Box<[u8]>,
    context: SqlContext,
    classification: Arc<Classification>,
    bytes: usize,
    was_used: bool,
}

impl Cache {
    pub(super) fn new(entries_max: usize) -> Cache {
        let capacity = entries_max.div_ceil(SHARDS).max(1);
        let shard = || Shard {
            slots: FxHashMap::default(),
            entries: Vec::new(),
            capacity,
            bytes_max: capacity * ENTRY_BYTES_MEAN_MAX + ENTRY_BYTES_MAX * 4,
            bytes: 0,
            hand: 0,
        };
        Cache {
            shards: std::iter::repeat_with(|| Mutex::new(shard()))
                .take(SHARDS)
                .collect(),
            seed: RandomState::new().hash_one(SHARDS),
        }
    }

    /// The key of a text.
    pub(super) fn key<'a>(&self, form: Form, text: &'a [u8], context: &'a SqlContext) -> Key<'a> {
        let salt = self.seed ^ context.digest() ^ (form as u64);
        Key {
            form,
            text,
            context,
            hash: FxBuildHasher.hash_one((salt, text)),
        }
    }

    /// What is remembered of a text.
    pub(super) fn get(&self, key: &Key<'_>) -> Option<Arc<Classification>> {
        let mut shard = self.shard(key.hash)?.lock();
        let slot = *shard.slots.get(&key.hash)?;
        let entry = shard
            .entries
            .get_mut(slot)
            .filter(|entry| entry.is_of(key))?;
        entry.was_used = true;
        Some(Arc::clone(&entry.classification))
    }

    /// Remembers a classification. Another session may have been quicker: then its classification
    /// is the one, so that the two have one number.
    pub(super) fn insert(
        &self,
        key: &Key<'_>,
        classification: Arc<Classification>,
    ) -> Arc<Classification> {
        let Some(shard) = self.shard(key.hash) else {
            return classification;
        };
        let mut shard = shard.lock();
        let known = shard.slots.get(&key.hash).copied();
        if let Some(entry) = known.and_then(|slot| shard.entries.get(slot))
            && entry.is_of(key)
        {
            return Arc::clone(&entry.classification);
        }
        let entry = Entry {
            hash: key.hash,
            form: key.form,
            text: key.text.into(),
            context: key.context.clone(),
            classification: Arc::clone(&classification),
            bytes: weight(key.text, &classification),
            was_used: false,
        };
        shard.put(entry);
        classification
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().entries.len())
            .sum()
    }

    fn shard(&self, hash: u64) -> Option<&Mutex<Shard>> {
        // The map uses the other bits.
        self.shards.get((hash >> 32) as usize % SHARDS)
    }
}

impl Entry {
    fn is_of(&self, key: &Key<'_>) -> bool {
        self.hash == key.hash
            && self.form == key.form
            && *self.text == *key.text
            && self.context == *key.context
    }
}

impl Shard {
    fn put(&mut self, entry: Entry) {
        if entry.bytes > self.bytes_max / 4 {
            return;
        }
        if let Some(slot) = self.slots.get(&entry.hash).copied() {
            self.remove(slot);
        }
        while self.entries.len() >= self.capacity || self.bytes + entry.bytes > self.bytes_max {
            let victim = self.victim();
            self.remove(victim);
        }
        self.bytes += entry.bytes;
        self.slots.insert(entry.hash, self.entries.len());
        self.entries.push(entry);
    }

    /// Takes an entry out; the last one moves to its slot.
    fn remove(&mut self, slot: usize) {
        if slot >= self.entries.len() {
            return;
        }
        let entry = self.entries.swap_remove(slot);
        self.bytes -= entry.bytes;
        self.slots.remove(&entry.hash);
        if let Some(moved) = self.entries.get(slot) {
            self.slots.insert(moved.hash, slot);
        }
    }

    /// The next entry that was not used since the hand last passed it.
    fn victim(&mut self) -> usize {
        loop {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            match self.entries.get_mut(self.hand) {
                Some(entry) if entry.was_used => {
                    entry.was_used = false;
                    self.hand += 1;
                }
                _ => return self.hand,
            }
        }
    }
}

/// About how many bytes an entry takes.
fn weight(text: &[u8], classification: &Classification) -> usize {
    const FIXED: usize = 512;
    const PER_OBJECT: usize = 96;
    let objects = classification
        .effects
        .iter()
        .flat_map(|effect| &effect.objects);
    // An object is held twice, the second time among the effects without EXECUTE.
    let objects: usize = objects.map(|object| PER_OBJECT + object.name().len()).sum();
    let prepared: usize = classification
        .changes
        .prepared
        .iter()
        .map(|change| match change {
            PreparedChange::Prepare(prepared) => {
                weight(prepared.statement.as_bytes(), &prepared.classification)
            }
            PreparedChange::Deallocate(name) => PER_OBJECT + name.len(),
            PreparedChange::DeallocateAll | PreparedChange::Unknown => PER_OBJECT,
        })
        .sum();
    let executes = classification.executes.len() * PER_OBJECT;
    FIXED + text.len() + objects + prepared + executes
}

#[cfg(test)]
mod tests {
    use super::super::context::{RoleSchema, SearchPath};
    use super::*;

    fn remember(cache: &Cache, text: &str, context: &SqlContext) -> Arc<Classification> {
        let key = cache.key(Form::Exact, text.as_bytes(), context);
        cache.insert(&key, Arc::new(Classification::unreadable()))
    }

    fn recall(cache: &Cache, text: &str, context: &SqlContext) -> Option<Arc<Classification>> {
        cache.get(&cache.key(Form::Exact, text.as_bytes(), context))
    }

    #[test]
    fn an_entry_is_found_by_text_form_and_context() {
        let cache = Cache::new(64);
        let context = SqlContext::default();
        let known = remember(&cache, "a", &context);
        assert!(Arc::ptr_eq(&recall(&cache, "a", &context).unwrap(), &known));
        assert!(recall(&cache, "b", &context).is_none());
        assert!(cache.get(&cache.key(Form::Shape, b"a", &context)).is_none());
        let elsewhere = SqlContext {
            search_path: SearchPath::of(["b"], &RoleSchema::Absent),
            ..context
        };
        assert!(recall(&cache, "a", &elsewhere).is_none());
    }

    #[test]
    fn the_same_hash_is_not_the_same_statement() {
        let cache = Cache::new(64);
        let context = SqlContext::default();
        let known = remember(&cache, "a", &context);
        let hash = cache.key(Form::Exact, b"a", &context).hash;
        let forged = Key {
            form: Form::Exact,
            text: b"b",
            context: &context,
            hash,
        };
        assert!(cache.get(&forged).is_none());
        let other = cache.insert(&forged, Arc::new(Classification::unreadable()));
        assert!(!Arc::ptr_eq(&other, &known));
        assert!(Arc::ptr_eq(&cache.get(&forged).unwrap(), &other));
        assert!(
            recall(&cache, "a", &context).is_none(),
            "the later has the slot"
        );
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn it_never_holds_more_than_it_may() {
        let cache = Cache::new(64);
        let context = SqlContext::default();
        for number in 0..10_000 {
            remember(&cache, &format!("statement {number}"), &context);
        }
        assert_eq!(cache.len(), 64);
        for shard in &cache.shards {
            let shard = shard.lock();
            assert_eq!(shard.slots.len(), shard.entries.len());
            for (slot, entry) in shard.entries.iter().enumerate() {
                assert_eq!(shard.slots.get(&entry.hash), Some(&slot));
            }
        }
    }

    #[test]
    fn it_never_takes_more_memory_than_it_may() {
        let cache = Cache::new(4096);
        let context = SqlContext::default();
        for number in 0..2_000 {
            remember(&cache, &format!("{number:>65000}"), &context);
        }
        let mut total = 0;
        for shard in &cache.shards {
            let shard = shard.lock();
            let held: usize = shard.entries.iter().map(|entry| entry.bytes).sum();
            assert_eq!(shard.bytes, held);
            assert!(held <= shard.bytes_max);
            total += held;
        }
        assert!(total > 1 << 20, "it holds what it may: {total}");
        assert!(total < 32 << 20, "{total}");
        let kept = format!("{:>65000}", 1_999);
        assert!(
            recall(&cache, &kept, &context).is_some(),
            "the last one is there"
        );
    }

    #[test]
    fn what_is_asked_for_stays() {
        let cache = Cache::new(64);
        let context = SqlContext::default();
        remember(&cache, "often", &context);
        for number in 0..10_000 {
            remember(&cache, &format!("statement {number}"), &context);
            assert!(
                recall(&cache, "often", &context).is_some(),
                "gone after {number}"
            );
        }
    }

    #[test]
    fn two_sessions_that_ask_at_once_get_one_classification() {
        let cache = Cache::new(64);
        let context = SqlContext::default();
        let first = remember(&cache, "a", &context);
        let second = remember(&cache, "a", &context);
        assert!(Arc::ptr_eq(&first, &second));
    }
}

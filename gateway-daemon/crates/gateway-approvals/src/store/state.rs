//! What is behind the lock: the questions in their order, by id, by deadline, by tree.
use crate::grants::Grants;
use crate::outcomes::Outcomes;
use crate::pending::Pending;
use crate::store::Counts;
use gateway_core::ports::Answer;
use gateway_core::{OperationId, TreeId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::oneshot;

/// One question that waits.
pub(super) struct Entry {
    pub(super) pending: Arc<Pending>,
    pub(super) deadline: Instant,
    pub(super) waits: oneshot::Sender<Answer>,
    /// Set when it has ended: nobody needs to be told any more that it waits.
    pub(super) ended: Arc<AtomicBool>,
}

impl Entry {
    pub(super) fn new(
        pending: Arc<Pending>,
        deadline: Instant,
        waits: oneshot::Sender<Answer>,
    ) -> Entry {
        Entry {
            pending,
            deadline,
            waits,
            ended: Arc::default(),
        }
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

pub(super) struct State {
    /// By arrival: a number that is never used again, while an id may be.
    entries: BTreeMap<u64, Entry>,
    by_id: HashMap<OperationId, u64>,
    deadlines: BTreeSet<(Instant, u64)>,
    by_tree: HashMap<TreeId, usize>,
    arrivals: u64,
    pub(super) outcomes: Outcomes,
    pub(super) grants: Grants,
    pub(super) counts: Counts,
    /// The gateway is going to end: nothing is asked any more.
    pub(super) closed: bool,
}

impl State {
    pub(super) fn new(grants_max: usize) -> State {
        State {
            entries: BTreeMap::new(),
            by_id: HashMap::new(),
            deadlines: BTreeSet::new(),
            by_tree: HashMap::new(),
            arrivals: 0,
            outcomes: Outcomes::default(),
            grants: Grants::new(grants_max),
            counts: Counts::default(),
            closed: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn len_of(&self, tree: TreeId) -> usize {
        self.by_tree.get(&tree).copied().unwrap_or_default()
    }

    pub(super) fn list(&self) -> Vec<Arc<Pending>> {
        self.entries
            .values()
            .map(|entry| Arc::clone(&entry.pending))
            .collect()
    }

    pub(super) fn get(&self, id: OperationId) -> Option<Arc<Pending>> {
        let entry = self.entries.get(self.by_id.get(&id)?)?;
        Some(Arc::clone(&entry.pending))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Adds a question whose id is not there, and returns its arrival.
    pub(super) fn insert(&mut self, entry: Entry) -> u64 {
        self.arrivals = self.arrivals.wrapping_add(1);
        self.counts.asked += 1;
        self.by_id.insert(entry.pending.id(), self.arrivals);
        self.deadlines.insert((entry.deadline, self.arrivals));
        *self.by_tree.entry(entry.pending.tree()).or_default() += 1;
        self.entries.insert(self.arrivals, entry);
        self.arrivals
    }

    /// Takes a question out, which ends it.
    pub(super) fn remove_arrival(&mut self, arrival: u64) -> Option<Entry> {
        let entry = self.entries.remove(&arrival)?;
        self.by_id.remove(&entry.pending.id());
        self.deadlines.remove(&(entry.deadline, arrival));
        let tree = entry.pending.tree();
        if let Some(count) = self.by_tree.get_mut(&tree) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_tree.remove(&tree);
            }
        }
        Some(entry)
    }

    pub(super) fn remove(&mut self, id: OperationId) -> Option<Entry> {
        let arrival = *self.by_id.get(&id)?;
        self.remove_arrival(arrival)
    }

    /// Takes out what is due.
    pub(super) fn remove_due(&mut self, now: Instant) -> Vec<Entry> {
        let mut due = Vec::new();
        while let Some((deadline, arrival)) = self.deadlines.first().copied()
            && deadline <= now
        {
            match self.remove_arrival(arrival) {
                Some(entry) => due.push(entry),
                // Never; but a deadline without a question must not stop all others.
                None => drop(self.deadlines.pop_first()),
            }
        }
        due
    }

    /// Takes out all of a tree, or all.
    pub(super) fn remove_of(&mut self, tree: Option<TreeId>) -> Vec<Entry> {
        let arrivals: Vec<u64> = self
            .entries
            .iter()
            .filter(|(_, entry)| tree.is_none_or(|tree| entry.pending.tree() == tree))
            .map(|(arrival, _)| *arrival)
            .collect();
        arrivals
            .into_iter()
            .filter_map(|arrival| self.remove_arrival(arrival))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        self.entries.len() == self.by_id.len()
            && self.entries.len() == self.deadlines.len()
            && self.entries.len() == self.by_tree.values().sum::<usize>()
    }
}

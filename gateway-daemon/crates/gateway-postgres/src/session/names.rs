//! What the names of prepared statements and portals stand for, told truthfully although answers
//! come later than requests.
//!
//! A client may pipeline: use a name before the upstream has said whether the request that gave
//! the name its meaning went well. Within one segment (up to the next Sync) that is no question,
//! since the upstream skips what follows a failure. Across segments a name can stand for one of
//! several things; then it is [`Lookup::Ambiguous`], and nothing is guessed.
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// PostgreSQL tells names apart by this many bytes (`NAMEDATALEN - 1`) and no more.
const NAME_BYTES_MAX: usize = 63;

/// A name as PostgreSQL sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Unnamed,
    Named(Arc<[u8]>),
}

/// A name as it stands in a message, cut to what counts. `None` when it is not plain ASCII: the
/// upstream converts and cuts such a name in the encoding of its own, so two of them may be the
/// same there. They are never followed, and what they stand for is never known.
pub(super) fn significant(name: &[u8]) -> Option<&[u8]> {
    name.is_ascii()
        .then(|| name.get(..NAME_BYTES_MAX).unwrap_or(name))
}

/// Are these two the same thing?
pub(super) trait Same {
    fn same(&self, other: &Self) -> bool;
}

impl<T> Same for Arc<T> {
    fn same(&self, other: &Arc<T>) -> bool {
        Arc::ptr_eq(self, other)
    }
}

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup<'a, T> {
    /// For nothing that the gateway has seen.
    Absent,
    /// For this, or for nothing when a request before fails.
    One(&'a T),
    /// For one of several things.
    Ambiguous,
}

impl<T> Lookup<'_, T> {
    pub(super) const fn one(&self) -> Option<&T> {
        match self {
            Lookup::One(value) => Some(value),
            Lookup::Absent | Lookup::Ambiguous => None,
        }
    }
}

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
    /// Nobody can tell: it had several parts, or its answer could be that of another.
    Unsure,
}

#[derive(Debug)]
enum Settled<T> {
    Absent,
    One(T),
    Several,
}

#[derive(Debug)]
struct Slot<T> {
    settled: Settled<T>,
    /// What requests without an answer would make of it, with their positions.
    pending: VecDeque<(u64, Option<T>)>,
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot {
            settled: Settled::Absent,
            pending: VecDeque::new(),
        }
    }
}

impl<T: Same> Slot<T> {
    fn is_empty(&self) -> bool {
        self.pending.is_empty() && matches!(self.settled, Settled::Absent)
    }

    fn look_up(&self, segment: u64) -> Lookup<'_, T> {
        match self.pending.back() {
            None => match &self.settled {
                Settled::Absent => Lookup::Absent,
                Settled::One(value) => Lookup::One(value),
                Settled::Several => Lookup::Ambiguous,
            },
            Some((position, value)) if *position >= segment => {
                value.as_ref().map_or(Lookup::Absent, Lookup::One)
            }
            Some(_) => self.candidates(),
        }
    }

    /// Everything that it could stand for, depending on how the open requests go.
    fn candidates(&self) -> Lookup<'_, T> {
        let mut found = match &self.settled {
            Settled::Several => return Lookup::Ambiguous,
            Settled::One(value) => Some(value),
            Settled::Absent => None,
        };
        for value in self.pending.iter().filter_map(|(_, value)| value.as_ref()) {
            match found {
                Some(other) if !value.same(other) => return Lookup::Ambiguous,
                _ => found = Some(value),
            }
        }
        found.map_or(Lookup::Absent, Lookup::One)
    }

    /// The oldest open request was answered. Returns what is not used any more.
    fn settle(&mut self, outcome: Outcome) -> Option<T> {
        let (_, value) = self.pending.pop_front()?;
        let settled = match (outcome, value) {
            (Outcome::Failed, value) => return value,
            (Outcome::Unsure, None) => return None,
            (Outcome::Done, Some(value)) => Settled::One(value),
            (Outcome::Done, None) => Settled::Absent,
            (Outcome::Unsure, Some(value)) => match &self.settled {
                Settled::One(before) if before.same(&value) => return None,
                // Using a name that stands for nothing only fails.
                Settled::Absent => Settled::One(value),
                Settled::One(_) | Settled::Several => Settled::Several,
            },
        };
        self.replace(settled)
    }

    fn replace(&mut self, settled: Settled<T>) -> Option<T> {
        match std::mem::replace(&mut self.settled, settled) {
            Settled::One(value) => Some(value),
            Settled::Absent | Settled::Several => None,
        }
    }
}

/// One name space of a session.
#[derive(Debug)]
pub(super) struct Names<T> {
    unnamed: Slot<T>,
    named: HashMap<Arc<[u8]>, Slot<T>>,
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names {
            unnamed: Slot::default(),
            named: HashMap::new(),
        }
    }
}

impl<T: Same> Names<T> {
    /// How many names stand for something, or might.
    pub(super) fn len(&self) -> usize {
        self.named.len()
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        name.is_empty() || self.named.contains_key(name)
    }

    /// What a name stands for, for a request in the segment that begins at that position.
    pub(super) fn look_up(&self, name: &[u8], segment: u64) -> Lookup<'_, T> {
        if name.is_empty() {
            return self.unnamed.look_up(segment);
        }
        self.named
            .get(name)
            .map_or(Lookup::Absent, |slot| slot.look_up(segment))
    }

    /// The request at `position` gives the name a meaning, or takes it away, if it goes well.
    pub(super) fn change(&mut self, name: &[u8], position: u64, value: Option<T>) -> Name {
        if name.is_empty() {
            self.unnamed.pending.push_back((position, value));
            return Name::Unnamed;
        }
        let key = match self.named.get_key_value(name) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(name),
        };
        let slot = self.named.entry(Arc::clone(&key)).or_default();
        slot.pending.push_back((position, value));
        Name::Named(key)
    }

    /// The oldest open request that changes this name was answered. Returns what is not used any
    /// more.
    pub(super) fn settle(&mut self, name: &Name, outcome: Outcome) -> Option<T> {
        match name {
            Name::Unnamed => self.unnamed.settle(outcome),
            Name::Named(key) => {
                let slot = self.named.get_mut(key)?;
                let unused = slot.settle(outcome);
                if slot.is_empty() {
                    self.named.remove(key);
                }
                unused
            }
        }
    }

    /// Every name may stand for something else now.
    pub(super) fn blur(&mut self) {
        for slot in self.named.values_mut().chain([&mut self.unnamed]) {
            if matches!(slot.settled, Settled::One(_)) {
                slot.settled = Settled::Several;
            }
        }
    }

    /// Nothing that was settled stands any more. What is open stays open. Returns what the unnamed
    /// one was.
    pub(super) fn clear(&mut self) -> Option<T> {
        self.clear_named();
        self.unnamed.replace(Settled::Absent)
    }

    /// The same for names alone; the unnamed one stays.
    pub(super) fn clear_named(&mut self) {
        if !self.named.is_empty() {
            self.named.retain(|_, slot| {
                slot.settled = Settled::Absent;
                !slot.pending.is_empty()
            });
        }
    }
}

//! What the names of prepared statements and portals stand for, told truthfully although answers
//! come later than requests.
//!
//! A client may pipeline: use a name before the upstream has said whether the request that gave
//! the name its meaning went well. Within one segment (up to the next Sync) that is no question,
//! since the upstream skips what follows a failure. Across segments a name can stand for one of
//! several things; then it is [`Lookup::Ambiguous`], and nothing is guessed.
use super::queue::Queue;
use std::collections::HashMap;
use std::sync::Arc;

/// PostgreSQL tells names apart by this many bytes (`NAMEDATALEN - 1`) and no more.
const NAME_BYTES_MAX: usize = 63;

/// A name as PostgreSQL sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Unnamed,
    Named(Arc<[u8]>),
}

/// What the names of the gateway's own statements and portals begin with.
const OWN: &[u8] = b"gateway_";

/// A name as it stands in a message, cut to what counts. `None` when it is not plain ASCII: the
/// upstream converts and cuts such a name in the encoding of its own, so two of them may be the
/// same there. `None` for what could be the gateway's own, too, which makes and closes it without
/// a word. They are never followed, and what they stand for is never known.
pub(super) fn significant(name: &[u8]) -> Option<&[u8]> {
    let is_followed = name.is_ascii() && !name.starts_with(OWN);
    is_followed.then(|| name.get(..NAME_BYTES_MAX).unwrap_or(name))
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

impl<'a, T> Lookup<'a, T> {
    pub(super) const fn one(self) -> Option<&'a T> {
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

/// What a name stood for when the last request about it was answered.
#[derive(Debug)]
enum Settled<T> {
    One(T),
    Several,
}

/// What a request makes of a name.
#[derive(Debug)]
enum Becomes<T> {
    Nothing,
    This(T),
    /// Something that is not kept any more, since a later request replaces it.
    Forgotten,
}

/// What requests without an answer make of a name, with their positions.
type Open<T> = Queue<(u64, Becomes<T>)>;

fn look_up<'a, T: Same>(
    settled: Option<&'a Settled<T>>,
    open: Option<&'a Open<T>>,
    segment: u64,
) -> Lookup<'a, T> {
    let mut found = match settled {
        None => Lookup::Absent,
        Some(Settled::One(value)) => Lookup::One(value),
        Some(Settled::Several) => Lookup::Ambiguous,
    };
    let Some(open) = open else { return found };
    if let Some((position, last)) = open.back()
        && *position >= segment
    {
        return match last {
            Becomes::Nothing => Lookup::Absent,
            Becomes::This(value) => Lookup::One(value),
            Becomes::Forgotten => Lookup::Ambiguous,
        };
    }
    // It stands for any of these, depending on how the open requests go. Standing for nothing is
    // no case of its own: then whatever uses the name fails.
    for (_, becomes) in open.iter() {
        found = match (found, becomes) {
            (found, Becomes::Nothing) => found,
            (Lookup::Absent, Becomes::This(value)) => Lookup::One(value),
            (Lookup::One(before), Becomes::This(value)) if before.same(value) => {
                Lookup::One(before)
            }
            _ => return Lookup::Ambiguous,
        };
    }
    found
}

/// What a name stands for behind an answer, and what is not used any more.
fn settle<T: Same>(
    before: Option<Settled<T>>,
    becomes: Becomes<T>,
    outcome: Outcome,
) -> (Option<Settled<T>>, Option<T>) {
    let unused = |settled: Option<Settled<T>>| match settled {
        Some(Settled::One(value)) => Some(value),
        Some(Settled::Several) | None => None,
    };
    match (outcome, becomes) {
        (Outcome::Failed, Becomes::This(value)) => (before, Some(value)),
        (Outcome::Failed, _) | (Outcome::Unsure, Becomes::Nothing) => (before, None),
        (Outcome::Done, Becomes::Nothing) => (None, unused(before)),
        (Outcome::Done, Becomes::This(value)) => (Some(Settled::One(value)), unused(before)),
        (_, Becomes::Forgotten) => (Some(Settled::Several), unused(before)),
        (Outcome::Unsure, Becomes::This(value)) => match before {
            Some(Settled::One(before)) if before.same(&value) => {
                (Some(Settled::One(before)), Some(value))
            }
            None => (Some(Settled::One(value)), None),
            before => (Some(Settled::Several), unused(before)),
        },
    }
}

/// One name space of a session.
#[derive(Debug)]
pub(super) struct Names<T> {
    unnamed: Option<Settled<T>>,
    unnamed_open: Open<T>,
    named: HashMap<Arc<[u8]>, Settled<T>>,
    named_open: HashMap<Arc<[u8]>, Open<T>>,
}

impl<T> Default for Names<T> {
    fn default() -> Names<T> {
        Names {
            unnamed: None,
            unnamed_open: Queue::default(),
            named: HashMap::new(),
            named_open: HashMap::new(),
        }
    }
}

impl<T: Same> Names<T> {
    /// How many names stand for something, or might. One that is open counts twice.
    pub(super) fn len(&self) -> usize {
        self.named.len() + self.named_open.len()
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        name.is_empty() || self.named.contains_key(name) || self.named_open.contains_key(name)
    }

    /// What a name stands for, for a request in the segment that begins at that position.
    pub(super) fn look_up(&self, name: &[u8], segment: u64) -> Lookup<'_, T> {
        if name.is_empty() {
            return look_up(self.unnamed.as_ref(), Some(&self.unnamed_open), segment);
        }
        // Asked for with every Execute; there is hardly ever an open one.
        let open = match self.named_open.is_empty() {
            true => None,
            false => self.named_open.get(name),
        };
        look_up(self.named.get(name), open, segment)
    }

    /// The request at `position` gives the name a meaning, or takes it away, if it goes well.
    /// Returns the name, and what is not used any more.
    ///
    /// Of the unnamed one only the last meaning is kept: the upstream drops it when another is
    /// made, even if that fails. So clients that send thousands in a row cost no memory.
    pub(super) fn change(
        &mut self,
        name: &[u8],
        position: u64,
        value: Option<T>,
    ) -> (Name, Option<T>) {
        let becomes = value.map_or(Becomes::Nothing, Becomes::This);
        if name.is_empty() {
            let unused = match (self.unnamed_open.back_mut(), &becomes) {
                (Some((_, Becomes::This(last))), Becomes::This(value)) if last.same(value) => None,
                (Some((_, last @ Becomes::This(_))), _) => {
                    match std::mem::replace(last, Becomes::Forgotten) {
                        Becomes::This(value) => Some(value),
                        Becomes::Nothing | Becomes::Forgotten => None,
                    }
                }
                _ => None,
            };
            self.unnamed_open.push((position, becomes));
            return (Name::Unnamed, unused);
        }
        let open = self.named_open.get_key_value(name).map(|(key, _)| key);
        let key = open.or_else(|| self.named.get_key_value(name).map(|(key, _)| key));
        let key = key.map_or_else(|| Arc::from(name), Arc::clone);
        let open = self.named_open.entry(Arc::clone(&key)).or_default();
        open.push((position, becomes));
        (Name::Named(key), None)
    }

    /// The oldest open request that changes this name was answered. Returns what is not used any
    /// more.
    pub(super) fn settle(&mut self, name: &Name, outcome: Outcome) -> Option<T> {
        match name {
            Name::Unnamed => {
                let (_, becomes) = self.unnamed_open.pop()?;
                let (after, unused) = settle(self.unnamed.take(), becomes, outcome);
                self.unnamed = after;
                unused
            }
            Name::Named(key) => {
                let open = self.named_open.get_mut(key)?;
                let (_, becomes) = open.pop()?;
                if open.is_empty() {
                    self.named_open.remove(key);
                }
                let (after, unused) = settle(self.named.remove(key), becomes, outcome);
                if let Some(after) = after {
                    self.named.insert(Arc::clone(key), after);
                }
                unused
            }
        }
    }

    /// What the unnamed one was when the last request about it was answered.
    pub(super) fn settled_unnamed(&self) -> Option<&T> {
        match &self.unnamed {
            Some(Settled::One(value)) => Some(value),
            Some(Settled::Several) | None => None,
        }
    }

    /// Every name may stand for something else now.
    pub(super) fn blur(&mut self) {
        for settled in self.named.values_mut().chain(&mut self.unnamed) {
            *settled = Settled::Several;
        }
    }

    /// Nothing that was settled stands any more. What is open stays open. Returns what the unnamed
    /// one was.
    pub(super) fn clear(&mut self) -> Option<T> {
        self.clear_named();
        match self.unnamed.take() {
            Some(Settled::One(value)) => Some(value),
            Some(Settled::Several) | None => None,
        }
    }

    /// The same for names alone; the unnamed one stays.
    pub(super) fn clear_named(&mut self) {
        self.named.clear();
    }
}

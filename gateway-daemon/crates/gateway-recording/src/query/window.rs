//! Views that wait, in order, for what completes them.
use gateway_core::SessionId;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::time::Instant;

/// How many views may wait.
const VIEWS_MAX: usize = 8192;
/// How much they may weigh, in bytes.
const WEIGHT_MAX: usize = 32 << 20;

/// A queue of views, in which each can be found by its session and its number there.
///
/// What leaves it, leaves in the order in which it came; a view that waits holds back those
/// behind it, up to the bounds.
#[derive(Debug)]
pub(super) struct Window<T> {
    slots: VecDeque<Slot<T>>,
    /// How many slots have left, which is the number of the first that is here.
    left: u64,
    /// Those that wait, by session: their numbers there, and their slots.
    waiting: FxHashMap<SessionId, VecDeque<(u32, u64)>>,
    weight: usize,
}

#[derive(Debug)]
struct Slot<T> {
    value: T,
    weight: usize,
    settled: bool,
    session: SessionId,
    arrived: Option<Instant>,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Window {
            slots: VecDeque::new(),
            left: 0,
            waiting: FxHashMap::default(),
            weight: 0,
        }
    }
}

impl<T> Window<T> {
    /// Adds a view that waits.
    pub(super) fn push(
        &mut self,
        (session, number): (SessionId, u32),
        value: T,
        weight: usize,
        arrived: Option<Instant>,
    ) {
        let slot = self.left + self.slots.len() as u64;
        self.waiting
            .entry(session)
            .or_default()
            .push_back((number, slot));
        self.weight += weight;
        self.slots.push_back(Slot {
            value,
            weight,
            settled: false,
            session,
            arrived,
        });
    }

    /// Adds a view that waits for nothing.
    pub(super) fn push_settled(&mut self, session: SessionId, value: T, weight: usize) {
        self.weight += weight;
        self.slots.push_back(Slot {
            value,
            weight,
            settled: true,
            session,
            arrived: None,
        });
    }

    fn slot(&mut self, number: u64) -> Option<&mut Slot<T>> {
        let index = usize::try_from(number.checked_sub(self.left)?).ok()?;
        self.slots.get_mut(index)
    }

    /// Is there a view that waits for this?
    pub(super) fn waits_for(&self, session: SessionId, number: u32) -> bool {
        let places = self.waiting.get(&session);
        places.is_some_and(|places| places.iter().any(|(found, _)| *found == number))
    }

    /// A view that waits, to be changed.
    pub(super) fn waiting(&mut self, session: SessionId, number: u32) -> Option<&mut T> {
        let places = self.waiting.get(&session)?;
        let (_, slot) = *places.iter().find(|(found, _)| *found == number)?;
        self.slot(slot).map(|slot| &mut slot.value)
    }

    /// A view that waits has what it waited for, and is the heavier for it.
    pub(super) fn settle(
        &mut self,
        (session, number): (SessionId, u32),
        more: usize,
        complete: impl FnOnce(&mut T),
    ) {
        let Some(places) = self.waiting.get_mut(&session) else {
            return;
        };
        // Answers come in the order of the questions, so it is nearly always the first.
        let Some(index) = places.iter().position(|(found, _)| *found == number) else {
            return;
        };
        let removed = places.remove(index);
        if places.is_empty() {
            self.waiting.remove(&session);
        }
        if let Some(slot) = removed.and_then(|(_, slot)| self.slot(slot)) {
            slot.settled = true;
            slot.weight += more;
            complete(&mut slot.value);
            self.weight += more;
        }
    }

    /// Nothing more comes for the views of a session.
    pub(super) fn settle_session(&mut self, session: SessionId, mut complete: impl FnMut(&mut T)) {
        for (_, slot) in self.waiting.remove(&session).unwrap_or_default() {
            if let Some(slot) = self.slot(slot) {
                slot.settled = true;
                complete(&mut slot.value);
            }
        }
    }

    /// Nothing more comes for any view.
    pub(super) fn settle_all(&mut self, mut complete: impl FnMut(&mut T)) {
        self.waiting.clear();
        for slot in self.slots.iter_mut().filter(|slot| !slot.settled) {
            slot.settled = true;
            complete(&mut slot.value);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Does no view wait?
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.slots.len() >= VIEWS_MAX || self.weight >= WEIGHT_MAX
    }

    /// The first view, if it does not wait.
    pub(super) fn pop_settled(&mut self) -> Option<T> {
        self.slots.front().filter(|slot| slot.settled)?;
        self.pop()
    }

    /// The first view, if it has waited since before `moment`.
    pub(super) fn pop_arrived_before(&mut self, moment: Instant) -> Option<T> {
        let slot = self.slots.front()?;
        if slot.arrived.is_none_or(|arrived| arrived >= moment) {
            return None;
        }
        let (session, number) = (slot.session, self.left);
        if let Some(places) = self.waiting.get_mut(&session) {
            places.retain(|(_, slot)| *slot != number);
            if places.is_empty() {
                self.waiting.remove(&session);
            }
        }
        self.pop()
    }

    fn pop(&mut self) -> Option<T> {
        let slot = self.slots.pop_front()?;
        self.left += 1;
        self.weight = self.weight.saturating_sub(slot.weight);
        Some(slot.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const S: SessionId = SessionId(1);
    const OTHER: SessionId = SessionId(2);

    #[test]
    fn views_leave_in_order_when_they_are_complete() {
        let mut window = Window::default();
        window.push((S, 1), "a".to_owned(), 1, None);
        window.push((OTHER, 1), "b".to_owned(), 1, None);
        window.push_settled(S, "c".to_owned(), 1);
        window.settle((OTHER, 1), 5, |view| view.push('!'));
        assert_eq!(window.weight, 8);
        assert_eq!(
            window.pop_settled(),
            None,
            "the first one holds the others back"
        );
        window.settle((S, 2), 5, |_| unreachable!("there is no such number"));
        window.settle_session(S, |view| view.push('?'));
        assert!(window.is_settled());
        let left: Vec<_> = std::iter::from_fn(|| window.pop_settled()).collect();
        assert_eq!(left, ["a?", "b!", "c"]);
        assert!(window.is_empty());
        assert_eq!(window.weight, 0);
    }

    #[test]
    fn patience_ends() {
        let (mut window, now) = (Window::default(), Instant::now());
        window.push((S, 1), 1, 1, Some(now));
        window.push((S, 2), 2, 1, Some(now + Duration::from_secs(9)));
        assert_eq!(window.pop_arrived_before(now), None);
        assert_eq!(
            window.pop_arrived_before(now + Duration::from_secs(1)),
            Some(1)
        );
        assert_eq!(
            window.pop_arrived_before(now + Duration::from_secs(1)),
            None
        );
        window.settle((S, 1), 5, |_| unreachable!("it has left"));
        assert_eq!(window.waiting(S, 2), Some(&mut 2));
    }

    #[test]
    fn it_is_bounded_in_number_and_in_weight() {
        let mut window = Window::default();
        window.push((S, 1), (), WEIGHT_MAX, None);
        assert!(window.is_full());
        let mut window = Window::default();
        for number in 0..VIEWS_MAX {
            assert!(!window.is_full());
            window.push((S, number as u32), (), 1, None);
        }
        assert!(window.is_full());
    }
}

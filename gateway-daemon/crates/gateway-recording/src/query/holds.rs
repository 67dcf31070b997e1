//! Operations that are not shown, or not for the last time, before something more is known of them,
//! by their places in the journal.
use crate::reader::Position;
use gateway_core::{OperationId, SessionId};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// How many are known at once. It is far beyond what a daemon holds, and a bound where a journal
/// says nonsense.
const HOLDS_MAX: usize = 1 << 20;

/// An operation that waits for a human or, where the answer decides whether it is shown, for that.
/// It is read again then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) id: OperationId,
    /// Where its record is.
    pub(super) operation: Position,
    /// Where its session began, unless that is lost.
    pub(super) opened: Option<Position>,
    pub(super) asked: Asked,
}

/// What is known of a human's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nobody is asked.
    Nobody,
    /// Nobody has answered yet.
    Waits,
    /// Somebody approved; the place of that record.
    Approved(Position),
}

/// Those that are held now, and those of which nothing more is heard.
#[derive(Debug, Default)]
pub(super) struct Holds {
    /// By session: there is mostly one of each.
    waiting: FxHashMap<SessionId, Vec<Hold>>,
    lost: VecDeque<Hold>,
    /// How many there are in both.
    count: usize,
}

impl Holds {
    pub(super) fn held(&mut self, hold: Hold) {
        if self.count < HOLDS_MAX {
            self.count += 1;
            self.waiting.entry(hold.id.session).or_default().push(hold);
        }
    }

    pub(super) fn has(&self, id: OperationId) -> bool {
        let holds = self.waiting.get(&id.session);
        holds.is_some_and(|holds| holds.iter().any(|hold| hold.id == id))
    }

    pub(super) fn any_waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A human has answered. What was approved waits on, for its own answer; the first word of
    /// theirs counts.
    pub(super) fn resolved(&mut self, id: OperationId, approved: bool, place: Position) {
        let holds = self.waiting.get_mut(&id.session);
        let mut holds = holds.into_iter().flatten();
        match holds.find(|hold| hold.id == id && hold.asked == Asked::Waits) {
            Some(hold) if approved => hold.asked = Asked::Approved(place),
            Some(_) => drop(self.take(id)),
            None => {}
        }
    }

    /// What it waits for is there.
    pub(super) fn take(&mut self, id: OperationId) -> Option<Hold> {
        let holds = self.waiting.get_mut(&id.session)?;
        let index = holds.iter().position(|hold| hold.id == id)?;
        let hold = holds.remove(index);
        if holds.is_empty() {
            self.waiting.remove(&id.session);
        }
        self.count = self.count.saturating_sub(1);
        Some(hold)
    }

    /// The session ended.
    pub(super) fn lose_session(&mut self, session: SessionId) {
        self.lost
            .extend(self.waiting.remove(&session).unwrap_or_default());
    }

    /// Another daemon began.
    pub(super) fn lose_all(&mut self) {
        let mut holds: Vec<Hold> = self.waiting.drain().flat_map(|(_, holds)| holds).collect();
        holds.sort_unstable_by_key(|hold| hold.operation);
        self.lost.extend(holds);
    }

    /// The next one of which nothing more is heard.
    pub(super) fn next_lost(&mut self) -> Option<Hold> {
        let hold = self.lost.pop_front()?;
        self.count = self.count.saturating_sub(1);
        Some(hold)
    }
}

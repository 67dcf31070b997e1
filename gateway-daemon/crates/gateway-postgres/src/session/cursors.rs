//! What the names of cursors stand for that SQL declares.
//!
//! A DECLARE or CLOSE that was looked at may fail, be skipped or never come to its turn, so it counts
//! when its answer has come. Until then, and where it is one of several statements, nobody knows what
//! the name stands for.
use super::masking::Stamp;
use super::names::{Outcome, significant};
use crate::interpret::flow::{Flow, Outputs, StatementFlow};
use rustc_hash::FxHashMap;

/// The cursors of so many names are told apart.
const NAMES_MAX: usize = 1024;

/// A name, as far as the server tells it from others.
type Name = Box<[u8]>;

/// What a cursor returns, and since when.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) outputs: Outputs,
    pub(super) stamp: Stamp,
    /// It stays when the transaction ends.
    holds: bool,
}

/// What is known of a name.
#[derive(Debug, Default)]
struct Known {
    cursor: Option<Cursor>,
    /// Requests without an answer that make something else of it.
    open: u32,
    /// It may stand for another one.
    doubtful: bool,
}

/// What one statement makes of a name, once it is answered.
#[derive(Debug)]
pub(super) enum CursorChange {
    Declare(Name, Cursor),
    Close(Name),
    CloseAll,
}

/// The cursors of a session.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    names: FxHashMap<Name, Known>,
    /// Requests without an answer that close all.
    closing_all: u32,
}

impl Cursors {
    /// A text goes upstream. What it returns is to be settled when it is answered.
    pub(super) fn begin(&mut self, flow: &Flow, stamp: Stamp) -> Option<CursorChange> {
        let [one] = flow.statements.as_slice() else {
            flow.statements.iter().for_each(|found| self.doubt(found));
            return None;
        };
        let change = change(one, stamp)?;
        match &change {
            CursorChange::Declare(name, _) | CursorChange::Close(name) => {
                if self.names.len() >= NAMES_MAX && !self.names.contains_key(name) {
                    // What is not known is covered.
                    return None;
                }
                self.names.entry(name.clone()).or_default().open += 1;
            }
            CursorChange::CloseAll => self.closing_all += 1,
        }
        Some(change)
    }

    fn doubt(&mut self, found: &StatementFlow) {
        let all = found.closes.as_deref() == Some("");
        for (name, known) in &mut self.names {
            let is_meant = |meant: &Option<Box<str>>| {
                let meant = meant.as_deref().and_then(key);
                meant.is_some_and(|meant| meant == *name)
            };
            known.doubtful |= all || is_meant(&found.closes) || is_meant(&found.declares);
        }
        // One that is not known here is not known.
    }

    /// A request that [`Cursors::begin`] returned a change for is answered.
    pub(super) fn settle(&mut self, change: CursorChange, outcome: Outcome) {
        let (name, cursor) = match change {
            CursorChange::CloseAll => {
                self.closing_all = self.closing_all.saturating_sub(1);
                if outcome == Outcome::Done {
                    self.names.retain(|_, known| known.open > 0);
                    self.names
                        .values_mut()
                        .for_each(|known| known.cursor = None);
                }
                return;
            }
            CursorChange::Declare(name, cursor) => (name, Some(cursor)),
            CursorChange::Close(name) => (name, None),
        };
        let Some(known) = self.names.get_mut(&name) else {
            return;
        };
        known.open = known.open.saturating_sub(1);
        match outcome {
            // A DECLARE goes well only where the name stands for nothing.
            Outcome::Done => {
                known.cursor = cursor;
                known.doubtful = false;
            }
            Outcome::Failed => {}
            Outcome::Unsure => known.doubtful = true,
        }
    }

    /// The name becomes that of a portal, perhaps.
    pub(super) fn forget(&mut self, name: &[u8]) {
        if let Some(known) = significant(name).and_then(|name| self.names.get_mut(name)) {
            known.doubtful = true;
        }
    }

    /// The transaction has ended, and no request is open.
    pub(super) fn end_transaction(&mut self) {
        self.names
            .retain(|_, known| known.doubtful || known.cursor.as_ref().is_some_and(|c| c.holds));
    }

    /// What the name certainly stands for, if for anything.
    pub(super) fn find(&self, name: &str) -> Option<&Cursor> {
        let known = self.names.get(&key(name)?)?;
        let certain = self.closing_all == 0 && known.open == 0 && !known.doubtful;
        known.cursor.as_ref().filter(|_| certain)
    }
}

fn key(name: &str) -> Option<Name> {
    significant(name.as_bytes()).map(Into::into)
}

fn change(found: &StatementFlow, stamp: Stamp) -> Option<CursorChange> {
    if let Some(name) = &found.declares {
        let cursor = Cursor {
            outputs: found.outputs.clone(),
            stamp,
            holds: found.holds,
        };
        return Some(CursorChange::Declare(key(name)?, cursor));
    }
    match found.closes.as_deref()? {
        "" => Some(CursorChange::CloseAll),
        name => Some(CursorChange::Close(key(name)?)),
    }
}

//! What the names of cursors stand for that SQL declares.
//!
//! A DECLARE or CLOSE that was looked at may fail, be skipped or never come to its turn, so it counts
//! when its answer has come. Until then, and where it is one of several statements, nobody knows what
//! the name stands for.
use super::masking::Stamp;
use super::names::{Outcome, significant};
use crate::interpret::flow::{Flow, Outputs, StatementFlow};
use rustc_hash::{FxHashMap, FxHashSet};

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

/// What a request makes of names, once it is answered.
#[derive(Debug)]
pub(super) enum CursorChange {
    Declare(Name, Cursor),
    Close(Name),
    CloseAll,
    /// They may stand for others.
    Doubt(Vec<Name>),
    /// The same of all names.
    DoubtAll,
}

/// The cursors of a session.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    names: FxHashMap<Name, Known>,
    /// Requests without an answer that close all, or may.
    closing_all: u32,
    /// Names that SQL has given to cursors in this session: the protocol executes these as it does its
    /// own portals, which may be gone by then, or never have come to be.
    declared: FxHashSet<Name>,
    /// Any name may be one of those.
    any_declared: bool,
}

impl Cursors {
    /// A text goes upstream that may give names to cursors.
    pub(super) fn declare(&mut self, flow: &Flow) {
        for found in &flow.statements {
            // Of several that are executed at once, the names are not known.
            let unnamed = found.executes.is_some() && found.closes.as_deref() == Some("");
            self.any_declared |= unnamed || self.declared.len() >= NAMES_MAX;
            if let Some(name) = found.declares.as_deref().and_then(key) {
                self.declared.insert(name);
            }
        }
    }

    /// May what the protocol executes under this name be a cursor that SQL has declared?
    pub(super) fn may_be_declared(&self, portal: &[u8]) -> bool {
        let names = || significant(portal).is_none_or(|name| self.declared.contains(name));
        !portal.is_empty() && (self.any_declared || names())
    }

    /// A text goes upstream. What it returns is to be settled when it is answered, in the order of
    /// the requests: what an earlier one has declared is there only until this one comes to its turn.
    pub(super) fn begin(&mut self, flow: &Flow, stamp: Stamp) -> Option<CursorChange> {
        let change = match flow.statements.as_slice() {
            [one] if one.executes.is_none() => change(one, stamp)?,
            // Not all may come to their turn. What is executed was prepared earlier, and is not
            // worth more than a doubt.
            several => self.doubt(several)?,
        };
        match &change {
            CursorChange::Declare(name, _) | CursorChange::Close(name) => {
                if self.names.len() >= NAMES_MAX && !self.names.contains_key(name) {
                    // What is not known is covered.
                    return None;
                }
                self.names.entry(name.clone()).or_default().open += 1;
            }
            CursorChange::Doubt(_) => {}
            CursorChange::CloseAll | CursorChange::DoubtAll => self.closing_all += 1,
        }
        Some(change)
    }

    fn doubt(&mut self, statements: &[StatementFlow]) -> Option<CursorChange> {
        if statements
            .iter()
            .any(|found| found.closes.as_deref() == Some(""))
        {
            return Some(CursorChange::DoubtAll);
        }
        let named = statements
            .iter()
            .flat_map(|found| [&found.closes, &found.declares])
            .filter_map(|name| key(name.as_deref()?));
        let named: Vec<Name> = named.collect();
        self.doubt_names(named)
    }

    /// The name becomes that of a portal, perhaps. To be settled as what [`Cursors::begin`] returns.
    pub(super) fn name_portal(&mut self, name: &[u8]) -> Option<CursorChange> {
        if self.names.is_empty() {
            return None;
        }
        self.doubt_names(vec![significant(name)?.into()])
    }

    /// One that is not known here is covered anyway.
    fn doubt_names(&mut self, mut names: Vec<Name>) -> Option<CursorChange> {
        names.retain(|name| match self.names.get_mut(name) {
            Some(known) => {
                known.open += 1;
                true
            }
            None => false,
        });
        (!names.is_empty()).then_some(CursorChange::Doubt(names))
    }

    /// A request that [`Cursors::begin`] returned a change for is answered.
    pub(super) fn settle(&mut self, change: CursorChange, outcome: Outcome) {
        let (name, cursor) = match change {
            CursorChange::CloseAll => {
                self.closing_all = self.closing_all.saturating_sub(1);
                match outcome {
                    Outcome::Done => {
                        self.names.retain(|_, known| known.open > 0);
                        self.names
                            .values_mut()
                            .for_each(|known| known.cursor = None);
                    }
                    Outcome::Failed => {}
                    Outcome::Unsure => self
                        .names
                        .values_mut()
                        .for_each(|known| known.doubtful = true),
                }
                return;
            }
            CursorChange::DoubtAll => {
                self.closing_all = self.closing_all.saturating_sub(1);
                self.names
                    .values_mut()
                    .for_each(|known| known.doubtful = true);
                return;
            }
            CursorChange::Doubt(names) => {
                for name in names {
                    if let Some(known) = self.names.get_mut(&name) {
                        known.open = known.open.saturating_sub(1);
                        known.doubtful = true;
                    }
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

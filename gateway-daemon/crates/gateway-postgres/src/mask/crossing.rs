//! Statements of different sessions that must not cross: one makes something sensitive of a name that
//! the other has been judged by.
//!
//! Who holds a lock decides when a statement goes on, so that it would be easy to have a name mean
//! something else by then. So neither is sent while the other is on its way: a statement until it is
//! answered, what is made of names until its transaction has ended.
use super::store::{Left, Processes};
use crate::interpret::flow::Flow;
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// So many sessions that left are told apart. While there are more, nothing sensitive is made of names.
const LEFT_MAX: usize = 256;

/// The statements of one session that are on their way.
#[derive(Debug, Default)]
struct UnderWay {
    /// Those that have no answer yet, and name relations.
    statements: VecDeque<Arc<Flow>>,
    /// Those of the open transaction that make something of names.
    reveals: Vec<Arc<Flow>>,
}

impl UnderWay {
    fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.reveals.is_empty()
    }

    /// Would the one see what the other makes of names?
    fn crosses(&self, flow: &Flow) -> bool {
        let (mut statements, mut reveals) = (self.statements.iter(), self.reveals.iter());
        reveals.any(|other| flow.mentions.sees(&other.mentions))
            || flow.mentions.reveals()
                && statements.any(|other| other.mentions.sees(&flow.mentions))
    }
}

/// What was let through, to be taken back where it is not sent after all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Let {
    /// It has an answer to wait for.
    pub(crate) waits: bool,
    reveals: bool,
}

/// The sessions of a database, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Crossing {
    sessions: FxHashMap<u64, UnderWay>,
    left: VecDeque<(Left, UnderWay)>,
    /// Of one that left and is not told apart any more.
    forgotten: Option<Left>,
}

impl Crossing {
    /// Lets a statement through; `None`: it would cross another session's.
    pub(crate) fn enter(&mut self, session: u64, flow: &Arc<Flow>, now: Instant) -> Option<Let> {
        self.left.retain(|(left, _)| left.counts(now));
        self.forgotten.take_if(|left| !left.counts(now));
        let others = self
            .sessions
            .iter()
            .filter(|(number, _)| **number != session);
        let mut others = others
            .map(|(_, under_way)| under_way)
            .chain(self.left.iter().map(|(_, under_way)| under_way));
        if others.any(|other| other.crosses(flow)) {
            return None;
        }
        let found = Let {
            waits: !flow.mentions.is_empty(),
            reveals: flow.mentions.reveals(),
        };
        if found.reveals && self.forgotten.is_some() {
            return None;
        }
        if found != Let::default() {
            let own = self.sessions.entry(session).or_default();
            if found.waits {
                own.statements.push_back(Arc::clone(flow));
            }
            if found.reveals {
                own.reveals.push(Arc::clone(flow));
            }
        }
        Some(found)
    }

    /// The last one was not sent.
    pub(crate) fn withdraw(&mut self, session: u64, found: Let) {
        self.change(session, |own| {
            if found.waits {
                own.statements.pop_back();
            }
            if found.reveals {
                own.reveals.pop();
            }
        });
    }

    /// The first one that waits is answered.
    pub(crate) fn answered(&mut self, session: u64) {
        self.change(session, |own| _ = own.statements.pop_front());
    }

    /// The transaction has ended.
    pub(crate) fn ended(&mut self, session: u64) {
        self.change(session, |own| own.reveals.clear());
    }

    /// The session left: the server may go on with what it was sent.
    pub(crate) fn left(&mut self, session: u64, left: Left) {
        let Some(under_way) = self.sessions.remove(&session) else {
            return;
        };
        self.left.push_back((left, under_way));
        if self.left.len() > LEFT_MAX {
            self.forget();
        }
    }

    /// Of those that left, one whose statements are forgotten: what is sensitive stays out of names as
    /// long as they could run. Those that have made something of names stay.
    fn forget(&mut self) {
        let mut left = self.left.iter();
        let Some(at) = left.position(|(_, under_way)| under_way.reveals.is_empty()) else {
            return;
        };
        if let Some((left, _)) = self.left.remove(at) {
            self.forgotten = Some(left.unknown());
        }
    }

    /// Forgets the sessions that left and whose processes run nothing more.
    pub(crate) fn settle(&mut self, processes: Processes<'_>) {
        self.left.retain(|(left, _)| !left.is_over(processes));
    }

    /// Is anything on its way?
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.left.is_empty() && self.forgotten.is_none()
    }

    fn change(&mut self, session: u64, change: impl FnOnce(&mut UnderWay)) {
        let Some(own) = self.sessions.get_mut(&session) else {
            return;
        };
        change(own);
        if own.is_empty() {
            self.sessions.remove(&session);
        }
    }
}

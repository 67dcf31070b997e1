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

/// So many of the last beginnings and ends of what makes something of names are told apart.
const EVENTS_MAX: usize = 64;
/// So many sessions that left are told apart. While there are more, nothing sensitive is made of names.
const LEFT_MAX: usize = 256;

/// What a session that left had on its way.
#[derive(Debug)]
struct LeftBehind {
    left: Left,
    statements: VecDeque<Arc<Flow>>,
    lasting: Vec<Arc<Flow>>,
}

/// What was let through, to be taken back where it is not sent after all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Let {
    /// It has an answer to wait for.
    pub(crate) waits: bool,
    lasts: bool,
}

/// What the sessions of a database have on their way, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Crossing {
    /// What has no answer yet, and names relations.
    statements: FxHashMap<u64, VecDeque<Arc<Flow>>>,
    /// What makes something sensitive of names, or views over them, in transactions that are open.
    /// Hardly ever any.
    lasting: FxHashMap<u64, Vec<Arc<Flow>>>,
    left: VecDeque<LeftBehind>,
    /// Of one that left and is not told apart any more.
    forgotten: Option<Left>,
    /// How often something began or ended that makes something of names; and the last of them.
    moment: Moment,
    events: VecDeque<Arc<Flow>>,
}

/// A point in the order of what makes something of names: what was read before it does not show what
/// has come since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Crossing {
    /// Now.
    pub(crate) fn moment(&self) -> Moment {
        self.moment
    }

    fn happened(&mut self, flow: &Arc<Flow>) {
        self.moment.0 += 1;
        self.events.push_back(Arc::clone(flow));
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }

    /// Has something been made of what it names since then?
    fn has_changed(&self, since: Moment, flow: &Flow) -> bool {
        let count = self.moment.0.saturating_sub(since.0);
        let Some(first) = usize::try_from(count)
            .ok()
            .and_then(|count| self.events.len().checked_sub(count))
        else {
            return !flow.mentions.is_empty();
        };
        let mut events = self.events.iter().skip(first);
        events.any(|other| flow.mentions.meets(&other.mentions))
    }

    /// Lets a statement through that was judged by what was there at a moment; `None`: it would cross
    /// another session's, or has crossed it.
    pub(crate) fn enter(
        &mut self,
        session: u64,
        flow: &Arc<Flow>,
        judged: Moment,
        now: Instant,
    ) -> Option<Let> {
        self.forget_left(|behind| behind.left.counts(now));
        self.forgotten.take_if(|left| !left.counts(now));
        let found = Let {
            waits: !flow.mentions.is_empty(),
            lasts: flow.mentions.lasts(),
        };
        if self.has_changed(judged, flow) || self.is_revealed(session, flow) {
            return None;
        }
        if flow.mentions.reveals() && self.is_named(session, flow) {
            return None;
        }
        if found.waits {
            let own = self.statements.entry(session).or_default();
            own.push_back(Arc::clone(flow));
        }
        if found.lasts {
            let own = self.lasting.entry(session).or_default();
            own.push(Arc::clone(flow));
            self.happened(flow);
        }
        Some(found)
    }

    /// Does another session make something of what it names?
    fn is_revealed(&self, session: u64, flow: &Flow) -> bool {
        let mut lasting = self.lasting_of_others(session);
        lasting.any(|other| flow.mentions.sees(&other.mentions))
    }

    /// Does another session name what it makes something of, or has it made a view over that?
    fn is_named(&self, session: u64, flow: &Flow) -> bool {
        let others = self.statements.iter();
        let others = others.filter(|(number, _)| **number != session);
        let left = self.left.iter().flat_map(|behind| &behind.statements);
        let statements = others.flat_map(|(_, statements)| statements).chain(left);
        let mut all = statements.chain(self.lasting_of_others(session));
        self.forgotten.is_some() || all.any(|other| other.mentions.sees(&flow.mentions))
    }

    fn lasting_of_others(&self, session: u64) -> impl Iterator<Item = &Arc<Flow>> {
        let others = self.lasting.iter();
        let others = others.filter(move |(number, _)| **number != session);
        let left = self.left.iter().flat_map(|behind| &behind.lasting);
        others.flat_map(|(_, lasting)| lasting).chain(left)
    }

    /// The last one was not sent.
    pub(crate) fn withdraw(&mut self, session: u64, found: Let) {
        if found.waits {
            self.change(session, |own| _ = own.pop_back());
        }
        if found.lasts
            && let Some(own) = self.lasting.get_mut(&session)
        {
            own.pop();
            if own.is_empty() {
                self.lasting.remove(&session);
            }
        }
    }

    /// The first one that waits is answered.
    pub(crate) fn answered(&mut self, session: u64) {
        self.change(session, |own| _ = own.pop_front());
    }

    /// The transaction has ended.
    pub(crate) fn ended(&mut self, session: u64) {
        for flow in self.lasting.remove(&session).unwrap_or_default() {
            self.happened(&flow);
        }
    }

    /// The session left: the server may go on with what it was sent.
    pub(crate) fn left(&mut self, session: u64, left: Left) {
        let statements = self.statements.remove(&session).unwrap_or_default();
        let lasting = self.lasting.remove(&session).unwrap_or_default();
        if statements.is_empty() && lasting.is_empty() {
            return;
        }
        self.left.push_back(LeftBehind {
            left,
            statements,
            lasting,
        });
        if self.left.len() > LEFT_MAX {
            self.forget();
        }
    }

    /// Of those that left, one whose statements are forgotten: what is sensitive stays out of names as
    /// long as they could run. Those that have made something of names stay.
    fn forget(&mut self) {
        let mut left = self.left.iter();
        let Some(at) = left.position(|behind| behind.lasting.is_empty()) else {
            return;
        };
        if let Some(behind) = self.left.remove(at) {
            self.forgotten = Some(behind.left.unknown());
        }
    }

    /// Forgets the sessions that left and whose processes run nothing more. True: one has made
    /// something of names.
    pub(crate) fn settle(&mut self, processes: Processes<'_>) -> bool {
        let before = self.moment;
        self.forget_left(|behind| !behind.left.is_over(processes));
        self.moment != before
    }

    fn forget_left(&mut self, stays: impl Fn(&LeftBehind) -> bool) {
        let all = std::mem::take(&mut self.left);
        for behind in all {
            if stays(&behind) {
                self.left.push_back(behind);
                continue;
            }
            for flow in &behind.lasting {
                self.happened(flow);
            }
        }
    }

    /// Is something on its way of one that left?
    pub(crate) fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Is anything on its way?
    pub(crate) fn is_empty(&self) -> bool {
        let none = self.statements.is_empty() && self.lasting.is_empty();
        none && self.left.is_empty() && self.forgotten.is_none()
    }

    fn change(&mut self, session: u64, change: impl FnOnce(&mut VecDeque<Arc<Flow>>)) {
        let Some(own) = self.statements.get_mut(&session) else {
            return;
        };
        change(own);
        if own.is_empty() {
            self.statements.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::flow::tests::outlook;
    use std::time::Duration;

    const SHOWS: &str = "create or replace view plain as select email from users";
    const ASKS: &str = "select note from plain";

    fn flow(sql: &str) -> Arc<Flow> {
        Arc::new(Flow::of(sql, &outlook()))
    }

    /// Lets one through that was judged now.
    fn enters(crossing: &mut Crossing, session: u64, sql: &str, now: Instant) -> bool {
        let judged = crossing.moment();
        crossing.enter(session, &flow(sql), judged, now).is_some()
    }

    #[test]
    fn of_two_that_cross_the_second_is_stopped() {
        let now = Instant::now();
        for (first, second) in [(SHOWS, ASKS), (ASKS, SHOWS)] {
            let mut crossing = Crossing::default();
            assert!(enters(&mut crossing, 1, first, now));
            assert!(!enters(&mut crossing, 2, second, now), "{second}");
            assert!(enters(&mut crossing, 1, second, now), "its own does not");
            assert!(enters(&mut crossing, 2, "select id from accounts", now));
            crossing.answered(1);
            crossing.answered(1);
            crossing.ended(1);
            assert!(enters(&mut crossing, 2, second, now), "{second}");
        }
    }

    #[test]
    fn what_has_come_and_gone_since_the_judgement_is_seen() {
        let now = Instant::now();
        let mut crossing = Crossing::default();
        let judged = crossing.moment();
        assert!(enters(&mut crossing, 1, SHOWS, now));
        let between = crossing.moment();
        crossing.answered(1);
        crossing.ended(1);
        for moment in [judged, between] {
            assert!(crossing.enter(2, &flow(ASKS), moment, now).is_none());
            let other = flow("select id from accounts");
            assert!(crossing.enter(3, &other, moment, now).is_some());
        }
        assert!(enters(&mut crossing, 2, ASKS, now));
    }

    #[test]
    fn more_than_are_told_apart_could_be_anything() {
        let now = Instant::now();
        let mut crossing = Crossing::default();
        let judged = crossing.moment();
        for _ in 0..EVENTS_MAX {
            assert!(enters(
                &mut crossing,
                1,
                "alter table users rename to away",
                now
            ));
            crossing.answered(1);
            crossing.ended(1);
        }
        assert!(crossing.enter(2, &flow(ASKS), judged, now).is_none());
        assert!(crossing.enter(2, &flow("select 1"), judged, now).is_some());
    }

    #[test]
    fn who_left_counts_until_nothing_runs_for_it() {
        let now = Instant::now();
        let mut crossing = Crossing::default();
        assert!(enters(&mut crossing, 1, ASKS, now));
        crossing.left(1, Left::new(now, Some(77), false));
        let later = now + Duration::from_secs(30);
        let mut runs = |running: &[u32]| {
            let asked = later;
            crossing.settle(Processes { asked, running });
            enters(&mut crossing, 2, SHOWS, later)
        };
        assert!(!runs(&[77]));
        assert!(runs(&[78]));
        assert!(!crossing.is_empty());
        crossing.withdraw(
            2,
            Let {
                waits: true,
                lasts: true,
            },
        );
        assert!(crossing.is_empty());
    }

    #[test]
    fn where_the_server_says_what_runs_no_time_is_too_long() {
        let now = Instant::now();
        let mut crossing = Crossing::default();
        assert!(enters(&mut crossing, 1, ASKS, now));
        crossing.left(1, Left::new(now, Some(77), true));
        let later = now + Duration::from_secs(86_400);
        assert!(!enters(&mut crossing, 2, SHOWS, later));
        let running = &[];
        crossing.settle(Processes {
            asked: later,
            running,
        });
        assert!(enters(&mut crossing, 2, SHOWS, later));
    }

    #[test]
    fn many_that_left_stop_what_makes_something_of_names() {
        let now = Instant::now();
        let mut crossing = Crossing::default();
        for session in 0..=LEFT_MAX as u64 {
            assert!(enters(
                &mut crossing,
                session,
                "select id from accounts",
                now
            ));
            crossing.left(session, Left::new(now, Some(77), false));
        }
        assert!(!enters(&mut crossing, 1, SHOWS, now));
        assert!(enters(&mut crossing, 1, ASKS, now));
        let later = now + Duration::from_secs(3600);
        crossing.answered(1);
        assert!(enters(&mut crossing, 1, SHOWS, later));
    }
}

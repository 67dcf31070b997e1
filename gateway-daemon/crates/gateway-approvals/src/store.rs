//! The questions that wait, and what becomes of them.
//!
//! Everything is decided under one lock, that is never held while anything is waited for. A
//! question ends once: by an answer, by its deadline, by its client leaving, or by the gateway.
//! Whoever takes it out of the list has ended it.
mod state;
mod waiting;

#[cfg(test)]
mod tests;

use crate::authority::{self, Authority, Caller};
use crate::clock::Clock;
use crate::error::AnswerError;
use crate::grants::GrantView;
use crate::links::Links;
use crate::moment::rfc3339;
use crate::outcomes::{Answered, parse_id};
use crate::pending::Pending;
use crate::webhook::{Couriers, Jitter, Post, Webhook, WebhookCounts};
use gateway_core::ports::{Answer, Answering, Approver, Question};
use gateway_core::{OperationId, TreeId, Verdict};
use parking_lot::{Condvar, Mutex, MutexGuard};
use state::{Entry, State};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{oneshot, watch};
use waiting::Waiting;

/// How many bytes of a reason are kept.
const REASON_MAX: usize = 1024;
/// How much of a wrong id is repeated.
const WRONG_ID_MAX: usize = 64;
/// What is said when the gateway ends.
const RESTARTS: &str = "the gateway restarts";

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Questions that wait at once (`limits.approvals`).
    pub pending_max: usize,
    /// Of these, questions of one tree (`limits.approvals_tree`): one tree must not keep all
    /// others from asking.
    pub pending_tree_max: usize,
    /// Grants in force (`limits.grants`).
    pub grants_max: usize,
    /// Messages that wait for one webhook (`limits.webhook_queue`).
    pub queue_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            pending_max: 1000,
            pending_tree_max: 500,
            grants_max: 1000,
            queue_max: 1024,
        }
    }
}

/// What the store is made of.
pub struct Options {
    /// How much may wait.
    pub limits: Limits,
    /// Who may answer.
    pub authority: Authority,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told.
    pub webhooks: Vec<Webhook>,
    /// How they are told.
    pub post: Arc<dyn Post>,
    /// Spreads what is tried again.
    pub jitter: Jitter,
    /// Links to the page that shows a question; `None` where no page is served.
    pub links: Option<Arc<Links>>,
}

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Questions that were put before people.
    pub asked: u64,
    /// Approved by somebody.
    pub approved: u64,
    /// Denied by somebody, or by the gateway while they waited.
    pub denied: u64,
    /// Nobody answered in time.
    pub expired: u64,
    /// The client did not wait.
    pub withdrawn: u64,
    /// Approved by an earlier approval, without asking.
    pub covered: u64,
    /// Denied without asking: too many waited, or nobody could have answered.
    pub refused: u64,
}

/// Holds until a human answers. Dropping it denies everything that waits.
pub struct Approvals {
    shared: Arc<Shared>,
    /// Keeps the deadlines.
    timekeeper: Option<JoinHandle<()>>,
}

impl fmt::Debug for Approvals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approvals")
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

impl Approvals {
    /// Starts the store with its thread, and a thread for each webhook.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(options: Options) -> io::Result<Approvals> {
        let couriers = Couriers::start(&options)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(options.limits.grants_max)),
            sooner: Condvar::new(),
            version: watch::Sender::new(0),
            limits: options.limits,
            authority: options.authority,
            clock: options.clock,
            couriers,
        });
        let timekeeper = std::thread::Builder::new()
            .name("approvals".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.keep_time()
            })?;
        Ok(Approvals {
            shared,
            timekeeper: Some(timekeeper),
        })
    }

    /// What waits, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Pending>> {
        self.shared.state.lock().list()
    }

    /// How many questions wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.shared.state.lock().len()
    }

    /// One question that waits, by its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Pending>> {
        self.shared.state.lock().get(parse_id(id)?)
    }

    /// How a question ended, if it is among the last 1,024.
    #[must_use]
    pub fn outcome(&self, id: &str) -> Option<Answered> {
        let state = self.shared.state.lock();
        state.outcomes.get(parse_id(id)?).cloned()
    }

    /// Changes with everything that [`Approvals::list`] and [`Approvals::grants`] show, but for
    /// grants that end by time. To follow: take the version, list, wait for the next version.
    #[must_use]
    pub fn version(&self) -> u64 {
        *self.shared.version.borrow()
    }

    /// Waits until the version is later than `since`, and returns it.
    pub async fn changed(&self, since: u64) -> u64 {
        let mut version = self.shared.version.subscribe();
        let later = version.wait_for(|version| *version > since).await;
        // The sender lives in what we borrow.
        later.map_or(since, |version| *version)
    }

    /// Answers a question.
    ///
    /// # Errors
    /// There is no such question, it has ended before, the caller may not answer it so, or the
    /// reason is not fit to be kept. The question then waits on.
    pub fn answer(
        &self,
        id: &str,
        approved: bool,
        by: &Caller,
        reason: Option<String>,
    ) -> Result<Answered, AnswerError> {
        let answered = self.shared.answer(id, approved, by, reason);
        match &answered {
            Ok(answered) => tracing::info!(
                id = %answered.id,
                verdict = %answered.verdict,
                approver = %by.principal.id,
                "answered"
            ),
            Err(AnswerError::NotAllowed(why)) => tracing::warn!(
                id = %cut(id, WRONG_ID_MAX).escape_debug(),
                caller = %by.principal.id,
                approved,
                %why,
                "an answer was refused"
            ),
            Err(_) => {}
        }
        answered
    }

    /// Would this answer be taken, as far as is known now? Nothing changes.
    ///
    /// # Errors
    /// As [`Approvals::answer`].
    pub fn check(
        &self,
        id: &str,
        approved: bool,
        by: &Caller,
        reason: Option<String>,
    ) -> Result<(), AnswerError> {
        self.shared.check(id, approved, by, reason)
    }

    /// Could this caller give any answer to a question? For lists.
    #[must_use]
    pub fn may_answer(&self, caller: &Caller, pending: &Pending) -> bool {
        let authority = &self.shared.authority;
        authority.check(caller, false, &pending.question).is_ok()
    }

    /// Denies all that a tree asks, in the gateway's name. Returns how many.
    pub fn deny_all(&self, tree: TreeId, reason: &str) -> usize {
        self.shared.deny_where(Some(tree), reason)
    }

    /// Denies all that waits, in the gateway's name. Returns how many.
    pub fn deny_everything(&self, reason: &str) -> usize {
        self.shared.deny_where(None, reason)
    }

    /// The grants in force, oldest first.
    #[must_use]
    pub fn grants(&self) -> Vec<GrantView> {
        let now = self.shared.clock.now();
        self.shared.state.lock().grants.list(now)
    }

    /// Ends the grants that a tree has. Returns how many.
    pub fn revoke_tree(&self, tree: TreeId) -> usize {
        let ended = self.shared.state.lock().grants.revoke_tree(tree);
        self.shared.tell(ended > 0);
        ended
    }

    /// Ends the grants that a principal has given: they are not to be trusted any more. Returns
    /// how many.
    pub fn revoke_approver(&self, principal: &str) -> usize {
        let ended = self.shared.state.lock().grants.revoke_approver(principal);
        self.shared.tell(ended > 0);
        ended
    }

    /// Ends what is due, and returns when the next is. The store's own thread does it in time;
    /// this is for who has moved the clock.
    pub fn expire(&self) -> Option<Instant> {
        self.shared.expire();
        self.shared.state.lock().next_deadline()
    }

    /// Counted since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state.lock().counts
    }

    /// What the webhooks have come to, in the order of the configuration.
    #[must_use]
    pub fn webhooks(&self) -> Vec<WebhookCounts> {
        self.shared.couriers.counts()
    }

    /// Denies what waits and all that comes, and ends every grant: the gateway is going to end.
    pub fn close(&self) {
        {
            let mut state = self.shared.state.lock();
            state.closed = true;
            state.grants.clear();
        }
        self.shared.sooner.notify_all();
        self.shared.deny_where(None, RESTARTS);
        self.shared.tell(true);
    }
}

impl Drop for Approvals {
    fn drop(&mut self) {
        self.close();
        if let Some(timekeeper) = self.timekeeper.take() {
            // The last clone may be dropped by the thread itself, through a waker.
            if timekeeper.thread().id() != std::thread::current().id() {
                let _ = timekeeper.join();
            }
        }
        self.shared.couriers.close();
    }
}

impl Approver for Approvals {
    fn ask(&self, question: Question) -> Answering {
        match Shared::ask(&self.shared, question) {
            Ok(waiting) => Box::pin(waiting),
            Err(answer) => Box::pin(std::future::ready(answer)),
        }
    }
}

/// What the store, its thread and the questions share.
struct Shared {
    state: Mutex<State>,
    /// The next deadline is sooner than it was, or the store is closed.
    sooner: Condvar,
    version: watch::Sender<u64>,
    limits: Limits,
    authority: Authority,
    clock: Arc<dyn Clock>,
    couriers: Couriers,
}

/// What is left to do for a question that has ended, when the lock is released: wakers are
/// foreign code.
struct Ended {
    waits: oneshot::Sender<Answer>,
    answer: Answer,
}

impl Shared {
    /// A question that waits, or its answer when it needs no waiting.
    fn ask(shared: &Arc<Shared>, question: Question) -> Result<Waiting, Answer> {
        let now = shared.clock.now();
        let mut state = shared.state.lock();
        if let Some(answer) = shared.answer_at_once(&mut state, &question, now) {
            return Err(answer);
        }
        let Some(deadline) = now.checked_add(question.terms.timeout) else {
            state.counts.refused += 1;
            return Err(denied("its timeout is longer than time itself"));
        };
        let (waits, receiver) = oneshot::channel();
        let pending = Arc::new(Pending::new(question, shared.clock.time()));
        let entry = Entry::new(Arc::clone(&pending), deadline, waits);
        shared.couriers.asked(&pending, &entry.ended);
        let arrival = state.insert(entry);
        let is_next = state.next_deadline() == Some(deadline);
        drop(state);
        if is_next {
            shared.sooner.notify_one();
        }
        shared.tell(true);
        Ok(Waiting::new(Arc::clone(shared), arrival, receiver))
    }

    fn answer_at_once(
        &self,
        state: &mut State,
        question: &Question,
        now: Instant,
    ) -> Option<Answer> {
        let tree = question.subject.lineage.tree;
        let refusal = if state.closed {
            RESTARTS.to_owned()
        } else if !authority::can_be_satisfied(&question.terms) {
            "a rule that holds it names nobody who may answer".to_owned()
        } else if let Some(covered) = state.grants.covering(question, &self.authority, now) {
            state.counts.covered += 1;
            let until = rfc3339(covered.until);
            return Some(Answer {
                verdict: Verdict::Approved,
                approver: Some(covered.approver),
                reason: Some(
                    format!("covered by the approval of {} until {until}", covered.id).into(),
                ),
            });
        } else if state.get(question.id).is_some() {
            // A defect: an answer could not be told from the other's.
            "a question with this id waits already".to_owned()
        } else if state.len() >= self.limits.pending_max {
            let max = self.limits.pending_max;
            format!("{max} questions wait already (limits.approvals)")
        } else if state.len_of(tree) >= self.limits.pending_tree_max {
            let max = self.limits.pending_tree_max;
            format!("{max} questions of this tree wait already (limits.approvals_tree)")
        } else {
            return None;
        };
        state.counts.refused += 1;
        Some(denied(&refusal))
    }

    fn answer(
        &self,
        id: &str,
        approved: bool,
        by: &Caller,
        reason: Option<String>,
    ) -> Result<Answered, AnswerError> {
        // Before anything else: nobody in a governed tree learns what is asked.
        authority::may_answer_at_all(by)?;
        let reason = plain(reason)?;
        let unknown = || AnswerError::NoSuchQuestion(cut(id, WRONG_ID_MAX).to_owned());
        let id = parse_id(id).ok_or_else(unknown)?;
        let now = self.clock.now();
        let mut state = self.state.lock();
        // Late is late, also when the thread has not come to it yet.
        let mut ended = self.end_due(&mut state, now);
        let answered = self.end_answered(&mut state, id, approved, by, reason, now);
        let answered = answered.map(|(answered, one)| {
            ended.push(one);
            answered
        });
        self.finish(state, ended);
        answered.map_err(|error| error.unwrap_or_else(unknown))
    }

    fn check(
        &self,
        id: &str,
        approved: bool,
        by: &Caller,
        reason: Option<String>,
    ) -> Result<(), AnswerError> {
        authority::may_answer_at_all(by)?;
        plain(reason)?;
        let unknown = || AnswerError::NoSuchQuestion(cut(id, WRONG_ID_MAX).to_owned());
        let id = parse_id(id).ok_or_else(unknown)?;
        let state = self.state.lock();
        let Some(pending) = state.get(id) else {
            let ended = state.outcomes.get(id).cloned();
            return Err(ended.map_or_else(unknown, AnswerError::AlreadyAnswered));
        };
        Ok(self.authority.check(by, approved, &pending.question)?)
    }

    /// Checks an answer, and ends its question. Without an error to tell, there is no question.
    fn end_answered(
        &self,
        state: &mut State,
        id: OperationId,
        approved: bool,
        by: &Caller,
        reason: Option<Arc<str>>,
        now: Instant,
    ) -> Result<(Answered, Ended), Option<AnswerError>> {
        let Some(pending) = state.get(id) else {
            let ended = state.outcomes.get(id).cloned();
            return Err(ended.map(AnswerError::AlreadyAnswered));
        };
        self.authority
            .check(by, approved, &pending.question)
            .map_err(|why| Some(why.into()))?;
        let entry = state.remove(id).ok_or(None)?;
        let time = self.clock.time();
        let (verdict, grant_until) = if approved {
            let given = &pending.question;
            let until = state.grants.give(given, &by.principal, now, time);
            state.counts.approved += 1;
            (Verdict::Approved, until)
        } else {
            state.counts.denied += 1;
            (Verdict::Denied, None)
        };
        let answered = Answered {
            id,
            verdict,
            approver: Some(Arc::clone(&by.principal.id)),
            reason,
            time,
            grant_until,
        };
        let ended = self.end(state, entry, answered.clone());
        Ok((answered, ended))
    }

    /// Ends what is due.
    fn expire(&self) {
        let mut state = self.state.lock();
        let ended = self.end_due(&mut state, self.clock.now());
        self.finish(state, ended);
    }

    fn end_due(&self, state: &mut State, now: Instant) -> Vec<Ended> {
        let mut ended = Vec::new();
        for entry in state.remove_due(now) {
            state.counts.expired += 1;
            let reason = "nobody answered in time";
            ended.push(self.end_unanswered(state, entry, Verdict::Expired, reason));
        }
        ended
    }

    /// Denies all of a tree, or all.
    fn deny_where(&self, tree: Option<TreeId>, reason: &str) -> usize {
        let mut state = self.state.lock();
        let mut ended = Vec::new();
        for entry in state.remove_of(tree) {
            state.counts.denied += 1;
            ended.push(self.end_unanswered(&mut state, entry, Verdict::Denied, reason));
        }
        let count = ended.len();
        self.finish(state, ended);
        count
    }

    /// The client has left.
    fn withdraw(&self, arrival: u64) {
        let mut state = self.state.lock();
        let Some(entry) = state.remove_arrival(arrival) else {
            return;
        };
        state.counts.withdrawn += 1;
        let reason = "the client did not wait";
        let ended = self.end_unanswered(&mut state, entry, Verdict::Denied, reason);
        self.finish(state, vec![ended]);
    }

    fn end_unanswered(
        &self,
        state: &mut State,
        entry: Entry,
        verdict: Verdict,
        reason: &str,
    ) -> Ended {
        let answered = Answered {
            id: entry.pending.id(),
            verdict,
            approver: None,
            reason: Some(reason.into()),
            time: self.clock.time(),
            grant_until: None,
        };
        self.end(state, entry, answered)
    }

    /// Remembers how a question ended, and tells the webhooks, in the order of the endings.
    fn end(&self, state: &mut State, entry: Entry, answered: Answered) -> Ended {
        let answer = Answer {
            verdict: answered.verdict,
            approver: answered.approver.clone(),
            reason: answered.reason.clone(),
        };
        entry.end();
        self.couriers.answered(&entry.pending, &answered);
        state.outcomes.remember(answered);
        Ended {
            waits: entry.waits,
            answer,
        }
    }

    /// Releases the lock, and wakes who waits.
    fn finish(&self, state: MutexGuard<'_, State>, ended: Vec<Ended>) {
        drop(state);
        let changed = !ended.is_empty();
        for Ended { waits, answer } in ended {
            // Who has left does not need it.
            let _ = waits.send(answer);
        }
        self.tell(changed);
    }

    fn tell(&self, changed: bool) {
        if changed {
            self.version
                .send_modify(|version| *version = version.wrapping_add(1));
        }
    }

    /// The thread: sleeps until the next deadline.
    fn keep_time(&self) {
        loop {
            self.expire();
            let mut state = self.state.lock();
            if state.closed {
                return;
            }
            match state.next_deadline() {
                None => self.sooner.wait(&mut state),
                Some(deadline) => {
                    let wait = deadline.saturating_duration_since(self.clock.now());
                    if !wait.is_zero() {
                        let _ = self.sooner.wait_for(&mut state, wait);
                    }
                }
            }
        }
    }
}

fn denied(reason: &str) -> Answer {
    Answer {
        verdict: Verdict::Denied,
        approver: None,
        reason: Some(reason.into()),
    }
}

/// A reason that can be kept and shown: one line, nothing that moves the cursor or turns the text.
fn plain(reason: Option<String>) -> Result<Option<Arc<str>>, AnswerError> {
    let Some(reason) = reason else {
        return Ok(None);
    };
    if reason.len() > REASON_MAX {
        return Err(AnswerError::ReasonTooLong(reason.len()));
    }
    if let Some(bad) = reason.chars().find(|c| is_control(*c)) {
        return Err(AnswerError::ReasonNotPlain(u32::from(bad)));
    }
    let reason = reason.trim();
    Ok((!reason.is_empty()).then(|| reason.into()))
}

/// Control characters, line separators, and those that change the direction of text.
pub(crate) fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

//! The one gate. An auditor who reads this file knows what every operation has to pass.
//!
//! [`Governor::submit`] decides, writes the record, waits for a human where the policy says so, and
//! only then hands out the [`Clearance`] without which no protocol can send a byte upstream.
//! Nothing else makes one.
mod held;
mod refusal;
#[cfg(test)]
mod tests;

use crate::answer::{AnswerPart, AnswerRecord, AnswerTerms};
use crate::destination::{Claim, Destination};
use crate::id::{OperationId, SessionId};
use crate::mask::{self, Masker};
use crate::operation::Operation;
use crate::ports::{Answer, Approver, Case, Judge, Question, RecordError, Recorder};
use crate::record::{
    OperationOutcome, OperationRecord, Resolution, SessionClosed, SessionEnd, SessionOpened,
};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::verb::Verb;
use crate::verdict::{Decision, HoldTerms, Mode, Verdict};
use held::{Digest, Held, cut, object_names};
pub use refusal::{Notice, Obstacle, Refusal, RefusalReason};
use rustc_hash::FxHashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How many decisions a session remembers. A prepared workload needs a handful; beyond this the
/// memory is emptied and filled anew, so that a client cannot make it grow.
const REMEMBERED_MAX: usize = 64;

/// Permission to send one operation upstream. Cannot be made outside of this module, and cannot
/// be copied: who holds it has passed [`Governor::submit`].
#[derive(Debug, PartialEq, Eq)]
pub struct Clearance {
    id: OperationId,
}

impl Clearance {
    /// The operation that was cleared.
    #[must_use]
    pub const fn id(&self) -> OperationId {
        self.id
    }
}

/// What a session was when it was taken over. It does not change, but for what the client claims about
/// its destination.
#[derive(Clone, Debug)]
pub struct SessionContext {
    /// The session.
    pub session: SessionId,
    /// Who.
    pub subject: Arc<Subject>,
    /// Where it goes.
    pub destination: Destination,
    /// The policy that the tree is under.
    pub policy: Arc<str>,
}

/// The gate of one session.
pub struct Governor {
    context: SessionContext,
    judge: Arc<dyn Judge>,
    recorder: Arc<dyn Recorder>,
    approver: Arc<dyn Approver>,
    masker: Arc<dyn Masker>,
    /// The operation that a human is asked about. One at a time: what comes behind it waits.
    held: Option<Box<Held>>,
    /// Decisions by shape. Valid for `generation` only.
    remembered: FxHashMap<u64, Decision>,
    generation: u64,
    /// The policy may have a word about answers: it calls something sensitive, or keeps some of
    /// them. What one decision of a generation says about that, all of them say.
    about_answers: bool,
    /// The number of the last operation.
    seq: u32,
    denied: u64,
    holds: u64,
    masked: u64,
    protocol: &'static str,
    resource: Arc<str>,
}

impl fmt::Debug for Governor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Governor")
            .field("context", &self.context)
            .field("seq", &self.seq)
            .finish()
    }
}

impl Governor {
    /// Opens the gate of a session, which writes its first record.
    ///
    /// # Errors
    /// The record could not be kept; the connection must be reset.
    pub fn open(
        context: SessionContext,
        judge: Arc<dyn Judge>,
        recorder: Arc<dyn Recorder>,
        approver: Arc<dyn Approver>,
        masker: Arc<dyn Masker>,
        now: Timestamp,
    ) -> Result<Governor, RecordError> {
        recorder.session_opened(&SessionOpened {
            session: context.session,
            time: now,
            subject: Arc::clone(&context.subject),
            destination: context.destination.clone(),
            policy: Arc::clone(&context.policy),
        })?;
        let resource = context.destination.to_string().into();
        Ok(Governor {
            context,
            generation: judge.generation(),
            judge,
            recorder,
            approver,
            masker,
            held: None,
            remembered: FxHashMap::default(),
            about_answers: true,
            seq: 0,
            denied: 0,
            holds: 0,
            masked: 0,
            protocol: "",
            resource,
        })
    }

    /// The session that this gate belongs to.
    #[must_use]
    pub const fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The session's id.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.context.session
    }

    /// Says which protocol turned out to be spoken.
    pub fn recognised(&mut self, protocol: &'static str) {
        self.protocol = protocol;
    }

    /// Says which server the client says that it wants. What was decided before is decided anew.
    pub fn claims(&mut self, claim: Claim) {
        self.context.destination.claim = claim;
        self.remembered.clear();
    }

    /// Decides an operation, records it with its verdict, and clears it.
    ///
    /// An operation that is held is submitted again when the answer is there, and judged once
    /// more then: what the policy denies by now is denied.
    ///
    /// # Errors
    /// The policy denies it, a human has to be asked or did not approve, or it could not be
    /// recorded. The operation must not go upstream.
    pub fn submit(
        &mut self,
        operation: &Operation<'_>,
        now: Timestamp,
    ) -> Result<Clearance, Obstacle> {
        let mut decision = self.decide(operation);
        mask::narrow(&mut decision, operation.uses);
        if operation.announces && decision.verdict == Verdict::Hold {
            decision.verdict = Verdict::Allow;
        }
        if let Some(held) = self.held.take() {
            return self.settle(*held, operation, &decision, now);
        }
        self.seq = self.seq.wrapping_add(1);
        let id = OperationId {
            session: self.context.session,
            seq: self.seq,
        };
        let recorded = self.recorder.operation(&OperationRecord {
            id,
            time: now,
            protocol: operation.protocol,
            verb: operation.verb,
            effects: operation.effects,
            resource: &decision.resource,
            statement: operation.written(),
            parameters: operation.parameters,
            attributes: operation.attributes,
            verdict: decision.verdict,
            mode: decision.mode,
            rule: decision.rule.as_deref(),
            message: decision.message.as_deref(),
        });
        if !Arc::ptr_eq(&self.resource, &decision.resource) {
            self.resource = Arc::clone(&decision.resource);
        }
        let reason = if recorded.is_err() && decision.mode == Mode::Enforce {
            RefusalReason::Unrecorded
        } else if decision.passes() {
            return Ok(Clearance { id });
        } else if let Some(terms) = decision.hold.clone() {
            return self.hold(id, operation, &decision, terms, now);
        } else {
            RefusalReason::Denied {
                rule: decision.rule,
                message: decision.message,
            }
        };
        Err(self.refuse(id, operation.verb, reason))
    }

    /// Asks a human, who may have answered before.
    fn hold(
        &mut self,
        id: OperationId,
        operation: &Operation<'_>,
        decision: &Decision,
        terms: Arc<HoldTerms>,
        now: Timestamp,
    ) -> Result<Clearance, Obstacle> {
        self.holds += 1;
        let (objects, objects_cut) = object_names(operation);
        let statement = cut(operation.written());
        let answering = self.approver.ask(Question {
            id,
            time: now,
            subject: Arc::clone(&self.context.subject),
            resource: Arc::clone(&decision.resource),
            protocol: operation.protocol,
            verb: operation.verb,
            objects,
            objects_cut,
            statement: statement.into(),
            statement_cut_from: (statement.len() < operation.written().len())
                .then_some(operation.written().len() as u64),
            parameters: operation.parameters.to_vec(),
            attributes: operation.attributes.to_vec(),
            message: decision.message.clone(),
            terms: Arc::clone(&terms),
        });
        let mut held = Held {
            id,
            digest: Digest::of(operation),
            terms,
            message: decision.message.clone(),
            answering: Some(answering),
            answer: None,
            told: false,
        };
        // An earlier approval may reach this far.
        let _ = held.poll(&mut Context::from_waker(Waker::noop()));
        self.settle(held, operation, decision, now)
    }

    /// What comes of an operation that was held, when it is submitted with or without an answer.
    fn settle(
        &mut self,
        mut held: Held,
        operation: &Operation<'_>,
        decision: &Decision,
        now: Timestamp,
    ) -> Result<Clearance, Obstacle> {
        let (id, terms) = (held.id, Arc::clone(&held.terms));
        let changed = !held.digest.is_of(operation);
        let denied = decision.verdict == Verdict::Deny && !decision.passes();
        let other_terms = decision
            .hold
            .as_ref()
            .is_some_and(|now| **now != *held.terms);
        let answer = if changed {
            // What was approved is not what would be sent, or would not do what it would have done.
            Answer {
                verdict: Verdict::Denied,
                approver: None,
                reason: Some("another operation came in its place".into()),
            }
        } else if denied {
            Answer {
                verdict: Verdict::Denied,
                approver: None,
                reason: Some("the policy denies it by now".into()),
            }
        } else if other_terms {
            // Whoever was asked need not be whom the rules name now.
            Answer {
                verdict: Verdict::Denied,
                approver: None,
                reason: Some("the rules that hold it have changed".into()),
            }
        } else if let Some(answer) = held.answer.take() {
            answer
        } else {
            let notice = Notice {
                id,
                terms,
                message: held.message.clone(),
                again: held.told,
            };
            held.told = true;
            self.held = Some(Box::new(held));
            return Err(Obstacle::Held(notice));
        };
        let recorded = self.recorder.resolution(&Resolution {
            id,
            time: now,
            verdict: answer.verdict,
            approver: answer.approver.clone(),
            reason: answer.reason.clone(),
        });
        let reason = match (&answer.verdict, recorded) {
            (Verdict::Approved, Ok(())) => return Ok(Clearance { id }),
            (Verdict::Approved, Err(_)) => RefusalReason::Unrecorded,
            _ => RefusalReason::NotApproved { terms, answer },
        };
        Err(self.refuse(id, operation.verb, reason))
    }

    fn refuse(&mut self, id: OperationId, verb: Verb, reason: RefusalReason) -> Obstacle {
        self.denied += 1;
        Obstacle::Refused(Refusal {
            id,
            verb,
            resource: Arc::clone(&self.resource),
            reason,
        })
    }

    /// The operation that waits, or was answered, is not asked for any more: whatever comes next is
    /// another one, however like it looks. To be called by who sees that the session went on
    /// without submitting it again.
    ///
    /// # Errors
    /// It could not be recorded; the session must end.
    pub fn withdraw(&mut self, now: Timestamp) -> Result<(), RecordError> {
        let Some(held) = self.held.take() else {
            return Ok(());
        };
        self.denied += 1;
        self.recorder.resolution(&Resolution {
            id: held.id,
            time: now,
            verdict: Verdict::Denied,
            approver: None,
            reason: Some("the session went on without it".into()),
        })
    }

    /// Does an operation of this session wait for a human?
    #[must_use]
    pub const fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// Ready when the operation that is held is to be submitted again, or when none is.
    pub fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.held {
            Some(held) => held.poll(context),
            None => Poll::Ready(()),
        }
    }

    /// As [`Governor::poll_answer`], for a task that has nothing else to do.
    pub fn answered(&mut self) -> impl Future<Output = ()> {
        std::future::poll_fn(|context| self.poll_answer(context))
    }

    /// Would this operation pass? Nothing is recorded and nothing is cleared.
    #[must_use]
    pub fn decide(&mut self, operation: &Operation<'_>) -> Decision {
        let generation = self.judge.generation();
        if generation != self.generation {
            self.remembered.clear();
            self.generation = generation;
            self.about_answers = true;
        }
        if let Some(shape) = operation.shape
            && let Some(decision) = self.remembered.get(&shape)
        {
            return decision.clone();
        }
        let decision = self.judge.decide(&Case {
            policy: &self.context.policy,
            subject: &self.context.subject,
            destination: &self.context.destination,
            operation,
        });
        self.about_answers = decision.masks.is_some() || decision.answers.is_some();
        if let Some(shape) = operation.shape.filter(|_| decision.stable) {
            if self.remembered.len() >= REMEMBERED_MAX {
                self.remembered.clear();
            }
            self.remembered.insert(shape, decision.clone());
        }
        decision
    }

    /// Would this operation pass without a human being asked? As [`Governor::decide`], for those who
    /// ask often.
    #[must_use]
    pub fn would_pass(&mut self, operation: &Operation<'_>) -> bool {
        let is_current = self.judge.generation() == self.generation;
        let known = operation.shape.filter(|_| is_current);
        match known.and_then(|shape| self.remembered.get(&shape)) {
            Some(decision) => decision.passes(),
            None => self.decide(operation).passes(),
        }
    }

    /// What the policy says about the answer to this operation. Nothing is recorded and nothing is
    /// cleared.
    #[must_use]
    pub fn answer_terms(&mut self, operation: &Operation<'_>) -> AnswerTerms {
        if !self.about_answers && self.judge.generation() == self.generation {
            return AnswerTerms::default();
        }
        let Decision { masks, answers, .. } = self.decide(operation);
        AnswerTerms {
            masks,
            keep: answers.unwrap_or(0),
        }
    }

    /// What covers values.
    #[must_use]
    pub fn masker(&self) -> &dyn Masker {
        &*self.masker
    }

    /// Records a part of what came back for a cleared operation, as the client got it. Of one that
    /// is larger than [`ANSWER_PART_BYTES_MAX`](crate::answer::ANSWER_PART_BYTES_MAX) only how
    /// large it was.
    ///
    /// # Errors
    /// The record could not be kept; the session must end.
    pub fn answer(
        &mut self,
        id: OperationId,
        time: Timestamp,
        part: AnswerPart,
    ) -> Result<(), RecordError> {
        let part = part.bounded();
        self.recorder.answer(&AnswerRecord { id, time, part })
    }

    /// Records how a cleared operation was answered.
    ///
    /// # Errors
    /// The record could not be kept; the session must end.
    pub fn complete(&mut self, outcome: &OperationOutcome) -> Result<(), RecordError> {
        self.masked = self.masked.saturating_add(mask::total(&outcome.masked));
        self.recorder.outcome(outcome)
    }

    /// How many operations were asked for, and how many of them were denied.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.seq as u64, self.denied)
    }

    /// Closes the session with its last record. An operation that waits is denied.
    ///
    /// # Errors
    /// A record could not be kept.
    pub fn close(mut self, ending: Ending, now: Timestamp) -> Result<(), RecordError> {
        if let Some(held) = self.held.take() {
            self.denied += 1;
            self.recorder.resolution(&Resolution {
                id: held.id,
                time: now,
                verdict: Verdict::Denied,
                approver: None,
                reason: Some(match ending.end {
                    SessionEnd::Client => "the client did not wait".into(),
                    _ => "the session ended first".into(),
                }),
            })?;
        }
        self.recorder.session_closed(&SessionClosed {
            session: self.context.session,
            time: now,
            protocol: self.protocol.into(),
            resource: Arc::clone(&self.resource),
            operations: u64::from(self.seq),
            denied: self.denied,
            held: self.holds,
            masked: self.masked,
            bytes_up: ending.bytes_up,
            bytes_down: ending.bytes_down,
            end: ending.end,
            error: ending.error,
        })
    }
}

/// How a session ended, as the relay saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub end: SessionEnd,
    /// Bytes from the client.
    pub bytes_up: u64,
    /// Bytes to the client.
    pub bytes_down: u64,
    /// What went wrong, when something did.
    pub error: Option<Arc<str>>,
}

//! The one gate. An auditor who reads this file knows what every operation has to pass.
//!
//! [`Governor::submit`] decides, writes the record, and only then hands out the [`Clearance`]
//! without which no protocol can send a byte upstream. Nothing else makes one.
use crate::destination::Destination;
use crate::id::{OperationId, SessionId};
use crate::operation::Operation;
use crate::ports::{Case, Judge, RecordError, Recorder};
use crate::record::{OperationOutcome, OperationRecord, SessionClosed, SessionEnd, SessionOpened};
use crate::subject::Subject;
use crate::time::Timestamp;
use crate::verb::Verb;
use crate::verdict::{Decision, Mode};
use rustc_hash::FxHashMap;
use std::fmt;
use std::sync::Arc;

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

/// Why an operation may not pass. Not an error: an answer, which each protocol words in its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The operation.
    pub id: OperationId,
    /// What it would have done.
    pub verb: Verb,
    /// Where.
    pub resource: Arc<str>,
    /// Why.
    pub reason: RefusalReason,
}

/// The reason of a [`Refusal`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// The policy says no.
    Denied {
        /// The rule that says so; `None` when it is the default.
        rule: Option<Arc<str>>,
        /// What the rule says to the client.
        message: Option<Arc<str>>,
    },
    /// It could not be recorded.
    Unrecorded,
}

impl fmt::Display for Refusal {
    /// One line for the client: what was refused, why, and the number to ask the responders about.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gateway: {} on {} ", self.verb, self.resource)?;
        match &self.reason {
            RefusalReason::Denied {
                rule: Some(rule), ..
            } => write!(f, "denied by rule \"{rule}\"")?,
            RefusalReason::Denied { rule: None, .. } => f.write_str("denied: no rule allows it")?,
            RefusalReason::Unrecorded => {
                f.write_str(
                    "refused: it could not be recorded, and what is not recorded does not happen",
                )?;
            }
        }
        if let RefusalReason::Denied {
            message: Some(message),
            ..
        } = &self.reason
        {
            write!(f, ": {message}")?;
        }
        write!(f, " (session {})", self.id.session)
    }
}

/// What a session was when it was taken over. It does not change.
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
    /// Decisions by shape. Valid for `generation` only.
    remembered: FxHashMap<u64, Decision>,
    generation: u64,
    /// The number of the last operation.
    seq: u32,
    denied: u64,
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
            remembered: FxHashMap::default(),
            seq: 0,
            denied: 0,
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

    /// Decides an operation, records it with its verdict, and clears it.
    ///
    /// # Errors
    /// The policy denies it, or it could not be recorded. The operation must not go upstream.
    pub fn submit(
        &mut self,
        operation: &Operation<'_>,
        now: Timestamp,
    ) -> Result<Clearance, Refusal> {
        let decision = self.decide(operation);
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
            statement: operation.statement,
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
        let reason = if !decision.passes() {
            RefusalReason::Denied {
                rule: decision.rule,
                message: decision.message,
            }
        } else if recorded.is_err() && decision.mode == Mode::Enforce {
            RefusalReason::Unrecorded
        } else {
            return Ok(Clearance { id });
        };
        self.denied += 1;
        Err(Refusal {
            id,
            verb: operation.verb,
            resource: decision.resource,
            reason,
        })
    }

    /// Would this operation pass? Nothing is recorded and nothing is cleared.
    #[must_use]
    pub fn decide(&mut self, operation: &Operation<'_>) -> Decision {
        let generation = self.judge.generation();
        if generation != self.generation {
            self.remembered.clear();
            self.generation = generation;
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
        if let Some(shape) = operation.shape {
            if self.remembered.len() >= REMEMBERED_MAX {
                self.remembered.clear();
            }
            self.remembered.insert(shape, decision.clone());
        }
        decision
    }

    /// Records how a cleared operation was answered.
    ///
    /// # Errors
    /// The record could not be kept; the session must end.
    pub fn complete(&mut self, outcome: &OperationOutcome) -> Result<(), RecordError> {
        self.recorder.outcome(outcome)
    }

    /// How many operations were asked for, and how many of them were denied.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.seq as u64, self.denied)
    }

    /// Closes the session with its last record.
    ///
    /// # Errors
    /// The record could not be kept.
    pub fn close(self, ending: Ending, now: Timestamp) -> Result<(), RecordError> {
        self.recorder.session_closed(&SessionClosed {
            session: self.context.session,
            time: now,
            protocol: self.protocol.into(),
            resource: Arc::clone(&self.resource),
            operations: u64::from(self.seq),
            denied: self.denied,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TreeId;
    use crate::operation::Effect;
    use crate::subject::{Lineage, Principal};
    use crate::verdict::Verdict;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    #[derive(Default)]
    struct Fake {
        generation: AtomicU64,
        decided: AtomicU64,
        deny: AtomicBool,
        mode: Mutex<Mode>,
        broken: AtomicBool,
        verdicts: Mutex<Vec<Verdict>>,
    }

    impl Judge for Fake {
        fn generation(&self) -> u64 {
            self.generation.load(Ordering::Relaxed)
        }
        fn decide(&self, _: &Case<'_>) -> Decision {
            self.decided.fetch_add(1, Ordering::Relaxed);
            let deny = self.deny.load(Ordering::Relaxed);
            Decision {
                verdict: if deny { Verdict::Deny } else { Verdict::Allow },
                mode: *self.mode.lock().unwrap(),
                resource: "orders".into(),
                rule: deny.then(|| "no".into()),
                message: None,
            }
        }
    }

    impl Recorder for Fake {
        fn session_opened(&self, _: &SessionOpened) -> Result<(), RecordError> {
            Ok(())
        }
        fn operation(&self, record: &OperationRecord<'_>) -> Result<(), RecordError> {
            if self.broken.load(Ordering::Relaxed) {
                return Err(RecordError("full".into()));
            }
            self.verdicts.lock().unwrap().push(record.verdict);
            Ok(())
        }
        fn outcome(&self, _: &OperationOutcome) -> Result<(), RecordError> {
            Ok(())
        }
        fn session_closed(&self, _: &SessionClosed) -> Result<(), RecordError> {
            Ok(())
        }
    }

    fn governor(fake: &Arc<Fake>) -> Governor {
        let context = SessionContext {
            session: SessionId(7),
            subject: Arc::new(Subject {
                principal: Principal::unknown(),
                delegates: Vec::new(),
                lineage: Lineage {
                    tree: TreeId(1),
                    processes: Vec::new(),
                },
            }),
            destination: Destination::from_address(([10, 0, 0, 7], 5432).into()),
            policy: "p".into(),
        };
        Governor::open(context, fake.clone(), fake.clone(), Timestamp(1)).unwrap()
    }

    fn read(effects: &[Effect], shape: Option<u64>) -> Operation<'_> {
        Operation {
            protocol: "postgres",
            verb: Verb::Read,
            effects,
            statement: "SELECT 1",
            parameters: &[],
            attributes: &[],
            shape,
        }
    }

    fn effects() -> Vec<Effect> {
        vec![Effect {
            verb: Verb::Read,
            objects: Vec::new(),
        }]
    }

    #[test]
    fn a_denied_operation_gets_no_clearance_and_is_recorded() {
        let fake = Arc::new(Fake::default());
        fake.deny.store(true, Ordering::Relaxed);
        let refusal = governor(&fake)
            .submit(&read(&effects(), None), Timestamp(2))
            .unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "gateway: read on orders denied by rule \"no\" (session s0000000000007)"
        );
        assert_eq!(*fake.verdicts.lock().unwrap(), [Verdict::Deny]);
    }

    #[test]
    fn what_cannot_be_recorded_does_not_happen() {
        let fake = Arc::new(Fake::default());
        fake.broken.store(true, Ordering::Relaxed);
        let refusal = governor(&fake)
            .submit(&read(&effects(), None), Timestamp(2))
            .unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::Unrecorded);
    }

    #[test]
    fn observe_and_shadow_never_refuse() {
        for mode in [Mode::Observe, Mode::Shadow] {
            let fake = Arc::new(Fake::default());
            fake.deny.store(true, Ordering::Relaxed);
            *fake.mode.lock().unwrap() = mode;
            assert!(
                governor(&fake)
                    .submit(&read(&effects(), None), Timestamp(2))
                    .is_ok()
            );
            assert_eq!(
                *fake.verdicts.lock().unwrap(),
                [Verdict::Deny],
                "recorded as it is"
            );
        }
    }

    #[test]
    fn a_decision_is_reused_until_the_policies_change() {
        let fake = Arc::new(Fake::default());
        let mut governor = governor(&fake);
        let effects = effects();
        for _ in 0..3 {
            governor
                .submit(&read(&effects, Some(9)), Timestamp(2))
                .unwrap();
        }
        assert_eq!(fake.decided.load(Ordering::Relaxed), 1);
        fake.deny.store(true, Ordering::Relaxed);
        fake.generation.store(1, Ordering::Relaxed);
        assert!(
            governor
                .submit(&read(&effects, Some(9)), Timestamp(3))
                .is_err()
        );
    }

    #[test]
    fn the_memory_of_decisions_is_bounded() {
        let fake = Arc::new(Fake::default());
        let mut governor = governor(&fake);
        let effects = effects();
        for shape in 0..10_000 {
            governor
                .submit(&read(&effects, Some(shape)), Timestamp(2))
                .unwrap();
        }
        assert!(governor.remembered.len() <= REMEMBERED_MAX);
    }
}

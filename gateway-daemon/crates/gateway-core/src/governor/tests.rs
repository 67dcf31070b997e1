//! Clearances, refusals and holds, with a judge, a recorder and an approver that do as they are told.
use super::*;
use crate::id::TreeId;
use crate::operation::{Effect, Object, Parameter};
use crate::ports::{Answering, QUESTION_OBJECTS_MAX, QUESTION_STATEMENT_MAX};
use crate::subject::{Lineage, Principal};
use crate::terms::LinkTerms;
use crate::verdict::{Grant, HoldRule, Verdict};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[derive(Default)]
struct Fake {
    generation: AtomicU64,
    decided: AtomicU64,
    deny: AtomicBool,
    mode: Mutex<Mode>,
    broken: AtomicBool,
    hold: AtomicBool,
    unstable: AtomicBool,
    approver: Mutex<Option<Arc<str>>>,
    verdicts: Mutex<Vec<Verdict>>,
    questions: Mutex<Vec<Question>>,
    answers: Mutex<Vec<AnswerRecord>>,
    keep: Mutex<Option<u32>>,
    slot: Arc<Mutex<Slot>>,
}

impl Fake {
    fn holding() -> Arc<Fake> {
        let fake = Fake::default();
        fake.hold.store(true, Ordering::Relaxed);
        Arc::new(fake)
    }

    fn answer(&self, verdict: Verdict) {
        self.slot.lock().unwrap().answer = Some(Answer {
            verdict,
            approver: Some("user:bob".into()),
            reason: Some("as agreed".into()),
        });
    }

    fn verdicts(&self) -> Vec<Verdict> {
        self.verdicts.lock().unwrap().clone()
    }
}

impl Judge for Fake {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }
    fn decide(&self, _: &Case<'_>) -> Decision {
        self.decided.fetch_add(1, Ordering::Relaxed);
        let deny = self.deny.load(Ordering::Relaxed);
        let hold = !deny && self.hold.load(Ordering::Relaxed);
        Decision {
            verdict: match (deny, hold) {
                (true, _) => Verdict::Deny,
                (_, true) => Verdict::Hold,
                _ => Verdict::Allow,
            },
            mode: *self.mode.lock().unwrap(),
            resource: "orders".into(),
            rule: deny.then(|| "no".into()),
            message: None,
            hold: hold.then(|| Arc::new(terms(self.approver.lock().unwrap().clone()))),
            masks: None,
            answers: *self.keep.lock().unwrap(),
            stable: !self.unstable.load(Ordering::Relaxed),
        }
    }

    fn terms(&self, _: &str, _: &Destination) -> Arc<LinkTerms> {
        Arc::default()
    }
}

fn terms(approver: Option<Arc<str>>) -> HoldTerms {
    HoldTerms {
        rules: vec![HoldRule {
            rule: "ask".into(),
            approvers: vec![approver.unwrap_or_else(|| "group:dba".into())],
        }],
        timeout: Duration::from_secs(60),
        grant: Grant::Once,
    }
}

/// The other end of a question.
#[derive(Default)]
struct Slot {
    answer: Option<Answer>,
    withdrawn: bool,
}

struct Pending(Arc<Mutex<Slot>>);

impl Future for Pending {
    type Output = Answer;
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Answer> {
        match self.0.lock().unwrap().answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.lock().unwrap().withdrawn = true;
    }
}

impl Approver for Fake {
    fn ask(&self, question: Question) -> Answering {
        self.questions.lock().unwrap().push(question);
        Box::pin(Pending(Arc::clone(&self.slot)))
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
    fn resolution(&self, record: &Resolution) -> Result<(), RecordError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(RecordError("full".into()));
        }
        self.verdicts.lock().unwrap().push(record.verdict);
        Ok(())
    }
    fn answer(&self, record: &AnswerRecord) -> Result<(), RecordError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(RecordError("full".into()));
        }
        self.answers.lock().unwrap().push(record.clone());
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
    Governor::open(
        context,
        fake.clone(),
        fake.clone(),
        fake.clone(),
        Arc::new(mask::Blank),
        Timestamp(1),
    )
    .unwrap()
}

fn read(effects: &[Effect], shape: Option<u64>) -> Operation<'_> {
    Operation {
        protocol: "postgres",
        verb: Verb::Read,
        effects,
        statement: "SELECT 1",
        parameters: &[],
        attributes: &[],
        announces: false,
        uses: &[],
        shown: None,
        shape,
        basis: 0,
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
    let refusal = refusal(governor(&fake).submit(&read(&effects(), None), Timestamp(2)));
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
    let refusal = refusal(governor(&fake).submit(&read(&effects(), None), Timestamp(2)));
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

fn refusal(result: Result<Clearance, Obstacle>) -> Refusal {
    match result {
        Err(Obstacle::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn notice(result: Result<Clearance, Obstacle>) -> Notice {
    match result {
        Err(Obstacle::Held(notice)) => notice,
        other => panic!("{other:?}"),
    }
}

fn is_answered(governor: &mut Governor) -> bool {
    governor
        .poll_answer(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

#[test]
fn a_question_shows_the_values_and_says_what_it_leaves_out() {
    let fake = Fake::holding();
    let mut governor = governor(&fake);
    let objects = (0..=QUESTION_OBJECTS_MAX).map(|n| Object::Named(format!("t{n}").into()));
    let effects = [Effect {
        verb: Verb::Write,
        objects: objects.collect(),
    }];
    let statement = "ü".repeat(QUESTION_STATEMENT_MAX);
    let parameters = [Parameter {
        kind: None,
        value: Some("7".into()),
        cut_from: None,
    }];
    let operation = Operation {
        statement: &statement,
        parameters: &parameters,
        ..read(&effects, None)
    };
    notice(governor.submit(&operation, Timestamp(2)));
    let questions = fake.questions.lock().unwrap();
    let question = &questions[0];
    assert_eq!(question.parameters, parameters);
    assert_eq!(question.objects.len(), QUESTION_OBJECTS_MAX);
    assert!(question.objects_cut);
    assert_eq!(question.statement.len(), QUESTION_STATEMENT_MAX);
    assert_eq!(question.statement_cut_from, Some(statement.len() as u64));
}

#[test]
fn a_held_operation_passes_when_it_is_approved_and_not_before() {
    let fake = Fake::holding();
    let mut governor = governor(&fake);
    let effects = effects();
    let operation = read(&effects, Some(1));
    let first = notice(governor.submit(&operation, Timestamp(2)));
    assert!(!first.again && governor.is_holding() && !is_answered(&mut governor));
    assert_eq!(
        first.to_string(),
        "gateway: held by rule \"ask\": waits up to 60 s for approval (session s0000000000007)"
    );
    // Asked too early it waits on, and asks nobody again.
    assert!(notice(governor.submit(&operation, Timestamp(3))).again);
    assert_eq!(fake.questions.lock().unwrap().len(), 1);
    fake.answer(Verdict::Approved);
    assert!(is_answered(&mut governor));
    let clearance = governor.submit(&operation, Timestamp(4)).unwrap();
    assert_eq!(clearance.id(), first.id);
    assert!(!governor.is_holding());
    assert_eq!(fake.verdicts(), [Verdict::Hold, Verdict::Approved]);
    assert_eq!(governor.counts(), (1, 0));
}

#[test]
fn a_held_operation_that_is_denied_is_refused_with_the_reason() {
    for (verdict, words) in [
        (Verdict::Denied, "not approved"),
        (Verdict::Expired, "nobody approved it in time"),
    ] {
        let fake = Fake::holding();
        let mut governor = governor(&fake);
        let effects = effects();
        let operation = read(&effects, None);
        notice(governor.submit(&operation, Timestamp(2)));
        fake.answer(verdict);
        assert!(is_answered(&mut governor));
        let refusal = refusal(governor.submit(&operation, Timestamp(3)));
        let expected = format!(
            "gateway: read on orders held by rule \"ask\": {words} by user:bob: as agreed \
             (session s0000000000007)"
        );
        assert_eq!(refusal.to_string(), expected);
        assert_eq!(fake.verdicts(), [Verdict::Hold, verdict]);
        assert_eq!(governor.counts(), (1, 1));
    }
}

#[test]
fn an_answer_that_is_there_at_once_needs_no_wait() {
    let fake = Fake::holding();
    fake.answer(Verdict::Approved);
    let mut governor = governor(&fake);
    assert!(
        governor
            .submit(&read(&effects(), None), Timestamp(2))
            .is_ok()
    );
    assert_eq!(fake.verdicts(), [Verdict::Hold, Verdict::Approved]);
}

/// Approves one operation, and submits another one of the same session.
fn approved_for_another(other: &Operation<'_>) {
    let fake = Fake::holding();
    let mut governor = governor(&fake);
    notice(governor.submit(&read(other.effects, None), Timestamp(2)));
    fake.answer(Verdict::Approved);
    assert!(is_answered(&mut governor));
    let refusal = refusal(governor.submit(other, Timestamp(3)));
    assert!(matches!(refusal.reason, RefusalReason::NotApproved { .. }));
    assert_eq!(fake.verdicts(), [Verdict::Hold, Verdict::Denied]);
}

#[test]
fn an_approval_does_not_reach_another_operation() {
    let effects = effects();
    approved_for_another(&Operation {
        statement: "SELECT 2",
        ..read(&effects, None)
    });
}

/// Its text is the same, and means something else by now.
#[test]
fn an_approval_is_of_what_the_operation_would_have_done() {
    let effects = effects();
    approved_for_another(&Operation {
        basis: 1,
        ..read(&effects, None)
    });
    let mask = mask::Mask {
        name: "personal".into(),
        with: mask::Treatment::Redact,
        predicates: mask::Predicates::Allow,
    };
    let uses = [mask::Use {
        kind: mask::UseKind::Asks,
        field: "public.users.ssn".into(),
        mask: Arc::new(mask),
    }];
    approved_for_another(&Operation {
        uses: &uses,
        ..read(&effects, None)
    });
}

#[test]
fn what_the_policy_denies_by_now_no_approval_helps() {
    let fake = Fake::holding();
    let mut governor = governor(&fake);
    let effects = effects();
    let operation = read(&effects, Some(3));
    notice(governor.submit(&operation, Timestamp(2)));
    fake.answer(Verdict::Approved);
    assert!(is_answered(&mut governor));
    fake.deny.store(true, Ordering::Relaxed);
    fake.generation.fetch_add(1, Ordering::Relaxed);
    refusal(governor.submit(&operation, Timestamp(3)));
    assert_eq!(fake.verdicts(), [Verdict::Hold, Verdict::Denied]);
}

#[test]
fn an_approval_under_other_rules_is_none() {
    let fake = Fake::holding();
    let mut governor = governor(&fake);
    let effects = effects();
    let operation = read(&effects, Some(3));
    notice(governor.submit(&operation, Timestamp(2)));
    fake.answer(Verdict::Approved);
    assert!(is_answered(&mut governor));
    *fake.approver.lock().unwrap() = Some("user:ciso".into());
    fake.generation.fetch_add(1, Ordering::Relaxed);
    let refusal = refusal(governor.submit(&operation, Timestamp(3)));
    assert!(matches!(refusal.reason, RefusalReason::NotApproved { .. }));
    assert_eq!(fake.verdicts(), [Verdict::Hold, Verdict::Denied]);
}

#[test]
fn an_approval_that_cannot_be_recorded_is_none() {
    let fake = Fake::holding();
    let mut governor = governor(&fake);
    let effects = effects();
    let operation = read(&effects, None);
    notice(governor.submit(&operation, Timestamp(2)));
    fake.answer(Verdict::Approved);
    assert!(is_answered(&mut governor));
    fake.broken.store(true, Ordering::Relaxed);
    let refusal = refusal(governor.submit(&operation, Timestamp(3)));
    assert_eq!(refusal.reason, RefusalReason::Unrecorded);
}

#[test]
fn a_session_that_ends_withdraws_its_question() {
    let fake = Fake::holding();
    let mut governor = governor(&fake);
    notice(governor.submit(&read(&effects(), None), Timestamp(2)));
    let ending = Ending {
        end: SessionEnd::Client,
        bytes_up: 0,
        bytes_down: 0,
        error: None,
    };
    governor.close(ending, Timestamp(3)).unwrap();
    assert!(fake.slot.lock().unwrap().withdrawn);
    assert_eq!(fake.verdicts(), [Verdict::Hold, Verdict::Denied]);
}

/// PostgreSQL's Parse and Execute: a human is asked about the second.
#[test]
fn what_only_announces_is_not_held() {
    let fake = Fake::holding();
    let mut governor = governor(&fake);
    let effects = effects();
    let announced = Operation {
        announces: true,
        uses: &[],
        shown: None,
        ..read(&effects, Some(1))
    };
    assert!(governor.submit(&announced, Timestamp(2)).is_ok());
    notice(governor.submit(&read(&effects, Some(2)), Timestamp(3)));
    fake.deny.store(true, Ordering::Relaxed);
    fake.generation.fetch_add(1, Ordering::Relaxed);
    refusal(governor.submit(&announced, Timestamp(4)));
}

#[test]
fn holds_are_for_enforce_only() {
    for mode in [Mode::Observe, Mode::Shadow] {
        let fake = Fake::holding();
        *fake.mode.lock().unwrap() = mode;
        assert!(
            governor(&fake)
                .submit(&read(&effects(), None), Timestamp(2))
                .is_ok()
        );
        assert!(fake.questions.lock().unwrap().is_empty());
        assert_eq!(fake.verdicts(), [Verdict::Hold]);
    }
}

#[test]
fn a_decision_that_is_not_stable_is_not_remembered() {
    let fake = Arc::new(Fake::default());
    fake.unstable.store(true, Ordering::Relaxed);
    let mut governor = governor(&fake);
    let effects = effects();
    for _ in 0..3 {
        governor
            .submit(&read(&effects, Some(9)), Timestamp(2))
            .unwrap();
    }
    assert_eq!(fake.decided.load(Ordering::Relaxed), 3);
}

#[test]
fn what_came_back_is_recorded_within_its_bound() {
    let fake = Arc::new(Fake::default());
    let mut governor = governor(&fake);
    let clearance = governor.submit(&read(&effects(), None), Timestamp(2));
    let id = clearance.unwrap().id();
    let part = AnswerPart::Text("x".repeat(70_000));
    governor.answer(id, Timestamp(3), part).unwrap();
    let part = AnswerPart::Cut {
        rows: 0,
        bytes: 70_000,
    };
    let record = AnswerRecord {
        id,
        time: Timestamp(3),
        part: part.clone(),
    };
    assert_eq!(*fake.answers.lock().unwrap(), [record]);
    fake.broken.store(true, Ordering::Relaxed);
    assert!(governor.answer(id, Timestamp(4), part).is_err());
}

#[test]
fn a_policy_without_a_word_about_answers_is_asked_once() {
    let fake = Arc::new(Fake::default());
    let mut governor = governor(&fake);
    let effects = effects();
    for _ in 0..3 {
        let terms = governor.answer_terms(&read(&effects, None));
        assert!(terms.masks.is_none());
        assert_eq!(terms.keep, 0);
    }
    assert_eq!(fake.decided.load(Ordering::Relaxed), 1);
    // What is not kept of this one may be of the next.
    for keep in [Some(0), Some(9)] {
        *fake.keep.lock().unwrap() = keep;
        fake.generation.fetch_add(1, Ordering::Relaxed);
        for _ in 0..2 {
            let terms = governor.answer_terms(&read(&effects, None));
            assert_eq!(terms.keep, keep.unwrap());
        }
    }
    assert_eq!(fake.decided.load(Ordering::Relaxed), 5);
}

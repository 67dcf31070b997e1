//! A session between two byte streams: what it sends to each side, what it asks permission for,
//! and what it says of the answers.
use super::messages;
use crate::{Channel, Injected, Limits, Origin, PgSession, Shared};
use gateway_core::governor::SessionContext;
use gateway_core::ports::Case;
use gateway_core::record::{OperationOutcome, OperationRecord, SessionClosed, SessionOpened};
use gateway_core::{
    AnswerPart, AnswerRecord, AnswerTerms, Assurance, Clearance, Decision, Destination, Governor,
    Judge, Lineage, LinkTerms, Masker, Masks, Mode, Obstacle, Operation, OperationId, Principal,
    RecordError, Recorder, Resolution, SessionId, Subject, Timestamp, TreeId, Verb, Verdict,
};
use gateway_protocol::{Answer, Effects, ProtocolError, Session, Side};
use gateway_testkit::{FakeApprover, PlainMasker, approver};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What the policy of a test refuses.
#[derive(Debug, Default)]
pub(super) struct Policy {
    verbs: Mutex<Vec<Verb>>,
    objects: Mutex<Vec<String>>,
    generation: AtomicU64,
    broken_recorder: AtomicBool,
    held: Mutex<Vec<Verb>>,
    approver: Arc<FakeApprover>,
    records: Mutex<Vec<Record>>,
    resolutions: Mutex<Vec<Resolution>>,
    masks: Mutex<Option<Arc<dyn Masks>>>,
    keep: Mutex<Option<u32>>,
}

impl Policy {
    /// Refuses these verbs, and `unknown`.
    pub(super) fn denying(verbs: &[Verb]) -> Arc<Policy> {
        let policy = Policy::default();
        policy
            .verbs
            .lock()
            .unwrap()
            .extend(verbs.iter().chain(&[Verb::Unknown]));
        Arc::new(policy)
    }

    pub(super) fn allowing() -> Arc<Policy> {
        Arc::default()
    }

    /// Holds these verbs.
    pub(super) fn holding(verbs: &[Verb]) -> Arc<Policy> {
        let policy = Policy::default();
        policy.held.lock().unwrap().extend(verbs);
        Arc::new(policy)
    }

    pub(super) fn deny(&self, verb: Verb) {
        self.verbs.lock().unwrap().push(verb);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Refuses what touches this object, or could.
    pub(super) fn deny_object(&self, object: &str) {
        self.objects.lock().unwrap().push(object.into());
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls this sensitive in every answer.
    pub(super) fn mask(&self, masks: Arc<dyn Masks>) {
        *self.masks.lock().unwrap() = Some(masks);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps so many bytes of every answer.
    pub(super) fn keep_answers(&self, bytes: u32) {
        *self.keep.lock().unwrap() = Some(bytes);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn break_recorder(&self) {
        self.broken_recorder.store(true, Ordering::Relaxed);
    }
}

/// An operation as it was recorded.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) seq: u32,
    pub(super) verb: Verb,
    pub(super) statement: String,
    pub(super) parameters: Vec<String>,
    pub(super) attributes: String,
    pub(super) objects: Vec<String>,
    pub(super) denied: bool,
}

impl Judge for Policy {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn decide(&self, case: &Case<'_>) -> Decision {
        let denied_objects = self.objects.lock().unwrap();
        let denied = self
            .verbs
            .lock()
            .unwrap()
            .iter()
            .any(|verb| case.operation.verbs().contains(*verb))
            || case
                .operation
                .effects
                .iter()
                .flat_map(|effect| &effect.objects)
                .any(|object| {
                    denied_objects.iter().any(|denied| match object {
                        gateway_core::Object::Named(name) => **name == **denied,
                        // It could be in any schema.
                        gateway_core::Object::Unresolved(name) => {
                            &**name == "*" || denied.ends_with(&format!(".{name}"))
                        }
                    })
                });
        let held = self.held.lock().unwrap();
        let held = held
            .iter()
            .any(|verb| case.operation.verbs().contains(*verb));
        Decision {
            verdict: match (denied, held) {
                (true, _) => Verdict::Deny,
                (_, true) => Verdict::Hold,
                _ => Verdict::Allow,
            },
            mode: Mode::Enforce,
            resource: "orders".into(),
            rule: None,
            message: None,
            hold: held.then(|| Arc::new(approver::terms())),
            masks: self.masks.lock().unwrap().clone(),
            answers: *self.keep.lock().unwrap(),
            stable: true,
        }
    }

    fn terms(&self, _: &str, _: &Destination) -> Arc<LinkTerms> {
        Arc::default()
    }
}

impl Recorder for Policy {
    fn session_opened(&self, _: &SessionOpened) -> Result<(), RecordError> {
        Ok(())
    }

    fn operation(&self, record: &OperationRecord<'_>) -> Result<(), RecordError> {
        if self.broken_recorder.load(Ordering::Relaxed) {
            return Err(RecordError("full".into()));
        }
        let parameter = |parameter: &gateway_core::Parameter| {
            let kind = parameter.kind.as_deref().unwrap_or("?");
            let value = parameter.value.as_deref().unwrap_or("NULL");
            match parameter.cut_from {
                Some(size) => format!("{kind} {value} of {size}"),
                None => format!("{kind} {value}"),
            }
        };
        self.records.lock().unwrap().push(Record {
            seq: record.id.seq,
            verb: record.verb,
            statement: record.statement.into(),
            parameters: record.parameters.iter().map(parameter).collect(),
            attributes: format!("{:?}", record.attributes),
            objects: record
                .effects
                .iter()
                .flat_map(|effect| effect.objects.iter().map(ToString::to_string))
                .collect(),
            denied: record.verdict == Verdict::Deny,
        });
        Ok(())
    }

    fn resolution(&self, resolution: &Resolution) -> Result<(), RecordError> {
        self.resolutions.lock().unwrap().push(resolution.clone());
        Ok(())
    }

    fn answer(&self, _: &AnswerRecord) -> Result<(), RecordError> {
        Ok(())
    }

    fn outcome(&self, _: &OperationOutcome) -> Result<(), RecordError> {
        Ok(())
    }

    fn session_closed(&self, _: &SessionClosed) -> Result<(), RecordError> {
        Ok(())
    }
}

pub(super) fn origin(tree: u64) -> Origin {
    Origin {
        tree: TreeId(tree),
        destination: ([10, 0, 0, 7], 5432).into(),
    }
}

/// What came out of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) to_client: Vec<u8>,
    pub(super) to_upstream: Vec<u8>,
    pub(super) answers: Vec<(u32, Answer)>,
    /// What was kept of the answers, by operation. Where a part ends is left out.
    pub(super) kept: Vec<(u32, AnswerPart)>,
    pub(super) closed: bool,
    pub(super) paused: bool,
    pub(super) error: Option<ProtocolError>,
}

impl Outcome {
    fn keep(&mut self, seq: u32, part: AnswerPart) {
        match (self.kept.last_mut(), part) {
            (Some((last, AnswerPart::Rows(rows))), AnswerPart::Rows(more)) if *last == seq => {
                rows.extend(more);
            }
            (Some((last, AnswerPart::Text(text))), AnswerPart::Text(more)) if *last == seq => {
                text.push_str(&more);
            }
            (_, part) => self.kept.push((seq, part)),
        }
    }
}

/// A session with both of its ends in the hands of the test.
pub(super) struct Harness {
    session: PgSession,
    pub(super) governor: Governor,
    pub(super) policy: Arc<Policy>,
    pub(super) outcome: Outcome,
    held: [Vec<u8>; 2],
}

struct Ends<'a> {
    governor: &'a mut Governor,
    outcome: &'a mut Outcome,
    from: Side,
    input: &'a [u8],
    passed: usize,
}

impl Ends<'_> {
    fn take(&mut self, from: Side, range: Range<usize>) -> Vec<u8> {
        assert_eq!(from, self.from, "bytes go back where they came from");
        assert!(
            range.start >= self.passed,
            "bytes pass twice or out of order"
        );
        assert!(!range.is_empty(), "nothing is passed");
        self.passed = range.end;
        self.input[range].to_vec()
    }
}

impl Effects for Ends<'_> {
    fn pass_upstream(&mut self, clearance: &Clearance, range: Range<usize>) {
        assert_eq!(clearance.id().session, self.governor.session());
        let bytes = self.take(Side::Client, range);
        self.outcome.to_upstream.extend(bytes);
    }

    fn pass_client(&mut self, range: Range<usize>) {
        let bytes = self.take(Side::Upstream, range);
        self.outcome.to_client.extend(bytes);
    }

    fn send_upstream(&mut self, clearance: &Clearance, bytes: &[u8]) {
        assert_eq!(clearance.id().session, self.governor.session());
        self.outcome.to_upstream.extend(bytes);
    }

    fn send_client(&mut self, bytes: &[u8]) {
        self.outcome.to_client.extend(bytes);
    }

    fn submit(&mut self, operation: &Operation<'_>) -> Result<Clearance, Obstacle> {
        assert!(
            !operation.effects.is_empty(),
            "an operation without effects"
        );
        self.governor.submit(operation, Timestamp(1))
    }

    fn would_pass(&mut self, operation: &Operation<'_>) -> bool {
        self.governor.would_pass(operation)
    }

    fn answer_terms(&mut self, operation: &Operation<'_>) -> AnswerTerms {
        self.governor.answer_terms(operation)
    }

    fn masker(&self) -> &dyn Masker {
        self.governor.masker()
    }

    fn pause_client(&mut self, paused: bool) {
        self.outcome.paused = paused;
    }

    fn is_holding(&self) -> bool {
        self.governor.is_holding()
    }

    fn withdraw(&mut self) -> Result<(), ProtocolError> {
        Ok(self.governor.withdraw(Timestamp(1))?)
    }

    fn answer(&mut self, id: OperationId, part: AnswerPart) -> Result<(), ProtocolError> {
        assert!(
            self.outcome.answers.iter().all(|(seq, _)| *seq != id.seq),
            "operation {id} was answered already"
        );
        self.outcome.keep(id.seq, part);
        Ok(())
    }

    fn complete(&mut self, id: OperationId, answer: Answer) -> Result<(), ProtocolError> {
        assert!(
            self.outcome.answers.iter().all(|(seq, _)| *seq != id.seq),
            "operation {id} is answered twice"
        );
        self.outcome.answers.push((id.seq, answer));
        Ok(())
    }

    fn close(&mut self) {
        self.outcome.closed = true;
    }
}

impl Harness {
    pub(super) fn new(policy: Arc<Policy>) -> Harness {
        Harness::with_limits(policy, Limits::default())
    }

    pub(super) fn with_limits(policy: Arc<Policy>, limits: Limits) -> Harness {
        Harness::in_gateway(&Arc::new(Shared::new(limits)), policy, 7, origin(1))
    }

    pub(super) fn in_gateway(
        shared: &Arc<Shared>,
        policy: Arc<Policy>,
        session: u64,
        origin: Origin,
    ) -> Harness {
        let principal = Principal {
            id: "local:ci".into(),
            assurance: Assurance::Kernel,
            groups: Vec::new(),
        };
        let context = SessionContext {
            session: SessionId(session),
            subject: Arc::new(Subject {
                principal,
                delegates: Vec::new(),
                lineage: Lineage {
                    tree: origin.tree,
                    processes: Vec::new(),
                },
            }),
            destination: Destination::from_address(origin.destination),
            policy: "p".into(),
        };
        let governor = Governor::open(
            context,
            policy.clone(),
            policy.clone(),
            policy.approver.clone(),
            Arc::new(PlainMasker),
            Timestamp(1),
        )
        .unwrap();
        Harness {
            session: PgSession::new(Arc::clone(shared), origin),
            governor,
            policy,
            outcome: Outcome::default(),
            held: [Vec::new(), Vec::new()],
        }
    }

    /// Over a way that was settled so.
    pub(super) fn over(channel: Channel) -> Harness {
        let harness = Harness::new(Policy::allowing());
        Harness {
            session: harness.session.over(channel),
            ..harness
        }
    }

    /// The same, where the gateway logs in.
    pub(super) fn logging_in(channel: Channel, injected: Injected) -> Harness {
        let harness = Harness::over(channel);
        Harness {
            session: harness.session.logging_in(Some(injected)),
            ..harness
        }
    }

    /// Logged in, with nothing in the streams any more.
    pub(super) fn ready(policy: Arc<Policy>) -> Harness {
        Harness::ready_with(policy, Limits::default())
    }

    pub(super) fn ready_with(policy: Arc<Policy>, limits: Limits) -> Harness {
        let mut harness = Harness::with_limits(policy, limits);
        harness.client(&messages::startup(
            0,
            &[("user", "ci"), ("database", "app")],
        ));
        harness.upstream(&welcome());
        assert_eq!(harness.outcome.error, None);
        harness.forget();
        harness
    }

    /// The same with a server that does not report its search path, and is asked for it.
    pub(super) fn ready_before_18(policy: Arc<Policy>) -> Harness {
        let mut harness = Harness::with_limits(policy, Limits::default());
        harness.client(&messages::startup(0, &[("user", "ci")]));
        harness.upstream(&welcome_before_18()).take_upstream();
        harness.client(&messages::query("SELECT 1"));
        harness.tell_path("\"$user\", public");
        harness.upstream(&messages::all(&[
            messages::complete("SELECT 1"),
            messages::ready('I'),
        ]));
        harness.forget();
        harness
    }

    /// The server is asked for its search path, and tells it. The client hears nothing of it.
    pub(super) fn tell_path(&mut self, path: &str) -> &mut Harness {
        self.tell_path_in(path, 'I')
    }

    /// The same in this state of a transaction.
    pub(super) fn tell_path_in(&mut self, path: &str, state: char) -> &mut Harness {
        let (role, last) = match state {
            'I' => ("ci", "f"),
            _ => ("none", "ci"),
        };
        self.tell([path, role, last], state)
    }

    /// The same, with all that is told: outside of a transaction the role and whether its schema is there,
    /// within one the role that was set, or `none`, and who has set it.
    pub(super) fn tell(&mut self, values: [&str; 3], state: char) -> &mut Harness {
        let asked = self.take_upstream();
        let text = String::from_utf8_lossy(&asked);
        assert!(text.contains("search_path"), "{text:?}");
        let told = self.outcome.to_client.len();
        let values = values.map(str::as_bytes);
        let rows = match state {
            'I' => vec![messages::data_row_of(&values)],
            _ => values.map(messages::data_row).to_vec(),
        };
        // One Query with all questions, or for each of them what goes around an unnamed statement.
        let (before, after) = match messages::kinds(&asked).as_str() {
            "Q" => (vec![messages::row_description()], vec![]),
            kinds => {
                assert_eq!(kinds, format!("{}S", "C C P B E C C ".repeat(rows.len())));
                let before = ['3', '3', '1', '2'].map(messages::bare).to_vec();
                (before, ['3', '3'].map(messages::bare).to_vec())
            }
        };
        for row in rows {
            let answer = [&before[..], &[row, messages::complete("SHOW")], &after[..]].concat();
            self.upstream(&messages::all(&answer));
        }
        self.upstream(&messages::ready(state));
        assert_eq!(self.outcome.error, None);
        assert_eq!(self.outcome.to_client.len(), told);
        self
    }

    /// A human answers, and what waits is offered again.
    pub(super) fn answer(&mut self, verdict: Verdict) -> &mut Harness {
        self.policy.approver.answer_now(verdict);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(self.governor.poll_answer(&mut context).is_ready());
        self.client(&[])
    }

    /// Empties the streams and the records.
    pub(super) fn forget(&mut self) {
        self.outcome = Outcome::default();
        self.policy.records.lock().unwrap().clear();
    }

    /// What has been recorded.
    pub(super) fn records(&self) -> Vec<Record> {
        self.policy.records.lock().unwrap().clone()
    }

    /// How the questions ended: the number of the operation, and the answer.
    pub(super) fn resolutions(&self) -> Vec<(u32, Verdict)> {
        let resolutions = self.policy.resolutions.lock().unwrap();
        let pair = |resolution: &Resolution| (resolution.id.seq, resolution.verdict);
        resolutions.iter().map(pair).collect()
    }

    /// Bytes of the client arrive.
    pub(super) fn client(&mut self, bytes: &[u8]) -> &mut Harness {
        self.feed(Side::Client, bytes)
    }

    /// Bytes of the upstream arrive.
    pub(super) fn upstream(&mut self, bytes: &[u8]) -> &mut Harness {
        self.feed(Side::Upstream, bytes)
    }

    pub(super) fn feed(&mut self, from: Side, bytes: &[u8]) -> &mut Harness {
        if self.outcome.error.is_some() || self.outcome.closed {
            return self;
        }
        let held = &mut self.held[usize::from(from == Side::Upstream)];
        held.extend(bytes);
        let mut ends = Ends {
            governor: &mut self.governor,
            outcome: &mut self.outcome,
            from,
            input: held,
            passed: 0,
        };
        let was_paused = ends.outcome.paused;
        let result = self.session.receive(from, held, &mut ends);
        let passed = ends.passed;
        match result {
            Ok(used) => {
                assert!(passed <= used, "more is passed than used");
                held.drain(..used);
            }
            Err(error) => self.outcome.error = Some(error),
        }
        if was_paused && !self.outcome.paused {
            return self.client(&[]);
        }
        self
    }

    /// A side has sent its last byte.
    pub(super) fn finish(&mut self, from: Side) -> &mut Harness {
        let unused = self.held[usize::from(from == Side::Upstream)].len();
        let mut ends = Ends {
            governor: &mut self.governor,
            outcome: &mut self.outcome,
            from,
            input: &[],
            passed: 0,
        };
        if let Err(error) = self.session.finish(from, unused, &mut ends) {
            self.outcome.error = Some(error);
        }
        self
    }

    /// Takes what is in the upstream's stream.
    pub(super) fn take_upstream(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outcome.to_upstream)
    }

    /// Takes what is in the client's stream, as kinds of messages.
    pub(super) fn take_client(&mut self) -> String {
        messages::kinds(&std::mem::take(&mut self.outcome.to_client))
    }

    /// The statements that were recorded, each with `!` when it was denied.
    pub(super) fn statements(&self) -> Vec<String> {
        self.records()
            .into_iter()
            .map(|record| {
                format!(
                    "{}{}",
                    if record.denied { "!" } else { "" },
                    record.statement
                )
            })
            .collect()
    }
}

/// What a PostgreSQL says to a client that it trusts.
pub(super) fn welcome() -> Vec<u8> {
    let mut welcome = messages::parameter_status("search_path", "public");
    let before = welcome_before_18();
    let (first, rest) = before.split_at(messages::authentication(0).len());
    welcome.splice(0..0, first.iter().copied());
    welcome.extend(rest);
    welcome
}

/// The same of one that does not report its search path.
pub(super) fn welcome_before_18() -> Vec<u8> {
    messages::all(&[
        messages::authentication(0),
        messages::parameter_status("client_encoding", "UTF8"),
        messages::parameter_status("standard_conforming_strings", "on"),
        messages::backend_key(42, &[1, 2, 3, 4]),
        messages::ready('I'),
    ])
}

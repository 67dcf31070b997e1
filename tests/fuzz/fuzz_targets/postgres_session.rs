//! Both streams of a PostgreSQL session, in any interleaving. Nothing panics, the relay's rules
//! are kept, a refused statement never goes upstream, and byte by byte gives the same effects.
//!
//! The input: a byte (bit 0: begin logged in; 1: over TLS on both sides; 2: the gateway logs in; 3:
//! the upstream is verified; 4: a column is masked, and answers are kept), then turns. A turn is two
//! bytes (the top bit is the side, 1 for the upstream; the rest is a length) and as many bytes as
//! they say.
#![no_main]

use gateway_core::governor::SessionContext;
use gateway_core::mask::{Blank, Detector, Mask, Predicates, Sensitive, Treatment};
use gateway_core::ports::{Answer as Answered, Answering, Case, Question};
use gateway_core::record::{
    OperationOutcome, OperationRecord, Resolution, SessionClosed, SessionOpened,
};
use gateway_core::{
    AnswerRecord, AnswerTerms, Approver, Clearance, Decision, Destination, Governor, Grant,
    HoldTerms, Judge, Lineage, LinkTerms, Masker, Masks, Mode, Obstacle, Operation, OperationId,
    Principal, RecordError, Recorder, SessionId, Subject, Timestamp, TreeId, Verdict,
};
use gateway_postgres::{Channel, Injected, Limits, Origin, PgSession, Shared};
use gateway_protocol::{Answer, Effects, Login, Proof, ProtocolError, Session, Side};
use libfuzzer_sys::fuzz_target;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What nobody may say. The seeds have it in them.
const FORBIDDEN: &str = "forbidden_table";
/// What a human is asked about, who says yes the second time.
const HELD: &str = "held_table";
/// What a human is asked about, who says no.
const REFUSED: &str = "held_table_no";
/// What the gateway logs in with.
const PASSWORD: &str = "stored";

/// Covers one column, and refuses questions about it.
#[derive(Debug)]
struct Email;

impl Masks for Email {
    fn id(&self) -> u64 {
        1
    }

    fn field(&self, name: &str) -> Option<Sensitive> {
        let mask = Mask {
            name: "personal".into(),
            with: Treatment::Hash,
            predicates: Predicates::Deny,
        };
        (name == "public.users.email").then(|| Sensitive {
            mask: Arc::new(mask),
            covered: true,
        })
    }

    fn detectors(&self) -> &[(Detector, Sensitive)] {
        &[]
    }

    fn cover(&self) -> bool {
        true
    }
}

struct Policy {
    masks: bool,
}

impl Judge for Policy {
    fn generation(&self) -> u64 {
        0
    }

    fn decide(&self, case: &Case<'_>) -> Decision {
        let statement = case.operation.statement;
        let verdict = match (statement.contains(FORBIDDEN), statement.contains(HELD)) {
            (true, _) => Verdict::Deny,
            (_, true) => Verdict::Hold,
            _ => Verdict::Allow,
        };
        let terms = HoldTerms {
            rules: Vec::new(),
            timeout: Duration::from_secs(1),
            grant: Grant::Once,
        };
        Decision {
            verdict,
            mode: Mode::Enforce,
            resource: "orders".into(),
            rule: None,
            message: None,
            hold: (verdict == Verdict::Hold).then(|| Arc::new(terms)),
            masks: self.masks.then(|| Arc::new(Email) as Arc<dyn Masks>),
            answers: self.masks.then_some(4096),
            stable: true,
        }
    }

    fn terms(&self, _: &str, _: &Destination) -> Arc<LinkTerms> {
        Arc::default()
    }
}

impl Approver for Policy {
    fn ask(&self, question: Question) -> Answering {
        let verdict = match question.statement.contains(REFUSED) {
            true => Verdict::Denied,
            false => Verdict::Approved,
        };
        let mut asked = false;
        Box::pin(std::future::poll_fn(move |_| {
            if !std::mem::replace(&mut asked, true) {
                return Poll::Pending;
            }
            Poll::Ready(Answered {
                verdict,
                approver: None,
                reason: None,
            })
        }))
    }
}

impl Recorder for Policy {
    fn session_opened(&self, _: &SessionOpened) -> Result<(), RecordError> {
        Ok(())
    }

    fn operation(&self, _: &OperationRecord<'_>) -> Result<(), RecordError> {
        Ok(())
    }

    fn resolution(&self, _: &Resolution) -> Result<(), RecordError> {
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

static SHARED: LazyLock<Arc<Shared>> = LazyLock::new(|| {
    let limits = Limits {
        pipeline: 1000,
        prepared_statements: 8,
        portals: 8,
        ..Limits::default()
    };
    Arc::new(Shared::new(limits))
});

#[derive(Debug, Default)]
struct Outcome {
    to_client: Vec<u8>,
    to_upstream: Vec<u8>,
    operations: Vec<(String, bool)>,
    answers: Vec<(u32, Answer)>,
    closed: bool,
    paused: bool,
    error: Option<ProtocolError>,
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
        assert_eq!(from, self.from);
        assert!(range.start >= self.passed);
        self.passed = range.end;
        self.input[range].to_vec()
    }
}

impl Effects for Ends<'_> {
    fn pass_upstream(&mut self, _: &Clearance, range: Range<usize>) {
        let bytes = self.take(Side::Client, range);
        self.outcome.to_upstream.extend(bytes);
    }

    fn pass_client(&mut self, range: Range<usize>) {
        let bytes = self.take(Side::Upstream, range);
        self.outcome.to_client.extend(bytes);
    }

    fn send_upstream(&mut self, _: &Clearance, bytes: &[u8]) {
        self.outcome.to_upstream.extend(bytes);
    }

    fn send_client(&mut self, bytes: &[u8]) {
        // The key that a client gets is another one each time.
        let bytes = if bytes.first() == Some(&b'K') {
            &bytes[..9]
        } else {
            bytes
        };
        self.outcome.to_client.extend(bytes);
    }

    fn submit(&mut self, operation: &Operation<'_>) -> Result<Clearance, Obstacle> {
        assert!(!operation.effects.is_empty());
        // Without a shape each text is decided by itself, as the policy here needs it.
        let operation = &Operation {
            shape: None,
            ..*operation
        };
        let answer = self.governor.submit(operation, Timestamp(1));
        if !matches!(answer, Err(Obstacle::Held(_))) {
            self.outcome
                .operations
                .push((operation.statement.into(), answer.is_ok()));
        }
        answer
    }

    fn would_pass(&mut self, operation: &Operation<'_>) -> bool {
        self.governor.would_pass(&Operation {
            shape: None,
            ..*operation
        })
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

    fn complete(&mut self, id: OperationId, answer: Answer) -> Result<(), ProtocolError> {
        assert!(self.outcome.answers.iter().all(|(seq, _)| *seq != id.seq));
        self.outcome.answers.push((id.seq, answer));
        Ok(())
    }

    fn close(&mut self) {
        self.outcome.closed = true;
    }
}

struct Run {
    session: PgSession,
    governor: Governor,
    outcome: Outcome,
    held: [Vec<u8>; 2],
}

/// How a session begins.
#[derive(Clone, Copy)]
struct Beginning(u8);

impl Beginning {
    fn is_logged_in(self) -> bool {
        self.0 & 1 != 0
    }

    fn injects(self) -> bool {
        self.0 & 4 != 0
    }

    fn masks(self) -> bool {
        self.0 & 16 != 0
    }

    fn channel(self) -> Channel {
        let version = (self.0 & 2 != 0).then_some("TLSv1.3");
        Channel {
            client: version,
            upstream: version,
            verified: self.0 & 8 != 0,
        }
    }

    fn injected(self) -> Option<Injected> {
        self.injects().then(|| Injected {
            login: Arc::new(Login {
                user: Some("svc".into()),
                proof: Proof::Password(PASSWORD.as_bytes().to_vec().into()),
            }),
            resource: "orders".into(),
            credential: "orders-ci".into(),
        })
    }
}

impl Run {
    fn new(beginning: Beginning) -> Run {
        let origin = Origin {
            tree: TreeId(1),
            destination: ([10, 0, 0, 7], 5432).into(),
        };
        let context = SessionContext {
            session: SessionId(7),
            subject: Arc::new(Subject {
                principal: Principal::unknown(),
                delegates: Vec::new(),
                lineage: Lineage {
                    tree: origin.tree,
                    processes: Vec::new(),
                },
            }),
            destination: Destination::from_address(origin.destination),
            policy: "p".into(),
        };
        let masks = beginning.masks();
        let policy = Arc::new(Policy { masks });
        // What one run has read of a catalogue is not for another.
        let shared = match masks {
            true => Arc::new(Shared::new(Limits::default())),
            false => Arc::clone(&SHARED),
        };
        let governor = Governor::open(
            context,
            policy.clone(),
            policy.clone(),
            policy,
            Arc::new(Blank),
            Timestamp(1),
        );
        Run {
            session: PgSession::new(shared, origin)
                .over(beginning.channel())
                .logging_in(beginning.injected()),
            governor: governor.expect("the recorder never fails"),
            outcome: Outcome::default(),
            held: [Vec::new(), Vec::new()],
        }
    }

    /// Feeds, and again for each answer of the human.
    ///
    /// A client that is paused goes on at the very byte that ends its pause, whatever the pieces:
    /// what the upstream says behind that byte is, or is not, an answer to what the client goes on
    /// with, and the relay may take either first.
    fn feed(&mut self, from: Side, mut bytes: &[u8]) {
        while from == Side::Upstream && self.outcome.paused && !self.is_over() {
            let Some((byte, rest)) = bytes.split_at_checked(1) else {
                return;
            };
            self.feed_piece(from, byte);
            bytes = rest;
        }
        self.feed_piece(from, bytes);
    }

    fn is_over(&self) -> bool {
        self.outcome.error.is_some() || self.outcome.closed
    }

    fn feed_piece(&mut self, from: Side, bytes: &[u8]) {
        let was_paused = self.outcome.paused;
        self.feed_once(from, bytes);
        if was_paused && !self.outcome.paused {
            self.feed_once(Side::Client, &[]);
        }
        while self.governor.is_holding() {
            let mut context = Context::from_waker(Waker::noop());
            assert!(self.governor.poll_answer(&mut context).is_ready());
            self.feed_once(Side::Client, &[]);
            if self.is_over() {
                return;
            }
        }
    }

    fn feed_once(&mut self, from: Side, bytes: &[u8]) {
        if self.is_over() {
            return;
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
        match self.session.receive(from, held, &mut ends) {
            Ok(used) => {
                assert!(ends.passed <= used && used <= held.len());
                held.drain(..used);
            }
            Err(error) => self.outcome.error = Some(error),
        }
    }

    fn finish(&mut self, from: Side) {
        if self.is_over() {
            return;
        }
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
    }
}

const STARTUP: &[u8] = b"\0\0\0\x11\0\x03\0\0user\0ci\0\0";
const WELCOME: &[u8] = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x19client_encoding\0UTF8\0\
    S\0\0\0\x23standard_conforming_strings\0on\0S\0\0\0\x17search_path\0public\0K\0\0\0\x0c\0\0\0\x2a\x01\x02\x03\x04Z\0\0\0\x05I";

fn turns(mut bytes: &[u8]) -> Vec<(Side, &[u8])> {
    let mut turns = Vec::new();
    while let Some((&[high, low], rest)) = bytes.split_first_chunk::<2>() {
        let side = if high & 0x80 == 0 {
            Side::Client
        } else {
            Side::Upstream
        };
        let length = usize::from(u16::from_be_bytes([high & 0x7f, low])).min(rest.len());
        let (turn, rest) = rest.split_at(length);
        turns.push((side, turn));
        bytes = rest;
    }
    turns
}

fn play(beginning: Beginning, turns: &[(Side, &[u8])], piece: usize) -> Outcome {
    let mut run = Run::new(beginning);
    if beginning.is_logged_in() {
        run.feed(Side::Client, STARTUP);
        run.feed(Side::Upstream, WELCOME);
        assert_eq!(run.outcome.error, None);
    }
    for (side, bytes) in turns {
        for bytes in bytes.chunks(piece) {
            run.feed(*side, bytes);
        }
    }
    run.finish(Side::Client);
    run.finish(Side::Upstream);
    run.outcome
}

/// No text that went upstream to be parsed is one that nobody may say.
fn check_texts(mut sent: &[u8]) {
    while let Some((&[kind, a, b, c, d], _)) = sent.split_first_chunk::<5>() {
        let size = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
        let (frame, rest) = sent.split_at(size.min(sent.len()));
        let mut texts = frame[5..].split(|byte| *byte == 0);
        let text = match kind {
            b'Q' => texts.next(),
            b'P' => texts.nth(1),
            _ => None,
        };
        let text = String::from_utf8_lossy(text.unwrap_or_default());
        assert!(!text.contains(FORBIDDEN), "{text}");
        // Parse only announces; what is executed of it is asked about then.
        assert!(kind == b'P' || !text.contains(REFUSED), "{text}");
        sent = rest;
    }
}

/// Fails with what differs and no more: whole outcomes are too long for anybody's log.
fn check_same(again: &Outcome, whole: &Outcome, piece: usize) {
    let streams = [
        ("to the client", &again.to_client, &whole.to_client),
        ("to the upstream", &again.to_upstream, &whole.to_upstream),
    ];
    for (name, again, whole) in streams {
        let same = again.iter().zip(whole).take_while(|(a, b)| a == b).count();
        assert!(
            again == whole,
            "in pieces of {piece}, other bytes {name} from {same} on:\n{}\nwhole:\n{}",
            again[same..].escape_ascii(),
            whole[same..].escape_ascii(),
        );
    }
    let rest = |of: &Outcome| {
        let Outcome {
            operations,
            answers,
            closed,
            paused,
            error,
            ..
        } = of;
        format!("{operations:?} {answers:?} closed {closed} paused {paused} {error:?}")
    };
    assert_eq!(rest(again), rest(whole), "in pieces of {piece}");
}

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else {
        return;
    };
    let turns = turns(rest);
    let beginning = Beginning(first);
    let mut whole = play(beginning, &turns, usize::MAX);
    if beginning.injects() {
        // It begins with another number each time that it proves something by SCRAM.
        whole.to_upstream.clear();
        for piece in [1, 7] {
            let mut again = play(beginning, &turns, piece);
            again.to_upstream.clear();
            check_same(&again, &whole, piece);
        }
        return;
    }
    if beginning.is_logged_in() {
        check_texts(&whole.to_upstream[STARTUP.len()..]);
    }
    for piece in [1, 7] {
        check_same(&play(beginning, &turns, piece), &whole, piece);
    }
});

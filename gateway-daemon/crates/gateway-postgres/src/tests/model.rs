//! Random clients against a model of the server: whatever a client sends, and however the two
//! streams interleave, the records tell what the server did, and what is refused it never saw.
mod server;

use super::harness::{Harness, Policy, Record};
use super::messages::{
    all, bind, close, copy_data, copy_done, copy_fail, describe, execute, flush, function_call,
    kinds, parse, query, sync,
};
use gateway_core::Verb;
use gateway_protocol::{Answer, ProtocolError, Side};
use proptest::prelude::*;
use server::Server;

const TEXTS: [&str; 16] = [
    "SELECT 'one'",
    "SELECT 'two'",
    "SELECT 1/0",
    "DELETE FROM t",
    "DROP TABLE t",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "PREPARE a AS SELECT 'three'",
    "PREPARE a AS DELETE FROM t",
    "DEALLOCATE a",
    "DEALLOCATE ALL",
    "EXECUTE a",
    "EXECUTE b",
    "SELECT 'x'; PREPARE b AS SELECT 'four'; SELECT 1/0",
    "",
];
const NAMES: [&str; 3] = ["", "a", "b"];

/// What a client does next.
#[derive(Clone)]
enum Move {
    Send(Vec<u8>),
    /// From here on nobody may delete.
    Deny,
    /// The server's timeout runs out, if it may.
    TimeOut,
}

impl std::fmt::Debug for Move {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Move::Send(bytes) => {
                let kinds = kinds(bytes);
                write!(
                    f,
                    "{kinds}: {}",
                    String::from_utf8_lossy(bytes).escape_debug()
                )
            }
            Move::Deny => f.write_str("deny"),
            Move::TimeOut => f.write_str("time out"),
        }
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn sql() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&TEXTS[..])
}

fn target() -> impl Strategy<Value = char> {
    prop::sample::select(vec!['S', 'P'])
}

/// COPY as drivers do it, with a Sync that is read during the copy or without, data that is good
/// or bad, and whatever end.
fn copy() -> impl Strategy<Value = Vec<u8>> {
    let end = prop::sample::select(vec![copy_done(), copy_fail("no")]);
    let data = prop::collection::vec(prop::sample::select(vec!["good", "bad"]), 0..3);
    let table = prop::sample::select(vec!["t", "view"]);
    (any::<bool>(), 0..3_usize, data, end, table).prop_map(|(simple, syncs, data, end, table)| {
        let text = format!("COPY {table} FROM STDIN");
        let mut messages = match simple {
            true => vec![query(&text)],
            false => vec![parse("", &text), bind("", ""), execute("")],
        };
        messages.extend(vec![sync(); syncs]);
        messages.extend(data.iter().map(|data| copy_data(data.as_bytes())));
        messages.extend([end, sync()]);
        all(&messages)
    })
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => sql().prop_map(query),
        8 => (name(), sql()).prop_map(|(name, text)| parse(name, text)),
        8 => (name(), name()).prop_map(|(portal, statement)| bind(portal, statement)),
        8 => name().prop_map(execute),
        2 => (target(), name()).prop_map(|(kind, name)| describe(kind, name)),
        2 => (target(), name()).prop_map(|(kind, name)| close(kind, name)),
        6 => Just(sync()),
        1 => Just(flush()),
        1 => Just(function_call(1598, b"x")),
        1 => Just(copy_data(b"stray")),
        1 => Just(copy_done()),
        4 => (name(), sql()).prop_map(|(name, text)| all(&[
            parse(name, text), bind("", name), describe('P', ""), execute(""), sync()
        ])),
        2 => copy(),
    ]
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        40 => message().prop_map(Move::Send),
        1 => Just(Move::Deny),
        2 => Just(Move::TimeOut),
    ];
    prop::collection::vec(step, 1..40)
}

/// How many messages the server takes, and how many of its answers arrive, before each move.
fn pace() -> impl Strategy<Value = Vec<(usize, usize)>> {
    let some = prop_oneof![2 => Just(0_usize), 2 => 0..4_usize, 1 => Just(1000)];
    prop::collection::vec((some.clone(), some), 1..20)
}

struct Run {
    harness: Harness,
    server: Server,
    wire: Vec<u8>,
}

impl Run {
    fn exchange(&mut self, messages: usize, answers: usize) {
        let sent = self.harness.take_upstream();
        self.server.receive(&sent);
        for _ in 0..messages {
            if !self.server.step() {
                break;
            }
        }
        self.wire.append(&mut self.server.output);
        for _ in 0..answers {
            if self.wire.is_empty() {
                break;
            }
            let size = 1 + u32::from_be_bytes(self.wire[1..5].try_into().unwrap()) as usize;
            let answer: Vec<u8> = self.wire.drain(..size).collect();
            self.harness.upstream(&answer);
        }
    }
}

fn play(moves: &[Move], pace: &[(usize, usize)]) -> Run {
    let harness = Harness::ready(Policy::denying(&[Verb::Define]));
    let mut run = Run {
        harness,
        server: Server::default(),
        wire: Vec::new(),
    };
    for (index, next) in moves.iter().enumerate() {
        match next {
            Move::Send(bytes) => _ = run.harness.client(bytes),
            Move::Deny => run.harness.policy.deny(Verb::Delete),
            Move::TimeOut => run.server.time_out(),
        }
        let (messages, answers) = pace[index % pace.len()];
        run.exchange(messages, answers);
    }
    // What waits for answers goes upstream when they are there, and may have them told sooner than the
    // client asked for them. So the client asks for all in the end.
    run.harness.client(&flush());
    loop {
        run.exchange(usize::MAX, usize::MAX);
        if run.harness.outcome.to_upstream.is_empty() {
            return run;
        }
    }
}

/// The same client without a gateway, on a server that itself refuses what the policy does.
fn direct(moves: &[Move]) -> Server {
    let mut server = Server::default();
    server.refuses_drop = true;
    for next in moves {
        if let Move::Send(bytes) = next {
            server.receive(bytes);
        }
    }
    server.receive(&flush());
    while server.step() {}
    server
}

/// Does the client see the same without a gateway, whenever what arrives? Whether a Sync counts that
/// is sent before a copy fails at once depends on who is quicker.
fn is_comparable(next: &Move) -> bool {
    let is_in = |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    match next {
        Move::Send(bytes) => !is_in(bytes, b"COPY view"),
        Move::Deny | Move::TimeOut => false,
    }
}

/// As many rows as the statement returns or deletes: they are not those of another.
fn counts_its_own(record: &Record, answer: &Answer) -> bool {
    let expected = match record.statement.as_str() {
        "SELECT 'one'" | "SELECT 'two'" => 1,
        "DELETE FROM t" => 2,
        _ => return true,
    };
    let runs = !record.attributes.contains("parse") && !record.attributes.contains("bound");
    !runs || answer.error.is_some() || answer.rows == Some(expected)
}

/// The text that the record speaks of was run: same text, and the verb is that of what ran.
fn tells(record: &Record, ran: &(String, String)) -> bool {
    let (text, inner) = ran;
    let deletes = inner.starts_with("DELETE");
    !record.denied
        && !record.attributes.contains("parse")
        && record.statement == *text
        && (!deletes || record.verb == Verb::Delete)
}

fn check(moves: &[Move], pace: &[(usize, usize)]) {
    let Run {
        mut harness,
        server,
        ..
    } = play(moves, pace);
    let (outcome, records) = (harness.outcome.clone(), harness.records());
    assert!(
        matches!(outcome.error, None | Some(ProtocolError::Client(_))),
        "the server is truthful: {:?}",
        outcome.error
    );
    for text in &server.seen {
        assert!(!text.contains("DROP"), "the server saw {text}");
    }
    let mut rest = records.iter();
    for ran in &server.ran {
        assert!(
            rest.any(|record| tells(record, ran)),
            "{ran:?} ran, and no record tells so in order\n{records:#?}\n{:#?}",
            server.ran
        );
    }
    for (seq, answer) in &outcome.answers {
        let mut of = records.iter().filter(|record| record.seq == *seq);
        assert!(
            of.all(|record| counts_its_own(record, answer)),
            "{answer:?} is not of {seq}: {records:#?}"
        );
    }
    if outcome.error.is_some() {
        return;
    }
    let plain = records
        .iter()
        .all(|record| !record.denied || record.statement.contains("DROP"));
    // What could run the unnamed portal is refused, and is nothing to put on record.
    let refused = kinds(&outcome.to_client).matches("E42501").count();
    let denied = records.iter().filter(|record| record.denied).count();
    if refused <= denied && plain && moves.iter().all(is_comparable) {
        let alone = direct(moves);
        assert_eq!(
            kinds(&outcome.to_client),
            kinds(&alone.output),
            "the client sees a difference"
        );
        assert_eq!(server.transaction, alone.transaction);
    }
    harness.finish(Side::Client).finish(Side::Upstream);
    if server.is_ready() {
        assert_eq!(
            harness.outcome.error, None,
            "a server that answered all may leave"
        );
    }
    let cleared = records.iter().filter(|record| !record.denied).count();
    let answered = harness.outcome.answers.len();
    assert_eq!(answered, cleared, "each operation is answered, in the end");
}

proptest! {
    // More with PROPTEST_CASES.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(1000)))]

    #[test]
    fn records_tell_what_the_server_did(moves in moves(), pace in pace()) {
        check(&moves, &pace);
    }
}

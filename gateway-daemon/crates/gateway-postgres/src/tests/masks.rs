//! Masks in a session: what is asked besides, and what becomes of what comes back.
use super::harness::{Harness, Policy};
use super::messages::{
    all, bare, bind, complete, copy_data, describe, error, error_field, execute, notice,
    parameter_description, parse, query, raw, ready, startup, sync,
};
use crate::Limits;
use gateway_core::Masks;
use gateway_core::mask::{Detector, Mask, Predicates, Sensitive};
use gateway_testkit::{FakeMasks, approver};
use std::sync::Arc;

/// Covers one column, and refuses questions about it.
pub(super) const EMAIL_MASKED: FakeMasks = FakeMasks {
    covered: &["public.users.email"],
    watched: &[],
};

/// The kinds of the messages in a stream.
pub(super) fn letters(mut bytes: &[u8]) -> String {
    let mut letters = String::new();
    while let Some((kind, rest)) = bytes.split_first() {
        letters.push(char::from(*kind));
        let size = u32::from_be_bytes(*rest.first_chunk().unwrap()) as usize;
        bytes = &rest[size..];
    }
    letters
}

fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend(*value);
            }
        }
    }
    raw(b'D', &body)
}

pub(super) fn texts(values: &[&str]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|value| Some(value.as_bytes())).collect();
    row(&values)
}

/// Columns of a table, by table, number and type.
pub(super) fn described(columns: &[(u32, i16, u32)]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (table, number, type_oid) in columns {
        body.extend(b"c\0");
        body.extend(table.to_be_bytes());
        body.extend(number.to_be_bytes());
        body.extend(type_oid.to_be_bytes());
        body.extend([0xff, 0xff]);
        body.extend((-1_i32).to_be_bytes());
        body.extend([0, 0]);
    }
    raw(b'T', &body)
}

/// The answers to what is asked about the catalogue.
pub(super) fn catalogue() -> Vec<u8> {
    catalogue_in('I')
}

/// The same, in a transaction or not.
pub(super) fn catalogue_in(transaction: char) -> Vec<u8> {
    catalogue_isolated(transaction, "read committed")
}

/// The same, at an isolation level.
pub(super) fn catalogue_isolated(transaction: char, level: &str) -> Vec<u8> {
    let column = |number: &str, name: &str| {
        texts(&[
            "20000", "public", "users", "r", number, name, "25", "f", "", "f",
        ])
    };
    let answer = |rows: &[Vec<u8>]| {
        all(&[
            bare('3'),
            bare('3'),
            bare('1'),
            bare('2'),
            all(rows),
            complete("SELECT 1"),
            bare('3'),
            bare('3'),
        ])
    };
    all(&[
        answer(&[column("1", "id"), column("2", "email")]),
        answer(&[]),
        answer(&[]),
        answer(&[]),
        answer(&[]),
        answer(&[]),
        answer(&[texts(&[level])]),
        answer(&[]),
        answer(&[]),
        answer(&[]),
        answer(&[]),
        ready(transaction),
    ])
}

fn masked() -> Harness {
    let policy = Policy::allowing();
    policy.mask(Arc::new(EMAIL_MASKED));
    Harness::ready(policy)
}

/// The catalogue has been read, and nothing of that is in the streams any more.
pub(super) fn loaded() -> Harness {
    let mut harness = masked();
    harness.client(&query("select 1"));
    harness.upstream(&catalogue());
    harness.upstream(&all(&[
        described(&[(0, 0, 23)]),
        texts(&["1"]),
        complete("SELECT 1"),
        ready('I'),
    ]));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(letters(&harness.outcome.to_client), "TDCZ");
    harness.forget();
    harness
}

/// What is asked about the catalogue.
pub(super) const QUESTIONS: &str =
    "CCPBECCCCPBECCCCPBECCCCPBECCCCPBECCCCPBECCCCPBECCCCPBECCCCPBECCCCPBECCCCPBECCS";
const EMAIL: (u32, i16, u32) = (20_000, 2, 25);
pub(super) const ID: (u32, i16, u32) = (20_000, 1, 25);

pub(super) fn answer(rows: &[Vec<u8>]) -> Vec<u8> {
    all(&[all(rows), complete("SELECT 1"), ready('I')])
}

#[test]
fn the_catalogue_is_asked_for_before_the_first_statement_goes() {
    let mut harness = masked();
    harness.client(&query("select email from users"));
    assert!(harness.outcome.paused);
    assert_eq!(letters(&harness.take_upstream()), QUESTIONS);
    assert_eq!(harness.outcome.to_client, b"");
    harness.upstream(&catalogue());
    assert!(!harness.outcome.paused);
    assert_eq!(
        harness.outcome.to_client, b"",
        "that was not for the client"
    );
    assert_eq!(letters(&harness.take_upstream()), "Q");
    let rows = [described(&[EMAIL]), texts(&["alice@example.com"])];
    harness.upstream(&answer(&rows));
    let expected = answer(&[described(&[EMAIL]), texts(&["[masked]"])]);
    assert_eq!(harness.outcome.to_client, expected);
    let (_, answered) = harness.outcome.answers.pop().unwrap();
    assert_eq!(answered.masked, [("public.users.email".into(), 1)]);
}

#[test]
fn any_split_gives_the_same() {
    let sent = all(&[
        query("select id, email from users"),
        parse("", "select email from users"),
        bind("", ""),
        execute(""),
        sync(),
    ]);
    let back = |harness: &mut Harness, feed: &dyn Fn(&mut Harness, &[u8])| {
        feed(harness, &catalogue());
        let rows = [
            described(&[ID, EMAIL]),
            row(&[Some(b"1"), None]),
            texts(&["2", "x"]),
        ];
        feed(harness, &answer(&rows));
        feed(
            harness,
            &all(&[
                bare('1'),
                bare('2'),
                described(&[EMAIL]),
                texts(&["y"]),
                complete("SELECT 1"),
                ready('I'),
            ]),
        );
    };
    let mut whole = masked();
    whole.client(&sent);
    back(&mut whole, &|harness, bytes| _ = harness.upstream(bytes));
    let mut split = masked();
    for byte in &sent {
        split.client(std::slice::from_ref(byte));
    }
    back(&mut split, &|harness, bytes| {
        for byte in bytes {
            harness.upstream(std::slice::from_ref(byte));
        }
    });
    assert_eq!(whole.outcome.error, None);
    assert_eq!(whole.outcome, split.outcome);
    assert_eq!(letters(&whole.outcome.to_client), "TDDCZ12DCZ");
    assert!(
        !whole
            .outcome
            .to_client
            .windows(2)
            .any(|pair| pair == b"\x01y")
    );
}

#[test]
fn an_execution_is_described_by_the_gateway() {
    let mut harness = loaded();
    harness.client(&all(&[
        parse("s", "select email from users"),
        bind("p", "s"),
        execute("p"),
        sync(),
    ]));
    assert_eq!(letters(&harness.take_upstream()), "PBDES");
    harness.upstream(&all(&[
        bare('1'),
        bare('2'),
        described(&[EMAIL]),
        texts(&["alice"]),
        complete("SELECT 1"),
        ready('I'),
    ]));
    let expected = all(&[
        bare('1'),
        bare('2'),
        texts(&["[masked]"]),
        complete("SELECT 1"),
        ready('I'),
    ]);
    assert_eq!(harness.outcome.to_client, expected);
    harness.forget();
    // Nothing is asked about what touches nothing.
    harness.client(&all(&[
        parse("s2", "select 1"),
        bind("p", "s2"),
        execute("p"),
        sync(),
    ]));
    assert_eq!(letters(&harness.take_upstream()), "PBES");
}

#[test]
fn a_client_that_asks_itself_gets_its_own_answer() {
    let mut harness = loaded();
    harness.client(&all(&[
        parse("s", "select email from users"),
        describe('S', "s"),
        bind("", "s"),
        describe('P', ""),
        execute(""),
        sync(),
    ]));
    assert_eq!(letters(&harness.take_upstream()), "PDBDDES");
    harness.upstream(&all(&[
        bare('1'),
        parameter_description(&[]),
        described(&[EMAIL]),
        bare('2'),
        described(&[EMAIL]),
        described(&[EMAIL]),
        texts(&["alice"]),
        complete("SELECT 1"),
        ready('I'),
    ]));
    assert_eq!(letters(&harness.outcome.to_client), "1tT2TDCZ");
}

#[test]
fn what_fails_for_the_gateway_fails_for_the_client() {
    let mut harness = loaded();
    harness.client(&all(&[
        parse("s", "select email from users"),
        bind("p", "s"),
        execute("p"),
        sync(),
    ]));
    harness.upstream(&all(&[
        bare('1'),
        bare('2'),
        error("34000", "portal \"p\" does not exist"),
        ready('I'),
    ]));
    assert_eq!(letters(&harness.outcome.to_client), "12EZ");
    let failed = harness.outcome.answers.iter().find(|(_, answer)| {
        let words = answer.error.as_deref();
        words.is_some_and(|words| words.starts_with("34000"))
    });
    assert!(failed.is_some(), "{:?}", harness.outcome.answers);
}

#[test]
fn a_catalogue_that_cannot_be_read_covers_everything() {
    let mut harness = masked();
    harness.client(&query("select id from users"));
    harness.upstream(&all(&[
        bare('3'),
        error("42501", "permission denied for table pg_class"),
        ready('I'),
    ]));
    assert_eq!(harness.outcome.to_client, b"");
    harness.upstream(&answer(&[described(&[ID]), texts(&["7"])]));
    let expected = answer(&[described(&[ID]), texts(&["[masked]"])]);
    assert_eq!(harness.outcome.to_client, expected);
}

#[test]
fn rows_that_nobody_described_are_covered() {
    let mut harness = loaded();
    harness.client(&query("select email from users"));
    harness.upstream(&answer(&[texts(&["alice", "bob"])]));
    let expected = answer(&[row(&[None, None])]);
    assert_eq!(harness.outcome.to_client, expected);
    harness.forget();
    harness.client(&query("select email from users"));
    harness.upstream(&answer(&[
        described(&[ID]),
        texts(&["1", "more than was said"]),
    ]));
    assert!(harness.outcome.error.is_some(), "{:?}", harness.outcome);
}

#[test]
fn errors_and_notices_do_not_quote_values() {
    let mut harness = loaded();
    harness.client(&query("select id, email from users"));
    harness.upstream(&all(&[
        notice("it is alice"),
        error("22P02", "invalid input syntax: \"alice\""),
        ready('I'),
    ]));
    let seen = String::from_utf8_lossy(&harness.outcome.to_client).into_owned();
    assert!(!seen.contains("alice"), "{seen}");
    assert_eq!(letters(&harness.outcome.to_client), "NEZ");
    assert_eq!(
        error_field(&harness.outcome.to_client, 'C').as_deref(),
        Some("22P02")
    );
    let (_, answered) = harness.outcome.answers.pop().unwrap();
    assert!(!answered.error.unwrap().contains("alice"));
}

#[test]
fn a_copy_is_masked_however_it_is_cut() {
    let mut harness = loaded();
    harness.client(&query("copy users to stdout"));
    let copied = |data: &[u8]| {
        all(&[
            raw(b'H', &[0, 0, 2, 0, 0, 0, 0]),
            data.iter()
                .flat_map(|byte| copy_data(std::slice::from_ref(byte)))
                .collect(),
            bare('c'),
            complete("COPY 2"),
            ready('I'),
        ])
    };
    harness.upstream(&copied(b"1\ta\\tlice\n2\t\\N\n"));
    assert_eq!(harness.outcome.error, None);
    let seen = &harness.outcome.to_client;
    assert!(seen.windows(11).any(|window| window == b"1\t[masked]\n"));
    assert!(seen.windows(5).any(|window| window == b"2\t\\N\n"));
    assert!(!seen.windows(4).any(|window| window == b"lice"));
}

#[test]
fn an_answer_that_cannot_be_looked_into_ends() {
    let policy = Policy::allowing();
    policy.mask(Arc::new(EMAIL_MASKED));
    let limits = Limits {
        masked_row_bytes: 64,
        ..Limits::default()
    };
    let mut harness = Harness::ready_with(policy, limits);
    harness.client(&query("select email from users"));
    harness.upstream(&catalogue());
    let long = "x".repeat(100);
    harness.upstream(&all(&[
        described(&[EMAIL]),
        texts(&["short"]),
        texts(&[&long]),
        texts(&["short"]),
        complete("SELECT 3"),
        ready('I'),
    ]));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(letters(&harness.outcome.to_client), "TDEZ");
    assert_eq!(
        error_field(&harness.outcome.to_client, 'C').as_deref(),
        Some("54000")
    );
    harness.forget();
    harness.client(&query("select email from users"));
    harness.upstream(&answer(&[described(&[EMAIL]), texts(&["short"])]));
    assert_eq!(letters(&harness.outcome.to_client), "TDCZ");
}

/// As [`EMAIL_MASKED`], but that a long row is cut.
#[derive(Debug)]
struct Cutting;

impl Masks for Cutting {
    fn id(&self) -> u64 {
        2
    }

    fn field(&self, name: &str) -> Option<Sensitive> {
        EMAIL_MASKED.field(name)
    }

    fn detectors(&self) -> &[(Detector, Sensitive)] {
        &[]
    }

    fn cover(&self) -> bool {
        true
    }

    fn cuts_long_rows(&self) -> bool {
        true
    }
}

#[test]
fn a_long_row_is_cut_where_the_policy_says_so() {
    let long = "x".repeat(100);
    let rows = answer(&[
        described(&[ID, EMAIL]),
        texts(&["1", "short"]),
        texts(&["2", &long]),
        texts(&["3", "short"]),
    ]);
    let expected = answer(&[
        described(&[ID, EMAIL]),
        texts(&["1", "[masked]"]),
        texts(&["[masked]", "[masked]"]),
        texts(&["3", "[masked]"]),
    ]);
    for piece in [1, 50, usize::MAX] {
        let policy = Policy::allowing();
        policy.mask(Arc::new(Cutting));
        let limits = Limits {
            masked_row_bytes: 64,
            ..Limits::default()
        };
        let mut harness = Harness::ready_with(policy, limits);
        harness.client(&query("select id, email from users"));
        harness.upstream(&catalogue());
        for piece in rows.chunks(piece) {
            harness.upstream(piece);
        }
        assert_eq!(harness.outcome.error, None);
        assert_eq!(harness.outcome.to_client, expected);
        let (_, answered) = harness.outcome.answers.pop().unwrap();
        let counts = [("public.users.email".into(), 3), ("row:cut".into(), 1)];
        assert_eq!(answered.masked, counts);
    }
}

#[test]
fn questions_and_code_are_refused() {
    let mut harness = loaded();
    for sql in [
        "select id from users where email = 'a'",
        "update users set id = email",
        "do 'begin end'",
        "update users set email = '[masked]'",
        "execute nothing",
    ] {
        harness.client(&query(sql));
        assert_eq!(letters(&harness.take_upstream()), "Q", "{sql}");
        harness.upstream(&all(&[error("42601", "syntax error"), ready('I')]));
        assert_eq!(
            letters(&std::mem::take(&mut harness.outcome.to_client)),
            "EZ",
            "{sql}"
        );
        assert!(harness.records().last().unwrap().denied, "{sql}");
    }
    assert_eq!(
        harness.statements(),
        [
            "!select id from users where email = '[masked]'",
            "!update users set id = email",
            "!do 'begin end'",
            "!update users set email = '[masked]'",
            "!execute nothing",
        ]
    );
}

#[test]
fn what_would_be_refused_is_not_even_parsed() {
    // A Bind has it planned, and nobody is asked about that.
    let mut harness = loaded();
    for sql in [
        "select 1/(ascii(substr(imm(1), 1, 1)) - 107)",
        "select id from users where email like 'k4n4ry-2\\'",
        "insert into users (id) select email from users",
    ] {
        harness.client(&all(&[parse("", sql), bind("", ""), sync()]));
        let sent = harness.take_upstream();
        assert!(!sent.windows(7).any(|window| window == b"ascii(s"), "{sql}");
        assert!(harness.records().last().unwrap().denied, "{sql}");
        harness.upstream(&all(&[error("42601", "syntax error"), ready('I')]));
        assert_eq!(harness.outcome.error, None, "{sql}");
    }
}

/// As [`EMAIL_MASKED`], but that a human is asked about questions.
#[derive(Debug)]
struct Holding;

impl Masks for Holding {
    fn id(&self) -> u64 {
        3
    }

    fn field(&self, name: &str) -> Option<Sensitive> {
        let found = EMAIL_MASKED.field(name)?;
        let mask = Mask {
            predicates: Predicates::Hold(approver::terms()),
            ..Mask::clone(&found.mask)
        };
        Some(Sensitive {
            mask: Arc::new(mask),
            ..found
        })
    }

    fn detectors(&self) -> &[(Detector, Sensitive)] {
        &[]
    }

    fn cover(&self) -> bool {
        true
    }
}

#[test]
fn what_calls_something_is_held_before_it_is_planned() {
    for (sql, sent) in [
        ("select 1/length(imm(1)) from users", ""),
        ("select id from users where email = $1", "P"),
    ] {
        let policy = Policy::allowing();
        policy.mask(Arc::new(Holding));
        let mut harness = Harness::ready(policy);
        harness.client(&all(&[parse("", sql), bind("", "")]));
        assert_eq!(letters(&harness.take_upstream()), QUESTIONS);
        harness.upstream(&catalogue());
        assert_eq!(letters(&harness.take_upstream()), sent, "{sql}");
        harness.client(&all(&[execute(""), sync()]));
        assert_eq!(letters(&harness.take_upstream()), "", "{sql}");
    }
}

#[test]
fn what_loads_code_does_not_begin_a_session() {
    for (parameter, value, is_refused) in [
        ("options", "-c session_preload_libraries=/tmp/evil", true),
        ("options", "--local-preload-libraries=evil", true),
        ("options", "-O", true),
        ("session_preload_libraries", "evil", true),
        ("Dynamic_Library_Path", "/tmp", true),
        ("options", "-c statement_timeout=5 -c geqo=off", false),
        ("search_path", "public", false),
    ] {
        let policy = Policy::allowing();
        policy.mask(Arc::new(EMAIL_MASKED));
        let mut harness = Harness::new(policy);
        harness.client(&startup(0, &[("user", "ci"), (parameter, value)]));
        assert_eq!(harness.outcome.closed, is_refused, "{parameter} {value}");
        assert_eq!(harness.outcome.to_upstream.is_empty(), is_refused);
        // Without masks it is as the verbs say.
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&startup(0, &[("user", "ci"), (parameter, value)]));
        assert!(!harness.outcome.closed, "{parameter} {value}");
    }
}

#[test]
fn what_raises_an_error_may_say_it_in_any_field() {
    let raised = |code: &str| {
        let body = format!(
            "SERROR\0C{code}\0Mit is alice\0salice\0talice\0calice\0dalice\0nalice\0Rexec_stmt_raise\0\0"
        );
        all(&[raw(b'E', body.as_bytes()), ready('I')])
    };
    let mut harness = loaded();
    for (sql, code, seen) in [
        ("select f(1) from users", "ALICE", "P0001"),
        ("select f(1) from users", "23505", "23505"),
    ] {
        harness.forget();
        harness.client(&query(sql));
        harness.upstream(&raised(code));
        let text = String::from_utf8_lossy(&harness.outcome.to_client).into_owned();
        assert!(!text.to_lowercase().contains("alice"), "{text}");
        let said = error_field(&harness.outcome.to_client, 'C');
        assert_eq!(said.as_deref(), Some(seen));
    }
    // Deferred triggers run as late as at the end.
    harness.forget();
    harness.client(&query("commit"));
    harness.upstream(&raised("23505"));
    let text = String::from_utf8_lossy(&harness.outcome.to_client).into_owned();
    assert!(!text.contains("alice"), "{text}");
    // Names are names where nothing is called.
    let mut harness = loaded();
    harness.client(&query("insert into users (email) values ('x')"));
    harness.upstream(&raised("23505"));
    assert_eq!(
        error_field(&harness.outcome.to_client, 'n').as_deref(),
        Some("alice")
    );
}

#[test]
fn how_long_something_was_is_not_told() {
    let mut harness = loaded();
    harness.client(&query("update users set name = 'x'"));
    let words = error("54000", "row is too big: size 8424");
    harness.upstream(&all(&[words, ready('I')]));
    let text = String::from_utf8_lossy(&harness.outcome.to_client).into_owned();
    assert!(!text.contains("8424"), "{text}");
}

#[test]
fn the_literals_of_any_statement_are_not_on_record() {
    let mut harness = loaded();
    for (sql, written) in [
        (
            "create view w as select id, email = $$LIT$$ as a from users /* LIT */",
            "create view w as select id, email = '[masked]' as a from users  ",
        ),
        (
            "select id, email from users where id = E'LIT' -- LIT",
            "select id, email from users where id = '[masked]'  ",
        ),
        (
            "select id, email from users where id = U&'LIT' or id = x'1F'",
            "select id, email from users where id = '[masked]' or id = '[masked]'",
        ),
        (
            "select id, email from users -- LIT\nwhere id = 5",
            "select id, email from users  \nwhere id = '[masked]'",
        ),
        (
            "select id, email from users where name like 'L\\_IT'",
            "select id, email from users where name like '[masked]'",
        ),
        (
            "select id, email from users where id = 'LIT",
            "[masked]: 43 bytes",
        ),
    ] {
        harness.forget();
        harness.client(&query(sql));
        let statement = harness.records().last().unwrap().statement.clone();
        assert_eq!(statement, written, "{sql}");
        harness.upstream(&all(&[error("42601", "x"), ready('I')]));
    }
}

#[test]
fn what_the_session_has_changed_is_not_known_any_more() {
    let mut harness = loaded();
    harness.client(&all(&[
        query("create table t (a int)"),
        query("select id from users"),
    ]));
    assert_eq!(letters(&harness.take_upstream()), "QQ");
    harness.upstream(&all(&[complete("CREATE TABLE"), ready('I')]));
    harness.upstream(&answer(&[described(&[ID]), texts(&["7"])]));
    let seen = std::mem::take(&mut harness.outcome.to_client);
    assert!(
        seen.windows(8).any(|window| window == b"[masked]"),
        "nobody could ask in between"
    );
    harness.client(&query("select id from users"));
    assert_eq!(letters(&harness.take_upstream()), QUESTIONS);
    harness.upstream(&catalogue());
    assert_eq!(letters(&harness.take_upstream()), "Q");
    harness.upstream(&answer(&[described(&[ID]), texts(&["7"])]));
    assert_eq!(
        harness.outcome.to_client,
        answer(&[described(&[ID]), texts(&["7"])])
    );
}

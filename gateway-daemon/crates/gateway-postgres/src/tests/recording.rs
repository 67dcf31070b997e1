//! Answers that are kept: what of them, as what, and when.
use super::harness::{Harness, Outcome, Policy};
use super::masks::{catalogue, described};
use super::messages::{
    all, bare, bind, complete, copy_data, copy_done, copy_response, data_row, describe, error,
    execute, notice, parse, query, raw, ready, sync,
};
use gateway_core::mask::{Detector, Mask, Predicates, Sensitive, Treatment};
use gateway_core::{AnswerPart, Masks, Verb};
use gateway_protocol::Side;
use proptest::prelude::*;
use std::sync::Arc;

const INT4: u32 = 23;
const TEXT: u32 = 25;
const BYTEA: u32 = 17;
const KEPT: u32 = 1 << 20;

fn keeping(bytes: u32) -> Harness {
    let policy = Policy::allowing();
    policy.keep_answers(bytes);
    Harness::ready(policy)
}

/// Columns with their types, in binary or as text.
fn columns(list: &[(&str, u32)], binary: bool) -> Vec<u8> {
    let mut body = (list.len() as u16).to_be_bytes().to_vec();
    for (name, oid) in list {
        body.extend(name.as_bytes());
        body.extend([0; 7]);
        body.extend(oid.to_be_bytes());
        body.extend([0; 6]);
        body.extend([0, u8::from(binary)]);
    }
    raw(b'T', &body)
}

fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        match value {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend((value.len() as u32).to_be_bytes());
                body.extend(*value);
            }
        }
    }
    raw(b'D', &body)
}

/// `1: n id, name | 1, NULL | "text" | cut 1 row 7 bytes`, for each operation.
fn shown(outcome: &Outcome) -> Vec<String> {
    let mut lines: Vec<(u32, Vec<String>)> = Vec::new();
    for (seq, part) in &outcome.kept {
        if lines.last().is_none_or(|(last, _)| last != seq) {
            lines.push((*seq, Vec::new()));
        }
        let (_, line) = lines.last_mut().unwrap();
        match part {
            AnswerPart::Columns(names) => line.push(format!("({})", names.join(", "))),
            AnswerPart::Rows(rows) => line.extend(rows.iter().map(|row| {
                let values = row.iter();
                let values = values.map(|value| value.as_deref().unwrap_or("NULL"));
                values.collect::<Vec<_>>().join(", ")
            })),
            AnswerPart::Text(text) => line.push(format!("{text:?}")),
            AnswerPart::Cut { rows, bytes } => line.push(format!("cut {rows} rows {bytes} bytes")),
        }
    }
    lines
        .into_iter()
        .map(|(_, line)| line.join(" | "))
        .collect()
}

fn one(harness: &mut Harness, sql: &str, answer: &[Vec<u8>]) -> Vec<String> {
    harness.forget();
    harness.client(&query(sql));
    harness.upstream(&all(&[all(answer), ready('I')]));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(harness.outcome.to_client, all(&[all(answer), ready('I')]));
    shown(&harness.outcome)
}

#[test]
fn rows_of_simple_queries_are_kept_with_the_names_of_their_columns() {
    let mut harness = keeping(KEPT);
    let people = columns(&[("id", INT4), ("name", TEXT)], false);
    let answer = [
        people.clone(),
        row(&[Some(b"1"), Some("J\u{fc}rgen".as_bytes())]),
        row(&[Some(b"2"), None]),
        complete("SELECT 2"),
    ];
    let kept = one(&mut harness, "SELECT id, name FROM people", &answer);
    assert_eq!(kept, ["(id, name) | 1, J\u{fc}rgen | 2, NULL"]);
    // A result without rows has columns, one that failed before its first row has not.
    let kept = one(
        &mut harness,
        "SELECT id, name FROM people; UPDATE t SET a = 1; SELECT 2",
        &[
            people.clone(),
            complete("SELECT 0"),
            complete("UPDATE 3"),
            columns(&[("n", INT4)], false),
            row(&[Some(b"2")]),
            notice("hm"),
            complete("SELECT 1"),
        ],
    );
    assert_eq!(kept, ["(id, name) | (n) | 2"]);
    let failed = [people.clone(), error("22012", "division by zero")];
    let kept = one(&mut harness, "SELECT 1/0", &failed);
    assert_eq!(kept, [""; 0]);
    let broken = [
        people,
        row(&[Some(b"1"), None]),
        error("22012", "division by zero"),
    ];
    let kept = one(&mut harness, "SELECT 1/a FROM t", &broken);
    assert_eq!(kept, ["(id, name) | 1, NULL"]);
    assert_eq!(one(&mut harness, "BEGIN", &[complete("BEGIN")]), [""; 0]);
}

#[test]
fn nothing_is_asked_or_kept_where_the_policy_does_not_want_it() {
    let client = all(&[parse("", "SELECT 1"), bind("", ""), execute(""), sync()]);
    for keep in [None, Some(0)] {
        let policy = Policy::allowing();
        if let Some(bytes) = keep {
            policy.keep_answers(bytes);
        }
        let mut harness = Harness::ready(policy);
        harness.client(&client);
        assert_eq!(harness.take_upstream(), client);
    }
}

/// The server says what is in a portal, since the client need not ask.
fn extended(harness: &mut Harness, described: &[u8], rows: &[Vec<u8>]) -> Vec<String> {
    let client = all(&[
        parse("", "SELECT a FROM t"),
        bind("", ""),
        execute(""),
        sync(),
    ]);
    harness.client(&client);
    let expected = all(&[
        parse("", "SELECT a FROM t"),
        bind("", ""),
        describe('P', ""),
        execute(""),
        sync(),
    ]);
    assert_eq!(harness.take_upstream(), expected);
    let answer = [
        bare('1'),
        bare('2'),
        described.to_vec(),
        all(rows),
        complete("SELECT 1"),
        ready('I'),
    ];
    harness.upstream(&all(&answer));
    assert_eq!(harness.outcome.error, None);
    let for_client = [&answer[..2], &answer[3..]].concat();
    assert_eq!(harness.outcome.to_client, all(&for_client));
    shown(&harness.outcome)
}

#[test]
fn binary_values_of_the_extended_protocol_are_kept_as_text() {
    let mut harness = keeping(KEPT);
    let list = [("id", INT4), ("name", TEXT), ("raw", BYTEA)];
    let rows = [row(&[
        Some(&7_i32.to_be_bytes()),
        Some(b"x"),
        Some(&[1, 255]),
    ])];
    let kept = extended(&mut harness, &columns(&list, true), &rows);
    assert_eq!(kept, ["(id, name, raw) | 7, x, \\x01ff"]);
}

#[test]
fn what_returns_nothing_keeps_nothing_and_does_not_take_from_the_next() {
    let mut harness = keeping(KEPT);
    harness.client(&all(&[
        parse("a", "UPDATE t SET a = 1"),
        bind("", "a"),
        execute(""),
        parse("b", "SELECT a FROM t"),
        bind("", "b"),
        execute(""),
        execute(""),
        sync(),
    ]));
    let described = columns(&[("a", TEXT)], false);
    harness.upstream(&all(&[
        bare('1'),
        bare('2'),
        bare('n'),
        complete("UPDATE 1"),
    ]));
    harness.upstream(&all(&[
        bare('1'),
        bare('2'),
        described.clone(),
        data_row(b"1"),
    ]));
    harness.upstream(&all(&[
        bare('s'),
        described,
        data_row(b"2"),
        complete("SELECT 1"),
    ]));
    harness.upstream(&ready('I'));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(shown(&harness.outcome), ["(a) | 1", "(a) | 2"]);
    let numbers = harness.outcome.kept.iter().map(|(seq, _)| *seq);
    assert_eq!(numbers.collect::<Vec<_>>(), [5, 5, 6, 6]);
}

#[test]
fn an_execute_whose_portal_is_not_there_fails_as_without_the_gateway() {
    let mut harness = keeping(KEPT);
    harness.client(&all(&[execute("gone"), sync()]));
    let answer = error("34000", "portal \"gone\" does not exist");
    harness.upstream(&answer).upstream(&ready('I'));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(harness.outcome.to_client, all(&[answer, ready('I')]));
    assert_eq!(harness.outcome.kept, []);
}

#[test]
fn what_is_beyond_the_size_is_counted_and_passes_in_pieces() {
    let mut harness = keeping(1024);
    harness.client(&query("SELECT a FROM t"));
    harness.upstream(&columns(&[("a", TEXT)], false));
    harness.upstream(&data_row(&[b'x'; 500]));
    harness.upstream(&all(&[data_row(&[b'y'; 600]), data_row(b"z")]));
    harness.outcome.to_client.clear();
    let long = data_row(&[b'w'; 5000]);
    harness.upstream(&long[..100]);
    assert_eq!(harness.outcome.to_client, long[..100]);
    harness.upstream(&all(&[
        long[100..].to_vec(),
        complete("SELECT 4"),
        ready('I'),
    ]));
    let kept = shown(&harness.outcome);
    let x = "x".repeat(500);
    assert_eq!(kept, [format!("(a) | {x} | cut 3 rows 5601 bytes")]);
    let (_, answer) = &harness.outcome.answers[0];
    assert_eq!(answer.rows, Some(4));
}

#[test]
fn a_long_row_is_not_held_for_the_record() {
    let mut harness = keeping(KEPT);
    harness.client(&query("SELECT a, b FROM t"));
    harness.upstream(&columns(&[("a", TEXT), ("b", TEXT)], false));
    harness.outcome.to_client.clear();
    let long = row(&[Some(b"1"), Some(&[b'x'; 100_000])]);
    harness.upstream(&long[..50_000]);
    assert_eq!(harness.outcome.to_client.len(), 50_000);
    harness.upstream(&long[50_000..]);
    // One that is not that long waits until it is whole.
    harness.outcome.to_client.clear();
    let short = row(&[Some(b"2"), None]);
    harness.upstream(&short[..9]);
    assert!(harness.outcome.to_client.is_empty());
    harness.upstream(&all(&[
        short[9..].to_vec(),
        complete("SELECT 2"),
        ready('I'),
    ]));
    assert_eq!(
        shown(&harness.outcome),
        ["(a, b) | \u{2026} | 2, NULL | cut 0 rows 100001 bytes"]
    );
}

#[test]
fn parts_come_with_the_turn_in_which_the_client_gets_them() {
    let mut harness = keeping(KEPT);
    harness.client(&query("SELECT a FROM t"));
    harness.upstream(&all(&[columns(&[("a", TEXT)], false), data_row(b"1")]));
    assert_eq!(shown(&harness.outcome), ["(a) | 1"]);
    harness.upstream(&data_row(b"2"));
    assert_eq!(shown(&harness.outcome), ["(a) | 1 | 2"]);
    // The server goes away.
    harness.upstream(&data_row(b"3"));
    harness.finish(Side::Upstream);
    assert_eq!(shown(&harness.outcome), ["(a) | 1 | 2 | 3"]);
}

fn copied(kind: u8, columns: u16) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend(columns.to_be_bytes());
    body.extend(vec![0; usize::from(columns) * 2]);
    raw(b'H', &body)
}

#[test]
fn copied_data_is_kept_as_text_and_of_binary_data_the_size() {
    let mut harness = keeping(KEPT);
    let rows = [copy_data(b"1\tx\n"), copy_data(b"2\t\\N\n")];
    let answer = [copied(0, 2), all(&rows), bare('c'), complete("COPY 2")];
    let kept = one(&mut harness, "COPY t TO STDOUT", &answer);
    assert_eq!(kept, ["\"1\\tx\\n2\\t\\\\N\\n\""]);
    let answer = [
        copied(1, 2),
        copy_data(&[0; 100]),
        copy_data(&[1; 100_000]),
        bare('c'),
        complete("COPY 2"),
    ];
    let kept = one(&mut harness, "COPY t TO STDOUT (FORMAT binary)", &answer);
    assert_eq!(kept, ["\"[100100 bytes in binary format]\\n\""]);
    let answer = [
        copied(0, 1),
        copy_data(b"1\n"),
        copy_data(&[b'x'; 100_000]),
        copy_data(b"3\n"),
        bare('c'),
        complete("COPY 3"),
    ];
    let kept = one(&mut harness, "COPY t TO STDOUT", &answer);
    assert_eq!(kept, ["\"1\\n\u{2026}\\n3\\n\" | cut 0 rows 100000 bytes"]);
}

#[test]
fn what_goes_in_is_no_answer() {
    let mut harness = keeping(KEPT);
    harness.client(&query("COPY t FROM STDIN"));
    harness.upstream(&copy_response('G'));
    harness.client(&all(&[copy_data(b"1\n"), copy_done()]));
    harness.upstream(&all(&[complete("COPY 1"), ready('I')]));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(harness.outcome.kept, []);
}

#[test]
fn a_refused_operation_has_no_answer() {
    let policy = Policy::denying(&[Verb::Define]);
    policy.keep_answers(KEPT);
    let mut harness = Harness::ready(policy);
    harness.client(&query("DROP TABLE t"));
    harness.upstream(&all(&[error("42601", "syntax error"), ready('I')]));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(harness.outcome.kept, []);
}

/// Calls everything sensitive and covers nothing.
#[derive(Debug)]
struct Watch([(Detector, Sensitive); 1]);

impl Watch {
    fn new() -> Arc<Watch> {
        let mask = Arc::new(Mask {
            name: "m".into(),
            with: Treatment::Hash,
            predicates: Predicates::Allow,
        });
        let covered = false;
        Arc::new(Watch([(Detector::Email, Sensitive { mask, covered })]))
    }
}

impl Masks for Watch {
    fn id(&self) -> u64 {
        7
    }

    fn field(&self, _: &str) -> Option<Sensitive> {
        Some(self.0[0].1.clone())
    }

    fn detectors(&self) -> &[(Detector, Sensitive)] {
        &self.0
    }

    fn cover(&self) -> bool {
        false
    }
}

#[test]
fn what_a_principal_may_see_is_not_in_the_record() {
    let policy = Policy::allowing();
    policy.keep_answers(KEPT);
    policy.mask(Watch::new());
    let mut harness = Harness::ready(policy);
    harness.client(&query("SELECT a FROM t"));
    // The catalogue cannot be read, so anything could be sensitive.
    harness.upstream(&all(&[error("42501", "permission denied"), ready('I')]));
    harness.forget();
    let answer = all(&[
        columns(&[("a", TEXT), ("n", INT4)], false),
        row(&[Some(b"alice"), None]),
        complete("SELECT 1"),
        ready('I'),
    ]);
    harness.upstream(&answer);
    assert_eq!(harness.outcome.error, None);
    assert_eq!(harness.outcome.to_client, answer, "it is only watched");
    assert_eq!(shown(&harness.outcome), ["(a, n) | [masked], NULL"]);

    harness.forget();
    harness.client(&query("COPY t (a, n) TO STDOUT"));
    harness.upstream(&all(&[error("42501", "permission denied"), ready('I')]));
    harness.forget();
    let answer = all(&[
        copied(0, 2),
        copy_data(b"alice\t\\N\n"),
        copy_data(b"bob\t1\n"),
        bare('c'),
        complete("COPY 2"),
        ready('I'),
    ]);
    harness.upstream(&answer);
    assert_eq!(harness.outcome.error, None);
    assert_eq!(harness.outcome.to_client, answer);
    assert_eq!(
        shown(&harness.outcome),
        ["\"[masked]\\t\\\\N\\n[masked]\\t[masked]\\n\""]
    );
}

/// Covers `public.users.email` by its digest, and watches `public.users.id`.
#[derive(Debug)]
struct Users;

impl Masks for Users {
    fn id(&self) -> u64 {
        8
    }

    fn field(&self, name: &str) -> Option<Sensitive> {
        let mask = Arc::new(Mask {
            name: "m".into(),
            with: Treatment::Hash,
            predicates: Predicates::Allow,
        });
        let covered = match name {
            "public.users.email" => true,
            "public.users.id" => false,
            _ => return None,
        };
        Some(Sensitive { mask, covered })
    }

    fn detectors(&self) -> &[(Detector, Sensitive)] {
        &[]
    }

    fn cover(&self) -> bool {
        true
    }
}

#[test]
fn what_is_covered_is_kept_as_the_client_got_it() {
    let policy = Policy::allowing();
    policy.keep_answers(KEPT);
    policy.mask(Arc::new(Users));
    let mut harness = Harness::ready(policy);
    let columns = [(20_000, 2, TEXT), (20_000, 1, TEXT), (0, 0, INT4)];
    let email: &[u8] = b"alice@example.com";
    let rows = row(&[Some(email), Some(b"7"), Some(b"1")]);
    harness.client(&query("SELECT email, id, 1 FROM users"));
    harness.upstream(&catalogue());
    harness.forget();
    let whole = [
        described(&columns),
        rows.clone(),
        complete("SELECT 1"),
        ready('I'),
    ];
    harness.upstream(&all(&whole));
    assert_eq!(harness.outcome.error, None);
    let got = row(&[Some(b"#17"), Some(b"7"), Some(b"1")]);
    let expected = [&whole[..1], std::slice::from_ref(&got), &whole[2..]].concat();
    assert_eq!(harness.outcome.to_client, all(&expected));
    assert_eq!(shown(&harness.outcome), ["(c, c, c) | #17, [masked], 1"]);

    // The server is asked once for both.
    harness.forget();
    let sent = |described: &[Vec<u8>]| {
        let head = [parse("", "SELECT email, id, 1 FROM users"), bind("", "")];
        let tail = [execute(""), sync()];
        [&head[..], described, &tail].concat()
    };
    harness.client(&all(&sent(&[])));
    assert_eq!(
        harness.take_upstream(),
        all(&sent(&[describe('P', "")])),
        "one question"
    );
    harness.upstream(&all(&[bare('1'), bare('2'), all(&whole)]));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(shown(&harness.outcome), ["(c, c, c) | #17, [masked], 1"]);

    // Where nothing is sensitive nothing is covered, not even what nobody can name.
    let answer = [
        described(&[(0, 0, TEXT)]),
        data_row(b"x"),
        complete("SELECT 1"),
    ];
    assert_eq!(one(&mut harness, "SELECT lower('X')", &answer), ["(c) | x"]);
}

/// A session that keeps what comes, in pieces of these sizes.
fn play(sizes: &[usize]) -> Outcome {
    let policy = Policy::allowing();
    policy.keep_answers(2000);
    let mut harness = Harness::ready(policy);
    let described = columns(&[("id", INT4), ("name", TEXT)], true);
    let long = row(&[None, Some(&[b'x'; 700])]);
    let turns = [
        (Side::Client, query("SELECT 1; SELECT 2")),
        (
            Side::Upstream,
            all(&[
                columns(&[("n", INT4)], false),
                data_row(b"1"),
                complete("SELECT 1"),
                columns(&[("m", INT4)], false),
                complete("SELECT 0"),
                ready('I'),
            ]),
        ),
        (
            Side::Client,
            all(&[
                parse("", "SELECT id, name FROM t"),
                bind("", ""),
                execute(""),
            ]),
        ),
        (Side::Client, all(&[execute(""), sync()])),
        (
            Side::Upstream,
            all(&[
                all(&[
                    bare('1'),
                    bare('2'),
                    described.clone(),
                    long.clone(),
                    long.clone(),
                ]),
                all(&[long.clone(), bare('s'), described, row(&[None, None])]),
                all(&[complete("SELECT 1"), ready('I')]),
            ]),
        ),
        (Side::Client, query("COPY t TO STDOUT")),
        (
            Side::Upstream,
            all(&[
                copied(0, 1),
                copy_data(&[b'y'; 900]),
                copy_data(&[b'z'; 1900]),
                copy_data(b"1\n"),
                bare('c'),
                complete("COPY 3"),
                ready('I'),
            ]),
        ),
    ];
    let mut sizes = sizes.iter().cycle();
    for (side, bytes) in turns {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap()).clamp(1, rest.len());
            harness.feed(side, &rest[..size]);
            rest = &rest[size..];
        }
    }
    assert_eq!(harness.outcome.error, None);
    harness.outcome
}

#[test]
fn byte_by_byte_the_same_is_kept() {
    let whole = play(&[usize::MAX]);
    assert_eq!(shown(&whole).len(), 4);
    assert!(
        shown(&whole)[3].ends_with("cut 0 rows 818 bytes"),
        "{:?}",
        shown(&whole)
    );
    for size in 1..=9 {
        assert_eq!(play(&[size]), whole, "pieces of {size}");
    }
}

proptest! {
    #[test]
    fn any_split_keeps_the_same(sizes in prop::collection::vec(1..2000_usize, 1..40)) {
        prop_assert_eq!(play(&sizes), play(&[usize::MAX]));
    }
}

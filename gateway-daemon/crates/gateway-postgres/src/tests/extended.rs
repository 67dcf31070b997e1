//! The extended query protocol: statements and portals, pipelines, and what an error skips.
use super::harness::{Harness, Policy};
use super::messages::{
    all, bare, bind, bind_with, close, complete, data_row, describe, error, execute, flush, kinds,
    parameter_description, parse, parse_with, query, ready, row_description, sync,
};
use gateway_core::Verb;
use gateway_protocol::ProtocolError;

pub(super) fn executed() -> Vec<u8> {
    all(&[data_row(b"1"), complete("SELECT 1")])
}

pub(super) fn run(name: &str) -> Vec<u8> {
    all(&[bind("", name), execute(""), sync()])
}

pub(super) fn ran() -> Vec<u8> {
    all(&[bare('2'), executed(), ready('I')])
}

/// What PostgreSQL says to something that went upstream in the place of a refused request.
pub(super) fn rejected() -> Vec<u8> {
    all(&[
        error("42601", "syntax error at or near \"gateway\""),
        ready('I'),
    ])
}

#[test]
fn a_statement_is_recorded_when_parsed_and_when_executed() {
    let mut harness = Harness::ready(Policy::allowing());
    let request = all(&[
        parse_with("", "SELECT $1::int4", &[23]),
        bind_with("", "", &[1], &[Some(&[0, 0, 0, 42])]),
        describe('P', ""),
        execute(""),
        sync(),
    ]);
    harness.client(&request);
    assert_eq!(harness.take_upstream(), request);
    let answer = all(&[
        bare('1'),
        bare('2'),
        row_description(),
        executed(),
        ready('I'),
    ]);
    harness.upstream(&answer);
    assert_eq!(harness.outcome.to_client, answer);

    let records = harness.records();
    assert_eq!(harness.statements(), ["SELECT $1::int4", "SELECT $1::int4"]);
    assert!(records[0].attributes.contains("parse") && records[0].parameters.is_empty());
    assert!(records[1].attributes.contains("execute"));
    assert_eq!(records[1].parameters, ["int4 42"]);
    let answers = &harness.outcome.answers;
    assert_eq!(answers.len(), 2);
    assert_eq!((answers[0].1.rows, answers[1].1.rows), (None, Some(1)));
    assert_eq!(answers[1].1.bytes_down, executed().len() as u64);
}

#[test]
fn types_that_the_server_told_are_used() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[parse("s", "SELECT $1"), describe('S', "s"), sync()]));
    harness.upstream(&all(&[
        bare('1'),
        parameter_description(&[20]),
        row_description(),
        ready('I'),
    ]));
    harness.client(&bind_with(
        "",
        "s",
        &[1],
        &[Some(&[0, 0, 0, 0, 0, 0, 0, 5])],
    ));
    harness.client(&all(&[execute(""), sync()]));
    assert_eq!(harness.records()[1].parameters, ["int8 5"]);
}

#[test]
fn a_refused_parse_never_reaches_the_server_and_nothing_behind_it_runs() {
    let mut harness = Harness::ready(Policy::denying(&[Verb::Define]));
    harness.client(&all(&[
        parse("", "DROP TABLE t"),
        bind("", ""),
        describe('P', ""),
        execute(""),
        query("DROP TABLE t"),
        sync(),
        parse("", "SELECT 1"),
        sync(),
    ]));
    let sent = harness.take_upstream();
    assert_eq!(kinds(&sent), "P S P S");
    assert!(!String::from_utf8_lossy(&sent).contains("DROP"));
    harness.upstream(&all(&[rejected(), bare('1'), ready('I')]));
    assert_eq!(harness.take_client(), "E42501 ZI 1 ZI");
    assert_eq!(harness.statements(), ["!DROP TABLE t", "SELECT 1"]);
}

#[test]
fn a_refused_parse_leaves_the_statement_of_that_name_alone() {
    for name in ["", "s"] {
        let mut harness = Harness::ready(Policy::denying(&[Verb::Define]));
        harness.client(&all(&[parse(name, "SELECT 1"), sync()]));
        harness.upstream(&all(&[bare('1'), ready('I')]));
        harness
            .client(&all(&[parse(name, "DROP TABLE t"), run(name)]))
            .take_upstream();
        harness.upstream(&rejected());
        harness.client(&run(name));
        assert_eq!(harness.take_upstream(), run(name));
        assert_eq!(
            harness.statements(),
            ["SELECT 1", "!DROP TABLE t", "SELECT 1"],
            "what is executed is what was parsed"
        );
    }
}

#[test]
fn a_statement_is_judged_anew_each_time_it_is_executed() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[parse("s", "DELETE FROM t"), run("s")]));
    harness.upstream(&all(&[bare('1'), ran()])).take_upstream();
    harness.policy.deny(Verb::Delete);
    harness.client(&run("s"));
    let sent = harness.take_upstream();
    assert_eq!(
        kinds(&sent),
        "P S",
        "a Parse that fails stands for the Bind"
    );
    harness.upstream(&rejected());
    assert!(harness.take_client().ends_with("E42501 ZI"));

    // And after it was bound.
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[parse("", "DELETE FROM t"), bind("", "")]));
    harness.take_upstream();
    harness.policy.deny(Verb::Delete);
    harness.client(&all(&[execute(""), sync()]));
    assert_eq!(kinds(&harness.take_upstream()), "P S");
    harness.upstream(&all(&[bare('1'), bare('2'), rejected()]));
    assert!(harness.take_client().ends_with("2 E42501 ZI"));
}

#[test]
fn an_error_skips_up_to_the_next_sync_and_no_further() {
    let mut harness = Harness::ready(Policy::denying(&[Verb::Define]));
    harness.client(&all(&[
        parse("", "SELECT 1/0"),
        bind("", ""),
        execute(""),
        parse("", "DROP TABLE t"),
        parse("a", "SELECT 2"),
        sync(),
        parse("b", "SELECT 3"),
        sync(),
    ]));
    assert_eq!(kinds(&harness.take_upstream()), "P B E P S P S");
    harness.upstream(&all(&[
        bare('1'),
        bare('2'),
        error("22012", "division by zero"),
        ready('I'),
        bare('1'),
        ready('I'),
    ]));
    assert_eq!(harness.take_client(), "1 2 E22012 ZI 1 ZI");
    let errors: Vec<_> = harness
        .outcome
        .answers
        .iter()
        .map(|(_, answer)| answer.error.as_deref())
        .collect();
    assert_eq!(errors, [None, Some("22012: division by zero"), None]);
}

#[test]
fn what_comes_behind_an_error_is_not_sent_at_all() {
    let mut harness = Harness::ready(Policy::allowing());
    harness
        .client(&all(&[parse("", "SELEC"), flush()]))
        .take_upstream();
    harness.upstream(&error("42601", "syntax error"));
    harness.client(&all(&[
        bind("", ""),
        execute(""),
        query("DROP TABLE t"),
        flush(),
    ]));
    assert_eq!(harness.outcome.to_upstream, b"");
    assert_eq!(harness.statements(), ["SELEC"]);
    harness.client(&sync()).upstream(&ready('I'));
    assert_eq!(harness.outcome.to_upstream, sync());
    assert_eq!(harness.outcome.error, None);
}

#[test]
fn a_sync_may_fail_as_well() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[parse("", "INSERT INTO t VALUES (1)"), run("")]));
    harness.upstream(&all(&[bare('1'), bare('2'), complete("INSERT 0 1")]));
    harness.upstream(&all(&[error("23503", "a deferred constraint"), ready('I')]));
    harness
        .client(&query("SELECT 1"))
        .upstream(&all(&[complete("SELECT 1"), ready('I')]));
    assert_eq!(harness.outcome.error, None);
}

#[test]
fn what_is_not_known_is_not_executed() {
    let known = || {
        let mut harness = Harness::ready(Policy::denying(&[]));
        harness.client(&all(&[parse("s", "SELECT 1"), sync()]));
        harness.upstream(&all(&[bare('1'), ready('I')])).forget();
        harness
    };
    for (name, requests) in [
        ("no such portal", vec![execute("p")]),
        ("no such statement", vec![bind("", "other"), execute("")]),
        ("closed", vec![close('S', "s"), bind("", "s"), execute("")]),
        (
            "a name that is not ASCII",
            vec![parse("é", "SELECT 1"), bind("", "é"), execute("")],
        ),
        ("such a portal", vec![bind("é", "s"), execute("é")]),
    ] {
        let mut harness = known();
        harness.client(&all(&requests));
        let last = harness.statements().pop().unwrap();
        let unknown = ["!portal ", "!statement "];
        assert!(
            unknown.iter().any(|word| last.starts_with(word)),
            "{name}: {last}"
        );
        assert_ne!(kinds(&harness.take_upstream()).pop(), Some('E'), "{name}");
    }
}

/// Each case: requests before, their answers, and requests whose Execute is looked at.
#[test]
fn a_name_means_what_the_server_takes_it_for() {
    let parsed = || all(&[parse("s", "SELECT 'old'"), sync()]);
    let ok = || all(&[bare('1'), ready('I')]);
    let new = "SELECT 'new'";
    type Naming = (&'static str, Vec<u8>, Vec<u8>, Vec<u8>, &'static str);
    let cases: [Naming; 9] = [
        ("kept", parsed(), ok(), run("s"), "SELECT 'old'"),
        (
            "replaced in one segment: the old one cannot run behind a Parse that failed",
            parsed(),
            ok(),
            all(&[parse("s", new), run("s")]),
            new,
        ),
        (
            "the new Parse failed, since the name was taken",
            all(&[parsed(), parse("s", new), sync()]),
            all(&[ok(), error("42P05", "already exists"), ready('I')]),
            run("s"),
            "SELECT 'old'",
        ),
        (
            "the new Parse has no answer yet: it could be either, and is waited for",
            all(&[parsed(), parse("s", new), sync()]),
            ok(),
            run("s"),
            new,
        ),
        (
            "closed and parsed anew, both answered",
            all(&[parsed(), close('S', "s"), parse("s", new), sync()]),
            all(&[ok(), bare('3'), bare('1'), ready('I')]),
            run("s"),
            new,
        ),
        (
            "closed and parsed anew, but an error before skipped both",
            all(&[
                parsed(),
                bind("", "none"),
                close('S', "s"),
                parse("s", new),
                sync(),
            ]),
            all(&[ok(), error("26000", "no such statement"), ready('I')]),
            run("s"),
            "SELECT 'old'",
        ),
        (
            "a first Parse without an answer: this or nothing",
            parsed(),
            vec![],
            run("s"),
            "SELECT 'old'",
        ),
        (
            "names are told apart by 63 bytes",
            all(&[parse(&"x".repeat(64), "SELECT 'old'"), sync()]),
            ok(),
            run(&"x".repeat(70)),
            "SELECT 'old'",
        ),
        (
            "a closed one is gone",
            all(&[parsed(), close('S', "s"), sync()]),
            all(&[ok(), bare('3'), ready('I')]),
            run("s"),
            "!statement \"s\"",
        ),
    ];
    for (name, before, answers, now, expected) in cases {
        let mut harness = Harness::ready(Policy::denying(&[]));
        harness.client(&before).upstream(&answers).client(&now);
        assert_eq!(harness.outcome.error, None, "{name}");
        assert_eq!(harness.statements().pop().unwrap(), expected, "{name}");
    }
}

#[test]
fn sql_and_the_protocol_share_one_name_space() {
    let done = |tag: &str| all(&[complete(tag), ready('I')]);
    let mut harness = Harness::ready(Policy::denying(&[Verb::Delete]));
    harness
        .client(&query("PREPARE s AS SELECT 'sql'"))
        .upstream(&done("PREPARE"));
    harness.client(&run("s")).upstream(&ran());
    assert_eq!(harness.statements().pop().unwrap(), "SELECT 'sql'");

    harness
        .client(&query("EXECUTE s"))
        .upstream(&done("SELECT 1"));
    assert_eq!(harness.statements().pop().unwrap(), "EXECUTE s");
    harness
        .client(&query("EXECUTE unseen"))
        .upstream(&rejected());
    assert_eq!(harness.statements().pop().unwrap(), "!EXECUTE unseen");

    harness
        .client(&query("DEALLOCATE s"))
        .upstream(&done("DEALLOCATE"));
    harness.client(&query("EXECUTE s")).upstream(&rejected());
    assert_eq!(harness.statements().pop().unwrap(), "!EXECUTE s");
    harness
        .client(&query("PREPARE d AS DELETE FROM t"))
        .upstream(&rejected());
    assert_eq!(
        harness.statements().pop().unwrap(),
        "!PREPARE d AS DELETE FROM t"
    );
}

#[test]
fn what_a_prepared_statement_does_is_seen_in_its_execute() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[parse("d", "DELETE FROM t"), sync()]));
    harness.upstream(&all(&[bare('1'), ready('I')]));
    harness.client(&query("EXECUTE d"));
    assert_eq!(harness.records().pop().unwrap().verb, Verb::Delete);
    harness.upstream(&all(&[complete("DELETE 1"), ready('I')]));
    harness.policy.deny(Verb::Delete);
    harness.client(&query("EXECUTE d")).upstream(&rejected());
    assert_eq!(harness.statements().pop().unwrap(), "!EXECUTE d");
    harness.client(&all(&[parse("x", "EXECUTE d"), sync()]));
    assert_eq!(harness.statements().pop().unwrap(), "!EXECUTE d");
}

#[test]
fn a_failed_text_may_have_prepared_before_it_failed() {
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&all(&[parse("s", "SELECT 'old'"), sync()]));
    harness.upstream(&all(&[bare('1'), ready('I')]));
    harness.client(&query(
        "DEALLOCATE s; PREPARE s AS SELECT 'new'; SELECT 1/0",
    ));
    harness.upstream(&all(&[
        complete("DEALLOCATE"),
        complete("PREPARE"),
        error("22012", "division by zero"),
        ready('I'),
    ]));
    harness.client(&run("s"));
    assert_eq!(harness.statements().pop().unwrap(), "!statement \"s\"");
}

#[test]
fn deallocate_all_forgets_all() {
    for text in ["DEALLOCATE ALL", "DISCARD ALL"] {
        let mut harness = Harness::ready(Policy::denying(&[]));
        harness.client(&all(&[parse("s", "SELECT 1"), sync()]));
        harness.upstream(&all(&[bare('1'), ready('I')]));
        harness
            .client(&query(text))
            .upstream(&all(&[complete(text), ready('I')]));
        harness.client(&run("s"));
        assert_eq!(
            harness.statements().pop().unwrap(),
            "!statement \"s\"",
            "{text}"
        );
    }
}

#[test]
fn answers_of_the_wrong_kind_end_the_session() {
    let requests = || {
        all(&[
            parse("s", "SELECT 1"),
            describe('S', "s"),
            bind("", "s"),
            execute(""),
            sync(),
        ])
    };
    for answer in [
        vec![bare('2')],
        vec![bare('1'), bare('2')],
        vec![bare('1'), parameter_description(&[]), bare('n'), bare('3')],
        vec![
            bare('1'),
            parameter_description(&[]),
            bare('n'),
            data_row(b""),
        ],
        vec![
            bare('1'),
            parameter_description(&[]),
            bare('n'),
            bare('2'),
            row_description(),
        ],
        vec![bare('1'), ready('I')],
        vec![
            bare('1'),
            bare('n'),
            bare('2'),
            complete("SELECT 1"),
            complete("SELECT 1"),
        ],
    ] {
        let mut harness = Harness::ready(Policy::allowing());
        harness.client(&requests()).upstream(&answer.concat());
        assert!(
            matches!(harness.outcome.error, Some(ProtocolError::Upstream(_))),
            "{answer:?}"
        );
    }
}

#[test]
fn ten_thousand_statements_may_wait() {
    let mut harness = Harness::ready(Policy::allowing());
    let one = all(&[
        parse("", "SELECT 1"),
        bind("", ""),
        describe('P', ""),
        execute(""),
    ]);
    let mut requests = one.repeat(10_000);
    requests.extend(sync());
    harness.client(&requests);
    assert_eq!(harness.take_upstream(), requests);
    let answer = all(&[bare('1'), bare('2'), row_description(), executed()]);
    harness
        .upstream(&answer.repeat(10_000))
        .upstream(&ready('I'));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(harness.records().len(), 20_000);
    assert_eq!(
        harness.outcome.to_client.len(),
        answer.len() * 10_000 + ready('I').len()
    );
}

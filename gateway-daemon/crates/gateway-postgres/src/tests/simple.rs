//! The simple query protocol.
use super::harness::{Harness, Policy};
use super::messages::{
    all, bare, bind, complete, data_row, error, error_field, execute, function_call,
    function_result, kinds, notice, notification, parameter_status, parse, query, ready,
    row_description, severe,
};
use gateway_core::Verb;
use gateway_protocol::{ProtocolError, Side};

fn one_row() -> Vec<u8> {
    all(&[
        row_description(),
        data_row(b"1"),
        complete("SELECT 1"),
        ready('I'),
    ])
}

#[test]
fn a_query_passes_as_it_is_and_is_recorded_first() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&query("SELECT 1"));
    assert_eq!(harness.take_upstream(), query("SELECT 1"));
    let records = harness.records();
    assert_eq!((records.len(), records[0].verb), (1, Verb::Read));
    assert_eq!(records[0].statement, "SELECT 1");
    assert!(harness.outcome.answers.is_empty());

    harness.upstream(&one_row());
    assert_eq!(harness.outcome.to_client, one_row());
    let (seq, answer) = harness.outcome.answers.pop().unwrap();
    assert_eq!(seq, records[0].seq);
    assert_eq!(answer.rows, Some(1));
    assert_eq!(answer.bytes_up, query("SELECT 1").len() as u64);
    assert_eq!(answer.bytes_down, one_row().len() as u64);
    assert_eq!(answer.error, None);
}

#[test]
fn a_refused_query_is_replaced_and_its_error_exchanged() {
    let mut harness = Harness::ready(Policy::denying(&[Verb::Define]));
    harness.client(&query("DROP TABLE users"));
    let sent = harness.take_upstream();
    let id = harness.records()[0].seq;
    assert_eq!(
        sent,
        query(&format!("gateway refused operation s0000000000007.{id}"))
    );

    let theirs = all(&[
        error("42601", "syntax error at or near \"gateway\""),
        ready('E'),
    ]);
    harness.upstream(&theirs);
    let told = harness.outcome.to_client.clone();
    assert_eq!(
        kinds(&told),
        "E42501 ZE",
        "the state of the transaction is the server's"
    );
    assert_eq!(
        error_field(&told, 'M').unwrap(),
        "gateway: define on orders denied: no rule allows it (session s0000000000007)"
    );
    assert!(!String::from_utf8_lossy(&told).contains("syntax"));
    assert_eq!(
        harness.outcome.answers,
        [],
        "what was refused has no answer"
    );

    harness.client(&query("SELECT 1")).upstream(&one_row());
    assert_eq!(harness.outcome.error, None, "the session lives on");
}

#[test]
fn pipelined_queries_get_their_own_answers() {
    let mut harness = Harness::ready(Policy::denying(&[Verb::Define]));
    harness.client(&all(&[
        query("SELECT 1"),
        query("DROP TABLE a"),
        query("SELECT 2/0"),
        query("DROP TABLE b"),
        query("SELECT 3"),
    ]));
    let failed = || all(&[error("42601", "syntax error"), ready('I')]);
    harness.upstream(&all(&[
        one_row(),
        failed(),
        error("22012", "division by zero"),
        ready('I'),
        failed(),
        one_row(),
    ]));
    assert_eq!(
        harness.take_client(),
        "T D C ZI E42501 ZI E22012 ZI E42501 ZI T D C ZI"
    );
    let errors: Vec<_> = harness
        .outcome
        .answers
        .iter()
        .map(|(_, answer)| answer.error.as_deref())
        .collect();
    assert_eq!(errors, [None, Some("22012: division by zero"), None]);
}

#[test]
fn a_text_of_several_statements_is_one_operation() {
    let mut harness = Harness::ready(Policy::denying(&[Verb::Define]));
    harness.client(&query("SELECT 1; DROP TABLE t"));
    assert!(!String::from_utf8_lossy(&harness.take_upstream()).contains("DROP"));

    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&query("SELECT 1; UPDATE t SET a = 1; "));
    harness.upstream(&all(&[
        row_description(),
        data_row(b"1"),
        complete("SELECT 1"),
        complete("UPDATE 5"),
        ready('I'),
    ]));
    assert_eq!(harness.outcome.answers[0].1.rows, Some(6));
}

#[test]
fn an_empty_query_is_answered() {
    let mut harness = Harness::ready(Policy::allowing());
    harness
        .client(&query(""))
        .upstream(&all(&[bare('I'), ready('I')]));
    assert_eq!(harness.outcome.error, None);
    assert_eq!(harness.outcome.answers.len(), 1);
}

#[test]
fn what_the_server_says_by_itself_passes_at_any_time() {
    let mut harness = Harness::ready(Policy::allowing());
    let aside = all(&[
        notice("hm"),
        notification(9, "jobs"),
        parameter_status("application_name", "x"),
    ]);
    harness
        .upstream(&aside)
        .client(&query("SELECT 1"))
        .upstream(&aside);
    harness
        .upstream(&row_description())
        .upstream(&aside)
        .upstream(&data_row(b"1"));
    harness
        .upstream(&aside)
        .upstream(&all(&[complete("SELECT 1"), aside.clone(), ready('I')]));
    harness.upstream(&aside);
    assert_eq!(harness.outcome.error, None);
    assert_eq!(kinds(&harness.outcome.to_client).matches('A').count(), 6);
    assert_eq!(
        harness.outcome.answers[0].1.bytes_down,
        one_row().len() as u64
    );
}

#[test]
fn a_function_by_its_number_is_judged_and_recorded() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&function_call(1598, b"abc"));
    assert_eq!(harness.take_upstream(), function_call(1598, b"abc"));
    let record = &harness.records()[0];
    assert_eq!(record.verb, Verb::Execute);
    assert_eq!(record.objects, ["function:1598"]);
    assert_eq!(record.parameters, ["? \\x616263"]);
    harness.upstream(&all(&[function_result(b"x"), ready('I')]));
    assert_eq!(
        (harness.outcome.error.clone(), harness.outcome.answers.len()),
        (None, 1)
    );

    let mut harness = Harness::ready(Policy::denying(&[Verb::Execute]));
    harness.client(&function_call(1598, b"abc"));
    let mut harmless = vec![b'F', 0, 0, 0, 14];
    harmless.extend([0; 10]);
    assert_eq!(harness.take_upstream(), harmless, "there is no function 0");
    harness.upstream(&all(&[
        error("42883", "function with OID 0 does not exist"),
        ready('I'),
    ]));
    assert_eq!(harness.take_client(), "E42501 ZI");
}

#[test]
fn a_server_that_accepts_what_cannot_be_valid_is_not_trusted() {
    for answer in [one_row(), ready('I'), complete("SELECT 1"), bare('I')] {
        let mut harness = Harness::ready(Policy::denying(&[Verb::Define]));
        harness.client(&query("DROP TABLE t")).upstream(&answer);
        assert!(
            matches!(harness.outcome.error, Some(ProtocolError::Upstream(_))),
            "{answer:?}"
        );
    }
}

#[test]
fn answers_that_nobody_asked_for_end_the_session() {
    for answer in [
        ready('I'),
        error("XX000", "what"),
        row_description(),
        data_row(b"1"),
        complete("SELECT 1"),
        bare('1'),
        bare('c'),
    ] {
        let mut harness = Harness::ready(Policy::allowing());
        harness.upstream(&answer);
        assert!(
            matches!(harness.outcome.error, Some(ProtocolError::Upstream(_))),
            "{answer:?}"
        );
        assert_eq!(harness.outcome.to_client, b"");
    }
}

#[test]
fn the_last_words_of_a_server_pass_and_end_all_that_is_open() {
    let mut harness = Harness::ready(Policy::denying(&[Verb::Define]));
    harness.client(&all(&[
        query("SELECT 1"),
        query("DROP TABLE t"),
        query("SELECT 2"),
    ]));
    harness.upstream(&severe("FATAL", "57P01", "terminating connection"));
    assert_eq!(harness.take_client(), "E57P01");
    let errors: Vec<_> = harness
        .outcome
        .answers
        .iter()
        .map(|(_, answer)| answer.error.as_deref().unwrap().to_owned())
        .collect();
    assert_eq!(errors[0], "57P01: terminating connection");
    assert!(errors[1].contains("closed"));
    harness.finish(Side::Upstream);
    assert_eq!(harness.outcome.error, None);

    let mut idle = Harness::ready(Policy::allowing());
    idle.upstream(&severe("FATAL", "57P01", "terminating connection"))
        .finish(Side::Upstream);
    assert_eq!(
        (idle.take_client(), idle.outcome.error),
        ("E57P01".into(), None)
    );
}

#[test]
fn a_server_that_leaves_in_the_middle_is_named() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&query("SELECT 1")).finish(Side::Upstream);
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::Upstream(_))
    ));
    assert!(harness.outcome.answers[0].1.error.is_some());

    let mut harness = Harness::ready(Policy::allowing());
    harness.upstream(&notice("hm")[..7]).finish(Side::Upstream);
    assert!(matches!(
        harness.outcome.error,
        Some(ProtocolError::Upstream(_))
    ));
}

#[test]
fn the_policy_of_the_moment_counts() {
    let mut harness = Harness::ready(Policy::allowing());
    harness
        .client(&query("DROP TABLE t"))
        .upstream(&all(&[complete("DROP TABLE"), ready('I')]));
    harness.policy.deny(Verb::Define);
    harness.client(&query("DROP TABLE t"));
    assert_eq!(harness.statements(), ["DROP TABLE t", "!DROP TABLE t"]);
}

#[test]
fn what_cannot_be_recorded_does_not_pass() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.policy.break_recorder();
    harness.client(&query("SELECT 1"));
    assert!(!String::from_utf8_lossy(&harness.take_upstream()).contains("SELECT"));
}

#[test]
fn bytes_that_are_no_text_are_unknown_and_recorded_as_far_as_they_can_be() {
    let mut frame = query("SELECT 'x'");
    let x = frame.iter().position(|byte| *byte == b'x').unwrap();
    frame[x] = 0xff;
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&frame);
    assert_eq!(harness.statements(), ["!SELECT '\u{fffd}'"]);
}

#[test]
fn letters_beyond_ascii_need_a_certain_encoding() {
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&query("SELECT 'é'")).upstream(&one_row());
    harness.client(&query("SET client_encoding TO 'GBK'"));
    // The answer is not there yet: neither encoding is certain.
    harness
        .client(&query("SELECT 'é'"))
        .client(&query("SELECT 'e'"));
    let statements = harness.statements();
    assert_eq!(statements[0], "SELECT 'é'");
    assert_eq!(statements[2..], ["!SELECT 'é'", "SELECT 'e'"]);

    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.upstream(&parameter_status("client_encoding", "GBK"));
    harness
        .client(&query("SELECT 'é'"))
        .client(&query("SELECT 'e'"));
    assert_eq!(harness.statements(), ["!SELECT 'é'", "SELECT 'e'"]);
    harness.upstream(&parameter_status("client_encoding", "UTF8"));
    harness.client(&query("SELECT 'é'"));
    assert_eq!(harness.statements()[2], "SELECT 'é'");
}

#[test]
fn backslashes_need_certain_strings() {
    let tricky = "SELECT 'a\\' , 'b'";
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&query(tricky)).upstream(&one_row());
    harness
        .client(&query("SET standard_conforming_strings TO off"))
        .client(&query(tricky));
    assert_eq!(harness.statements()[2], format!("!{tricky}"));

    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.upstream(&parameter_status("standard_conforming_strings", "off"));
    harness.client(&query(tricky));
    assert_eq!(harness.statements(), [format!("!{tricky}")]);
}

#[test]
fn what_is_behind_a_name_may_set_anything() {
    let tricky = "SELECT 'a\\' , 'b'";
    for first in [
        "SELECT * FROM view",
        "INSERT INTO t VALUES (1)",
        "FETCH c",
        "COMMIT",
    ] {
        let mut harness = Harness::ready(Policy::denying(&[]));
        harness.client(&query(first)).client(&query(tricky));
        assert_eq!(harness.statements()[1], format!("!{tricky}"), "{first}");
        let mut harness = Harness::ready(Policy::denying(&[]));
        harness.client(&all(&[parse("", first), bind("", ""), execute("")]));
        harness.client(&parse("", tricky));
        let last = harness.statements().pop();
        assert_eq!(last, Some(format!("!{tricky}")), "{first}");
    }
    for first in ["BEGIN", "SELECT 1", "SHOW work_mem"] {
        let mut harness = Harness::ready(Policy::denying(&[]));
        harness.client(&query(first)).client(&query(tricky));
        assert_eq!(harness.statements()[1], tricky, "{first}");
    }
}

#[test]
fn a_setting_that_a_transaction_may_take_back_is_not_certain_behind_its_end() {
    let tricky = "SELECT 'a\\' , 'b'";
    let done = |tag: &str, state: char| all(&[complete(tag), ready(state)]);
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness
        .client(&query("BEGIN"))
        .upstream(&done("BEGIN", 'T'));
    // It may have switched the strings off, and on again until the transaction ends.
    harness
        .client(&query("SELECT my_function()"))
        .upstream(&all(&[row_description(), complete("SELECT 1"), ready('T')]));
    harness
        .client(&query(tricky))
        .upstream(&all(&[row_description(), done("SELECT 1", 'T')]));
    harness.client(&query("COMMIT")).client(&query(tricky));
    harness
        .upstream(&done("COMMIT", 'I'))
        .upstream(&error("42601", "x"));
    harness.upstream(&ready('I')).client(&query(tricky));
    let tricky: Vec<_> = harness
        .statements()
        .into_iter()
        .filter(|text| text.contains("a\\"))
        .collect();
    assert_eq!(
        tricky
            .iter()
            .map(|text| text.starts_with('!'))
            .collect::<Vec<_>>(),
        [false, true, false]
    );
}

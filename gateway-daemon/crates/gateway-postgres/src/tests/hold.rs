//! Statements that wait for a human.
use super::harness::{Harness, Policy, origin};
use super::messages::{
    all, bare, bind, cancel_request, complete, data_row, describe, error, execute, flush, kinds,
    notification, parse, query, ready, row_description, startup, sync,
};
use crate::{Limits, Shared};
use gateway_core::{Verb, Verdict};
use std::sync::Arc;

const UPDATE: &str = "UPDATE accounts SET balance = 0";

#[test]
fn a_held_query_goes_upstream_when_it_is_approved() {
    let mut harness = Harness::ready(Policy::holding(&[Verb::Write]));
    harness.client(&all(&[query(UPDATE), query("SELECT 1")]));
    assert_eq!(harness.take_upstream(), b"");
    assert_eq!(harness.take_client(), "N");
    assert_eq!(
        harness.statements(),
        [UPDATE],
        "what is behind it is not even asked for"
    );
    // The upstream may say what it likes meanwhile.
    harness.upstream(&notification(1, "news"));
    assert_eq!(harness.take_client(), "A");
    harness.answer(Verdict::Approved);
    assert_eq!(
        harness.take_upstream(),
        all(&[query(UPDATE), query("SELECT 1")])
    );
    assert_eq!(harness.statements(), [UPDATE, "SELECT 1"]);
    harness.upstream(&all(&[complete("UPDATE 3"), ready('I')]));
    assert_eq!(harness.outcome.answers[0].1.rows, Some(3));
}

#[test]
fn a_held_query_that_is_not_approved_is_refused_in_its_place() {
    for verdict in [Verdict::Denied, Verdict::Expired] {
        let mut harness = Harness::ready(Policy::holding(&[Verb::Write]));
        harness.client(&query(UPDATE)).answer(verdict);
        let instead = harness.take_upstream();
        assert!(
            String::from_utf8_lossy(&instead).contains("gateway refused operation"),
            "{instead:?}"
        );
        harness.take_client();
        harness.upstream(&all(&[error("42601", "syntax error"), ready('E')]));
        let told = harness.outcome.to_client.clone();
        assert_eq!(kinds(&told), "E42501 ZE");
        let words = String::from_utf8_lossy(&told).into_owned();
        assert!(words.contains("the test says so"), "{words}");
    }
}

#[test]
fn of_the_extended_protocol_the_portal_is_held_and_it_alone() {
    let mut harness = Harness::ready(Policy::holding(&[Verb::Write]));
    let before = [parse("", UPDATE)];
    let behind = [bind("", ""), describe('P', ""), execute(""), sync()];
    harness.client(&all(&[all(&before), all(&behind)]));
    assert_eq!(harness.take_upstream(), all(&before));
    assert_eq!(harness.take_client(), "N");
    harness.answer(Verdict::Approved);
    assert_eq!(harness.take_upstream(), all(&behind));
    assert_eq!(
        harness
            .records()
            .iter()
            .filter(|record| record.denied)
            .count(),
        0
    );
}

/// Whoever has approved a portal has approved what it does, in however many parts that comes. Any
/// statement can run it from then on (FETCH), so it must not be there before.
#[test]
fn a_portal_with_a_name_is_held_once() {
    for name in ["p", "é"] {
        let mut harness = Harness::ready(Policy::holding(&[Verb::Write]));
        let bound = all(&[bind(name, ""), flush()]);
        harness.client(&all(&[parse("", UPDATE), bound.clone()]));
        assert_eq!(harness.take_upstream(), parse("", UPDATE));
        harness.answer(Verdict::Approved);
        assert_eq!(harness.take_upstream(), bound);
        if name == "p" {
            let parts = all(&[execute(name), execute(name), sync()]);
            harness.client(&parts);
            assert_eq!(harness.take_upstream(), parts);
        }
        assert_eq!(harness.resolutions().len(), 1);
    }
}

/// Whatever the pieces in which it comes: one question, and the same bytes upstream.
#[test]
fn any_split_of_what_is_behind_it_is_the_same() {
    let sent = all(&[query(UPDATE), query("SELECT 1")]);
    for split in 1..sent.len() {
        let mut harness = Harness::ready(Policy::holding(&[Verb::Write]));
        let (first, second) = sent.split_at(split);
        harness.client(first).client(second);
        assert_eq!(harness.take_client(), "N", "split at {split}");
        harness.answer(Verdict::Approved);
        assert_eq!(harness.take_upstream(), sent, "split at {split}");
        assert_eq!(harness.records().len(), 2, "split at {split}");
    }
}

/// The upstream fails what is before a held execution, so it skips to the Sync. The same execution
/// behind that Sync is another one: nobody was asked about it.
#[test]
fn an_answer_is_not_left_for_what_looks_the_same() {
    let mut harness = Harness::ready(Policy::holding(&[Verb::Write]));
    harness.client(&all(&[parse("s", UPDATE), sync()]));
    harness.upstream(&all(&[bare('1'), ready('I')]));
    harness.forget();
    let broken = [parse("t", "select nosuch"), flush()];
    let once = [bind("p", "s"), execute("p"), sync()];
    let again = once.clone();
    harness.client(&all(&[all(&broken), all(&once), all(&again)]));
    assert_eq!(harness.take_upstream(), all(&broken));
    harness.upstream(&error("42703", "no such column"));
    harness.answer(Verdict::Approved);
    let first = harness.resolutions();
    assert_eq!(
        (first.len(), first[0].1),
        (1, Verdict::Denied),
        "what was skipped is not executed: {first:?}"
    );
    assert_eq!(
        harness.take_upstream(),
        sync(),
        "the second execution waits for an answer of its own"
    );
    harness.upstream(&ready('I'));
    harness.answer(Verdict::Approved);
    assert_eq!(harness.take_upstream(), all(&again));
    assert_eq!(harness.resolutions()[1].1, Verdict::Approved);
}

/// A notice in the middle of a row would break the stream.
#[test]
fn the_notice_does_not_come_in_the_middle_of_a_message() {
    let mut harness = Harness::ready(Policy::holding(&[Verb::Write]));
    harness.client(&query("SELECT 1"));
    let answer = all(&[row_description(), data_row(&[b'x'; 200])]);
    harness.upstream(&answer[..answer.len() - 50]);
    harness.forget();
    harness.client(&query(UPDATE));
    assert_eq!(harness.outcome.to_client, b"");
    harness.upstream(&answer[answer.len() - 50..]);
    assert_eq!(harness.outcome.to_client, &answer[answer.len() - 50..]);
}

#[test]
fn a_login_that_is_held_goes_on_when_it_is_approved() {
    let startup = startup(0, &[("user", "ci"), ("database", "app")]);
    let mut harness = Harness::new(Policy::holding(&[Verb::Authenticate]));
    harness.client(&startup);
    assert_eq!(
        (harness.take_upstream(), harness.take_client()),
        (vec![], String::new())
    );
    harness.answer(Verdict::Approved);
    assert_eq!(harness.take_upstream(), startup);

    let mut harness = Harness::new(Policy::holding(&[Verb::Authenticate]));
    harness.client(&startup).answer(Verdict::Denied);
    assert_eq!(harness.take_client(), "E42501");
    assert!(harness.outcome.closed);
}

#[test]
fn a_cancel_request_that_is_held_is_sent_when_it_is_approved() {
    let shared = Arc::new(Shared::new(Limits::default()));
    let policy = Policy::holding(&[Verb::Connect]);
    let mut harness = Harness::in_gateway(&shared, policy, 8, origin(1));
    harness.client(&cancel_request(1, &[0; 4]));
    assert!(harness.outcome.error.is_none() && !harness.outcome.closed);
    harness.answer(Verdict::Denied);
    assert!(harness.outcome.closed);
}

//! Portals, which anything can run that knows their names.
use super::harness::{Harness, Policy};
use super::messages::{
    all, bare, bind, close, complete, data_row, execute, flush, kinds, parse, query, ready, sync,
};
use gateway_core::Verb;

#[test]
fn a_portal_is_fetched_from_in_parts() {
    let mut harness = Harness::ready(Policy::allowing());
    harness.client(&all(&[
        parse("", "SELECT a FROM t"),
        bind("p", ""),
        execute("p"),
        flush(),
    ]));
    harness.upstream(&all(&[
        bare('1'),
        bare('2'),
        data_row(b"1"),
        data_row(b"2"),
        bare('s'),
    ]));
    harness.client(&all(&[execute("p"), close('P', "p"), sync()]));
    harness.upstream(&all(&[complete("SELECT 0"), bare('3'), ready('I')]));
    let rows: Vec<_> = harness
        .outcome
        .answers
        .iter()
        .map(|(_, answer)| answer.rows)
        .collect();
    assert_eq!(rows, [None, None, Some(2), Some(0)]);
    assert_eq!(harness.statements(), ["SELECT a FROM t"; 4]);
}

#[test]
fn portals_end_with_their_transaction() {
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&all(&[parse("", "SELECT 1"), bind("p", ""), sync()]));
    harness.upstream(&all(&[bare('1'), bare('2'), ready('I')]));
    harness.client(&all(&[execute("p"), sync()]));
    assert_eq!(
        harness.statements(),
        ["SELECT 1", "SELECT 1", "!portal \"p\""]
    );

    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&all(&[
        query("BEGIN"),
        parse("", "SELECT 1"),
        bind("p", ""),
        sync(),
    ]));
    harness.upstream(&all(&[
        complete("BEGIN"),
        ready('T'),
        bare('1'),
        bare('2'),
        ready('T'),
    ]));
    harness.client(&all(&[execute("p"), sync()]));
    assert_eq!(
        harness.statements(),
        ["BEGIN", "SELECT 1", "SELECT 1", "SELECT 1"]
    );
}

#[test]
fn a_bound_portal_keeps_its_statement() {
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&all(&[
        parse("s", "SELECT 'old'"),
        bind("p", "s"),
        close('S', "s"),
        parse("s", "SELECT 'new'"),
        execute("p"),
        bind("q", "s"),
        execute("q"),
        sync(),
    ]));
    let expected = [
        "SELECT 'old'",
        "SELECT 'old'",
        "SELECT 'new'",
        "SELECT 'old'",
        "SELECT 'new'",
        "SELECT 'new'",
    ]
    .map(String::from);
    assert_eq!(harness.statements(), expected, "parsed, bound, executed");
}

#[test]
fn names_of_the_gateways_own_are_not_followed() {
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&all(&[parse("gateway_path", "SELECT 1"), sync()]));
    harness.upstream(&all(&[bare('1'), ready('I')]));
    harness.client(&query("EXECUTE gateway_path"));
    assert!(harness.records().pop().unwrap().denied);
}

/// What a portal of EXECUTE runs can be exchanged, and an approval does not reach that far.
#[test]
fn a_portal_that_executes_another_statement_is_unknown() {
    let mut harness = Harness::ready(Policy::denying(&[]));
    harness.client(&all(&[
        parse("s", "SELECT 1"),
        parse("e", "EXECUTE s"),
        bind("p", "e"),
    ]));
    assert_eq!(harness.statements().pop().unwrap(), "!EXECUTE s");
    let mut harness = Harness::ready(Policy::holding(&[Verb::Delete]));
    harness.client(&all(&[
        parse("s", "SELECT 1"),
        parse("e", "EXECUTE s"),
        bind("", "e"),
    ]));
    assert!(!harness.governor.is_holding());
}

/// What is planned, and what ends a transaction, can run the unnamed portal by its empty name.
#[test]
fn the_unnamed_portal_is_held_where_its_execution_would_be() {
    let mut harness = Harness::ready(Policy::holding(&[Verb::Delete]));
    let bound = all(&[bind("", ""), execute(""), sync()]);
    harness.client(&all(&[parse("", "DELETE FROM t"), bound.clone()]));
    assert_eq!(kinds(&harness.take_upstream()), "P");
    harness.answer(gateway_core::Verdict::Approved);
    assert_eq!(harness.take_upstream(), bound, "and once");
    assert_eq!(harness.resolutions().len(), 1);

    // One that passes is asked for when it is executed, and that alone is on record.
    let mut harness = Harness::ready(Policy::holding(&[Verb::Delete]));
    harness.client(&all(&[parse("", "SELECT 1"), bound]));
    assert_eq!(harness.statements(), ["SELECT 1"; 2]);

    // What it would execute by then.
    let mut harness = Harness::ready(Policy::holding(&[Verb::Delete]));
    harness.client(&all(&[
        parse("s", "SELECT 1"),
        parse("e", "EXECUTE s"),
        bind("", "e"),
        close('S', "s"),
        parse("s", "DELETE FROM t"),
    ]));
    assert!(harness.governor.is_holding());
}

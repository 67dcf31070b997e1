//! Masks while the database changes: by another session, or by this one after it asked.
use super::harness::{Harness, Policy, origin, welcome};
use super::masks::{
    EMAIL_MASKED, ID, QUESTIONS, answer, catalogue, catalogue_in, catalogue_isolated, described,
    letters, loaded, texts,
};
use super::messages::{
    all, bare, bind, close, complete, error, execute, parse, query, raw, ready, startup, sync,
};
use crate::{Limits, Shared};
use std::sync::Arc;

/// Two sessions of one gateway in the same database, which has been read.
fn two_sessions() -> [Harness; 2] {
    let shared = Arc::new(Shared::new(Limits::default()));
    [7, 8].map(|number| {
        let policy = Policy::allowing();
        policy.mask(Arc::new(EMAIL_MASKED));
        let mut harness = Harness::in_gateway(&shared, policy, number, origin(number));
        harness.client(&startup(0, &[("user", "ci"), ("database", "app")]));
        harness.upstream(&welcome());
        harness.client(&query("select 1"));
        if number == 7 {
            harness.upstream(&catalogue());
        }
        harness.upstream(&answer(&[described(&[(0, 0, 23)]), texts(&["1"])]));
        assert_eq!(harness.outcome.error, None);
        harness.forget();
        harness
    })
}

/// What was there is not what is there now.
fn replace(harness: &mut Harness) {
    harness.client(&query("drop table other"));
    assert_eq!(letters(&harness.take_upstream()), "Q");
    harness.upstream(&all(&[complete("DROP TABLE"), ready('I')]));
    assert_eq!(harness.outcome.error, None);
}

fn is_covered(harness: &Harness) -> bool {
    let seen = &harness.outcome.to_client;
    assert!(seen.contains(&b'D'), "there is a row");
    seen.windows(8).any(|window| window == b"[masked]") && !seen.windows(5).any(|w| w == b"value")
}

#[test]
fn a_change_elsewhere_while_the_answer_comes_covers_it() {
    let [mut asks, mut changes] = two_sessions();
    asks.client(&query("select id from users"));
    assert_eq!(letters(&asks.take_upstream()), "Q");
    changes.client(&query("drop table other"));
    changes.upstream(&all(&[complete("DROP TABLE"), ready('I')]));
    asks.upstream(&answer(&[described(&[ID]), texts(&["value"])]));
    assert!(is_covered(&asks));
}

fn was_denied(harness: &Harness) -> bool {
    harness.records().last().is_some_and(|record| record.denied)
}

#[test]
fn nothing_masked_gets_another_name() {
    for text in [
        "alter table users rename to people",
        "alter table users rename column email to mail",
        "begin; alter index users rename to people; commit",
        "alter table users set schema archive",
        "alter schema public rename to archive",
        "create view v as select email from users",
        "create or replace view v as select id, upper(email) from users",
        "create materialized view v as select email from users",
        "explain analyze create materialized view v as select email from users",
        "create schema s create view v as select email from users",
        "create temp view v as select u from users u",
        "alter table users add column mail text generated always as (lower(email)) stored",
    ] {
        let mut harness = loaded();
        harness.client(&query(text));
        if letters(&harness.take_upstream()) == QUESTIONS {
            harness.upstream(&catalogue());
        }
        assert!(was_denied(&harness), "{text}");
    }
    for text in [
        "alter table users rename column id to number",
        "alter table users add column age int",
        "create view v as select id from users",
        "drop table users",
    ] {
        let mut harness = loaded();
        harness.client(&query(text));
        assert!(!was_denied(&harness), "{text}");
    }
}

#[test]
fn a_change_elsewhere_before_the_question_has_the_catalogue_read_anew() {
    let [mut asks, mut changes] = two_sessions();
    replace(&mut changes);
    asks.client(&query("select id from users"));
    assert_eq!(letters(&asks.take_upstream()), QUESTIONS);
    asks.upstream(&catalogue());
    asks.upstream(&answer(&[described(&[ID]), texts(&["value"])]));
    assert_eq!(
        asks.outcome.to_client,
        answer(&[described(&[ID]), texts(&["value"])])
    );
}

#[test]
fn a_change_elsewhere_while_the_catalogue_is_read_has_it_read_again() {
    let [mut asks, mut changes] = two_sessions();
    replace(&mut changes);
    asks.client(&query("select id from users"));
    assert_eq!(letters(&asks.take_upstream()), QUESTIONS);
    // It has to read the catalogue first itself.
    changes.client(&query("drop table another"));
    changes.upstream(&catalogue());
    changes.upstream(&all(&[complete("DROP TABLE"), ready('I')]));
    asks.upstream(&catalogue());
    assert_eq!(letters(&asks.take_upstream()), QUESTIONS, "once more");
    asks.upstream(&catalogue());
    assert_eq!(letters(&asks.take_upstream()), "Q");
}

#[test]
fn who_changes_all_the_time_makes_nobody_wait_for_ever() {
    let [mut asks, mut changes] = two_sessions();
    replace(&mut changes);
    asks.client(&query("select id from users"));
    for _ in 0..3 {
        assert_eq!(letters(&asks.take_upstream()), QUESTIONS);
        changes.client(&query("drop table another"));
        changes.upstream(&catalogue());
        changes.upstream(&all(&[complete("DROP TABLE"), ready('I')]));
        asks.upstream(&catalogue());
    }
    assert_eq!(letters(&asks.take_upstream()), "Q");
    asks.upstream(&answer(&[described(&[ID]), texts(&["value"])]));
    assert!(is_covered(&asks), "nobody knows what it is");
}

#[test]
fn a_portal_from_before_a_change_elsewhere_is_covered() {
    let [mut asks, mut changes] = two_sessions();
    asks.client(&query("begin"));
    asks.upstream(&all(&[complete("BEGIN"), ready('T')]));
    asks.client(&all(&[
        parse("s", "select id from users"),
        bind("p", "s"),
        sync(),
    ]));
    asks.upstream(&all(&[bare('1'), bare('2'), ready('T')]));
    replace(&mut changes);
    asks.forget();
    asks.client(&all(&[execute("p"), sync()]));
    assert_eq!(letters(&asks.take_upstream()), QUESTIONS);
    asks.upstream(&catalogue_in('T'));
    assert_eq!(letters(&asks.take_upstream()), "DES");
    asks.upstream(&all(&[
        described(&[ID]),
        texts(&["value"]),
        complete("SELECT 1"),
        ready('T'),
    ]));
    assert!(is_covered(&asks));
}

#[test]
fn a_portal_from_before_a_change_of_its_own_session_is_covered() {
    let mut harness = loaded();
    harness.client(&query("begin"));
    harness.upstream(&all(&[complete("BEGIN"), ready('T')]));
    harness.client(&all(&[
        parse("s", "select id from users"),
        bind("p", "s"),
        sync(),
    ]));
    harness.upstream(&all(&[bare('1'), bare('2'), ready('T')]));
    harness.client(&query("drop table other"));
    harness.upstream(&all(&[complete("DROP TABLE"), ready('T')]));
    harness.forget();
    harness.client(&all(&[execute("p"), sync()]));
    assert_eq!(letters(&harness.take_upstream()), QUESTIONS);
    harness.upstream(&catalogue_in('T'));
    assert_eq!(letters(&harness.take_upstream()), "DES");
    harness.upstream(&all(&[
        described(&[ID]),
        texts(&["value"]),
        complete("SELECT 1"),
        ready('T'),
    ]));
    assert!(is_covered(&harness));
}

#[test]
fn a_cursor_from_before_a_change_is_covered() {
    let mut harness = loaded();
    harness.client(&query("begin"));
    harness.upstream(&all(&[complete("BEGIN"), ready('T')]));
    harness.client(&query("declare c cursor for select id from users"));
    harness.upstream(&all(&[complete("DECLARE CURSOR"), ready('T')]));
    harness.forget();
    harness.client(&query("fetch c"));
    harness.upstream(&all(&[
        described(&[ID]),
        texts(&["value"]),
        complete("FETCH 1"),
        ready('T'),
    ]));
    assert!(!is_covered(&harness), "nothing has changed yet");
    harness.client(&query("drop table other"));
    harness.upstream(&all(&[complete("DROP TABLE"), ready('T')]));
    harness.forget();
    harness.client(&query("fetch c"));
    assert_eq!(letters(&harness.take_upstream()), QUESTIONS);
    harness.upstream(&catalogue_in('T'));
    assert_eq!(letters(&harness.take_upstream()), "Q");
    harness.upstream(&all(&[
        described(&[ID]),
        texts(&["value"]),
        complete("FETCH 1"),
        ready('T'),
    ]));
    assert!(is_covered(&harness));
}

#[test]
fn a_name_that_is_not_known_has_the_catalogue_read_once_more() {
    let mut harness = loaded();
    harness.client(&query("select id from new_one where id = 1"));
    assert_eq!(letters(&harness.take_upstream()), QUESTIONS);
    harness.upstream(&catalogue());
    // The server says what is the matter with it.
    assert_eq!(
        harness.take_upstream(),
        query("select id from new_one where id = 1")
    );
    harness.upstream(&all(&[error("42P01", "no"), ready('I')]));
    harness.client(&query(
        "create view new_one as select email as id from users; \
         select id from new_one where id = 'a'",
    ));
    harness.upstream(&catalogue());
    assert!(
        harness.records().last().unwrap().denied,
        "it makes it itself"
    );
}

/// In a transaction with a cursor over something sensitive.
fn with_cursor() -> Harness {
    let mut harness = loaded();
    harness.client(&query("begin"));
    harness.upstream(&all(&[complete("BEGIN"), ready('T')]));
    harness.client(&query(
        "declare c cursor for select upper(email) from users",
    ));
    harness.upstream(&all(&[complete("DECLARE CURSOR"), ready('T')]));
    harness.forget();
    harness
}

/// A row of the cursor comes.
fn fetched(harness: &mut Harness) {
    harness.upstream(&all(&[
        described(&[(0, 0, 25)]),
        texts(&["value"]),
        complete("FETCH 1"),
        ready('T'),
    ]));
}

#[test]
fn a_declare_that_fails_makes_nothing_of_the_name() {
    for text in [
        "select 1/0; close c; declare c cursor for select upper(name) from users",
        "declare c cursor for select upper(name) from users",
    ] {
        let mut harness = with_cursor();
        harness.client(&query(text));
        harness.upstream(&all(&[error("22012", "no"), ready('T')]));
        harness.forget();
        harness.client(&query("fetch c"));
        fetched(&mut harness);
        assert!(is_covered(&harness), "{text}");
    }
}

#[test]
fn a_close_that_is_skipped_closes_nothing() {
    let mut harness = with_cursor();
    harness.client(&all(&[
        parse("", "select 1/0"),
        bind("", ""),
        execute(""),
        parse("", "close c"),
        bind("", ""),
        execute(""),
        parse("", "declare c cursor for select upper(name) from users"),
        bind("", ""),
        execute(""),
        sync(),
    ]));
    harness.upstream(&all(&[error("22012", "no"), ready('T')]));
    harness.forget();
    harness.client(&query("fetch c"));
    fetched(&mut harness);
    assert!(is_covered(&harness));
}

#[test]
fn a_cursor_that_was_declared_anew_is_known() {
    let mut harness = with_cursor();
    harness.client(&query("close c"));
    harness.upstream(&all(&[complete("CLOSE CURSOR"), ready('T')]));
    harness.client(&query("declare c cursor for select upper(name) from users"));
    // While it may still fail, nobody knows what the name stands for.
    harness.client(&query("fetch c"));
    harness.upstream(&all(&[complete("DECLARE CURSOR"), ready('T')]));
    harness.forget();
    fetched(&mut harness);
    assert!(is_covered(&harness));
    harness.forget();
    harness.client(&query("fetch c"));
    fetched(&mut harness);
    assert!(!is_covered(&harness));
    // A portal of that name takes its place, perhaps.
    harness.client(&all(&[
        parse("s", "select upper(email) from users"),
        bind("c", "s"),
        sync(),
    ]));
    harness.upstream(&all(&[bare('1'), bare('2'), ready('T')]));
    harness.forget();
    harness.client(&query("fetch c"));
    fetched(&mut harness);
    assert!(is_covered(&harness));
}

/// The answers to so many requests of the extended protocol that declare and close.
fn settled(harness: &mut Harness, answers: &[Vec<u8>]) {
    harness.upstream(&all(&[all(answers), ready('T')]));
    assert_eq!(harness.outcome.error, None);
    harness.forget();
    harness.client(&query("fetch c"));
    fetched(harness);
}

#[test]
fn a_portal_that_takes_the_name_of_a_cursor_takes_it_in_its_turn() {
    let mut harness = with_cursor();
    harness.client(&query("close c"));
    harness.upstream(&all(&[complete("CLOSE CURSOR"), ready('T')]));
    // All of it before the first is answered.
    harness.client(&all(&[
        parse("", "declare c cursor for select upper(name) from users"),
        bind("", ""),
        execute(""),
        close('P', "c"),
        parse("", "select upper(email) from users"),
        bind("c", ""),
        sync(),
    ]));
    harness.forget();
    settled(
        &mut harness,
        &[
            bare('1'),
            bare('2'),
            // The gateway has asked what it returns.
            bare('n'),
            complete("DECLARE CURSOR"),
            bare('3'),
            bare('1'),
            bare('2'),
        ],
    );
    assert!(is_covered(&harness));
}

#[test]
fn several_statements_take_the_name_of_a_cursor_in_their_turn() {
    let mut harness = with_cursor();
    harness.client(&query("close c"));
    harness.upstream(&all(&[complete("CLOSE CURSOR"), ready('T')]));
    harness.client(&all(&[
        query("declare c cursor for select upper(name) from users"),
        query("close c; declare c cursor for select upper(email) from users"),
    ]));
    harness.upstream(&all(&[complete("DECLARE CURSOR"), ready('T')]));
    harness.forget();
    settled(
        &mut harness,
        &[complete("CLOSE CURSOR"), complete("DECLARE CURSOR")],
    );
    assert!(is_covered(&harness));
}

#[test]
fn what_is_executed_by_name_takes_the_name_of_a_cursor() {
    let mut harness = with_cursor();
    harness.client(&query("close c"));
    harness.upstream(&all(&[complete("CLOSE CURSOR"), ready('T')]));
    harness.client(&all(&[
        parse("dc", "declare c cursor for select upper(email) from users"),
        parse("cc", "close c"),
        sync(),
    ]));
    harness.upstream(&all(&[bare('1'), bare('1'), ready('T')]));
    harness.client(&query("declare c cursor for select upper(name) from users"));
    harness.upstream(&all(&[complete("DECLARE CURSOR"), ready('T')]));
    for (text, tag) in [
        ("execute cc", "CLOSE CURSOR"),
        ("execute dc", "DECLARE CURSOR"),
    ] {
        harness.client(&query(text));
        harness.upstream(&all(&[complete(tag), ready('T')]));
    }
    harness.forget();
    harness.client(&query("fetch c"));
    fetched(&mut harness);
    assert!(is_covered(&harness));
}

#[test]
fn a_change_that_is_executed_by_name_is_a_change() {
    let [mut asks, mut changes] = two_sessions();
    changes.client(&all(&[
        parse("ddl", "create or replace view v as select id from users"),
        sync(),
    ]));
    changes.upstream(&all(&[bare('1'), ready('I')]));
    asks.client(&query("select id from users"));
    changes.client(&query("execute ddl"));
    changes.upstream(&all(&[complete("CREATE VIEW"), ready('I')]));
    assert_eq!(changes.outcome.error, None);
    asks.upstream(&answer(&[described(&[ID]), texts(&["value"])]));
    assert!(is_covered(&asks));
}

#[test]
fn what_an_executed_statement_is_given_counts() {
    let mut harness = loaded();
    harness.client(&all(&[
        parse("p1", "insert into users (id) values ($1)"),
        parse("p2", "execute p1(mail_of(1))"),
        sync(),
    ]));
    assert!(harness.records().last().unwrap().denied, "as it is parsed");
    let mut harness = loaded();
    harness.client(&query("prepare p1 as insert into users (id) values ($1)"));
    harness.upstream(&all(&[complete("PREPARE"), ready('I')]));
    harness.client(&query("execute p1(mail_of(1))"));
    assert!(harness.records().last().unwrap().denied);
}

#[test]
fn who_acts_on_the_rows_of_a_cursor_asks_about_them() {
    let mut harness = with_cursor();
    harness.client(&query("update users set name = name where current of c"));
    assert!(harness.records().last().unwrap().denied);
    harness.take_upstream();
    harness.upstream(&all(&[error("42601", "syntax error"), ready('T')]));
    harness.client(&query("declare d cursor for select id from users"));
    harness.upstream(&all(&[complete("DECLARE CURSOR"), ready('T')]));
    harness.client(&query("update users set name = name where current of d"));
    assert!(!harness.records().last().unwrap().denied);
    harness.client(&query("update users set name = name where current of e"));
    assert!(harness.records().last().unwrap().denied, "it is not known");
}

#[test]
fn errors_about_a_sensitive_table_do_not_quote_it_whatever_was_done() {
    let mut harness = loaded();
    for (table, quotes) in [("users", false), ("unknown", false)] {
        harness.forget();
        harness.client(&query("select 1"));
        let mut body = b"SERROR\0C23514\0Mfailing row\0DFailing row contains (x)\0".to_vec();
        body.extend(format!("spublic\0t{table}\0\0").bytes());
        harness.upstream(&all(&[raw(b'E', &body), ready('I')]));
        let seen = &harness.outcome.to_client;
        assert_eq!(seen.windows(8).any(|window| window == b"contains"), quotes);
    }
}

#[test]
fn what_a_snapshot_shows_is_not_believed_by_anybody() {
    let [mut asks, mut changes] = two_sessions();
    asks.client(&query("begin isolation level repeatable read"));
    asks.upstream(&all(&[complete("BEGIN"), ready('T')]));
    replace(&mut changes);
    asks.forget();
    asks.client(&query("select id, name from users"));
    assert_eq!(letters(&asks.take_upstream()), QUESTIONS);
    asks.upstream(&catalogue_isolated('T', "repeatable read"));
    assert_eq!(letters(&asks.take_upstream()), "Q");
    asks.upstream(&all(&[
        described(&[ID, (0, 0, 25)]),
        texts(&["value", "value"]),
        complete("SELECT 1"),
        ready('T'),
    ]));
    assert_eq!(asks.outcome.error, None);
    assert!(is_covered(&asks));
    // Nor is it for others.
    changes.forget();
    changes.client(&query("select id from users"));
    assert_eq!(letters(&changes.take_upstream()), QUESTIONS);
}

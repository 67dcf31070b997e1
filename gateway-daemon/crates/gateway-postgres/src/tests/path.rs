//! The search path: what the server tells of it, and what becomes of it.
use super::extended::{ran, rejected, run};
use super::harness::{Harness, Policy, welcome_before_18};
use super::messages::{
    all, bare, bind, complete, copy_data, copy_response, data_row, error, execute, flush, kinds,
    parse, query, ready, row_description, startup, sync,
};

#[test]
fn a_statement_is_read_anew_under_another_search_path() {
    let done = |tag: &str| all(&[complete(tag), ready('I')]);
    let mut harness = Harness::ready_before_18(Policy::allowing());
    harness.policy.deny_object("secret.users");
    harness.client(&all(&[parse("s", "DELETE FROM users"), run("s")]));
    harness.upstream(&all(&[bare('1'), ran()]));
    harness
        .client(&query("SET search_path TO secret"))
        .upstream(&done("SET"));
    harness.client(&run("s")).upstream(&rejected());
    harness
        .client(&query("SET search_path TO public"))
        .upstream(&done("SET"));
    harness.client(&run("s")).upstream(&ran());
    let deletes: Vec<_> = harness
        .statements()
        .into_iter()
        .filter(|statement| statement.contains("DELETE"))
        .collect();
    let expected = [
        "DELETE FROM users",
        "DELETE FROM users",
        "!DELETE FROM users",
        "DELETE FROM users",
    ];
    assert_eq!(deletes, expected.map(String::from));
}

#[test]
fn the_search_path_follows_the_transaction() {
    let done = |tag: &str, state: char| all(&[complete(tag), ready(state)]);
    let path = |steps: &[(&str, &str, char)]| {
        let mut harness = Harness::ready_before_18(Policy::allowing());
        for (statement, tag, state) in steps {
            harness
                .client(&query(statement))
                .upstream(&done(tag, *state));
        }
        harness.take_upstream();
        harness.client(&query("DELETE FROM users"));
        if harness.outcome.paused {
            let (.., state) = steps.last().unwrap();
            harness.tell_path_in("asked", *state);
        }
        harness.records().pop().unwrap().objects
    };
    let set = ("SET search_path TO other", "SET", 'T');
    let local = ("SET LOCAL search_path TO other", "SET", 'T');
    let begin = ("BEGIN", "BEGIN", 'T');
    for (name, steps, expected) in [
        ("as it began", vec![], "public.users"),
        (
            "set",
            vec![("SET search_path TO other", "SET", 'I')],
            "other.users",
        ),
        ("in a transaction", vec![begin, set], "other.users"),
        (
            "committed",
            vec![begin, set, ("COMMIT", "COMMIT", 'I')],
            "other.users",
        ),
        (
            "rolled back",
            vec![begin, set, ("ROLLBACK", "ROLLBACK", 'I')],
            "public.users",
        ),
        (
            "a failed one",
            vec![begin, set, ("COMMIT", "ROLLBACK", 'I')],
            "public.users",
        ),
        ("local", vec![begin, local], "other.users"),
        (
            "local, committed",
            vec![begin, local, ("COMMIT", "COMMIT", 'I')],
            "public.users",
        ),
        (
            "to a savepoint",
            vec![begin, set, ("ROLLBACK TO a", "ROLLBACK", 'T')],
            "asked.users",
        ),
        (
            "to a savepoint where it was what it is outside",
            vec![
                begin,
                set,
                ("SAVEPOINT a", "SAVEPOINT", 'T'),
                ("SET search_path TO public", "SET", 'T'),
                ("ROLLBACK TO a", "ROLLBACK", 'T'),
            ],
            "asked.users",
        ),
        (
            "at once",
            vec![("SET search_path TO other; ROLLBACK", "ROLLBACK", 'I')],
            "asked.users",
        ),
        (
            "the other way",
            vec![("ROLLBACK; SET search_path TO other", "ROLLBACK", 'I')],
            "asked.users",
        ),
        (
            "what it was",
            vec![begin, ("RESET search_path", "RESET", 'T')],
            "asked.users",
        ),
    ] {
        assert_eq!(path(&steps), [expected], "{name}");
    }
}

/// Whenever nobody knows it and nothing is open, the server is asked.
#[test]
fn a_search_path_that_got_lost_is_asked_for() {
    let done = |tag: &str, state: char| all(&[complete(tag), ready(state)]);
    for lost in ["RESET search_path", "DISCARD ALL", "unreadable"] {
        let mut harness = Harness::ready_before_18(Policy::allowing());
        // In one go: what is behind it waits, is not refused, and asks.
        harness.client(&all(&[query(lost), query("DELETE FROM users")]));
        assert_eq!(harness.take_upstream(), query(lost));
        harness.upstream(&done("X", 'I')).tell_path("back");
        assert_eq!(harness.records().pop().unwrap().objects, ["back.users"]);
    }
    // In a transaction it holds for that.
    let mut harness = Harness::ready_before_18(Policy::allowing());
    let mut ask = |sql: &str, tag: &str, state: char, path: Option<&str>| {
        harness.take_upstream();
        harness.client(&query(sql));
        path.inspect(|path| _ = harness.tell_path_in(path, state));
        assert_eq!(harness.take_upstream(), query(sql));
        harness.upstream(&done(tag, state));
        harness.records().pop().unwrap().objects
    };
    ask("BEGIN", "BEGIN", 'T', None);
    ask("RESET ALL", "RESET", 'T', None);
    assert_eq!(
        ask("DELETE FROM users", "X", 'T', Some("back")),
        ["back.users"]
    );
    ask("COMMIT", "COMMIT", 'I', None);
    assert_eq!(
        ask("DELETE FROM users", "X", 'I', Some("after")),
        ["after.users"]
    );
}

/// A Query takes the client's unnamed statement away.
#[test]
fn the_question_for_the_search_path_leaves_the_unnamed_statement_alone() {
    let mut harness = Harness::ready_before_18(Policy::allowing());
    harness.client(&all(&[parse("", "SELECT 1"), sync()]));
    harness.upstream(&all(&[bare('1'), ready('I')]));
    harness.client(&all(&[
        parse("r", "RESET ALL"),
        bind("", "r"),
        execute(""),
        sync(),
    ]));
    harness.upstream(&all(&[bare('1'), bare('2'), complete("RESET"), ready('I')]));
    harness.take_upstream();
    harness.client(&all(&[bind("", ""), execute(""), sync()]));
    assert_eq!(kinds(&harness.take_upstream()), "C C P B E C C S");
    let answers = [bare('3'), bare('3'), bare('1'), bare('2')];
    let row = [
        data_row(b"public"),
        complete("SHOW"),
        bare('3'),
        bare('3'),
        ready('I'),
    ];
    harness.take_client();
    harness.upstream(&all(&[all(&answers), all(&row)]));
    assert_eq!(harness.take_client(), "");
    assert_eq!(kinds(&harness.take_upstream()), "B E S");
    assert_eq!(harness.statements().pop().unwrap(), "SELECT 1");
}

#[test]
fn a_cancelled_question_for_the_search_path_is_asked_again() {
    let mut harness = Harness::new(Policy::allowing());
    harness.client(&startup(0, &[("user", "ci")]));
    harness.upstream(&welcome_before_18()).take_upstream();
    harness.client(&query("DELETE FROM users"));
    let cancelled = all(&[error("57014", "canceling statement"), ready('I')]);
    assert_eq!(kinds(&harness.take_upstream()), "Q");
    harness.upstream(&cancelled);
    harness.tell_path("public");
    assert_eq!(harness.records().pop().unwrap().objects, ["public.users"]);
}

/// Nothing of the gateway's goes into the middle of a frame of the client's.
#[test]
fn nothing_is_sent_in_the_middle_of_a_frame() {
    let mut harness = Harness::ready_before_18(Policy::allowing());
    harness.client(&query("RESET ALL; COPY t FROM STDIN"));
    harness.upstream(&all(&[complete("RESET"), copy_response('G')]));
    let data = copy_data(&[b'x'; 100]);
    harness.client(&data[..50]).take_upstream();
    harness.upstream(&all(&[error("22P02", "bad"), ready('I')]));
    assert_eq!(harness.take_upstream(), b"");
    harness.client(&data[50..]);
    assert_eq!(harness.take_upstream(), &data[50..]);
    harness.client(&query("SELECT 1"));
    harness.tell_path("public");
    assert_eq!(harness.take_upstream(), query("SELECT 1"));
}

/// What is committed, and only then said to have failed, has happened.
#[test]
fn what_failed_when_it_was_done_is_not_undone() {
    for (sql, name) in [("DEALLOCATE s", "s"), ("PREPARE t AS SELECT 2", "t")] {
        let mut harness = Harness::ready(Policy::denying(&[]));
        harness.client(&all(&[
            parse("s", "SELECT 1"),
            parse("i", "INSERT INTO d VALUES (1)"),
            sync(),
        ]));
        harness.upstream(&all(&[bare('1'), bare('1'), ready('I')]));
        for late in [sql, &format!("PREPARE {name} AS SELECT 3")] {
            harness.client(&all(&[bind("", "i"), execute(""), flush()]));
            harness.upstream(&all(&[bare('2'), complete("INSERT 0 1")]));
            harness.client(&query(late));
            harness.upstream(&all(&[error("23505", "deferred"), ready('I')]));
        }
        harness.client(&query(&format!("EXECUTE {name}")));
        assert_eq!(harness.outcome.error, None);
        assert!(harness.records().pop().unwrap().denied, "{sql}");
    }
    // A setting of a text that was done.
    let mut harness = Harness::ready_before_18(Policy::allowing());
    harness.client(&query("SELECT set_config('search_path', 'secret', false)"));
    let late = all(&[
        row_description(),
        complete("SELECT 1"),
        error("22P05", "a log"),
        ready('I'),
    ]);
    harness.upstream(&late).take_upstream();
    harness.client(&query("DELETE FROM users"));
    harness.tell_path("secret");
    assert_eq!(harness.records().pop().unwrap().objects, ["secret.users"]);
}

/// A portal can be run by any statement, and a cursor is by FETCH: what they make of the search path
/// then, they may make at any time.
#[test]
fn what_sets_the_search_path_when_it_is_fetched_from() {
    let sets = "SELECT set_config('search_path', 'other', false)";
    let declare = format!("DECLARE c CURSOR FOR {sets}");
    let named = all(&[parse("", sets), bind("p", ""), sync()]);
    let bound = all(&[bare('1'), bare('2'), ready('T')]);
    for (sent, answer) in [
        (
            query(&declare),
            all(&[complete("DECLARE CURSOR"), ready('T')]),
        ),
        (named, bound),
    ] {
        for certain in ["SELECT 1", "SET search_path TO known"] {
            let mut harness = Harness::ready_before_18(Policy::allowing());
            harness
                .client(&query("BEGIN"))
                .upstream(&all(&[complete("BEGIN"), ready('T')]));
            harness.client(&sent).upstream(&answer);
            harness
                .client(&query(certain))
                .upstream(&all(&[complete("X"), ready('T')]));
            harness.client(&query("DELETE FROM users"));
            assert_eq!(harness.outcome.error, None);
            assert_eq!(harness.records().pop().unwrap().objects, ["users"]);
        }
    }
}

/// A portal runs as it was planned; a command looks its names up when it runs.
#[test]
fn a_portal_of_another_search_path_names_nothing_for_certain() {
    let mut harness = Harness::ready_before_18(Policy::allowing());
    harness
        .client(&query("BEGIN"))
        .upstream(&all(&[complete("BEGIN"), ready('T')]));
    harness.client(&all(&[
        parse("", "DELETE FROM users"),
        bind("p", ""),
        sync(),
    ]));
    harness.upstream(&all(&[bare('1'), bare('2'), ready('T')]));
    harness.client(&all(&[execute("p"), sync()]));
    harness.upstream(&all(&[complete("DELETE 0"), ready('T')]));
    assert_eq!(harness.records().pop().unwrap().objects, ["public.users"]);
    harness
        .client(&query("SET search_path TO other"))
        .upstream(&all(&[complete("SET"), ready('T')]));
    harness.client(&all(&[execute("p"), sync()]));
    assert_eq!(harness.records().pop().unwrap().objects, ["users"]);
}

#[test]
fn a_search_path_on_its_way_is_not_known() {
    let mut harness = Harness::ready_before_18(Policy::allowing());
    harness
        .client(&query("SET search_path TO other"))
        .client(&query("DELETE FROM users"));
    assert_eq!(harness.records().len(), 1, "it waits");
    harness.upstream(&all(&[complete("SET"), ready('I')]));
    assert_eq!(harness.records().pop().unwrap().objects, ["other.users"]);
    harness.upstream(&all(&[complete("DELETE 0"), ready('I')]));
    // Nobody tells before the Sync what becomes of it.
    harness.client(&all(&[
        parse("", "SET search_path TO third"),
        bind("", ""),
        execute(""),
    ]));
    harness.client(&parse("", "DELETE FROM users"));
    harness.upstream(&all(&[bare('1'), bare('2'), complete("SET")]));
    assert_eq!(harness.records().pop().unwrap().objects, ["users"]);
}

//! The search path: what the server tells of it, and what becomes of it.
use super::extended::{ran, rejected, run};
use super::harness::{Harness, Policy, welcome_before_18};
use super::messages::{
    all, bare, bind, complete, copy_data, copy_response, data_row_of, error, execute, flush, kinds,
    parameter_status, parse, query, ready, row_description, startup, sync,
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
    assert_eq!(kinds(&harness.outcome.to_upstream), "C C P B E C C S");
    harness.take_client();
    harness.tell_path("public");
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

/// `"$user"` in the path is the schema of the role.
#[test]
fn the_schema_of_the_role_is_in_the_search_path() {
    const USER: &str = "\"$user\", public";
    let done = |tag: &str, state: char| all(&[complete(tag), ready(state)]);
    let names = |harness: &Harness| harness.records().pop().unwrap().objects;
    let delete = query("DELETE FROM users");
    // Every server is asked, also one that reports the setting.
    for reported in ["public", USER] {
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&startup(0, &[("user", "ci")]));
        let report = parameter_status("search_path", reported);
        let welcome = all(&[
            welcome_before_18()[..9].to_vec(),
            report,
            welcome_before_18()[9..].to_vec(),
        ]);
        harness.upstream(&welcome).take_upstream();
        harness.client(&delete);
        if reported == USER {
            harness.tell([USER, "ci", "t"], 'I');
            assert_eq!(names(&harness), ["ci.users", "public.users"]);
            harness.upstream(&done("DELETE 0", 'I'));
            // Also there another role is another schema.
            harness
                .client(&query("SET ROLE other"))
                .upstream(&done("SET", 'I'));
            harness.take_upstream();
            harness.client(&delete).tell([USER, "other", "t"], 'I');
            assert_eq!(names(&harness), ["other.users", "public.users"]);
        } else {
            assert_eq!(names(&harness), ["public.users"]);
        }
    }
    // Whatever makes it another one: what is behind that waits, and asks.
    for other in [
        "SET ROLE other",
        "SET SESSION AUTHORIZATION other",
        "SELECT set_config('role', 'other', false)",
        "RESET ROLE",
        "CREATE SCHEMA ci",
        "ALTER SCHEMA a RENAME TO ci",
        "ALTER ROLE ci RENAME TO other",
    ] {
        let mut harness = Harness::ready_before_18(Policy::allowing());
        harness.client(&all(&[query(other), delete.clone()]));
        assert_eq!(harness.take_upstream(), query(other));
        harness
            .upstream(&done("X", 'I'))
            .tell([USER, "other", "t"], 'I');
        assert_eq!(names(&harness), ["other.users", "public.users"], "{other}");
    }
    // Where the path does not name it, nobody asks.
    let mut harness = Harness::ready_before_18(Policy::allowing());
    for sets in ["SET search_path TO public", "SET ROLE other"] {
        harness.client(&query(sets)).upstream(&done("SET", 'I'));
    }
    harness.client(&delete);
    assert_eq!(names(&harness), ["public.users"]);
    // Nor is a path believed that names it again, when nobody knows who that is.
    harness.upstream(&done("DELETE 0", 'I'));
    harness
        .client(&query(&format!("SET search_path TO {USER}")))
        .upstream(&done("SET", 'I'))
        .take_upstream();
    harness.client(&delete).tell([USER, "other", "t"], 'I');
    assert_eq!(names(&harness), ["other.users", "public.users"]);
}

#[test]
fn the_schema_of_the_role_follows_the_transaction() {
    const USER: &str = "\"$user\", public";
    let done = |tag: &str, state: char| all(&[complete(tag), ready(state)]);
    let names = |harness: &Harness| harness.records().pop().unwrap().objects;
    let delete = query("DELETE FROM users");
    let local = "SET LOCAL ROLE other";
    for (ends, tag, state) in [
        ("COMMIT", "COMMIT", 'I'),
        ("ROLLBACK", "ROLLBACK", 'I'),
        ("COMMIT AND CHAIN", "COMMIT", 'T'),
        ("ROLLBACK TO a", "ROLLBACK", 'T'),
    ] {
        let mut harness = Harness::ready_before_18(Policy::allowing());
        for (sql, tag) in [
            ("BEGIN", "BEGIN"),
            ("SAVEPOINT a", "SAVEPOINT"),
            (local, "SET"),
        ] {
            harness.client(&query(sql)).upstream(&done(tag, 'T'));
        }
        // Whether it is there nobody tells within a transaction.
        harness.client(&delete);
        assert_eq!(names(&harness), ["other.users", "public.users"]);
        harness.upstream(&done("DELETE 0", 'T'));
        harness.client(&query(ends)).upstream(&done(tag, state));
        harness.take_upstream();
        let (told, expected) = match state {
            'I' => ([USER, "ci", "f"], vec!["public.users"]),
            _ => ([USER, "none", "ci"], vec!["ci.users", "public.users"]),
        };
        harness.client(&delete).tell(told, state);
        assert_eq!(names(&harness), expected, "{ends}");
    }
    // In one text, and in one go: who knows which comes first.
    for at_once in [
        query("ROLLBACK; SET ROLE other"),
        query("SET ROLE other; ROLLBACK"),
        all(&[
            all(&[parse("", "ROLLBACK"), bind("", ""), execute("")]),
            all(&[
                parse("", "SET ROLE other"),
                bind("", ""),
                execute(""),
                sync(),
            ]),
        ]),
    ] {
        let mut harness = Harness::ready_before_18(Policy::allowing());
        harness
            .client(&query("BEGIN"))
            .upstream(&done("BEGIN", 'T'));
        harness.take_upstream();
        harness.client(&at_once);
        let answers = match kinds(&harness.take_upstream()).as_str() {
            "P B E P B E S" => [
                bare('1'),
                bare('2'),
                complete("ROLLBACK"),
                bare('1'),
                bare('2'),
            ]
            .concat(),
            _ => complete("ROLLBACK"),
        };
        harness.upstream(&all(&[answers, done("SET", 'I')]));
        harness.take_upstream();
        harness.client(&delete).tell([USER, "other", "t"], 'I');
        assert_eq!(names(&harness), ["other.users", "public.users"]);
    }
    // A path that was read when the role was another.
    let mut harness = Harness::ready_before_18(Policy::allowing());
    let sets = format!("SET search_path TO {USER}");
    harness.client(&all(&[parse("s", &sets), sync()]));
    harness.upstream(&all(&[bare('1'), ready('I')]));
    for sql in ["SET search_path TO a", "SET ROLE other"] {
        harness.client(&query(sql)).upstream(&done("SET", 'I'));
    }
    harness
        .client(&run("s"))
        .upstream(&all(&[bare('2'), complete("SET"), ready('I')]));
    harness.take_upstream();
    harness.client(&delete).tell([USER, "other", "t"], 'I');
    assert_eq!(names(&harness), ["other.users", "public.users"]);
}

/// A path that is set while the role is another for a while, or while anything can run what changes it,
/// is not what it says for longer.
#[test]
fn a_search_path_that_is_set_under_another_role_lasts_as_long() {
    const USER: &str = "\"$user\", public";
    const SET: &str = "SET search_path TO \"$user\", public";
    let sets_role = "SELECT set_config('role', 'other', false)";
    let done = |tag: &str, state: char| all(&[complete(tag), ready(state)]);
    let names = |harness: &Harness| harness.records().pop().unwrap().objects;
    let delete = query("DELETE FROM users");
    let run_in = |harness: &mut Harness, sql: &str, state: char| {
        harness
            .client(&query(sql))
            .upstream(&done("X", state))
            .take_upstream();
    };
    let mut harness = Harness::ready_before_18(Policy::allowing());
    for (sql, state) in [("BEGIN", 'T'), ("SET LOCAL ROLE other", 'T'), (SET, 'T')] {
        run_in(&mut harness, sql, state);
    }
    harness
        .client(&query("COMMIT"))
        .upstream(&done("COMMIT", 'I'))
        .take_upstream();
    harness.client(&delete).tell([USER, "ci", "t"], 'I');
    assert_eq!(names(&harness), ["ci.users", "public.users"]);
    // A portal, a cursor, and the unnamed portal behind something that could have run it.
    let bound = |portal: &str| all(&[parse("", sets_role), bind(portal, ""), sync()]);
    let answer = all(&[bare('1'), bare('2'), ready('T')]);
    for (sent, answer) in [
        (bound("p"), answer.clone()),
        (bound(""), answer),
        (
            query(&format!("DECLARE c CURSOR FOR {sets_role}")),
            done("DECLARE CURSOR", 'T'),
        ),
    ] {
        let mut harness = Harness::ready_before_18(Policy::allowing());
        for (sql, state) in [("SET search_path TO public", 'I'), ("BEGIN", 'T')] {
            run_in(&mut harness, sql, state);
        }
        harness.client(&sent).upstream(&answer).take_upstream();
        run_in(&mut harness, SET, 'T');
        harness.client(&delete);
        if harness.outcome.paused {
            harness.tell([USER, "none", "ci"], 'T');
        }
        assert_eq!(harness.outcome.error, None);
        assert_eq!(names(&harness), ["users"]);
        harness.upstream(&done("DELETE 0", 'T'));
        harness
            .client(&query("COMMIT"))
            .upstream(&done("COMMIT", 'I'))
            .take_upstream();
        harness.client(&delete).tell([USER, "other", "t"], 'I');
        assert_eq!(names(&harness), ["other.users", "public.users"]);
    }
}

/// A procedure commits what was set before it, of which no tag tells.
#[test]
fn code_that_ends_transactions_leaves_the_search_path_unknown() {
    let done = |tag: &str, state: char| all(&[complete(tag), ready(state)]);
    let sends = |sql: &str| all(&[parse("", sql), bind("", ""), execute("")]);
    let ran = |tag: &str| all(&[bare('1'), bare('2'), complete(tag)]);
    for fails in [false, true] {
        let mut harness = Harness::ready_before_18(Policy::allowing());
        if fails {
            harness.client(&all(&[sends("SET search_path TO secret"), flush()]));
            harness.upstream(&ran("SET"));
            harness.client(&query("CALL p()"));
            harness.upstream(&all(&[error("P0001", "raised"), ready('I')]));
        } else {
            harness.client(&all(&[
                sends("SET search_path TO secret"),
                sends("CALL p()"),
                sends("SELECT 1"),
                sync(),
            ]));
            // Each is sent when those before it are answered.
            for tag in ["SET", "CALL"] {
                for answer in [bare('1'), bare('2'), complete(tag)] {
                    harness.upstream(&answer);
                }
            }
            harness.upstream(&error("22012", "no"));
            harness.upstream(&ready('I'));
        }
        assert_eq!(harness.outcome.error, None);
        harness.take_upstream();
        harness.client(&query("DELETE FROM users"));
        harness.tell_path("secret");
        assert_eq!(harness.records().pop().unwrap().objects, ["secret.users"]);
        harness.upstream(&done("DELETE 0", 'I'));
    }
}

/// What drivers send: nothing can have run a portal that was bound just now.
#[test]
fn the_unnamed_portal_that_sets_the_path_is_not_in_its_own_way() {
    for (name, value) in [("role", "other"), ("search_path", "public")] {
        let mut harness = Harness::ready_before_18(Policy::allowing());
        let sql = format!("SELECT set_config('{name}', '{value}', false)");
        harness.client(&all(&[parse("", &sql), bind("", ""), execute(""), sync()]));
        let executed = harness.records().pop().unwrap();
        // Under an unknown path it would be anybody's function.
        let unresolved = executed
            .objects
            .iter()
            .any(|object| object.contains("set_config"));
        assert!(!unresolved, "{executed:?}");
    }
}

/// Who tells too little, too much or what cannot be read has told nothing.
#[test]
fn a_search_path_that_cannot_be_read_is_unknown() {
    let row = |values: &[&[u8]]| data_row_of(values);
    for rows in [
        vec![],
        vec![row(&[b"public"])],
        vec![row(&[b"public", b"ci"])],
        vec![row(&[b"public", b"ci", b"maybe"])],
        vec![row(&[b"public", b"\xff", b"t"])],
        vec![row(&[b"\xff", b"ci", b"f"])],
    ] {
        let mut harness = Harness::new(Policy::allowing());
        harness.client(&startup(0, &[("user", "ci")]));
        harness.upstream(&welcome_before_18()).take_upstream();
        harness.client(&query("DELETE FROM users"));
        let told = all(&[
            row_description(),
            all(&rows),
            complete("SELECT 1"),
            ready('I'),
        ]);
        harness.upstream(&told);
        assert_eq!(harness.outcome.error, None);
        assert_eq!(
            harness.records().pop().unwrap().objects,
            ["users"],
            "{rows:?}"
        );
    }
    let mut harness = Harness::new(Policy::allowing());
    harness.client(&startup(0, &[("user", "ci")]));
    harness.upstream(&welcome_before_18()).take_upstream();
    harness.client(&query("DELETE FROM users"));
    harness.upstream(&all(&[row_description(), row(&[b"public".as_slice(); 4])]));
    assert!(harness.outcome.error.is_some());
}

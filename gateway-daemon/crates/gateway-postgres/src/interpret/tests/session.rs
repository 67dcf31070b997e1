//! What statements change in the session, and prepared statements.
use super::*;

fn changes(sql: &str) -> SessionChanges {
    classify(sql).changes.clone()
}

#[test]
#[rustfmt::skip] // one row per line
fn the_search_path_changes() {
    use SearchPathChange::{Becomes, BecomesLocally, Reset, Unchanged, Unknown};
    let path = |text| SearchPath::parse(text, &RoleSchema::Absent);
    let bobs = SearchPath::parse("\"$user\"", &RoleSchema::of("bob"));
    let rows: &[(&str, SearchPathChange)] = &[
        ("SELECT 1", Unchanged),
        ("SET search_path = a", Becomes(path("a"))),
        ("SET search_path TO a, \"B\", 'c d'", Becomes(SearchPath::of(["a", "B", "c d"], &RoleSchema::Absent))),
        ("SET search_path = 'a, b'", Becomes(SearchPath::of(["a, b"], &RoleSchema::Absent))),
        ("SET search_path = \"$user\", public", Becomes(path("\"$user\", public"))),
        ("SET search_path = \"$user\"; SET ROLE bob", Becomes(bobs.clone())),
        ("SET ROLE bob; SET search_path = \"$user\"", Becomes(bobs.clone())),
        ("CREATE SCHEMA bob; SET search_path = \"$user\"", Becomes(bobs.clone())),
        ("SET search_path = \"$user\"; RESET ROLE", Unknown),
        ("DECLARE c CURSOR FOR SELECT set_config('search_path', 'a', false); SET search_path = b", Unknown),
        ("DECLARE c CURSOR FOR SELECT set_config('role', 'a', false); SET search_path = b", Unknown),
        ("SELECT set_config('search_path', 'a'::pg_catalog.text, false)", Becomes(path("a"))),
        ("SELECT set_config('search_path', 'a'::text, false)", Unknown),
        ("SET search_path = a, pg_catalog; SELECT set_config('search_path', 'a', false)", Unknown),
        ("SET search_path = a, pg_catalog; SELECT pg_catalog.set_config('search_path', 'a', false)", Becomes(path("a"))),
        ("SELECT set_config(name, 'a', false) FROM pg_catalog.pg_settings WHERE name = 'work_mem'", Unchanged),
        ("SELECT set_config(name, 'a', false) FROM pg_settings WHERE name = 'work_mem'", Unknown),
        ("SELECT set_config(name, 'a', false) FROM pg_catalog.pg_settings WHERE name = 'work_mem'::varchar", Unknown),
        ("SELECT set_config('search_path', 'a'::varchar, false)", Unknown),
        ("SELECT set_config('search_path'::varchar, 'a', false)", Unknown),
        ("SET search_path = \"$user\"; SET ROLE none", Unknown),
        ("SET search_path = \"$user\"; SELECT set_config('role', $1, false)", Unknown),
        ("SET ROLE bob; SET search_path = a", Becomes(path("a"))),
        ("COMMIT; SET search_path = \"$user\"", Unknown),
        ("SET search_path = \"$user\"; SET LOCAL ROLE bob; COMMIT", Unknown),
        ("SET search_path = \"$user\"; SELECT 1; COMMIT", Becomes(path("\"$user\""))),
        ("SELECT set_config('role', 'bob', false), set_config('search_path', '\"$user\"', false)", Becomes(bobs)),
        ("SET search_path = ''", Becomes(path(""))),
        ("SET \"Search_Path\" = a", Becomes(path("a"))),
        ("SET SCHEMA 'a'", Becomes(path("a"))),
        ("SET search_path = 1", Unknown),
        ("SET LOCAL search_path = a", BecomesLocally(path("a"))),
        ("SET LOCAL search_path = DEFAULT", BecomesLocally(SearchPath::unknown())),
        ("SET search_path = DEFAULT", Reset),
        ("RESET search_path", Reset),
        ("RESET ALL", Reset),
        ("DISCARD ALL", Reset),
        ("DISCARD TEMP", Unchanged),
        ("SELECT set_config('search_path', 'a, b', false)", Becomes(path("a, b"))),
        ("SELECT pg_catalog.set_config('search_path', '', false)", Becomes(path(""))),
        ("SELECT set_config('SEARCH_PATH', '\"A\"', true)", BecomesLocally(path("\"A\""))),
        ("SELECT set_config('search_path', $1, false)", Unknown),
        ("SELECT set_config('search_path', 'a', $1)", Unknown),
        ("SELECT set_config('search_path', 'a b', false)", Unknown),
        ("SELECT set_config('search_path', 'a', false) WHERE false", Unknown),
        ("SELECT set_config('search_path', 'a', false) FROM t", Unknown),
        ("SELECT lower(set_config('search_path', 'a', false))", Unknown),
        ("INSERT INTO t SELECT set_config('search_path', 'a', false)", Unknown),
        ("SELECT set_config($1, 'a', false)", Unknown),
        ("SELECT set_config('work_mem', 'a', false)", Unchanged),
        ("UPDATE pg_settings SET setting = 'a' WHERE name = 'search_path'", Unknown),
        ("SET search_path = a; SET search_path = b", Becomes(path("b"))),
        ("SET search_path = a; SET LOCAL search_path = b", Unknown),
        ("SET LOCAL search_path = a; SET search_path = b", Becomes(path("b"))),
        ("BEGIN; SET LOCAL search_path = a; COMMIT", Unchanged),
        ("BEGIN; SET search_path = a; COMMIT", Becomes(path("a"))),
        ("BEGIN; SET search_path = a; ROLLBACK", Unknown),
        ("BEGIN; SET LOCAL search_path = a; ROLLBACK TO b", Unknown),
        ("ROLLBACK", Unchanged),
        ("ALTER ROLE bob SET search_path = a", Unchanged),
        ("ALTER DATABASE d SET search_path = a", Unchanged),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = a AS 'SELECT 1'", Unchanged),
        ("no SQL", Unknown),
    ];
    for (sql, expected) in rows {
        assert_eq!(changes(sql).search_path, *expected, "{sql}");
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn later_statements_of_a_text_see_the_path_of_those_before() {
    check(&[
        ("SET search_path = s; SELECT * FROM a", "read s.a"),
        ("SELECT * FROM a; SET search_path = s; SELECT * FROM a", "read public.a, s.a"),
        ("SET search_path = s, t; DELETE FROM a", "read; delete s.a, t.a"),
        ("SET LOCAL search_path = s; SELECT * FROM a; COMMIT; SELECT * FROM b", "read s.a, public.b"),
        ("SELECT set_config('search_path', 's', false); SELECT * FROM a", "read s.a"),
        ("SELECT set_config('search_path', $1, false); SELECT * FROM a", "read ?a"),
        ("SELECT set_config('search_path', 's', false), (SELECT x FROM a); SELECT * FROM a",
         "read public.a, s.a"),
        ("SELECT set_config('search_path', $1, false), lower('x'), (SELECT x FROM a)",
         "read public.a"),
        ("SET search_path = s; ROLLBACK; SELECT * FROM a", "read ?a"),
        ("ROLLBACK TO x; SELECT * FROM a", "read ?a"),
        ("RESET ALL; SELECT * FROM a", "read ?a"),
        ("SET search_path = s; CREATE TABLE a (x int)", "read; define s.a"),
        ("SET search_path = s, pg_catalog; SELECT lower('x')", "read; execute s.lower"),
        ("CREATE SCHEMA s CREATE TABLE a (x int); SELECT * FROM b",
         "read s.b, public.b; define s.*, s.a, public.a"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn other_settings_change() {
    // plain_strings, text_encoding, role, may_revert
    let rows: &[(&str, [bool; 4])] = &[
        ("SET work_mem = 1", [false; 4]),
        ("SET standard_conforming_strings = off", [true, false, false, false]),
        ("SET \"STANDARD_CONFORMING_STRINGS\" = off", [true, false, false, false]),
        ("SELECT set_config('standard_conforming_strings', 'off', false)", [true, false, false, false]),
        ("RESET standard_conforming_strings", [true, false, false, false]),
        ("SET client_encoding = 'SJIS'", [false, true, false, false]),
        ("SET NAMES 'SJIS'", [false, true, false, false]),
        ("SET ROLE bob", [false, false, true, false]),
        ("RESET ROLE", [false, false, true, false]),
        ("SET SESSION AUTHORIZATION bob", [false, false, true, false]),
        ("RESET ALL", [true, true, false, false]),
        ("DISCARD ALL", [true, true, true, false]),
        ("SELECT set_config($1, $2, false)", [true, true, true, false]),
        ("UPDATE pg_settings SET setting = 'x'", [true, true, true, false]),
        ("SET LOCAL ROLE bob", [false, false, true, false]),
        ("RESET ROLE", [false, false, true, false]),
        ("SET SESSION AUTHORIZATION DEFAULT", [false, false, true, false]),
        ("COMMIT PREPARED 'a'", [false, false, true, false]),
        ("CREATE SCHEMA bob", [false, false, true, false]),
        ("ALTER SCHEMA a RENAME TO bob", [false, false, true, false]),
        ("ALTER ROLE a RENAME TO bob", [false, false, true, false]),
        ("DECLARE c CURSOR FOR SELECT set_config('role', 'a', false)", [false, false, true, false]),
        ("ROLLBACK", [false, false, false, true]),
        ("ROLLBACK TO SAVEPOINT a", [false, false, false, true]),
        ("COMMIT", [false; 4]),
        ("FETCH c", [true, true, false, false]),
        ("SET CONSTRAINTS ALL IMMEDIATE", [true, true, false, false]),
        ("no SQL", [true; 4]),
    ];
    for (sql, expected) in rows {
        let changes = changes(sql);
        let actual = [changes.plain_strings, changes.text_encoding, !changes.role.is_empty(), changes.may_revert];
        assert_eq!(actual, *expected, "{sql}");
        assert_eq!(changes.is_empty(), sql.contains("work_mem") || *sql == "COMMIT", "{sql}");
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn prepared_statements_are_judged_when_they_are_prepared() {
    check(&[
        ("PREPARE p AS SELECT * FROM a WHERE id = $1", "read public.a"),
        ("PREPARE p (int, text) AS DELETE FROM a", "delete public.a"),
        ("PREPARE \"as\" (numeric(10, 2)) AS INSERT INTO a VALUES ($1)", "write public.a"),
        ("PREPARE/* AS */p/**/AS/**/SELECT f()", "read; execute public.f"),
        ("PREPARE p AS MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE",
         "read public.b; delete public.a"),
        ("SET search_path = s; PREPARE p AS SELECT * FROM a", "read s.a"),
        ("PREPARE p AS DELETE FROM a; EXECUTE p", "delete public.a"),
        ("PREPARE p AS DELETE FROM a; EXECUTE p(f())", "delete public.a; execute public.f"),
        ("PREPARE p AS DELETE FROM a; DEALLOCATE p; EXECUTE p", "read; delete public.a; unknown ?*"),
        ("PREPARE p AS DELETE FROM a; DEALLOCATE ALL; EXECUTE p", "read; delete public.a; unknown ?*"),
        ("PREPARE p AS DELETE FROM a; DISCARD ALL; EXECUTE p", "read; delete public.a; unknown ?*"),
        // The server looks names up anew when the path has become another.
        ("PREPARE p AS DELETE FROM a; SET search_path = s; EXECUTE p",
         "read; delete public.a; unknown ?*"),
        ("EXECUTE p", "unknown ?*"),
        ("EXECUTE p(1, 'x')", "unknown ?*"),
        ("SELECT 1; EXECUTE p", "read; unknown ?*"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn what_may_end_a_transaction_is_told() {
    let rows: &[(&str, bool)] = &[
        ("SELECT 1", false),
        ("BEGIN", false),
        ("SAVEPOINT a", false),
        ("RELEASE a", false),
        ("SET work_mem = 1", false),
        ("COMMIT", true),
        ("END", true),
        ("ROLLBACK", true),
        ("ROLLBACK TO a", true),
        ("PREPARE TRANSACTION 'x'", true),
        ("SELECT * FROM a; COMMIT; SELECT * FROM b", true),
        ("DO 'x'", true),
        ("CALL p()", true),
        ("EXECUTE p", true),
        ("PREPARE p AS SELECT 1; EXECUTE p", false),
        ("no SQL", true),
    ];
    for (sql, expected) in rows {
        assert_eq!(classify(sql).may_end_transaction, *expected, "{sql}");
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn what_is_prepared_is_told() {
    let prepared = changes("PREPARE p (int) AS DELETE FROM a WHERE id = $1;").prepared;
    let [PreparedChange::Prepare(prepared)] = prepared.as_slice() else { panic!("{prepared:?}") };
    assert_eq!(prepared.name, "p");
    assert_eq!(&*prepared.statement, "DELETE FROM a WHERE id = $1");
    assert_eq!(rendered(&prepared.classification.effects), "delete public.a");
    assert_ne!(prepared.classification.shape, 0);
    assert_eq!(
        changes("DEALLOCATE p; DEALLOCATE ALL; DISCARD ALL").prepared,
        [
            PreparedChange::Deallocate("p".into()),
            PreparedChange::DeallocateAll,
            PreparedChange::DeallocateAll
        ]
    );
    assert_eq!(changes("no SQL").prepared, [PreparedChange::Unknown]);
}

#[test]
#[rustfmt::skip] // one row per line
fn executes_unite_with_what_the_session_knows() {
    let classifier = Classifier::new(16);
    let context = SqlContext::default();
    let known = |name: &str| match name {
        "d" => Some(classifier.classify("DELETE FROM a", &context)),
        "w" => Some(classifier.classify("UPDATE b SET x = 1 WHERE id = $1", &context)),
        "nested" => Some(classifier.classify("EXECUTE other", &context)),
        _ => None,
    };
    let rows: &[(&str, &[&str], &str, bool)] = &[
        ("EXECUTE d", &["d"], "delete public.a", false),
        ("EXECUTE w(1)", &["w"], "write public.b", true),
        ("EXECUTE d; EXECUTE w(1); EXECUTE d", &["d", "w"], "write public.b; delete public.a", false),
        ("EXECUTE w(f())", &["w"], "write public.b; execute public.f", true),
        ("EXECUTE gone", &["gone"], "unknown ?*", false),
        ("EXECUTE d; EXECUTE gone", &["d", "gone"], "delete public.a; unknown ?*", false),
        ("EXECUTE nested", &["nested"], "unknown ?*", false),
        ("EXPLAIN ANALYZE EXECUTE d", &["d"], "read; delete public.a", false),
        ("CREATE TABLE c AS EXECUTE w(1)", &["w"], "write public.c, public.b; define public.c", true),
        ("DELETE FROM c; EXECUTE w(1)", &["w"], "write public.b; delete public.c", false),
        ("SELECT * FROM a", &[], "read public.a", true),
    ];
    for (sql, executes, expected, has_where) in rows {
        let alone = classifier.classify(sql, &context);
        assert_eq!(alone.executes, *executes, "{sql}");
        let united = classifier.unite(&alone, known);
        assert_eq!(rendered(&united.effects), *expected, "{sql}");
        assert_eq!(united.has_where(), *has_where, "{sql}");
        assert!(united.executes.is_empty(), "{sql}");
    }
    // The everyday case costs no new number, so a decision about it can be remembered.
    let once = classifier.unite(&classifier.classify("EXECUTE w(1)", &context), known);
    let again = classifier.unite(&classifier.classify("EXECUTE w(2)", &context), known);
    assert_eq!(once.shape, again.shape);
}

/// PostgreSQL executes so whatever the protocol prepared: `SET`, `COMMIT`, even `PREPARE`.
#[test]
#[rustfmt::skip] // one row per line
fn what_is_executed_changes_the_session() {
    let classifier = Classifier::new(16);
    let context = SqlContext::default();
    let known = |name: &str| match name {
        "set" => Some(classifier.classify("SET search_path = evil", &context)),
        "role" => Some(classifier.classify("SET ROLE bob", &context)),
        "strings" => Some(classifier.classify("SET standard_conforming_strings = off", &context)),
        "prepare" => Some(classifier.classify("PREPARE p AS SELECT 1", &context)),
        "rollback" => Some(classifier.classify("ROLLBACK", &context)),
        "read" => Some(classifier.classify("SELECT 1", &context)),
        _ => None,
    };
    let united = |sql: &str| classifier.unite(&classifier.classify(sql, &context), known);
    let changes = |sql: &str| united(sql).changes.clone();
    use SearchPathChange::{Becomes, Unchanged, Unknown};
    assert_eq!(changes("EXECUTE set").search_path, Becomes(SearchPath::of(["evil"], &RoleSchema::Absent)));
    assert_eq!(changes("SELECT 1; EXECUTE set").search_path, Unknown);
    assert_eq!(changes("EXECUTE set; SET search_path = a").search_path, Unknown);
    assert_eq!(changes("EXECUTE read; SELECT 1").search_path, Unchanged);
    assert!(!changes("EXECUTE role").role.is_empty());
    assert_eq!(changes("EXECUTE role; SELECT 1").role.becomes, Some(RoleSchema::Unknown));
    assert!(changes("EXECUTE strings; SELECT 1").plain_strings);
    assert!(changes("EXECUTE rollback; SELECT 1").may_revert);
    assert!(united("EXECUTE rollback; SELECT 1").may_end_transaction);
    assert_eq!(changes("EXECUTE prepare; SELECT 1").prepared, [PreparedChange::Unknown]);
    assert_eq!(changes("EXECUTE gone; SELECT 1").search_path, Unknown);
    assert!(changes("EXECUTE gone").plain_strings);
}

#[test]
#[rustfmt::skip] // one row per line
fn names_after_an_execute_are_not_resolved() {
    // Within one text the path after EXECUTE is whatever that made of it.
    check(&[
        ("EXECUTE p; SELECT * FROM a", "read ?a; unknown ?*"),
        ("SELECT * FROM a; EXECUTE p", "read public.a; unknown ?*"),
        ("PREPARE p AS SELECT 1; EXECUTE p; SELECT * FROM a", "read public.a"),
    ]);
}

//! Texts that are made to look like something else.
use super::*;

#[test]
#[rustfmt::skip] // one row per line
fn nothing_hides() {
    check(&[
        // Comments, quotes and statements behind statements.
        ("SELECT 1; DROP TABLE a", "read; define public.a"),
        ("SELECT 1;\n\n;DROP TABLE a;--", "read; define public.a"),
        ("/* /* */ DROP TABLE a */ SELECT 1", "read"),
        ("/* /* */ */ DROP TABLE a /* SELECT 1 */", "define public.a"),
        ("SELECT 1 -- \n ; DROP TABLE a", "read; define public.a"),
        ("SELECT 1 --\r;DROP TABLE a", "read; define public.a"),
        ("SELECT '--'; DROP TABLE a --'", "read; define public.a"),
        ("SELECT $$'$$; DROP TABLE a; SELECT $x$ $$ $x$", "read; define public.a"),
        ("SELECT E'\\''; DROP TABLE a; --'", "read; define public.a"),
        ("SELECT '\\'; DROP TABLE a; --'", "read; define public.a"),
        ("SELECT E'\\'; DROP TABLE a; --'", "read"),
        ("SELECT U&'\\0027; DROP TABLE a'", "read"),
        ("SELECT \"a\"\"; DROP TABLE b\" FROM c", "read public.c"),
        ("DR/**/OP TABLE a", "unknown ?*"),
        ("DELETE/**/FROM/**/a", "delete public.a"),
        ("dElEtE\tfRoM\x0ca", "delete public.a"),
        ("SELECT 'a'\n'b'; DELETE FROM c", "read; delete public.c"),
        ("SELECT 'DELETE FROM a' AS \"DROP TABLE b\"", "read"),
        ("SELECT 1 AS delete, 2 AS \"update\", 3 \"insert\" FROM a AS truncate", "read public.a"),
        ("DELETE FROM \"a;SELECT\" WHERE true", "delete public.a;SELECT"),
        ("TABLE \"WITH\"", "read public.WITH"),
        // Names in another writing.
        ("DELETE FROM U&\"\\0061\"", "delete public.a"),
        ("DELETE FROM U&\"!0061\" UESCAPE '!'", "delete public.a"),
        ("SELECT U&\"pg\\005fread\\005ffile\"('x')", "read; admin pg_catalog.pg_read_file"),
        ("SELECT \"pg_read_file\"('x')", "read; admin pg_catalog.pg_read_file"),
        ("SELECT PG_Read_File('x')", "read; admin pg_catalog.pg_read_file"),
        ("SELECT pg_catalog . pg_read_file ( 'x' )", "read; admin pg_catalog.pg_read_file"),
        ("SELECT d.pg_catalog.pg_read_file('x')", "read; admin pg_catalog.pg_read_file"),
        ("SELECT pg_read_file(VARIADIC ARRAY['x'])", "read; admin pg_catalog.pg_read_file"),
        ("SELECT \"PG_READ_FILE\"('x')",
         "read; execute public.PG_READ_FILE"),
        // Deep inside.
        ("INSERT INTO a VALUES (1) RETURNING pg_read_file('x')",
         "read public.a; write public.a; admin pg_catalog.pg_read_file"),
        ("SELECT array_agg(x ORDER BY pg_read_file('x')) FROM a",
         "read public.a; admin pg_catalog.pg_read_file"),
        ("SELECT 1 FROM a GROUP BY CUBE (pg_read_file('x'))",
         "read public.a; admin pg_catalog.pg_read_file"),
        ("SELECT 1 FROM a WINDOW w AS (PARTITION BY pg_read_file('x'))",
         "read public.a; admin pg_catalog.pg_read_file"),
        ("SELECT * FROM a JOIN b ON pg_read_file('x') = a.x",
         "read public.a, public.b; admin pg_catalog.pg_read_file"),
        ("SELECT * FROM XMLTABLE(XMLNAMESPACES(pg_read_file('n') AS n), '/r' PASSING 'x' \
          COLUMNS c text DEFAULT lo_import('y'))",
         "read; admin pg_catalog.pg_read_file, pg_catalog.lo_import"),
        ("SELECT * FROM JSON_TABLE('{}', '$' PASSING pg_read_file('x') AS p COLUMNS \
          (NESTED PATH '$' COLUMNS (c text PATH '$' DEFAULT lo_import('y') ON EMPTY)))",
         "read; admin pg_catalog.pg_read_file, pg_catalog.lo_import"),
        ("WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n FROM t) CYCLE n SET c TO \
          'y' DEFAULT 'n' USING p, u AS (DELETE FROM a RETURNING *) SELECT * FROM t, u",
         "read public.a; delete public.a"),
        ("SELECT * FROM (VALUES (pg_read_file('x'))) v", "read; admin pg_catalog.pg_read_file"),
        ("SELECT (ARRAY[1, 2])[pg_advisory_lock(1)::text::int]", "read; write pg_catalog.pg_advisory_lock"),
        ("SELECT 'a' LIKE 'b' ESCAPE pg_read_file('x')", "read; admin pg_catalog.pg_read_file"),
        ("SELECT x FROM a ORDER BY x FETCH FIRST (SELECT nextval('s')) ROWS WITH TIES",
         "read public.a; write public.s"),
        ("SELECT GROUPING(pg_read_file('x')) FROM a",
         "read public.a; admin pg_catalog.pg_read_file"),
        ("CREATE VIEW v AS WITH d AS (SELECT pg_read_file('x')) SELECT * FROM d",
         "define public.v; admin pg_catalog.pg_read_file"),
        ("CREATE INDEX i ON a ((pg_read_file(x)))", "define public.a; admin pg_catalog.pg_read_file"),
        ("ALTER TABLE a ALTER x SET DEFAULT pg_read_file('x')",
         "define public.a; admin pg_catalog.pg_read_file"),
        ("CREATE DOMAIN d AS text DEFAULT pg_read_file('x')",
         "define public.d; admin pg_catalog.pg_read_file"),
        ("CREATE TABLE a (x text CHECK (x <> pg_read_file('x')), EXCLUDE USING gist \
          (lo_import(x) WITH =) WHERE (pg_ls_dir('y') IS NULL))",
         "define public.a; admin pg_catalog.pg_read_file, pg_catalog.lo_import, pg_catalog.pg_ls_dir"),
        ("CREATE FUNCTION f(x text = pg_read_file('x')) RETURNS int LANGUAGE sql RETURN 1",
         "define public.f; admin pg_catalog.pg_read_file"),
        ("CREATE RULE r AS ON UPDATE TO a WHERE pg_read_file('x') = 'y' DO INSTEAD NOTIFY n",
         "write channel:n; define public.a; admin pg_catalog.pg_read_file"),
        ("CREATE RULE r AS ON UPDATE TO a DO (INSERT INTO b VALUES (1); DELETE FROM c)",
         "write public.b; delete public.c; define public.a"),
        ("EXECUTE p(pg_read_file('x'))", "admin pg_catalog.pg_read_file; unknown ?*"),
        ("CALL p(pg_read_file('x'))", "execute public.p; admin pg_catalog.pg_read_file"),
        ("COPY a FROM STDIN WHERE x = pg_read_file('x')",
         "write public.a; transfer public.a, pg_catalog.pg_read_file; admin pg_catalog.pg_read_file"),
        ("DECLARE c CURSOR FOR SELECT pg_read_file('x')", "read; admin pg_catalog.pg_read_file"),
        ("PREPARE p AS SELECT pg_read_file($1)", "read; admin pg_catalog.pg_read_file"),
        ("EXPLAIN (ANALYZE) EXECUTE p(lo_import('x'))",
         "read; admin pg_catalog.lo_import; unknown ?*"),
        // What the grammar refuses, and what is not for the grammar.
        ("SELECT", "read"),
        ("DELETE a", "unknown ?*"),
        ("SELECT * FROM", "unknown ?*"),
        ("SELECT 'unterminated", "unknown ?*"),
        ("/* unterminated", "unknown ?*"),
        ("DELETE FROM a; this is no SQL", "unknown ?*"),
        ("WITH d AS (DROP TABLE a) SELECT 1", "unknown ?*"),
        ("BASE_BACKUP", "unknown ?*"),
        ("IDENTIFY_SYSTEM", "unknown ?*"),
        ("START_REPLICATION SLOT s LOGICAL 0/0", "unknown ?*"),
        ("\\copy a to 'b'", "unknown ?*"),
        ("SELECT 1\\;DROP TABLE a", "unknown ?*"),
        ("DELETE FROM a WHERE id = 1_", "unknown ?*"),
        ("SELECT 1a", "unknown ?*"),
        ("\u{feff}SELECT 1", "unknown ?*"),
        ("SELECT\u{a0}1", "unknown ?*"),
        ("DELETE FROM ä", "delete public.ä"),
        ("CREATE ASSERTION a CHECK (true)", "unknown ?*"),
        ("SELECT 1\0; DROP TABLE a", "unknown ?*"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn strings_that_may_escape_are_not_read() {
    let uncertain =
        SqlContext { plain_strings: PlainStrings::Uncertain, ..SqlContext::default() };
    check_in(&uncertain, &[
        ("SELECT 'a' FROM b", "read public.b"),
        ("SELECT 'a''b' FROM b", "read public.b"),
        ("SELECT '\\' FROM b", "unknown ?*"),
        ("SELECT '\\'' ; DROP TABLE a; --' FROM b", "unknown ?*"),
        ("SELECT 'x' -- \\\n FROM b", "read public.b"),
        ("SELECT \"\\\" FROM b", "read public.b"),
        ("SELECT E'x' FROM b", "read public.b"),
        ("SELECT E'\\n' FROM b", "unknown ?*"),
        ("SELECT $$\\$$ FROM b", "unknown ?*"),
        ("SELECT 'unterminated \\", "unknown ?*"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn letters_of_another_encoding_are_not_read() {
    let uncertain =
        SqlContext { text_encoding: TextEncoding::Uncertain, ..SqlContext::default() };
    check_in(&uncertain, &[
        ("SELECT 'a' FROM b", "read public.b"),
    ]);
    let classifier = Classifier::new(16);
    for sql in ["SELECT 'ä' FROM b", "SELECT 1 -- あ\n", "SELECT \"ä\""] {
        let classification = classifier.classify(sql, &uncertain);
        assert_eq!(rendered(&classification.effects), "unknown ?*", "{sql}");
    }
}

#[test]
fn names_of_another_encoding_are_not_read_and_strings_are() {
    let converted = SqlContext {
        text_encoding: TextEncoding::Converted,
        ..SqlContext::default()
    };
    let classifier = Classifier::new(16);
    let of = |sql: &str| rendered(&classifier.classify(sql, &converted).effects);
    assert_eq!(of("SELECT 'ä' FROM b"), "read public.b");
    for sql in [
        "SELECT \"ä\" FROM b",
        "SELECT ä FROM b",
        "SELECT U&\"\\00E9\" FROM b",
        "SELECT u&\"d\" FROM b",
    ] {
        assert_eq!(of(sql), "unknown ?*", "{sql}");
    }
    // And what was read elsewhere is not remembered for this.
    let _ = classifier.classify("SELECT ö FROM b", &SqlContext::default());
    assert_eq!(of("SELECT ö FROM b"), "unknown ?*");
}

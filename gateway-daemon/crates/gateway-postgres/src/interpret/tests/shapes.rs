//! Shapes: what shares one, what must not, and the lexer held against PostgreSQL's scanner.
use super::*;
use proptest::prelude::*;

/// The shape of a statement, or `None` when the lexer is in doubt.
fn shape(sql: &str) -> Option<String> {
    let mut written = Vec::new();
    let scan = write_shape(sql, &mut written);
    scan.certain
        .then(|| String::from_utf8(written).expect("UTF-8"))
}

#[test]
#[rustfmt::skip] // one row per line
fn literals_are_taken_out_and_nothing_else() {
    let rows: &[(&str, Option<&str>)] = &[
        ("", Some("")),
        ("SELECT 1", Some("SELECT 0")),
        ("SELECT 12345, -1, +2", Some("SELECT 0, -0, +0")),
        ("SELECT 1-1", Some("SELECT 0-0")),
        ("SELECT 1--1\n,2", Some("SELECT 0--1\n,0")),
        ("SELECT 1.5, 1e9, 1.5E-3, 2e+1", Some("SELECT 0.0, 0.0, 0.0, 0.0")),
        ("SELECT 'a', '', 'it''s', '\\'", Some("SELECT '', '', '', ''")),
        ("SELECT 'a'\n'b'", Some("SELECT ''\n''")),
        ("SELECT 'a' 'b'", Some("SELECT '' ''")),
        ("SELECT 'a'1", Some("SELECT ''0")),
        ("SELECT $1, $22", Some("SELECT $1, $22")),
        ("SELECT a1, a$1, _2, \"3\", \"a\"\"4'\"", Some("SELECT a1, a$1, _2, \"3\", \"a\"\"4'\"")),
        ("SELECT ä1 FROM ß", Some("SELECT ä1 FROM ß")),
        ("SELECT 1::int, a[1:2], f(a := 1), t.a", Some("SELECT 0::int, a[0:0], f(a := 0), t.a")),
        ("SELECT 1 -- '2'\n", Some("SELECT 0 -- '2'\n")),
        ("SELECT /* 1 /* '2' */ 3 */ 4", Some("SELECT /* 1 /* '2' */ 3 */ 0")),
        ("SELECT 1/*2*/+3", Some("SELECT 0/*2*/+0")),
        ("SELECT 1 */*2*/3", Some("SELECT 0 */*2*/0")),
        ("SELECT note'x'", Some("SELECT note''")),
        ("SELECT date '2020-01-01'", Some("SELECT date ''")),
        ("SELECT xe'a'", Some("SELECT xe''")),
        // The numbers of columns stay.
        ("SELECT a, 5 FROM b ORDER BY 1", Some("SELECT a, 0 FROM b ORDER BY 1")),
        ("SELECT a GROUP by\n12 , 3,\t4, a, 5", Some("SELECT a GROUP by\n12 , 3,\t4, a, 0")),
        ("SELECT a ORDER BY 1 DESC, 2", Some("SELECT a ORDER BY 1 DESC, 0")),
        ("SELECT a ORDER BY (1), -1", Some("SELECT a ORDER BY (0), -0")),
        ("SELECT a ORDER BY 1234, 1", Some("SELECT a ORDER BY 0, 0")),
        ("SELECT a ORDER BY 01, 1.5", Some("SELECT a ORDER BY 0, 0.0")),
        ("SELECT a ORDER BY -- by\n1", Some("SELECT a ORDER BY -- by\n0")),
        ("SELECT standby 1, \"by\" 1", Some("SELECT standby 0, \"by\" 0")),
        // In doubt.
        ("SELECT E'a'", None),
        ("SELECT e'a\\''", None),
        ("SELECT B'1', X'1F'", None),
        ("SELECT N'a'", None),
        ("SELECT U&'a'", None),
        ("SELECT U&\"a\"", None),
        ("SELECT $$a$$", None),
        ("SELECT $a$b$a$", None),
        ("SELECT 1.", None),
        ("SELECT .5", None),
        ("SELECT 1..2", None),
        ("SELECT 1.5.5", None),
        ("SELECT 0x1F", None),
        ("SELECT 0b1, 0o7", None),
        ("SELECT 1_000", None),
        ("SELECT 1e", None),
        ("SELECT 1e+", None),
        ("SELECT 12abc", None),
        ("SELECT 1ä", None),
        ("SELECT $1a", None),
        ("SELECT $", None),
        ("SELECT 'a", None),
        ("SELECT \"a", None),
        ("SELECT /* a", None),
        ("SELECT /* /* */ a", None),
        ("SELECT \\a", None),
        ("SELECT {1}", None),
        ("SELECT\x0b1", None),
        ("SELECT\x011", None),
        ("SELECT 1\0", None),
    ];
    for (sql, expected) in rows {
        assert_eq!(shape(sql).as_deref(), *expected, "{sql:?}");
        check_shape(sql).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn a_backslash_in_a_plain_string_is_told() {
    let rows: &[(&str, bool)] = &[
        ("SELECT 'a'", false),
        ("SELECT '\\'", true),
        ("SELECT 'a', 'b\\c', 'd'", true),
        ("SELECT \"\\\"", false),
        ("SELECT 1 -- '\\'\n", false),
        ("SELECT /* '\\' */ 1", false),
    ];
    for (sql, expected) in rows {
        let scan = write_shape(sql, &mut Vec::new());
        assert!(scan.certain, "{sql}");
        assert_eq!(scan.plain_backslash, *expected, "{sql}");
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn statements_that_differ_in_literals_share_a_classification() {
    let classifier = Classifier::new(64);
    let context = SqlContext::default();
    let shape = |sql: &str| classifier.classify(sql, &context).shape;
    for (left, right) in [
        ("SELECT * FROM a WHERE id = 1", "SELECT * FROM a WHERE id = 22"),
        ("SELECT * FROM a WHERE x = 'b'", "SELECT * FROM a WHERE x = 'it''s; DROP TABLE c'"),
        ("INSERT INTO a VALUES (1, 'x')", "INSERT INTO a VALUES (2, '')"),
        ("UPDATE a SET x = 1.5 WHERE y = 1e3", "UPDATE a SET x = 2.5 WHERE y = 1e-9"),
        ("DELETE FROM a WHERE id = 1", "DELETE FROM a WHERE id = 99999999999999999999"),
        ("SET LOCAL app.user_id = '1'", "SET LOCAL app.user_id = '2'"),
        ("EXECUTE p(1)", "EXECUTE p(2)"),
    ] {
        assert_eq!(shape(left), shape(right), "{left} / {right}");
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn statements_whose_literals_matter_do_not() {
    let classifier = Classifier::new(64);
    let context = SqlContext::default();
    for (left, right) in [
        ("SELECT nextval('a')", "SELECT nextval('b')"),
        ("SELECT set_config('role', 'x', false)", "SELECT set_config('y', 'x', false)"),
        ("SET search_path = 'a'", "SET search_path = 'b'"),
        ("SET ROLE 'a'", "SET ROLE 'b'"),
        ("EXPLAIN (ANALYZE 0) DELETE FROM a", "EXPLAIN (ANALYZE 1) DELETE FROM a"),
        ("EXPLAIN (ANALYZE 'off') DELETE FROM a", "EXPLAIN (ANALYZE 'on') DELETE FROM a"),
        ("COPY a TO '/x'", "COPY a TO '/y'"),
        ("DO 'a'", "DO 'b'"),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE 'sql' AS ''",
         "CREATE FUNCTION f() RETURNS int LANGUAGE 'c' AS ''"),
        ("SELECT 1", "SELECT 1.5"),
        ("SELECT 1", "SELECT '1'"),
        ("SELECT 1", "SELECT $1"),
        ("SELECT 1", "SELECT -1"),
        ("SELECT * FROM a", "SELECT * FROM A"),
        ("PREPARE p AS SELECT nextval('a')", "PREPARE p AS SELECT nextval('b')"),
    ] {
        let (first, second) = (classifier.classify(left, &context), classifier.classify(right, &context));
        assert_ne!(first.shape, second.shape, "{left} / {right}");
        // And in the other order, on a fresh cache.
        let other = Classifier::new(64);
        let second_first = other.classify(right, &context);
        assert_eq!(rendered(&second_first.effects), rendered(&second.effects), "{right}");
        assert_eq!(rendered(&other.classify(left, &context).effects), rendered(&first.effects));
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn one_text_under_two_settings_is_two() {
    let classifier = Classifier::new(64);
    let sql = "SELECT * FROM a WHERE id = 1";
    let default = SqlContext::default();
    let elsewhere = SqlContext { search_path: SearchPath::of(["s"], &RoleSchema::Absent), ..default.clone() };
    let first = classifier.classify(sql, &default);
    let second = classifier.classify(sql, &elsewhere);
    assert_eq!(rendered(&first.effects), "read public.a");
    assert_eq!(rendered(&second.effects), "read s.a");
    assert_eq!(classifier.classify(sql, &default).shape, first.shape);
    assert_eq!(classifier.classify(sql, &elsewhere).shape, second.shape);
}

#[test]
#[rustfmt::skip] // one row per line
fn equal_elements_of_a_list_are_one() {
    let rows: &[(&str, &str)] = &[
        ("VALUES (0), (0), (0)", "VALUES (0)"),
        ("VALUES (0, ''),\n(0, ''), (0, NULL), (0, '')", "VALUES (0, ''), (0, NULL)"),
        ("SELECT 0 IN (0, 0, 0.0, 0)", "SELECT 0 IN (0, 0.0)"),
        ("VALUES (0, '', 0), (0, '', 0)", "VALUES (0, '')"),
        ("x IN (0, f(0), 0)", "x IN (0, f(0), 0)"),
        ("SELECT 0, 0, 0", "SELECT 0"),
        ("SELECT '', ''::int, ''", "SELECT '', ''::int, ''"),
        ("SELECT \"0, 0\", a0, a0", "SELECT \"0, 0\", a0, a0"),
        ("SELECT \"a\"\"0, 0\"", "SELECT \"a\"\"0, 0\""),
        ("SELECT 0 -- , 0, 0\n, 0", "SELECT 0 -- , 0, 0\n, 0"),
        ("SELECT /* 0, 0 */ 0, 0", "SELECT /* 0, 0 */ 0, 0"),
        ("VALUES (0 /* ) */), (0 /* ) */)", "VALUES (0 /* ) */), (0 /* ) */)"),
        ("VALUES (0 -- )\n), (0 -- )\n)", "VALUES (0 -- )\n), (0 -- )\n)"),
        ("VALUES (\")\"), (\")\")", "VALUES (\")\"), (\")\")"),
        ("SELECT 0, 0; SELECT 0, 0", "SELECT 0; SELECT 0"),
        ("f(0), (0) x", "f(0), (0) x"),
    ];
    for (shape, expected) in rows {
        assert_eq!(abridge(shape), *expected, "{shape:?}");
    }
}

/// Pieces of SQL that are easily taken for something else, next to each other in any order.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "SELECT ",
        "DELETE FROM a ",
        "VALUES ",
        "FROM ",
        "WHERE ",
        "a",
        "e",
        "E",
        "u",
        "U&",
        "n",
        "x",
        "b",
        "'",
        "''",
        "\"",
        "$",
        "$$",
        "$a$",
        "$1",
        "0",
        "1",
        "12",
        ".",
        "..",
        "1.5",
        "1e5",
        "1e",
        "0x1f",
        "_",
        "1_0",
        "-",
        "--",
        "/",
        "*",
        "/*",
        "*/",
        "\n",
        "\r",
        " ",
        "\t",
        "\x0c",
        "\x0b",
        "\\",
        "\\'",
        "(",
        ")",
        "(1)",
        "(1, 'a')",
        ",",
        ", ",
        ";",
        ":",
        "::",
        ":=",
        "=",
        "=>",
        "<",
        "+",
        "@",
        "{",
        "}",
        "ä",
        "\u{a0}",
        "あ",
        "'a'",
        "'a'\n'b'",
        "'it''s'",
        "E'\\''",
        "nextval('a')",
        "set_config('role','b',false)",
        "f(",
        "UESCAPE '!'",
        "AS ",
        "IN ",
        "NULL",
        "\u{1}",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_lexer_agrees_with_the_scanner(sql in pieces()) {
        if let Err(error) = check_shape(&sql) {
            prop_assert!(false, "{}", error);
        }
    }

    #[test]
    fn any_text_is_classified(sql in "\\PC{0,64}") {
        let classification = classify(&sql);
        prop_assert!(!classification.effects.is_empty());
        if let Err(error) = check_shape(&sql) {
            prop_assert!(false, "{}", error);
        }
    }

    /// What is remembered is what is read anew: the order in which texts come changes nothing.
    #[test]
    fn a_remembered_answer_is_the_right_one(texts in prop::collection::vec(pieces(), 1..8)) {
        let shared = Classifier::new(64);
        let context = SqlContext::default();
        for sql in texts.iter().chain(&texts) {
            let remembered = shared.classify(sql, &context);
            let anew = classify(sql);
            prop_assert_eq!(&remembered.effects, &anew.effects, "{}", sql);
            prop_assert_eq!(&remembered.attributes, &anew.attributes, "{}", sql);
            prop_assert_eq!(&remembered.executes, &anew.executes, "{}", sql);
        }
    }
}

//! Queries and data: what is read, written, deleted, and where names lead.
use super::*;

#[test]
#[rustfmt::skip] // one row per line
fn selects() {
    check(&[
        ("", "read"),
        ("  ;; -- nothing\n ;", "read"),
        ("SELECT 1", "read"),
        ("SELECT 'x' AS delete", "read"),
        ("SELECT * FROM users", "read public.users"),
        ("TABLE users", "read public.users"),
        ("VALUES (1, 'a'), (2, 'b')", "read"),
        ("SELECT * FROM audit.users", "read audit.users"),
        ("SELECT * FROM shop.audit.users", "read audit.users"),
        ("SELECT * FROM \"Users\"", "read public.Users"),
        ("SELECT * FROM USERS", "read public.users"),
        ("SELECT * FROM \"audit.users\"", "read public.\"audit.users\""),
        ("SELECT * FROM \"public.a\".b", "read \"public.a\".b"),
        ("SELECT * FROM a, b AS c, ONLY d", "read public.a, public.b, public.d"),
        ("SELECT * FROM a JOIN b USING (id) LEFT JOIN c ON c.id = b.id",
         "read public.a, public.b, public.c"),
        ("SELECT * FROM a WHERE x IN (SELECT y FROM b WHERE EXISTS (SELECT FROM c))",
         "read public.a, public.b, public.c"),
        ("SELECT (SELECT max(x) FROM b) FROM a", "read public.b, public.a"),
        ("SELECT * FROM (SELECT * FROM a) s", "read public.a"),
        ("SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.id = a.id) s", "read public.a, public.b"),
        ("SELECT * FROM a UNION ALL SELECT * FROM b EXCEPT SELECT * FROM c",
         "read public.a, public.b, public.c"),
        ("SELECT x FROM a GROUP BY GROUPING SETS ((x), ()) HAVING count(*) > (SELECT n FROM b)",
         "read public.a, public.b"),
        ("SELECT x FROM a ORDER BY (SELECT 1 FROM b) LIMIT (SELECT 2 FROM c) OFFSET 3",
         "read public.a, public.b, public.c"),
        ("SELECT sum(x) FILTER (WHERE y IN (SELECT z FROM b)) FROM a", "read public.b, public.a"),
        ("SELECT rank() OVER (PARTITION BY (SELECT 1 FROM b)) FROM a", "read public.b, public.a"),
        ("SELECT rank() OVER w FROM a WINDOW w AS (ORDER BY (SELECT 1 FROM b))",
         "read public.a, public.b"),
        ("SELECT CASE WHEN EXISTS (SELECT FROM b) THEN 1 END FROM a", "read public.b, public.a"),
        ("SELECT ARRAY(SELECT x FROM b), ROW((SELECT 1 FROM c)) FROM a",
         "read public.b, public.c, public.a"),
        ("SELECT * FROM a TABLESAMPLE system (10)", "read public.a"),
        ("SELECT * FROM a TABLESAMPLE mine (10)", "read public.a; execute public.mine"),
        ("SELECT * FROM pg_class", "read pg_catalog.pg_class"),
        ("SELECT * FROM pg_catalog.pg_class", "read pg_catalog.pg_class"),
        ("SELECT * FROM pg_stat_statements",
         "read pg_catalog.pg_stat_statements, public.pg_stat_statements"),
        ("SELECT * FROM information_schema.tables", "read information_schema.tables"),
        ("SELECT * FROM users u WHERE u.name LIKE 'a%' AND u.age BETWEEN 1 AND 2 AND u.x IS NOT NULL",
         "read public.users"),
        ("SELECT 'x'::public.kind, x::int[] FROM a", "read public.a"),
        ("SELECT * FROM a WHERE id = ANY ($1) AND b = $2", "read public.a"),
        ("SELECT * FROM XMLTABLE('/r' PASSING (SELECT d FROM a) COLUMNS c text)", "read public.a"),
        ("SELECT * FROM JSON_TABLE((SELECT d FROM a), '$' COLUMNS (c text PATH '$.c'))",
         "read public.a"),
        ("SELECT JSON_VALUE(d, '$.x' DEFAULT (SELECT 1 FROM b) ON EMPTY) FROM a",
         "read public.b, public.a"),
        ("SELECT JSON_ARRAY(SELECT x FROM b)", "read public.b"),
        ("SELECT * FROM a JOIN (b CROSS JOIN c) ON true", "read public.a, public.b, public.c"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn with_queries_are_no_tables_where_they_are_in_sight() {
    check(&[
        ("WITH t AS (SELECT 1) SELECT * FROM t", "read"),
        ("WITH t AS (SELECT * FROM a) SELECT * FROM t, b", "read public.a, public.b"),
        ("WITH t AS (SELECT * FROM t) SELECT * FROM t", "read public.t"),
        ("WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT * FROM t) SELECT * FROM t", "read"),
        ("WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b", "read public.b"),
        ("WITH RECURSIVE a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a, b", "read"),
        ("WITH a AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b", "read"),
        ("WITH t AS (SELECT 1) SELECT * FROM public.t", "read public.t"),
        ("WITH t AS (SELECT 1) SELECT * FROM (SELECT * FROM t) s", "read"),
        ("SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) s, t", "read public.t"),
        ("WITH t AS (WITH u AS (SELECT 1) SELECT * FROM u) SELECT * FROM t, u", "read public.u"),
        ("WITH t AS (SELECT 1) SELECT 1 WHERE EXISTS (WITH t AS (SELECT * FROM x) SELECT FROM t)",
         "read public.x"),
        ("WITH t AS (SELECT 1) SELECT * FROM \"T\"", "read public.T"),
        ("WITH \"T\" AS (SELECT 1) SELECT * FROM t", "read public.t"),
        ("WITH t AS (SELECT 1) DELETE FROM t WHERE true", "delete public.t"),
        ("WITH t AS (SELECT 1) INSERT INTO t SELECT * FROM t", "write public.t"),
        ("WITH t AS (SELECT 1) UPDATE t SET x = 1 FROM t AS s", "write public.t"),
        ("WITH t AS (SELECT 1 AS x) SELECT * FROM t UNION SELECT * FROM t ORDER BY x", "read"),
        ("INSERT INTO a WITH t AS (SELECT * FROM b) SELECT * FROM t", "read public.b; write public.a"),
        ("WITH t AS (SELECT 1) SELECT * FROM t; SELECT * FROM t", "read public.t"),
        ("WITH pg_class AS (SELECT 1) SELECT * FROM pg_class", "read"),
        ("WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SEARCH DEPTH FIRST BY n \
          SET o CYCLE n SET c USING p SELECT * FROM t", "read"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn modifying_statements() {
    check(&[
        ("INSERT INTO a VALUES (1)", "write public.a"),
        ("INSERT INTO a DEFAULT VALUES", "write public.a"),
        ("INSERT INTO a (x) VALUES (1) RETURNING id", "read public.a; write public.a"),
        ("INSERT INTO a SELECT * FROM b", "read public.b; write public.a"),
        ("INSERT INTO a VALUES ((SELECT x FROM b))", "read public.b; write public.a"),
        ("INSERT INTO a VALUES (1) ON CONFLICT (id) DO UPDATE SET x = (SELECT y FROM b) \
          WHERE a.z > (SELECT z FROM c)", "read public.b, public.c; write public.a"),
        ("INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING RETURNING (SELECT 1 FROM b)",
         "read public.a, public.b; write public.a"),
        ("UPDATE a SET x = 1", "write public.a"),
        ("UPDATE a SET x = b.x FROM b WHERE a.id = b.id", "read public.b; write public.a"),
        ("UPDATE a SET (x, y) = (SELECT x, y FROM b)", "read public.b; write public.a"),
        ("UPDATE a SET x = 1 WHERE id IN (SELECT id FROM a)", "read public.a; write public.a"),
        ("UPDATE ONLY s.a SET x[1] = 2, y.z = 3 RETURNING *", "read s.a; write s.a"),
        ("UPDATE a SET x = 1 WHERE CURRENT OF c", "write public.a"),
        ("DELETE FROM a", "delete public.a"),
        ("DELETE FROM a USING b WHERE a.id = b.id", "read public.b; delete public.a"),
        ("DELETE FROM a WHERE id IN (SELECT id FROM b) RETURNING a.x",
         "read public.a, public.b; delete public.a"),
        ("WITH d AS (DELETE FROM a RETURNING *) INSERT INTO b SELECT * FROM d",
         "read public.a; write public.b; delete public.a"),
        ("WITH d AS (DELETE FROM a) SELECT 1", "read; delete public.a"),
        ("WITH u AS (UPDATE a SET x = 1), i AS (INSERT INTO b VALUES (1)) SELECT * FROM c",
         "read public.c; write public.a, public.b"),
        ("MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET x = 1 \
          WHEN NOT MATCHED THEN INSERT VALUES (1)", "read public.b; write public.a"),
        ("MERGE INTO a USING (SELECT * FROM c) b ON a.id = b.id WHEN MATCHED AND b.gone THEN DELETE",
         "read public.c; delete public.a"),
        ("MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE \
          WHEN NOT MATCHED THEN INSERT (x) VALUES ((SELECT 1 FROM c)) RETURNING merge_action(), a.*",
         "read public.a, public.b, public.c; write public.a; delete public.a"),
        ("MERGE INTO a USING b ON true WHEN MATCHED THEN DO NOTHING", "read public.a, public.b"),
        ("WITH m AS (MERGE INTO a USING b ON true WHEN MATCHED THEN DELETE RETURNING a.id) \
          SELECT * FROM m", "read public.a, public.b; delete public.a"),
        ("SELECT * INTO b FROM a", "read public.a; write public.b; define public.b"),
        ("SELECT * INTO TEMP b FROM a", "read public.a; write pg_temp.b"),
        ("INSERT INTO pg_temp.x VALUES (1)", "write pg_temp.x"),
        ("DELETE FROM pg_authid", "delete pg_catalog.pg_authid; define ?*; admin ?*"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn row_locks_write_what_they_lock() {
    check(&[
        ("SELECT * FROM a FOR UPDATE", "read public.a; write public.a"),
        ("SELECT * FROM a FOR SHARE NOWAIT", "read public.a; write public.a"),
        ("SELECT * FROM a FOR KEY SHARE", "read public.a; write public.a"),
        ("SELECT * FROM a, b FOR NO KEY UPDATE OF b", "read public.a, public.b; write public.b"),
        ("SELECT * FROM a x, b y FOR UPDATE OF x SKIP LOCKED",
         "read public.a, public.b; write public.a"),
        ("SELECT * FROM a, (SELECT * FROM b) s FOR UPDATE",
         "read public.a, public.b; write public.a, public.b"),
        ("SELECT * FROM a, (SELECT * FROM b) s FOR UPDATE OF s",
         "read public.a, public.b; write public.a, public.b"),
        ("SELECT * FROM a JOIN b ON true FOR UPDATE OF a FOR SHARE OF b",
         "read public.a, public.b; write public.a, public.b"),
        ("WITH t AS (SELECT * FROM a) SELECT * FROM t, b FOR UPDATE",
         "read public.a, public.b; write public.b"),
        ("SELECT * FROM a WHERE EXISTS (SELECT FROM b FOR UPDATE)",
         "read public.a, public.b; write public.b"),
        ("SELECT * FROM a TABLESAMPLE bernoulli (1) FOR UPDATE", "read public.a; write public.a"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn unqualified_names_follow_the_path() {
    let two = SqlContext { search_path: SearchPath::parse("shop, audit", &RoleSchema::Absent), ..Default::default() };
    check_in(&two, &[
        ("SELECT * FROM users", "read shop.users, audit.users"),
        ("SELECT * FROM audit.users", "read audit.users"),
        ("DELETE FROM users", "delete shop.users, audit.users"),
        ("SELECT f(1)", "read; execute shop.f, audit.f"),
        ("CREATE TABLE x (id int)", "define shop.x, audit.x"),
        ("SELECT * FROM pg_class", "read pg_catalog.pg_class"),
    ]);
    let none = SqlContext { search_path: SearchPath::parse("", &RoleSchema::Absent), ..Default::default() };
    check_in(&none, &[
        ("SELECT * FROM users", "read ?users"),
        ("SELECT * FROM public.users", "read public.users"),
        ("SELECT count(*), f(1) FROM pg_class", "read pg_catalog.pg_class; execute ?f"),
    ]);
    let unknown = SqlContext { search_path: SearchPath::unknown(), ..Default::default() };
    check_in(&unknown, &[
        ("SELECT * FROM users", "read ?users"),
        ("SELECT * FROM shop.users", "read shop.users"),
        ("SELECT lower(x) FROM shop.users", "read shop.users; execute ?lower"),
        ("SELECT pg_catalog.lower(x) FROM shop.users", "read shop.users"),
        ("SELECT * FROM shop.users WHERE id = 1", "read shop.users; execute ?="),
        ("SELECT * FROM shop.users WHERE id OPERATOR(pg_catalog.=) 1", "read shop.users"),
        ("SELECT pg_read_file('x')", "read; execute ?pg_read_file; admin pg_catalog.pg_read_file"),
        ("DROP TABLE users", "define ?users"),
    ]);
    let hidden =
        SqlContext { search_path: SearchPath::parse("mine, pg_catalog", &RoleSchema::Absent), ..Default::default() };
    check_in(&hidden, &[
        ("SELECT lower('x')", "read; execute mine.lower"),
        ("SELECT 1 + 1", "read; execute mine.+"),
        ("SELECT 1 BETWEEN 0 AND 2", "read; execute mine.>=, mine.<="),
        ("SELECT * FROM pg_class", "read mine.pg_class, pg_catalog.pg_class"),
        ("SELECT * FROM t", "read mine.t"),
        ("SELECT pg_terminate_backend(1)",
         "read; execute mine.pg_terminate_backend, pg_catalog.pg_terminate_backend; \
          admin pg_catalog.pg_terminate_backend"),
    ]);
    let first =
        SqlContext { search_path: SearchPath::parse("pg_catalog, mine", &RoleSchema::Absent), ..Default::default() };
    check_in(&first, &[
        ("SELECT lower('x') FROM t WHERE a = 1", "read mine.t"),
        ("SELECT f('x')", "read; execute mine.f"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn has_where_means_every_one() {
    let rows: &[(&str, bool)] = &[
        ("SELECT 1", true),
        ("", true),
        ("DELETE FROM a", false),
        ("DELETE FROM a WHERE id = 1", true),
        ("UPDATE a SET x = 1", false),
        ("UPDATE a SET x = 1 WHERE id = 1", true),
        ("UPDATE a SET x = 1 WHERE true", true),
        ("UPDATE a SET x = 1 WHERE CURRENT OF c", true),
        ("DELETE FROM a WHERE id = 1; DELETE FROM b", false),
        ("DELETE FROM a; DELETE FROM b WHERE id = 1", false),
        ("WITH d AS (DELETE FROM a) SELECT * FROM b WHERE id = 1", false),
        ("WITH d AS (DELETE FROM a WHERE id = 1) DELETE FROM b", false),
        ("EXPLAIN ANALYZE DELETE FROM a", false),
        ("PREPARE p AS DELETE FROM a", false),
        ("PREPARE p AS DELETE FROM a WHERE id = $1", true),
        ("INSERT INTO a VALUES (1)", true),
        ("DO $$ BEGIN DELETE FROM a; END $$", false),
        ("this is no SQL", false),
        ("EXECUTE p", false),
        ("CREATE RULE r AS ON INSERT TO a DO ALSO DELETE FROM b", false),
    ];
    for (sql, expected) in rows {
        let attributes = classify(sql).attributes.clone();
        let expected = vec![(Arc::from("sql.has_where"), gateway_core::Attribute::Bool(*expected))];
        assert_eq!(attributes, expected, "{sql}");
    }
}

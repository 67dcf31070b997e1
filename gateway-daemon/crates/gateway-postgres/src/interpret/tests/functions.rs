//! Functions, operators and what looks like neither.
use super::*;

#[test]
#[rustfmt::skip] // one row per line
fn proven_functions_only_read() {
    let calls = [
        "abs(-1), round(1.5, 1), random(), width_bucket(1, 2, 3, 4), setseed(0.5), hashtext('a')",
        "COALESCE(1, 2), GREATEST(1, 2), LEAST(1, 2), NULLIF(1, 2)",
        "now(), clock_timestamp(), CURRENT_TIMESTAMP, LOCALTIME(3), date_trunc('day', now())",
        "EXTRACT(year FROM now()), age(now()), now() AT TIME ZONE 'UTC', make_date(1, 2, 3)",
        "to_char(now(), 'YYYY'), to_date('1', 'Y'), to_timestamp(1), date_part('day', now())",
        "(now(), now()) OVERLAPS (now(), now()), justify_days('1 day'), pg_sleep(0)",
        "lower('A'), upper('a'), TRIM(BOTH ' ' FROM ' a '), SUBSTRING('abc' FROM 1 FOR 2)",
        "POSITION('a' IN 'b'), OVERLAY('abc' PLACING 'x' FROM 1), replace('a', 'b', 'c')",
        "SUBSTRING('a' SIMILAR 'b' ESCAPE '#'), NORMALIZE('a'), 'a' IS NORMALIZED",
        "regexp_replace('a', 'b', 'c'), split_part('a', 'b', 1), concat_ws(',', 'b'), format('%s')",
        "md5('x'), sha256('x'), encode('x', 'hex'), left('x', 1), quote_ident('x'), chr(1)",
        "string_to_array('a', 'b'), array_to_string('{}', ','), unnest('{}'::int[]), cardinality('{}')",
        "array_agg(1), string_agg('a', ','), count(*), sum(1), avg(1), bool_and(true), any_value(1)",
        "row_number() OVER (), lag(1) OVER (ORDER BY 1), first_value(1) OVER w2",
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY 1), GROUPING(1)",
        "json_build_object('a', 1), jsonb_set('{}', '{a}', '1'), jsonb_path_query('{}', '$')",
        "to_json(1), row_to_json(ROW(1)), jsonb_agg(1), json_object_agg(1, 2)",
        "JSON_OBJECT('a': 1), JSON_ARRAY(1), JSON_SCALAR(1), '{}' IS JSON OBJECT",
        "generate_series(1, 3), gen_random_uuid(), uuidv7(), currval('s'), lastval()",
        "txid_current(), pg_current_xact_id(), current_setting('search_path'), version()",
        "current_schemas(true), current_database(), CURRENT_USER, SESSION_USER, current_schema()",
        "pg_is_in_recovery(), pg_backend_pid(), inet_client_addr(), pg_postmaster_start_time()",
        "pg_get_viewdef(1), pg_get_constraintdef(1), pg_get_indexdef(1), pg_get_functiondef(1)",
        "pg_get_expr(null, 0), pg_get_userbyid(10), pg_table_is_visible(1), format_type(1, 2)",
        "obj_description(1, 'x'), col_description(1, 2), shobj_description(1, 'x'), pg_typeof(1)",
        "has_table_privilege('a', 'select'), has_schema_privilege('a', 'usage'), pg_has_role('a', 'b')",
        "pg_total_relation_size('a'), pg_size_pretty(1::bigint), pg_encoding_to_char(6)",
        "pg_stat_get_live_tuples(1), pg_stat_get_a_counter_to_come(1), pg_blocking_pids(1)",
        "to_tsvector('a'), plainto_tsquery('a'), ts_rank('a', 'b'), ts_headline('a', 'b')",
        "xpath('/a', '<a/>'), XMLPARSE(CONTENT 'a'), XMLCONCAT('a', 'b'), XMLFOREST(1 AS a)",
        "int4(1.5), text(1), date('2020-01-01'), pg_catalog.lower('A'), pg_catalog.pg_sleep(1)",
        "int4range(1, 2) * int4range(1, 3), lower(int4range(1, 2)), range_merge('a', 'b')",
        "point(1, 2) <-> point(3, 4), area('((0,0),(1,1))'::box), masklen('10.0.0.0/8'::inet)",
    ];
    for call in calls {
        let sql = format!("SELECT {call}");
        assert_eq!(rendered(&classify(&sql).effects), "read", "{sql}");
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn unproven_functions_execute() {
    check(&[
        ("SELECT f()", "read; execute public.f"),
        ("SELECT public.lower('A')", "read; execute public.lower"),
        ("SELECT s.f(x) FROM a", "read public.a; execute s.f"),
        ("SELECT db.s.f()", "read; execute s.f"),
        ("SELECT \"Lower\"('x')", "read; execute public.Lower"),
        ("SELECT pg_catalog.no_such_thing()", "read; execute pg_catalog.no_such_thing"),
        ("SELECT pg_mine()", "read; execute public.pg_mine, pg_catalog.pg_mine"),
        ("SELECT * FROM f(1)", "read; execute public.f"),
        ("SELECT * FROM a, LATERAL f(a.id) x", "read public.a; execute public.f"),
        ("SELECT * FROM ROWS FROM (f(1), generate_series(1, 2), g(3) AS (a int)) x",
         "read; execute public.f, public.g"),
        ("SELECT count(*) FILTER (WHERE f(x)) FROM a", "read public.a; execute public.f"),
        ("SELECT string_agg(x, ',' ORDER BY f(x)) FROM a", "read public.a; execute public.f"),
        ("SELECT sum(f(x)) OVER (ORDER BY g(x) ROWS BETWEEN h() PRECEDING AND CURRENT ROW) FROM a",
         "read public.a; execute public.f, public.g, public.h"),
        ("SELECT * FROM a WHERE f(x) GROUP BY g(x) HAVING h(x) ORDER BY i(x) LIMIT j() OFFSET k()",
         "read public.a; execute public.f, public.g, public.h, public.i, public.k, public.j"),
        ("SELECT DISTINCT ON (f(x)) x FROM a", "read public.a; execute public.f"),
        ("SELECT * FROM a TABLESAMPLE system (f()) REPEATABLE (g())",
         "read public.a; execute public.f, public.g"),
        ("VALUES (f(1))", "read; execute public.f"),
        ("INSERT INTO a VALUES (f(1)) ON CONFLICT (g(x)) WHERE h(x) DO UPDATE SET x = i() \
          WHERE j() RETURNING k()",
         "read public.a; write public.a; \
          execute public.f, public.g, public.h, public.i, public.j, public.k"),
        ("UPDATE a SET x = f() WHERE g() RETURNING h()",
         "read public.a; write public.a; execute public.f, public.g, public.h"),
        ("UPDATE a SET x[f()] = 1", "write public.a; execute public.f"),
        ("DELETE FROM a USING f() b WHERE g() RETURNING h()",
         "read public.a; delete public.a; execute public.f, public.g, public.h"),
        ("MERGE INTO a USING f() b ON g() WHEN MATCHED AND h() THEN UPDATE SET x = i() \
          WHEN NOT MATCHED THEN INSERT VALUES (j()) RETURNING k()",
         "read public.a; write public.a; \
          execute public.f, public.g, public.h, public.i, public.j, public.k"),
        ("SELECT x[f()], CASE f2() WHEN f3() THEN f4() ELSE f5() END FROM a",
         "read public.a; execute public.f, public.f2, public.f3, public.f4, public.f5"),
        ("SELECT ARRAY[f()], ROW(g()), h()::text, i() COLLATE \"C\", NOT j(), k() IS NULL",
         "read; execute public.f, public.g, public.h, public.i, public.j, public.k"),
        ("SELECT COALESCE(f(), GREATEST(g(), 1)), h() IN (i()), j() BETWEEN k() AND l()",
         "read; execute public.f, public.g, public.h, public.i, public.j, public.k, public.l"),
        ("SELECT XMLELEMENT(NAME a, XMLATTRIBUTES(f() AS b), g()), XMLSERIALIZE(CONTENT h() AS text)",
         "read; execute public.f, public.g, public.h"),
        ("SELECT JSON_OBJECT('a': f(), 'b': g()), JSON_ARRAYAGG(h() ORDER BY i())",
         "read; execute public.f, public.g, public.i, public.h"),
        ("SELECT JSON_EXISTS(f(), '$' PASSING g() AS x), JSON(h()), JSON_SERIALIZE(i())",
         "read; execute public.f, public.g, public.h, public.i"),
        ("SELECT f(a => g(), b := h())", "read; execute public.f, public.g, public.h"),
        ("SELECT extract(year FROM f()), f() AT TIME ZONE g()", "read; execute public.f, public.g"),
        ("SELECT my_aggregate(DISTINCT x) FROM a", "read public.a; execute public.my_aggregate"),
        ("SELECT uuid_generate_v4()", "read; execute public.uuid_generate_v4"),
        ("SELECT information_schema._pg_expandarray(x) FROM pg_index", "read pg_catalog.pg_index"),
        ("SELECT information_schema.other()", "read; execute information_schema.other"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn dangerous_functions_are_seen_wherever_they_are() {
    let rows: &[(&str, &str)] = &[
        ("pg_read_file('/etc/passwd')", "admin pg_catalog.pg_read_file"),
        ("pg_catalog.pg_read_binary_file('x')", "admin pg_catalog.pg_read_binary_file"),
        ("pg_ls_dir('/')", "admin pg_catalog.pg_ls_dir"),
        ("pg_stat_file('x')", "admin pg_catalog.pg_stat_file"),
        ("lo_import('/etc/passwd')", "admin pg_catalog.lo_import"),
        ("lo_export(1, '/tmp/x')", "admin pg_catalog.lo_export"),
        ("pg_terminate_backend(1)", "admin pg_catalog.pg_terminate_backend"),
        ("pg_cancel_backend(1)", "admin pg_catalog.pg_cancel_backend"),
        ("pg_reload_conf()", "admin pg_catalog.pg_reload_conf"),
        ("pg_rotate_logfile()", "admin pg_catalog.pg_rotate_logfile"),
        ("pg_switch_wal()", "admin pg_catalog.pg_switch_wal"),
        ("pg_create_restore_point('x')", "admin pg_catalog.pg_create_restore_point"),
        ("pg_backup_start('x')", "admin pg_catalog.pg_backup_start"),
        ("pg_start_backup('x')", "admin pg_catalog.pg_start_backup"),
        ("pg_promote()", "admin pg_catalog.pg_promote"),
        ("pg_drop_replication_slot('x')", "admin pg_catalog.pg_drop_replication_slot"),
        ("pg_logical_slot_peek_changes('x', null, null)",
         "admin pg_catalog.pg_logical_slot_peek_changes"),
        ("pg_import_system_collations('x')", "admin pg_catalog.pg_import_system_collations"),
        ("pg_stat_reset()", "admin pg_catalog.pg_stat_reset"),
        ("pg_advisory_lock(1)", "write pg_catalog.pg_advisory_lock"),
        ("pg_try_advisory_xact_lock(1)", "write pg_catalog.pg_try_advisory_xact_lock"),
        ("pg_notify('a', 'b')", "write pg_catalog.pg_notify"),
        ("pg_logical_emit_message(true, 'a', 'b')", "write pg_catalog.pg_logical_emit_message"),
        ("lo_unlink(1)", "write pg_catalog.lo_unlink"),
        ("lo_from_bytea(0, 'x')", "write pg_catalog.lo_from_bytea"),
        ("lo_get(1)", "write pg_catalog.lo_get"),
        ("query_to_xml('DROP TABLE a', true, true, '')", "read ?*; execute pg_catalog.query_to_xml"),
        ("table_to_xml('a', true, true, '')", "read ?*; execute pg_catalog.table_to_xml"),
        ("database_to_xml(true, true, '')", "read ?*; execute pg_catalog.database_to_xml"),
        ("cursor_to_xml('c', 1, true, true, '')", "read ?*; execute pg_catalog.cursor_to_xml"),
        ("ts_stat('SELECT 1')", "read ?*; execute pg_catalog.ts_stat"),
        ("ts_rewrite('a', 'SELECT 1')", "read ?*; execute pg_catalog.ts_rewrite"),
        ("pg_file_write('x', 'y', true)",
         "execute public.pg_file_write, pg_catalog.pg_file_write; \
          admin public.pg_file_write, pg_catalog.pg_file_write"),
        ("ext.dblink('host=x', 'SELECT 1')", "execute ext.dblink; admin ext.dblink"),
        ("dblink_exec('DROP TABLE a')", "execute public.dblink_exec; admin public.dblink_exec"),
        ("postgres_fdw_disconnect('x')",
         "execute public.postgres_fdw_disconnect; admin public.postgres_fdw_disconnect"),
    ];
    for (call, effect) in rows {
        let frames = [
            format!("SELECT {call}"),
            format!("SELECT 1 WHERE {call} IS NOT NULL"),
            format!("SELECT (SELECT {call})"),
            format!("SELECT max(x) FILTER (WHERE {call} IS NULL) FROM (VALUES (1)) v (x)"),
            format!("SELECT * FROM {call} AS x"),
            format!("SELECT 1 ORDER BY {call}"),
            format!("WITH x AS MATERIALIZED (SELECT {call}) SELECT * FROM x"),
            format!("/* {call} */ SELECT\n{call} -- {call}"),
        ];
        for sql in frames {
            let expected = match effect.starts_with("read") {
                true => effect.to_string(),
                false => format!("read; {effect}"),
            };
            assert_eq!(rendered(&classify(&sql).effects), expected, "{sql}");
        }
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn a_field_can_be_a_call() {
    check(&[
        ("SELECT ('/etc/passwd'::text).pg_read_file", "read; admin pg_catalog.pg_read_file"),
        ("SELECT (lower('X')).pg_read_file", "read; admin pg_catalog.pg_read_file"),
        ("SELECT (SELECT '/etc/passwd'::text).pg_read_file", "read; admin pg_catalog.pg_read_file"),
        ("SELECT ($1).pg_read_file, $1.pg_ls_dir",
         "read; admin pg_catalog.pg_read_file, pg_catalog.pg_ls_dir"),
        ("SELECT x.pg_read_file FROM lower('X') x", "read; admin pg_catalog.pg_read_file"),
        ("SELECT lower.pg_read_file FROM lower('X')", "read; admin pg_catalog.pg_read_file"),
        ("SELECT x.mine FROM lower('X') AS x", "read; execute public.mine"),
        ("SELECT x.mine FROM COALESCE('a', 'b') x", "read; execute public.mine"),
        ("SELECT 1 FROM COALESCE('a', 'b')", "read; execute ?*"),
        ("SELECT (a.x).mine FROM a", "read public.a; execute public.mine"),
        ("SELECT ('s'::regclass).nextval", "read; write ?*"),
        ("UPDATE a SET x = ('y'::text).pg_read_file WHERE true",
         "write public.a; admin pg_catalog.pg_read_file"),
        // These are fields.
        ("SELECT (jsonb_each(x)).key FROM a", "read public.a"),
        ("SELECT e.key, e.value FROM a, jsonb_each(a.x) e", "read public.a"),
        ("SELECT g.g, g FROM generate_series(1, 2) g", "read"),
        ("SELECT u.elem, u.n FROM unnest(ARRAY[1]) WITH ORDINALITY AS u (elem, n)", "read"),
        ("SELECT r.mine FROM json_to_recordset('[]') AS r (mine int)", "read"),
        ("SELECT x.mine FROM a x", "read public.a"),
        ("SELECT (ROW(1, 2)).f1, (a.x).* FROM a", "read public.a"),
        ("SELECT ('A'::text).lower", "read"),
        ("SELECT r.id FROM orders_of(1) r", "read; execute public.orders_of"),
        ("SELECT (orders_of(1)).id", "read; execute public.orders_of"),
        ("SELECT i.keys, (information_schema._pg_expandarray(i.indkey)).n FROM pg_index i",
         "read pg_catalog.pg_index"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn operators_are_functions() {
    check(&[
        ("SELECT 1 + 2 * 3 - 4 / 5 % 6 ^ 7, |/ 2, @ -1, 1 & 2 | 3 # 4, ~1, 1 << 2 >> 3", "read"),
        ("SELECT '{}'::jsonb -> 'a' ->> 'b' #> '{}' #>> '{}', a @> b, a ? 'x', a ?| b, a || b FROM a",
         "read public.a"),
        ("SELECT a ~ 'x', a !~* 'y', a LIKE 'z', a ILIKE 'z', a SIMILAR TO 'z', a @@ b FROM a",
         "read public.a"),
        ("SELECT 1 != 2, 1 <> 2, 1 IS DISTINCT FROM 2, NULLIF(1, 2)", "read"),
        ("SELECT 1 OPERATOR(pg_catalog.+) 2", "read"),
        ("SELECT 1 OPERATOR(mine.+) 2", "read; execute mine.+"),
        ("SELECT 1 = ANY (ARRAY[1]), 1 OPERATOR(mine.=) ALL (SELECT x FROM a)",
         "read public.a; execute mine.="),
        ("SELECT (1, 2) OPERATOR(mine.<) (SELECT 1, 2)", "read; execute mine.<"),
        ("SELECT x FROM a ORDER BY x USING OPERATOR(mine.<)", "read public.a; execute mine.<"),
        ("SELECT x FROM a ORDER BY x USING <", "read public.a"),
        ("SELECT v <=> '[1]' FROM a", "read public.a; execute public.<=>"),
        ("SELECT OPERATOR(mine.-) 1", "read; execute mine.-"),
        ("SELECT 1 OPERATOR(pg_catalog.<=>) 2", "read; execute pg_catalog.<=>"),
    ]);
}

#[test]
#[rustfmt::skip] // one row per line
fn sequences_are_written() {
    check(&[
        ("SELECT nextval('s')", "read; write public.s"),
        ("SELECT nextval('public.s'::regclass)", "read; write public.s"),
        ("SELECT nextval('\"My.Seq\"')", "read; write public.\"My.Seq\""),
        ("SELECT nextval('audit.\"S\"')", "read; write audit.S"),
        ("SELECT setval('s', 1, false)", "read; write public.s"),
        ("SELECT pg_catalog.nextval('S')", "read; write public.s"),
        ("SELECT nextval($1)", "read; write ?*"),
        ("SELECT nextval('16384')", "read; write ?*"),
        ("SELECT nextval('a' || 'b')", "read; write ?*"),
        ("SELECT setval(pg_get_serial_sequence('a', 'id'), max(id)) FROM a",
         "read public.a; write ?*"),
        ("INSERT INTO a VALUES (nextval('s'))", "write public.a, public.s"),
        ("SELECT currval('s'), lastval()", "read"),
        ("SELECT nextval()", "read; write ?*"),
        ("SELECT nextval('')", "read; write ?*"),
        ("SELECT nextval('s'::mine.regclass)", "read; write ?*"),
    ]);
}

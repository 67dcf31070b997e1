//! What tools and drivers send by themselves must pass a policy that allows reading.
use super::*;

#[test]
#[rustfmt::skip] // one row per line
fn tools_and_drivers_read_the_catalogues() {
    let texts = [
        // psql: \d, \dt, \l, \df, \du, \dn, \d+ and its completion
        "SELECT n.nspname as \"Schema\", c.relname as \"Name\", \
         CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' END as \"Type\", \
         pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\" \
         FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam \
         WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog' \
         AND n.nspname !~ '^pg_toast' AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2;",
        "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c \
         LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relname OPERATOR(pg_catalog.~) '^(users)$' COLLATE pg_catalog.default \
         AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3;",
        "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
         (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d \
         WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull, \
         (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t \
         WHERE c.oid = a.attcollation AND t.oid = a.atttypid \
         AND a.attcollation <> t.typcollation) AS attcollation, a.attidentity, a.attgenerated \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid = '16384' AND a.attnum > 0 \
         AND NOT a.attisdropped ORDER BY a.attnum;",
        "SELECT pol.polname, pol.polpermissive, CASE WHEN pol.polroles = '{0}' THEN NULL ELSE \
         pg_catalog.array_to_string(array(select rolname from pg_catalog.pg_roles \
         where oid = any (pol.polroles) order by 1),',') END, \
         pg_catalog.pg_get_expr(pol.polqual, pol.polrelid) FROM pg_catalog.pg_policy pol",
        "SELECT oid, stxrelid::pg_catalog.regclass, \
         stxnamespace::pg_catalog.regnamespace::pg_catalog.text AS nsp, \
         pg_catalog.pg_get_statisticsobjdef_columns(oid) AS columns, 'd' = any(stxkind) \
         FROM pg_catalog.pg_statistic_ext",
        "SELECT d.datname as \"Name\", pg_catalog.pg_get_userbyid(d.datdba) as \"Owner\", \
         pg_catalog.pg_encoding_to_char(d.encoding) as \"Encoding\", \
         pg_catalog.array_to_string(d.datacl, E'\\n') AS \"Access privileges\", \
         CASE WHEN pg_catalog.has_database_privilege(d.datname, 'CONNECT') \
         THEN pg_catalog.pg_size_pretty(pg_catalog.pg_database_size(d.datname)) END \
         FROM pg_catalog.pg_database d ORDER BY 1;",
        "SELECT p.proname, pg_catalog.pg_get_function_result(p.oid), \
         pg_catalog.pg_get_function_arguments(p.oid), CASE p.prokind WHEN 'a' THEN 'agg' END \
         FROM pg_catalog.pg_proc p WHERE pg_catalog.pg_function_is_visible(p.oid)",
        "SELECT c2.relname, i.indisprimary, pg_catalog.pg_get_indexdef(i.indexrelid, 0, true), \
         pg_catalog.pg_get_constraintdef(con.oid, true), contype FROM pg_catalog.pg_class c, \
         pg_catalog.pg_class c2, pg_catalog.pg_index i LEFT JOIN pg_catalog.pg_constraint con \
         ON (conrelid = i.indrelid AND conindid = i.indexrelid AND contype IN ('p','u','x'))",
        "SELECT r.rolname, r.rolsuper, ARRAY(SELECT b.rolname FROM pg_catalog.pg_auth_members m \
         JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid) WHERE m.member = r.oid) as memberof \
         FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1;",
        "SELECT c.oid::pg_catalog.regclass, pg_catalog.pg_get_expr(c.relpartbound, c.oid) \
         FROM pg_catalog.pg_class c, pg_catalog.pg_inherits i WHERE c.oid = i.inhrelid",
        "SELECT pg_catalog.quote_ident(c.relname) FROM pg_catalog.pg_class c WHERE \
         substring(pg_catalog.quote_ident(c.relname),1,2)='us' AND \
         pg_catalog.pg_table_is_visible(c.oid) UNION ALL SELECT pg_catalog.quote_ident(n.nspname) \
         || '.' FROM pg_catalog.pg_namespace n LIMIT 1000",
        // psycopg, asyncpg, tokio-postgres, npgsql, JDBC
        "SELECT t.oid, t.typarray, t.typtype FROM pg_type t WHERE t.oid = to_regtype($1)",
        "SELECT t.oid, ns.nspname AS ns, t.typname AS name, t.typtype AS kind, \
         (CASE WHEN t.typtype = 'd' THEN (WITH RECURSIVE typ_tree AS (SELECT t1.typbasetype FROM \
         pg_type t1 WHERE t1.oid = t.oid UNION SELECT t2.typbasetype FROM typ_tree JOIN pg_type t2 \
         ON t2.oid = typ_tree.typbasetype) SELECT max(typbasetype) FROM typ_tree) END) AS base, \
         COALESCE(ARRAY_AGG(ia.attname::text ORDER BY ia.attnum), '{}') FROM pg_catalog.pg_type t \
         INNER JOIN pg_catalog.pg_namespace ns ON ns.oid = t.typnamespace \
         LEFT JOIN pg_attribute ia ON ia.attrelid = t.typrelid GROUP BY 1, 2, 3, 4",
        "SELECT t.typname, t.typtype, t.typelem, r.rngsubtype, t.typbasetype, n.nspname, t.typrelid \
         FROM pg_catalog.pg_type t LEFT OUTER JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid \
         INNER JOIN pg_catalog.pg_namespace n ON t.typnamespace = n.oid WHERE t.oid = $1",
        "SELECT NULL AS TABLE_CAT, result.TABLE_SCHEM, result.COLUMN_NAME, result.KEY_SEQ FROM \
         (SELECT n.nspname AS TABLE_SCHEM, a.attname AS COLUMN_NAME, \
         (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, \
         information_schema._pg_expandarray(i.indkey) AS KEYS FROM pg_catalog.pg_class ct \
         JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) \
         JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid) \
         JOIN pg_catalog.pg_index i ON (a.attrelid = i.indrelid)) result \
         where result.A_ATTNUM = (result.KEYS).x ORDER BY result.KEY_SEQ",
        // ActiveRecord, Django, SQLAlchemy, Hibernate
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), \
         pg_get_expr(d.adbin, d.adrelid), a.attnotnull, c.collname, \
         col_description(a.attrelid, a.attnum) AS comment FROM pg_attribute a \
         LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
         LEFT JOIN pg_collation c ON a.attcollation = c.oid \
         WHERE a.attrelid = '\"users\"'::regclass AND a.attnum > 0",
        "SELECT c.relname, CASE WHEN c.relispartition THEN 'p' END, \
         obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c \
         WHERE pg_catalog.pg_table_is_visible(c.oid)",
        "select pg_catalog.version()",
        "show standard_conforming_strings",
        "SHOW TRANSACTION ISOLATION LEVEL",
        "select current_schema()",
        "SELECT 1 AS \"one\"",
        "SET client_min_messages TO 'warning'; SET extra_float_digits = 3",
        "SET SESSION timezone TO 'UTC'",
        "SELECT set_config('bytea_output', 'hex', false) FROM pg_show_all_settings() \
         WHERE name = 'bytea_output'",
        "select relname, reltuples from pg_class c join pg_namespace n on c.relnamespace = n.oid",
        // pgbench
        "select count(*) from pg_partitioned_table",
        "select o.n, p.partstrat, pg_catalog.count(i.inhparent) from pg_catalog.pg_class as c \
         join pg_catalog.pg_namespace as n on (n.oid = c.relnamespace) cross join lateral \
         (select pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname)) as o(n) \
         left join pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid) \
         left join pg_catalog.pg_inherits as i on (c.oid = i.inhparent) \
         where c.relname = 'pgbench_accounts' and o.n is not null group by 1, 2 limit 1",
        // pg_dump
        "SELECT pg_catalog.set_config('search_path', '', false);",
        "SELECT x.tableoid, pg_catalog.pg_get_viewdef('16385'::pg_catalog.oid) AS viewdef, \
         acldefault('r', x.relowner) FROM pg_class x",
        "SELECT l.grantee, l.privilege_type FROM pg_class c, aclexplode(c.relacl) l",
        "SELECT option_name, option_value FROM pg_catalog.pg_options_to_table('{}')",
    ];
    for sql in texts {
        let classification = classify(sql);
        assert_eq!(classification.verb, Verb::Read, "{sql}: {}", rendered(&classification.effects));
        let effects = rendered(&classification.effects);
        assert!(!effects.contains("public."), "{sql}: {effects}");
    }
}

#[test]
#[rustfmt::skip] // one row per line
fn applications_touch_what_they_say() {
    check(&[
        ("UPDATE pgbench_accounts SET abalance = abalance + -1234 WHERE aid = 99;",
         "write public.pgbench_accounts"),
        ("INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, -4, \
          CURRENT_TIMESTAMP);", "write public.pgbench_history"),
        ("SELECT abalance FROM pgbench_accounts WHERE aid = 42;", "read public.pgbench_accounts"),
        ("copy pgbench_accounts from stdin with (freeze on)",
         "write public.pgbench_accounts; transfer public.pgbench_accounts"),
        ("INSERT INTO \"orders\" (\"id\", \"at\") VALUES ($1, now()) RETURNING \"id\"",
         "read public.orders; write public.orders"),
        ("SELECT u.*, coalesce(o.total, 0) FROM users u LEFT JOIN LATERAL (SELECT sum(x) AS total \
          FROM orders WHERE user_id = u.id) o ON true WHERE u.email ILIKE '%@x.com' \
          ORDER BY u.created_at DESC NULLS LAST LIMIT 20 OFFSET 40 /* app:web */",
         "read public.users, public.orders"),
        ("UPDATE jobs SET locked_at = now() WHERE id = (SELECT id FROM jobs WHERE locked_at IS NULL \
          ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) RETURNING *",
         "read public.jobs; write public.jobs"),
        ("SELECT date_trunc('month', created_at)::date AS month, count(*) FILTER (WHERE paid), \
          percentile_disc(0.5) WITHIN GROUP (ORDER BY total), jsonb_agg(DISTINCT tag) \
          FROM orders, unnest(tags) tag GROUP BY GROUPING SETS ((1), ())", "read public.orders"),
    ]);
}

//! What is found to be sensitive, over a small database.
mod limits;
mod unnamed;

use super::{CopyFormat, Flow, Outputs};
use crate::mask::catalogue::{Catalogue, Column, Relation};
use crate::mask::outlook::Outlook;
use gateway_core::mask::UseKind;
use gateway_testkit::FakeMasks;
use std::sync::Arc;

fn relation(oid: u32, name: &str, columns: &[&str], definition: Option<&str>) -> (u32, Relation) {
    let column = |(index, name): (usize, &&str)| Column {
        number: i16::try_from(index + 1).unwrap(),
        name: (*name).into(),
        type_oid: 25,
        not_null: false,
        generated: false,
        primary: false,
    };
    let relation = Relation {
        schema: "public".into(),
        name: name.into(),
        kind: if definition.is_some() { b'v' } else { b'r' },
        columns: columns.iter().enumerate().map(column).collect(),
        definition: definition.map(Into::into),
        ..Relation::default()
    };
    (oid, relation)
}

/// A table whose columns have these types, and may be NULL or not.
fn typed(name: &str, columns: &[(&str, u32, bool)]) -> (u32, Relation) {
    let names: Vec<&str> = columns.iter().map(|(name, ..)| *name).collect();
    let (oid, mut relation) = relation(20_004, name, &names, None);
    for (column, (_, type_oid, not_null)) in relation.columns.iter_mut().zip(columns) {
        (column.type_oid, column.not_null) = (*type_oid, *not_null);
    }
    (oid, relation)
}

pub(crate) fn outlook() -> Outlook {
    let relations = [
        relation(20_000, "users", &["id", "name", "email", "phone"], None),
        relation(20_001, "plain", &["id", "email", "note"], None),
        relation(
            20_002,
            "v",
            &["id", "mail", "loud", "size"],
            Some(
                "SELECT users.id, users.email AS mail, upper(users.email) AS loud, length(users.name) AS size FROM users",
            ),
        ),
        relation(20_003, "w", &["u"], Some("SELECT u.* AS u FROM users u")),
        typed(
            "docs",
            &[
                ("id", 23, true),
                ("body", 3802, false),
                ("tags", 1009, false),
                ("sum", 23, true),
            ],
        ),
        relation(
            20_014,
            "over_catalogue",
            &["relname"],
            Some("SELECT pg_class.relname FROM pg_class"),
        ),
        relation(
            20_015,
            "over_view",
            &["relname"],
            Some("SELECT over_catalogue.relname FROM over_catalogue"),
        ),
        relation(20_016, "columns", &["a"], None),
        relation(20_017, "accounts", &["id", "email", "slot", "note"], None),
        relation(
            20_018,
            "v_accounts",
            &["id", "note"],
            Some("SELECT id, note FROM accounts"),
        ),
        relation(
            20_021,
            "over_v",
            &["id", "mail", "loud"],
            Some("SELECT v.id, v.mail, v.loud FROM v"),
        ),
        relation(20_019, "owners", &["id", "note"], None),
        relation(20_020, "computed", &["id", "email", "note"], None),
    ];
    let mut catalogue = Catalogue {
        // UNIQUE (email, slot) and a constraint over the whole row; what refers to owners is `slot`.
        together: vec![(20_017, vec![2, 3]), (20_020, vec![1, 0])],
        changed_with: vec![(20_018, 20_017)],
        references: vec![[(20_017, 2), (20_019, 1)]],
        ..Catalogue::default()
    };
    for function in [
        "f",
        "mail_of",
        "put_away",
        "pg_read_binary_file",
        "json_scalar",
    ] {
        catalogue.functions.insert(function.into());
    }
    let own = catalogue.own.entry("pg_catalog".into()).or_default();
    own.insert("pg_class".into());
    for (oid, relation) in relations {
        catalogue
            .by_name
            .entry(relation.name.clone())
            .or_default()
            .push(oid);
        catalogue.relations.insert(oid, relation);
    }
    Outlook::new(
        7,
        Arc::new(catalogue),
        &FakeMasks {
            covered: &[
                "public.users.email",
                "public.accounts.email",
                "public.computed.email",
                "public.docs.body",
                "public.docs.tags",
                "public.docs.sum",
            ],
            watched: &["public.users.phone"],
        },
        &Default::default(),
    )
}

/// The columns as letters: `c` covered, `w` watched, `u` unproven, `.` clean; then what else it does.
fn read(sql: &str) -> String {
    let outlook = outlook();
    let flow = Flow::of(sql, &outlook);
    let mut text = String::new();
    for statement in &flow.statements {
        let letters = |outputs: &Outputs| match outputs {
            Outputs::All(fields) if fields.is_empty() => "-".to_owned(),
            Outputs::All(_) => "*".to_owned(),
            Outputs::Each(each) => each
                .iter()
                .map(|output| {
                    let names: Vec<_> = output
                        .fields
                        .iter()
                        .map(|field| (outlook.is_covered(field), field))
                        .collect();
                    match names.iter().max() {
                        _ if output.star => '+',
                        None => '.',
                        Some((true, 0)) => 'u',
                        Some((true, _)) => 'c',
                        Some((false, _)) => 'w',
                    }
                })
                .collect(),
        };
        text.push_str(&letters(&statement.outputs));
    }
    let mut kinds: Vec<UseKind> = Vec::new();
    for (kind, _) in &flow.uses {
        if kinds.contains(kind) {
            continue;
        }
        kinds.push(*kind);
        text.push_str(match kind {
            UseKind::Asks => " asks",
            UseKind::Takes => " takes",
            UseKind::Names => " names",
            UseKind::WritesCover => " writes",
            UseKind::Unproven => " unproven",
        });
    }
    text
}

#[test]
fn views_are_read_from_their_definitions() {
    let outlook = outlook();
    let marked = |oid, column| outlook.marked(oid, column).map(|marked| marked.itself);
    assert_eq!(marked(20_000, 3), Some(true));
    assert_eq!(marked(20_000, 1), None);
    assert_eq!(marked(20_001, 2), None);
    assert_eq!(marked(20_002, 1), None);
    assert_eq!(marked(20_002, 2), Some(true));
    assert_eq!(marked(20_002, 3), Some(false));
    assert_eq!(marked(20_002, 4), None);
    assert_eq!(marked(20_003, 1), Some(false));
    // A column of a view is what it is there, and not the field itself because it is a column.
    assert_eq!(marked(20_021, 2), Some(true));
    assert_eq!(marked(20_021, 3), Some(false));
}

#[test]
fn columns_of_an_answer() {
    let rows = [
        ("select id, name, email, phone from users", "..cw"),
        ("select * from users", "+"),
        (
            "select count(*), upper(name), email || '' from users",
            "..c",
        ),
        ("select email from plain", "."),
        ("select p.email, u.email from plain p, users u", ".c"),
        ("select upper(p.email) from plain p, users u", "."),
        ("select upper(email) from plain p, users u", "c"),
        (
            "select upper(p.email) from plain p, users u where u.id = p.id",
            ".",
        ),
        ("select row_to_json(u), u.id from users u", "c."),
        ("select u.row_to_json from users u", "c"),
        ("select email(u) from users u", "c takes asks"),
        ("select x, y from (select email x, id y from users) s", "cc"),
        ("select upper from (select upper(email) from users) s", "c"),
        ("select s.* from (select email from users) s", "+"),
        (
            "select row_to_json(s) from (select email from users) s",
            "c",
        ),
        (
            "with c(a, b) as (select id, email from users) select a, b, upper(b) from c",
            "ccc",
        ),
        (
            "select id::text from plain union all select email from users",
            "c",
        ),
        ("select (select email from users limit 1), 1", "c."),
        ("select c from users a(x, y, c)", "c"),
        ("select y from users a(x, y, c)", "c"),
        ("select f(1), now()", "u."),
        ("select x from (select f(1) as x) s", "u"),
        ("select * from f(1)", "+"),
        ("select a from f(1) a", "u"),
        ("select mail, loud, id from v", "cc."),
        (
            "insert into users values (1) returning id, email, old.email, new",
            ".ccc",
        ),
        ("explain select email from users", "*"),
        ("fetch all from c", "*"),
        ("select a.unknown from elsewhere a", "c"),
    ];
    let found = rows.map(|(sql, _)| (sql, read(sql)));
    assert_eq!(
        found,
        rows.map(|(sql, expected)| (sql, expected.to_owned()))
    );
}

/// A bare `*` is what is beside it: not what else the statement names, and all of that.
#[test]
fn a_star_is_what_is_beside_it() {
    let rows = [
        ("select distinct * from (select id, name from users) s", "+"),
        (
            "select distinct * from (select id, email from users) s",
            "+ asks",
        ),
        (
            "select distinct * from (select id, upper(email) as x from users) s",
            "+ asks",
        ),
        ("select distinct * from (select * from users) s", "+ asks"),
        // What has a `*` of its own could have any name.
        (
            "select distinct * from (select * from (select name from users) a) s",
            "+ asks",
        ),
        (
            "select distinct * from (select * from (select note from plain) a) s",
            "+",
        ),
        ("select distinct * from (select s from users s) s", "+ asks"),
        (
            "select distinct * from (select (s).* from users s) s",
            "+ asks",
        ),
        ("select distinct * from (table users) s", "+ asks"),
        (
            "select distinct * from (select * from users) s(a, b, c, d)",
            "+ asks",
        ),
        ("select distinct * from users s(a, b, c, d)", "+ asks"),
        (
            "select distinct * from plain, (select id, name from users) s",
            "+",
        ),
        (
            "select distinct * from plain p, lateral (select u.email as e from users u) s",
            "+ asks",
        ),
        (
            "select distinct * from plain join (select id, name from users) s using (id)",
            "+",
        ),
        (
            "select distinct * from plain join (select id, email as m from users) s using (id)",
            "+ asks",
        ),
        (
            "select distinct * from (values ((select email from users limit 1))) s",
            "+ asks",
        ),
        (
            "select distinct * from (values ((select name from users limit 1))) s",
            "+",
        ),
        (
            "with c as (select id, name from users) select distinct * from c",
            "+",
        ),
        (
            "with c as (select id, email from users) select distinct * from c",
            "+ asks",
        ),
        (
            "with c as (select id, email from users) select distinct * from c d(x, y)",
            "+ asks",
        ),
        (
            "with users as (select 1 as id) select distinct * from users",
            "+",
        ),
        (
            "with users as (select * from users) select distinct * from users",
            "+ asks",
        ),
        (
            "with c as (update users set name = 'x' returning *) select distinct * from c",
            "+ asks",
        ),
        (
            "with c as (update users set name = 'x' returning id) select distinct * from c",
            "+",
        ),
        (
            "with recursive c(a, b) as (select id, name from users union all select u.id, u.name from users u, c where u.id = c.a) \
             select distinct * from c",
            "+",
        ),
        (
            "with recursive c(a, b) as (select id, email from users union all select c.a, 'x' from c) \
             select distinct * from c",
            "+ asks",
        ),
        (
            "with recursive c as (select id, email from users union all select * from c) select distinct * from c",
            "+ asks",
        ),
        ("select distinct * from f(1)", "+ asks"),
        (
            "select distinct * from (select id from users) s, f(1)",
            "+ asks",
        ),
        ("select distinct * from elsewhere", "+ asks"),
        (
            "select distinct * from (select id from users union select email from users) s",
            "+ asks",
        ),
        (
            "select distinct *, (select email from users limit 1) from (select 1) s",
            "+c asks",
        ),
        ("select distinct * from (select mail from v) s", "+ asks"),
        ("select distinct * from (select id from v) s", "+"),
    ];
    let found = rows.map(|(sql, _)| (sql, read(sql)));
    assert_eq!(
        found,
        rows.map(|(sql, expected)| (sql, expected.to_owned()))
    );
}

#[test]
fn what_else_is_done_with_values() {
    let rows = [
        ("select id from users where email like 'a%'", ". asks"),
        ("select id from users where name like 'a%'", "."),
        ("select id from users order by email", ". asks"),
        (
            "update plain set note[(select email from users)] = 'x'",
            "- takes",
        ),
        (
            "insert into plain (id, note[(select email from users)]) values (1, 'x')",
            "- takes",
        ),
        ("select exists (select * from users)", "."),
        ("select exists (select email::int from users)", "c asks"),
        (
            "insert into users (id, name, email) values (1, 'a', 'b') \
             on conflict (id) do update set name = excluded.name, email = excluded.email",
            "-",
        ),
        (
            "insert into users (id, name, email) values (1, 'a', 'b') \
             on conflict (id) do update set name = excluded.email",
            "- takes",
        ),
        (
            "create table t (e text references users (email))",
            "- takes",
        ),
        ("create table t (e text references users (id))", "-"),
        (
            "alter table t add foreign key (e) references users (email)",
            "- takes asks",
        ),
        (
            "alter table users add column c text not null default ''",
            "-",
        ),
        ("alter table users detach partition plain", "- takes"),
        ("alter function f(int) rename to upper", "- unproven"),
        ("copy plain from program 'cat'", "- unproven"),
        ("copy plain from '/etc/passwd'", "- unproven"),
        ("create database d template e", "- unproven"),
        ("create database d template template0", "-"),
        ("alter system set a = 'b'", "- unproven"),
        ("load 'a'", "- unproven"),
        ("explain select f(1)", "*"),
        ("explain select id from users", "-"),
        ("select id, email from users order by 2", ".c asks"),
        ("select id, upper(email) e from users order by e", ".c asks"),
        ("select distinct email from users", "c asks"),
        ("select distinct on (email) id from users", ". asks"),
        ("select id from users u where u.ctid = '(0,1)'", "."),
        (
            "select x from users join plain using (email) as x",
            "c asks",
        ),
        (
            "select email from users union select note from plain",
            "c asks",
        ),
        (
            "select email from users union all select note from plain",
            "c",
        ),
        ("select email, upper(email), email::text from users", "ccc"),
        ("select left(email, 3) from users", "c asks"),
        ("select split_part(email, '@', 1) from users", "c asks"),
        ("select rtrim(email, 'm') from users", "c asks"),
        (
            "update users set email = v.mail from v where v.id = users.id",
            "- takes",
        ),
        ("update users set email = email where id = 1", "-"),
        ("update users set email = users.email", "-"),
        (
            "update users set email = (select u.email from users u limit 1)",
            "- takes",
        ),
        (
            "update users set email = v.loud from v where v.id = users.id",
            "- takes",
        ),
        ("select id from owners for update skip locked", ". asks"),
        ("select id, xmax from owners", ".c"),
        ("select 1 from owners where xmax <> '0'", ". asks"),
        ("select id, xmax from users for update", ".."),
        ("select pg_read_file('x')", "u unproven"),
        ("select count(*) from pg_ls_tmpdir()", ". unproven"),
        ("select email::int from users", "c asks"),
        (
            "select case when email > 'a' then 1 end from users",
            "c asks",
        ),
        ("select left('abc', length(email)) from users", "c asks"),
        ("select id from users join plain using (email)", ". asks"),
        ("select 1 from users natural join plain", ". asks"),
        ("select f(email) from users", "c takes asks"),
        ("select pg_notify('c', email) from users", "c takes asks"),
        ("update users set name = email", "- takes"),
        ("update users set email = lower(email)", "- takes"),
        ("update users set email = email", "-"),
        ("update users set email = 'x' where id = 1", "-"),
        ("update users set email = 'x' where email = 'y'", "- asks"),
        ("insert into plain select id, email from users", "- takes"),
        ("insert into users (email) values ('x')", "-"),
        ("create table t as select email from users", "- takes"),
        (
            "select id, note into t from plain union all select id, email from users",
            ".c takes",
        ),
        ("create table t as select id from users", "-"),
        ("create view x as select email from users", "- names"),
        // A type comes with each relation, and a call may be a cast to it.
        ("create table concat as select 1", "- unproven"),
        ("create view concat as select 1", "- unproven"),
        ("select 1 into concat", ". unproven"),
        (
            "create view x as select id from users where email > 'a'",
            "- asks",
        ),
        (
            "create function f() returns int language sql as 'select 1'",
            "- unproven",
        ),
        ("do 'begin end'", "- unproven"),
        (
            "alter table users alter name type text using email",
            "- asks takes",
        ),
        ("alter table users rename email to mail", "- names"),
        ("copy users to '/tmp/x'", "- unproven takes"),
        ("copy users to stdout", "-"),
        ("delete from users where id = 1", "-"),
        (
            "delete from users using plain p where p.email = users.email",
            "- asks",
        ),
    ];
    let found = rows.map(|(sql, _)| (sql, read(sql)));
    assert_eq!(
        found,
        rows.map(|(sql, expected)| (sql, expected.to_owned()))
    );
}

/// What is done to the server itself, and what looks like it.
#[test]
fn the_server_itself_is_not_changed() {
    let refused = [
        "update pg_class set relfilenode = 5",
        "update pg_catalog.pg_proc set proname = 'upper'",
        "delete from pg_attribute",
        "insert into pg_catalog.pg_cast select * from pg_cast",
        "truncate pg_catalog.pg_statistic",
        "copy pg_proc from stdin",
        "merge into pg_class c using plain p on c.oid = p.id when matched then delete",
        "with a as (update pg_class set relname = 'x' returning 1) select * from a",
        "update pg_of_a_newer_server set a = 1",
        "update over_catalogue set relname = 'x'",
        "update over_view set relname = 'x'",
        "update pg_settings set setting = 'on' where name = 'allow_system_table_mods'",
        "alter view pg_catalog.pg_stats rename column histogram_bounds to hb",
        "alter view pg_stats rename to ps",
        "alter view pg_stats set schema public",
        "alter table pg_catalog.pg_statistic rename column stavalues1 to a",
        "alter schema pg_catalog rename to c",
        "alter table plain set schema pg_catalog",
        "create view pg_catalog.x as select 1",
        "create view information_schema.x as select email from users",
        "create or replace view columns as select email from users",
        "create or replace view pg_stats as select email from users",
        "create table pg_catalog.t as select 1",
        "select 1 into pg_catalog.t",
        "create table t () inherits (pg_class)",
        "drop view pg_stats",
        "drop view information_schema.columns",
        "set allow_system_table_mods = on",
        "set \"Session_Preload_Libraries\" = 'x'",
        "set local dynamic_library_path = '/tmp'",
        "set plperl.on_init = 'x'",
        "select set_config('local_preload_libraries', 'x', false)",
        "select set_config($1, 'x', false)",
        "select set_config(note, 'x', false) from plain",
        "select set_config(name, 'x', false) from pg_settings",
        "select set_config(name, 'x', false) from pg_settings where name = 'jit_provider'",
        "select lo_import('/etc/passwd')",
        "select lo_export(5, '/tmp/x.so')",
        "select pg_catalog.lo_from_bytea(0, 'x')",
        "select lo_put(5, 0, 'x'), lowrite(1, 'x')",
        "select ('/etc/passwd'::text).lo_import",
        "select n.lo_import from (select '/etc/passwd'::text as n) n",
        "select * from pg_create_logical_replication_slot('a', 'b')",
        "select query_to_xml('select 1', false, false, '')",
        "select * from ts_stat('select 1')",
        "select dblink_exec('', 'drop table users')",
        "create view x as select query_to_xml('select 1', false, false, '')",
        "create view x as select set_config('a.b', 'x', false)",
        "create schema s create view x as select set_config('a.b', 'x', false)",
        "create table t (a text default set_config('a.b', 'x', false))",
        "alter table plain alter note set default set_config('a.b', 'x', false)",
        "prepare p as select lo_export(5, '/tmp/x.so')",
        "copy (select 1) to '/tmp/postgresql.auto.conf'",
    ];
    let passes = [
        "select * from pg_class, information_schema.columns c",
        "insert into plain (note) select relname from pg_class",
        "update plain set note = relname from pg_class where oid = id",
        "create view x as select relname from pg_class",
        "create table t (like pg_class)",
        "create table pg_search_documents (a int)",
        "lock table pg_class in share mode",
        "vacuum pg_catalog.pg_class",
        "analyze pg_statistic",
        "grant select on pg_catalog.pg_stats to public",
        "comment on view pg_stats is 'x'",
        "copy pg_class to stdout",
        "create or replace view public.columns as select 1",
        "insert into columns values (1)",
        "drop table plain",
        "reset session_preload_libraries",
        "set search_path = public",
        "set app.name = 'x'",
        "set plpgsql.extra_warnings = 'all'",
        "select set_config('app.user', $1, true)",
        "select set_config(name, 'view', false) from pg_settings where name = 'row_security'",
        "select lo_unlink(5), lo_create(0)",
        "select u.id, u.name from users u",
        "explain select id from users",
    ];
    for (list, is_refused) in [(&refused[..], true), (&passes[..], false)] {
        for sql in list {
            let unproven = Flow::of(sql, &outlook())
                .uses
                .iter()
                .any(|(kind, _)| *kind == UseKind::Unproven);
            assert_eq!(unproven, is_refused, "{sql}");
        }
    }
}

#[test]
fn what_is_written_is_not_measured() {
    let covered = [
        "select pg_current_wal_lsn()",
        "select pg_current_wal_insert_lsn() - '0/0'",
        "select wal_bytes from pg_stat_get_wal()",
        "select pg_stat_get_xact_tuples_hot_updated(5)",
    ];
    for sql in covered {
        let flow = Flow::of(sql, &outlook());
        assert!(!flow.statements[0].outputs.any().is_empty(), "{sql}");
    }
    assert!(read("explain (analyze, wal) update users set email = 'x'").contains("asks"));
    assert!(!read("explain (analyze, wal) update plain set note = 'x'").contains("asks"));
    assert!(read("explain analyze update users set email = 'x'").contains("asks"));
    assert!(!read("explain analyze select email from users").contains("asks"));
    assert!(!read("explain update users set email = 'x'").contains("asks"));
    assert!(read("create index on users (id) include (email)").contains("asks"));
    assert_eq!(read("select pg_wal_lsn_diff('0/1', '0/2')"), ".");
}

#[test]
fn how_long_something_is_tells_no_more_than_how_long_the_value_is() {
    let asks = [
        "select to_jsonb(concat(btrim(email, 'k'), note)) from users, plain",
        "select split_part(email, '@', 1) from users",
        "select to_json(row(rtrim(email, 'm'), name)) from users",
        "select string_agg(ltrim(email, 'k'), ',') from users",
        "select json_agg(split_part(email, '@', 1)) from users",
        "select json_agg(json_build_object('a', btrim(email, 'k'))) from users",
        "select concat(name, concat(btrim(email, 'k'), 'x')) from users",
        "select concat(email, repeat('x', 1000000)) from users",
    ];
    for sql in asks {
        assert!(read(sql).contains("asks"), "{sql}: {}", read(sql));
    }
    let returned = [
        "select concat(name, ' ', email), name || email, name || upper(email) from users",
        "select btrim(email), btrim(email) || 'x' from users",
        "select json_build_object('id', id, 'name', name, 'email', email) from users",
        "select json_agg(json_build_object('name', name, 'email', email)) from users",
        "select json_agg(row_to_json(u)), string_agg(email, ',') from users u",
        "select row(id, name, email), to_jsonb(u) from users u",
    ];
    for sql in returned {
        assert!(!read(sql).contains("asks"), "{sql}: {}", read(sql));
    }
}

#[test]
fn triggers_of_others_are_not_known() {
    for (sql, calls) in [
        ("truncate plain cascade", true),
        ("truncate plain", false),
        ("set constraints all immediate", true),
        ("set constraints all deferred", false),
    ] {
        let flow = Flow::of(sql, &outlook());
        assert_eq!((flow.calls, flow.touches), (calls, calls), "{sql}");
        assert_eq!(flow.uses, [], "{sql}");
    }
}

#[test]
fn where_there_are_event_triggers_a_change_of_the_catalogue_calls_them() {
    let catalogue = Catalogue {
        event_triggers: true,
        ..Catalogue::default()
    };
    let masks = FakeMasks {
        covered: &[],
        watched: &[],
    };
    let with = Outlook::new(8, Arc::new(catalogue), &masks, &Default::default());
    for (sql, is_event) in [
        ("create table t (a int)", true),
        ("select 1 into t", true),
        ("grant select on pg_class to public", true),
        ("comment on table pg_class is 'x'", true),
        ("explain analyze create table t as select 1", true),
        ("select 1", false),
        ("begin", false),
        ("delete from pg_class", false),
    ] {
        assert_eq!(Flow::of(sql, &with).calls, is_event, "{sql}");
        assert!(!Flow::of(sql, &outlook()).calls, "{sql}");
    }
}

#[test]
fn what_is_executed_counts_as_if_it_were_written_out() {
    let outlook = outlook();
    let outer = Flow::of("execute p", &outlook);
    assert!(!outer.alters);
    let ddl = "create or replace view v as select email as id from users";
    let united = outer.executing(&Flow::of(ddl, &outlook));
    assert!(united.alters && united.replaces && united.writes);
    let united = outer.executing(&Flow::of(
        "insert into plain select id, name from users",
        &outlook,
    ));
    assert!(united.writes);
    let united = outer.executing(&Flow::of("close c", &outlook));
    assert_eq!(united.statements[0].closes.as_deref(), Some("c"));
    let united = outer.executing(&Flow::unreadable());
    assert!(united.alters && united.replaces && united.ends && united.calls);
    assert_eq!(united.statements[0].closes.as_deref(), Some(""));
}

#[test]
fn calls_that_do_not_look_like_calls() {
    let rows = [
        ("select (1).mail_of", "u"),
        ("select x.mail_of from generate_series(1, 3) x", "u"),
        (
            "select generate_series.mail_of from generate_series(1, 3)",
            "u",
        ),
        ("insert into plain select 5, (1).mail_of", "* unproven"),
        (
            "insert into plain select 5, x.mail_of from generate_series(1, 3) x",
            "* unproven",
        ),
        ("select (email).put_away from users", "c takes asks"),
        ("select u.put_away from users u", "c takes asks"),
        ("select 1 from plain where (1).mail_of > 'a'", ". asks"),
        (
            "select (pg_relation_filepath('users')).pg_read_binary_file",
            "u unproven",
        ),
        ("select json_scalar(1)", "u"),
        ("select json_scalar(email) from users", "c takes asks"),
        (
            "select (select lower.f from lower('a')) from (select 1 as f) x, plain lower(f)",
            "u",
        ),
        ("select x.f from plain x, current_user", "u"),
        // What is certainly a column is one.
        ("select s.f from (select id as f from plain) s", "."),
        ("with c(f) as (select id from plain) select c.f from c", "."),
        ("select g.f from generate_series(1, 3) g(f)", "."),
        (
            "select upper(system_user) from (select email from users) s(\"system_user\")",
            "c",
        ),
        ("select system_user from users", "."),
        ("select s.f from (select id from plain) s", "u"),
        ("select p.note, (p).note from plain p", ".."),
        ("select setseed(length(email)) from users", "c takes asks"),
        (
            "select 1 from plain order by id using operator(public.<)",
            ". asks",
        ),
    ];
    let found = rows.map(|(sql, _)| (sql, read(sql)));
    assert_eq!(
        found,
        rows.map(|(sql, expected)| (sql, expected.to_owned()))
    );
}

#[test]
fn nothing_masked_gets_another_name() {
    let rows = [
        ("create view x as select email from users", true),
        ("create view x as select u from users u", true),
        ("create view x as select * from v", true),
        ("create view x as select f(1)", true),
        ("create view x as select * from unheard_of", true),
        ("create view x as select id, name from users", false),
        ("create or replace view plain as select 1 as id", false),
        ("create or replace view v as select 1 as id", true),
        (
            "create materialized view x as select email from users",
            true,
        ),
        (
            "explain analyze create materialized view x as select email from users",
            true,
        ),
        (
            "create schema s create table t (a int) create view x as select email from users",
            true,
        ),
        ("create materialized view x as select id from users", false),
        ("alter table users rename to x", true),
        ("alter index users rename to x", true),
        ("alter index users_pkey rename to x", false),
        ("alter view v rename to x", true),
        ("alter table plain rename to users_too", false),
        ("alter table unheard_of rename to x", true),
        ("create table t (a int); alter table t rename to x", false),
        ("alter table users rename email to x", true),
        ("alter table users rename name to x", false),
        ("alter table users rename constraint c to x", false),
        ("alter table users set schema s", true),
        ("alter table plain set schema s", false),
        ("alter schema public rename to x", true),
        ("alter schema empty rename to x", false),
        (
            "alter table users add column x text generated always as (email) stored",
            true,
        ),
        (
            "alter table users add column x text generated always as (name) stored",
            false,
        ),
    ];
    for (sql, names) in rows {
        let found = read(sql);
        let is_stopped = found.contains("names") || found.contains("unproven");
        assert_eq!(is_stopped, names, "{sql}: {found}");
    }
}

#[test]
fn names_mean_what_they_mean_for_the_server() {
    let insert = "insert into plain select 1, a::text from";
    let rows = [
        ("with mm as (select 1 as a) {i} mm", "- "),
        (
            "{i} mm, (with mm as (select 1) select 1) s",
            "- unproven takes",
        ),
        ("create temp table mm (a int); {i} mm", "-- "),
        (
            "create temp table mm (a int); {i} public.mm",
            "-- unproven takes",
        ),
        ("create table public.mm (a int); {i} public.mm", "-- "),
        (
            "begin; create temp table mm (a int); rollback; create view mm as select email as a from users; {i} mm",
            "----- names unproven takes",
        ),
        (
            "create temp table mm (a int); discard temp; {i} mm",
            "--- unproven takes",
        ),
        (
            "create temp table mm (a int); create view public.mm as select email as a from users; {i} mm",
            "--- names unproven takes",
        ),
        (
            "create materialized view mm as select email as a from users; {i} mm",
            "-- names unproven takes",
        ),
        (
            "explain analyze create materialized view pg_class as select email as a from users; {i} pg_class",
            "*- unproven names asks takes",
        ),
        (
            "create view public.pg_class as select email as a from users; {i} pg_class",
            "-- names unproven takes",
        ),
        ("drop owned by a; {i} plain", "-- asks unproven takes"),
        ("{i} pg_class", "- "),
        ("{i} pg_aios", "- unproven takes"),
        ("{i} pg_catalog.pg_aios", "- unproven takes"),
        ("{i} information_schema.zz", "- unproven takes"),
        ("{i} pg_toast.pg_toast_16391", "- unproven"),
        (
            "create temp table pg_toast_16391 (a int); {i} pg_toast_16391",
            "-- unproven",
        ),
    ];
    for (sql, expected) in rows {
        let found = read(&sql.replace("{i}", insert));
        assert_eq!(found.trim_end(), expected.trim_end(), "{sql}");
    }
}

#[test]
fn whether_something_fails_or_in_which_order_it_comes_tells_of_it() {
    let rows = [
        (
            "select id, upper(email) from users order by upper",
            ".c asks",
        ),
        ("select id, upper(name) from users order by upper", ".."),
        (
            "select count(*), coalesce(email, 'x') from users group by coalesce",
            ".c asks",
        ),
        (
            "select count(*), upper(email) from users group by grouping sets ((upper))",
            ".c asks",
        ),
        (
            "select id, (select email) from users order by email",
            ".c asks",
        ),
        (
            "select id, email::text || 'x' from users order by \"?column?\"",
            ".c asks",
        ),
        (
            "select upper(email) from users union all select 'zz' order by upper",
            "c asks",
        ),
        (
            "values ((select email from users)), ('a') order by column1",
            "* asks",
        ),
        (
            "select x || x from (select tags as x, email from users, docs) s",
            "c asks",
        ),
        (
            "select email || 'x' from (select tags as email from users, docs) s",
            "c asks",
        ),
        ("select name, email from users order by 2", ".c asks"),
        ("select name, email from users order by 1, 2", ".c asks"),
        ("select name, email from users order by (1)", ".c asks"),
        (
            "select name, email from users order by -- by\n 1",
            ".c asks",
        ),
        ("select *, email from users order by 1", "+c asks"),
        ("select *, name, email from users order by 2", "+.c asks"),
        (
            "select (json_populate_record(null::v, (case when email > 'a' then '{}' end)::json)).* from users",
            "+ asks",
        ),
        (
            "select (unnest(array_fill(null::v, array[length(email)]))).* from users",
            "+ asks",
        ),
        ("select (f(1)).*, (u).* from users u", "++"),
        (
            "select count(*) from generate_series(1, length(mail_of(1)))",
            ". asks",
        ),
        ("select * from mail_of(1)", "+"),
        (
            "select * from mail_of(length(mail_of(1)))",
            "+ unproven asks",
        ),
        (
            "select coalesce(email, 'x'), coalesce(email, name) from users",
            "cc",
        ),
        (
            "select coalesce(email, (1 / (id - id))::text) from users",
            "c asks",
        ),
        (
            "select case when id > 1 then tags end, case id when 1 then null else email end from users, docs",
            "cc asks",
        ),
        (
            "select case when id > 1 then tags else null end from docs",
            "c",
        ),
        (
            "select case when id > 1 then email else name end from users",
            "c asks",
        ),
        (
            "select case when email > 'a' then email end from users",
            "c asks",
        ),
        (
            "select tags || '{{a,b}}'::text[], body || '1' from docs",
            "cc asks",
        ),
        ("select to_jsonb(body), jsonb_agg(d) from docs d", "cc asks"),
        (
            "select to_jsonb(email), jsonb_build_object('a', email) from users",
            "cc",
        ),
        ("select jsonb_agg(u) from users u", "c"),
        ("update docs set body['a'] = '1' where id = 1", "- asks"),
        ("update docs set tags[:] = '{}' where id = 1", "- asks"),
        ("update docs set tags = '{}' where id = 1", "-"),
        (
            "alter table users add constraint c exclude using btree (email with =)",
            "- asks",
        ),
        (
            "alter table users add constraint c exclude using btree (id with =)",
            "-",
        ),
        (
            "alter table users add unique (id) include (email)",
            "- asks",
        ),
        ("create index on users (id) include (email)", "- asks"),
        ("create index on users (id) include (name)", "-"),
        ("create statistics s on email, name from users", "- asks"),
        ("create statistics s on id, name from users", "-"),
        ("explain select email from users", "*"),
        ("explain select name from users order by id", "-"),
        ("explain analyze execute p", "*"),
    ];
    let found = rows.map(|(sql, _)| (sql, read(sql)));
    assert_eq!(
        found,
        rows.map(|(sql, expected)| (sql, expected.to_owned()))
    );
}

#[test]
fn who_writes_what_is_tied_to_a_sensitive_column_asks_about_it() {
    for sql in [
        "update accounts set slot = 1",
        "update accounts a set note = 'x', slot = default where a.id = 1",
        "insert into accounts (id) values (1) on conflict (id) do update set slot = 2",
        "update v_accounts set note = 'x'",
        "delete from v_accounts",
        "with d as (delete from owners where id = 1 returning id) select 1",
        "delete from owners",
        "update owners set id = 2",
        "merge into owners o using plain p on o.id = p.id when matched then delete",
        "merge into accounts a using plain p on a.id = p.id when matched then update set slot = 1",
        "update computed set note = 'x'",
        "update nobody_knows set note = 'x'",
        "delete from nobody_knows",
        "update users set email.a = 'x'",
    ] {
        assert!(read(sql).contains(" asks"), "{sql}: {}", read(sql));
    }
    for sql in [
        "update accounts set note = 'x', id = 2",
        "update accounts set email = 'x'",
        "insert into accounts values (1, 'x', 2, 'y')",
        "delete from accounts where id = 1",
        "update owners set note = 'x'",
        "insert into owners values (1, 'x')",
        "merge into owners o using plain p on o.id = p.id when matched then update set note = 'x'",
        "delete from computed",
        "create table t (a int); update t set a = 1; delete from t",
    ] {
        assert!(!read(sql).contains(" asks"), "{sql}: {}", read(sql));
    }
}

#[test]
fn everyday_statements_are_left_alone() {
    let rows = [
        ("select name, email from users order by 1", ".c"),
        ("select name, id, email from users order by 1, 2", "..c"),
        ("select 0, name, email, * from users order by 2", "..c+"),
        ("select name, max(email) from users group by 1", ".c"),
        (
            "select name, email from users order by coalesce(name, 'x')",
            ".c",
        ),
        ("select name, email from users order by $1", ".c"),
        (
            "with c as (select email, tags from users, docs) select c.email || '', email || '' from c",
            "cc",
        ),
        (
            "select name || ' <' || email || '>', concat(name, ' ', email) from users",
            "cc",
        ),
        (
            "select array_agg(email), string_agg(email, ',' order by id) from users",
            "cc",
        ),
        (
            "select json_agg(json_build_object('id', id, 'e', email) order by id) from users",
            "c",
        ),
        (
            "select array_agg(email order by email) from users",
            "c asks",
        ),
        ("select count(sum), count(d.sum) from docs d", ".."),
        (
            "select count(body), count(distinct sum) from docs d",
            "cc asks",
        ),
        ("select x || '' from (select email as x from users) s", "c"),
        ("select id from plain where id between 1 and 5", "."),
        (
            "select (w.u).email, (select u from users u limit 1).email from w",
            "cc",
        ),
        (
            "create table a (id int); create index on a (id); alter table a add b int",
            "---",
        ),
    ];
    let found = rows.map(|(sql, _)| (sql, read(sql)));
    assert_eq!(
        found,
        rows.map(|(sql, expected)| (sql, expected.to_owned()))
    );
}

#[test]
fn a_column_that_a_join_makes_of_two_is_what_they_are() {
    let rows = [
        ("select * from users full join plain using (id)", true),
        ("select * from users full join plain using (email)", false),
        ("select * from users natural full join plain", false),
        (
            "select *, upper(email), * from users full join plain using (id)",
            false,
        ),
        ("select (u).*, u.id from users u", false),
        ("select s.* from (select upper(email) from users) s", false),
        (
            "select * from users join generate_series(1, length(email)) g on true",
            false,
        ),
        ("select * from elsewhere", false),
    ];
    for (sql, is_clean) in rows {
        let flow = Flow::of(sql, &outlook());
        let outputs = &flow.statements[0].outputs;
        assert_eq!(
            outputs.fields_of_no_table(0, 9).is_empty(),
            is_clean,
            "{sql}"
        );
        assert!(!outputs.fields(0, 9).is_empty(), "{sql}");
    }
}

#[test]
fn how_a_copy_is_written_is_known_or_it_is_not_masked_at_all() {
    let rows = [
        ("(format csv, header)", Some(true)),
        ("(format csv, header false)", Some(false)),
        ("(format csv, header 0)", Some(false)),
        ("csv header", Some(true)),
        ("(format csv, header (false))", None),
        ("(format csv, header 'maybe')", None),
        ("(format (csv))", None),
        ("(format csv, delimiter (';'))", None),
        ("(format csv, quote (x))", None),
        ("(format csv, escape (x))", None),
        ("(format csv, null (x))", None),
        ("(format csv, delimiter 5)", None),
        ("(format csv, new_option)", None),
    ];
    for (options, expected) in rows {
        let sql = format!("copy users to stdout with {options}");
        let flow = Flow::of(&sql.replace("with csv", "csv"), &outlook());
        let header = match flow.statements[0].copy.as_ref().unwrap().format {
            CopyFormat::Csv { header, .. } => Some(header),
            _ => None,
        };
        assert_eq!(header, expected, "{sql}");
        assert_eq!(flow.uses.is_empty(), expected.is_some(), "{sql}");
    }
}

#[test]
fn what_is_executed_is_found_wherever_it_stands() {
    for sql in [
        "execute p",
        "explain analyze execute p",
        "create table t as execute p",
        "explain analyze create table t as execute p",
    ] {
        let flow = Flow::of(sql, &outlook());
        assert_eq!(flow.statements[0].executes.as_deref(), Some("p"), "{sql}");
    }
}

#[test]
fn every_attack_can_be_read() {
    let attacks = include_str!("../../../../../../tests/integration/scripts/masks/attacks.sql");
    for sql in attacks.lines() {
        let sql = sql.replace("\\;", ";");
        let read = read(&sql);
        assert!(!read.is_empty(), "{sql}");
    }
}

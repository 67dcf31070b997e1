//! What a statement asks, takes or calls without naming it.
use super::{outlook, read};
use crate::interpret::flow::Flow;
use crate::mask::catalogue::Catalogue;
use crate::mask::outlook::Outlook;
use gateway_core::mask::UseKind;
use gateway_testkit::FakeMasks;
use std::sync::Arc;

#[test]
fn rows_that_are_chosen_in_a_sub_query_are_asked_about() {
    for sql in [
        "select 1 where exists (select 1 from owners for update skip locked)",
        "select id from plain group by id having id in (select id from owners for share nowait)",
        "select 1 from plain p join plain q on p.id = (select id from owners for update limit 1)",
        "select 1 limit (select id from owners for key share skip locked)",
        "values ((select id from owners limit 1 for update))",
        "update plain set id = (select id from owners for update skip locked limit 1)",
        "delete from plain where id in (select id from owners for update skip locked)",
    ] {
        assert!(read(sql).contains("asks"), "{sql}: {}", read(sql));
    }
    let everyday = "select 1 where exists (select 1 from plain for update skip locked)";
    assert_eq!(read(everyday), ".");
}

#[test]
fn what_is_altered_is_understood_or_counts_as_code() {
    for (sql, expected) in [
        (
            "alter foreign table plain options (set table_name 'users')",
            "- unproven",
        ),
        (
            "alter foreign table plain alter note options (add column_name 'email')",
            "- unproven",
        ),
        (
            "alter type plain alter attribute note type varchar(3) cascade",
            "- unproven",
        ),
        ("alter table plain alter note type varchar(3)", "-"),
        ("alter table accounts alter note type varchar(3)", "-"),
        ("alter table accounts alter slot type bigint", "- asks"),
        ("alter table owners alter id type bigint", "- asks"),
        ("alter table users add primary key using index i", "- asks"),
        ("alter table plain add primary key using index i", "-"),
        (
            "alter table plain alter note set default 'x', enable row level security",
            "-",
        ),
    ] {
        assert_eq!(read(sql), expected, "{sql}");
    }
}

#[test]
fn what_an_unknown_function_returns_is_kept_by_nothing() {
    for sql in [
        "create table m (i int); alter table m add t text default mail_of(1)",
        "create table m (i int); alter table m alter i type text using mail_of(i)",
        "create table m (i int); alter table m add t text generated always as (mail_of(i)) stored",
        "create table m (i int); alter table m add t text default (1).mail_of",
        "create table m (i int); create index on m (mail_of(i))",
        "create unique index on plain (mail_of(id))",
        "create statistics s on (mail_of(id)), id from plain",
    ] {
        assert!(read(sql).contains("unproven"), "{sql}: {}", read(sql));
    }
    let everyday = "create table m (i int); alter table m add t text default upper('x'); \
                    create index on m (upper(t))";
    assert_eq!(read(everyday), "---");
}

#[test]
fn what_is_about_all_tables_is_unknown() {
    assert_eq!(read("cluster"), "- asks");
    assert_eq!(read("cluster plain"), "-");
    for (sql, calls) in [
        ("cluster", true),
        ("vacuum (verbose)", true),
        ("analyze", true),
        ("reindex schema public", true),
        ("analyze plain", false),
        ("reindex table plain", false),
    ] {
        assert_eq!(Flow::of(sql, &outlook()).calls, calls, "{sql}");
    }
}

/// A domain whose constraint calls somebody's function, and a table with a row policy that does.
fn calling() -> Outlook {
    let mut catalogue = outlook()
        .catalogue
        .map(|known| Catalogue::clone(&known))
        .unwrap();
    catalogue.calling_types.insert(30_000);
    for name in ["dl", "_dl"] {
        catalogue.calling_names.insert(name.into());
        catalogue.functions.insert(name.into());
    }
    let owners = catalogue.relations.get_mut(&20_019).unwrap();
    owners.calls_when_read = true;
    owners.calls_for_columns = true;
    catalogue.unproven = vec![(20_001, 3)];
    let masks = FakeMasks {
        covered: &["public.users.email"],
        watched: &[],
    };
    Outlook::new(9, Arc::new(catalogue), &masks, &Default::default())
}

#[test]
fn to_make_a_value_of_a_type_that_calls_something_is_a_call() {
    let calling = calling();
    for (sql, calls) in [
        ("select 1::dl", true),
        ("select '{1}'::dl[]", true),
        ("select dl '1'", true),
        ("select (1).dl", true),
        ("select cast(id as public.dl) from plain", true),
        ("select * from json_to_record('{}') as x(id dl)", true),
        (
            "select * from xmltable('/a' passing '<a/>' columns id dl)",
            true,
        ),
        ("select jsonb_populate_record(p, '{}') from plain p", true),
        ("prepare p(dl) as select $1", true),
        ("create table t (a dl)", true),
        ("alter table plain add d dl default 1", true),
        ("select * from owners", true),
        ("select 1::text, 'x'::plain, now()", false),
        ("select * from plain", false),
    ] {
        assert_eq!(Flow::of(sql, &calling).calls, calls, "{sql}");
    }
    assert_eq!(Flow::of("select id::dl from plain", &calling).uses, []);
    let takes = Flow::of("select email::dl from users", &calling);
    assert!(takes.uses.iter().any(|(kind, _)| *kind == UseKind::Takes));
}

#[test]
fn what_somebodys_function_computes_is_unproven_wherever_it_is_kept() {
    let calling = calling();
    for (sql, kept) in [
        ("create table t (like owners including all)", true),
        ("create table t (like owners)", false),
        ("create table t (like users including all)", false),
        ("alter table plain alter note drop expression", true),
        ("alter table plain alter id drop expression", false),
        ("insert into owners select id, note from plain", true),
        ("insert into owners select id, email from plain", false),
    ] {
        let flow = Flow::of(sql, &calling);
        let uses = flow.uses.iter();
        let is_kept = uses.filter(|(kind, _)| *kind == UseKind::Unproven).count() > 0;
        assert_eq!(is_kept, kept, "{sql}: {:?}", flow.uses);
    }
}

//! What asks about masked values, and what a human is asked about.
use super::*;

/// Statements that ask or take in a form that does not look like it.
const IN_DISGUISE: &[&str] = &[
    "select id, upper(email) from users order by upper",
    "select count(*), upper(ssn) from users group by upper",
    "select coalesce(email) from users group by coalesce",
    "select upper(email) from users union all select 'zz' order by upper",
    "select id from plain where (1).mail_of like 'k4n4ry-1%'",
    "select id from plain where json_scalar(1) like 'k4n4ry-1%'",
    "select (json_populate_record(null::contact, (case when email like 'k4n4ry-2%' then '{}' \
     else 'x' end)::json)).* from users where id = 1",
    "select (unnest(array_fill(null::contact, array[ascii(substr(email, 1, 1))]))).* from users",
    "select count(*) from generate_series(1, length(mail_of(1)))",
    "select chr(count(*)::int) from generate_series(1, ascii(substr((xpath('//email/text()', \
     query_to_xml('select email from users where id = 2', false, false, '')))[1]::text, 1, 1)))",
    "select mails || '{{a,b}}'::text[] from users where id = 1",
    "select coalesce(salary, 1 / (id - id)) from users where id = 1",
    "select to_jsonb(notes) from users",
    "update users set profile['mail']['x'] = '1' where id = 1",
    "update users set mails[:] = array['a'] where id = 1",
    "alter table users add constraint ex exclude using btree (ssn with =)",
    "alter table users add unique (id) include (ssn)",
    "create index on users (id) include (ssn)",
    "create statistics es (ndistinct, dependencies, mcv) on ssn, name from users",
    "select setseed(salary / 1e10) from users where id = 1",
    "create temp table mm (a int) \\; create index on mm ((1 / (ascii(substr(imm(1), 1, 1)) - 107)))",
    "select * from pg_stat_xact_user_tables where n_tup_hot_upd > 0",
    "select id from owners o where exists (select 1 from owners x where x.id = o.id for update skip locked)",
    "select n from generate_series(1, 5) p(n) where n not in (select id from owners for key share skip locked)",
    "select 1 where (select count(*) from mv_users tablesample system (50)) > 1",
    "cluster",
    "create unique index on plain (imm(id))",
    "alter foreign table filed options (set filename '/etc/passwd')",
    "alter type number_and_page alter attribute page type smallint cascade",
    "alter table pages alter page type bigint",
    "alter table tied alter slot type bigint",
    "alter table users add primary key using index users_pkey",
];

/// Statements of every day, in which masked columns are returned and nothing else.
const EVERYDAY: &[&str] = &[
    "select name, email from users where id between 1 and 3 order by name",
    "select name || ' <' || email || '>', concat(name, ' ', email) from users",
    "select array_agg(email), string_agg(email, ',' order by id) from users",
    "select json_agg(json_build_object('id', id, 'email', email) order by id) from users",
    "select coalesce(ssn, 'none'), coalesce(salary, 0) from users",
    "select (reach).mail, (lead).email from users, teams",
    "select name, email from users order by 1",
    "select id, name, email from users union all select id, note, email from plain order by id",
    "select s.id, s.mail from (select id, email as mail from users) s",
    "with c as (select id, email from users) select c.id, c.email || '' from c",
    "explain select id from users where name = 'user 1'",
    "select * from pg_stats_ext",
    "select id from orders where id = (select id from orders where item = 'item 1' for update skip locked)",
    "analyze plain",
    "create table grown (id int, note text) \\; alter table grown alter note type varchar(20), \
     add check (id > 0), alter id set not null",
    "create table made (id int primary key, user_id int references users (id)) \\; \
     create index on made (user_id) \\; alter table made add column note text \\; \
     insert into made select id, id, name from users",
];

#[test]
fn the_policy_decides_about_questions() {
    let masked = Masked::new("");
    let by_mail = "select id from users where email = 'k4n4ry-3@example.com'";
    let refusal = masked.fails(by_mail);
    assert!(
        refusal.contains("asks about public.users.email"),
        "{refusal}"
    );
    assert!(masked.psql("select id from users where id = 3").code() == 0);
    let record = masked.record("select id from users where email");
    assert_eq!(record["verdict"], "deny");
    assert_eq!(record["rule"], "mask personal");
    assert_eq!(
        record["statement"],
        "select id from users where email = '[masked]'"
    );

    let put = |mask: &str| {
        let scene = &masked.scene;
        let rules = rules(&format!("{FIELDS}\n{mask}"));
        let text = policy::with_rules(&scene.subtree, scene.cluster.port(), &rules);
        scene.daemon.put_in_force("test", &text).unwrap();
    };
    put("predicates = \"allow\"");
    assert_eq!(masked.sees(by_mail), "3");
    put("predicates = \"hold\"\napprovers = [\"local:daemon\"]\ntimeout = \"30s\"");
    let (psql, id) = masked.held(by_mail);
    masked.approve(&id);
    let outcome = psql.wait(PATIENCE).unwrap().success().unwrap();
    assert_eq!(outcome.stdout, "3\n");

    // Whatever has been replaced meanwhile, it may ask something else.
    let view = "create view asked as select id, email as x from users";
    masked.scene.cluster.query(view).unwrap();
    for change in [
        "alter table plain rename to plain_2",
        "alter table plain_2 rename to plain",
    ] {
        let (psql, id) = masked.held("select id from asked where x like 'k4n4ry-3%'");
        masked.sees(change);
        masked.approve(&id);
        let outcome = psql.wait(PATIENCE).unwrap();
        assert!(outcome.stderr.contains("another operation"), "{outcome:?}");
        assert_eq!(outcome.stdout, "", "{change}");
    }
    masked.assert_unknown(CANARY);
}

#[test]
fn a_question_in_disguise_is_refused_and_everyday_statements_are_not() {
    let masked = Masked::new("");
    for sql in IN_DISGUISE {
        let refusal = masked.fails(&format!("{sql};\n"));
        assert!(refusal.contains("gateway: "), "{sql}: {refusal}");
    }
    for sql in EVERYDAY {
        let outcome = masked.psql(&format!("{sql};\n"));
        assert_eq!(outcome.code(), 0, "{sql}: {outcome:?}");
        assert!(!outcome.stdout.contains(CANARY), "{sql}: {outcome:?}");
    }
    assert_eq!(masked.sees("select count(email) from users"), "5");
    let joined = masked.sees("select * from users full join plain using (id) order by id limit 1");
    assert!(joined.starts_with("1|user 1|[masked]|"), "{joined}");
    let outcome = masked.script(true, "executed.py", "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    masked.assert_unknown(CANARY);
}

#[test]
fn a_session_with_a_library_of_its_own_does_not_begin() {
    let masked = Masked::new("");
    let mut psql = masked.scene.job("library").unwrap().command("psql");
    psql.env("PGOPTIONS", "-c session_preload_libraries=evil");
    psql.args([
        "-X",
        "-d",
        &masked.scene.cluster.address(),
        "-c",
        "select 1",
    ]);
    let outcome = running::run(&mut psql).unwrap();
    assert_ne!(outcome.code(), 0, "{outcome:?}");
    assert!(outcome.stderr.contains("cannot be shown"), "{outcome:?}");
}

#[test]
fn how_much_was_written_is_not_told() {
    let masked = Masked::new("");
    let refusal = masked.fails("explain (analyze, wal) update users set ssn = 'x' where id = 1");
    assert!(refusal.contains("asks about"), "{refusal}");
    assert_eq!(masked.sees("select pg_current_wal_lsn()"), "");
    assert_eq!(
        masked.sees("select n_tup_hot_upd from pg_stat_user_tables where relname = 'users'"),
        ""
    );
    let refusal = masked.fails("create index on users (id) include (ssn)");
    assert!(refusal.contains("asks about"), "{refusal}");
}

#[test]
fn a_trigger_or_a_rule_of_the_database_does_not_speak_for_itself() {
    let masked = Masked::new("");
    let on_events = "create function tell() returns event_trigger language plpgsql as \
                     $$ begin raise notice 'seen %', (select email from users limit 1); end $$; \
                     create event trigger tell on ddl_command_end execute function tell()";
    masked.scene.cluster.query(on_events).unwrap();
    let outcome = masked.psql("insert into audited values (1, 'x')");
    assert!(outcome.stderr.contains("[masked"), "{outcome:?}");
    assert!(!outcome.stderr.contains(CANARY));
    for statement in ["create table told (id int)", "comment on table told is 'x'"] {
        let outcome = masked.psql(statement);
        assert!(outcome.stderr.contains("[masked"), "{outcome:?}");
        assert!(!outcome.stderr.contains(CANARY));
    }
}

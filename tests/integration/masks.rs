//! A masked column never reaches the client, and whoever may see it is on record.
mod meeting;

use crate::operation;
use gateway_tests::running::{Outcome, PATIENCE, Running};
use gateway_tests::{Daemon, Scene, place, policy, running, wait};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(400);
const SCHEMA: &str = include_str!("scripts/masks/schema.sql");
/// What every masked value of the schema holds, and no statement.
const CANARY: &str = "k4n4ry";

/// Everything sensitive in the schema.
const FIELDS: &str = r#"fields = ["public.users.email", "*.ssn", "public.users.salary",
  "public.users.born", "public.users.secret_id", "public.users.profile", "public.users.notes",
  "public.users.mails", "public.users.home", "public.users.reach", "public.users.raw",
  "public.users.short", "public.users.score", "public.users.seen", "public.events.email",
  "public.people.email", "hr.people_private.E-mail", "public.tied.mail", "public.owned.owner",
  "public.cited.page"]"#;

/// A database with masks before it.
struct Masked {
    scene: Scene,
}

/// Everything is allowed, under this mask.
fn rules(mask: &str) -> String {
    format!(
        "[[rule]]\nname = \"all, masked\"\nverbs = [\"*\"]\nverdict = \"allow\"\n\
         masks = [\"personal\"]\n\n[[mask]]\nname = \"personal\"\n{mask}\n"
    )
}

impl Masked {
    /// All sensitive fields, and more about the mask.
    fn new(mask: &str) -> Masked {
        Masked::with(&rules(&format!("{FIELDS}\n{mask}")))
    }

    fn with(rules: &str) -> Masked {
        Masked::over(rules, SCHEMA)
    }

    /// With tables of its own.
    fn over(rules: &str, schema: &str) -> Masked {
        let scene = Scene::with_rules(rules).unwrap();
        scene
            .cluster
            .access("host all all 127.0.0.1/32 trust")
            .unwrap();
        scene.cluster.query(schema).unwrap();
        Masked { scene }
    }

    /// Runs a program of the masks' scripts in a job, or around the gateway.
    fn script(&self, governed: bool, program: &str, file: &str) -> Outcome {
        let python = place::python().unwrap();
        let mut command = match governed {
            true => self.scene.job("script").unwrap().command(&python),
            false => Command::new(&python),
        };
        let port = self.scene.cluster.port().to_string();
        command.arg(scripts().join(program));
        command.args(["127.0.0.1", &port, "postgres", "postgres"]);
        command.arg(scripts().join(file));
        let outcome = Running::start(&mut command).unwrap().wait(LONG).unwrap();
        outcome.success().unwrap()
    }

    /// psql's bare output, through the gateway. The SQL is in a file: what a process is started
    /// with is on record as it is.
    fn psql(&self, sql: &str) -> Outcome {
        let files = place::temporary_directory().unwrap();
        let file = files.path().join("statement.sql");
        fs::write(&file, sql).unwrap();
        let file = file.display().to_string();
        let stop = ["-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", &file];
        self.scene.psql(&stop).unwrap()
    }

    fn sees(&self, sql: &str) -> String {
        let outcome = self.psql(sql).success().unwrap();
        outcome.stdout.trim_end().to_owned()
    }

    /// The error that psql shows.
    fn fails(&self, sql: &str) -> String {
        let outcome = self.psql(sql);
        assert_ne!(outcome.code(), 0, "{sql}: {outcome:?}");
        outcome.stderr
    }

    /// A statement that a human is asked about, and the number of the question.
    fn held(&self, sql: &str) -> (Running, String) {
        let mut psql = self.scene.job("held").unwrap().command("psql");
        psql.args(["-X", "-A", "-t", "-d", &self.scene.cluster.address()]);
        let files = place::temporary_directory().unwrap();
        let file = files.path().join("held.sql");
        fs::write(&file, sql).unwrap();
        psql.arg("-f").arg(&file);
        let psql = Running::start(&mut psql).unwrap();
        let question = wait::until("a question", PATIENCE, || {
            self.scene.daemon.json(&["approvals"]).unwrap().pop()
        })
        .unwrap();
        assert!(!question.to_string().contains(CANARY), "{question}");
        (psql, question["id"].as_str().unwrap().to_owned())
    }

    fn approve(&self, id: &str) {
        let mut approve = self.scene.daemon.gateway_as(1).unwrap();
        running::run(approve.args(["approvals", "approve", id]))
            .unwrap()
            .success()
            .unwrap();
    }

    /// The record of the statement that begins so.
    fn record(&self, beginning: &str) -> Value {
        let log = self.scene.daemon.log().unwrap();
        let found = log.into_iter().rev().find(|operation| {
            let text = operation["statement"].as_str();
            text.is_some_and(|text| text.starts_with(beginning))
        });
        found.unwrap_or_else(|| panic!("no record of {beginning}"))
    }

    /// Is this nowhere in what the daemon keeps, says and shows?
    fn assert_unknown(&self, word: &str) {
        let daemon = &self.scene.daemon;
        assert!(!daemon.said().contains(word), "in the daemon's own log");
        let log = daemon.run(&["log", "--json"]).unwrap().success().unwrap();
        assert!(!log.stdout.contains(word), "in gateway log");
        assert!(!metrics(daemon).contains(word), "in the metrics");
        let found = place::files_with(daemon.state(), word).unwrap();
        assert!(found.is_empty(), "in {found:?}");
        // What is on record is found that way.
        let found = place::files_with(daemon.state(), "select").unwrap();
        let journal = found.iter().any(|file| file.contains("journal"));
        assert!(journal, "{found:?}");
    }
}

fn scripts() -> PathBuf {
    place::repository().join("tests/integration/scripts/masks")
}

fn metrics(daemon: &Daemon) -> String {
    let mut curl = Command::new("curl");
    let socket = daemon.control_socket();
    curl.args(["-sf", "--unix-socket"]).arg(socket);
    curl.arg("http://localhost/metrics");
    let outcome = running::run(&mut curl).unwrap().success().unwrap();
    assert!(outcome.stdout.contains("gateway_sessions_active"));
    outcome.stdout
}

/// The number of a counter or of a histogram.
fn metric(daemon: &Daemon, name: &str) -> u64 {
    let text = metrics(daemon);
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(label, _)| *label == name);
    found.and_then(|(_, value)| value.parse().ok()).unwrap()
}

#[test]
fn nothing_of_a_masked_column_is_on_the_wire_or_on_record() {
    for predicates in ["allow", "deny"] {
        let masked = Masked::new(&format!("predicates = \"{predicates}\""));
        // Another file may be tried by hand.
        let attacks = std::env::var("GATEWAY_MASK_ATTACKS");
        let attacks = attacks.unwrap_or_else(|_| "attacks.sql".into());
        let outcome = masked.script(true, "wire.py", &attacks);
        assert!(
            outcome.stdout.ends_with(" statements, 0 found\n"),
            "{}",
            outcome.stdout
        );
        masked.assert_unknown(CANARY);
    }
}

#[test]
fn nothing_of_a_masked_column_is_seen_by_clients() {
    let masked = Masked::new("predicates = \"allow\"");
    let text = fs::read_to_string(scripts().join("attacks.sql")).unwrap();
    let script = place::temporary_directory().unwrap();
    let file = script.path().join("attacks.sql");
    let lines = text.lines().map(|line| format!("{line};\n"));
    fs::write(&file, lines.collect::<String>()).unwrap();

    let file = file.display().to_string();
    let verbose = ["-v", "VERBOSITY=verbose", "-v", "SHOW_CONTEXT=always", "-f"];
    let psql = masked
        .scene
        .psql(&[verbose.as_slice(), &[file.as_str()]].concat())
        .unwrap();
    let psycopg = masked.script(true, "attack_psycopg.py", "attacks.sql");
    let mut java = masked.scene.job("java").unwrap().command("java");
    java.args(["-Xmx128m", "-cp", "/usr/share/java/postgresql.jar"]);
    java.arg(scripts().join("Attack.java"));
    let port = masked.scene.cluster.port();
    java.arg(format!(
        "jdbc:postgresql://127.0.0.1:{port}/postgres?user=postgres"
    ));
    java.arg(scripts().join("attacks.sql"));
    let jdbc = Running::start(&mut java).unwrap().wait(LONG).unwrap();
    for (client, outcome) in [("psql", psql), ("psycopg", psycopg), ("jdbc", jdbc)] {
        let seen = format!("{}{}", outcome.stdout, outcome.stderr).to_lowercase();
        assert!(seen.contains("[masked]"), "{client}: {seen}");
        assert!(seen.lines().count() > 300, "{client}: {seen}");
        for word in [CANARY, "91827364", "c0ffee00", "1987-06"] {
            let place = seen.find(word);
            let around = place.map(|at| &seen[at.saturating_sub(300)..at + 40]);
            assert_eq!(around, None, "{client} has seen {word}");
        }
    }
}

#[test]
fn what_is_not_masked_is_the_same_byte_for_byte() {
    let masked = Masked::new("");
    let direct = masked.script(false, "same.py", "clean.sql");
    let through = masked.script(true, "same.py", "clean.sql");
    for (direct, through) in direct.stdout.lines().zip(through.stdout.lines()) {
        assert_eq!(through, direct);
    }
    assert_eq!(through.stdout, direct.stdout);
    assert!(through.stdout.lines().count() > 200);
}

#[test]
fn a_mask_says_what_a_value_becomes() {
    let query = "select id, email, salary, born, secret_id, profile, short, name from users \
                 where id = 1";
    let masked = Masked::new("");
    assert_eq!(
        masked.sees(query),
        "1|[masked]|0|||\"[masked]\"|[mas|user 1",
        "NULL where the type has no text, and a constant where the column takes no NULL"
    );
    let put = |mask: &str| {
        let scene = &masked.scene;
        let rules = rules(&format!("{FIELDS}\n{mask}"));
        let text = policy::with_rules(&scene.subtree, scene.cluster.port(), &rules);
        scene.daemon.put_in_force("test", &text).unwrap();
    };
    put("with = \"partial\"");
    assert_eq!(
        masked.sees("select email from users where id = 1"),
        "****************.com"
    );
    assert_eq!(
        masked.sees("select upper(email) from users where id = 1"),
        "[masked]"
    );
    put("with = \"null\"");
    assert_eq!(masked.sees(query), "1|||||||user 1");
    put("with = \"hash\"");
    let first = masked.sees("select email, salary, secret_id from users where id = 1");
    let columns: Vec<&str> = first.split('|').collect();
    assert_eq!(columns[0].len(), 32);
    assert!(columns[1].parse::<u32>().is_ok_and(|number| number > 0));
    assert_eq!(columns[2].len(), 36);
    assert_eq!(
        masked.sees("select email, salary, secret_id from users where id = 1"),
        first
    );
    assert_ne!(
        masked.sees("select email, salary, secret_id from users where id = 2"),
        first
    );
    // The same value in another column is the same digest: joins still work.
    masked
        .scene
        .cluster
        .query("update people set email = (select email from users where id = 1)")
        .unwrap();
    assert_eq!(masked.sees("select email from people"), columns[0]);
}

#[test]
fn drivers_get_values_of_the_right_types() {
    let masked = Masked::new("with = \"hash\"");
    let outcome = masked.script(true, "typed.py", "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
}

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

    // Another field, and another body of the same view.
    masked.sees("create view asked as select id, email as x from users");
    for body in [
        "select id, ssn as x from users",
        "select id + 1 as id, email as x from users",
    ] {
        masked.sees("create or replace view asked as select id, email as x from users");
        let (psql, id) = masked.held("select id from asked where x like 'k4n4ry-3%'");
        masked.sees(&format!("create or replace view asked as {body}"));
        masked.approve(&id);
        let outcome = psql.wait(PATIENCE).unwrap();
        assert!(outcome.stderr.contains("another operation"), "{outcome:?}");
        assert_eq!(outcome.stdout, "", "{body}");
    }
    masked.assert_unknown(CANARY);
}

#[test]
fn what_is_written_with_a_statement_is_not_on_record() {
    let masked = Masked::new("predicates = \"allow\"");
    let _ = masked
        .psql("insert into users (id, name, email, salary) values (50, 'n', 'k4n4ry-literal', 5)");
    let _ = masked.psql("update users set email = $$k4n4ry-dollar$$ where id = 50");
    let _ = masked.psql("update users set email = E'k4n4ry\\x2descaped' where id = 50");
    let _ = masked.psql("select 'k4n4ry-cast'::int from users");
    let _ = masked.psql("prepare p as select id from users where email = 'k4n4ry-p'; execute p");
    let outcome = masked.script(true, "parameters.py", "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    masked.assert_unknown(CANARY);
    let record = masked.record("insert into users");
    assert!(
        record["statement"].as_str().unwrap().contains("[masked]"),
        "{record}"
    );
}

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
    "create table made (id int primary key, user_id int references users (id)) \\; \
     create index on made (user_id) \\; alter table made add column note text \\; \
     insert into made select id, id, name from users",
];

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
fn the_literals_of_statements_that_define_are_not_on_record() {
    let masked = Masked::new("predicates = \"allow\"");
    let statements = [
        "create view lit as select id, email = $$k4n4ry-1$$ as a from users",
        "create table lit2 as select id from users where email = E'k4n4ry-2'",
        "alter table users alter column ssn set default $$k4n4ry-3$$",
        "create index lit3 on users (id) where ssn = $$k4n4ry-4$$",
        "comment on column users.ssn is $$k4n4ry-5$$",
        "prepare lit4 as select id from users where ssn = U&'k4n4ry-6'",
        "select id, ssn from users /* k4n4ry-7 */ where id = 1 -- k4n4ry-8",
        "select id from users where ssn = $$k4n4ry-9$$ and",
    ];
    for statement in statements {
        let _ = masked.psql(statement);
    }
    masked.assert_unknown(CANARY);
    let record = masked.record("create view lit");
    assert_eq!(
        record["statement"],
        "create view lit as select id, email = '[masked]' as a from users"
    );
}

#[test]
fn what_is_prepared_is_masked_however_it_is_executed() {
    let masked = Masked::new("predicates = \"deny\"");
    let outcome = masked.script(true, "prepared.py", "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
    masked.assert_unknown(CANARY);
}

#[test]
fn the_gateway_and_the_server_mean_the_same_by_a_name() {
    for predicates in ["allow", "deny"] {
        let masked = Masked::new(&format!("predicates = \"{predicates}\""));
        let outcome = masked.script(true, "desync.py", "attacks.sql");
        assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
        masked.assert_unknown(CANARY);
    }
}

#[test]
fn a_statement_that_waits_means_what_it_was_judged_by() {
    for predicates in ["allow", "deny"] {
        let masked = Masked::new(&format!("predicates = \"{predicates}\""));
        let outcome = masked.script(true, "crossing.py", "attacks.sql");
        assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
        assert_eq!(masked.sees("select count(*) from sink"), "0");
        masked.assert_unknown(CANARY);
    }
}

#[test]
fn names_are_read_as_databases_of_other_encodings_read_them() {
    let masked = Masked::new("predicates = \"deny\"");
    for (database, encoding) in [("euc", "EUC_JP"), ("latin", "LATIN1")] {
        let create = format!(
            "create database {database} template template0 encoding '{encoding}' lc_collate 'C' \
             lc_ctype 'C'"
        );
        masked.scene.cluster.query(&create).unwrap();
        masked.scene.cluster.query_in(database, SCHEMA).unwrap();
    }
    let outcome = masked.script(true, "encodings.py", "attacks.sql");
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
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

/// Another database of the same tables: masked values are longer there, others come first, and what
/// refers to other rows refers to other ones.
fn other_world() -> String {
    let swaps = [
        (
            "'k4n4ry-' || n",
            "'k4n4ry-' || repeat('z', 200 - 30 * n) || n",
        ),
        (
            "'k4n4ry-ssn-' || n",
            "'k4n4ry-ssn-' || repeat('z', 1000 * n)",
        ),
        ("918273640 + n", "918273650 - n"),
        ("'1987-06-05'", "'1987-06-09'"),
        ("'k4n4ry-by-ssn'", "'k4n4ry-by-zzz'"),
        ("'k4n4ry-late-1'", "'k4n4ry-late-number-2'"),
        (
            "insert into owned values (1, 3)",
            "insert into owned values (1, 4)",
        ),
        (
            "insert into cited values (1, 3)",
            "insert into cited values (1, 4)",
        ),
    ];
    swaps
        .iter()
        .fold(SCHEMA.to_owned(), |schema, (one, other)| {
            assert!(schema.contains(one), "{one}");
            schema.replace(one, other)
        })
}

/// What nobody may see makes no difference to what they see: not to a value, an error, an order, a
/// count or a size. What differs between two databases that are the same is something else.
#[test]
fn answers_are_the_same_whatever_is_masked() {
    let answers = |schema: &str| {
        let masked = Masked::over(&rules(FIELDS), schema);
        let outcome = masked.script(true, "answers.py", "attacks.sql");
        let lines = outcome.stdout.lines().map(str::to_owned);
        lines.collect::<Vec<String>>()
    };
    let (one, again, other) = (answers(SCHEMA), answers(SCHEMA), answers(&other_world()));
    assert_eq!((one.len(), one.len()), (again.len(), other.len()));
    let statements = one.chunks(2).zip(again.chunks(2)).zip(other.chunks(2));
    let mut compared = 0;
    let mut different = Vec::new();
    for ((one, again), other) in statements {
        if one == again {
            compared += 1;
            if one != other {
                different.push(format!("{}\n  {}\n  {}", one[0], one[1], other[1]));
            }
        }
    }
    assert!(compared > 2000, "{compared} answers were compared");
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn who_sees_what_in_the_clear_is_on_record() {
    let masked = Masked::with(&format!(
        "[[rule]]\nname = \"all\"\nverbs = [\"*\"]\nverdict = \"allow\"\n\n\
         [[mask]]\nname = \"personal\"\n{FIELDS}\ndetect = [\"credit-card\"]\n"
    ));
    let seen = masked.sees("select id, email, ssn from users where id < 3 order by id");
    assert!(
        seen.starts_with("1|k4n4ry-1@example.com|k4n4ry-ssn-1"),
        "{seen}"
    );
    masked.sees("select upper(email), name from users");
    masked.sees("select id, name from users");
    masked.sees("select 'card 4111 1111 1111 1111' from plain");
    masked.sees("copy users (id, ssn) to stdout");

    let daemon = &masked.scene.daemon;
    assert!(metric(daemon, "gateway_mask_seconds_count") >= 4);
    assert!(metric(daemon, "gateway_overhead_seconds_count") >= 5);
    assert_eq!(metric(daemon, "gateway_approvals_pending"), 0);
    let record = masked.record("select id, email, ssn");
    let both = ["public.users.email", "public.users.ssn"];
    assert_eq!(record["disclosed"], serde_json::json!(both));
    assert_eq!(record["disclosed_rows"]["public.users.email"], 2);
    assert_eq!(
        masked.record("select upper(email)")["disclosed_rows"]["public.users.email"],
        5
    );
    assert_eq!(
        masked.record("select id, name")["disclosed"],
        serde_json::json!([])
    );
    assert_eq!(
        masked.record("select 'card")["disclosed_rows"]["detected:credit-card"],
        2
    );
    assert_eq!(
        masked.record("copy users")["disclosed_rows"]["public.users.ssn"],
        5
    );

    let found = masked
        .scene
        .daemon
        .json(&["log", "--disclosed", "public.users.*", "--verb", "read"])
        .unwrap();
    assert_eq!(found.len(), 3, "{found:#?}");
    let found = masked
        .scene
        .daemon
        .json(&["log", "--disclosed", "public.users.phone"])
        .unwrap();
    assert!(found.is_empty());
    masked.assert_unknown("k4n4ry-1@");
    masked.assert_unknown("4111 1111");
}

#[test]
fn detectors_find_what_no_field_names() {
    let masked = Masked::with(&rules(
        "detect = [\"email\", \"credit-card\", \"iban\"]\npredicates = \"allow\"",
    ));
    assert_eq!(
        masked.sees("select id, email, note from plain where id = 1"),
        "1|[masked]|nothing"
    );
    assert_eq!(
        masked.sees("select 'pay 4111111111111111 to DE89370400440532013000 now'"),
        "pay [masked] to [masked] now"
    );
    assert_eq!(
        masked.sees("select 4111111111111111::bigint, 4111111111111112"),
        "|4111111111111112"
    );
    assert_eq!(
        masked.sees("copy (select email from plain) to stdout"),
        "[masked]\n[masked]"
    );
    let record = masked.record("select id, email, note");
    assert_eq!(record["masked"]["detected:email"], 1);
    assert_eq!(
        masked
            .sees("select 4111111111111111::float8, array[4111111111111111::float8], 4.5::float8"),
        "||4.5"
    );
    assert_eq!(
        masked.sees("select 'someone@example.com'::bytea, 'nobody'::bytea"),
        "|\\x6e6f626f6479"
    );
    let late = "create temp table late (email text unique deferrable initially deferred); \
                insert into late select 'someone@example.com' from generate_series(1, 2)";
    let failed = masked.fails(late);
    assert!(failed.contains("[masked]"), "{failed}");
    let outcome = masked.script(true, "told.py", "attacks.sql");
    assert_eq!(outcome.stdout, "done\n");
    let outcome = masked.script(true, "card_numbers.py", "attacks.sql");
    assert_eq!(
        outcome.stdout,
        "[None, None, None, None, None, '[masked]', Decimal('4111111111111112'), [5]]\n"
    );
    let failed = masked.fails("select 'someone@example.com'::int");
    assert!(failed.contains("[masked]"), "{failed}");
    masked.assert_unknown("someone@example.com");
    masked.assert_unknown("4111111111111111");
}

#[test]
fn a_mask_follows_what_is_renamed_elsewhere() {
    let masked = Masked::new("");
    assert_eq!(
        masked.sees("select email from users where id = 1"),
        "[masked]"
    );
    let program = include_str!("scripts/masks/renamed.py");
    let job = masked.scene.job("renamed").unwrap();
    let mut client = job
        .python(program, &[&masked.scene.cluster.address()])
        .unwrap();
    client.wait_for_output("before [masked]", PATIENCE).unwrap();
    masked
        .scene
        .cluster
        .query("alter table users rename email to mail; alter table users rename to members")
        .unwrap();
    // Its prepared statement means the new names from now on.
    let outcome = client.wait(PATIENCE).unwrap().success().unwrap();
    assert!(outcome.stdout.contains("after [masked]"), "{outcome:?}");
    assert_eq!(
        masked.sees("select mail from members where id = 1"),
        "[masked]"
    );
}

#[test]
fn a_mask_follows_a_renamed_column_over_a_crash() {
    let mut masked = Masked::new("");
    masked.sees("select id from users where id = 1");
    let file = masked.scene.daemon.state().join("columns.json");
    wait::until("the columns on disk", PATIENCE, || {
        let text = fs::read_to_string(&file).ok()?;
        text.contains("public.users.email").then_some(())
    })
    .unwrap();
    masked.scene.daemon.crash().unwrap();
    masked
        .scene
        .cluster
        .query("alter table users rename email to mail; alter table users rename to members")
        .unwrap();
    masked.scene.daemon.restart().unwrap();
    assert_eq!(
        masked.sees("select mail from members where id = 1"),
        "[masked]"
    );
    masked.scene.daemon.terminate().unwrap().success().unwrap();
    fs::write(&file, "{}").unwrap();
    let refusal = masked.scene.daemon.restart().unwrap_err().to_string();
    let said = masked.scene.daemon.said();
    assert!(
        said.contains("columns.json does not list sensitive columns"),
        "{refusal}: {said}"
    );
}

#[test]
fn where_the_catalogue_cannot_be_read_everything_is_masked() {
    let masked = Masked::new("");
    masked
        .scene
        .cluster
        .query(
            "create role blind login; grant select on users, plain to blind; \
             revoke select on pg_catalog.pg_class from public",
        )
        .unwrap();
    let mut psql = masked.scene.job("blind").unwrap().command("psql");
    let address = masked
        .scene
        .cluster
        .address()
        .replace("user=postgres", "user=blind");
    psql.args(["-X", "-A", "-t", "-d", &address, "-c"]);
    psql.arg("select id, name, email from users where id = 1");
    let outcome = running::run(&mut psql).unwrap();
    assert_ne!(
        outcome.code(),
        0,
        "a question about what is not known: {outcome:?}"
    );
    let mut psql = masked.scene.job("blind2").unwrap().command("psql");
    psql.args(["-X", "-A", "-t", "-d", &address, "-c"]);
    psql.arg("select id, name, email from users limit 1");
    let outcome = running::run(&mut psql).unwrap().success().unwrap();
    assert_eq!(outcome.stdout, "|[masked]|[masked]\n");
}

#[test]
fn a_dump_of_a_masked_database_restores() {
    let masked = Masked::with(&rules(
        "fields = [\"public.m.email\", \"public.m.born\", \"public.m.pin\"]\nwith = \"hash\"",
    ));
    let cluster = &masked.scene.cluster;
    for database in ["shop", "copy"] {
        cluster
            .query(&format!("create database {database}"))
            .unwrap();
    }
    let table = "create table m (id int primary key, email text not null unique, born date not null, \
                 pin int not null, note text); \
                 insert into m select n, 'k4n4ry-' || n || '@example.com', '1987-06-05', 91827364 + n, \
                 'note ' || n from generate_series(1, 100) n; create view mv as select * from m;";
    let address = cluster.address().replace("dbname=postgres", "dbname=shop");
    let direct = |database: &str, sql: &str| {
        let address = cluster
            .address()
            .replace("dbname=postgres", &format!("dbname={database}"));
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &address,
            "-c",
            sql,
        ]);
        running::run(&mut psql).unwrap().success().unwrap().stdout
    };
    direct("shop", table);
    let files = place::temporary_directory().unwrap();
    let file = files.path().join("dump.sql");
    let mut dump = masked.scene.job("dump").unwrap().command("pg_dump");
    dump.args(["-d", &address, "-f"]).arg(&file);
    running::run(&mut dump).unwrap().success().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(CANARY) && !text.contains("1987-06") && !text.contains("\t918273"));
    let restored = cluster.address().replace("dbname=postgres", "dbname=copy");
    let mut restore = Command::new("psql");
    restore.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &restored, "-f"]);
    running::run(restore.arg(&file)).unwrap().success().unwrap();
    assert_eq!(
        direct(
            "copy",
            "select count(*), count(distinct email), count(distinct born), max(note) from m"
        ),
        "100|100|1|note 99\n"
    );
    assert_eq!(direct("copy", "select count(*) from mv"), "100\n");
}

#[test]
fn a_row_that_is_too_long_to_be_masked_is_refused() {
    let masked = Masked::new("");
    masked
        .scene
        .cluster
        .query("update users set ssn = repeat('k4n4ry', 12 * 1024 * 1024) where id = 2")
        .unwrap();
    let statements = "select ssn from users where id = 2; select id, ssn from users where id = 1";
    let outcome = masked.scene.psql(&["-A", "-t", "-c", statements]).unwrap();
    assert_ne!(outcome.code(), 0);
    assert!(
        outcome.stderr.contains("limits.masked_row_bytes"),
        "{outcome:?}"
    );
    let script = "select ssn from users where id = 2;\nselect id, ssn from users where id = 1;\n\
                  copy users (ssn) to stdout;\nselect 'still here';\n";
    let files = place::temporary_directory().unwrap();
    let file = files.path().join("long.sql");
    fs::write(&file, script).unwrap();
    let outcome = masked
        .scene
        .psql(&["-A", "-t", "-f", &file.display().to_string()])
        .unwrap();
    assert!(outcome.stdout.contains("1|[masked]"), "{outcome:?}");
    assert!(outcome.stdout.ends_with("still here\n"), "{outcome:?}");
    assert!(!outcome.stdout.contains(CANARY));
    let record = masked.record("select ssn from users");
    assert!(
        record["error"].as_str().unwrap().starts_with("54000"),
        "{record}"
    );
    let _ = operation(&masked.scene.daemon.log().unwrap(), "select 'still here';");
}

#[test]
fn a_row_that_is_too_long_to_be_masked_is_cut_where_the_policy_says_so() {
    let masked = Masked::new("long_rows = \"cut\"");
    masked
        .scene
        .cluster
        .query("update users set ssn = repeat('k4n4ry', 12 * 1024 * 1024) where id = 2")
        .unwrap();
    assert_eq!(
        masked.sees("select id, name, ssn from users where id < 4 order by id"),
        "1|user 1|[masked]\n0|[masked]|[masked]\n3|user 3|[masked]"
    );
    let record = masked.record("select id, name, ssn");
    assert_eq!(record["masked"]["row:cut"], 1);
    assert_eq!(record["masked"]["public.users.ssn"], 3);
    assert_eq!(record["error"], Value::Null);
    let refusal = masked.fails("copy users (ssn) to stdout");
    assert!(refusal.contains("limits.masked_row_bytes"), "{refusal}");
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

//! A masked column never reaches the client, and whoever may see it is on record.
mod changes;
mod meeting;
mod questions;
mod records;
mod rows;
mod whose;

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
  "public.cited.page", "public.of_type.page"]"#;

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
        let line = log.stdout.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "{word} in gateway log");
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
        ("select n, 30000 + n from", "select n, 40000 + n from"),
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

//! psql and pgbench cannot tell the gateway from the server, when everything is allowed.
use crate::{operation, statements};
use gateway_tests::cluster::PASSWORD;
use gateway_tests::running::{self, PATIENCE};
use gateway_tests::{Outcome, Running, Scene, policy, wait};
use nix::sys::signal::Signal;
use std::fs;
use std::process::Command;
use std::time::Duration;

/// Runs psql with the same arguments around the gateway and through it.
fn same(scene: &Scene, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let run = |mut command: Command| {
        command
            .args(["-X", "-d", &scene.cluster.address()])
            .args(arguments);
        running::run(command.envs(environment.iter().copied())).unwrap()
    };
    let direct = run(Command::new("psql"));
    let through = run(scene.job("psql").unwrap().command("psql"));
    assert_eq!(
        comparable(&through.stdout),
        comparable(&direct.stdout),
        "stdout: {arguments:?}"
    );
    assert_eq!(
        comparable(&through.stderr),
        comparable(&direct.stderr),
        "stderr: {arguments:?}"
    );
    assert_eq!(through.code(), direct.code(), "exit code: {arguments:?}");
    through
}

/// Process ids and object ids differ from run to run, with and without a gateway.
fn comparable(text: &str) -> String {
    let comparable = |line: &str| match line.split_once("with PID ") {
        Some((before, _)) => format!("{before}with PID …"),
        None if line.starts_with("lo_import ") => "lo_import …".to_owned(),
        None if line.starts_with("select lo_unlink(") => "select lo_unlink(…);".to_owned(),
        None => line.to_owned(),
    };
    text.lines().map(comparable).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_long_script_with_meta_commands_gives_the_same_output() {
    let scene = Scene::allow_all().unwrap();
    let directory = gateway_tests::place::temporary_directory().unwrap();
    let script = directory.path().join("script.sql");
    fs::write(&script, include_str!("scripts/everything.sql")).unwrap();
    fs::write(directory.path().join("blob"), [7; 5000]).unwrap();
    let blob = format!("blob={}", directory.path().join("blob").display());
    let script = script.display().to_string();
    let outcome = same(&scene, &["-a", "-e", "-v", &blob, "-f", &script], &[]);
    assert!(
        outcome.stdout.contains("the last line of the script"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stderr.contains("division by zero"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn multi_statement_strings_errors_and_exit_codes_are_the_same() {
    let scene = Scene::allow_all().unwrap();
    let cases: &[&[&str]] = &[
        &["-c", "select 1; select 2; select 3"],
        &["-c", "select 1; select 1/0; select 3"],
        &[
            "-c",
            "create temp table a (x int); insert into a values (1), (2); table a",
        ],
        &["-c", "begin; select 1; commit; select 2"],
        &["-c", "begin; select 1/0; select 2; commit"],
        &["-c", ";;; select 1;;"],
        &["-c", ""],
        &["-c", "select 'this does not parse"],
        &["-c", "selekt 1"],
        &["-c", "select $1"],
        &["-c", "select no_such_column"],
        &[
            "-c",
            "select E'\\u00e4', U&'\\00e4', $tag$a;b$tag$; select 'c;d' -- e;f",
        ],
        &[
            "-c",
            "do $$ begin raise notice 'n'; raise warning 'w'; raise exception 'e'; end $$",
        ],
        &["-c", "set application_name = 'a b'; show application_name"],
        &["-c", "set client_encoding = 'LATIN1'; select 'x'"],
        &[
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            "select 1/0",
            "-c",
            "select 2",
        ],
        &["--single-transaction", "-c", "select 1", "-c", "select 1/0"],
        &["-c", "select pg_terminate_backend(pg_backend_pid())"],
        &["-c", "\\copy (select 1, 'a') to stdout csv", "-c", "\\dt"],
    ];
    for case in cases {
        same(&scene, case, &[]);
    }
}

#[test]
fn logins_with_and_without_a_password_end_the_same_way() {
    let scene = Scene::allow_all().unwrap();
    let who = "select current_user";
    let address = |role: &str| {
        scene
            .cluster
            .address()
            .replace("user=postgres", &format!("user={role}"))
    };
    for role in ["scram", "md5"] {
        let address = address(role);
        let role_option = ["-d", &address, "-c", who];
        let right = same(&scene, &role_option, &[("PGPASSWORD", PASSWORD)]);
        assert!(right.stdout.contains(role), "{right:?}");
        let wrong = same(&scene, &role_option, &[("PGPASSWORD", "wrong")]);
        assert!(
            wrong.stderr.contains("password authentication failed"),
            "{wrong:?}"
        );
        same(&scene, &["-w", "-d", &address, "-c", who], &[]);
    }
    same(
        &scene,
        &["-d", &address("nobody_of_this_name"), "-c", who],
        &[],
    );
    let nowhere = scene
        .cluster
        .address()
        .replace("dbname=postgres", "dbname=no_such_database");
    same(&scene, &["-d", &nowhere, "-c", who], &[]);
    let log = scene.daemon.log().unwrap();
    assert!(
        !format!("{log:?}").contains(PASSWORD),
        "a password is in the journal"
    );
}

#[test]
fn an_interrupt_cancels_the_statement() {
    let scene = Scene::allow_all().unwrap();
    let end = |mut command: Command| {
        command.args(["-X", "-A", "-t", "-d", &scene.cluster.address()]);
        command.args(["-c", "select pg_sleep(60)"]);
        let psql = Running::start(&mut command).unwrap();
        wait::until_true("the sleeping statement", PATIENCE, || {
            let sleeping =
                "select count(*) from pg_stat_activity where query like 'select pg_sleep%'
                            and state = 'active'";
            scene.cluster.query(sleeping).unwrap() == "1"
        })
        .unwrap();
        psql.signal(Signal::SIGINT).unwrap();
        psql.wait(Duration::from_secs(20)).unwrap()
    };
    let direct = end(Command::new("psql"));
    let through = end(scene.job("interrupt").unwrap().command("psql"));
    assert_eq!(through.stderr, direct.stderr);
    assert_eq!(through.stdout, direct.stdout);
    assert_eq!(through.code(), direct.code());
    assert!(
        through
            .stderr
            .contains("canceling statement due to user request"),
        "{through:?}"
    );
}

#[test]
fn pgbench_runs_in_every_query_mode_without_a_failure() {
    let scene = Scene::allow_all().unwrap();
    let job = scene.job("pgbench").unwrap();
    let pgbench = |arguments: &[&str]| {
        let mut command = job.command("pgbench");
        command.args([
            "-h",
            "127.0.0.1",
            "-p",
            &scene.cluster.port().to_string(),
            "-U",
            "postgres",
        ]);
        running::run(command.args(arguments).arg("postgres"))
            .unwrap()
            .success()
            .unwrap()
            .stdout
    };
    pgbench(&["-i", "-q", "-s", "2"]);
    for mode in ["simple", "extended", "prepared"] {
        // Without -n it would empty pgbench_history first.
        let output = pgbench(&["-n", "-M", mode, "-c", "8", "-j", "2", "-t", "50"]);
        assert!(
            output.contains("actually processed: 400/400"),
            "{mode}: {output}"
        );
        assert!(
            output.contains("failed transactions: 0"),
            "{mode}: {output}"
        );
    }
    let reconnecting = pgbench(&["-n", "-S", "-C", "-c", "4", "-t", "25"]);
    assert!(
        reconnecting.contains("actually processed: 100/100"),
        "{reconnecting}"
    );
    let history = scene
        .cluster
        .query("select count(*) from pgbench_history")
        .unwrap();
    assert_eq!(history, "1200");
    let mut log = scene.daemon.log().unwrap();
    log.retain(gateway_tests::daemon::was_executed);
    let inserts = statements(&log)
        .iter()
        .filter(|text| text.starts_with("INSERT INTO pgbench_history"))
        .count();
    assert_eq!(inserts, 1200, "one record for each");
}

#[test]
fn every_statement_is_recorded_with_its_verdict_and_its_rows() {
    let scene = Scene::with_rules(policy::READ_WRITE).unwrap();
    scene
        .cluster
        .query("create table users (id int); insert into users values (1), (2)")
        .unwrap();
    let outcome = scene
        .psql(&[
            "-c",
            "select id from users",
            "-c",
            "drop table users",
            "-c",
            "select 'the session lives on'",
        ])
        .unwrap();
    assert!(
        outcome.stdout.contains("the session lives on"),
        "{outcome:?}"
    );
    assert!(
        outcome
            .stderr
            .contains("Schema changes go through migrations"),
        "{outcome:?}"
    );
    assert_eq!(
        scene.cluster.query("select count(*) from users").unwrap(),
        "2",
        "untouched"
    );
    let seen = scene.cluster.statements().unwrap();
    assert!(
        !seen.iter().any(|text| text.contains("drop")),
        "the server saw it: {seen:?}"
    );

    let log = scene.daemon.log().unwrap();
    let select = operation(&log, "select id from users");
    assert_eq!(select["verdict"], "allow");
    assert_eq!(select["verb"], "read");
    assert_eq!(select["resource"], "db");
    assert_eq!(select["protocol"], "postgres");
    assert_eq!(select["rows"], 2);
    assert_eq!(select["objects"], serde_json::json!(["public.users"]));
    assert_eq!(select["destination"]["port"], scene.cluster.port());
    assert_eq!(select["principal"]["assurance"], "kernel");
    assert_eq!(select["principal"]["id"], "local:root");
    let drop = operation(&log, "drop table users");
    assert_eq!(drop["verdict"], "deny");
    assert_eq!(drop["verb"], "define");
    assert_eq!(drop["rule"], "nobody drops");
    assert_eq!(drop["message"], "Schema changes go through migrations");
    let sessions = scene.daemon.sessions().unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0]["denied"], 1);
    assert_eq!(sessions[0]["end"], "client");
}

#[test]
fn a_denial_inside_a_transaction_tells_the_truth_about_it() {
    let scene = Scene::with_rules(policy::READ_WRITE).unwrap();
    scene.cluster.query("create table kept (id int)").unwrap();
    let script = "\\echo status: :SQLSTATE\n\
        begin;\n insert into kept values (1);\n drop table kept;\n\
        \\echo code: :LAST_ERROR_SQLSTATE\n select 1;\n commit;\n\
        select 'after';\n";
    let directory = gateway_tests::place::temporary_directory().unwrap();
    let file = directory.path().join("denied.sql");
    fs::write(&file, script).unwrap();
    let outcome = scene.psql(&["-f", &file.display().to_string()]).unwrap();
    assert!(outcome.stdout.contains("code: 42501"), "{outcome:?}");
    assert!(outcome.stdout.contains("after"), "{outcome:?}");
    // Whatever the client is told about the transaction is what the server did: either the insert
    // was kept and COMMIT said so, or it was not and ROLLBACK said so.
    let rows = scene.cluster.query("select count(*) from kept").unwrap();
    let told = if outcome.stdout.contains("COMMIT") {
        "1"
    } else {
        "0"
    };
    assert!(
        outcome.stdout.contains("COMMIT") || outcome.stdout.contains("ROLLBACK"),
        "{outcome:?}"
    );
    assert_eq!(rows, told, "{outcome:?}");
    assert_eq!(
        scene
            .cluster
            .query("select to_regclass('kept') is not null")
            .unwrap(),
        "t"
    );
}

//! Clients that are not libpq, the tools that come with PostgreSQL, and poolers on either side.
use crate::postgres_tls::World;
use gateway_tests::cluster::{PASSWORD, free_port};
use gateway_tests::{Job, Outcome, Running, Scene, place, policy, provider, running, wait};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(240);
const TLS: &str = "tls = { upstream = \"verify-full\", ca = \"$CA\" }";

/// Runs a program around the gateway and through it: it sees the same.
fn same(scene: &Scene, run: impl Fn(Option<&Job>) -> Outcome) -> Outcome {
    let direct = run(None).success().unwrap();
    let through = run(Some(&scene.job("client").unwrap())).success().unwrap();
    assert_eq!(through.stdout, direct.stdout);
    assert!(!through.stdout.is_empty());
    through
}

fn command(job: Option<&Job>, program: impl AsRef<std::ffi::OsStr>) -> Command {
    match job {
        Some(job) => job.command(program),
        None => Command::new(program),
    }
}

fn finish(command: &mut Command) -> Outcome {
    Running::start(command).unwrap().wait(LONG).unwrap()
}

fn jdbc(scene: &Scene, properties: &[(&str, &str)]) {
    let port = scene.cluster.port();
    let files = place::temporary_directory().unwrap();
    let program = files.path().join("Jdbc.java");
    fs::write(&program, include_str!("scripts/Jdbc.java")).unwrap();
    let outcome = same(scene, |job| {
        let mut java = command(job, "java");
        java.args(["-Xmx128m", "-cp", "/usr/share/java/postgresql.jar"]);
        java.arg(&program);
        java.arg(format!("jdbc:postgresql://127.0.0.1:{port}/postgres"));
        for (name, value) in properties {
            java.args([name, value]);
        }
        finish(&mut java)
    });
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
}

#[test]
fn the_java_driver_sees_no_difference() {
    let scene = Scene::allow_all().unwrap();
    jdbc(&scene, &[("user", "postgres")]);
    let log = scene.daemon.log().unwrap();
    assert!(
        log.iter()
            .any(|one| one["statement"] == "update t set name = $1 where id = $2")
    );
}

#[test]
fn the_java_driver_sees_no_difference_over_tls_with_scram() {
    let world = World::new(TLS);
    jdbc(
        &world.scene,
        &[
            ("user", "scram"),
            ("password", PASSWORD),
            ("sslmode", "require"),
        ],
    );
}

fn node(scene: &Scene, options: &str) {
    let build = place::build_directory().unwrap();
    let packages = provider::packages(&build);
    let program = provider::node_program(&provider::node_wheel(&build));
    let outcome = same(scene, |job| {
        let mut node = command(job, &program);
        node.env("NODE_PATH", packages.join("node_modules"));
        node.arg("-e")
            .arg(include_str!("scripts/node_postgres.cjs"));
        node.args(["--", "-", options]);
        finish(&mut node)
    });
    assert!(outcome.stdout.ends_with("done\n"), "{outcome:?}");
}

#[test]
fn the_node_driver_sees_no_difference() {
    let world = World::new(TLS);
    let port = world.scene.cluster.port();
    let plain = format!(
        "{{\"host\":\"127.0.0.1\",\"port\":{port},\"user\":\"postgres\",\"database\":\"postgres\"}}"
    );
    node(&world.scene, &plain);
    let encrypted = plain.replace(
        "\"user\":\"postgres\"",
        &format!(
            "\"user\":\"scram\",\"password\":\"{PASSWORD}\",\"ssl\":{{\"rejectUnauthorized\":false}}"
        ),
    );
    node(&world.scene, &encrypted);
}

#[test]
fn a_dump_has_the_same_bytes_and_can_be_restored() {
    let scene = Scene::allow_all().unwrap();
    let cluster = &scene.cluster;
    for sql in [
        "create schema app",
        "create type app.mood as enum ('sad', 'ok')",
        "create table app.people (id bigserial primary key, name text not null, mood app.mood, \
         doc jsonb, at timestamptz default '2026-01-01', parts int[])",
        "insert into app.people (name, mood, doc, parts) select 'n' || n, 'ok', \
         jsonb_build_object('n', n), array[n, n * 2] from generate_series(1, 20000) n",
        "create view app.moody as select name, mood from app.people where mood = 'sad'",
        "create function app.f(int) returns int language sql as 'select $1 + 1'",
        "create index on app.people (name)",
        "select lo_from_bytea(4242, 'large object')",
    ] {
        cluster.query(sql).unwrap();
    }
    let dump = |job: Option<&Job>, arguments: &[&str]| {
        let mut dump = command(job, "pg_dump");
        dump.args(["-d", &cluster.address()]);
        finish(dump.args(arguments))
    };
    for arguments in [
        &["--restrict-key=fixed"][..],
        &["--restrict-key=fixed", "--inserts", "--blobs"],
    ] {
        same(&scene, |job| dump(job, arguments));
    }
    let files = place::temporary_directory().unwrap();
    let file = files.path().join("dump").display().to_string();
    let made = dump(
        Some(&scene.job("dump").unwrap()),
        &["--format=custom", "-f", &file],
    );
    made.success().unwrap();
    cluster.query("create database copy").unwrap();
    let copy = cluster.address().replace("dbname=postgres", "dbname=copy");
    let mut restore = scene.job("restore").unwrap().command("pg_restore");
    finish(restore.args(["-d", &copy, "--exit-on-error", "-j", "4", &file]))
        .success()
        .unwrap();
    let dump_of = |address: &str| {
        let mut dump = Command::new("pg_dump");
        finish(dump.args(["-d", address, "--restrict-key=fixed"]))
            .success()
            .unwrap()
            .stdout
    };
    assert_eq!(dump_of(&copy), dump_of(&cluster.address()));
}

#[test]
fn pgbench_runs_in_every_mode_and_every_transaction_is_recorded() {
    let scene = Scene::allow_all().unwrap();
    let pgbench = |arguments: &[&str]| {
        let mut pgbench = scene.job("pgbench").unwrap().command("pgbench");
        let port = scene.cluster.port().to_string();
        pgbench.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres"]);
        finish(pgbench.args(arguments).arg("postgres"))
            .success()
            .unwrap()
    };
    pgbench(&["-i", "-q", "-s", "1"]);
    for mode in ["simple", "extended", "prepared"] {
        for script in ["tpcb-like", "simple-update", "select-only"] {
            let outcome = pgbench(&["-n", "-M", mode, "-b", script, "-c", "4", "-t", "25"]);
            let words = &outcome.stdout;
            assert!(
                words.contains("processed: 100/100"),
                "{mode} {script}: {words}"
            );
            assert!(words.contains("failed transactions: 0"), "{words}");
        }
    }
    let log = scene.daemon.log().unwrap();
    let begun = log.iter().filter(|one| {
        let text = one["statement"].as_str().unwrap_or_default().to_lowercase();
        text.starts_with("begin") && gateway_tests::daemon::was_executed(one)
    });
    // And the one of the initialisation.
    assert_eq!(begun.count(), 3 * 2 * 100 + 1);
}

#[test]
fn changes_are_streamed_where_the_policy_allows_it() {
    let mut scene = Scene::allow_all().unwrap();
    scene
        .cluster
        .query("alter system set wal_level = logical")
        .unwrap();
    scene.cluster.restart().unwrap();
    scene
        .cluster
        .query("create table t (id int primary key, name text)")
        .unwrap();
    let receive = |job: &Job, arguments: &[&str]| {
        let mut receive = job.command("pg_recvlogical");
        receive.args(["-d", &scene.cluster.address(), "--slot=s"]);
        receive.args(arguments);
        Running::start(&mut receive).unwrap()
    };
    let job = scene.job("receiver").unwrap();
    let made = receive(&job, &["--create-slot", "--plugin=test_decoding"]);
    made.wait(LONG).unwrap().success().unwrap();
    let mut stream = receive(&job, &["--start", "-f", "-", "-F", "1", "-s", "1"]);
    scene
        .cluster
        .query("insert into t select n, 'row ' || n from generate_series(1, 3000) n")
        .unwrap();
    stream.wait_for_output("row 3000", LONG).unwrap();
    stream.signal(nix::sys::signal::Signal::SIGINT).unwrap();
    stream.wait(LONG).unwrap();
    // Who may only read and write may not.
    let text = policy::with_rules(&scene.subtree, scene.cluster.port(), policy::READ_WRITE);
    scene.daemon.reload("test", &text).unwrap();
    wait::until_true("a refusal", running::PATIENCE, || {
        let refused = receive(&job, &["--drop-slot"]).wait(LONG).unwrap();
        refused.stderr.contains("gateway")
    })
    .unwrap();
}

/// pgbouncer, in a job or outside of every tree.
struct Pooler {
    _running: Running,
    _directory: TempDir,
    port: u16,
}

impl Pooler {
    fn start(job: Option<&Job>, upstream: u16, mode: &str) -> Pooler {
        let directory = place::temporary_directory().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = free_port().unwrap();
        let (file, users) = (directory.path().join("ini"), directory.path().join("users"));
        fs::write(&users, "\"postgres\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={upstream}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = {mode}\ndefault_pool_size = 3\n\
             ignore_startup_parameters = extra_float_digits\n",
            users.display()
        );
        fs::write(&file, text).unwrap();
        let mut pgbouncer = command(job, "setpriv");
        pgbouncer.args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ]);
        pgbouncer.args(["/usr/sbin/pgbouncer", "-q"]).arg(&file);
        let running = Running::start(&mut pgbouncer).unwrap();
        let listens = || is_listening(port);
        wait::until_true("pgbouncer", running::PATIENCE, listens)
            .unwrap_or_else(|error| panic!("{error}: {}", running.stderr()));
        Pooler {
            _running: running,
            _directory: directory,
            port,
        }
    }
}

/// Asked of the kernel: to connect would be a session.
fn is_listening(port: u16) -> bool {
    let sockets = fs::read_to_string(Path::new("/proc/net/tcp")).unwrap();
    sockets.contains(&format!("0100007F:{port:04X} 00000000:0000 0A"))
}

const THROUGH_A_POOLER: &[&str] = &[
    "-c",
    "create table if not exists pooled (x int)",
    "-c",
    "begin; insert into pooled values (1), (2); select count(*) from pooled; rollback",
    "-c",
    "select 1/0",
    "-c",
    "copy (select * from generate_series(1, 5)) to stdout",
    "-c",
    "select current_user, pg_backend_pid() > 0",
];

#[test]
fn a_pooler_behind_the_gateway_serves_the_same() {
    let scene = Scene::allow_all().unwrap();
    for mode in ["session", "transaction"] {
        let pooler = Pooler::start(None, scene.cluster.port(), mode);
        let text = policy::allow_all(&scene.subtree, pooler.port);
        scene.daemon.put_in_force("test", &text).unwrap();
        let address = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres",
            pooler.port
        );
        same(&scene, |job| {
            let mut psql = command(job, "psql");
            psql.args(["-X", "-d", &address]).args(THROUGH_A_POOLER);
            finish(&mut psql)
        });
        // Many clients share three server connections; each cancel reaches its own statement.
        let mut pgbench = scene.job("pgbench").unwrap().command("pgbench");
        let port = pooler.port.to_string();
        let script = pooler._directory.path().join("script.sql");
        fs::write(&script, "select :client_id, pg_sleep(0.001);\n").unwrap();
        pgbench.args(["-n", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-f"]);
        pgbench
            .arg(&script)
            .args(["-c", "3", "-t", "50", "postgres"]);
        let outcome = finish(&mut pgbench).success().unwrap();
        assert!(
            outcome.stdout.contains("failed transactions: 0"),
            "{outcome:?}"
        );
        let sleeping = Running::start(scene.job("sleeper").unwrap().command("psql").args([
            "-X",
            "-d",
            &address,
            "-c",
            "select pg_sleep(60), 'asleep'",
        ]))
        .unwrap();
        let asleep = || {
            let sql = "select count(*) from pg_stat_activity where query like '%asleep%' and state = 'active' and pid <> pg_backend_pid()";
            scene.cluster.query(sql).unwrap() == "1"
        };
        wait::until_true("the sleeper", running::PATIENCE, asleep).unwrap();
        sleeping.signal(nix::sys::signal::Signal::SIGINT).unwrap();
        let outcome = sleeping.wait(LONG).unwrap();
        assert!(
            outcome.stderr.contains("canceling statement"),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_pooler_inside_of_a_job_does_not_hide_what_goes_through_it() {
    let scene = Scene::allow_all().unwrap();
    // Its clients are outside of the tree.
    let text = policy::allow_all(&scene.subtree, scene.cluster.port());
    let text = text.replacen("[policy]\n", "[policy]\ninbound = \"any\"\n", 1);
    scene.daemon.put_in_force("test", &text).unwrap();
    let job = scene.job("pooler").unwrap();
    let pooler = Pooler::start(Some(&job), scene.cluster.port(), "transaction");
    let address = format!(
        "host=127.0.0.1 port={} user=postgres dbname=postgres",
        pooler.port
    );
    let mut psql = Command::new("psql");
    psql.args([
        "-X",
        "-A",
        "-t",
        "-d",
        &address,
        "-c",
        "select 'through the pooler'",
    ]);
    let outcome = finish(&mut psql).success().unwrap();
    assert_eq!(outcome.stdout, "through the pooler\n");
    let log = scene.daemon.log().unwrap();
    let seen = crate::operation(&log, "select 'through the pooler'");
    let process = seen["process"]["exe"].as_str().unwrap();
    assert!(process.ends_with("pgbouncer"), "{seen}");
}

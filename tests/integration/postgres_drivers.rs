//! Drivers cannot tell the gateway from the server either: psycopg, asyncpg, tokio-postgres, sqlx.
use gateway_tests::{Job, Outcome, Running, Scene, daemon, place};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A million rows through an interpreter, on a loaded machine.
const LONG: Duration = Duration::from_secs(240);

/// Runs a program around the gateway and through it; it prints what it sees.
fn same(scene: &Scene, run: impl Fn(Option<&Job>) -> Outcome) -> Outcome {
    let direct = run(None).success().unwrap();
    let through = run(Some(&scene.job("driver").unwrap())).success().unwrap();
    assert_eq!(through.stdout, direct.stdout);
    assert!(!through.stdout.is_empty(), "the program says what it saw");
    through
}

fn same_python(scene: &Scene, program: &str) -> Outcome {
    same(scene, |job| {
        let python = place::python().unwrap();
        let mut command = job.map_or_else(|| Command::new(&python), |job| job.command(&python));
        command.args(["-c", program, &scene.cluster.address()]);
        Running::start(&mut command).unwrap().wait(LONG).unwrap()
    })
}

#[test]
fn psycopg_speaks_every_part_of_the_protocol() {
    let scene = Scene::allow_all().unwrap();
    let outcome = same_python(&scene, include_str!("scripts/psycopg_features.py"));
    assert!(outcome.stdout.trim_end().ends_with("done"), "{outcome:?}");
}

#[test]
fn asyncpg_speaks_every_part_of_the_protocol() {
    let scene = Scene::allow_all().unwrap();
    let outcome = same_python(&scene, include_str!("scripts/asyncpg_features.py"));
    assert!(outcome.stdout.trim_end().ends_with("done"), "{outcome:?}");
}

#[test]
fn ten_thousand_statements_in_one_pipeline() {
    let scene = Scene::allow_all().unwrap();
    let outcome = same_python(&scene, include_str!("scripts/psycopg_pipeline.py"));
    assert!(outcome.stdout.contains("sum 99990000"), "{outcome:?}");
    let log = scene.daemon.log().unwrap();
    let piped = log
        .iter()
        .filter(|operation| daemon::was_executed(operation))
        .filter(|operation| {
            operation["statement"]
                .as_str()
                .is_some_and(|text| text.starts_with("select $1::int8 * 2"))
        });
    assert_eq!(piped.count(), 10_000, "one record for each");
}

#[test]
fn rows_of_64_mebibytes_pass_whole_in_both_directions() {
    let scene = Scene::allow_all().unwrap();
    let outcome = same_python(&scene, include_str!("scripts/psycopg_wide_rows.py"));
    assert!(outcome.stdout.contains("67108864"), "{outcome:?}");
}

#[test]
fn copy_moves_a_million_rows_each_way() {
    let scene = Scene::allow_all().unwrap();
    let outcome = same_python(&scene, include_str!("scripts/psycopg_copy.py"));
    assert!(outcome.stdout.contains("rows 1000000"), "{outcome:?}");
}

#[test]
fn a_notification_reaches_an_idle_connection() {
    let scene = Scene::allow_all().unwrap();
    let program = include_str!("scripts/psycopg_notify.py");
    let job = scene.job("notified").unwrap();
    let mut listening = job.python(program, &[&scene.cluster.address()]).unwrap();
    listening
        .wait_for_output("listening", Duration::from_secs(20))
        .unwrap();
    scene.cluster.query("notify news, 'while idle'").unwrap();
    let outcome = listening
        .wait(Duration::from_secs(20))
        .unwrap()
        .success()
        .unwrap();
    assert!(outcome.stdout.contains("news: while idle"), "{outcome:?}");
}

/// Examples are built beside the test, with the dependencies of tests.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.parent().and_then(std::path::Path::parent).unwrap();
    let example = profile.join("examples").join(name);
    assert!(
        example.exists(),
        "{} is built by `cargo test`",
        example.display()
    );
    example
}

fn same_example(scene: &Scene, name: &str) -> Outcome {
    let program = example(name);
    same(scene, |job| {
        let mut command = job.map_or_else(|| Command::new(&program), |job| job.command(&program));
        command.arg(scene.cluster.address());
        Running::start(&mut command).unwrap().wait(LONG).unwrap()
    })
}

#[test]
fn tokio_postgres_speaks_every_part_of_the_protocol() {
    let scene = Scene::allow_all().unwrap();
    let outcome = same_example(&scene, "tokio_postgres_features");
    assert!(outcome.stdout.trim_end().ends_with("done"), "{outcome:?}");
}

#[test]
fn sqlx_pools_prepares_and_streams() {
    let scene = Scene::allow_all().unwrap();
    let outcome = same_example(&scene, "sqlx_features");
    assert!(outcome.stdout.trim_end().ends_with("done"), "{outcome:?}");
}

//! `cargo xtask soak`: the long forms of tests that are short in `cargo xtask test`.
use crate::project::Project;
use crate::setup::{self, Part};
use crate::test;
use anyhow::{Context, Result, bail, ensure};
use gateway_tests::churn::Churn;
use gateway_tests::crash::Crash;
use gateway_tests::storm::{self, Idle};
use gateway_tests::{Scene, flood, place};
use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

/// How often the daemon is killed under load.
const ROUNDS: usize = 50;
/// The daemon dies at some moment of this time after the load has begun.
const DELAY_MS_MAX: u64 = 1500;
const PROCESSES: usize = 200_000;
/// How long clients come and vanish, and how many there are at a time.
const MINUTES: usize = 15;
const CLIENTS: usize = 500;
const WORKERS: usize = 8;
/// Connections of the flood, and how often the daemon is killed meanwhile.
const CONNECTIONS: usize = 1_000_000;
const DEATHS: usize = 20;
/// Processes of the flood, over its namespaces.
const CONNECTORS: usize = 64;

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, number) = match words.as_slice() {
        [name] => (*name, None),
        [name, number] => (*name, Some(number.parse().context("a number")?)),
        _ => bail!(
            "usage: cargo xtask soak crash [ROUNDS] | storm [PROCESSES] | churn [MINUTES] | \
             flood [CONNECTIONS]"
        ),
    };
    ensure!(
        place::is_root(),
        "`cargo xtask soak` needs root, as the tests do"
    );
    setup::provide(project, &[Part::Build, Part::Peers])?;
    test::build(project)?;
    match name {
        "crash" => crash(number.unwrap_or(ROUNDS)),
        "storm" => storm(number.unwrap_or(PROCESSES)),
        "churn" => churn(number.unwrap_or(MINUTES)),
        "flood" => flood(number.unwrap_or(CONNECTIONS)),
        other => bail!("there is no soak `{other}`: crash, storm, churn, flood"),
    }
}

fn crash(rounds: usize) -> Result<()> {
    let mut scene = Scene::allow_all()?;
    let mut crash = Crash::prepare(&mut scene)?;
    for round in 1..=rounds {
        let delay = Duration::from_millis(random()? % DELAY_MS_MAX);
        crash
            .round(delay)
            .with_context(|| format!("round {round}, killed after {delay:?}"))?;
        println!("crash: round {round} of {rounds}, killed {delay:?} into the load");
    }
    let report = crash.finish()?;
    println!(
        "crash: {} deaths, {} statements that the server saw, every one is in the journal; \
         no governed connection went past a dead daemon",
        report.rounds, report.seen
    );
    Ok(())
}

fn storm(processes: usize) -> Result<()> {
    let scene = Scene::with_rules("")?;
    let start = Instant::now();
    let report = storm::run(&scene, processes, WORKERS, Idle::Nobody)?;
    report.check()?;
    println!(
        "storm: {processes} processes in {:.0} s, {} connects, each with its tree; no tree is left",
        start.elapsed().as_secs_f32(),
        report.connects
    );
    Ok(())
}

fn flood(connections: usize) -> Result<()> {
    let each = connections.div_ceil(CONNECTORS);
    let report = flood::run(flood::CLIENTS_MAX, each, DEATHS)?;
    println!(
        "flood: {} connections reached a server in {:.0} s, of {} tried from {CONNECTORS} processes, \
         while the daemon died {} times; every one is in the journal, the backstop dropped nothing, \
         and nothing is left in the maps",
        report.reached,
        report.took.as_secs_f32(),
        report.tried,
        report.deaths
    );
    Ok(())
}

fn churn(minutes: usize) -> Result<()> {
    let mut churn = Churn::prepare(CLIENTS)?;
    for minute in 1..=minutes {
        churn
            .round(CLIENTS, Duration::from_secs(60))
            .with_context(|| format!("round {minute}"))?;
        println!("churn: minute {minute} of {minutes}: nobody stuck, nothing left");
    }
    let report = churn.finish()?;
    println!(
        "churn: {minutes} minutes with {CLIENTS} clients, {} statements that the server saw, every one \
         is in the journal; the daemon grew by {} KiB; {:?}",
        report.statements, report.growth_kib, report.counts
    );
    Ok(())
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

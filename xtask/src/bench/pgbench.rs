//! `pgbench -S`: direct, through the gateway with policy and recording on, and through pgbouncer.
use super::Effort;
use super::arena::{self, Certificates, Rival};
use super::table::{self, median, median_ratio};
use anyhow::{Context, Result};
use gateway_tests::{Job, Running, Scene};
use std::process::Command;
use std::time::Duration;

pub(super) const MODES: [&str; 2] = ["simple", "prepared"];
const CLIENTS: [u32; 3] = [1, 8, 32];
const WAYS: [&str; 3] = ["direct", "gateway", "pgbouncer"];

/// In the clear.
pub(super) fn run(effort: Effort) -> Result<()> {
    run_over(effort, None)
}

/// Over TLS, which the gateway and pgbouncer end on both sides.
pub(super) fn run_tls(effort: Effort) -> Result<()> {
    run_over(effort, Some(&Certificates::new()?))
}

fn run_over(effort: Effort, tls: Option<&Certificates>) -> Result<()> {
    let scene = arena::scene_over(1, tls)?;
    let pgbouncer = Rival::pgbouncer(scene.cluster.port(), tls)?;
    let job = scene.job("pgbench")?;
    pgbench(None, scene.cluster.port(), &["-i", "-q", "-s", "10"])?;
    let way = if tls.is_some() {
        "over TLS"
    } else {
        "in the clear"
    };
    arena::log_no_statements(&scene.cluster)?;
    let mut rows = Vec::new();
    for mode in MODES {
        for clients in CLIENTS {
            let rates = cell(effort, &scene, &pgbouncer, &job, mode, clients)?;
            let to = |base: usize| format!("{:.3}", median_ratio(&rates[1], &rates[base]));
            let mut row = vec![format!("{mode}, {clients}")];
            row.extend(rates.iter().map(|rates| format!("{:.0}", median(rates))));
            row.extend([to(0), to(2)]);
            row.push(
                if median(&rates[1]) >= median(&rates[2]) {
                    "yes"
                } else {
                    "no"
                }
                .to_owned(),
            );
            println!("pgbench: {}", row.join("  "));
            rows.push(row);
        }
    }
    table::print(
        &format!(
            "pgbench -S {way}, transactions per second, medians of {} interleaved rounds of {} s",
            effort.rounds, effort.seconds
        ),
        &[
            "",
            "direct",
            "gateway",
            "pgbouncer",
            "to direct",
            "to pgbouncer",
            "at or above",
        ],
        &rows,
    );
    Ok(())
}

fn cell(
    effort: Effort,
    scene: &Scene,
    pgbouncer: &Rival,
    job: &Job,
    mode: &str,
    clients: u32,
) -> Result<[Vec<f64>; 3]> {
    let (clients, seconds) = (clients.to_string(), effort.seconds.to_string());
    let arguments = ["-n", "-S", "-M", mode, "-c", &clients, "-T", &seconds];
    let mut rates: [Vec<f64>; 3] = Default::default();
    for round in 0..effort.rounds {
        for turn in 0..WAYS.len() {
            // Each way is the first as often as it is the last.
            let way = (round + turn) % WAYS.len();
            let output = match way {
                0 => pgbench(None, scene.cluster.port(), &arguments)?,
                1 => pgbench(Some(job), scene.cluster.port(), &arguments)?,
                _ => pgbench(None, pgbouncer.port, &arguments)?,
            };
            rates[way].push(rate(&output)?);
        }
    }
    Ok(rates)
}

/// Its output; in a governed job, or outside of every subtree.
pub(super) fn pgbench(job: Option<&Job>, port: u16, arguments: &[&str]) -> Result<String> {
    let mut command = job.map_or_else(|| Command::new("pgbench"), |job| job.command("pgbench"));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres"]);
    // With TLS wherever it is offered.
    command.env("PGSSLMODE", "prefer");
    command.args(arguments).arg("postgres");
    Ok(Running::start(&mut command)?
        .wait(Duration::from_secs(300))?
        .success()?
        .stdout)
}

/// Transactions per second: `tps = 12345.678 (without initial connection time)`.
pub(super) fn rate(output: &str) -> Result<f64> {
    let line = output.lines().find_map(|line| line.strip_prefix("tps = "));
    let number = line.and_then(|line| line.split(' ').next());
    number
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("no rate in {output}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_the_output() {
        let output = "latency average = 1 ms\ntps = 986.421 (without initial connection time)\n";
        assert!((rate(output).unwrap() - 986.421).abs() < 1e-9);
        assert!(rate("").is_err());
    }
}

//! `cargo xtask bench`: what the gateway costs, beside what others cost, measured in one run.
//!
//! A machine's speed changes from minute to minute, so no number here is compared with one of
//! another run: all ways are measured in turn, round after round, and medians are printed.
mod arena;
mod bulk;
mod connect;
mod fork;
pub(crate) mod load;
mod memory;
mod pgbench;
mod table;

use crate::project::Project;
use crate::setup::{self, Part};
use crate::test;
use anyhow::{Context, Result, ensure};
use gateway_tests::place;

type Measure = fn(Effort) -> Result<()>;

const MEASURES: &[(&str, Measure)] = &[
    ("pgbench", pgbench::run),
    ("pgbench-tls", pgbench::run_tls),
    ("connect", connect::run),
    ("bulk", bulk::run),
    ("fork", fork::run),
    ("memory", memory::run),
];

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Interleaved rounds: `BENCH_ROUNDS`.
    pub(crate) rounds: usize,
    /// The time of one measurement: `BENCH_SECONDS`.
    pub(crate) seconds: u64,
}

impl Effort {
    fn from_environment() -> Result<Effort> {
        let number = |name: &str, usual: u64| match std::env::var(name) {
            Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
            Err(_) => Ok(usual),
        };
        let rounds = usize::try_from(number("BENCH_ROUNDS", 7)?)?;
        let seconds = number("BENCH_SECONDS", 3)?;
        ensure!(
            rounds > 0 && seconds > 0,
            "BENCH_ROUNDS and BENCH_SECONDS are at least 1"
        );
        Ok(Effort { rounds, seconds })
    }
}

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    if let Some(("load", rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return load::run(rest);
    }
    for name in arguments {
        ensure!(
            MEASURES.iter().any(|(known, _)| known == name),
            "there is no measurement `{name}`: pgbench, pgbench-tls, connect, bulk, fork, memory"
        );
    }
    ensure!(
        place::is_root(),
        "`cargo xtask bench` needs root, as the tests do"
    );
    place::raise_file_limit()?;
    setup::provide(project, &[Part::Build, Part::Peers, Part::Rivals])?;
    test::build(project)?;
    let effort = Effort::from_environment()?;
    for (name, measure) in MEASURES {
        if arguments.is_empty() || arguments.iter().any(|word| word == name) {
            measure(effort).with_context(|| format!("bench {name}"))?;
        }
    }
    Ok(())
}

//! `cargo xtask bench`: what the gateway costs, beside what others cost, measured in one run.
//!
//! A machine's speed changes from minute to minute, so no number here is compared with one of
//! another run: all ways are measured in turn, round after round, and medians are printed.
mod arena;
mod bulk;
mod connect;
mod copy;
mod dns;
mod fork;
pub(crate) mod load;
mod masked;
mod masks;
mod memory;
mod memory_masks;
mod pgbench;
mod query;
mod table;
mod ungoverned;
mod worker;

use crate::project::Project;
use crate::setup::{self, Part};
use crate::test;
use anyhow::{Context, Result, ensure};
use gateway_tests::place;

type Measure = fn(Effort) -> Result<()>;

const MEASURES: [(&str, Measure); 11] = [
    ("pgbench", pgbench::run),
    ("pgbench-tls", pgbench::run_tls),
    ("connect", connect::run),
    ("bulk", bulk::run),
    ("dns", dns::run),
    ("fork", fork::run),
    ("ungoverned", ungoverned::run),
    ("memory", memory::run),
    ("masks", masks::run),
    ("copy", copy::run),
    ("memory-masks", memory_masks::run),
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

    /// Measures this many ways in turn, round after round, and returns what was measured of each.
    fn in_turn(
        self,
        ways: usize,
        mut measure: impl FnMut(usize) -> Result<f64>,
    ) -> Result<Vec<Vec<f64>>> {
        let mut measured = vec![Vec::new(); ways];
        for round in 0..self.rounds {
            for turn in 0..ways {
                // Each way is the first as often as it is the last.
                let way = (round + turn) % ways;
                measured[way].push(measure(way)?);
            }
        }
        Ok(measured)
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
            "there is no measurement `{name}`: {}",
            MEASURES.map(|(known, _)| known).join(", ")
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

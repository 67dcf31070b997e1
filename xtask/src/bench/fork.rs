//! fork, exec and wait, with the programs attached and without, ungoverned and governed.
use super::Effort;
use super::arena;
use super::table::{self, median, median_ratio};
use anyhow::Result;
use gateway_tests::{Daemon, Job, Subtree, policy};
use std::sync::Arc;

/// Many short pairs say more than few long ones: the difference is a few percent.
const PAIRS: usize = 31;
const SPAWNS: &str = "400";

pub(super) fn run(_effort: Effort) -> Result<()> {
    let subtree = Arc::new(Subtree::create()?);
    let free = Job::free(&subtree, "free")?;
    let governed = Job::governed(&subtree, "governed")?;
    let spawn = |job: &Job| arena::measure(Some(job), "spawn", &[SPAWNS]);
    let mut times: [Vec<f64>; 4] = Default::default();
    let attached = |times: &mut [Vec<f64>; 4]| -> Result<()> {
        let text = policy::deny_all(&subtree);
        let daemon = Daemon::prepare(&subtree)?.policy("bench", &text)?.start()?;
        times[1].push(spawn(&free)?);
        times[3].push(spawn(&governed)?);
        drop(daemon);
        Ok(())
    };
    let bare = |times: &mut [Vec<f64>; 4]| -> Result<()> {
        times[0].push(spawn(&free)?);
        times[2].push(spawn(&governed)?);
        Ok(())
    };
    for pair in 0..PAIRS {
        if pair % 2 == 0 {
            attached(&mut times)?;
            bare(&mut times)?;
        } else {
            bare(&mut times)?;
            attached(&mut times)?;
        }
    }
    let row = |name: &str, without: usize, with: usize, bound: f64| {
        let ratio = median_ratio(&times[with], &times[without]);
        vec![
            name.to_owned(),
            format!("{:.1}", median(&times[without])),
            format!("{:.1}", median(&times[with])),
            format!("{ratio:.3}"),
            format!("{bound:.2}"),
            if ratio <= bound { "yes" } else { "no" }.to_owned(),
        ]
    };
    table::print(
        &format!("fork, exec and wait of /bin/true, µs, medians of {PAIRS} pairs of {SPAWNS}"),
        &["", "without", "with", "ratio", "at most", "held"],
        &[row("ungoverned", 0, 1, 1.03), row("governed", 2, 3, 1.10)],
    );
    Ok(())
}

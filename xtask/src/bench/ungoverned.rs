//! What the programs cost those whom they do not govern: a connect on loopback, and bulk, with both
//! ends below the cgroup that the programs are attached to, and with both ends outside of it. And a
//! governed connect, which is redirected. Clients stay on the first processor and servers on the second: where
//! they run would be most of the difference.
use super::Effort;
use super::arena::{self, Plain};
use super::table::{self, interval, median, median_ratio, spread};
use super::worker::{self, Worker};
use anyhow::{Result, ensure};
use gateway_tests::Job;

/// Many short pairs say more than few long ones: the difference is a microsecond. Within a pair both
/// take turns.
const PAIRS: usize = 31;
const CONNECTS: usize = 1000;
const MEBIBYTES: &str = "1024";
/// What may be added at the median, in microseconds.
const BESIDE_MAX: f64 = 1.5;
const REDIRECTED_MAX: f64 = 60.0;
/// What has to be left of the throughput.
const BULK_MIN: f64 = 0.97;

pub(super) fn run(effort: Effort) -> Result<()> {
    let echo = Plain::start_apart(None, "echo-server")?;
    let scene = arena::scene(echo.port)?;
    let free = Job::free(&scene.subtree, "free")?;
    let governed = scene.job("governed")?;
    let echo_below = Plain::start_apart(Some(&free), "echo-server")?;
    let bulk = Plain::start_apart(None, "bulk-server")?;
    let bulk_below = Plain::start_apart(Some(&free), "bulk-server")?;
    let before = scene.daemon.sessions()?.len();

    let times = beside(&mut [
        Worker::start(None, echo.port)?,
        Worker::start(Some(&free), echo_below.port)?,
    ])?;
    let ports = [bulk.port.to_string(), bulk_below.port.to_string()];
    let pairs = Effort {
        rounds: PAIRS,
        ..effort
    };
    let rates = pairs.in_turn(2, |way| {
        let job = (way == 1).then_some(&free);
        arena::measure(job, "stay-on", &["0", "download", &ports[way], MEBIBYTES])
    })?;
    ensure!(
        scene.daemon.sessions()?.len() == before,
        "somebody who is not governed was recorded"
    );
    let redirected = beside(&mut [
        Worker::start(None, echo.port)?,
        Worker::start(Some(&governed), echo.port)?,
    ])?;

    let rows = [
        added("connect, not governed", &times, BESIDE_MAX),
        added("connect, redirected", &redirected, REDIRECTED_MAX),
    ];
    table::print(
        &format!("µs at the median of {CONNECTS}, medians of {PAIRS} pairs"),
        &["", "without", "with", "added", "95 % of", "at most", "held"],
        &rows,
    );
    let ratio = median_ratio(&rates[1], &rates[0]);
    let row = vec![
        format!("{MEBIBYTES} MiB, not governed"),
        format!("{:.0}", median(&rates[0])),
        format!("{:.0}", median(&rates[1])),
        format!("{ratio:.3}"),
        spread(&rates[1], &rates[0]),
        format!("{BULK_MIN}"),
        held(ratio >= BULK_MIN),
    ];
    table::print(
        &format!("MiB/s, medians of {PAIRS} pairs"),
        &[
            "", "without", "with", "ratio", "from, to", "at least", "held",
        ],
        &[row],
    );
    Ok(())
}

/// The times of both, pair by pair.
fn beside(workers: &mut [Worker; 2]) -> Result<[Vec<f64>; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..PAIRS {
        let pair = worker::medians_in_turn(workers, CONNECTS)?;
        for (times, time) in times.iter_mut().zip(pair) {
            times.push(time);
        }
    }
    Ok(times)
}

/// A row of what the second way takes longer than the first.
fn added(name: &str, times: &[Vec<f64>; 2], at_most: f64) -> Vec<String> {
    let pairs = times[1].iter().zip(&times[0]);
    let added: Vec<f64> = pairs.map(|(with, without)| with - without).collect();
    let (low, high) = interval(&added);
    vec![
        name.to_owned(),
        format!("{:.2}", median(&times[0])),
        format!("{:.2}", median(&times[1])),
        format!("{:.2}", median(&added)),
        format!("{low:.2} to {high:.2}"),
        format!("{at_most}"),
        held(median(&added) <= at_most),
    ]
}

fn held(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

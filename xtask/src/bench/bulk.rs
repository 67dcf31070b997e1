//! The throughput of one opaque flow: direct, through the gateway, through haproxy.
use super::Effort;
use super::arena::{self, Plain, Rival};
use super::table::{self, median, median_ratio};
use anyhow::Result;

const MEBIBYTES: &str = "2048";
/// The gateway's median has to reach this part of haproxy's.
const BOUND: f64 = 0.9;

pub(super) fn run(effort: Effort) -> Result<()> {
    let server = Plain::start("bulk-server")?;
    let haproxy = Rival::haproxy(server.port)?;
    let scene = arena::scene(server.port)?;
    let job = scene.job("bulk")?;
    let (direct, proxied) = (server.port.to_string(), haproxy.port.to_string());
    let mut rows = Vec::new();
    for kind in ["download", "upload"] {
        let mut rates: [Vec<f64>; 3] = Default::default();
        for round in 0..effort.rounds {
            for turn in 0..3 {
                let way = (round + turn) % 3;
                let rate = match way {
                    0 => arena::measure(None, kind, &[&direct, MEBIBYTES])?,
                    1 => arena::measure(Some(&job), kind, &[&direct, MEBIBYTES])?,
                    _ => arena::measure(None, kind, &[&proxied, MEBIBYTES])?,
                };
                rates[way].push(rate);
            }
        }
        let ratio = median_ratio(&rates[1], &rates[2]);
        let mut row = vec![kind.to_owned()];
        row.extend(rates.iter().map(|rates| format!("{:.0}", median(rates))));
        row.push(format!("{ratio:.3}"));
        row.push(if ratio >= BOUND { "yes" } else { "no" }.to_owned());
        rows.push(row);
    }
    table::print(
        &format!(
            "one opaque flow of {MEBIBYTES} MiB, MiB/s, medians of {} rounds",
            effort.rounds
        ),
        &[
            "",
            "direct",
            "gateway",
            "haproxy",
            "to haproxy",
            "at least 0.9",
        ],
        &rows,
    );
    Ok(())
}

//! Connect, exchange a byte, close: through the gateway, and through haproxy.
use super::Effort;
use super::arena::{self, Plain, Rival};
use super::table::{self, median, median_ratio};
use anyhow::Result;

const CLIENTS: [u32; 2] = [1, 8];

pub(super) fn run(effort: Effort) -> Result<()> {
    let server = Plain::start("echo-server")?;
    let haproxy = Rival::haproxy(server.port)?;
    let scene = arena::scene(server.port)?;
    let job = scene.job("connect")?;
    let (direct, proxied) = (server.port.to_string(), haproxy.port.to_string());
    let seconds = effort.seconds.to_string();
    let mut rows = Vec::new();
    for clients in CLIENTS.map(|clients| clients.to_string()) {
        let mut rates: [Vec<f64>; 3] = Default::default();
        for round in 0..effort.rounds {
            for turn in 0..3 {
                let way = (round + turn) % 3;
                let rate = match way {
                    0 => arena::measure(None, "connect", &[&direct, &clients, &seconds])?,
                    1 => arena::measure(Some(&job), "connect", &[&direct, &clients, &seconds])?,
                    _ => arena::measure(None, "connect", &[&proxied, &clients, &seconds])?,
                };
                rates[way].push(rate);
            }
        }
        let mut row = vec![format!("{clients} clients")];
        row.extend(rates.iter().map(|rates| format!("{:.0}", median(rates))));
        row.push(format!("{:.3}", median_ratio(&rates[1], &rates[2])));
        rows.push(row);
    }
    table::print(
        &format!(
            "connect and close, connections per second, medians of {} rounds",
            effort.rounds
        ),
        &["", "direct", "gateway", "haproxy", "to haproxy"],
        &rows,
    );
    Ok(())
}

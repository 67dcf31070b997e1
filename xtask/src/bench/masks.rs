//! Queries under masks: what they cost whose answer is masked, and who is not concerned.
use super::masked::{COLUMNS, Mask, Stage};
use super::pgbench::{self, MODES};
use super::table::{self, held, median, median_ratio, spread};
use super::{Effort, arena};
use anyhow::Result;
use gateway_tests::Job;
use std::fs;

const CLIENTS: [u32; 2] = [1, 8];
const TABLE_ROWS: u32 = 100_000;
const ANSWER_ROWS: u32 = 1_000;
/// What an answer with a masked column has to reach of a direct one.
const REDACTED_MIN: f64 = 0.6;
/// What has to be reached of a policy without masks, where no answer is touched.
const UNTOUCHED_MIN: f64 = 0.95;

/// The masks that a question is asked under, and what has to be reached: of a direct connection,
/// and of a policy without masks.
type Way = (Mask, Option<f64>, Option<f64>);

const MANY_ROWS: &[Way] = &[
    (Mask::Absent, None, None),
    (Mask::Beside, None, Some(UNTOUCHED_MIN)),
    (Mask::Redact, Some(REDACTED_MIN), None),
    (Mask::Hash, None, None),
    (Mask::Detect, None, None),
];
const ONE_ROW: &[Way] = &[
    (Mask::Absent, None, None),
    (Mask::Elsewhere, None, Some(UNTOUCHED_MIN)),
];

pub(super) fn run(effort: Effort) -> Result<()> {
    let stage = Stage::new(TABLE_ROWS)?;
    let port = stage.scene.cluster.port();
    pgbench::pgbench(None, port, &["-i", "-q", "-s", "10"])?;
    let directory = arena::open_directory()?;
    let script = directory.path().join("rows.sql");
    fs::write(
        &script,
        format!(
            "\\set first random(1, {})\n\
             select {COLUMNS} from wide where id >= :first and id < :first + {ANSWER_ROWS};\n",
            TABLE_ROWS - ANSWER_ROWS + 1
        ),
    )?;
    let script = script.display().to_string();
    compare(
        effort,
        &stage,
        &format!("{ANSWER_ROWS} rows of ten columns"),
        &["-f", &script],
        MANY_ROWS,
    )?;
    compare(effort, &stage, "pgbench -S", &["-S"], ONE_ROW)
}

fn compare(
    effort: Effort,
    stage: &Stage,
    what: &str,
    question: &[&str],
    ways: &[Way],
) -> Result<()> {
    let port = stage.scene.cluster.port();
    // The first is direct.
    let mut jobs: Vec<Option<Job>> = vec![None];
    for (mask, ..) in ways {
        jobs.push(Some(stage.job(*mask)?));
    }
    let seconds = effort.seconds.to_string();
    let mut rows = Vec::new();
    for mode in MODES {
        for clients in CLIENTS.map(|clients| clients.to_string()) {
            let arguments = [
                &["-n", "-M", mode, "-c", &clients, "-T", &seconds],
                question,
            ]
            .concat();
            let rates = effort.in_turn(jobs.len(), |way| {
                pgbench::rate(&pgbench::pgbench(jobs[way].as_ref(), port, &arguments)?)
            })?;
            for row in lines(&format!("{mode}, {clients}"), ways, &rates) {
                println!("masks: {}", row.join("  "));
                rows.push(row);
            }
        }
    }
    table::print(
        &format!(
            "{what} under masks, transactions per second, medians of {} interleaved rounds of {} s",
            effort.rounds, effort.seconds
        ),
        &[
            "",
            "direct",
            "gateway",
            "to direct",
            "lowest to highest",
            "at least",
            "held",
            "to no mask",
            "lowest to highest",
            "at least",
            "held",
        ],
        &rows,
    );
    Ok(())
}

/// A line of the table for each way. `rates` has the direct one first.
fn lines(name: &str, ways: &[Way], rates: &[Vec<f64>]) -> Vec<Vec<String>> {
    let [direct, through @ ..] = rates else {
        return Vec::new();
    };
    let line = |((mask, of_direct, of_bare), rates): (&Way, &Vec<f64>)| {
        let mut row = vec![format!("{name}, {}", mask.shown())];
        row.extend([direct, rates].map(|rates| format!("{:.0}", median(rates))));
        row.extend(compared(rates, direct, *of_direct));
        // The one without a mask is not compared with itself.
        match mask {
            Mask::Absent => row.extend([const { String::new() }; 4]),
            _ => row.extend(compared(rates, &through[0], *of_bare)),
        }
        row
    };
    ways.iter().zip(through).map(line).collect()
}

/// The ratio, how far it can be trusted, what it has to be, and whether it is.
fn compared(rates: &[f64], base: &[f64], at_least: Option<f64>) -> [String; 4] {
    let ratio = median_ratio(rates, base);
    let [bound, held] = held(ratio, at_least);
    [format!("{ratio:.3}"), spread(rates, base), bound, held]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_compared_with_the_direct_one_and_with_the_one_without_a_mask() {
        let rates = [vec![100.0], vec![80.0], vec![76.0]];
        let lines = lines("simple, 1", ONE_ROW, &rates).concat().join("|");
        assert_eq!(
            lines,
            "simple, 1, no mask|100|80|0.800|0.800|||||||\
             simple, 1, on another table|100|76|0.760|0.760|||0.950|0.950|0.95|yes"
        );
    }
}

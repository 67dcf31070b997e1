//! COPY to the client, in each of its formats, with and without a masked column.
use super::Effort;
use super::masked::{COLUMNS, Mask, Stage};
use super::table::{self, held, median, median_ratio, spread};
use anyhow::Result;

/// The text of so many rows is 256 MiB.
const ROWS: u32 = 1_636_500;
const MEBIBYTES: f64 = 256.0;
/// What the gateway has to reach of a direct copy where nothing is masked.
const UNMASKED_MIN: f64 = 0.8;

/// A format, and what is put on the answer; the first way of a format is the direct one.
type Way = (&'static str, Option<Mask>, Option<f64>);

const WAYS: &[Way] = &[
    ("text", None, None),
    ("text", Some(Mask::Absent), Some(UNMASKED_MIN)),
    ("text", Some(Mask::Elsewhere), Some(UNMASKED_MIN)),
    ("text", Some(Mask::Redact), None),
    ("csv", None, None),
    ("csv", Some(Mask::Redact), None),
    ("binary", None, None),
    ("binary", Some(Mask::Redact), None),
];

pub(super) fn run(effort: Effort) -> Result<()> {
    let stage = Stage::new(ROWS)?;
    let rates = effort.in_turn(WAYS.len(), |way| {
        let (format, mask, _) = WAYS[way];
        let sql = format!("copy wide ({COLUMNS}) to stdout (format {format})");
        Ok(MEBIBYTES / stage.read(mask, &sql)?)
    })?;
    let mut rows = Vec::new();
    let mut direct = &rates[0];
    for ((format, mask, at_least), rates) in WAYS.iter().zip(&rates) {
        let Some(mask) = mask else {
            direct = rates;
            continue;
        };
        let ratio = median_ratio(rates, direct);
        let mut row = vec![format!("{format}, {}", mask.shown())];
        row.extend([direct, rates].map(|rates| format!("{:.0}", median(rates))));
        row.extend([format!("{ratio:.3}"), spread(rates, direct)]);
        row.extend(held(ratio, *at_least));
        rows.push(row);
    }
    table::print(
        &format!(
            "COPY of ten columns, MiB of its text per second, {MEBIBYTES} MiB, medians of {} \
             interleaved rounds",
            effort.rounds
        ),
        &[
            "",
            "direct",
            "gateway",
            "to direct",
            "lowest to highest",
            "at least",
            "held",
        ],
        &rows,
    );
    Ok(())
}

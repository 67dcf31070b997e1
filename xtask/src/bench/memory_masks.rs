//! What the daemon's memory grows by while long answers pass, with and without masks.
use super::masked::{Mask, Stage};
use super::{Effort, arena, table};
use anyhow::{Context, Result, ensure};
use std::fs;

const MEBIBYTE: u32 = 1 << 20;
/// Of a copy, in MiB.
const COPY_MEBIBYTES: u32 = 2048;
const COPY_GROWTH_MAX: u64 = 32;
/// Of one row that nobody looks into, in MiB.
const ROW_MEBIBYTES: u32 = 256;
const ROW_GROWTH_MAX: u64 = 64;
/// Of one row that is looked into, in MiB: below `limits.masked_row_bytes`, which is 16.
const HELD_MEBIBYTES: u32 = 15;
/// What PostgreSQL calls a limit of the program.
const LIMITED: &str = "54000";

/// An answer that passes, or is refused.
struct Case {
    name: String,
    mask: Mask,
    sql: String,
    /// It is too long to be looked into.
    refused: bool,
    growth_mib_max: Option<u64>,
}

impl Case {
    fn new(what: &str, mebibytes: u32, mask: Mask, sql: String) -> Case {
        Case {
            name: format!("{what} of {mebibytes} MiB, {}", mask.shown()),
            mask,
            sql,
            refused: false,
            growth_mib_max: None,
        }
    }

    fn refused(mut self) -> Case {
        self.name.push_str(": refused");
        self.refused = true;
        self
    }

    fn at_most(mut self, growth_mib: u64) -> Case {
        self.growth_mib_max = Some(growth_mib);
        self
    }
}

/// In KiB.
struct Resident {
    before: u64,
    peak: u64,
    after: u64,
}

impl Resident {
    fn while_passes(case: &Case, stage: &Stage) -> Result<Resident> {
        let pid = stage.scene.daemon.pid()?;
        let before = arena::memory_kib(pid, "VmRSS")?;
        forget_peak(pid)?;
        if case.refused {
            stage.refused(case.mask, LIMITED, &case.sql)?;
        } else {
            stage.read(Some(case.mask), &case.sql)?;
        }
        Ok(Resident {
            before,
            peak: arena::memory_kib(pid, "VmHWM")?,
            after: arena::memory_kib(pid, "VmRSS")?,
        })
    }

    fn growth_mib(&self) -> u64 {
        self.peak.saturating_sub(self.before).div_ceil(1024)
    }
}

pub(super) fn run(_effort: Effort) -> Result<()> {
    let stage = Stage::new(1)?;
    // What a first session of each kind makes is not what an answer costs.
    for mask in [Mask::Absent, Mask::Redact] {
        stage.read(Some(mask), "select email from wide")?;
    }
    let (mut rows, mut exceeded) = (Vec::new(), Vec::new());
    for case in cases() {
        let resident = Resident::while_passes(&case, &stage)?;
        let growth = resident.growth_mib();
        let bound = case.growth_mib_max.map_or_else(Default::default, |most| {
            let held = if growth <= most { "yes" } else { "no" };
            [most.to_string(), held.to_owned()]
        });
        if case.growth_mib_max.is_some_and(|most| growth > most) {
            exceeded.push(format!("{} takes {growth} MiB", case.name));
        }
        let mut row = vec![case.name];
        let kib = [resident.before, resident.peak, resident.after];
        row.extend(kib.map(|kib| format!("{:.1}", kib as f64 / 1024.0)));
        row.push(growth.to_string());
        row.extend(bound);
        rows.push(row);
    }
    table::print(
        "resident memory of the daemon while an answer passes, MiB",
        &["", "before", "peak", "after", "growth", "at most", "held"],
        &rows,
    );
    ensure!(exceeded.is_empty(), "{}", exceeded.join("; "));
    Ok(())
}

fn cases() -> [Case; 6] {
    // A kibibyte a row, with what else is in it.
    let copy = format!(
        "copy (select n, w.email, repeat('x', 990) from wide w, generate_series(1, {}) n) to stdout",
        COPY_MEBIBYTES * 1024
    );
    let row = |columns: &str, mebibytes: u32| {
        let bytes = mebibytes * MEBIBYTE;
        format!("select {columns}repeat('x', {bytes}) from wide")
    };
    let (bare, masked) = (row("", ROW_MEBIBYTES), row("email, ", ROW_MEBIBYTES));
    let copied = format!("copy ({masked}) to stdout");
    let held = row("email, ", HELD_MEBIBYTES);
    [
        Case::new("a copy", COPY_MEBIBYTES, Mask::Absent, copy.clone()).at_most(COPY_GROWTH_MAX),
        Case::new("a copy", COPY_MEBIBYTES, Mask::Redact, copy).at_most(COPY_GROWTH_MAX),
        Case::new("a row", ROW_MEBIBYTES, Mask::Absent, bare).at_most(ROW_GROWTH_MAX),
        Case::new("a row", ROW_MEBIBYTES, Mask::Redact, masked).refused(),
        Case::new("a copied row", ROW_MEBIBYTES, Mask::Redact, copied).refused(),
        // The last, since the allocator gives back what it had in its own time.
        Case::new("a row", HELD_MEBIBYTES, Mask::Redact, held),
    ]
}

/// From here on `VmHWM` is the highest since now (Linux, proc(5): clear_refs).
fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("the peak of the daemon's memory")
}

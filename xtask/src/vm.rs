//! `cargo xtask vm`: the product on Debian's kernels, in QEMU, attached at the real top of the
//! cgroup hierarchy. The host's own top is never touched by a test; here there is one to spare.
mod guest;
mod harness;
mod image;
mod kernels;
pub(crate) mod seal;
mod verifier;

use crate::process;
use crate::project::Project;
use crate::setup::{self, Part};
use crate::test::{self, Tally};
use anyhow::{Context, Result, bail, ensure};
use gateway_tests::place;
use guest::{Checked, Machine, Report};
use kernels::{Archive, Kernel, SERIES, Series};
use seal::Sealed;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use verifier::Kept;

/// A kernel that dies in this time has not come up; then it is booted again, so often at most.
const BOOT_MAX: Duration = Duration::from_secs(60);
const BOOTS_MAX: u32 = 3;
/// How much of a dead guest's console is shown.
const CONSOLE_LINES: usize = 40;

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    let (flags, names): (Vec<String>, Vec<String>) = arguments
        .iter()
        .cloned()
        .partition(|word| word == "--accept");
    let (tests, names): (Vec<_>, Vec<_>) = names.into_iter().partition(|word| word.contains("::"));
    let chosen = chosen(&names)?;
    setup::provide(project, &[Part::Build, Part::Peers, Part::Vm])?;
    test::build(project)?;
    let only: Vec<&str> = tests.iter().map(String::as_str).collect();
    let plan = Plan {
        product: only.is_empty(),
        accept: !flags.is_empty(),
        tests: if only.is_empty() { harness::ALL } else { &only },
    };
    let tally = boot_all(project, &chosen, &plan)?;
    println!("\n{tally}");
    for skipped in &tally.skipped {
        println!("skipped: {skipped}");
    }
    for failure in &tally.failures {
        println!("failed: {failure}");
    }
    ensure!(tally.failures.is_empty(), "not all is well");
    ensure!(tally.passed > 0, "no kernel was booted");
    Ok(())
}

/// The oldest and the newest, as a step of `cargo xtask test`.
pub(crate) fn test(project: &Project) -> Result<Tally> {
    if let Err(error) = setup::provide(project, &[Part::Vm]) {
        return Ok(skipped(&format!("vm: no QEMU: {error:#}")));
    }
    let [oldest, .., newest] = &SERIES;
    let plan = Plan {
        product: true,
        accept: false,
        tests: harness::SHORT,
    };
    boot_all(project, &[oldest, newest], &plan)
}

fn chosen(arguments: &[String]) -> Result<Vec<&'static Series>> {
    if arguments.is_empty() {
        return Ok(SERIES.iter().collect());
    }
    let series = |name: &String| {
        let found = SERIES.iter().find(|series| series.name == name);
        let Some(found) = found else {
            let names = SERIES.map(|series| series.name).join(", ");
            bail!("there is no kernel `{name}`: {names}");
        };
        Ok(found)
    };
    arguments.iter().map(series).collect()
}

/// What is run on a kernel.
struct Plan<'a> {
    /// The guest that has the product at the top of the hierarchy.
    product: bool,
    /// What the verifier went through there is kept, and not judged.
    accept: bool,
    /// How the names begin of the harness's tests that are run in another guest.
    tests: &'a [&'a str],
}

/// Boots these, one after the other: two at a time on two cores would only be slower.
fn boot_all(project: &Project, chosen: &[&Series], plan: &Plan<'_>) -> Result<Tally> {
    let directory = project.target.join("vm");
    fs::create_dir_all(&directory)?;
    let archive = Archive::open(&directory)?;
    let initramfs = image::make(&place::gateway()?, &intruder(project)?, &directory)?;
    let root = harness::Root::make(project, plan.tests, &directory)?;
    let mut kept = Kept::read(project)?;
    let mut total = Tally::default();
    for series in chosen {
        let name = series.name;
        println!("\n== vm {name}");
        let tally = match archive.newest(series) {
            Ok(kernel) => {
                let mut tally = Tally::default();
                if plan.product {
                    let machine = for_product(&initramfs);
                    let visit = Visit::make(series, &kernel, &machine, &directory, "own")?;
                    if plan.accept {
                        visit.accept(&mut kept)?;
                    }
                    tally.add(visit.tally(&kept));
                }
                let initramfs = root.with(&kernel.modules)?;
                let machine = for_tests(&initramfs);
                let visit = Visit::make(series, &kernel, &machine, &directory, "tests")?;
                tally.add(visit.tally_of_tests());
                tally
            }
            Err(error) => skipped(&format!("vm {name}: no kernel from apt: {error:#}")),
        };
        total.add(tally);
    }
    Ok(total)
}

/// What came of the ways out that BPF LSM closes, on the newest kernel, whose name comes first.
pub(crate) fn sealed(project: &Project) -> Result<(String, Vec<Sealed>)> {
    let [.., newest] = &SERIES;
    let directory = project.target.join("vm");
    fs::create_dir_all(&directory)?;
    let kernel = Archive::open(&directory)?.newest(newest)?;
    let initramfs = image::make(&place::gateway()?, &intruder(project)?, &directory)?;
    let machine = for_product(&initramfs);
    let visit = Visit::make(newest, &kernel, &machine, &directory, "own")?;
    if !visit.report.ended {
        visit.show_console();
        bail!("the guest came to no end");
    }
    let rows = seal::rows(&visit.report.rows, &visit.report.checks);
    ensure!(!rows.is_empty(), "the doctor said nothing in the guest");
    Ok((kernel.release.clone(), rows))
}

/// The guest that runs the product at the top of the hierarchy: about 100 s on two cores, 200 s where
/// others use them.
fn for_product(initramfs: &Path) -> Machine<'_> {
    Machine {
        initramfs,
        memory: 1024,
        words: "",
        seconds: 400,
    }
}

/// The guest that runs the harness's tests, some of which are about a kernel that preempts itself.
fn for_tests(initramfs: &Path) -> Machine<'_> {
    Machine {
        initramfs,
        memory: 2048,
        words: "preempt=full",
        seconds: 3600,
    }
}

/// The program that tries the ways out which BPF LSM closes (tests/examples/intruder.rs).
fn intruder(project: &Project) -> Result<PathBuf> {
    process::run(
        process::cargo()
            .args(["build", "--locked", "-p", "gateway-tests"])
            .args(["--example", "intruder"])
            .current_dir(&project.root),
    )?;
    Ok(project.target.join("debug/examples/intruder"))
}

fn skipped(reason: &str) -> Tally {
    println!("skipped: {reason}");
    Tally {
        skipped: vec![reason.to_owned()],
        ..Tally::default()
    }
}

/// Boots a kernel, and again where it has not come up: QEMU without KVM sometimes runs into an
/// instruction that the kernel is just replacing (`Oops: int3`). A guest says that it is up before
/// anything of ours is run.
fn boot(
    series: &Series,
    kernel: &Kernel,
    machine: &Machine<'_>,
    console: &Path,
) -> Result<(Report, Duration)> {
    let mut boots = 1;
    loop {
        let (report, took) = guest::boot(series, kernel, machine, console)
            .with_context(|| format!("kernel {}", kernel.release))?;
        let is_up = report.ended || !report.checks.is_empty() || took >= BOOT_MAX;
        if is_up || boots == BOOTS_MAX {
            return Ok((report, took));
        }
        println!("  Linux {} has not come up, boot {boots}", kernel.release);
        boots += 1;
    }
}

/// A kernel that was booted, and what came of it.
struct Visit<'a> {
    series: &'a Series,
    kernel: &'a Kernel,
    report: Report,
    took: Duration,
    console: PathBuf,
}

impl Visit<'_> {
    fn make<'a>(
        series: &'a Series,
        kernel: &'a Kernel,
        machine: &Machine<'_>,
        directory: &Path,
        what: &str,
    ) -> Result<Visit<'a>> {
        let console = directory.join(format!("console-{}-{what}.log", series.name));
        let (report, took) = boot(series, kernel, machine, &console)?;
        Ok(Visit {
            series,
            kernel,
            report,
            took,
            console,
        })
    }

    fn accept(&self, kept: &mut Kept) -> Result<()> {
        let counts = &self.report.instructions;
        ensure!(!counts.is_empty(), "the guest counted no instructions");
        kept.accept(self.series.name, &self.kernel.release, counts)
    }

    /// Prints the table, and counts.
    fn tally(&self, kept: &Kept) -> Tally {
        let mut tally = self.checks();
        self.judge_instructions(kept, &mut tally);
        self.judge_rows(&mut tally);
        self.end(tally)
    }

    /// The same for the tests of the harness.
    fn tally_of_tests(&self) -> Tally {
        let mut tally = self.checks();
        let name = self.series.name;
        let skipped = self.report.skipped.iter();
        tally
            .skipped
            .extend(skipped.map(|why| format!("vm {name}: {why}")));
        let is_test = |check: &Checked| check.name.contains("::");
        if !self.report.checks.iter().any(is_test) {
            let failure = format!("vm {name}: no test of the harness was run");
            tally.failures.push(failure);
        }
        self.end(tally)
    }

    fn end(&self, mut tally: Tally) -> Tally {
        let name = self.series.name;
        let took = self.took.as_secs_f32();
        if !self.report.ended {
            let failure = format!("vm {name}: the guest came to no end in {took:.0} s");
            tally.failures.push(failure);
        }
        if !tally.failures.is_empty() {
            self.show_console();
        }
        println!("  Linux {}: {took:.1} s, {tally}", self.kernel.release);
        tally
    }

    fn judge_instructions(&self, kept: &Kept, tally: &mut Tally) {
        let name = self.series.name;
        let counts = &self.report.instructions;
        let judgement = kept.judge(name, &self.kernel.release, counts);
        let good = judgement.failures.is_empty() && !counts.is_empty();
        let verdict = if good { "pass" } else { "FAIL" };
        let most = counts.values().max().copied().unwrap_or_default();
        let detail = format!("{} programs, {most} at most", counts.len());
        println!("  {:<24} {verdict}  {detail}", "instructions");
        if good {
            tally.passed += 1;
        } else if counts.is_empty() {
            let failure = format!("vm {name}: the guest counted no instructions");
            tally.failures.push(failure);
        }
        let named = |all: Vec<String>| all.into_iter().map(move |one| format!("vm {name}: {one}"));
        tally.failures.extend(named(judgement.failures));
        tally.skipped.extend(named(judgement.unknown));
    }

    /// What the doctor calls closed there is what the checks show to be closed.
    fn judge_rows(&self, tally: &mut Tally) {
        let rows = seal::rows(&self.report.rows, &self.report.checks);
        let faults: Vec<String> = rows.iter().filter_map(Sealed::fault).collect();
        let good = !rows.is_empty() && faults.is_empty();
        let verdict = if good { "pass" } else { "FAIL" };
        println!("  {:<24} {verdict}  {} rows", "seal-rows", rows.len());
        if good {
            tally.passed += 1;
        } else if rows.is_empty() {
            let failure = format!("vm {}: the doctor named no way out", self.series.name);
            tally.failures.push(failure);
        }
        let named = faults.into_iter();
        let named = named.map(|fault| format!("vm {}: {fault}", self.series.name));
        tally.failures.extend(named);
    }

    fn checks(&self) -> Tally {
        let mut tally = Tally::default();
        let name = self.series.name;
        for check in &self.report.checks {
            let verdict = if check.passed { "pass" } else { "FAIL" };
            println!("  {:<24} {verdict} {:>6.1} s", check.name, check.seconds);
            if check.passed {
                tally.passed += 1;
            } else {
                println!("    {}", check.said);
                let failure = format!("vm {name}: {}: {}", check.name, check.said);
                tally.failures.push(failure);
            }
        }
        tally
    }

    fn show_console(&self) {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        println!("  the end of {}:", self.console.display());
        for line in &lines[lines.len().saturating_sub(CONSOLE_LINES)..] {
            println!("    {line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use verifier::Counts;

    #[test]
    fn a_kernel_is_chosen_by_its_name() {
        let names = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            chosen(&words).map(|all| all.iter().map(|one| one.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["6.1", "6.12", "newest"]);
        assert_eq!(names(&["newest", "6.1"]).unwrap(), ["newest", "6.1"]);
        assert!(names(&["5.10"]).is_err());
    }

    #[test]
    fn a_guest_that_says_little_has_failed() {
        let kernel = Kernel {
            release: "6.1.0-56".to_owned(),
            image: PathBuf::new(),
            modules: Vec::new(),
        };
        let counts = Counts::from([("redirect4".to_owned(), 833)]);
        let kept = Kept::of(SERIES[0].name, &kernel.release, counts.clone());
        let row = serde_json::json!({"row": 70, "tier": "seal", "result": "open"});
        let sealed = serde_json::json!({"row": 69, "tier": "seal", "result": "closed"});
        let tally = |passed, ended, instructions: &Counts| {
            let check = Checked {
                name: "seal-rings".to_owned(),
                passed,
                seconds: 1.0,
                said: String::new(),
            };
            let visit = Visit {
                series: &SERIES[0],
                kernel: &kernel,
                report: Report {
                    checks: vec![check],
                    rows: vec![row.clone(), sealed.clone()],
                    instructions: instructions.clone(),
                    ended,
                    ..Report::default()
                },
                took: Duration::from_secs(9),
                console: PathBuf::from("/nonexistent"),
            };
            let tally = visit.tally(&kept);
            (tally.passed, tally.failures.len())
        };
        assert_eq!(tally(true, true, &counts), (3, 0));
        assert_eq!(tally(false, true, &counts), (1, 2), "and its row");
        assert_eq!(tally(true, false, &counts), (3, 1));
        let more = Counts::from([("redirect4".to_owned(), 2000)]);
        assert_eq!(tally(true, true, &more), (2, 1));
        assert!(tally(true, true, &Counts::new()).1 > 0, "nothing counted");
    }
}

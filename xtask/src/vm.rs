//! `cargo xtask vm`: the product on Debian's kernels, in QEMU, attached at the real top of the
//! cgroup hierarchy. The host's own top is never touched by a test; here there is one to spare.
mod guest;
mod image;
mod kernels;

use crate::project::Project;
use crate::setup::{self, Part};
use crate::test::{self, Tally};
use anyhow::{Context, Result, bail, ensure};
use gateway_tests::place;
use guest::Report;
use kernels::{Archive, Kernel, SERIES, Series};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much of a dead guest's console is shown.
const CONSOLE_LINES: usize = 40;

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    let chosen = chosen(arguments)?;
    setup::provide(project, &[Part::Build, Part::Vm])?;
    test::build(project)?;
    let tally = boot_all(project, &chosen)?;
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

/// Boots these, one after the other: two at a time on two cores would only be slower.
fn boot_all(project: &Project, chosen: &[&Series]) -> Result<Tally> {
    let directory = project.target.join("vm");
    fs::create_dir_all(&directory)?;
    let archive = Archive::open(&directory)?;
    let initramfs = image::make(&place::gateway()?, &directory)?;
    let mut total = Tally::default();
    for series in chosen {
        let name = series.name;
        println!("\n== vm {name}");
        let tally = match archive.newest(series) {
            Ok(kernel) => Visit::make(series, &kernel, &initramfs, &directory)?.tally(),
            Err(error) => skipped(name, &error),
        };
        total.add(tally);
    }
    Ok(total)
}

fn skipped(name: &str, error: &anyhow::Error) -> Tally {
    let reason = format!("vm {name}: no kernel from apt: {error:#}");
    println!("skipped: {reason}");
    Tally {
        skipped: vec![reason],
        ..Tally::default()
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
        initramfs: &Path,
        directory: &Path,
    ) -> Result<Visit<'a>> {
        let console = directory.join(format!("console-{}.log", series.name));
        let (report, took) = guest::boot(series, kernel, initramfs, &console)
            .with_context(|| format!("kernel {}", kernel.release))?;
        Ok(Visit {
            series,
            kernel,
            report,
            took,
            console,
        })
    }

    /// Prints the table, and counts.
    fn tally(&self) -> Tally {
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
    use guest::Checked;

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
        };
        let tally = |passed, ended| {
            let check = Checked {
                name: "mounts".to_owned(),
                passed,
                seconds: 1.0,
                said: String::new(),
            };
            let visit = Visit {
                series: &SERIES[0],
                kernel: &kernel,
                report: Report {
                    checks: vec![check],
                    ended,
                },
                took: Duration::from_secs(9),
                console: PathBuf::from("/nonexistent"),
            };
            let tally = visit.tally();
            (tally.passed, tally.failures.len())
        };
        assert_eq!(tally(true, true), (1, 0));
        assert_eq!(tally(false, true), (0, 1));
        assert_eq!(tally(true, false), (1, 1));
    }
}

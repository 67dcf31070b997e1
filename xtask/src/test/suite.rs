//! Runs `cargo test` and counts what it says.
use super::tally::Tally;
use crate::process;
use crate::project::Project;
use anyhow::{Context, Result, bail};
use gateway_tests::skip;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// So much is shown again at the end of what a test said that failed.
const REASON_BYTES_MAX: usize = 4000;

/// The tests of every crate: no root, no kernel, no server.
pub(super) fn unit(project: &Project) -> Result<Tally> {
    let mut command = cargo_test(project);
    command.args(["--workspace", "--exclude", "gateway-tests"]);
    count(&mut command)
}

/// The product whole, against real servers, clients and this kernel.
pub(super) fn integration(project: &Project) -> Result<Tally> {
    let skips = project.target.join("gateway-tests").join("skipped.txt");
    fs::create_dir_all(skips.parent().context("the build directory")?)?;
    fs::write(&skips, "")?;
    let mut command = cargo_test(project);
    command
        .args(["-p", "gateway-tests", "--", "--test-threads=2"])
        .env(skip::SKIPS, &skips);
    let mut tally = count(&mut command)?;
    tally.skipped = fs::read_to_string(&skips)?
        .lines()
        .map(str::to_owned)
        .collect();
    // A skipped test returned early, which libtest takes for success.
    tally.passed = tally.passed.saturating_sub(tally.skipped.len());
    Ok(tally)
}

fn cargo_test(project: &Project) -> Command {
    let mut command = process::cargo();
    command
        .args(["test", "--locked", "--no-fail-fast"])
        .current_dir(&project.root);
    command
}

fn count(command: &mut Command) -> Result<Tally> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("`{}`", process::shown(command)))?;
    let output = child.stdout.take().context("cargo's output")?;
    let mut reader = Reader::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        reader.read(&line);
    }
    let tally = reader.tally;
    let status = child.wait()?;
    if !status.success() && tally.failures.is_empty() {
        bail!(
            "`{}` failed before its tests did: {status}",
            process::shown(command)
        );
    }
    Ok(tally)
}

/// Reads what libtest writes: `test NAME ... FAILED`; `test result: ok. 3 passed; 0 failed; 0 ignored; …`;
/// and behind all, for each that failed, `---- NAME stdout ----` with what it said.
#[derive(Default)]
struct Reader {
    tally: Tally,
    /// Whose words come.
    explains: Option<String>,
}

impl Reader {
    fn read(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test ") {
            self.read_verdict(rest);
        } else if let Some(rest) = line.strip_prefix("---- ") {
            self.explains = rest.strip_suffix(" stdout ----").map(str::to_owned);
        } else if line == "failures:" {
            self.explains = None;
        } else if let Some(name) = &self.explains {
            let reason = self.tally.reasons.entry(name.clone()).or_default();
            add_line(reason, line);
        }
    }

    fn read_verdict(&mut self, rest: &str) {
        let tally = &mut self.tally;
        if let Some(counts) = rest.strip_prefix("result: ") {
            tally.passed += number_before(counts, " passed");
            for _ in 0..number_before(counts, " ignored") {
                tally.skipped.push("an ignored test".to_owned());
            }
        } else if let Some(name) = rest.strip_suffix(" ... FAILED") {
            tally.failures.push(name.to_owned());
        }
    }
}

/// Adds as much of a line as there is room for.
fn add_line(reason: &mut String, line: &str) {
    let room = REASON_BYTES_MAX.saturating_sub(reason.len() + 1);
    let end = (0..=room.min(line.len()))
        .rfind(|&end| line.is_char_boundary(end))
        .unwrap_or(0);
    reason.push_str(&line[..end]);
    if end > 0 {
        reason.push('\n');
    }
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().unwrap_or_default();
    before
        .rsplit(' ')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libtest_writes_is_counted() {
        let mut reader = Reader::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "failures:",
            "",
            "---- a::c stdout ----",
            "thread 'a::c' panicked at c.rs:1:2:",
            "it is so",
            "failures:",
            "    a::c",
            "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out",
            "test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured",
            "testing is not a test",
        ] {
            reader.read(line);
        }
        let tally = reader.tally;
        assert_eq!(tally.passed, 42);
        assert_eq!(tally.failures, ["a::c"]);
        let reason = "thread 'a::c' panicked at c.rs:1:2:\nit is so\n";
        assert_eq!(tally.reasons["a::c"], reason);
        assert_eq!(tally.skipped.len(), 2);
        assert_eq!(tally.to_string(), "42 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn of_a_long_reason_the_beginning_is_shown() {
        let mut reason = String::new();
        for line in ["ä".repeat(1999).as_str(), "öö", "more"] {
            add_line(&mut reason, line);
        }
        assert_eq!(reason, format!("{}\n", "ä".repeat(1999)));
        assert!(reason.len() <= REASON_BYTES_MAX);
    }
}

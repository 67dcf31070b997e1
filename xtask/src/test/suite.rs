//! Runs `cargo test` and counts what it says.
use super::tally::Tally;
use crate::process;
use crate::project::Project;
use anyhow::{Context, Result, bail};
use gateway_tests::skip;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

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
    let mut tally = Tally::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        read_line(&line, &mut tally);
    }
    let status = child.wait()?;
    if !status.success() && tally.failures.is_empty() {
        bail!(
            "`{}` failed before its tests did: {status}",
            process::shown(command)
        );
    }
    Ok(tally)
}

/// `test NAME ... FAILED`, and `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
fn read_line(line: &str, tally: &mut Tally) {
    let Some(rest) = line.strip_prefix("test ") else {
        return;
    };
    if let Some(counts) = rest.strip_prefix("result: ") {
        tally.passed += number_before(counts, " passed");
        for _ in 0..number_before(counts, " ignored") {
            tally.skipped.push("an ignored test".to_owned());
        }
    } else if let Some(name) = rest.strip_suffix(" ... FAILED") {
        tally.failures.push(name.to_owned());
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
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out",
            "test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured",
            "testing is not a test",
        ] {
            read_line(line, &mut tally);
        }
        assert_eq!(tally.passed, 42);
        assert_eq!(tally.failures, ["a::c"]);
        assert_eq!(tally.skipped.len(), 2);
        assert_eq!(tally.to_string(), "42 passed, 1 failed, 2 skipped");
    }
}

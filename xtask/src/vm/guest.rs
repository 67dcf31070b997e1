//! One boot: QEMU, and what the guest says on its second serial port.
use super::kernels::{Kernel, Series};
use super::verifier::Counts;
use anyhow::{Context, Result};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What is booted beside a kernel.
pub(super) struct Machine<'a> {
    pub(super) initramfs: &'a Path,
    /// In MiB.
    pub(super) memory: u32,
    /// More for the kernel's command line.
    pub(super) words: &'a str,
    /// A guest that has not ended by then, in seconds, is ended.
    pub(super) seconds: u64,
}

/// Something that the guest looked at.
#[derive(Debug, PartialEq)]
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) passed: bool,
    pub(super) seconds: f32,
    /// The end of what it wrote.
    pub(super) said: String,
}

/// What a guest said.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    pub(super) checks: Vec<Checked>,
    /// How many instructions the verifier went through, by program.
    pub(super) instructions: Counts,
    /// The doctor's rows of ways out.
    pub(super) rows: Vec<Value>,
    /// Tests that could not run there, with the reason.
    pub(super) skipped: Vec<String>,
    /// It came to its end.
    pub(super) ended: bool,
    /// The lines that come next are why a test failed.
    pub(super) explains: bool,
}

/// So much is kept of why a test failed.
const EXPLANATION_BYTES_MAX: usize = 2000;

impl Report {
    /// Takes a line that came so many seconds after the last check.
    fn read(&mut self, line: &str, since: f32) {
        if let Some(row) = line.strip_prefix("ROW ") {
            self.rows.extend(serde_json::from_str(row.trim()));
            return;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["END"] => self.ended = true,
            ["SKIP", why @ ..] => self.skipped.push(why.join(" ")),
            // libtest's own: what fails says why behind all.
            ["test", name, "...", verdict] => {
                self.explains = false;
                self.checks.push(Checked {
                    name: (*name).to_owned(),
                    passed: *verdict == "ok",
                    seconds: since,
                    said: String::new(),
                });
            }
            ["thread", _, _, "panicked", ..] => {
                self.explains = true;
                self.explain(&words);
            }
            // Behind it a test shows what its daemon said.
            ["---" | "note:" | "failures:", ..] => self.explains = false,
            _ if self.explains => self.explain(&words),
            ["INSTRUCTIONS", program, count] => {
                if let Ok(count) = count.parse() {
                    self.instructions.insert((*program).to_owned(), count);
                }
            }
            [verdict @ ("PASS" | "FAIL"), name, began, ended, said @ ..] => {
                let moment = |text: &str| text.parse::<f32>().unwrap_or_default();
                self.checks.push(Checked {
                    name: (*name).to_owned(),
                    passed: *verdict == "PASS",
                    seconds: moment(ended) - moment(began),
                    said: said.join(" "),
                });
            }
            _ => {}
        }
    }

    fn explain(&mut self, words: &[&str]) {
        if let Some(check) = self.checks.last_mut()
            && check.said.len() < EXPLANATION_BYTES_MAX
        {
            check.said.push_str(&words.join(" "));
            check.said.push(' ');
        }
    }
}

/// Boots a kernel and listens to it until it ends. Also says how long that took.
pub(super) fn boot(
    series: &Series,
    kernel: &Kernel,
    machine: &Machine<'_>,
    console: &Path,
) -> Result<(Report, Duration)> {
    let start = Instant::now();
    // timeout(1) ends it also when we are killed. /dev/kvm is there on some hosts and boots nothing.
    let mut child = Command::new("timeout")
        .args([
            "--foreground",
            "--kill-after=5",
            &machine.seconds.to_string(),
        ])
        .arg("qemu-system-x86_64")
        .args(["-accel", "tcg", "-cpu", series.cpu, "-smp", "2", "-m"])
        .arg(machine.memory.to_string())
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(machine.initramfs)
        .arg("-append")
        .arg(format!(
            "console=ttyS0 loglevel=4 panic=-1 rdinit=/init {}",
            machine.words
        ))
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .args(["-serial", "stdio"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("timeout, qemu-system-x86_64")?;
    let said = child.stdout.take().context("the guest's second port")?;
    let mut report = Report::default();
    let mut last = start;
    for line in BufReader::new(said).split(b'\n') {
        let before = report.checks.len();
        report.read(
            &String::from_utf8_lossy(&line?),
            last.elapsed().as_secs_f32(),
        );
        if report.checks.len() > before {
            last = Instant::now();
        }
    }
    child.wait()?;
    Ok((report, start.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_says_is_read() {
        let mut report = Report::default();
        for line in [
            "PASS mounts 5.25 5.50  \r",
            "FAIL daemon 6.00 16.00 it   said this\r",
            "INSTRUCTIONS redirect4 833\r",
            "ROW {\"row\":5,\"way\":\"a b\"}\r",
            "ROW torn\r",
            "[    5.9] some driver greets",
            "test capture::one ... ok\r",
            "test capture::other ... FAILED\r",
            "thread 'capture::other' (7) panicked at here:\r",
            "a thing: it is another one\r",
            "--- what the daemon said ---\r",
            "nothing\r",
            "SKIP capture::third: no module\r",
            "END\r",
        ] {
            report.read(line, 20.0);
        }
        let said = "thread 'capture::other' (7) panicked at here: a thing: it is another one ";
        let checked = |name: &str, passed, seconds, said: &str| Checked {
            name: name.to_owned(),
            passed,
            seconds,
            said: said.to_owned(),
        };
        assert_eq!(
            report,
            Report {
                checks: vec![
                    checked("mounts", true, 0.25, ""),
                    checked("daemon", false, 10.0, "it said this"),
                    checked("capture::one", true, 20.0, ""),
                    checked("capture::other", false, 20.0, said),
                ],
                skipped: vec!["capture::third: no module".to_owned()],
                rows: vec![serde_json::json!({"row": 5, "way": "a b"})],
                instructions: Counts::from([("redirect4".to_owned(), 833)]),
                ended: true,
                explains: false,
            }
        );
    }

    #[test]
    fn a_guest_that_dies_has_not_ended() {
        let mut report = Report::default();
        report.read("PASS mounts 5.25 5.50", 6.0);
        report.read("Kernel panic", 7.0);
        assert!(!report.ended);
    }
}

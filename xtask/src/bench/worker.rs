//! A client that lives on between its turns: what differs by a microsecond is compared within
//! milliseconds, before the machine has changed its mind about how fast it is.
use super::{load, table};
use anyhow::{Context, Result, ensure};
use gateway_tests::Job;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// So many connects are one turn.
const TURN: usize = 50;

/// A process on the first processor that connects to a server whenever it is told to. Dropping it ends it.
pub(super) struct Worker {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// In a job, or in our own cgroup.
    pub(super) fn start(job: Option<&Job>, port: u16) -> Result<Worker> {
        let own = std::env::current_exe()?;
        let port = port.to_string();
        let mut command = load::command(job, &own, "stay-on", &["0", "connects", &port]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("its input")?;
        let output = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Worker {
            child,
            input,
            output: output.lines(),
        })
    }

    /// One turn: how long each connect took, in microseconds.
    fn turn(&mut self) -> Result<Vec<f64>> {
        writeln!(self.input, "{TURN}")?;
        let line = self.output.next().context("it ended")??;
        let times = line.split(' ').map(str::parse);
        let times: Vec<f64> = times.collect::<Result<_, _>>().context(line.clone())?;
        ensure!(times.len() == TURN, "{line}");
        Ok(times)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets two take turns until each has connected about this often: the medians of both.
pub(super) fn medians_in_turn(workers: &mut [Worker; 2], connects: usize) -> Result<[f64; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..connects.div_ceil(TURN) {
        // Each is the first as often as the other.
        for way in [turn % 2, (turn + 1) % 2] {
            times[way].extend(workers[way].turn()?);
        }
    }
    Ok(times.map(|times| table::median(&times)))
}

//! The daemon dies at a random moment under load. What the server saw is compared with the journal.
use crate::daemon::was_executed;
use crate::running::PATIENCE;
use crate::{Running, Scene, wait};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Numbers from so large a range that a statement comes once.
const LOAD: &str = "\\set n random(1, 4611686018427387904)\nselect :n as n;\n";

/// Connects over and over, and says who answered. It lives through the death of the daemon.
const PROBE: &str = r#"
import os, psycopg, sys, time
number = 0
while not os.path.exists(sys.argv[2]):
    number += 1
    try:
        with psycopg.connect(sys.argv[1] + " connect_timeout=2", autocommit=True) as connection:
            connection.execute(f"select 'probe {os.getpid()}-{number}'")
        print("answered", number, flush=True)
    except psycopg.Error:
        print("refused", number, flush=True)
        time.sleep(0.02)
"#;

/// What rounds of dying showed.
#[derive(Debug, Default)]
pub struct Report {
    /// How often the daemon was killed.
    pub rounds: usize,
    /// Statements that the server saw.
    pub seen: usize,
    /// Of these, the ones that the journal does not have.
    pub missing: Vec<String>,
}

/// The load and the probe of one scene.
pub struct Crash<'a> {
    scene: &'a mut Scene,
    directory: TempDir,
    probe: Running,
    started: Instant,
    /// How many bytes of the server's log were compared already.
    compared: u64,
    report: Report,
}

impl<'a> Crash<'a> {
    /// Prepares the database and starts the probe.
    ///
    /// # Errors
    /// A part does not start.
    pub fn prepare(scene: &'a mut Scene) -> Result<Crash<'a>> {
        let directory = crate::place::temporary_directory()?;
        fs::write(directory.path().join("load.sql"), LOAD)?;
        let stop = directory.path().join("stop").display().to_string();
        let probe = scene
            .job("probe")?
            .python(PROBE, &[&scene.cluster.address(), &stop])?;
        let started = Instant::now();
        Ok(Crash {
            scene,
            directory,
            probe,
            started,
            compared: 0,
            report: Report::default(),
        })
    }

    /// One death: load, kill after `delay`, a look at what the dead daemon lets through, a new
    /// life, and the comparison.
    ///
    /// # Errors
    /// Something that must not pass has passed, or the daemon does not come back.
    pub fn round(&mut self, delay: Duration) -> Result<()> {
        let answered = self.answered();
        let job = self.scene.job("load")?;
        let mode = if self.report.rounds.is_multiple_of(2) {
            "simple"
        } else {
            "extended"
        };
        let mut pgbench = job.command("pgbench");
        pgbench
            .args([
                "-n",
                "-M",
                mode,
                "-c",
                "4",
                "-j",
                "1",
                "-T",
                "60",
                "-h",
                "127.0.0.1",
            ])
            .args([
                "-p",
                &self.scene.cluster.port().to_string(),
                "-U",
                "postgres",
                "-f",
            ])
            .arg(self.directory.path().join("load.sql"))
            .arg("postgres");
        let (mut end, mut seen) = (self.compared, 0);
        self.scene.cluster.log_from(&mut end)?;
        let load = Running::start(&mut pgbench)?;
        wait::until_true("the load to begin", PATIENCE, || {
            let more = self.scene.cluster.statements_from(&mut end);
            seen += more.map_or(0, |more| more.len());
            seen > 10
        })?;
        std::thread::sleep(delay);
        self.scene.daemon.crash()?;
        load.wait(PATIENCE)
            .context("pgbench hangs after the death of the daemon")?;
        self.look_at_the_dead()?;
        self.scene.daemon.restart().context("after a crash")?;
        wait::until_true("the probe to be answered again", PATIENCE, || {
            self.answered() > answered
        })?;
        self.report.rounds += 1;
        self.compare()
    }

    /// While the daemon is dead nothing governed arrives, and the journal can be read.
    fn look_at_the_dead(&mut self) -> Result<()> {
        // Backends that were on their way when the daemon died are through by now.
        self.scene.cluster.query("select 1")?;
        let mut end = self.compared;
        self.scene.cluster.log_from(&mut end)?;
        let refused = self.refused();
        let outcome = self.scene.psql(&["-c", "select 'past a dead daemon'"])?;
        ensure!(
            !outcome.status.success(),
            "a governed client was served past a dead daemon"
        );
        wait::until_true("the probe to be refused", PATIENCE, || {
            self.refused() > refused + 2
        })?;
        let log = self.scene.cluster.log_from(&mut end)?;
        let arrived = log.matches("connection received: host=127.0.0.1").count();
        ensure!(
            arrived == 0,
            "{arrived} governed connections reached the server"
        );
        let since = self.since();
        ensure!(
            !self
                .scene
                .daemon
                .json(&["log", "--since", &since])?
                .is_empty(),
            "the journal of the dead daemon is empty"
        );
        Ok(())
    }

    /// Each statement that the server saw is in the journal, as often as the server saw it.
    fn compare(&mut self) -> Result<()> {
        let seen = self.scene.cluster.statements_from(&mut self.compared)?;
        let since = self.since();
        self.started = Instant::now();
        let log = self.scene.daemon.json(&["log", "--since", &since])?;
        self.report.missing.extend(unrecorded(&seen, &log));
        self.report.seen += seen.len();
        ensure!(
            self.report.missing.is_empty(),
            "{} statements are not in the journal, the first: {:?}",
            self.report.missing.len(),
            self.report.missing.first()
        );
        Ok(())
    }

    /// Ends the probe and says what was seen. The probe was one process all the time: its tree has
    /// one name.
    ///
    /// # Errors
    /// The tree changed its name with the daemon.
    pub fn finish(self) -> Result<Report> {
        let pid = self.probe.pid();
        fs::write(self.directory.path().join("stop"), "")?;
        self.probe.wait(PATIENCE)?.success()?;
        let log = self
            .scene
            .daemon
            .json(&["log", "--grep", &format!("probe {pid}-")])?;
        let mut trees: Vec<_> = log
            .iter()
            .map(|operation| operation["tree"].to_string())
            .collect();
        trees.sort();
        trees.dedup();
        ensure!(trees.len() == 1, "one process, and these trees: {trees:?}");
        Ok(self.report)
    }

    /// As far back as the last comparison.
    fn since(&self) -> String {
        format!("{}s", self.started.elapsed().as_secs() + 2)
    }

    fn answered(&self) -> usize {
        self.probe.stdout().matches("answered").count()
    }

    fn refused(&self) -> usize {
        self.probe.stdout().matches("refused").count()
    }
}

/// The statements that the server saw and the journal does not have, or not as often.
#[must_use]
pub fn unrecorded(seen: &[String], log: &[Value]) -> Vec<String> {
    let mut recorded: HashMap<&str, usize> = HashMap::new();
    for operation in log.iter().filter(|operation| was_executed(operation)) {
        let statement = operation["statement"].as_str().unwrap_or_default();
        *recorded.entry(statement).or_default() += 1;
    }
    let mut take = |statement: &str| {
        let count = recorded.get_mut(statement).filter(|count| **count > 0);
        count.map(|count| *count -= 1).is_some()
    };
    let is_missing =
        |statement: &&String| !take(statement.trim_end_matches(';')) && !take(statement.as_str());
    seen.iter().filter(is_missing).cloned().collect()
}

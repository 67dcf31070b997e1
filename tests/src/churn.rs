//! Hundreds of clients that come, cancel, abort and vanish at random; and what is left of them.
use crate::certificates::Authority;
use crate::crash::unrecorded;
use crate::running::PATIENCE;
use crate::{Scene, place, policy, wait};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Pages of its own that a daemon may have more than after the first round.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

/// A database with TLS whose connections suffice, and what was there when nobody had come yet.
pub struct Churn {
    scene: Scene,
    _files: TempDir,
    /// How many bytes of the server's log were compared already.
    compared: u64,
    started: Instant,
    rounds: u64,
    first: Option<Left>,
    statements: usize,
    counts: BTreeMap<String, u64>,
}

/// What is there while nobody is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    descriptors: usize,
    maps: BTreeMap<String, u64>,
    anonymous_kib: u64,
}

/// What it showed.
#[derive(Debug)]
pub struct Report {
    /// Statements that the server saw; every one is in the journal.
    pub statements: usize,
    /// What the clients did, by name.
    pub counts: BTreeMap<String, u64>,
    /// How much the daemon's own memory grew since the first round.
    pub growth_kib: i64,
}

impl Churn {
    /// Prepares the database.
    ///
    /// # Errors
    /// A part does not start.
    pub fn prepare(clients: usize) -> Result<Churn> {
        let mut scene = Scene::allow_all()?;
        let most = format!("alter system set max_connections = {}", clients * 2 + 50);
        scene.cluster.query(&most)?;
        scene.cluster.restart()?;
        let authority = Authority::new("churn")?;
        scene.cluster.speak_tls(&authority.issue(&["127.0.0.1"])?)?;
        let files = place::temporary_directory()?;
        let ca = files.path().join("ca.pem");
        fs::write(&ca, &authority.pem)?;
        let text = policy::allow_all(&scene.subtree, scene.cluster.port());
        let tls = format!("\ntls = {{ ca = {ca:?} }}\nports = ");
        let text = text.replacen("\nports = ", &tls, 1);
        scene.daemon.put_in_force("test", &text)?;
        let mut compared = 0;
        scene.cluster.log_from(&mut compared)?;
        Ok(Churn {
            scene,
            _files: files,
            compared,
            started: Instant::now(),
            rounds: 0,
            first: None,
            statements: 0,
            counts: BTreeMap::new(),
        })
    }

    /// So many clients for so long; then all of them are gone, and nothing is left.
    ///
    /// # Errors
    /// A client was stuck, a statement is not in the journal, or something was left behind.
    pub fn round(&mut self, clients: usize, time: Duration) -> Result<()> {
        self.rounds += 1;
        let arguments = [
            u64::from(self.scene.cluster.port()),
            clients as u64,
            time.as_secs(),
            self.rounds,
        ]
        .map(|number| number.to_string());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let load = self
            .scene
            .job("churn")?
            .python(include_str!("churn.py"), &arguments)?;
        let outcome = load.wait(time + 3 * PATIENCE)?.success()?;
        let said: Value = serde_json::from_str(&outcome.stdout)?;
        ensure!(
            said["stuck"] == Value::Array(Vec::new()) && said["odd_count"] == 0,
            "clients were stuck, or ended by others: {said}"
        );
        for (name, count) in said["counts"].as_object().context("counts")? {
            *self.counts.entry(name.clone()).or_default() += count.as_u64().unwrap_or_default();
        }
        self.nobody_is_left()?;
        self.compare()?;
        let left = self.left()?;
        let first = self.first.get_or_insert_with(|| left.clone());
        ensure!(
            left.maps == first.maps && left.descriptors <= first.descriptors + 8,
            "something was left behind: {left:?}, after the first round {first:?}"
        );
        ensure!(
            left.anonymous_kib <= first.anonymous_kib + GROWTH_KIB_MAX,
            "the daemon grows: {left:?}, after the first round {first:?}"
        );
        Ok(())
    }

    /// What it showed.
    ///
    /// # Errors
    /// The daemon cannot be asked.
    pub fn finish(self) -> Result<Report> {
        let left = self.left()?;
        let first = self.first.as_ref().map_or(0, |first| first.anonymous_kib);
        Ok(Report {
            statements: self.statements,
            counts: self.counts,
            growth_kib: left.anonymous_kib.cast_signed() - first.cast_signed(),
        })
    }

    fn nobody_is_left(&self) -> Result<()> {
        wait::until_true("the last session to end", PATIENCE, || {
            self.scene
                .daemon
                .json(&["sessions", "--live"])
                .is_ok_and(|live| live.is_empty())
        })?;
        let sql = "select count(*) from pg_stat_activity \
                   where backend_type = 'client backend' and client_addr is not null";
        wait::until_true("the last backend to end", PATIENCE, || {
            self.scene.cluster.query(sql).is_ok_and(|left| left == "0")
        })
    }

    fn compare(&mut self) -> Result<()> {
        let seen = self.scene.cluster.statements_from(&mut self.compared)?;
        let since = format!("{}s", self.started.elapsed().as_secs() + 2);
        self.started = Instant::now();
        let log = self.scene.daemon.json(&["log", "--since", &since])?;
        let missing = unrecorded(&seen, &log);
        ensure!(
            missing.is_empty(),
            "{} statements are not in the journal, the first: {:?}",
            missing.len(),
            missing.first()
        );
        self.statements += seen.len();
        Ok(())
    }

    fn left(&self) -> Result<Left> {
        let process = format!("/proc/{}", self.scene.daemon.pid()?);
        let descriptors = fs::read_dir(format!("{process}/fd"))?.count();
        let maps = self.scene.daemon.entries()?;
        let status = fs::read_to_string(format!("{process}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(Left {
            descriptors,
            maps,
            anonymous_kib: number.context("RssAnon")?.parse()?,
        })
    }
}

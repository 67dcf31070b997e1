//! How the daemon is: status, metrics, readiness; and the switch that ends sessions.
use super::acts::Acts;
use super::before::Before;
use super::governance::Governance;
use super::lineage::Shown;
use super::measure::{CountedRecorder, Delays, TimedJudge};
use super::people::People;
use crate::config::Config;
use crate::daemon::handover::Predecessor;
use crate::terminal::moment;
use gateway_approvals::Approvals;
use gateway_capture::{Capture, Counters};
use gateway_control::view::{LossesView, PolicyView, RejectedView, StatusView};
use gateway_control::{Caller, Metrics, Overview, Switch, Target};
use gateway_core::{Mode, Timestamp};
use gateway_lineage::Forest;
use gateway_proxy::Proxy;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything that can be told about the daemon.
pub(crate) struct Health {
    pub(crate) config: Config,
    pub(crate) started: Timestamp,
    pub(crate) capture: Arc<Capture>,
    pub(crate) forest: Arc<Forest>,
    pub(crate) governance: Arc<Governance>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) recorder: Arc<CountedRecorder>,
    pub(crate) judge: Arc<TimedJudge>,
    pub(crate) delays: Arc<Delays>,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) people: Arc<People>,
    pub(crate) before: Arc<Before>,
    /// The daemon before this one, while it drains.
    pub(crate) predecessor: Option<Arc<Predecessor>>,
    /// What was found at the start and stays worth knowing.
    pub(crate) notes: Vec<String>,
    /// The daemon is ending.
    pub(crate) ending: Arc<AtomicBool>,
}

impl Health {
    fn policies(&self) -> Vec<PolicyView> {
        let mut trees: HashMap<Arc<str>, u64> = HashMap::new();
        for tree in self
            .forest
            .trees()
            .into_iter()
            .filter(|tree| tree.alive > 0)
        {
            if let Some(name) = tree
                .policy_slot
                .and_then(|slot| self.governance.policy_of(slot))
            {
                *trees.entry(name).or_default() += 1;
            }
        }
        let policies = self.governance.policies().set().summaries().into_iter();
        policies
            .map(|policy| PolicyView {
                name: policy.name.to_string(),
                mode: policy.mode,
                file: self.file(&policy.file),
                cgroups: policy.cgroups.iter().map(ToString::to_string).collect(),
                trees: trees.get(&policy.name).copied().unwrap_or(0),
            })
            .collect()
    }

    fn file(&self, name: &str) -> String {
        self.config.policy_dir.join(name).display().to_string()
    }

    fn rejected(&self) -> Vec<RejectedView> {
        let report = self.governance.policies().report();
        let mut rejected: Vec<RejectedView> = report
            .diagnostics
            .iter()
            .map(|diagnostic| RejectedView {
                file: self.file(&diagnostic.location.file),
                line: u64::from(diagnostic.location.line),
                column: u64::from(diagnostic.location.column),
                message: format!("{} (expected {})", diagnostic.message, diagnostic.expected),
            })
            .collect();
        let said: Vec<String> = rejected.iter().map(|view| view.file.clone()).collect();
        let silent = report.rejected.iter().map(|file| self.file(&file.file));
        rejected.extend(
            silent
                .filter(|file| !said.contains(file))
                .map(|file| RejectedView {
                    file,
                    line: 0,
                    column: 0,
                    message: "it was not taken".to_owned(),
                }),
        );
        rejected
    }

    fn losses(&self, counters: &Counters) -> LossesView {
        LossesView {
            events: counters.events_lost,
            orphans: self.proxy.counts().orphans,
            backstop_drops: counters.backstop_drops,
            recording_failures: self.recorder.failures(),
            tag_overflows: counters.tags_failed,
            cgroups_unjudged: counters.cgroups_unmatched,
        }
    }

    /// Sessions that go on in the daemon before this one.
    fn draining(&self) -> u64 {
        let earlier = self.predecessor.as_ref();
        earlier.map_or(0, |earlier| earlier.sessions())
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.notes.clone();
        let report = self.governance.policies().report();
        if let Some(reason) = &report.unsaved {
            warnings.push(format!(
                "the policies could not be kept for the next start: {reason}"
            ));
        }
        if let Some(reason) = self.governance.failure() {
            warnings.push(format!(
                "the kernel does not know the policies in force: {reason}"
            ));
        }
        if let Some(error) = self.people.directory.rejected() {
            warnings.push(format!(
                "the directory is bad, and what it said before is in force: {error}"
            ));
        }
        if let count @ 1.. = self.draining() {
            warnings.push(format!(
                "{count} sessions go on in the daemon before this one, which drains"
            ));
        }
        if self.forest.needs_repair() {
            warnings.push("the lineage has gaps that are not repaired yet".to_owned());
        }
        warnings
    }
}

/// `contain` is for single jobs: no host has it.
const fn tier(sealed: bool) -> &'static str {
    if sealed { "seal" } else { "attest" }
}

impl Overview for Health {
    fn status(&self) -> StatusView {
        let (attached, counters) = match self.capture.counters() {
            // Whoever removes the pins behind the daemon's back takes the programs with them.
            Ok(counters) => (self.config.bpffs_dir.exists(), counters),
            Err(_) => (false, Counters::default()),
        };
        let policies = self.policies();
        let rejected = self.rejected();
        let failed = self.governance.failure().is_some();
        let mode = policies.iter().map(|policy| policy.mode).max();
        let enforced = mode == Some(Mode::Enforce);
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: moment::rfc3339(self.started),
            mode: mode.map_or("none", Mode::name).to_owned(),
            attached,
            enforcing: attached && enforced && rejected.is_empty() && !failed,
            tier: tier(self.capture.sealed().is_ok()).to_owned(),
            policies,
            rejected,
            policies_loaded: Some(moment::rfc3339(self.governance.loaded())),
            trees: self
                .forest
                .trees()
                .iter()
                .filter(|tree| tree.alive > 0)
                .count() as u64,
            processes: self.capture.tags().map_or(0, |tags| tags.len() as u64),
            sessions: self.proxy.sessions().len() as u64 + self.draining(),
            approvals: self.approvals.pending() as u64,
            losses: self.losses(&counters),
            before: self.before.view(),
            warnings: self.warnings(),
            limits: self.config.limits.shown(),
            paths: self.config.paths(),
        }
    }

    fn metrics(&self) -> Metrics {
        let counters = self.capture.counters().unwrap_or_default();
        let losses = self.losses(&counters);
        Metrics {
            sessions_active: self.proxy.counts().active,
            operations: self.recorder.counts(),
            policy: self.judge.histogram(),
            overhead: self.delays.cleared.histogram(),
            masking: self.delays.masked.histogram(),
            approvals_pending: self.approvals.pending() as u64,
            orphans: losses.orphans,
            backstop_drops: losses.backstop_drops,
            inbound_drops: self.capture.counters().map_or(0, |all| all.inbound_drops),
            events_lost: losses.events,
            recording_failures: losses.recording_failures,
            masked_values: self.recorder.masked_values(),
            disclosed_rows: self.recorder.disclosed_rows(),
        }
    }

    fn ready(&self) -> bool {
        let attached = self.config.bpffs_dir.exists() && self.capture.counters().is_ok();
        attached && !self.ending.load(Ordering::Acquire)
    }
}

/// Ends live sessions.
pub(crate) struct SessionSwitch {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) people: Arc<People>,
    pub(crate) predecessor: Option<Arc<Predecessor>>,
    pub(crate) acts: Acts,
}

impl SessionSwitch {
    fn record(&self, caller: &Caller, target: Target) -> Result<(), String> {
        let who = self.people.who(caller).map_err(|error| error.to_string())?;
        let target = target.to_string();
        let recorded = self
            .acts
            .record("kill", &who.id, caller, Some(&target), None);
        recorded.map_err(|error| error.to_string())
    }
}

impl Switch for SessionSwitch {
    fn kill(&self, caller: &Caller, target: Target) -> Option<u64> {
        if let Err(error) = self.record(caller, target) {
            // To end a session is never more dangerous than to leave it: it is done all the same.
            tracing::error!(%error, %target, "a kill could not be recorded");
        }
        match target {
            Target::Session(session) => {
                let earlier = self.predecessor.as_ref();
                let killed = self.proxy.kill_session(session)
                    || earlier.is_some_and(|earlier| earlier.kill_session(session));
                killed.then_some(1)
            }
            Target::Tree(tree) => {
                let earlier = self.predecessor.as_ref();
                let earlier = earlier.map_or(0, |earlier| earlier.kill_tree(tree));
                let killed = self.proxy.kill_tree(tree) as u64 + earlier;
                let known = killed > 0 || self.shown.forest.tree_of(tree).is_some();
                known.then_some(killed)
            }
            Target::Process(_) => None,
        }
    }
}

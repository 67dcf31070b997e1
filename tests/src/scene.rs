//! The usual scene: a subtree, a database, and a daemon that governs the jobs of the subtree.
use crate::{Cluster, Daemon, Job, Outcome, Subtree, policy, running};
use anyhow::Result;
use std::process::Command;
use std::sync::Arc;

/// Parts of a scene, dropped in this order.
pub struct Scene {
    /// The daemon under test.
    pub daemon: Daemon,
    /// The real database, outside of the subtree.
    pub cluster: Cluster,
    /// Where the daemon and the jobs live.
    pub subtree: Arc<Subtree>,
}

impl Scene {
    /// A scene in which everything is allowed on the database `db`.
    ///
    /// # Errors
    /// Some part does not come up.
    pub fn allow_all() -> Result<Scene> {
        Scene::with_rules(policy::ALLOW_ALL)
    }

    /// A scene with these rules about the resource `db`.
    ///
    /// # Errors
    /// Some part does not come up.
    pub fn with_rules(rules: &str) -> Result<Scene> {
        let subtree = Arc::new(Subtree::create()?);
        let cluster = Cluster::start()?;
        let text = policy::with_rules(&subtree, cluster.port(), rules);
        let daemon = Daemon::prepare(&subtree)?.policy("test", &text)?.start()?;
        Ok(Scene {
            daemon,
            cluster,
            subtree,
        })
    }

    /// A governed job of this name.
    ///
    /// # Errors
    /// Its cgroup cannot be made.
    pub fn job(&self, name: &str) -> Result<Job> {
        Job::governed(&self.subtree, name)
    }

    /// psql in a governed job, with the database's address and these arguments.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub fn psql(&self, arguments: &[&str]) -> Result<Outcome> {
        let mut command = self.job("psql")?.command("psql");
        running::run(
            command
                .args(["-X", "-d", &self.cluster.address()])
                .args(arguments),
        )
    }

    /// psql around the gateway, over the same address, for comparison.
    ///
    /// # Errors
    /// It cannot be started, or does not end.
    pub fn direct_psql(&self, arguments: &[&str]) -> Result<Outcome> {
        let mut command = Command::new("psql");
        running::run(
            command
                .args(["-X", "-d", &self.cluster.address()])
                .args(arguments),
        )
    }
}

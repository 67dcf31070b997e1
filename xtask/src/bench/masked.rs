//! A table with something to mask in it, and jobs that see it under one policy each.
//!
//! One daemon holds all the policies and each governs jobs of its own, so that the ways to be
//! compared are a cgroup apart, and no policy has to be loaded between two measurements.
use super::arena;
use anyhow::{Context, Result, ensure};
use gateway_tests::{Cluster, Daemon, Job, Scene, Subtree, policy, running};
use std::sync::Arc;

/// What most queries ask for: ten columns, of which `email` is the masked one.
pub(super) const COLUMNS: &str =
    "id, customer, name, email, note, created, changed, price, quantity, state";

/// What is put on the answers of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    /// The policy has no mask.
    Absent,
    /// On a column of the same table that nobody asks for.
    Beside,
    /// On a column of another table.
    Elsewhere,
    /// On `email`.
    Redact,
    /// On `email`.
    Hash,
    /// Whatever a detector finds in the values of any column.
    Detect,
}

impl Mask {
    pub(super) const ALL: [Mask; 6] = [
        Mask::Absent,
        Mask::Beside,
        Mask::Elsewhere,
        Mask::Redact,
        Mask::Hash,
        Mask::Detect,
    ];

    /// The name of its policy, and of its jobs.
    fn name(self) -> &'static str {
        match self {
            Mask::Absent => "absent",
            Mask::Beside => "beside",
            Mask::Elsewhere => "elsewhere",
            Mask::Redact => "redact",
            Mask::Hash => "hash",
            Mask::Detect => "detect",
        }
    }

    /// As a row of a table of results names it.
    pub(super) fn shown(self) -> &'static str {
        match self {
            Mask::Absent => "no mask",
            Mask::Beside => "on another column",
            Mask::Elsewhere => "on another table",
            Mask::Redact => "redact",
            Mask::Hash => "hash",
            Mask::Detect => "detect all",
        }
    }

    /// Does the job see another `email` than there is?
    fn changes(self) -> bool {
        matches!(self, Mask::Redact | Mask::Hash | Mask::Detect)
    }

    fn terms(self) -> Option<&'static str> {
        match self {
            Mask::Absent => None,
            Mask::Beside => Some(r#"fields = ["public.wide.phone"]"#),
            Mask::Elsewhere => Some(r#"fields = ["public.elsewhere.email"]"#),
            Mask::Redact => Some(r#"fields = ["public.wide.email"]"#),
            Mask::Hash => Some("fields = [\"public.wide.email\"]\nwith = \"hash\""),
            Mask::Detect => Some(
                r#"detect = ["email", "us-ssn", "credit-card", "iban", "api-key", "jwt", "private-key"]"#,
            ),
        }
    }

    fn policy(self, subtree: &Subtree, port: u16) -> String {
        let masks = self.terms().map_or_else(String::new, |terms| {
            format!("masks = [\"sensitive\"]\n\n[[mask]]\nname = \"sensitive\"\n{terms}\n")
        });
        let rules = format!("{}{masks}", policy::ALLOW_ALL);
        policy::with_rules(subtree, port, &rules)
            .replacen("\"test\"", &format!("{:?}", self.name()), 1)
            .replacen("/jobs/**", &format!("/jobs/{}/**", self.name()), 1)
    }
}

/// A daemon with all these policies, before a database with the table `wide`.
pub(super) struct Stage {
    pub(super) scene: Scene,
}

impl Stage {
    /// The table gets this many rows, each 164 bytes of text in [`COLUMNS`].
    pub(super) fn new(rows: u32) -> Result<Stage> {
        let subtree = Arc::new(Subtree::create()?);
        let cluster = Cluster::start()?;
        arena::log_no_statements(&cluster)?;
        make_tables(&cluster, rows)?;
        let mut daemon = Daemon::prepare(&subtree)?;
        for mask in Mask::ALL {
            daemon = daemon.policy(mask.name(), &mask.policy(&subtree, cluster.port()))?;
        }
        let stage = Stage {
            scene: Scene {
                daemon: daemon.start()?,
                cluster,
                subtree,
            },
        };
        for mask in Mask::ALL {
            stage.prove(mask)?;
        }
        Ok(stage)
    }

    /// A job under the policy with this mask.
    pub(super) fn job(&self, mask: Mask) -> Result<Job> {
        self.scene.job(&format!("{}/client", mask.name()))
    }

    /// Reads the answer to its end, in a job or around the gateway: seconds.
    pub(super) fn read(&self, mask: Option<Mask>, sql: &str) -> Result<f64> {
        let job = mask.map(|mask| self.job(mask)).transpose()?;
        let port = self.scene.cluster.port().to_string();
        arena::measure(job.as_ref(), "query", &[&port, sql])
    }

    /// Is refused with this code, in a session that goes on: seconds.
    pub(super) fn refused(&self, mask: Mask, code: &str, sql: &str) -> Result<f64> {
        let port = self.scene.cluster.port().to_string();
        arena::measure(Some(&self.job(mask)?), "refused", &[&port, code, sql])
    }

    /// A mask that is not put on would be a fast one.
    fn prove(&self, mask: Mask) -> Result<()> {
        let select = "select email from wide where id = 1";
        for sql in [select, &format!("copy ({select}) to stdout")] {
            let mut command = self.job(mask)?.command("psql");
            command.args(["-X", "-A", "-t", "-d", &self.scene.cluster.address()]);
            let seen = running::run(command.args(["-c", sql]))?.success()?.stdout;
            let is = self.scene.cluster.query(sql)?;
            ensure!(
                (seen.trim_end() != is) == mask.changes(),
                "{sql}: with the mask {mask:?}, {is} is seen as {seen}"
            );
        }
        Ok(())
    }
}

fn make_tables(cluster: &Cluster, rows: u32) -> Result<()> {
    let fill = format!(
        "create table elsewhere (id int primary key, email text);
         create table wide (id int not null, customer int not null, name text not null,
           email text not null, note text not null, created timestamptz not null,
           changed timestamptz not null, price numeric(12,2) not null, quantity int not null,
           state text not null, phone text not null);
         insert into wide
         select n, n % 7919, 'customer ' || n % 7919, 'customer.' || n % 7919 || '@example.com',
           'ordered by hand, to be sent with number ' || n, timestamptz '2026-01-01' + n * interval '7 s',
           timestamptz '2026-02-01' + n * interval '7.3 s', n % 99991 + 0.95, n % 12,
           (array['open', 'paid', 'sent', 'returned'])[1 + n % 4], '+1 202 555 ' || 1000 + n % 9000
         from generate_series(1, {rows}) n;
         alter table wide add primary key (id);"
    );
    cluster.query(&fill).context("the table `wide`")?;
    // Otherwise the first to read it would write what is known of each row.
    cluster.query("vacuum (freeze, analyze) wide")?;
    Ok(())
}

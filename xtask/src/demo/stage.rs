//! What the story is played on: a database, a host elsewhere, a subtree, the daemon, the scripts.
use crate::project::Project;
use anyhow::{Context, Result, ensure};
use gateway_tests::sniffer::Sniffer;
use gateway_tests::{Cluster, Daemon, Job, Namespace, Subtree, place, running, wait};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

/// Rows of the table that must survive.
pub(super) const ORDERS: u32 = 1000;
/// What the policy says to whoever tries to remove them.
pub(super) const MESSAGE: &str = "Orders are kept for ten years: see wiki/retention";
/// Rows of the table that nobody writes to without being asked.
pub(super) const INVOICES: u32 = 12;
/// Who is asked: a user that every Debian has, and that is not the job's.
pub(super) const APPROVER: &str = "local:daemon";
const APPROVER_UID: u32 = 1;
const ELSEWHERE_PORT: u16 = 8443;

const SCRIPTS: &[(&str, &str)] = &[
    ("nightly-job.sh", include_str!("nightly-job.sh")),
    ("agent.py", include_str!("agent.py")),
    ("helper.py", include_str!("helper.py")),
];

/// Dropped in this order: the daemon before the subtree that it lives in.
pub(super) struct Stage {
    daemon: Option<Daemon>,
    cluster: Cluster,
    sniffer: Sniffer,
    namespace: Namespace,
    directory: TempDir,
    subtree: Arc<Subtree>,
}

impl Stage {
    pub(super) fn build(project: &Project) -> Result<Stage> {
        let subtree = Arc::new(Subtree::create()?);
        let namespace = Namespace::create()?;
        let sniffer = Sniffer::start(&namespace, ELSEWHERE_PORT)?;
        let cluster = Cluster::start_on(&[namespace.host().into()])?;
        cluster.query(&format!(
            "create table orders (id int primary key, customer text, total numeric);
             insert into orders select n, 'customer ' || n, n * 1.25 from generate_series(1, {ORDERS}) n;
             create table invoices (id int primary key, paid boolean);
             insert into invoices select n, false from generate_series(1, {INVOICES}) n"
        ))?;
        let directory = place::temporary_directory()?;
        write_scripts(project, directory.path())?;
        Ok(Stage {
            daemon: None,
            cluster,
            sniffer,
            namespace,
            directory,
            subtree,
        })
    }

    pub(super) fn start_daemon(mut self) -> Result<Stage> {
        let policy = format!(
            "[policy]\n\
             name = \"nightly-jobs\"\n\
             cgroups = [\"{}/jobs/**\"]\n\n\
             [[resource]]\n\
             name = \"orders-db\"\n\
             protocol = \"postgres\"\n\
             hosts = [\"{}\"]\n\
             ports = [{}]\n\n\
             [[rule]]\n\
             name = \"jobs read and write orders\"\n\
             resources = [\"orders-db\"]\n\
             verbs = [\"connect\", \"authenticate\", \"read\", \"write\"]\n\
             verdict = \"allow\"\n\n\
             [[rule]]\n\
             name = \"nobody removes orders\"\n\
             resources = [\"orders-db\"]\n\
             verbs = [\"delete\", \"define\"]\n\
             verdict = \"deny\"\n\
             message = \"{MESSAGE}\"\n\n\
             [[rule]]\n\
             name = \"a human allows payments\"\n\
             resources = [\"orders-db\"]\n\
             verbs = [\"write\"]\n\
             objects = [\"public.invoices\"]\n\
             verdict = \"hold\"\n\
             approvers = [\"{APPROVER}\"]\n\
             timeout = \"60s\"\n",
            self.subtree.name(),
            self.namespace.host(),
            self.cluster.port(),
        );
        print!("{}", super::indented(&policy));
        let prepared = Daemon::prepare(&self.subtree)?.policy("nightly-jobs", &policy)?;
        self.daemon = Some(prepared.start()?);
        let status = self.daemon()?.run(&["status"])?.success()?;
        println!("\n$ gateway status");
        print!("{}", super::indented(&status.stdout));
        Ok(self)
    }

    /// The daemon dies as in a crash; what is governed can reach nothing, everyone else does.
    pub(super) fn crash_and_look(&self) -> Result<()> {
        let pid = self.daemon()?.pid()?.to_string();
        running::run(Command::new("kill").args(["-KILL", &pid]))?.success()?;
        let control = self.daemon()?;
        wait::until_true("the daemon to be gone", running::PATIENCE, || {
            control
                .run(&["status"])
                .is_ok_and(|status| status.code() == 3)
        })?;
        let (host, port) = (
            self.namespace.host().to_string(),
            self.cluster.port().to_string(),
        );
        let ask = |mut psql: Command| {
            psql.args([
                "-X", "-h", &host, "-p", &port, "-U", "postgres", "-c", "select 1",
            ]);
            running::run(&mut psql)
        };
        let governed = ask(self.job()?.command("psql"))?;
        ensure!(
            !governed.status.success(),
            "a governed psql was served past a dead daemon"
        );
        ask(Command::new("psql"))?
            .success()
            .context("an ungoverned psql must be untouched")?;
        println!("kill -9 of the daemon: a governed psql is refused, any other is served.");
        Ok(())
    }

    /// Removes everything, and looks whether it is gone.
    pub(super) fn strike(self) -> Result<()> {
        let daemon = self.daemon()?;
        daemon.run(&["uninstall"])?.success()?;
        let traces = [
            daemon.pins(),
            self.subtree.path().to_owned(),
            self.directory.path().to_owned(),
        ];
        drop(self);
        for trace in traces {
            ensure!(!trace.exists(), "{} was left behind", trace.display());
        }
        println!("gateway uninstall, and nothing is left: no program, no pin, no cgroup, no data.");
        Ok(())
    }

    pub(super) fn daemon(&self) -> Result<&Daemon> {
        self.daemon.as_ref().context("the daemon was not started")
    }

    /// One of the product's commands, as the one who is asked.
    pub(super) fn as_approver(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.daemon()?.gateway_as(APPROVER_UID)?;
        Ok(running::run(command.args(arguments))?.success()?.stdout)
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn sniffer(&self) -> &Sniffer {
        &self.sniffer
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(super) fn script(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn job(&self) -> Result<Job> {
        Job::governed(&self.subtree, "nightly")
    }

    pub(super) fn job_output(&self) -> String {
        fs::read_to_string(self.script("job.log")).unwrap_or_default()
    }

    pub(super) fn database(&self) -> SocketAddr {
        SocketAddr::from((self.namespace.host(), self.cluster.port()))
    }

    pub(super) fn elsewhere(&self) -> SocketAddr {
        SocketAddr::from((self.namespace.address(), ELSEWHERE_PORT))
    }
}

/// The agents run as `nobody`, who may not be able to see into the build directory: the scripts and
/// the driver get a place that everybody can read.
fn write_scripts(project: &Project, directory: &Path) -> Result<()> {
    let open = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    open(directory, 0o755)?;
    for (name, text) in SCRIPTS {
        fs::write(directory.join(name), text)?;
        open(&directory.join(name), 0o755)?;
    }
    fs::write(directory.join("job.log"), "")?;
    open(&directory.join("job.log"), 0o666)?;
    let mut copy = Command::new("sh");
    copy.args([
        "-c",
        "cp -a \"$0\"/lib/python3*/site-packages \"$1\" && chmod -R a+rX \"$1\"",
    ])
    .arg(project.venv())
    .arg(directory.join("drivers"));
    running::run(&mut copy)?.success().map(drop)
}

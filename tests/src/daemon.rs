//! A `gateway daemon` of our own: its own directories, its own bpffs, its own place in a subtree.
use crate::running::{self, Outcome, PATIENCE, Running};
use crate::{Bpffs, Subtree, job, place, wait};
use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The contract says 5 s; the rest is for a loaded machine.
const READY_MAX: Duration = Duration::from_secs(20);

/// A daemon that is described and not yet started.
pub struct Prepared {
    // Dropped before the directory that it is mounted in.
    bpffs: Bpffs,
    directory: TempDir,
    subtree: Arc<Subtree>,
    /// What commands are run from.
    binary: PathBuf,
    /// What the daemon is started from.
    file: PathBuf,
    state: PathBuf,
    extra: String,
    managed: bool,
}

impl Prepared {
    /// Adds a policy file, `NAME.toml`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn policy(self, name: &str, text: &str) -> Result<Prepared> {
        fs::write(
            self.directory
                .path()
                .join("policies")
                .join(format!("{name}.toml")),
            text,
        )?;
        Ok(self)
    }

    /// Adds to the configuration: keys of `[capture]`, which is its last section, or more sections.
    /// `[credentials]` is there too.
    #[must_use]
    pub fn config(mut self, text: &str) -> Prepared {
        self.extra.push_str(text);
        self
    }

    /// Has it run by a service manager, which knows what systemd knows of it: see `manager.py` for
    /// the signals that it takes. It stands for the daemon here.
    #[must_use]
    pub fn managed(mut self) -> Prepared {
        self.managed = true;
        self
    }

    /// Runs it from a file of its own, which can be replaced: see [`Daemon::file`].
    ///
    /// # Errors
    /// The binary cannot be copied.
    pub fn from_own_file(mut self) -> Result<Prepared> {
        let own = self.directory.path().join("gateway-binary");
        if fs::hard_link(&self.binary, &own).is_err() {
            fs::copy(&self.binary, &own)?;
        }
        self.file = own;
        Ok(self)
    }

    /// Uses another state directory, which the harness does not make or remove.
    #[must_use]
    pub fn state(mut self, state: &Path) -> Prepared {
        self.state = state.to_owned();
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// It ends, or does not answer in time; the error quotes what it said.
    pub fn start(self) -> Result<Daemon> {
        let mut daemon = self.stopped()?;
        daemon.launch()?;
        daemon.wait_until_ready()?;
        Ok(daemon)
    }

    /// Starts it and waits for its end: for the cases in which it must refuse to run.
    ///
    /// # Errors
    /// It runs on.
    pub fn start_and_fail(self) -> Result<Outcome> {
        let mut daemon = self.stopped()?;
        daemon.launch()?;
        let running = daemon
            .running
            .take()
            .context("the daemon was not launched")?;
        running
            .wait(READY_MAX)
            .context("the daemon should have refused to run")
    }

    /// Everything is written, nothing is started.
    ///
    /// # Errors
    /// The configuration cannot be written.
    pub fn stopped(self) -> Result<Daemon> {
        let root = self.directory.path();
        let config = format!(
            "state_dir = {:?}\ncontrol_socket = {:?}\npolicy_dir = {:?}\n\n\
             [credentials]\nkey_file = {:?}\n\n\
             [capture]\ncgroup_root = {:?}\nbpffs_dir = {:?}\n\n{}",
            self.state,
            root.join("control.sock"),
            root.join("policies"),
            root.join("credentials.key"),
            self.subtree.path(),
            self.bpffs.path().join("gateway"),
            self.extra,
        );
        fs::write(root.join("gateway.toml"), config)?;
        Ok(Daemon {
            running: None,
            said_before: String::new(),
            subtree: self.subtree,
            binary: self.binary,
            file: self.file,
            bpffs: self.bpffs,
            state: self.state,
            directory: self.directory,
            launched: false,
            managed: self.managed,
            may_panic: false,
            may_drop: false,
        })
    }
}

/// A daemon under test. Dropping it stops it, uninstalls it, and fails the test when it panicked.
pub struct Daemon {
    running: Option<Running>,
    /// What earlier processes of this daemon wrote.
    said_before: String,
    subtree: Arc<Subtree>,
    binary: PathBuf,
    file: PathBuf,
    bpffs: Bpffs,
    state: PathBuf,
    directory: TempDir,
    launched: bool,
    managed: bool,
    may_panic: bool,
    may_drop: bool,
}

impl Daemon {
    /// Describes a daemon whose `cgroup_root` is this subtree.
    ///
    /// # Errors
    /// The binary is not built, or its directories or its bpffs cannot be made.
    pub fn prepare(subtree: &Arc<Subtree>) -> Result<Prepared> {
        let binary = place::gateway()?;
        let directory = place::temporary_directory()?;
        fs::create_dir(directory.path().join("policies"))?;
        let bpffs = Bpffs::mount(&directory.path().join("bpf"))?;
        let state = directory.path().join("state");
        Ok(Prepared {
            bpffs,
            directory,
            subtree: subtree.clone(),
            file: binary.clone(),
            binary,
            state,
            extra: String::new(),
            managed: false,
        })
    }

    /// Starts it, and waits for nothing.
    ///
    /// # Errors
    /// It runs already, or cannot be started.
    pub fn launch(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "the daemon runs already");
        // In a subtree only sockets that were made inside it are hooked: the daemon's listener is
        // one of them.
        let cgroup = self.subtree.child("daemon")?;
        let mut command = match self.managed {
            true => {
                let mut manager = job::inside(&cgroup, place::python()?);
                let program = include_str!("manager.py");
                manager.args(["-u", "-c", program]).arg(&self.file);
                manager
            }
            false => job::inside(&cgroup, &self.file),
        };
        command
            .arg("daemon")
            .arg("--config")
            .arg(self.config_file());
        command.env("RUST_BACKTRACE", "1");
        self.running = Some(Running::start(&mut command)?);
        self.launched = true;
        Ok(())
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// It ended, or does not answer in time.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        let mut ended = false;
        let ready = wait::until("the daemon to answer", READY_MAX, || {
            if self.running.as_mut().is_none_or(Running::has_ended) {
                ended = true;
                return Some(());
            }
            // 3 is: no daemon answers. Every other code comes from an answer.
            let status = running::run(self.gateway().arg("status"));
            status.is_ok_and(|status| status.code() != 3).then_some(())
        });
        if ended || ready.is_err() {
            bail!("the daemon did not come up; it said:\n{}", self.said());
        }
        Ok(())
    }

    /// A `gateway` command that talks to this daemon.
    #[must_use]
    pub fn gateway(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env("GATEWAY_CONFIG", self.config_file());
        command
    }

    /// A `gateway` command of another user of this host, who may not be able to see into the build
    /// directory: it runs a copy of the binary.
    ///
    /// # Errors
    /// The binary cannot be copied.
    pub fn gateway_as(&self, uid: u32) -> Result<Command> {
        let copy = self.directory.path().join("gateway");
        if !copy.exists() {
            fs::copy(&self.binary, &copy)?;
            fs::set_permissions(self.directory.path(), Permissions::from_mode(0o755))?;
        }
        let mut command = Command::new("setpriv");
        command
            .args([format!("--reuid={uid}"), format!("--regid={uid}")])
            .args(["--clear-groups", "--"])
            .arg(copy)
            .env("GATEWAY_CONFIG", self.config_file());
        Ok(command)
    }

    /// Runs a `gateway` command to its end.
    ///
    /// # Errors
    /// It does not end.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        running::run(self.gateway().args(arguments))
    }

    /// Runs a `gateway` command with `--json` and returns its objects.
    ///
    /// # Errors
    /// It fails, or a line is no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let outcome = self.run(&[arguments, &["--json"]].concat())?.success()?;
        objects(&outcome)
    }

    /// The operations of the journal, oldest first.
    ///
    /// # Errors
    /// `gateway log` fails.
    pub fn log(&self) -> Result<Vec<Value>> {
        self.json(&["log"])
    }

    /// The sessions of the journal.
    ///
    /// # Errors
    /// `gateway sessions` fails.
    pub fn sessions(&self) -> Result<Vec<Value>> {
        self.json(&["sessions"])
    }

    /// `gateway status --json`, whatever its exit code.
    ///
    /// # Errors
    /// It gives no object.
    pub fn status(&self) -> Result<Value> {
        let outcome = self.run(&["status", "--json"])?;
        objects(&outcome)?
            .into_iter()
            .next()
            .with_context(|| format!("no status: {outcome:?}"))
    }

    /// Its process id.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self
            .running
            .as_ref()
            .context("the daemon does not run")?
            .pid())
    }

    /// Does the process live?
    pub fn is_alive(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|running| !running.has_ended())
    }

    /// Ends it as a crash does: SIGKILL, no chance to clean up.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash(&mut self) -> Result<()> {
        self.end_with(Signal::SIGKILL).map(drop)
    }

    /// Ends it as a fault in its own code does: SIGABRT, which leaves a core dump where one is
    /// allowed.
    ///
    /// # Errors
    /// It does not run.
    pub fn abort(&mut self) -> Result<Outcome> {
        self.end_with(Signal::SIGABRT)
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn terminate(&mut self) -> Result<Outcome> {
        self.end_with(Signal::SIGTERM)
    }

    fn end_with(&mut self, signal: Signal) -> Result<Outcome> {
        let running = self.running.take().context("the daemon does not run")?;
        running.signal(signal)?;
        let outcome = running.wait(PATIENCE)?;
        self.said_before.push_str(&outcome.stdout);
        self.said_before.push_str(&outcome.stderr);
        Ok(outcome)
    }

    /// Sends it a signal, and waits for nothing.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let running = self.running.as_ref();
        running.context("the daemon does not run")?.signal(signal)
    }

    /// Starts it after it ended, with the same directories.
    ///
    /// # Errors
    /// It does not come up.
    pub fn restart(&mut self) -> Result<()> {
        self.launch()?;
        self.wait_until_ready()
    }

    /// Replaces a policy file and has the daemon read the directory again.
    ///
    /// # Errors
    /// The daemon does not run, or never says that it has read them.
    pub fn reload(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.policies().join(format!("{name}.toml")), text)?;
        self.running
            .as_ref()
            .context("the daemon does not run")?
            .signal(Signal::SIGHUP)
    }

    /// The same, and waits until a policy is in force anew: what comes then is judged by it.
    ///
    /// # Errors
    /// The daemon does not run, or takes none of them.
    pub fn put_in_force(&self, name: &str, text: &str) -> Result<()> {
        let count = || self.said().matches("a policy is in force").count();
        let before = count();
        self.reload(name, text)?;
        wait::until_true("a policy to be in force", PATIENCE, || count() > before)
            .with_context(|| self.said())
    }

    /// Where its policies are.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.directory.path().join("policies")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("gateway.toml")
    }

    /// The key of its credentials.
    #[must_use]
    pub fn credentials_key(&self) -> PathBuf {
        self.directory.path().join("credentials.key")
    }

    /// The file that it is started from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Its control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.directory.path().join("control.sock")
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its directory of pins.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpffs.path().join("gateway")
    }

    /// How many entries its pinned hash maps have, by name, as the kernel says.
    ///
    /// # Errors
    /// None is pinned.
    pub fn entries(&self) -> Result<BTreeMap<String, u64>> {
        let mut python = Command::new(place::python()?);
        python.args(["-c", include_str!("maps.py")]);
        python.arg(self.pins().join("maps"));
        let said = running::run(&mut python)?.success()?.stdout;
        let entries: BTreeMap<String, u64> = serde_json::from_str(&said)?;
        ensure!(!entries.is_empty(), "no maps are pinned");
        Ok(entries)
    }

    /// Fills one of its pinned hash maps until it takes no more (`fill`), or takes that out again
    /// (`empty`).
    ///
    /// # Errors
    /// There is no such map.
    pub fn stuff(&self, map: &str, what: &str) -> Result<()> {
        let mut python = Command::new(place::python()?);
        python.args(["-c", include_str!("fill.py")]);
        python.arg(self.pins().join("maps").join(map)).arg(what);
        running::run(&mut python)?.success().map(drop)
    }

    /// Everything that it wrote to its log so far.
    #[must_use]
    pub fn said(&self) -> String {
        let mut said = self.said_before.clone();
        if let Some(running) = &self.running {
            said.push_str(&running.stdout());
            said.push_str(&running.stderr());
        }
        said
    }

    /// This test provokes a panic on purpose.
    pub fn expect_panic(&mut self) {
        self.may_panic = true;
    }

    /// This test sends what only the backstop stops. In every other test a drop of the backstop
    /// means that something before it has failed.
    pub fn expect_backstop_drops(&mut self) {
        self.may_drop = true;
    }

    /// Has the backstop stopped what nothing should have sent?
    fn unexpected_drops(&mut self) -> u64 {
        if self.may_drop || std::thread::panicking() || !self.is_alive() {
            return 0;
        }
        let status = self.status().unwrap_or_default();
        status["losses"]["backstop_drops"].as_u64().unwrap_or(0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let drops = self.unexpected_drops();
        if self.running.is_some() {
            let _ = self.end_with(Signal::SIGTERM);
        }
        // What is in the subtree goes first: `uninstall` would free it for a moment.
        let _ = self
            .subtree
            .child("jobs")
            .and_then(|_| self.subtree.kill("jobs"));
        // One that never ran has nothing to remove, and perhaps no valid configuration either.
        let uninstalled = match self.launched {
            true => self
                .run(&["uninstall"])
                .and_then(Outcome::success)
                .map(drop),
            false => Ok(()),
        };
        if std::thread::panicking() {
            eprintln!("--- what the daemon said ---\n{}", self.said());
            return;
        }
        if let Err(error) = uninstalled {
            eprintln!("left behind: {error:#}");
        }
        let said = self.said();
        assert!(drops == 0, "the backstop stopped {drops} packets:\n{said}");
        assert!(
            self.may_panic || !said.contains("panicked at"),
            "the daemon panicked:\n{said}"
        );
    }
}

/// Is this a statement that ran, or was to run? A driver that prepares has each text recorded twice:
/// when the server parses it, and each time that it is executed.
#[must_use]
pub fn was_executed(operation: &Value) -> bool {
    operation["attributes"]["sql.phase"] != "parse"
}

/// The objects of a command's output, one a line.
///
/// # Errors
/// A line is no JSON.
pub fn objects(outcome: &Outcome) -> Result<Vec<Value>> {
    let lines = outcome.stdout.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("`{}` wrote {line:?}", outcome.line))
        })
        .collect()
}

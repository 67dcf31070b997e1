//! The life of the daemon: up, ready, told, drained, gone.
use super::handover::{Estate, Predecessor, Successor};
use super::notify::Manager;
use super::parts::{Origin, Parts, bring_up};
use super::signals::{Signals, Told};
use super::state::State;
use super::threads::Threads;
use super::watch::{Changed, watch};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::moment;
use crate::wiring::boundaries::Boundaries;
use crate::wiring::follower::Follower;
use crate::wiring::governance::Governance;
use crate::wiring::namespaces::Namespaces;
use crate::wiring::remote::Port;
use gateway_approvals::Approvals;
use gateway_capture::Capture;
use gateway_policy::ReloadReport;
use gateway_proxy::Proxy;
use gateway_recording::{Journal, Note, NoteKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Why the daemon ends.
enum Ended {
    /// It was told to.
    Told,
    /// Another one takes over.
    Replaced(Successor),
    /// A part of it died. The kernel keeps governed trees cut off until it is back.
    Broken(&'static str),
}

/// What was accepted a moment before has been attributed after this time: the kernel's reports are
/// the successor's then.
const SETTLE: Duration = Duration::from_millis(100);

/// From the start to the end.
pub(super) async fn live(config: &Config, origin: Origin) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let manager = Manager::from_environment();
    let (parts, lineage_file) = bring_up(config, origin)?;
    if parts
        .predecessor
        .as_ref()
        .is_some_and(|earlier| !earlier.dismiss())
    {
        let text = "the daemon before this one died while it handed over";
        return Err(Failure::no(text));
    }
    let (fatal, mut broken) = mpsc::channel(4);
    let threads = Threads::start(&parts, lineage_file, fatal)?;
    let (changed, mut changes) = mpsc::channel(1);
    watch(config.policy_dir.clone(), changed)?;

    let Parts {
        ports,
        remote,
        socket,
        proxy,
        follower,
        governance,
        boundaries,
        namespaces,
        capture,
        journal,
        predecessor,
        approvals,
        ending,
        state,
        ..
    } = parts;
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let (stop_remote, remote_stopped) = oneshot::channel::<()>();
    if let Some((port, others)) = remote {
        let limits = remote_limits(config);
        let served = serve_remote(port, ports.clone(), others, limits, remote_stopped);
        tokio::spawn(served);
    }
    let served = gateway_control::serve(socket, ports, control_limits(config), stopped);
    let mut served = tokio::spawn(served);
    let ruler = Ruler {
        manager,
        governance,
        boundaries,
        namespaces,
        journal,
        predecessor,
        capture: Arc::clone(&capture),
    };
    ruler.begin();
    let ended = ruler
        .rule(&mut signals, &mut changes, &mut broken, &mut served)
        .await;
    ending.store(true, Ordering::Release);
    let console = Console {
        stop,
        stop_remote,
        served,
    };
    let leaving = Leaving {
        config,
        ruler,
        proxy,
        follower,
        capture,
        approvals,
        threads,
        console,
        state,
    };
    match ended {
        Ended::Told => leaving.end(&mut signals).await,
        Ended::Replaced(successor) => return leaving.give_way(&mut signals, successor).await,
        Ended::Broken(part) => {
            leaving.end(&mut signals).await;
            return Err(Failure::no(format!("{part} died; the log says why")));
        }
    }
    Ok(Exit::Done)
}

/// The control API.
struct Console {
    stop: oneshot::Sender<()>,
    stop_remote: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Console {
    async fn close(self) {
        let _ = self.stop_remote.send(());
        let _ = self.stop.send(());
        if !self.served.is_finished() {
            let _ = self.served.await;
        }
    }
}

/// What is left to do when the daemon goes.
struct Leaving<'a> {
    config: &'a Config,
    ruler: Ruler,
    proxy: Arc<Proxy>,
    follower: Arc<Follower>,
    capture: Arc<Capture>,
    approvals: Arc<Approvals>,
    threads: Threads,
    console: Console,
    state: State,
}

impl Leaving<'_> {
    /// Sessions have their time, then everything ends.
    async fn end(self, signals: &mut Signals) {
        self.ruler.manager.stopping();
        tracing::info!("ending");
        if let Some(earlier) = &self.ruler.predecessor {
            earlier.end("this one ends");
        }
        self.capture.close_copies();
        let second = async { while signals.next().await != Told::End {} };
        tokio::select! {
            () = self.proxy.drain(self.config.limits.drain) => {}
            () = second => tracing::warn!("told twice: sessions are not waited for"),
        }
        if let Some(earlier) = &self.ruler.predecessor {
            // Its last records are written here.
            earlier.wait().await;
        }
        self.console.close().await;
        self.threads.end();
        // The last owner ends what is left of the sessions, which writes their last records.
        drop(self.proxy);
        self.ruler.end();
        drop(self.state);
    }

    /// Hands everything to a successor but the sessions, which have their time here.
    async fn give_way(self, signals: &mut Signals, successor: Successor) -> Result<Exit, Failure> {
        tracing::info!(pid = successor.pid(), "giving way");
        // What connects from here on waits at the listeners.
        self.proxy.stop_accepting().await;
        self.console.close().await;
        tokio::time::sleep(SETTLE).await;
        self.ruler.namespaces.close();
        self.follower.close();
        self.threads.end();
        let estate = Estate::new(
            self.state.share()?,
            self.capture.copies()?,
            self.proxy.sessions(),
            Arc::clone(&self.ruler.journal),
        );
        self.capture.close_copies();
        let manager = &self.ruler.manager;
        let successor = install(manager, successor, &estate);
        let successor = match successor {
            Ok(successor) => successor,
            Err(error) => {
                estate.lose();
                drop(self.proxy);
                self.ruler.end();
                let text =
                    format!("no daemon could take over: {error}; governed trees are cut off");
                return Err(Failure::no(text));
            }
        };
        self.ruler.journal.let_go();
        self.state.forsake();
        // As in a restart: who could answer asks the new daemon now.
        self.approvals.deny_everything("the gateway was replaced");
        let (told, ends) = oneshot::channel();
        let successor = Arc::new(successor);
        let (served, server) = (Arc::clone(&self.proxy), Arc::clone(&successor));
        std::thread::spawn(move || {
            server.serve(&served);
            drop(served);
            let _ = told.send(());
        });
        let second = async { while signals.next().await != Told::End {} };
        tokio::select! {
            () = self.proxy.drain(self.config.limits.drain) => {}
            () = second => tracing::warn!("told to end: sessions are not waited for"),
            _ = ends => self.proxy.drain(Duration::ZERO).await,
        }
        let _answered = successor.after_answers();
        tracing::info!("the sessions of this daemon have ended; it is replaced");
        Ok(Exit::Done)
    }
}

/// Has a successor take over: this one, or when it fails, one more of this daemon's own build.
fn install(manager: &Manager, called: Successor, estate: &Estate) -> std::io::Result<Successor> {
    let own = || Successor::call(Path::new("/proc/self/exe"));
    let mut failed = None;
    for call in [
        Box::new(move || Ok(called)) as Box<dyn FnOnce() -> _>,
        Box::new(own),
    ] {
        let installed = call().and_then(|mut successor: Successor| {
            let main = |pid| manager.main_is(pid);
            successor.install(estate, main).map(|()| successor)
        });
        match installed {
            Ok(successor) => return Ok(successor),
            Err(error) => {
                tracing::error!(%error, "a daemon did not take over");
                failed = Some(error);
            }
        }
    }
    Err(failed.unwrap_or_else(|| std::io::Error::other("there was none")))
}

/// What the daemon is told, and whom it tells.
struct Ruler {
    manager: Manager,
    governance: Arc<Governance>,
    boundaries: Arc<Boundaries>,
    namespaces: Arc<Namespaces>,
    journal: Arc<Journal>,
    /// The daemon before this one, while it drains.
    predecessor: Option<Arc<Predecessor>>,
    capture: Arc<Capture>,
}

impl Ruler {
    fn begin(&self) {
        self.note(
            NoteKind::Start,
            format!("gateway {} started", env!("CARGO_PKG_VERSION")),
        );
        report(&self.governance.policies().report());
        self.keep_listeners();
        self.manager.ready(&self.status());
        crate::memory::give_back();
        tracing::info!("ready: {}", self.status());
    }

    /// Reads the policies anew whenever it has to, until the end.
    async fn rule(
        &self,
        signals: &mut Signals,
        changes: &mut mpsc::Receiver<Changed>,
        broken: &mut mpsc::Receiver<&'static str>,
        served: &mut JoinHandle<()>,
    ) -> Ended {
        loop {
            tokio::select! {
                told = signals.next() => match told {
                    Told::End => return Ended::Told,
                    Told::Reload => {}
                    Told::Upgrade => match self.call_successor().await {
                        Ok(successor) => return Ended::Replaced(successor),
                        Err(error) => {
                            tracing::error!(%error, "no daemon can take over; this one goes on");
                            continue;
                        }
                    },
                },
                Some(_) = changes.recv() => {}
                Some(part) = broken.recv() => return Ended::Broken(part),
                _ = &mut *served => return Ended::Broken("the control API"),
            }
            self.reload().await;
        }
    }

    /// Starts the file that this daemon was started from, as it is now.
    async fn call_successor(&self) -> std::io::Result<Successor> {
        // Its records come by way of this one.
        if self
            .predecessor
            .as_ref()
            .is_some_and(|earlier| earlier.is_there())
        {
            let text = "the daemon before this one still has sessions";
            return Err(std::io::Error::other(text));
        }
        let file = std::env::current_exe()?;
        // The kernel says so of a file that was replaced.
        let file = file.to_string_lossy();
        let file = PathBuf::from(file.strip_suffix(" (deleted)").unwrap_or(&file));
        let called = tokio::task::spawn_blocking(move || Successor::call(&file)).await;
        called.map_err(std::io::Error::other)?
    }

    async fn reload(&self) {
        self.manager.reloading();
        let governance = Arc::clone(&self.governance);
        let boundaries = Arc::clone(&self.boundaries);
        let namespaces = Arc::clone(&self.namespaces);
        let predecessor = self.predecessor.clone();
        let reload = move || {
            // Its sessions would go on by the rules from before.
            if let Some(earlier) = predecessor {
                earlier.end("the policies are read anew");
            }
            let reloaded = governance.reload();
            boundaries.review();
            namespaces.review();
            reloaded
        };
        match tokio::task::spawn_blocking(reload).await {
            Ok(reloaded) => {
                report(&reloaded);
                self.note(NoteKind::Policy, summary(&reloaded));
            }
            Err(error) => tracing::error!(%error, "a reload failed; what was in force stays so"),
        }
        self.keep_listeners();
        self.manager.ready(&self.status());
    }

    /// The service manager keeps the listeners, so that what connects while no daemon is there
    /// waits. Under a policy that lets trees pass when the daemon is dead it must not wait.
    fn keep_listeners(&self) {
        let mut policies = self.governance.policies().set().summaries().into_iter();
        if policies.any(|policy| policy.posture.allow_after.is_some()) {
            return self.manager.keep(&[]);
        }
        match self.capture.copies_here() {
            Ok(copies) => self.manager.keep(&copies),
            Err(error) => tracing::warn!(%error, "the listeners cannot be kept"),
        }
    }

    fn end(self) {
        self.note(NoteKind::Stop, "the gateway ended".to_owned());
        if let Err(error) = self.journal.sync() {
            tracing::error!(%error, "the journal could not be brought to the disk");
        }
    }

    fn status(&self) -> String {
        let count = self.governance.policies().set().summaries().len();
        format!(
            "{count} {} in force",
            if count == 1 { "policy" } else { "policies" }
        )
    }

    fn note(&self, kind: NoteKind, text: String) {
        let note = Note {
            time: moment::now(),
            kind,
            text,
        };
        if let Err(error) = self.journal.note(&note) {
            tracing::error!(%error, "a note could not be recorded");
        }
    }
}

/// When it ends, it has failed; the socket is still there.
async fn serve_remote(
    port: Port,
    ports: gateway_control::Ports,
    others: gateway_control::RemotePorts,
    limits: gateway_control::RemoteLimits,
    stopped: oneshot::Receiver<()>,
) {
    let stopped = async {
        let _ = stopped.await;
    };
    let Port { listener, tls } = port;
    let served = gateway_control::serve_remote(listener, tls, ports, others, limits, stopped);
    if let Err(error) = served.await {
        tracing::error!(%error, "the control API is not served by network any more");
    }
}

/// The same for each request; its head has room for a token.
fn remote_limits(config: &Config) -> gateway_control::RemoteLimits {
    let limits = gateway_control::RemoteLimits::default();
    gateway_control::RemoteLimits {
        requests: gateway_control::Limits {
            head_bytes_max: limits.requests.head_bytes_max,
            ..control_limits(config)
        },
        ..limits
    }
}

fn control_limits(config: &Config) -> gateway_control::Limits {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    gateway_control::Limits {
        connections_max: config.limits.control_connections,
        followers_max: config.limits.control_followers,
        request_ms_max: millis(config.limits.control_request),
        stall_ms_max: millis(config.limits.control_stall),
        ..gateway_control::Limits::default()
    }
}

/// Says in the log what a load of the policy directory did.
fn report(report: &ReloadReport) {
    for policy in &report.loaded {
        tracing::info!(name = %policy.name, mode = %policy.mode, file = %policy.file, "a policy is in force");
    }
    for diagnostic in &report.diagnostics {
        tracing::error!("a policy file is rejected: {diagnostic}");
    }
    for file in &report.rejected {
        match &file.kept {
            Some(kept) => {
                tracing::error!(file = %file.file, %kept, "the last good version stays in force");
            }
            None => tracing::error!(file = %file.file, "it is not in force"),
        }
    }
    for name in &report.removed {
        tracing::warn!(%name, "a policy is gone; trees under it stay governed and are denied");
    }
    if let Some(reason) = &report.unsaved {
        tracing::error!(reason, "the policies could not be kept for the next start");
    }
    if report.loaded.is_empty() {
        tracing::warn!("no policy is in force: nothing new is governed");
    }
}

/// The same in a line, for the journal. Names only.
fn summary(report: &ReloadReport) -> String {
    let names: Vec<&str> = report.loaded.iter().map(|policy| &*policy.name).collect();
    let rejected: Vec<&str> = report.rejected.iter().map(|file| &*file.file).collect();
    let names = names.join(", ");
    match rejected.is_empty() {
        true => format!("policies in force: {names}"),
        false => format!(
            "policies in force: {names}; files rejected: {}",
            rejected.join(", ")
        ),
    }
}

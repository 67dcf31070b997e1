//! The life of the daemon: up, ready, told, drained, gone.
use super::notify::Manager;
use super::parts::{Parts, bring_up};
use super::signals::{Signals, Told};
use super::threads::Threads;
use super::watch::{Changed, watch};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::moment;
use crate::wiring::boundaries::Boundaries;
use crate::wiring::governance::Governance;
use crate::wiring::namespaces::Namespaces;
use crate::wiring::remote::Port;
use gateway_policy::ReloadReport;
use gateway_recording::{Journal, Note, NoteKind};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Why the daemon ends.
enum Ended {
    /// It was told to.
    Told,
    /// A part of it died. The kernel keeps governed trees cut off until it is back.
    Broken(&'static str),
}

/// From the start to the end.
pub(super) async fn live(config: &Config, kept: Vec<OwnedFd>) -> Result<Exit, Failure> {
    let mut signals = Signals::listen()?;
    let manager = Manager::from_environment();
    let (parts, lineage_file) = bring_up(config, &manager, kept)?;
    let (fatal, broken) = mpsc::channel(4);
    let threads = Threads::start(&parts, lineage_file, fatal)?;
    let (changed, changes) = mpsc::channel(1);
    watch(config.policy_dir.clone(), changed)?;

    let Parts {
        ports,
        remote,
        socket,
        proxy,
        governance,
        boundaries,
        namespaces,
        journal,
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
    };
    ruler.begin();
    let ended = ruler.rule(&mut signals, changes, broken, &mut served).await;

    ending.store(true, Ordering::Release);
    ruler.manager.stopping();
    tracing::info!("ending");
    let second = async { while signals.next().await != Told::End {} };
    tokio::select! {
        () = proxy.drain(config.limits.drain) => {}
        () = second => tracing::warn!("told twice: sessions are not waited for"),
    }
    let _ = stop_remote.send(());
    let _ = stop.send(());
    if !served.is_finished() {
        let _ = served.await;
    }
    threads.end();
    // The last owner ends what is left of the sessions, which writes their last records.
    drop(proxy);
    ruler.end();
    drop(state);
    match ended {
        Ended::Told => Ok(Exit::Done),
        Ended::Broken(part) => Err(Failure::no(format!("{part} died; the log says why"))),
    }
}

/// What the daemon is told, and whom it tells.
struct Ruler {
    manager: Manager,
    governance: Arc<Governance>,
    boundaries: Arc<Boundaries>,
    namespaces: Arc<Namespaces>,
    journal: Arc<Journal>,
}

impl Ruler {
    fn begin(&self) {
        self.note(
            NoteKind::Start,
            format!("gateway {} started", env!("CARGO_PKG_VERSION")),
        );
        report(&self.governance.policies().report());
        self.manager.ready(&self.status());
        crate::memory::give_back();
        tracing::info!("ready: {}", self.status());
    }

    /// Reads the policies anew whenever it has to, until the end.
    async fn rule(
        &self,
        signals: &mut Signals,
        mut changes: mpsc::Receiver<Changed>,
        mut broken: mpsc::Receiver<&'static str>,
        served: &mut JoinHandle<()>,
    ) -> Ended {
        loop {
            tokio::select! {
                told = signals.next() => match told {
                    Told::End => return Ended::Told,
                    Told::Reload => {}
                },
                Some(_) = changes.recv() => {}
                Some(part) = broken.recv() => return Ended::Broken(part),
                _ = &mut *served => return Ended::Broken("the control API"),
            }
            self.reload().await;
        }
    }

    async fn reload(&self) {
        self.manager.reloading();
        let governance = Arc::clone(&self.governance);
        let boundaries = Arc::clone(&self.boundaries);
        let namespaces = Arc::clone(&self.namespaces);
        let reload = move || {
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
        self.manager.ready(&self.status());
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

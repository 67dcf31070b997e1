//! Brings the parts up, each before those that need it. The gate opens last: until the listeners
//! are there, governed connections are refused.
use super::state::{State, make_directory};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::moment;
use crate::wiring::archive::JournalArchive;
use crate::wiring::attribution::Attributor;
use crate::wiring::callers::TaggedCallers;
use crate::wiring::capture::KernelFlows;
use crate::wiring::cgroups::{self, RunCgroups};
use crate::wiring::follower::Follower;
use crate::wiring::governance::Governance;
use crate::wiring::identity::Principals;
use crate::wiring::launcher::TreeLauncher;
use crate::wiring::lineage::Shown;
use crate::wiring::measure::{CountedRecorder, TimedJudge};
use crate::wiring::overview::{Health, SessionSwitch};
use crate::wiring::protocols;
use gateway_capture::{Capture, CaptureError, CaptureOptions};
use gateway_control::{ControlSocket, Ports};
use gateway_lineage::{CgroupNames, Forest, Limits as LineageLimits, StateFile, SystemProc};
use gateway_policy::Policies;
use gateway_proxy::{Proxy, ProxyLimits, SystemClock};
use gateway_recording::{Durability, Indexer, Journal, JournalError, JournalOptions, Reader};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A segment holds at least this, in bytes.
const SEGMENT_BYTES_MIN: usize = 64 << 20;
/// What a record has around its longest statement, in bytes.
const RECORD_BYTES_MORE: usize = 32 << 20;
/// resolv.conf(5) knows three; some resolvers know more.
const RESOLVERS_MAX: usize = 16;
/// Descriptors beside those of sessions.
const DESCRIPTORS_MORE: u64 = 4096;
/// A session has two sockets, and for a moment a third.
const DESCRIPTORS_PER_SESSION: u64 = 3;

/// Everything that lives as long as the daemon does. Dropped from the top.
pub(super) struct Parts {
    pub(super) ports: Ports,
    pub(super) socket: ControlSocket,
    pub(super) proxy: Arc<Proxy>,
    pub(super) follower: Arc<Follower>,
    pub(super) governance: Arc<Governance>,
    pub(super) capture: Arc<Capture>,
    pub(super) forest: Arc<Forest>,
    pub(super) principals: Arc<Principals>,
    pub(super) runs: Arc<RunCgroups>,
    pub(super) journal: Arc<Journal>,
    pub(super) ending: Arc<AtomicBool>,
    pub(super) state: State,
}

fn capture_failure(error: CaptureError) -> Failure {
    let exit = match &error {
        CaptureError::NotPermitted { .. } => Exit::NotPermitted,
        _ => Exit::Usage,
    };
    Failure {
        exit,
        message: error.to_string(),
    }
}

fn journal_failure(error: JournalError) -> Failure {
    match &error {
        JournalError::Full { .. } => Failure::no(format!(
            "{error}; free some space, or put state_dir elsewhere"
        )),
        JournalError::Io { .. } => Failure::no(error.to_string()),
        _ => Failure::usage(error.to_string()),
    }
}

/// What was made before the kernel half.
struct Ground {
    state: State,
    socket: ControlSocket,
    policies: Arc<Policies>,
    journal: Arc<Journal>,
    archive: Arc<JournalArchive>,
    notes: Vec<String>,
}

fn lay_ground(config: &Config) -> Result<Ground, Failure> {
    let few = raise_descriptors(config.limits.sessions);
    let state = State::open(&config.state_dir)?;
    if let Some(above) = config.control_socket.parent() {
        make_directory(above, 0o755)?;
    }
    let socket = ControlSocket::bind(&config.control_socket)
        .map_err(|error| Failure::usage(error.to_string()))?;
    if config.file.is_none() {
        // Without a configuration there may be no policies either: nothing is governed then.
        make_directory(&config.policy_dir, 0o755)?;
    }
    let policies = Policies::open(&config.policy_dir, &config.state_dir)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let (journal, mut notes) = open_journal(config)?;
    notes.extend(few);
    let reader = Reader::open(config.journal_dir())
        .map_err(|error| Failure::no(format!("the journal cannot be read: {error}")))?;
    let indexer = Indexer::start(config.state_dir.join("index"), reader.clone())?;
    let archive = Arc::new(JournalArchive::of_daemon(reader, indexer));
    if policies.set().is_empty() {
        notes.push(format!(
            "no policies in {}: nothing is governed",
            config.policy_dir.display()
        ));
    }
    let policies = Arc::new(policies);
    Ok(Ground {
        state,
        socket,
        policies,
        journal,
        archive,
        notes,
    })
}

fn open_journal(config: &Config) -> Result<(Arc<Journal>, Vec<String>), Failure> {
    let seed = getrandom::u64().map_err(|error| Failure::no(format!("no randomness: {error}")))?;
    let mut options = JournalOptions::new(config.journal_dir(), Arc::new(moment::now), seed);
    let longest = config
        .limits
        .statement_bytes
        .saturating_add(RECORD_BYTES_MORE);
    options.segment_bytes = longest.max(SEGMENT_BYTES_MIN) as u64;
    options.wait_max = config.limits.journal_wait;
    options.durability = match config.durability {
        time if time.is_zero() => Durability::Always,
        time => Durability::Within(time),
    };
    let (journal, recovered) = Journal::open(options).map_err(journal_failure)?;
    let mut notes = Vec::new();
    if !recovered.is_clean() {
        tracing::warn!(%recovered, "the journal was not closed cleanly");
        notes.push(format!("the journal: {recovered}"));
    }
    Ok((Arc::new(journal), notes))
}

/// Brings everything up.
pub(super) fn bring_up(config: &Config) -> Result<(Parts, StateFile), Failure> {
    let started = moment::now();
    let ground = lay_ground(config)?;
    let options = CaptureOptions {
        cgroup_root: config.cgroup_root.clone(),
        bpffs_dir: config.bpffs_dir.clone(),
        resolvers: resolvers(),
    };
    let (capture, attached) = Capture::start(&options).map_err(capture_failure)?;
    let capture = Arc::new(capture);
    tracing::info!(
        taken_over = attached.taken_over,
        "the programs are attached"
    );
    let runs = Arc::new(run_cgroups(config, &capture, &ground.state)?);
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let (forest, lineage_file) = lineage(config, &capture, &boot_id);
    let principals = Arc::new(Principals::open(&config.state_dir, boot_id.trim())?);
    let governance = Arc::new(Governance::new(
        Arc::clone(&ground.policies),
        Arc::clone(&capture),
        &config.state_dir,
    ));
    let events = capture
        .events()
        .ok_or_else(|| Failure::no("the kernel's reports are taken"))?;
    let follower = Follower::new(
        events,
        Arc::clone(&capture),
        Arc::clone(&forest),
        Arc::clone(&principals),
        Arc::clone(&ground.journal),
    );
    let follower = Arc::new(follower.map_err(capture_failure)?);
    governance.apply().map_err(capture_failure)?;
    let repaired = follower.repair().map_err(capture_failure)?;
    tracing::debug!(?repaired, "the lineage agrees with the kernel");
    if let Err(error) = principals.keep_only(&forest.trees()) {
        tracing::error!(%error, "the identities could not be saved");
    }

    let counted = protocols::names();
    let recorder = Arc::new(CountedRecorder::new(
        Arc::clone(&ground.journal) as _,
        counted,
    ));
    let judge = Arc::new(TimedJudge::new(Arc::clone(&ground.policies) as _));
    let attribution = Attributor {
        follower: Arc::clone(&follower),
        forest: Arc::clone(&forest),
        principals: Arc::clone(&principals),
        governance: Arc::clone(&governance),
    };
    let proxy_ports = gateway_proxy::Ports {
        capture: Arc::new(KernelFlows(Arc::clone(&capture))),
        attribution: Arc::new(attribution),
        judge: Arc::clone(&judge) as _,
        recorder: Arc::clone(&recorder) as _,
        clock: Arc::new(SystemClock),
        protocols: protocols::all(&config.limits),
    };
    let listeners = capture.listen().map_err(capture_failure)?;
    let proxy = Proxy::start(listeners, proxy_ports, proxy_limits(config))
        .map_err(|error| Failure::no(error.to_string()))?;
    let proxy = Arc::new(proxy);

    let ending = Arc::new(AtomicBool::new(false));
    let callers = Arc::new(TaggedCallers {
        capture: Arc::clone(&capture),
        governance: Arc::clone(&governance),
        follower: Arc::clone(&follower),
        forest: Arc::clone(&forest),
    });
    let shown = Arc::new(Shown {
        forest: Arc::clone(&forest),
        principals: Arc::clone(&principals),
        governance: Arc::clone(&governance),
        proxy: Arc::clone(&proxy),
        archive: Arc::clone(&ground.archive),
        runs: Arc::clone(&runs),
    });
    let health = Health {
        config: config.clone(),
        started,
        capture: Arc::clone(&capture),
        forest: Arc::clone(&forest),
        governance: Arc::clone(&governance),
        proxy: Arc::clone(&proxy),
        recorder,
        judge,
        notes: ground.notes,
        ending: Arc::clone(&ending),
    };
    let launcher = TreeLauncher {
        callers: Arc::clone(&callers),
        forest: Arc::clone(&forest),
        principals: Arc::clone(&principals),
        runs: Arc::clone(&runs),
    };
    let ports = Ports {
        callers,
        overview: Arc::new(health),
        trees: Arc::clone(&shown) as _,
        archive: ground.archive,
        switch: Arc::new(SessionSwitch {
            proxy: Arc::clone(&proxy),
            shown,
        }),
        launcher: Arc::new(launcher),
    };
    let parts = Parts {
        ports,
        socket: ground.socket,
        proxy,
        follower,
        governance,
        capture,
        forest,
        principals,
        runs,
        journal: ground.journal,
        ending,
        state: ground.state,
    };
    Ok((parts, lineage_file))
}

fn proxy_limits(config: &Config) -> ProxyLimits {
    let limits = &config.limits;
    ProxyLimits {
        sessions: limits.sessions,
        workers: limits.workers,
        dial: limits.dial,
        recognise: limits.recognise,
        opening_bytes_max: limits.opening_bytes,
        refusal: limits.refusal,
        linger: limits.linger,
        opaque_idle: limits.opaque_idle,
    }
}

fn lineage(config: &Config, capture: &Capture, boot_id: &str) -> (Arc<Forest>, StateFile) {
    let limits = LineageLimits {
        processes_max: config.limits.processes,
        detail_bytes_max: config.limits.lineage_bytes,
        grace_ns: u64::try_from(config.limits.exited_grace.as_nanos()).unwrap_or(u64::MAX),
        departed_max: config.limits.exited,
    };
    let root = capture.root();
    let cgroups = Arc::new(CgroupNames::new(&root.mount, &root.directory));
    let forest = Forest::new(limits, Box::new(SystemProc::new()), cgroups);
    let file = StateFile::new(&config.state_dir, boot_id);
    let restored = forest.restore(&file);
    match &restored.note {
        Some(note) => tracing::info!(trees = restored.trees, %note, "lineage"),
        None => tracing::info!(
            trees = restored.trees,
            processes = restored.processes,
            "lineage"
        ),
    }
    (Arc::new(forest), file)
}

fn run_cgroups(config: &Config, capture: &Capture, state: &State) -> Result<RunCgroups, Failure> {
    let root = capture.root();
    let delegated = config
        .cgroup_root
        .is_none()
        .then(|| cgroups::delegated(&root.mount))
        .flatten();
    let keep = delegated.is_some();
    let base = delegated.unwrap_or_else(|| root.directory.join("gateway"));
    state.remember_runs(&base, keep)?;
    Ok(RunCgroups::new(base, &root.mount, config.limits.runs))
}

/// The servers of resolv.conf(5), at the start of the daemon.
fn resolvers() -> Vec<IpAddr> {
    match std::fs::read_to_string(Path::new("/etc/resolv.conf")) {
        Ok(text) => parse_resolvers(&text),
        Err(error) => {
            tracing::warn!(%error, "/etc/resolv.conf: governed processes cannot ask for names");
            Vec::new()
        }
    }
}

fn parse_resolvers(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let server = words
            .next()
            .filter(|key| *key == "nameserver")
            .and_then(|_| words.next())?;
        server.parse().ok()
    });
    servers.take(RESOLVERS_MAX).collect()
}

/// Sessions need descriptors; root may have as many as the kernel allows.
fn raise_descriptors(sessions: usize) -> Option<String> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let sessions = u64::try_from(sessions).unwrap_or(u64::MAX);
    let wanted = sessions
        .saturating_mul(DESCRIPTORS_PER_SESSION)
        .saturating_add(DESCRIPTORS_MORE);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft >= wanted || setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok() {
        return None;
    }
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    let note = format!("{hard} descriptors are allowed; limits.sessions may need {wanted}");
    tracing::warn!("{note}");
    Some(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 9.9.9.9\nsearch a b\nnameserver 10.0.0.1\nnameserver\t::1 x\n\
                    nameserver nonsense\n nameserver 10.0.0.2\nnameserver\n";
        let expected: Vec<IpAddr> = ["10.0.0.1", "::1", "10.0.0.2"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        assert_eq!(parse_resolvers(text), expected);
    }
}

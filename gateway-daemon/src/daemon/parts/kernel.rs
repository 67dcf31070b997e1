//! The kernel half with what follows it: lineage, identities, and the policies that it governs by.
use super::super::state::State;
use super::ground::Ground;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::wiring::before::Before;
use crate::wiring::boundaries::Boundaries;
use crate::wiring::cgroups::{self, RunCgroups};
use crate::wiring::follower::{Follower, Watchers};
use crate::wiring::governance::Governance;
use crate::wiring::guard;
use crate::wiring::identity::Principals;
use crate::wiring::namespaces::Namespaces;
use crate::wiring::tokens;
use gateway_capture::{Capture, CaptureError, CaptureOptions};
use gateway_lineage::{CgroupNames, Forest, Limits as LineageLimits, StateFile, SystemProc};
use std::os::fd::AsFd;
use std::sync::Arc;

/// What knows the governed processes.
pub(super) struct Kernel {
    pub(super) capture: Arc<Capture>,
    pub(super) forest: Arc<Forest>,
    pub(super) principals: Arc<Principals>,
    pub(super) governance: Arc<Governance>,
    pub(super) boundaries: Arc<Boundaries>,
    pub(super) namespaces: Arc<Namespaces>,
    pub(super) before: Arc<Before>,
    pub(super) follower: Arc<Follower>,
    pub(super) runs: Arc<RunCgroups>,
    pub(super) lineage_file: StateFile,
}

pub(super) fn capture_failure(error: CaptureError) -> Failure {
    let exit = match &error {
        CaptureError::NotPermitted { .. } => Exit::NotPermitted,
        _ => Exit::Usage,
    };
    Failure {
        exit,
        message: error.to_string(),
    }
}

/// Attaches the programs or takes them over, and knows every governed process when it returns.
pub(super) fn attach(config: &Config, ground: &Ground) -> Result<Kernel, Failure> {
    let options = CaptureOptions {
        cgroup_root: config.cgroup_root.clone(),
        bpffs_dir: config.bpffs_dir.clone(),
        object: config.object(),
        draining: ground.predecessor.is_some(),
    };
    let (capture, attached) = Capture::start(&options).map_err(capture_failure)?;
    let capture = Arc::new(capture);
    tracing::info!(
        taken_over = attached.taken_over,
        "the programs are attached"
    );
    match capture.sealed() {
        Ok(()) => tracing::info!("the programs of BPF LSM are attached: the tier is seal"),
        Err(reason) => tracing::info!(reason, "the tier is attest, and not seal"),
    }
    capture
        .own_socket(ground.socket.as_fd())
        .map_err(capture_failure)?;
    capture
        .guard(&guard::files(config))
        .map_err(capture_failure)?;
    let runs = Arc::new(run_cgroups(config, &capture, &ground.state)?);
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let (forest, lineage_file) = lineage(config, &capture, &boot_id);
    let issuers = tokens::issuers(&config.issuers).map_err(Failure::usage)?;
    let state_dir = &config.state_dir;
    let principals = Principals::open(
        issuers,
        config.ci_variables.clone(),
        state_dir,
        boot_id.trim(),
        &forest,
        &capture,
    )?;
    let principals = Arc::new(principals);
    let policies = Arc::clone(&ground.policies);
    let before = Before::new(Arc::clone(&capture), Arc::clone(&ground.journal));
    let before = Arc::new(before);
    let governance = Governance::new(
        policies,
        Arc::clone(&capture),
        Arc::clone(&before),
        &config.state_dir,
    );
    let governance = Arc::new(governance);
    let events = capture
        .events()
        .ok_or_else(|| Failure::no("the kernel's reports are taken"))?;
    let boundaries = Boundaries::start(&capture, &governance, &forest, &principals)?;
    let boundaries = Arc::new(boundaries);
    let namespaces = Namespaces::start(&capture, config.limits.namespaces)?;
    let namespaces = Arc::new(namespaces);
    let follower = Follower::new(
        events,
        Arc::clone(&capture),
        Arc::clone(&forest),
        Arc::clone(&principals),
        Watchers {
            boundaries: Arc::clone(&boundaries),
            namespaces: Arc::clone(&namespaces),
            before: Arc::clone(&before),
        },
        Arc::clone(&ground.journal),
    );
    let follower = Arc::new(follower.map_err(capture_failure)?);
    governance.apply().map_err(capture_failure)?;
    let repaired = follower.repair().map_err(capture_failure)?;
    tracing::debug!(?repaired, "the lineage agrees with the kernel");
    boundaries.review();
    if let Err(error) = principals.keep_only(&forest.trees()) {
        tracing::error!(%error, "the identities could not be saved");
    }
    Ok(Kernel {
        capture,
        forest,
        principals,
        governance,
        boundaries,
        namespaces,
        before,
        follower,
        runs,
        lineage_file,
    })
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

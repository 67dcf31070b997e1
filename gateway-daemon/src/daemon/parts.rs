//! Brings the parts up, each before those that need it. The gate opens last: until the listeners
//! are there, governed connections are refused.
mod gate;
mod ground;
mod kernel;

use super::handover::{Held, Predecessor};
use super::state::State;
use crate::config::{Config, Remote};
use crate::exit::Failure;
use crate::terminal::moment;
use crate::wiring::acts::Acts;
use crate::wiring::approvals::Questions;
use crate::wiring::before::Before;
use crate::wiring::boundaries::Boundaries;
use crate::wiring::callers::TaggedCallers;
use crate::wiring::cgroups::RunCgroups;
use crate::wiring::columns::ColumnsFile;
use crate::wiring::follower::Follower;
use crate::wiring::governance::Governance;
use crate::wiring::identity::Principals;
use crate::wiring::launcher::TreeLauncher;
use crate::wiring::lineage::Shown;
use crate::wiring::login::{Places, TreeLogins};
use crate::wiring::namespaces::Namespaces;
use crate::wiring::overview::{Health, SessionSwitch};
use crate::wiring::page::{KernelEntropy, QuestionPage};
use crate::wiring::people::People;
use crate::wiring::remote::{self, Bearers, Port, Provisioning};
use crate::wiring::revoker::Revocation;
use crate::wiring::sign_in::SignInWith;
use crate::wiring::ssh::SshLogins;
use gate::Gate;
use gateway_approvals::Approvals;
use gateway_capture::Capture;
use gateway_control::{ControlSocket, PagePorts, Ports, RemotePorts};
use gateway_core::Timestamp;
use gateway_lineage::{Forest, StateFile};
use gateway_proxy::Proxy;
use gateway_recording::Journal;
use ground::Ground;
use kernel::Kernel;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Everything that lives as long as the daemon does. Dropped from the top.
pub(super) struct Parts {
    pub(super) ports: Ports,
    pub(super) remote: Option<(Port, RemotePorts)>,
    pub(super) socket: ControlSocket,
    pub(super) proxy: Arc<Proxy>,
    pub(super) follower: Arc<Follower>,
    pub(super) governance: Arc<Governance>,
    pub(super) boundaries: Arc<Boundaries>,
    pub(super) namespaces: Arc<Namespaces>,
    pub(super) before: Arc<Before>,
    pub(super) capture: Arc<Capture>,
    pub(super) forest: Arc<Forest>,
    pub(super) principals: Arc<Principals>,
    pub(super) runs: Arc<RunCgroups>,
    pub(super) people: Arc<People>,
    pub(super) columns: Arc<ColumnsFile>,
    pub(super) journal: Arc<Journal>,
    pub(super) predecessor: Option<Arc<Predecessor>>,
    pub(super) approvals: Arc<Approvals>,
    pub(super) ending: Arc<AtomicBool>,
    pub(super) state: State,
}

/// What there is from a daemon before this one.
#[derive(Default)]
pub(super) struct Origin {
    /// Listeners that it handed over, or that the service manager kept.
    pub(super) listeners: Vec<OwnedFd>,
    /// The lock of its state directory, and the rest of what it hands over.
    pub(super) handed: Option<(OwnedFd, Held)>,
}

/// Brings everything up.
pub(super) fn bring_up(config: &Config, origin: Origin) -> Result<(Parts, StateFile), Failure> {
    let started = moment::now();
    let ground = ground::lay_ground(config, origin.handed)?;
    let kernel = kernel::attach(config, &ground)?;
    let gate = gate::open(config, &ground, &kernel, |capture| {
        let opened = capture.listen(origin.listeners)?;
        tracing::info!(kept = opened.kept, "the gate is open");
        Ok(opened.listeners)
    })?;
    let ending = Arc::new(AtomicBool::new(false));
    let ports = console(config, started, &ground, &kernel, &gate, &ending)?;
    let remote = config.remote.as_ref();
    let remote = remote.map(|remote| by_network(remote, &ground, &kernel, &gate));
    let remote = remote.transpose()?;
    let parts = Parts {
        ports,
        remote,
        socket: ground.socket,
        proxy: gate.proxy,
        follower: kernel.follower,
        governance: kernel.governance,
        boundaries: kernel.boundaries,
        namespaces: kernel.namespaces,
        before: kernel.before,
        capture: kernel.capture,
        forest: kernel.forest,
        principals: kernel.principals,
        runs: kernel.runs,
        people: ground.people,
        columns: gate.columns,
        journal: ground.journal,
        predecessor: ground.predecessor,
        approvals: gate.approvals,
        ending,
        state: ground.state,
    };
    Ok((parts, kernel.lineage_file))
}

/// The control API's port, and what it needs beside the socket.
fn by_network(
    remote: &Remote,
    ground: &Ground,
    kernel: &Kernel,
    gate: &Gate,
) -> Result<(Port, RemotePorts), Failure> {
    let acts = Acts(Arc::clone(&ground.journal));
    let scim = match (&ground.scim, &remote.scim_token_file) {
        (Some(scim), Some(file)) => {
            let provisioning =
                Provisioning::new(Arc::clone(scim), file, acts, ground.predecessor.clone())?;
            Some(Arc::new(provisioning) as _)
        }
        _ => None,
    };
    let bearers = Bearers {
        principals: Arc::clone(&kernel.principals),
        people: Arc::clone(&ground.people),
    };
    let ports = RemotePorts {
        authenticator: Arc::new(bearers),
        scim,
        page: page(remote, ground, kernel, gate),
    };
    Ok((remote::open(remote)?, ports))
}

/// The page behind the links of webhooks.
fn page(remote: &Remote, ground: &Ground, kernel: &Kernel, gate: &Gate) -> Option<PagePorts> {
    let links = gate.links.as_ref()?;
    let issuers = kernel.principals.tokens().issuers()?;
    let page = QuestionPage {
        approvals: Arc::clone(&gate.approvals),
        links: Arc::clone(links),
        origin: remote.url.clone(),
    };
    let sign_in = SignInWith::new(
        Arc::clone(issuers),
        remote.sign_in.clone(),
        format!("{}/callback", remote.url),
        Arc::clone(&ground.people),
    );
    Some(PagePorts {
        page: Arc::new(page),
        sign_in: Arc::new(sign_in),
        entropy: Arc::new(KernelEntropy::new()),
    })
}

/// What the control API is made of.
fn console(
    config: &Config,
    started: Timestamp,
    ground: &Ground,
    kernel: &Kernel,
    gate: &Gate,
    ending: &Arc<AtomicBool>,
) -> Result<Ports, Failure> {
    let callers = Arc::new(TaggedCallers {
        capture: Arc::clone(&kernel.capture),
        governance: Arc::clone(&kernel.governance),
        follower: Arc::clone(&kernel.follower),
        forest: Arc::clone(&kernel.forest),
        people: Arc::clone(&ground.people),
        before: Arc::clone(&kernel.before),
    });
    let acts = Acts(Arc::clone(&ground.journal));
    let shown = Arc::new(Shown {
        forest: Arc::clone(&kernel.forest),
        principals: Arc::clone(&kernel.principals),
        governance: Arc::clone(&kernel.governance),
        proxy: Arc::clone(&gate.proxy),
        archive: Arc::clone(&ground.archive),
        runs: Arc::clone(&kernel.runs),
    });
    let health = Health {
        config: config.clone(),
        started,
        capture: Arc::clone(&kernel.capture),
        forest: Arc::clone(&kernel.forest),
        governance: Arc::clone(&kernel.governance),
        proxy: Arc::clone(&gate.proxy),
        recorder: Arc::clone(&gate.recorder),
        judge: Arc::clone(&gate.judge),
        delays: Arc::clone(&gate.delays),
        approvals: Arc::clone(&gate.approvals),
        people: Arc::clone(&ground.people),
        before: Arc::clone(&kernel.before),
        predecessor: ground.predecessor.clone(),
        notes: ground.notes.clone(),
        ending: Arc::clone(ending),
    };
    let launcher = TreeLauncher {
        callers: Arc::clone(&callers),
        forest: Arc::clone(&kernel.forest),
        principals: Arc::clone(&kernel.principals),
        runs: Arc::clone(&kernel.runs),
        namespaces: Arc::clone(&kernel.namespaces),
    };
    let switch = SessionSwitch {
        proxy: Arc::clone(&gate.proxy),
        shown: Arc::clone(&shown),
        people: Arc::clone(&ground.people),
        predecessor: ground.predecessor.clone(),
        acts: acts.clone(),
    };
    let questions = Questions {
        approvals: Arc::clone(&gate.approvals),
        people: Arc::clone(&ground.people),
        callers: Arc::clone(&callers),
        acts: acts.clone(),
    };
    let logins = TreeLogins {
        callers: Arc::clone(&callers),
        principals: Arc::clone(&kernel.principals),
        people: Arc::clone(&ground.people),
        acts: acts.clone(),
        places: Places::new(config.limits.logins),
        saml: Arc::clone(&ground.saml),
    };
    let ssh_logins = SshLogins::new(
        &config.ssh,
        Arc::clone(&callers),
        Arc::clone(&kernel.principals),
        acts.clone(),
    )?;
    let revocation = Revocation {
        people: Arc::clone(&ground.people),
        principals: Arc::clone(&kernel.principals),
        forest: Arc::clone(&kernel.forest),
        capture: Arc::clone(&kernel.capture),
        proxy: Arc::clone(&gate.proxy),
        approvals: Arc::clone(&gate.approvals),
        predecessor: ground.predecessor.clone(),
        acts,
    };
    Ok(Ports {
        callers,
        overview: Arc::new(health),
        trees: shown,
        archive: Arc::clone(&ground.archive) as _,
        switch: Arc::new(switch),
        approvals: Arc::new(questions),
        revoker: Arc::new(revocation),
        launcher: Arc::new(launcher),
        logins: Arc::new(logins),
        ssh_sessions: Arc::new(ssh_logins),
    })
}

//! The gate: what every connection of a governed process goes through.
use super::ground::Ground;
use super::kernel::{Kernel, capture_failure};
use crate::config::Config;
use crate::exit::Failure;
use crate::wiring::attribution::Attributor;
use crate::wiring::capture::KernelFlows;
use crate::wiring::columns::ColumnsFile;
use crate::wiring::logins::StoredLogins;
use crate::wiring::measure::{CountedRecorder, Delays, TimedJudge};
use crate::wiring::names::{LearnedNames, resolvers};
use crate::wiring::namespaces::Opener;
use crate::wiring::page;
use crate::wiring::people::PeopleJudge;
use crate::wiring::protocols;
use gateway_approvals::{Approvals, Authority, HttpPost, Links, Options};
use gateway_capture::{Capture, CaptureError, Listeners};
use gateway_dns::NameTable;
use gateway_masking::{Cover, Key};
use gateway_protocol::Datagrams;
use gateway_proxy::tls::{self, Rustls};
use gateway_proxy::{Ports, Proxy, ProxyError, ProxyLimits, SystemClock};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a webhook may take to answer.
const WEBHOOK_MAX: Duration = Duration::from_secs(5);

/// The proxy, and what it is measured by.
pub(super) struct Gate {
    pub(super) proxy: Arc<Proxy>,
    pub(super) recorder: Arc<CountedRecorder>,
    pub(super) judge: Arc<TimedJudge>,
    pub(super) delays: Arc<Delays>,
    pub(super) approvals: Arc<Approvals>,
    pub(super) columns: Arc<ColumnsFile>,
    /// To the page that shows a question, where there is one.
    pub(super) links: Option<Arc<Links>>,
}

/// Has the listeners opened by `listen`: from now on governed connections arrive.
pub(super) fn open(
    config: &Config,
    ground: &Ground,
    kernel: &Kernel,
    listen: impl FnOnce(&Capture) -> Result<Listeners, CaptureError>,
) -> Result<Gate, Failure> {
    let journal = Arc::clone(&ground.journal) as _;
    let recorder = Arc::new(CountedRecorder::new(journal, protocols::names()));
    let judge = Arc::new(TimedJudge::new(Arc::new(PeopleJudge {
        inner: Arc::clone(&ground.policies) as _,
        people: Arc::clone(&ground.people),
        principals: Arc::clone(&kernel.principals),
    })));
    let links = links(config)?;
    let options = approval_options(config, ground, kernel, links.clone())?;
    let approvals = Arc::new(Approvals::start(options)?);
    let attribution = Attributor {
        follower: Arc::clone(&kernel.follower),
        forest: Arc::clone(&kernel.forest),
        principals: Arc::clone(&kernel.principals),
        governance: Arc::clone(&kernel.governance),
        people: Arc::clone(&ground.people),
    };
    let authority = tls::Authority::open_or_make(&config.tls_dir())
        .map_err(|error| Failure::no(format!("the gateway's authority: {error}")))?;
    let key = Key::open_or_make(&config.masks_key())
        .map_err(|error| Failure::no(format!("the key of the masks: {error}")))?;
    let columns = ColumnsFile::open(config.columns_file());
    let columns = Arc::new(columns.map_err(|error| Failure::no(error.to_string()))?);
    let delays = Arc::new(Delays::new());
    let names: Arc<NameTable> = Arc::default();
    let servers = config.dns_servers.clone().unwrap_or_else(resolvers);
    let dns = protocols::dns(&config.limits, &servers, Arc::clone(&names));
    let ports = Ports {
        capture: Arc::new(KernelFlows(Arc::clone(&kernel.capture))),
        attribution: Arc::new(attribution),
        judge: Arc::clone(&judge) as _,
        recorder: Arc::clone(&recorder) as _,
        approver: Arc::clone(&approvals) as _,
        masker: Arc::new(Cover::new(key)),
        clock: Arc::new(SystemClock),
        encryption: Arc::new(Rustls::new(authority)),
        logins: Arc::new(StoredLogins(Arc::clone(&ground.vault))),
        meter: Arc::clone(&delays) as _,
        names: Arc::new(LearnedNames(names)),
        protocols: protocols::all(&config.limits, dns.clone(), &columns),
    };
    let here = listen(&kernel.capture).map_err(capture_failure)?;
    let failed = |error: ProxyError| Failure::no(error.to_string());
    let proxy = Proxy::start(Vec::new(), ports, proxy_limits(config)).map_err(failed)?;
    let proxy = Arc::new(proxy);
    let hear = hearing(Arc::downgrade(&proxy), Arc::new(dns));
    hear(here).map_err(failed)?;
    kernel.namespaces.open(hear)?;
    Ok(Gate {
        proxy,
        recorder,
        judge,
        delays,
        approvals,
        columns,
        links,
    })
}

/// Takes the listeners of one network namespace into service, while there is a proxy.
fn hearing(proxy: Weak<Proxy>, dns: Arc<dyn Datagrams>) -> Opener {
    Box::new(move |listeners: Listeners| {
        let Some(proxy) = proxy.upgrade() else {
            return Ok(Vec::new());
        };
        let streams = listeners.streams.into_iter();
        let mut ears = streams
            .map(|stream| proxy.listen(stream))
            .collect::<Result<Vec<_>, _>>()?;
        let dns = Arc::clone(&dns);
        ears.push(proxy.answer(listeners.netns, listeners.questions, dns)?);
        Ok(ears)
    })
}

/// Links to the page that shows a question; none where nobody could sign in on it.
fn links(config: &Config) -> Result<Option<Arc<Links>>, Failure> {
    let remote = config.remote.as_ref();
    let Some(remote) = remote.filter(|remote| remote.sign_in.is_some()) else {
        return Ok(None);
    };
    page::links(&remote.url).map(Some).map_err(Failure::no)
}

/// Who may answer, by the patterns of the policies and by what the directory knows.
fn approval_options(
    config: &Config,
    ground: &Ground,
    kernel: &Kernel,
    links: Option<Arc<Links>>,
) -> Result<Options, Failure> {
    let (directory, approvers) = (Arc::clone(&ground.people), Arc::clone(&ground.people));
    let principals = Arc::clone(&kernel.principals);
    let authority = Authority {
        matches: Arc::new(move |patterns, principal| approvers.may_approve(patterns, principal)),
        same_person: Arc::new(move |one, other| directory.same(one, other)),
        described: Arc::new(move |tree| principals.described_by_kernel(tree)),
    };
    let limits = gateway_approvals::Limits {
        pending_max: config.limits.approvals,
        pending_tree_max: config.limits.approvals_tree,
        grants_max: config.limits.grants,
        ..gateway_approvals::Limits::default()
    };
    // Without a webhook nothing is sent, and no authority needs to be known.
    let post = match config.webhooks.is_empty() {
        true => HttpPost::trusting(&[], WEBHOOK_MAX),
        false => HttpPost::new(),
    };
    Ok(Options {
        limits,
        authority,
        clock: Arc::new(gateway_approvals::SystemClock),
        webhooks: ground.webhooks.clone(),
        post: Arc::new(post),
        jitter: Arc::new(|| getrandom::u64().unwrap_or_default()),
        links,
    })
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
        datagrams_idle: limits.datagrams_idle,
        linger: limits.linger,
        opaque_idle: limits.opaque_idle,
        answer: limits.dns_answer,
        pending: limits.dns_pending,
        questions_idle: limits.dns_idle,
    }
}

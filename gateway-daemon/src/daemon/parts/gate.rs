//! The gate: what every connection of a governed process goes through.
use super::ground::Ground;
use super::kernel::{Kernel, capture_failure};
use crate::config::Config;
use crate::exit::Failure;
use crate::wiring::attribution::Attributor;
use crate::wiring::capture::KernelFlows;
use crate::wiring::measure::{CountedRecorder, TimedJudge};
use crate::wiring::protocols;
use gateway_proxy::{Ports, Proxy, ProxyLimits, SystemClock};
use std::sync::Arc;

/// The proxy, and what it is measured by.
pub(super) struct Gate {
    pub(super) proxy: Arc<Proxy>,
    pub(super) recorder: Arc<CountedRecorder>,
    pub(super) judge: Arc<TimedJudge>,
}

/// Opens the listeners: from now on governed connections arrive.
pub(super) fn open(config: &Config, ground: &Ground, kernel: &Kernel) -> Result<Gate, Failure> {
    let journal = Arc::clone(&ground.journal) as _;
    let recorder = Arc::new(CountedRecorder::new(journal, protocols::names()));
    let judge = Arc::new(TimedJudge::new(Arc::clone(&ground.policies) as _));
    let attribution = Attributor {
        follower: Arc::clone(&kernel.follower),
        forest: Arc::clone(&kernel.forest),
        principals: Arc::clone(&kernel.principals),
        governance: Arc::clone(&kernel.governance),
    };
    let ports = Ports {
        capture: Arc::new(KernelFlows(Arc::clone(&kernel.capture))),
        attribution: Arc::new(attribution),
        judge: Arc::clone(&judge) as _,
        recorder: Arc::clone(&recorder) as _,
        clock: Arc::new(SystemClock),
        protocols: protocols::all(&config.limits),
    };
    let listeners = kernel.capture.listen().map_err(capture_failure)?;
    let proxy = Proxy::start(listeners, ports, proxy_limits(config))
        .map_err(|error| Failure::no(error.to_string()))?;
    Ok(Gate {
        proxy: Arc::new(proxy),
        recorder,
        judge,
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
        linger: limits.linger,
        opaque_idle: limits.opaque_idle,
    }
}

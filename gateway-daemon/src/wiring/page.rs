//! The page behind a signed link: what it shows, and what it takes for chance and time.
use crate::terminal::moment;
use gateway_approvals::{Approvals, Links};
use gateway_control::{Entropy, Page, PortError, Shown};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shows the questions that wait.
pub(crate) struct QuestionPage {
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) links: Arc<Links>,
    /// Scheme, host and port.
    pub(crate) origin: String,
}

impl Page for QuestionPage {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn check_link(&self, id: &str, e: &str, s: &str) -> Result<(), String> {
        let checked = self.links.check(id, e, s, moment::now());
        checked.map_err(|error| error.to_string())
    }

    fn question(&self, id: &str) -> Option<Shown> {
        let pending = self.approvals.get(id)?;
        let value = serde_json::to_value(&*pending).ok()?;
        let left = pending.expires.0.saturating_sub(moment::now().0);
        Some(Shown {
            question: serde_json::from_value(value).ok()?,
            left: Duration::from_nanos(left),
        })
    }
}

/// The kernel's randomness, and its clock that nobody sets.
pub(crate) struct KernelEntropy(Instant);

impl KernelEntropy {
    pub(crate) fn new() -> KernelEntropy {
        KernelEntropy(Instant::now())
    }
}

impl Entropy for KernelEntropy {
    fn random(&self) -> Result<[u8; 32], PortError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| PortError(error.to_string()))?;
        Ok(bytes)
    }

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Links that only this process can make. Questions do not outlive it either.
pub(crate) fn links(url: &str) -> Result<Arc<Links>, String> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| format!("no randomness: {error}"))?;
    let links = Links::new(key, url).map_err(|error| error.to_string())?;
    Ok(Arc::new(links))
}

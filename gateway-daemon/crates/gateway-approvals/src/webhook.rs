//! Telling people that somebody waits, and how it ended.
//!
//! Each webhook has a bounded queue and a thread of its own, so that a receiver that hangs keeps
//! nobody else. What cannot be delivered opens nothing: the question waits on, and expires.
//!
//! A receiver verifies `X-Gateway-Signature: v1=HEX` as HMAC-SHA256 by the shared secret over the
//! text of `X-Gateway-Timestamp` (unix seconds), a full stop, and the body as received; refuses
//! what is older than a few minutes; and takes two messages of one `event` and id as one.
mod courier;
mod form;
mod post;
pub(crate) mod url;

#[cfg(test)]
mod tests;

pub(crate) use courier::Couriers;
pub use post::{HttpPost, Post, PostError};
pub use url::WebhookUrl;

use crate::error::WebhookError;
use crate::signature;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A weaker key than this can be guessed.
const SECRET_MIN: usize = 16;

/// The key that a webhook and its receiver share. Never shown; overwritten when the last one who
/// has it drops it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

/// Says which key signs now. Asked at each attempt, since a key may be changed while a message
/// waits for its next one. What it answers when there is none is for the log.
pub type Secrets = Arc<dyn Fn() -> Result<Secret, String> + Send + Sync>;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// # Errors
    /// It has fewer than 16 bytes.
    pub fn new(bytes: &[u8]) -> Result<Secret, WebhookError> {
        if bytes.len() < SECRET_MIN {
            return Err(WebhookError::Secret(bytes.len()));
        }
        Ok(Secret(Arc::new(Zeroizing::new(bytes.to_vec()))))
    }

    /// What `X-Gateway-Signature` says about a body that is sent at this time.
    fn sign(&self, timestamp: &str, body: &[u8]) -> String {
        let parts: &[&[u8]] = &[timestamp.as_bytes(), b".", body];
        format!("v1={}", signature::sign(&self.0, parts))
    }
}

/// How a message is worded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The question with all its keys.
    Json,
    /// What Slack's incoming webhooks take, and those of many others.
    Slack,
}

/// Somebody to tell.
#[derive(Clone)]
pub struct Webhook {
    /// Where to.
    pub url: WebhookUrl,
    /// In which words.
    pub form: Form,
    /// What signs it.
    pub secrets: Secrets,
    /// When to try again.
    pub backoff: Backoff,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.url)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// With a key that stays the same.
    #[must_use]
    pub fn new(url: WebhookUrl, form: Form, secret: Secret) -> Webhook {
        Webhook::asking(url, form, Arc::new(move || Ok(secret.clone())))
    }

    /// With a key that is asked for.
    #[must_use]
    pub fn asking(url: WebhookUrl, form: Form, secrets: Secrets) -> Webhook {
        Webhook {
            url,
            form,
            secrets,
            backoff: Backoff::default(),
        }
    }
}

/// Any number, evenly spread. Only spreads load: need not be secret.
pub type Jitter = Arc<dyn Fn() -> u64 + Send + Sync>;

/// When a message that failed is tried again: twice as long after each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer.
    pub max: Duration,
    /// How often it is tried in all.
    pub attempts_max: u32,
}

impl Default for Backoff {
    /// Eight attempts within about a minute, which is how long a question waits.
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(500),
            max: Duration::from_secs(30),
            attempts_max: 8,
        }
    }
}

impl Backoff {
    /// How long to wait after so many failures; `None`: not again. Between half and all of the
    /// doubled time, as `jitter` says.
    fn after(&self, failures: u32, jitter: u64) -> Option<Duration> {
        if failures >= self.attempts_max {
            return None;
        }
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        let whole = self.first.saturating_mul(doubled).min(self.max);
        let half = whole / 2;
        let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let more = jitter.checked_rem(span.saturating_add(1)).unwrap_or(0);
        Some(half.saturating_add(Duration::from_nanos(more)))
    }
}

/// What has become of the messages of one webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct WebhookCounts {
    /// Its host; the rest of the address may be a secret.
    pub host: String,
    /// Taken by the receiver.
    pub delivered: u64,
    /// Given up: too many attempts, or the question had ended before one succeeded.
    pub failed: u64,
    /// Not even tried: the queue was full, or the gateway ended.
    pub dropped: u64,
}

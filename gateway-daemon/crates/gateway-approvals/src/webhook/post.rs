//! Sending one message.
use crate::webhook::url::WebhookUrl;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// How long one attempt may take, from the name's resolution to the answer's head.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than this is not the answer to a webhook.
const ANSWER_HEAD_MAX: usize = 16 * 1024;

/// The receiver did not take it. Says nothing of the address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Any status but 2xx; a redirection too.
    #[error("it answered with status {0}")]
    Status(u16),
    /// It hangs.
    #[error("it did not answer in time")]
    Timeout,
    /// Nothing can sign it, so it is not sent.
    #[error("there is no secret to sign with: {0}")]
    NoSecret(String),
    /// It could not be reached, or not trusted, or spoke no HTTP.
    #[error("{0}")]
    Failed(String),
}

/// Sends one message.
pub trait Post: Send + Sync {
    /// Sends `body` with these headers, and waits for the answer, but not for long.
    ///
    /// # Errors
    /// The receiver did not take it.
    fn post(
        &self,
        url: &WebhookUrl,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<(), PostError>;
}

/// HTTP/1.1, with TLS verified by the authorities of this host. Follows no redirection (a signed
/// message is for its receiver alone), uses no proxy, and reads nothing of an answer but its head.
pub struct HttpPost {
    agent: Agent,
}

impl fmt::Debug for HttpPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPost").finish_non_exhaustive()
    }
}

impl HttpPost {
    /// Trusts the authorities that this host trusts now, and gives up after five seconds. Where
    /// the host has none, only receivers on this host itself can be reached.
    #[must_use]
    pub fn new() -> HttpPost {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "an authority of this host cannot be read");
        }
        let authorities: Vec<&[u8]> = found.certs.iter().map(AsRef::as_ref).collect();
        HttpPost::trusting(&authorities, TIMEOUT)
    }

    /// Trusts these authorities (certificates in DER), and gives up after this long.
    #[must_use]
    pub fn trusting(authorities: &[&[u8]], timeout: Duration) -> HttpPost {
        let authorities = authorities
            .iter()
            .map(|der| Certificate::from_der(der).to_owned());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::from(authorities))
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .max_response_header_size(ANSWER_HEAD_MAX)
            // An attempt that finds a connection closed would fail for nothing.
            .max_idle_connections(0)
            .user_agent(concat!("gateway/", env!("CARGO_PKG_VERSION")))
            .build();
        HttpPost {
            agent: config.new_agent(),
        }
    }
}

impl Default for HttpPost {
    fn default() -> HttpPost {
        HttpPost::new()
    }
}

impl Post for HttpPost {
    fn post(
        &self,
        url: &WebhookUrl,
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Result<(), PostError> {
        let mut request = self.agent.post(url.uri());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match request.send(body) {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(PostError::Status(answer.status().as_u16())),
            Err(ureq::Error::Timeout(_)) => Err(PostError::Timeout),
            Err(ureq::Error::Io(error)) => Err(PostError::Failed(error.to_string())),
            Err(ureq::Error::HostNotFound) => Err(PostError::Failed("no such host".to_owned())),
            Err(ureq::Error::Rustls(error)) => Err(PostError::Failed(error.to_string())),
            Err(ureq::Error::ConnectionFailed) => {
                Err(PostError::Failed("no connection".to_owned()))
            }
            // The texts of the others may repeat the address.
            Err(_) => Err(PostError::Failed("no HTTP exchange came about".to_owned())),
        }
    }
}

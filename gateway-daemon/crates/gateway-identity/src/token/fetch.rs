//! Getting an issuer's documents: https with the host's certificate authorities, small and soon.
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// What a document may be long, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// How long one document may take, from the look-up of the name to its last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a document did not come.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {reason}")]
pub struct FetchError {
    /// Where it was asked for.
    pub url: String,
    /// What happened.
    pub reason: String,
}

/// Gets documents, and posts forms. May block for as long as [`HttpFetch`] does, and must come to an end.
pub trait Fetch: Send + Sync {
    /// The document at this address, in at most [`DOCUMENT_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// It did not come, whole and in time.
    fn get(&self, url: &str) -> Result<Vec<u8>, FetchError>;

    /// What an address answers to a form, whatever its status, in at most [`DOCUMENT_BYTES_MAX`]
    /// bytes. Whoever only verifies tokens posts nothing.
    ///
    /// # Errors
    /// It did not come, whole and in time.
    fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Result<Posted, FetchError> {
        let _ = form;
        Err(FetchError {
            url: url.to_owned(),
            reason: "nothing is posted from here".to_owned(),
        })
    }
}

/// The answer to a form. It may hold tokens: nothing of it goes to a log.
pub struct Posted {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Posted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = &self.status;
        f.debug_struct("Posted")
            .field("status", status)
            .finish_non_exhaustive()
    }
}

/// The certificate authorities of the host cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no certificate authorities of this host can be loaded: {0}")]
pub struct AuthoritiesError(String);

/// Over HTTP/1.1, with rustls. A redirect is not followed: a document is 200 or an error, and a form
/// is not sent again elsewhere.
///
/// Blocks: not to be called on a task, and it starts none. The proxy that the environment names
/// (`HTTPS_PROXY`) is used, but never towards a loopback address.
pub struct HttpFetch {
    agent: ureq::Agent,
}

impl fmt::Debug for HttpFetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFetch").finish_non_exhaustive()
    }
}

impl HttpFetch {
    /// Trusts the host's certificate authorities, as they are now.
    ///
    /// # Errors
    /// There are none.
    pub fn new() -> Result<HttpFetch, AuthoritiesError> {
        let loaded = rustls_native_certs::load_native_certs();
        if loaded.certs.is_empty() {
            let reasons: Vec<String> = loaded.errors.iter().map(ToString::to_string).collect();
            return Err(AuthoritiesError(reasons.join("; ")));
        }
        let certificates = loaded.certs.iter();
        let certificates = certificates.map(|der| Certificate::from_der(der).to_owned());
        Ok(HttpFetch::trusting(RootCerts::from(certificates), TIMEOUT))
    }

    pub(super) fn trusting(authorities: RootCerts, timeout: Duration) -> HttpFetch {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(authorities)
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(timeout))
            .max_redirects(0)
            .http_status_as_error(false)
            // Asked every ten minutes: a connection would be closed by then.
            .max_idle_connections(0)
            .user_agent("gateway")
            .accept("application/json");
        HttpFetch {
            agent: config.build().new_agent(),
        }
    }

    fn try_get(&self, url: &str) -> Result<Vec<u8>, String> {
        let parsed = Url::parse(url).map_err(|error| error.to_string())?;
        let request = self.agent.get(url);
        let answer = if parsed.loopback {
            request.config().proxy(None).build().call()
        } else {
            request.call()
        };
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status() != 200 {
            return Err(format!("answered {}, expected 200", answer.status()));
        }
        whole(answer.into_body())
    }

    fn try_post(&self, url: &str, form: &[(&str, &str)]) -> Result<Posted, String> {
        let parsed = Url::parse(url).map_err(|error| error.to_string())?;
        let request = self.agent.post(url);
        let form = form.iter().copied();
        let answer = if parsed.loopback {
            request.config().proxy(None).build().send_form(form)
        } else {
            request.send_form(form)
        };
        let answer = answer.map_err(|error| error.to_string())?;
        Ok(Posted {
            status: answer.status().as_u16(),
            body: whole(answer.into_body())?,
        })
    }
}

/// A body to its end, within the limit.
fn whole(body: ureq::Body) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    body.into_reader()
        .take(DOCUMENT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(format!("longer than {DOCUMENT_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

impl Fetch for HttpFetch {
    fn get(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        self.try_get(url).map_err(|reason| FetchError {
            url: url.to_owned(),
            reason,
        })
    }

    fn post_form(&self, url: &str, form: &[(&str, &str)]) -> Result<Posted, FetchError> {
        self.try_post(url, form).map_err(|reason| FetchError {
            url: url.to_owned(),
            reason,
        })
    }
}

/// Why an address is not one to get keys from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not an absolute http or https address.
    #[error("{0:?} is not an address (expected https://HOST/…)")]
    Malformed(String),
    /// Keys that came in the clear are anybody's.
    #[error("{0:?} is not https (http is for loopback addresses such as http://127.0.0.1:8080)")]
    Clear(String),
    /// With credentials or a fragment.
    #[error("{0:?} has credentials or a fragment")]
    Extra(String),
}

/// An address that keys may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// As it was written.
    pub text: String,
    /// To this very host, by its address: `localhost` is a name like any other.
    pub loopback: bool,
    pub https: bool,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Url, UrlError> {
        let malformed = || UrlError::Malformed(super::shown(text));
        if text.contains('#') {
            return Err(UrlError::Extra(super::shown(text)));
        }
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(malformed)?;
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let loopback = address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(malformed()),
        };
        if !https && !loopback {
            return Err(UrlError::Clear(super::shown(text)));
        }
        if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
            return Err(UrlError::Extra(super::shown(text)));
        }
        Ok(Url {
            text: text.to_owned(),
            loopback,
            https,
        })
    }
}

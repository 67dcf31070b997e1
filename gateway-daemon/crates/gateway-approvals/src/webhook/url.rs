//! Where questions may be sent to.
use crate::error::WebhookError;
use std::fmt;
use std::net::IpAddr;
use ureq::http::Uri;

/// An address that questions may be sent to. Only its host is ever shown: the path of many
/// receivers is the secret that lets one write to them.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl {
    uri: Uri,
    host: String,
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebhookUrl").field(&self.host).finish()
    }
}

impl WebhookUrl {
    /// # Errors
    /// The address is not `https`, nor `http` to this host itself.
    pub fn parse(text: &str) -> Result<WebhookUrl, WebhookError> {
        let uri: Uri = text.parse().map_err(|_| {
            WebhookError::Url("not a URL (`https://HOST[:PORT]/PATH` was expected)")
        })?;
        if let Some(fault) = fault(&uri) {
            return Err(WebhookError::Url(fault));
        }
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        Ok(WebhookUrl { uri, host })
    }

    /// Its host, with the port if it names one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// All of it.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// What is wrong with an address, to which secrets go or people are sent.
pub(crate) fn fault(uri: &Uri) -> Option<&'static str> {
    let Some(authority) = uri.authority() else {
        return Some("it names no host (`https://HOST[:PORT]/PATH` was expected)");
    };
    if authority.as_str().contains('@') {
        return Some("a user name or password has no place in it");
    }
    match uri.scheme_str() {
        Some("https") if !authority.host().is_empty() => None,
        Some("http") if is_loopback(authority.host()) => None,
        Some("http") => Some("`http` reaches only this host itself (`https` was expected)"),
        _ => Some("neither `https` nor, to this host itself, `http`"),
    }
}

/// This host, without asking a name server. Of names only `localhost`, which resolvers answer
/// themselves (RFC 6761).
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_or_to_this_host() {
        for good in [
            "https://chat.internal/hook",
            "https://hooks.slack.com/services/T0/B0/x?y=z",
            "https://10.0.0.7:8443/",
            "http://127.0.0.1:9000/hook",
            "http://[::1]:9000/hook",
            "http://localhost/hook",
        ] {
            assert!(WebhookUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://chat.internal/hook",
            "http://127.0.0.1.evil.example/hook",
            "http://localhost.evil.example/",
            "http://10.0.0.7/",
            "http://[fe80::1]/",
            "https://user:password@chat.internal/hook",
            "http://127.0.0.1@evil.example/",
            "ftp://chat.internal/hook",
            "file:///etc/passwd",
            "unix:///run/x.sock",
            "/hook",
            "chat.internal",
            "",
        ] {
            assert!(WebhookUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_host_is_shown() {
        let url = WebhookUrl::parse("https://hooks.example:444/services/SECRET").unwrap();
        assert_eq!(format!("{url:?}"), "WebhookUrl(\"hooks.example:444\")");
    }
}

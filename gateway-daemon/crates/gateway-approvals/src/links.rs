//! Signed links to the page that shows a question.
//!
//! A link identifies nobody and answers nothing: mail and chat scanners open links. It only proves
//! that the gateway told somebody of this question. Who opens it signs in, and a POST answers; of
//! two answers by one link the second finds the question answered.
use crate::error::{LinkError, LinksError};
use crate::moment::{unix_seconds, unix_seconds_up};
use crate::signature;
use gateway_core::{OperationId, Timestamp};
use std::fmt;
use ureq::http::Uri;

/// Makes and checks links.
pub struct Links {
    key: [u8; 32],
    base_url: String,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Links {
    /// `key` is random and lives no longer than the questions do: new at each start. `base_url` is
    /// where people reach the control API: `https://gateway.acme.com`, with or without a path.
    ///
    /// # Errors
    /// The address is not one that a browser can be sent to safely.
    pub fn new(key: [u8; 32], base_url: &str) -> Result<Links, LinksError> {
        let fault = |fault| LinksError {
            url: base_url.to_owned(),
            fault,
        };
        let uri: Uri = base_url
            .parse()
            .map_err(|_| fault("not a URL (`https://HOST[:PORT][/PATH]` was expected)"))?;
        if let Some(wrong) = crate::webhook::url::fault(&uri) {
            return Err(fault(wrong));
        }
        if uri.query().is_some() || base_url.contains(['#', '>', '<', '|', '"', '\\']) {
            return Err(fault(
                "a query, a fragment and special characters have no place in it",
            ));
        }
        Ok(Links {
            key,
            base_url: base_url.trim_end_matches('/').to_owned(),
        })
    }

    /// The link to a question, good until `expires` (rounded up to a second).
    #[must_use]
    pub fn link(&self, id: OperationId, expires: Timestamp) -> String {
        let id = id.to_string();
        let expires = unix_seconds_up(expires).to_string();
        let signature = signature::sign(&self.key, &signed(&id, &expires));
        format!("{}/approve/{id}?e={expires}&s={signature}", self.base_url)
    }

    /// Is this a link of ours that is still good? `id`, `e` and `s` as they stand in it.
    ///
    /// # Errors
    /// It was never one, or it is too old. Only of a true one is said that it is too old.
    pub fn check(&self, id: &str, e: &str, s: &str, now: Timestamp) -> Result<(), LinkError> {
        if !signature::verify(&self.key, &signed(id, e), s) {
            return Err(LinkError::Forged);
        }
        match e.parse::<u64>() {
            Ok(expires) if unix_seconds(now) < expires => Ok(()),
            Ok(_) => Err(LinkError::Expired),
            Err(_) => Err(LinkError::Forged),
        }
    }
}

/// The parts are kept apart: else `s1.1` until `23` would be signed as `s1.12` until `3`.
fn signed<'a>(id: &'a str, expires: &'a str) -> [&'a [u8]; 5] {
    [b"link", b"\n", id.as_bytes(), b"\n", expires.as_bytes()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::SessionId;

    const ID: OperationId = OperationId {
        session: SessionId(7),
        seq: 1,
    };
    const EXPIRES: Timestamp = Timestamp(100_000_000_000);
    const BEFORE: Timestamp = Timestamp(99_999_999_999);

    fn links() -> Links {
        Links::new([7; 32], "https://gateway.acme.com/").unwrap()
    }

    /// The parts of a link, as a server takes them from a request.
    fn parts(link: &str) -> (String, String, String) {
        let rest = link
            .strip_prefix("https://gateway.acme.com/approve/")
            .unwrap();
        let (id, query) = rest.split_once("?e=").unwrap();
        let (e, s) = query.split_once("&s=").unwrap();
        (id.to_owned(), e.to_owned(), s.to_owned())
    }

    #[test]
    fn a_link_is_good_until_it_expires() {
        let links = links();
        let (id, e, s) = parts(&links.link(ID, EXPIRES));
        assert_eq!((id.as_str(), e.as_str()), ("s0000000000007.1", "100"));
        assert_eq!(links.check(&id, &e, &s, BEFORE), Ok(()));
        assert_eq!(links.check(&id, &e, &s, EXPIRES), Err(LinkError::Expired));
    }

    #[test]
    fn whatever_is_changed_is_forged() {
        let links = links();
        let (id, e, s) = parts(&links.link(ID, EXPIRES));
        let other = Links::new([8; 32], "https://gateway.acme.com").unwrap();
        let (.., elsewhere) = parts(&other.link(ID, EXPIRES));
        let mut flipped = s.clone();
        flipped.replace_range(0..1, if s.starts_with('0') { "1" } else { "0" });
        for (id, e, s) in [
            ("s0000000000007.2", e.as_str(), s.as_str()),
            (&id, "101", &s),
            (&id, "0100", &s),
            (&id, "+100", &s),
            (&id, &e, &elsewhere),
            (&id, &e, &flipped),
            (&id, &e, &s[..32]),
            (&id, &e, ""),
            (&id, &e, "not hexadecimal"),
            // The boundary between the parts cannot be moved.
            ("s0000000000007.11", "00", &s),
            ("s0000000000007.", "1100", &s),
        ] {
            assert_eq!(
                links.check(id, e, s, BEFORE),
                Err(LinkError::Forged),
                "{id} {e} {s}"
            );
            // Also when it would be too old: nobody learns anything by guessing.
            assert_eq!(
                links.check(id, e, s, Timestamp(u64::MAX)),
                Err(LinkError::Forged)
            );
        }
    }

    #[test]
    fn a_browser_is_sent_to_safe_places_only() {
        for bad in [
            "gateway.acme.com",
            "http://gateway.acme.com",
            "ftp://gateway.acme.com",
            "https://user:pw@gateway.acme.com",
            "https://gateway.acme.com/?a=b",
            "https://gateway.acme.com/#top",
            "https://gateway.acme.com/a|b",
            "javascript:alert(1)",
            "",
        ] {
            assert!(Links::new([0; 32], bad).is_err(), "{bad}");
        }
        let links = Links::new([0; 32], "http://127.0.0.1:7433/gate/").unwrap();
        assert!(
            links
                .link(ID, EXPIRES)
                .starts_with("http://127.0.0.1:7433/gate/approve/s0000000000007.1?e=100&s=")
        );
        assert!(!format!("{links:?}").contains("key"));
    }
}

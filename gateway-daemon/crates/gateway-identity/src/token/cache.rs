//! An issuer's keys as they were last got: asked for rarely, by one thread at a time.
use super::fetch::{DOCUMENT_BYTES_MAX, Fetch, Url};
use super::keys::KeySet;
use super::shown;
use gateway_core::Timestamp;
use parking_lot::{Condvar, Mutex};
use serde::Deserialize;
use std::sync::Arc;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// For how long keys are used without asking again.
pub(super) const FRESH_NANOS: u64 = 600 * NANOS_PER_SECOND;
/// For how long they are used while the issuer does not answer.
pub(super) const USABLE_NANOS: u64 = 24 * 3600 * NANOS_PER_SECOND;
/// How soon the issuer is asked again because of a key that it did not have.
pub(super) const REFETCH_NANOS: u64 = 60 * NANOS_PER_SECOND;
/// How soon it is asked again after it failed, when its keys are needed. Longer than one attempt
/// can take, so that those who waited for it do not each make one of their own.
pub(super) const RETRY_NANOS: u64 = 15 * NANOS_PER_SECOND;

/// The keys of one issuer.
#[derive(Debug, Default)]
pub(super) struct Cache {
    state: Mutex<State>,
    /// An attempt has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<(Arc<KeySet>, Timestamp)>,
    /// When the last attempt began, and what it failed with.
    tried: Option<(Timestamp, Option<String>)>,
    /// A thread is at it.
    fetching: bool,
}

/// What a discovery document says (OpenID Connect Discovery 1.0, section 3; RFC 8628, section 4).
#[derive(Deserialize)]
pub(super) struct Discovery {
    issuer: String,
    jwks_uri: String,
    pub authorization_endpoint: Option<String>,
    pub token_endpoint: Option<String>,
    pub device_authorization_endpoint: Option<String>,
}

impl Cache {
    /// The keys, got anew where they are old, or where `unsuited` are the last ones that there
    /// are and do not suffice. Where that is not possible, or too soon: the ones that there are.
    /// May block for as long as two documents take.
    ///
    /// # Errors
    /// There are none, for this reason.
    pub(super) fn keys(
        &self,
        now: Timestamp,
        unsuited: Option<&Arc<KeySet>>,
        url: &Url,
        fetch: &dyn Fetch,
    ) -> Result<Arc<KeySet>, String> {
        let mut state = self.state.lock();
        loop {
            let usable = state.usable(now);
            let suffices = match (&usable, unsuited) {
                (None, _) => false,
                (Some(_), None) => state.fresh(now),
                (Some(keys), Some(unsuited)) => !Arc::ptr_eq(keys, unsuited),
            };
            match usable {
                Some(keys) if suffices => return Ok(keys),
                // Old ones do while somebody gets new ones.
                Some(keys) if state.fetching && unsuited.is_none() => return Ok(keys),
                _ if state.fetching => self.ended.wait(&mut state),
                Some(keys) if !state.may_try(now, unsuited.is_some()) => return Ok(keys),
                None if !state.may_try(now, false) => return Err(state.failure()),
                _ => {
                    state.fetching = true;
                    drop(state);
                    self.attempt(now, url, fetch);
                    state = self.state.lock();
                }
            }
        }
    }

    fn attempt(&self, now: Timestamp, url: &Url, fetch: &dyn Fetch) {
        let mut attempt = Attempt {
            cache: self,
            now,
            // What stays when getting them panics.
            got: Some(Err("asking for them failed".to_owned())),
        };
        attempt.got = Some(get(url, fetch));
    }
}

/// One attempt to get keys; when it ends, however it does, the others go on.
struct Attempt<'a> {
    cache: &'a Cache,
    now: Timestamp,
    got: Option<Result<KeySet, String>>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state.lock();
        state.fetching = false;
        let failure = match self.got.take() {
            Some(Ok(keys)) => {
                state.keys = Some((Arc::new(keys), self.now));
                None
            }
            Some(Err(failure)) => Some(failure),
            None => None,
        };
        state.tried = Some((self.now, failure));
        self.cache.ended.notify_all();
    }
}

impl State {
    fn usable(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let (keys, since) = self.keys.as_ref()?;
        (apart(now, *since) <= USABLE_NANOS).then(|| Arc::clone(keys))
    }

    fn fresh(&self, now: Timestamp) -> bool {
        let since = self.keys.as_ref().map(|(_, since)| *since);
        since.is_some_and(|since| apart(now, since) < FRESH_NANOS)
    }

    fn may_try(&self, now: Timestamp, for_a_key: bool) -> bool {
        match &self.tried {
            None => true,
            Some((at, Some(_))) if !for_a_key => apart(now, *at) >= RETRY_NANOS,
            Some((at, _)) => apart(now, *at) >= REFETCH_NANOS,
        }
    }

    fn failure(&self) -> String {
        let failure = self.tried.as_ref().and_then(|(_, failure)| failure.clone());
        failure.unwrap_or_else(|| "they are too old".to_owned())
    }
}

/// Either way: a clock that was set back must not make keys last.
const fn apart(one: Timestamp, other: Timestamp) -> u64 {
    one.0.abs_diff(other.0)
}

/// Asks an issuer for its keys.
fn get(url: &Url, fetch: &dyn Fetch) -> Result<KeySet, String> {
    let discovery = discover(url, fetch)?;
    let keys = endpoint(url, "jwks_uri", &discovery.jwks_uri)?;
    KeySet::parse(&self::document(fetch, &keys.text)?)
}

/// Asks an issuer where its parts are.
pub(super) fn discover(url: &Url, fetch: &dyn Fetch) -> Result<Discovery, String> {
    let base = url.text.trim_end_matches('/');
    let document = document(fetch, &format!("{base}/.well-known/openid-configuration"))?;
    let discovery: Discovery = serde_json::from_slice(&document)
        .map_err(|error| format!("not a discovery document: {}", shown(&error.to_string())))?;
    if discovery.issuer != url.text {
        let other = shown(&discovery.issuer);
        return Err(format!(
            "the discovery document is of another issuer, {other:?}"
        ));
    }
    Ok(discovery)
}

/// An address that an issuer names: not less protected than the issuer itself.
pub(super) fn endpoint(issuer: &Url, key: &str, text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{key}: {error}"))?;
    if issuer.https && !url.https {
        let url = shown(&url.text);
        return Err(format!("{key}: {url:?} is not https, as the issuer is"));
    }
    Ok(url)
}

fn document(fetch: &dyn Fetch, url: &str) -> Result<Vec<u8>, String> {
    let document = fetch.get(url).map_err(|error| error.to_string())?;
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(format!("{url}: longer than {DOCUMENT_BYTES_MAX} bytes"));
    }
    Ok(document)
}

//! The page behind a signed link: a GET shows the question, a POST by who signed in answers it.
//!
//! Opening the link changes nothing: mail and chat scanners open links. To answer, a person signs
//! in at the OpenID provider (authorization code flow with PKCE) and gets a session of this
//! browser. The form counts only with that session, with the token that the session's pages carry,
//! from a page of ours, and with a link that is good.
//!
//! - A sign-in begins from a good link only: nobody else can fill the memory of sign-ins, and
//!   nobody can be sent anywhere but to a question.
//! - The session's cookie is `SameSite=Strict`. A redirect from the provider would come without
//!   it, so `/callback` answers with a page of ours, which leads on.
//! - The referrer policy is `same-origin` and not `no-referrer`, under which browsers send the
//!   forms of our own pages with `Origin: null` (Fetch, "append a request Origin header").
use super::Remote;
use super::api::{Checked, bounded, caller};
use super::cookie::{self, SameSite};
use super::kept::Kept;
use super::markup;
use super::ports::{Attempt, AuthenticationError, Identity, PagePorts};
use crate::ports::PortError;
use crate::reply::{Answer, blocking, text};
use crate::routes;
use crate::standing::{Permission, Request as Asks, permits_remote};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN,
    REFERRER_POLICY, SET_COOKIE, X_FRAME_OPTIONS,
};
use hyper::{Request, StatusCode};
use maud::Markup;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;

const HTML: &str = "text/html; charset=utf-8";
const FORM: &str = "application/x-www-form-urlencoded";
/// Sign-ins under way, and sessions.
const KEPT_MAX: usize = 1024;
/// How long a sign-in may take, and how long a session lasts.
const LIFETIME: Duration = Duration::from_secs(600);
/// The longest id, expiry and signature of a link, and code of a provider, in bytes.
const VALUE_BYTES_MAX: usize = 4096;

/// A link, taken apart. Only [`Pages::link_fault`] says whether it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) id: String,
    pub(super) e: String,
    pub(super) s: String,
}

impl Link {
    /// `e` and `s`, and whatever else a chat tool added to the address.
    fn of(id: &str, fields: &HashMap<String, String>) -> Option<Link> {
        let plain = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !text.is_empty() && text.len() <= VALUE_BYTES_MAX && text.bytes().all(allowed)
        };
        let link = Link {
            id: id.to_owned(),
            e: fields.get("e")?.clone(),
            s: fields.get("s")?.clone(),
        };
        // No part needs an escape in an address, and none can lead out of `/approve/`.
        (plain(&link.id) && plain(&link.e) && plain(&link.s)).then_some(link)
    }
}

/// A sign-in under way.
#[derive(Clone)]
struct Login {
    state: String,
    nonce: String,
    verifier: String,
    link: Link,
}

/// Who signed in with this browser.
#[derive(Clone)]
struct Session {
    identity: Identity,
    /// Stands in every form of this session, and nowhere else.
    csrf: String,
}

/// The pages, and what they remember.
pub(super) struct Pages {
    ports: PagePorts,
    /// What the `Origin` of a form has to be.
    origin: String,
    policy: HeaderValue,
    logins: Mutex<Kept<Login>>,
    sessions: Mutex<Kept<Session>>,
}

/// Does this path lead to a page?
pub(super) fn is_page(path: &str) -> bool {
    matches!(path, "/login" | "/callback") || path.starts_with("/approve/")
}

impl Pages {
    pub(super) fn new(ports: PagePorts) -> Pages {
        let style = base64::engine::general_purpose::STANDARD
            .encode(Sha256::digest(markup::STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        Pages {
            origin: ports.page.origin().trim_end_matches('/').to_owned(),
            ports,
            policy: HeaderValue::from_str(&policy)
                .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")),
            logins: Mutex::new(Kept::new(KEPT_MAX, LIFETIME)),
            sessions: Mutex::new(Kept::new(KEPT_MAX, LIFETIME)),
        }
    }

    pub(super) async fn answer(
        &self,
        remote: &Arc<Remote>,
        address: SocketAddr,
        request: Request<Incoming>,
    ) -> Answer {
        let path = request.uri().path();
        let id = path.strip_prefix("/approve/").map(str::to_owned);
        let outcome = match (id, request.method().as_str(), path) {
            (Some(id), "GET", _) => self.show(remote, &id, request).await,
            (Some(id), "POST", _) => self.take_answer(remote, &id, address, request).await,
            (None, "GET", "/login") => self.login(remote, request).await,
            (None, "GET", "/callback") => self.callback(remote, address, request).await,
            _ => Err(Fault(StatusCode::METHOD_NOT_ALLOWED, "wrong method".into())),
        };
        let mut answer = outcome.unwrap_or_else(|Fault(status, reason)| {
            page(status, markup::message("This did not work", &reason, None))
        });
        self.guard(answer.headers_mut());
        answer
    }

    fn guard(&self, headers: &mut HeaderMap) {
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(
            HeaderName::from_static("cross-origin-opener-policy"),
            HeaderValue::from_static("same-origin"),
        );
    }

    /// `GET /approve/ID`: the question. Nothing changes.
    async fn show(
        &self,
        remote: &Arc<Remote>,
        id: &str,
        request: Request<Incoming>,
    ) -> Result<Answer, Fault> {
        let fields = fields(request.uri().query().unwrap_or_default())?;
        let link = self.good_link(remote, id, &fields).await?;
        let port = Arc::clone(&self.ports.page);
        let asked = link.id.clone();
        let shown = bounded(remote, move || port.question(&asked)).await;
        let Some(shown) = checked(shown)? else {
            let reason = "Nothing waits by this link: somebody has answered, the time is over, or \
                          the client left.";
            return Ok(page(
                StatusCode::NOT_FOUND,
                markup::message("No question", reason, None),
            ));
        };
        let signed_in = self.session(request.headers());
        let who = signed_in
            .as_ref()
            .map(|session| (&*session.identity.principal.id, &*session.csrf));
        Ok(page(StatusCode::OK, markup::question(&shown, &link, who)))
    }

    /// `POST /approve/ID`: the answer.
    async fn take_answer(
        &self,
        remote: &Arc<Remote>,
        id: &str,
        address: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Answer, Fault> {
        for found in request.headers().get_all(ORIGIN) {
            if found.as_bytes() != self.origin.as_bytes() {
                let reason = "The form was not sent from this gateway's own page.";
                return Err(Fault(StatusCode::FORBIDDEN, reason.into()));
            }
        }
        let Some(session) = self.session(request.headers()) else {
            let reason = "You are not signed in, or no longer. Open the link again and sign in.";
            return Err(Fault(StatusCode::UNAUTHORIZED, reason.into()));
        };
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some(FORM) {
            let reason = format!("A form ({FORM}) was expected.");
            return Err(Fault(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
        }
        let body = request.into_body();
        let body = routes::read_body(body, remote.limits.form_bytes_max, &remote.shared).await;
        let body = body.map_err(|(status, reason)| Fault(status, reason.into()))?;
        let body = std::str::from_utf8(&body).map_err(|_| malformed())?;
        let form = Form::read(id, body)?;
        if !same(&form.csrf, &session.csrf) {
            let reason = "The form is not of this session. Open the link again.";
            return Err(Fault(StatusCode::FORBIDDEN, reason.into()));
        }
        self.check(remote, &form.link).await?;
        if permits_remote(session.identity.role, Asks::Answer) == Permission::No {
            let reason = "You may not answer questions.";
            return Err(Fault(StatusCode::FORBIDDEN, reason.into()));
        }
        let approvals = Arc::clone(&remote.shared.ports.approvals);
        let caller = caller(session.identity, address);
        let answered = blocking(move || {
            let reason = Some(&*form.reason).filter(|reason| !reason.is_empty());
            approvals.answer(&caller, &form.link.id, form.approve, reason)
        });
        match answered.await {
            Some(Ok(view)) => {
                let text = format!("{} was {} by {}.", view.id, view.verdict, view.approver);
                Ok(page(
                    StatusCode::OK,
                    markup::message("Answered", &text, None),
                ))
            }
            Some(Err(error)) => {
                let status = routes::status_of(&error);
                let text = error.to_string();
                Ok(page(status, markup::message("Not taken", &text, None)))
            }
            None => Err(died()),
        }
    }

    /// `GET /login`: sends the browser to the provider.
    async fn login(
        &self,
        remote: &Arc<Remote>,
        request: Request<Incoming>,
    ) -> Result<Answer, Fault> {
        let fields = fields(request.uri().query().unwrap_or_default())?;
        let id = fields.get("id").ok_or_else(malformed)?;
        let link = self.good_link(remote, id, &fields).await?;
        let [name, state, nonce, verifier] = [
            self.secret()?,
            self.secret()?,
            self.secret()?,
            self.secret()?,
        ];
        let attempt = Attempt {
            state: state.clone(),
            nonce: nonce.clone(),
            challenge: URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())),
        };
        let sign_in = Arc::clone(&self.ports.sign_in);
        let begun = checked(bounded(remote, move || sign_in.begin(&attempt)).await)?;
        let place = begun.map_err(|PortError(reason)| {
            tracing::warn!(reason, "a sign-in could not begin");
            let reason = "The sign-in cannot begin: the provider may be out of reach.";
            Fault(StatusCode::SERVICE_UNAVAILABLE, reason.into())
        })?;
        let place = HeaderValue::from_str(&place).map_err(|_| died())?;
        let login = Login {
            state,
            nonce,
            verifier,
            link,
        };
        let mut answer = text(StatusCode::SEE_OTHER, HTML, "");
        answer.headers_mut().insert(LOCATION, place);
        set_cookie(&mut answer, cookie::LOGIN, &name, SameSite::Lax, LIFETIME)?;
        locked(&self.logins).insert(name, self.ports.entropy.now(), login);
        Ok(answer)
    }

    /// `GET /callback`: the browser comes back with a code.
    async fn callback(
        &self,
        remote: &Arc<Remote>,
        address: SocketAddr,
        request: Request<Incoming>,
    ) -> Result<Answer, Fault> {
        let now = self.ports.entropy.now();
        let login = cookie::read(request.headers(), cookie::LOGIN)
            .and_then(|name| locked(&self.logins).take(name, now));
        let fields = fields(request.uri().query().unwrap_or_default())?;
        let state = fields.get("state").map_or("", |state| state);
        // The sign-in is spent by now: who guesses has one try.
        let Some(login) = login.filter(|login| same(&login.state, state)) else {
            let reason = "This sign-in was not begun here, or took too long. Open the link again.";
            return Err(Fault(StatusCode::FORBIDDEN, reason.into()));
        };
        let Some(code) = fields.get("code").filter(|code| !code.is_empty()) else {
            let reason = "The provider did not sign you in. Open the link again.";
            return Err(Fault(StatusCode::FORBIDDEN, reason.into()));
        };
        let (sign_in, code) = (Arc::clone(&self.ports.sign_in), code.clone());
        let (verifier, nonce) = (login.verifier, login.nonce);
        let finished = bounded(remote, move || sign_in.finish(&code, &verifier, &nonce));
        let identity = checked(finished.await)?.map_err(|error| refused(address, &error))?;
        let [name, csrf] = [self.secret()?, self.secret()?];
        let who = identity.principal.id.to_string();
        let next = format!(
            "approve/{}?e={}&s={}",
            login.link.id, login.link.e, login.link.s
        );
        let said = format!("You are signed in as {who}.");
        let said = markup::message("Signed in", &said, Some(&next));
        let mut answer = page(StatusCode::OK, said);
        set_cookie(
            &mut answer,
            cookie::LOGIN,
            "",
            SameSite::Lax,
            Duration::ZERO,
        )?;
        set_cookie(
            &mut answer,
            cookie::SESSION,
            &name,
            SameSite::Strict,
            LIFETIME,
        )?;
        let now = self.ports.entropy.now();
        locked(&self.sessions).insert(name, now, Session { identity, csrf });
        Ok(answer)
    }

    fn session(&self, headers: &HeaderMap) -> Option<Session> {
        let name = cookie::read(headers, cookie::SESSION)?;
        locked(&self.sessions).get(name, self.ports.entropy.now())
    }

    async fn good_link(
        &self,
        remote: &Remote,
        id: &str,
        fields: &HashMap<String, String>,
    ) -> Result<Link, Fault> {
        let link = Link::of(id, fields).ok_or_else(malformed)?;
        self.check(remote, &link).await?;
        Ok(link)
    }

    async fn check(&self, remote: &Remote, link: &Link) -> Result<(), Fault> {
        let (port, link) = (Arc::clone(&self.ports.page), link.clone());
        let checked_link = bounded(remote, move || port.check_link(&link.id, &link.e, &link.s));
        checked(checked_link.await)?.map_err(|reason| Fault(StatusCode::FORBIDDEN, reason))
    }

    fn secret(&self) -> Result<String, Fault> {
        match self.ports.entropy.random() {
            Ok(bytes) => Ok(URL_SAFE_NO_PAD.encode(bytes)),
            Err(PortError(reason)) => {
                tracing::error!(reason, "no randomness for a sign-in");
                Err(died())
            }
        }
    }
}

/// What is posted.
struct Form {
    link: Link,
    csrf: String,
    approve: bool,
    reason: String,
}

impl Form {
    fn read(id: &str, body: &str) -> Result<Form, Fault> {
        let mut fields = fields(body)?;
        let link = Link::of(id, &fields).ok_or_else(malformed)?;
        let approve = match fields.get("answer").map(String::as_str) {
            Some("approve") => true,
            Some("deny") => false,
            _ => return Err(malformed()),
        };
        Ok(Form {
            link,
            approve,
            csrf: fields.remove("csrf").ok_or_else(malformed)?,
            reason: fields.remove("reason").unwrap_or_default(),
        })
    }
}

/// Why there is no page. The reason is shown.
struct Fault(StatusCode, String);

fn malformed() -> Fault {
    let reason = "The link is not one of this gateway's, or was cut.";
    Fault(StatusCode::BAD_REQUEST, reason.into())
}

fn died() -> Fault {
    let reason = "The gateway failed to answer; its log says why.";
    Fault(StatusCode::INTERNAL_SERVER_ERROR, reason.into())
}

/// The reason of a refusal is for the log: it is about a token that the browser's owner never saw.
fn refused(address: SocketAddr, error: &AuthenticationError) -> Fault {
    tracing::info!(%address, %error, "a sign-in was refused");
    match error {
        AuthenticationError::Refused(_) => Fault(
            StatusCode::FORBIDDEN,
            "Your sign-in was not accepted; the gateway's log says why.".into(),
        ),
        AuthenticationError::Unavailable(_) => Fault(
            StatusCode::SERVICE_UNAVAILABLE,
            "The sign-in cannot be checked now: the provider may be out of reach.".into(),
        ),
    }
}

fn checked<T>(outcome: Checked<T>) -> Result<T, Fault> {
    match outcome {
        Checked::Done(value) => Ok(value),
        Checked::Late => Err(Fault(
            StatusCode::SERVICE_UNAVAILABLE,
            "The gateway did not answer in time.".into(),
        )),
        Checked::Died => Err(died()),
    }
}

/// The fields of a query or a form. One that is there twice is not one that can be judged.
fn fields(text: &str) -> Result<HashMap<String, String>, Fault> {
    let mut fields = HashMap::new();
    for (key, value) in form_urlencoded::parse(text.as_bytes()) {
        if fields
            .insert(key.into_owned(), value.into_owned())
            .is_some()
        {
            return Err(malformed());
        }
    }
    Ok(fields)
}

fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_cookie(
    answer: &mut Answer,
    name: &str,
    value: &str,
    site: SameSite,
    lifetime: Duration,
) -> Result<(), Fault> {
    let cookie = cookie::set(name, value, site, lifetime).ok_or_else(died)?;
    answer.headers_mut().append(SET_COOKIE, cookie);
    Ok(())
}

fn page(status: StatusCode, body: Markup) -> Answer {
    text(status, HTML, body.into_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_link_need_no_escape() {
        let link =
            |id: &str, query: &str| fields(query).ok().and_then(|fields| Link::of(id, &fields));
        assert!(link("s1.4", "e=61&s=ab&utm_source=chat").is_some());
        for (id, query) in [
            ("s1.4", "e=61"),
            ("s1.4", "e=61&s="),
            ("s1.4", "e=61&s=ab&s=cd"),
            ("", "e=61&s=ab"),
            ("s1/../x", "e=61&s=ab"),
            ("s1%2e", "e=61&s=ab"),
            ("s1.4", "e=6%221&s=ab"),
            ("javascript:x", "e=61&s=ab"),
        ] {
            assert!(link(id, query).is_none(), "{id} {query}");
        }
    }

    #[test]
    fn the_challenge_is_the_one_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(
            URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}

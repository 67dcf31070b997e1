//! The routes of the socket, for who shows a bearer token.
use super::ports::{AuthenticationError, Identity};
use super::{Authenticator, Remote};
use crate::caller::{Caller, RemoteCaller};
use crate::ports::Role;
use crate::reply::{Answer, failed, refused};
use crate::routes::{self, Asker};
use crate::standing::{Permission, Request as Asks, Standing, permits_remote};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;

/// Answers one request. Who asks is known before a byte of the body is read.
pub(super) async fn answer(
    remote: &Arc<Remote>,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Answer {
    let bearer = match bearer(request.headers(), remote.limits.bearer_bytes_max) {
        Ok(bearer) => bearer.to_owned(),
        Err(reason) => return unauthorized(reason),
    };
    let identity = match authenticate(remote, address, bearer).await {
        Ok(identity) => identity,
        Err(answer) => return answer,
    };
    let asked = match routes::read(&remote.shared, request).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    let permission = permits_remote(identity.role, asked.entry.asks);
    if permission == Permission::No {
        return not_permitted(identity.role, asked.entry.asks);
    }
    let asker = Asker {
        standing: Standing::new(None, identity.role),
        permission,
        caller: caller(identity, address),
    };
    routes::serve(&remote.shared, asker, asked).await
}

pub(super) fn caller(identity: Identity, address: SocketAddr) -> Caller {
    Caller::Remote(Arc::new(RemoteCaller {
        principal: identity.principal,
        role: identity.role,
        address,
    }))
}

/// The token of a request (RFC 6750): the only `Authorization`, of the scheme Bearer.
pub(super) fn bearer(headers: &HeaderMap, bytes_max: usize) -> Result<&str, &'static str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or("a bearer token is needed")?;
    if values.next().is_some() {
        return Err("one `Authorization` was expected");
    }
    // A header that is no text has no scheme either.
    let text = value.to_str().unwrap_or_default();
    let (scheme, token) = text.split_once(' ').unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("`Authorization: Bearer TOKEN` was expected");
    }
    let token = token.trim_matches(' ');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || !token.bytes().all(plain) {
        return Err("the bearer token is malformed");
    }
    if token.len() > bytes_max {
        return Err("the bearer token is too long");
    }
    Ok(token)
}

/// 401. The reason is one of a few fixed texts: nothing of what was sent comes back.
pub(super) fn unauthorized(reason: &'static str) -> Answer {
    let mut answer = refused(StatusCode::UNAUTHORIZED, reason);
    let challenge = HeaderValue::from_static("Bearer realm=\"gateway\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

async fn authenticate(
    remote: &Remote,
    address: SocketAddr,
    bearer: String,
) -> Result<Identity, Answer> {
    let authenticator: Arc<dyn Authenticator> = Arc::clone(&remote.authenticator);
    match bounded(remote, move || authenticator.authenticate(&bearer)).await {
        Checked::Done(Ok(identity)) => Ok(identity),
        Checked::Done(Err(AuthenticationError::Refused(reason))) => {
            tracing::info!(%address, reason, "a token was refused on the control port");
            let mut answer = unauthorized("the bearer token is not accepted");
            let challenge =
                HeaderValue::from_static("Bearer realm=\"gateway\", error=\"invalid_token\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            Err(answer)
        }
        Checked::Done(Err(AuthenticationError::Unavailable(reason))) => {
            tracing::warn!(%address, reason, "a token could not be checked");
            Err(unavailable())
        }
        Checked::Late => {
            tracing::warn!(%address, "a token was not checked in time");
            Err(unavailable())
        }
        Checked::Died => Err(failed()),
    }
}

fn unavailable() -> Answer {
    let reason = "the bearer token cannot be checked now: its issuer may be out of reach";
    refused(StatusCode::SERVICE_UNAVAILABLE, reason)
}

/// How a call that has a limit ended.
pub(super) enum Checked<T> {
    Done(T),
    Late,
    Died,
}

/// Makes a call that may wait for an issuer. As many threads wait as the limit says, and no more,
/// also when their callers have gone.
pub(super) async fn bounded<T: Send + 'static>(
    remote: &Remote,
    work: impl FnOnce() -> T + Send + 'static,
) -> Checked<T> {
    let places = Arc::clone(&remote.authentications);
    let call = async {
        let Ok(place) = places.acquire_owned().await else {
            return Checked::Died;
        };
        let called = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(place);
            outcome
        });
        called.await.map_or(Checked::Died, Checked::Done)
    };
    tokio::time::timeout(remote.limits.authentication_time(), call)
        .await
        .unwrap_or(Checked::Late)
}

fn not_permitted(role: Role, asks: Asks) -> Answer {
    let reason = match (asks, role) {
        (Asks::Run, _) => routes::RUN_IS_LOCAL.to_owned(),
        (Asks::Login, _) => routes::LOGIN_IS_LOCAL.to_owned(),
        (Asks::SshSession, _) => routes::SSH_IS_LOCAL.to_owned(),
        (_, Role::None) => "not permitted: none of your groups has a role here".to_owned(),
        _ => format!("not permitted: your role is {}", role.name()),
    };
    refused(StatusCode::FORBIDDEN, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[&[u8]], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        assert_eq!(bearer(&headers, 8).ok(), expected, "{values:?}");
    }

    #[test]
    fn one_plain_token_of_bounded_length() {
        check(&[b"Bearer abc"], Some("abc"));
        check(&[b"bEARER  a.b-c_~/"], Some("a.b-c_~/"));
        check(&[b"Bearer 12345678"], Some("12345678"));
        check(&[b"Bearer 123456789"], None);
        check(&[], None);
        check(&[b""], None);
        check(&[b"Bearer"], None);
        check(&[b"Bearer "], None);
        check(&[b"Bearer a b"], None);
        check(&[b"Bearer a,b"], None);
        check(&[b"Bearer \xff\xfe"], None);
        check(&[b"Basic abc"], None);
        check(&[b"Bearer abc", b"Bearer abc"], None);
        check(&[b"abc"], None);
    }
}

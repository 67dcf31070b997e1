//! The directory's endpoint: the identity provider writes users and groups here.
use super::ports::{ScimPort, ScimRequest, ScimResponse};
use super::{Remote, api};
use crate::reply::{Answer, blocking, text};
use crate::routes;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, Request, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;

const BASE: &str = "/scim/v2";
const SCIM: &str = "application/scim+json";

/// What follows the base in a path below it.
pub(super) fn below(path: &str) -> Option<&str> {
    path.strip_prefix(BASE)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers one request. Its sender is known before a byte of the body is read.
pub(super) async fn answer(
    remote: &Remote,
    scim: &Arc<dyn ScimPort>,
    address: SocketAddr,
    request: Request<Incoming>,
) -> Answer {
    let bearer = match api::bearer(request.headers(), remote.limits.bearer_bytes_max) {
        Ok(bearer) => bearer.to_owned(),
        Err(reason) => return api::unauthorized(reason),
    };
    let gate = Arc::clone(scim);
    match blocking(move || gate.admits(&bearer)).await {
        Some(true) => {}
        Some(false) => {
            tracing::info!(%address, "a token was refused on /scim/v2");
            return api::unauthorized("the bearer token is not accepted");
        }
        None => return problem(StatusCode::INTERNAL_SERVER_ERROR, "the daemon failed"),
    }
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    if !methods.contains(request.method()) {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "wrong method");
    }
    // A body may be large: as many as there are places are in memory.
    let wait = remote.limits.requests.request_time();
    let place = Arc::clone(&remote.scim_calls).acquire_owned();
    let Ok(Ok(place)) = tokio::time::timeout(wait, place).await else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
    };
    let (head, body) = request.into_parts();
    let bytes_max = remote.limits.scim_body_bytes_max;
    let body = match routes::read_body(body, bytes_max, &remote.shared).await {
        Ok(body) => body,
        Err((status, reason)) => return problem(status, reason),
    };
    let request = ScimRequest {
        method: head.method.as_str().to_owned(),
        path: below(head.uri.path()).unwrap_or_default().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: body.into(),
        address,
    };
    let scim = Arc::clone(scim);
    let handled = blocking(move || {
        let response = scim.handle(request);
        drop(place);
        response
    });
    match handled.await {
        Some(response) => passed_on(response),
        None => problem(StatusCode::INTERNAL_SERVER_ERROR, "the daemon failed"),
    }
}

fn passed_on(response: ScimResponse) -> Answer {
    let status = StatusCode::from_u16(response.status);
    let mut answer = text(
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        SCIM,
        response.body,
    );
    let location = response.location.as_deref().map(HeaderValue::from_str);
    if let Some(Ok(location)) = location {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

/// An error in the form that identity providers read (RFC 7644, 3.12).
fn problem(status: StatusCode, detail: &str) -> Answer {
    let body = serde_json::json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.as_str(),
        "detail": detail,
    });
    text(status, SCIM, body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_base() {
        for (path, expected) in [
            ("/scim/v2", Some("")),
            ("/scim/v2/", Some("/")),
            ("/scim/v2/Users/u1", Some("/Users/u1")),
            ("/scim/v2x", None),
            ("/scim/v1/Users", None),
            ("/v1/scim/v2", None),
        ] {
            assert_eq!(below(path), expected, "{path}");
        }
    }
}

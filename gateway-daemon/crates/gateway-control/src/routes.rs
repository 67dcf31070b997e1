//! Which path asks for what, and what is answered.
use crate::filter::Filter;
use crate::peer::Peer;
use crate::ports::{AnswerError, PortError, RunError, Target};
use crate::server::Shared;
use crate::standing::{Permission, Request, Standing, permits};
use crate::stream::{self, ChannelSink, Event, Lines};
use crate::view::{ErrorView, KillView};
use bytes::Bytes;
use gateway_core::{SessionId, TreeId};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

type Answer = Response<BoxBody<Bytes, io::Error>>;

/// How long the head of an answer waits for its first line, so that a failure becomes a status.
const FIRST_LINE_WAIT: Duration = Duration::from_millis(200);

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A path, taken apart.
#[derive(Debug, PartialEq, Eq)]
enum Route {
    Health,
    Ready,
    Metrics,
    Status,
    Trees,
    Lineage(String),
    Sessions,
    Session(String),
    Operations,
    Kill,
    Revoke,
    Approvals,
    Answer(String),
    Run,
}

impl Route {
    fn of(path: &str) -> Option<Route> {
        let parts: Vec<&str> = path.split('/').skip(1).take(4).collect();
        Some(match parts.as_slice() {
            ["healthz"] => Route::Health,
            ["readyz"] => Route::Ready,
            ["metrics"] => Route::Metrics,
            ["v1", "status"] => Route::Status,
            ["v1", "trees"] => Route::Trees,
            ["v1", "lineage", target] => Route::Lineage((*target).to_owned()),
            ["v1", "sessions"] => Route::Sessions,
            ["v1", "sessions", session] => Route::Session((*session).to_owned()),
            ["v1", "operations"] => Route::Operations,
            ["v1", "kill"] => Route::Kill,
            ["v1", "revoke"] => Route::Revoke,
            ["v1", "approvals"] => Route::Approvals,
            ["v1", "approvals", id] => Route::Answer((*id).to_owned()),
            ["v1", "run"] => Route::Run,
            _ => return None,
        })
    }

    const fn method(&self) -> Method {
        match self {
            Route::Kill | Route::Revoke | Route::Answer(_) | Route::Run => Method::POST,
            _ => Method::GET,
        }
    }

    const fn asks(&self) -> Request {
        match self {
            Route::Health | Route::Ready => Request::Health,
            Route::Metrics | Route::Status => Request::Status,
            Route::Trees => Request::Trees,
            Route::Lineage(_) => Request::Lineage,
            Route::Sessions | Route::Session(_) | Route::Operations => Request::Records,
            Route::Kill => Request::Kill,
            Route::Revoke => Request::Revoke,
            Route::Approvals => Request::Approvals,
            Route::Answer(_) => Request::Answer,
            Route::Run => Request::Run,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KillBody {
    target: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RunBody {
    policy: Option<String>,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody {
    principal: String,
    #[serde(default)]
    stop: bool,
    #[serde(default)]
    undo: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerBody {
    approve: bool,
    reason: Option<String>,
}

/// Answers one request.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    request: hyper::Request<Incoming>,
) -> Answer {
    let (head, body) = request.into_parts();
    let Some(route) = Route::of(head.uri.path()) else {
        return refused(StatusCode::NOT_FOUND, "no such path");
    };
    if head.method != route.method() {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "wrong method for this path");
    }
    let body = Limited::new(body, shared.limits.body_bytes_max).collect();
    let body = match tokio::time::timeout(shared.limits.request_time(), body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return refused(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
    };
    // Judged now, not when it connected: it may have come under a policy in between.
    let Some(standing) = shared.standing_of(peer).await else {
        return refused(
            StatusCode::FORBIDDEN,
            "not permitted: it cannot be told who you are",
        );
    };
    let permission = permits(standing, route.asks());
    if permission == Permission::No {
        return not_permitted(standing);
    }
    let query = head.uri.query().unwrap_or("");
    serve(shared, peer, standing, permission, route, query, &body).await
}

async fn serve(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    standing: Standing,
    permission: Permission,
    route: Route,
    query: &str,
    body: &[u8],
) -> Answer {
    let own = match permission {
        Permission::Own(tree) => Some(tree),
        _ => None,
    };
    let ports = shared.ports.clone();
    match route {
        Route::Health => text(StatusCode::OK, TEXT, "ok\n"),
        Route::Ready => match blocking(move || ports.overview.ready()).await {
            Some(true) => text(StatusCode::OK, TEXT, "ready\n"),
            _ => text(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n"),
        },
        Route::Metrics => match blocking(move || ports.overview.metrics().to_text()).await {
            Some(metrics) => text(StatusCode::OK, METRICS, metrics),
            None => failed(),
        },
        Route::Status => json(blocking(move || ports.overview.status()).await),
        Route::Trees => {
            let trees = stream::spawn(move |out| all(out, ports.trees.trees(own).into_iter()));
            lines(trees, None).await
        }
        Route::Lineage(target) => lineage(shared, own, &target).await,
        Route::Sessions => match Filter::from_query(query) {
            Ok((_, true)) => refused(StatusCode::BAD_REQUEST, "sessions cannot be followed"),
            Ok((filter, false)) => {
                let work = move |out: &mut ChannelSink| {
                    ports.archive.sessions(&filter, out).map(|()| true)
                };
                lines(stream::spawn(work), None).await
            }
            Err(error) => refused(StatusCode::BAD_REQUEST, error.to_string()),
        },
        Route::Session(session) => match session.parse::<SessionId>() {
            Ok(session) => {
                let work = move |out: &mut ChannelSink| ports.archive.session(session, out);
                lines(stream::spawn(work), None).await
            }
            Err(error) => refused(StatusCode::BAD_REQUEST, error.to_string()),
        },
        Route::Operations => operations(shared, standing, query).await,
        Route::Kill => kill(shared, peer, body).await,
        Route::Revoke => revoke(shared, peer, body).await,
        Route::Approvals => approvals(shared, peer, standing, permission, query).await,
        Route::Answer(id) => give_answer(shared, peer, id, body).await,
        Route::Run => run(shared, peer, standing, body).await,
    }
}

async fn lineage(shared: &Arc<Shared>, own: Option<TreeId>, target: &str) -> Answer {
    let target: Target = match target.parse() {
        Ok(target) => target,
        Err(error) => return refused(StatusCode::BAD_REQUEST, format!("{error}")),
    };
    let trees = Arc::clone(&shared.ports.trees);
    match blocking(move || trees.lineage(target)).await {
        Some(Ok(Some(view))) if own.is_none_or(|own| own == view.tree) => json(Some(view)),
        // To a governed caller, a foreign tree and no tree look the same.
        Some(Ok(_)) if own.is_some() => refused(
            StatusCode::FORBIDDEN,
            "not permitted: a governed process sees its own tree only",
        ),
        Some(Ok(_)) => refused(
            StatusCode::NOT_FOUND,
            format!("nothing is known of {target}"),
        ),
        Some(Err(PortError(reason))) => refused(StatusCode::INTERNAL_SERVER_ERROR, reason),
        None => failed(),
    }
}

async fn operations(shared: &Arc<Shared>, standing: Standing, query: &str) -> Answer {
    let (filter, follow) = match Filter::from_query(query) {
        Ok(parsed) => parsed,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let permit = match follower(shared, standing, follow) {
        Ok(permit) => permit,
        Err(answer) => return answer,
    };
    let archive = Arc::clone(&shared.ports.archive);
    let work = move |out: &mut ChannelSink| archive.operations(&filter, follow, out).map(|()| true);
    lines(stream::spawn(work), permit).await
}

/// A place among those who follow; none is needed for an answer that ends.
fn follower(
    shared: &Shared,
    standing: Standing,
    follow: bool,
) -> Result<Option<OwnedSemaphorePermit>, Answer> {
    if !follow {
        return Ok(None);
    }
    let budget = shared.followers.get(standing.kind()).cloned();
    match budget.and_then(|budget| budget.try_acquire_owned().ok()) {
        Some(permit) => Ok(Some(permit)),
        None => Err(refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many callers follow the log",
        )),
    }
}

/// What waits for a human; `watch` in the query goes on with what comes.
async fn approvals(
    shared: &Arc<Shared>,
    peer: &Arc<Peer>,
    standing: Standing,
    permission: Permission,
    query: &str,
) -> Answer {
    let watch = match query {
        "" => false,
        "watch" => true,
        _ => return refused(StatusCode::BAD_REQUEST, "expected no query, or `watch`"),
    };
    let permit = match follower(shared, standing, watch) {
        Ok(permit) => permit,
        Err(answer) => return answer,
    };
    let (approvals, peer) = (Arc::clone(&shared.ports.approvals), Arc::clone(peer));
    let answerable = permission == Permission::Answerable;
    let work = move |out: &mut ChannelSink| {
        approvals
            .pending(&peer, answerable, watch, out)
            .map(|()| true)
    };
    lines(stream::spawn(work), permit).await
}

async fn give_answer(shared: &Arc<Shared>, peer: &Arc<Peer>, id: String, body: &[u8]) -> Answer {
    let AnswerBody { approve, reason } = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let (approvals, peer) = (Arc::clone(&shared.ports.approvals), Arc::clone(peer));
    let answer = blocking(move || approvals.answer(&peer, &id, approve, reason.as_deref())).await;
    let error = match answer {
        Some(Ok(view)) => return json(Some(view)),
        Some(Err(error)) => error,
        None => return failed(),
    };
    let status = match error {
        AnswerError::Unknown(_) => StatusCode::NOT_FOUND,
        AnswerError::Over(_) => StatusCode::CONFLICT,
        AnswerError::NotAllowed(_) => StatusCode::FORBIDDEN,
        AnswerError::Malformed(_) => StatusCode::BAD_REQUEST,
        AnswerError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refused(status, error.to_string())
}

async fn revoke(shared: &Arc<Shared>, peer: &Arc<Peer>, body: &[u8]) -> Answer {
    let RevokeBody {
        principal,
        stop,
        undo,
    } = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    if stop && undo {
        return refused(
            StatusCode::BAD_REQUEST,
            "expected `stop` or `undo`, not both",
        );
    }
    let (revoker, peer) = (Arc::clone(&shared.ports.revoker), Arc::clone(peer));
    match blocking(move || revoker.revoke(&peer, &principal, stop, undo)).await {
        Some(Ok(view)) => json(Some(view)),
        Some(Err(PortError(reason))) => refused(StatusCode::INTERNAL_SERVER_ERROR, reason),
        None => failed(),
    }
}

async fn kill(shared: &Arc<Shared>, peer: &Arc<Peer>, body: &[u8]) -> Answer {
    let target = match serde_json::from_slice::<KillBody>(body) {
        Ok(KillBody { target }) => target.parse::<Target>(),
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let target = match target {
        Ok(Target::Process(_)) => {
            return refused(
                StatusCode::BAD_REQUEST,
                "kill takes a session (s…) or a tree (t…)",
            );
        }
        Ok(target) => target,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let (switch, peer) = (Arc::clone(&shared.ports.switch), Arc::clone(peer));
    match blocking(move || switch.kill(&peer, target)).await {
        Some(Some(killed)) => json(Some(KillView { killed })),
        Some(None) => refused(
            StatusCode::NOT_FOUND,
            format!("nothing is known of {target}"),
        ),
        None => failed(),
    }
}

async fn run(shared: &Arc<Shared>, peer: &Arc<Peer>, standing: Standing, body: &[u8]) -> Answer {
    let body = if body.is_empty() { b"{}" } else { body };
    let RunBody { policy, token } = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let launcher = Arc::clone(&shared.ports.launcher);
    let peer = Arc::clone(peer);
    match blocking(move || launcher.run(&peer, standing, policy.as_deref(), token.as_deref())).await
    {
        Some(Ok(view)) => json(Some(view)),
        Some(Err(error @ (RunError::NoPolicy(_) | RunError::Governed(_) | RunError::Token(_)))) => {
            refused(StatusCode::CONFLICT, error.to_string())
        }
        Some(Err(error @ RunError::Failed(_))) => {
            refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
        None => failed(),
    }
}

/// Makes a call that may block. `None`: it panicked, and that is in the log.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

fn all<T: Serialize>(
    out: &mut ChannelSink,
    items: impl Iterator<Item = T>,
) -> Result<bool, PortError> {
    use crate::ports::LineSink;
    for item in items {
        let line = serde_json::to_vec(&item).map_err(|error| PortError(error.to_string()))?;
        if out.line(line).is_err() {
            break;
        }
    }
    Ok(true)
}

/// Answers with what the thread says. What it fails with at once becomes a status.
async fn lines(
    mut events: tokio::sync::mpsc::Receiver<Event>,
    permit: Option<OwnedSemaphorePermit>,
) -> Answer {
    let first = match tokio::time::timeout(FIRST_LINE_WAIT, events.recv()).await {
        Ok(None) => return failed(),
        Ok(Some(Event::Failed(reason))) => {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, reason);
        }
        Ok(Some(Event::Done(false))) => {
            return refused(StatusCode::NOT_FOUND, "nothing is known of it");
        }
        Ok(Some(event)) => Some(event),
        Err(_) => None,
    };
    typed(
        StatusCode::OK,
        LINES,
        BoxBody::new(Lines::new(first, events, permit)),
    )
}

fn json<T: Serialize>(value: Option<T>) -> Answer {
    match value.map(|value| serde_json::to_vec(&value)) {
        Some(Ok(mut body)) => {
            body.push(b'\n');
            text(StatusCode::OK, JSON, body)
        }
        _ => failed(),
    }
}

fn not_permitted(standing: Standing) -> Answer {
    let reason = match standing {
        Standing::Governed(_) => {
            "not permitted: a process inside a governed tree may only run, and see its own tree"
        }
        Standing::Reader => "not permitted: members of the group gateway may only read",
        Standing::Approver => "not permitted: approvers see what waits for them, and answer it",
        Standing::Stranger => "not permitted: only root and members of the group gateway may ask",
        Standing::Admin | Standing::Responder => "not permitted",
    };
    refused(StatusCode::FORBIDDEN, reason)
}

fn failed() -> Answer {
    refused(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the daemon failed to answer; its log says why",
    )
}

fn refused(status: StatusCode, reason: impl Into<String>) -> Answer {
    let view = ErrorView {
        error: reason.into(),
    };
    text(status, JSON, serde_json::to_vec(&view).unwrap_or_default())
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    typed(
        status,
        kind,
        Full::new(body.into())
            .map_err(|never| match never {})
            .boxed(),
    )
}

fn typed(status: StatusCode, kind: &'static str, body: BoxBody<Bytes, io::Error>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let one = "s1".to_owned();
        for (path, expected) in [
            ("/healthz", Some(Route::Health)),
            ("/readyz", Some(Route::Ready)),
            ("/metrics", Some(Route::Metrics)),
            ("/v1/status", Some(Route::Status)),
            ("/v1/sessions", Some(Route::Sessions)),
            ("/v1/sessions/s1", Some(Route::Session(one.clone()))),
            ("/v1/lineage/s1", Some(Route::Lineage(one))),
            ("/v1/sessions/s1/x", None),
            ("/v1/status/", None),
            ("/", None),
            ("", None),
            ("/v2/status", None),
            ("//healthz", None),
        ] {
            assert_eq!(Route::of(path), expected, "{path}");
        }
    }

    #[test]
    fn only_what_changes_something_is_posted() {
        assert_eq!(Route::Kill.method(), Method::POST);
        assert_eq!(Route::Run.method(), Method::POST);
        assert_eq!(Route::Status.method(), Method::GET);
    }
}

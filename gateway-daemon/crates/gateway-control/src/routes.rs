//! What is answered to each route.
use crate::body::{
    AnswerBody, KillBody, LoginBody, LoginSamlBody, RevokeBody, RunBody, SshSessionBody,
};
use crate::caller::Caller;
use crate::filter::{ActFilter, Filter, after_from_query};
use crate::peer::Peer;
use crate::ports::{
    AnswerError, LineSink, LoginError, PendingLogin, PortError, RunError, SshSession,
    SshSessionError, Target,
};
use crate::reply::{Answer, LINES, METRICS, TEXT, blocking, failed, json, refused, text, typed};
use crate::route::{self, Entry, Route};
use crate::server::{Local, Shared};
use crate::standing::{Permission, Request, Standing, permits};
use crate::stream::{self, ChannelSink, Event, Lines};
use crate::view::{ErrorView, KillView, LoginBegunView};
use bytes::Bytes;
use gateway_core::{SessionId, TreeId};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How long the head of an answer waits for its first line, so that a failure becomes a status.
const FIRST_LINE_WAIT: Duration = Duration::from_millis(200);

pub(crate) const RUN_IS_LOCAL: &str =
    "not permitted: only a process of this host can be put into a tree";
pub(crate) const LOGIN_IS_LOCAL: &str =
    "not permitted: only a process of this host can sign in for its tree";

pub(crate) const SSH_IS_LOCAL: &str = "not permitted: only sshd of this host says who logged in";
/// The mistakes that lead there; whoever tries it on purpose learns nothing new.
const SSH_IS_FREE: &str = "not permitted: it is governed already, and nothing governed says who \
    logged in. In the PAM file of sshd the line belongs before the one that moves the session into \
    its cgroup (pam_systemd), and no policy may govern sshd itself";

/// A request that was read whole.
pub(crate) struct Asked {
    pub(crate) entry: &'static Entry,
    parameter: String,
    query: String,
    body: Bytes,
}

/// Who asks, and what the table of permissions says of it.
pub(crate) struct Asker {
    pub(crate) caller: Caller,
    pub(crate) standing: Standing,
    pub(crate) permission: Permission,
}

/// Reads one request, within the limits.
pub(crate) async fn read(
    shared: &Shared,
    request: hyper::Request<Incoming>,
) -> Result<Asked, Answer> {
    let (head, body) = request.into_parts();
    let Some((entry, parameter)) = route::find(head.uri.path()) else {
        return Err(refused(StatusCode::NOT_FOUND, "no such path"));
    };
    if head.method != entry.method {
        return Err(wrong_method());
    }
    let bytes_max = match entry.route {
        Route::LoginSaml => shared.limits.assertion_body_bytes_max,
        _ => shared.limits.body_bytes_max,
    };
    let body = read_body(body, bytes_max, shared).await;
    Ok(Asked {
        entry,
        parameter: parameter.to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: body.map_err(|(status, reason)| refused(status, reason))?,
    })
}

/// Reads a body of at most `bytes_max`, as fast as a request has to come.
pub(crate) async fn read_body(
    body: Incoming,
    bytes_max: usize,
    shared: &Shared,
) -> Result<Bytes, (StatusCode, &'static str)> {
    let body = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(shared.limits.request_time(), body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
    }
}

pub(crate) fn wrong_method() -> Answer {
    refused(StatusCode::METHOD_NOT_ALLOWED, "wrong method for this path")
}

/// Answers one request of the control socket.
pub(crate) async fn answer_local(
    local: &Local,
    peer: &Arc<Peer>,
    request: hyper::Request<Incoming>,
) -> Answer {
    let asked = match read(&local.shared, request).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    // Judged now, not when it connected: it may have come under a policy in between.
    let Some(standing) = local.standing_of(peer).await else {
        return refused(
            StatusCode::FORBIDDEN,
            "not permitted: it cannot be told who you are",
        );
    };
    let permission = permits(standing, asked.entry.asks);
    if permission == Permission::No {
        return not_permitted(standing, asked.entry.asks);
    }
    let asker = Asker {
        caller: Caller::Local(Arc::clone(peer)),
        standing,
        permission,
    };
    serve(&local.shared, asker, asked).await
}

/// Answers what is permitted.
pub(crate) async fn serve(shared: &Arc<Shared>, asker: Asker, asked: Asked) -> Answer {
    let Asked {
        entry,
        parameter,
        query,
        body,
    } = asked;
    let Asker {
        caller,
        standing,
        permission,
    } = asker;
    let own = match permission {
        Permission::Own(tree) => Some(tree),
        _ => None,
    };
    let ports = shared.ports.clone();
    match entry.route {
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
        Route::Lineage => lineage(shared, own, &parameter).await,
        Route::Sessions => match Filter::from_query(&query) {
            Ok((_, true)) => refused(StatusCode::BAD_REQUEST, "sessions cannot be followed"),
            Ok((filter, false)) => {
                let work = move |out: &mut ChannelSink| {
                    ports.archive.sessions(&filter, out).map(|()| true)
                };
                lines(stream::spawn(work), None).await
            }
            Err(error) => refused(StatusCode::BAD_REQUEST, error.to_string()),
        },
        Route::Session => match parameter.parse::<SessionId>() {
            Ok(session) => {
                let work = move |out: &mut ChannelSink| ports.archive.session(session, out);
                lines(stream::spawn(work), None).await
            }
            Err(error) => refused(StatusCode::BAD_REQUEST, error.to_string()),
        },
        Route::Replay => {
            let session = parameter.parse::<SessionId>().map_err(|e| e.to_string());
            let after = after_from_query(&query).map_err(|e| e.to_string());
            match session.and_then(|session| Ok((session, after?))) {
                Ok((session, after)) => {
                    let work =
                        move |out: &mut ChannelSink| ports.archive.replay(session, after, out);
                    lines(stream::spawn(work), None).await
                }
                Err(error) => refused(StatusCode::BAD_REQUEST, error),
            }
        }
        Route::Operations => operations(shared, standing, &query).await,
        Route::Acts => match ActFilter::from_query(&query) {
            Ok(filter) => {
                let work =
                    move |out: &mut ChannelSink| ports.archive.acts(&filter, out).map(|()| true);
                lines(stream::spawn(work), None).await
            }
            Err(error) => refused(StatusCode::BAD_REQUEST, error.to_string()),
        },
        Route::Kill => kill(shared, caller, &body).await,
        Route::Revoke => revoke(shared, caller, &body).await,
        Route::Approvals => approvals(shared, caller, standing, permission, &query).await,
        Route::Answer => give_answer(shared, caller, parameter, &body).await,
        Route::Run => match caller {
            Caller::Local(peer) => run(shared, peer, standing, &body).await,
            // The table says so already; who is no process here cannot be put into a tree.
            Caller::Remote(_) => refused(StatusCode::FORBIDDEN, RUN_IS_LOCAL),
        },
        route @ (Route::Login | Route::LoginSaml) => match (caller, own) {
            (Caller::Local(peer), Some(tree)) if route == Route::Login => {
                login(shared, peer, tree, &body).await
            }
            (Caller::Local(peer), Some(tree)) => present(shared, peer, tree, &body).await,
            (Caller::Local(_), None) => refused(
                StatusCode::CONFLICT,
                "only a governed login session can be bound, and the caller is in no governed tree",
            ),
            (Caller::Remote(_), _) => refused(StatusCode::FORBIDDEN, LOGIN_IS_LOCAL),
        },
        Route::SshSession => match caller {
            Caller::Local(peer) => ssh_session(shared, peer, &body).await,
            Caller::Remote(_) => refused(StatusCode::FORBIDDEN, SSH_IS_LOCAL),
        },
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
        Err(answer) => return *answer,
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
) -> Result<Option<OwnedSemaphorePermit>, Box<Answer>> {
    if !follow {
        return Ok(None);
    }
    let budget = shared.followers.get(standing.kind()).cloned();
    match budget.and_then(|budget| budget.try_acquire_owned().ok()) {
        Some(permit) => Ok(Some(permit)),
        None => Err(Box::new(refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many callers follow the log",
        ))),
    }
}

/// What waits for a human; `watch` in the query goes on with what comes.
async fn approvals(
    shared: &Arc<Shared>,
    caller: Caller,
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
        Err(answer) => return *answer,
    };
    let approvals = Arc::clone(&shared.ports.approvals);
    let answerable = permission == Permission::Answerable;
    let work = move |out: &mut ChannelSink| {
        approvals
            .pending(&caller, answerable, watch, out)
            .map(|()| true)
    };
    lines(stream::spawn(work), permit).await
}

async fn give_answer(shared: &Arc<Shared>, caller: Caller, id: String, body: &[u8]) -> Answer {
    let AnswerBody { approve, reason } = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let approvals = Arc::clone(&shared.ports.approvals);
    let answer = blocking(move || approvals.answer(&caller, &id, approve, reason.as_deref())).await;
    match answer {
        Some(Ok(view)) => json(Some(view)),
        Some(Err(error)) => refused(status_of(&error), error.to_string()),
        None => failed(),
    }
}

/// The status that says why an answer was not taken.
pub(crate) const fn status_of(error: &AnswerError) -> StatusCode {
    match error {
        AnswerError::Unknown(_) => StatusCode::NOT_FOUND,
        AnswerError::Over(_) => StatusCode::CONFLICT,
        AnswerError::NotAllowed(_) => StatusCode::FORBIDDEN,
        AnswerError::Malformed(_) => StatusCode::BAD_REQUEST,
        AnswerError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn revoke(shared: &Arc<Shared>, caller: Caller, body: &[u8]) -> Answer {
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
    let revoker = Arc::clone(&shared.ports.revoker);
    match blocking(move || revoker.revoke(&caller, &principal, stop, undo)).await {
        Some(Ok(view)) => json(Some(view)),
        Some(Err(PortError(reason))) => refused(StatusCode::INTERNAL_SERVER_ERROR, reason),
        None => failed(),
    }
}

async fn kill(shared: &Arc<Shared>, caller: Caller, body: &[u8]) -> Answer {
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
    let switch = Arc::clone(&shared.ports.switch);
    match blocking(move || switch.kill(&caller, target)).await {
        Some(Some(killed)) => json(Some(KillView { killed })),
        Some(None) => refused(
            StatusCode::NOT_FOUND,
            format!("nothing is known of {target}"),
        ),
        None => failed(),
    }
}

async fn run(shared: &Arc<Shared>, peer: Arc<Peer>, standing: Standing, body: &[u8]) -> Answer {
    let body = if body.is_empty() { b"{}" } else { body };
    let RunBody { policy, token } = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let launcher = Arc::clone(&shared.ports.launcher);
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

async fn ssh_session(shared: &Arc<Shared>, peer: Arc<Peer>, body: &[u8]) -> Answer {
    let login = match serde_json::from_slice(body) {
        Ok(SshSessionBody {
            user,
            auth_info,
            host,
            policy,
        }) => SshSession {
            user,
            auth_info,
            host,
            policy,
        },
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let sessions = Arc::clone(&shared.ports.ssh_sessions);
    match blocking(move || sessions.open(&peer, &login)).await {
        Some(Ok(view)) => json(Some(view)),
        Some(Err(error)) => {
            let status = match &error {
                SshSessionError::NotSshd(_) => StatusCode::FORBIDDEN,
                SshSessionError::Refused(_) => StatusCode::CONFLICT,
                SshSessionError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refused(status, error.to_string())
        }
        None => failed(),
    }
}

/// Two lines: what the person does, at once; and who it was, or why nobody signed in.
async fn login(shared: &Arc<Shared>, peer: Arc<Peer>, tree: TreeId, body: &[u8]) -> Answer {
    let body = if body.is_empty() { b"{}" } else { body };
    let LoginBody { issuer } = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let logins = Arc::clone(&shared.ports.logins);
    match blocking(move || logins.begin(&peer, tree, issuer.as_deref())).await {
        Some(Ok((begun, pending))) => {
            let work = move |out: &mut ChannelSink| conclude(&begun, pending, out).map(|()| true);
            lines(stream::spawn(work), None).await
        }
        Some(Err(error)) => refused(login_status(&error), error.to_string()),
        None => failed(),
    }
}

/// The head has gone out before the person answers: what fails then is a line.
fn conclude(
    begun: &LoginBegunView,
    pending: Box<dyn PendingLogin>,
    out: &mut ChannelSink,
) -> Result<(), PortError> {
    let shown = out.line(encoded(begun)?);
    if shown.and_then(|()| out.pause(Duration::ZERO)).is_err() {
        return Ok(());
    }
    let last = match pending.wait(out) {
        Ok(None) => return Ok(()),
        Ok(Some(view)) => encoded(&view)?,
        Err(error) => encoded(&ErrorView {
            error: error.to_string(),
        })?,
    };
    let _ = out.line(last);
    Ok(())
}

async fn present(shared: &Arc<Shared>, peer: Arc<Peer>, tree: TreeId, body: &[u8]) -> Answer {
    let LoginSamlBody { response } = match serde_json::from_slice(body) {
        Ok(body) => body,
        Err(error) => return refused(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let logins = Arc::clone(&shared.ports.logins);
    match blocking(move || logins.present(&peer, tree, &response)).await {
        Some(Ok(view)) => json(Some(view)),
        Some(Err(error)) => refused(login_status(&error), error.to_string()),
        None => failed(),
    }
}

const fn login_status(error: &LoginError) -> StatusCode {
    match error {
        LoginError::Issuer(_) => StatusCode::BAD_REQUEST,
        LoginError::Refused(_) => StatusCode::CONFLICT,
        LoginError::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
        LoginError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn all<T: Serialize>(
    out: &mut ChannelSink,
    items: impl Iterator<Item = T>,
) -> Result<bool, PortError> {
    for item in items {
        if out.line(encoded(&item)?).is_err() {
            break;
        }
    }
    Ok(true)
}

fn encoded<T: Serialize>(item: &T) -> Result<Vec<u8>, PortError> {
    serde_json::to_vec(item).map_err(|error| PortError(error.to_string()))
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

fn not_permitted(standing: Standing, asks: Request) -> Answer {
    let reason = match standing {
        Standing::Governed(_) if asks == Request::SshSession => SSH_IS_FREE,
        Standing::Governed(_) => {
            "not permitted: a process inside a governed tree may only run, login, and see its own tree"
        }
        Standing::Reader => "not permitted: members of the group gateway may only read",
        Standing::Approver => "not permitted: approvers see what waits for them, and answer it",
        Standing::Stranger => "not permitted: only root and members of the group gateway may ask",
        Standing::Admin | Standing::Responder => "not permitted",
    };
    refused(StatusCode::FORBIDDEN, reason)
}

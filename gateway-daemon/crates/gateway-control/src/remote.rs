//! The control API on a TCP port: TLS, bearer tokens, and the same routes as on the socket.
//!
//! Nobody is known by where they come from: each request carries a token, which the
//! [`Authenticator`] turns into a principal with a role. Only `/healthz` goes without one. The
//! directory's endpoint ([`ScimPort`]) has a token of its own, and the page behind a webhook's link
//! ([`Page`]) a session in the browser.
//!
//! A token is never logged and never part of an answer, also not of one that refuses it.
mod api;
mod budget;
mod cookie;
mod kept;
mod limits;
mod markup;
mod page;
mod ports;
mod scim;

pub use limits::RemoteLimits;
pub use ports::{
    Attempt, AuthenticationError, Authenticator, Entropy, Identity, Page, PagePorts, PrincipalLine,
    ProcessLine, QuestionView, RemotePorts, ScimPort, ScimRequest, ScimResponse, Shown, SignIn,
};

use crate::ports::Ports;
use crate::reply::{Answer, TEXT, text};
use crate::routes;
use crate::server::{ACCEPT_REST, DRAIN_TIME_MAX, Shared};
use crate::timed::Timed;
use budget::{Addresses, Place};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use page::Pages;
use rustls::ServerConfig;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How long a caller is listened to after its answer. A connection that is closed on unread bytes
/// is reset, and the reset can overtake the answer.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);
/// How much of what it still sends is read meanwhile, in bytes.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// What every connection of the port shares.
struct Remote {
    shared: Arc<Shared>,
    authenticator: Arc<dyn Authenticator>,
    scim: Option<Arc<dyn ScimPort>>,
    page: Option<Pages>,
    limits: RemoteLimits,
    /// Calls to the authenticator and to the sign-in that are under way.
    authentications: Arc<Semaphore>,
    scim_calls: Arc<Semaphore>,
}

/// Serves the control API on a TCP port until `stop` resolves. One caller's failure ends that
/// caller alone. `tls` decides about certificates; HTTP/1.1 is what is spoken, whatever it says.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve_remote(
    listener: std::net::TcpListener,
    tls: Arc<ServerConfig>,
    ports: Ports,
    remote: RemotePorts,
    limits: RemoteLimits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mut tls = ServerConfig::clone(&tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let shared = Arc::new(Remote {
        shared: Shared::new(ports, limits.requests),
        authenticator: remote.authenticator,
        scim: remote.scim,
        page: remote.page.map(Pages::new),
        limits,
        authentications: Arc::new(Semaphore::new(limits.authentications_max)),
        scim_calls: Arc::new(Semaphore::new(limits.scim_calls_max)),
    });
    let addresses = Arc::new(Addresses::new(limits.connections_per_address_max));
    let mut tasks = JoinSet::new();
    let mut full = false;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let place = if tasks.len() < limits.connections_max {
                        Addresses::enter(&addresses, address.ip())
                    } else {
                        None
                    };
                    if let Some(place) = place {
                        full = false;
                        let shared = Arc::clone(&shared);
                        tasks.spawn(connection(stream, address, acceptor.clone(), shared, place));
                    } else if !std::mem::replace(&mut full, true) {
                        // Once for each time that it fills up: a flood does not fill the log.
                        tracing::warn!(%address, "turned away: too many connections");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "accept on the control port failed");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, drained).await;
    Ok(())
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    remote: Arc<Remote>,
    _place: Place,
) {
    let limits = remote.limits;
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(limits.handshake_time(), acceptor.accept(stream)).await
    {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "no TLS on the control port"),
        Err(_) => return tracing::debug!(%address, "the TLS handshake took too long"),
    };
    let io = TokioIo::new(Timed::new(stream, limits.requests.stall_time()));
    let service = service_fn(|request| {
        let remote = Arc::clone(&remote);
        async move { Ok::<_, std::convert::Infallible>(answer(&remote, address, request).await) }
    });
    // One request for each connection, as on the socket. Its time has an end, a follower's too:
    // who goes on has to show a token that is still good.
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.requests.request_time())
        .max_buf_size(limits.requests.head_bytes_max.max(8192))
        .keep_alive(false)
        .serve_connection(io, service)
        .without_shutdown();
    match tokio::time::timeout(limits.connection_time(), served).await {
        Ok(Ok(parts)) => linger(parts.io.into_inner()).await,
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "a connection on the control port broke");
        }
        Err(_) => tracing::debug!(%address, "a connection on the control port took too long"),
    }
}

/// Says that all was said, and reads what the caller still sends, within bounds.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let farewell = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut left = LINGER_BYTES_MAX;
        let mut waste = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut waste).await {
            left = left.saturating_sub(count);
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIME_MAX, farewell).await;
}

async fn answer(remote: &Arc<Remote>, address: SocketAddr, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let mut answer = if path == "/healthz" {
        if request.method() == Method::GET {
            text(StatusCode::OK, TEXT, "ok\n")
        } else {
            routes::wrong_method()
        }
    } else if let Some(scim) = remote.scim.as_ref().filter(|_| scim::below(path).is_some()) {
        scim::answer(remote, scim, address, request).await
    } else if let Some(pages) = remote.page.as_ref().filter(|_| page::is_page(path)) {
        pages.answer(remote, address, request).await
    } else {
        api::answer(remote, address, request).await
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

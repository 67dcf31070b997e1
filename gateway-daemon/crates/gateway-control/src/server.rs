//! The control socket: accepts callers, says who they are, and gives each kind of them a budget of its own.
use crate::limits::Limits;
use crate::peer::Peer;
use crate::ports::{Callers, Ports, Role};
use crate::routes;
use crate::socket::ControlSocket;
use crate::standing::{KINDS, Standing};
use crate::timed::Timed;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long the accept loop rests when the kernel has no descriptor left.
pub(crate) const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How many callers, root and others apart, can be looked up at once: a user database that hangs
/// keeps that many threads and no more.
const LOOKUPS_MAX: usize = 8;
/// How long a look-up may take before the caller counts as nobody.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(5);
/// How long answers that are under way may take when the daemon ends.
pub(crate) const DRAIN_TIME_MAX: Duration = Duration::from_millis(500);

/// What every connection of one listener shares.
pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) limits: Limits,
    pub(crate) followers: [Arc<Semaphore>; KINDS],
}

impl Shared {
    pub(crate) fn new(ports: Ports, limits: Limits) -> Arc<Shared> {
        Arc::new(Shared {
            ports,
            limits,
            followers: semaphores(limits.followers_max),
        })
    }
}

fn semaphores(permits: usize) -> [Arc<Semaphore>; KINDS] {
    std::array::from_fn(|_| Arc::new(Semaphore::new(permits)))
}

/// What every connection of the control socket shares.
pub(crate) struct Local {
    pub(crate) shared: Arc<Shared>,
    connections: [Arc<Semaphore>; KINDS],
    lookups_root: Arc<Semaphore>,
    lookups_others: Arc<Semaphore>,
}

impl Local {
    /// Says what a caller is now. `None`: it cannot be told, so it is refused.
    pub(crate) async fn standing_of(&self, peer: &Arc<Peer>) -> Option<Standing> {
        let lookups = if peer.uid == 0 {
            &self.lookups_root
        } else {
            &self.lookups_others
        };
        let callers = Arc::clone(&self.shared.ports.callers);
        let peer = Arc::clone(peer);
        let lookup = async {
            let permit = Arc::clone(lookups).acquire_owned().await.ok()?;
            let judged = tokio::task::spawn_blocking(move || {
                let standing = standing_of(&*callers, &peer);
                drop(permit);
                standing
            });
            judged.await.ok().flatten()
        };
        tokio::time::timeout(LOOKUP_TIME_MAX, lookup)
            .await
            .ok()
            .flatten()
    }
}

fn standing_of(callers: &dyn Callers, peer: &Peer) -> Option<Standing> {
    let tree = match callers.tree_of(peer) {
        Ok(tree) => tree,
        Err(error) => {
            tracing::warn!(pid = peer.pid, %error, "a caller's tree cannot be told");
            return None;
        }
    };
    let role = if tree.is_some() {
        Role::None
    } else {
        callers.role_of(peer)
    };
    // What was looked up by pid counts only if the pid was the caller's all the while.
    peer.alive().then(|| Standing::new(tree, role))
}

/// Serves the control API until `stop` resolves. One caller's failure ends that caller alone.
pub async fn serve(
    socket: ControlSocket,
    ports: Ports,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let local = Arc::new(Local {
        shared: Shared::new(ports, limits),
        connections: semaphores(limits.connections_max),
        lookups_root: Arc::new(Semaphore::new(LOOKUPS_MAX)),
        lookups_others: Arc::new(Semaphore::new(LOOKUPS_MAX)),
    });
    // One budget's worth on top for callers whose kind is not known yet.
    let tasks_max = limits.connections_max.saturating_mul(KINDS + 1);
    let mut tasks = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            accepted = socket.accept() => match accepted {
                Ok(stream) if tasks.len() < tasks_max => {
                    tasks.spawn(connection(stream, Arc::clone(&local)));
                }
                Ok(_) => tracing::warn!("a caller was turned away: too many connections"),
                Err(error) => {
                    tracing::warn!(%error, "accept on the control socket failed");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    drop(socket);
    let drained = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, drained).await;
}

async fn connection(stream: UnixStream, local: Arc<Local>) {
    let peer = match Peer::of(&stream) {
        Ok(peer) => Arc::new(peer),
        Err(error) => return tracing::debug!(%error, "a caller cannot be told"),
    };
    let Some(standing) = local.standing_of(&peer).await else {
        return;
    };
    let Some(budget) = local.connections.get(standing.kind()) else {
        return;
    };
    let Ok(_permit) = Arc::clone(budget).try_acquire_owned() else {
        return tracing::warn!(
            pid = peer.pid,
            uid = peer.uid,
            "turned away: too many connections"
        );
    };
    let limits = local.shared.limits;
    let io = TokioIo::new(Timed::new(stream, limits.stall_time()));
    let service = service_fn(|request| {
        let local = Arc::clone(&local);
        let peer = Arc::clone(&peer);
        async move {
            Ok::<_, std::convert::Infallible>(routes::answer_local(&local, &peer, request).await)
        }
    });
    // One request for each connection: who asks is judged when it asks, and nobody camps here.
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_time())
        .max_buf_size(limits.head_bytes_max.max(8192))
        .keep_alive(false)
        .serve_connection(io, service)
        .await;
    if let Err(error) = served {
        tracing::debug!(pid = peer.pid, %error, "a connection on the control socket broke");
    }
}

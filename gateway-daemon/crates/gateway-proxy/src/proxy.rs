//! The proxy as the daemon holds it: start, look, end.
use crate::accept::{Accepting, accept};
use crate::counters::{Counters, Counts, Pace};
use crate::id::SessionIds;
use crate::limits::ProxyLimits;
use crate::ports::Ports;
use crate::questions::{Desk, take};
use crate::registry::{LiveSession, Registry};
use crate::worker::Worker;
use gateway_core::{SessionId, TreeId};
use gateway_protocol::relay::reactor::Reactor;
use gateway_protocol::{Datagrams, StopReason};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// How long sessions that were told to stop may take. The relay takes no time at all; a protocol
/// with an I/O loop of its own might hang, and its task is dropped then.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// The proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// A worker thread or its runtime could not be made.
    #[error("no worker thread: {0}")]
    Worker(io::Error),
    /// A listener cannot be used.
    #[error("unusable listener: {0}")]
    Listener(io::Error),
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) ports: Ports,
    pub(crate) limits: ProxyLimits,
    pub(crate) counters: Arc<Counters>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) ids: SessionIds,
    /// Connections from accept to the end of their task.
    pub(crate) active: AtomicUsize,
    /// Tasks that accept.
    pub(crate) accepting: AtomicUsize,
    /// Nothing is admitted any more.
    pub(crate) closed: AtomicBool,
    /// Told when `active` or `accepting` becomes 0.
    pub(crate) empty: Notify,
    pub(crate) accept_pace: Pace,
    pub(crate) limit_pace: Pace,
    pub(crate) orphan_pace: Pace,
    /// The workers, as accepting sees them.
    workers: Vec<Seat>,
    /// The one of the questions.
    pub(crate) asking: Seat,
}

/// A worker, as accepting sees it.
pub(crate) struct Seat {
    pub(crate) number: usize,
    /// How many sessions it serves.
    pub(crate) load: Arc<AtomicUsize>,
    pub(crate) handle: Handle,
    pub(crate) reactor: Option<Reactor>,
}

impl Shared {
    /// The worker with the fewest sessions; `home` unless another one has fewer.
    pub(crate) fn lightest(&self, home: usize) -> Option<&Seat> {
        let load = |seat: &Seat| seat.load.load(Ordering::Relaxed);
        let home = self.workers.get(home)?;
        let least = self.workers.iter().min_by_key(|seat| load(seat))?;
        Some(if load(least) < load(home) {
            least
        } else {
            home
        })
    }
}

/// Some listeners of the proxy. Dropping it changes nothing.
#[derive(Debug)]
pub struct Ear(Vec<AbortHandle>);

impl Ear {
    /// Closes the listeners. What they have accepted goes on.
    pub fn close(&self) {
        // Their tasks rest in between two connections only.
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Takes the connections of governed processes over. Dropping it ends all sessions at once.
pub struct Proxy {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    /// Takes questions, apart from the others: a flood of these keeps no connection waiting.
    asking: Worker,
    draining: watch::Sender<bool>,
    listeners: AtomicUsize,
}

impl Proxy {
    /// Starts the workers, and accepts from `listeners`. More can follow with [`Proxy::listen`].
    ///
    /// # Errors
    /// No thread, or a listener that is none.
    pub fn start(
        listeners: Vec<TcpListener>,
        ports: Ports,
        limits: ProxyLimits,
    ) -> Result<Proxy, ProxyError> {
        let count = match limits.workers {
            0 => thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let workers = (0..count)
            .map(Worker::start)
            .collect::<Result<Vec<_>, _>>()?;
        let asking = Worker::start(count)?;
        let seat = |(number, worker): (usize, &Worker)| Seat {
            number,
            load: Arc::clone(&worker.load),
            handle: worker.handle.clone(),
            reactor: worker.reactor(),
        };
        let seats = workers.iter().enumerate().map(seat).collect();
        let shared = Arc::new(Shared {
            ports,
            limits,
            counters: Arc::default(),
            registry: Arc::default(),
            ids: SessionIds::random(),
            active: AtomicUsize::new(0),
            accepting: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            empty: Notify::new(),
            accept_pace: Pace::default(),
            limit_pace: Pace::default(),
            orphan_pace: Pace::default(),
            workers: seats,
            asking: seat((count, &asking)),
        });
        let (draining, _) = watch::channel(false);
        let proxy = Proxy {
            shared,
            workers,
            asking,
            draining,
            listeners: AtomicUsize::new(0),
        };
        for listener in listeners {
            proxy.listen(listener)?;
        }
        Ok(proxy)
    }

    /// Accepts from one more listener: that of another network namespace, or another port. Until
    /// the proxy drains, or the ear is closed.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub fn listen(&self, listener: TcpListener) -> Result<Ear, ProxyError> {
        listener
            .set_nonblocking(true)
            .map_err(ProxyError::Listener)?;
        let number = self.listeners.fetch_add(1, Ordering::Relaxed);
        let home = number % self.workers.len().max(1);
        let tasks = self.workers.get(home).map(|worker| {
            let shared = Arc::clone(&self.shared);
            let accepting = Accepting::begin(&shared);
            let draining = self.draining.subscribe();
            let task = accept(listener, shared, home, draining, accepting);
            worker.handle.spawn(task).abort_handle()
        });
        Ok(Ear(tasks.into_iter().collect()))
    }

    /// Takes questions from these sockets, which are in the network namespace with the cookie
    /// `netns`, and brings them to the servers that were meant.
    ///
    /// # Errors
    /// One cannot be made non-blocking.
    pub fn answer(
        &self,
        netns: u64,
        sockets: Vec<UdpSocket>,
        protocol: Arc<dyn Datagrams>,
    ) -> Result<Ear, ProxyError> {
        let draining = self.draining.subscribe();
        let desk = Desk::new(Arc::clone(&self.shared), netns, protocol, draining);
        let desk = Arc::new(desk);
        let mut tasks = Vec::new();
        for socket in sockets {
            socket.set_nonblocking(true).map_err(ProxyError::Listener)?;
            let task = take(socket, Arc::clone(&desk));
            tasks.push(self.asking.handle.spawn(task).abort_handle());
        }
        Ok(Ear(tasks))
    }

    /// The live sessions, oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<LiveSession> {
        self.shared.registry.sessions()
    }

    /// Ends a session. Says whether it was there.
    pub fn kill_session(&self, session: SessionId) -> bool {
        self.shared.registry.stop_session(session)
    }

    /// Ends all sessions of a tree. Says how many.
    pub fn kill_tree(&self, tree: TreeId) -> usize {
        self.shared.registry.stop_tree(tree)
    }

    /// The counters, for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared
            .counters
            .counts(self.shared.active.load(Ordering::Relaxed) as u64)
    }

    /// How many sessions each worker serves.
    #[must_use]
    pub fn loads(&self) -> Vec<usize> {
        self.workers.iter().map(Worker::load).collect()
    }

    /// Stops accepting: what waits at the listeners is for whoever has them too. What was accepted
    /// is served.
    ///
    /// To be called inside of a tokio runtime with time.
    pub async fn stop_accepting(&self) {
        self.draining.send_replace(true);
        let none = self.none_of(&self.shared.accepting);
        let _ = tokio::time::timeout(STOP_GRACE, none).await;
    }

    /// Stops accepting, gives the sessions `timeout` to end by themselves, and ends the rest.
    /// When it returns, every session has its last record, but for those of a protocol that does
    /// not let itself be stopped: they get theirs when the proxy is dropped.
    ///
    /// To be called inside of a tokio runtime with time.
    pub async fn drain(&self, timeout: Duration) {
        let shared = &self.shared;
        self.stop_accepting().await;
        shared.closed.store(true, Ordering::SeqCst);
        let empty = || self.none_of(&shared.active);
        if tokio::time::timeout(timeout, empty()).await.is_err() {
            shared.registry.stop_all(StopReason::Drained);
            if tokio::time::timeout(STOP_GRACE, empty()).await.is_err() {
                let left = shared.active.load(Ordering::Relaxed);
                tracing::warn!(left, "sessions did not stop when told to");
            }
        }
    }

    async fn none_of(&self, count: &AtomicUsize) {
        loop {
            let mut told = pin!(self.shared.empty.notified());
            // Registered before the look, so that nothing is missed in between.
            told.as_mut().enable();
            if count.load(Ordering::SeqCst) == 0 {
                return;
            }
            told.await;
        }
    }
}

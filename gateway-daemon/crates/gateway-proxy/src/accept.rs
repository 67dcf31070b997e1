//! Accepting, and which worker serves.
//!
//! One worker accepts from a listener, and hands every connection to the worker with the fewest
//! sessions, itself on a tie. The other way, all workers waiting on the same listener, wakes each
//! of them for every connection and gives them all to whichever is first, so that eight
//! connections that come in a row may end up on one core. Here a single client stays on the
//! worker that is awake anyway, and eight clients are spread evenly; handing over costs a wake-up
//! of the other worker once per connection, and only then.
//!
//! Nothing of a connection is done here but giving it to a task: a dial that hangs stalls nobody.
use crate::connection;
use crate::counters::count;
use crate::proxy::{Seat, Shared};
use gateway_protocol::relay::reactor::Reactor;
use nix::errno::Errno;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How long accepting rests when descriptors or memory are short, at first and at most.
const REST_MIN: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_secs(1);

/// Counts who accepts, so that a drain knows when nobody does any more.
pub(crate) struct Accepting(Arc<Shared>);

impl Accepting {
    pub(crate) fn begin(shared: &Arc<Shared>) -> Accepting {
        shared.accepting.fetch_add(1, Ordering::SeqCst);
        Accepting(Arc::clone(shared))
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        if self.0.accepting.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}

/// Accepts on worker `home` until the proxy drains. Then the listener is closed; what still waits at
/// it is for whoever has it open too.
pub(crate) async fn accept(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    home: usize,
    mut draining: watch::Receiver<bool>,
    _accepting: Accepting,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "a listener cannot be watched"),
    };
    let mut rest = REST_MIN;
    while !*draining.borrow_and_update() {
        let accepted = tokio::select! {
            biased;
            changed = draining.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                rest = REST_MIN;
                admit(stream, &shared, home);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                count(&shared.counters.accept_errors);
                if shared.accept_pace.allows(shared.ports.clock.now()) {
                    tracing::error!(%error, rest_ms = rest.as_millis(), "accepting failed");
                }
                // The connection stays in the backlog, so without a rest this would spin.
                tokio::select! {
                    _ = draining.changed() => {}
                    () = tokio::time::sleep(rest) => {}
                }
                rest = (rest * 2).min(REST_MAX);
            }
        }
    }
}

/// An error of the connection that was to be accepted, not of accepting (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(
            Errno::EINTR
                | Errno::ECONNABORTED
                | Errno::EPERM
                | Errno::EPROTO
                | Errno::ENETDOWN
                | Errno::ENOPROTOOPT
                | Errno::EHOSTDOWN
                | Errno::ENONET
                | Errno::EHOSTUNREACH
                | Errno::EOPNOTSUPP
                | Errno::ENETUNREACH
        )
    )
}

/// Gives a connection to a task on the worker that has the least to do.
fn admit(stream: TcpStream, shared: &Arc<Shared>, home: usize) {
    count(&shared.counters.accepted);
    let Some(worker) = shared.lightest(home) else {
        return;
    };
    let Some(slot) = Slot::take(shared, worker) else {
        let now = shared.ports.clock.now();
        if !shared.closed.load(Ordering::SeqCst) {
            count(&shared.counters.over_limit);
            if shared.limit_pace.allows(now) {
                tracing::warn!(
                    limit = shared.limits.sessions,
                    "reset: limits.sessions is reached"
                );
            }
        }
        let _ = stream.set_zero_linger();
        return;
    };
    let accepted = if worker.number == home {
        Accepted::Here(stream)
    } else {
        match stream.into_std() {
            Ok(stream) => Accepted::Elsewhere(stream),
            Err(error) => return tracing::error!(%error, "a connection cannot change workers"),
        }
    };
    worker
        .handle
        .spawn(connection::serve(Arc::clone(shared), accepted, slot));
}

/// An accepted socket, on its way to the worker that serves it.
pub(crate) enum Accepted {
    /// It is watched by the worker that serves it.
    Here(TcpStream),
    /// It is watched by nobody.
    Elsewhere(std::net::TcpStream),
}

impl Accepted {
    /// The socket, watched by the worker that calls this.
    pub(crate) fn into_stream(self) -> io::Result<TcpStream> {
        match self {
            Accepted::Here(stream) => Ok(stream),
            Accepted::Elsewhere(stream) => TcpStream::from_std(stream),
        }
    }
}

/// A place among the sessions, given back when the connection's task is gone.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    load: Arc<AtomicUsize>,
    /// Where the worker has the links of its sessions run.
    pub(crate) reactor: Option<Reactor>,
}

impl Slot {
    pub(crate) fn take(shared: &Arc<Shared>, worker: &Seat) -> Option<Slot> {
        worker.load.fetch_add(1, Ordering::Relaxed);
        let before = shared.active.fetch_add(1, Ordering::SeqCst);
        let slot = Slot {
            shared: Arc::clone(shared),
            load: Arc::clone(&worker.load),
            reactor: worker.reactor.clone(),
        };
        // Counted first, then looked: a drain, which does it the other way round, either sees this
        // connection or is seen by it.
        let closed = shared.closed.load(Ordering::SeqCst);
        (before < shared.limits.sessions && !closed).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        if self.shared.active.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.shared.empty.notify_waiters();
        }
    }
}

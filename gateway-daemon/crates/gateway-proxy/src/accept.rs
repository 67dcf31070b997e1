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
use crate::proxy::Shared;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// Connections that are accepted before others may run.
const BATCH: usize = 32;
/// How long accepting rests when descriptors or memory are short, at first and at most.
const REST_MIN: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_secs(1);

/// Accepts on worker `home` until the proxy drains. Then the listener is closed.
pub(crate) async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    home: usize,
    mut draining: watch::Receiver<bool>,
) {
    let listener = match AsyncFd::register_with_interest(listener, Interest::READABLE) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(error = ?error, "a listener cannot be watched"),
    };
    let mut rest = REST_MIN;
    while !*draining.borrow_and_update() {
        let ready = tokio::select! {
            biased;
            changed = draining.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            ready = listener.readable() => ready,
        };
        let result = match ready {
            Ok(mut ready) => {
                let result = accept_batch(ready.get_inner(), &shared, home);
                if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                    ready.clear_ready();
                }
                result
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => tokio::task::yield_now().await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => rest = REST_MIN,
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

fn accept_batch(listener: &TcpListener, shared: &Arc<Shared>, home: usize) -> io::Result<()> {
    for _ in 0..BATCH {
        match listener.accept() {
            Ok((stream, _)) => admit(stream, shared, home),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
    let Some((load, handle)) = shared.lightest(home) else {
        return;
    };
    let Some(slot) = Slot::take(shared, load) else {
        count(&shared.counters.over_limit);
        if shared.limit_pace.allows(shared.ports.clock.now()) {
            tracing::warn!(
                limit = shared.limits.sessions,
                "connection refused: limits.sessions"
            );
        }
        return reset(&stream);
    };
    handle.spawn(connection::serve(Arc::clone(shared), stream, slot));
}

/// Makes the close that follows a reset.
pub(crate) fn reset(stream: &TcpStream) {
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // It cannot fail on a TCP socket; if it did, the peer would see a clean end and no byte.
    let _ = setsockopt(stream, sockopt::Linger, &linger);
}

/// A place among the sessions, given back when the connection's task is gone.
pub(crate) struct Slot {
    shared: Arc<Shared>,
    load: Arc<AtomicUsize>,
}

impl Slot {
    fn take(shared: &Arc<Shared>, load: Arc<AtomicUsize>) -> Option<Slot> {
        if shared.active.fetch_add(1, Ordering::AcqRel) >= shared.limits.sessions {
            shared.active.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        load.fetch_add(1, Ordering::Relaxed);
        Some(Slot {
            shared: Arc::clone(shared),
            load,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
        if self.shared.active.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.empty.notify_waiters();
        }
    }
}

//! The threads that serve sessions, in pairs. One has a runtime: it accepts, dials, recognises and
//! runs what needs more than a relay. Beside it a reactor runs the links of sessions that are
//! open. A session never changes pairs: its sockets wake the thread that serves them, never
//! another one first.
use crate::proxy::ProxyError;
use gateway_protocol::relay::reactor::{Reactor, ReactorThread};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Connections of a worker that may wait at once for whose they are. The others wait behind them.
const WAITERS_MAX: usize = 16;

/// One pair of threads.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) handle: Handle,
    pub(crate) load: Arc<AtomicUsize>,
    /// Ended before the runtime, whose timers its links use.
    relays: Option<ReactorThread>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(number: usize) -> Result<Worker, ProxyError> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(WAITERS_MAX)
            .enable_all()
            .build()
            .map_err(ProxyError::Worker)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let relays = ReactorThread::start(format!("relay-{number}"), handle.clone())
            .map_err(ProxyError::Worker)?;
        let thread = thread::Builder::new()
            .name(format!("gateway-{number}"))
            .spawn(move || {
                // An error means that the sender was dropped, which says the same.
                let _ = runtime.block_on(ended);
            })
            .map_err(ProxyError::Worker)?;
        Ok(Worker {
            handle,
            load: Arc::default(),
            relays: Some(relays),
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Where the links of its sessions are run.
    pub(crate) fn reactor(&self) -> Option<Reactor> {
        self.relays.as_ref().map(ReactorThread::reactor)
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}

impl Drop for Worker {
    /// Ends the thread. Sessions that it still serves are dropped there, and write their last
    /// records.
    fn drop(&mut self) {
        drop(self.relays.take());
        drop(self.end.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a worker thread panicked");
        }
    }
}

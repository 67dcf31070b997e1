//! The threads that serve sessions. Each has a runtime of its own, and a session stays on the
//! thread it began on: its sockets wake the thread that serves them, never another one first.
use crate::proxy::ProxyError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// One thread.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) handle: Handle,
    pub(crate) load: Arc<AtomicUsize>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(number: usize) -> Result<Worker, ProxyError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ProxyError::Worker)?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name(format!("gateway-{number}"))
            .spawn(move || {
                // An error means that the sender was dropped, which says the same.
                let _ = runtime.block_on(ended);
            })
            .map_err(ProxyError::Worker)?;
        let load = Arc::new(AtomicUsize::new(0));
        Ok(Worker {
            handle,
            load,
            end: Some(end),
            thread: Some(thread),
        })
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }
}

impl Drop for Worker {
    /// Ends the thread. Sessions that it still serves are dropped there, and write their last
    /// records.
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a worker thread panicked");
        }
    }
}

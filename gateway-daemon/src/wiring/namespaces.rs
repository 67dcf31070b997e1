//! The network namespaces in which governed processes live: in each the gateway listens, as it does
//! in its own, for as long as one of them is there.
//!
//! A process is looked at when it executes something, becomes governed or is refused for want of a
//! listener, and all of them are every few seconds: no event tells that one has entered another
//! namespace. Until the listeners are open its connections are refused.
use gateway_capture::{Capture, CaptureError, Listeners, Space};
use gateway_proxy::{Ear, ProxyError};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Processes that wait to be looked at. One more waits for the look at all.
const QUEUE_MAX: usize = 1024;
/// How often all processes are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A namespace that was without governed processes so often is left.
const LOOKS_IDLE: u8 = 2;
/// How long the start of a command may wait for listeners in its namespace.
const START_WAIT_MAX: Duration = Duration::from_secs(1);

/// Takes listeners into service.
pub(crate) type Opener = Box<dyn Fn(Listeners) -> Result<Vec<Ear>, ProxyError> + Send>;

/// What the thread is told.
enum Order {
    /// The gate is open: from now on there is something to listen for.
    Open(Opener),
    /// A process may be in a namespace that is not known. The answer says that it is now.
    Enter(u32, Option<SyncSender<()>>),
    /// All processes may be.
    LookAtAll,
    /// Nothing is opened or left any more.
    Close(SyncSender<()>),
}

/// A namespace in which the gateway listens.
struct Entered {
    netns: u64,
    ears: Vec<Ear>,
    /// How often in a row no governed process was found in it.
    idle: u8,
}

/// Where the gateway listens beside its own network namespace.
pub(crate) struct Namespaces {
    shared: Arc<Shared>,
    queue: SyncSender<Order>,
}

struct Shared {
    capture: Arc<Capture>,
    /// The inode of the daemon's own.
    home: u64,
    max: usize,
    /// By inode.
    entered: Mutex<HashMap<u64, Entered>>,
}

impl Namespaces {
    /// Nothing is opened before [`Namespaces::open`].
    pub(crate) fn start(capture: &Arc<Capture>, max: usize) -> io::Result<Namespaces> {
        let shared = Arc::new(Shared {
            capture: Arc::clone(capture),
            home: Space::inode_of(std::process::id())?,
            max,
            entered: Mutex::default(),
        });
        let (queue, orders) = sync_channel(QUEUE_MAX);
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("namespaces".to_owned());
        thread.spawn(move || worker.run(&orders))?;
        Ok(Namespaces { shared, queue })
    }

    /// From now on listeners are opened, and taken into service by `opener`.
    pub(crate) fn open(&self, opener: Opener) -> io::Result<()> {
        let sent = self.queue.send(Order::Open(opener));
        sent.map_err(|_| io::Error::other("the thread of the network namespaces has died"))?;
        self.review();
        Ok(())
    }

    /// A process may be in a namespace that is not known. Does not wait.
    pub(crate) fn look(&self, pid: u32) {
        if self.shared.lacks(pid) {
            // Where the queue is full, the look at all processes finds it.
            let _ = self.queue.try_send(Order::Enter(pid, None));
        }
    }

    /// The same, and waits until the gateway listens there.
    pub(crate) fn wait_for(&self, pid: u32) {
        if !self.shared.lacks(pid) {
            return;
        }
        let (done, waited) = sync_channel(1);
        if self.queue.try_send(Order::Enter(pid, Some(done))).is_ok() {
            let _ = waited.recv_timeout(START_WAIT_MAX);
        }
    }

    /// What is open belongs to a daemon that takes over: nothing is opened or left any more.
    pub(crate) fn close(&self) {
        let (done, waited) = sync_channel(1);
        if self.queue.send(Order::Close(done)).is_ok() {
            let _ = waited.recv();
        }
    }

    /// Other processes may be governed now. Does not wait.
    pub(crate) fn review(&self) {
        let _ = self.queue.try_send(Order::LookAtAll);
    }
}

impl Shared {
    /// Is the process in a namespace in which the gateway does not listen?
    fn lacks(&self, pid: u32) -> bool {
        // One that is gone needs nothing.
        let Ok(inode) = Space::inode_of(pid) else {
            return false;
        };
        inode != self.home && !self.entered.lock().contains_key(&inode)
    }

    /// Until the queue is gone.
    fn run(&self, orders: &Receiver<Order>) {
        let mut opener = None;
        let mut last = Instant::now();
        loop {
            let order = orders.recv_timeout(LOOK_EVERY.saturating_sub(last.elapsed()));
            let (pid, asker) = match order {
                Ok(Order::Open(given)) => {
                    opener = Some(given);
                    continue;
                }
                Ok(Order::Enter(pid, asker)) => (Some(pid), asker),
                Ok(Order::LookAtAll) | Err(RecvTimeoutError::Timeout) => (None, None),
                Ok(Order::Close(closed)) => {
                    let _ = closed.try_send(());
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let Some(opener) = &opener else {
                continue;
            };
            match pid {
                Some(pid) => self.enter(pid, opener),
                None => {
                    last = Instant::now();
                    self.look_at_all(opener);
                }
            }
            if let Some(asker) = asker {
                let _ = asker.try_send(());
            }
        }
    }

    /// Listens in the namespace of a process, unless it does already.
    fn enter(&self, pid: u32, opener: &Opener) {
        let Ok(space) = Space::of(pid) else {
            return;
        };
        let count = {
            let entered = self.entered.lock();
            if space.inode == self.home || entered.contains_key(&space.inode) {
                return;
            }
            entered.len()
        };
        let inode = space.inode;
        if count >= self.max {
            let limit = self.max;
            tracing::warn!(
                pid,
                limit,
                "limits.namespaces is reached: connections of this process are refused"
            );
            return;
        }
        match self.listen(&space, opener) {
            Ok(Some(new)) => {
                tracing::info!(pid, netns = new.netns, "listening in a network namespace");
                self.entered.lock().insert(inode, new);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(pid, %error, "no listener in a network namespace: connections there are refused");
            }
        }
    }

    fn listen(&self, space: &Space, opener: &Opener) -> Result<Option<Entered>, CaptureError> {
        let Some(listeners) = self.capture.listen_in(space)? else {
            return Ok(None);
        };
        let netns = listeners.netns;
        match opener(listeners) {
            Ok(ears) => Ok(Some(Entered {
                netns,
                ears,
                idle: 0,
            })),
            Err(error) => {
                self.capture.leave(netns)?;
                Err(CaptureError::System {
                    what: "listen in a network namespace".to_owned(),
                    detail: error.to_string(),
                })
            }
        }
    }

    /// Enters what is not known, and leaves what nobody lives in any more.
    fn look_at_all(&self, opener: &Opener) {
        let tags = match self.capture.tags() {
            Ok(tags) => tags,
            Err(error) => {
                tracing::error!(%error, "network namespaces could not be looked for");
                return;
            }
        };
        let mut inhabited = HashSet::new();
        for tag in tags {
            let Ok(inode) = Space::inode_of(tag.pid) else {
                continue;
            };
            if inhabited.insert(inode) {
                self.enter(tag.pid, opener);
            }
        }
        // What an earlier daemon left open is entered by now, or nobody is there.
        if let Err(error) = self.capture.leave_unclaimed() {
            tracing::error!(%error, "network namespaces could not be left");
        }
        let mut entered = self.entered.lock();
        for (inode, place) in &mut *entered {
            place.idle = match inhabited.contains(inode) {
                true => 0,
                false => place.idle.saturating_add(1),
            };
        }
        let gone = entered.extract_if(|_, place| place.idle >= LOOKS_IDLE);
        for (_, place) in gone {
            self.leave(&place);
        }
    }

    /// Our sockets would keep the namespace for ever.
    fn leave(&self, place: &Entered) {
        if let Err(error) = self.capture.leave(place.netns) {
            tracing::error!(%error, "a network namespace could not be left");
        }
        place.ears.iter().for_each(Ear::close);
        tracing::debug!(netns = place.netns, "a network namespace is left");
    }
}

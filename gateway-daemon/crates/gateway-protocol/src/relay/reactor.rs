//! A thread of open links over an epoll instance of its own.
//!
//! A general runtime wakes a task for a socket by way of a registration, a waker and a run queue,
//! each of which has long left the cache when the next packet comes. Here an event names the
//! link, and the link is polled: of what a turn costs besides its four system calls little is
//! left (docs/decisions/0009). Only open links are here, nothing that blocks, and no I/O but
//! theirs; timers are those of the runtime that the links came from.
//!
//! - A panic ends the link it happened in. The future that waits for the link panics with it.
//! - A link whose future is dropped is aborted.
//! - When the thread is ended, the links that are left are dropped, and those that come later; the
//!   futures that wait for them are left to be dropped with their runtime.
mod link;
mod mail;

use super::Relay;
use super::socket::Socket;
use crate::protocol::Closed;
use crate::wire::Wire;
use link::{Key, Links};
use mail::{Mail, Post};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(super) use link::Handed;

/// Events per look. More are left for the next, behind what the links themselves asked for.
const EVENTS_MAX: usize = 256;
/// The event of the mail; no link has this number.
const BELL: u64 = u64::MAX;

/// How a link ended, or the panic that ended it.
type Outcome = thread::Result<Closed>;

/// A link on its way to the thread.
struct Arrival {
    relay: Relay<Wire<Socket>>,
    closed: oneshot::Sender<Outcome>,
}

/// The thread, as those see it who hand links over. Cloning it makes another such view.
#[derive(Clone)]
pub struct Reactor {
    mail: Arc<Mail>,
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor").finish_non_exhaustive()
    }
}

/// Ends the thread when it is dropped, and waits for that.
#[derive(Debug)]
pub struct ReactorThread {
    reactor: Reactor,
    thread: Option<JoinHandle<()>>,
}

impl ReactorThread {
    /// Starts the thread. Timers of its links run in `runtime`, which must have time and must
    /// live longer.
    ///
    /// # Errors
    /// No descriptor or no thread is to be had.
    pub fn start(name: String, runtime: Handle) -> io::Result<ReactorThread> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        let mail = Arc::new(Mail::new(bell));
        let reactor = Reactor {
            mail: Arc::clone(&mail),
        };
        let work = move || {
            let _time = runtime.enter();
            Loop {
                epoll,
                links: Links::default(),
                mail,
            }
            .run();
        };
        let thread = thread::Builder::new().name(name).spawn(work)?;
        Ok(ReactorThread {
            reactor,
            thread: Some(thread),
        })
    }

    /// To hand links over with.
    #[must_use]
    pub fn reactor(&self) -> Reactor {
        self.reactor.clone()
    }
}

impl Drop for ReactorThread {
    fn drop(&mut self) {
        self.reactor.mail.tell_to_end();
        if let Some(thread) = self.thread.take() {
            // A panic outside of any link was printed, and its links are gone like all others.
            let _ = thread.join();
        }
    }
}

impl Reactor {
    /// Hands a link over, to be run from now on. Both streams have to be non-blocking.
    pub(super) fn hand_over(&self, relay: Relay<Wire<Socket>>) -> Handed {
        let stop = relay.stop();
        let (closed, waits) = oneshot::channel();
        self.mail
            .send(Post::Arrival(Box::new(Arrival { relay, closed })));
        Handed::new(waits, stop, Arc::clone(&self.mail))
    }
}

/// What the thread has.
struct Loop {
    epoll: Epoll,
    links: Links,
    mail: Arc<Mail>,
}

/// However the thread ends: nobody may wait for a link that it never gets.
impl Drop for Loop {
    fn drop(&mut self) {
        self.mail.end();
        drop(self.mail.take());
        // A stream that was cut short must not look like a whole one.
        self.links.abort();
    }
}

impl Loop {
    fn run(&mut self) {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        loop {
            let timeout = if self.mail.may_sleep() {
                EpollTimeout::NONE
            } else {
                EpollTimeout::ZERO
            };
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                // The descriptor is this thread's own: it cannot go bad.
                Err(_) => return,
            };
            self.mail.is_awake();
            // Taken before the events: a link that has not finished with one is polled again
            // behind the next look at the sockets, not before.
            let Some(post) = self.mail.take() else { return };
            for event in events.get(..count).unwrap_or_default() {
                self.take_event(*event);
            }
            for post in post {
                match post {
                    Post::Arrival(arrival) => self.begin(*arrival),
                    Post::Wake(key) => self.links.wake(key),
                }
            }
        }
    }

    fn take_event(&mut self, event: EpollEvent) {
        if event.data() == BELL {
            self.mail.heard();
        } else {
            let (key, side) = Key::from_event(event.data());
            self.links.tell(key, side, event.events());
        }
    }

    /// Watches both sockets of a link, and polls it for the first time.
    fn begin(&mut self, Arrival { relay, closed }: Arrival) {
        let key = self.links.insert(relay, closed, &self.mail);
        self.links.watch(key, &self.epoll);
        self.links.poll(key);
    }
}

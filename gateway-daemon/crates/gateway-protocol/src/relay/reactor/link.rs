//! The links of a reactor, and the future that waits for one.
use super::mail::{Alarm, Mail};
use super::{Outcome, Relay, Socket};
use crate::protocol::Closed;
use crate::relay::socket::INTEREST;
use crate::session::Side;
use crate::stop::{Stop, StopReason};
use crate::wire::Wire;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use slab::Slab;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use tokio::sync::oneshot;

/// Names a link: its place, and the turn in which the place was given. An event of a link that is
/// gone does not reach the next one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    place: u32,
    turn: u32,
}

impl Key {
    /// As the data of an event: turn, place, side. Places stay below 2³¹ - 1, since each takes two
    /// descriptors.
    pub(super) const fn event(self, side: Side) -> u64 {
        let side = match side {
            Side::Client => 0,
            Side::Upstream => 1,
        };
        (self.turn as u64) << 32 | (self.place as u64) << 1 | side
    }

    pub(super) const fn from_event(data: u64) -> (Key, Side) {
        let key = Key {
            place: (data as u32) >> 1,
            turn: (data >> 32) as u32,
        };
        let side = if data & 1 == 0 {
            Side::Client
        } else {
            Side::Upstream
        };
        (key, side)
    }
}

struct Running {
    turn: u32,
    alarm: Arc<Alarm>,
    waker: Waker,
    relay: Relay<Wire<Socket>>,
    closed: oneshot::Sender<Outcome>,
}

/// All links of one thread.
#[derive(Default)]
pub(super) struct Links {
    running: Slab<Running>,
    turn: u32,
}

impl Links {
    pub(super) fn insert(
        &mut self,
        relay: Relay<Wire<Socket>>,
        closed: oneshot::Sender<Outcome>,
        mail: &Arc<Mail>,
    ) -> Key {
        self.turn = self.turn.wrapping_add(1);
        let place = self.running.vacant_entry();
        let key = Key {
            place: u32::try_from(place.key()).unwrap_or(u32::MAX),
            turn: self.turn,
        };
        let alarm = Arc::new(Alarm::new(Arc::clone(mail), key));
        place.insert(Running {
            turn: self.turn,
            waker: Waker::from(Arc::clone(&alarm)),
            alarm,
            relay,
            closed,
        });
        key
    }

    fn get(&mut self, key: Key) -> Option<&mut Running> {
        self.running
            .get_mut(key.place as usize)
            .filter(|running| running.turn == key.turn)
    }

    /// Has both sockets of a link watched. When that fails, the link is over.
    pub(super) fn watch(&mut self, key: Key, epoll: &Epoll) {
        let Some(running) = self.get(key) else { return };
        let failed = running.relay.sockets().find_map(|(side, socket)| {
            let event = EpollEvent::new(INTEREST, key.event(side));
            let error = epoll.add(socket, event).err()?;
            Some((side, io::Error::from(error)))
        });
        if let Some((side, error)) = failed {
            running.relay.fail(side, &error);
        }
    }

    /// Resets all that are left.
    pub(super) fn abort(&self) {
        for (_, running) in &self.running {
            running.relay.abort();
        }
    }

    /// The kernel has something to say about a side of a link.
    pub(super) fn tell(&mut self, key: Key, side: Side, events: EpollFlags) {
        if let Some(running) = self.get(key) {
            running.relay.tell(side, events);
            if !running.alarm.rings() {
                self.poll(key);
            }
        }
    }

    /// The alarm of a link rang.
    pub(super) fn wake(&mut self, key: Key) {
        if let Some(running) = self.get(key) {
            running.alarm.is_heard();
            self.poll(key);
        }
    }

    /// Lets a link do what it can.
    pub(super) fn poll(&mut self, key: Key) {
        let Some(running) = self.get(key) else { return };
        let relay = Pin::new(&mut running.relay);
        let mut context = Context::from_waker(&running.waker);
        // What a panic leaves behind is not used again: the link is dropped.
        let polled = catch_unwind(AssertUnwindSafe(|| relay.poll(&mut context)));
        let outcome = match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(closed)) => Ok(closed),
            Err(panic) => Err(panic),
        };
        let Running { relay, closed, .. } = self.running.remove(key.place as usize);
        if outcome.is_err() {
            relay.abort();
        }
        // What a panic left behind may panic once more when it is dropped.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(relay)));
        // Nobody waits when the future was dropped; then the outcome is dropped here.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(closed.send(outcome))));
    }
}

/// Waits for a link that was handed over. Dropping it aborts the link.
pub(in crate::relay) struct Handed {
    waits: oneshot::Receiver<Outcome>,
    stop: Option<Arc<Stop>>,
    mail: Arc<Mail>,
}

impl Handed {
    pub(super) const fn new(
        waits: oneshot::Receiver<Outcome>,
        stop: Option<Arc<Stop>>,
        mail: Arc<Mail>,
    ) -> Handed {
        Handed { waits, stop, mail }
    }
}

impl Future for Handed {
    type Output = Closed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Closed> {
        if self.stop.is_none() {
            return Poll::Pending;
        }
        let outcome = ready!(Pin::new(&mut self.waits).poll(context));
        self.stop = None;
        match outcome {
            Ok(Ok(closed)) => Poll::Ready(closed),
            Ok(Err(panic)) => resume_unwind(panic),
            // The thread was ended, and the link with it. So will this task be: its runtime is next.
            Err(_) if self.mail.was_told_to_end() => Poll::Pending,
            // The thread died. The gate died with the link, so there is nothing to go on with.
            Err(gone) => resume_unwind(Box::new(gone)),
        }
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.stop(StopReason::Drained);
        }
    }
}

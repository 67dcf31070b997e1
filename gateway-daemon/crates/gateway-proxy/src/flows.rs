//! Flows of datagrams that ask for no name: what one socket sends to one place, and what comes back
//! from there. A session each, judged once as a whole, like an opaque connection; its bytes and
//! times are recorded.
//!
//! Nothing tells that such a flow is over but silence. One that is refused is over at once, and is
//! remembered for a while: what comes for it is dropped, and not asked about anew for each
//! datagram. Then it takes no place among the sessions.
use crate::accept::Slot;
use crate::connection::{self, Opened};
use crate::conversation::Letter;
use crate::counters::count;
use crate::dial;
use crate::ports::{Attributed, Flow};
use crate::questions::{Desk, is_same};
use crate::registry::Registered;
use gateway_core::governor::Ending;
use gateway_core::{
    Clearance, DATAGRAMS, Effect, Governor, Object, Obstacle, Operation, SessionEnd, SessionId,
    Verb,
};
use gateway_protocol::{Answer, StopReason};
use rustc_hash::FxHashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// Datagrams of one flow that wait to be sent.
const INBOX_MAX: usize = 64;
/// How long a flow that was refused is remembered.
const REFUSED: Duration = Duration::from_secs(10);

/// Which flow a datagram belongs to: a socket, the place that it sends from, and to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    cookie: u64,
    from: SocketAddr,
    to: SocketAddr,
}

/// A flow, as those see it who have something for it.
struct Open {
    behind: Attributed,
    session: SessionId,
    inbox: mpsc::Sender<Letter>,
}

/// The flows of one network namespace.
#[derive(Default)]
pub(crate) struct Flows(Mutex<FxHashMap<Key, Open>>);

impl Flows {
    /// What is kept under the lock is whole between any two calls.
    fn lock(&self) -> MutexGuard<'_, FxHashMap<Key, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A flow is over. Another one may have taken its place.
    fn leave(&self, key: &Key, session: SessionId) {
        let mut open = self.lock();
        if open.get(key).is_some_and(|open| open.session == session) {
            open.remove(key);
        }
    }
}

/// Gives a datagram to its flow, which is opened when there is none. Where that is full it is lost,
/// as on any network.
pub(crate) fn hand_out(desk: &Arc<Desk>, letter: Letter, flow: Flow, behind: Attributed) {
    let key = Key {
        cookie: flow.cookie,
        from: letter.from,
        to: flow.destination,
    };
    let mut flows = desk.flows.lock();
    if let Some(open) = flows.get(&key)
        && is_same(&open.behind, &behind)
        && !open.inbox.is_closed()
    {
        let _ = open.inbox.try_send(letter);
        return;
    }
    if flows.len() >= desk.shared.limits.sessions {
        return count(&desk.shared.counters.over_limit);
    }
    let seat = &desk.shared.asking;
    let Some(slot) = Slot::take(&desk.shared, seat) else {
        return count(&desk.shared.counters.over_limit);
    };
    let Some(opened) = connection::open(&desk.shared, flow, behind.clone()) else {
        return;
    };
    let (inbox, letters) = mpsc::channel(INBOX_MAX);
    let socket = Arc::clone(&letter.socket);
    let _ = inbox.try_send(letter);
    let session = opened.governor.session();
    let open = Open {
        behind,
        session,
        inbox,
    };
    flows.insert(key, open);
    drop(flows);
    let desk = Arc::clone(desk);
    seat.handle.spawn(async move {
        let passage = Passage {
            desk: &desk,
            flow,
            client: key.from,
            socket,
            letters,
            bytes_up: 0,
            bytes_down: 0,
        };
        let refused = passage.serve(opened).await;
        drop(slot);
        if let Some(letters) = refused {
            drop_all(&desk, letters).await;
        }
        desk.flows.leave(&key, session);
    });
}

/// How a flow ended.
enum Over {
    Silent,
    Denied,
    Failed(String),
    Stopped(StopReason),
}

/// A flow that is being served.
struct Passage<'a> {
    desk: &'a Arc<Desk>,
    flow: Flow,
    client: SocketAddr,
    /// That to which the client sends.
    socket: Arc<UdpSocket>,
    letters: mpsc::Receiver<Letter>,
    bytes_up: u64,
    bytes_down: u64,
}

impl Passage<'_> {
    /// Serves it until it is over. What still comes for one that was refused is given back.
    async fn serve(mut self, opened: Opened) -> Option<mpsc::Receiver<Letter>> {
        let Opened {
            mut governor,
            registered,
            ..
        } = opened;
        governor.recognised(DATAGRAMS);
        registered.live.recognised(DATAGRAMS);
        let over = match self.submit(&mut governor, &registered).await {
            Ok(clearance) => self.pass(&clearance, &mut governor, &registered).await,
            Err(over) => over,
        };
        let refused = matches!(over, Over::Denied);
        let letters = self.close(governor, registered, over);
        refused.then_some(letters)
    }

    /// Asks for the whole of it, and waits where a human is asked.
    async fn submit(
        &self,
        governor: &mut Governor,
        registered: &Registered,
    ) -> Result<Clearance, Over> {
        let effects = [
            Effect {
                verb: Verb::Connect,
                objects: Vec::new(),
            },
            Effect {
                verb: Verb::Unknown,
                objects: vec![Object::Unresolved("*".into())],
            },
        ];
        let operation = Operation::new(DATAGRAMS, Verb::Unknown, &effects);
        let shared = &self.desk.shared;
        loop {
            match governor.submit(&operation, shared.ports.clock.now()) {
                Ok(clearance) => return Ok(clearance),
                Err(Obstacle::Held(_)) => {}
                Err(Obstacle::Refused(_)) => {
                    count(&shared.counters.refused);
                    return Err(Over::Denied);
                }
            }
            tokio::select! {
                biased;
                reason = registered.live.stop.stopped() => return Err(Over::Stopped(reason)),
                () = governor.answered() => {}
            }
        }
    }

    /// Moves datagrams both ways until there are none any more.
    async fn pass(
        &mut self,
        clearance: &Clearance,
        governor: &mut Governor,
        registered: &Registered,
    ) -> Over {
        let upstream = dial::datagrams(&*self.desk.shared.ports.capture, &self.flow);
        let over = match upstream.and_then(UdpSocket::from_std) {
            Ok(upstream) => self.relay(&upstream, registered).await,
            Err(error) => Over::Failed(format!("reach {}: {error}", self.flow.destination)),
        };
        let error = match &over {
            Over::Failed(error) => Some(error.as_str().into()),
            _ => None,
        };
        let answer = Answer {
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            error,
            ..Answer::default()
        };
        let outcome = answer.outcome(clearance.id(), self.desk.shared.ports.clock.now());
        match governor.complete(&outcome) {
            Ok(()) => over,
            Err(error) => {
                count(&self.desk.shared.counters.recording_failures);
                Over::Failed(error.to_string())
            }
        }
    }

    async fn relay(&mut self, upstream: &UdpSocket, registered: &Registered) -> Over {
        let idle = self.desk.shared.limits.datagrams_idle;
        let mut draining = self.desk.draining.clone();
        loop {
            if *draining.borrow_and_update() {
                return Over::Stopped(StopReason::Drained);
            }
            tokio::select! {
                biased;
                reason = registered.live.stop.stopped() => return Over::Stopped(reason),
                letter = self.letters.recv() => match letter {
                    // What the network does not take is lost, as on any network. A new socket is
                    // not known to be writable yet, so it is waited for.
                    Some(letter) => if let Ok(sent) = upstream.send(&letter.bytes).await {
                        self.bytes_up += sent as u64;
                    },
                    None => return Over::Silent,
                },
                _ = upstream.readable() => {
                    while let Some(sent) = self.desk.pass_on(upstream, &self.socket, self.client) {
                        self.bytes_down += sent as u64;
                    }
                }
                _ = draining.changed() => {}
                () = tokio::time::sleep(idle) => return Over::Silent,
            }
        }
    }

    fn close(
        mut self,
        governor: Governor,
        registered: Registered,
        over: Over,
    ) -> mpsc::Receiver<Letter> {
        if !matches!(over, Over::Denied) {
            self.letters.close();
        }
        let (end, error) = match over {
            Over::Silent => (SessionEnd::Client, None),
            Over::Denied => (SessionEnd::Denied, None),
            Over::Failed(error) => (SessionEnd::Error, Some(error.into())),
            Over::Stopped(reason) => (SessionEnd::Killed, Some(reason.words().into())),
        };
        let ending = Ending {
            end,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            error,
        };
        connection::close(&self.desk.shared, governor, ending);
        drop(registered);
        self.letters
    }
}

/// Takes in what comes for a flow that was refused.
async fn drop_all(desk: &Desk, mut letters: mpsc::Receiver<Letter>) {
    let end = tokio::time::sleep(REFUSED);
    tokio::pin!(end);
    let mut draining = desk.draining.clone();
    while !*draining.borrow_and_update() {
        tokio::select! {
            () = &mut end => return,
            letter = letters.recv() => if letter.is_none() {
                return;
            },
            _ = draining.changed() => {}
        }
    }
}

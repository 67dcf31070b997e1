//! Questions that come as datagrams: whose they are, and to which of their sessions they belong.
//!
//! Datagrams that are no questions are flows of their own ([`crate::flows`]).
//!
//! A session is what one process asks one server, until it has been silent for a while. Its task
//! ([`crate::conversation`]) owns the gate; here datagrams are only handed out, so one that is held
//! or never answered stalls nobody else. A question that cannot be attributed is answered that it
//! failed, and goes nowhere.
use crate::accept::Slot;
use crate::connection::{self, Opened};
use crate::conversation::{self, Letter};
use crate::counters::count;
use crate::flows::{self, Flows};
use crate::ports::{Attributed, Behind, Flow};
use crate::proxy::Shared;
use gateway_core::{SessionId, Subject, TreeId};
use gateway_protocol::{Asker, Datagrams, No};
use rustc_hash::FxHashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, mpsc, watch};

/// The longest datagram over IP.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// The longest question that is read whole. What is longer is none, and is seen as cut.
const QUESTION_BYTES_MAX: usize = 8192;
/// Questions of one session that wait to be looked at.
const INBOX_MAX: usize = 64;
/// Questions that wait until it is known whose they are.
const UNSETTLED_MAX: usize = 256;

/// Which session a question belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    tree: TreeId,
    pid: u32,
    start: u64,
    server: SocketAddr,
    source: Option<std::net::IpAddr>,
}

impl Key {
    fn of(flow: &Flow) -> Key {
        Key {
            tree: flow.tree,
            pid: flow.pid,
            start: flow.start,
            server: flow.destination,
            source: flow.bound_source,
        }
    }
}

/// A session, as those see it who have something for it.
struct Counter {
    /// Who the process was when the session began: an exec makes it another.
    behind: Attributed,
    session: SessionId,
    inbox: mpsc::Sender<Letter>,
}

impl Counter {
    fn serves(&self, behind: &Attributed) -> bool {
        is_same(&self.behind, behind)
    }
}

/// Is it the same process, under the same policy, as far as records tell?
pub(crate) fn is_same(one: &Attributed, other: &Attributed) -> bool {
    *one.policy == *other.policy && same(&one.subject, &other.subject)
}

fn same(one: &Arc<Subject>, other: &Arc<Subject>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// Where all questions of one network namespace come in.
pub(crate) struct Desk {
    pub(crate) shared: Arc<Shared>,
    netns: u64,
    pub(crate) protocol: Arc<dyn Datagrams>,
    pub(crate) draining: watch::Receiver<bool>,
    counters: Mutex<FxHashMap<Key, Counter>>,
    /// Places of questions of which nobody knows yet whose they are.
    unsettled: Arc<Semaphore>,
    /// Datagrams that ask for no name.
    pub(crate) flows: Flows,
    /// Where datagrams are read to.
    buffer: Mutex<Box<[u8]>>,
}

impl Desk {
    pub(crate) fn new(
        shared: Arc<Shared>,
        netns: u64,
        protocol: Arc<dyn Datagrams>,
        draining: watch::Receiver<bool>,
    ) -> Desk {
        Desk {
            shared,
            netns,
            protocol,
            draining,
            counters: Mutex::default(),
            unsettled: Arc::new(Semaphore::new(UNSETTLED_MAX)),
            flows: Flows::default(),
            buffer: Mutex::new(vec![0; DATAGRAM_BYTES_MAX].into()),
        }
    }

    /// The next datagram that is there.
    fn read(&self, socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr)> {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => {
                    return Some((buffer.get(..length).unwrap_or_default().to_vec(), from));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // That of an earlier answer, whose client is gone.
                Err(_) => {}
            }
        }
    }

    /// Passes the next datagram that is there from one socket to a client of another. Says how many
    /// bytes were taken; `None` when there is none.
    pub(crate) fn pass_on(
        &self,
        from: &UdpSocket,
        to: &UdpSocket,
        client: SocketAddr,
    ) -> Option<usize> {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        match from.try_recv(&mut buffer) {
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                Some(to.try_send_to(bytes, client).unwrap_or(0))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // That of an earlier datagram: nobody is there. There may be later.
            Err(_) => Some(0),
        }
    }

    /// What is kept under the lock is whole between any two calls.
    fn lock(&self) -> MutexGuard<'_, FxHashMap<Key, Counter>> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session ends. One that is silent (`inbox`) does not when something came for it meanwhile.
    pub(crate) fn leave(
        &self,
        key: &Key,
        session: SessionId,
        inbox: Option<&mpsc::Receiver<Letter>>,
    ) -> bool {
        let mut counters = self.lock();
        let ends = inbox.is_none_or(mpsc::Receiver::is_empty);
        // Another one may have taken its place.
        if ends
            && counters
                .get(key)
                .is_some_and(|counter| counter.session == session)
        {
            counters.remove(key);
        }
        ends
    }

    /// Brings a datagram to where its kind is dealt with.
    fn take_in(self: &Arc<Desk>, mut letter: Letter, flow: Flow, behind: Attributed) {
        if !self.protocol.serves(flow.destination) {
            return flows::hand_out(self, letter, flow, behind);
        }
        letter.bytes.truncate(QUESTION_BYTES_MAX);
        self.hand_out(letter, flow, behind);
    }

    /// Gives a question to its session, which is opened when there is none.
    fn hand_out(self: &Arc<Desk>, letter: Letter, flow: Flow, behind: Attributed) {
        let key = Key::of(&flow);
        let mut counters = self.lock();
        if let Some(counter) = counters.get(&key)
            && counter.serves(&behind)
        {
            return match counter.inbox.try_send(letter) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(letter)) => {
                    drop(counters);
                    self.fail(&letter, &flow, "too many questions wait");
                }
                Err(mpsc::error::TrySendError::Closed(letter)) => {
                    counters.remove(&key);
                    drop(counters);
                    self.open(key, letter, flow, behind);
                }
            };
        }
        drop(counters);
        self.open(key, letter, flow, behind);
    }

    fn open(self: &Arc<Desk>, key: Key, letter: Letter, flow: Flow, behind: Attributed) {
        let seat = &self.shared.asking;
        let Some(slot) = Slot::take(&self.shared, seat) else {
            count(&self.shared.counters.over_limit);
            return self.fail(&letter, &flow, "limits.sessions is reached");
        };
        let Some(opened) = connection::open(&self.shared, flow, behind.clone()) else {
            return self.fail(&letter, &flow, "it cannot be recorded");
        };
        let (sender, inbox) = mpsc::channel(INBOX_MAX);
        // The first letter has room.
        let _ = sender.try_send(letter);
        let counter = Counter {
            behind,
            session: opened.governor.session(),
            inbox: sender,
        };
        // A session that it replaces ends when its last question is answered: nobody can reach it.
        self.lock().insert(key, counter);
        let desk = Arc::clone(self);
        let Opened {
            governor,
            registered,
            ..
        } = opened;
        seat.handle.spawn(async move {
            conversation::serve(&desk, key, flow, governor, registered, inbox).await;
            drop(slot);
        });
    }

    /// Answers that it failed; nothing is asked, and nothing could be recorded.
    fn fail(&self, letter: &Letter, flow: &Flow, reason: &str) {
        if !self.protocol.serves(flow.destination) {
            // Lost, as on any network.
            return;
        }
        let asker = Asker {
            tree: flow.tree,
            server: flow.destination,
            abroad: flow.abroad,
        };
        let question = self.protocol.question(asker, &letter.bytes);
        letter.reply(&question.refuse(No::Failed, reason));
    }
}

/// Takes questions from a socket until the proxy drains.
pub(crate) async fn take(socket: std::net::UdpSocket, desk: Arc<Desk>) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => Arc::new(socket),
        Err(error) => return tracing::error!(%error, "a socket for questions cannot be watched"),
    };
    let Ok(own) = socket.local_addr() else {
        return;
    };
    let mut draining = desk.draining.clone();
    while !*draining.borrow_and_update() {
        let received = tokio::select! {
            biased;
            changed = draining.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            ready = socket.readable() => ready,
        };
        // An error is that of an earlier answer, whose client is gone.
        if received.is_err() {
            continue;
        }
        while let Some((bytes, from)) = desk.read(&socket) {
            let letter = Letter {
                bytes,
                from,
                socket: Arc::clone(&socket),
            };
            receive(&desk, own.port(), letter);
        }
    }
}

/// Finds out whose question it is. What takes time is waited for by a task of its own.
fn receive(desk: &Arc<Desk>, port: u16, letter: Letter) {
    let shared = &desk.shared;
    count(&shared.counters.questions);
    let flow = match shared.ports.capture.question(desk.netns, port, letter.from) {
        Ok(Some(flow)) => flow,
        Ok(None) => {
            count(&shared.counters.orphans);
            if shared.orphan_pace.allows(shared.ports.clock.now()) {
                tracing::warn!("a question of unknown origin: dropped");
            }
            return;
        }
        Err(error) => {
            count(&shared.counters.capture_errors);
            if shared.orphan_pace.allows(shared.ports.clock.now()) {
                tracing::error!(%error, "a question of unknown origin: dropped");
            }
            return;
        }
    };
    match shared.ports.attribution.subject(&flow) {
        Behind::Known(behind) => desk.take_in(letter, flow, behind),
        Behind::Nobody => {
            count(&shared.counters.unattributed);
            desk.fail(&letter, &flow, "whose it is is not known");
        }
        Behind::Unsettled => settle(desk, letter, flow),
    }
}

/// Waits in a task until it is known whose question it is.
fn settle(desk: &Arc<Desk>, letter: Letter, flow: Flow) {
    let Ok(place) = Arc::clone(&desk.unsettled).try_acquire_owned() else {
        return desk.fail(&letter, &flow, "too many questions wait");
    };
    let desk = Arc::clone(desk);
    tokio::spawn(async move {
        match connection::attribute(&desk.shared, &flow).await {
            Some(behind) => desk.take_in(letter, flow, behind),
            None => desk.fail(&letter, &flow, "whose it is is not known"),
        }
        drop(place);
    });
}

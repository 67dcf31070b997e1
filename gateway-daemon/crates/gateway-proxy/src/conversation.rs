//! What one process asks one server, as a session: each datagram is a question, which is submitted,
//! asked from a socket of its own, and answered.
//!
//! The socket is connected, on a port that the kernel chooses, and the question has a number of its
//! own: only the server that was asked can answer, and whoever guesses has to guess both.
use crate::connection;
use crate::counters::count;
use crate::dial;
use crate::ports::{Capture, Clock, Flow};
use crate::questions::{Desk, Key};
use crate::registry::Registered;
use gateway_core::governor::Ending;
use gateway_core::{
    AnswerPart, Clearance, Governor, Obstacle, OperationId, OperationOutcome, RecordError,
    SessionEnd,
};
use gateway_protocol::{Answer, Asker, Heard, No, Question, StopReason};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest answer that is read whole: twice what a client may ask for.
const DATAGRAM_BYTES_MAX: usize = 8192;
/// A server that answers so soon is on this host or beside it.
const NEAR: Duration = Duration::from_micros(200);
/// So long it is looked for its answer before anything sleeps: to sleep and to be woken takes about
/// as long as such a server does.
const LOOK: Duration = Duration::from_micros(25);
/// After so many looks in vain nobody looks, until the server has answered soon again.
const LOOKS: u8 = 2;
/// So many numbers are got from the kernel at once.
const NUMBERS: usize = 64;

/// A question as it came, and where its answer goes.
pub(crate) struct Letter {
    pub(crate) bytes: Vec<u8>,
    pub(crate) from: SocketAddr,
    /// The socket that it came to: the answer has to come from there.
    pub(crate) socket: Arc<tokio::net::UdpSocket>,
}

impl Letter {
    /// Answers. What the client does not take is lost, as on any network.
    pub(crate) fn reply(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let _ = self.socket.try_send_to(bytes, self.from);
        }
    }
}

/// A question that has been asked, and what came of it.
struct Asked {
    letter: Letter,
    question: Box<dyn Question>,
    clearance: Clearance,
    outcome: Outcome,
    /// When it was sent.
    at: Instant,
    /// Closed when the client has its answer, which does not wait for that.
    _socket: Option<tokio::net::UdpSocket>,
}

enum Outcome {
    Answered {
        bytes: Vec<u8>,
        answer: Answer,
        part: Option<AnswerPart>,
    },
    Failed(Arc<str>),
}

/// Why the session is over.
enum Over {
    Silent,
    Stopped(StopReason),
    Unrecorded(RecordError),
}

struct Conversation<'a> {
    desk: &'a Arc<Desk>,
    flow: Flow,
    governor: Governor,
    registered: Registered,
    asked: JoinSet<Asked>,
    /// For questions to come.
    numbers: Vec<u16>,
    /// How many more questions are waited for without sleeping.
    near: u8,
    bytes_up: u64,
    bytes_down: u64,
}

/// Serves a session until it is silent, or told to stop.
pub(crate) async fn serve(
    desk: &Arc<Desk>,
    key: Key,
    flow: Flow,
    mut governor: Governor,
    registered: Registered,
    mut inbox: mpsc::Receiver<Letter>,
) {
    let name = desk.protocol.name();
    governor.recognised(name);
    registered.live.recognised(name);
    let session = governor.session();
    let mut conversation = Conversation {
        desk,
        flow,
        governor,
        registered,
        asked: JoinSet::new(),
        numbers: Vec::new(),
        near: LOOKS,
        bytes_up: 0,
        bytes_down: 0,
    };
    let over = loop {
        match conversation.go_on(&mut inbox).await {
            Over::Silent if !desk.leave(&key, session, Some(&inbox)) => {}
            over => break over,
        }
    };
    // Whoever comes from now on opens another one; what is in the box is lost with this one.
    inbox.close();
    desk.leave(&key, session, None);
    conversation.close(over);
}

impl Conversation<'_> {
    /// Takes questions and answers until there is a reason to end.
    async fn go_on(&mut self, inbox: &mut mpsc::Receiver<Letter>) -> Over {
        let limits = self.desk.shared.limits;
        let mut draining = self.desk.draining.clone();
        loop {
            let waiting = self.asked.len();
            if waiting == 0 && *draining.borrow_and_update() {
                return Over::Stopped(StopReason::Drained);
            }
            let stop = Arc::clone(&self.registered.live.stop);
            let done = tokio::select! {
                biased;
                reason = stop.stopped() => return Over::Stopped(reason),
                Some(asked) = self.asked.join_next(), if waiting > 0 => match asked {
                    Ok(asked) => self.finish(asked),
                    // A defect of a protocol: that question alone is lost, and shows as not answered.
                    Err(_) => Ok(()),
                },
                letter = inbox.recv(), if waiting < limits.pending => match letter {
                    Some(letter) => match self.ask(letter).await {
                        Ok(()) => Ok(()),
                        Err(over) => return over,
                    },
                    None if waiting == 0 => return Over::Silent,
                    None => self.finish_one().await,
                },
                _ = draining.changed() => Ok(()),
                () = tokio::time::sleep(limits.questions_idle), if waiting == 0 => return Over::Silent,
            };
            if let Err(error) = done {
                return Over::Unrecorded(error);
            }
        }
    }

    async fn finish_one(&mut self) -> Result<(), RecordError> {
        match self.asked.join_next().await {
            Some(Ok(asked)) => self.finish(asked),
            _ => Ok(()),
        }
    }

    /// Submits a question, and sends it upstream when it is cleared.
    async fn ask(&mut self, letter: Letter) -> Result<(), Over> {
        let asker = Asker {
            tree: self.flow.tree,
            server: self.flow.destination,
            abroad: self.flow.abroad,
        };
        self.bytes_up += letter.bytes.len() as u64;
        let mut question = self.desk.protocol.question(asker, &letter.bytes);
        let ports = &self.desk.shared.ports;
        let clearance = loop {
            let now = ports.clock.now();
            match self.governor.submit(&question.operation(), now) {
                Ok(clearance) => break clearance,
                Err(Obstacle::Held(_)) => {}
                Err(Obstacle::Refused(refusal)) => {
                    count(&self.desk.shared.counters.refused);
                    let words = question.refuse((&refusal.reason).into(), &refusal.to_string());
                    self.reply(&letter, &words);
                    return Ok(());
                }
            }
            tokio::select! {
                biased;
                reason = self.registered.live.stop.stopped() => return Err(Over::Stopped(reason)),
                () = self.governor.answered() => {}
            }
        };
        let id = clearance.id();
        if let Err(reason) = question.admit(ports.clock.now()) {
            let words = question.refuse(No::Refused, &reason);
            let failed = self.failed(id, reason);
            self.governor.complete(&failed).map_err(Over::Unrecorded)?;
            self.reply(&letter, &words);
            return Ok(());
        }
        let limit = self.desk.shared.limits.answer;
        let clock = Arc::clone(&ports.clock);
        let sent = self.number().and_then(|number| {
            send(
                &clearance,
                &mut *question,
                number,
                &*ports.capture,
                &self.flow,
            )
        });
        let at = Instant::now();
        if self.near > 0
            && let Ok(socket) = &sent
        {
            self.near -= 1;
            if let Some(outcome) = look(socket, &mut *question, &*clock) {
                let asked = Asked {
                    letter,
                    question,
                    clearance,
                    outcome,
                    at,
                    _socket: None,
                };
                return self.finish(asked).map_err(Over::Unrecorded);
            }
        }
        // What follows is done while the server has the question.
        self.asked.spawn(async move {
            let mut socket = None;
            let outcome = match sent.and_then(tokio::net::UdpSocket::from_std) {
                Ok(watched) => {
                    let socket = socket.insert(watched);
                    listen_until(socket, &mut *question, limit, &*clock).await
                }
                Err(error) => Err(error),
            };
            Asked {
                letter,
                question,
                clearance,
                outcome: outcome.unwrap_or_else(|error| Outcome::Failed(error.to_string().into())),
                at,
                _socket: socket,
            }
        });
        Ok(())
    }

    /// A number that nobody can foresee.
    fn number(&mut self) -> io::Result<u16> {
        if let Some(number) = self.numbers.pop() {
            return Ok(number);
        }
        let mut bytes = [0; 2 * NUMBERS];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let pairs = bytes.as_chunks::<2>().0.iter();
        self.numbers
            .extend(pairs.map(|pair| u16::from_ne_bytes(*pair)));
        self.numbers
            .pop()
            .ok_or(io::Error::from(io::ErrorKind::Other))
    }

    /// Records how a question was answered, and only then answers it.
    fn finish(&mut self, asked: Asked) -> Result<(), RecordError> {
        let Asked {
            letter,
            question,
            clearance,
            outcome,
            at,
            _socket,
        } = asked;
        if at.elapsed() < NEAR {
            self.near = LOOKS;
        }
        let id = clearance.id();
        let now = self.desk.shared.ports.clock.now();
        let (bytes, recorded) = match outcome {
            Outcome::Answered {
                bytes,
                answer,
                part,
            } => {
                let kept = part.map_or(Ok(()), |part| self.governor.answer(id, now, part));
                let outcome = answer.outcome(id, now);
                (bytes, kept.and_then(|()| self.governor.complete(&outcome)))
            }
            Outcome::Failed(reason) => {
                count(&self.desk.shared.counters.unanswered);
                let bytes = question.refuse(No::Failed, &reason);
                let failed = self.failed(id, reason);
                (bytes, self.governor.complete(&failed))
            }
        };
        match recorded {
            Ok(()) => self.reply(&letter, &bytes),
            Err(_) => self.reply(
                &letter,
                &question.refuse(No::Failed, "it cannot be recorded"),
            ),
        }
        recorded
    }

    fn reply(&mut self, letter: &Letter, bytes: &[u8]) {
        self.bytes_down += bytes.len() as u64;
        letter.reply(bytes);
    }

    fn failed(&self, id: OperationId, reason: Arc<str>) -> OperationOutcome {
        let answer = Answer {
            error: Some(reason),
            ..Answer::default()
        };
        answer.outcome(id, self.desk.shared.ports.clock.now())
    }

    /// Writes the last record.
    fn close(self, over: Over) {
        let (end, error) = match over {
            Over::Silent => (SessionEnd::Client, None),
            Over::Stopped(reason) => (SessionEnd::Killed, Some(reason.words().into())),
            Over::Unrecorded(error) => (SessionEnd::Error, Some(error.to_string().into())),
        };
        let ending = Ending {
            end,
            bytes_up: self.bytes_up,
            bytes_down: self.bytes_down,
            error,
        };
        connection::close(&self.desk.shared, self.governor, ending);
        drop(self.registered);
    }
}

/// Asks the server from a socket of its own. Nobody gets here without a clearance.
fn send(
    _cleared: &Clearance,
    question: &mut dyn Question,
    number: u16,
    capture: &dyn Capture,
    flow: &Flow,
) -> io::Result<UdpSocket> {
    let socket = dial::datagrams(capture, flow)?;
    socket.send(&question.forward(number))?;
    Ok(socket)
}

/// Listens until the server has answered, but not for ever.
async fn listen_until(
    socket: &tokio::net::UdpSocket,
    question: &mut dyn Question,
    limit: Duration,
    clock: &dyn Clock,
) -> io::Result<Outcome> {
    match timeout(limit, listen(socket, question, clock)).await {
        Ok(heard) => heard,
        Err(_) => {
            let seconds = limit.as_secs_f32();
            Ok(Outcome::Failed(
                format!("no answer within {seconds} s").into(),
            ))
        }
    }
}

async fn listen(
    socket: &tokio::net::UdpSocket,
    question: &mut dyn Question,
    clock: &dyn Clock,
) -> io::Result<Outcome> {
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut bytes).await?;
        let datagram = bytes.get(..length).unwrap_or_default();
        if let Some(outcome) = outcome(question.hear(datagram, clock.now())) {
            return Ok(outcome);
        }
    }
}

/// Looks for the answer of a server that is near, for a moment.
fn look(socket: &UdpSocket, question: &mut dyn Question, clock: &dyn Clock) -> Option<Outcome> {
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
    let start = Instant::now();
    while start.elapsed() < LOOK {
        match socket.recv(&mut bytes) {
            Ok(length) => {
                let datagram = bytes.get(..length).unwrap_or_default();
                if let Some(outcome) = outcome(question.hear(datagram, clock.now())) {
                    return Some(outcome);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(error) => return Some(Outcome::Failed(error.to_string().into())),
        }
    }
    None
}

/// `None`: it was nothing, and more may come.
fn outcome(heard: Heard) -> Option<Outcome> {
    match heard {
        Heard::Strange => None,
        Heard::Broken(reason) => Some(Outcome::Failed(reason.into())),
        Heard::Answer {
            bytes,
            answer,
            part,
        } => Some(Outcome::Answered {
            bytes,
            answer,
            part,
        }),
    }
}

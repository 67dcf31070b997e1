//! What one process asks one server, as a session: each datagram is a question, which is submitted,
//! asked from a socket of its own, and answered.
//!
//! The socket is connected, on a port that the kernel chooses, and the question has a number of its
//! own: only the server that was asked can answer, and whoever guesses has to guess both.
use crate::connection;
use crate::counters::count;
use crate::ports::{Clock, Flow};
use crate::questions::{Desk, Key};
use crate::registry::Registered;
use gateway_core::governor::{Ending, RefusalReason};
use gateway_core::{
    AnswerPart, Clearance, Governor, Obstacle, OperationId, OperationOutcome, RecordError,
    SessionEnd,
};
use gateway_protocol::{Answer, Asker, Heard, No, Question, StopReason};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest answer that is read whole: twice what a client may ask for.
const DATAGRAM_BYTES_MAX: usize = 8192;

/// A question as it came, and where its answer goes.
pub(crate) struct Letter {
    pub(crate) bytes: Vec<u8>,
    pub(crate) from: SocketAddr,
    /// The socket that it came to: the answer has to come from there.
    pub(crate) socket: Arc<UdpSocket>,
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
                    let no = match refusal.reason {
                        RefusalReason::Unrecorded => No::Failed,
                        _ => No::Refused,
                    };
                    self.reply(&letter, &question.refuse(no, &refusal.to_string()));
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
            self.reply(&letter, &question.refuse(No::Refused, &reason));
            let failed = self.failed(id, reason);
            return self.governor.complete(&failed).map_err(Over::Unrecorded);
        }
        let limit = self.desk.shared.limits.answer;
        let (server, source) = (self.flow.destination, self.flow.bound_source);
        let clock = Arc::clone(&ports.clock);
        self.asked.spawn(async move {
            let to = Upstream {
                server,
                source,
                limit,
            };
            let asking = send_and_listen(&clearance, &mut *question, to, &*clock).await;
            let outcome = asking.unwrap_or_else(|error| Outcome::Failed(error.to_string().into()));
            Asked {
                letter,
                question,
                clearance,
                outcome,
            }
        });
        Ok(())
    }

    /// Records how a question was answered, and only then answers it.
    fn finish(&mut self, asked: Asked) -> Result<(), RecordError> {
        let Asked {
            letter,
            question,
            clearance,
            outcome,
        } = asked;
        let id = clearance.id();
        let now = self.desk.shared.ports.clock.now();
        let (bytes, recorded) = match outcome {
            Outcome::Answered {
                bytes,
                answer,
                part,
            } => {
                let kept = part.map_or(Ok(()), |part| self.governor.answer(id, now, part));
                let outcome = OperationOutcome {
                    id,
                    time: now,
                    rows: answer.rows,
                    bytes_up: answer.bytes_up,
                    bytes_down: answer.bytes_down,
                    error: answer.error,
                    masked: answer.masked,
                    disclosed: answer.disclosed,
                };
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
        OperationOutcome {
            id,
            time: self.desk.shared.ports.clock.now(),
            rows: None,
            bytes_up: 0,
            bytes_down: 0,
            error: Some(reason),
            masked: Vec::new(),
            disclosed: Vec::new(),
        }
    }

    /// Writes the last record.
    fn close(self, over: Over) {
        let (end, error) = match over {
            Over::Silent => (SessionEnd::Client, None),
            Over::Stopped(StopReason::Killed) => {
                (SessionEnd::Killed, Some("ended by an operator".into()))
            }
            Over::Stopped(StopReason::Drained) => {
                (SessionEnd::Killed, Some("ended with the daemon".into()))
            }
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

/// Who is asked, from where, and how long that may take.
#[derive(Clone, Copy)]
struct Upstream {
    server: SocketAddr,
    source: Option<IpAddr>,
    limit: Duration,
}

/// Asks the server from a socket of its own, and listens until it has answered. Nobody gets here
/// without a clearance.
async fn send_and_listen(
    _cleared: &Clearance,
    question: &mut dyn Question,
    to: Upstream,
    clock: &dyn Clock,
) -> io::Result<Outcome> {
    let number = getrandom::u32().map_err(|error| io::Error::other(error.to_string()))?;
    let socket = open(to.server, to.source)?;
    socket.connect(to.server).await?;
    socket.send(&question.forward(number as u16)).await?;
    let listening = listen(&socket, question, clock);
    match timeout(to.limit, listening).await {
        Ok(heard) => heard,
        Err(_) => {
            let seconds = to.limit.as_secs_f32();
            Ok(Outcome::Failed(
                format!("no answer within {seconds} s").into(),
            ))
        }
    }
}

async fn listen(
    socket: &UdpSocket,
    question: &mut dyn Question,
    clock: &dyn Clock,
) -> io::Result<Outcome> {
    let mut bytes = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut bytes).await?;
        let heard = question.hear(bytes.get(..length).unwrap_or_default(), clock.now());
        return Ok(match heard {
            Heard::Strange => continue,
            Heard::Broken(reason) => Outcome::Failed(reason.into()),
            Heard::Answer {
                bytes,
                answer,
                part,
            } => Outcome::Answered {
                bytes,
                answer,
                part,
            },
        });
    }
}

/// A socket on a port that the kernel chooses at random when it is connected.
fn open(server: SocketAddr, source: Option<IpAddr>) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let address = source.map_or(any, |source| source.to_canonical());
    let socket = std::net::UdpSocket::bind(SocketAddr::new(address, 0))?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

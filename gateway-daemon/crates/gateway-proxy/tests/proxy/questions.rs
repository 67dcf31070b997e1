//! Questions by datagram, with a protocol of riddles: who asks what nobody may, or cannot be told
//! from others, or cannot be recorded, is not brought to the server.
use crate::support::{Bench, eventually, flow, limits};
use gateway_core::{Effect, Object, Operation, SessionEnd, Timestamp, TreeId, Verb};
use gateway_protocol::{Answer, Asker, Datagrams, Heard, No, Question};
use gateway_proxy::ProxyLimits;
use gateway_testkit::{FakeJudge, capture, sockets};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

/// The first byte of a riddle is its verb: `r` reads, `d` deletes, `x` is over a limit.
struct Riddles;

struct Riddle {
    text: String,
    effects: [Effect; 1],
    number: u16,
}

impl Datagrams for Riddles {
    fn name(&self) -> &'static str {
        "riddles"
    }

    fn serves(&self, _: std::net::SocketAddr) -> bool {
        true
    }

    fn question(&self, _: Asker, datagram: &[u8]) -> Box<dyn Question> {
        let text = String::from_utf8_lossy(datagram).into_owned();
        let verb = match text.as_bytes().first() {
            Some(b'd') => Verb::Delete,
            _ => Verb::Read,
        };
        let objects = vec![Object::Named(text.as_str().into())];
        Box::new(Riddle {
            text,
            effects: [Effect { verb, objects }],
            number: 0,
        })
    }
}

impl Question for Riddle {
    fn operation(&self) -> Operation<'_> {
        Operation {
            statement: &self.text,
            ..Operation::new("riddles", self.effects[0].verb, &self.effects)
        }
    }

    fn admit(&mut self, _: Timestamp) -> Result<(), Arc<str>> {
        match self.text.starts_with('x') {
            true => Err("too much".into()),
            false => Ok(()),
        }
    }

    fn forward(&mut self, number: u16) -> Vec<u8> {
        self.number = number;
        [&number.to_be_bytes(), self.text.as_bytes()].concat()
    }

    fn hear(&mut self, datagram: &[u8], _: Timestamp) -> Heard {
        match datagram.strip_prefix(&self.number.to_be_bytes()) {
            None => Heard::Strange,
            Some(b"") => Heard::Broken("nothing in it"),
            Some(answer) => Heard::Answer {
                bytes: answer.to_vec(),
                answer: Answer::default(),
                part: None,
            },
        }
    }

    fn refuse(&self, no: No, reason: &str) -> Vec<u8> {
        format!("{no:?}: {reason}").into_bytes()
    }
}

/// A proxy that takes riddles, a client, and the server that they are for.
struct Table {
    bench: Bench,
    client: UdpSocket,
    server: UdpSocket,
}

impl Table {
    fn new(judge: FakeJudge, limits: ProxyLimits) -> Table {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(sockets::PATIENCE)).unwrap();
            socket
        };
        let (client, server, listener) = (bind(), bind(), bind());
        let bench = Bench::with_limits(judge, server.local_addr().unwrap(), limits);
        client.connect(listener.local_addr().unwrap()).unwrap();
        bench
            .proxy
            .answer(1, vec![listener], Arc::new(Riddles))
            .unwrap();
        Table {
            bench,
            client,
            server,
        }
    }

    fn ask(&self, text: &str) {
        self.client.send(text.as_bytes()).unwrap();
    }

    fn told(&self) -> String {
        let mut bytes = [0; 200];
        let length = self.client.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// Answers the next question with what `answer` makes of its number.
    fn answer(&self, answer: impl Fn(&[u8]) -> Vec<Vec<u8>>) -> String {
        let mut bytes = [0; 200];
        let (length, from) = self.server.recv_from(&mut bytes).unwrap();
        for reply in answer(&bytes[..2]) {
            self.server.send_to(&reply, from).unwrap();
        }
        String::from_utf8_lossy(&bytes[2..length]).into_owned()
    }

    fn reached_the_server(&self) -> bool {
        self.server.set_nonblocking(true).unwrap();
        self.server.recv(&mut [0; 9]).is_ok()
    }
}

fn with(number: &[u8], text: &[u8]) -> Vec<u8> {
    [number, text].concat()
}

#[test]
fn a_question_is_brought_to_the_server_and_its_answer_back() {
    let table = Table::new(FakeJudge::allow_all(), limits());
    table.ask("r one");
    let asked = table.answer(|number| {
        let wrong = [number[0] ^ 1, number[1]];
        vec![with(&wrong, b"forged"), with(number, b"answer")]
    });
    assert_eq!(asked, "r one");
    assert_eq!(table.told(), "answer");
    table.ask("r two");
    table.answer(|number| vec![with(number, b"")]);
    assert_eq!(table.told(), "Failed: nothing in it");
    let recorded = table.bench.recorder.recorded();
    assert_eq!(recorded.opened.len(), 1, "one session for both");
    assert_eq!(recorded.operations.len(), 2);
    assert_eq!(recorded.outcomes.len(), 2);
    assert_eq!(recorded.outcomes[1].error.as_deref(), Some("nothing in it"));
    assert_eq!(table.bench.proxy.sessions()[0].protocol, "riddles");
}

#[test]
fn what_may_not_be_asked_is_refused_and_recorded() {
    let table = Table::new(FakeJudge::denying(&[Verb::Delete]), limits());
    table.ask("d one");
    assert!(table.told().starts_with("Refused: gateway: delete on"));
    table.ask("x two");
    assert_eq!(table.told(), "Refused: too much");
    assert!(!table.reached_the_server());
    let recorded = table.bench.recorder.recorded();
    assert_eq!(recorded.operations.len(), 2);
    assert_eq!(
        recorded.outcomes.len(),
        1,
        "of the one that was let through"
    );
}

#[test]
fn what_cannot_be_attributed_or_recorded_fails() {
    let table = Table::new(FakeJudge::allow_all(), limits());
    let server = table.server.local_addr().unwrap();
    table.bench.send_to(flow(server, 0));
    table.ask("r nobody's");
    assert_eq!(table.told(), "Failed: whose it is is not known");
    table.bench.recorder.set_full(true);
    table.bench.send_to(flow(server, 1));
    table.ask("r unrecorded");
    assert_eq!(table.told(), "Failed: it cannot be recorded");
    assert!(!table.reached_the_server());
    // What the kernel knows nothing of is not even answered.
    table.bench.capture.set(Ok(None));
    table.ask("r from nowhere");
    table.bench.wait_counts(|counts| counts.orphans == 1);
    // Of what takes a while to settle nothing is lost.
    table.bench.recorder.set_full(false);
    table
        .bench
        .send_to(capture::flow(server, capture::UNSETTLED));
    table.server.set_nonblocking(false).unwrap();
    table.ask("r later");
    assert_eq!(table.answer(|number| vec![with(number, b"yes")]), "r later");
    assert_eq!(table.told(), "yes");
}

#[test]
fn a_server_that_is_silent_or_gone_is_a_failure() {
    let short = ProxyLimits {
        answer: Duration::from_millis(50),
        ..limits()
    };
    let table = Table::new(FakeJudge::allow_all(), short);
    table.ask("r silent");
    assert_eq!(table.told(), "Failed: no answer within 0.05 s");
    let gone = {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    table.bench.send_to(flow(gone, 1));
    table.ask("r gone");
    assert!(table.told().starts_with("Failed: "));
    table.bench.wait_counts(|counts| counts.unanswered == 2);
}

#[test]
fn a_silent_session_ends_and_a_process_that_is_another_has_its_own() {
    let short = ProxyLimits {
        questions_idle: Duration::from_millis(50),
        ..limits()
    };
    let table = Table::new(FakeJudge::allow_all(), short);
    let server = table.server.local_addr().unwrap();
    for tree in [1, 2] {
        table.bench.send_to(flow(server, tree));
        table.ask("r one");
        table.answer(|number| vec![with(number, b"yes")]);
        assert_eq!(table.told(), "yes");
    }
    let closed = table.bench.recorder.wait_closed_count(2);
    assert!(
        closed
            .iter()
            .all(|session| session.end == SessionEnd::Client)
    );
    let trees = table.bench.recorder.recorded().opened;
    let trees: Vec<TreeId> = trees
        .iter()
        .map(|opened| opened.subject.lineage.tree)
        .collect();
    assert_eq!(trees, [TreeId(1), TreeId(2)]);
    eventually(|| {
        let active = table.bench.proxy.counts().active;
        (active == 0).then_some(()).ok_or(active)
    });
}

#[test]
fn a_drain_ends_sessions_that_wait_for_nothing_and_a_kill_any() {
    let table = Table::new(FakeJudge::allow_all(), limits());
    table.ask("r one");
    table.answer(|number| vec![with(number, b"yes")]);
    assert_eq!(table.told(), "yes");
    let first = table.bench.proxy.sessions()[0].session;
    assert!(table.bench.proxy.kill_session(first));
    assert_eq!(
        table.bench.recorder.wait_closed(first).end,
        SessionEnd::Killed
    );
    // The process asks again, and has another session.
    table.ask("r two");
    table.answer(|number| vec![with(number, b"yes")]);
    assert_eq!(table.told(), "yes");
    let second = table.bench.proxy.sessions()[0].session;
    assert_ne!(first, second);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(table.bench.proxy.drain(Duration::from_secs(20)));
    let end = table.bench.recorder.wait_closed(second);
    assert_eq!(end.error.as_deref(), Some("ended with the daemon"));
}

//! Bytes that are not what they should be, from either side: never a hang, a panic, or a byte that
//! goes on.
use gateway_tests::running::PATIENCE;
use gateway_tests::{Daemon, Job, Outcome, Subtree, policy, responder, wait};
use responder::Responder;
use std::io::Write;
use std::sync::Arc;

/// A daemon whose resource `db` is a server that we play ourselves.
struct Play {
    daemon: Daemon,
    responder: Responder,
    subtree: Arc<Subtree>,
}

impl Play {
    fn with(responder: Responder) -> Play {
        let subtree = Arc::new(Subtree::create().unwrap());
        let text = policy::allow_all(&subtree, responder.address().port());
        let daemon = Daemon::prepare(&subtree)
            .unwrap()
            .policy("test", &text)
            .unwrap()
            .start()
            .unwrap();
        Play {
            daemon,
            responder,
            subtree,
        }
    }

    /// A Python client in a governed job; it gets the server's port.
    fn client(&self, program: &str) -> Outcome {
        let job = Job::governed(&self.subtree, "client").unwrap();
        let port = self.responder.address().port().to_string();
        job.python(program, &[&port])
            .unwrap()
            .wait(PATIENCE)
            .unwrap()
    }

    /// The daemon still serves, after all that.
    fn check_alive(&mut self) {
        assert!(self.daemon.is_alive(), "{}", self.daemon.said());
        let status = self.daemon.run(&["status"]).unwrap();
        assert_eq!(status.code(), 0, "{status:?}");
        wait::until_true("every session to end", PATIENCE, || {
            self.daemon
                .json(&["sessions", "--live"])
                .unwrap()
                .is_empty()
        })
        .unwrap();
    }
}

/// Openings that no server may see a byte of.
const BAD_OPENINGS: &str = r#"
import os, random, socket, struct, sys
random.seed(7)
startup = struct.pack("!ii", 8 + 15, 196608) + b"user\0postgres\0\0"
startup = struct.pack("!i", len(startup)) + startup[4:]
openings = {
    "nothing": b"",
    "zero length": b"\0\0\0\0",
    "length too small": struct.pack("!i", 7) + b"abc",
    "negative length": struct.pack("!i", -5) + b"abcdefgh",
    "length too large": struct.pack("!ii", 0x7fffffff, 196608) + b"user\0x\0\0",
    "half a startup": startup[:9],
    "unknown major": struct.pack("!ii", 9, 5 << 16) + b"\0",
    "no terminator": struct.pack("!ii", 8 + 8, 196608) + b"useruser",
    "random": random.randbytes(300),
    "query before startup": b"Q" + struct.pack("!i", 13) + b"select 1\0",
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls client hello": bytes.fromhex("16030100c8010000c40303") + random.randbytes(190),
}
for name, data in openings.items():
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
    s.settimeout(20)
    try:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        answer = s.recv(4096)
    except OSError as error:
        answer = type(error).__name__
    print(name, answer, flush=True)
    s.close()
print("done")
"#;

#[test]
fn bad_openings_never_reach_the_server() {
    let mut play = Play::with(Responder::start(responder::GREETING).unwrap());
    let outcome = play.client(BAD_OPENINGS).success().unwrap();
    assert!(outcome.stdout.contains("done"), "{outcome:?}");
    let received: Vec<_> = play
        .responder
        .received()
        .into_iter()
        .filter(|r| !r.is_empty())
        .collect();
    assert!(
        received.is_empty(),
        "the server saw {received:?} after {}",
        outcome.stdout
    );
    play.check_alive();
}

/// After a good opening, messages that are broken in every way.
const BAD_MESSAGES: &str = r#"
import random, socket, struct, sys
random.seed(11)
body = struct.pack("!i", 196608) + b"user\0postgres\0\0"
startup = struct.pack("!i", len(body) + 4) + body
def message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body
good = message(b"Q", b"select 1\0")
bad = {
    "length under four": b"Q\0\0\0\x03",
    "negative length": b"Q" + struct.pack("!i", -1) + b"x" * 50,
    "length of two gibibytes": b"Q" + struct.pack("!i", 0x7fffffff) + b"x" * 100000,
    "no terminator": message(b"Q", b"select 1"),
    "bytes after the terminator": message(b"Q", b"select 1\0drop table t\0"),
    "unknown kind": message(b"~", b"select 1\0"),
    "a server's message": message(b"Z", b"I"),
    "parse without types": message(b"P", b"\0select 1\0"),
    "parse with too many types": message(b"P", b"\0select 1\0" + struct.pack("!h", 1000)),
    "bind with negative counts": message(b"B", b"\0\0" + struct.pack("!h", -1)),
    "bind beyond its end": message(b"B", b"\0\0" + struct.pack("!hhi", 0, 1, 1 << 30)),
    "describe of nothing": message(b"D", b"X\0"),
    "close without a name": message(b"C", b""),
    "execute without a limit": message(b"E", b"\0\0"),
    "sync with a body": message(b"S", b"x"),
    "function call cut short": message(b"F", struct.pack("!ih", 1, 5)),
    "copy data out of place": message(b"d", b"rows"),
    "password out of place": message(b"p", b"secret\0"),
    "invalid utf-8": message(b"Q", b"select '\xff\xfe'\0"),
    "random": random.randbytes(2000),
    "another startup": startup,
    "cut in the middle": good[:7],
}
for name, data in bad.items():
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
    s.settimeout(20)
    try:
        s.sendall(startup)
        greeting = b""
        while b"Z\0\0\0\x05" not in greeting:
            more = s.recv(4096)
            if not more:
                break
            greeting += more
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass
        print(name, "closed", flush=True)
    except OSError as error:
        print(name, type(error).__name__, flush=True)
    s.close()
print("done")
"#;

#[test]
fn bad_messages_end_their_session_and_nothing_else() {
    let mut play = Play::with(Responder::start(responder::GREETING).unwrap());
    let outcome = play.client(BAD_MESSAGES).success().unwrap();
    assert!(outcome.stdout.contains("done"), "{outcome:?}");
    assert!(
        !outcome.stdout.contains("Timeout"),
        "a session hangs: {}",
        outcome.stdout
    );
    for received in play.responder.received() {
        let text = String::from_utf8_lossy(&received);
        assert!(
            !text.contains("drop table t"),
            "the server saw what no one judged: {text:?}"
        );
    }
    play.check_alive();
}

/// What a server may say instead of an answer.
const NONSENSE: &[(&str, &[u8])] = &[
    (
        "nothing that is a message",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ),
    ("a length under four", b"R\0\0\0\x03"),
    ("a negative length", b"R\xff\xff\xff\xffxxxx"),
    ("a length of two gibibytes", b"R\x7f\xff\xff\xffxxxxxxxx"),
    ("an unknown authentication", b"R\0\0\0\x08\0\0\x03\xe7"),
    ("rows before the login", b"D\0\0\0\x0b\0\x01\0\0\0\x01x"),
    ("ready before the login", b"Z\0\0\0\x05I"),
    ("a key that is cut", b"R\0\0\0\x08\0\0\0\0K\0\0\0\x06\0\x01"),
    ("an unknown state", b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05?"),
    (
        "a client's message",
        b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05IQ\0\0\0\x0dselect 1\0",
    ),
    ("an error without an end", b"E\0\0\0\x20SFATAL\0"),
    ("nothing at all", b""),
];

#[test]
fn a_server_that_answers_nonsense_ends_its_session() {
    for (name, answer) in NONSENSE {
        let responder = Responder::start_with(move |stream| {
            let _ = stream.write_all(answer);
            // Closed at once: whatever is missing never comes.
            false
        });
        let mut play = Play::with(responder.unwrap());
        let outcome = play.client(
            "import psycopg, sys\n\
             try:\n    \
                 psycopg.connect(f'host=127.0.0.1 port={sys.argv[1]} user=x connect_timeout=20')\
                 .execute('select 1')\n    print('served')\n\
             except psycopg.Error as error:\n    print('refused', str(error).splitlines()[0])\n",
        );
        assert!(outcome.stdout.starts_with("refused"), "{name}: {outcome:?}");
        assert!(!outcome.stdout.contains("timeout"), "{name}: {outcome:?}");
        play.check_alive();
    }
}

/// The real server, with a client that sends one byte at a time.
#[test]
fn a_client_that_sends_single_bytes_is_served_like_any_other() {
    let scene = gateway_tests::Scene::allow_all().unwrap();
    let program = r#"
import socket, struct, sys
body = struct.pack("!i", 196608) + b"user\0postgres\0\0"
data = struct.pack("!i", len(body) + 4) + body
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
answer = b""
def send(data):
    for byte in data:
        s.send(bytes([byte]))
def receive(end):
    global answer
    while not answer.endswith(end):
        more = s.recv(4096)
        if not more:
            return
        answer += more
send(data)
receive(b"Z\0\0\0\x05I")
body = b"select 'byte by byte'\0"
# The goodbye comes right behind the question, as from a client that is in a hurry.
send(b"Q" + struct.pack("!i", 4 + len(body)) + body + b"X\0\0\0\x04")
receive(b"the end of the connection")
print(answer)
"#;
    let port = scene.cluster.port().to_string();
    let client = scene
        .job("slow")
        .unwrap()
        .python(program, &[&port])
        .unwrap();
    let outcome = client.wait(PATIENCE).unwrap().success().unwrap();
    assert!(outcome.stdout.contains("byte by byte"), "{outcome:?}");
    let log = scene.daemon.log().unwrap();
    assert_eq!(
        crate::operation(&log, "select 'byte by byte'")["verdict"],
        "allow"
    );
}

#[test]
fn a_flow_to_the_database_that_is_not_postgres_is_denied() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let listener = Responder::start(b"SSH-2.0-OpenSSH_9\r\n").unwrap();
    let text = policy::allow_all(&subtree, listener.address().port());
    let daemon = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &text)
        .unwrap()
        .start()
        .unwrap();
    let program = "import socket, sys\n\
        s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)\n\
        s.settimeout(20)\n\
        try:\n    s.sendall(b'SSH-2.0-client\\r\\n'); print(s.recv(100))\n\
        except OSError as error:\n    print(type(error).__name__)\n";
    let job = Job::governed(&subtree, "ssh").unwrap();
    let port = listener.address().port().to_string();
    let said = job
        .python(program, &[&port])
        .unwrap()
        .wait(PATIENCE)
        .unwrap()
        .stdout;
    assert!(!said.contains("OpenSSH"), "{said}");
    let received: Vec<_> = listener
        .received()
        .into_iter()
        .filter(|r| !r.is_empty())
        .collect();
    assert!(received.is_empty(), "{received:?}");
    wait::until_true("the denied session", PATIENCE, || {
        daemon
            .sessions()
            .unwrap()
            .iter()
            .any(|session| session["end"] == "denied")
    })
    .unwrap();
}

//! The ways out that the harness tries (`gateway_tests::attacks`), and what is allowed.
use gateway_tests::attacks::{self, Field, listening_ports};
use gateway_tests::running::PATIENCE;
use gateway_tests::sniffer::Sniffer;
use gateway_tests::{Daemon, Job, Namespace, Subtree, policy, wait};
use std::sync::Arc;

const SINK_PORT: u16 = 7000;

/// `cargo xtask ways-out` shows the same as a table.
#[test]
fn no_way_out_lets_a_token_through() {
    let mut field = Field::open().unwrap();
    let mut failures = Vec::new();
    for way in attacks::ways() {
        let tried = field.attempt(way);
        let tried = tried.unwrap_or_else(|error| panic!("{}: {error:#}", way.name));
        failures.extend(tried.fault());
    }
    let said = field.daemon.said();
    assert!(failures.is_empty(), "{}\n{said}", failures.join("\n"));
    field.still_works().unwrap();
}

#[test]
fn an_allowed_flow_arrives_and_is_recorded() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let namespace = Namespace::create().unwrap();
    let sniffer = Sniffer::start(&namespace, SINK_PORT).unwrap();
    let text = policy::opaque_to(&subtree, &namespace.address().to_string(), SINK_PORT);
    let daemon = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &text)
        .unwrap()
        .start()
        .unwrap();
    let job = Job::governed(&subtree, "sender").unwrap();
    let program = "import socket, sys\n\
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)\n\
        s.sendall(sys.argv[3].encode())\ns.shutdown(socket.SHUT_WR)\ns.recv(1)\n";
    let host = namespace.address().to_string();
    let token = Sniffer::token("allowed");
    let sender = job
        .python(program, &[&host, &SINK_PORT.to_string(), &token])
        .unwrap();
    sender.wait(PATIENCE).unwrap().success().unwrap();
    assert!(
        sniffer.tokens().contains("gwtok-allowed"),
        "{}",
        daemon.said()
    );
    wait::until_true("the session to be closed", PATIENCE, || {
        daemon
            .sessions()
            .unwrap()
            .iter()
            .any(|session| !session["closed"].is_null())
    })
    .unwrap();
    let sessions = daemon.sessions().unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0]["protocol"], "opaque");
    assert_eq!(sessions[0]["resource"], "sink");
    assert_eq!(sessions[0]["bytes_up"], token.len());
}

/// A stranger who finds the daemon's listener gets nothing from it.
#[test]
fn the_daemon_cannot_be_borrowed() {
    let field = Field::open().unwrap();
    let ports = listening_ports(field.daemon.pid().unwrap()).unwrap();
    assert!(!ports.is_empty(), "the daemon listens somewhere");
    let program = "import socket, sys\n\
        for port in sys.argv[1:]:\n    \
            try:\n        \
                s = socket.create_connection(('127.0.0.1', int(port)), 5)\n        \
                s.settimeout(5)\n        \
                s.sendall(b'\\0\\0\\0\\x08\\x04\\xd2\\x16/')\n        \
                print('answer', b''.join(iter(lambda: s.recv(100), b'')))\n    \
            except OSError as error:\n        \
                print('refused', type(error).__name__)\n";
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    for job in [
        Job::free(&field.subtree, "stranger").unwrap(),
        Job::governed(&field.subtree, "insider").unwrap(),
    ] {
        let said = job
            .python(program, &ports)
            .unwrap()
            .wait(PATIENCE)
            .unwrap()
            .stdout;
        // An insider is answered by the gateway itself, which declines to encrypt and then waits
        // for a login that it could refuse.
        let by_the_gateway = job.cgroup().ends_with("insider");
        for answer in said.lines().filter(|line| line.starts_with("answer")) {
            let declined = by_the_gateway && answer == "answer b'N'";
            assert!(
                declined || answer == "answer b''",
                "{}: {said}",
                job.cgroup().display()
            );
        }
    }
}

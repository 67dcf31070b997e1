//! The path of a connection: who it is, whether it may connect, what it speaks.
use crate::support::{Bench, MORNING, eventually, flow, limits};
use gateway_core::{Mode, SessionEnd, Verb, Verdict};
use gateway_proxy::{CaptureError, ProxyLimits};
use gateway_testkit::sockets::{self, EndOfStream, read_exactly, read_to_end};
use gateway_testkit::{FakeJudge, Step, Upstream};
use nix::sys::socket::Backlog;
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// Nobody has connected to the listener.
fn assert_not_dialled(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_cleared_session_passes_and_is_recorded_from_its_first_byte_to_its_last() {
    let upstream = Upstream::play(vec![vec![
        Step::Expect(bytes("LINES\nread 1\n")),
        Step::Send(bytes("row\n")),
        Step::ExpectEnd,
    ]]);
    let bench = Bench::new(FakeJudge::denying(&[Verb::Delete]), upstream.address());
    let mut client = bench.connect();
    client.write_all(b"LINES\ndelete all\nread 1\n").unwrap();
    let refusal = "gateway: delete on ";
    let answer = read_exactly(&mut client, refusal.len());
    assert_eq!(answer, refusal.as_bytes());
    client.shutdown(Shutdown::Write).unwrap();
    let (rest, end) = read_to_end(&mut client);
    assert!(
        rest.ends_with(b"row\n"),
        "{}",
        String::from_utf8_lossy(&rest)
    );
    assert_eq!(end, EndOfStream::Clean);

    let closed = &bench.recorder.wait_closed_count(1)[0];
    let recorded = bench.recorder.recorded();
    let opened = &recorded.opened[0];
    assert_eq!(opened.destination.address(), upstream.address());
    assert_eq!((&*opened.policy, opened.session), ("test", closed.session));
    assert!(opened.time.0 >= MORNING && closed.time > opened.time);
    let operations: Vec<_> = recorded
        .operations
        .iter()
        .map(|row| {
            (
                row.protocol.as_str(),
                row.verb,
                row.statement.as_str(),
                row.verdict,
            )
        })
        .collect();
    let wanted = [
        ("", Verb::Connect, "", Verdict::Allow),
        ("lines", Verb::Read, "LINES", Verdict::Allow),
        ("lines", Verb::Delete, "delete all", Verdict::Deny),
        ("lines", Verb::Read, "read 1", Verdict::Allow),
    ];
    assert_eq!(operations, wanted);
    assert_eq!(
        (&*closed.protocol, closed.end),
        ("lines", SessionEnd::Client)
    );
    assert_eq!((closed.operations, closed.denied), (4, 1));
    assert_eq!(closed.bytes_up, b"LINES\ndelete all\nread 1\n".len() as u64);
    assert_eq!(closed.bytes_down, (refusal.len() + rest.len()) as u64);
    upstream.join();
}

#[test]
fn a_refused_connect_is_worded_by_the_protocol_and_nothing_is_dialled() {
    let listener = sockets::listener();
    let bench = Bench::new(
        FakeJudge::denying(&[Verb::Connect]),
        listener.local_addr().unwrap(),
    );
    let mut client = bench.connect();
    client
        .write_all(b"LINES\nmore that nobody will read\n")
        .unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (words, end) = read_to_end(&mut client);
    let words = String::from_utf8(words).unwrap();
    assert!(
        words.starts_with("refused: gateway: connect on 127.0.0.1:"),
        "{words}"
    );
    assert!(
        words.contains("denied by rule \"test\": denied by the test"),
        "{words}"
    );
    assert_eq!(end, EndOfStream::Clean, "a reset could overtake the words");
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!(
        (closed.end, &*closed.protocol),
        (SessionEnd::Denied, "lines")
    );
    assert_eq!((closed.operations, closed.denied), (1, 1));
    assert_eq!(closed.bytes_down, words.len() as u64);
    assert_not_dialled(&listener);
}

#[test]
fn a_client_that_waits_for_an_end_gets_one_behind_the_words() {
    let listener = sockets::listener();
    let bench = Bench::new(
        FakeJudge::denying(&[Verb::Connect]),
        listener.local_addr().unwrap(),
    );
    let mut client = bench.connect();
    client.write_all(b"LINES\n").unwrap();
    let (words, end) = read_to_end(&mut client);
    assert!(words.starts_with(b"refused: "));
    assert_eq!(end, EndOfStream::Clean);
}

#[test]
fn a_refusal_can_take_a_question_and_an_answer_first() {
    let listener = sockets::listener();
    let bench = Bench::new(
        FakeJudge::denying(&[Verb::Connect]),
        listener.local_addr().unwrap(),
    );
    let mut client = bench.connect();
    client.write_all(b"LINES\ntls?\n").unwrap();
    assert_eq!(read_exactly(&mut client, 3), b"no\n");
    client.write_all(b"then so\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (words, end) = read_to_end(&mut client);
    assert!(words.starts_with(b"refused: gateway: connect"));
    assert_eq!(end, EndOfStream::Clean);
    assert_not_dialled(&listener);
}

#[test]
fn a_refused_client_that_nobody_understands_is_reset() {
    let listener = sockets::listener();
    for said in [&b"GET / HTTP/1.1\r\n"[..], b"", b"LI"] {
        let bench = Bench::new(
            FakeJudge::denying(&[Verb::Connect]),
            listener.local_addr().unwrap(),
        );
        let mut client = bench.connect();
        client.write_all(said).unwrap();
        assert_eq!(
            read_to_end(&mut client),
            (Vec::new(), EndOfStream::Reset),
            "{said:?}"
        );
        let closed = &bench.recorder.wait_closed_count(1)[0];
        assert_eq!((closed.end, &*closed.protocol), (SessionEnd::Denied, ""));
    }
    assert_not_dialled(&listener);
}

#[test]
fn a_refused_client_cannot_make_the_gateway_read_for_ever() {
    let listener = sockets::listener();
    let limits = ProxyLimits {
        refusal: Duration::from_secs(3600),
        ..limits()
    };
    let address = listener.local_addr().unwrap();
    let bench = Bench::with_limits(FakeJudge::denying(&[Verb::Connect]), address, limits);
    let mut client = bench.connect();
    client.write_all(b"LINES\n").unwrap();
    let flood = [b'x'; 8192];
    let error = loop {
        if let Err(error) = client.write_all(&flood) {
            break error;
        }
    };
    assert!(
        matches!(
            error.kind(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        ),
        "{error}"
    );
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert!(closed.bytes_up <= 64 * 1024);
}

#[test]
fn who_was_not_redirected_is_reset_and_counted() {
    let listener = sockets::listener();
    let bench = Bench::new(FakeJudge::allow_all(), listener.local_addr().unwrap());
    bench.capture.set(Ok(None));
    let mut stranger = bench.connect();
    assert_eq!(read_to_end(&mut stranger), (Vec::new(), EndOfStream::Reset));
    bench.capture.set(Err(CaptureError("no map".into())));
    let mut unlucky = bench.connect();
    assert_eq!(read_to_end(&mut unlucky), (Vec::new(), EndOfStream::Reset));
    bench.send_to(flow(listener.local_addr().unwrap(), 0));
    let mut unknown = bench.connect();
    assert_eq!(read_to_end(&mut unknown), (Vec::new(), EndOfStream::Reset));
    let counts = bench.wait_counts(|counts| counts.active == 0);
    assert_eq!(
        (counts.orphans, counts.capture_errors, counts.unattributed),
        (1, 1, 1)
    );
    assert!(bench.recorder.recorded().opened.is_empty());
    assert_not_dialled(&listener);
}

#[test]
fn what_cannot_be_recorded_is_not_dialled_at_any_of_the_first_records() {
    let listener = sockets::listener();
    // The session, then the connect.
    for call in [1, 2] {
        let bench = Bench::new(FakeJudge::allow_all(), listener.local_addr().unwrap());
        bench.recorder.fail_at(call);
        let mut client = bench.connect();
        assert_eq!(
            read_to_end(&mut client),
            (Vec::new(), EndOfStream::Reset),
            "call {call}"
        );
        bench.wait_counts(|counts| counts.active == 0);
    }
    assert_not_dialled(&listener);
}

#[test]
fn what_cannot_be_recorded_later_ends_the_session_before_a_byte_has_passed() {
    // The answer of connect, then the unknown operation that an opaque session is.
    for call in [3, 4] {
        let upstream = Upstream::play(vec![vec![Step::ExpectEnd]]);
        let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
        bench.recorder.fail_at(call);
        let mut client = bench.connect();
        if call == 4 {
            client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        }
        assert_eq!(
            read_to_end(&mut client),
            (Vec::new(), EndOfStream::Reset),
            "call {call}"
        );
        let closed = &bench.recorder.wait_closed_count(1)[0];
        assert_eq!(closed.bytes_down, 0);
        upstream.join();
    }
}

#[test]
fn an_upstream_that_refuses_resets_the_client_and_the_record_says_why() {
    let bench = Bench::new(FakeJudge::allow_all(), sockets::closed_port());
    let mut client = bench.connect();
    assert_eq!(read_to_end(&mut client), (Vec::new(), EndOfStream::Reset));
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!(closed.end, SessionEnd::Error);
    let error = closed.error.as_deref().unwrap();
    assert!(
        error.contains("Connection refused (os error 111)"),
        "{error}"
    );
    let outcome = &bench.recorder.recorded().outcomes[0];
    assert_eq!(outcome.error.as_deref(), Some(error));
    assert_eq!(bench.proxy.counts().dial_errors, 1);
}

#[test]
fn an_upstream_that_takes_too_long_is_given_up() {
    let listener = sockets::listener();
    let address = listener.local_addr().unwrap();
    // A listener that nobody serves: once its queue is full, the kernel drops what comes.
    nix::sys::socket::listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let mut queue = Vec::new();
    while let Ok(queued) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        queue.push(queued);
    }
    let limits = ProxyLimits {
        dial: Duration::from_millis(100),
        ..limits()
    };
    let bench = Bench::with_limits(FakeJudge::allow_all(), address, limits);
    let mut client = bench.connect();
    assert_eq!(read_to_end(&mut client), (Vec::new(), EndOfStream::Reset));
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert!(
        closed
            .error
            .as_deref()
            .unwrap()
            .contains("no answer within 0.1 s"),
        "{closed:?}"
    );
}

#[test]
fn the_upstream_is_dialled_from_the_address_that_the_client_had_bound() {
    let listener = sockets::listener();
    let address = listener.local_addr().unwrap();
    let bench = Bench::new(FakeJudge::allow_all(), address);
    let mut bound = flow(address, 1);
    bound.bound_source = Some([127, 0, 0, 77].into());
    bench.send_to(bound);
    let _client = bench.connect();
    let (_upstream, from) = listener.accept().unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.77");
    // An address that is not ours cannot be dialled from; nothing else is tried.
    bound.bound_source = Some([192, 0, 2, 1].into());
    bench.send_to(bound);
    let mut client = bench.connect();
    assert_eq!(read_to_end(&mut client), (Vec::new(), EndOfStream::Reset));
    assert_not_dialled(&listener);
}

#[test]
fn a_server_that_speaks_first_is_recognised_by_its_words() {
    let upstream = Upstream::play(vec![vec![
        Step::Send(bytes("2")),
        Step::Send(bytes("20 at your service\n")),
        Step::Expect(bytes("hello\n")),
        Step::Send(bytes("bye\n")),
    ]]);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut client = bench.connect();
    assert_eq!(read_exactly(&mut client, 20), b"220 at your service\n");
    client.write_all(b"hello\n").unwrap();
    assert_eq!(read_to_end(&mut client).0, b"bye\n");
    drop(client);
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!(
        (&*closed.protocol, closed.end),
        ("greeter", SessionEnd::Upstream)
    );
    upstream.join();
}

#[test]
fn what_nobody_recognises_passes_only_when_unknown_is_allowed() {
    let request = "GET / HTTP/1.1\r\n\r\n";
    let upstream = Upstream::play(vec![vec![
        Step::Expect(bytes(request)),
        Step::Send(bytes("HTTP/1.1 204 No Content\r\n\r\n")),
        Step::ExpectEnd,
    ]]);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut client = bench.connect();
    client.write_all(request.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut client).0.len(), 27);
    let closed = &bench.recorder.wait_closed_count(1)[0];
    let recorded = bench.recorder.recorded();
    let operation = &recorded.operations[1];
    assert_eq!(
        (operation.protocol.as_str(), operation.verb),
        ("opaque", Verb::Unknown)
    );
    assert_eq!(operation.effects[0].objects[0].name(), "*");
    let connected = &recorded.outcomes[0];
    assert_eq!(
        (connected.id, &connected.error),
        (recorded.operations[0].id, &None)
    );
    let outcome = &recorded.outcomes[1];
    assert_eq!(outcome.id, operation.id);
    assert_eq!(
        (outcome.bytes_up, outcome.bytes_down),
        (request.len() as u64, 27)
    );
    assert_eq!(
        (closed.bytes_up, closed.bytes_down),
        (request.len() as u64, 27)
    );
    assert_eq!(&*closed.protocol, "opaque");
    upstream.join();
}

#[test]
fn what_nobody_recognises_is_reset_when_unknown_is_denied_and_the_upstream_sees_no_byte() {
    let upstream = Upstream::play(vec![vec![Step::ExpectEnd]]);
    let bench = Bench::new(FakeJudge::denying(&[Verb::Unknown]), upstream.address());
    let mut client = bench.connect();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(read_to_end(&mut client), (Vec::new(), EndOfStream::Reset));
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!((closed.end, closed.denied), (SessionEnd::Denied, 1));
    upstream.join();
}

#[test]
fn a_policy_that_only_observes_refuses_nothing_and_records_the_verdict() {
    let upstream = Upstream::play(vec![vec![Step::Expect(bytes("anything")), Step::ExpectEnd]]);
    let judge = FakeJudge::denying(&[Verb::Unknown, Verb::Connect]).in_mode(Mode::Shadow);
    let bench = Bench::new(judge, upstream.address());
    let mut client = bench.connect();
    client.write_all(b"anything").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    bench.recorder.wait_closed_count(1);
    let recorded = bench.recorder.recorded();
    assert!(
        recorded
            .operations
            .iter()
            .all(|row| row.verdict == Verdict::Deny)
    );
    assert_eq!(recorded.operations.len(), 2);
    upstream.join();
}

#[test]
fn an_opening_that_stops_in_the_middle_is_nobodys() {
    let upstream = Upstream::play(vec![vec![Step::Expect(bytes("LI")), Step::ExpectEnd]]);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut client = bench.connect();
    client.write_all(b"LI").unwrap();
    eventually(|| {
        let sessions = bench.proxy.sessions();
        (sessions.len() == 1 && sessions[0].protocol == "opaque")
            .then_some(())
            .ok_or(sessions)
    });
    drop(client);
    upstream.join();
}

#[test]
fn an_opening_without_end_is_bounded() {
    let limits = ProxyLimits {
        recognise: Duration::from_secs(3600),
        ..limits()
    };
    // All of it fits the greeter's and the liner's doubts only as long as it is short.
    let upstream = Upstream::play(vec![vec![Step::ExpectEnd]]);
    let judge = FakeJudge::denying(&[Verb::Unknown]);
    let bench = Bench::with_limits(judge, upstream.address(), limits);
    let mut client = bench.connect();
    client.write_all(&[b'L'; 100_000]).unwrap();
    let (got, end) = read_to_end(&mut client);
    assert_eq!((got, end), (Vec::new(), EndOfStream::Reset));
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert!(closed.bytes_up <= 16 * 1024, "{}", closed.bytes_up);
    upstream.join();
}

#[test]
fn a_link_on_which_nobody_spoke_ends_with_whoever_leaves() {
    let upstream = Upstream::play(vec![vec![Step::ExpectEnd], vec![]]);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let client = bench.connect();
    drop(client);
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!((closed.end, &*closed.protocol), (SessionEnd::Client, ""));
    let mut client = bench.connect();
    assert_eq!(read_to_end(&mut client), (Vec::new(), EndOfStream::Clean));
    let closed = &bench.recorder.wait_closed_count(2)[1];
    assert_eq!((closed.end, &*closed.protocol), (SessionEnd::Upstream, ""));
    upstream.join();
}

//! Connections that wait for a human.
use crate::support::Bench;
use gateway_core::{SessionEnd, Verb, Verdict};
use gateway_testkit::sockets::{self, EndOfStream, read_exactly, read_to_end};
use gateway_testkit::{FakeJudge, Step, Upstream};
use std::io::{ErrorKind, Write};

fn holding(verb: Verb) -> FakeJudge {
    FakeJudge::new(move |case| match case.operation.verb {
        asked if asked == verb => Verdict::Hold,
        _ => Verdict::Allow,
    })
}

#[test]
fn a_held_connect_is_dialled_when_it_is_approved_and_not_before() {
    let upstream = Upstream::play(vec![vec![
        Step::Expect(b"LINES\n".to_vec()),
        Step::Send(b"row\n".to_vec()),
        Step::ExpectEnd,
    ]]);
    let bench = Bench::new(holding(Verb::Connect), upstream.address());
    let mut client = bench.connect();
    client.write_all(b"LINES\n").unwrap();
    let question = bench.approver.answer(Verdict::Approved);
    assert_eq!((question.verb, question.protocol), (Verb::Connect, ""));
    assert_eq!(read_exactly(&mut client, 4), b"row\n");
    drop(client);
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!((closed.held, closed.denied), (1, 0));
    upstream.join();
}

#[test]
fn a_connect_that_is_not_approved_is_refused_and_nothing_is_dialled() {
    let listener = sockets::listener();
    let bench = Bench::new(holding(Verb::Connect), listener.local_addr().unwrap());
    let mut client = bench.connect();
    client.write_all(b"LINES\n").unwrap();
    bench.approver.answer(Verdict::Denied);
    let (words, _) = read_to_end(&mut client);
    let words = String::from_utf8(words).unwrap();
    assert!(words.contains("not approved by user:bob"), "{words}");
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!(
        (closed.end, closed.held, closed.denied),
        (SessionEnd::Denied, 1, 1)
    );
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// With bytes of its own still unread, as any client that speaks first has.
#[test]
fn a_client_that_does_not_wait_withdraws_its_question() {
    let listener = sockets::listener();
    for says in [&b""[..], b"LINES\nread 1\n"] {
        let bench = Bench::new(holding(Verb::Connect), listener.local_addr().unwrap());
        let mut client = bench.connect();
        client.write_all(says).unwrap();
        bench.approver.wait_asked();
        drop(client);
        bench.approver.wait_withdrawn();
        let closed = &bench.recorder.wait_closed_count(1)[0];
        assert_eq!((closed.end, closed.denied), (SessionEnd::Client, 1));
        let resolutions = bench.recorder.recorded().resolutions;
        assert_eq!(resolutions[0].verdict, Verdict::Denied);
    }
}

#[test]
fn a_held_session_can_be_ended() {
    let listener = sockets::listener();
    let bench = Bench::new(holding(Verb::Connect), listener.local_addr().unwrap());
    let mut client = bench.connect();
    bench.approver.wait_asked();
    let session = bench.proxy.sessions()[0].session;
    assert!(bench.proxy.kill_session(session));
    assert_eq!(read_to_end(&mut client), (Vec::new(), EndOfStream::Reset));
    bench.approver.wait_withdrawn();
}

#[test]
fn what_nobody_recognises_can_be_held() {
    let upstream = Upstream::play(vec![vec![
        Step::Expect(b"GET / HTTP/1.1\r\n".to_vec()),
        Step::Send(b"yes".to_vec()),
        Step::ExpectEnd,
    ]]);
    let bench = Bench::new(holding(Verb::Unknown), upstream.address());
    let mut client = bench.connect();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let question = bench.approver.answer(Verdict::Approved);
    assert_eq!(question.protocol, "opaque");
    assert_eq!(read_exactly(&mut client, 3), b"yes");
    drop(client);
    upstream.join();
}

#[test]
fn a_held_line_holds_its_own_session_only() {
    let upstream = Upstream::echo(2);
    let bench = Bench::new(holding(Verb::Delete), upstream.address());
    let (mut held, mut free) = (bench.connect(), bench.connect());
    held.write_all(b"LINES\ndelete all\n").unwrap();
    assert_eq!(read_exactly(&mut held, 6), b"LINES\n");
    bench.approver.wait_asked();
    free.write_all(b"LINES\nread 1\n").unwrap();
    assert_eq!(read_exactly(&mut free, 13), b"LINES\nread 1\n");
    bench.approver.answer(Verdict::Approved);
    assert_eq!(read_exactly(&mut held, 11), b"delete all\n");
    drop((held, free));
    upstream.join();
}

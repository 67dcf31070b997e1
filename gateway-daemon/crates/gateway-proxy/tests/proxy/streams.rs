//! Bytes: all of them, in order, at any pace, to the right kind of end.
use crate::support::{Bench, limits};
use gateway_core::SessionEnd;
use gateway_proxy::ProxyLimits;
use gateway_testkit::chunks::Dice;
use gateway_testkit::sockets::{self, EndOfStream, read_exactly, read_to_end};
use gateway_testkit::{FakeJudge, Step, Upstream};
use std::hash::{DefaultHasher, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const BULK: usize = 64 * 1024 * 1024;

/// Writes `length` bytes that depend on the seed, and returns their checksum.
fn write_bulk(mut stream: TcpStream, length: usize, seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let mut sum = DefaultHasher::new();
    let mut left = length;
    let mut block = vec![0; 256 * 1024];
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            word.copy_from_slice(&dice.roll().to_le_bytes());
        }
        let n = left.min(1 + dice.below(block.len()));
        stream.write_all(&block[..n]).unwrap();
        block[..n].iter().for_each(|byte| sum.write_u8(*byte));
        left -= n;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    sum.finish()
}

/// Reads to the end, and returns how many bytes came and their checksum.
fn read_bulk(mut stream: TcpStream) -> (usize, u64) {
    let mut sum = DefaultHasher::new();
    let mut total = 0;
    let mut block = vec![0; 256 * 1024];
    loop {
        let n = stream.read(&mut block).unwrap();
        if n == 0 {
            return (total, sum.finish());
        }
        block[..n].iter().for_each(|byte| sum.write_u8(*byte));
        total += n;
    }
}

#[test]
fn sixty_four_mebibytes_there_and_back_are_the_same() {
    let upstream = Upstream::echo(1);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let client = bench.connect();
    let writer = client.try_clone().unwrap();
    let writing = thread::spawn(move || write_bulk(writer, BULK, 42));
    let (total, sum) = read_bulk(client);
    assert_eq!(total, BULK);
    assert!(sum == writing.join().unwrap(), "other bytes came back");
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!(
        (closed.bytes_up, closed.bytes_down),
        (BULK as u64, BULK as u64)
    );
    assert_eq!((closed.end, &closed.error), (SessionEnd::Client, &None));
    upstream.join();
}

#[test]
fn the_other_direction_goes_on_after_the_end_of_one() {
    // The client ends first; the upstream answers only then.
    let (question, answer) = (vec![b'q'; 300_000], vec![b'a'; 300_000]);
    let script = vec![
        Step::Expect(question.clone()),
        Step::ExpectEnd,
        Step::Send(answer.clone()),
    ];
    let upstream = Upstream::play(vec![script]);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut client = bench.connect();
    client.write_all(&question).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (got, end) = read_to_end(&mut client);
    assert!(got == answer && end == EndOfStream::Clean);
    assert_eq!(
        bench.recorder.wait_closed_count(1)[0].end,
        SessionEnd::Client
    );
    upstream.join();

    // The upstream ends first; the client goes on.
    let script = vec![
        Step::Send(answer.clone()),
        Step::ShutdownWrite,
        Step::Expect(question.clone()),
        Step::ExpectEnd,
    ];
    let upstream = Upstream::play(vec![script]);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut client = bench.connect();
    let (got, end) = read_to_end(&mut client);
    assert!(got == answer && end == EndOfStream::Clean);
    client.write_all(&question).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    upstream.join();
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!(closed.end, SessionEnd::Upstream);
    assert_eq!(closed.bytes_up, question.len() as u64);
}

#[test]
fn a_reader_that_stands_still_holds_the_writer_back_and_gets_everything_later() {
    let (go, wait) = mpsc::channel::<()>();
    let (tell, heard) = mpsc::channel();
    let upstream = Upstream::serve(1, move |_, stream| {
        wait.recv().unwrap();
        tell.send(read_bulk(stream)).unwrap();
    });
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut client = bench.connect();
    // Without anybody reading, sooner or later nothing more is taken.
    client
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let block = vec![7; 64 * 1024];
    let mut written = 0;
    let error = loop {
        match client.write(&block) {
            Ok(n) => written += n,
            Err(error) => break error,
        }
        assert!(written < BULK, "somebody keeps all of it");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    go.send(()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let (total, _) = heard.recv().unwrap();
    assert_eq!(total, written);
    drop(client);
    assert_eq!(
        bench.recorder.wait_closed_count(1)[0].bytes_up,
        written as u64
    );
    upstream.join();
}

#[test]
fn a_client_that_pipelines_without_reading_gets_all_answers() {
    let upstream = Upstream::echo(1);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let client = bench.connect();
    let mut writer = client.try_clone().unwrap();
    let lines: Vec<u8> = (0..200_000)
        .flat_map(|n| format!("read {n}\n").into_bytes())
        .collect();
    let sent = [b"LINES\n".as_slice(), &lines].concat();
    let expected = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut client = client;
    let (got, end) = read_to_end(&mut client);
    writing.join().unwrap();
    assert!(got == expected && end == EndOfStream::Clean);
    assert_eq!(bench.recorder.wait_closed_count(1)[0].operations, 200_002);
    upstream.join();
}

#[test]
fn a_reset_passes_through_in_either_direction() {
    // From the upstream: what came before it arrives, and the end is no clean one.
    let script = vec![
        Step::Expect(b"x".to_vec()),
        Step::Send(b"half an ans".to_vec()),
        Step::Reset,
    ];
    let upstream = Upstream::play(vec![script]);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut client = bench.connect();
    client.write_all(b"x").unwrap();
    let (got, end) = read_to_end(&mut client);
    assert!(b"half an ans".starts_with(&got[..]));
    assert_eq!(end, EndOfStream::Reset);
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!(closed.end, SessionEnd::Upstream);
    assert!(
        closed.error.as_deref().unwrap().starts_with("Upstream: "),
        "{closed:?}"
    );
    upstream.join();

    // From the client.
    let (tell, heard) = mpsc::channel();
    let upstream = Upstream::serve(1, move |_, mut stream| {
        assert_eq!(read_exactly(&mut stream, 1), b"x");
        stream.write_all(b"y").unwrap();
        tell.send(read_to_end(&mut stream)).unwrap();
    });
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut client = bench.connect();
    client.write_all(b"x").unwrap();
    assert_eq!(read_exactly(&mut client, 1), b"y");
    sockets::reset(client);
    assert_eq!(heard.recv().unwrap(), (Vec::new(), EndOfStream::Reset));
    assert_eq!(
        bench.recorder.wait_closed_count(1)[0].end,
        SessionEnd::Client
    );
    upstream.join();
}

#[test]
fn a_server_that_refuses_and_closes_is_heard_although_the_client_keeps_sending() {
    let upstream = Upstream::serve(1, |_, mut stream| {
        stream.write_all(b"too many clients already").unwrap();
        // Dropped with unread bytes: the kernel sends a reset behind the words.
    });
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut client = bench.connect();
    let _ = client.write_all(&[b'z'; 200_000]);
    let mut words = [0; 24];
    client.read_exact(&mut words).unwrap();
    assert_eq!(&words, b"too many clients already");
    upstream.join();
}

#[test]
fn an_idle_opaque_session_ends_when_a_limit_says_so() {
    let upstream = Upstream::echo(1);
    let limits = ProxyLimits {
        opaque_idle: Some(Duration::from_millis(50)),
        ..limits()
    };
    let bench = Bench::with_limits(FakeJudge::allow_all(), upstream.address(), limits);
    let mut client = bench.connect();
    client.write_all(b"x").unwrap();
    assert_eq!(read_exactly(&mut client, 1), b"x");
    assert_eq!(read_to_end(&mut client), (Vec::new(), EndOfStream::Reset));
    let closed = &bench.recorder.wait_closed_count(1)[0];
    assert_eq!(closed.end, SessionEnd::Killed);
    assert_eq!(closed.error.as_deref(), Some("idle for too long"));
    upstream.join();
}

#[test]
fn any_pace_of_small_writes_gives_the_same_stream() {
    let upstream = Upstream::echo(8);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let clients: Vec<_> = (0..8u64)
        .map(|seed| {
            let mut client = bench.connect();
            thread::spawn(move || {
                let mut dice = Dice::new(seed);
                let sent: Vec<u8> = (0..20_000).map(|_| dice.roll() as u8 | 0x80).collect();
                let mut writer = client.try_clone().unwrap();
                let chunks = gateway_testkit::chunks::at_random(sent.len(), seed);
                let expected = sent.clone();
                let writing = thread::spawn(move || {
                    for chunk in chunks {
                        writer.write_all(&sent[chunk]).unwrap();
                        thread::yield_now();
                    }
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let (got, end) = read_to_end(&mut client);
                writing.join().unwrap();
                assert!(got == expected && end == EndOfStream::Clean, "seed {seed}");
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    upstream.join();
}

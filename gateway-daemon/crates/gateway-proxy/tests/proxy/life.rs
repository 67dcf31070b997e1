//! Many sessions: seen, spread, limited, ended, drained; and one that fails alone.
use crate::support::{Bench, eventually, flow, limits};
use gateway_core::{SessionEnd, TreeId, Verb};
use gateway_proxy::ProxyLimits;
use gateway_testkit::capture::UNSETTLED;
use gateway_testkit::chunks::Dice;
use gateway_testkit::sockets::{self, EndOfStream, read_exactly, read_to_end};
use gateway_testkit::{FakeJudge, Upstream};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// Opens a session that is served: what it says comes back.
fn open(bench: &Bench, hello: &[u8]) -> TcpStream {
    let mut client = bench.connect();
    client.write_all(hello).unwrap();
    assert_eq!(read_exactly(&mut client, hello.len()), hello);
    client
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(future)
}

#[test]
fn live_sessions_can_be_seen_and_ended_one_by_one_and_by_tree() {
    let upstream = Upstream::echo(4);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut of_tree_one = vec![open(&bench, b"LINES\n"), open(&bench, b"anything")];
    bench.send_to(flow(upstream.address(), 2));
    let mut of_tree_two = vec![open(&bench, b"LINES\n"), open(&bench, b"LINES\n")];

    let sessions = bench.proxy.sessions();
    let seen: Vec<_> = sessions
        .iter()
        .map(|session| (session.tree, session.protocol))
        .collect();
    let (one, two) = (TreeId(1), TreeId(2));
    assert_eq!(
        seen,
        [
            (one, "lines"),
            (one, "opaque"),
            (two, "lines"),
            (two, "lines")
        ]
    );
    assert!(sessions.is_sorted_by_key(|session| session.session));
    assert_eq!((sessions[0].operations, sessions[0].denied), (2, 0));
    assert_eq!(*sessions[0].resource, upstream.address().to_string());

    assert!(bench.proxy.kill_session(sessions[0].session));
    assert_eq!(
        read_to_end(&mut of_tree_one[0]),
        (Vec::new(), EndOfStream::Reset)
    );
    let closed = bench.recorder.wait_closed(sessions[0].session);
    assert_eq!(closed.end, SessionEnd::Killed);
    assert_eq!(closed.error.as_deref(), Some("ended by an operator"));
    eventually(|| match bench.proxy.kill_session(sessions[0].session) {
        false => Ok(()),
        true => Err("it is still there"),
    });

    assert_eq!(bench.proxy.kill_tree(two), 2);
    for client in &mut of_tree_two {
        assert_eq!(read_to_end(client), (Vec::new(), EndOfStream::Reset));
    }
    assert_eq!(bench.recorder.wait_closed_count(3).len(), 3);
    assert_eq!(bench.proxy.kill_tree(TreeId(3)), 0);
    let mut survivor = of_tree_one.pop().unwrap();
    survivor.write_all(b"still here").unwrap();
    assert_eq!(read_exactly(&mut survivor, 10), b"still here");
    drop((survivor, of_tree_one));
    upstream.join();
}

#[test]
fn a_session_can_be_ended_before_it_has_said_anything() {
    let upstream = sockets::listener();
    let bench = Bench::new(FakeJudge::allow_all(), upstream.local_addr().unwrap());
    let mut silent = bench.connect();
    let session = eventually(|| bench.proxy.sessions().pop().ok_or("nobody")).session;
    assert!(bench.proxy.kill_session(session));
    assert_eq!(read_to_end(&mut silent), (Vec::new(), EndOfStream::Reset));
    assert_eq!(bench.recorder.wait_closed(session).end, SessionEnd::Killed);
}

#[test]
fn a_drain_lets_sessions_finish_and_ends_those_that_do_not() {
    let upstream = Upstream::echo(2);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let mut patient = open(&bench, b"patient");
    let mut polite = open(&bench, b"polite");
    let address = bench.address;
    block_on(async {
        let drain = bench.proxy.drain(Duration::from_millis(300));
        let meanwhile = async {
            // The listener is gone, the sessions are not.
            while TcpStream::connect(address).is_ok() {
                tokio::task::yield_now().await;
            }
            polite.write_all(b"bye").unwrap();
            assert_eq!(read_exactly(&mut polite, 3), b"bye");
            polite.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_to_end(&mut polite), (Vec::new(), EndOfStream::Clean));
        };
        tokio::join!(drain, meanwhile);
    });
    assert_eq!(bench.proxy.counts().active, 0);
    assert_eq!(read_to_end(&mut patient), (Vec::new(), EndOfStream::Reset));
    let recorded = bench.recorder.recorded();
    // Those that only tried whether the listener was still there said nothing.
    let spoken = recorded
        .closed
        .iter()
        .filter(|closed| &*closed.protocol == "opaque");
    let mut ends: Vec<_> = spoken.map(|closed| closed.end.name()).collect();
    ends.sort_unstable();
    assert_eq!(ends, ["client", "killed"]);
    assert_eq!(recorded.opened.len(), recorded.closed.len());
    upstream.join();
}

#[test]
fn a_drain_without_sessions_ends_at_once() {
    let upstream = Upstream::echo(0);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    block_on(bench.proxy.drain(Duration::from_secs(3600)));
    upstream.join();
}

#[test]
fn dropping_the_proxy_ends_sessions_with_their_last_record() {
    let upstream = Upstream::echo(2);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    let clients = [open(&bench, b"LINES\n"), open(&bench, b"anything")];
    let Bench {
        proxy, recorder, ..
    } = bench;
    drop(proxy);
    let closed = recorder.recorded().closed;
    assert_eq!(closed.len(), 2);
    for record in closed {
        assert_eq!(record.end, SessionEnd::Killed);
        assert_eq!(record.error.as_deref(), Some("ended with the daemon"));
        assert_eq!(record.operations, 2);
    }
    drop(clients);
    upstream.join();
}

#[test]
fn above_the_limit_of_sessions_connections_are_reset_and_below_it_served_again() {
    let upstream = Upstream::echo(3);
    let limits = ProxyLimits {
        sessions: 2,
        ..limits()
    };
    let bench = Bench::with_limits(FakeJudge::allow_all(), upstream.address(), limits);
    let first = open(&bench, b"one");
    let second = open(&bench, b"two");
    for _ in 0..5 {
        let mut third = bench.connect();
        assert_eq!(read_to_end(&mut third), (Vec::new(), EndOfStream::Reset));
    }
    let counts = bench.wait_counts(|counts| counts.over_limit == 5);
    assert_eq!(counts.active, 2);
    drop(first);
    bench.wait_counts(|counts| counts.active == 1);
    drop((open(&bench, b"three"), second));
    upstream.join();
}

#[test]
fn a_session_that_panics_ends_alone_and_is_recorded() {
    let upstream = Upstream::echo(3);
    let bench = Bench::with_limits(
        FakeJudge::allow_all(),
        upstream.address(),
        ProxyLimits {
            workers: 1,
            ..limits()
        },
    );
    let mut neighbour = open(&bench, b"LINES\n");
    let mut doomed = open(&bench, b"LINES\n");
    let session = bench.proxy.sessions()[1].session;
    doomed.write_all(b"panic\n").unwrap();
    let (got, _) = read_to_end(&mut doomed);
    assert!(got.is_empty());
    let closed = bench.recorder.wait_closed(session);
    assert_eq!(
        (closed.end, &*closed.protocol),
        (SessionEnd::Error, "lines")
    );
    assert_eq!(closed.error.as_deref(), Some("the gateway failed (panic)"));
    assert_eq!(closed.operations, 2);
    let counts = bench.wait_counts(|counts| counts.active == 1);
    assert_eq!(counts.panics, 1);
    neighbour.write_all(b"read\n").unwrap();
    assert_eq!(read_exactly(&mut neighbour, 5), b"read\n");
    drop((open(&bench, b"LINES\n"), neighbour));
    upstream.join();
}

#[test]
fn sessions_are_spread_evenly_and_a_single_one_stays_where_it_was() {
    let upstream = Upstream::echo(28);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    for _ in 0..20 {
        drop(open(&bench, b"hello"));
        bench.wait_counts(|counts| counts.active == 0);
    }
    let single = open(&bench, b"hello");
    assert_eq!(
        bench.proxy.loads(),
        [1, 0],
        "the worker that accepts serves"
    );
    let clients: Vec<_> = (0..7).map(|_| open(&bench, b"hello")).collect();
    assert_eq!(bench.proxy.loads(), [4, 4]);
    drop((single, clients));
    upstream.join();
}

/// Does something that a client might do, well-behaved or not. Nothing of it may fail the test:
/// the session may be ended at any moment.
fn misbehave(address: SocketAddr, dice: &mut Dice) {
    let Ok(mut client) = TcpStream::connect(address) else {
        return;
    };
    let _ = client.set_read_timeout(Some(Duration::from_millis(50)));
    let hello: &[u8] = [&b"LINES\n"[..], b"anything", b"", b"LI", b"LINES\npanic\n"][dice.below(5)];
    let _ = client.write_all(hello);
    let mut answer = [0; 64];
    match dice.below(5) {
        0 => {}
        1 => sockets::reset(client),
        2 => {
            let _ = client.shutdown(Shutdown::Write);
            let _ = client.read(&mut answer);
        }
        3 => {
            let _ = client.write_all(&vec![b'\n'; dice.below(5_000)]);
        }
        _ => {
            let _ = client.read(&mut answer);
        }
    }
}

#[test]
fn whatever_happens_each_session_is_opened_once_and_closed_once() {
    let upstream = sockets::listener();
    let destination = upstream.local_addr().unwrap();
    // An echo that stops when the listener is shut down.
    let echo = std::thread::spawn(move || {
        while let Ok((mut stream, _)) = upstream.accept() {
            let mut first = [0; 4];
            match stream.read(&mut first) {
                Ok(4) if &first == b"STOP" => return,
                Ok(n) => {
                    let _ = stream.write_all(&first[..n]);
                }
                Err(_) => {}
            }
        }
    });
    let bench = Bench::new(FakeJudge::denying(&[Verb::Delete]), destination);
    let address = bench.address;
    let clients: Vec<_> = (0..4)
        .map(|seed| {
            std::thread::spawn(move || {
                let mut dice = Dice::new(seed);
                (0..150).for_each(|_| misbehave(address, &mut dice));
            })
        })
        .collect();
    let mut dice = Dice::new(99);
    while clients.iter().any(|client| !client.is_finished()) {
        let live = bench.proxy.sessions();
        if !live.is_empty() && dice.below(4) == 0 {
            bench
                .proxy
                .kill_session(live[dice.below(live.len())].session);
        }
        std::thread::yield_now();
    }
    for client in clients {
        client.join().unwrap();
    }
    // What a client connected and left again may still wait to be accepted.
    bench.wait_counts(|counts| counts.accepted == 600);
    block_on(bench.proxy.drain(Duration::from_millis(200)));
    let counts = bench.proxy.counts();
    assert_eq!(counts.active, 0);
    assert!(counts.panics > 0);
    let recorded = bench.recorder.recorded();
    let opened: HashSet<_> = recorded
        .opened
        .iter()
        .map(|opened| opened.session)
        .collect();
    let closed: HashSet<_> = recorded
        .closed
        .iter()
        .map(|closed| closed.session)
        .collect();
    assert_eq!((opened.len(), recorded.opened.len()), (600, 600));
    assert_eq!((closed.len(), recorded.closed.len()), (600, 600));
    assert_eq!(opened, closed);
    let mut last = sockets::connect(destination);
    last.write_all(b"STOP").unwrap();
    echo.join().unwrap();
}

#[test]
fn a_connection_whose_principal_is_not_settled_is_served_when_it_is() {
    let upstream = Upstream::echo(1);
    let bench = Bench::new(FakeJudge::allow_all(), upstream.address());
    bench.send_to(flow(upstream.address(), UNSETTLED.0));
    let mut client = bench.connect();
    client.write_all(b"LINES\n").unwrap();
    assert_eq!(read_exactly(&mut client, 6), b"LINES\n");
    drop(client);
    let opened = &bench.recorder.recorded().opened[0];
    assert_eq!(opened.subject.lineage.tree, UNSETTLED);
    upstream.join();
}

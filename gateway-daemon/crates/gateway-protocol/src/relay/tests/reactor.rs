//! The same relay over real sockets, run by the thread of a reactor.
use super::{Framed, frame, frames, of_kinds, same, traffic};
use crate::meter::Unmetered;
use crate::protocol::{Closed, Link};
use crate::relay::reactor::{Reactor, ReactorThread};
use crate::relay::{self, RelayLimits};
use crate::stop::{Stop, StopReason};
use gateway_core::{Governor, SessionEnd, Timestamp, Verb, Verdict};
use gateway_testkit::chunks::Dice;
use gateway_testkit::sockets::{self, EndOfStream};
use gateway_testkit::{FakeApprover, FakeJudge, MemoryRecorder, samples};
use nix::sys::socket::{MsgFlags, send};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// send(2): more is coming. Missing in nix.
const MSG_MORE: i32 = 0x8000;

/// A reactor, and the runtime whose timers it uses. Fields are dropped in this order.
struct Place {
    reactor: Option<ReactorThread>,
    runtime: Runtime,
}

/// A link that runs, seen from its peers.
struct Ends {
    client: TcpStream,
    upstream: TcpStream,
    stop: Arc<Stop>,
    closed: JoinHandle<Closed>,
}

impl Place {
    fn new() -> Place {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let reactor = ReactorThread::start("relay-test".into(), runtime.handle().clone()).unwrap();
        Place {
            reactor: Some(reactor),
            runtime,
        }
    }

    fn link(&self) -> Ends {
        self.link_with(RelayLimits::default())
    }

    fn link_with(&self, limits: RelayLimits) -> Ends {
        let reactor = self.reactor.as_ref().map(ReactorThread::reactor);
        self.link_on(reactor, limits)
    }

    fn link_on(&self, reactor: Option<Reactor>, limits: RelayLimits) -> Ends {
        let judge = FakeJudge::denying(&[Verb::Delete]);
        let recorder = Arc::new(MemoryRecorder::default());
        let governor = samples::governor(Arc::new(judge), recorder);
        self.link_of(reactor, limits, governor)
    }

    /// A link whose operations are held, and the human who is asked.
    fn holding_link(&self) -> (Ends, Arc<FakeApprover>, Arc<MemoryRecorder>) {
        let judge = FakeJudge::new(|case| match case.operation.verb {
            Verb::Grant => Verdict::Hold,
            _ => Verdict::Allow,
        });
        let (recorder, approver) = (
            Arc::<MemoryRecorder>::default(),
            Arc::<FakeApprover>::default(),
        );
        let governor = samples::governor_with(
            Arc::new(judge),
            Arc::<MemoryRecorder>::clone(&recorder),
            Arc::<FakeApprover>::clone(&approver),
        );
        let reactor = self.reactor.as_ref().map(ReactorThread::reactor);
        let ends = self.link_of(reactor, RelayLimits::default(), governor);
        (ends, approver, recorder)
    }

    fn link_of(
        &self,
        reactor: Option<Reactor>,
        limits: RelayLimits,
        mut governor: Governor,
    ) -> Ends {
        let _context = self.runtime.enter();
        let (client, from_client) = sockets::pair();
        let (upstream, to_upstream) = sockets::pair();
        let clearance = samples::connect(&mut governor);
        let stop = Arc::new(Stop::default());
        let link = Link {
            client: sockets::into_tokio(from_client).into(),
            upstream: sockets::into_tokio(to_upstream).into(),
            from_client: Vec::new(),
            from_upstream: Vec::new(),
            connected: samples::connect(&mut governor),
            terms: Arc::default(),
            login: None,
            stop: Arc::clone(&stop),
            meter: Arc::new(Unmetered),
            reactor,
        };
        let session = Box::new(Framed { clearance });
        let closed = self
            .runtime
            .spawn(relay::run_with(link, governor, session, limits));
        Ends {
            client,
            upstream,
            stop,
            closed,
        }
    }

    fn closed(&self, closed: JoinHandle<Closed>) -> Closed {
        let limit = Duration::from_secs(30);
        let ended = self
            .runtime
            .block_on(async { tokio::time::timeout(limit, closed).await });
        ended.expect("the link did not end").unwrap()
    }
}

/// Writes in pieces of random sizes, says the end, and returns what the peer said.
fn talk(mut stream: TcpStream, says: Vec<u8>, seed: u64) -> thread::JoinHandle<Vec<u8>> {
    let mut listens = stream.try_clone().unwrap();
    let hears = thread::spawn(move || {
        let mut heard = Vec::new();
        listens.read_to_end(&mut heard).unwrap();
        heard
    });
    thread::spawn(move || {
        let mut dice = Dice::new(seed);
        let mut rest = says.as_slice();
        while !rest.is_empty() {
            let most = rest.len().min(1 << (1 + dice.below(17)));
            let (piece, behind) = rest.split_at(1 + dice.below(most));
            stream.write_all(piece).unwrap();
            rest = behind;
        }
        stream.shutdown(Shutdown::Write).unwrap();
        hears.join().unwrap()
    })
}

#[test]
fn both_directions_at_once_in_pieces_of_any_size() {
    let place = Place::new();
    for seed in 0..20 {
        let mut dice = Dice::new(seed);
        let up = traffic(b"ppps", &mut dice, 400);
        let down = traffic(b"ppps", &mut dice, 400);
        let ends = place.link();
        let client = talk(ends.client, up.clone(), dice.roll());
        let upstream = talk(ends.upstream, down.clone(), dice.roll());
        let (client, upstream) = (client.join().unwrap(), upstream.join().unwrap());
        same(&upstream, &up, format!("up, seed {seed}"));
        same(&client, &down, format!("down, seed {seed}"));
        let closed = place.closed(ends.closed);
        assert_eq!(closed.error, None);
        assert_eq!(closed.ending.bytes_up, up.len() as u64);
        assert_eq!(closed.ending.bytes_down, down.len() as u64);
    }
}

#[test]
fn a_refusal_is_answered_in_its_place() {
    let place = Place::new();
    let mut dice = Dice::new(7);
    let up = traffic(b"pd", &mut dice, 100);
    let ends = place.link();
    let client = talk(ends.client, up.clone(), 1);
    let mut upstream = ends.upstream;
    let (passed, _) = sockets::read_to_end(&mut upstream);
    upstream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frames(&passed), of_kinds(&up, b"p"));
    let refused = of_kinds(&up, b"d").len();
    assert_eq!(frames(&client.join().unwrap()).len(), refused);
}

/// The kernel tells an end once, and perhaps with the bytes before it.
#[test]
fn an_end_right_behind_the_last_bytes_is_not_missed() {
    let place = Place::new();
    for number in 0..1000u32 {
        let mut ends = place.link();
        let word = frame(b'p', &number.to_be_bytes());
        ends.client.write_all(&word).unwrap();
        ends.client.shutdown(Shutdown::Write).unwrap();
        if number % 2 == 0 {
            ends.upstream.write_all(&word).unwrap();
        }
        ends.upstream.shutdown(Shutdown::Write).unwrap();
        let (got, end) = sockets::read_to_end(&mut ends.upstream);
        assert_eq!((got, end), (word, EndOfStream::Clean), "link {number}");
        place.closed(ends.closed);
    }
}

#[test]
fn a_receiver_that_does_not_take_holds_the_sender_back() {
    let place = Place::new();
    let mut ends = place.link();
    let payload = vec![7; 64 * 1024];
    let word = frame(b'p', &payload);
    ends.client
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut sent = 0;
    while let Ok(count) = ends.client.write(&word[sent % word.len()..]) {
        sent += count;
        assert!(sent < 1 << 30, "nothing holds the sender back");
    }
    // Whole frames only: the last one is cut.
    let whole = sent / word.len() * word.len();
    sockets::read_exactly(&mut ends.upstream, whole);
}

#[test]
fn a_link_that_waits_is_stopped() {
    let place = Place::new();
    let mut ends = place.link();
    let word = frame(b'p', b"hello");
    ends.client.write_all(&word).unwrap();
    assert_eq!(sockets::read_exactly(&mut ends.upstream, word.len()), word);
    ends.stop.stop(StopReason::Killed);
    let closed = place.closed(ends.closed);
    assert_eq!(closed.ending.end, SessionEnd::Killed);
    assert_eq!(sockets::read_to_end(&mut ends.client).1, EndOfStream::Reset);
}

#[test]
fn a_link_that_does_not_move_ends() {
    let place = Place::new();
    let limits = RelayLimits {
        idle: Some(Duration::from_millis(50)),
        ..RelayLimits::default()
    };
    let mut ends = place.link_with(limits);
    let closed = place.closed(ends.closed);
    assert_eq!(closed.ending.error.as_deref(), Some("idle for too long"));
    assert_eq!(sockets::read_to_end(&mut ends.client).1, EndOfStream::Reset);
}

#[test]
fn a_panic_ends_its_own_link_alone() {
    let place = Place::new();
    let (mut broken, mut whole) = (place.link(), place.link());
    broken.client.write_all(&frame(b'z', b"")).unwrap();
    let ended = place.runtime.block_on(broken.closed);
    assert!(ended.unwrap_err().is_panic());
    sockets::read_to_end(&mut broken.client);
    let word = frame(b'p', b"still here");
    whole.client.write_all(&word).unwrap();
    assert_eq!(sockets::read_exactly(&mut whole.upstream, word.len()), word);
}

#[test]
fn a_link_whose_future_is_dropped_is_aborted() {
    let place = Place::new();
    let mut ends = place.link();
    ends.closed.abort();
    assert_eq!(sockets::read_to_end(&mut ends.client).1, EndOfStream::Reset);
    assert_eq!(
        sockets::read_to_end(&mut ends.upstream).1,
        EndOfStream::Reset
    );
}

/// What waits for them does so until its runtime is gone, which follows.
#[test]
fn links_end_with_the_thread_and_do_not_begin_after_it() {
    let mut place = Place::new();
    let reactor = place.reactor.as_ref().map(ReactorThread::reactor);
    let before = place.link();
    drop(place.reactor.take());
    let after = place.link_on(reactor, RelayLimits::default());
    for mut ends in [before, after] {
        sockets::read_to_end(&mut ends.client);
        sockets::read_to_end(&mut ends.upstream);
        assert!(!ends.closed.is_finished());
    }
}

#[test]
fn without_a_reactor_a_link_runs_in_the_task_that_waits_for_it() {
    let place = Place::new();
    let mut ends = place.link_on(None, RelayLimits::default());
    let word = frame(b'p', b"here");
    ends.client.write_all(&word).unwrap();
    assert_eq!(sockets::read_exactly(&mut ends.upstream, word.len()), word);
}

/// A read stops in front of an urgent byte, and nobody tells of what is already there behind it.
#[test]
fn an_urgent_byte_does_not_hide_what_is_behind_it() {
    let place = Place::new();
    let first = frame(b'p', b"before");
    let second = frame(b'p', b"behind");
    for number in 0..200 {
        let mut ends = place.link();
        // One segment: the first two wait for the third.
        let more = MsgFlags::from_bits_retain(MSG_MORE);
        let pieces: [(&[u8], MsgFlags); 3] = [
            (&first, more),
            (b"!", MsgFlags::MSG_OOB | more),
            (&second, MsgFlags::empty()),
        ];
        for (bytes, flags) in pieces {
            let sent = send(ends.client.as_raw_fd(), bytes, flags);
            assert_eq!(sent, Ok(bytes.len()));
        }
        let expected = [first.clone(), second.clone()].concat();
        let got = sockets::read_exactly(&mut ends.upstream, expected.len());
        assert_eq!(got, expected, "link {number}");
    }
}

/// What follows a held frame waits behind it; what the upstream says does not.
#[test]
fn a_held_frame_waits_and_goes_on_with_all_that_is_behind_it() {
    let place = Place::new();
    for verdict in [Verdict::Approved, Verdict::Denied, Verdict::Expired] {
        let (mut ends, approver, recorder) = place.holding_link();
        let before = frame(b'p', b"before");
        let held = frame(b'h', b"held");
        // Larger than the scratch memory, so it is read in many turns.
        let behind = frame(b'p', &vec![7; 400_000]);
        let sent = [before.clone(), held.clone(), behind.clone()].concat();
        let mut writer = ends.client.try_clone().unwrap();
        let writing = thread::spawn(move || writer.write_all(&sent).unwrap());
        assert_eq!(
            sockets::read_exactly(&mut ends.upstream, before.len()),
            before
        );
        let notify = frame(b'p', b"meanwhile");
        ends.upstream.write_all(&notify).unwrap();
        assert_eq!(
            sockets::read_exactly(&mut ends.client, notify.len()),
            notify
        );
        let question = approver.answer(verdict);
        assert_eq!(&*question.statement, "held");
        let expected = if verdict == Verdict::Approved {
            [held, behind].concat()
        } else {
            let answer = sockets::read_exactly(&mut ends.client, held.len());
            assert_eq!(answer[0], b'H');
            behind
        };
        let got = sockets::read_exactly(&mut ends.upstream, expected.len());
        assert!(got == expected, "{verdict}");
        writing.join().unwrap();
        let verdicts: Vec<Verdict> = recorder
            .recorded()
            .resolutions
            .iter()
            .map(|resolution| resolution.verdict)
            .collect();
        assert_eq!(verdicts, [verdict]);
    }
}

#[test]
fn frames_are_held_one_after_the_other() {
    let place = Place::new();
    let (mut ends, approver, _) = place.holding_link();
    let words: Vec<Vec<u8>> = (0..20u8)
        .map(|number| frame(b'h', &[b'a' + number]))
        .collect();
    ends.client.write_all(&words.concat()).unwrap();
    for (word, number) in words.iter().zip(0..) {
        let passes = number % 3 != 0;
        approver.answer(match passes {
            true => Verdict::Approved,
            false => Verdict::Denied,
        });
        let to = match passes {
            true => &mut ends.upstream,
            false => &mut ends.client,
        };
        let got = sockets::read_exactly(to, word.len());
        assert_eq!(got[1..], word[1..], "frame {number}");
    }
}

#[test]
fn a_client_that_leaves_withdraws_its_question() {
    let place = Place::new();
    for abort in [false, true] {
        let (mut ends, approver, recorder) = place.holding_link();
        let sent = [frame(b'h', b"held"), frame(b'p', b"behind")].concat();
        ends.client.write_all(&sent).unwrap();
        if abort {
            // What it sent is unread by then, or it is not; either way it is gone.
            let client = socket2::SockRef::from(&ends.client);
            client.set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(ends.client);
        let closed = place.closed(ends.closed);
        assert_eq!(closed.ending.end, SessionEnd::Client);
        let (got, _) = sockets::read_to_end(&mut ends.upstream);
        assert_eq!(got, b"", "nothing of it went upstream");
        closed.governor.close(closed.ending, Timestamp(9)).unwrap();
        approver.wait_withdrawn();
        let resolutions = recorder.recorded().resolutions;
        assert_eq!(resolutions[0].verdict, Verdict::Denied);
    }
}

#[test]
fn a_link_that_is_held_can_be_stopped() {
    let place = Place::new();
    let (mut ends, approver, _) = place.holding_link();
    ends.client.write_all(&frame(b'h', b"held")).unwrap();
    approver.wait_asked();
    ends.stop.stop(StopReason::Killed);
    let closed = place.closed(ends.closed);
    assert_eq!(closed.ending.end, SessionEnd::Killed);
    drop(closed);
    approver.wait_withdrawn();
}

/// Nothing but the answer wakes it: all that the kernel had to say was said before.
#[test]
fn an_answer_wakes_a_link_on_which_nothing_else_happens() {
    let place = Place::new();
    let (mut ends, approver, _) = place.holding_link();
    let word = frame(b'p', b"word");
    for _ in 0..10 {
        ends.client.write_all(&word).unwrap();
        assert_eq!(sockets::read_exactly(&mut ends.upstream, word.len()), word);
        ends.upstream.write_all(&word).unwrap();
        assert_eq!(sockets::read_exactly(&mut ends.client, word.len()), word);
    }
    let held = frame(b'h', b"held");
    ends.client.write_all(&held).unwrap();
    approver.answer(Verdict::Approved);
    assert_eq!(sockets::read_exactly(&mut ends.upstream, held.len()), held);
}

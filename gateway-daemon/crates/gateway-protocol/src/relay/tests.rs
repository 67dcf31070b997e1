//! The relay over streams in memory that read, write, stall and fail as the test wants.
mod reactor;
mod wire;

use super::end::End;
use super::turn::{self, Outputs};
use super::{Relay, RelayLimits};
use crate::meter::Unmetered;
use crate::protocol::Closed;
use crate::session::{Effects, ProtocolError, Session, Side};
use crate::stop::{Stop, StopReason};
use gateway_core::{AnswerPart, Clearance, Effect, Obstacle, Operation, SessionEnd, Verb};
use gateway_testkit::chunks::{self, Dice};
use gateway_testkit::{FakeJudge, MemoryRecorder, samples};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wire::{Plug, Tail, Wire};

const HEAD: usize = 5;

/// A frame of the test's protocol: kind, length, payload.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while bytes.len() >= HEAD {
        let length = HEAD + u32::from_be_bytes(bytes[1..HEAD].try_into().unwrap()) as usize;
        let Some((frame, rest)) = bytes.split_at_checked(length) else {
            break;
        };
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// `p` passes, `d` is refused and answered, `h` is held and passes or is answered, `s` is replaced, `n` vanishes, `x` passes and closes,
/// `a` is kept and its failure not minded,
/// `e` is an error with words, `E` one without, `!` breaks the rules, `z` is a panic.
struct Framed {
    clearance: Clearance,
}

impl Framed {
    fn take(
        &mut self,
        from: Side,
        frame: &[u8],
        at: usize,
        out: &mut dyn Effects,
    ) -> Result<bool, ProtocolError> {
        let all = at..at + frame.len();
        let kind = frame[0];
        match (from, kind) {
            (Side::Client, b'p' | b'x') => out.pass_upstream(&self.clearance, all),
            (Side::Client, b's') => out.send_upstream(&self.clearance, frame),
            (Side::Client, b'd') => {
                submit(Verb::Delete, "d", out).unwrap_err();
                answer(frame, out);
            }
            (Side::Client, b'h') => {
                let statement = String::from_utf8_lossy(&frame[HEAD..]);
                match submit(Verb::Grant, &statement, out) {
                    Ok(clearance) => out.pass_upstream(&clearance, all),
                    Err(Obstacle::Refused(_)) => answer(frame, out),
                    Err(Obstacle::Held(_)) => return Ok(false),
                }
            }
            // In two pieces, which are one again when they leave.
            (Side::Upstream, b'p' | b'x') => {
                out.pass_client(at..at + 1);
                out.pass_client(at + 1..at + frame.len());
            }
            (Side::Upstream, b's') => out.send_client(frame),
            (Side::Upstream, b'a') => {
                let text = String::from_utf8_lossy(&frame[HEAD..]).into_owned();
                let _ = out.answer(self.clearance.id(), AnswerPart::Text(text));
            }
            (_, b'!') => out.pass_client(at..at + frame.len() + 1),
            (_, b'e') => {
                out.send_client(b"words");
                return Err(ProtocolError::Client("asked for it"));
            }
            (_, b'E') => return Err(ProtocolError::Upstream("asked for it")),
            (_, b'z') => panic!("asked for it"),
            _ => {}
        }
        if kind == b'x' {
            out.close();
        }
        Ok(true)
    }
}

fn submit(verb: Verb, statement: &str, out: &mut dyn Effects) -> Result<Clearance, Obstacle> {
    let effects = [Effect {
        verb,
        objects: Vec::new(),
    }];
    out.submit(&Operation {
        protocol: "framed",
        verb,
        effects: &effects,
        statement,
        parameters: &[],
        attributes: &[],
        announces: false,
        uses: &[],
        basis: 0,
        shown: None,
        shape: Some(verb as u64),
    })
}

/// The frame back, with its kind in upper case.
fn answer(frame: &[u8], out: &mut dyn Effects) {
    let mut answer = frame.to_vec();
    answer[0].make_ascii_uppercase();
    out.send_client(&answer);
}

impl Session for Framed {
    fn receive(
        &mut self,
        from: Side,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<usize, ProtocolError> {
        let mut at = 0;
        for frame in frames(bytes) {
            if !self.take(from, frame, at, out)? {
                break;
            }
            at += frame.len();
            if frame[0] == b'x' {
                break;
            }
        }
        Ok(at)
    }

    fn finish(
        &mut self,
        from: Side,
        unused: usize,
        _: &mut dyn Effects,
    ) -> Result<(), ProtocolError> {
        match (unused, from) {
            (0, _) => Ok(()),
            (_, Side::Client) => Err(ProtocolError::Client("cut short")),
            (_, Side::Upstream) => Err(ProtocolError::Upstream("cut short")),
        }
    }
}

type Shared = Arc<Mutex<Wire>>;

async fn run(client: &Shared, upstream: &Shared, stop: &Arc<Stop>, limits: RelayLimits) -> Closed {
    run_from(client, upstream, stop, limits, [&[], &[]]).await
}

async fn run_from(
    client: &Shared,
    upstream: &Shared,
    stop: &Arc<Stop>,
    limits: RelayLimits,
    before: [&[u8]; 2],
) -> Closed {
    let judge = FakeJudge::denying(&[Verb::Delete]);
    let mut governor = samples::governor(Arc::new(judge), Arc::new(MemoryRecorder::default()));
    let clearance = samples::connect(&mut governor);
    let client = End::new(Plug(Arc::clone(client)), before[0].to_vec());
    let upstream = End::new(Plug(Arc::clone(upstream)), before[1].to_vec());
    let session = Box::new(Framed { clearance });
    let stop = Arc::clone(stop);
    Relay::new(
        client,
        upstream,
        stop,
        Arc::new(Unmetered),
        governor,
        session,
        limits,
    )
    .await
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Runs a link to its end; the clock is not real, so a limit of time costs none.
fn play(client: &Shared, upstream: &Shared) -> Closed {
    block_on(run(
        client,
        upstream,
        &Arc::default(),
        RelayLimits::default(),
    ))
}

/// A random stream of frames, from empty ones to some that are larger than the scratch memory.
fn traffic(kinds: &[u8], dice: &mut Dice, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..count {
        let size = match dice.below(100) {
            0 => dice.below(200_000),
            1..10 => dice.below(5_000),
            _ => dice.below(40),
        };
        let kind = kinds[dice.below(kinds.len())];
        let payload: Vec<u8> = (0..size).map(|at| (number * 31 + at) as u8).collect();
        bytes.extend(frame(kind, &payload));
    }
    bytes
}

/// Fails without printing half a megabyte.
#[track_caller]
fn same<T: PartialEq>(one: &T, other: &T, what: impl std::fmt::Display) {
    assert!(one == other, "different: {what}");
}

fn of_kinds<'a>(bytes: &'a [u8], kinds: &[u8]) -> Vec<&'a [u8]> {
    frames(bytes)
        .into_iter()
        .filter(|frame| kinds.contains(&frame[0]))
        .collect()
}

#[test]
fn every_split_stall_and_partial_write_gives_the_same_bytes() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let count = 1 + dice.below(120);
        let up = traffic(b"pppsdn", &mut dice, count);
        let down = traffic(b"pppsn", &mut dice, count);
        // What came before the protocol was known is part of the stream like any other byte.
        let (cut_up, cut_down) = (dice.below(up.len()), dice.below(down.len()));
        let client = Wire::new(&up[cut_up..], Tail::End, dice.roll());
        let upstream = Wire::new(&down[cut_down..], Tail::End, dice.roll());
        let before = [&up[..cut_up], &down[..cut_down]];
        let limits = RelayLimits::default();
        let closed = block_on(run_from(
            &client,
            &upstream,
            &Arc::default(),
            limits,
            before,
        ));

        let (client, upstream) = (client.lock().unwrap(), upstream.lock().unwrap());
        assert_eq!(closed.error, None, "seed {seed}");
        same(
            &frames(&upstream.took),
            &of_kinds(&up, b"ps"),
            format!("seed {seed}"),
        );
        let got = of_kinds(&client.took, b"ps");
        same(&got, &of_kinds(&down, b"ps"), format!("seed {seed}"));
        let denied = of_kinds(&client.took, b"D");
        let asked = of_kinds(&up, b"d");
        // The end of the upstream is passed on; refusals that come later have no way any more.
        assert!(
            denied.len() == asked.len() || closed.ending.end == SessionEnd::Upstream,
            "seed {seed}"
        );
        assert!(
            denied.iter().zip(&asked).all(|(a, b)| a[1..] == b[1..]),
            "seed {seed}"
        );
        // The one that ended first was told; the other sees it by the close.
        assert!(client.told || upstream.told);
        assert!(client.dropped && upstream.dropped && !client.aborted && !upstream.aborted);
        assert_eq!(closed.ending.bytes_up, up.len() as u64);
        assert_eq!(closed.ending.bytes_down, client.took.len() as u64);
        assert!(matches!(
            closed.ending.end,
            SessionEnd::Client | SessionEnd::Upstream
        ));
    }
}

#[test]
fn a_turn_is_the_same_for_every_chunking() {
    let mut dice = Dice::new(7);
    let up = traffic(b"pppsdn", &mut dice, 60);
    for chunks in chunks::selection(up.len(), 40) {
        let judge = FakeJudge::denying(&[Verb::Delete]);
        let mut governor = samples::governor(Arc::new(judge), Arc::new(MemoryRecorder::default()));
        let mut session = Framed {
            clearance: samples::connect(&mut governor),
        };
        let mut outputs = Outputs::default();
        let (mut held, mut upstream) = (Vec::new(), Vec::new());
        for chunk in chunks {
            held.extend_from_slice(&up[chunk]);
            let used = turn::receive(
                &mut session,
                Side::Client,
                &held,
                &mut governor,
                &mut outputs,
            );
            upstream.extend(outputs.to_upstream.to_vec(&held));
            held.drain(..used.unwrap());
        }
        same(&frames(&upstream), &of_kinds(&up, b"ps"), "upstream");
        assert!(held.is_empty());
    }
}

#[test]
fn what_comes_back_is_kept_and_when_it_cannot_be_the_session_ends() {
    let judge = Arc::new(FakeJudge::allow_all());
    let recorder = Arc::new(MemoryRecorder::default());
    let mut governor = samples::governor(judge, recorder.clone());
    let mut session = Framed {
        clearance: samples::connect(&mut governor),
    };
    let mut outputs = Outputs::default();
    let mut came = |text: &[u8]| {
        let frame = frame(b'a', text);
        let from = Side::Upstream;
        turn::receive(&mut session, from, &frame, &mut governor, &mut outputs)
    };
    assert!(came(b"one").is_ok() && came(b"two").is_ok());
    let parts: Vec<_> = recorder
        .recorded()
        .answers
        .into_iter()
        .map(|record| record.part)
        .collect();
    assert_eq!(
        parts,
        ["one", "two"].map(|text| AnswerPart::Text(text.into()))
    );
    recorder.set_full(true);
    assert!(matches!(came(b"three"), Err(ProtocolError::Unrecorded(_))));
}

#[test]
fn neighbouring_pieces_leave_as_one() {
    let judge = Arc::new(FakeJudge::allow_all());
    let mut governor = samples::governor(judge, Arc::new(MemoryRecorder::default()));
    let mut session = Framed {
        clearance: samples::connect(&mut governor),
    };
    let input: Vec<u8> = (0..50).flat_map(|_| frame(b'p', b"row")).collect();
    let mut outputs = Outputs::default();
    turn::receive(
        &mut session,
        Side::Upstream,
        &input,
        &mut governor,
        &mut outputs,
    )
    .unwrap();
    assert_eq!(
        (outputs.to_client.pieces(), outputs.to_client.len()),
        (1, input.len())
    );
}

#[test]
fn a_session_that_breaks_the_rules_sends_nothing() {
    let down = [frame(b'p', b"secret"), frame(b'!', b"")].concat();
    let client = Wire::new(b"", Tail::Open, 1);
    let upstream = Wire::new(&down[down.len() - HEAD..], Tail::Open, 1);
    let closed = play(&client, &upstream);
    assert!(
        matches!(closed.error, Some(ProtocolError::Gateway(_))),
        "{:?}",
        closed.error
    );
    assert_eq!(closed.ending.end, SessionEnd::Error);
    assert!(client.lock().unwrap().took.is_empty());
    assert!(client.lock().unwrap().aborted);
}

#[test]
fn who_does_not_read_is_not_read_for_and_memory_stays_bounded() {
    for seed in 0..20 {
        let up = traffic(b"p", &mut Dice::new(seed), 2_000);
        let client = Wire::new(&up, Tail::End, seed);
        let upstream = Wire::new(b"", Tail::Open, seed + 1);
        upstream.lock().unwrap().takes = 1_000;
        let stop = Arc::<Stop>::default();
        block_on(async {
            let link = run(&client, &upstream, &stop, RelayLimits::default());
            let ended = tokio::time::timeout(Duration::from_secs(60), link).await;
            assert!(
                ended.is_err(),
                "it waits for as long as the upstream does not read"
            );
        });
        let (client, upstream) = (client.lock().unwrap(), upstream.lock().unwrap());
        assert_eq!(upstream.took.len(), 1_000);
        // At most one turn and one frame of 200,000 bytes lie in between.
        assert!(
            client.said <= 1_000 + 600_000,
            "seed {seed}: {}",
            client.said
        );
    }
}

#[test]
fn a_client_that_only_asks_for_refusals_is_read_no_further_than_it_reads() {
    let up: Vec<u8> = (0..100_000)
        .flat_map(|_| frame(b'd', b"0123456789"))
        .collect();
    let client = Wire::new(&up, Tail::End, 3);
    client.lock().unwrap().takes = 100;
    let upstream = Wire::new(b"", Tail::Open, 4);
    block_on(async {
        let stop = Arc::default();
        let link = run(&client, &upstream, &stop, RelayLimits::default());
        assert!(
            tokio::time::timeout(Duration::from_secs(60), link)
                .await
                .is_err()
        );
    });
    let client = client.lock().unwrap();
    assert!(client.said < 400_000, "{} bytes were read", client.said);
}

#[test]
fn the_end_of_one_side_leaves_the_other_direction_open() {
    let (question, answer) = (
        frame(b'p', b"question"),
        traffic(b"p", &mut Dice::new(1), 50),
    );
    for (first, label) in [
        (Side::Client, SessionEnd::Client),
        (Side::Upstream, SessionEnd::Upstream),
    ] {
        let (says_client, says_upstream) = match first {
            Side::Client => (&question, &answer),
            Side::Upstream => (&answer, &question),
        };
        let client = Wire::new(says_client, Tail::End, 1);
        let upstream = Wire::new(says_upstream, Tail::End, 2);
        let (slow, quick) = match first {
            Side::Client => (&upstream, &client),
            Side::Upstream => (&client, &upstream),
        };
        slow.lock().unwrap().grain = 3;
        quick.lock().unwrap().grain = 1 << 17;
        let closed = play(&client, &upstream);
        assert_eq!((closed.ending.end, closed.error), (label, None));
        same(&upstream.lock().unwrap().took, says_client, "up");
        same(&client.lock().unwrap().took, says_upstream, "down");
    }
}

#[test]
fn a_reset_goes_on_as_a_reset_behind_what_came_before_it() {
    for seed in 0..30 {
        let down = traffic(b"p", &mut Dice::new(seed), 30);
        let client = Wire::new(b"", Tail::Open, seed);
        let upstream = Wire::new(&down, Tail::Reset, seed + 99);
        let closed = play(&client, &upstream);
        let client = client.lock().unwrap();
        same(&client.took, &down, format!("seed {seed}"));
        assert!(
            client.aborted && !client.told,
            "never the clean end of a whole answer"
        );
        assert_eq!(closed.ending.end, SessionEnd::Upstream);
        assert!(matches!(
            closed.error,
            Some(ProtocolError::Io {
                side: Side::Upstream,
                ..
            })
        ));
    }
}

#[test]
fn a_server_that_stops_listening_is_heard_to_its_last_word() {
    for tail in [Tail::End, Tail::Reset] {
        let up = traffic(b"p", &mut Dice::new(5), 50);
        let down = frame(b'p', b"too many clients already");
        let client = Wire::new(&up, Tail::Open, 5);
        let upstream = Wire::new(&down, tail, 6);
        upstream.lock().unwrap().takes = 10;
        upstream.lock().unwrap().fails = true;
        upstream.lock().unwrap().grain = 1;
        let closed = play(&client, &upstream);
        assert_eq!(client.lock().unwrap().took, down);
        assert_eq!(closed.ending.end, SessionEnd::Upstream);
        assert!(client.lock().unwrap().aborted);
    }
}

#[test]
fn a_close_delivers_both_ways_and_waits_for_the_peers() {
    let up = [traffic(b"p", &mut Dice::new(8), 20), frame(b'x', b"bye")].concat();
    let client = Wire::new(
        &[up.clone(), frame(b'p', b"too late")].concat(),
        Tail::End,
        8,
    );
    let upstream = Wire::new(b"", Tail::End, 9);
    // The upstream's own end comes late, so that the close is the client's.
    upstream.lock().unwrap().tail = Tail::Open;
    let closed = play(&client, &upstream);
    assert_eq!(closed.ending.end, SessionEnd::Client);
    same(
        &upstream.lock().unwrap().took,
        &up,
        "nothing behind the last frame",
    );
    assert!(upstream.lock().unwrap().told && client.lock().unwrap().told);
    assert!(!upstream.lock().unwrap().aborted && !client.lock().unwrap().aborted);
    assert!(upstream.lock().unwrap().dropped && client.lock().unwrap().dropped);
}

#[test]
fn an_error_with_words_ends_cleanly_and_one_without_does_not() {
    for (kind, told) in [(b'e', true), (b'E', false)] {
        let up = [
            frame(b'p', b"before"),
            frame(kind, b""),
            frame(b'p', b"after"),
        ]
        .concat();
        let client = Wire::new(&up, Tail::End, 1);
        let upstream = Wire::new(b"", Tail::Open, 2);
        let closed = play(&client, &upstream);
        let (client, upstream) = (client.lock().unwrap(), upstream.lock().unwrap());
        assert_eq!(closed.ending.end, SessionEnd::Error);
        assert_eq!(
            closed.ending.error.as_deref(),
            closed.error.map(|e| e.to_string()).as_deref()
        );
        assert_eq!(
            upstream.took,
            frame(b'p', b"before"),
            "what was sent before is delivered"
        );
        assert!(upstream.aborted);
        assert_eq!((client.told, client.aborted), (told, !told));
        assert_eq!(client.took, if told { b"words".as_slice() } else { b"" });
    }
}

#[test]
fn a_stream_that_is_cut_in_a_frame_is_an_error_of_its_sender() {
    let whole = frame(b'p', b"whole");
    let cut = [whole.clone(), frame(b'p', b"half")[..7].to_vec()].concat();
    let client = Wire::new(&cut, Tail::End, 1);
    let upstream = Wire::new(b"", Tail::Open, 2);
    let closed = play(&client, &upstream);
    assert_eq!(closed.error, Some(ProtocolError::Client("cut short")));
    assert_eq!(upstream.lock().unwrap().took, whole);
}

#[test]
fn a_frame_without_end_meets_the_limit() {
    let mut up = frame(b'p', &vec![0; 4_000_000]);
    up[1..HEAD].copy_from_slice(&u32::MAX.to_be_bytes());
    let client = Wire::new(&up, Tail::Open, 1);
    client.lock().unwrap().grain = 1 << 17;
    let upstream = Wire::new(b"", Tail::Open, 2);
    let limits = RelayLimits {
        frame_bytes_max: 1 << 20,
        ..RelayLimits::default()
    };
    let closed = block_on(run(&client, &upstream, &Arc::default(), limits));
    let error = closed.error.unwrap();
    assert!(
        matches!(
            error,
            ProtocolError::TooLarge {
                side: Side::Client,
                limit: 1_048_576,
                ..
            }
        ),
        "{error}"
    );
    assert!(client.lock().unwrap().said <= 1 << 20);
    assert!(upstream.lock().unwrap().took.is_empty());
}

#[test]
fn a_stop_ends_both_sides_at_once() {
    for reason in [StopReason::Killed, StopReason::Drained] {
        let client = Wire::new(b"", Tail::Open, 1);
        let upstream = Wire::new(b"", Tail::Open, 2);
        let stop = Arc::<Stop>::default();
        let closed = block_on(async {
            let link = run(&client, &upstream, &stop, RelayLimits::default());
            let killer = async {
                tokio::task::yield_now().await;
                stop.stop(reason);
            };
            tokio::join!(link, killer).0
        });
        assert_eq!(closed.ending.end, SessionEnd::Killed);
        assert!(closed.ending.error.is_some());
        assert!(client.lock().unwrap().aborted && upstream.lock().unwrap().aborted);
    }
}

#[test]
fn a_stop_also_ends_a_link_that_is_closing() {
    let client = Wire::new(&frame(b'x', b""), Tail::Open, 1);
    let upstream = Wire::new(b"", Tail::Open, 2);
    upstream.lock().unwrap().takes = 0;
    let stop = Arc::<Stop>::default();
    let limits = RelayLimits {
        linger: Duration::from_secs(1 << 20),
        ..RelayLimits::default()
    };
    block_on(async {
        let link = run(&client, &upstream, &stop, limits);
        let killer = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            stop.stop(StopReason::Killed);
        };
        tokio::join!(link, killer)
    });
    assert!(upstream.lock().unwrap().aborted);
}

#[test]
fn last_words_that_nobody_takes_end_in_a_reset_after_the_linger() {
    let up = frame(b'e', b"");
    let client = Wire::new(&up, Tail::Open, 1);
    client.lock().unwrap().takes = 2;
    let upstream = Wire::new(b"", Tail::Open, 2);
    let closed = play(&client, &upstream);
    assert_eq!(closed.ending.bytes_down, 2);
    assert!(client.lock().unwrap().aborted && !client.lock().unwrap().told);
    assert!(upstream.lock().unwrap().aborted);
}

#[test]
fn an_idle_link_ends_only_when_it_is_idle() {
    let client = Wire::new(b"", Tail::Open, 1);
    let upstream = Wire::new(b"", Tail::Open, 2);
    let limits = RelayLimits {
        idle: Some(Duration::from_secs(10)),
        ..RelayLimits::default()
    };
    block_on(async {
        let begun = tokio::time::Instant::now();
        let stop = Arc::default();
        let talk = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(7)).await;
                let mut wire = upstream.lock().unwrap();
                wire.says.extend(frame(b'p', b"tick"));
                wire.reader.take().unwrap().wake();
            }
        };
        let (closed, ()) = tokio::join!(run(&client, &upstream, &stop, limits), talk);
        assert_eq!(closed.ending.end, SessionEnd::Killed);
        assert_eq!(begun.elapsed().as_secs(), 45);
    });
}

#[test]
fn a_link_that_is_half_closed_and_silent_ends_at_last() {
    let client = Wire::new(&frame(b'p', b"so long"), Tail::End, 1);
    let upstream = Wire::new(b"", Tail::Open, 2);
    let (begun, closed) = block_on(async {
        let begun = tokio::time::Instant::now();
        let closed = run(&client, &upstream, &Arc::default(), RelayLimits::default()).await;
        (begun.elapsed(), closed)
    });
    assert_eq!(begun.as_secs(), 3600);
    assert_eq!(closed.ending.end, SessionEnd::Killed);
    assert!(upstream.lock().unwrap().told && upstream.lock().unwrap().aborted);
}

#[test]
fn a_panic_in_a_session_leaves_the_thread_usable() {
    let doomed = Wire::new(&frame(b'z', b""), Tail::End, 1);
    let quiet = Wire::new(b"", Tail::Open, 2);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(&doomed, &quiet)));
    assert!(ended.is_err());
    let up = frame(b'p', b"still here");
    let (client, upstream) = (Wire::new(&up, Tail::End, 3), Wire::new(b"", Tail::End, 4));
    play(&client, &upstream);
    assert_eq!(upstream.lock().unwrap().took, up);
}

#[test]
fn a_busy_link_lets_others_run() {
    let up = frame(b'p', &[7; 40]).repeat(20_000);
    let client = Wire::new(&up, Tail::End, 1);
    let upstream = Wire::new(b"", Tail::End, 2);
    for wire in [&client, &upstream] {
        wire.lock().unwrap().grain = 64;
    }
    block_on(async {
        let stop = Arc::default();
        let mut link = std::pin::pin!(run(&client, &upstream, &stop, RelayLimits::default()));
        let mut polls = 0;
        std::future::poll_fn(|context| {
            polls += 1;
            link.as_mut().poll(context).map(|_| ())
        })
        .await;
        assert!(polls > up.len() / 64 / 100, "{polls} pauses");
    });
    same(&upstream.lock().unwrap().took, &up, "everything came");
}

#[test]
fn a_waiting_session_is_small() {
    let client = Wire::new(b"", Tail::Open, 1);
    let stop = Arc::default();
    let link = run(&client, &client, &stop, RelayLimits::default());
    let size = size_of_val(&link);
    println!("the future of a link: {size} bytes");
    assert!(size <= 4096, "{size} bytes");
}

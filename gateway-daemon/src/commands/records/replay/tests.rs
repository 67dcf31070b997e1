//! When events are taken and shown.
use super::*;
use gateway_core::SessionId;
use serde_json::json;
use std::time::Duration;

fn playback(speed: Option<Speed>, json: bool) -> Playback {
    Playback {
        session: SessionId(1),
        speed,
        idle_max: Duration::from_secs(2),
        json,
    }
}

fn screen(terminal: bool) -> Screen {
    Screen {
        width: terminal.then_some(80),
        colours: false,
    }
}

#[test]
fn only_people_at_a_terminal_wait_unless_it_is_asked_for() {
    for (terminal, speed, json, waits) in [
        (true, None, false, true),
        (false, None, false, false),
        (true, None, true, false),
        (false, Some(Speed::ORIGINAL), false, true),
        (false, Some(Speed::ORIGINAL), true, true),
    ] {
        let player = Player::new(&playback(speed, json), screen(terminal), |_| Ok(true));
        assert_eq!(player.pace.is_some(), waits, "{terminal} {speed:?} {json}");
    }
}

#[test]
fn what_waits_is_bounded_and_goes_on_behind_the_last_record() {
    let fast = "1000".parse().unwrap();
    let mut player = Player::new(&playback(Some(fast), true), screen(false), |line| {
        assert!(line.contains("record"));
        Ok(true)
    });
    let line = |record: Option<u64>| {
        let event = json!({ "event": "answer", "record": record, "text": "x".repeat(1 << 20) });
        event.to_string().into_bytes()
    };
    for record in 1..=3 {
        assert!(player.take(&line(Some(record))).unwrap());
    }
    assert_eq!(
        player.played, None,
        "nothing is shown while it is asked for"
    );
    assert!(!player.take(&line(Some(4))).unwrap(), "enough for now");
    player.waiting.clear();
    player
        .waiting
        .push_back(json!({ "record": 7 }).to_string().into());
    player
        .waiting
        .push_back(json!({ "record": null }).to_string().into());
    assert!(player.play().unwrap());
    assert_eq!(player.played, Some(7));
    assert!(!player.is_full());
}

#[test]
fn times_are_those_of_the_events() {
    let at = |time: Value| happened(&json!({ "time": time }));
    let time = Timestamp(1_700_000_000_123_456_000);
    assert_eq!(at(json!("2023-11-14T22:13:20.123456Z")), Some(time));
    for time in [json!(null), json!("soon"), json!("1969-12-31T23:59:59Z")] {
        assert_eq!(at(time), None);
    }
}

#[test]
fn a_reader_that_leaves_ends_it() {
    let mut player = Player::new(&playback(None, false), screen(false), |_| Ok(false));
    let event = json!({ "event": "closed", "end": "client" }).to_string();
    assert!(!player.take(event.as_bytes()).unwrap());
    assert!(!player.is_full(), "nothing more is asked for");
    assert!(player.take(b"nonsense").is_err());
}

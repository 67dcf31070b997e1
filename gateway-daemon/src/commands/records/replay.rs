//! `gateway replay`: a session played back as it happened.
mod grid;
mod stage;

use super::{Question, answer};
use crate::command::Playback;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::terminal::escape;
use crate::terminal::pace::{Pace, Speed};
use crate::terminal::screen::{Screen, print};
use gateway_core::Timestamp;
use serde_json::Value;
use stage::Stage;
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

/// How much is taken at once, in bytes of lines. The daemon drops a caller that does not read on,
/// and whoever plays a session back takes as long as it did: so it asks for the next part when it
/// has played this one.
const PART_BYTES_MAX: usize = 4 << 20;

/// Plays a session back.
pub(crate) fn replay(config: &Config, playback: &Playback) -> Result<Exit, Failure> {
    let mut player = Player::new(playback, Screen::of_stdout(), print);
    loop {
        let question = Question::Replay(playback.session, player.played);
        answer(config, &question, &mut |line| player.take(line))?;
        let more = player.is_full();
        if !player.play()? {
            return Ok(Exit::Done);
        }
        if !more {
            break;
        }
    }
    player.end()?;
    Ok(Exit::Done)
}

/// Shows a line; `Ok(false)` when nobody reads any more.
type Show = fn(&str) -> io::Result<bool>;

/// Shows events at their time.
struct Player {
    json: bool,
    out: Show,
    stage: Stage,
    /// `None`: without waiting.
    pace: Option<Pace>,
    /// When the last event was shown.
    shown: Option<Instant>,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// The record of the last event that was shown.
    played: Option<u64>,
}

impl Player {
    /// People watch on a terminal. What reads a file or a pipe waits only when it was asked for.
    fn new(playback: &Playback, screen: Screen, out: Show) -> Player {
        let watched = screen.width.is_some() && !playback.json;
        let speed = playback.speed.or(watched.then_some(Speed::ORIGINAL));
        Player {
            json: playback.json,
            out,
            stage: Stage::new(screen),
            pace: speed.map(|speed| Pace::new(speed, playback.idle_max)),
            shown: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            played: None,
        }
    }

    /// Takes a line; `Ok(false)` when it is enough for now, or nobody reads any more.
    fn take(&mut self, line: &[u8]) -> io::Result<bool> {
        if self.pace.is_none() {
            return self.show(line);
        }
        self.waiting_bytes += line.len();
        self.waiting.push_back(line.to_vec());
        Ok(!self.is_full())
    }

    fn is_full(&self) -> bool {
        self.waiting_bytes >= PART_BYTES_MAX
    }

    /// Shows what was taken, each at its time. `Ok(false)`: nobody reads any more.
    fn play(&mut self) -> io::Result<bool> {
        while let Some(line) = self.waiting.pop_front() {
            if !self.show(&line)? {
                return Ok(false);
            }
        }
        self.waiting_bytes = 0;
        Ok(true)
    }

    fn show(&mut self, line: &[u8]) -> io::Result<bool> {
        let event: Value = serde_json::from_slice(line).map_err(io::Error::other)?;
        self.wait(&event);
        let record = event.pointer("/record").and_then(Value::as_u64);
        self.played = record.or(self.played);
        if self.json {
            return (self.out)(&escape::json(&String::from_utf8_lossy(line)));
        }
        let lines = self.stage.lines(&event);
        self.print(&lines)
    }

    fn print(&self, lines: &[String]) -> io::Result<bool> {
        for line in lines {
            if !(self.out)(line)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn wait(&mut self, event: &Value) {
        let Some(pace) = &mut self.pace else {
            return;
        };
        if let Some(time) = happened(event) {
            let pause = pace.pause(time);
            // From when the one before was shown: who stopped the player does not miss the rest.
            let passed = self.shown.map_or(pause, |shown| shown.elapsed());
            std::thread::sleep(pause.saturating_sub(passed));
        }
        self.shown = Some(Instant::now());
    }

    /// There is no more.
    fn end(&mut self) -> io::Result<bool> {
        if self.json || self.stage.over {
            return Ok(true);
        }
        let lines = self.stage.open();
        self.print(&lines)
    }
}

fn happened(event: &Value) -> Option<Timestamp> {
    let time: jiff::Timestamp = event.pointer("/time")?.as_str()?.parse().ok()?;
    Some(Timestamp(u64::try_from(time.as_nanosecond()).ok()?))
}

#[cfg(test)]
mod tests;

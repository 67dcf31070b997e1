//! How fast something that was recorded is shown again. Pure: who shows it, waits.
use gateway_core::Timestamp;
use std::str::FromStr;
use std::time::Duration;

/// What a speed is counted in.
const ONE: u32 = 1000;
/// Thousandths. Slower than this nobody watches, and faster than this is not waiting at all.
const SPEEDS: std::ops::RangeInclusive<u32> = ONE / 100..=ONE * 1000;

/// How many times as fast as it was, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Speed(u32);

impl Speed {
    /// As it was.
    pub(crate) const ORIGINAL: Speed = Speed(ONE);
}

impl FromStr for Speed {
    type Err = String;

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from float saturates, and what it makes is compared with the bounds"
    )]
    fn from_str(text: &str) -> Result<Speed, String> {
        let times: f64 = text.parse().unwrap_or(0.0);
        let thousandths = (times * f64::from(ONE)).round() as u32;
        if SPEEDS.contains(&thousandths) {
            return Ok(Speed(thousandths));
        }
        Err(format!(
            "{text:?} is not a speed (expected a number from 0.01 to 1000, such as 2 or 0.5)"
        ))
    }
}

/// The longest pause that there may be: a number of seconds, or a duration.
pub(crate) fn idle(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.map_or_else(|| super::moment::duration(text), Ok)
}

/// Says how long to wait before each event.
#[derive(Debug)]
pub(crate) struct Pace {
    speed: Speed,
    idle_max: Duration,
    /// When the last event happened.
    last: Option<Timestamp>,
}

impl Pace {
    pub(crate) const fn new(speed: Speed, idle_max: Duration) -> Pace {
        Pace {
            speed,
            idle_max,
            last: None,
        }
    }

    /// How long after the one before it an event is to be shown that happened at `time`. A clock
    /// that was set back makes no pause.
    pub(crate) fn pause(&mut self, time: Timestamp) -> Duration {
        let before = self.last.replace(time).unwrap_or(time);
        let gap = u128::from(time.0.saturating_sub(before.0));
        let scaled = gap * u128::from(ONE) / u128::from(self.speed.0);
        let pause = Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX));
        pause.min(self.idle_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The pauses, in milliseconds, of events at these milliseconds.
    fn pauses(speed: &str, idle_max: &str, times: &[u64]) -> Vec<u128> {
        let mut pace = Pace::new(speed.parse().unwrap(), idle(idle_max).unwrap());
        let mut pause = |time: &u64| pace.pause(Timestamp(time * MS)).as_millis();
        times.iter().map(&mut pause).collect()
    }

    #[test]
    fn pauses_are_those_that_were_divided_by_the_speed_and_bounded() {
        let times = [5000, 5000, 5100, 7100, 90_000, 89_000, 89_001];
        for (speed, idle_max, expected) in [
            ("1", "1h", [0, 0, 100, 2000, 82_900, 0, 1]),
            ("1", "2", [0, 0, 100, 2000, 2000, 0, 1]),
            ("2", "2", [0, 0, 50, 1000, 2000, 0, 0]),
            ("0.5", "2", [0, 0, 200, 2000, 2000, 0, 2]),
            ("1000", "2", [0, 0, 0, 2, 82, 0, 0]),
            ("1", "0", [0; 7]),
            ("1", "0.25", [0, 0, 100, 250, 250, 0, 1]),
        ] {
            let found = pauses(speed, idle_max, &times);
            assert_eq!(found, expected, "{speed} {idle_max}");
        }
    }

    #[test]
    fn the_ends_of_time_are_no_trouble() {
        let mut pace = Pace::new("0.01".parse().unwrap(), Duration::MAX);
        assert_eq!(pace.pause(Timestamp(0)), Duration::ZERO);
        let longest = Duration::from_nanos(u64::MAX);
        assert_eq!(pace.pause(Timestamp(u64::MAX)), longest);
    }

    #[test]
    fn speeds_and_bounds_as_they_are_written() {
        for (text, expected) in [
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("1000", Some(1_000_000)),
            ("0.01", Some(10)),
            ("0", None),
            ("-1", None),
            ("0.001", None),
            ("1001", None),
            ("inf", None),
            ("NaN", None),
            ("2x", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Speed>().ok(), expected.map(Speed), "{text}");
        }
        for (text, expected) in [
            ("2", Some(2000)),
            ("0.5", Some(500)),
            ("2m", Some(120_000)),
            ("0", Some(0)),
            ("-1", None),
            ("inf", None),
            ("soon", None),
        ] {
            assert_eq!(
                idle(text).ok(),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}

//! Times and durations, as people write and read them.
use gateway_core::Timestamp;
use jiff::Timestamp as Moment;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the clock says.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    Moment::from_nanosecond(i128::from(time.0))
        .map_or_else(|_| time.0.to_string(), |moment| format!("{moment:.3}"))
}

/// A duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(end);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let number = number.parse::<u64>().ok().filter(|_| millis > 0);
    number
        .and_then(|number| number.checked_mul(millis))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is not a duration (expected a number and one of ms, s, m, h, d, such as 100ms or 5s)"))
}

/// A duration in the same form, in its largest whole unit.
pub(crate) fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, name) in [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ] {
        if millis > 0 && millis.is_multiple_of(unit) {
            return format!("{}{name}", millis / unit);
        }
    }
    format!("{millis}ms")
}

/// `--since`: a time ago, or a moment.
pub(crate) fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = duration(text) {
        let nanos = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(nanos)));
    }
    let moment: Moment = text.parse().map_err(|_| {
        format!("{text:?} is neither a time ago (2h, 30m, 7d) nor an RFC 3339 time")
    })?;
    Ok(Timestamp(
        u64::try_from(moment.as_nanosecond()).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("100ms", Some(100)),
            ("5s", Some(5000)),
            ("2h", Some(7_200_000)),
            ("7d", Some(604_800_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 s", None),
            ("1.5s", None),
            ("5S", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(
                duration(text).ok(),
                millis.map(Duration::from_millis),
                "{text:?}"
            );
        }
        for text in ["100ms", "5s", "90s", "2h", "7d"] {
            let parsed = duration(text).unwrap();
            assert_eq!(duration(&written(parsed)), Ok(parsed));
        }
    }

    #[test]
    fn since_is_an_age_or_a_moment() {
        let now = Timestamp(1_700_000_000_000_000_000);
        assert_eq!(since("1s", now), Ok(Timestamp(1_699_999_999_000_000_000)));
        assert_eq!(since("100000d", now), Ok(Timestamp(0)));
        assert_eq!(since("2023-11-14T22:13:20Z", now), Ok(now));
        assert_eq!(since("2023-11-14T23:13:20+01:00", now), Ok(now));
        assert!(since("yesterday", now).is_err());
        assert_eq!(rfc3339(now), "2023-11-14T22:13:20.000Z");
    }
}

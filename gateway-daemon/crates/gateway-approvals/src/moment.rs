//! Times and spans as people and scripts read them.
use gateway_core::{Grant, Timestamp};
use serde::{Serialize, Serializer};
use std::time::Duration;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A moment in output: RFC 3339, UTC, microseconds.
pub(crate) struct Moment(pub(crate) Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&rfc3339(self.0))
    }
}

/// RFC 3339, UTC, microseconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    // 64 bits of nanoseconds end in the year 2554, which every calendar has.
    match jiff::Timestamp::from_nanosecond(i128::from(time.0)) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => time.0.to_string(),
    }
}

/// The moment that comes `span` after `time`.
pub(crate) fn after(time: Timestamp, span: Duration) -> Timestamp {
    let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(time.0.saturating_add(nanos))
}

/// Whole seconds since the epoch that have passed.
pub(crate) const fn unix_seconds(time: Timestamp) -> u64 {
    time.0 / NANOS_PER_SECOND
}

/// The first whole second since the epoch that is not before `time`.
pub(crate) const fn unix_seconds_up(time: Timestamp) -> u64 {
    time.0.div_ceil(NANOS_PER_SECOND)
}

/// Whole seconds, rounded up.
pub(crate) fn seconds_up(span: Duration) -> u64 {
    span.as_secs()
        .saturating_add(u64::from(span.subsec_nanos() > 0))
}

/// How far an approval reaches, as a policy would say it: `once`, `900s`, `500ms`.
pub(crate) fn grant_text(grant: Grant) -> String {
    match grant {
        Grant::Once => "once".to_owned(),
        Grant::Until(span) if span.subsec_nanos() == 0 => format!("{}s", span.as_secs()),
        Grant::Until(span) => format!("{}ms", span.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_that_has_begun_counts_as_whole_only_when_rounded_up() {
        assert_eq!(unix_seconds(Timestamp(1_999_999_999)), 1);
        assert_eq!(unix_seconds_up(Timestamp(1_000_000_001)), 2);
        assert_eq!(unix_seconds_up(Timestamp(2_000_000_000)), 2);
        assert_eq!(seconds_up(Duration::from_millis(1500)), 2);
        assert_eq!(seconds_up(Duration::from_secs(60)), 60);
    }

    #[test]
    fn the_end_of_time_is_not_passed() {
        assert_eq!(after(Timestamp(5), Duration::MAX), Timestamp(u64::MAX));
    }

    #[test]
    fn grants_read_as_in_a_policy() {
        assert_eq!(grant_text(Grant::Once), "once");
        assert_eq!(grant_text(Grant::Until(Duration::from_secs(900))), "900s");
        assert_eq!(
            grant_text(Grant::Until(Duration::from_millis(1500))),
            "1500ms"
        );
    }
}

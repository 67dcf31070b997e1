//! Numbers for sessions: in the order of time, and not used twice.
use gateway_core::{SessionId, Timestamp};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

const COUNTER_BITS: u32 = 22;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;

/// Makes session ids: 42 bits of milliseconds since the Unix epoch (enough until 2109), then a
/// counter of 22 bits that starts anywhere, so that a daemon that restarts within a millisecond,
/// or whose clock was set back, hardly meets its own numbers again.
///
/// Within one process no number comes twice: the time never goes back, and four million sessions
/// do not begin in one millisecond.
#[derive(Debug)]
pub struct SessionIds {
    millis: AtomicU64,
    counter: AtomicU64,
}

impl SessionIds {
    /// Starts the counter at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> SessionIds {
        SessionIds {
            millis: AtomicU64::new(0),
            counter: AtomicU64::new(seed),
        }
    }

    /// Starts the counter at a random number.
    #[must_use]
    pub fn random() -> SessionIds {
        SessionIds::new(RandomState::new().hash_one(()))
    }

    /// The next number.
    pub fn next(&self, now: Timestamp) -> SessionId {
        let now = now.0 / 1_000_000;
        let millis = self.millis.fetch_max(now, Ordering::Relaxed).max(now);
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) & COUNTER_MASK;
        SessionId((millis << COUNTER_BITS) | counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_follow_the_time_and_never_repeat_even_when_the_clock_is_set_back() {
        let ids = SessionIds::new(COUNTER_MASK - 2);
        let mut seen = HashSet::new();
        for step in 0..100_000u64 {
            // Back by a second now and then.
            let now = 1_700_000_000_000_000_000 + step * 1_000 - (step % 7) * 1_000_000_000;
            assert!(seen.insert(ids.next(Timestamp(now))));
        }
        let (early, late) = (ids.next(Timestamp(1_800_000_000_000_000_000)), {
            ids.next(Timestamp(1_800_000_000_001_000_000))
        });
        assert!(early < late);
    }
}

//! The two times: one that only goes forward, for deadlines, and the calendar's, for people.
use gateway_core::Timestamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Never set back. Deadlines are kept by it.
    fn now(&self) -> Instant;

    /// The calendar's time. It is shown and signed, and decides only whether a link is too old.
    fn time(&self) -> Timestamp;
}

/// The clocks of this machine. Only the binary names it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn time(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

//! What the proxy counts, for the metrics, and log lines that a flood cannot multiply.
use gateway_core::Timestamp;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The counters as they count.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64),* }

        /// The counters as they were at one moment. They only grow, but for `active`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            /// Connections that are being served, from accept to the last record.
            pub active: u64,
            $($(#[$doc])* pub $name: u64),*
        }

        impl Counters {
            pub(crate) fn counts(&self, active: u64) -> Counts {
                Counts { active, $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters! {
    /// Connections that were accepted.
    accepted,
    /// Connections without a flow: nobody was redirected, somebody connected by themselves.
    orphans,
    /// Connections about which the kernel could not be asked.
    capture_errors,
    /// Connections of a process or tree that nobody knows.
    unattributed,
    /// Connections above the limit of sessions.
    over_limit,
    /// Times that accepting failed for want of descriptors or memory.
    accept_errors,
    /// Connections that the policy did not let begin.
    refused,
    /// Upstreams that could not be reached.
    dial_errors,
    /// Links on which TLS could not be agreed on.
    tls_errors,
    /// Sessions that were served without being understood.
    opaque,
    /// Questions that were taken from datagrams.
    questions,
    /// Questions that no server answered in time, or not readably.
    unanswered,
    /// Sessions that ended because the gateway itself failed.
    panics,
    /// Records that could not be kept.
    recording_failures,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Lets one log line per second through.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    second: AtomicU64,
}

impl Pace {
    pub(crate) fn allows(&self, now: Timestamp) -> bool {
        let second = now.0 / 1_000_000_000;
        self.second.swap(second, Ordering::Relaxed) != second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_second() {
        let pace = Pace::default();
        let allowed = (0..3_000u64).filter(|ms| pace.allows(Timestamp((1 << 60) + ms * 1_000_000)));
        assert!((3..=4).contains(&allowed.count()));
    }
}

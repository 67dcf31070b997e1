//! What the kernel half refused by itself, said in the log, a few lines a second at most.
use gateway_capture::{Event, Kind};
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines in one second.
const LINES_MAX: u64 = 10;
const SECOND: u64 = 1_000_000_000;

/// Refusals, paced.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    second: AtomicU64,
    lines: AtomicU64,
    unsaid: AtomicU64,
}

impl Refusals {
    /// Says one, unless there were many.
    pub(crate) fn say(&self, event: &Event) {
        let Kind::Refused {
            reason,
            destination,
            socket,
        } = &event.kind
        else {
            return;
        };
        if !self.allows(event.time.0) {
            return;
        }
        let unsaid = self.unsaid.swap(0, Ordering::Relaxed);
        let (pid, tree) = (event.process.pid, event.tree);
        if destination.ip().is_unspecified() && destination.port() == 0 {
            tracing::warn!(pid, %tree, ?socket, reason, unsaid, "the kernel refused a call");
        } else {
            tracing::warn!(pid, %tree, %destination, reason, unsaid, "the kernel refused a connection");
        }
    }

    fn allows(&self, now: u64) -> bool {
        let second = now / SECOND;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.lines.store(0, Ordering::Relaxed);
        }
        let allowed = self.lines.fetch_add(1, Ordering::Relaxed) < LINES_MAX;
        if !allowed {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines() {
        let refusals = Refusals::default();
        let said = (0..3000)
            .filter(|n| refusals.allows(SECOND * (n / 1000)))
            .count();
        assert_eq!(said, 30);
        assert_eq!(refusals.unsaid.load(Ordering::Relaxed), 2970);
    }
}

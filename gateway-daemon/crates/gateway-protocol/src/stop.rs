//! Ends a link from outside: a kill, a drain, a revocation.
use atomic_waker::AtomicWaker;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;

/// Why a link was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// `gateway kill`.
    Killed,
    /// The daemon ends, and the drain time is over.
    Drained,
}

impl StopReason {
    /// What the record of a session says that ended so.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            StopReason::Killed => "ended by an operator",
            StopReason::Drained => "ended with the daemon",
        }
    }
}

const RUNNING: u8 = 0;
const KILLED: u8 = 1;
const DRAINED: u8 = 2;

/// A flag that wakes the one task that serves the link. Cheap to look at on each wake-up.
#[derive(Debug, Default)]
pub struct Stop {
    state: AtomicU8,
    waker: AtomicWaker,
}

impl Stop {
    /// Asks the link to end. The first reason stays.
    pub fn stop(&self, reason: StopReason) {
        let value = match reason {
            StopReason::Killed => KILLED,
            StopReason::Drained => DRAINED,
        };
        let _ = self
            .state
            .compare_exchange(RUNNING, value, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
    }

    /// Was it asked to end?
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        match self.state.load(Ordering::Acquire) {
            KILLED => Some(StopReason::Killed),
            DRAINED => Some(StopReason::Drained),
            _ => None,
        }
    }

    /// Registers the serving task. To be called before [`Stop::reason`] is looked at.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Resolves when the link is asked to end.
    pub fn stopped(&self) -> impl Future<Output = StopReason> + '_ {
        std::future::poll_fn(|context| {
            self.register(context.waker());
            self.reason()
                .map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
    }
}

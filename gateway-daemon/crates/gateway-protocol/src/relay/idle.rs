//! Ends links that do not move.
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The time since a link last moved.
#[derive(Debug)]
pub(super) struct Idle {
    after: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Idle {
    pub(super) fn new(after: Duration) -> Idle {
        let last = Instant::now();
        Idle {
            after,
            last,
            sleep: Box::pin(tokio::time::sleep_until(last + after)),
        }
    }

    /// Ready when it did not move for too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(context));
            let due = self.last + self.after;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(due);
        }
    }

    /// It moved.
    pub(super) fn touch(&mut self) {
        self.last = Instant::now();
    }
}

//! Operations as they happen.
use super::holds::Holds;
use super::operations::Scan;
use super::{Query, plan};
use crate::error::ReadError;
use crate::reader::Reader;
use crate::view::OperationView;
use std::time::{Duration, Instant};

/// How often the journal is looked at when nothing has come.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long an operation waits for its outcome before it is shown without.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where a [`Follower`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first operation that the query finds.
    Beginning,
    /// With the next one that happens.
    End,
}

/// Gives operations as they are decided. It sees the records of a daemon that lives, and of
/// those that come after it.
///
/// Each operation is given once: with its outcome when that comes within half a second,
/// without it otherwise. One that is held is given twice: at once when it is held, and once more
/// when it is approved, denied or expired, or when nobody is left to hold it. One that was held
/// before the follower began is not given. Where the query asks what only the answer to an
/// operation says, it is given once, when that is there.
#[derive(Debug)]
pub struct Follower {
    scan: Scan,
}

impl Follower {
    /// Begins to follow.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn new(reader: &Reader, query: &Query, start: Start) -> Result<Follower, ReadError> {
        let records = match start {
            Start::Beginning => plan(reader, query, false)?,
            Start::End => reader.records_from(reader.end()?),
        };
        Ok(Follower {
            scan: Scan::new(reader, query, records, Some(Holds::default()))?,
        })
    }

    /// The next operation, if there is one by now.
    pub fn poll(&mut self, now: Instant) -> Option<Result<OperationView, ReadError>> {
        loop {
            let waited = now.checked_sub(PATIENCE);
            let window = &mut self.scan.window;
            let ready = window
                .pop_settled()
                .or_else(|| waited.and_then(|moment| window.pop_arrived_before(moment)));
            if let Some(view) = ready {
                if self.scan.wants(&view) {
                    return Some(Ok(view));
                }
                continue;
            }
            if self.scan.window.is_full() {
                self.scan.look_ahead();
                continue;
            }
            match self.scan.read(Some(now)) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Some(Err(error)),
                None if self.scan.is_forsaken() => {}
                None => return None,
            }
        }
    }

    /// Waits for the next operation, at most for `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Option<Result<OperationView, ReadError>> {
        let deadline = Instant::now() + timeout;
        loop {
            let now = Instant::now();
            if let Some(found) = self.poll(now) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return None;
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }
}

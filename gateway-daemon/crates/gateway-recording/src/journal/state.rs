//! What is under the journal's lock, and how far the journal is on the disk.
use crate::format::HEADER_BYTES;
use crate::segment::WritableSegment;
use std::sync::Arc;

/// How far ahead of the writer pages are made ready, and how little of that may be left before
/// more are. Together with what waits for the disk this is all of the mapping that is resident.
pub(super) const AHEAD_BYTES: u64 = 2 << 20;
const AHEAD_BYTES_MIN: u64 = 1 << 20;

/// Under the lock of the writers; never held across a system call that can block.
#[derive(Debug)]
pub(super) struct State {
    /// Where records go.
    pub(super) segment: Arc<WritableSegment>,
    /// Where the next one goes.
    pub(super) offset: u64,
    pub(super) next_sequence: u64,
    /// Up to here pages are ready.
    pub(super) populated: u64,
    /// The preparer was called for pages and has not come yet.
    pub(super) pages_called: bool,
    pub(super) spare: Spare,
    /// The number of the next segment that is made.
    pub(super) next_segment: u64,
    /// Full, but not on the disk yet, with the end of its records. At most one: the next spare is
    /// made only when this is empty.
    pub(super) retired: Option<(Arc<WritableSegment>, u64)>,
    /// There are records that the flusher does not know of.
    pub(super) dirty: bool,
    /// Another process writes the journal now: nothing is written here any more.
    pub(super) handed_over: bool,
    /// The disk refused what was written. Nothing is accepted any more.
    pub(super) broken: Option<Arc<str>>,
}

/// The next segment.
#[derive(Debug)]
pub(super) enum Spare {
    /// It is being made, or should be.
    Wanted,
    /// It is there.
    Ready(Arc<WritableSegment>),
    /// It cannot be made, and is tried again.
    Failed(Arc<str>),
}

/// Up to where the journal is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Durable {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

impl State {
    pub(super) fn new(
        segment: Arc<WritableSegment>,
        offset: u64,
        next_sequence: u64,
        spare: Spare,
        next_segment: u64,
    ) -> State {
        State {
            segment,
            offset,
            next_sequence,
            populated: offset / HEADER_BYTES * HEADER_BYTES,
            pages_called: true,
            spare,
            next_segment,
            retired: None,
            dirty: false,
            handed_over: false,
            broken: None,
        }
    }

    /// Takes the next segment into use.
    pub(super) fn go_on_in(&mut self, next: Arc<WritableSegment>) {
        let full = std::mem::replace(&mut self.segment, next);
        self.retired = Some((full, self.offset));
        self.offset = HEADER_BYTES;
        self.populated = AHEAD_BYTES.min(self.segment.bytes);
        self.pages_called = false;
        self.dirty = true;
    }

    /// Should the preparer be called for more pages? Says so once per call that is needed.
    pub(super) fn wants_pages(&mut self) -> bool {
        let wants = !self.pages_called
            && self.populated < self.segment.bytes
            && self.offset + AHEAD_BYTES_MIN > self.populated;
        self.pages_called |= wants;
        wants
    }
}

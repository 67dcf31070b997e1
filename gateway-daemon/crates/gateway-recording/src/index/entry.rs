//! What the index remembers.
use crate::reader::Position;
use gateway_core::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a session is in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionEntry {
    /// Its first record, unless that is lost.
    pub(crate) opened: Option<Position>,
    /// Its last record, unless it is open or that is lost.
    pub(crate) closed: Option<Position>,
    /// The first segment with a record of it.
    pub(crate) first: u64,
    /// The last one.
    pub(crate) last: u64,
}

impl SessionEntry {
    pub(super) const fn new(segment: u64) -> SessionEntry {
        SessionEntry {
            opened: None,
            closed: None,
            first: segment,
            last: segment,
        }
    }
}

/// How far the journal is indexed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) format: u32,
    /// Where to go on.
    pub(super) next: Position,
    /// The last record that was taken up. When it is not there any more, this is not the journal
    /// that was indexed.
    pub(super) last: Option<Known>,
    /// The first segment there was. When there is another one now, some were removed.
    pub(super) first_segment: Option<u64>,
}

/// What tells a record from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) position: Position,
    pub(super) sequence: u64,
    pub(super) time: Timestamp,
}

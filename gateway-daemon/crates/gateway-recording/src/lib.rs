//! The journal of everything that happened, its reader, the index beside it, and the queries.
//!
//! [`Journal`] implements [`gateway_core::Recorder`]: checksummed records, appended to preallocated
//! and memory-mapped segments without a system call. [`Reader`] reads them, with the daemon alive
//! or dead. [`operations()`], [`sessions()`], [`acts()`], [`replay()`] and [`Follower`] answer what
//! people ask. [`Indexer`]
//! keeps an [`Index`] of the journal, which can be deleted at any time: the journal alone is the
//! truth, and nothing but speed depends on the index.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod error;
mod format;
pub mod index;
pub mod journal;
mod lock;
pub mod query;
pub mod reader;
pub mod record;
mod segment;
mod stored;
pub mod view;

#[cfg(test)]
mod testing;

pub use error::{IndexError, JournalError, ReadError};
pub use format::FORMAT_VERSION;
pub use index::{Index, IndexStatus, Indexer};
pub use journal::recovery::{Damage, Recovered};
pub use journal::{Clock, Durability, Heir, Journal, JournalOptions, Passed};
pub use query::{ActQuery, Follower, Pattern, Query, Start, acts, operations, replay, sessions};
pub use reader::{Position, Reader, Records};
pub use record::{Act, Note, NoteKind, Record, RecordKind, StoredOperation, TEXT_MAX};
pub use view::{ActView, Event, EventView, HoldEnding, OperationView, SessionEnding, SessionView};

//! A journal changes hands while sessions go on: one process stops writing, another goes on where it
//! stopped, and what the first one still has to record goes through the second. At each moment one
//! of them writes, and the lock is never free in between.
use super::{Journal, JournalOptions};
use crate::error::JournalError;
use crate::journal::recovery::Recovered;
use crate::stored::{self, Brief};
use gateway_core::{RecordError, SessionId};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The process that writes the journal now, as seen from the one that did before. Both need the same
/// [`FORMAT_VERSION`](crate::FORMAT_VERSION).
pub trait Heir: Send + Sync {
    /// Has an encoded record written. Returns when it is kept.
    ///
    /// # Errors
    /// It is not, as far as is known.
    fn append(&self, body: &[u8]) -> Result<(), Arc<str>>;
}

/// What an encoded record does to its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It is open from here on.
    Opened(SessionId),
    /// It asks for something.
    Asked(SessionId),
    /// It is over.
    Closed(SessionId),
    /// Neither.
    Other,
}

impl Journal {
    /// Goes on with the journal of a process that has called [`Journal::hand_over`], which gave
    /// `lock`. Its sessions are not over.
    ///
    /// # Errors
    /// As of [`Journal::open`].
    pub fn take_over(
        options: JournalOptions,
        lock: OwnedFd,
    ) -> Result<(Journal, Recovered), JournalError> {
        let (journal, recovered) = Journal::begin(options, Some(lock))?;
        journal.say(&recovered, false)?;
        Ok((journal, recovered))
    }

    /// Writes nothing any more: everything is on the disk when this returns, and each later record
    /// goes to `heir`. Gives the lock, for the process that takes over; can be asked again, for
    /// another one.
    ///
    /// # Errors
    /// The disk does not take what was recorded, or there are no descriptors left.
    pub fn hand_over(&self, heir: Arc<dyn Heir>) -> Result<OwnedFd, JournalError> {
        let failed = |source| JournalError::Io {
            doing: "hand over",
            path: self.dir().to_owned(),
            source,
        };
        // The first one stays; it knows how to reach another process.
        let _ = self.heir.set(heir);
        self.shared.state.lock().handed_over = true;
        self.shared.spare_changed.notify_all();
        self.keepers.end();
        self.sync()
            .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let lock = self.lock.lock();
        let lock = lock.as_ref().map(super::WriterLock::share);
        let gone = || std::io::Error::other("the lock was given away");
        lock.unwrap_or_else(|| Err(gone())).map_err(failed)
    }

    /// Lets go of the lock: it is the other process's alone.
    pub fn let_go(&self) {
        drop(self.lock.lock().take());
    }

    /// Records what another process encoded. Says what it does to its session.
    ///
    /// # Errors
    /// It is no record, or it could not be kept.
    pub fn append_encoded(&self, body: &[u8]) -> Result<Passed, RecordError> {
        let passed = match stored::brief(body) {
            Ok(Brief::SessionOpened(brief)) => Passed::Opened(brief.session),
            Ok(Brief::SessionClosed(brief)) => Passed::Closed(brief.session),
            Ok(Brief::Operation(brief)) => Passed::Asked(brief.id.session),
            Ok(_) => Passed::Other,
            Err(error) => return Err(RecordError(format!("it is no record: {error}").into())),
        };
        self.append(body).map_err(|text| {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            RecordError(text)
        })?;
        Ok(passed)
    }

    /// A record that came between two hands.
    pub(super) fn pass_on(&self, body: &[u8]) -> Result<(), Arc<str>> {
        match self.heir.get() {
            Some(heir) => heir.append(body),
            None => Err("the journal is another process's".into()),
        }
    }
}

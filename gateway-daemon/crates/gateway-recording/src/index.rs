//! An index of the journal in sled: where each session is, by its id, its tree, its principal.
//!
//! It is made from the journal and can be made again from it. Nothing is answered by the index
//! alone: it only says which parts of the journal need not be read. What the index does not know
//! yet, or cannot be trusted with, is read from the journal.
mod entry;
mod indexer;

pub use indexer::{IndexStatus, Indexer};

use crate::error::{IndexError, ReadError};
use crate::query::{Pattern, Query};
use crate::reader::{Position, RawRecord, Reader, Visit};
use crate::record::{Record, RecordKind};
use crate::stored::Brief;
use entry::{Known, Progress, SessionEntry};
use gateway_core::SessionId;
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version of what is in the trees. Another one is built anew.
const FORMAT: u32 = 2;
/// What sled may hold in memory, in bytes.
const CACHE_BYTES: u64 = 4 << 20;
/// How many records are taken up between two commits.
const BATCH: usize = 4096;
/// How many sessions are held in memory between commits, to know what of them is written down.
const KNOWN_MAX: usize = 16_384;
/// The lock is a flock: it outlives the database by the moment in which its threads end, or in
/// which a process that was just forked still has the file.
const LOCK_LOOKS: usize = 15;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Between the principal and the session in a key. No UTF-8 text has this byte.
const SEPARATOR: u8 = 0xff;

/// The index, open. One process at a time can have it open.
pub struct Index {
    dir: PathBuf,
    db: sled::Db,
    /// Session → [`SessionEntry`].
    sessions: sled::Tree,
    /// Tree, session → nothing.
    trees: sled::Tree,
    /// Principal, separator, session → nothing.
    principals: sled::Tree,
    /// Segments in which a daemon began → nothing.
    boundaries: sled::Tree,
    /// Segments in which somebody did something to the gateway → nothing.
    acts: sled::Tree,
    /// One entry: [`Progress`].
    progress: sled::Tree,
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// What [`Index::catch_up`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaughtUp {
    /// Records that were taken up.
    pub records: u64,
    /// There may be more.
    pub more: bool,
}

impl Index {
    /// Opens the index in `dir`, making it when it is missing. An index that does not fit the
    /// journal is emptied: one of another journal, of another version, one that is ahead of the
    /// journal, or one that knows segments that are gone. [`Index::catch_up`] fills it.
    ///
    /// # Errors
    /// Another process has it open, or its files make no sense: [`IndexError::Corrupt`] and
    /// [`IndexError::Database`]. [`Index::rebuild`] helps against the latter.
    pub fn open(dir: impl Into<PathBuf>, reader: &Reader) -> Result<Index, IndexError> {
        let index = Index::open_any(dir.into())?;
        if index.fits(reader)? {
            return Ok(index);
        }
        let dir = index.dir.clone();
        drop(index);
        tracing::info!(dir = %dir.display(), "the index does not fit the journal and is built anew");
        remove(&dir)?;
        Index::open_any(dir)
    }

    /// Puts whatever is in `dir` aside, as `dir` with `.damaged` behind it, and begins anew.
    /// What was put aside before is removed: there is never more than one.
    ///
    /// # Errors
    /// The directory cannot be moved, or no index can be made there.
    pub fn rebuild(dir: impl Into<PathBuf>) -> Result<Index, IndexError> {
        let dir = dir.into();
        let aside = aside(&dir);
        remove(&aside)?;
        match std::fs::rename(&dir, &aside) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(IndexError::Io {
                    doing: "move",
                    path: dir,
                    source,
                });
            }
            _ => {}
        }
        Index::open_any(dir)
    }

    fn open_any(dir: PathBuf) -> Result<Index, IndexError> {
        // Who did what is nobody's business but root's.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|source| IndexError::Io {
                doing: "create",
                path: dir.clone(),
                source,
            })?;
        for _ in 0..LOCK_LOOKS {
            match Index::open_database(&dir) {
                Err(IndexError::Database {
                    source: sled::Error::Io(error),
                    ..
                }) if is_lock(&error) => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                other => return other,
            }
        }
        Err(IndexError::InUse { dir })
    }

    fn open_database(dir: &Path) -> Result<Index, IndexError> {
        guarded(dir, || {
            let db = sled::Config::new()
                .path(dir)
                .cache_capacity(CACHE_BYTES)
                .mode(sled::Mode::LowSpace)
                // The indexer says when: a thread less, and no writes while nothing happens.
                .flush_every_ms(None)
                .open()?;
            Ok(Index {
                dir: dir.to_owned(),
                sessions: db.open_tree("sessions")?,
                trees: db.open_tree("trees")?,
                principals: db.open_tree("principals")?,
                boundaries: db.open_tree("boundaries")?,
                acts: db.open_tree("acts")?,
                progress: db.open_tree("progress")?,
                db,
            })
        })
    }

    fn ask<T>(&self, question: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
        guarded(&self.dir, question)
    }

    fn read<T: DeserializeOwned>(
        &self,
        tree: &sled::Tree,
        key: &[u8],
    ) -> Result<Option<T>, IndexError> {
        match self.ask(|| tree.get(key))? {
            None => Ok(None),
            Some(bytes) => match postcard::from_bytes(&bytes) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(IndexError::Corrupt {
                    dir: self.dir.clone(),
                    reason: error.to_string(),
                }),
            },
        }
    }

    fn write<T: Serialize>(
        &self,
        tree: &sled::Tree,
        key: &[u8],
        value: &T,
    ) -> Result<(), IndexError> {
        let bytes = postcard::to_stdvec(value).map_err(|error| IndexError::Corrupt {
            dir: self.dir.clone(),
            reason: error.to_string(),
        })?;
        self.ask(|| tree.insert(key, bytes)).map(drop)
    }

    fn progress(&self) -> Result<Progress, IndexError> {
        Ok(self.read(&self.progress, &[])?.unwrap_or_default())
    }

    /// Up to where the journal is indexed.
    ///
    /// # Errors
    /// The database says no.
    pub fn position(&self) -> Result<Position, IndexError> {
        Ok(self.progress()?.next)
    }

    /// Is this index one of this journal, as it is now?
    fn fits(&self, reader: &Reader) -> Result<bool, IndexError> {
        let progress = match self.progress() {
            Ok(progress) => progress,
            Err(IndexError::Corrupt { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let Some(last) = progress.last else {
            // Nothing was ever indexed.
            return self.ask(|| Ok(self.sessions.is_empty()));
        };
        let there = reader.records_from(last.position).next_raw(|raw| {
            let (position, sequence, time) = (raw.position, raw.sequence, raw.brief()?.time());
            Ok(Known {
                position,
                sequence,
                time,
            })
        });
        let same = matches!(there, Some(Ok(known)) if known == last);
        let first = reader
            .segments()
            .ok()
            .and_then(|segments| segments.first().copied());
        Ok(progress.format == FORMAT && same && first == progress.first_segment)
    }

    /// Takes up what the journal has that the index does not, at most a batch of records.
    ///
    /// # Errors
    /// The database says no. What the journal cannot say is left out, as everywhere.
    pub fn catch_up(&self, reader: &Reader) -> Result<CaughtUp, IndexError> {
        let mut progress = self.progress()?;
        let mut records = reader.records_from(progress.next);
        let mut batch = Batch::default();
        let mut done = CaughtUp::default();
        let mut turns = 0;
        while turns < BATCH {
            turns += 1;
            let seen = records.next_raw(|raw| {
                let (position, sequence) = (raw.position, raw.sequence);
                let time = raw.brief()?.time();
                progress.first_segment.get_or_insert(position.segment);
                progress.last = Some(Known {
                    position,
                    sequence,
                    time,
                });
                done.records += 1;
                // What the database says is no fault of the record.
                match self.take_up(&mut batch, &raw) {
                    Ok(understood) => understood.map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            });
            match seen {
                Some(Ok(taken)) => taken?,
                Some(Err(ReadError::Io { .. })) | None => break,
                Some(Err(_)) => {}
            }
        }
        done.more = turns == BATCH;
        if records.position() != progress.next {
            progress.next = records.position();
            progress.format = FORMAT;
            self.commit(batch, &progress)?;
        }
        Ok(done)
    }

    /// The outer error is the database's, the inner one says what is wrong with the record.
    fn take_up(
        &self,
        batch: &mut Batch,
        raw: &RawRecord<'_>,
    ) -> Result<Result<(), String>, IndexError> {
        let position = raw.position;
        let brief = match raw.brief() {
            Ok(brief) => brief,
            Err(reason) => return Ok(Err(reason)),
        };
        match brief {
            Brief::SessionOpened(brief) => {
                self.entry(batch, brief.session, position)?.opened = Some(position);
                return Ok(raw.record().map(|record| batch.name(&record)));
            }
            Brief::Act(_) => {
                batch.acts.insert(position.segment);
            }
            Brief::SessionClosed(brief) => {
                self.entry(batch, brief.session, position)?.closed = Some(position);
            }
            brief if brief.is_boundary() => {
                batch.boundaries.insert(position.segment);
            }
            brief => {
                if let Some(session) = brief.session() {
                    self.entry(batch, session, position)?;
                }
            }
        }
        Ok(Ok(()))
    }

    /// The entry of a session, widened to a position. It grows only: to take up a record twice
    /// changes nothing.
    fn entry<'a>(
        &self,
        batch: &'a mut Batch,
        session: SessionId,
        position: Position,
    ) -> Result<&'a mut SessionEntry, IndexError> {
        if batch.sessions.len() >= KNOWN_MAX && !batch.sessions.contains_key(&session) {
            self.write_sessions(batch)?;
        }
        let entry = match batch.sessions.entry(session) {
            std::collections::hash_map::Entry::Occupied(occupied) => occupied.into_mut(),
            std::collections::hash_map::Entry::Vacant(vacant) => {
                let stored = self.read(&self.sessions, &session.0.to_be_bytes())?;
                vacant.insert(stored.unwrap_or_else(|| SessionEntry::new(position.segment)))
            }
        };
        entry.first = entry.first.min(position.segment);
        entry.last = entry.last.max(position.segment);
        Ok(entry)
    }

    fn write_sessions(&self, batch: &mut Batch) -> Result<(), IndexError> {
        for (session, entry) in batch.sessions.drain() {
            self.write(&self.sessions, &session.0.to_be_bytes(), &entry)?;
        }
        Ok(())
    }

    /// Writes a batch down, how far it goes last: after a crash the rest is taken up again.
    fn commit(&self, mut batch: Batch, progress: &Progress) -> Result<(), IndexError> {
        self.write_sessions(&mut batch)?;
        self.ask(|| {
            for key in &batch.trees {
                self.trees.insert(key, &[])?;
            }
            for key in &batch.principals {
                self.principals.insert(key.as_slice(), &[])?;
            }
            for segment in &batch.boundaries {
                self.boundaries.insert(segment.to_be_bytes(), &[])?;
            }
            for segment in &batch.acts {
                self.acts.insert(segment.to_be_bytes(), &[])?;
            }
            Ok(())
        })?;
        self.write(&self.progress, &[], progress)
    }

    /// Brings the index to the disk.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn flush(&self) -> Result<(), IndexError> {
        self.ask(|| self.db.flush()).map(drop)
    }

    /// Where a session is; `None` when the index does not know it.
    pub(crate) fn session(&self, session: SessionId) -> Result<Option<SessionEntry>, IndexError> {
        self.read(&self.sessions, &session.0.to_be_bytes())
    }

    /// The segments that can have what a query looks for; `None`: all.
    pub(crate) fn visit(&self, query: &Query) -> Result<Option<Visit>, IndexError> {
        let indexed = self.position()?.segment;
        let mut segments = BTreeSet::new();
        if let Some(session) = query.session {
            self.add(&mut segments, session)?;
        } else if let Some(tree) = query.tree {
            self.add_all(&mut segments, &self.trees, &tree.0.to_be_bytes(), |_| true)?;
        } else if let Some(pattern) = query.principal.as_ref().filter(|pattern| !pattern.is_any()) {
            self.add_principals(&mut segments, pattern)?;
        } else {
            return Ok(None);
        }
        // A session without an end ended where the next daemon began.
        self.add_segments(&mut segments, &self.boundaries)?;
        Ok(Some(Visit { segments, indexed }))
    }

    /// The segments that can have acts.
    pub(crate) fn visit_acts(&self) -> Result<Visit, IndexError> {
        let indexed = self.position()?.segment;
        let mut segments = BTreeSet::new();
        self.add_segments(&mut segments, &self.acts)?;
        Ok(Visit { segments, indexed })
    }

    fn add_segments(
        &self,
        segments: &mut BTreeSet<u64>,
        tree: &sled::Tree,
    ) -> Result<(), IndexError> {
        let mut keys = tree.iter().keys();
        while let Some(key) = self.ask(|| keys.next().transpose())? {
            segments.extend(segment_of(&key));
        }
        Ok(())
    }

    fn add(&self, segments: &mut BTreeSet<u64>, session: SessionId) -> Result<(), IndexError> {
        if let Some(entry) = self.session(session)? {
            segments.extend(entry.first..=entry.last);
        }
        Ok(())
    }

    fn add_all(
        &self,
        segments: &mut BTreeSet<u64>,
        tree: &sled::Tree,
        prefix: &[u8],
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<(), IndexError> {
        let mut keys = tree.scan_prefix(prefix).keys();
        while let Some(key) = self.ask(|| keys.next().transpose())? {
            if let Some((name, session)) = split(&key)
                && wanted(name)
            {
                self.add(segments, session)?;
            }
        }
        Ok(())
    }

    fn add_principals(
        &self,
        segments: &mut BTreeSet<u64>,
        pattern: &Pattern,
    ) -> Result<(), IndexError> {
        self.add_all(
            segments,
            &self.principals,
            pattern.prefix().as_bytes(),
            |name| {
                let name = name.strip_suffix(&[SEPARATOR]).unwrap_or(name);
                std::str::from_utf8(name).is_ok_and(|name| pattern.matches(name))
            },
        )
    }
}

/// What was taken up and is not written yet.
#[derive(Debug, Default)]
struct Batch {
    sessions: FxHashMap<SessionId, SessionEntry>,
    trees: Vec<[u8; 16]>,
    principals: Vec<Vec<u8>>,
    boundaries: BTreeSet<u64>,
    acts: BTreeSet<u64>,
}

impl Batch {
    /// By whom and in which tree a session is.
    fn name(&mut self, record: &Record) {
        let RecordKind::SessionOpened(opened) = &record.kind else {
            return;
        };
        let (session, subject) = (opened.session, &opened.subject);
        let principals = std::iter::once(&subject.principal).chain(&subject.delegates);
        self.principals
            .extend(principals.map(|principal| principal_key(&principal.id, session)));
        self.trees.push(pair(subject.lineage.tree.0, session));
    }
}

fn pair(first: u64, session: SessionId) -> [u8; 16] {
    ((u128::from(first) << 64) | u128::from(session.0)).to_be_bytes()
}

fn principal_key(principal: &str, session: SessionId) -> Vec<u8> {
    let mut key = Vec::with_capacity(principal.len() + 9);
    key.extend_from_slice(principal.as_bytes());
    key.push(SEPARATOR);
    key.extend(session.0.to_be_bytes());
    key
}

/// A key without the session at its end, and that.
fn split(key: &[u8]) -> Option<(&[u8], SessionId)> {
    let (name, session) = key.split_last_chunk::<8>()?;
    Some((name, SessionId(u64::from_be_bytes(*session))))
}

fn segment_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Asks the database, and takes a panic inside of it for what it is: files that make no sense.
fn guarded<T>(dir: &Path, question: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(question)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(IndexError::Database {
            dir: dir.to_owned(),
            source,
        }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let reason = text.unwrap_or("the database gave up").to_owned();
            Err(IndexError::Corrupt {
                dir: dir.to_owned(),
                reason,
            })
        }
    }
}

/// sled says it in words only, and passes on what flock said.
fn is_lock(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("acquire lock")
}

fn aside(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".damaged");
    dir.with_file_name(name)
}

fn remove(dir: &Path) -> Result<(), IndexError> {
    match std::fs::remove_dir_all(dir) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(IndexError::Io {
            doing: "remove",
            path: dir.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! The journal: append-only, checksummed, preallocated, memory-mapped.
//!
//! An append encodes into a buffer of its thread, takes a short lock to get its place and its
//! number, and copies. It makes no system call but in four cases: the flusher sleeps and has to
//! know that there is work (once per flush), the pages ahead run out (once per MiB), the segment
//! is full (once per segment), or the record is very long. When an append returns, the record is
//! in the page cache, where the death of this process does not touch it; the flusher brings it to
//! the disk within [`Durability`].
mod heir;
mod keeper;
pub mod recovery;
mod state;

use crate::error::JournalError;
use crate::format::{FORMAT_VERSION, HEADER_BYTES, Header, Word, checksum, record_bytes, salt};
use crate::lock::WriterLock;
use crate::record::{Act, Note, NoteKind, bounded_resolution};
use crate::segment::{Spoilt, WritableSegment};
use crate::stored::{OperationWritten, Tag, encode};
use gateway_core::{
    AnswerRecord, OperationOutcome, OperationRecord, RecordError, Recorder, Resolution,
    SessionClosed, SessionOpened, Timestamp,
};
pub use heir::{Heir, Passed};
use keeper::Keepers;
use parking_lot::{Condvar, Mutex};
use recovery::{Recovered, recover};
use serde::Serialize;
use state::{Durable, Spare, State};
use std::cell::RefCell;
use std::fmt;
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The smallest segment.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// The largest segment; lengths of records are 32 bits wide.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// A thread keeps its buffer up to this size.
const BUFFER_KEPT_MAX: usize = 256 << 10;

/// Tells the time. Passed in, so that tests decide what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// When records reach the disk. They are safe from the death of the daemon at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// At the latest this long after they were appended: what a power loss can take.
    Within(Duration),
    /// Before the append returns.
    Always,
}

/// How a journal is written.
#[derive(Clone)]
pub struct JournalOptions {
    /// The directory; it is made when it is missing. `state_dir/journal`.
    pub dir: PathBuf,
    /// The size of a segment, which is also a little more than the longest possible record.
    pub segment_bytes: u64,
    /// When records reach the disk.
    pub durability: Durability,
    /// How long an append waits when a segment is full and the next one is not ready.
    pub wait_max: Duration,
    /// Stamps segments and the journal's own notes.
    pub clock: Clock,
    /// A random number, new at every start: nobody whose statements are recorded may know it.
    pub seed: u64,
}

impl JournalOptions {
    /// The defaults: segments of 64 MiB, on the disk within 100 ms, half a second of patience.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, clock: Clock, seed: u64) -> JournalOptions {
        JournalOptions {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            durability: Durability::Within(Duration::from_millis(100)),
            wait_max: Duration::from_millis(500),
            clock,
            seed,
        }
    }
}

impl fmt::Debug for JournalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the seed: what is in a log is known to more people than may know it.
        f.debug_struct("JournalOptions")
            .field("dir", &self.dir)
            .field("segment_bytes", &self.segment_bytes)
            .field("durability", &self.durability)
            .field("wait_max", &self.wait_max)
            .finish_non_exhaustive()
    }
}

/// The journal, open for writing. Dropping it brings everything to the disk.
pub struct Journal {
    shared: Arc<Shared>,
    /// Ends before `lock` does.
    keepers: Keepers,
    /// `None` once it is another process's alone.
    lock: Mutex<Option<WriterLock>>,
    /// Where records go when another process has taken the journal over.
    heir: OnceLock<Arc<dyn Heir>>,
}

/// What the writers and the journal's own threads have in common.
struct Shared {
    options: JournalOptions,
    boot: [u8; 16],
    state: Mutex<State>,
    /// The state of the next segment has changed.
    spare_changed: Condvar,
    /// How far the journal is on the disk. Held while syncing, which makes it one at a time.
    durable: Mutex<Durable>,
    failures: AtomicU64,
}

thread_local! {
    /// Records are encoded here, outside of the lock, without an allocation per record.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal for writing, alone, and cuts what an earlier daemon left half written.
    /// Segments of an older version of the format stay as they are; writing goes on in a new one.
    ///
    /// # Errors
    /// The directory cannot be used, another daemon has it, the disk is full, or its segments
    /// were written by a later version or on another kind of machine.
    pub fn open(options: JournalOptions) -> Result<(Journal, Recovered), JournalError> {
        let journal = Journal::begin(options, None)?;
        journal.0.say(&journal.1, true)?;
        Ok(journal)
    }

    fn begin(
        mut options: JournalOptions,
        handed: Option<OwnedFd>,
    ) -> Result<(Journal, Recovered), JournalError> {
        let bytes = options.segment_bytes.next_multiple_of(HEADER_BYTES);
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
            let (min, max) = (SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
            return Err(JournalError::SegmentBytes { bytes, min, max });
        }
        options.segment_bytes = bytes;
        let dir = options.dir.clone();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|source| JournalError::Io {
                doing: "create",
                path: dir.clone(),
                source,
            })?;
        let lock = match handed {
            Some(lock) => WriterLock::hold(&dir, lock.into())?,
            None => WriterLock::take(&dir)?,
        };
        let boot = boot_id();
        let tail = recover(&dir, boot)?;
        let recovered = tail.recovered;
        let mut spare = match tail.spare {
            Some(header) => Some(WritableSegment::open(&dir, &header)?),
            None => None,
        };
        let mut next_segment = tail.next_segment;
        let (active, offset) = match tail.active {
            Some((header, end)) => (WritableSegment::open(&dir, &header)?, end),
            None => match spare.take() {
                Some(spare) => (spare, HEADER_BYTES),
                None => {
                    next_segment += 1;
                    let header = new_header(&options, boot, next_segment - 1);
                    (WritableSegment::create(&dir, &header)?, HEADER_BYTES)
                }
            },
        };
        let spare = spare.map_or(Spare::Wanted, |spare| Spare::Ready(Arc::new(spare)));
        let active = Arc::new(active);
        let shared = Arc::new(Shared {
            boot,
            durable: Mutex::new(Durable {
                segment: active.number,
                offset,
            }),
            state: Mutex::new(State::new(
                active,
                offset,
                recovered.next_sequence,
                spare,
                next_segment,
            )),
            spare_changed: Condvar::new(),
            failures: AtomicU64::new(0),
            options,
        });
        let keepers = Keepers::start(&shared).map_err(|source| JournalError::Io {
            doing: "start the threads of",
            path: dir.clone(),
            source,
        })?;
        let journal = Journal {
            shared,
            keepers,
            lock: Mutex::new(Some(lock)),
            heir: OnceLock::new(),
        };
        Ok((journal, recovered))
    }

    /// Every open leaves a note: sessions that are open before it are over. One that takes over
    /// leaves none.
    fn say(&self, recovered: &Recovered, opened: bool) -> Result<(), JournalError> {
        let kinds = [
            opened.then_some(NoteKind::Opened),
            (!recovered.is_clean()).then_some(NoteKind::Recovered),
        ];
        for kind in kinds.into_iter().flatten() {
            let note = Note {
                time: (self.shared.options.clock)(),
                kind,
                text: recovered.to_string(),
            };
            self.note(&note).map_err(|error| JournalError::Io {
                doing: "write to",
                path: self.shared.options.dir.clone(),
                source: std::io::Error::other(error.to_string()),
            })?;
        }
        Ok(())
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.options.dir
    }

    /// How many records could not be kept since the journal was opened.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.shared.failures.load(Ordering::Relaxed)
    }

    /// The number of the last record.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.shared.state.lock().next_sequence - 1
    }

    /// Records what the daemon has to say about itself.
    ///
    /// # Errors
    /// The record could not be kept.
    pub fn note(&self, note: &Note) -> Result<(), RecordError> {
        self.record(Tag::Note, note)
    }

    /// Records what somebody did to the gateway itself. Its texts are cut to
    /// [`TEXT_MAX`](crate::record::TEXT_MAX) bytes each.
    ///
    /// # Errors
    /// The record could not be kept; what was asked for must not be done.
    pub fn act(&self, act: &Act) -> Result<(), RecordError> {
        self.record(Tag::Act, &act.bounded())
    }

    /// Brings every record that was appended before this call to the disk.
    ///
    /// # Errors
    /// The disk does not take them.
    pub fn sync(&self) -> Result<(), RecordError> {
        self.shared.sync().map_err(RecordError)
    }

    fn record<T: Serialize>(&self, tag: Tag, value: &T) -> Result<(), RecordError> {
        let done = BUFFER.with_borrow_mut(|buffer| {
            let done = match encode(buffer, tag, value) {
                Ok(()) => self.append(buffer),
                Err(error) => Err(format!("the record cannot be encoded: {error}").into()),
            };
            if buffer.capacity() > BUFFER_KEPT_MAX {
                *buffer = Vec::new();
            }
            done
        });
        done.map_err(|text| {
            self.shared.failures.fetch_add(1, Ordering::Relaxed);
            RecordError(text)
        })
    }

    fn append(&self, body: &[u8]) -> Result<(), Arc<str>> {
        if let Some(heir) = self.heir.get() {
            return heir.append(body);
        }
        let shared = &*self.shared;
        let longest = shared.options.segment_bytes - HEADER_BYTES;
        let total = record_bytes(body.len() as u64);
        let length = match u32::try_from(body.len()) {
            Ok(length) if total <= longest => length,
            _ => return Err(too_long(total, longest)),
        };
        let body_sum = crc32c::crc32c(body);
        let mut state = shared.state.lock();
        if state.handed_over {
            drop(state);
            return self.pass_on(body);
        }
        while state.offset + total > state.segment.bytes || state.broken.is_some() {
            if let Some(broken) = &state.broken {
                return Err(Arc::clone(broken));
            }
            self.rotate(&mut state)?;
            // It may have waited, without the lock.
            if state.handed_over {
                drop(state);
                return self.pass_on(body);
            }
        }
        let (offset, sequence) = (state.offset, state.next_sequence);
        let sum = checksum(body_sum, sequence, length, state.segment.salt);
        let word = Word {
            length,
            checksum: sum,
        };
        if let Err(spoilt) = state.segment.write(offset, sequence, word, body) {
            return Err(give_up(&mut state, &spoilt));
        }
        state.offset += total;
        state.next_sequence += 1;
        let call_flusher = !std::mem::replace(&mut state.dirty, true);
        let call_preparer = state.wants_pages();
        drop(state);
        if call_preparer {
            self.keepers.prepare();
        }
        match shared.options.durability {
            Durability::Always => shared.sync(),
            Durability::Within(_) => {
                if call_flusher {
                    self.keepers.flush();
                }
                Ok(())
            }
        }
    }

    /// Goes on in the next segment, or waits for it. Another thread may have been first.
    fn rotate(&self, state: &mut parking_lot::MutexGuard<'_, State>) -> Result<(), Arc<str>> {
        let full = state.segment.number;
        let deadline = Instant::now() + self.shared.options.wait_max;
        loop {
            match std::mem::replace(&mut state.spare, Spare::Wanted) {
                Spare::Ready(next) => {
                    state.go_on_in(next);
                    self.keepers.flush_now();
                    return Ok(());
                }
                Spare::Failed(text) => {
                    state.spare = Spare::Failed(Arc::clone(&text));
                    return Err(text);
                }
                Spare::Wanted => {}
            }
            self.keepers.prepare();
            let timed_out = self
                .shared
                .spare_changed
                .wait_until(state, deadline)
                .timed_out();
            if state.segment.number != full || state.broken.is_some() || state.handed_over {
                return Ok(());
            }
            if timed_out && !matches!(state.spare, Spare::Ready(_)) {
                let waited = self.shared.options.wait_max;
                return Err(
                    format!("the next journal segment was not ready within {waited:?}").into(),
                );
            }
        }
    }
}

fn too_long(total: u64, longest: u64) -> Arc<str> {
    format!("a record of {total} bytes is longer than a journal segment can hold ({longest})")
        .into()
}

/// A record could not be written: its place must not be taken by another when it is not clean.
fn give_up(state: &mut State, spoilt: &Spoilt) -> Arc<str> {
    if !spoilt.cleared {
        state.offset = state.segment.bytes;
    }
    let file = state.segment.path().display();
    format!("cannot write to {file}: {}", spoilt.error).into()
}

fn new_header(options: &JournalOptions, boot: [u8; 16], segment: u64) -> Header {
    Header {
        version: FORMAT_VERSION,
        segment,
        bytes: options.segment_bytes,
        created: (options.clock)(),
        boot,
        salt: salt(options.seed, segment),
    }
}

/// The number of this boot; zeros where the kernel does not tell.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).unwrap_or(0).to_be_bytes()
}

impl Recorder for Journal {
    fn session_opened(&self, record: &SessionOpened) -> Result<(), RecordError> {
        self.record(Tag::SessionOpened, record)
    }

    fn operation(&self, record: &OperationRecord<'_>) -> Result<(), RecordError> {
        self.record(Tag::Operation, &OperationWritten::from(record))
    }

    fn resolution(&self, record: &Resolution) -> Result<(), RecordError> {
        self.record(Tag::Resolution, &bounded_resolution(record))
    }

    fn answer(&self, record: &AnswerRecord) -> Result<(), RecordError> {
        self.record(Tag::Answer, record)
    }

    fn outcome(&self, record: &OperationOutcome) -> Result<(), RecordError> {
        self.record(Tag::Outcome, record)
    }

    fn session_closed(&self, record: &SessionClosed) -> Result<(), RecordError> {
        self.record(Tag::SessionClosed, record)
    }
}

#[cfg(test)]
mod tests;

//! Reads the journal: without the daemon, or while it writes.
//!
//! Nothing is locked and nothing is changed. What a reader finds missing, damaged or torn it says
//! once, as an error between the records, and goes on behind it.
use crate::error::ReadError;
use crate::format::HEADER_BYTES;
use crate::index::Index;
use crate::lock;
use crate::record::Record;
use crate::segment::{self, At, SegmentFile};
use crate::stored::{self, Brief};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in the journal.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Position {
    /// The number of the segment, from 1.
    pub segment: u64,
    /// The offset in its file, in bytes.
    pub offset: u64,
}

/// The journal of a directory, for reading.
#[derive(Clone, Debug)]
pub struct Reader {
    dir: Arc<Path>,
    index: Option<Arc<Index>>,
}

impl Reader {
    /// Opens the journal in `dir` for reading.
    ///
    /// # Errors
    /// There is no such directory, or it may not be read.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Reader, ReadError> {
        let dir: PathBuf = dir.into();
        match segment::numbers(&dir) {
            Ok(_) => Ok(Reader {
                dir: dir.into(),
                index: None,
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(ReadError::NoJournal { dir })
            }
            Err(source) => Err(ReadError::Io {
                doing: "list",
                path: dir,
                source,
            }),
        }
    }

    /// The same reader, which asks the index where it can. Answers stay the same.
    #[must_use]
    pub fn with_index(mut self, index: Option<Arc<Index>>) -> Reader {
        self.index = index;
        self
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn index(&self) -> Option<&Index> {
        self.index.as_deref()
    }

    /// Does a daemon write this journal now?
    #[must_use]
    pub fn is_written(&self) -> bool {
        lock::is_held(&self.dir)
    }

    /// All records from the first on.
    #[must_use]
    pub fn records(&self) -> Records {
        self.records_from(Position::default())
    }

    /// The records from a position on, which must be one that a record was read from, the end
    /// that [`Records::position`] gave, or the default: the beginning.
    #[must_use]
    pub fn records_from(&self, position: Position) -> Records {
        Records {
            dir: Arc::clone(&self.dir),
            file: None,
            position,
            expected: None,
            told: None,
            visit: None,
            failed: false,
        }
    }

    /// Where the journal ends now.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn end(&self) -> Result<Position, ReadError> {
        let mut last = Position::default();
        for segment in list(&self.dir)?.into_iter().rev() {
            let mut records = self.records_from(Position { segment, offset: 0 });
            // What is damaged on the way is for those to say who read it.
            while records.next_raw(|_| Ok(())).is_some() {}
            last = records.position();
            if records.position().segment > segment || records.position().offset > HEADER_BYTES {
                break;
            }
        }
        Ok(last)
    }

    /// The numbers of the segments that are there, in order.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn segments(&self) -> Result<Vec<u64>, ReadError> {
        list(&self.dir)
    }
}

/// Which segments are worth reading, as the index says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visit {
    /// Of the segments before `indexed`, only these.
    pub(crate) segments: BTreeSet<u64>,
    /// From here on all.
    pub(crate) indexed: u64,
}

impl Visit {
    fn wants(&self, segment: u64) -> bool {
        segment >= self.indexed || self.segments.contains(&segment)
    }
}

/// Records in their order. `None` is the end for now: asked again later, it goes on.
#[derive(Debug)]
pub struct Records {
    dir: Arc<Path>,
    /// The segment of `position`, once it is open.
    file: Option<SegmentFile>,
    position: Position,
    /// The number that the next record must have, where one was read before.
    expected: Option<u64>,
    /// The last place that an error was given for: each is given once.
    told: Option<Position>,
    visit: Option<Arc<Visit>>,
    /// A file operation failed: the next call is answered with the end, so that nobody who reads
    /// until there is no more reads the same error for ever.
    failed: bool,
}

/// A record as it lies in the file, for those who need not know all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) position: Position,
    pub(crate) sequence: u64,
    /// Of the format of its segment.
    version: u32,
    body: &'a [u8],
}

impl RawRecord<'_> {
    /// All of it.
    pub(crate) fn record(&self) -> Result<Record, String> {
        let (position, sequence) = (self.position, self.sequence);
        stored::decode(self.version, self.body).map(|kind| Record {
            position,
            sequence,
            kind,
        })
    }

    /// What most questions need, without an allocation.
    pub(crate) fn brief(&self) -> Result<Brief<'_>, String> {
        stored::brief(self.body)
    }
}

/// What was tried to get to the next record.
enum Step<T> {
    Read(T),
    Moved,
    End,
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_raw(|raw| raw.record())
    }
}

impl Records {
    /// Where the next record is, or will be.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The same place again, for looking ahead.
    pub(crate) fn fork(&self) -> Records {
        Records {
            dir: Arc::clone(&self.dir),
            file: None,
            position: self.position,
            expected: self.expected,
            told: self.told,
            visit: self.visit.clone(),
            failed: false,
        }
    }

    /// Leaves out the segments that are not worth reading.
    pub(crate) fn visiting(mut self, visit: Option<Arc<Visit>>) -> Records {
        self.visit = visit;
        self
    }

    /// Looks at the next record without taking it apart first.
    pub(crate) fn next_raw<T>(
        &mut self,
        mut look: impl FnMut(RawRecord<'_>) -> Result<T, String>,
    ) -> Option<Result<T, ReadError>> {
        if std::mem::take(&mut self.failed) {
            return None;
        }
        loop {
            match self.step(&mut look) {
                Ok(Step::Read(seen)) => return Some(Ok(seen)),
                Ok(Step::Moved) => {}
                Ok(Step::End) => return None,
                Err(error) => {
                    self.failed = matches!(error, ReadError::Io { .. });
                    return Some(Err(error));
                }
            }
        }
    }

    fn step<T>(
        &mut self,
        look: &mut impl FnMut(RawRecord<'_>) -> Result<T, String>,
    ) -> Result<Step<T>, ReadError> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => match self.enter()? {
                Some(file) => file,
                None => return Ok(Step::End),
            },
        };
        let offset = self.position.offset;
        let step = match file.at(offset) {
            Ok(At::Record {
                sequence,
                length,
                next,
            }) => self
                .read(&mut file, (sequence, length, next), look)
                .map(Step::Read),
            Ok(At::Unwritten) => self.leave(&mut file),
            Ok(At::Damaged) => self.step_over(&mut file),
            Err(error) => Err(error),
        };
        // Leaving a segment moves the position on to the next one.
        if self.position.segment == file.header.segment {
            self.file = Some(file);
        }
        step
    }

    /// Opens the segment of the position, or the first one there is from it on. An error leaves
    /// the position behind the segment that it is about.
    fn enter(&mut self) -> Result<Option<SegmentFile>, ReadError> {
        let from = self.position.segment;
        let Some(number) = self.first_wanted(from)? else {
            return Ok(None);
        };
        if number != from {
            self.position = Position {
                segment: number,
                offset: HEADER_BYTES,
            };
            if from > 0 && self.visit.is_none() {
                return Err(self.missing(from, number - 1));
            }
        }
        self.position.offset = self.position.offset.max(HEADER_BYTES);
        let opened = SegmentFile::open(&self.dir, number);
        // What the kernel refuses for now is tried again.
        if matches!(&opened, Err(error) if !matches!(error, ReadError::Io { .. })) {
            self.position = Position {
                segment: number + 1,
                offset: HEADER_BYTES,
            };
            self.expected = None;
        }
        opened
    }

    fn first_wanted(&self, from: u64) -> Result<Option<u64>, ReadError> {
        let wanted = |number: &u64| {
            *number >= from && self.visit.as_ref().is_none_or(|visit| visit.wants(*number))
        };
        Ok(list(&self.dir)?.into_iter().find(wanted))
    }

    fn missing(&mut self, from: u64, to: u64) -> ReadError {
        self.expected = None;
        ReadError::Missing {
            dir: self.dir.to_path_buf(),
            from,
            to,
        }
    }

    fn read<T>(
        &mut self,
        file: &mut SegmentFile,
        (sequence, length, next): (u64, u32, u64),
        look: &mut impl FnMut(RawRecord<'_>) -> Result<T, String>,
    ) -> Result<T, ReadError> {
        let position = self.position;
        if let Some(expected) = self.expected.replace(sequence)
            && expected != sequence
        {
            return Err(ReadError::Gap {
                file: file.path.clone(),
                offset: position.offset,
                expected,
                found: sequence,
            });
        }
        let version = file.header.version;
        let body = file.body(position.offset, length)?;
        let seen = look(RawRecord {
            position,
            sequence,
            version,
            body,
        });
        self.position.offset = next;
        self.expected = Some(sequence + 1);
        seen.map_err(|reason| {
            let file = file.path.clone();
            ReadError::Undecodable {
                file,
                sequence,
                reason,
            }
        })
    }

    /// Nothing is written here: go to the next segment if that one is in use, stay if it is not.
    fn leave<T>(&mut self, file: &mut SegmentFile) -> Result<Step<T>, ReadError> {
        let offset = self.position.offset;
        if let Some(next) = self.next_in_use(file.header.segment)? {
            // The writer ends a segment before it begins the next: what was not there before the
            // next one was seen in use may be there now.
            if file.at(offset)? != At::Unwritten {
                return Ok(Step::Moved);
            }
            return match file.nonzero_from(offset)? {
                Some(_) => self.step_over(file),
                None => self.go_to(file.header.segment, next),
            };
        }
        // A living writer may be about to write here. Without one, pages that a power loss took
        // may lie between this place and records; it is enough to look for these once.
        let looked = self.told == Some(self.position);
        if looked || lock::is_held(&self.dir) || file.nonzero_from(offset)?.is_none() {
            return Ok(Step::End);
        }
        let follows = file.search(offset, self.expected.map(|next| next - 1))?;
        if file.at(offset)? != At::Unwritten {
            return Ok(Step::Moved);
        }
        match follows {
            Some(next) => Err(self.skip(file, next)),
            // A record that its writer did not live to finish: nobody was told that it is kept.
            None => {
                self.told = Some(self.position);
                Ok(Step::End)
            }
        }
    }

    /// What is here is no record. Goes behind it, and says so once.
    fn step_over<T>(&mut self, file: &mut SegmentFile) -> Result<Step<T>, ReadError> {
        if self.told != Some(self.position) {
            let after = self.expected.map(|next| next - 1);
            if let Some(next) = file.search(self.position.offset, after)? {
                return Err(self.skip(file, next));
            }
            self.told = Some(self.position);
            let offset = self.position.offset;
            return Err(ReadError::Torn {
                file: file.path.clone(),
                offset,
            });
        }
        match self.next_in_use(file.header.segment)? {
            Some(next) => self.go_to(file.header.segment, next),
            None => Ok(Step::End),
        }
    }

    fn skip(&mut self, file: &SegmentFile, next: u64) -> ReadError {
        let offset = std::mem::replace(&mut self.position.offset, next);
        self.expected = None;
        ReadError::Damaged {
            file: file.path.clone(),
            offset,
            bytes: next - offset,
        }
    }

    fn go_to<T>(&mut self, from: u64, to: u64) -> Result<Step<T>, ReadError> {
        self.position = Position {
            segment: to,
            offset: HEADER_BYTES,
        };
        if to == from + 1 {
            return Ok(Step::Moved);
        }
        let missing = self.missing(from + 1, to - 1);
        // What the index leaves out is not missing.
        if self.visit.is_some() {
            Ok(Step::Moved)
        } else {
            Err(missing)
        }
    }

    /// The segment to read after this one, if that or any later one was written to.
    fn next_in_use(&self, number: u64) -> Result<Option<u64>, ReadError> {
        if self.visit.is_none() && self.in_use(number + 1)? {
            return Ok(Some(number + 1));
        }
        let Some(next) = self.first_wanted(number + 1)? else {
            return Ok(None);
        };
        for later in list(&self.dir)?.into_iter().filter(|later| *later >= next) {
            if self.in_use(later)? {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// Was anything written behind the header, or is the header not to be read?
    fn in_use(&self, number: u64) -> Result<bool, ReadError> {
        match SegmentFile::open(&self.dir, number) {
            Ok(Some(mut file)) => Ok(file.at(HEADER_BYTES)? != At::Unwritten),
            Ok(None) => Ok(false),
            Err(_) => Ok(true),
        }
    }
}

fn list(dir: &Path) -> Result<Vec<u64>, ReadError> {
    segment::numbers(dir).map_err(|source| ReadError::Io {
        doing: "list",
        path: dir.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;

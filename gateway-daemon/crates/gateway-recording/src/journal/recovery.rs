//! What is done about the end of a journal when it is opened for writing.
//!
//! A daemon that was killed leaves at most one record half written, whose word is still zero. A
//! machine that lost power leaves any page of the last moments unwritten. What lies behind the
//! last good record and is no record itself is cut. Damage with good records behind it is left as
//! it is, for readers to step over and for people to look at; writing goes on in a new segment.
//! So it does behind a segment of an older version of the format.
use crate::error::{JournalError, ReadError};
use crate::format::{FORMAT_VERSION, HEADER_BYTES, Header};
use crate::reader::Position;
use crate::segment::{self, At, SegmentFile, UNFINISHED};
use std::fmt;
use std::path::{Path, PathBuf};

/// How many segments with records are read from the end. A segment is only made when the one
/// before the last is on the disk, so a power loss cannot reach further back.
const SEGMENTS_READ: usize = 2;

/// What was found when the journal was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Good records in the segments that were read: the last two.
    pub records: u64,
    /// The number that the next record gets.
    pub next_sequence: u64,
    /// Bytes behind the last good record that were no record, and are gone now.
    pub cut_bytes: u64,
    /// Where they were.
    pub at: Option<Position>,
    /// Damage with good records behind it, or in a header. It was left as it is.
    pub damage: Vec<Damage>,
    /// Records that are missing between the last two segments, which only a power loss can take.
    pub missing: u64,
    /// The machine was started anew since the last segment was made.
    pub rebooted: bool,
}

/// Bytes that cannot be read, and stay where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub file: PathBuf,
    /// Where the damage begins; zero when it is the header.
    pub offset: u64,
    /// How much cannot be read.
    pub bytes: u64,
}

impl Recovered {
    /// Was everything as a daemon leaves it that ends in order?
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cut_bytes == 0 && self.damage.is_empty() && self.missing == 0
    }
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return write!(
                f,
                "the journal is whole; the next record is {}",
                self.next_sequence
            );
        }
        if let Some(at) = self.at {
            let (bytes, segment, offset) = (self.cut_bytes, at.segment, at.offset);
            write!(
                f,
                "cut {bytes} bytes of a torn record from segment {segment} at byte {offset}; "
            )?;
        }
        for Damage {
            file,
            offset,
            bytes,
        } in &self.damage
        {
            write!(
                f,
                "{} is damaged at byte {offset}, {bytes} bytes are not readable; ",
                file.display()
            )?;
        }
        if self.missing > 0 {
            write!(
                f,
                "{} records are missing before the last segment; ",
                self.missing
            )?;
        }
        write!(f, "the next record is {}", self.next_sequence)
    }
}

/// Where writing goes on.
#[derive(Debug)]
pub(super) struct Tail {
    /// The segment to go on in, and where. `None`: a new one.
    pub(super) active: Option<(Header, u64)>,
    /// A segment that was prepared and never used.
    pub(super) spare: Option<Header>,
    /// The number of the next segment that is made.
    pub(super) next_segment: u64,
    /// What to tell.
    pub(super) recovered: Recovered,
}

/// One segment, read from its first to its last record.
#[derive(Debug)]
struct Scanned {
    records: u64,
    /// Of the first good record.
    first_sequence: u64,
    last_sequence: u64,
    /// Behind the last good record.
    end: u64,
    /// Of what is not zero behind that.
    rubbish_end: u64,
    damage: Vec<Damage>,
}

impl Scanned {
    fn rubbish(&self, file: &SegmentFile) -> Damage {
        let bytes = self.rubbish_end - self.end;
        Damage {
            file: file.path.clone(),
            offset: self.end,
            bytes,
        }
    }
}

/// Reads the end of the journal and cuts what is torn.
pub(super) fn recover(dir: &Path, boot: [u8; 16]) -> Result<Tail, JournalError> {
    remove(&dir.join(UNFINISHED))?;
    let numbers = segment::numbers(dir).map_err(|source| JournalError::Io {
        doing: "list",
        path: dir.to_owned(),
        source,
    })?;
    let mut recovered = Recovered::default();
    // Segments without a record at the end, the first one last: that one serves as the next one
    // to write to, more are not needed.
    let mut empties = Vec::new();
    let mut active = None;
    let mut used = 0;
    let mut newest = None;
    let mut last_sequence = 0;
    let mut first_of_later = None;
    for number in numbers.iter().rev().copied() {
        let Some((mut file, scanned)) = judge(dir, number, used < SEGMENTS_READ, &mut recovered)?
        else {
            // A damaged header: nothing may be written into segments of smaller numbers.
            newest.get_or_insert(None);
            continue;
        };
        let Some(scanned) = scanned else {
            continue;
        };
        let untouched = scanned.records == 0 && scanned.rubbish_end == scanned.end;
        if untouched && newest.is_none() {
            empties.push(file.header);
            continue;
        }
        // What a killed daemon left in the page cache counts as kept from here on.
        file.sync()?;
        recovered.records += scanned.records;
        if scanned.records > 0 {
            let after = first_of_later.replace(scanned.first_sequence);
            let wanted = scanned.last_sequence + 1;
            recovered.missing += after.map_or(0, |first| first.saturating_sub(wanted));
        }
        last_sequence = last_sequence.max(scanned.last_sequence);
        used += usize::from(scanned.records > 0);
        if newest.is_none() && scanned.damage.is_empty() {
            cut(&mut file, &scanned, &mut recovered)?;
            active = is_current(&file.header).then_some((file.header, scanned.end));
        } else if scanned.rubbish_end > scanned.end {
            recovered.damage.push(scanned.rubbish(&file));
        }
        newest.get_or_insert(Some(file.header));
        recovered.damage.extend(scanned.damage);
    }
    recovered
        .damage
        .sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
    recovered.next_sequence = last_sequence + 1;
    recovered.rebooted = newest.flatten().is_some_and(|header| header.boot != boot);
    let spare = empties.pop_if(|header| is_current(header));
    for header in &empties {
        remove(&segment::path(dir, header.segment))?;
    }
    // Numbers of segments that are gone come again: what lies between two segments is missing.
    let gone = |number: u64| empties.iter().any(|header| header.segment == number);
    let mut numbers = numbers.iter().rev();
    let last = numbers.find(|number| !gone(**number));
    let next_segment = last.map_or(1, |last| last + 1);
    Ok(Tail {
        active,
        spare,
        next_segment,
        recovered,
    })
}

/// Opens a segment and reads it when asked to. `None`: its header is damaged.
fn judge(
    dir: &Path,
    number: u64,
    read: bool,
    recovered: &mut Recovered,
) -> Result<Option<(SegmentFile, Option<Scanned>)>, JournalError> {
    let mut file = match SegmentFile::open(dir, number) {
        Ok(Some(file)) => file,
        Ok(None) => {
            return Err(JournalError::Io {
                doing: "open",
                path: segment::path(dir, number),
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
        Err(ReadError::Header { file }) => {
            let bytes = file.metadata().map_or(0, |metadata| metadata.len());
            recovered.damage.push(Damage {
                file,
                offset: 0,
                bytes,
            });
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let scanned = if read { Some(scan(&mut file)?) } else { None };
    Ok(Some((file, scanned)))
}

fn scan(file: &mut SegmentFile) -> Result<Scanned, JournalError> {
    let mut scanned = Scanned {
        records: 0,
        first_sequence: 0,
        last_sequence: 0,
        end: HEADER_BYTES,
        rubbish_end: HEADER_BYTES,
        damage: Vec::new(),
    };
    loop {
        if let At::Record { sequence, next, .. } = file.at(scanned.end)? {
            if scanned.records == 0 {
                scanned.first_sequence = sequence;
            }
            scanned.records += 1;
            scanned.last_sequence = sequence;
            scanned.end = next;
            continue;
        }
        let after = (scanned.records > 0).then_some(scanned.last_sequence);
        let Some(next) = file.search(scanned.end, after)? else {
            scanned.rubbish_end = file.nonzero_end(scanned.end)?;
            return Ok(scanned);
        };
        scanned.damage.push(Damage {
            file: file.path.clone(),
            offset: scanned.end,
            bytes: next - scanned.end,
        });
        scanned.end = next;
    }
}

/// Overwrites what is behind the last good record, so that the next one is followed by zeros.
fn cut(
    file: &mut SegmentFile,
    scanned: &Scanned,
    recovered: &mut Recovered,
) -> Result<(), JournalError> {
    if scanned.rubbish_end == scanned.end {
        return Ok(());
    }
    let writable =
        segment::WritableSegment::open(file.path.parent().unwrap_or(Path::new(".")), &file.header)?;
    writable
        .clear(scanned.end..scanned.rubbish_end)
        .and_then(|()| writable.sync(scanned.end..scanned.rubbish_end))
        .map_err(|source| JournalError::Io {
            doing: "cut",
            path: file.path.clone(),
            source,
        })?;
    recovered.cut_bytes = scanned.rubbish_end - scanned.end;
    recovered.at = Some(Position {
        segment: file.header.segment,
        offset: scanned.end,
    });
    Ok(())
}

/// May records be written to it, as they are written now?
fn is_current(header: &Header) -> bool {
    header.version == FORMAT_VERSION
}

fn remove(path: &Path) -> Result<(), JournalError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(JournalError::Io {
            doing: "remove",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

impl From<ReadError> for JournalError {
    fn from(error: ReadError) -> JournalError {
        match error {
            ReadError::Version {
                file,
                found,
                expected,
            } => JournalError::Version {
                file,
                found,
                expected,
            },
            ReadError::ByteOrder { file } => JournalError::ByteOrder { file },
            ReadError::Io {
                doing,
                path,
                source,
            } => JournalError::Io {
                doing,
                path,
                source,
            },
            other => JournalError::Io {
                doing: "read",
                path: PathBuf::from("the journal"),
                source: std::io::Error::other(other.to_string()),
            },
        }
    }
}

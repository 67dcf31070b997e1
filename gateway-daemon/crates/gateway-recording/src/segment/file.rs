//! A segment that is read: through the file and never through a mapping, so that a file that
//! shrinks or a disk that fails is an error and not a signal.
use crate::error::ReadError;
use crate::format::{
    FORMAT_VERSION, HEADER_BYTES, HEADER_USED, Header, HeaderFault, PREFIX_BYTES, RECORD_ALIGN,
    Word, checksum, record_bytes, u64_at,
};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How much is read at once.
const CHUNK: usize = 128 << 10;
/// A buffer that a long record made grow beyond this is let go again.
const BUFFER_KEPT_MAX: usize = 1 << 20;
/// How often a record that looks damaged is read again: on machines that reorder memory accesses,
/// a reader can see the word of a record before its body.
const LOOKS: usize = 4;
/// How many bytes of candidates are checksummed in a search behind damage. Somebody could fill a
/// statement with what looks like the beginnings of long records.
const SEARCH_BYTES_MAX: u64 = 1 << 30;

/// What is at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// A whole record.
    Record {
        sequence: u64,
        /// Of kind and payload.
        length: u32,
        /// Where the next one begins.
        next: u64,
    },
    /// Nothing was written there yet, or there is no room for a record.
    Unwritten,
    /// Something that is no record.
    Damaged,
}

/// A segment open for reading.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) header: Header,
    pub(crate) path: PathBuf,
    file: File,
    /// Bytes of the file from `start` on.
    buffer: Vec<u8>,
    start: u64,
}

impl SegmentFile {
    /// Opens a segment and judges its header; `None` when the file is not there.
    pub(crate) fn open(dir: &Path, number: u64) -> Result<Option<SegmentFile>, ReadError> {
        let path = super::path(dir, number);
        let failed = |doing, source| ReadError::Io {
            doing,
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", error)),
        };
        let mut bytes = [0; HEADER_USED];
        let count = read_at_most(&file, &mut bytes, 0).map_err(|error| failed("read", error))?;
        match Header::decode(bytes.get(..count).unwrap_or_default()) {
            Ok(header) if header.segment == number => Ok(Some(SegmentFile {
                header,
                path,
                file,
                buffer: Vec::new(),
                start: 0,
            })),
            Ok(_) | Err(HeaderFault::Damaged) => Err(ReadError::Header { file: path }),
            Err(HeaderFault::Version(found)) => Err(ReadError::Version {
                file: path,
                found,
                expected: FORMAT_VERSION,
            }),
            Err(HeaderFault::ByteOrder) => Err(ReadError::ByteOrder { file: path }),
        }
    }

    fn failed(&self, source: io::Error) -> ReadError {
        ReadError::Io {
            doing: "read",
            path: self.path.clone(),
            source,
        }
    }

    /// Brings what was written to it, by whomever, to the disk.
    pub(crate) fn sync(&self) -> Result<(), ReadError> {
        self.file.sync_data().map_err(|error| self.failed(error))
    }

    /// Bytes from `offset`: `count` of them, or fewer where the file ends.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let from = offset
            .checked_sub(self.start)
            .and_then(|from| usize::try_from(from).ok());
        let held = from.is_some_and(|from| from.saturating_add(count) <= self.buffer.len());
        if !held {
            self.fill(offset, count)?;
        }
        Ok(self.held(offset, count))
    }

    /// What the buffer has of a range.
    fn held(&self, offset: u64, count: usize) -> &[u8] {
        let from = at(offset.saturating_sub(self.start));
        let end = from.saturating_add(count).min(self.buffer.len());
        self.buffer.get(from..end).unwrap_or_default()
    }

    /// The word and the sequence number at `offset`.
    fn prefix(&mut self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let prefix = self.bytes(offset, at(PREFIX_BYTES))?;
        Ok(u64_at(prefix, 0).zip(u64_at(prefix, 8)))
    }

    fn fill(&mut self, offset: u64, count: usize) -> io::Result<()> {
        if self.buffer.capacity() > BUFFER_KEPT_MAX && count <= CHUNK {
            self.buffer = Vec::new();
        }
        self.start = offset;
        self.buffer.resize(count.max(CHUNK), 0);
        match read_at_most(&self.file, &mut self.buffer, offset) {
            Ok(read) => {
                self.buffer.truncate(read);
                Ok(())
            }
            Err(error) => {
                self.buffer.clear();
                Err(error)
            }
        }
    }

    fn forget(&mut self) {
        self.buffer.clear();
    }

    /// What is at `offset` now. A writer may be at work on the same file.
    pub(crate) fn at(&mut self, offset: u64) -> Result<At, ReadError> {
        let mut found = self.judge(offset).map_err(|error| self.failed(error))?;
        for _ in 0..LOOKS {
            if matches!(found, At::Record { .. }) {
                break;
            }
            // What was read earlier may have been written since.
            self.forget();
            let unwritten = found == At::Unwritten;
            found = self.judge(offset).map_err(|error| self.failed(error))?;
            if unwritten && found == At::Unwritten {
                break;
            }
            std::hint::spin_loop();
        }
        Ok(found)
    }

    fn judge(&mut self, offset: u64) -> io::Result<At> {
        let salt = self.header.salt;
        let Some((word, sequence)) = self.prefix(offset)? else {
            return Ok(At::Unwritten);
        };
        if word == 0 {
            return Ok(At::Unwritten);
        }
        let Word {
            length,
            checksum: expected,
        } = Word::unpack(word);
        let next = offset + record_bytes(u64::from(length));
        if length == 0 || next > self.header.bytes {
            return Ok(At::Damaged);
        }
        let body = self.bytes(offset + PREFIX_BYTES, length as usize)?;
        if body.len() < length as usize
            || checksum(crc32c::crc32c(body), sequence, length, salt) != expected
        {
            return Ok(At::Damaged);
        }
        Ok(At::Record {
            sequence,
            length,
            next,
        })
    }

    /// Kind and payload of the record that [`SegmentFile::at`] found at `offset`.
    pub(crate) fn body(&mut self, offset: u64, length: u32) -> Result<&[u8], ReadError> {
        let loaded = self.bytes(offset + PREFIX_BYTES, length as usize).map(drop);
        loaded.map_err(|error| self.failed(error))?;
        Ok(self.held(offset + PREFIX_BYTES, length as usize))
    }

    /// Looks for the next record behind `offset`, where there is none. Where the number of the
    /// last record is known, its number must be beyond that, and within what a segment can hold.
    pub(crate) fn search(
        &mut self,
        offset: u64,
        after: Option<u64>,
    ) -> Result<Option<u64>, ReadError> {
        self.forget();
        let held = self.header.bytes / (PREFIX_BYTES + RECORD_ALIGN) + 1;
        let numbers = match after {
            Some(after) => after.saturating_add(1)..=after.saturating_add(held),
            None => 1..=u64::MAX,
        };
        let mut budget = SEARCH_BYTES_MAX;
        let mut place = offset.next_multiple_of(RECORD_ALIGN).max(HEADER_BYTES);
        loop {
            place = match self.nonzero_from(place)? {
                Some(found) => found / RECORD_ALIGN * RECORD_ALIGN,
                None => return Ok(None),
            };
            let prefix = self.prefix(place).map_err(|error| self.failed(error))?;
            let Some((word, sequence)) = prefix else {
                return Ok(None);
            };
            let length = u64::from(Word::unpack(word).length);
            let plausible = place > offset
                && length > 0
                && numbers.contains(&sequence)
                && place + record_bytes(length) <= self.header.bytes;
            if plausible {
                let Some(left) = budget.checked_sub(length) else {
                    return Ok(None);
                };
                budget = left;
                let found = self.judge(place).map_err(|error| self.failed(error))?;
                if matches!(found, At::Record { .. }) {
                    return Ok(Some(place));
                }
            }
            place += RECORD_ALIGN;
        }
    }

    /// The first byte from `offset` on that is not zero.
    pub(crate) fn nonzero_from(&mut self, mut offset: u64) -> Result<Option<u64>, ReadError> {
        loop {
            let held = self.start + self.buffer.len() as u64;
            let count = match held.checked_sub(offset) {
                Some(rest) if rest > 0 && offset >= self.start => at(rest),
                _ => CHUNK,
            };
            let loaded = self.bytes(offset, count).map(drop);
            loaded.map_err(|error| self.failed(error))?;
            let bytes = self.held(offset, count);
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(index) = first_nonzero(bytes) {
                return Ok(Some(offset + index as u64));
            }
            offset += bytes.len() as u64;
        }
    }

    /// The end of the last byte from `offset` on that is not zero; `offset` when there is none.
    pub(crate) fn nonzero_end(&mut self, offset: u64) -> Result<u64, ReadError> {
        let mut end = offset;
        let mut place = offset;
        self.forget();
        while let Some(found) = self.nonzero_from(place)? {
            let bytes = self.held(found, usize::MAX);
            let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            end = found + last as u64 + 1;
            place = found + bytes.len() as u64;
        }
        Ok(end)
    }
}

/// Compares whole blocks first: most of what is searched is the zeros behind the last record.
fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    const BLOCK: [u8; 4096] = [0; 4096];
    let mut offset = 0;
    for block in bytes.chunks(BLOCK.len()) {
        if BLOCK.get(..block.len()) != Some(block) {
            return block
                .iter()
                .position(|byte| *byte != 0)
                .map(|index| offset + index);
        }
        offset += block.len();
    }
    None
}

fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

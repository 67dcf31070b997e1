//! A segment that is written: made with all of its blocks, mapped, filled, synced.
use super::map::Map;
use super::{UNFINISHED, path};
use crate::error::JournalError;
use crate::format::{HEADER_BYTES, Header, Word};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longer bodies go through the file: copying them into the mapping would fault in page after
/// page, and at that size one system call costs nothing.
const MAPPED_BODY_MAX: usize = 256 << 10;

/// A segment open for writing. Writers take ranges of it under the journal's lock.
#[derive(Debug)]
pub(crate) struct WritableSegment {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    /// Its length; the ranges end here.
    pub(crate) bytes: u64,
    path: PathBuf,
    file: File,
    map: Map,
}

impl WritableSegment {
    /// Makes a segment: all blocks allocated, its header on the disk, its name in the directory.
    pub(crate) fn create(dir: &Path, header: &Header) -> Result<WritableSegment, JournalError> {
        let unfinished = dir.join(UNFINISHED);
        let made = Self::create_unfinished(dir, &unfinished, header);
        if made.is_err() {
            // Space that a failed attempt took must not stay taken. When even that fails, the
            // next attempt truncates the same file.
            let _ = std::fs::remove_file(&unfinished);
        }
        made
    }

    fn create_unfinished(
        dir: &Path,
        unfinished: &Path,
        header: &Header,
    ) -> Result<WritableSegment, JournalError> {
        let failed = |doing, source| JournalError::Io {
            doing,
            path: unfinished.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(unfinished)
            .map_err(|error| full_or(error, dir, header.bytes, |error| failed("create", error)))?;
        allocate(&file, dir, unfinished, header.bytes)?;
        file.write_all_at(&header.encode(), 0)
            .map_err(|error| failed("write", error))?;
        file.sync_all().map_err(|error| failed("sync", error))?;
        let path = path(dir, header.segment);
        // Renaming would replace a segment that should not be there. The lock on the directory
        // keeps everybody else from making one between the two calls.
        match path.try_exists() {
            Ok(false) => std::fs::rename(unfinished, &path),
            Ok(true) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) => Err(error),
        }
        .map_err(|error| full_or(error, dir, header.bytes, |error| failed("name", error)))?;
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|source| JournalError::Io {
                doing: "sync",
                path: dir.to_owned(),
                source,
            })?;
        Self::map(path, file, header)
    }

    /// Opens a segment to go on in it. Blocks that a copy or a restore left out come back.
    pub(crate) fn open(dir: &Path, header: &Header) -> Result<WritableSegment, JournalError> {
        let path = path(dir, header.segment);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| JournalError::Io {
                doing: "open",
                path: path.clone(),
                source,
            })?;
        allocate(&file, dir, &path, header.bytes)?;
        Self::map(path, file, header)
    }

    fn map(path: PathBuf, file: File, header: &Header) -> Result<WritableSegment, JournalError> {
        let mapped = usize::try_from(header.bytes)
            .map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
            .and_then(|bytes| Map::new(&file, bytes));
        let map = mapped.map_err(|source| JournalError::Io {
            doing: "map",
            path: path.clone(),
            source,
        })?;
        Ok(WritableSegment {
            number: header.segment,
            salt: header.salt,
            bytes: header.bytes,
            path,
            file,
            map,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a record at `offset`, the word last. A record that fails leaves zeros behind or,
    /// when not even that works, says so by [`Spoilt`].
    pub(crate) fn write(
        &self,
        offset: u64,
        sequence: u64,
        word: Word,
        body: &[u8],
    ) -> Result<(), Spoilt> {
        let written = if body.len() <= MAPPED_BODY_MAX {
            self.map.copy(at(offset + 16), body)
        } else {
            self.file.write_all_at(body, offset + 16)
        };
        written
            .and_then(|()| self.map.copy(at(offset + 8), &sequence.to_ne_bytes()))
            .and_then(|()| self.map.publish(at(offset), word.pack()))
            .map_err(|error| {
                let cleared = self.clear(offset..(offset + 16 + body.len() as u64));
                Spoilt {
                    error,
                    cleared: cleared.is_ok(),
                }
            })
    }

    /// Overwrites a range with zeros.
    pub(crate) fn clear(&self, range: Range<u64>) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut offset = range.start;
        let end = range.end.min(self.bytes);
        while offset < end {
            let count = at(end - offset).min(ZEROS.len());
            self.file
                .write_all_at(ZEROS.get(..count).unwrap_or(&ZEROS), offset)?;
            offset += count as u64;
        }
        Ok(())
    }

    /// Writes a range to the disk and waits for it.
    pub(crate) fn sync(&self, range: Range<u64>) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.map.sync(at(range.start), at(range.end - range.start))
    }

    /// Readies a range for being written, cut at the end of the segment.
    ///
    /// Kernels before 5.14 do not know how; the writer then faults the pages in one by one.
    pub(crate) fn populate(&self, range: Range<u64>) -> io::Result<()> {
        let end = range.end.min(self.bytes);
        if range.start >= end {
            return Ok(());
        }
        match self.map.populate(at(range.start), at(end - range.start)) {
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => Ok(()),
            other => other,
        }
    }

    /// Gives back the memory of whole pages in a range that will not be written again.
    pub(crate) fn release(&self, range: Range<u64>) -> io::Result<()> {
        let start = range.start.next_multiple_of(HEADER_BYTES);
        let end = range.end / HEADER_BYTES * HEADER_BYTES;
        if start >= end {
            return Ok(());
        }
        self.map.release(at(start), at(end - start))
    }
}

/// A record could not be written.
#[derive(Debug)]
pub(crate) struct Spoilt {
    pub(crate) error: io::Error,
    /// The place is as it was before.
    pub(crate) cleared: bool,
}

/// Offsets fit: a segment that does not fit into the address space cannot be mapped.
fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn allocate(file: &File, dir: &Path, path: &Path, bytes: u64) -> Result<(), JournalError> {
    let length = i64::try_from(bytes).unwrap_or(i64::MAX);
    loop {
        let error = match fallocate(file, FallocateFlags::empty(), 0, length) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => continue,
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                return Err(JournalError::NoPreallocation {
                    dir: dir.to_owned(),
                });
            }
            Err(error) => io::Error::from(error),
        };
        return Err(full_or(error, dir, bytes, |source| JournalError::Io {
            doing: "allocate",
            path: path.to_owned(),
            source,
        }));
    }
}

fn full_or(
    error: io::Error,
    dir: &Path,
    bytes: u64,
    otherwise: impl FnOnce(io::Error) -> JournalError,
) -> JournalError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => JournalError::Full {
            dir: dir.to_owned(),
            bytes,
        },
        _ => otherwise(error),
    }
}

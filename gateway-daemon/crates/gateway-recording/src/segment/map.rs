//! The mapped bytes of a segment, and the only unsafe code of this crate.
//!
//! A system call per record costs more than the record itself, so records are copied into a
//! shared mapping of the file. The mapping is never read here and never handed out as a slice:
//! other processes may read the file, and readers in this process go through the file as well.
#![allow(unsafe_code)]
use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// A writable shared mapping of a whole segment.
#[derive(Debug)]
pub(super) struct Map {
    raw: MmapRaw,
}

impl Map {
    /// Maps the first `bytes` of a file that is at least as long and has all its blocks.
    pub(super) fn new(file: &File, bytes: usize) -> io::Result<Map> {
        Ok(Map {
            raw: MmapOptions::new().len(bytes).map_raw(file)?,
        })
    }

    /// Copies bytes to their place.
    pub(super) fn copy(&self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        self.check(offset, bytes.len())?;
        // SAFETY: the range lies within the mapping (checked above), which lives as long as
        // `self`. `bytes` is a Rust slice and the mapping is never lent out as one, so they do
        // not overlap. Two writers never touch the same range: the journal hands out each range
        // once, under its lock. The file is not truncated while it is mapped, since the journal
        // directory is locked by this process and only it changes segments.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.raw.as_mut_ptr().add(offset),
                bytes.len(),
            );
        }
        Ok(())
    }

    /// Stores the eight bytes at `offset`, a multiple of eight, at once, and after everything
    /// that was copied before.
    pub(super) fn publish(&self, offset: usize, word: u64) -> io::Result<()> {
        self.check(offset, 8)?;
        if !offset.is_multiple_of(8) {
            return Err(outside());
        }
        // SAFETY: within the mapping and aligned (checked above; a mapping begins on a page), and
        // all accesses of this process to these eight bytes are this one atomic store.
        let place = unsafe { AtomicU64::from_ptr(self.raw.as_mut_ptr().add(offset).cast()) };
        place.store(word, Ordering::Release);
        Ok(())
    }

    /// Writes a range to the disk and waits for it.
    pub(super) fn sync(&self, offset: usize, bytes: usize) -> io::Result<()> {
        self.check(offset, bytes)?;
        self.raw.flush_range(offset, bytes)
    }

    /// Makes the pages of a range present and writable, so that the writer does not fault.
    pub(super) fn populate(&self, offset: usize, bytes: usize) -> io::Result<()> {
        self.check(offset, bytes)?;
        self.raw.advise_range(Advice::PopulateWrite, offset, bytes)
    }

    /// Takes the pages of a range out of this process; they stay in the page cache.
    pub(super) fn release(&self, offset: usize, bytes: usize) -> io::Result<()> {
        self.check(offset, bytes)?;
        // SAFETY: on a shared file mapping MADV_DONTNEED drops page table entries only; what was
        // written is in the page cache, and a later access finds it there again.
        unsafe {
            self.raw
                .unchecked_advise_range(UncheckedAdvice::DontNeed, offset, bytes)
        }
    }

    fn check(&self, offset: usize, bytes: usize) -> io::Result<()> {
        match offset.checked_add(bytes) {
            Some(end) if end <= self.raw.len() => Ok(()),
            _ => Err(outside()),
        }
    }
}

fn outside() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "outside of the journal segment",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_outside_of_the_mapping() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        let map = Map::new(&file, 8192).unwrap();
        assert!(map.copy(8190, b"abc").is_err());
        assert!(map.copy(usize::MAX, b"abc").is_err());
        assert!(map.publish(8188, 1).is_err());
        assert!(map.publish(8191, 1).is_err());
        assert!(map.publish(4, 1).is_err(), "not aligned");
        assert!(map.populate(4096, 8192).is_err());
        assert!(map.release(0, 8193).is_err());
        assert!(map.copy(8189, b"abc").is_ok());
        assert!(map.publish(8184, u64::MAX).is_ok());
    }
}

//! Segments: the files that a journal consists of.
mod file;
mod map;
mod writable;

pub(crate) use file::{At, SegmentFile};
pub(crate) use writable::{Spoilt, WritableSegment};

use std::io;
use std::path::{Path, PathBuf};

/// Segments that are not finished being made; they are removed when the journal is opened.
pub(crate) const UNFINISHED: &str = "journal.new";
const SUFFIX: &str = ".journal";
const DIGITS: usize = 8;

/// Where the segment of a number is.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:0DIGITS$}{SUFFIX}"))
}

/// The number of a segment from its name; `None` for every other file.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() < DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    // The one way to write it, or two files would share a number.
    (number > 0 && format!("{number:0DIGITS$}") == digits).then_some(number)
}

/// The numbers of all segments of a journal, in order.
pub(crate) fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        numbers.extend(entry?.file_name().to_str().and_then(number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_have_numbers() {
        for (name, expected) in [
            ("00000001.journal", Some(1)),
            ("99999999.journal", Some(99_999_999)),
            ("100000000.journal", Some(100_000_000)),
            ("00000000.journal", None),
            ("000000001.journal", None),
            ("1.journal", None),
            ("+0000001.journal", None),
            ("00000001.journal.new", None),
            ("00000001.jour", None),
            ("lock", None),
            ("99999999999999999999999.journal", None),
        ] {
            assert_eq!(number(name), expected, "{name}");
        }
        assert_eq!(path(Path::new("/j"), 12), Path::new("/j/00000012.journal"));
    }
}

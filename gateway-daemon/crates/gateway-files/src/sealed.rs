//! Files that show whether they are what was written: a magic number of eight bytes, the CRC-32C of
//! the contents (RFC 3720, little-endian), the contents. Against accidents; root can write what it
//! likes.
use super::{Lasting, PRIVATE, replace};
use std::io;
use std::path::Path;

/// Says what kind of file it is.
pub type Magic = [u8; 8];

/// Writes such a file, for the daemon alone.
///
/// # Errors
/// As of [`replace`].
pub fn write(path: &Path, magic: &Magic, lasting: Lasting, contents: &[u8]) -> io::Result<()> {
    let checksum = crc32c::crc32c(contents).to_le_bytes();
    replace(path, PRIVATE, lasting, &[magic, &checksum, contents]).map(drop)
}

/// The contents of such a file, when the magic number and the checksum are right.
#[must_use]
pub fn contents<'a>(bytes: &'a [u8], magic: &Magic) -> Option<&'a [u8]> {
    let (checksum, contents) = bytes.strip_prefix(magic)?.split_first_chunk::<4>()?;
    (crc32c::crc32c(contents) == u32::from_le_bytes(*checksum)).then_some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: &Magic = b"GWTESTED";

    #[test]
    fn what_is_changed_or_cut_is_not_sound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.bin");
        write(&path, MAGIC, Lasting::Process, b"contents").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(contents(&bytes, MAGIC), Some(b"contents".as_slice()));
        assert_eq!(contents(&bytes, b"GWOTHERS"), None);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(contents(&changed, MAGIC), None, "byte {at}");
            assert_eq!(contents(&bytes[..at], MAGIC), None, "cut at {at}");
        }
    }

    #[test]
    fn the_form_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.bin");
        // The check value of CRC-32C.
        write(&path, MAGIC, Lasting::Process, b"123456789").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes, b"GWTESTED\x83\x92\x06\xe3123456789");
    }
}

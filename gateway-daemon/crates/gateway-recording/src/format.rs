//! The bytes of a segment: its header, and what makes a record a record.
//!
//! A segment is one page of header and then records, each at a multiple of eight bytes:
//!
//! ```text
//! 0   length   u32   bytes of kind and payload; never zero, so eight zero bytes are the end
//! 4   checksum u32   CRC-32C of kind, payload, sequence, length, salt of the segment
//! 8   sequence u64   of the record, one more than that of the record before
//! 16  kind     u8
//! 17  payload        postcard
//! ```
//!
//! The first eight bytes are stored last and at once, so a record is either whole or not there.
//! Numbers are in the byte order of the machine; the header says which that is. The salt is not
//! known to those whose statements are recorded, so none of them can write a record inside of a
//! statement that would be taken for a real one when the journal is searched behind damage.
use gateway_core::Timestamp;

/// The version of the layout and of the payloads. Any change of either is another version.
///
/// 1: the first. 2: resolutions of holds and acts of people are records, and the end of a session
/// counts what was held. 3: outcomes and the ends of sessions count what was masked and disclosed,
/// and parts of answers are records. 4: a destination has all the names that lead there; one name is
/// written as it was before.
/// Each segment says its own: segments of an older version are read, and never written to again.
pub const FORMAT_VERSION: u32 = 4;
/// The oldest version that can be read.
const FORMAT_VERSION_MIN: u32 = 1;
/// The header takes a page, so that records begin on one.
pub(crate) const HEADER_BYTES: u64 = 4096;
/// What precedes the kind of a record.
pub(crate) const PREFIX_BYTES: u64 = 16;
/// Records begin at multiples of this.
pub(crate) const RECORD_ALIGN: u64 = 8;
/// The part of the header that is in use.
pub(crate) const HEADER_USED: usize = 72;

const MAGIC: [u8; 8] = *b"gwjrnl\r\n";
const BYTE_ORDER: u32 = 0x0102_0304;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Of its layout and its payloads: [`FORMAT_VERSION`], or an older one.
    pub(crate) version: u32,
    /// Its number, also in its name.
    pub(crate) segment: u64,
    /// Its length as it was made.
    pub(crate) bytes: u64,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// The boot in which it was made.
    pub(crate) boot: [u8; 16],
    /// Goes into the checksum of each record.
    pub(crate) salt: u64,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    /// Not a segment at all, or damaged.
    Damaged,
    /// Another version.
    Version(u32),
    /// A machine with the other byte order.
    ByteOrder,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_USED);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&BYTE_ORDER.to_ne_bytes());
        bytes.extend_from_slice(&self.version.to_ne_bytes());
        bytes.extend_from_slice(&self.segment.to_ne_bytes());
        bytes.extend_from_slice(&self.bytes.to_ne_bytes());
        bytes.extend_from_slice(&self.created.0.to_ne_bytes());
        bytes.extend_from_slice(&self.boot);
        bytes.extend_from_slice(&self.salt.to_ne_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes
    }

    /// Magic, byte order and version are judged before the checksum: another version may have
    /// another header, and is still to be named.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Header, HeaderFault> {
        if bytes.get(..8) != Some(&MAGIC) {
            return Err(HeaderFault::Damaged);
        }
        match u32_at(bytes, 8).ok_or(HeaderFault::Damaged)? {
            BYTE_ORDER => {}
            order if order == BYTE_ORDER.swap_bytes() => return Err(HeaderFault::ByteOrder),
            _ => return Err(HeaderFault::Damaged),
        }
        let version = u32_at(bytes, 12).ok_or(HeaderFault::Damaged)?;
        if !(FORMAT_VERSION_MIN..=FORMAT_VERSION).contains(&version) {
            return Err(HeaderFault::Version(version));
        }
        let parts = || {
            let covered = bytes.get(..64)?;
            if u32_at(bytes, 64)? != crc32c::crc32c(covered) {
                return None;
            }
            Some(Header {
                version,
                segment: u64_at(bytes, 16)?,
                bytes: u64_at(bytes, 24)?,
                created: Timestamp(u64_at(bytes, 32)?),
                boot: bytes.get(40..56)?.try_into().ok()?,
                salt: u64_at(bytes, 56)?,
            })
        };
        parts().ok_or(HeaderFault::Damaged)
    }
}

/// The first eight bytes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) length: u32,
    pub(crate) checksum: u32,
}

impl Word {
    /// As one store: in memory the length comes first on either kind of machine.
    pub(crate) fn pack(self) -> u64 {
        let [a, b, c, d] = self.length.to_ne_bytes();
        let [e, f, g, h] = self.checksum.to_ne_bytes();
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    pub(crate) fn unpack(word: u64) -> Word {
        let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
        Word {
            length: u32::from_ne_bytes([a, b, c, d]),
            checksum: u32::from_ne_bytes([e, f, g, h]),
        }
    }
}

/// Finishes the checksum of a record. `body` is the CRC-32C of its kind and payload, which can be
/// had before the sequence number is known.
pub(crate) fn checksum(body: u32, sequence: u64, length: u32, salt: u64) -> u32 {
    let mut rest = [0u8; 20];
    let (first, others) = rest.split_at_mut(8);
    first.copy_from_slice(&sequence.to_ne_bytes());
    let (second, third) = others.split_at_mut(4);
    second.copy_from_slice(&length.to_ne_bytes());
    third.copy_from_slice(&salt.to_ne_bytes());
    crc32c::crc32c_append(body, &rest)
}

/// What a record of `length` bytes of kind and payload takes in a segment.
pub(crate) const fn record_bytes(length: u64) -> u64 {
    (PREFIX_BYTES + length).next_multiple_of(RECORD_ALIGN)
}

/// The salt of a segment, from the seed that the daemon was given (splitmix64's finaliser).
pub(crate) const fn salt(seed: u64, segment: u64) -> u64 {
    let mut mixed = seed ^ segment.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Reads a number where there are bytes for one.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let end = offset.checked_add(8)?;
    Some(u64::from_ne_bytes(bytes.get(offset..end)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let end = offset.checked_add(4)?;
    Some(u32::from_ne_bytes(bytes.get(offset..end)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            version: FORMAT_VERSION,
            segment: 7,
            bytes: 1 << 20,
            created: Timestamp(123),
            boot: [9; 16],
            salt: salt(42, 7),
        }
    }

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_noticed() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), HEADER_USED);
        assert_eq!(Header::decode(&bytes), Ok(header()));
        for bit in 0..68 * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&flipped).is_err(), "bit {bit}");
        }
        for cut in 0..68 {
            assert_eq!(
                Header::decode(&bytes[..cut]),
                Err(HeaderFault::Damaged),
                "{cut} bytes"
            );
        }
    }

    #[test]
    fn older_versions_are_read_and_say_so() {
        for version in FORMAT_VERSION_MIN..=FORMAT_VERSION {
            let header = Header {
                version,
                ..header()
            };
            assert_eq!(Header::decode(&header.encode()), Ok(header));
        }
    }

    #[test]
    fn another_version_and_another_byte_order_are_named() {
        let mut bytes = header().encode();
        for other in [0, FORMAT_VERSION + 1, u32::MAX] {
            bytes[12..16].copy_from_slice(&other.to_ne_bytes());
            assert_eq!(Header::decode(&bytes), Err(HeaderFault::Version(other)));
        }
        bytes[8..12].copy_from_slice(&BYTE_ORDER.swap_bytes().to_ne_bytes());
        assert_eq!(Header::decode(&bytes), Err(HeaderFault::ByteOrder));
    }

    #[test]
    fn the_length_comes_first_in_memory() {
        let word = Word {
            length: 0x11,
            checksum: 0x22,
        };
        assert_eq!(word.pack().to_ne_bytes()[..4], 0x11u32.to_ne_bytes());
        assert_eq!(Word::unpack(word.pack()), word);
    }

    #[test]
    fn sequence_length_and_salt_are_all_in_the_checksum() {
        let sum = checksum(1, 2, 3, 4);
        for other in [
            checksum(0, 2, 3, 4),
            checksum(1, 0, 3, 4),
            checksum(1, 2, 0, 4),
            checksum(1, 2, 3, 0),
        ] {
            assert_ne!(sum, other);
        }
    }
}

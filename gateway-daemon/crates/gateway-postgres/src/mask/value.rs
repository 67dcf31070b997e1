//! What a value becomes: it stays valid for its type and its format.
use crate::codec::types;
use gateway_core::Masker;
use gateway_core::mask::Treatment;

/// What a masked value of a type can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Any text, of at most so many characters.
    Text {
        longest: Option<u32>,
    },
    /// Any text that is well-formed.
    Xml,
    Json,
    Jsonb,
    Bytes,
    /// A whole number of so many bytes.
    Integer(u8),
    Uuid,
    /// What is zero in binary, in so many bytes, and this as text.
    Constant(u8, &'static str),
    /// Nothing but NULL.
    Other,
}

impl Shape {
    /// Of a type, with its modifier as RowDescription gives it.
    pub(crate) fn of(type_oid: u32, modifier: i32) -> Shape {
        match type_oid {
            types::XML => Shape::Xml,
            types::JSON => Shape::Json,
            types::JSONB => Shape::Jsonb,
            types::BYTEA => Shape::Bytes,
            types::INT2 => Shape::Integer(2),
            types::INT4 => Shape::Integer(4),
            types::INT8 => Shape::Integer(8),
            types::UUID => Shape::Uuid,
            types::BOOL => Shape::Constant(1, "f"),
            types::OID | types::FLOAT4 => Shape::Constant(4, "0"),
            types::FLOAT8 | types::NUMERIC => Shape::Constant(8, "0"),
            types::DATE => Shape::Constant(4, "2000-01-01"),
            types::TIME => Shape::Constant(8, "00:00:00"),
            types::TIMESTAMP => Shape::Constant(8, "2000-01-01 00:00:00"),
            types::TIMESTAMPTZ => Shape::Constant(8, "2000-01-01 00:00:00+00"),
            types::CHAR => Shape::Text { longest: Some(1) },
            types::VARCHAR | types::BPCHAR => Shape::Text {
                // The modifier counts a header of four bytes.
                longest: modifier.checked_sub(4).and_then(|n| u32::try_from(n).ok()),
            },
            oid if types::TEXTS.contains(&oid) => Shape::Text { longest: None },
            _ => Shape::Other,
        }
    }

    /// Cuts what was written from `start` on to what the type takes.
    pub(crate) fn fit(self, out: &mut Vec<u8>, start: usize) {
        if let Shape::Text {
            longest: Some(longest),
        } = self
        {
            cut(out, start, longest as usize);
        }
    }
}

/// A column as far as its values are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) shape: Shape,
    pub(crate) binary: bool,
    /// NULL would not be taken back.
    pub(crate) not_null: bool,
}

/// Writes what a value becomes. False: it becomes NULL, and `out` is as it was.
pub(crate) fn cover(
    kind: Kind,
    with: Treatment,
    value: &[u8],
    masker: &dyn Masker,
    out: &mut Vec<u8>,
) -> bool {
    if with == Treatment::Null {
        return false;
    }
    match kind.shape {
        Shape::Text { .. } => {
            let start = out.len();
            let written = masker.cover(with, value, out);
            kind.shape.fit(out, start);
            written
        }
        Shape::Xml => masker.cover(without_parts(with), value, out),
        Shape::Json | Shape::Jsonb => {
            let mut value = value;
            if kind.binary && kind.shape == Shape::Jsonb {
                out.push(1);
                // The version, which is not there in text.
                value = value.strip_prefix(&[1]).unwrap_or(value);
            }
            out.push(b'"');
            masker.cover(without_parts(with), value, out);
            out.push(b'"');
            true
        }
        Shape::Integer(size) if with == Treatment::Hash => {
            integer(size, kind.binary, value, masker, out)
        }
        Shape::Uuid if with == Treatment::Hash => {
            uuid(
                masker.digest(&uuid_text(kind.binary, value)),
                kind.binary,
                out,
            );
            true
        }
        Shape::Bytes if kind.not_null => {
            if !kind.binary {
                out.extend_from_slice(b"\\x");
            }
            true
        }
        Shape::Integer(size) if kind.not_null => constant(size, "0", kind.binary, out),
        Shape::Uuid if kind.not_null => {
            uuid([0; 32], kind.binary, out);
            true
        }
        Shape::Constant(size, text) if kind.not_null => constant(size, text, kind.binary, out),
        Shape::Integer(_) | Shape::Uuid | Shape::Bytes | Shape::Constant(..) | Shape::Other => {
            false
        }
    }
}

/// Only these two are sure to need no escapes, and to close what they open.
const fn without_parts(with: Treatment) -> Treatment {
    match with {
        Treatment::Hash => Treatment::Hash,
        _ => Treatment::Redact,
    }
}

/// Cuts what was written to so many characters.
fn cut(out: &mut Vec<u8>, start: usize, longest: usize) {
    let written = out.get(start..).unwrap_or_default();
    // The bytes that are not the rest of a character.
    let mut starts = written
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte & 0xc0 != 0x80)
        .skip(longest);
    if let Some((end, _)) = starts.next() {
        out.truncate(start + end);
    }
}

fn constant(size: u8, text: &str, binary: bool, out: &mut Vec<u8>) -> bool {
    if binary {
        out.resize(out.len() + usize::from(size), 0);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    true
}

/// The number as text, so that it becomes the same in both formats.
pub(crate) fn integer_text(binary: bool, value: &[u8]) -> Vec<u8> {
    if !binary {
        return value.to_vec();
    }
    let number = match *value {
        [a, b] => i64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    };
    number.to_string().into_bytes()
}

fn integer(size: u8, binary: bool, value: &[u8], masker: &dyn Masker, out: &mut Vec<u8>) -> bool {
    let digest = masker.digest(&integer_text(binary, value));
    let mut bytes = digest.first_chunk::<8>().copied().unwrap_or_default();
    // Not negative, and within the type.
    let number = i64::from_be_bytes(bytes) & (i64::MAX >> (64 - 8 * u32::from(size)));
    bytes = number.to_be_bytes();
    if binary {
        out.extend_from_slice(bytes.get(8 - usize::from(size)..).unwrap_or_default());
    } else {
        out.extend_from_slice(number.to_string().as_bytes());
    }
    true
}

fn uuid_text(binary: bool, value: &[u8]) -> Vec<u8> {
    if !binary {
        return value.to_ascii_lowercase();
    }
    let mut text = Vec::with_capacity(36);
    hyphenated(value, &mut text);
    text
}

fn hyphenated(bytes: &[u8], text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push(b'-');
        }
        for half in [byte >> 4, byte & 15] {
            text.extend(DIGITS.get(usize::from(half)));
        }
    }
}

fn uuid(digest: [u8; 32], binary: bool, out: &mut Vec<u8>) {
    let bytes = digest.first_chunk::<16>().copied().unwrap_or_default();
    if binary {
        out.extend_from_slice(&bytes);
    } else {
        hyphenated(&bytes, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_testkit::PlainMasker;

    #[test]
    fn markup_is_not_shown_in_part() {
        let covered = |with| {
            let kind = Kind {
                shape: Shape::of(types::XML, -1),
                binary: false,
                not_null: true,
            };
            let mut out = Vec::new();
            cover(kind, with, b"<m>secret</m>", &PlainMasker, &mut out);
            out
        };
        assert_eq!(covered(Treatment::Partial), covered(Treatment::Redact));
    }
}

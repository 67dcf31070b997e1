//! Texts in which something else stands for a character: escapes of JSON (`\u0040`), of XML (`&#64;`), of
//! URLs (`%40`), of COPY and of strings (`\n`, `\100`, `\x40`), bytes in hexadecimal (`\x616c69…`, as
//! `bytea` is written), and spaces, hyphens and digits that only look a little different.
use std::ops::Range;

/// A text as it is meant.
pub(crate) struct Plain {
    pub(crate) text: Vec<u8>,
    pieces: Vec<Piece>,
    /// Bytes of the text as it was written.
    written: usize,
    /// Hexadecimal digits in it could also be one character and then others.
    has_bytes: bool,
}

/// What `\x` is before many hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Digits {
    Bytes,
    /// The first two are a character (`E'\x0a4111…'`).
    One,
}

/// A part of the text in which each byte stood for so many.
struct Piece {
    at: usize,
    written_at: usize,
    bytes: usize,
}

/// So many hexadecimal digits behind `\x` are bytes that go on; fewer are one character.
const BYTES_MIN: usize = 8;
/// The longest reference to a character that is looked at: `&#x10ffff;`.
const REFERENCE_MAX: usize = 10;

/// Each way to read it. None: it says what it means.
pub(crate) fn plain(text: &[u8]) -> impl Iterator<Item = Plain> {
    let bytes = read(text, Digits::Bytes);
    let is_unsure = bytes.as_ref().is_some_and(|plain| plain.has_bytes);
    let one = is_unsure.then(|| read(text, Digits::One)).flatten();
    bytes.into_iter().chain(one)
}

fn read(text: &[u8], digits: Digits) -> Option<Plain> {
    let mut next = position(text, 0)?;
    let mut plain = Plain {
        text: Vec::with_capacity(text.len()),
        pieces: Vec::new(),
        written: text.len(),
        has_bytes: false,
    };
    let (mut at, mut changed) = (0, false);
    loop {
        let before = text.get(at..next).unwrap_or_default();
        plain.push(at, 1, before);
        at = next;
        let rest = text.get(at..).unwrap_or_default();
        match meant(rest, digits) {
            Some(Meant::Byte(byte, size)) => {
                plain.push(at, size, &[byte]);
                at += size;
                changed = true;
            }
            Some(Meant::Hexadecimal(start, size)) => {
                let digits = rest.get(start..start + size).unwrap_or_default();
                plain.push(at, start, b" ");
                plain.push(at + start, 2, &pairs(digits));
                plain.has_bytes = true;
                at += start + size;
                changed = true;
            }
            None => {
                // No escape; a run of backslashes is passed as a whole.
                let size = backslashes(rest).max(1);
                plain.push(at, 1, rest.get(..size).unwrap_or(rest));
                at += size;
            }
        }
        match position(text, at) {
            Some(found) => next = found,
            None => break,
        }
    }
    plain.push(at, 1, text.get(at..).unwrap_or_default());
    changed.then_some(plain)
}

impl Plain {
    fn push(&mut self, written_at: usize, bytes: usize, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        let at = self.text.len();
        let goes_on = self.pieces.last().is_some_and(|last| {
            last.bytes == bytes && last.written_at + (at - last.at) * bytes == written_at
        });
        if !goes_on {
            self.pieces.push(Piece {
                at,
                written_at,
                bytes,
            });
        }
        self.text.extend_from_slice(part);
    }

    /// Where a part of the text was written.
    pub(crate) fn written(&self, range: &Range<usize>) -> Range<usize> {
        self.place(range.start)..self.place(range.end)
    }

    fn place(&self, at: usize) -> usize {
        if at >= self.text.len() {
            return self.written;
        }
        let behind = self.pieces.partition_point(|piece| piece.at <= at);
        let piece = behind
            .checked_sub(1)
            .and_then(|index| self.pieces.get(index));
        piece.map_or(at, |piece| piece.written_at + (at - piece.at) * piece.bytes)
    }
}

/// Where something stands that could stand for something else.
fn position(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let escape = memchr::memchr3(b'\\', b'%', b'&', rest);
    let before = rest.get(..escape.unwrap_or(rest.len()))?;
    // The first bytes of the signs in `look_alike`.
    let sign = memchr::memchr3(0xc2, 0xe2, 0xef, before);
    sign.or(escape).map(|at| from + at)
}

/// What stands for something else.
enum Meant {
    /// So many bytes for this one.
    Byte(u8, usize),
    /// From there on, so many digits.
    Hexadecimal(usize, usize),
}

fn meant(rest: &[u8], digits: Digits) -> Option<Meant> {
    match rest.first()? {
        b'\\' => backslash(rest, digits),
        b'%' => Some(Meant::Byte(hexadecimal(rest.get(1..3)?)?, 3)),
        b'&' => reference(rest),
        _ => look_alike(rest),
    }
}

fn backslashes(rest: &[u8]) -> usize {
    rest.iter().take_while(|byte| **byte == b'\\').count()
}

/// However many of them: what is escaped twice has more.
fn backslash(rest: &[u8], reading: Digits) -> Option<Meant> {
    let head = backslashes(rest);
    let rest = rest.get(head..)?;
    let one = |byte, size| Some(Meant::Byte(byte, head + size));
    match rest {
        [b'u', digits @ ..] => {
            let digits = digits.first_chunk::<4>()?;
            let number = u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            one(ascii(number), 5)
        }
        [b'x', digits @ ..] => {
            let size = digits
                .iter()
                .take_while(|byte| byte.is_ascii_hexdigit())
                .count();
            match size {
                0 => None,
                1 => one(hexadecimal(digits.get(..1)?)?, 2),
                BYTES_MIN.. if reading == Digits::Bytes => {
                    Some(Meant::Hexadecimal(head + 1, size / 2 * 2))
                }
                _ => one(hexadecimal(digits.get(..2)?)?, 3),
            }
        }
        [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
            one((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), 3)
        }
        [b'n' | b'r' | b't' | b'b' | b'f' | b'v', ..] => one(b'\n', 1),
        [sign @ (b'"' | b'\'' | b'/'), ..] => one(*sign, 1),
        _ => None,
    }
}

/// `&#64;`, `&#x40;`, `&lt;`.
fn reference(rest: &[u8]) -> Option<Meant> {
    let head = rest.get(1..rest.len().min(REFERENCE_MAX + 1))?;
    let size = memchr::memchr(b';', head)?;
    let name = std::str::from_utf8(head.get(..size)?).ok()?;
    let number = match name.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => digits.parse().ok()?,
        },
        None => u32::from(match name {
            "lt" => b'<',
            "gt" => b'>',
            "amp" => b'&',
            "quot" => b'"',
            "apos" => b'\'',
            "nbsp" => b' ',
            _ => return None,
        }),
    };
    Some(Meant::Byte(ascii(number), size + 2))
}

/// Of other characters only the signs matter that look like one of ASCII. Any other is no part of what
/// is looked for, unless it is a letter of an address, for which `_` stands.
fn ascii(number: u32) -> u8 {
    let sign = char::from_u32(number).map_or('_', |sign| plain_sign(sign).unwrap_or(sign));
    match u8::try_from(u32::from(sign)) {
        Ok(byte) if byte.is_ascii() => byte,
        _ => b'_',
    }
}

/// In UTF-8.
fn look_alike(rest: &[u8]) -> Option<Meant> {
    let size = if *rest.first()? == 0xc2 { 2 } else { 3 };
    let sign = std::str::from_utf8(rest.get(..size)?)
        .ok()?
        .chars()
        .next()?;
    let byte = u8::try_from(u32::from(plain_sign(sign)?)).ok()?;
    Some(Meant::Byte(byte, size))
}

/// The sign of ASCII that a space, a hyphen, or a digit or sign of full width looks like.
fn plain_sign(sign: char) -> Option<char> {
    Some(match sign {
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' => ' ',
        '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(sign) - 0xfee0)?,
        _ => return None,
    })
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(
        std::str::from_utf8(digits)
            .ok()
            .filter(|text| !text.starts_with('+'))?,
        16,
    )
    .ok()
}

fn pairs(digits: &[u8]) -> Vec<u8> {
    digits.chunks_exact(2).filter_map(hexadecimal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_stands_for_a_character_is_read() {
        for (written, expected) in [
            (r"alice\u0040example.com", "alice@example.com"),
            (r"alice\\u0040example.com", "alice@example.com"),
            ("alice&#64;example.com", "alice@example.com"),
            ("alice&#x40;example.com", "alice@example.com"),
            ("&quot;a&amp;b&quot;", "\"a&b\""),
            ("ssn=%20078-05-1120%22", "ssn= 078-05-1120\""),
            (r"name\012078-05-1120", "name\n078-05-1120"),
            (r"a\tb\/c", "a\nb/c"),
            (r"E'alice\x40example.com'", "E'alice@example.com'"),
            (r#"{"\\x616c69636540"}"#, "{\" alice@\"}"),
            (r"\x616c696365405", " alice@5"),
            ("4111\u{a0}1111\u{2011}1111", "4111 1111-1111"),
            ("\u{ff14}\u{ff11}", "41"),
            (r"\u00e9a", "_a"),
        ] {
            let plain = plain(written.as_bytes()).next().unwrap();
            assert_eq!(
                String::from_utf8(plain.text).unwrap(),
                expected,
                "{written}"
            );
        }
    }

    #[test]
    fn many_digits_are_bytes_or_follow_a_character() {
        let ways = plain(br"\x104111111111111111").map(|plain| plain.text);
        let ways: Vec<Vec<u8>> = ways.collect();
        assert_eq!(ways.len(), 2);
        assert_eq!(ways[1], b"\x104111111111111111");
    }

    #[test]
    fn what_is_none_stays() {
        for text in [
            "",
            "abc",
            "100 % of",
            "%zz",
            "a & b",
            "&nobody;",
            "&#xzz;",
            "\\",
            "\\q",
            "\\u12",
            "C:\\Users",
            "\u{e9}\u{20ac}",
            "\\x",
            "%+1",
        ] {
            assert!(plain(text.as_bytes()).next().is_none(), "{text}");
        }
    }

    #[test]
    fn places_are_those_of_what_was_written() {
        let text = r"%41\x616263646566 &#64;x";
        let plain = plain(text.as_bytes()).next().unwrap();
        assert_eq!(plain.text, b"A abcdef @x");
        let written = |range| text.get(plain.written(&range)).unwrap();
        assert_eq!(written(0..1), "%41");
        assert_eq!(written(2..4), "6162");
        assert_eq!(written(7..8), "66");
        assert_eq!(written(9..10), "&#64;");
        assert_eq!(written(9..11), "&#64;x");
        assert_eq!(written(0..11), text);
    }

    proptest! {
        /// Whatever is written, places grow, and stay inside.
        #[test]
        fn places_are_in_order(text in r"[\\xu0-9a-f%&#;\u{a0}nA ]{0,60}") {
            for plain in plain(text.as_bytes()) {
                let places: Vec<usize> =
                    (0..=plain.text.len()).map(|at| plain.place(at)).collect();
                prop_assert!(places.is_sorted());
                prop_assert_eq!(places.last(), Some(&text.len()));
                prop_assert!(places.iter().all(|at| *at <= text.len()));
            }
        }
    }
}

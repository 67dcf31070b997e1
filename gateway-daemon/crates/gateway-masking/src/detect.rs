//! The detectors: one function for each kind, and what they share.
mod api_key;
mod credit_card;
mod email;
mod iban;
mod jwt;
mod private_key;
mod us_ssn;

use gateway_core::mask::Detector;
use std::ops::Range;

/// Finds the next one from a place on, and moves the place to where the search goes on, which is
/// behind the beginning of what was found. Two that were found can overlap; the later one begins
/// later. All calls for a text together take a time that is linear in its length.
pub(crate) type Next = fn(&[u8], &mut usize) -> Option<Range<usize>>;

pub(crate) fn next_of(detector: Detector) -> Next {
    match detector {
        Detector::Email => email::next,
        Detector::UsSsn => us_ssn::next,
        Detector::CreditCard => credit_card::next,
        Detector::Iban => iban::next,
        Detector::ApiKey => api_key::next,
        Detector::Jwt => jwt::next,
        Detector::PrivateKey => private_key::next,
    }
}

/// Bytes that are looked at together; the compiler makes vector instructions of it.
const BLOCK: usize = 32;
/// Bytes that are looked at one by one before that.
const NEAR: usize = 8;

/// Where the next digit is.
fn digit(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    // Where there are digits, there are more of them near.
    let near = rest.iter().take(NEAR).position(u8::is_ascii_digit);
    if let Some(at) = near {
        return Some(from + at);
    }
    let (blocks, _) = rest.as_chunks::<BLOCK>();
    // Without a way out in the middle, which would keep it from being vector instructions.
    let has_one = |block: &[u8; BLOCK]| {
        block
            .iter()
            .fold(false, |any, byte| any | byte.is_ascii_digit())
    };
    let skipped = BLOCK * blocks.iter().take_while(|block| !has_one(block)).count();
    let mut rest = rest.get(skipped..)?.iter();
    let at = rest.position(u8::is_ascii_digit)?;
    Some(from + skipped + at)
}

/// Where a run of bytes ends that begins here; here, when there is none.
fn end_of(text: &[u8], from: usize, part: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest.iter().position(|byte| !part(*byte));
    from + length.unwrap_or(rest.len())
}

/// Where a number ends that begins here.
fn digits_end(text: &[u8], from: usize) -> usize {
    end_of(text, from, |byte| byte.is_ascii_digit())
}

/// The byte so many before a place.
fn before(text: &[u8], at: usize, distance: usize) -> Option<u8> {
    text.get(at.checked_sub(distance)?).copied()
}

fn is_digit(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_digit())
}

fn is_word(byte: Option<u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Does a word begin here? Also behind what JSON (`\n`, `\u0022`) and URLs (`%22`) write for
/// something that is none, and behind what can be the rest of a character of two bytes (Shift JIS, Big5,
/// GB 18030).
fn begins_word(text: &[u8], at: usize) -> bool {
    let back = |distance| before(text, at, distance);
    if !is_word(back(1)) || back(2).is_some_and(|byte| !byte.is_ascii()) {
        return true;
    }
    let hexadecimal = |from: usize| {
        (1..=from).all(|distance| back(distance).is_some_and(|byte| byte.is_ascii_hexdigit()))
    };
    back(2) == Some(b'\\')
        || (back(3) == Some(b'%') && hexadecimal(2))
        || (back(6) == Some(b'\\') && back(5) == Some(b'u') && hexadecimal(4))
}

/// A letter, a digit, `-` or `_`: base64 as it is in URLs and tokens (RFC 4648, section 5).
fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Everything that one detector finds in a text.
#[cfg(test)]
fn all(next: Next, text: &[u8]) -> Vec<Range<usize>> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(range) = next(text, &mut at) {
        found.push(range);
    }
    found
}

/// Checks what one detector finds: the value is between `«` and `»`.
#[cfg(test)]
fn check(next: Next, marked: &str) {
    let text = marked.replace(['«', '»'], "");
    let found = all(next, text.as_bytes());
    let mut shown = text.clone();
    for range in found.iter().rev() {
        shown.insert(range.end, '»');
        shown.insert(range.start, '«');
    }
    assert_eq!(shown, marked);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_found_at_any_distance() {
        for length in 0..100 {
            let mut text = vec![b'/'; length];
            assert_eq!(digit(&text, 0), None);
            text.extend(b"7:");
            assert_eq!(digit(&text, 0), Some(length));
            assert_eq!(digit(&text, length), Some(length));
            assert_eq!(digit(&text, length + 1), None);
            assert_eq!(digit(&text, length + 9), None);
        }
    }

    #[test]
    fn words_begin_behind_escapes() {
        for (text, expected) in [
            ("x", true),
            ("a x", true),
            ("_x", true),
            ("ax", false),
            ("7x", false),
            ("\\nx", true),
            ("%22x", true),
            ("22x", false),
            ("%gx", false),
            ("\\u0022x", true),
            ("u0022x", false),
            ("\u{30a2}x", true),
            ("\u{e9}ax", true),
        ] {
            assert_eq!(
                begins_word(text.as_bytes(), text.len() - 1),
                expected,
                "{text}"
            );
        }
    }
}

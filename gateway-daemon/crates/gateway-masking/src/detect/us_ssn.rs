//! Social security numbers of the United States: three, two and four digits with a hyphen or a
//! space between.
//!
//! Not given out are areas 000, 666 and 900 to 999, group 00 and serial 0000 (Social Security
//! Administration, <https://www.ssa.gov/employer/randomization.html>). Nine digits in a row are too
//! many other things.
use super::{before, digit, digits_end, is_digit};
use std::ops::Range;

/// Bytes of one.
const LENGTH: usize = 11;

pub(super) fn next(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let start = digit(text, *at)?;
        *at = digits_end(text, start);
        if is_one(text, start) {
            return Some(start..start + LENGTH);
        }
    }
}

/// Is there one, where a number begins?
fn is_one(text: &[u8], start: usize) -> bool {
    let Some(&[a1, a2, a3, one, g1, g2, other, s1, s2, s3, s4]) =
        text.get(start..).and_then(<[u8]>::first_chunk::<LENGTH>)
    else {
        return false;
    };
    let (area, group, serial) = ([a1, a2, a3], [g1, g2], [s1, s2, s3, s4]);
    let digits = area.iter().chain(&group).chain(&serial);
    one == other
        && matches!(one, b'-' | b' ')
        && digits.copied().all(|byte| byte.is_ascii_digit())
        && is_alone(text, start, one)
        && a1 != b'9'
        && !matches!(&area, b"000" | b"666")
        && &group != b"00"
        && &serial != b"0000"
}

/// It is no part of a longer number, such as a list or a telephone number.
fn is_alone(text: &[u8], start: usize, separator: u8) -> bool {
    let goes_on = |near: Option<u8>, far: Option<u8>| {
        is_digit(near)
            || (matches!(near, Some(byte) if byte == separator || byte == b'.') && is_digit(far))
    };
    let after = |distance: usize| text.get(start + LENGTH + distance).copied();
    !goes_on(before(text, start, 1), before(text, start, 2)) && !goes_on(after(0), after(1))
}

#[cfg(test)]
mod tests {
    use crate::detect::check;

    #[test]
    fn numbers_are_found() {
        for marked in [
            "«078-05-1120»",
            "«219-09-9999»",
            "ssn:«457-55-5462».",
            "SSN«457 55 5462»",
            "\"«899-99-0001»\", «001-01-0001»",
            "\u{e9}«078-05-1120»\u{e9}",
            "«078-05-1120» 12",
            "7 «078-05-1120»",
        ] {
            check(super::next, marked);
        }
    }

    #[test]
    fn what_is_none_is_not() {
        for text in [
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "999-12-3456",
            "123-00-4567",
            "123-45-0000",
            "123 45-6789",
            "123-45-678",
            "123-45-67890",
            "1123-45-6789",
            "1-123-45-6789",
            "123-45-6789-1",
            "12 123 45 6789",
            "1.123-45-6789",
            "123456789",
            "123--45-6789",
            "2024-01-02",
            "123-45-",
        ] {
            check(super::next, text);
        }
    }
}

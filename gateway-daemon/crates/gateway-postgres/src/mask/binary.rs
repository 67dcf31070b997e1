//! The texts in a value in binary format, for what looks for something in texts: numbers as they are
//! written, and what arrays and rows hold. Arrays and rows say themselves of which types that is.
use crate::codec::Reader;
use crate::codec::types::{FLOAT4, FLOAT8, INT2, INT4, INT8, NUMERIC, TEXT};
use crate::error::Error;
use crate::mask::value::integer_text;
use std::fmt::Write;

/// Arrays and rows within each other are looked into so far; deeper they are searched as bytes.
const DEPTH_MAX: usize = 8;
/// Longer numbers are none that anybody looks for.
const DIGITS_MAX: i16 = 64;

/// Tells of each text in a value whose type is not known.
pub(crate) fn texts(value: &[u8], tell: &mut dyn FnMut(&[u8])) {
    inside(value, DEPTH_MAX, tell);
}

/// Numbers with an exponent in a value in text format, as they would be written without. The server
/// writes a plus sign.
pub(crate) fn plain_numbers(text: &[u8], tell: &mut dyn FnMut(&[u8])) {
    if memchr::memmem::find(text, b"e+").is_none() {
        return;
    }
    let is_part =
        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    for word in text.split(|byte| !is_part(byte)) {
        let number = std::str::from_utf8(word)
            .ok()
            .and_then(|word| word.parse().ok());
        if let Some(number) = number.filter(|_| word.contains(&b'e') || word.contains(&b'E')) {
            tell_float(number, tell);
        }
    }
}

/// What a `bytea` in text format holds (`bytea_output = hex`); `None`: it is not written so.
pub(crate) fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_prefix(b"\\x")?.chunks_exact(2);
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    };
    digits.map(byte).collect()
}

fn inside(value: &[u8], depth: usize, tell: &mut dyn FnMut(&[u8])) {
    if let Some(text) = numeric(value) {
        tell(text.as_bytes());
    }
    if let Ok(bytes) = value.try_into() {
        tell_float(f64::from_be_bytes(bytes), tell);
    }
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    let mut parts = Vec::new();
    if array(value, &mut parts).is_err() {
        parts.clear();
    }
    if parts.is_empty() && row(value, &mut parts).is_err() {
        parts.clear();
    }
    if parts.is_empty() && pairs(value, &mut parts).is_err() {
        return;
    }
    for (type_oid, part) in parts {
        match (type_oid, part.len()) {
            (INT2 | INT4 | INT8, _) => tell(&integer_text(true, part)),
            (FLOAT8 | NUMERIC | FLOAT4, _) => inside(part, 0, tell),
            _ => {
                tell(part);
                inside(part, depth, tell);
            }
        }
    }
}

fn tell_float(number: f64, tell: &mut dyn FnMut(&[u8])) {
    // Beyond that not every whole number is one.
    let is_whole = number.fract() == 0.0 && (1e6..1e20).contains(&number.abs());
    if is_whole {
        tell(format!("{number:.0}").as_bytes());
    }
}

/// `numeric_send`: digits of four decimals each.
fn numeric(value: &[u8]) -> Option<String> {
    let mut reader = Reader::new(value);
    let count = reader.u16().ok()?;
    let weight = reader.u16().ok()?.cast_signed();
    let sign = reader.u16().ok()?;
    let scale = reader.u16().ok()?;
    let is_number = matches!(sign, 0 | 0x4000) && reader.rest().len() == 2 * usize::from(count);
    if !is_number || weight >= DIGITS_MAX / 4 || count > DIGITS_MAX.unsigned_abs() {
        return None;
    }
    let mut digits = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        digits.push(reader.u16().ok().filter(|digit| *digit < 10_000)?);
    }
    let mut text = String::new();
    let digit = |place: i16| {
        let index = usize::try_from(weight.checked_sub(place)?).ok()?;
        digits.get(index).copied()
    };
    for place in (0..=weight.max(0)).rev() {
        let _ = write!(text, "{:04}", digit(place).unwrap_or(0));
    }
    let whole = text.trim_start_matches('0').to_owned();
    let mut fraction = String::new();
    let scale = scale.min(DIGITS_MAX.unsigned_abs());
    for place in 1..=scale.div_ceil(4).cast_signed() {
        let _ = write!(fraction, "{:04}", digit(-place).unwrap_or(0));
    }
    fraction.truncate(usize::from(scale));
    Some(match fraction.is_empty() {
        true => whole,
        false => format!("{whole}.{fraction}"),
    })
}

type Parts<'a> = Vec<(u32, &'a [u8])>;

/// `array_send`.
fn array<'a>(value: &'a [u8], parts: &mut Parts<'a>) -> Result<(), Error> {
    let mut reader = Reader::new(value);
    let dimensions = reader.u32()?;
    if !(1..=6).contains(&dimensions) || reader.u32()? > 1 {
        return Err(Error::Value);
    }
    let type_oid = reader.u32()?;
    for _ in 0..dimensions {
        reader.u32()?;
        reader.u32()?;
    }
    while !reader.rest().is_empty() {
        // What was cut has no whole last element.
        let Ok(part) = reader.value() else { break };
        parts.extend(part.map(|part| (type_oid, part)));
    }
    Ok(())
}

/// `record_send`.
fn row<'a>(value: &'a [u8], parts: &mut Parts<'a>) -> Result<(), Error> {
    let mut reader = Reader::new(value);
    for _ in 0..reader.u32()? {
        let type_oid = reader.u32()?;
        parts.extend(reader.value()?.map(|part| (type_oid, part)));
    }
    reader.end()
}

/// `hstore_send`: keys and values, which are texts.
fn pairs<'a>(value: &'a [u8], parts: &mut Parts<'a>) -> Result<(), Error> {
    let mut reader = Reader::new(value);
    for _ in 0..reader.u32()? {
        let (key, value) = (reader.value()?, reader.value()?);
        parts.extend(key.into_iter().chain(value).map(|part| (TEXT, part)));
    }
    reader.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        texts(value, &mut |text| {
            found.push(String::from_utf8_lossy(text).into_owned());
        });
        found
    }

    #[test]
    fn bytes_in_text_format_are_read() {
        assert_eq!(hex(b"\\x61Ff00").as_deref(), Some(b"a\xff\0".as_slice()));
        assert_eq!(hex(b"\\x").as_deref(), Some(b"".as_slice()));
        assert_eq!(hex(b"\\xzz"), None);
        assert_eq!(hex(b"a@b.example"), None, "the other format");
    }

    fn words(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn longs(longs: &[u32]) -> Vec<u8> {
        longs.iter().flat_map(|long| long.to_be_bytes()).collect()
    }

    const CARD: i64 = 4_111_111_111_111_111;

    #[test]
    fn numbers_are_as_they_are_written() {
        assert_eq!(
            found(&words(&[4, 3, 0, 0, 4111, 1111, 1111, 1111])),
            ["4111111111111111"]
        );
        assert_eq!(found(&words(&[2, 0, 0, 2, 12, 3400])), ["12.34"]);
        // Zeros at the end are left out.
        assert_eq!(found(&words(&[1, 1, 0x4000, 0, 12])), ["120000"]);
        assert_eq!(found(&(CARD as f64).to_be_bytes()), ["4111111111111111"]);
        let mut numbers = Vec::new();
        plain_numbers(b"{4.111111111111111e+15,1}", &mut |text| {
            numbers.push(text.to_vec());
        });
        assert_eq!(numbers, [b"4111111111111111"]);
    }

    #[test]
    fn arrays_and_rows_are_looked_into() {
        let mut array = longs(&[1, 0, INT8, 1, 1, 8]);
        array.extend(CARD.to_be_bytes());
        assert_eq!(found(&array), ["4111111111111111"]);
        let mut row = longs(&[2, 25, 2]);
        row.extend(b"ab");
        row.extend(longs(&[1016, u32::try_from(array.len()).unwrap()]));
        row.extend(&array);
        let found = found(&row);
        assert!(found.contains(&"ab".to_owned()));
        assert!(found.contains(&"4111111111111111".to_owned()));
    }

    #[test]
    fn what_is_none_of_these_is_nothing() {
        for value in [&b""[..], b"\0", b"text of somebody", &[0xff; 24], &[0; 9]] {
            assert_eq!(found(value), [""; 0], "{value:?}");
        }
    }
}

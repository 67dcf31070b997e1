//! Bind values as text for the record, cut to what may be kept.
//!
//! Binary forms are those of the `*_recv` functions of PostgreSQL. What is not decoded here is
//! recorded in hexadecimal, so nothing is lost.
use super::types::{
    BOOL, BYTEA, DATE, FLOAT4, FLOAT8, INT2, INT4, INT8, JSONB, OID, TEXTS, TIME, TIMESTAMP,
    TIMESTAMPTZ, UUID,
};
use std::fmt::Write;

/// The first bytes of a text as UTF-8, at most `limit` of them, never half a character.
#[must_use]
pub fn text(bytes: &[u8], limit: usize) -> String {
    let mut text = String::new();
    push_text(&mut text, bytes, limit);
    text
}

fn push_text(to: &mut String, bytes: &[u8], limit: usize) {
    let kept = bytes.get(..limit).unwrap_or(bytes);
    let cut = kept.len() < bytes.len();
    for chunk in kept.utf8_chunks() {
        to.push_str(chunk.valid());
        // A character that the limit split is dropped; what was never one is shown as such.
        let split_by_limit =
            cut && std::ptr::eq(chunk.invalid().as_ptr_range().end, kept.as_ptr_range().end);
        if !chunk.invalid().is_empty() && !split_by_limit {
            to.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

fn push_hex(to: &mut String, bytes: &[u8], limit: usize) {
    to.push_str("\\x");
    for byte in bytes.iter().take(limit / 2) {
        let _ = write!(to, "{byte:02x}");
    }
}

/// Writes a value of type `oid` into `to`. Returns how many bytes the value has when not all of
/// them are there.
pub fn describe(
    to: &mut String,
    value: &[u8],
    binary: bool,
    oid: u32,
    limit: usize,
) -> Option<u64> {
    let is_text = !binary || TEXTS.contains(&oid);
    if is_text {
        push_text(to, value, limit);
        return (value.len() > limit).then_some(value.len() as u64);
    }
    if let (JSONB, [1, json @ ..]) = (oid, value) {
        push_text(to, json, limit);
        return (json.len() > limit).then_some(value.len() as u64);
    }
    let known = oid != BYTEA && push_binary(to, value, oid).is_some();
    if known {
        return None;
    }
    push_hex(to, value, limit);
    (value.len() > limit / 2).then_some(value.len() as u64)
}

/// The types of a fixed size. Writes nothing when the size does not fit.
fn push_binary(to: &mut String, value: &[u8], oid: u32) -> Option<()> {
    match oid {
        BOOL => to.push_str(match value {
            [0] => "f",
            [1] => "t",
            _ => return None,
        }),
        INT2 => push(to, i16::from_be_bytes(value.try_into().ok()?)),
        INT4 => push(to, i32::from_be_bytes(value.try_into().ok()?)),
        INT8 => push(to, i64::from_be_bytes(value.try_into().ok()?)),
        OID => push(to, u32::from_be_bytes(value.try_into().ok()?)),
        FLOAT4 => push_float(to, f32::from_be_bytes(value.try_into().ok()?)),
        FLOAT8 => push_float(to, f64::from_be_bytes(value.try_into().ok()?)),
        UUID => push_uuid(to, u128::from_be_bytes(value.try_into().ok()?)),
        DATE => push_date(to, i32::from_be_bytes(value.try_into().ok()?)),
        TIME => push_time(to, i64::from_be_bytes(value.try_into().ok()?)),
        TIMESTAMP | TIMESTAMPTZ => {
            push_timestamp(
                to,
                i64::from_be_bytes(value.try_into().ok()?),
                oid == TIMESTAMPTZ,
            );
        }
        _ => return None,
    }
    Some(())
}

fn push(to: &mut String, value: impl std::fmt::Display) {
    let _ = write!(to, "{value}");
}

/// As the server writes it: the shortest digits that read back, with an exponent where it is short.
fn push_float<F: Copy + Into<f64> + std::fmt::Display + std::fmt::LowerExp>(
    to: &mut String,
    value: F,
) {
    let size = value.into().abs();
    if size.is_infinite() {
        to.push_str(if value.into() > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        });
    } else if size != 0.0 && !(1e-4..1e15).contains(&size) && !size.is_nan() {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                let _ = write!(to, "{digits}e+{exponent}");
            }
            _ => to.push_str(&text),
        }
    } else {
        push(to, value);
    }
}

fn push_uuid(to: &mut String, value: u128) {
    let _ = write!(
        to,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        value >> 96,
        (value >> 80) & 0xffff,
        (value >> 64) & 0xffff,
        (value >> 48) & 0xffff,
        value & 0xffff_ffff_ffff
    );
}

/// Days from 0000-03-01 to 2000-01-01, the epoch of PostgreSQL, in the Gregorian calendar.
const EPOCH_DAYS: i64 = 730_425;
const DAYS_IN_400_YEARS: i64 = 146_097;
const MICROS_IN_DAY: i64 = 86_400_000_000;

/// Year, month and day of a number of days since 2000-01-01. Years begin in March here, so the
/// leap day is the last one of a year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(DAYS_IN_400_YEARS);
    let day_of_era = days.rem_euclid(DAYS_IN_400_YEARS);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn push_days(to: &mut String, days: i64) {
    let (year, month, day) = civil(days);
    // There is no year 0: it is 1 BC.
    let shown = if year > 0 { year } else { 1 - year };
    let _ = write!(to, "{shown:04}-{month:02}-{day:02}");
}

fn push_era(to: &mut String, days: i64) {
    if civil(days).0 <= 0 {
        to.push_str(" BC");
    }
}

fn push_date(to: &mut String, days: i32) {
    match days {
        i32::MAX => to.push_str("infinity"),
        i32::MIN => to.push_str("-infinity"),
        days => {
            push_days(to, days.into());
            push_era(to, days.into());
        }
    }
}

fn push_time(to: &mut String, micros: i64) {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(to, "{hours:02}:{minutes:02}:{seconds:02}");
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(to, ".{}", digits.trim_end_matches('0'));
    }
}

fn push_timestamp(to: &mut String, micros: i64, zoned: bool) {
    match micros {
        i64::MAX => return to.push_str("infinity"),
        i64::MIN => return to.push_str("-infinity"),
        _ => {}
    }
    let days = micros.div_euclid(MICROS_IN_DAY);
    push_days(to, days);
    to.push(' ');
    push_time(to, micros.rem_euclid(MICROS_IN_DAY));
    if zoned {
        to.push_str("+00");
    }
    push_era(to, days);
}

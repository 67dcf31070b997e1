//! Sizes as policies have them: `64KiB`.

/// The least that is kept of an answer, in bytes.
pub(crate) const ANSWER_MIN: u32 = 1024;
/// The most.
pub(crate) const ANSWER_MAX: u32 = 16 * 1024 * 1024;
/// The units, with their bytes.
pub(crate) const UNITS: [(&str, u32); 3] = [("B", 1), ("KiB", 1024), ("MiB", 1024 * 1024)];

/// A whole number with a unit.
pub(crate) fn size(text: &str) -> Option<u32> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(end)?;
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.parse::<u32>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_a_number_and_a_unit() {
        for (text, expected) in [
            ("1B", Some(1)),
            ("64KiB", Some(65_536)),
            ("16MiB", Some(ANSWER_MAX)),
            ("0KiB", Some(0)),
            ("4095MiB", Some(4095 << 20)),
            ("4096MiB", None),
            ("99999999999999999999B", None),
            ("", None),
            ("64", None),
            ("KiB", None),
            ("64kib", None),
            ("64K", None),
            ("64KB", None),
            ("64 KiB", None),
            ("1GiB", None),
            ("-1KiB", None),
            ("1.5KiB", None),
            ("1é", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}

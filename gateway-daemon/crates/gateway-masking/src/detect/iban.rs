//! Account numbers: a country, two check digits, and what the country says (ISO 13616).
//!
//! In a row, or with single spaces between its groups; upper or lower case. The lengths are those
//! of the IBAN registry, release 101
//! (<https://www.swift.com/standards/data-standards/iban-international-bank-account-number>).
use super::{begins_word, digit, digits_end, is_word};
use std::ops::Range;

/// Characters of the longest one that the standard allows.
const LENGTH_MAX: usize = 34;

/// How many characters the numbers of a country have. In the order of the codes.
#[rustfmt::skip]
const LENGTHS: &[(&[u8; 2], usize)] = &[
    (b"AD", 24), (b"AE", 23), (b"AL", 28), (b"AT", 20), (b"AZ", 28), (b"BA", 20), (b"BE", 16),
    (b"BG", 22), (b"BH", 22), (b"BI", 27), (b"BR", 29), (b"BY", 28), (b"CH", 21), (b"CR", 22),
    (b"CY", 28), (b"CZ", 24), (b"DE", 22), (b"DJ", 27), (b"DK", 18), (b"DO", 28), (b"EE", 20),
    (b"EG", 29), (b"ES", 24), (b"FI", 18), (b"FK", 18), (b"FO", 18), (b"FR", 27), (b"GB", 22),
    (b"GE", 22), (b"GI", 23), (b"GL", 18), (b"GR", 27), (b"GT", 28), (b"HN", 28), (b"HR", 21),
    (b"HU", 28), (b"IE", 22), (b"IL", 23), (b"IQ", 23), (b"IS", 26), (b"IT", 27), (b"JO", 30),
    (b"KW", 30), (b"KZ", 20), (b"LB", 28), (b"LC", 32), (b"LI", 21), (b"LT", 20), (b"LU", 20),
    (b"LV", 21), (b"LY", 25), (b"MC", 27), (b"MD", 24), (b"ME", 22), (b"MK", 19), (b"MN", 20),
    (b"MR", 27), (b"MT", 31), (b"MU", 30), (b"NI", 28), (b"NL", 18), (b"NO", 15), (b"OM", 23),
    (b"PK", 24), (b"PL", 28), (b"PS", 29), (b"PT", 25), (b"QA", 29), (b"RO", 24), (b"RS", 22),
    (b"RU", 33), (b"SA", 24), (b"SC", 31), (b"SD", 18), (b"SE", 24), (b"SI", 19), (b"SK", 24),
    (b"SM", 27), (b"SO", 23), (b"ST", 25), (b"SV", 28), (b"TL", 23), (b"TN", 24), (b"TR", 26),
    (b"UA", 29), (b"VA", 22), (b"VG", 24), (b"XK", 20), (b"YE", 30),
];

/// Goes from number to number: before the check digits there are two letters.
pub(super) fn next(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let check_digits = digit(text, *at)?;
        *at = digits_end(text, check_digits);
        if let Some(start) = check_digits.checked_sub(2)
            && let Some(end) = end_of_one(text, start)
        {
            return Some(start..end);
        }
    }
}

/// Where the one ends that begins here.
fn end_of_one(text: &[u8], start: usize) -> Option<usize> {
    let rest = text.get(start..)?;
    let [a, b, c, d] = *rest.first_chunk::<4>()?;
    let letters = a.is_ascii_alphabetic() && b.is_ascii_alphabetic();
    if !letters || !c.is_ascii_digit() || !d.is_ascii_digit() || !begins_word(text, start) {
        return None;
    }
    let country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
    let place = LENGTHS.binary_search_by_key(&&country, |(code, _)| code);
    let (_, length) = LENGTHS.get(place.ok()?)?;
    let mut characters = [0; LENGTH_MAX];
    let characters = characters.get_mut(..*length)?;
    let size = take(rest, characters)?;
    let is_spaced = size > characters.len();
    let followed = is_word(rest.get(size).copied());
    let valid =
        !followed && (!is_spaced || is_mostly_digits(characters)) && mod_97(characters) == 1;
    valid.then_some(start + size)
}

/// Takes so many letters and digits, without the single spaces between; says how many bytes these
/// are.
fn take(text: &[u8], characters: &mut [u8]) -> Option<usize> {
    let mut at = 0;
    for (place, character) in characters.iter_mut().enumerate() {
        if place > 0 && text.get(at) == Some(&b' ') {
            at += 1;
        }
        let byte = text.get(at).filter(|byte| byte.is_ascii_alphanumeric())?;
        *character = byte.to_ascii_uppercase();
        at += 1;
    }
    Some(at)
}

/// As all examples of the registry are. Words with spaces between seldom are.
fn is_mostly_digits(characters: &[u8]) -> bool {
    let digits = characters.iter().filter(|byte| byte.is_ascii_digit());
    digits.count() * 2 >= characters.len()
}

/// The remainder of the number that is made of the characters, the first four last, with 10 to 35
/// for the letters (ISO 7064, MOD 97-10).
fn mod_97(characters: &[u8]) -> u32 {
    let (head, tail) = characters.split_at_checked(4).unwrap_or_default();
    let turned = tail.iter().chain(head);
    turned.fold(0, |sum, byte| match byte {
        b'0'..=b'9' => (sum * 10 + u32::from(byte - b'0')) % 97,
        _ => (sum * 100 + u32::from(byte.wrapping_sub(b'A')) + 10) % 97,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::check;

    #[test]
    fn countries_are_in_order() {
        assert!(LENGTHS.is_sorted_by(|one, other| one.0 < other.0));
        assert!(
            LENGTHS
                .iter()
                .all(|(_, length)| (5..=LENGTH_MAX).contains(length))
        );
    }

    /// The examples of the registry.
    #[test]
    fn numbers_are_found() {
        for number in [
            "AD1200012030200359100100",
            "AE070331234567890123456",
            "AL47212110090000000235698741",
            "AT611904300234573201",
            "AZ21NABZ00000000137010001944",
            "BA391290079401028494",
            "BE68539007547034",
            "BG80BNBG96611020345678",
            "BH67BMAG00001299123456",
            "BR1800360305000010009795493C1",
            "BY13NBRB3600900000002Z00AB00",
            "CH9300762011623852957",
            "CR05015202001026284066",
            "CY17002001280000001200527600",
            "CZ6508000000192000145399",
            "DE89370400440532013000",
            "DK5000400440116243",
            "DO28BAGR00000001212453611324",
            "EE382200221020145685",
            "ES9121000418450200051332",
            "FI2112345600000785",
            "FO6264600001631634",
            "FR1420041010050500013M02606",
            "GB29NWBK60161331926819",
            "GE29NB0000000101904917",
            "GI75NWBK000000007099453",
            "GL8964710001000206",
            "GR1601101250000000012300695",
            "GT82TRAJ01020000001210029690",
            "HR1210010051863000160",
            "HU42117730161111101800000000",
            "IE29AIBK93115212345678",
            "IL620108000000099999999",
            "IS140159260076545510730339",
            "IT60X0542811101000000123456",
            "JO94CBJO0010000000000131000302",
            "KW81CBKU0000000000001234560101",
            "KZ86125KZT5004100100",
            "LB62099900000001001901229114",
            "LC55HEMM000100010012001200023015",
            "LI21088100002324013AA",
            "LT121000011101001000",
            "LU280019400644750000",
            "LV80BANK0000435195001",
            "MC5811222000010123456789030",
            "MD24AG000225100013104168",
            "ME25505000012345678951",
            "MK07250120000058984",
            "MR1300020001010000123456753",
            "MT84MALT011000012345MTLCAST001S",
            "MU17BOMM0101101030300200000MUR",
            "NL91ABNA0417164300",
            "NO9386011117947",
            "PK36SCBL0000001123456702",
            "PL61109010140000071219812874",
            "PS92PALS000000000400123456702",
            "PT50000201231234567890154",
            "QA58DOHB00001234567890ABCDEFG",
            "RO49AAAA1B31007593840000",
            "RS35260005601001611379",
            "SA0380000000608010167519",
            "SE4550000000058398257466",
            "SI56263300012039086",
            "SK3112000000198742637541",
            "SM86U0322509800000000270100",
            "TN5910006035183598478831",
            "TR330006100519786457841326",
            "UA213223130000026007233566001",
            "VG96VPVG0000012345678901",
            "XK051212012345678906",
        ] {
            check(super::next, &format!("«{number}»"));
            check(super::next, &format!("iban=«{}»;", number.to_lowercase()));
            let groups: Vec<&str> = number
                .as_bytes()
                .chunks(4)
                .map(|group| str::from_utf8(group).unwrap())
                .collect();
            check(super::next, &format!("to «{}» EUR", groups.join(" ")));
        }
        check(super::next, "«FR14 20041 01005 0500013M026 06»");
        check(super::next, "\\n«DE89370400440532013000»\\n");
    }

    #[test]
    fn what_is_none_is_not() {
        for text in [
            "DE88370400440532013000",
            "DE8937040044053201300",
            "DE893704004405320130000",
            "XX89370400440532013000",
            "XDE89370400440532013000",
            "DE89370400440532013000X",
            "DE89  3704 0440 0532 0130 00",
            "DE89-3704-0440-0532-0130-00",
            "DE 89 3704",
            "DE89",
            "no12 is a number",
            "89370400440532013000",
        ] {
            check(super::next, text);
        }
    }
}

//! Card numbers: 13 to 19 digits of an issuer, with the check digit of ISO/IEC 7812-1 (Luhn).
//!
//! One in ten numbers has the right check digit by chance, so what begins as no issuer's number,
//! or is not as long as theirs, is none. In a row, or in the groups that are on cards, with one
//! space or one hyphen between. The issuers are those of
//! <https://en.wikipedia.org/wiki/Payment_card_number#Issuer_identification_number_(IIN)>.
use super::{before, digit, digits_end, is_digit};
use std::ops::Range;

/// Digits of a number.
const DIGITS_MIN: usize = 13;
const DIGITS_MAX: usize = 19;
/// Groups that a number is printed in, at most.
const GROUPS_MAX: usize = 5;
/// How far a word is followed, on either side of a number.
const WORD_MAX: usize = 128;
/// Hexadecimal digits of digests and identifiers, of 128 to 512 bits.
const DIGESTS: [usize; 6] = [32, 40, 56, 64, 96, 128];

pub(super) fn next(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let start = digit(text, *at)?;
        let end = digits_end(text, start);
        // What was one group of a number may be the first of another one.
        *at = end;
        if is_fraction(text, start) {
            continue;
        }
        let found = match end - start {
            DIGITS_MIN..=DIGITS_MAX => in_a_row(text, start..end),
            4 | 6 => grouped(text, start),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
}

/// `0.4111111111111111` is no card.
fn is_fraction(text: &[u8], start: usize) -> bool {
    before(text, start, 1) == Some(b'.') && is_digit(before(text, start, 2))
}

fn in_a_row(text: &[u8], range: Range<usize>) -> Option<Range<usize>> {
    let mut number = Number::default();
    number.add(text.get(range.clone())?)?;
    (number.is_card() && !is_hexadecimal(text, &range)).then_some(range)
}

/// Is it a part of a word of hexadecimal digits that is as long as digests are? Of these there are many.
fn is_hexadecimal(text: &[u8], range: &Range<usize>) -> bool {
    let (head, tail) = (text.get(..range.start), text.get(range.end..));
    let word = |byte: &&u8| byte.is_ascii_alphanumeric();
    let head = head.unwrap_or_default().iter().rev().take(WORD_MAX);
    let tail = tail.unwrap_or_default().iter().take(WORD_MAX);
    let around = head.take_while(word).chain(tail.take_while(word));
    let mut length = range.len();
    for byte in around {
        if !byte.is_ascii_hexdigit() {
            return false;
        }
        length += 1;
    }
    DIGESTS.contains(&length)
}

/// The longest one whose first group is here.
fn grouped(text: &[u8], start: usize) -> Option<Range<usize>> {
    let mut number = Number::default();
    let (mut sizes, mut count) = ([0; GROUPS_MAX], 0);
    let (mut from, mut separator, mut found) = (start, None, None);
    while let Some(place) = sizes.get_mut(count) {
        let digits = text.get(from..)?.iter().take(DIGITS_MAX);
        let size = digits.take_while(|byte| byte.is_ascii_digit()).count();
        let end = from + size;
        if size == 0 || is_digit(text.get(end).copied()) {
            break;
        }
        if number.add(text.get(from..end)?).is_none() {
            break;
        }
        *place = size;
        count += 1;
        from = end + 1;
        if number.is_card() && is_printed(sizes.get(..count)?) {
            found = Some(start..end);
        }
        match (text.get(end), separator) {
            (Some(byte @ (b' ' | b'-')), None) => separator = Some(*byte),
            (Some(byte), Some(separator)) if *byte == separator => {}
            _ => break,
        }
    }
    found
}

/// Are these the sizes of groups on a card?
fn is_printed(sizes: &[usize]) -> bool {
    match sizes {
        // American Express, Diners Club; China UnionPay.
        [4, 6, 4 | 5] | [6, 13] => true,
        [fours @ .., last] => fours.iter().all(|size| *size == 4) && (1..=4).contains(last),
        [] => false,
    }
}

/// The digits of what may be a card number, as values.
#[derive(Default)]
struct Number {
    digits: [u8; DIGITS_MAX],
    length: usize,
}

impl Number {
    /// Adds digits; `None` when there is no room for them.
    fn add(&mut self, digits: &[u8]) -> Option<()> {
        let room = self
            .digits
            .get_mut(self.length..self.length + digits.len())?;
        for (to, from) in room.iter_mut().zip(digits) {
            *to = from - b'0';
        }
        self.length += digits.len();
        Some(())
    }

    fn is_card(&self) -> bool {
        let digits = self.digits.get(..self.length).unwrap_or_default();
        is_length_of_issuer(digits) && luhn(digits) && !is_article(digits)
    }
}

/// Does an issuer give out numbers that begin so and are so long?
fn is_length_of_issuer(digits: &[u8]) -> bool {
    let Some(head) = digits.first_chunk::<4>() else {
        return false;
    };
    let head = head
        .iter()
        .fold(0, |sum, digit| sum * 10 + u16::from(*digit));
    let lengths: &[std::ops::RangeInclusive<usize>] = match head {
        // Visa.
        4000..=4999 => &[13..=13, 16..=16, 19..=19],
        // Mastercard.
        2221..=2720 | 5100..=5599 => &[16..=16],
        // American Express.
        3400..=3499 | 3700..=3799 => &[15..=15],
        // Diners Club.
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => &[14..=19],
        // JCB; Mir; Discover; China UnionPay, and with it RuPay.
        3528..=3589 | 2200..=2204 | 6011 | 6440..=6599 | 6200..=6299 | 8100..=8199 => &[16..=19],
        // Dankort, Elo, Verve, RuPay, Troy, Hiper, Borica, UzCard, Humo.
        5019 | 5060..=5099 | 6000..=6010 | 6012..=6099 | 8200..=8299 | 9792 => &[16..=16],
        6370 | 6375 | 6376 | 2205 | 5614 | 8600 | 9860 => &[16..=16],
        // Napas.
        9704 => &[16..=16, 19..=19],
        // InterPayment, with Elo.
        6360..=6369 => &[16..=19],
        // Maestro, Bancontact.
        5018 | 5020 | 5038 | 5893 | 6304 | 6390 | 6703 | 6759 | 6761..=6763 | 6767 | 6771 => {
            &[13..=19]
        }
        _ => &[],
    };
    lengths.iter().any(|range| range.contains(&digits.len()))
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, *digit) {
            (1, digit @ 5..) => u32::from(digit) * 2 - 9,
            (1, digit) => u32::from(digit) * 2,
            (_, digit) => u32::from(digit),
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Has it 13 digits of which the last is the check digit of an article number (EAN-13)? Articles
/// with a 4 in front are many, and cards with 13 digits are not given out any more.
fn is_article(digits: &[u8]) -> bool {
    let weighted = digits
        .iter()
        .zip([1, 3].iter().cycle())
        .map(|(digit, weight)| u32::from(*digit) * weight);
    digits.len() == 13 && weighted.sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{all, check};

    /// The numbers that the issuers and payment services publish for tests.
    #[test]
    fn numbers_are_found() {
        for marked in [
            "«4111111111111111»",
            "«4111 1111 1111 1111»",
            "«4111-1111-1111-1111»",
            "«4242424242424242», «4012888888881881»",
            "«4222222222222»",
            "«5555555555554444» «5105105105105100»",
            "«2223003122003222»",
            "«378282246310005» «371449635398431»",
            "«3782 822463 10005»",
            "«30569309025904» «38520000023237»",
            "«3056 930902 5904»",
            "«6011111111111117» «6011000990139424»",
            "«3530111333300000» «3566002020360505»",
            "«6200000000000005»",
            "«6205500000000000004»",
            "«6759649826438453»",
            "card«4111111111111111», \\n«4111111111111111»",
            "2024 «4111 1111 1111 1111» 123",
            "12-«4111-1111-1111-1111»-12",
            "«4111111111111111».00",
            "{\"pan\":«4111111111111111»}",
            "«4111111111111111»USD",
            "%B«4111111111111111»^DOE/JOHN^2712",
            "«4111111111111111»D27121011234567890F",
            "CC«4111111111111111» ab«4111111111111111»cd",
            "«6703444444444449» «6767740000000001» «6362970000457013» «6370950000000005»",
        ] {
            check(super::next, marked);
        }
    }

    #[test]
    fn what_is_none_is_not() {
        for text in [
            "4111111111111112",
            "4111 1111 1111 1112",
            "41111111111111111",
            "411111111111111",
            "0.4111111111111111",
            "1111111111111117",
            "9111111111111111",
            "0000000000000000",
            "4111  1111 1111 1111",
            "4111 1111-1111 1111",
            "41 11 11 11 11 11 11 11",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "41111111 11111111",
            "1700000000000",
            "abcdefab4111111111111111cdefabcd",
            "4111111111111111ffffffffffffffff",
            "2020 2021 2022 2023 2024",
        ] {
            check(super::next, text);
        }
    }

    #[test]
    fn articles_are_no_cards() {
        // Both check digits are right.
        let both = (0..1000)
            .map(|number| format!("4000000000{number:03}"))
            .filter(|text| {
                let digits: Vec<u8> = text.bytes().map(|byte| byte - b'0').collect();
                luhn(&digits) && is_article(&digits)
            });
        let both: Vec<String> = both.collect();
        assert!(!both.is_empty());
        for text in both {
            assert!(all(super::next, text.as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn of_random_numbers_few_are_cards() {
        let mut number = 88_172_645_463_325_252_u64;
        let mut found = 0;
        for _ in 0..100_000 {
            // Xorshift, of which all digits are used.
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            let text = format!("{:016}", number % 10_u64.pow(16));
            found += all(super::next, text.as_bytes()).len();
        }
        assert!(found < 3_000, "{found} of 100000");
    }
}

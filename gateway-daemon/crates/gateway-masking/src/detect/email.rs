//! Addresses of mail: `alice@example.com` (RFC 5321, section 4.1.2; RFC 6531 for other letters).
//!
//! The local part is what is in use: letters, digits, and punctuation that does not also separate
//! words (`/`, `=`, `?`, `|`, braces), no quoted strings. The domain has a dot, and its last label
//! begins with two letters. A longer local part than the 64 bytes of the RFC is taken whole, since
//! nobody can tell where the address begins in it.
use std::ops::Range;

/// Longest label of a domain, in bytes (RFC 1035, section 2.3.4).
const LABEL_MAX: usize = 63;

/// No top-level domains, but endings of files (`icon@2x.png`, `lodash@4.17.21.tgz`).
const FILES: &[&[u8]] = &[
    b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"ico", b"tgz", b"gz", b"js", b"css",
    b"json", b"html", b"xml", b"yaml", b"yml", b"txt", b"jar", b"whl", b"service",
];

/// Neither side goes over another `@`, so no byte is looked at more than twice.
pub(super) fn next(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let rest = text.get(*at..)?;
        let sign = *at + memchr::memchr(b'@', rest)?;
        *at = sign + 1;
        let (local, domain) = text.split_at_checked(sign)?;
        let (Some(start), Some(length)) = (local_start(local), domain_length(domain.get(1..)?))
        else {
            continue;
        };
        return Some(start..sign + 1 + length);
    }
}

/// Where the local part begins that ends with this text.
fn local_start(text: &[u8]) -> Option<usize> {
    let mut start = text.len();
    let mut rest = text;
    while let Some((last, size)) = last_char(rest) {
        if !is_local(last) {
            break;
        }
        rest = rest.get(..rest.len() - size)?;
        start = rest.len();
    }
    // Quotation marks and the ends of sentences are not a part of it.
    let local = text.get(start..)?;
    let skipped = local
        .iter()
        .position(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii() || *byte == b'_')?;
    Some(start + skipped)
}

fn is_local(character: char) -> bool {
    character.is_alphanumeric()
        || matches!(
            character,
            '.' | '_' | '%' | '+' | '-' | '\'' | '&' | '~' | '!' | '#' | '$' | '*' | '^'
        )
}

/// How long the domain is with which this text begins, in bytes.
fn domain_length(text: &[u8]) -> Option<usize> {
    let mut length = None;
    let mut at = 0;
    loop {
        let label = label_length(text.get(at..)?)?;
        if at > 0 {
            length = top_length(text.get(at..at + label)?)
                .map(|top| at + top)
                .or(length);
        }
        at += label;
        let goes_on = label <= LABEL_MAX && text.get(at) == Some(&b'.');
        let following = text.get(at + 1..).and_then(first_char);
        if !goes_on || !following.is_some_and(|(first, _)| first.is_alphanumeric()) {
            return length;
        }
        at += 1;
    }
}

/// Of the label with which this text begins; `None` when it begins with none.
fn label_length(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some((first, size)) = text.get(at..).and_then(first_char) {
        if !first.is_alphanumeric() && (first != '-' || at == 0) {
            break;
        }
        at += size;
    }
    (at > 0).then_some(at)
}

/// How much of a label can be a top-level domain: letters, at least two of them, or a name in
/// Punycode.
fn top_length(label: &[u8]) -> Option<usize> {
    if label
        .get(..4)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"xn--"))
    {
        return (label.len() > 4).then_some(label.len());
    }
    let (mut at, mut letters) = (0, 0);
    while let Some((first, size)) = label.get(at..).and_then(first_char) {
        if !first.is_alphabetic() {
            break;
        }
        (at, letters) = (at + size, letters + 1);
    }
    let is_file = || {
        let name = label.get(..at).unwrap_or_default();
        FILES.iter().any(|ending| name.eq_ignore_ascii_case(ending))
    };
    (letters >= 2 && !is_file()).then_some(at)
}

/// What stands for a byte that is no UTF-8: a letter of another encoding (ISO 8859-1, Windows 1252).
const LETTER: char = '\u{e9}';

/// The first character, and of how many bytes it is.
fn first_char(text: &[u8]) -> Option<(char, usize)> {
    let first = *text.first()?;
    if first.is_ascii() {
        return Some((first.into(), 1));
    }
    let whole = (2..=4).find_map(|size| Some((one_char(text.get(..size)?)?, size)));
    whole.or(Some((LETTER, 1)))
}

fn last_char(text: &[u8]) -> Option<(char, usize)> {
    let last = *text.last()?;
    if last.is_ascii() {
        return Some((last.into(), 1));
    }
    let part = |size| text.get(text.len().checked_sub(size)?..);
    let whole = (2..=4).find_map(|size| Some((one_char(part(size)?)?, size)));
    whole.or(Some((LETTER, 1)))
}

fn one_char(bytes: &[u8]) -> Option<char> {
    let mut characters = str::from_utf8(bytes).ok()?.chars();
    let character = characters.next()?;
    characters.next().is_none().then_some(character)
}

#[cfg(test)]
mod tests {
    use crate::detect::{all, check};

    #[test]
    fn addresses_are_found() {
        for marked in [
            "«alice@example.com»",
            "write to «alice.b+tag@mail.example.co.uk».",
            "<«alice@example.com»>, <«bob@example.org»>",
            "'«o'brien@example.com»'",
            "{\"email\":\"«alice@example.com»\"}",
            "?email=«alice@example.com»&x=1",
            "mailto:«a@b.io»",
            "«müller@bücher.example»",
            "«Ünal_1@example.com», «用户@例子.中国»。",
            "«alice@xn--bcher-kva.xn--p1ai»",
            "«alice@example.com»-old",
            "«alice@example.com»2",
            "«alice@example.com»..",
            "«ALICE@EXAMPLE.COM»",
            "https://user:«secret@db.internal»/x",
            "«_dmarc@a-b.c-d.net»",
            "\u{fffd}«alice@example.com»",
            "# «alice@example.com»",
        ] {
            check(super::next, marked);
        }
    }

    #[test]
    fn what_is_none_is_not() {
        for text in [
            "",
            "@",
            "alice@",
            "@example.com",
            "alice@localhost",
            "alice@example.c",
            "pkg@1.2.3",
            "pkg@1.2.3-beta",
            "icon@2x.png",
            "lodash@4.17.21.tgz getty@tty1.service",
            "alice@-example.com",
            "alice@.com",
            "alice@@example",
            "a @ b.com",
            "''@example.com",
            "SELECT @a, @b.c",
            "100 % @ 3.50",
        ] {
            check(super::next, text);
        }
    }

    #[test]
    fn two_that_share_a_name_are_both_found() {
        assert_eq!(all(super::next, b"a@bb.co@c.de"), [0..7, 2..12]);
    }

    /// In ISO 8859-1.
    #[test]
    fn what_is_no_utf_8_are_letters() {
        for text in [
            &b"<jos\xe9@example.com>"[..],
            b"<alice@m\xfcller.de>",
            b"<ab@cd.d\xe9>",
        ] {
            assert_eq!(all(super::next, text), vec![1..text.len() - 1; 1]);
        }
    }
}

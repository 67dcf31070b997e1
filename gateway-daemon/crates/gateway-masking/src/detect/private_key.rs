//! Private keys in PEM (RFC 7468), from `-----BEGIN` to the end of its `-----END` line, whatever
//! the kind: PKCS #8, RSA, EC, OpenSSH, PGP.
//!
//! Where the end is missing, all that follows may be a part of the key.
use memchr::memmem;
use std::ops::Range;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// Bytes of the words between the dashes.
const LABEL_MAX: usize = 64;

pub(super) fn next(text: &[u8], at: &mut usize) -> Option<Range<usize>> {
    loop {
        let start = *at + memmem::find(text.get(*at..)?, BEGIN)?;
        let label_start = start + BEGIN.len();
        *at = label_start;
        let Some(label) = label(text.get(label_start..)?) else {
            continue;
        };
        let body = label_start + label.len() + DASHES.len();
        let last = [END, label, DASHES].concat();
        let end = memmem::find(text.get(body..)?, &last);
        *at = end.map_or(text.len(), |end| body + end + last.len());
        return Some(start..*at);
    }
}

/// The words up to the dashes, when they are those of a private key.
fn label(text: &[u8]) -> Option<&[u8]> {
    let head = text.get(..text.len().min(LABEL_MAX + DASHES.len()))?;
    let label = head.get(..memmem::find(head, DASHES)?)?;
    let plain = label.strip_suffix(b" BLOCK").unwrap_or(label);
    plain.ends_with(b"PRIVATE KEY").then_some(label)
}

#[cfg(test)]
mod tests {
    use crate::detect::check;

    #[test]
    fn keys_are_found() {
        for kind in [
            "PRIVATE KEY",
            "ENCRYPTED PRIVATE KEY",
            "RSA PRIVATE KEY",
            "EC PRIVATE KEY",
            "OPENSSH PRIVATE KEY",
            "PGP PRIVATE KEY BLOCK",
        ] {
            check(
                super::next,
                &format!("a«-----BEGIN {kind}-----\nMIIE\n-----END {kind}-----»\nb"),
            );
            check(super::next, &format!("a«-----BEGIN {kind}-----\\nMIIE\nb»"));
        }
        check(
            super::next,
            "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n\
             «-----BEGIN PRIVATE KEY-----\nA\n-----END CERTIFICATE-----\n-----END PRIVATE KEY-----»\n\
             «-----BEGIN EC PRIVATE KEY-----\n-----BEGIN EC PRIVATE KEY-----\n»",
        );
        check(super::next, "-----«-----BEGIN PRIVATE KEY-----»");
    }

    #[test]
    fn what_is_none_is_not() {
        for text in [
            "-----BEGIN ",
            "-----BEGIN PUBLIC KEY-----\nA\n-----END PUBLIC KEY-----",
            "-----BEGIN PRIVATE KEY",
            "----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY----",
            "-----BEGIN CERTIFICATE REQUEST-----",
            "-----END PRIVATE KEY-----",
            "BEGIN PRIVATE KEY",
        ] {
            check(super::next, text);
        }
    }
}

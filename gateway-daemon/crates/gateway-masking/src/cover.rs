//! What a value becomes.
use crate::find::find;
use crate::key::Key;
use gateway_core::Masker;
use gateway_core::mask::{Detector, Sensitive, Tell, Treatment};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// What stands in the place of a redacted value.
pub const REDACTED: &str = "[masked]";

/// Characters that a partly covered value shows, at most.
const SHOWN_MAX: usize = 4;
/// Bytes of the digest that a hashed value becomes; twice as many characters. By chance two of
/// 2^64 values become the same.
const HASH_BYTES: usize = 16;

/// Covers values.
///
/// | Treatment | What a value becomes |
/// |---|---|
/// | `redact` | [`REDACTED`] |
/// | `null` | nothing |
/// | `partial` | a `*` for each character but the last four; for each but a quarter of them where there are five to eight; for each where there are four or fewer. What is not UTF-8 is redacted |
/// | `hash` | the first 16 bytes of its digest in 32 lower-case hexadecimal digits |
///
/// The digest is HMAC-SHA256 (RFC 2104) of the bytes of the value alone. [`Masker::digest`] is the
/// whole of it, and begins with what `hash` says in text: a value has one digest, whatever type
/// the column has that it stands in.
#[derive(Debug)]
pub struct Cover {
    key: Key,
}

impl Cover {
    /// With this key.
    #[must_use]
    pub fn new(key: Key) -> Cover {
        Cover { key }
    }
}

impl Masker for Cover {
    fn cover(&self, with: Treatment, value: &[u8], out: &mut Vec<u8>) -> bool {
        match with {
            Treatment::Null => return false,
            Treatment::Redact => out.extend(REDACTED.as_bytes()),
            Treatment::Partial => match str::from_utf8(value) {
                Ok(text) => partial(text, out),
                Err(_) => out.extend(REDACTED.as_bytes()),
            },
            Treatment::Hash => {
                let digest = self.digest(value);
                let (hash, _) = digest.split_at(HASH_BYTES);
                out.extend(hex::encode(hash).as_bytes());
            }
        }
        true
    }

    fn digest(&self, value: &[u8]) -> [u8; 32] {
        // From the key each time: a prepared state is as good as the key, and is not overwritten
        // when it is dropped.
        let mut mac = keyed(&self.key);
        mac.update(value);
        mac.finalize().into_bytes().into()
    }

    fn find(&self, detectors: &[(Detector, Sensitive)], text: &[u8], tell: Tell<'_>) {
        find(detectors, text, tell);
    }
}

fn keyed(key: &Key) -> Hmac<Sha256> {
    // RFC 2104: a key that is shorter than a block is filled up with zeros. This constructor takes
    // a whole block, and so, unlike the one that takes a slice, cannot fail.
    let mut block = zeroize::Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key.bytes()) {
        *to = *from;
    }
    Hmac::new((&*block).into())
}

fn partial(text: &str, out: &mut Vec<u8>) {
    let characters = text.chars().count();
    let shown = match characters {
        0..=4 => 0,
        5..=8 => characters / 4,
        _ => SHOWN_MAX,
    };
    let covered = characters - shown;
    out.resize(out.len() + covered, b'*');
    let end = text.char_indices().nth(covered).map(|(at, _)| at);
    let tail = end.and_then(|at| text.get(at..)).unwrap_or_default();
    out.extend(tail.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(with: Treatment, value: impl AsRef<[u8]>) -> Option<String> {
        let mut out = b"before".to_vec();
        let cover = Cover::new(Key::from([7; 32]));
        let said = cover.cover(with, value.as_ref(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("before").unwrap().to_owned();
        assert!(said || text.is_empty());
        said.then_some(text)
    }

    #[test]
    fn each_treatment_has_its_form() {
        assert_eq!(covered(Treatment::Null, "alice"), None);
        for value in ["", "alice", "[masked]"] {
            assert_eq!(covered(Treatment::Redact, value).unwrap(), "[masked]");
        }
        let hash = covered(Treatment::Hash, "alice").unwrap();
        assert_eq!(hash.len(), 32);
        assert!(
            hash.bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        );
        assert_eq!(hash, covered(Treatment::Hash, "alice").unwrap());
        assert_ne!(hash, covered(Treatment::Hash, "Alice").unwrap());
        assert!(covered(Treatment::Hash, b"\xff").is_some());
    }

    #[test]
    fn partly_covered_values_show_their_end() {
        for (value, expected) in [
            ("", ""),
            ("a", "*"),
            ("abcd", "****"),
            ("abcde", "****e"),
            ("abcdefgh", "******gh"),
            ("abcdefghi", "*****fghi"),
            ("078-05-1120", "*******1120"),
            ("4111 1111 1111 1111", "***************1111"),
            ("Müller-Lüdenscheidt", "***************eidt"),
            ("日本語のテキスト長い", "******スト長い"),
        ] {
            assert_eq!(covered(Treatment::Partial, value).unwrap(), expected);
        }
        assert_eq!(
            covered(Treatment::Partial, b"078-05-1120\xff").unwrap(),
            REDACTED
        );
    }

    /// RFC 4231, test case 2, whose key is four bytes long.
    #[test]
    fn the_digest_is_that_of_the_rfc() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let cover = Cover::new(Key::from(key));
        let value = b"what do ya want for nothing?";
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex::encode(cover.digest(value)), expected);
        let mut out = Vec::new();
        assert!(cover.cover(Treatment::Hash, value, &mut out));
        assert_eq!(out, &expected.as_bytes()[..32]);
    }

    #[test]
    fn another_key_gives_another_digest() {
        let digest = |key| Cover::new(Key::from([key; 32])).digest(b"alice");
        assert_ne!(digest(1), digest(2));
    }
}

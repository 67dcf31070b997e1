//! The sealed form: AES-256-GCM over everything, with what stands before it.
//!
//! | Bytes | Are |
//! |---|---|
//! | 0 to 8 | `GWSEALED` |
//! | 8 to 12 | the version, little-endian: 1 |
//! | 12 to 20 | which key: the first bytes of HMAC-SHA256 by the key over a fixed text |
//! | 20 to 32 | the nonce, random for each write |
//! | 32 to the end | the ciphertext, and the tag of 16 bytes |
//!
//! The first 20 bytes are authenticated with the rest. A random nonce of 96 bits is good for 2^32
//! writes with one key.
use crate::key::StoreKey;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"GWSEALED";
/// What is written, and the only one that is read.
pub(crate) const VERSION: u32 = 1;
const KEY_ID_BYTES: usize = 8;
const HEADER_BYTES: usize = MAGIC.len() + size_of::<u32>() + KEY_ID_BYTES;
const TAG_BYTES: usize = 16;
/// What sealing adds.
pub(crate) const SEAL_BYTES: usize = HEADER_BYTES + NONCE_LEN + TAG_BYTES;

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It never was sealed by us.
    NotSealed,
    /// By another gateway.
    Version(u32),
    /// With another key.
    OtherKey,
    /// Some bit is not what it was.
    Damaged,
}

/// AES-GCM failed to seal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsealed;

/// Seals. The plain text is overwritten by what it becomes.
pub(crate) fn seal(key: &StoreKey, mut text: Zeroizing<Vec<u8>>) -> Result<Vec<u8>, Unsealed> {
    let header = header(key);
    let cipher = cipher(key).ok_or(Unsealed)?;
    let (nonce, tag) = cipher
        .seal_in_place_separate_tag(Aad::from(&header), &mut text)
        .map_err(|_| Unsealed)?;
    let mut sealed = Vec::with_capacity(text.len().saturating_add(SEAL_BYTES));
    sealed.extend_from_slice(&header);
    sealed.extend_from_slice(nonce.as_ref());
    sealed.extend_from_slice(&text);
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens, and proves that each bit is as it was sealed.
pub(crate) fn open(key: &StoreKey, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    let (magic, rest) = sealed.split_first_chunk().ok_or(Fault::NotSealed)?;
    if magic != MAGIC {
        return Err(Fault::NotSealed);
    }
    let (version, rest) = rest.split_first_chunk().ok_or(Fault::Damaged)?;
    match u32::from_le_bytes(*version) {
        VERSION => {}
        other => return Err(Fault::Version(other)),
    }
    let (key_id, rest) = rest
        .split_first_chunk::<KEY_ID_BYTES>()
        .ok_or(Fault::Damaged)?;
    if *key_id != self::key_id(key) {
        return Err(Fault::OtherKey);
    }
    let (nonce, rest) = rest.split_first_chunk().ok_or(Fault::Damaged)?;
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let mut text = Zeroizing::new(rest.to_vec());
    let cipher = cipher(key).ok_or(Fault::Damaged)?;
    let length = cipher
        .open_in_place(nonce, Aad::from(header(key)), &mut text)
        .map_err(|_| Fault::Damaged)?
        .len();
    text.truncate(length);
    Ok(text)
}

fn cipher(key: &StoreKey) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, key.bytes.as_slice()).ok()
}

fn header(key: &StoreKey) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let parts = MAGIC
        .iter()
        .copied()
        .chain(VERSION.to_le_bytes())
        .chain(key_id(key));
    for (byte, part) in header.iter_mut().zip(parts) {
        *byte = part;
    }
    header
}

/// Tells a wrong key from a damaged file, and nothing about the key.
fn key_id(key: &StoreKey) -> [u8; KEY_ID_BYTES] {
    let mac = hmac::Key::new(hmac::HMAC_SHA256, key.bytes.as_slice());
    let tag = hmac::sign(&mac, b"gateway credentials: which key");
    tag.as_ref().first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> StoreKey {
        StoreKey {
            bytes: Zeroizing::new([byte; 32]),
            source: "/key".into(),
        }
    }

    fn sealed(text: &[u8]) -> Vec<u8> {
        seal(&key(1), Zeroizing::new(text.to_vec())).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_and_is_not_readable() {
        let text = b"hunter2 hunter2 hunter2";
        let one = sealed(text);
        assert_eq!(open(&key(1), &one).unwrap().as_slice(), text);
        assert_eq!(one.len(), text.len() + SEAL_BYTES);
        assert!(!one.windows(7).any(|window| window == b"hunter2"));
        assert_ne!(one, sealed(text), "a new nonce each time");
        assert_eq!(open(&key(1), &sealed(b"")).unwrap().as_slice(), b"");
    }

    #[test]
    fn another_key_opens_nothing() {
        assert_eq!(open(&key(2), &sealed(b"x")).unwrap_err(), Fault::OtherKey);
    }

    #[test]
    fn a_header_that_is_not_ours_is_told_apart() {
        for text in [&b""[..], b"x", b"GWSEALE", b"[policy]\nname = \"a\"\n"] {
            assert_eq!(open(&key(1), text).unwrap_err(), Fault::NotSealed);
        }
        let mut newer = sealed(b"x");
        newer[8] = 2;
        assert_eq!(open(&key(1), &newer).unwrap_err(), Fault::Version(2));
    }

    /// Not one bit can be turned, and not one byte left out or added, without being found.
    #[test]
    fn every_bit_counts() {
        let good = sealed(b"a password");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key(1), &bad).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(open(&key(1), &good[..length]).is_err(), "{length} bytes");
        }
        for more in [&b"\0"[..], &good] {
            assert_eq!(
                open(&key(1), &[&good, more].concat()).unwrap_err(),
                Fault::Damaged
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in proptest::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(open(&key(1), &sealed(&text)).unwrap().to_vec(), text);
        }

        #[test]
        fn nothing_that_is_made_up_opens(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&key(1), &text).is_err());
            let mut headed = header(&key(1)).to_vec();
            headed.extend(text);
            prop_assert_eq!(open(&key(1), &headed).unwrap_err(), Fault::Damaged);
        }
    }
}

//! HMAC-SHA256 (RFC 2104) over parts.
use hmac::{Hmac, Mac};
use sha2::Sha256;

fn over(key: &[u8], parts: &[&[u8]]) -> Option<Hmac<Sha256>> {
    // Keys of any length are good for HMAC; the error cannot happen.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    for part in parts {
        mac.update(part);
    }
    Some(mac)
}

/// The signature in lower-case hexadecimal digits.
pub(crate) fn sign(key: &[u8], parts: &[&[u8]]) -> String {
    over(key, parts)
        .map(|mac| hex::encode(mac.finalize().into_bytes()))
        .unwrap_or_default()
}

/// Is this the signature? In a time that does not depend on where they differ.
pub(crate) fn verify(key: &[u8], parts: &[&[u8]], signature: &str) -> bool {
    let Ok(given) = hex::decode(signature) else {
        return false;
    };
    over(key, parts).is_some_and(|mac| mac.verify_slice(&given).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_published_vector() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let parts: &[&[u8]] = &[b"what do ya want ", b"for nothing?"];
        assert_eq!(sign(b"Jefe", parts), expected);
        assert!(verify(b"Jefe", parts, expected));
        assert!(!verify(b"Jefe", parts, &expected[..62]), "cut");
        assert!(!verify(b"jefe", parts, expected), "another key");
        assert!(!verify(b"Jefe", parts, ""), "nothing");
    }
}

//! A masker that is easy to tell: it needs no key.
use gateway_core::Masker;
use gateway_core::mask::{Detector, Sensitive, Tell, Treatment};

/// Covers a text with `[masked]` or `#` and its length, and finds nothing but the text `secret`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainMasker;

impl Masker for PlainMasker {
    fn cover(&self, with: Treatment, value: &[u8], out: &mut Vec<u8>) -> bool {
        match with {
            Treatment::Null => return false,
            Treatment::Redact => out.extend_from_slice(b"[masked]"),
            Treatment::Partial => out.extend_from_slice(b"****"),
            Treatment::Hash => out.extend_from_slice(format!("#{}", value.len()).as_bytes()),
        }
        true
    }

    fn digest(&self, value: &[u8]) -> [u8; 32] {
        let sum = value.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        [sum; 32]
    }

    fn find(&self, detectors: &[(Detector, Sensitive)], text: &[u8], tell: Tell<'_>) {
        const SECRET: &[u8] = b"secret";
        let Some(first) = detectors.first() else {
            return;
        };
        let mut at = 0;
        while let Some(window) = text.get(at..at + SECRET.len()) {
            if window == SECRET {
                tell(at..at + SECRET.len(), first);
                at += SECRET.len();
            } else {
                at += 1;
            }
        }
    }
}

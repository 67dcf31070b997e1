//! What may be written down of an answer: nothing of what a policy calls sensitive, whoever may see
//! it.
use gateway_core::mask::{Detector, Mask, Predicates, Sensitive, Treatment};
use gateway_core::{Masker, Masks};
use std::sync::Arc;

use super::words;

/// Tells the masks of a veil from those that it was made of.
const VEILED: u64 = 1 << 63;

/// The masks of a policy where all that they call sensitive is covered by the constant.
#[derive(Debug)]
pub(crate) struct Veil {
    masks: Arc<dyn Masks>,
    detectors: Box<[(Detector, Sensitive)]>,
}

impl Veil {
    pub(crate) fn of(masks: Arc<dyn Masks>) -> Veil {
        let detectors = masks.detectors().iter();
        Veil {
            detectors: detectors
                .map(|(detector, sensitive)| (*detector, covered(sensitive)))
                .collect(),
            masks,
        }
    }
}

fn covered(sensitive: &Sensitive) -> Sensitive {
    Sensitive {
        mask: Arc::new(Mask {
            name: Arc::clone(&sensitive.mask.name),
            with: Treatment::Redact,
            predicates: Predicates::Allow,
        }),
        covered: true,
    }
}

impl Masks for Veil {
    fn id(&self) -> u64 {
        self.masks.id() | VEILED
    }

    fn field(&self, name: &str) -> Option<Sensitive> {
        self.masks.field(name).as_ref().map(covered)
    }

    fn detectors(&self) -> &[(Detector, Sensitive)] {
        &self.detectors
    }

    fn cover(&self) -> bool {
        true
    }
}

/// Covers what the detectors find in a value, which is sent as `raw` and written down as `text`.
pub(crate) fn search_value(
    raw: &[u8],
    text: String,
    masks: &dyn Masks,
    masker: &dyn Masker,
) -> String {
    let is_elsewhere = raw != text.as_bytes() && words::search(raw, masks, masker).is_some();
    if is_elsewhere || words::hides(raw, masks, masker) {
        // Where in the text that is, nobody knows.
        return String::from_utf8_lossy(&words::constant(masker)).into_owned();
    }
    match words::search(text.as_bytes(), masks, masker) {
        Some(searched) => String::from_utf8_lossy(&searched).into_owned(),
        None => text,
    }
}

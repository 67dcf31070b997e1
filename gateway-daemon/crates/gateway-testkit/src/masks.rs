//! Masks that cover what the test names.
use gateway_core::Masks;
use gateway_core::mask::{Detector, Mask, Predicates, Sensitive, Treatment};
use std::sync::Arc;

/// Covers some fields by redact and watches others, finds nothing by detectors, and refuses
/// questions. The mask is called `personal`.
#[derive(Clone, Copy, Debug)]
pub struct FakeMasks {
    /// The fields that are covered.
    pub covered: &'static [&'static str],
    /// The fields that are shown and recorded.
    pub watched: &'static [&'static str],
}

impl Masks for FakeMasks {
    fn id(&self) -> u64 {
        1
    }

    fn field(&self, name: &str) -> Option<Sensitive> {
        let covered = self.covered.contains(&name);
        let mask = Mask {
            name: "personal".into(),
            with: Treatment::Redact,
            predicates: Predicates::Deny,
        };
        (covered || self.watched.contains(&name)).then(|| Sensitive {
            mask: Arc::new(mask),
            covered,
        })
    }

    fn detectors(&self) -> &[(Detector, Sensitive)] {
        &[]
    }

    fn cover(&self) -> bool {
        true
    }
}

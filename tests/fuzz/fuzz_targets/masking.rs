//! The detectors over any text, and the treatments of any value.
//!
//! The first byte chooses the detectors, one bit each; the others are the text.
#![no_main]

use gateway_core::Masker;
use gateway_core::mask::{Detector, Mask, Predicates, Sensitive, Treatment};
use gateway_masking::{Cover, Key, REDACTED};
use libfuzzer_sys::fuzz_target;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

static COVER: LazyLock<Cover> = LazyLock::new(|| Cover::new(Key::from([7; 32])));

static ALL: LazyLock<Vec<(Detector, Sensitive)>> = LazyLock::new(|| {
    let mask = Arc::new(Mask {
        name: "personal-data".into(),
        with: Treatment::Redact,
        predicates: Predicates::Deny,
    });
    let sensitive = |detector| {
        let mask = Arc::clone(&mask);
        (
            detector,
            Sensitive {
                mask,
                covered: true,
            },
        )
    };
    Detector::ALL.map(sensitive).to_vec()
});

fn find(detectors: &[(Detector, Sensitive)], text: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    COVER.find(detectors, text, &mut |range, asked| {
        assert!(detectors.contains(asked));
        assert!(range.start < range.end && range.end <= text.len());
        assert!(found.last().is_none_or(|last| last.end <= range.start));
        found.push(range);
    });
    if let Ok(text) = str::from_utf8(text) {
        for range in &found {
            assert!(text.get(range.clone()).is_some(), "a character is cut");
        }
    }
    found
}

fn cover(with: Treatment, value: &[u8]) -> Option<Vec<u8>> {
    let mut out = b"before".to_vec();
    let said = COVER.cover(with, value, &mut out);
    let covered = out.strip_prefix(b"before").expect("what was there stays");
    assert!(said || covered.is_empty());
    said.then(|| covered.to_vec())
}

fn check_cover(value: &[u8]) {
    assert_eq!(cover(Treatment::Null, value), None);
    let redacted = Some(REDACTED.as_bytes().to_vec());
    assert_eq!(cover(Treatment::Redact, value), redacted);
    let hash = cover(Treatment::Hash, value).expect("a text");
    assert!(hash.len() == 32 && hash.iter().all(u8::is_ascii_hexdigit));
    assert_eq!(cover(Treatment::Hash, value), Some(hash));
    let partial = cover(Treatment::Partial, value).expect("a text");
    let Ok(text) = str::from_utf8(value) else {
        assert_eq!(partial, REDACTED.as_bytes());
        return;
    };
    let partial = str::from_utf8(&partial).expect("of a text a text");
    assert_eq!(partial.chars().count(), text.chars().count());
    let mut differ = partial.chars().zip(text.chars());
    let shown = differ.by_ref().skip_while(|(covered, _)| *covered == '*');
    assert!(shown.count() <= 4);
}

fuzz_target!(|input: &[u8]| {
    let Some((&chosen, text)) = input.split_first() else {
        return;
    };
    let is_chosen = |(index, _): &(usize, _)| chosen & (1 << index) != 0;
    let some: Vec<_> = ALL
        .iter()
        .cloned()
        .enumerate()
        .filter(is_chosen)
        .map(|(_, asked)| asked)
        .collect();
    let found = find(&some, text);
    // More detectors find no less.
    let all = find(&ALL, text);
    for range in &found {
        assert!(
            all.iter()
                .any(|whole| whole.start <= range.start && range.end <= whole.end)
        );
    }
    for range in all {
        check_cover(&text[range]);
    }
    check_cover(text);
});

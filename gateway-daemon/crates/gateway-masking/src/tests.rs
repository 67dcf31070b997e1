//! What holds for all texts: nothing overlaps, nothing is out of range, nothing takes long.
use crate::{Cover, Key, REDACTED};
use gateway_core::Masker;
use gateway_core::mask::{Detector, Mask, Predicates, Sensitive, Treatment};
use proptest::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn cover() -> Cover {
    Cover::new(Key::from([7; 32]))
}

fn sensitive(name: &str, with: Treatment, covered: bool) -> Sensitive {
    Sensitive {
        mask: Arc::new(Mask {
            name: name.into(),
            with,
            predicates: Predicates::Deny,
        }),
        covered,
    }
}

fn all() -> Vec<(Detector, Sensitive)> {
    let sensitive = sensitive("all", Treatment::Redact, true);
    Detector::ALL
        .map(|detector| (detector, sensitive.clone()))
        .to_vec()
}

fn found(detectors: &[(Detector, Sensitive)], text: &[u8]) -> Vec<(Range<usize>, String)> {
    let mut found = Vec::new();
    cover().find(detectors, text, &mut |range, (detector, sensitive)| {
        found.push((range, format!("{detector} {}", sensitive.mask.name)));
    });
    found
}

fn check_ranges(found: &[(Range<usize>, String)], text: &[u8]) {
    let mut last = 0;
    for (range, _) in found {
        assert!(last <= range.start && range.start < range.end && range.end <= text.len());
        if let Ok(text) = str::from_utf8(text) {
            assert!(text.get(range.clone()).is_some(), "a character is cut");
        }
        last = range.end;
    }
}

#[test]
fn each_detector_is_asked_for_by_its_name() {
    let text = format!(
        "alice@example.com 078-05-1120 4111111111111111 DE89370400440532013000 {}{} \
         eyJhbGciOiJub25lIn0.eyJhIjoxfQ. -----BEGIN PRIVATE KEY-----",
        "ghp_",
        "0a1B".repeat(9)
    );
    let kinds: Vec<String> = found(&all(), text.as_bytes())
        .into_iter()
        .map(|(_, kind)| kind)
        .collect();
    let expected = Detector::ALL.map(|detector| format!("{detector} all"));
    assert_eq!(kinds, expected);
    for (one, expected) in all().iter().zip(expected) {
        let found = found(std::slice::from_ref(one), text.as_bytes());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, expected);
    }
    assert!(found(&[], text.as_bytes()).is_empty());
}

#[test]
fn of_two_that_overlap_the_stronger_names_both() {
    let token = format!("ghp_{}", "0a1B".repeat(9));
    let text = format!("https://{token}@github.com/x");
    let both = 8..8 + token.len() + "@github.com".len();
    let asked = |email: Sensitive, key: Sensitive| {
        let detectors = [(Detector::Email, email), (Detector::ApiKey, key)];
        found(&detectors, text.as_bytes())
    };
    let with = |treatment, covered| sensitive("m", treatment, covered);
    use Treatment::{Hash, Partial, Redact};
    for (email, key, expected) in [
        (with(Redact, true), with(Redact, true), "email m"),
        (with(Partial, true), with(Hash, true), "api-key m"),
        (with(Redact, false), with(Partial, true), "api-key m"),
        (with(Hash, true), with(Redact, false), "email m"),
    ] {
        assert_eq!(asked(email, key), [(both.clone(), expected.to_owned())]);
    }
}

#[test]
fn of_two_masks_for_one_kind_the_stronger_counts() {
    let one = sensitive("one", Treatment::Partial, true);
    let other = sensitive("other", Treatment::Redact, true);
    let clear = sensitive("clear", Treatment::Null, false);
    let detectors = [one.clone(), other, clear, one].map(|it| (Detector::Email, it));
    assert_eq!(
        found(&detectors, b"a@b.io"),
        [(0..6, "email other".to_owned())]
    );
}

#[test]
fn a_key_is_covered_although_something_else_reaches_into_it() {
    let key = format!("sk-{}-----BEGIN PRIVATE KEY-----\nMIIE", "0a1B".repeat(9));
    assert_eq!(
        found(&all(), key.as_bytes()),
        [(0..key.len(), "api-key all".to_owned())]
    );
}

/// One that took quadratic time would take hours for these.
#[test]
fn texts_that_were_made_to_be_slow_are_not() {
    let key = format!("sk-{}-----BEGIN PRIVATE KEY-----", "0a1B".repeat(9));
    for piece in [
        "a@",
        "@",
        "a@b.c@",
        "a.",
        "a@bb.cc",
        "a@b-",
        "1",
        "4111 ",
        "4111-1111-",
        "1 ",
        "1-",
        "078-05-",
        "078-05-1120-",
        "4111111111111111 ",
        "DE89",
        "DE89 ",
        "NO11 ",
        "eyJ",
        "eyJ.",
        "eyJhbGciOiJub25lIn0.",
        "eyJhbGciOiJub25lIn0-",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN A PRIVATE KEY-----END ",
        "sk-",
        "sk-A",
        "ghp_",
        "SG.",
        "hooks.slack.com/services/",
        "é@é.",
        "\u{10ffff}",
        key.as_str(),
    ] {
        let text = piece.repeat((1 << 20) / piece.len());
        let begun = Instant::now();
        check_ranges(&found(&all(), text.as_bytes()), text.as_bytes());
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(20), "{piece}: {took:?}");
    }
}

/// Bytes that are more often a part of something than random ones.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        "[ -~]{0,20}".prop_map(String::into_bytes),
        "[0-9 .@-]{0,24}".prop_map(String::into_bytes),
        "\\PC{0,8}".prop_map(String::into_bytes),
        prop::sample::select(vec![
            "alice@example.com",
            "@b.co",
            "078-05-1120",
            "4111 1111 1111 1111",
            "4111111111111111",
            "DE89370400440532013000",
            "GB29 NWBK 6016 1331 9268 19",
            "eyJhbGciOiJub25lIn0.",
            "eyJhIjoxfQ",
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "AKIAIOSFODNN7EXAMPLE",
            "sk-0123456789ABCDEF0123456789ABCDEF",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_found_is_in_order_and_in_range(text in text()) {
        check_ranges(&found(&all(), &text), &text);
    }

    #[test]
    fn all_together_find_what_each_finds(text in text()) {
        let together = found(&all(), &text);
        for one in all() {
            for (range, _) in found(&[one], &text) {
                let whole = together.iter().find(|(whole, _)| {
                    whole.start <= range.start && range.end <= whole.end
                });
                prop_assert!(whole.is_some(), "{range:?} of {together:?}");
            }
        }
    }

    #[test]
    fn nothing_is_left_of_a_value(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let cover = cover();
        let mut out = Vec::new();
        prop_assert!(!cover.cover(Treatment::Null, &value, &mut out));
        prop_assert!(out.is_empty());
        prop_assert!(cover.cover(Treatment::Redact, &value, &mut out));
        prop_assert_eq!(&out, REDACTED.as_bytes());
        out.clear();
        prop_assert!(cover.cover(Treatment::Hash, &value, &mut out));
        let digest = hex::encode(&cover.digest(&value)[..16]);
        prop_assert_eq!(&out, digest.as_bytes());
        let inside = |value: &[u8]| out.windows(value.len()).any(|part| part == value);
        // A shorter one can be in it by chance.
        prop_assert!(value.len() < 9 || !inside(&value));
    }

    #[test]
    fn a_part_of_a_value_is_its_end_and_short(value in "\\PC{0,40}") {
        let mut out = Vec::new();
        prop_assert!(cover().cover(Treatment::Partial, value.as_bytes(), &mut out));
        let out = String::from_utf8(out).unwrap();
        let (length, all) = (out.chars().count(), value.chars().count());
        prop_assert_eq!(length, all);
        let shown = out.chars().zip(value.chars()).skip_while(|(out, _)| *out == '*');
        let shown: Vec<(char, char)> = shown.collect();
        prop_assert!(shown.iter().all(|(out, value)| out == value));
        prop_assert!(shown.len() <= 4 && (all == 0 || shown.len() * 2 < all));
        prop_assert!(all > 4 || shown.is_empty());
    }
}

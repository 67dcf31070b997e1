//! Whom a hold asks, for how long, and how far the answer reaches.
use crate::glob::Glob;
use crate::rule::PrincipalPattern;
use gateway_core::{Grant, HoldRule, HoldTerms, Principal};
use std::sync::Arc;
use std::time::Duration;

/// How long an operation waits when its rule does not say so. A held statement keeps its locks.
pub(crate) const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// The shortest wait.
pub(crate) const TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// The longest wait, and the longest time that an approval covers.
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Does any of these patterns speak of a principal? Patterns are those of `principals` and
/// `approvers`: globs over its name, `group:GLOB` over its groups. No pattern speaks of nobody.
#[must_use]
pub fn speaks_of(patterns: &[Arc<str>], principal: &Principal) -> bool {
    patterns.iter().any(|text| match pattern(text) {
        PrincipalPattern::Id(glob) => glob.matches(&principal.id),
        PrincipalPattern::Group(glob) => principal.groups.iter().any(|group| glob.matches(group)),
    })
}

/// A pattern over principals: `group:NAME`, or a name.
pub(crate) fn pattern(text: &str) -> PrincipalPattern {
    match text.strip_prefix("group:") {
        Some(group) => PrincipalPattern::Group(Glob::new(group)),
        None => PrincipalPattern::Id(Glob::new(text)),
    }
}

/// A time like `30s`, `15m` or `2h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        _ => return None,
    };
    let digits = text.get(..text.len() - 1)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(unit).map(Duration::from_secs)
}

/// The terms of several rules together: all of their names, the shortest wait, the least grant.
pub(crate) fn together<'a>(
    terms: impl Iterator<Item = &'a Arc<HoldTerms>>,
) -> Option<Arc<HoldTerms>> {
    terms.fold(None, |before: Option<Arc<HoldTerms>>, terms| {
        Some(match before {
            Some(before) => Arc::new(before.and(terms)),
            None => Arc::clone(terms),
        })
    })
}

/// The terms of one rule.
pub(crate) fn terms(
    rule: &Arc<str>,
    approvers: Vec<Arc<str>>,
    timeout: Duration,
    grant: Grant,
) -> Arc<HoldTerms> {
    Arc::new(HoldTerms {
        rules: vec![HoldRule {
            rule: Arc::clone(rule),
            approvers,
        }],
        timeout,
        grant,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::Assurance;

    #[test]
    fn patterns_speak_of_principals_and_groups() {
        let principal = Principal {
            id: "user:alice".into(),
            assurance: Assurance::Verified,
            groups: vec!["dba".into(), "team-a".into()],
        };
        for (patterns, expected) in [
            (vec![], false),
            (vec!["user:alice"], true),
            (vec!["user:*"], true),
            (vec!["user:bob"], false),
            (vec!["group:dba"], true),
            (vec!["group:team-*"], true),
            (vec!["group:d"], false),
            (vec!["dba"], false),
            (vec!["group:user:alice"], false),
            (vec!["user:bob", "group:dba"], true),
            (vec!["*"], true),
        ] {
            let patterns: Vec<Arc<str>> = patterns.into_iter().map(Into::into).collect();
            assert_eq!(speaks_of(&patterns, &principal), expected, "{patterns:?}");
        }
        // A principal whose name looks like a group is not in it.
        let poser = Principal {
            id: "group:dba".into(),
            groups: Vec::new(),
            ..principal
        };
        assert!(!speaks_of(&["group:dba".into()], &poser));
    }

    #[test]
    fn times_are_a_number_and_a_unit() {
        for (text, expected) in [
            ("1s", Some(1)),
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("24h", Some(86_400)),
            ("0s", Some(0)),
            ("", None),
            ("s", None),
            ("1", None),
            ("1d", None),
            ("-1s", None),
            ("+1s", None),
            ("1 s", None),
            ("1.5h", None),
            ("18446744073709551615h", None),
            ("99999999999999999999s", None),
            ("1é", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn of_several_terms_the_strictest_count() {
        let one = terms(
            &"a".into(),
            vec!["group:a".into()],
            Duration::from_secs(60),
            Grant::Until(Duration::from_secs(9)),
        );
        let two = terms(
            &"b".into(),
            vec!["group:b".into()],
            Duration::from_secs(30),
            Grant::Once,
        );
        let both = together([&one, &two].into_iter()).unwrap();
        assert_eq!(
            (both.timeout, both.grant),
            (Duration::from_secs(30), Grant::Once)
        );
        assert_eq!(
            both.rules
                .iter()
                .map(|rule| &*rule.rule)
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
        assert_eq!(together([].into_iter()), None);
    }
}

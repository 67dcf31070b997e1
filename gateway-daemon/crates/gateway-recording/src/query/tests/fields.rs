//! Whose sensitive fields came back, covered and in the clear.
use super::*;
use crate::testing::{hold, resolution};
use gateway_core::mask::FieldCounts;

fn counts(fields: &[(&str, u64)]) -> FieldCounts {
    let fields = fields.iter();
    fields.map(|(name, n)| ((*name).into(), *n)).collect()
}

/// Appends how an operation was answered.
fn answer(journal: &Journal, (session, seq): (u64, u32), masked: &[(&str, u64)], clear: &[&str]) {
    let clear: Vec<_> = clear.iter().map(|name| (*name, 1)).collect();
    journal
        .outcome(&OperationOutcome {
            masked: counts(masked),
            disclosed: counts(&clear),
            ..outcome(session, seq)
        })
        .unwrap();
}

fn disclosed(pattern: &str) -> Query {
    Query {
        disclosed: Some(Pattern::new(pattern)),
        ..Query::default()
    }
}

/// Alice sees it all, Bob what is covered, Carol nothing; and nobody what was refused.
fn three_sessions(dir: &Path) -> Journal {
    let journal = open(dir);
    for (session, principal) in [(1, "local:alice"), (2, "local:bob"), (3, "local:carol")] {
        let record = opened(session, session, principal);
        journal.session_opened(&record).unwrap();
    }
    for (session, seq) in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2)] {
        operate(&journal, session, seq, "SELECT");
    }
    let email = "public.users.email";
    answer(&journal, (2, 1), &[(email, 7)], &[]);
    answer(&journal, (1, 1), &[], &[email, "detected:credit-card"]);
    answer(&journal, (3, 1), &[], &[]);
    answer(&journal, (1, 2), &[(email, 1)], &["hr.people.email"]);
    let refused = Parts::new(2, 3, "SELECT").denied();
    journal.operation(&refused.record()).unwrap();
    journal
}

#[test]
fn the_responders_question_is_one_query() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let _journal = three_sessions(&path);
    for (how, reader) in readers(&path) {
        for (pattern, expected) in [
            ("*", "1.1 1.2"),
            ("public.users.email", "1.1"),
            ("*.email", "1.1 1.2"),
            ("public.*", "1.1"),
            ("detected:*", "1.1"),
            ("detected:iban", ""),
            ("email", ""),
            ("", ""),
        ] {
            let found = ids(&reader, &disclosed(pattern)).join(" ");
            assert_eq!(found, expected, "{pattern}, by {how}");
        }
        let of_bob = Query {
            principal: Some(Pattern::new("local:bob")),
            ..disclosed("*")
        };
        assert_eq!(ids(&reader, &of_bob), [""; 0], "by {how}");
        let masked = Query {
            masked: Some(Pattern::new("*.email")),
            ..Query::default()
        };
        assert_eq!(ids(&reader, &masked), ["2.1", "1.2"], "by {how}");
        let both = Query {
            disclosed: Some(Pattern::new("hr.*")),
            ..masked
        };
        assert_eq!(ids(&reader, &both), ["1.2"], "by {how}");
    }
}

#[test]
fn a_session_counts_what_was_masked_while_it_is_open_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = three_sessions(&path);
    let masked = || {
        let reader = Reader::open(&path).unwrap();
        let found = sessions(&reader, &Query::default()).unwrap();
        found.map(|view| view.unwrap().masked).collect::<Vec<_>>()
    };
    assert_eq!(masked(), [1, 7, 0]);
    answer(&journal, (2, 2), &[("a", 5), ("b", u64::MAX)], &[]);
    assert_eq!(masked(), [1, u64::MAX, 0], "it does not wrap");
    journal.session_closed(&closed(2)).unwrap();
    assert_eq!(masked(), [1, 3, 0], "the last record has the last word");
}

#[test]
fn a_follower_waits_for_answers_and_a_slow_one_keeps_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let mut follower = Follower::new(&reader, &disclosed("*.email"), Start::End).unwrap();
    let now = Instant::now();
    let later = now + Duration::from_secs(9);
    let mut next = |at| {
        follower.poll(at).map(|view| {
            let view = view.unwrap();
            assert!(view.outcome.is_some());
            view.operation.id.seq
        })
    };
    for seq in 1..=4 {
        operate(&journal, 1, seq, "SELECT");
    }
    assert_eq!(next(now), None);
    assert_eq!(next(later), None, "its patience is for others");
    answer(&journal, (1, 3), &[], &["users.email"]);
    assert_eq!(next(later), Some(3));
    answer(&journal, (1, 2), &[], &["users.phone"]);
    assert_eq!(next(later), None);
    answer(&journal, (1, 1), &[], &["users.email"]);
    assert_eq!(next(later), Some(1), "however late it is answered");
    journal.session_closed(&closed(1)).unwrap();
    assert_eq!(next(later), None, "the fourth never was");
    drop(journal);
    assert_eq!(next(later), None);
}

#[test]
fn what_was_held_is_given_when_it_discloses() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    for (seq, verdict) in [(1, Verdict::Approved), (2, Verdict::Denied)] {
        hold(&journal, 1, seq, "SELECT");
        journal.resolution(&resolution(1, seq, verdict)).unwrap();
    }
    hold(&journal, 1, 3, "SELECT");
    answer(&journal, (1, 1), &[], &["users.email"]);
    let reader = Reader::open(dir.path()).unwrap();
    let mut follower = Follower::new(&reader, &disclosed("*"), Start::Beginning).unwrap();
    let given = follower.poll(Instant::now()).unwrap().unwrap();
    assert_eq!(given.operation.id.seq, 1);
    assert_eq!(given.verdict(), Verdict::Approved);
    assert_eq!(given.approver(), Some("user:dana@acme.com"));
    assert!(follower.poll(Instant::now()).is_none());
    let found: Vec<_> = operations(&reader, &disclosed("*"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(found, [given], "the query says the same");
}

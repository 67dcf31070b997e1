//! Operations that are held, and what comes of them.
use super::*;
use crate::testing::{hold, resolution};
use gateway_core::{OperationId, Resolution, SessionClosed};
use std::os::unix::fs::FileExt;

mod followed;

/// A journal with one session that is open.
fn begun(dir: &Path) -> Journal {
    let journal = open(dir);
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    journal
}

fn resolve(journal: &Journal, seq: u32, verdict: Verdict) {
    journal.resolution(&resolution(1, seq, verdict)).unwrap();
}

fn found(reader: &Reader, query: &Query) -> Vec<OperationView> {
    operations(reader, query)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// What is shown of a view: its number and verdict, who answered, why, and how many rows.
fn shown(view: &OperationView) -> String {
    let json = serde_json::to_value(view).unwrap();
    let key = |name: &str| json[name].as_str().unwrap_or("-").to_owned();
    let rows = json["rows"].as_u64().map_or("-".into(), |n| n.to_string());
    let (verdict, approver, reason) = (key("verdict"), key("approver"), key("reason"));
    format!("{} {verdict} {approver} {reason} {rows}", json["seq"])
}

/// Checks what every way of asking shows.
fn check(path: &Path, expected: &[&str]) {
    for (how, reader) in readers(path) {
        for session in [None, Some(SessionId(1))] {
            let query = Query {
                session,
                ..Query::default()
            };
            let views: Vec<_> = found(&reader, &query).iter().map(shown).collect();
            assert_eq!(views, expected, "by {how}, session {session:?}");
        }
    }
}

/// How many operations of session 1 were asked for, denied, held, and wait.
fn counts(path: &Path) -> (u64, u64, u64, u64) {
    let mut all = readers(path).into_iter().map(|(_, reader)| {
        let found = sessions(&reader, &Query::default()).unwrap();
        let view = found.map(Result::unwrap).next().unwrap();
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(
            (&json["held"], &json["denied"]),
            (&view.held.into(), &view.denied.into())
        );
        (view.operations, view.denied, view.held, view.waiting)
    });
    let first = all.next().unwrap();
    assert!(all.all(|other| other == first));
    first
}

const LOST: &str = "the gateway ended before it was answered";

#[test]
fn a_hold_has_the_verdict_of_its_resolution() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    hold(&journal, 1, 1, "DELETE FROM a");
    check(&path, &["1 hold - - -"]);
    assert_eq!(counts(&path), (1, 0, 1, 1));
    resolve(&journal, 1, Verdict::Approved);
    check(&path, &["1 approved user:dana@acme.com ticket 7 -"]);
    journal.outcome(&outcome(1, 1)).unwrap();
    hold(&journal, 1, 2, "DELETE FROM b");
    resolve(&journal, 2, Verdict::Denied);
    hold(&journal, 1, 3, "DELETE FROM c");
    resolve(&journal, 3, Verdict::Expired);
    operate(&journal, 1, 4, "SELECT 1");
    check(
        &path,
        &[
            "1 approved user:dana@acme.com ticket 7 2",
            "2 denied user:dana@acme.com ticket 7 -",
            "3 expired - - -",
            "4 allow - - -",
        ],
    );
    assert_eq!(counts(&path), (4, 2, 3, 0));
    journal
        .session_closed(&SessionClosed {
            held: 3,
            ..closed(1)
        })
        .unwrap();
    assert_eq!(
        counts(&path),
        (3, 1, 3, 0),
        "the last record has the last word"
    );
}

#[test]
fn what_was_resolved_says_when_and_whether_it_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    let journal = begun(dir.path());
    for (seq, verdict) in [
        (1, Verdict::Approved),
        (2, Verdict::Denied),
        (3, Verdict::Expired),
    ] {
        hold(&journal, 1, seq, "DELETE FROM a");
        resolve(&journal, seq, verdict);
    }
    hold(&journal, 1, 4, "DELETE FROM a");
    let views = found(&Reader::open(dir.path()).unwrap(), &Query::default());
    let refused: Vec<_> = views.iter().map(OperationView::was_refused).collect();
    assert_eq!(refused, [false, true, true, false]);
    let waiting: Vec<_> = views.iter().map(OperationView::is_waiting).collect();
    assert_eq!(waiting, [false, false, false, true]);
    assert!(!views[1].operation.was_refused(), "when it was decided");
    let resolved = |view| serde_json::to_value(view).unwrap()["resolved"].clone();
    assert_eq!(resolved(&views[0]), "2023-11-14T22:13:20.300000Z");
    assert_eq!(resolved(&views[3]), serde_json::Value::Null);
}

#[test]
fn what_waits_when_the_daemon_dies_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    operate(&journal, 1, 1, "SELECT 1");
    hold(&journal, 1, 2, "DELETE FROM a");
    assert_eq!(counts(&path), (2, 0, 1, 1));
    drop(journal);
    let lost = format!("2 denied - {LOST} -");
    check(&path, &["1 allow - - -", &lost]);
    assert_eq!(counts(&path), (2, 1, 1, 0));
    // The next daemon lives; it is still not the one that held it. Ids do not come again, and
    // if they did, its resolutions would be those of others.
    let journal = open(&path);
    check(&path, &["1 allow - - -", &lost]);
    assert_eq!(counts(&path), (2, 1, 1, 0));
    resolve(&journal, 2, Verdict::Approved);
    check(&path, &["1 allow - - -", &lost]);
    assert_eq!(counts(&path), (2, 1, 1, 0));
}

#[test]
fn what_waits_when_its_session_is_closed_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    hold(&journal, 1, 1, "DELETE FROM a");
    journal.session_closed(&closed(1)).unwrap();
    check(&path, &[&format!("1 denied - {LOST} -")]);
}

#[test]
fn observe_and_shadow_show_what_enforce_would_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    for (seq, mode) in [(1, Mode::Observe), (2, Mode::Shadow)] {
        let mut parts = Parts::new(1, seq, "DELETE FROM a").held();
        parts.mode = mode;
        journal.operation(&parts.record()).unwrap();
        journal.outcome(&outcome(1, seq)).unwrap();
    }
    // Nobody was asked, so nobody can have answered.
    resolve(&journal, 1, Verdict::Denied);
    let expected = ["1 hold - - 2", "2 hold - - 2"];
    check(&path, &expected);
    assert_eq!(counts(&path), (2, 0, 0, 0));
    drop(journal);
    check(&path, &expected);
}

#[test]
fn two_holds_of_one_session_have_each_their_own_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    journal.session_opened(&opened(2, 1, "local:bob")).unwrap();
    hold(&journal, 1, 1, "DELETE FROM a");
    hold(&journal, 1, 2, "DELETE FROM b");
    hold(&journal, 2, 1, "DELETE FROM c");
    resolve(&journal, 2, Verdict::Denied);
    resolve(&journal, 1, Verdict::Approved);
    // The first answer counts.
    resolve(&journal, 1, Verdict::Denied);
    journal.outcome(&outcome(1, 1)).unwrap();
    let reader = Reader::open(&path).unwrap();
    let views: Vec<_> = found(&reader, &Query::default())
        .iter()
        .map(shown)
        .collect();
    assert_eq!(
        views,
        [
            "1 approved user:dana@acme.com ticket 7 2",
            "2 denied user:dana@acme.com ticket 7 -",
            "1 hold - - -",
        ]
    );
    assert_eq!(counts(&path), (2, 1, 2, 0));
}

#[test]
fn a_resolution_in_a_later_segment_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    journal.session_opened(&opened(2, 2, "local:bob")).unwrap();
    hold(&journal, 1, 1, "DELETE FROM a");
    // More than the window holds.
    for seq in 1..=9000 {
        operate(&journal, 2, seq, "SELECT 1");
        journal.outcome(&outcome(2, seq)).unwrap();
    }
    resolve(&journal, 1, Verdict::Approved);
    for seq in 9001..=10_000 {
        operate(&journal, 2, seq, "SELECT 1");
    }
    journal.outcome(&outcome(1, 1)).unwrap();
    assert!(Reader::open(&path).unwrap().segments().unwrap().len() > 5);
    for (how, reader) in readers(&path) {
        for tree in [None, Some(TreeId(1))] {
            let query = Query {
                tree,
                ..Query::default()
            };
            let views = found(&reader, &query);
            let expected = "1 approved user:dana@acme.com ticket 7 2";
            assert_eq!(shown(&views[0]), expected, "by {how}, {tree:?}");
            let others = views[1..].iter();
            assert!(others.clone().all(|view| view.hold.is_none()));
            assert_eq!(others.len(), tree.map_or(10_000, |_| 0));
        }
    }
}

/// Holds of a daemon that died, and of one that lives, both too far back for the window.
#[test]
fn what_waits_behind_a_full_window_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let journal = begun(dir.path());
    hold(&journal, 1, 1, "DELETE FROM a");
    for seq in 2..=9000 {
        operate(&journal, 1, seq, "SELECT 1");
    }
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!(shown(&found(&reader, &Query::default())[0]), "1 hold - - -");
    drop(journal);
    let lost = format!("1 denied - {LOST} -");
    assert_eq!(shown(&found(&reader, &Query::default())[0]), lost);
    let _journal = open(dir.path());
    assert_eq!(shown(&found(&reader, &Query::default())[0]), lost);
}

#[test]
fn filters_know_what_came_of_a_hold() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    for (seq, verdict) in [
        (1, Verdict::Approved),
        (2, Verdict::Denied),
        (3, Verdict::Expired),
    ] {
        hold(&journal, 1, seq, "DELETE FROM a");
        resolve(&journal, seq, verdict);
    }
    hold(&journal, 1, 4, "DELETE FROM a");
    operate(&journal, 1, 5, "SELECT 1");
    journal
        .operation(&Parts::new(1, 6, "DROP").denied().record())
        .unwrap();
    let check = |expected: [&str; 7]| {
        let verdicts = [
            "hold", "approved", "denied", "expired", "allow", "deny", "else",
        ];
        for (how, reader) in readers(&path) {
            for (verdict, expected) in verdicts.into_iter().zip(expected) {
                let query = Query {
                    verdict: Some(verdict.into()),
                    ..Query::default()
                };
                assert_eq!(
                    ids(&reader, &query).join(" "),
                    expected,
                    "{verdict}, by {how}"
                );
            }
        }
    };
    check(["1.4", "1.1", "1.2", "1.3", "1.5", "1.6", ""]);
    let live = Query {
        live: true,
        verdict: Some("hold".into()),
        ..Query::default()
    };
    assert_eq!(ids(&Reader::open(&path).unwrap(), &live), ["1.4"]);
    drop(journal);
    check(["", "1.1", "1.2 1.4", "1.3", "1.5", "1.6", ""]);
    assert_eq!(ids(&Reader::open(&path).unwrap(), &live), [""; 0]);
}

#[test]
fn an_index_that_is_made_anew_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    for seq in 1..=900 {
        hold(&journal, 1, seq, "DELETE FROM a");
        journal
            .session_opened(&opened(1000 + u64::from(seq), 7, "local:bob"))
            .unwrap();
        let verdicts = [Verdict::Approved, Verdict::Denied, Verdict::Expired];
        resolve(&journal, seq, verdicts[seq as usize % 3]);
    }
    let query = Query {
        principal: Some(Pattern::new("local:al*")),
        ..Query::default()
    };
    let [(_, plain), (_, indexed)] = readers(&path);
    let expected = found(&plain, &query);
    assert!(
        expected
            .iter()
            .all(|view| matches!(view.hold, Some(HoldEnding::Resolved(_))))
    );
    assert_eq!(found(&indexed, &query), expected);
    drop(indexed);
    let anew = Index::rebuild(path.with_extension("index")).unwrap();
    while anew.catch_up(&plain).unwrap().more {}
    assert_eq!(
        found(&plain.clone().with_index(Some(anew.into())), &query),
        expected
    );
    let entry = readers(&path)[1]
        .1
        .index()
        .unwrap()
        .session(SessionId(1))
        .unwrap()
        .unwrap();
    assert!(entry.first == 1 && entry.last > 2, "{entry:?}");
}

/// A power loss can keep the hold and take its answer.
#[test]
fn a_tail_torn_between_hold_and_resolution_leaves_it_unanswered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    {
        let journal = begun(&path);
        hold(&journal, 1, 1, "DELETE FROM a");
        resolve(&journal, 1, Verdict::Approved);
    }
    let at = crate::testing::records(&path)[3].position;
    let file = crate::segment::path(&path, at.segment);
    let whole = std::fs::read(&file).unwrap();
    let reader = Reader::open(&path).unwrap();
    let end = reader.end().unwrap().offset;
    for kept in at.offset..end {
        let mut torn = whole.clone();
        torn[kept as usize..end as usize].fill(0);
        if torn == whole {
            continue; // padding
        }
        std::fs::write(&file, torn).unwrap();
        let read = operations(&reader, &Query::default()).unwrap();
        let views: Vec<_> = read
            .filter_map(Result::ok)
            .map(|view| shown(&view))
            .collect();
        let lost = format!("1 denied - {LOST} -");
        assert_eq!(views, [lost.as_str()], "{kept}");
        drop(open(&path));
        check(&path, &[&lost]);
    }
}

#[test]
fn a_resolution_without_its_operation_is_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    hold(&journal, 1, 1, "DELETE FROM a");
    let at = crate::testing::records(&path)[2].position;
    resolve(&journal, 1, Verdict::Denied);
    journal.outcome(&outcome(1, 1)).unwrap();
    resolve(&journal, 7, Verdict::Approved);
    journal
        .resolution(&resolution(99, 1, Verdict::Expired))
        .unwrap();
    operate(&journal, 1, 2, "SELECT 1");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(crate::segment::path(&path, 1))
        .unwrap();
    file.write_all_at(b"????", at.offset + 20).unwrap();
    for (how, reader) in readers(&path) {
        let read = operations(&reader, &Query::default()).unwrap();
        let views: Vec<_> = read
            .filter_map(Result::ok)
            .map(|view| shown(&view))
            .collect();
        assert_eq!(views, ["2 allow - - -"], "by {how}");
        let mut follower = Follower::new(&reader, &Query::default(), Start::Beginning).unwrap();
        let late = Instant::now() + Duration::from_secs(9);
        let views = std::iter::from_fn(|| follower.poll(late)).filter_map(Result::ok);
        assert_eq!(views.map(|view| shown(&view)).collect::<Vec<_>>(), [""; 0]);
        let read = sessions(&reader, &Query::default()).unwrap();
        let view = read.filter_map(Result::ok).next().unwrap();
        assert_eq!(
            (view.operations, view.denied, view.held),
            (1, 0, 0),
            "by {how}"
        );
    }
}

/// What has an outcome has run, and is never shown as stopped.
#[test]
fn a_hold_that_was_let_through_is_shown_so_when_its_resolution_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = begun(&path);
    hold(&journal, 1, 1, "DELETE FROM a");
    let mut follower = Follower::new(
        &Reader::open(&path).unwrap(),
        &Query::default(),
        Start::Beginning,
    )
    .unwrap();
    let now = Instant::now();
    assert_eq!(shown(&follower.poll(now).unwrap().unwrap()), "1 hold - - -");
    journal.outcome(&outcome(1, 1)).unwrap();
    let expected = "1 approved - the record of the approval is lost 2";
    assert_eq!(shown(&follower.poll(now).unwrap().unwrap()), expected);
    check(&path, &[expected]);
}

#[test]
fn texts_of_people_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let journal = begun(dir.path());
    hold(&journal, 1, 1, "DELETE FROM a");
    let long: std::sync::Arc<str> = "\u{fc}".repeat(100_000).into();
    journal
        .resolution(&Resolution {
            id: OperationId {
                session: SessionId(1),
                seq: 1,
            },
            approver: Some(long.clone()),
            reason: Some(long),
            ..resolution(1, 1, Verdict::Denied)
        })
        .unwrap();
    let views = found(&Reader::open(dir.path()).unwrap(), &Query::default());
    for text in [views[0].approver(), views[0].reason()] {
        let text = text.unwrap();
        assert!(text.len() <= crate::TEXT_MAX && text.len() > crate::TEXT_MAX - 4);
        assert!(text.ends_with("\u{fc}\u{2026}"));
    }
}

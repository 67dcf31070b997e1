//! What people did to the gateway itself.
use super::*;
use crate::record::{Act, RecordKind};
use crate::testing::{act, records};

fn found(reader: &Reader, query: &ActQuery) -> Vec<String> {
    acts(reader, query)
        .unwrap()
        .map(|view| {
            let act = view.unwrap().act;
            format!("{} {}", act.act, act.target.as_deref().unwrap_or("-"))
        })
        .collect()
}

#[test]
fn acts_are_found_by_who_what_when_and_to_what() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = open(&path);
    journal.act(&act("approve", "s0000000000001.1")).unwrap();
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    for seq in 1..=2000 {
        operate(&journal, 1, seq, "SELECT something FROM somewhere");
    }
    journal.act(&act("kill", "s0000000000001")).unwrap();
    for seq in 2001..=4000 {
        operate(&journal, 1, seq, "SELECT something FROM somewhere");
    }
    let reload = Act {
        who: "local:root".into(),
        uid: None,
        target: None,
        time: Timestamp(act("", "").time.0 + 1),
        ..act("reload", "")
    };
    journal.act(&reload).unwrap();
    let (approve, kill, reload) = (
        "approve s0000000000001.1",
        "kill s0000000000001",
        "reload -",
    );
    let all = ActQuery::default;
    let table: [(ActQuery, &[&str]); 8] = [
        (all(), &[approve, kill, reload]),
        (
            ActQuery {
                act: Some("kill".into()),
                ..all()
            },
            &[kill],
        ),
        (
            ActQuery {
                act: Some("ki".into()),
                ..all()
            },
            &[],
        ),
        (
            ActQuery {
                who: Some(Pattern::new("user:*")),
                ..all()
            },
            &[approve, kill],
        ),
        (
            ActQuery {
                who: Some(Pattern::new("local:root")),
                ..all()
            },
            &[reload],
        ),
        (
            ActQuery {
                target: Some(Pattern::new("s0000000000001*")),
                ..all()
            },
            &[approve, kill],
        ),
        (
            ActQuery {
                target: Some(Pattern::new("s9*")),
                ..all()
            },
            &[],
        ),
        (
            ActQuery {
                since: Some(Timestamp(act("", "").time.0 + 1)),
                ..all()
            },
            &[reload],
        ),
    ];
    for (how, reader) in readers(&path) {
        for (query, expected) in &table {
            assert_eq!(found(&reader, query), *expected, "{query:?}, by {how}");
        }
    }
    let [_, (_, indexed)] = readers(&path);
    let visit = indexed.index().unwrap().visit_acts().unwrap();
    let segments = indexed.segments().unwrap().len();
    assert!(
        visit.segments.len() <= 3 && segments > 6,
        "{visit:?} of {segments}"
    );
    journal.act(&act("revoke", "local:alice")).unwrap();
    let since = found(&indexed, &all());
    assert_eq!(
        since.last().unwrap(),
        "revoke local:alice",
        "what the index does not know"
    );
    assert_eq!(
        ids(&indexed, &Query::default()).len(),
        4000,
        "acts are no operations"
    );
}

#[test]
fn an_act_is_shown_with_who_and_why_and_its_texts_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.act(&act("kill", "s0000000000001")).unwrap();
    let long = "x".repeat(1 << 20);
    let written = Act {
        who: long.as_str().into(),
        reason: Some(long.as_str().into()),
        ..act(&long, &long)
    };
    journal.act(&written).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let views: Vec<_> = acts(&reader, &ActQuery::default())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        serde_json::to_value(&views[0]).unwrap(),
        serde_json::json!({
            "time": "2023-11-14T22:13:20.400000Z", "act": "kill", "who": "user:dana@acme.com",
            "uid": 0, "target": "s0000000000001", "reason": "ticket 7",
        })
    );
    let read = &views[1].act;
    let texts = [
        Some(&read.act),
        Some(&read.who),
        read.target.as_ref(),
        read.reason.as_ref(),
    ];
    for text in texts {
        let text = text.unwrap();
        assert!(text.len() == crate::TEXT_MAX && text.ends_with("x\u{2026}"));
    }
    let last = records(dir.path()).pop().unwrap();
    assert_eq!(
        (last.kind.session(), last.kind.time()),
        (None, written.time)
    );
    assert!(matches!(last.kind, RecordKind::Act(_)));
}

#[test]
fn damage_between_acts_is_said_and_stepped_over() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for target in ["a", "b", "c"] {
        journal.act(&act("kill", target)).unwrap();
    }
    let place = records(dir.path())[2].position;
    let file = crate::segment::path(dir.path(), 1);
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"????", place.offset + 20).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = acts(&reader, &ActQuery::default())
        .unwrap()
        .partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (2, 1));
}

//! Queries over journals, with and without the index.
use super::*;
use crate::index::Index;
use crate::journal::{Journal, JournalOptions};
use crate::testing::{Parts, closed, open, opened, operate, options, outcome};
use crate::view::{HoldEnding, OperationView};
use gateway_core::{
    Effect, Mode, Object, OperationOutcome, Parameter, Principal, Recorder, Subject,
};
use std::path::Path;
use std::time::{Duration, Instant};

mod acts;
mod fields;
mod filters;
mod holds;
mod replay;

fn ids(reader: &Reader, query: &Query) -> Vec<String> {
    let short =
        |view: OperationView| format!("{}.{}", view.operation.id.session.0, view.operation.id.seq);
    operations(reader, query)
        .unwrap()
        .map(|view| short(view.unwrap()))
        .collect()
}

fn session_ids(reader: &Reader, query: &Query) -> Vec<u64> {
    let found = sessions(reader, query).unwrap();
    found.map(|view| view.unwrap().opened.session.0).collect()
}

/// Two readers of one journal: one that scans, one that asks an index.
fn readers(dir: &Path) -> [(&'static str, Reader); 2] {
    let reader = Reader::open(dir).unwrap();
    let index = Index::open(dir.with_extension("index"), &reader).unwrap();
    while index.catch_up(&reader).unwrap().more {}
    [
        ("scan", reader.clone()),
        ("index", reader.with_index(Some(index.into()))),
    ]
}

/// A journal with a bit of everything; returned open, so that its sessions may live.
fn everything(dir: &Path) -> Journal {
    let journal = open(dir);
    journal
        .session_opened(&opened(1, 10, "local:alice"))
        .unwrap();
    journal
        .session_opened(&opened(2, 20, "ci:github:acme/api@refs/heads/main"))
        .unwrap();
    operate(&journal, 1, 1, "SELECT * FROM users");
    journal.outcome(&outcome(1, 1)).unwrap();
    let mut parts = Parts::new(2, 1, "DELETE FROM users WHERE id = $1");
    parts.effects.push(Effect {
        verb: Verb::Delete,
        objects: vec![Object::Named("Über".into())],
    });
    parts.parameters.push(Parameter {
        kind: None,
        value: Some("Bobby Tables".into()),
        cut_from: None,
    });
    journal.operation(&parts.record()).unwrap();
    journal
        .operation(&Parts::new(1, 2, "DROP TABLE users").denied().record())
        .unwrap();
    let mut shadow = Parts::new(2, 2, "drop schema x").denied();
    shadow.mode = Mode::Shadow;
    journal.operation(&shadow.record()).unwrap();
    journal.outcome(&outcome(2, 2)).unwrap();
    journal.session_closed(&closed(1)).unwrap();
    let mut third = opened(3, 10, "local:bob");
    third.subject = Subject {
        delegates: vec![Principal {
            id: "user:carol".into(),
            ..Principal::unknown()
        }],
        ..(*third.subject).clone()
    }
    .into();
    journal.session_opened(&third).unwrap();
    operate(&journal, 3, 1, "SELECT 1");
    journal
}

#[test]
fn outcomes_and_sessions_are_joined_to_their_operations() {
    let dir = tempfile::tempdir().unwrap();
    let _journal = everything(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    let views: Vec<_> = operations(&reader, &Query::default())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(views[0].outcome, Some(outcome(1, 1)));
    assert_eq!(views[1].outcome, None, "not answered yet");
    assert_eq!(views[2].outcome, None, "refused");
    assert_eq!(views[3].outcome, Some(outcome(2, 2)), "shadow lets it pass");
    let principals: Vec<_> = views
        .iter()
        .map(|view| &*view.session.as_ref().unwrap().subject.principal.id)
        .collect();
    let ci = "ci:github:acme/api@refs/heads/main";
    assert_eq!(
        principals,
        ["local:alice", ci, "local:alice", ci, "local:bob"]
    );
}

#[test]
fn sessions_count_from_operations_until_they_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let _journal = everything(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    let views: Vec<_> = sessions(&reader, &Query::default())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(views[0].ending, SessionEnding::Closed(closed(1)));
    assert_eq!(
        (views[0].operations, views[0].denied, views[0].bytes_up),
        (3, 1, 100)
    );
    assert!(views[1].is_live());
    assert_eq!(
        (views[1].operations, views[1].denied, views[1].bytes_up),
        (2, 0, 20)
    );
    assert_eq!((views[0].masked, views[1].masked), (3, 2));
    assert_eq!(views[1].protocol.as_deref(), Some("postgres"));
}

#[test]
fn sessions_of_a_daemon_that_was_killed_are_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    {
        let journal = open(&path);
        journal
            .session_opened(&opened(1, 1, "local:alice"))
            .unwrap();
        operate(&journal, 1, 1, "SELECT pg_sleep(1000)");
    }
    let journal = open(&path);
    journal
        .session_opened(&opened(2, 1, "local:alice"))
        .unwrap();
    for (how, reader) in readers(&path) {
        for query in [
            Query::default(),
            Query {
                tree: Some(TreeId(1)),
                ..Query::default()
            },
        ] {
            let views: Vec<_> = sessions(&reader, &query)
                .unwrap()
                .map(Result::unwrap)
                .collect();
            let lost = matches!(views[0].ending, SessionEnding::Lost { before: Some(_) });
            assert!(lost, "{:?}, by {how}", views[0].ending);
            assert!(views[1].is_live(), "by {how}");
        }
        let live = Query {
            live: true,
            ..Query::default()
        };
        assert_eq!(session_ids(&reader, &live), [2], "by {how}");
        assert_eq!(
            ids(&reader, &Query::default()),
            ["1.1"],
            "it is shown without an outcome"
        );
    }
}

/// More operations than the window holds pass between a question and its answer.
#[test]
fn an_answer_far_behind_its_question_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalOptions {
        segment_bytes: 1 << 20,
        ..options(dir.path())
    })
    .unwrap()
    .0;
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    journal
        .session_opened(&opened(2, 1, "local:alice"))
        .unwrap();
    operate(&journal, 1, 1, "a long one");
    operate(&journal, 1, 2, "one that is never answered");
    for seq in 1..=20_000 {
        operate(&journal, 2, seq, "SELECT 1");
        journal.outcome(&outcome(2, seq)).unwrap();
    }
    journal
        .outcome(&OperationOutcome {
            rows: Some(77),
            ..outcome(1, 1)
        })
        .unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let views: Vec<_> = operations(&reader, &Query::default())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(views.len(), 20_002);
    assert_eq!(views[0].outcome.as_ref().unwrap().rows, Some(77));
    assert_eq!(views[1].outcome, None);
    assert!(views[2..].iter().all(|view| view.outcome.is_some()));
    assert!(
        views
            .windows(2)
            .all(|pair| pair[0].sequence < pair[1].sequence),
        "in order"
    );
}

#[test]
fn an_end_far_behind_its_beginning_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalOptions {
        segment_bytes: 1 << 20,
        ..options(dir.path())
    })
    .unwrap()
    .0;
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    journal
        .session_opened(&opened(2, 1, "local:alice"))
        .unwrap();
    for session in 3..10_000 {
        journal
            .session_opened(&opened(session, 1, "local:alice"))
            .unwrap();
        journal.session_closed(&closed(session)).unwrap();
    }
    operate(&journal, 2, 1, "SELECT 1");
    journal.session_closed(&closed(1)).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let views: Vec<_> = sessions(&reader, &Query::default())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(views.len(), 9_999);
    assert_eq!(views[0].ending, SessionEnding::Closed(closed(1)));
    assert!(views[1].is_live());
    assert_eq!(views[1].operations, 1, "seen ahead, and not counted twice");
}

/// Beginnings that together weigh more than may be held are read again from their place.
#[test]
fn beginnings_that_do_not_fit_into_memory_are_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalOptions {
        segment_bytes: 4 << 20,
        ..options(dir.path())
    })
    .unwrap()
    .0;
    let sessions = 200;
    for session in 1..=sessions {
        let mut record = opened(session, session, &format!("local:user{session}"));
        let mut subject = (*record.subject).clone();
        for process in &mut subject.lineage.processes {
            process.argv = vec!["x".repeat(100_000).into(); 2];
        }
        record.subject = subject.into();
        journal.session_opened(&record).unwrap();
    }
    for seq in 1..=2 {
        for session in 1..=sessions {
            operate(&journal, session, seq, "SELECT 1");
        }
    }
    let reader = Reader::open(dir.path()).unwrap();
    let mut found = 0;
    for view in operations(&reader, &Query::default()).unwrap() {
        let view = view.unwrap();
        let opened = view.session.unwrap();
        assert_eq!(opened.session, view.operation.id.session);
        assert_eq!(
            opened.subject.principal.id,
            format!("local:user{}", opened.session.0).into()
        );
        found += 1;
    }
    assert_eq!(found, 2 * sessions);
}

#[test]
fn since_leaves_out_old_segments_and_still_knows_the_sessions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = open(&path);
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    journal.session_opened(&opened(2, 1, "local:bob")).unwrap();
    journal.session_closed(&closed(2)).unwrap();
    for seq in 1..=3000 {
        operate(&journal, 1, seq, "SELECT something FROM somewhere");
    }
    let since = Parts::new(1, 2990, "").time;
    for (how, reader) in readers(&path) {
        let query = Query {
            since: Some(since),
            ..Query::default()
        };
        let start = first_since(&reader, since).unwrap();
        assert!(start.segment > 2, "{start:?}");
        let found = ids(&reader, &query);
        assert_eq!((found.len(), found[0].as_str()), (11, "1.2990"), "by {how}");
        let alice = Query {
            principal: Some(Pattern::new("local:alice")),
            ..query
        };
        assert_eq!(ids(&reader, &alice).len(), 11, "by {how}");
    }
}

#[test]
fn the_index_leaves_out_what_has_nothing_to_say() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = open(&path);
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    operate(&journal, 1, 1, "the one");
    journal.session_closed(&closed(1)).unwrap();
    journal.session_opened(&opened(2, 2, "local:bob")).unwrap();
    for seq in 1..=3000 {
        operate(&journal, 2, seq, "SELECT something FROM somewhere");
    }
    let [_, (_, reader)] = readers(&path);
    let query = Query {
        principal: Some(Pattern::new("local:al*")),
        ..Query::default()
    };
    let visit = reader.index().unwrap().visit(&query).unwrap().unwrap();
    assert_eq!(visit.segments.into_iter().collect::<Vec<_>>(), [1]);
    assert!(visit.indexed > 4);
    // What the index does not know yet is found all the same.
    journal.session_opened(&opened(3, 1, "local:alan")).unwrap();
    operate(&journal, 3, 1, "the other");
    assert_eq!(ids(&reader, &query), ["1.1", "3.1"]);
    assert_eq!(session_ids(&reader, &query), [1, 3]);
}

/// The promise of `gateway log`: what was answered before it was called is shown.
#[test]
fn every_operation_that_was_answered_before_the_query_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let answered = std::sync::atomic::AtomicU32::new(0);
    let done = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=3000 {
                operate(&journal, 1, seq, "SELECT 1");
                journal.outcome(&outcome(1, seq)).unwrap();
                answered.store(seq, done);
            }
        });
        loop {
            let promised = answered.load(done);
            let views = operations(&reader, &Query::default())
                .unwrap()
                .map(Result::unwrap);
            let complete = views.filter(|view| view.outcome.is_some()).count();
            assert!(complete >= promised as usize, "{complete} of {promised}");
            if promised == 3000 {
                break;
            }
        }
    });
}

#[test]
fn a_follower_gives_each_operation_once_with_its_outcome_or_after_its_patience() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    operate(&journal, 1, 1, "before");
    let reader = Reader::open(dir.path()).unwrap();
    let query = Query {
        principal: Some(Pattern::new("local:*")),
        ..Query::default()
    };
    let mut follower = Follower::new(&reader, &query, Start::End).unwrap();
    let now = Instant::now();
    assert!(follower.poll(now).is_none());
    operate(&journal, 1, 2, "answered");
    operate(&journal, 1, 3, "not answered");
    assert!(follower.poll(now).is_none(), "it waits for the outcome");
    journal.outcome(&outcome(1, 2)).unwrap();
    let first = follower.poll(now).unwrap().unwrap();
    assert_eq!(
        (first.operation.id.seq, first.outcome),
        (2, Some(outcome(1, 2)))
    );
    assert_eq!(
        &*first.session.unwrap().subject.principal.id,
        "local:alice",
        "looked back for"
    );
    assert!(follower.poll(now).is_none());
    let second = follower
        .poll(now + Duration::from_secs(1))
        .unwrap()
        .unwrap();
    assert_eq!((second.operation.id.seq, second.outcome), (3, None));
    journal.outcome(&outcome(1, 3)).unwrap();
    assert!(
        follower.poll(now + Duration::from_secs(9)).is_none(),
        "each once"
    );
    journal
        .operation(&Parts::new(1, 4, "DROP").denied().record())
        .unwrap();
    assert_eq!(
        follower.poll(now).unwrap().unwrap().operation.id.seq,
        4,
        "refused ones at once"
    );
    drop(journal);
    let journal = open(dir.path());
    journal.session_opened(&opened(5, 1, "local:bob")).unwrap();
    operate(&journal, 5, 1, "of the next daemon");
    journal.session_closed(&closed(5)).unwrap();
    let next = follower.wait(Duration::from_secs(20)).unwrap().unwrap();
    assert_eq!(next.operation.statement, "of the next daemon");
    assert!(follower.wait(Duration::from_millis(1)).is_none());
    let mut all = Follower::new(&reader, &Query::default(), Start::Beginning).unwrap();
    let all = std::iter::from_fn(|| all.poll(now)).map(|view| view.unwrap().operation.id.seq);
    assert_eq!(all.collect::<Vec<_>>(), [1, 2, 3, 4, 1]);
}

#[test]
fn damage_is_said_between_the_answers() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    for seq in 1..=5 {
        journal
            .operation(&Parts::new(1, seq, "DROP").denied().record())
            .unwrap();
    }
    let place = crate::testing::records(dir.path())[4].position;
    let file = dir.path().join("00000001.journal");
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"????", place.offset + 20).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let (good, bad): (Vec<_>, Vec<_>) = operations(&reader, &Query::default())
        .unwrap()
        .partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (4, 1));
}

//! The index is found out when it does not fit, and made anew.
use super::*;
use crate::journal::Journal;
use crate::query::operations;
use crate::testing::{closed, open, opened, operate, outcome};
use gateway_core::{Recorder, TreeId};
use std::time::Instant;

struct Place {
    _dir: tempfile::TempDir,
    journal: PathBuf,
    index: PathBuf,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let (journal, index) = (dir.path().join("journal"), dir.path().join("index"));
        Place {
            _dir: dir,
            journal,
            index,
        }
    }

    fn reader(&self) -> Reader {
        Reader::open(&self.journal).unwrap()
    }

    fn open(&self) -> Index {
        Index::open(&self.index, &self.reader()).unwrap()
    }

    /// Opens the index and brings it up to date; how many records that took.
    fn catch_up(&self) -> u64 {
        let (index, mut records) = (self.open(), 0);
        loop {
            let done = index.catch_up(&self.reader()).unwrap();
            records += done.records;
            if !done.more {
                index.flush().unwrap();
                return records;
            }
        }
    }
}

/// Some sessions, over a few segments.
fn fill(journal: &Journal, sessions: std::ops::Range<u64>) {
    for session in sessions {
        journal
            .session_opened(&opened(session, session % 3, "local:alice"))
            .unwrap();
        for seq in 1..=20 {
            operate(journal, session, seq, "SELECT something FROM somewhere");
            journal.outcome(&outcome(session, seq)).unwrap();
        }
        journal.session_closed(&closed(session)).unwrap();
    }
}

#[test]
fn it_knows_where_sessions_are_and_goes_on_where_it_stopped() {
    let place = Place::new();
    let journal = open(&place.journal);
    fill(&journal, 1..40);
    let all = journal.last_sequence();
    assert_eq!(place.catch_up(), all);
    assert_eq!(place.catch_up(), 0, "it is kept");
    fill(&journal, 40..50);
    assert_eq!(
        place.catch_up(),
        journal.last_sequence() - all,
        "it was behind"
    );
    let index = place.open();
    let entry = index.session(SessionId(45)).unwrap().unwrap();
    let first = place
        .reader()
        .records_from(entry.opened.unwrap())
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(
        first.kind,
        RecordKind::SessionOpened(opened(45, 0, "local:alice").into())
    );
    let last = place
        .reader()
        .records_from(entry.closed.unwrap())
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(last.kind, RecordKind::SessionClosed(closed(45)));
    assert_eq!(index.session(SessionId(99)).unwrap(), None);
}

#[test]
fn an_index_that_does_not_fit_the_journal_is_made_anew() {
    type Change = fn(&Place);
    let changes: [(&str, Change); 4] = [
        ("another journal", |place| {
            std::fs::remove_dir_all(&place.journal).unwrap();
            fill(&open(&place.journal), 500..520);
        }),
        ("ahead: the journal lost its end", |place| {
            let last = place.reader().segments().unwrap();
            for segment in last.iter().rev().take(2) {
                std::fs::remove_file(crate::segment::path(&place.journal, *segment)).unwrap();
            }
        }),
        ("the first segment was removed", |place| {
            std::fs::remove_file(crate::segment::path(&place.journal, 1)).unwrap();
        }),
        ("another version of the index", |place| {
            let index = place.open();
            let progress = Progress {
                format: 99,
                ..index.progress().unwrap()
            };
            index.write(&index.progress, &[], &progress).unwrap();
            index.flush().unwrap();
        }),
    ];
    for (name, change) in changes {
        let place = Place::new();
        fill(&open(&place.journal), 1..40);
        place.catch_up();
        change(&place);
        assert_eq!(
            place.open().position().unwrap(),
            Position::default(),
            "{name}"
        );
        let readable = place.reader().records().filter(Result::is_ok).count() as u64;
        assert_eq!(place.catch_up(), readable, "{name}");
        let index = place.open();
        for session in 1..520 {
            let Some(entry) = index.session(SessionId(session)).unwrap() else {
                continue;
            };
            for position in entry.opened.into_iter().chain(entry.closed) {
                let record = place
                    .reader()
                    .records_from(position)
                    .next()
                    .unwrap()
                    .unwrap();
                assert_eq!(record.kind.session(), Some(SessionId(session)), "{name}");
            }
        }
    }
}

#[test]
fn two_processes_do_not_share_it() {
    let place = Place::new();
    fill(&open(&place.journal), 1..3);
    let held = place.open();
    let error = Index::open(&place.index, &place.reader()).unwrap_err();
    assert!(matches!(error, IndexError::InUse { .. }), "{error}");
    drop(held);
    place.open();
}

/// What the index's files say is never believed blindly: garbage is put aside, once.
#[test]
fn garbage_is_put_aside_and_the_index_made_anew() {
    let place = Place::new();
    let journal = open(&place.journal);
    fill(&journal, 1..40);
    place.catch_up();
    for file in ["conf", "db"] {
        let file = place.index.join(file);
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, vec![0xa5; bytes.len()]).unwrap();
    }
    let indexer = Indexer::start(&place.index, place.reader()).unwrap();
    wait(
        || indexer.status().current,
        &format!("not current: {:?}", indexer.status()),
    );
    assert_eq!(indexer.status().rebuilt, 1);
    assert!(place.index.with_file_name("index.damaged").is_dir());
    let index = indexer.index().unwrap();
    assert!(index.session(SessionId(39)).unwrap().is_some());
}

fn wait(mut until: impl FnMut() -> bool, otherwise: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !until() {
        assert!(Instant::now() < deadline, "{otherwise}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_indexer_follows_a_living_journal_and_can_begin_anew() {
    let place = Place::new();
    let journal = open(&place.journal);
    let indexer = Indexer::start(&place.index, place.reader()).unwrap();
    fill(&journal, 1..30);
    let knows = |session| {
        indexer.index().is_some_and(|index| {
            index
                .session(SessionId(session))
                .ok()
                .flatten()
                .is_some_and(|e| e.closed.is_some())
        })
    };
    wait(|| knows(29), "the indexer does not follow");
    // Somebody still asks the old index when a new one is wanted.
    let old = indexer.index().unwrap();
    let marker = place.index.join("marker");
    std::fs::write(&marker, b"").unwrap();
    indexer.rebuild();
    wait(
        || indexer.index().is_none(),
        "the old one is still given out",
    );
    assert!(old.session(SessionId(29)).unwrap().is_some());
    assert!(
        marker.exists(),
        "the old one keeps its place as long as it is asked"
    );
    drop(old);
    wait(|| !marker.exists(), "it does not begin anew");
    fill(&journal, 30..40);
    wait(|| knows(39) && knows(1), "it does not catch up");
    let index = indexer.index();
    let reader = place.reader().with_index(index);
    let query = Query {
        tree: Some(TreeId(1)),
        ..Query::default()
    };
    assert_eq!(operations(&reader, &query).unwrap().count(), 13 * 20);
    drop(reader);
    drop(indexer);
    assert_eq!(place.catch_up(), 0, "what it knew is on the disk");
}

#[test]
fn an_index_held_by_another_is_waited_for() {
    let place = Place::new();
    fill(&open(&place.journal), 1..5);
    let held = place.open();
    let indexer = Indexer::start(&place.index, place.reader()).unwrap();
    wait(|| indexer.status().problem.is_some(), "it does not say so");
    assert!(
        indexer
            .status()
            .problem
            .unwrap()
            .contains("in use by another process")
    );
    assert!(indexer.index().is_none(), "readers go without");
    drop(held);
    wait(|| indexer.status().current, "it does not try again");
    assert_eq!(indexer.status().problem, None);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..Default::default() })]

    /// Damage anywhere in the files: an error, or an index; never the end of the process, and
    /// afterwards a new one can be made.
    #[test]
    fn damaged_files_never_end_the_process(
        damage in proptest::collection::vec((0usize..2, 0usize..400_000, proptest::prelude::any::<u8>()), 1..40),
        cut in proptest::option::of(0u64..400_000),
    ) {
        let place = Place::new();
        fill(&open(&place.journal), 1..10);
        place.catch_up();
        for (file, offset, byte) in damage {
            let file = place.index.join(["conf", "db"][file]);
            let mut bytes = std::fs::read(&file).unwrap();
            let length = bytes.len();
            bytes[offset % length] = byte;
            std::fs::write(&file, bytes).unwrap();
        }
        if let Some(length) = cut {
            std::fs::OpenOptions::new().write(true).open(place.index.join("db")).unwrap().set_len(length).unwrap();
        }
        if let Ok(index) = Index::open(&place.index, &place.reader()) {
            let _ = index.catch_up(&place.reader());
            for session in 1..10 {
                let _ = index.session(SessionId(session));
            }
        }
        let index = Index::rebuild(&place.index).unwrap();
        while index.catch_up(&place.reader()).unwrap().more {}
        proptest::prop_assert!(index.session(SessionId(9)).unwrap().is_some());
    }
}

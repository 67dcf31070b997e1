//! The journal as its writer sees it, and what recovery does about each kind of end.
use super::*;
use crate::error::ReadError;
use crate::format::PREFIX_BYTES;
use crate::reader::{Position, Reader};
use crate::record::RecordKind;
use crate::segment;
use crate::testing::{Parts, closed, open, opened, operate, options, records, statements};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

mod disk;
mod ends;
mod heir;
mod older;

fn patch(file: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

/// The place and the end of the last record of a segment.
fn last_record(dir: &Path) -> (Position, u64) {
    let reader = Reader::open(dir).unwrap();
    let last = records(dir).pop().unwrap();
    (last.position, reader.end().unwrap().offset)
}

#[test]
fn records_read_back_in_order_with_their_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    operate(&journal, 1, 1, "SELECT 1");
    journal.session_closed(&closed(1)).unwrap();
    assert_eq!(journal.last_sequence(), 4);
    let read = records(dir.path());
    assert_eq!(
        read.iter()
            .map(|record| record.sequence)
            .collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert!(matches!(&read[0].kind, RecordKind::Note(note) if note.kind == NoteKind::Opened));
    assert_eq!(
        read[1].kind,
        RecordKind::SessionOpened(Arc::new(opened(1, 1, "local:alice")))
    );
    assert_eq!(read[3].kind, RecordKind::SessionClosed(closed(1)));
    assert_eq!(journal.failures(), 0);
}

#[test]
fn numbers_go_on_over_restarts_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..5 {
        let (journal, recovered) = Journal::open(options(dir.path())).unwrap();
        assert!(recovered.is_clean(), "{recovered}");
        for seq in 0..400 {
            let statement = format!("round {round} statement {seq} {}", "x".repeat(seq % 300));
            operate(&journal, 1, seq as u32, &statement);
            expected.push(statement);
        }
    }
    assert_eq!(statements(dir.path()), expected);
    let read = records(dir.path());
    assert!(
        read.windows(2)
            .all(|pair| pair[1].sequence == pair[0].sequence + 1)
    );
    assert!(
        read.last().unwrap().position.segment > 5,
        "the test must meet segment ends"
    );
}

#[test]
fn a_record_that_exactly_fills_a_segment_is_kept_and_a_longer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let room = (64 << 10) - HEADER_BYTES - PREFIX_BYTES;
    let overhead = {
        let mut buffer = Vec::new();
        let parts = Parts::new(1, 1, &"x".repeat(50_000));
        encode(
            &mut buffer,
            Tag::Operation,
            &OperationWritten::from(&parts.record()),
        )
        .unwrap();
        buffer.len() - 50_000
    };
    let fitting = "y".repeat(usize::try_from(room).unwrap() - overhead);
    operate(&journal, 1, 1, &fitting);
    operate(&journal, 1, 2, &fitting);
    let longer = Parts::new(1, 3, &format!("{fitting}z"));
    let error = journal.operation(&longer.record()).unwrap_err().to_string();
    assert!(
        error.contains("longer than a journal segment can hold"),
        "{error}"
    );
    assert_eq!(journal.failures(), 1);
    operate(&journal, 1, 4, "and on it goes");
    assert_eq!(
        statements(dir.path()),
        [&fitting, &fitting, "and on it goes"]
    );
}

#[test]
fn a_very_long_record_goes_through_the_file_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalOptions {
        segment_bytes: 8 << 20,
        ..options(dir.path())
    })
    .unwrap()
    .0;
    let long: String = (0..500_000).map(|number| format!("{number},")).collect();
    operate(&journal, 1, 1, "before");
    operate(&journal, 1, 2, &long);
    operate(&journal, 1, 3, "behind");
    assert!(statements(dir.path()) == ["before", &long, "behind"]);
    drop(journal);
    let (_journal, recovered) = Journal::open(options(dir.path())).unwrap();
    assert!(recovered.is_clean(), "{recovered}");
}

#[test]
fn a_second_daemon_is_told_who_has_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let reader = {
        let _journal = open(dir.path());
        let error = Journal::open(options(dir.path())).unwrap_err();
        let owner = Some(std::process::id());
        assert!(matches!(&error, JournalError::InUse { owner: found, .. } if *found == owner));
        assert!(
            error
                .to_string()
                .contains("in use by another daemon (process "),
            "{error}"
        );
        let reader = Reader::open(dir.path()).unwrap();
        assert!(reader.is_written());
        reader
    };
    assert!(!reader.is_written());
    open(dir.path());
}

#[test]
fn another_version_and_another_byte_order_are_named_with_their_file() {
    for (offset, bytes, expected) in [
        (
            12,
            7u32.to_ne_bytes(),
            "00000001.journal has journal format 7, this gateway writes format 4",
        ),
        (
            8,
            0x0102_0304u32.swap_bytes().to_ne_bytes(),
            "00000001.journal was written on a machine with the other byte order",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        patch(&segment::path(dir.path(), 1), offset, &bytes);
        let error = Journal::open(options(dir.path())).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        let read = Reader::open(dir.path()).unwrap().records().next().unwrap();
        assert!(matches!(
            read,
            Err(ReadError::Version { .. } | ReadError::ByteOrder { .. })
        ));
    }
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for segment_bytes in [0, 4096, (64 << 10) - 4096, (1 << 30) + 1] {
        let error = Journal::open(JournalOptions {
            segment_bytes,
            ..options(dir.path())
        });
        assert!(
            matches!(error, Err(JournalError::SegmentBytes { .. })),
            "{segment_bytes}"
        );
    }
}

/// Two writers and a reader: the reader sees every number once, in order, and sees each
/// operation that was appended before it looked.
#[test]
fn what_was_appended_is_seen_by_a_reader_that_looks_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let (done, appended) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=2)
            .map(|session| {
                let (journal, appended) = (&journal, &appended);
                scope.spawn(move || {
                    for seq in 1..=5000 {
                        operate(journal, session, seq, "SELECT balance FROM accounts");
                        appended.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut records = Reader::open(dir.path()).unwrap().records();
            let (mut operations, mut sequence) = (0, 0);
            loop {
                let last_look = done.load(Ordering::SeqCst);
                let promised = appended.load(Ordering::SeqCst);
                for record in records.by_ref() {
                    let record = record.unwrap();
                    assert_eq!(record.sequence, sequence + 1);
                    sequence = record.sequence;
                    operations += u64::from(matches!(record.kind, RecordKind::Operation(_)));
                }
                assert!(operations >= promised, "{operations} of {promised}");
                if last_look {
                    return operations;
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        assert_eq!(reader.join().unwrap(), 10_000);
    });
}

#[test]
fn always_means_before_the_append_returns() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalOptions {
        durability: Durability::Always,
        ..options(dir.path())
    })
    .unwrap()
    .0;
    for seq in 0..1500 {
        operate(&journal, 1, seq, "SELECT something FROM somewhere");
        // In the order in which the journal takes them.
        let durable = journal.shared.durable.lock();
        let state = journal.shared.state.lock();
        assert_eq!(
            *durable,
            Durable {
                segment: state.segment.number,
                offset: state.offset
            }
        );
    }
    assert!(
        journal.shared.state.lock().segment.number > 2,
        "the test must meet segment ends"
    );
}

#[test]
fn many_writers_share_their_syncs_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(JournalOptions {
        durability: Durability::Always,
        ..options(dir.path())
    })
    .unwrap()
    .0;
    std::thread::scope(|scope| {
        for session in 1..=4 {
            let journal = &journal;
            scope.spawn(move || {
                for seq in 1..=300 {
                    operate(journal, session, seq, "SELECT something FROM somewhere");
                }
            });
        }
    });
    assert_eq!(statements(dir.path()).len(), 1200);
}

#[test]
fn records_reach_the_disk_without_being_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    operate(&journal, 1, 1, "SELECT 1");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let end = journal.shared.state.lock().offset;
        if journal.shared.durable.lock().offset == end {
            break;
        }
        assert!(Instant::now() < deadline, "the flusher does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_disk_that_refuses_what_was_written_stops_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    operate(&journal, 1, 1, "kept");
    let broken: Arc<str> = "the disk is on fire".into();
    journal.shared.state.lock().broken = Some(Arc::clone(&broken));
    assert!(journal.sync().is_err());
    let error = journal
        .operation(&Parts::new(1, 2, "refused").record())
        .unwrap_err();
    assert_eq!(error, RecordError(broken));
    assert_eq!(journal.failures(), 1);
    assert_eq!(statements(dir.path()), ["kept"]);
}

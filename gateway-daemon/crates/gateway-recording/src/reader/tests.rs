//! The reader on its own: ends that are not final, and directories that are odd.
use super::*;
use crate::testing::{open, operate};

#[test]
fn the_end_is_only_the_end_for_now() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let mut records = Reader::open(dir.path()).unwrap().records();
    assert_eq!(records.by_ref().count(), 1);
    for seq in 1..=2000 {
        operate(&journal, 1, seq, "SELECT something FROM somewhere");
        if seq % 7 == 0 {
            assert_eq!(records.by_ref().map(Result::unwrap).count(), 7, "at {seq}");
        }
    }
    drop(records);
    assert!(Reader::open(dir.path()).unwrap().end().unwrap().segment > 2);
}

#[test]
fn reading_from_a_position_goes_on_there() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for seq in 1..=2000 {
        operate(&journal, 1, seq, "SELECT something FROM somewhere");
    }
    let reader = Reader::open(dir.path()).unwrap();
    let all: Vec<_> = reader.records().map(Result::unwrap).collect();
    for index in [0, 1, 700, 1999] {
        let rest: Vec<_> = reader
            .records_from(all[index].position)
            .map(Result::unwrap)
            .collect();
        assert_eq!(rest, all[index..]);
    }
    let end = reader.end().unwrap();
    assert_eq!(reader.records_from(end).count(), 0);
    operate(&journal, 1, 2001, "one more");
    assert_eq!(reader.records_from(end).map(Result::unwrap).count(), 1);
}

#[test]
fn a_directory_that_is_not_there_or_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Reader::open(dir.path().join("journal")).unwrap_err();
    assert!(matches!(missing, ReadError::NoJournal { .. }));
    let reader = Reader::open(dir.path()).unwrap();
    let mut records = reader.records();
    assert!(records.next().is_none());
    assert_eq!(reader.end().unwrap(), Position::default());
    let _journal = open(dir.path());
    assert_eq!(
        records.map(Result::unwrap).count(),
        1,
        "it may come to be one"
    );
}

#[test]
fn a_directory_that_goes_away_is_an_error_once_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    drop(open(&path));
    let reader = Reader::open(&path).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    let read: Vec<_> = reader.records().collect();
    assert!(matches!(&read[..], [Err(ReadError::Io { .. })]), "{read:?}");
}

#[test]
fn a_file_that_ends_early_ends_the_reading_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = open(dir.path());
        for seq in 1..=100 {
            operate(&journal, 1, seq, "SELECT something FROM somewhere");
        }
    }
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(segment::path(dir.path(), 1))
        .unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let all = reader.records().count();
    let end = reader.end().unwrap().offset;
    for length in (0..=end - 8).rev().step_by(61) {
        file.set_len(length).unwrap();
        let read: Vec<_> = reader.records().collect();
        let bad = read.iter().filter(|record| record.is_err()).count();
        assert!(read.len() - bad < all && bad <= 1, "{length}: {bad} errors");
    }
}

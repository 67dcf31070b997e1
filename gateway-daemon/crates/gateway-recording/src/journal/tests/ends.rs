//! What earlier daemons, power losses and disks left behind, and what is made of it.
use super::*;
use proptest::prelude::*;

/// A daemon that is killed at any moment of its last append: any prefix of the body may be
/// there, with or without the number, and never the word.
#[test]
fn a_record_torn_by_kill_is_cut_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = open(dir.path());
        operate(&journal, 1, 1, "kept");
        operate(&journal, 1, 2, "torn, torn, torn");
    }
    let (at, end) = last_record(dir.path());
    let file = segment::path(dir.path(), 1);
    let whole = std::fs::read(&file).unwrap();
    let (start, end) = (at.offset as usize, end as usize);
    for kept in start + 8..end {
        let mut torn = whole.clone();
        torn[start..start + 8].fill(0);
        torn[kept..end].fill(0);
        let has_rubbish = torn[start..end].iter().any(|byte| *byte != 0);
        std::fs::write(&file, &torn).unwrap();
        assert_eq!(
            statements(dir.path()),
            ["kept"],
            "{kept}: readers see the end"
        );
        let (journal, recovered) = Journal::open(options(dir.path())).unwrap();
        assert_eq!(recovered.cut_bytes > 0, has_rubbish, "{kept}");
        assert_eq!(recovered.at, has_rubbish.then_some(at), "{kept}");
        assert_eq!(recovered.records, 2, "{kept}");
        assert_eq!(recovered.next_sequence, 3, "{kept}");
        operate(&journal, 1, 3, "next");
        drop(journal);
        assert_eq!(statements(dir.path()), ["kept", "next"], "{kept}");
    }
}

/// A power loss can keep the word and lose what it stands for.
#[test]
fn a_record_torn_by_power_loss_is_cut_at_every_byte_and_said() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = open(dir.path());
        operate(&journal, 1, 1, "kept");
        operate(&journal, 1, 2, "torn, torn, torn");
    }
    let (at, end) = last_record(dir.path());
    let file = segment::path(dir.path(), 1);
    let whole = std::fs::read(&file).unwrap();
    for kept in at.offset as usize + 1..end as usize {
        let mut torn = whole.clone();
        torn[kept..end as usize].fill(0);
        if torn == whole {
            continue; // padding
        }
        std::fs::write(&file, &torn).unwrap();
        let mut read = Reader::open(dir.path()).unwrap().records();
        let errors: Vec<_> = read.by_ref().filter_map(Result::err).collect();
        assert!(
            matches!(&errors[..], [ReadError::Torn { .. }]),
            "{kept}: {errors:?}"
        );
        assert_eq!(read.position(), at);
        let (journal, recovered) = Journal::open(options(dir.path())).unwrap();
        assert_eq!((recovered.at, recovered.records), (Some(at), 2), "{kept}");
        assert!(recovered.to_string().contains("cut "), "{recovered}");
        operate(&journal, 1, 3, "next");
        assert_eq!(statements(dir.path()), ["kept", "next"], "{kept}");
        let said = records(dir.path()).into_iter().any(
            |record| matches!(record.kind, RecordKind::Note(note) if note.kind == NoteKind::Recovered),
        );
        assert!(said, "{kept}: the journal itself says what was cut");
    }
}

#[test]
fn damage_in_the_middle_is_kept_stepped_over_and_said() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = open(dir.path());
        for seq in 1..=9 {
            operate(&journal, 1, seq, &format!("statement {seq}"));
        }
    }
    let file = segment::path(dir.path(), 1);
    let at = records(dir.path())[4].position.offset;
    patch(&file, at + 40, &[0xff; 8]);
    let before = std::fs::read(&file).unwrap();
    let (journal, recovered) = Journal::open(options(dir.path())).unwrap();
    assert_eq!(recovered.damage.len(), 1, "{recovered}");
    assert_eq!(
        (&recovered.damage[0].file, recovered.damage[0].offset),
        (&file, at)
    );
    assert_eq!((recovered.next_sequence, recovered.cut_bytes), (11, 0));
    operate(&journal, 1, 10, "statement 10");
    assert_eq!(
        std::fs::read(&file).unwrap(),
        before,
        "evidence is not touched"
    );
    let (read, errors): (Vec<_>, Vec<_>) = Reader::open(dir.path())
        .unwrap()
        .records()
        .partition(Result::is_ok);
    assert!(
        matches!(&errors[..], [Err(ReadError::Damaged { .. })]),
        "{errors:?}"
    );
    let numbers: Vec<_> = read
        .into_iter()
        .map(|record| record.unwrap().sequence)
        .collect();
    assert_eq!(numbers, [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13]);
}

#[test]
fn a_page_lost_to_a_power_loss_does_not_hide_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = open(dir.path());
        for seq in 1..=200 {
            operate(&journal, 1, seq, &format!("statement {seq}"));
        }
    }
    patch(&segment::path(dir.path(), 1), 2 * 4096, &[0; 4096]);
    for opened in [false, true] {
        if opened {
            let (journal, recovered) = Journal::open(options(dir.path())).unwrap();
            assert_eq!(recovered.damage.len(), 1, "{recovered}");
            assert_eq!(recovered.next_sequence, 202);
            operate(&journal, 1, 201, "statement 201");
        }
        let (read, errors): (Vec<_>, Vec<_>) = Reader::open(dir.path())
            .unwrap()
            .records()
            .partition(Result::is_ok);
        assert!(
            matches!(&errors[..], [Err(ReadError::Damaged { .. })]),
            "{errors:?}"
        );
        assert!(
            read.len() > 140,
            "only what was on the page is gone: {}",
            read.len()
        );
        assert!(
            read.iter()
                .any(|record| record.as_ref().unwrap().sequence == 201)
        );
    }
}

#[test]
fn records_lost_between_segments_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = open(dir.path());
        while journal.shared.state.lock().segment.number < 2 {
            operate(&journal, 1, 1, "SELECT something FROM somewhere");
        }
    }
    let read = records(dir.path());
    let first: Vec<_> = read
        .iter()
        .filter(|record| record.position.segment == 1)
        .collect();
    let lost = &first[first.len() - 3..];
    let file = segment::path(dir.path(), 1);
    let rest = usize::try_from((64 << 10) - lost[0].position.offset).unwrap();
    patch(&file, lost[0].position.offset, &vec![0; rest]);
    let (_journal, recovered) = Journal::open(options(dir.path())).unwrap();
    assert_eq!(recovered.missing, 3, "{recovered}");
    assert!(!recovered.is_clean());
    let mut errors = Reader::open(dir.path())
        .unwrap()
        .records()
        .filter_map(Result::err);
    let gap = errors.next().unwrap();
    let expected = lost[0].sequence;
    assert!(
        matches!(gap, ReadError::Gap { expected: e, found, .. } if e == expected && found == e + 3)
    );
    assert!(errors.next().is_none());
}

#[test]
fn a_statement_cannot_forge_a_record() {
    // The attacker knows the format, the numbers and where the statement will lie, not the salt.
    let dir = tempfile::tempdir().unwrap();
    let options = || JournalOptions {
        segment_bytes: 1 << 20,
        ..options(dir.path())
    };
    let journal = Journal::open(options()).unwrap().0;
    operate(&journal, 1, 1, "kept");
    let mut inner = Vec::new();
    encode(&mut inner, Tag::SessionClosed, &closed(1)).unwrap();
    let mut forged = Vec::new();
    for guess in [0u64, 1, 0x5eed] {
        for sequence in 1..50 {
            let length = inner.len() as u32;
            let sum = checksum(crc32c::crc32c(&inner), sequence, length, guess);
            forged.extend(
                Word {
                    length,
                    checksum: sum,
                }
                .pack()
                .to_ne_bytes(),
            );
            forged.extend(sequence.to_ne_bytes());
            forged.extend(&inner);
            forged.resize(forged.len().next_multiple_of(8), 0);
        }
    }
    let mut at = Position::default();
    for shift in 0..8 {
        at = Position {
            segment: 1,
            offset: journal.shared.state.lock().offset,
        };
        let mut body = vec![b' '; shift];
        body.extend(&forged);
        // Worse than any client can do: the bytes of a payload are its to choose, one by one.
        journal
            .append(&[&[Tag::Operation as u8], body.as_slice()].concat())
            .unwrap();
    }
    drop(journal);
    patch(&segment::path(dir.path(), 1), at.offset, &[0xee; 4]);
    let (_journal, recovered) = Journal::open(options()).unwrap();
    assert_eq!(recovered.at, Some(at), "{recovered}");
    assert!(
        !records_lenient(dir.path())
            .iter()
            .any(|kind| matches!(kind, RecordKind::SessionClosed(_)))
    );
}

fn records_lenient(dir: &Path) -> Vec<RecordKind> {
    let read = Reader::open(dir).unwrap().records();
    read.filter_map(Result::ok)
        .map(|record| record.kind)
        .collect()
}

#[test]
fn an_unused_segment_is_used_and_unfinished_ones_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let made = || segment::numbers(dir.path()).unwrap();
    let numbers = made();
    std::fs::write(dir.path().join("journal.new"), b"half").unwrap();
    for _ in 0..3 {
        drop(open(dir.path()));
    }
    assert!(made().len() <= numbers.len().max(2), "{:?}", made());
    assert!(!dir.path().join("journal.new").exists());
}

#[test]
fn a_removed_segment_is_a_gap_that_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    for seq in 0..3000 {
        operate(&journal, 1, seq, "SELECT something FROM somewhere");
    }
    let all = records(dir.path()).len();
    std::fs::remove_file(segment::path(dir.path(), 3)).unwrap();
    let (read, errors): (Vec<_>, Vec<_>) = Reader::open(dir.path())
        .unwrap()
        .records()
        .partition(Result::is_ok);
    assert!(
        matches!(
            &errors[..],
            [Err(ReadError::Missing { from: 3, to: 3, .. })]
        ),
        "{errors:?}"
    );
    assert!(read.len() < all && read.len() > all / 2);
    std::fs::remove_file(segment::path(dir.path(), 1)).unwrap();
    let errors: Vec<_> = Reader::open(dir.path())
        .unwrap()
        .records()
        .filter_map(Result::err)
        .collect();
    assert_eq!(errors.len(), 1, "the oldest ones may go: {errors:?}");
}

#[test]
fn a_damaged_header_costs_its_segment_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    {
        let journal = open(dir.path());
        for seq in 0..3000 {
            operate(&journal, 1, seq, "SELECT something FROM somewhere");
        }
    }
    let last = last_record(dir.path()).0.segment;
    for number in [2, last] {
        patch(&segment::path(dir.path(), number), 3, b"?");
        let (journal, recovered) = Journal::open(options(dir.path())).unwrap();
        operate(&journal, 1, 9999, "still here");
        let damaged = recovered.damage.iter().any(|damage| damage.offset == 0);
        assert!(damaged, "segment {number}: {recovered}");
        let kinds = records_lenient(dir.path());
        let last = kinds.last().unwrap();
        assert!(matches!(last, RecordKind::Operation(o) if o.statement == "still here"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever bits flip, wherever: opening and reading never panic and never hang, what is read
    /// is what was written, and a journal that opens can be written on.
    #[test]
    fn flipped_bits_never_bring_forth_what_was_not_written(
        flips in proptest::collection::vec((0u64..(24 << 10), 0u8..8), 1..6),
        second in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut expected = Vec::new();
        {
            let journal = open(dir.path());
            for seq in 0..if second { 700 } else { 200 } {
                let statement = format!("statement number {seq} of many");
                operate(&journal, 1, seq, &statement);
                expected.push(statement);
            }
        }
        let file = segment::path(dir.path(), if second { 2 } else { 1 });
        let mut bytes = std::fs::read(&file).unwrap();
        for (offset, bit) in flips {
            bytes[offset as usize] ^= 1 << bit;
        }
        std::fs::write(&file, &bytes).unwrap();
        let read = || -> Vec<String> {
            let operations = records_lenient(dir.path()).into_iter().filter_map(|kind| match kind {
                RecordKind::Operation(operation) => Some(operation.statement),
                _ => None,
            });
            operations.collect()
        };
        let is_subsequence = |found: &[String]| {
            let mut rest = expected.iter();
            found.iter().all(|statement| rest.any(|next| next == statement))
        };
        let before = read();
        prop_assert!(is_subsequence(&before));
        match Journal::open(options(dir.path())) {
            Ok((journal, _)) => {
                operate(&journal, 1, 9999, "the next one");
                let mut found = read();
                let last = found.pop();
                prop_assert_eq!(last.as_deref(), Some("the next one"));
                prop_assert!(is_subsequence(&found));
                prop_assert!(found.len() >= before.len());
            }
            Err(JournalError::Version { .. } | JournalError::ByteOrder { .. }) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

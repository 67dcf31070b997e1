//! Journals that the gateway wrote when the format was of an older version.
use super::*;
use crate::query::{Query, operations, sessions};
use crate::testing::{
    closed_1_in_version, closed_unmasked, hold, outcome_of_1_up_to_version_2, outcome_unmasked,
    resolution,
};
use gateway_core::Verdict;

const SALT: u64 = 0x0123_4567_89ab_cdef;

/// The older versions.
const VERSIONS: std::ops::Range<u32> = 1..FORMAT_VERSION;

/// The header of a segment, byte by byte.
fn header(version: u32, segment: u64) -> Vec<u8> {
    let mut bytes = b"gwjrnl\r\n".to_vec();
    bytes.extend(0x0102_0304u32.to_ne_bytes());
    bytes.extend(version.to_ne_bytes());
    bytes.extend(segment.to_ne_bytes());
    bytes.extend((64u64 << 10).to_ne_bytes());
    bytes.extend(1_700_000_000_000_000_000u64.to_ne_bytes());
    bytes.extend([7; 16]);
    bytes.extend(SALT.to_ne_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_ne_bytes());
    bytes
}

/// A segment with records of these kinds and payloads, and the end of the last one.
fn segment_of(version: u32, number: u64, bodies: &[Vec<u8>]) -> (Vec<u8>, usize) {
    let mut bytes = header(version, number);
    bytes.resize(4096, 0);
    for (sequence, body) in (1u64..).zip(bodies) {
        let mut covered = body.clone();
        covered.extend(sequence.to_ne_bytes());
        covered.extend((body.len() as u32).to_ne_bytes());
        covered.extend(SALT.to_ne_bytes());
        bytes.extend((body.len() as u32).to_ne_bytes());
        bytes.extend(crc32c::crc32c(&covered).to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    let end = bytes.len();
    bytes.resize(64 << 10, 0);
    (bytes, end)
}

/// A note that the journal was opened, a session with one operation, its answer, and its end. The
/// kinds that have not changed since are pinned in `stored/tests.rs`.
fn bodies(version: u32) -> Vec<Vec<u8>> {
    let mut session = Vec::new();
    encode(
        &mut session,
        Tag::SessionOpened,
        &opened(1, 1, "local:alice"),
    )
    .unwrap();
    let mut operation = Vec::new();
    let parts = Parts::new(1, 1, "SELECT 1");
    encode(
        &mut operation,
        Tag::Operation,
        &OperationWritten::from(&parts.record()),
    )
    .unwrap();
    let note = b"\x05\x01\x00\x05whole".to_vec();
    let (mut outcome, mut closed) = (outcome_of_1_up_to_version_2(1), Vec::new());
    match version {
        1 | 2 => closed = closed_1_in_version(version),
        _ => {
            encode(&mut outcome, Tag::Outcome, &outcome_unmasked(1, 1)).unwrap();
            encode(&mut closed, Tag::SessionClosed, &closed_unmasked(1)).unwrap();
        }
    }
    vec![note, session, operation, outcome, closed]
}

/// With a segment that was prepared and never used, as a daemon leaves it.
fn write_version(version: u32, dir: &Path) -> Vec<u8> {
    std::fs::create_dir_all(dir).unwrap();
    let (bytes, _) = segment_of(version, 1, &bodies(version));
    std::fs::write(segment::path(dir, 1), &bytes).unwrap();
    std::fs::write(segment::path(dir, 2), segment_of(version, 2, &[]).0).unwrap();
    bytes
}

fn shown(dir: &Path) -> Vec<String> {
    let reader = Reader::open(dir).unwrap();
    let views = operations(&reader, &Query::default()).unwrap();
    views
        .map(|view| view.unwrap())
        .map(|view| format!("{} {}", view.operation.statement, view.verdict()))
        .collect()
}

#[test]
fn a_journal_of_an_older_version_is_read() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        write_version(version, dir.path());
        let read = records(dir.path());
        assert_eq!(read.len(), 5, "version {version}");
        assert_eq!(read[3].kind, RecordKind::Outcome(outcome_unmasked(1, 1)));
        assert_eq!(
            read[4].kind,
            RecordKind::SessionClosed(closed_unmasked(1)),
            "version {version}"
        );
        assert_eq!(shown(dir.path()), ["SELECT 1 allow"]);
        let reader = Reader::open(dir.path()).unwrap();
        let view = sessions(&reader, &Query::default()).unwrap().next();
        let view = view.unwrap().unwrap();
        assert_eq!((view.operations, view.denied, view.held), (3, 1, 0));
        assert_eq!(view.masked, 0);
        let disclosed = Query {
            disclosed: Some("*".parse().unwrap()),
            ..Query::default()
        };
        assert_eq!(operations(&reader, &disclosed).unwrap().count(), 0);
    }
}

#[test]
fn writing_goes_on_behind_a_journal_of_an_older_version_and_leaves_it_as_it_is() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        let before = write_version(version, dir.path());
        for round in 0..3u64 {
            let (journal, recovered) = Journal::open(options(dir.path())).unwrap();
            assert!(recovered.is_clean(), "{recovered}");
            let session = 2 + round;
            journal
                .session_opened(&opened(session, 1, "local:bob"))
                .unwrap();
            hold(&journal, session, 1, "DELETE FROM a");
            let answer = resolution(session, 1, Verdict::Expired);
            journal.resolution(&answer).unwrap();
        }
        let expected = ["SELECT 1 allow", "DELETE FROM a expired"];
        assert_eq!(shown(dir.path())[..2], expected);
        let read = records(dir.path());
        assert!(
            read.iter().map(|record| record.sequence).eq(1..=17),
            "no number is missing, no segment either"
        );
        assert_eq!(std::fs::read(segment::path(dir.path(), 1)).unwrap(), before);
        let versions: Vec<_> = Reader::open(dir.path())
            .unwrap()
            .segments()
            .unwrap()
            .into_iter()
            .map(|number| {
                let bytes = std::fs::read(segment::path(dir.path(), number)).unwrap();
                u32::from_ne_bytes(bytes[12..16].try_into().unwrap())
            })
            .collect();
        let expected = (version, FORMAT_VERSION);
        assert_eq!((versions[0], versions[1]), expected, "{versions:?}");
    }
}

#[test]
fn the_torn_end_of_an_older_version_is_cut_and_writing_goes_on_behind_it() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        let (mut bytes, end) = segment_of(version, 1, &bodies(version));
        bytes[end..end + 40].fill(0xee);
        std::fs::write(segment::path(dir.path(), 1), &bytes).unwrap();
        let (journal, recovered) = Journal::open(options(dir.path())).unwrap();
        assert_eq!((recovered.cut_bytes, recovered.next_sequence), (40, 6));
        operate(&journal, 2, 1, "next");
        assert_eq!(statements(dir.path()), ["SELECT 1", "next"]);
        assert_eq!(records(dir.path()).last().unwrap().position.segment, 2);
    }
}

/// The only segment there is was never used: it does not stay in the way.
#[test]
fn an_empty_segment_of_an_older_version_makes_room() {
    for version in VERSIONS {
        let dir = tempfile::tempdir().unwrap();
        let empty = segment_of(version, 1, &[]).0;
        std::fs::write(segment::path(dir.path(), 1), empty).unwrap();
        let journal = open(dir.path());
        operate(&journal, 1, 1, "first");
        assert_eq!(statements(dir.path()), ["first"]);
        assert_eq!(records(dir.path())[0].position.segment, 1);
    }
}

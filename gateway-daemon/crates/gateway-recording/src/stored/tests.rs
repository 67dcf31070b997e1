//! What is written reads back, and its bytes do not change unseen.
use super::*;
use crate::FORMAT_VERSION;
use crate::record::RecordKind;
use crate::testing::{
    Parts, act, answer_parts, came_back, closed, closed_1_in_version, closed_unmasked, opened,
    outcome, outcome_of_1_up_to_version_2, outcome_unmasked, resolution,
};
use gateway_core::Object;

fn bytes<T: Serialize>(tag: Tag, value: &T) -> Vec<u8> {
    let mut buffer = b"left over".to_vec();
    encode(&mut buffer, tag, value).unwrap();
    buffer
}

fn full_operation() -> Parts {
    let mut parts = Parts::new(7, 3, "SELECT $1");
    parts.effects.push(Effect {
        verb: Verb::Delete,
        objects: vec![Object::Unresolved("x".into()), Object::Named("ü".into())],
    });
    parts.attributes = vec![
        ("a".into(), Attribute::Bool(true)),
        ("b".into(), Attribute::Int(-5)),
        ("c".into(), Attribute::Text("t".into())),
    ];
    parts.parameters = vec![
        Parameter {
            kind: Some("int4".into()),
            value: Some("1".into()),
            cut_from: None,
        },
        Parameter {
            kind: None,
            value: None,
            cut_from: Some(1 << 40),
        },
    ];
    parts
}

#[test]
fn every_kind_reads_back() {
    let session = opened(1, 2, "local:alice");
    let kinds = [
        (
            bytes(Tag::SessionOpened, &session),
            RecordKind::SessionOpened(Arc::new(session)),
        ),
        (
            bytes(Tag::Outcome, &outcome(1, 2)),
            RecordKind::Outcome(outcome(1, 2)),
        ),
        (
            bytes(Tag::SessionClosed, &closed(1)),
            RecordKind::SessionClosed(closed(1)),
        ),
        (
            bytes(Tag::Resolution, &resolution(1, 2, Verdict::Expired)),
            RecordKind::Resolution(resolution(1, 2, Verdict::Expired)),
        ),
        (
            bytes(Tag::Act, &act("kill", "s0000000000001")),
            RecordKind::Act(act("kill", "s0000000000001")),
        ),
    ];
    for (bytes, kind) in kinds {
        assert_eq!(decode(FORMAT_VERSION, &bytes), Ok(kind));
    }
    for part in answer_parts() {
        let part = came_back(1, 2, part);
        let written = bytes(Tag::Answer, &part);
        assert_eq!(
            decode(FORMAT_VERSION, &written),
            Ok(RecordKind::Answer(part))
        );
    }
    let parts = full_operation().denied();
    let written = bytes(Tag::Operation, &OperationWritten::from(&parts.record()));
    let Ok(RecordKind::Operation(read)) = decode(FORMAT_VERSION, &written) else {
        panic!("{:?}", decode(FORMAT_VERSION, &written));
    };
    assert_eq!(read.id, parts.id);
    assert_eq!(read.effects, parts.effects);
    assert_eq!(read.attributes, parts.attributes);
    assert_eq!(read.parameters, parts.parameters);
    assert_eq!(read.statement, parts.statement);
    assert_eq!((read.verdict, read.mode), (parts.verdict, parts.mode));
    assert_eq!(read.rule.as_deref(), Some("nobody drops"));
    assert_eq!(read.message, None);
}

/// The beginnings are prefixes of what is stored: they say the same as the whole.
#[test]
fn the_beginning_of_a_record_says_what_the_whole_says() {
    let session = SessionBrief {
        session: SessionId(1),
        time: opened(1, 2, "x").time,
    };
    let written = bytes(Tag::SessionOpened, &opened(1, 2, "local:alice"));
    assert_eq!(brief(&written), Ok(Brief::SessionOpened(session)));
    let session = SessionBrief {
        time: closed(1).time,
        ..session
    };
    let written = bytes(Tag::SessionClosed, &closed(1));
    assert_eq!(brief(&written), Ok(Brief::SessionClosed(session)));
    let answered = outcome(1, 2);
    let expected = OutcomeBrief {
        id: answered.id,
        time: answered.time,
        rows: answered.rows,
        bytes_up: answered.bytes_up,
        bytes_down: answered.bytes_down,
    };
    assert_eq!(
        brief(&bytes(Tag::Outcome, &answered)),
        Ok(Brief::Outcome(expected))
    );
    let parts = full_operation().denied();
    let record = parts.record();
    let expected = OperationBrief {
        id: record.id,
        time: record.time,
        verdict: record.verdict,
        mode: record.mode,
        verb: record.verb,
        protocol: record.protocol,
        resource: record.resource,
    };
    let written = bytes(Tag::Operation, &OperationWritten::from(&record));
    assert_eq!(brief(&written), Ok(Brief::Operation(expected)));
    let answer = resolution(1, 2, Verdict::Approved);
    let expected = ResolutionBrief {
        id: answer.id,
        time: answer.time,
        verdict: Verdict::Approved,
    };
    let written = bytes(Tag::Resolution, &answer);
    assert_eq!(brief(&written), Ok(Brief::Resolution(expected)));
    let time = act("kill", "s0000000000001").time;
    let written = bytes(Tag::Act, &act("kill", "s0000000000001"));
    assert_eq!(brief(&written), Ok(Brief::Act(ActBrief { time })));
    let [part, ..] = answer_parts().map(|part| came_back(1, 2, part));
    let expected = AnswerBrief {
        id: part.id,
        time: part.time,
    };
    let written = bytes(Tag::Answer, &part);
    assert_eq!(brief(&written), Ok(Brief::Answer(expected)));
    let note = Note {
        time: Timestamp(1),
        kind: NoteKind::Opened,
        text: "t".into(),
    };
    let written = bytes(Tag::Note, &note);
    assert!(brief(&written).unwrap().is_boundary());
}

/// The disk format follows the declarations in gateway-core. When this fails, somebody changed
/// one: raise `FORMAT_VERSION`, and the sums here.
#[test]
fn the_bytes_of_every_kind_are_those_of_this_format_version() {
    let note = Note {
        time: Timestamp(1),
        kind: NoteKind::Policy,
        text: "t".into(),
    };
    let sums = [
        bytes(Tag::SessionOpened, &opened(1, 2, "local:alice")),
        bytes(
            Tag::Operation,
            &OperationWritten::from(&full_operation().record()),
        ),
        bytes(Tag::Outcome, &outcome(1, 2)),
        bytes(Tag::SessionClosed, &closed(1)),
        bytes(Tag::Note, &note),
        bytes(Tag::Resolution, &resolution(1, 2, Verdict::Approved)),
        bytes(Tag::Act, &act("kill", "s0000000000001")),
        answer_parts()
            .map(|part| bytes(Tag::Answer, &came_back(1, 2, part)))
            .concat(),
    ]
    .map(|bytes| (bytes.len(), crc32c::crc32c(&bytes)));
    assert_eq!(
        (FORMAT_VERSION, sums),
        (4, PINNED),
        "the disk format has changed"
    );
}

const PINNED: [(usize, u32); 8] = [
    (153, 3_314_877_545),
    (108, 436_390_294),
    (59, 343_807_882),
    (41, 101_610_830),
    (5, 3_730_595_984),
    (43, 420_058_041),
    (62, 663_638_322),
    (82, 244_584_609),
];

#[test]
fn what_is_cut_off_or_too_long_is_an_error_and_never_a_panic() {
    let parts = full_operation();
    let whole = bytes(Tag::Operation, &OperationWritten::from(&parts.record()));
    for end in 0..whole.len() {
        assert!(
            decode(FORMAT_VERSION, &whole[..end]).is_err(),
            "{end} bytes"
        );
    }
    let longer = [&whole[..], &[0]].concat();
    assert_eq!(
        decode(FORMAT_VERSION, &longer),
        Err("1 bytes too many".into())
    );
    assert_eq!(
        decode(FORMAT_VERSION, &[99, 1, 2]),
        Err("kind 99 is not known here".into())
    );
}

/// Up to version 3 a destination had one name or none.
#[test]
fn a_destination_of_an_older_version_is_read() {
    #[derive(Serialize)]
    struct Destination3 {
        ip: std::net::IpAddr,
        port: u16,
        host: Option<Arc<str>>,
    }
    for host in [None, Some("orders.db.internal")] {
        let mut session = opened(1, 2, "local:alice");
        session.destination.hosts = host.into_iter().map(Into::into).collect();
        let then = Destination3 {
            ip: session.destination.ip,
            port: session.destination.port,
            host: host.map(Into::into),
        };
        assert_eq!(
            postcard::to_allocvec(&then),
            postcard::to_allocvec(&session.destination)
        );
        let written = bytes(Tag::SessionOpened, &session);
        let expected = RecordKind::SessionOpened(Arc::new(session));
        for version in 1..=FORMAT_VERSION {
            assert_eq!(decode(version, &written), Ok(expected.clone()));
        }
    }
    let mut session = opened(1, 2, "local:alice");
    session.destination.hosts = vec!["orders.db.internal".into(), "evil.example".into()];
    let written = bytes(Tag::SessionOpened, &session);
    let expected = RecordKind::SessionOpened(Arc::new(session));
    assert_eq!(decode(FORMAT_VERSION, &written), Ok(expected));
}

/// What an older version wrote is read as that version only: another one finds too much there or
/// too little. Its beginning is that of today's.
#[test]
fn what_older_versions_stored_otherwise_is_read_as_they_wrote_it() {
    let closed_then = || RecordKind::SessionClosed(closed_unmasked(1));
    let closed_now = bytes(Tag::SessionClosed, &closed(1));
    let outcome_then = || RecordKind::Outcome(outcome_unmasked(1, 2));
    let outcome_now = bytes(Tag::Outcome, &outcome(1, 2));
    // The sums are those that the tests of their versions pinned.
    for (versions, old, pinned, then, now) in [
        (
            1..=1,
            closed_1_in_version(1),
            (39, 1_230_324_119),
            closed_then(),
            &closed_now,
        ),
        (
            2..=2,
            closed_1_in_version(2),
            (40, 171_834_415),
            closed_then(),
            &closed_now,
        ),
        (
            1..=2,
            outcome_of_1_up_to_version_2(2),
            (17, 2_102_908_124),
            outcome_then(),
            &outcome_now,
        ),
    ] {
        assert_eq!((old.len(), crc32c::crc32c(&old)), pinned, "{versions:?}");
        for version in 1..=FORMAT_VERSION {
            let read = decode(version, &old);
            if versions.contains(&version) {
                assert_eq!(read, Ok(then.clone()), "{versions:?} as {version}");
            } else {
                assert!(read.is_err(), "{versions:?} as {version}");
            }
            assert_eq!(decode(version, now).is_ok(), version >= 3);
        }
        assert_eq!(brief(&old), brief(now));
    }
}

proptest::proptest! {
    #[test]
    fn random_payloads_never_panic(version in 1..=FORMAT_VERSION, tag in 0u8..10, payload: Vec<u8>) {
        let body = [&[tag][..], &payload].concat();
        if decode(version, &body).is_ok() {
            proptest::prop_assert!(brief(&body).is_ok());
        }
    }
}

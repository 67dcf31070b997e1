//! The journal of a dead daemon, read as the command line reads it.
use super::*;
use crate::commands::policy::replay::tests::{Entry, Written};
use gateway_core::{AnswerPart, OperationId};
use serde_json::Value;

/// Keeps what it is given, up to a number of lines.
struct Kept(Vec<Value>, usize);

impl LineSink for Kept {
    fn line(&mut self, json: Vec<u8>) -> Result<(), Gone> {
        self.0.push(serde_json::from_slice(&json).unwrap());
        if self.0.len() < self.1 {
            Ok(())
        } else {
            Err(Gone)
        }
    }

    fn pause(&mut self, _: Duration) -> Result<(), Gone> {
        Err(Gone)
    }
}

/// Two operations, the second of which discloses something, and what came back for it.
fn written() -> (Written, OperationId) {
    let written = Written::new();
    written.open(1, "user:alice", "ci");
    written.add(Entry::default());
    let id = written.add(Entry {
        returns: &["public.users.email"],
        ..Entry::default()
    });
    (written, id)
}

#[test]
fn fields_are_found_without_a_daemon() {
    let (written, id) = written();
    let archive = JournalArchive::open(written.path()).unwrap();
    let found = |filter: &Filter| {
        let mut kept = Kept(Vec::new(), usize::MAX);
        archive.operations(filter, false, &mut kept).unwrap();
        let ids = kept.0.iter().map(|line| line["id"].clone());
        ids.collect::<Vec<_>>()
    };
    for (disclosed, masked, expected) in [
        (Some("*.email"), None, true),
        (Some("public.users.email"), None, true),
        (None, Some("public.*"), true),
        (Some("*"), Some("hr.*"), false),
        (Some("email"), None, false),
    ] {
        let filter = Filter {
            disclosed: disclosed.map(str::to_owned),
            masked: masked.map(str::to_owned),
            ..Filter::default()
        };
        let expected = expected.then(|| Value::from(id.to_string()));
        assert_eq!(found(&filter), Vec::from_iter(expected), "{filter:?}");
    }
}

#[test]
fn a_session_is_played_back_without_a_daemon() {
    let (written, id) = written();
    let part = AnswerPart::Text("COPY".into());
    written.came_back(id, part);
    let archive = JournalArchive::open(written.path()).unwrap();
    let events = |after, lines_max| {
        let mut kept = Kept(Vec::new(), lines_max);
        assert!(archive.replay(id.session, after, &mut kept).unwrap());
        kept.0
    };
    let all = events(None, usize::MAX);
    let names: Vec<_> = all.iter().map(|event| &event["event"]).collect();
    let expected = [
        "opened",
        "operation",
        "outcome",
        "operation",
        "outcome",
        "answer",
    ];
    assert_eq!(names, expected);
    let first = events(None, 2);
    assert_eq!(first, all[..2], "the caller has left");
    let rest = events(first[1]["record"].as_u64(), usize::MAX);
    assert_eq!(rest, all[2..]);
    let mut none = Kept(Vec::new(), usize::MAX);
    assert!(!archive.replay(SessionId(9), None, &mut none).unwrap());
    assert!(none.0.is_empty());
}

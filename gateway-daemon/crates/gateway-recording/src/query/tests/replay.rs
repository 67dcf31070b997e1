//! A session as it happened.
use super::*;
use crate::testing::{answer_parts, came_back, hold, resolution};
use crate::view::Event;
use gateway_core::AnswerPart;

/// `opened`, `operation 1` …, as a replay gives them.
fn events(reader: &Reader, session: u64, after: Option<u64>) -> Vec<String> {
    let found = replay(reader, SessionId(session), after).unwrap();
    let name = |event: &Event| match event {
        Event::Opened(_) => "opened".to_owned(),
        Event::Operation(operation) => format!("operation {}", operation.id.seq),
        Event::Resolution(resolution) => format!("{} {}", resolution.verdict, resolution.id.seq),
        Event::Answer(answer) => match &answer.part {
            AnswerPart::Columns(_) => "columns".to_owned(),
            AnswerPart::Rows(rows) => format!("{} rows", rows.len()),
            AnswerPart::Text(_) => "text".to_owned(),
            AnswerPart::Cut { .. } => "cut".to_owned(),
        },
        Event::Outcome(outcome) => format!("outcome {}", outcome.id.seq),
        Event::Closed(closed) => format!("closed {}", closed.end),
        Event::Lost { before } => format!("lost {}", before.is_some()),
    };
    found.map(|view| name(&view.unwrap().event)).collect()
}

/// One that was held and answered, among those of another session.
fn two_sessions(dir: &Path) -> Journal {
    let journal = open(dir);
    journal
        .session_opened(&opened(1, 1, "local:alice"))
        .unwrap();
    journal.session_opened(&opened(2, 2, "local:bob")).unwrap();
    operate(&journal, 2, 1, "SELECT 1");
    hold(&journal, 1, 1, "SELECT * FROM users");
    let approved = resolution(1, 1, Verdict::Approved);
    journal.resolution(&approved).unwrap();
    for part in answer_parts() {
        journal.answer(&came_back(1, 1, part.clone())).unwrap();
        journal.answer(&came_back(2, 1, part)).unwrap();
    }
    journal.outcome(&outcome(1, 1)).unwrap();
    let denied = Parts::new(1, 2, "DROP TABLE users").denied();
    journal.operation(&denied.record()).unwrap();
    journal.session_closed(&closed(1)).unwrap();
    journal
}

const WHOLE: [&str; 10] = [
    "opened",
    "operation 1",
    "approved 1",
    "columns",
    "2 rows",
    "text",
    "cut",
    "outcome 1",
    "operation 2",
    "closed client",
];

#[test]
fn a_session_is_given_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let _journal = two_sessions(&path);
    for (how, reader) in readers(&path) {
        assert_eq!(events(&reader, 1, None), WHOLE, "by {how}");
        let other = events(&reader, 2, None);
        assert_eq!(other[..3], ["opened", "operation 1", "columns"], "by {how}");
        assert_eq!(other.len(), 6, "it is open, by {how}");
        let mut unknown = replay(&reader, SessionId(9), None).unwrap();
        assert!(unknown.next().is_none() && !unknown.is_known(), "by {how}");
    }
}

#[test]
fn it_can_be_gone_on_with_behind_any_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let _journal = two_sessions(&path);
    for (how, reader) in readers(&path) {
        let whole = replay(&reader, SessionId(1), None).unwrap();
        for (done, view) in whole.enumerate() {
            let after = view.unwrap().sequence;
            let rest = events(&reader, 1, after);
            assert_eq!(rest, WHOLE[done + 1..], "behind {after:?}, by {how}");
        }
        let mut rest = replay(&reader, SessionId(1), Some(u64::MAX)).unwrap();
        assert!(rest.next().is_none() && rest.is_known(), "by {how}");
    }
}

#[test]
fn a_session_of_a_daemon_that_was_killed_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    drop(two_sessions(&path));
    let last = |reader: &Reader| events(reader, 2, None).pop().unwrap();
    for (how, reader) in readers(&path) {
        assert_eq!(last(&reader), "lost false", "by {how}");
        assert_eq!(events(&reader, 1, None), WHOLE, "by {how}");
    }
    let _next = open(&path);
    for (how, reader) in readers(&path) {
        assert_eq!(last(&reader), "lost true", "by {how}");
        assert_eq!(events(&reader, 1, None), WHOLE, "by {how}");
    }
}

/// The index has to know the segments that have nothing but parts of an answer.
#[test]
fn long_answers_are_found_and_are_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let journal = open(&path);
    for session in [1, 2] {
        let record = opened(session, session, "local:alice");
        journal.session_opened(&record).unwrap();
    }
    operate(&journal, 1, 1, "SELECT");
    let row = vec![Some("x".repeat(1000)); 10];
    for part in 0..100 {
        let part = came_back(1, 1, AnswerPart::Rows(vec![row.clone(); 1 + part % 3]));
        journal.answer(&part).unwrap();
    }
    journal.outcome(&outcome(1, 1)).unwrap();
    for (how, reader) in readers(&path) {
        assert!(reader.segments().unwrap().len() > 10);
        assert_eq!(events(&reader, 1, None).len(), 103, "by {how}");
        assert_eq!(ids(&reader, &Query::default()), ["1.1"], "by {how}");
        assert_eq!(session_ids(&reader, &Query::default()), [1, 2], "by {how}");
        let view = operations(&reader, &Query::default()).unwrap().next();
        let view = view.unwrap().unwrap();
        assert_eq!(view.outcome, Some(outcome(1, 1)), "by {how}");
    }
}

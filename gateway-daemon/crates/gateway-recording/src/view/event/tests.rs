//! The keys of what is watched again.
use super::*;
use crate::reader::Position;
use crate::testing::{Parts, answer_parts, came_back, closed, open, opened, outcome, resolution};
use gateway_core::{Recorder, Verdict};
use serde_json::{Value, json};

fn shown(kind: RecordKind) -> Value {
    let record = Record {
        position: Position::default(),
        sequence: 7,
        kind,
    };
    serde_json::to_value(EventView::of(record).unwrap()).unwrap()
}

#[test]
fn a_part_of_an_answer_is_one_of_four() {
    for (part, key, expected) in [
        (0, "columns", json!(["id", "email"])),
        (1, "values", json!([["1", null], []])),
        (2, "text", json!("COPY")),
        (3, "cut", json!({ "rows": 300, "bytes": 1_u64 << 40 })),
    ] {
        let part = came_back(1, 2, answer_parts()[part].clone());
        let mut value = json!({
            "time": "2023-11-14T22:13:20.450000Z", "event": "answer", "record": 7,
            "session": "s0000000000001", "seq": 2,
        });
        value[key] = expected;
        assert_eq!(shown(RecordKind::Answer(part)), value);
    }
}

#[test]
fn every_event_says_when_what_and_of_whom() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let operation = Parts::new(1, 1, "SELECT 1").denied();
    journal.operation(&operation.record()).unwrap();
    let stored = crate::testing::records(dir.path()).pop().unwrap().kind;
    let opened = shown(RecordKind::SessionOpened(Arc::new(opened(1, 5, "local:a"))));
    let closed = shown(RecordKind::SessionClosed(closed(1)));
    let lost = EventView {
        sequence: None,
        session: SessionId(1),
        event: Event::Lost { before: None },
    };
    let lost = serde_json::to_value(&lost).unwrap();
    let of_operation = [
        shown(stored),
        shown(RecordKind::Resolution(resolution(1, 1, Verdict::Denied))),
        shown(RecordKind::Outcome(outcome(1, 1))),
    ];
    let names = of_operation.each_ref().map(|value| value["event"].clone());
    assert_eq!(names, ["operation", "resolution", "outcome"]);
    for value in &of_operation {
        assert_eq!(value["seq"], 1, "{value}");
    }
    for value in [&opened, &closed, &lost] {
        assert_eq!(value["seq"], Value::Null, "{value}");
        assert_eq!(value["session"], "s0000000000001", "{value}");
    }
    assert_eq!(opened["principal"]["id"], "local:a");
    assert_eq!(opened["lineage"].as_array().unwrap().len(), 2);
    let [operation, resolution, outcome] = of_operation;
    assert_eq!(operation["statement"], "SELECT 1");
    assert_eq!(operation["verdict"], "deny");
    assert_eq!(resolution["approver"], "user:dana@acme.com");
    assert_eq!(outcome["rows"], 2);
    assert_eq!(outcome["disclosed"], json!(["public.users.phone"]));
    assert_eq!(
        (&closed["end"], &closed["masked"]),
        (&json!("client"), &json!(3))
    );
    assert_eq!(
        (&lost["time"], &lost["end"]),
        (&Value::Null, &json!("error"))
    );
}

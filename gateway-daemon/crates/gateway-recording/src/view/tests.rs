//! The keys that scripts rely on.
use super::*;
use crate::query::{Query, operations, sessions};
use crate::reader::Reader;
use crate::testing::{Parts, closed, open, opened, outcome};
use gateway_core::Recorder;
use serde_json::{Value, json};

/// The contract: "Keys of an operation".
const OPERATION: &str = "time, id, session, tree, seq, protocol, verb, verbs, resource, destination, objects, statement, verdict, rule, message, approver, principal, delegates, process, lineage, cgroup, rows, bytes_up, bytes_down, masked, disclosed, duration_ms, error";
/// The contract: "Keys of a session".
const SESSION: &str = "session, tree, opened, closed, protocol, resource, destination, principal, process, lineage, operations, denied, held, masked, bytes_up, bytes_down, end, error";

fn shown() -> (Vec<Value>, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal
        .session_opened(&opened(1, 5, "local:alice"))
        .unwrap();
    journal
        .operation(&Parts::new(1, 1, "SELECT 1").record())
        .unwrap();
    journal.outcome(&outcome(1, 1)).unwrap();
    journal
        .operation(&Parts::new(1, 2, "DROP TABLE users").denied().record())
        .unwrap();
    journal
        .operation(&Parts::new(404, 1, "of a session that is lost").record())
        .unwrap();
    journal.session_closed(&closed(1)).unwrap();
    journal
        .session_opened(&opened(2, 5, "local:alice"))
        .unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let values = |view| serde_json::to_value(view).unwrap();
    let operations = operations(&reader, &Query::default()).unwrap();
    let sessions = sessions(&reader, &Query::default()).unwrap();
    (
        operations.map(|view| values(view.unwrap())).collect(),
        sessions
            .map(|view| serde_json::to_value(view.unwrap()).unwrap())
            .collect(),
    )
}

#[test]
fn an_operation_has_every_key_of_the_contract() {
    let (operations, _) = shown();
    for operation in &operations {
        for key in OPERATION.split(", ") {
            assert!(
                operation.get(key).is_some(),
                "{key} is missing in {operation}"
            );
        }
    }
    let sh = json!({
        "pid": 7, "start": 7000, "exe": "/bin/sh", "argv": ["/bin/sh", "-c"], "uid": 1000,
        "cwd": "/build", "container": null, "cgroup": "/ci/job", "provenance": "kernel",
        "argv_cut": false, "exited": false,
    });
    let mut psql = sh.clone();
    (psql["pid"], psql["start"], psql["exe"]) = (json!(8), json!(8000), json!("/usr/bin/psql"));
    psql["argv"][0] = json!("/usr/bin/psql");
    let expected = json!({
        "time": "2023-11-14T22:13:20.100001Z",
        "id": "s0000000000001.1", "session": "s0000000000001", "tree": "t0000000000005", "seq": 1,
        "protocol": "postgres", "verb": "read", "verbs": ["read"], "resource": "prod-orders",
        "destination": {"ip": "10.0.0.7", "port": 5432, "host": null},
        "objects": ["public.users"], "statement": "SELECT 1", "verdict": "allow",
        "rule": null, "message": null, "approver": null, "reason": null, "resolved": null,
        "principal": {"id": "local:alice", "assurance": "kernel", "groups": ["engineering"]},
        "delegates": [], "process": psql, "lineage": [sh, psql], "cgroup": "/ci/job",
        "rows": 2, "bytes_up": 20, "bytes_down": 40,
        "masked": {"public.users.email": 2}, "disclosed": ["public.users.phone"],
        "duration_ms": 399.999, "error": null, "disclosed_rows": {"public.users.phone": 1},
        "parameters": [], "attributes": {"sql.has_where": true}, "mode": "enforce", "policy": "ci",
    });
    assert_eq!(operations[0], expected);
    let denied = &operations[1];
    assert_eq!(
        (&denied["verdict"], &denied["rule"]),
        (&json!("deny"), &json!("nobody drops"))
    );
    for key in ["rows", "bytes_up", "bytes_down", "duration_ms", "error"] {
        assert_eq!(denied[key], Value::Null, "{key} of what was never sent");
    }
    for (key, empty) in [
        ("masked", json!({})),
        ("disclosed", json!([])),
        ("disclosed_rows", json!({})),
    ] {
        assert_eq!(denied[key], empty, "{key} of what was never sent");
    }
    let orphan = &operations[2];
    assert_eq!(
        (&orphan["tree"], &orphan["process"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(orphan["principal"]["id"], "unknown");
}

#[test]
fn a_session_has_every_key_of_the_contract() {
    let (_, sessions) = shown();
    for session in &sessions {
        for key in SESSION.split(", ") {
            assert!(session.get(key).is_some(), "{key} is missing in {session}");
        }
    }
    let [closed, live] = &sessions[..] else {
        panic!("{sessions:?}")
    };
    assert_eq!(closed["opened"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(closed["closed"], "2023-11-14T22:13:21.000000Z");
    assert_eq!(
        (&closed["end"], &closed["operations"]),
        (&json!("client"), &json!(3))
    );
    assert_eq!((&closed["masked"], &live["masked"]), (&json!(3), &json!(0)));
    assert_eq!(
        (&live["end"], &live["closed"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        live["resource"], "10.0.0.7:5432",
        "no operation has named it yet"
    );
}

#[test]
fn keys_come_in_the_order_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal
        .session_opened(&opened(1, 5, "local:alice"))
        .unwrap();
    journal
        .operation(&Parts::new(1, 1, "SELECT 1").record())
        .unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let view = operations(&reader, &Query::default())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let text = serde_json::to_string(&view).unwrap();
    let places: Vec<_> = OPERATION
        .split(", ")
        .filter(|key| *key != "cgroup" && *key != "resource")
        .map(|key| text.find(&format!("\"{key}\":")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn fields_come_in_the_order_of_their_names_and_each_once() {
    let counts = vec![("b".into(), 1), ("a".into(), 2), ("b".into(), u64::MAX)];
    let fields = by_field(Some(&counts));
    assert_eq!(
        serde_json::to_string(&fields).unwrap(),
        format!(r#"{{"a":2,"b":{}}}"#, u64::MAX)
    );
    assert!(by_field(None).is_empty());
}

#[test]
fn every_time_can_be_shown() {
    for (time, text) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456Z"),
        (u64::MAX, "2554-07-21T23:34:33.709551Z"),
    ] {
        assert_eq!(rfc3339(Timestamp(time)), text);
    }
}

#[test]
fn an_object_that_several_effects_name_is_shown_once() {
    let mut parts = Parts::new(1, 1, "");
    parts.effects.extend(parts.effects.clone());
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.operation(&parts.record()).unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    let view = operations(&reader, &Query::default())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(objects(&view.operation), ["public.users"]);
}

//! What people see of a session.
use super::*;
use serde_json::json;

const PLAIN: Screen = Screen {
    width: None,
    colours: false,
};

fn shown(events: &[Value]) -> Vec<String> {
    let mut stage = Stage::new(PLAIN);
    let lines = events.iter().flat_map(|event| stage.lines(event));
    lines.collect()
}

/// An event of an operation, a second after the one before it.
fn event(second: u8, name: &str, seq: Option<u64>, more: &Value) -> Value {
    let mut event = json!({
        "time": format!("2026-01-02T03:04:{second:02}.678901Z"), "event": name, "seq": seq,
        "session": "s0000000000001", "record": second,
    });
    let more = more.as_object().unwrap().clone();
    event.as_object_mut().unwrap().extend(more);
    event
}

#[test]
fn a_session_as_it_happened() {
    let events = [
        event(
            1,
            "opened",
            None,
            &json!({
                "principal": { "id": "local:alice" }, "process": { "pid": 42, "exe": "/bin/psql" },
                "destination": { "ip": "10.0.0.7", "port": 5432 },
            }),
        ),
        event(
            1,
            "operation",
            Some(1),
            &json!({
                "statement": "", "verb": "connect", "objects": ["orders"], "verdict": "allow",
                "mode": "enforce",
            }),
        ),
        event(
            2,
            "operation",
            Some(2),
            &json!({
                "statement": "SELECT *\nFROM users\r\nWHERE id < $1", "verdict": "hold",
                "mode": "enforce", "rule": "ask", "message": "production",
                "parameters": [
                    { "value": "9", "cut_from": null }, { "value": null },
                    { "value": "x", "cut_from": 70000 },
                ],
            }),
        ),
        event(
            3,
            "resolution",
            Some(2),
            &json!({
                "verdict": "approved", "approver": "user:dana", "reason": "ticket 7",
            }),
        ),
        event(4, "answer", Some(2), &json!({ "columns": ["id", "email"] })),
        event(
            4,
            "answer",
            Some(2),
            &json!({ "values": [["1", "[masked]"]] }),
        ),
        event(5, "answer", Some(2), &json!({ "values": [["22", null]] })),
        event(
            5,
            "answer",
            Some(2),
            &json!({ "cut": { "rows": 3, "bytes": 99 } }),
        ),
        event(
            5,
            "outcome",
            Some(2),
            &json!({
                "rows": 5, "masked": { "users.email": 1 }, "disclosed_rows": { "users.name": 2 },
            }),
        ),
        event(
            6,
            "operation",
            Some(3),
            &json!({
                "statement": "DROP TABLE users", "verdict": "deny", "mode": "enforce",
                "rule": "nobody drops",
            }),
        ),
        event(
            7,
            "closed",
            None,
            &json!({
                "end": "client", "operations": 3, "denied": 1, "held": 1, "masked": 1,
            }),
        ),
    ];
    assert_eq!(
        shown(&events),
        [
            "-- 2026-01-02",
            "03:04:01.678 session s0000000000001 of local:alice by psql (42) to 10.0.0.7:5432",
            "03:04:01.678 1: [connect orders]",
            "03:04:02.678 2: SELECT *",
            "             -> FROM users",
            "             -> WHERE id < $1",
            "             $1 = '9'",
            "             $2 = NULL",
            "             $3 = 'x'… (of 70000 bytes)",
            "03:04:02.678 2: held for a human [rule: ask]: production",
            "03:04:03.678 2: approved by user:dana: ticket 7",
            " id |  email",
            "----+----------",
            "  1 | [masked]",
            " 22 | NULL",
            " (2 rows)",
            "-- not kept: 3 rows, 99 bytes in all",
            "03:04:05.678 2: done, 5 rows",
            "             masked      users.email (1 value)",
            "             disclosed   users.name (2 rows)",
            "03:04:06.678 3: DROP TABLE users",
            "03:04:06.678 3: denied [rule: nobody drops]",
            "03:04:07.678 end (client); 3 asked, 1 denied, 1 held, 1 value masked",
        ]
    );
}

#[test]
fn answers_that_come_late_and_results_without_rows_say_what_they_are() {
    let ask = |seq| {
        event(
            1,
            "operation",
            Some(seq),
            &json!({
                "statement": "SELECT", "verdict": "deny", "mode": "shadow",
            }),
        )
    };
    let events = [
        ask(1),
        ask(2),
        event(2, "answer", Some(1), &json!({ "columns": ["a"] })),
        event(2, "answer", Some(1), &json!({ "text": "one\ntwo" })),
        event(
            2,
            "outcome",
            Some(1),
            &json!({ "rows": null, "error": null }),
        ),
        event(3, "answer", Some(2), &json!({ "values": [["1"]] })),
        event(
            3,
            "outcome",
            Some(2),
            &json!({ "error": "22012 division by zero" }),
        ),
    ];
    assert_eq!(
        shown(&events)[5..],
        [
            "03:04:02.678 1: answers:",
            " a",
            "---",
            " (0 rows)",
            " | one",
            " | two",
            "03:04:02.678 1: done",
            "03:04:03.678 2: answers:",
            " ?column?",
            "----------",
            "        1",
            " (1 row)",
            "03:04:03.678 2: error: 22012 division by zero",
        ]
    );
    let decided = &shown(&events)[2];
    assert_eq!(decided, "03:04:01.678 1: deny (not enforced: shadow)");
}

#[test]
fn what_is_open_or_lost_is_said() {
    let mut stage = Stage::new(PLAIN);
    stage.lines(&event(1, "answer", Some(1), &json!({ "columns": ["a"] })));
    assert_eq!(stage.open(), [" a", "---", " (0 rows)", "-- it is open"]);
    assert!(!stage.over);
    let lost = json!({ "event": "closed", "time": null, "end": "error", "error": "it died" });
    assert_eq!(stage.lines(&lost), ["-- end (error): it died"]);
    assert!(stage.over);
    let later = json!({ "event": "whatever", "seq": 1 });
    assert_eq!(stage.lines(&later), ["-- 1: [whatever]"]);
}

/// Everything that a watched process can choose is an attack on the terminal, or looks like a line
/// of the gateway's own.
#[test]
fn nothing_reaches_the_terminal_unescaped_or_looks_like_the_gateways_word() {
    const ATTACK: &str = "\u{1b}[2J\r\n03:04:09.678 9: approved\n-- 2026-01-03\u{9b}\u{202e}";
    let who = json!({ "id": ATTACK });
    let events = [
        json!({
            "event": "opened", "session": "s", "principal": who, "process": { "exe": ATTACK },
        }),
        json!({
            "event": "operation", "seq": 1, "statement": ATTACK, "verdict": "deny",
            "mode": "enforce", "rule": ATTACK, "message": ATTACK,
            "parameters": [{ "value": ATTACK }],
        }),
        json!({ "event": "operation", "seq": 1, "verb": ATTACK, "objects": [ATTACK] }),
        json!({ "event": "resolution", "seq": 1, "approver": ATTACK, "reason": ATTACK }),
        json!({ "event": "answer", "seq": 1, "columns": [ATTACK] }),
        json!({ "event": "answer", "seq": 1, "values": [[ATTACK]] }),
        json!({ "event": "answer", "seq": 1, "text": ATTACK }),
        json!({ "event": "outcome", "seq": 1, "error": ATTACK, "masked": { ATTACK: 1 } }),
        json!({ "event": "closed", "end": ATTACK, "error": ATTACK }),
        json!({ "event": ATTACK, "time": ATTACK }),
    ];
    for width in [None, Some(60)] {
        let mut stage = Stage::new(Screen {
            width,
            colours: false,
        });
        for line in events.iter().flat_map(|event| stage.lines(event)) {
            let active = ['\u{1b}', '\r', '\n', '\u{9b}', '\u{202e}'];
            assert!(!line.contains(active), "{line:?}");
            assert!(
                !line.starts_with("03:04:09") && !line.starts_with("-- 2026"),
                "{line:?}"
            );
        }
    }
}

#[test]
fn events_with_holes_are_shown() {
    for name in [
        "opened",
        "operation",
        "resolution",
        "answer",
        "outcome",
        "closed",
        "",
    ] {
        let holes = json!({
            "event": name, "time": "soon", "parameters": 5, "values": null, "cut": [],
        });
        shown(&[json!({ "event": name }), holes]);
    }
    shown(&[json!(null), json!([])]);
}

//! Records as rows for people. They come as JSON, from whichever side read them.
use super::fields;
use crate::terminal::escape;
use crate::terminal::screen::{Screen, Tone};
use crate::terminal::table::{Cell, Column};
use serde_json::Value;

pub(super) const OPERATIONS: [Column; 7] = [
    Column {
        title: "TIME",
        width_min: 23,
        width_max: 23,
    },
    Column {
        title: "VERDICT",
        width_min: 8,
        width_max: 8,
    },
    Column {
        title: "VERB",
        width_min: 12,
        width_max: 12,
    },
    Column {
        title: "RESOURCE",
        width_min: 20,
        width_max: 20,
    },
    Column {
        title: "PRINCIPAL",
        width_min: 14,
        width_max: 14,
    },
    Column {
        title: "PROCESS",
        width_min: 16,
        width_max: 16,
    },
    Column {
        title: "STATEMENT",
        width_min: 9,
        width_max: 200,
    },
];

pub(super) const SESSIONS: [Column; 9] = [
    Column {
        title: "OPENED",
        width_min: 23,
        width_max: 23,
    },
    Column {
        title: "SESSION",
        width_min: 14,
        width_max: 14,
    },
    Column {
        title: "TREE",
        width_min: 14,
        width_max: 14,
    },
    Column {
        title: "PROTOCOL",
        width_min: 8,
        width_max: 8,
    },
    Column {
        title: "OPS",
        width_min: 5,
        width_max: 5,
    },
    Column {
        title: "DENIED",
        width_min: 6,
        width_max: 6,
    },
    Column {
        title: "END",
        width_min: 8,
        width_max: 8,
    },
    Column {
        title: "PRINCIPAL",
        width_min: 14,
        width_max: 14,
    },
    Column {
        title: "RESOURCE",
        width_min: 8,
        width_max: 200,
    },
];

pub(super) const ACTS: [Column; 5] = [
    Column {
        title: "TIME",
        width_min: 23,
        width_max: 23,
    },
    Column {
        title: "ACT",
        width_min: 8,
        width_max: 12,
    },
    Column {
        title: "WHO",
        width_min: 20,
        width_max: 40,
    },
    Column {
        title: "TARGET",
        width_min: 16,
        width_max: 40,
    },
    Column {
        title: "REASON",
        width_min: 6,
        width_max: 200,
    },
];

pub(super) fn act_row(value: &Value) -> Vec<Cell> {
    let words = ["/act", "/who", "/target", "/reason"].map(|key| text(value, key).to_owned());
    std::iter::once(time(value, "/time"))
        .chain(words)
        .map(Cell::new)
        .collect()
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

pub(super) fn number(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_u64)
        .map_or_else(String::new, |n| n.to_string())
}

/// Date and time without the letters between, down to milliseconds.
pub(super) fn time(value: &Value, pointer: &str) -> String {
    text(value, pointer)
        .replacen('T', " ", 1)
        .trim_end_matches('Z')
        .chars()
        .take(23)
        .collect()
}

/// `psql (4242)`.
pub(super) fn process(value: &Value) -> String {
    let exe = text(value, "/process/exe");
    let name = exe.rsplit('/').next().unwrap_or(exe);
    match number(value, "/process/pid") {
        pid if pid.is_empty() => name.to_owned(),
        pid => format!("{name} ({pid})"),
    }
}

pub(super) fn operation_row(value: &Value) -> Vec<Cell> {
    let verdict = text(value, "/verdict");
    let enforced = text(value, "/mode") == "enforce";
    let disclosed = fields::disclosed(value);
    let tone = match verdict {
        "allow" | "approved" if disclosed.is_empty() => Tone::Good,
        "allow" | "approved" => Tone::Notable,
        _ if enforced => Tone::Bad,
        _ => Tone::Plain,
    };
    let mut statement = text(value, "/statement").to_owned();
    if statement.is_empty() {
        let objects = value.pointer("/objects").and_then(Value::as_array);
        let names = objects.into_iter().flatten().filter_map(Value::as_str);
        statement = names.collect::<Vec<_>>().join(" ");
    }
    // Ahead of the statement, which is cut at the edge of a terminal.
    if !disclosed.is_empty() {
        statement = format!("[disclosed: {}]  {statement}", disclosed.join(", "));
    }
    if verdict == "deny" {
        statement.push_str(&match text(value, "/rule") {
            "" => "  [no rule allows it]".to_owned(),
            rule => format!("  [rule: {rule}]"),
        });
    }
    match text(value, "/error") {
        "" => {}
        error => statement.push_str(&format!("  [error: {error}]")),
    }
    vec![
        Cell::new(time(value, "/time")),
        Cell::toned(verdict, tone),
        Cell::new(text(value, "/verb")),
        Cell::new(text(value, "/resource")),
        Cell::new(text(value, "/principal/id")),
        Cell::new(process(value)),
        Cell::new(statement),
    ]
}

pub(super) fn session_row(value: &Value) -> Vec<Cell> {
    let end = match text(value, "/end") {
        "" => "live",
        end => end,
    };
    let tone = match end {
        "denied" | "error" | "killed" => Tone::Bad,
        "live" => Tone::Good,
        _ => Tone::Plain,
    };
    vec![
        Cell::new(time(value, "/opened")),
        Cell::new(text(value, "/session")),
        Cell::new(text(value, "/tree")),
        Cell::new(text(value, "/protocol")),
        Cell::new(number(value, "/operations")),
        Cell::new(number(value, "/denied")),
        Cell::toned(end, tone),
        Cell::new(text(value, "/principal/id")),
        Cell::new(text(value, "/resource")),
    ]
}

/// `name` and a text, which is escaped.
pub(super) fn labelled(screen: &Screen, name: &str, text: &str) -> String {
    let name = screen.paint(Tone::Faint, &format!("{name:<12}"));
    format!("{name}{}", escape::line(text))
}

/// A session's own lines, above its operations.
pub(super) fn session_lines(value: &Value, screen: &Screen) -> Vec<String> {
    let assurance = text(value, "/principal/assurance");
    let end = match (text(value, "/end"), text(value, "/error")) {
        ("", _) => "live".to_owned(),
        (end, "") => end.to_owned(),
        (end, error) => format!("{end}: {error}"),
    };
    let destination = format!(
        "{}:{}",
        text(value, "/destination/ip"),
        number(value, "/destination/port")
    );
    let counts = format!(
        "{} asked, {} denied; {} bytes up, {} down",
        number(value, "/operations"),
        number(value, "/denied"),
        number(value, "/bytes_up"),
        number(value, "/bytes_down")
    );
    let mut lines = Vec::new();
    let mut say = |name: &str, text: String| lines.push(labelled(screen, name, &text));
    say("session", text(value, "/session").to_owned());
    say("tree", text(value, "/tree").to_owned());
    say(
        "principal",
        format!("{} ({assurance})", text(value, "/principal/id")),
    );
    say("policy", text(value, "/policy").to_owned());
    say(
        "resource",
        format!("{} ({destination})", text(value, "/resource")),
    );
    say("protocol", text(value, "/protocol").to_owned());
    say("opened", time(value, "/opened"));
    say("closed", time(value, "/closed"));
    say("end", end);
    say("operations", counts);
    say("masked", format!("{} values", number(value, "/masked")));
    let lineage = value.pointer("/lineage").and_then(Value::as_array);
    for process in lineage.into_iter().flatten() {
        let arguments = process.pointer("/argv").and_then(Value::as_array);
        let words: Vec<&str> = arguments
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .skip(1)
            .collect();
        let exe = text(process, "/exe");
        let uid = number(process, "/uid");
        let pid = number(process, "/pid");
        say(
            "lineage",
            format!("{pid} {exe} {} [uid {uid}]", words.join(" ")),
        );
    }
    lines.push(String::new());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::table::Table;
    use serde_json::json;

    const ATTACK: &str = "\u{1b}]0;x\u{7}\r\n\u{9b}2J\u{202e}";

    /// A record in which everything that a job can choose is an attack on the terminal.
    fn hostile() -> Value {
        json!({
            "time": "2026-01-02T03:04:05.678901Z", "verdict": "deny", "mode": "enforce",
            "verb": "delete", "resource": ATTACK, "rule": ATTACK, "error": ATTACK,
            "principal": { "id": ATTACK, "assurance": "kernel" }, "statement": ATTACK,
            "process": { "pid": 42, "exe": format!("/bin/{ATTACK}") }, "session": "s1",
            "opened": "2026-01-02T03:04:05.678901Z", "protocol": ATTACK, "end": "error",
            "destination": { "ip": "10.0.0.7", "port": 5432 }, "policy": ATTACK,
            "lineage": [{ "pid": 1, "exe": ATTACK, "argv": [ATTACK, ATTACK], "uid": 0 }],
            "disclosed": [ATTACK],
        })
    }

    #[test]
    fn no_field_of_a_record_reaches_the_terminal_unescaped() {
        let screen = Screen {
            width: None,
            colours: false,
        };
        let value = hostile();
        let mut lines = session_lines(&value, &screen);
        lines.push(Table::streaming(&OPERATIONS, screen).row(&operation_row(&value)));
        lines.push(Table::streaming(&SESSIONS, screen).row(&session_row(&value)));
        for line in lines {
            assert!(
                !line.contains(['\u{1b}', '\u{7}', '\r', '\n', '\u{9b}', '\u{202e}']),
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_row_says_what_happened() {
        let row = Table::streaming(
            &OPERATIONS,
            Screen {
                width: None,
                colours: false,
            },
        )
        .row(&operation_row(&json!({
            "time": "2026-01-02T03:04:05.678901Z", "verdict": "deny", "verb": "define",
            "resource": "orders", "principal": { "id": "local:ci" }, "rule": "nobody drops",
            "process": { "pid": 42, "exe": "/usr/bin/psql" }, "statement": "DROP TABLE users",
            "mode": "enforce",
        })));
        assert_eq!(
            row,
            "2026-01-02 03:04:05.678  deny      define        orders                local:ci        \
             psql (42)         DROP TABLE users  [rule: nobody drops]"
        );
    }

    #[test]
    fn what_was_disclosed_stands_ahead_of_the_statement() {
        let screen = Screen {
            width: Some(160),
            colours: true,
        };
        let row = |verdict: &str, disclosed: Value| {
            Table::streaming(&OPERATIONS, screen).row(&operation_row(&json!({
                "time": "2026-01-02T03:04:05.678901Z", "verdict": verdict, "verb": "read",
                "statement": "SELECT 1, ".repeat(20), "mode": "enforce",
                "masked": { "public.users.name": 1 }, "disclosed": disclosed,
            })))
        };
        let shown = row("allow", json!(["a.email", "detected:jwt"]));
        assert!(
            shown.contains("[disclosed: a.email, detected:jwt]  SELECT 1"),
            "{shown}"
        );
        assert!(shown.contains("\u{1b}[33mallow"), "{shown}");
        let shown = row("approved", json!([]));
        assert!(!shown.contains("disclosed"), "{shown}");
        assert!(shown.contains("\u{1b}[32mapproved"), "{shown}");
    }

    #[test]
    fn records_with_holes_are_shown() {
        let screen = Screen {
            width: Some(80),
            colours: true,
        };
        for value in [
            json!({}),
            json!(null),
            json!([]),
            json!({ "process": null, "lineage": 5 }),
        ] {
            assert!(!operation_row(&value).is_empty());
            assert!(!session_row(&value).is_empty());
            assert!(!session_lines(&value, &screen).is_empty());
        }
    }
}

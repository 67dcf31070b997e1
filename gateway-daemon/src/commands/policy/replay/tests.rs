//! A journal is written as the daemon writes it, and read back under drafts.
use super::*;
use crate::command::Learn;
use crate::commands::policy::learn::tests::learned;
use gateway_core::{
    AnswerPart, AnswerRecord, Assurance, Attribute, Destination, Effect, Lineage, Mode, Object,
    OperationId, OperationOutcome, OperationRecord, Principal, Recorder, Resolution, SessionClosed,
    SessionEnd, Subject, TreeId, Verb, Verdict,
};
use gateway_recording::{Durability, Journal, JournalOptions};
use std::time::{Duration, Instant};

const DAY: u64 = 1_767_236_400_000_000_000;
const MINUTE: u64 = 60_000_000_000;

pub(crate) struct Written {
    journal: Journal,
    dir: tempfile::TempDir,
    seq: std::cell::Cell<u32>,
}

/// One operation in short form.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) session: u64,
    pub(crate) minute: u64,
    pub(crate) verb: Verb,
    pub(crate) objects: &'a [&'a str],
    pub(crate) statement: &'a str,
    pub(crate) phase: Option<&'a str>,
    pub(crate) protocol: &'a str,
    pub(crate) verdict: Verdict,
    pub(crate) mode: Mode,
    pub(crate) message: Option<&'a str>,
    /// Sensitive fields that come back, once covered and once in the clear.
    pub(crate) returns: &'a [&'a str],
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Entry {
            session: 1,
            minute: 0,
            verb: Verb::Read,
            objects: &["public.orders"],
            statement: "SELECT * FROM orders",
            phase: None,
            protocol: "postgres",
            verdict: Verdict::Allow,
            mode: Mode::Enforce,
            message: None,
            returns: &[],
        }
    }
}

impl Written {
    pub(crate) fn new() -> Written {
        let dir = tempfile::tempdir().unwrap();
        let options = JournalOptions {
            durability: Durability::Within(Duration::from_secs(3600)),
            wait_max: Duration::from_secs(60),
            ..JournalOptions::new(dir.path(), Arc::new(|| Timestamp(DAY)), 7)
        };
        Written {
            journal: Journal::open(options).unwrap().0,
            dir,
            seq: 0.into(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn open(&self, session: u64, principal: &str, policy: &str) {
        let opened = SessionOpened {
            session: SessionId(session),
            time: Timestamp(DAY),
            subject: Arc::new(Subject {
                principal: Principal {
                    id: principal.into(),
                    assurance: Assurance::Verified,
                    groups: vec!["engineering".into()],
                },
                delegates: Vec::new(),
                lineage: Lineage {
                    tree: TreeId(session),
                    processes: Vec::new(),
                },
            }),
            destination: Destination::from_address("10.0.0.7:5432".parse().unwrap()),
            policy: policy.into(),
        };
        self.journal.session_opened(&opened).unwrap();
    }

    pub(crate) fn add(&self, entry: Entry<'_>) -> OperationId {
        let objects = entry
            .objects
            .iter()
            .map(|name| Object::Named((*name).into()));
        let effects = [Effect {
            verb: entry.verb,
            objects: objects.collect(),
        }];
        let phase = entry
            .phase
            .map(|phase| ("sql.phase".into(), Attribute::Text(phase.into())));
        let attributes: Vec<_> = phase.into_iter().collect();
        self.seq.set(self.seq.get() + 1);
        let id = OperationId {
            session: SessionId(entry.session),
            seq: self.seq.get(),
        };
        let denies = entry.verdict == Verdict::Deny && entry.message.is_none();
        self.journal
            .operation(&OperationRecord {
                id,
                time: Timestamp(DAY + entry.minute * MINUTE),
                protocol: entry.protocol,
                verb: entry.verb,
                effects: &effects,
                resource: "orders",
                statement: entry.statement,
                parameters: &[],
                attributes: &attributes,
                verdict: entry.verdict,
                mode: entry.mode,
                rule: denies.then_some("old rule"),
                message: entry.message,
            })
            .unwrap();
        if entry.verdict == Verdict::Allow {
            self.answer(id, entry.returns);
        }
        id
    }

    fn answer(&self, id: OperationId, fields: &[&str]) {
        let counts: Vec<_> = fields.iter().map(|field| ((*field).into(), 1)).collect();
        self.journal
            .outcome(&OperationOutcome {
                id,
                time: Timestamp(DAY),
                rows: Some(1),
                bytes_up: 1,
                bytes_down: 1,
                error: None,
                masked: counts.clone(),
                disclosed: counts,
            })
            .unwrap();
    }

    pub(crate) fn came_back(&self, id: OperationId, part: AnswerPart) {
        let time = Timestamp(DAY);
        self.journal
            .answer(&AnswerRecord { id, time, part })
            .unwrap();
    }

    pub(crate) fn resolve(&self, id: OperationId, verdict: Verdict) {
        let resolution = Resolution {
            id,
            time: Timestamp(DAY),
            verdict,
            approver: None,
            reason: None,
        };
        self.journal.resolution(&resolution).unwrap();
        if verdict == Verdict::Approved {
            self.answer(id, &[]);
        }
    }

    fn close(&self, session: u64) {
        self.journal
            .session_closed(&SessionClosed {
                session: SessionId(session),
                time: Timestamp(DAY),
                protocol: "postgres".into(),
                resource: "orders".into(),
                operations: 1,
                denied: 0,
                held: 0,
                masked: 0,
                bytes_up: 0,
                bytes_down: 0,
                end: SessionEnd::Client,
                error: None,
            })
            .unwrap();
    }
}

fn draft(text: &str) -> PolicySet {
    let loaded = PolicySet::load_texts([("draft.toml", text)]);
    assert_eq!(loaded.diagnostics, []);
    loaded.set
}

const DRAFT: &str = r#"
[policy]
name = "ci"
[[resource]]
name = "orders"
hosts = ["10.0.0.7"]
[[rule]]
name = "reads"
principals = ["ci:*"]
verbs = ["connect", "read"]
verdict = "allow"
[[rule]]
name = "asks"
verbs = ["write"]
verdict = "hold"
approvers = ["group:dba"]
[[rule]]
name = "not at night"
verbs = ["read"]
when = 'time.getHours("UTC") >= 4'
verdict = "deny"
message = "later"
"#;

/// The changes as `statement: change by rule`, and the summary.
fn replayed(written: &Written, set: &PolicySet, only: Option<&str>) -> (Vec<String>, Summary) {
    let only = only.map(|name| set.policy(name).unwrap());
    let mut changes = Vec::new();
    let summary = run(written.path(), None, (set, only), &mut |change| {
        let rule = change.draft.rule.unwrap_or("-");
        changes.push(format!("{}: {} by {rule}", change.statement, change.change));
        Ok(ControlFlow::Continue(()))
    });
    (changes, summary.unwrap())
}

#[test]
fn what_would_change_is_listed_and_nothing_else() {
    let written = Written::new();
    written.open(1, "ci:x", "ci");
    written.add(Entry {
        verb: Verb::Connect,
        objects: &[],
        protocol: "",
        statement: "same: connect",
        ..Entry::default()
    });
    for (minute, statement, verb, verdict) in [
        (0, "same", Verb::Read, Verdict::Allow),
        (1, "same again", Verb::Read, Verdict::Allow),
        (2, "denied then", Verb::Read, Verdict::Deny),
        (61, "at four", Verb::Read, Verdict::Allow),
        (3, "asked now", Verb::Write, Verdict::Allow),
        (3, "uncovered", Verb::Delete, Verdict::Allow),
        (3, "not asked again", Verb::Write, Verdict::Hold),
        (3, "not asked any more", Verb::Read, Verdict::Hold),
    ] {
        let id = written.add(Entry {
            minute,
            statement,
            verb,
            verdict,
            ..Entry::default()
        });
        if verdict == Verdict::Hold {
            written.resolve(id, Verdict::Approved);
        }
    }
    // What Parse announces is held when it is executed, not before.
    for (phase, verdict) in [("parse", Verdict::Allow), ("execute", Verdict::Hold)] {
        written.add(Entry {
            phase: Some(phase),
            verdict,
            verb: Verb::Write,
            ..Entry::default()
        });
    }
    let (changes, summary) = replayed(&written, &draft(DRAFT), None);
    assert_eq!(
        changes,
        [
            "denied then: deny->allow by reads",
            "at four: allow->deny by not at night",
            "asked now: allow->hold by asks",
            "uncovered: allow->deny by -",
            "not asked any more: hold->allow by reads",
        ]
    );
    assert_eq!((summary.judged, summary.changed), (11, 5));
    assert_eq!(summary.changes[&("allow", "deny")], 2);
    assert_eq!(lines(&summary)[0], "11 operations judged, 5 would change");
    let json = summary_json(&summary);
    assert_eq!(json["summary"]["changes"]["allow->deny"], 2);
}

#[test]
fn what_no_draft_can_say_is_skipped_and_counted() {
    let written = Written::new();
    written.open(1, "ci:x", "ci");
    written.open(2, "ci:x", "bastion");
    written.add(Entry::default());
    written.add(Entry {
        session: 2,
        ..Entry::default()
    });
    written.add(Entry {
        session: 3,
        statement: "of a session that never began",
        ..Entry::default()
    });
    for message in ["ci:x is revoked", "ci:x is offboarded", "ci:y is revoked"] {
        written.add(Entry {
            verdict: Verdict::Deny,
            message: Some(message),
            ..Entry::default()
        });
    }
    written.add(Entry {
        protocol: "gopher",
        ..Entry::default()
    });
    let set = draft(DRAFT);
    let (changes, summary) = replayed(&written, &set, None);
    assert_eq!(
        changes.len(),
        1,
        "somebody else's revocation is not theirs: {changes:?}"
    );
    assert_eq!(summary.judged, 2);
    assert_eq!(summary.holes.orphans, 1);
    let skipped: Vec<(&Skip, u64)> = summary.skipped.iter().map(|(skip, n)| (skip, *n)).collect();
    assert_eq!(
        skipped,
        [
            (&Skip::NoPolicy("bastion".into()), 1),
            (&Skip::Barred, 2),
            (&Skip::Protocol("gopher".into()), 1),
        ]
    );
    assert_eq!(lines(&summary).len(), 6);
    let (_, summary) = replayed(&written, &set, Some("ci"));
    assert_eq!(summary.judged, 3, "one policy for all of them");
}

#[test]
fn a_verdict_that_begins_or_ends_to_stop_something_is_counted() {
    let written = Written::new();
    written.open(1, "ci:x", "ci");
    for mode in [Mode::Shadow, Mode::Enforce] {
        written.add(Entry {
            verb: Verb::Delete,
            verdict: Verdict::Deny,
            mode,
            ..Entry::default()
        });
    }
    let (changes, summary) = replayed(&written, &draft(DRAFT), None);
    assert!(changes.is_empty());
    assert_eq!((summary.stopped_now, summary.passed_now), (1, 0));
    let shadow = DRAFT.replace("name = \"ci\"", "name = \"ci\"\nmode = \"shadow\"");
    let (_, summary) = replayed(&written, &draft(&shadow), None);
    assert_eq!((summary.stopped_now, summary.passed_now), (0, 1));
}

/// A job wrote most of what is shown.
#[test]
fn nothing_of_a_change_reaches_the_terminal_unescaped() {
    const ATTACK: &str = "\u{1b}[2J\r\n\u{9b}2J\u{202e}";
    let written = Written::new();
    written.open(1, ATTACK, "ci");
    written.add(Entry {
        statement: ATTACK,
        ..Entry::default()
    });
    let table = Table::streaming(
        &COLUMNS,
        Screen {
            width: None,
            colours: false,
        },
    );
    let set = draft(DRAFT);
    let mut rows = 0;
    run(written.path(), None, (&set, None), &mut |change| {
        let row = table.row(&row(change));
        assert!(
            !row.contains(['\u{1b}', '\r', '\n', '\u{9b}', '\u{202e}']),
            "{row:?}"
        );
        rows += 1;
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn what_is_learned_changes_nothing_that_passed() {
    let written = Written::new();
    written.open(1, "ci:x", "ci");
    written.open(2, "local:alice", "ci");
    for (session, verb, object) in [
        (1, Verb::Read, "public.a"),
        (1, Verb::Write, "public.b"),
        (2, Verb::Define, "public.c"),
        (2, Verb::Execute, "public.f"),
    ] {
        let entry = Entry {
            session,
            verb,
            objects: &[object],
            ..Entry::default()
        };
        written.add(entry);
        written.add(Entry {
            objects: &[],
            ..entry
        });
    }
    let held = written.add(Entry {
        verb: Verb::Delete,
        verdict: Verdict::Hold,
        ..Entry::default()
    });
    written.resolve(held, Verdict::Expired);
    let all = Learn {
        policy: None,
        principal: None,
        tree: None,
        since: None,
    };
    let text = learned(written.path(), &all).unwrap();
    assert!(text.contains("name = \"ci\""), "{text}");
    assert!(text.contains("# Not learned: 1 operation, held and not approved."));
    let (changes, summary) = replayed(&written, &draft(&text), None);
    assert_eq!(changes, ["SELECT * FROM orders: hold->deny by -"]);
    assert_eq!(summary.judged, 9);
    let some = learned(
        written.path(),
        &Learn {
            tree: Some(TreeId(2)),
            ..all
        },
    )
    .unwrap();
    assert!(
        !some.contains("ci:x") && some.contains("local:alice"),
        "{some}"
    );
}

/// The product's promise: a million recorded operations in less than ten seconds. In release:
/// `cargo test --release -p gateway-daemon million -- --ignored --nocapture`.
#[test]
#[ignore = "writes a journal of a million operations; for release builds"]
fn a_million_operations_are_replayed_in_ten_seconds() {
    const SESSIONS: u64 = 10_000;
    const EACH: u64 = 100;
    let written = Written::new();
    let tables: Vec<String> = (0..25).map(|n| format!("public.t{n}")).collect();
    for session in 1..=SESSIONS {
        written.open(
            session,
            &format!("ci:github:acme/api@{}", session % 100),
            "ci",
        );
        for n in 0..EACH {
            let table = tables[(n % 25) as usize].as_str();
            written.add(Entry {
                session,
                minute: session / 100,
                verb: if n % 10 == 9 { Verb::Write } else { Verb::Read },
                objects: &[table],
                statement: "SELECT id, total, state FROM orders WHERE customer = $1 ORDER BY id",
                phase: Some("execute"),
                ..Entry::default()
            });
        }
        written.close(session);
    }
    // A hundred rules, and one that has to look at the time of each operation.
    let rules: String = (0..100)
        .map(|n| format!("[[rule]]\nname = \"r{n}\"\nobjects = [\"s{n}.*\"]\nverdict = \"deny\"\n"))
        .collect();
    for (what, text) in [("with a condition on the time", DRAFT), ("without", DRAFT)] {
        let text = match what {
            "without" => text
                .split("[[rule]]\nname = \"not at night\"")
                .next()
                .unwrap(),
            _ => text,
        };
        let set = draft(&format!("{text}{rules}"));
        let started = Instant::now();
        let mut changes = 0;
        let summary = run(written.path(), None, (&set, None), &mut |_| {
            changes += 1;
            Ok(ControlFlow::Continue(()))
        });
        let took = started.elapsed();
        println!("{what}: {changes} of {} in {took:?}", SESSIONS * EACH);
        assert_eq!(summary.unwrap().judged, SESSIONS * EACH);
        assert!(took < Duration::from_secs(10), "{what}: {took:?}");
    }
}

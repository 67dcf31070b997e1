//! Records and journals for the tests of this crate.
use crate::journal::{Clock, Durability, Journal, JournalOptions};
use crate::reader::Reader;
use crate::record::{Act, Record, RecordKind};
use gateway_core::{
    AnswerPart, AnswerRecord, Assurance, Attribute, Destination, Effect, Lineage, Mode, Object,
    OperationId, OperationOutcome, OperationRecord, Parameter, Principal, Process, Provenance,
    Recorder, Resolution, SessionClosed, SessionEnd, SessionId, SessionOpened, Subject, Timestamp,
    TreeId, Verb, Verdict,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock that goes on by a millisecond with each look.
pub(crate) fn clock() -> Clock {
    let now = AtomicU64::new(1_700_000_000_000_000_000);
    Arc::new(move || Timestamp(now.fetch_add(1_000_000, Ordering::Relaxed)))
}

/// Small segments, so that tests meet their ends.
pub(crate) fn options(dir: &Path) -> JournalOptions {
    JournalOptions {
        segment_bytes: 64 << 10,
        durability: Durability::Within(Duration::from_millis(5)),
        wait_max: Duration::from_secs(20),
        ..JournalOptions::new(dir, clock(), 0x5eed)
    }
}

pub(crate) fn open(dir: &Path) -> Journal {
    Journal::open(options(dir)).unwrap().0
}

pub(crate) fn process(pid: u32, exe: &str) -> Process {
    Process {
        pid,
        start: u64::from(pid) * 1000,
        exe: exe.into(),
        argv: vec![exe.into(), "-c".into()],
        uid: 1000,
        cwd: Some("/build".into()),
        cgroup: "/ci/job".into(),
        container: None,
        provenance: Provenance::Kernel,
        argv_cut: false,
        exited: false,
    }
}

pub(crate) fn opened(session: u64, tree: u64, principal: &str) -> SessionOpened {
    SessionOpened {
        session: SessionId(session),
        time: Timestamp(1_700_000_000_000_000_000 + session),
        subject: Arc::new(Subject {
            principal: Principal {
                id: principal.into(),
                assurance: Assurance::Kernel,
                groups: vec!["engineering".into()],
            },
            delegates: vec![],
            lineage: Lineage {
                tree: TreeId(tree),
                processes: vec![process(7, "/bin/sh"), process(8, "/usr/bin/psql")],
            },
        }),
        destination: Destination::from_address(([10, 0, 0, 7], 5432).into()),
        policy: "ci".into(),
    }
}

pub(crate) fn closed(session: u64) -> SessionClosed {
    SessionClosed {
        session: SessionId(session),
        time: Timestamp(1_700_000_001_000_000_000 + session),
        protocol: "postgres".into(),
        resource: "prod-orders".into(),
        operations: 3,
        denied: 1,
        held: 0,
        masked: 3,
        bytes_up: 100,
        bytes_down: 200,
        end: SessionEnd::Client,
        error: None,
    }
}

/// The kind and the payload of `closed(1)` as an older version of the format stored them. They
/// say nothing of what was masked.
pub(crate) fn closed_1_in_version(version: u32) -> Vec<u8> {
    let mut bytes = vec![4, 1];
    // The time, 1_700_000_001_000_000_001, seven bits at a time.
    bytes.extend([0x81, 0x94, 0x93, 0x8e, 0xe7, 0x9f, 0xe7, 0xcb, 0x17]);
    bytes.extend(b"\x08postgres");
    bytes.extend(b"\x0bprod-orders");
    // Operations and denied, and from version 2 on held; bytes up and down; the end; no error.
    bytes.extend([3, 1]);
    if version >= 2 {
        bytes.push(0);
    }
    bytes.extend([100, 0xc8, 0x01, 0, 0]);
    bytes
}

/// `closed`, as far as an older version can say it.
pub(crate) fn closed_unmasked(session: u64) -> SessionClosed {
    SessionClosed {
        masked: 0,
        ..closed(session)
    }
}

/// The kind and the payload of `outcome(1, seq)` up to version 2, without what was masked and
/// disclosed.
pub(crate) fn outcome_of_1_up_to_version_2(seq: u8) -> Vec<u8> {
    let mut bytes = vec![3, 1, seq];
    // The time, 1_700_000_000_500_000_001, seven bits at a time.
    bytes.extend([0x81, 0xca, 0xdd, 0x9f, 0xe5, 0x9f, 0xe7, 0xcb, 0x17]);
    // Two rows; bytes up and down; no error.
    bytes.extend([1, 2, 20, 40, 0]);
    bytes
}

/// `outcome`, as far as an older version can say it.
pub(crate) fn outcome_unmasked(session: u64, seq: u32) -> OperationOutcome {
    OperationOutcome {
        masked: Vec::new(),
        disclosed: Vec::new(),
        ..outcome(session, seq)
    }
}

pub(crate) fn outcome(session: u64, seq: u32) -> OperationOutcome {
    OperationOutcome {
        id: OperationId {
            session: SessionId(session),
            seq,
        },
        time: Timestamp(1_700_000_000_500_000_000 + session),
        rows: Some(2),
        bytes_up: 20,
        bytes_down: 40,
        error: None,
        masked: vec![("public.users.email".into(), 2)],
        disclosed: vec![("public.users.phone".into(), 1)],
    }
}

/// A part of the answer to an operation.
pub(crate) fn came_back(session: u64, seq: u32, part: AnswerPart) -> AnswerRecord {
    AnswerRecord {
        id: OperationId {
            session: SessionId(session),
            seq,
        },
        time: Timestamp(1_700_000_000_450_000_000 + session),
        part,
    }
}

/// One of each.
pub(crate) fn answer_parts() -> [AnswerPart; 4] {
    [
        AnswerPart::Columns(vec!["id".into(), "email".into()]),
        AnswerPart::Rows(vec![vec![Some("1".into()), None], vec![]]),
        AnswerPart::Text("COPY".into()),
        AnswerPart::Cut {
            rows: 300,
            bytes: 1 << 40,
        },
    ]
}

pub(crate) fn resolution(session: u64, seq: u32, verdict: Verdict) -> Resolution {
    let answered = verdict != Verdict::Expired;
    Resolution {
        id: OperationId {
            session: SessionId(session),
            seq,
        },
        time: Timestamp(1_700_000_000_300_000_000 + session),
        verdict,
        approver: answered.then(|| "user:dana@acme.com".into()),
        reason: answered.then(|| "ticket 7".into()),
    }
}

pub(crate) fn act(act: &str, target: &str) -> Act {
    Act {
        time: Timestamp(1_700_000_000_400_000_000),
        act: act.into(),
        who: "user:dana@acme.com".into(),
        uid: Some(0),
        target: Some(target.into()),
        reason: Some("ticket 7".into()),
    }
}

/// What the parts of an operation are borrowed from.
pub(crate) struct Parts {
    pub(crate) id: OperationId,
    pub(crate) effects: Vec<Effect>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) attributes: Vec<(Arc<str>, Attribute)>,
    pub(crate) statement: String,
    pub(crate) verdict: Verdict,
    pub(crate) mode: Mode,
    pub(crate) time: Timestamp,
}

impl Parts {
    pub(crate) fn new(session: u64, seq: u32, statement: &str) -> Parts {
        Parts {
            id: OperationId {
                session: SessionId(session),
                seq,
            },
            effects: vec![Effect {
                verb: Verb::Read,
                objects: vec![Object::Named("public.users".into())],
            }],
            parameters: vec![],
            attributes: vec![("sql.has_where".into(), Attribute::Bool(true))],
            statement: statement.to_owned(),
            verdict: Verdict::Allow,
            mode: Mode::Enforce,
            time: Timestamp(1_700_000_000_100_000_000 + session * 1000 + u64::from(seq)),
        }
    }

    pub(crate) fn denied(mut self) -> Parts {
        self.verdict = Verdict::Deny;
        self
    }

    pub(crate) fn held(mut self) -> Parts {
        self.verdict = Verdict::Hold;
        self
    }

    pub(crate) fn record(&self) -> OperationRecord<'_> {
        OperationRecord {
            id: self.id,
            time: self.time,
            protocol: "postgres",
            verb: self.effects[0].verb,
            effects: &self.effects,
            resource: "prod-orders",
            statement: &self.statement,
            parameters: &self.parameters,
            attributes: &self.attributes,
            verdict: self.verdict,
            mode: self.mode,
            rule: (self.verdict == Verdict::Deny).then_some("nobody drops"),
            message: None,
        }
    }
}

/// Appends an operation.
pub(crate) fn operate(journal: &Journal, session: u64, seq: u32, statement: &str) {
    journal
        .operation(&Parts::new(session, seq, statement).record())
        .unwrap();
}

/// Appends an operation that is held.
pub(crate) fn hold(journal: &Journal, session: u64, seq: u32, statement: &str) {
    journal
        .operation(&Parts::new(session, seq, statement).held().record())
        .unwrap();
}

/// All records; an error fails the test.
pub(crate) fn records(dir: &Path) -> Vec<Record> {
    Reader::open(dir)
        .unwrap()
        .records()
        .map(|record| record.unwrap())
        .collect()
}

/// The statements of all operations, in order.
pub(crate) fn statements(dir: &Path) -> Vec<String> {
    let operations = records(dir)
        .into_iter()
        .filter_map(|record| match record.kind {
            RecordKind::Operation(operation) => Some(operation.statement),
            _ => None,
        });
    operations.collect()
}

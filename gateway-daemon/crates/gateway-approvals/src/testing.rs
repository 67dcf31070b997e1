//! What the tests of this crate are made of.
use crate::authority::{Authority, Caller};
use crate::clock::{Clock, SystemClock};
use crate::store::{Approvals, Limits, Options};
use crate::webhook::{Post, PostError, WebhookUrl};
use gateway_core::ports::{Answer, Answering, Question};
use gateway_core::{
    Assurance, Attribute, Grant, HoldRule, HoldTerms, Lineage, OperationId, Parameter, Principal,
    Process, Provenance, SessionId, Subject, Timestamp, TreeId, Verb,
};
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

pub(crate) fn principal(id: &str, groups: &[&str]) -> Principal {
    Principal {
        id: id.into(),
        assurance: Assurance::Verified,
        groups: groups.iter().map(|group| (*group).into()).collect(),
    }
}

pub(crate) fn caller(id: &str, groups: &[&str]) -> Caller {
    Caller {
        principal: principal(id, groups),
        tree: None,
    }
}

/// `*`, an id, or `group:NAME`.
pub(crate) fn authority() -> Authority {
    Authority::new(Arc::new(|patterns, principal| {
        patterns.iter().any(|pattern| {
            let group = pattern.strip_prefix("group:");
            **pattern == *"*"
                || *pattern == principal.id
                || group.is_some_and(|name| principal.groups.iter().any(|g| **g == *name))
        })
    }))
}

pub(crate) struct QuestionBuilder(Question);

/// A question with this number, in a session of its own tree, that no rule holds yet.
pub(crate) fn question(seq: u32) -> QuestionBuilder {
    let process = Process {
        pid: 42,
        start: 9,
        exe: "/usr/bin/psql".into(),
        argv: vec!["psql".into(), "-c".into(), "DELETE".into()],
        uid: 1000,
        cwd: Some("/srv".into()),
        cgroup: "/ci".into(),
        container: None,
        provenance: Provenance::Kernel,
        argv_cut: false,
        exited: false,
    };
    QuestionBuilder(Question {
        id: OperationId {
            session: SessionId(1),
            seq,
        },
        time: Timestamp(1_000_000_000),
        subject: Arc::new(Subject {
            principal: principal("user:alice", &[]),
            delegates: Vec::new(),
            lineage: Lineage {
                tree: TreeId(7),
                processes: vec![process],
            },
        }),
        resource: "prod-orders".into(),
        protocol: "postgres",
        verb: Verb::Delete,
        objects: vec!["public.users".into()],
        objects_cut: false,
        statement: "DELETE FROM users".into(),
        statement_cut_from: None,
        parameters: vec![Parameter {
            kind: Some("int4".into()),
            value: Some("7".into()),
            cut_from: None,
        }],
        attributes: vec![("sql.has_where".into(), Attribute::Bool(false))],
        message: Some("ask a DBA".into()),
        terms: Arc::new(HoldTerms {
            rules: Vec::new(),
            timeout: Duration::from_secs(60),
            grant: Grant::Once,
        }),
    })
}

/// One that the group dba may answer.
pub(crate) fn held(seq: u32) -> QuestionBuilder {
    question(seq).held_by("writes", &["group:dba"])
}

impl QuestionBuilder {
    pub(crate) fn by(mut self, id: &str) -> Self {
        Arc::make_mut(&mut self.0.subject).principal = principal(id, &[]);
        self
    }

    pub(crate) fn through(mut self, id: &str) -> Self {
        let subject = Arc::make_mut(&mut self.0.subject);
        subject.delegates.push(principal(id, &[]));
        self
    }

    pub(crate) fn tree(mut self, tree: u64) -> Self {
        Arc::make_mut(&mut self.0.subject).lineage.tree = TreeId(tree);
        self
    }

    pub(crate) fn session(mut self, session: u64) -> Self {
        self.0.id.session = SessionId(session);
        self
    }

    pub(crate) fn resource(mut self, resource: &str) -> Self {
        self.0.resource = resource.into();
        self
    }

    pub(crate) fn held_by(mut self, rule: &str, approvers: &[&str]) -> Self {
        Arc::make_mut(&mut self.0.terms).rules.push(HoldRule {
            rule: rule.into(),
            approvers: approvers.iter().map(|pattern| (*pattern).into()).collect(),
        });
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.0.terms).timeout = timeout;
        self
    }

    pub(crate) fn grants(mut self, span: Duration) -> Self {
        Arc::make_mut(&mut self.0.terms).grant = Grant::Until(span);
        self
    }

    pub(crate) fn ask(self) -> Question {
        self.0
    }
}

/// A clock that stands still until it is moved. Its calendar begins at second 1.
pub(crate) struct ManualClock {
    begin: Instant,
    since: Mutex<Duration>,
}

impl ManualClock {
    pub(crate) fn new() -> Arc<ManualClock> {
        Arc::new(ManualClock {
            begin: Instant::now(),
            since: Mutex::default(),
        })
    }

    pub(crate) fn forward(&self, span: Duration) {
        *self.since.lock() += span;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.begin + *self.since.lock()
    }

    fn time(&self) -> Timestamp {
        let nanos = u64::try_from(self.since.lock().as_nanos()).unwrap();
        Timestamp(1_000_000_000 + nanos)
    }
}

/// Nobody is told.
struct NoPost;

impl Post for NoPost {
    fn post(&self, _: &WebhookUrl, _: &[(&'static str, &str)], _: &[u8]) -> Result<(), PostError> {
        Ok(())
    }
}

pub(crate) fn options(clock: Arc<dyn Clock>) -> Options {
    Options {
        limits: Limits::default(),
        authority: authority(),
        clock,
        webhooks: Vec::new(),
        post: Arc::new(NoPost),
        jitter: Arc::new(|| 0),
        links: None,
    }
}

/// A store whose time stands still, and its clock.
pub(crate) fn still() -> (Approvals, Arc<ManualClock>) {
    let clock = ManualClock::new();
    let approvals = Approvals::start(options(Arc::clone(&clock) as Arc<dyn Clock>)).unwrap();
    (approvals, clock)
}

/// A store on the machine's clock.
pub(crate) fn running() -> Approvals {
    Approvals::start(options(Arc::new(SystemClock))).unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls on this thread, as a reactor without any runtime does.
pub(crate) fn wait<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let begun = Instant::now();
    loop {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut context) {
            return output;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "never woken");
        std::thread::park_timeout(Duration::from_secs(20));
    }
}

/// The answer, if it is there.
pub(crate) fn peek(answering: &mut Answering) -> Option<Answer> {
    match answering
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    }
}

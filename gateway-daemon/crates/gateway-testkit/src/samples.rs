//! A subject, a destination and a governor to test with.
use crate::masker::PlainMasker;
use gateway_core::governor::SessionContext;
use gateway_core::ports::NoApprover;
use gateway_core::{
    Approver, Assurance, Clearance, Destination, Effect, Governor, Judge, Lineage, Operation,
    Principal, Process, Provenance, Recorder, SessionId, Subject, Timestamp, TreeId, Verb,
};
use std::sync::Arc;

/// A process as the kernel reports it.
#[must_use]
pub fn process(pid: u32, exe: &str) -> Process {
    Process {
        pid,
        start: u64::from(pid) * 1_000,
        exe: exe.into(),
        argv: vec![exe.into()],
        uid: 1000,
        cwd: Some("/build".into()),
        cgroup: "/ci/job".into(),
        container: None,
        provenance: Provenance::Kernel,
        argv_cut: false,
        exited: false,
    }
}

/// `local:alice`, whose job's script runs psql, in the given tree.
#[must_use]
pub fn subject(tree: TreeId) -> Subject {
    let processes = vec![process(100, "/bin/sh"), process(101, "/usr/bin/psql")];
    Subject {
        principal: Principal {
            id: "local:alice".into(),
            assurance: Assurance::Kernel,
            groups: Vec::new(),
        },
        delegates: Vec::new(),
        lineage: Lineage { tree, processes },
    }
}

/// Session 7 of tree 1, to 10.0.0.7:5432.
#[must_use]
pub fn context() -> SessionContext {
    SessionContext {
        session: SessionId(7),
        subject: Arc::new(subject(TreeId(1))),
        destination: Destination::from_address(([10, 0, 0, 7], 5432).into()),
        policy: "test".into(),
    }
}

/// The gate of [`context`], open.
///
/// # Panics
/// When the recorder fails.
#[must_use]
pub fn governor(judge: Arc<dyn Judge>, recorder: Arc<dyn Recorder>) -> Governor {
    governor_with(judge, recorder, Arc::new(NoApprover))
}

/// As [`governor`], with somebody who is asked.
///
/// # Panics
/// When the recorder fails.
#[must_use]
pub fn governor_with(
    judge: Arc<dyn Judge>,
    recorder: Arc<dyn Recorder>,
    approver: Arc<dyn Approver>,
) -> Governor {
    let masker = Arc::new(PlainMasker);
    Governor::open(context(), judge, recorder, approver, masker, Timestamp(1))
        .expect("the session is recorded")
}

/// Asks `governor` for `connect`, as the proxy does before it dials.
///
/// # Panics
/// When it is refused.
pub fn connect(governor: &mut Governor) -> Clearance {
    let effects = [Effect {
        verb: Verb::Connect,
        objects: Vec::new(),
    }];
    let operation = Operation {
        protocol: "",
        verb: Verb::Connect,
        effects: &effects,
        statement: "",
        parameters: &[],
        attributes: &[],
        announces: false,
        uses: &[],
        shown: None,
        shape: None,
        basis: 0,
    };
    governor
        .submit(&operation, Timestamp(2))
        .expect("connect is allowed")
}

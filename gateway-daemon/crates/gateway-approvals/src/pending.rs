//! A question as people are shown it.
//!
//! The keys are a contract: `id, time, expires, session, tree, principal, delegates, process,
//! lineage, resource, protocol, verb, objects, objects_cut, statement, statement_cut_from,
//! parameters, attributes, rules, approvers, message, timeout_s, grant`, and beside it `holds`, which says of each rule whom it names. Processes have the keys
//! that they have in the log.
use crate::moment::{Moment, after, grant_text, seconds_up};
use gateway_core::ports::Question;
use gateway_core::{
    Attribute, OperationId, Parameter, Principal, Process, Provenance, SessionId, Timestamp, TreeId,
};
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// A question that waits.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What is asked.
    pub question: Question,
    /// When its time is over, by the calendar. The deadline itself is kept by a clock that cannot
    /// be set.
    pub expires: Timestamp,
}

impl Pending {
    /// A question that begins to wait at `now`.
    #[must_use]
    pub fn new(question: Question, now: Timestamp) -> Pending {
        Pending {
            expires: after(now, question.terms.timeout),
            question,
        }
    }

    /// The operation that waits: the question's id too.
    #[must_use]
    pub const fn id(&self) -> OperationId {
        self.question.id
    }

    /// The tree that asks.
    #[must_use]
    pub fn tree(&self) -> TreeId {
        self.question.subject.lineage.tree
    }
}

#[derive(Serialize)]
struct PrincipalKeys<'a> {
    id: &'a str,
    assurance: &'static str,
    groups: &'a [Arc<str>],
}

impl<'a> From<&'a Principal> for PrincipalKeys<'a> {
    fn from(principal: &'a Principal) -> Self {
        PrincipalKeys {
            id: &principal.id,
            assurance: principal.assurance.name(),
            groups: &principal.groups,
        }
    }
}

#[derive(Serialize)]
struct ProcessKeys<'a> {
    pid: u32,
    start: u64,
    exe: &'a str,
    argv: &'a [Arc<str>],
    uid: u32,
    cwd: Option<&'a str>,
    container: Option<&'a str>,
    cgroup: &'a str,
    provenance: Provenance,
    argv_cut: bool,
    exited: bool,
}

impl<'a> From<&'a Process> for ProcessKeys<'a> {
    fn from(process: &'a Process) -> Self {
        ProcessKeys {
            pid: process.pid,
            start: process.start,
            exe: &process.exe,
            argv: &process.argv,
            uid: process.uid,
            cwd: process.cwd.as_deref(),
            container: process.container.as_deref(),
            cgroup: &process.cgroup,
            provenance: process.provenance,
            argv_cut: process.argv_cut,
            exited: process.exited,
        }
    }
}

#[derive(Serialize)]
struct RuleKeys<'a> {
    rule: &'a str,
    approvers: &'a [Arc<str>],
}

struct AttributeKeys<'a>(&'a [(Arc<str>, Attribute)]);

impl Serialize for AttributeKeys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (&**name, value)))
    }
}

#[derive(Serialize)]
struct PendingKeys<'a> {
    id: String,
    time: Moment,
    expires: Moment,
    session: SessionId,
    tree: TreeId,
    principal: PrincipalKeys<'a>,
    delegates: Vec<PrincipalKeys<'a>>,
    process: Option<ProcessKeys<'a>>,
    lineage: Vec<ProcessKeys<'a>>,
    resource: &'a str,
    protocol: &'a str,
    verb: &'static str,
    objects: &'a [Arc<str>],
    objects_cut: bool,
    statement: &'a str,
    statement_cut_from: Option<u64>,
    parameters: &'a [Parameter],
    attributes: AttributeKeys<'a>,
    rules: Vec<&'a str>,
    approvers: Vec<&'a str>,
    holds: Vec<RuleKeys<'a>>,
    message: Option<&'a str>,
    timeout_s: u64,
    grant: String,
}

impl Serialize for Pending {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let question = &self.question;
        let subject = &question.subject;
        let terms = &question.terms;
        let mut approvers: Vec<&str> = Vec::new();
        for pattern in terms.rules.iter().flat_map(|rule| &rule.approvers) {
            if !approvers.contains(&&**pattern) {
                approvers.push(pattern);
            }
        }
        PendingKeys {
            id: question.id.to_string(),
            time: Moment(question.time),
            expires: Moment(self.expires),
            session: question.id.session,
            tree: subject.lineage.tree,
            principal: (&subject.principal).into(),
            delegates: subject.delegates.iter().map(Into::into).collect(),
            process: subject.lineage.process().map(Into::into),
            lineage: subject.lineage.processes.iter().map(Into::into).collect(),
            resource: &question.resource,
            protocol: question.protocol,
            verb: question.verb.name(),
            objects: &question.objects,
            objects_cut: question.objects_cut,
            statement: &question.statement,
            statement_cut_from: question.statement_cut_from,
            parameters: &question.parameters,
            attributes: AttributeKeys(&question.attributes),
            rules: terms.rules.iter().map(|rule| &*rule.rule).collect(),
            approvers,
            holds: terms
                .rules
                .iter()
                .map(|rule| RuleKeys {
                    rule: &rule.rule,
                    approvers: &rule.approvers,
                })
                .collect(),
            message: question.message.as_deref(),
            timeout_s: seconds_up(terms.timeout),
            grant: grant_text(terms.grant),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use serde_json::json;

    #[test]
    fn the_keys_of_a_question() {
        let question = testing::question(4)
            .by("ci:github:acme/api")
            .through("user:bob")
            .held_by("writes", &["group:dba", "user:eve"])
            .held_by("releases", &["group:dba"])
            .ask();
        let process = json!({
            "pid": 42, "start": 9, "exe": "/usr/bin/psql", "argv": ["psql", "-c", "DELETE"],
            "uid": 1000, "cwd": "/srv", "container": null, "cgroup": "/ci", "provenance": "kernel",
            "argv_cut": false, "exited": false,
        });
        assert_eq!(
            serde_json::to_value(Pending::new(question, Timestamp(1_000_000_000))).unwrap(),
            json!({
                "id": "s0000000000001.4",
                "time": "1970-01-01T00:00:01.000000Z",
                "expires": "1970-01-01T00:01:01.000000Z",
                "session": "s0000000000001",
                "tree": "t0000000000007",
                "principal":
                    {"id": "ci:github:acme/api", "assurance": "verified", "groups": []},
                "delegates": [{"id": "user:bob", "assurance": "verified", "groups": []}],
                "process": process,
                "lineage": [process],
                "resource": "prod-orders",
                "protocol": "postgres",
                "verb": "delete",
                "objects": ["public.users"],
                "objects_cut": false,
                "statement": "DELETE FROM users",
                "statement_cut_from": null,
                "parameters": [{"kind": "int4", "value": "7", "cut_from": null}],
                "attributes": {"sql.has_where": false},
                "rules": ["writes", "releases"],
                "approvers": ["group:dba", "user:eve"],
                "holds": [
                    {"rule": "writes", "approvers": ["group:dba", "user:eve"]},
                    {"rule": "releases", "approvers": ["group:dba"]},
                ],
                "message": "ask a DBA",
                "timeout_s": 60,
                "grant": "once",
            })
        );
    }
}

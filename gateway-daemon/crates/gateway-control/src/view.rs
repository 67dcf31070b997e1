//! The answers, as JSON. Their keys are part of the contract: added to, never renamed or retyped.
#[cfg(test)]
use crate::openapi::shapes;
use gateway_core::{Mode, Principal, Process, SessionId, TreeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What `gateway status` shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StatusView {
    /// The version of the binary.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// When it started, RFC 3339.
    pub started: String,
    /// The strongest mode of the policies in force; `none` without a policy.
    pub mode: String,
    /// Are the programs attached?
    pub attached: bool,
    /// Are the programs attached, a policy in enforce, and no policy file rejected?
    pub enforcing: bool,
    /// What the kernel and the host let the gateway hold.
    pub tier: String,
    /// The policies in force.
    pub policies: Vec<PolicyView>,
    /// Policy files that were not taken.
    pub rejected: Vec<RejectedView>,
    /// When the policies in force were loaded, RFC 3339.
    pub policies_loaded: Option<String>,
    /// Governed trees.
    pub trees: u64,
    /// Governed processes, as the kernel counts them: its tags, stale ones included until the next
    /// sweep.
    pub processes: u64,
    /// Live sessions.
    pub sessions: u64,
    /// Operations that wait for a human.
    pub approvals: u64,
    /// What was lost.
    pub losses: LossesView,
    /// Sockets that processes had before they were governed.
    #[serde(default)]
    pub before: BeforeView,
    /// What is degraded, in words.
    pub warnings: Vec<String>,
    /// Every limit in force.
    pub limits: BTreeMap<String, serde_json::Value>,
    /// Where the daemon keeps its things.
    pub paths: BTreeMap<String, String>,
}

/// A policy in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// Its mode.
    #[cfg_attr(test, schemars(with = "shapes::Mode"))]
    pub mode: Mode,
    /// The file it came from.
    pub file: String,
    /// The cgroups that it governs.
    pub cgroups: Vec<String>,
    /// How many trees are under it.
    pub trees: u64,
}

/// A policy file that was not taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RejectedView {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 when the whole file is meant.
    pub line: u64,
    /// The column, from 1; 0 when the whole line is meant.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

/// What was lost: events, backstop drops and tags since the programs were attached, the rest since
/// the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LossesView {
    /// Events of the kernel that found no room; lineage has gap markers there.
    pub events: u64,
    /// Accepted connections without an entry; reset.
    pub orphans: u64,
    /// Packets that only the backstop stopped.
    pub backstop_drops: u64,
    /// Records that could not be written; what they told of was refused.
    pub recording_failures: u64,
    /// Tags that could not be written; the tasks were refused.
    pub tag_overflows: u64,
    /// Cgroups that the kernel half could not judge or name; who was in them was refused until the daemon
    /// had.
    #[serde(default)]
    pub cgroups_unjudged: u64,
}

/// What became of sockets that processes had before they were governed, since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BeforeView {
    /// Connections that were ended.
    pub ended: u64,
    /// Connections that go on, since processes share them that nothing forbids that.
    pub shared: u64,
    /// Connections that go on, since the policy does not enforce.
    pub observed: u64,
    /// What could not be judged, or not be ended.
    pub gaps: u64,
}

/// A governed tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TreeView {
    /// The tree.
    #[cfg_attr(test, schemars(with = "String"))]
    pub tree: TreeId,
    /// The policy that it is under.
    pub policy: Arc<str>,
    /// The mode of that policy.
    #[cfg_attr(test, schemars(with = "Option<shapes::Mode>"))]
    pub mode: Option<Mode>,
    /// Who stands at its root.
    #[cfg_attr(test, schemars(with = "shapes::Principal"))]
    pub principal: Principal,
    /// Since when it is governed, RFC 3339.
    pub opened: Option<String>,
    /// Why it is governed: `run`, `cgroup`, `found`, `unknown`.
    pub why: String,
    /// The process at its root.
    #[cfg_attr(test, schemars(with = "Option<shapes::Process>"))]
    pub root: Option<Process>,
    /// The cgroup of its root.
    pub cgroup: Arc<str>,
    /// Live processes.
    pub processes: u64,
    /// Live sessions.
    pub sessions: u64,
}

/// One lineage: a whole tree, or the chain to one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LineageView {
    /// The tree.
    #[cfg_attr(test, schemars(with = "String"))]
    pub tree: TreeId,
    /// The policy that it is under.
    pub policy: Arc<str>,
    /// Who stands at its root.
    #[cfg_attr(test, schemars(with = "shapes::Principal"))]
    pub principal: Principal,
    /// Who was added on the way.
    #[cfg_attr(test, schemars(with = "Vec<shapes::Principal>"))]
    pub delegates: Vec<Principal>,
    /// Why it is governed, in a sentence.
    pub why: String,
    /// The session that was asked for, when one was.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub session: Option<SessionId>,
    /// The process that was asked for, when one was.
    pub pid: Option<u32>,
    /// The processes, each behind its parent.
    pub processes: Vec<LineageProcess>,
}

/// A process of a lineage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LineageProcess {
    /// The facts.
    #[serde(flatten)]
    #[cfg_attr(test, schemars(with = "shapes::Process"))]
    pub process: Process,
    /// The index of its parent in the list; `None` at the root.
    pub parent: Option<usize>,
}

/// The answer to `run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunView {
    /// The tree that the caller is in now.
    #[cfg_attr(test, schemars(with = "String"))]
    pub tree: TreeId,
    /// The policy that the tree is under.
    pub policy: Arc<str>,
    /// The caller was governed before and stays where it was.
    pub stayed: bool,
    /// What the caller has to apply to itself before it executes the command.
    pub harden: Vec<String>,
}

/// The first line of the answer to `login`: what the person does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoginBegunView {
    /// Where the person goes.
    pub verification_uri: String,
    /// The same with the code in it, where the issuer has that.
    pub verification_uri_complete: Option<String>,
    /// What the person types there.
    pub user_code: String,
    /// How long that is good, in seconds.
    pub expires_in: u64,
}

/// The last line of the answer to `login`; an [`ErrorView`] where nobody signed in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LoginView {
    /// Who stands at the root of the tree now.
    #[cfg_attr(test, schemars(with = "shapes::Principal"))]
    pub principal: Principal,
    /// The tree.
    #[cfg_attr(test, schemars(with = "String"))]
    pub tree: TreeId,
}

/// The answer to `ssh-session`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SshSessionView {
    /// Who logged in, and stands at the root of the tree.
    #[cfg_attr(test, schemars(with = "shapes::Principal"))]
    pub principal: Principal,
    /// The tree that the connection is.
    #[cfg_attr(test, schemars(with = "String"))]
    pub tree: TreeId,
    /// The policy that the tree is under.
    pub policy: Arc<str>,
}

/// The answer to `kill`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KillView {
    /// How many live sessions were ended.
    pub killed: u64,
}

/// The answer to an answer: what was decided about a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AnswerView {
    /// The question.
    pub id: String,
    /// `approved` or `denied`.
    pub verdict: String,
    /// In whose name.
    pub approver: String,
}

/// The answer to `revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RevokeView {
    /// Who.
    pub principal: String,
    /// Is it revoked now?
    pub revoked: bool,
    /// The trees that it stands in, at the root or as a delegate.
    pub trees: u64,
    /// How many live sessions were ended.
    pub sessions: u64,
    /// How many questions of these trees were denied.
    pub questions: u64,
    /// How many processes were stopped.
    pub processes: u64,
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ErrorView {
    /// The reason.
    pub error: String,
}

//! The types of gateway-core as they stand in answers. A test holds them against the real ones.
#![expect(dead_code, reason = "only their schemas are used")]
use schemars::JsonSchema;
use std::collections::BTreeMap;

/// What a policy does with its verdicts.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Observe,
    Shadow,
    Enforce,
}

/// How sure the gateway is of a principal.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Assurance {
    None,
    Asserted,
    Kernel,
    Verified,
}

/// A person, a job or a service.
#[derive(JsonSchema)]
pub(crate) struct Principal {
    /// The name that rules match.
    id: String,
    /// How sure the gateway is of it.
    assurance: Assurance,
    /// Groups from the directory or the token.
    groups: Vec<String>,
}

/// Where the facts about a process come from.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Provenance {
    Kernel,
    Proc,
    Cgroup,
    Gap,
}

/// A process of a tree, alive or exited.
#[derive(JsonSchema)]
pub(crate) struct Process {
    /// The process id in the init pid namespace.
    pid: u32,
    /// When it started: nanoseconds since boot.
    start: u64,
    /// The file that it last executed.
    exe: String,
    /// Its arguments at that moment, at most 4 KiB in all.
    argv: Vec<String>,
    /// Its effective user id.
    uid: u32,
    /// Its working directory.
    cwd: Option<String>,
    /// Its cgroup, from the cgroup2 mount.
    cgroup: String,
    /// The container it lives in, where one is known.
    container: Option<String>,
    /// Where these facts come from.
    provenance: Provenance,
    /// The arguments were longer than what was kept.
    argv_cut: bool,
    /// It has exited; it is kept because descendants live.
    exited: bool,
}

/// Where a connection goes.
#[derive(JsonSchema)]
pub(crate) struct Destination {
    ip: String,
    port: u16,
    /// The name that its tree asked for last and that leads there.
    host: Option<String>,
    /// The other names that its tree asked for and that lead there.
    other_hosts: Option<Vec<String>>,
}

/// A session as recorded. Keys may be added.
#[derive(JsonSchema)]
pub(crate) struct SessionLine {
    session: String,
    tree: Option<String>,
    opened: String,
    closed: Option<String>,
    protocol: Option<String>,
    resource: String,
    destination: Option<Destination>,
    principal: Principal,
    delegates: Vec<Principal>,
    process: Option<Process>,
    lineage: Vec<Process>,
    cgroup: Option<String>,
    policy: Option<String>,
    operations: u64,
    denied: u64,
    held: u64,
    /// How many values were covered.
    masked: u64,
    bytes_up: u64,
    bytes_down: u64,
    /// `client`, `upstream`, `denied`, `killed` or `error`.
    end: Option<String>,
    error: Option<String>,
}

/// What somebody did to the gateway itself. Keys may be added.
#[derive(JsonSchema)]
pub(crate) struct ActLine {
    time: String,
    /// `approve`, `deny`, `kill`, `revoke` …
    act: String,
    /// The principal.
    who: String,
    /// The user id of a process of this host.
    uid: Option<u32>,
    target: Option<String>,
    reason: Option<String>,
}

/// How much of an answer is not kept.
#[derive(JsonSchema)]
pub(crate) struct Cut {
    rows: u64,
    bytes: u64,
}

/// Something that happened in a session. The keys from `tree` on are those of some events only.
/// Keys may be added.
#[derive(JsonSchema)]
pub(crate) struct EventLine {
    time: Option<String>,
    /// `opened`, `operation`, `resolution`, `answer`, `outcome` or `closed`.
    event: String,
    /// The number of its record.
    record: Option<u64>,
    session: String,
    /// The operation that it is about.
    seq: Option<u32>,
    tree: Option<String>,
    destination: Option<Destination>,
    principal: Option<Principal>,
    delegates: Option<Vec<Principal>>,
    process: Option<Process>,
    lineage: Option<Vec<Process>>,
    policy: Option<String>,
    protocol: Option<String>,
    verb: Option<String>,
    verbs: Option<Vec<String>>,
    resource: Option<String>,
    objects: Option<Vec<String>>,
    statement: Option<String>,
    /// Of an operation as it was decided (`allow`, `deny`, `hold`); of a resolution what came of
    /// the hold.
    verdict: Option<String>,
    rule: Option<String>,
    message: Option<String>,
    mode: Option<Mode>,
    approver: Option<String>,
    reason: Option<String>,
    /// Of an answer: a result begins, whose columns have these names.
    columns: Option<Vec<String>>,
    /// Of an answer: rows of that result, values as text, after masks.
    values: Option<Vec<Vec<Option<String>>>>,
    /// Of an answer: output that is no rows.
    text: Option<String>,
    /// Of an answer: so much more was there.
    cut: Option<Cut>,
    rows: Option<u64>,
    bytes_up: Option<u64>,
    bytes_down: Option<u64>,
    /// Of an outcome the fields, of the end of the session their number.
    masked: Option<serde_json::Value>,
    disclosed: Option<Vec<String>>,
    disclosed_rows: Option<BTreeMap<String, u64>>,
    operations: Option<u64>,
    denied: Option<u64>,
    held: Option<u64>,
    end: Option<String>,
    error: Option<String>,
}

/// An operation as recorded. Keys may be added.
#[derive(JsonSchema)]
pub(crate) struct OperationLine {
    time: String,
    id: String,
    session: String,
    tree: Option<String>,
    seq: u32,
    protocol: String,
    verb: String,
    verbs: Vec<String>,
    resource: String,
    destination: Option<Destination>,
    objects: Vec<String>,
    statement: String,
    /// `allow`, `deny`, `hold` (it waits), `approved`, `denied` or `expired`.
    verdict: String,
    rule: Option<String>,
    message: Option<String>,
    approver: Option<String>,
    /// Why a hold ended.
    reason: Option<String>,
    /// When a hold ended.
    resolved: Option<String>,
    principal: Principal,
    delegates: Vec<Principal>,
    process: Option<Process>,
    lineage: Vec<Process>,
    cgroup: Option<String>,
    rows: Option<u64>,
    bytes_up: Option<u64>,
    bytes_down: Option<u64>,
    /// Fields of which values were covered, and how many.
    masked: BTreeMap<String, u64>,
    /// Sensitive fields that were returned in the clear.
    disclosed: Vec<String>,
    duration_ms: Option<f64>,
    error: Option<String>,
    /// The same fields, and in how many rows.
    disclosed_rows: BTreeMap<String, u64>,
    mode: Mode,
    policy: Option<String>,
}

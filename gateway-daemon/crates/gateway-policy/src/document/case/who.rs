//! `who` of a `[[case]]`: a subject in short form.
use crate::diagnostic::quoted;
use crate::reader::{Reader, Section, Value};
use crate::schema::{Form, Key};
use gateway_core::{
    Assurance, Lineage, Principal, Process, Provenance, Subject, Timestamp, TreeId,
};
use std::sync::Arc;
use toml::de::DeValue;

/// The deepest tree of a case. It is made in memory, and conditions look at no deeper one.
const DEPTH_MAX: u64 = 256;
/// Process and user ids are smaller.
const IDS: u64 = 1 << 32;

/// The keys of `who`.
pub(crate) const KEYS: [Key; 14] = [
    Key::needed("principal", Form::Name, "The principal"),
    Key::new("groups", Form::Texts, "Its groups, without group:"),
    Key::new(
        "assurance",
        Form::Assurance,
        "How sure it is; by default verified",
    ),
    Key::new("delegates", Form::Delegates, "Who was added on the way"),
    Key::new(
        "depth",
        Form::Below(DEPTH_MAX),
        "The distance from the root of the tree; by default 0",
    ),
    Key::new("exe", Form::Text, "The file that the process executes"),
    Key::new("argv", Form::Texts, "Its arguments"),
    Key::new("uid", Form::Below(IDS), "Its user id"),
    Key::new("cwd", Form::Text, "Its working directory"),
    Key::new("cgroup", Form::Text, "Its cgroup"),
    Key::new("container", Form::Text, "Its container"),
    Key::new("pid", Form::Below(IDS), "Its process id"),
    Key::new(
        "root",
        Form::Text,
        "The file that the root of the tree executes",
    ),
    Key::new("time", Form::Text, "When: RFC 3339"),
];

/// The keys of a delegate that is more than a name.
pub(crate) const DELEGATE_KEYS: [Key; 3] = [
    Key::needed("principal", Form::Name, "The delegate"),
    Key::new("groups", Form::Texts, "Its groups, without group:"),
    Key::new(
        "assurance",
        Form::Assurance,
        "How sure it is; by default verified",
    ),
];

const PRINCIPAL: &str = "the name of a principal like \"local:alice\"";
const DELEGATES: &str =
    "a list of principals like [\"ci:agent\"] or [{ principal = \"ci:agent\", groups = [\"ai\"] }]";
const TIME: &str = "a time like \"2026-01-31T03:00:00Z\"";

/// `None` when something is missing, which the reader knows by then.
pub(super) fn read(
    reader: &mut Reader<'_>,
    who: &Section<'_>,
) -> Option<(Subject, Option<Timestamp>)> {
    reader.check_keys(who, &KEYS);
    let principal = read_principal(reader, who);
    let delegates = match who.get("delegates") {
        Some(value) => read_delegates(reader, value),
        None => Vec::new(),
    };
    let processes = read_processes(reader, who);
    let time = who.get("time").map(|value| read_time(reader, value));
    let time = match time {
        Some(time) => Some(time?),
        None => None,
    };
    let subject = Subject {
        principal: principal?,
        delegates,
        lineage: Lineage {
            tree: TreeId(0),
            processes,
        },
    };
    Some((subject, time))
}

fn read_principal(reader: &mut Reader<'_>, who: &Section<'_>) -> Option<Principal> {
    let id = reader
        .required(who, "principal", PRINCIPAL)
        .and_then(|value| reader.name("principal", value));
    let groups = texts(reader, who, "groups", "a list of group names");
    for group in who
        .get("groups")
        .and_then(|value| match value.get_ref() {
            DeValue::Array(groups) => Some(groups.iter()),
            _ => None,
        })
        .into_iter()
        .flatten()
    {
        let text = group.get_ref().as_str().unwrap_or_default();
        if let Some(name) = text.strip_prefix("group:") {
            let message = format!("{} in `groups` begins with `group:`", quoted(text));
            let expected = format!("the name alone: {}", quoted(name));
            reader.error(group.span(), message, expected);
        }
    }
    let words = [
        Assurance::Verified,
        Assurance::Kernel,
        Assurance::Asserted,
        Assurance::None,
    ]
    .map(|assurance| (assurance.name(), assurance));
    let assurance = match who.get("assurance") {
        Some(value) => reader.word("assurance", value, &words)?,
        None => Assurance::Verified,
    };
    Some(Principal {
        id: id?.value.into(),
        assurance,
        groups,
    })
}

fn read_delegates(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Principal> {
    let DeValue::Array(array) = value.get_ref() else {
        reader.wrong_type("delegates", value, DELEGATES);
        return Vec::new();
    };
    let mut delegates = Vec::new();
    for value in array.iter() {
        match value.get_ref() {
            DeValue::String(_) => {
                delegates.extend(reader.name("delegates", value).map(|name| Principal {
                    id: name.value.into(),
                    assurance: Assurance::Verified,
                    groups: Vec::new(),
                }))
            }
            _ => {
                if let Some(section) = reader.table("delegates", value, DELEGATES) {
                    reader.check_keys(&section, &DELEGATE_KEYS);
                    delegates.extend(read_principal(reader, &section));
                }
            }
        }
    }
    delegates
}

/// From the root to the process that acts, which is `depth` hops away. What the case says about
/// a process is about the one that acts, but for `root`.
fn read_processes(reader: &mut Reader<'_>, who: &Section<'_>) -> Vec<Process> {
    const DEPTH: &str = "a whole number up to 255, 0 for the root of the tree";
    let mut number = |key: &str, range, expected: &str| {
        let value = who.get(key)?;
        reader.number(key, value, range, expected)
    };
    let depth = number("depth", 0..DEPTH_MAX, DEPTH).unwrap_or(0);
    let ids = 0..IDS;
    let pid = number("pid", ids.clone(), "a process id").unwrap_or(1);
    let uid = number("uid", ids, "a user id").unwrap_or(0);
    let text = |reader: &mut Reader<'_>, key: &str| -> Option<Arc<str>> {
        let text = reader.string(key, who.get(key)?, "a text")?;
        Some(text.value.into())
    };
    let plain = Process {
        pid: 1,
        start: 0,
        exe: "".into(),
        argv: Vec::new(),
        uid: 0,
        cwd: None,
        cgroup: "".into(),
        container: None,
        provenance: Provenance::Kernel,
        argv_cut: false,
        exited: false,
    };
    let mut processes: Vec<Process> = (0..=depth).map(|_| plain.clone()).collect();
    if let Some(acting) = processes.last_mut() {
        acting.pid = u32::try_from(pid).unwrap_or(u32::MAX);
        acting.uid = u32::try_from(uid).unwrap_or(u32::MAX);
        acting.exe = text(reader, "exe").unwrap_or_default();
        acting.argv = texts(reader, who, "argv", "a list of arguments");
        acting.cwd = text(reader, "cwd");
        acting.cgroup = text(reader, "cgroup").unwrap_or_default();
        acting.container = text(reader, "container");
    }
    if let Some(exe) = text(reader, "root")
        && let Some(root) = processes.first_mut()
    {
        root.exe = exe;
    }
    processes
}

fn texts(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    expected: &str,
) -> Vec<Arc<str>> {
    let texts = section
        .get(key)
        .and_then(|value| reader.strings(key, value, expected));
    let texts = texts.unwrap_or_default().into_iter();
    texts.map(|text| text.value.into()).collect()
}

/// RFC 3339, as a text or as TOML has it.
fn read_time(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Timestamp> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        _ => {
            reader.wrong_type("time", value, TIME);
            return None;
        }
    };
    let time = chrono::DateTime::parse_from_rfc3339(&text).ok();
    let nanos = time.and_then(|time| time.timestamp_nanos_opt());
    let nanos = nanos.and_then(|nanos| u64::try_from(nanos).ok());
    if nanos.is_none() {
        let message = format!("`time` is {}", quoted(&text));
        reader.error(value.span(), message, TIME);
    }
    nanos.map(Timestamp)
}

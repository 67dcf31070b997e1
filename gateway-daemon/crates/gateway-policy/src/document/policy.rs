//! `[policy]`: the name of a policy, what it governs, and how.
use super::{PolicyFile, read_verdict};
use crate::cgroup::CgroupGlob;
use crate::diagnostic::quoted;
use crate::harden::Measure;
use crate::hold::{HOLD_MAX, duration};
use crate::reader::{Located, Reader, Value, list};
use crate::schema::{Form, Key};
use crate::unix;
use gateway_core::{Inbound, Mode, Verdict};
use std::time::Duration;
use toml::de::DeValue;

/// The shortest time that a dead daemon is waited for: a restart takes less.
const WAIT_MIN: Duration = Duration::from_secs(5);
const ALLOW_AFTER: &str = "a time from \"5s\" to \"24h\"";

/// The keys of `[policy]`.
pub(crate) const KEYS: [Key; 9] = [
    Key::needed("name", Form::Name, "By which the policy is named"),
    Key::new(
        "cgroups",
        Form::Texts,
        "Globs over the cgroups that it governs",
    ),
    Key::new("mode", Form::Mode, "How it is applied; by default enforce"),
    Key::new(
        "default",
        Form::Default,
        "The verdict where no rule covers; by default deny",
    ),
    Key::new(
        "boundaries",
        Form::Paths,
        "Programs of services that run many jobs: what they start begins a tree of its own",
    ),
    Key::new(
        "harden",
        Form::Measures,
        "What `gateway run` takes from a command; by default its sockets from outside",
    ),
    Key::new(
        "inbound",
        Form::Inbound,
        "Who may connect to what its trees listen on; by default own-tree",
    ),
    Key::new(
        "unix",
        Form::UnixNames,
        "Unix sockets outside of a tree that it may use; by default those of the system's log",
    ),
    Key::new(
        "when_down",
        Form::WhenDown,
        "What happens while the daemon is dead; by default deny",
    ),
];

/// The keys of `when_down`, where it is a table.
pub(crate) const WHEN_DOWN_KEYS: [Key; 1] = [Key::needed(
    "allow_after",
    Form::Duration,
    "How long the daemon is waited for; then connections pass uninspected",
)];

pub(super) fn read(reader: &mut Reader<'_>, value: &Value<'_>, file: &mut PolicyFile) {
    let Some(section) = reader.table("[policy]", value, "one table, written [policy]") else {
        return;
    };
    reader.check_keys(&section, &KEYS);
    file.name = reader
        .required(&section, "name", "a name of 1 to 200 characters")
        .and_then(|value| reader.name("name", value));
    if let Some(value) = section.get("cgroups") {
        let globs = reader.strings("cgroups", value, "a list of globs over cgroup paths");
        for text in globs.unwrap_or_default() {
            match CgroupGlob::parse(&text.value) {
                Ok(glob) => file.cgroups.push(Located {
                    value: glob,
                    span: text.span,
                }),
                Err((message, expected)) => reader.error(text.span, message, expected),
            }
        }
    }
    if let Some(value) = section.get("mode") {
        let words = [Mode::Observe, Mode::Shadow, Mode::Enforce].map(|mode| (mode.name(), mode));
        file.mode = reader.word("mode", value, &words).unwrap_or_default();
    }
    if let Some(value) = section.get("default") {
        file.allow_by_default =
            read_verdict(reader, "default", value, &[Verdict::Allow, Verdict::Deny])
                == Some(Verdict::Allow);
    }
    if let Some(value) = section.get("boundaries") {
        file.boundaries = read_boundaries(reader, value);
    }
    file.harden = section
        .get("harden")
        .map(|value| read_measures(reader, value));
    if let Some(value) = section.get("inbound") {
        let words = Inbound::ALL.map(|inbound| (inbound.name(), inbound));
        file.posture.inbound = reader.word("inbound", value, &words).unwrap_or_default();
    }
    file.unix = section.get("unix").map(|value| unix::read(reader, value));
    if let Some(value) = section.get("when_down") {
        file.posture.allow_after = read_when_down(reader, value);
    }
}

/// The word `deny`, or the time after which a tree whose daemon is dead passes.
fn read_when_down(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Duration> {
    let expected = "\"deny\", or { allow_after = \"30s\" }";
    match value.get_ref() {
        DeValue::String(text) if text == "deny" => return None,
        DeValue::String(text) => {
            let message = format!("`when_down` is {}", quoted(text));
            reader.error(value.span(), message, expected);
            return None;
        }
        DeValue::Table(_) => {}
        _ => {
            reader.wrong_type("when_down", value, expected);
            return None;
        }
    }
    let section = reader.table("when_down", value, expected)?;
    reader.check_keys(&section, &WHEN_DOWN_KEYS);
    let value = reader.required(&section, "allow_after", ALLOW_AFTER)?;
    let text = reader.string("allow_after", value, ALLOW_AFTER)?;
    let time = duration(&text.value).filter(|time| (WAIT_MIN..=HOLD_MAX).contains(time));
    if time.is_none() {
        let message = format!("`allow_after` is {}", quoted(&text.value));
        reader.error(text.span, message, ALLOW_AFTER);
    }
    time
}

/// Paths of programs, as they are compared: absolute, each component a name.
fn read_boundaries(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Box<str>> {
    let expected = "an absolute path of a program, without . and ..";
    let mut paths = Vec::new();
    let texts = reader.strings("boundaries", value, "a list of paths of programs");
    for text in texts.unwrap_or_default() {
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        match text.value.strip_prefix('/') {
            Some(rest) if rest.split('/').all(plain) => paths.push(text.value.into()),
            _ => {
                let message = format!("{} in `boundaries`", quoted(&text.value));
                reader.error(text.span, message, expected);
            }
        }
    }
    paths
}

/// In the order in which they are applied, each once.
fn read_measures(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Measure> {
    let words = list(&Measure::ALL.map(Measure::name), '"');
    let mut measures = Vec::new();
    let texts = reader.strings("harden", value, &format!("a list of {words}"));
    for text in texts.unwrap_or_default() {
        match Measure::named(&text.value) {
            Some(measure) => measures.push(measure),
            None => {
                let message = format!("`harden` has no value {}", quoted(&text.value));
                reader.error(text.span, message, words.clone());
            }
        }
    }
    measures.sort_unstable();
    measures.dedup();
    measures
}

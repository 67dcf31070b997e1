//! `[[rule]]`: who may do what, where, to which objects.
use super::{HoldTable, RuleTable, VERDICTS, check_keys, read_verdict};
use crate::condition::Condition;
use crate::diagnostic::quoted;
use crate::hold::{self, HOLD_MAX, TIMEOUT_DEFAULT, TIMEOUT_MIN};
use crate::reader::{Located, Reader, Section, Value, list, nearest};
use crate::rule::PrincipalPattern;
use crate::schema::{Form, Key};
use gateway_core::{Grant, Verb, VerbSet, Verdict};
use std::time::Duration;

/// The keys of a rule that this version obeys.
pub(crate) const KEYS: [Key; 11] = [
    Key::needed("name", Form::Name, "Named in records and refusals"),
    Key::new(
        "principals",
        Form::Lines,
        "Globs over principals, group:GLOB over their groups; by default everyone",
    ),
    Key::new(
        "resources",
        Form::Lines,
        "Globs over resources; by default everything",
    ),
    Key::new(
        "verbs",
        Form::Verbs,
        "What is done; by default everything but unknown",
    ),
    Key::new(
        "objects",
        Form::Lines,
        "Globs over what is touched; by default anything",
    ),
    Key::new("when", Form::Text, "A condition in CEL; by default always"),
    Key::needed("verdict", Form::Verdict, "What the rule says"),
    Key::new("message", Form::Line, "What the client is told"),
    Key::new("approvers", Form::Lines, "Of a hold: who may answer"),
    Key::new(
        "timeout",
        Form::Duration,
        "Of a hold: how long it waits; by default 60s",
    ),
    Key::new(
        "grant",
        Form::Grant,
        "Of a hold: how far an approval reaches; by default once",
    ),
];

/// The keys that only a rule that holds can have. The first is required there.
pub(crate) const HOLD_KEYS: [&str; 3] = ["approvers", "timeout", "grant"];

const OR_ALL: &str = "a list of patterns, or no such key to mean all of them";

pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> RuleTable {
    check_keys(reader, section, &KEYS);
    let name = reader
        .required(section, "name", "a name of 1 to 200 characters")
        .and_then(|value| reader.name("name", value));
    let principals =
        patterns(reader, section, "principals").map(|list| read_principals(reader, list));
    let resources = patterns(reader, section, "resources");
    let objects = patterns(reader, section, "objects")
        .map(|list| list.into_iter().map(|text| text.value).collect());
    let verbs = section
        .get("verbs")
        .map_or(VerbSet::all_known(), |value| read_verbs(reader, value));
    let verdict = reader
        .required(section, "verdict", "\"allow\", \"deny\" or \"hold\"")
        .and_then(|value| read_verdict(reader, "verdict", value, &VERDICTS));
    let message = section
        .get("message")
        .and_then(|value| reader.string("message", value, "a text for the client"))
        .filter(|text| reader.check_text("message", text))
        .map(|text| text.value);
    let when = section
        .get("when")
        .and_then(|value| read_when(reader, value));
    let hold = match verdict {
        Some(Verdict::Hold) => read_hold(reader, section),
        Some(other) => {
            refuse_hold(reader, section, other);
            None
        }
        None => None,
    };
    // Without a verdict the file is refused as a whole; denial is what cannot do harm till then.
    let verdict = verdict.unwrap_or(Verdict::Deny);
    RuleTable {
        name,
        principals,
        resources,
        verbs,
        objects,
        verdict,
        message,
        when,
        hold,
    }
}

/// A condition, with its mistake at the place in the file where it is.
fn read_when(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Condition> {
    let text = reader.string("when", value, "a condition in CEL like 'lineage.depth > 2'")?;
    match Condition::compile(&text.value) {
        Ok(condition) => Some(condition),
        Err(mistake) => {
            let span = reader.inside(&text, mistake.span);
            reader.error(span, mistake.message, mistake.expected);
            None
        }
    }
}

/// The terms of a rule that holds.
fn read_hold(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<HoldTable> {
    const APPROVERS: &str = "a list of who may answer like [\"group:dba\"]";
    const TIMEOUT: &str = "a time from \"1s\" to \"24h\"";
    const GRANT: &str = "\"once\", or a time from \"1s\" to \"24h\"";
    let approvers = reader
        .required(section, "approvers", APPROVERS)
        .and_then(|value| reader.filled_strings("approvers", value, APPROVERS));
    let approvers = approvers.map(|mut texts| {
        texts.retain(|text| reader.check_text("approvers", text) && check_pattern(reader, text));
        texts
    });
    let timeout = match section.get("timeout") {
        None => Some(TIMEOUT_DEFAULT),
        Some(value) => read_duration(reader, "timeout", value, TIMEOUT),
    };
    let once = |value: &Value<'_>| value.get_ref().as_str() == Some("once");
    let grant = match section.get("grant") {
        None => Some(Grant::Once),
        Some(value) if once(value) => Some(Grant::Once),
        Some(value) => read_duration(reader, "grant", value, GRANT).map(Grant::Until),
    };
    let approvers = approvers?.into_iter().map(|text| text.value.into());
    Some(HoldTable {
        approvers: approvers.collect(),
        timeout: timeout?,
        grant: grant?,
    })
}

fn read_duration(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    expected: &str,
) -> Option<Duration> {
    let text = reader.string(key, value, expected)?;
    let duration = hold::duration(&text.value);
    let duration = duration.filter(|time| (TIMEOUT_MIN..=HOLD_MAX).contains(time));
    if duration.is_none() {
        let message = format!("`{key}` is {}", quoted(&text.value));
        reader.error(text.span, message, expected);
    }
    duration
}

/// Terms of a hold on a rule that does not hold would look as if somebody were asked.
fn refuse_hold(reader: &mut Reader<'_>, section: &Section<'_>, verdict: Verdict) {
    for key in HOLD_KEYS {
        if let Some(value) = section.get(key) {
            let message = format!("`{key}` in a rule whose verdict is \"{verdict}\"");
            let expected = format!("no `{key}`, or `verdict = \"hold\"`");
            reader.error(value.span(), message, expected);
        }
    }
}

/// The patterns under a key that can be matched at all.
fn patterns(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
) -> Option<Vec<Located<String>>> {
    let mut texts = reader.filled_strings(key, section.get(key)?, OR_ALL)?;
    texts.retain(|text| reader.check_text(key, text));
    Some(texts)
}

fn read_principals(reader: &mut Reader<'_>, texts: Vec<Located<String>>) -> Vec<PrincipalPattern> {
    let mut patterns = Vec::new();
    for text in texts {
        if check_pattern(reader, &text) {
            patterns.push(hold::pattern(&text.value));
        }
    }
    patterns
}

fn check_pattern(reader: &mut Reader<'_>, text: &Located<String>) -> bool {
    if text.value != "group:" {
        return true;
    }
    let expected = "a group like \"group:engineering\"";
    reader.error(text.span.clone(), "`group:` is without a name", expected);
    false
}

fn read_verbs(reader: &mut Reader<'_>, value: &Value<'_>) -> VerbSet {
    let names = Verb::ALL.map(Verb::name);
    let expected = format!("{}, or \"*\" for all but \"unknown\"", list(&names, '"'));
    let mut verbs = VerbSet::EMPTY;
    for text in reader
        .filled_strings("verbs", value, &expected)
        .unwrap_or_default()
    {
        if text.value == "*" {
            VerbSet::all_known()
                .iter()
                .for_each(|verb| verbs.insert(verb));
        } else if let Ok(verb) = text.value.parse() {
            verbs.insert(verb);
        } else {
            let expected = match nearest(&text.value, &names) {
                Some(near) => format!("\"{near}\", perhaps"),
                None => expected.clone(),
            };
            let message = format!("there is no verb {}", quoted(&text.value));
            reader.error(text.span, message, expected);
        }
    }
    verbs
}

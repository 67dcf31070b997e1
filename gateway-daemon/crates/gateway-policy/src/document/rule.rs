//! `[[rule]]`: who may do what, where, to which objects.
use super::hold::{self, check_pattern};
use super::{RuleTable, VERDICTS, read_verdict};
use crate::condition::Condition;
use crate::diagnostic::quoted;
use crate::hold::pattern;
use crate::reader::{Located, Reader, Section, Value, list, nearest};
use crate::rule::PrincipalPattern;
use crate::schema::{Form, Key};
use crate::size::{ANSWER_MAX, ANSWER_MIN, size};
use gateway_core::{Verb, VerbSet, Verdict};

/// The keys of a rule that this version obeys.
pub(crate) const KEYS: [Key; 13] = [
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
    Key::new("masks", Form::Names, "The masks that are put on answers"),
    Key::new(
        "record_answers",
        Form::Size,
        "How much of each answer is kept in the journal; by default nothing",
    ),
];

const OR_ALL: &str = "a list of patterns, or no such key to mean all of them";

pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> RuleTable {
    reader.check_keys(section, &KEYS);
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
        Some(Verdict::Hold) => hold::read(reader, section),
        Some(other) => {
            let whose = format!("a rule whose verdict is \"{other}\"");
            hold::refuse(reader, section, &whose, "verdict");
            None
        }
        None => None,
    };
    let masks = section.get("masks").map(|value| {
        let names = read_names(reader, "masks", "mask", value);
        match verdict {
            Some(Verdict::Deny) if !names.is_empty() => {
                let message = "`masks` in a rule whose verdict is \"deny\": nothing is returned";
                reader.error(value.span(), message, "no `masks`, or another verdict");
            }
            _ => {}
        }
        Located {
            value: names,
            span: value.span(),
        }
    });
    let answers = section
        .get("record_answers")
        .and_then(|value| read_answers(reader, value, verdict));
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
        masks,
        answers,
    }
}

/// How much of each answer is kept, in bytes.
fn read_answers(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    verdict: Option<Verdict>,
) -> Option<Located<u32>> {
    const SIZE: &str = "a size from \"1KiB\" to \"16MiB\"";
    let text = reader.string("record_answers", value, SIZE)?;
    let size = size(&text.value).filter(|size| (ANSWER_MIN..=ANSWER_MAX).contains(size));
    let Some(size) = size else {
        let message = format!("`record_answers` is {}", quoted(&text.value));
        reader.error(text.span, message, SIZE);
        return None;
    };
    if verdict == Some(Verdict::Deny) {
        let message = "`record_answers` in a rule whose verdict is \"deny\": nothing is returned";
        reader.error(
            text.span,
            message,
            "no `record_answers`, or another verdict",
        );
        return None;
    }
    Some(Located {
        value: size,
        span: text.span,
    })
}

/// Names of something else in the file, each once. None is as good as no such key.
pub(super) fn read_names(
    reader: &mut Reader<'_>,
    key: &str,
    what: &str,
    value: &Value<'_>,
) -> Vec<Located<String>> {
    let expected = format!("a list of names of [[{what}]] tables");
    let mut names: Vec<Located<String>> = Vec::new();
    for name in reader.strings(key, value, &expected).unwrap_or_default() {
        if names.iter().any(|other| other.value == name.value) {
            let message = format!("`{key}` names {} twice", quoted(&name.value));
            reader.error(name.span, message, format!("each {what} once"));
        } else if reader.check_text(key, &name) {
            names.push(name);
        }
    }
    names
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
            patterns.push(pattern(&text.value));
        }
    }
    patterns
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

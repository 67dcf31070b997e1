//! `[[rule]]`: who may do what, where, to which objects.
use super::{RuleTable, check_keys, read_verdict};
use crate::diagnostic::quoted;
use crate::glob::Glob;
use crate::reader::{Located, Reader, Section, Value, list, nearest};
use crate::rule::PrincipalPattern;
use gateway_core::{Verb, VerbSet, Verdict};

const OR_ALL: &str = "a list of patterns, or no such key to mean all of them";

pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> RuleTable {
    let built = [
        "name",
        "principals",
        "resources",
        "verbs",
        "objects",
        "verdict",
        "message",
    ];
    check_keys(reader, section, &built);
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
        .required(section, "verdict", "\"allow\" or \"deny\"")
        .and_then(|value| read_verdict(reader, "verdict", value));
    let message = section
        .get("message")
        .and_then(|value| reader.string("message", value, "a text for the client"))
        .filter(|text| reader.check_text("message", text))
        .map(|text| text.value);
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
        match text.value.strip_prefix("group:") {
            Some("") => {
                let expected = "a group like \"group:engineering\"";
                reader.error(text.span, "`group:` is without a name", expected);
            }
            Some(group) => patterns.push(PrincipalPattern::Group(Glob::new(group))),
            None => patterns.push(PrincipalPattern::Id(Glob::new(&text.value))),
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

//! From a file to a policy: checks its parts against each other, and builds the tables to judge by.
use crate::catalogue::{Catalogue, Found};
use crate::claims;
use crate::diagnostic::{Diagnostic, Source, quoted};
use crate::document::{self, CaseTable, MaskTable, PolicyFile, RuleTable};
use crate::glob::Glob;
use crate::harden;
use crate::maskbook::{self, Maskbook};
use crate::network::is_host_name;
use crate::place::Written;
use crate::policy::{CasePlace, Places, Policy, PolicyCase};
use crate::reader::{Located, Reader, list, nearest};
use crate::rulebook::Rulebook;
use crate::{unbuilt, unix};
use gateway_core::{DATAGRAMS, Destination, Posture};
use rustc_hash::FxHashMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// Reads and checks one policy file.
///
/// # Errors
/// Everything that is wrong with it, in the order of the file; never empty.
pub(crate) fn compile(source: &Source) -> Result<Policy, Vec<Diagnostic>> {
    let (mut file, mut reader) = document::read(source);
    let catalogue = claims::catalogue(&mut reader, &file.resources);
    check_names(&mut reader, &file);
    let mut loose = Vec::new();
    if reader.is_whole() {
        for rule in &mut file.rules {
            check_references(&mut reader, rule, &catalogue);
            check_masks(&mut reader, rule, &file.masks, &catalogue);
            check_answers(&mut reader, rule, &catalogue);
        }
        loose = check_cases(&mut reader, &file, &catalogue);
    }
    let diagnostics = reader.finish();
    let name = match (file.name.take(), diagnostics.is_empty()) {
        (Some(name), true) => name,
        (None, true) => {
            let location = source.location(0..0);
            return Err(vec![
                location.diagnostic("the policy has no name", "a `name` in [policy]"),
            ]);
        }
        (_, false) => return Err(diagnostics),
    };
    Ok(build(source, name, file, catalogue, loose))
}

fn build(
    source: &Source,
    name: Located<String>,
    file: PolicyFile,
    catalogue: Catalogue,
    places: Vec<CasePlace>,
) -> Policy {
    let locate = |span: &std::ops::Range<usize>| source.location(span.clone());
    let protocols = file.resources.iter().filter_map(|resource| {
        let protocol = resource.protocol.as_ref()?;
        Some((protocol.value.as_str().into(), locate(&protocol.span)))
    });
    let places_of = Places {
        name: locate(&name.span),
        cgroups: file.cgroups.iter().map(|glob| locate(&glob.span)).collect(),
        protocols: protocols.collect(),
    };
    let names = catalogue.resources().iter().map(|resource| &*resource.name);
    let mut resources = catalogue.resources().iter();
    let datagrams = resources.any(|resource| resource.protocol.as_deref() == Some(DATAGRAMS));
    let masks = Maskbook::new(file.masks);
    let rules = Rulebook::new(file.rules, names, masks.as_ref());
    let cases = file.cases.into_iter().zip(places);
    Policy {
        name: name.value.into(),
        file: Arc::clone(source.file()),
        mode: file.mode,
        allow_by_default: file.allow_by_default,
        boundaries: file.boundaries,
        posture: Posture {
            datagrams,
            ..file.posture
        },
        unix: file.unix.unwrap_or_else(unix::by_default),
        harden: file.harden.unwrap_or_else(harden::by_default),
        cgroups: file.cgroups.into_iter().map(|glob| glob.value).collect(),
        rules,
        masks,
        catalogue,
        cases: cases
            .map(|(case, place)| policy_case(source, case, place))
            .collect(),
        places: places_of,
    }
}

fn policy_case(source: &Source, case: CaseTable, place: CasePlace) -> PolicyCase {
    PolicyCase {
        location: source.location(case.span),
        subject: case.subject,
        time: case.time,
        to: Written::read(&case.resource.value),
        resource: case.resource.value,
        place,
        protocol: case.protocol,
        attributes: case.attributes,
        asked: case.asked,
        verdict: case.verdict,
        rule: case.rule.map(|rule| rule.value),
        masks: case
            .masks
            .map(|masks| masks.into_iter().map(|mask| mask.value).collect()),
    }
}

/// Every name once.
fn check_names(reader: &mut Reader<'_>, file: &PolicyFile) {
    let resources = file
        .resources
        .iter()
        .filter_map(|resource| resource.name.as_ref());
    unique(reader, "resource", resources);
    unique(
        reader,
        "rule",
        file.rules.iter().filter_map(|rule| rule.name.as_ref()),
    );
    unique(
        reader,
        "mask",
        file.masks.iter().filter_map(|mask| mask.name.as_ref()),
    );
    for mask in file.masks.iter().filter_map(|mask| mask.name.as_ref()) {
        let known = maskbook::as_rule(&mask.value);
        let rules = file.rules.iter().filter_map(|rule| rule.name.as_ref());
        for rule in rules.filter(|rule| rule.value == known) {
            // What is approved under one of them would be taken for approved under the other.
            let message = format!("{} is the name of a mask in records", quoted(&known));
            reader.error(rule.span.clone(), message, "another name");
        }
    }
}

fn unique<'a>(
    reader: &mut Reader<'_>,
    what: &str,
    names: impl Iterator<Item = &'a Located<String>>,
) {
    let mut first: FxHashMap<&str, u32> = FxHashMap::default();
    for name in names {
        let line = reader.line(&name.span);
        match first.get(name.value.as_str()) {
            Some(other) => {
                let message = format!("a second {what} has the name {}", quoted(&name.value));
                let expected = format!("another name; the first one is on line {other}");
                reader.error(name.span.clone(), message, expected);
            }
            None => {
                first.insert(&name.value, line);
            }
        }
    }
}

/// A rule that names a resource must mean one. A pattern may match none yet.
fn check_references(reader: &mut Reader<'_>, rule: &mut RuleTable, catalogue: &Catalogue) {
    for reference in rule.resources.iter_mut().flatten() {
        let text = &reference.value;
        let glob = Glob::new(text);
        let found = catalogue
            .resources()
            .iter()
            .any(|resource| glob.matches(&resource.name));
        if found {
            continue;
        }
        if text.contains('*') {
            if is_named_destination(text) {
                reader.error(
                    reference.span.clone(),
                    by_name_alone(text),
                    "a pattern over address:port, or over the names of resources",
                );
            }
            continue;
        }
        match place(text, catalogue) {
            Ok(CasePlace::Unnamed(name)) => reference.value = name.to_string(),
            Ok(CasePlace::Named(index)) => {
                let name = catalogue.get(index).map_or("", |resource| &resource.name);
                let message = format!("{} is the resource {} here", quoted(text), quoted(name));
                reader.error(reference.span.clone(), message, format!("{name:?}"));
            }
            Err((message, expected)) => reader.error(reference.span.clone(), message, expected),
        }
    }
}

/// A rule that puts masks on must mean one each, and must have an answer to put them on.
fn check_masks(
    reader: &mut Reader<'_>,
    rule: &RuleTable,
    masks: &[MaskTable],
    catalogue: &Catalogue,
) {
    let Some(named) = &rule.masks else { return };
    check_mask_names(reader, &named.value, masks);
    if named.value.is_empty() || can_be_masked(rule, catalogue) {
        return;
    }
    let message = "`masks` in a rule all of whose resources have a protocol that cannot be masked";
    let protocols = list(&maskbook::PROTOCOLS, '"');
    let expected = format!("no `masks`, or a resource whose protocol is {protocols}");
    reader.error(named.span.clone(), message, expected);
}

/// A rule that keeps answers must have some that can be read.
fn check_answers(reader: &mut Reader<'_>, rule: &RuleTable, catalogue: &Catalogue) {
    let Some(answers) = &rule.answers else { return };
    if can_be_masked(rule, catalogue) {
        return;
    }
    let message = "`record_answers` in a rule all of whose resources have a protocol whose answers \
                   are not read";
    let protocols = list(&maskbook::PROTOCOLS, '"');
    let expected = format!("no `record_answers`, or a resource whose protocol is {protocols}");
    reader.error(answers.span.clone(), message, expected);
}

fn check_mask_names(reader: &mut Reader<'_>, named: &[Located<String>], masks: &[MaskTable]) {
    let names: Vec<&str> = masks
        .iter()
        .filter_map(|mask| Some(mask.name.as_ref()?.value.as_str()))
        .collect();
    for mask in named {
        if !names.contains(&mask.value.as_str()) {
            let message = format!("there is no mask {}", quoted(&mask.value));
            let expected = one_of("mask", &mask.value, &names);
            reader.error(mask.span.clone(), message, expected);
        }
    }
}

/// Does the rule match anything that can be masked? A protocol that nobody names may be.
fn can_be_masked(rule: &RuleTable, catalogue: &Catalogue) -> bool {
    let Some(references) = &rule.resources else {
        return true;
    };
    let globs: Vec<Glob> = references
        .iter()
        .map(|reference| Glob::new(&reference.value))
        .collect();
    if globs.iter().any(|glob| can_mean_an_address(glob.text())) {
        return true;
    }
    let resources = catalogue.resources().iter();
    let mut matched = resources
        .filter(|resource| globs.iter().any(|glob| glob.matches(&resource.name)))
        .peekable();
    // A pattern may match nothing yet.
    matched.peek().is_none()
        || matched.any(|resource| {
            let protocol = resource.protocol.as_deref();
            protocol.is_none_or(|protocol| maskbook::PROTOCOLS.contains(&protocol))
        })
}

/// Could it match `address:port`, the name of a destination that no resource names?
fn can_mean_an_address(pattern: &str) -> bool {
    if !pattern.contains('*') {
        return pattern.parse::<SocketAddr>().is_ok();
    }
    let of_address = |c: char| c.is_ascii_hexdigit() || "*.:[]".contains(c);
    pattern.starts_with(|c: char| c.is_ascii_digit() || c == '[' || c == '*')
        && pattern.ends_with(|c: char| c.is_ascii_digit() || c == '*')
        && pattern.chars().all(of_address)
}

/// Finds the resource of every case, in their order.
fn check_cases(
    reader: &mut Reader<'_>,
    file: &PolicyFile,
    catalogue: &Catalogue,
) -> Vec<CasePlace> {
    let rules: Vec<&str> = file
        .rules
        .iter()
        .filter_map(|rule| Some(rule.name.as_ref()?.value.as_str()))
        .collect();
    let mut places = Vec::new();
    for case in &file.cases {
        check_mask_names(
            reader,
            case.masks.as_deref().unwrap_or_default(),
            &file.masks,
        );
        if let Some(rule) = &case.rule
            && !rules.contains(&rule.value.as_str())
        {
            let message = format!("there is no rule {}", quoted(&rule.value));
            reader.error(
                rule.span.clone(),
                message,
                one_of("rule", &rule.value, &rules),
            );
        }
        match place(&case.resource.value, catalogue) {
            Ok(place) => places.push(place),
            Err((message, expected)) => reader.error(case.resource.span.clone(), message, expected),
        }
    }
    places
}

/// The place that a text without stars names: a resource, or a destination.
fn place(text: &str, catalogue: &Catalogue) -> Result<CasePlace, (String, String)> {
    if let Some(index) = catalogue.named(text) {
        return Ok(CasePlace::Named(index));
    }
    if let Ok(address) = text.parse::<SocketAddr>()
        && address.port() != 0
    {
        let destination = Destination::from_address(address);
        return Ok(match catalogue.find(&destination) {
            Found::Address(index) => CasePlace::Named(index),
            _ => CasePlace::Unnamed(destination.to_string().into()),
        });
    }
    if let Written::Host(host, port) = Written::read(text) {
        return match catalogue.by_name(&host, port) {
            Some(index) => Ok(CasePlace::Named(index)),
            None => Err((
                by_name_alone(text),
                "the name of a resource that has it in `hosts`, or address:port".into(),
            )),
        };
    }
    let names: Vec<&str> = catalogue
        .resources()
        .iter()
        .map(|resource| &*resource.name)
        .collect();
    let expected = one_of("resource", text, &names);
    Err((
        format!("there is no resource {}", quoted(text)),
        format!("{expected}, or address:port like 10.0.0.7:5432 or [fd00::7]:5432"),
    ))
}

/// Rules cannot be evaded by what a destination is called, so it is called by its address where no
/// resource has a name for it.
fn by_name_alone(text: &str) -> String {
    let what = format!("the host name in {}", quoted(text));
    unbuilt::message(&what, "destinations by name that no [[resource]] names")
}

/// `db.internal:5432`, `*.internal:*`
fn is_named_destination(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let port = !port.is_empty()
            && port
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'*');
        port && is_host_name(host) && host.chars().any(char::is_alphabetic)
    })
}

/// What was probably meant, or what there is.
fn one_of(what: &str, text: &str, names: &[&str]) -> String {
    match (nearest(text, names), names) {
        (Some(near), _) => format!("{near:?}, perhaps"),
        (None, []) => format!("a [[{what}]] of this name"),
        (None, names) if names.len() <= 8 => list(names, '"'),
        (None, _) => format!("the name of a [[{what}]] in this file"),
    }
}

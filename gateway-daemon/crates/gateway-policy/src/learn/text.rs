//! The words of a learned policy. What a job wrote is in it as a comment or as a string, and can
//! be nothing else.
use super::needs::{Body, Objects, Rule};
use super::places::{Place, unique};
use super::{Head, Seen};
use gateway_core::{Timestamp, Verb};
use rustc_hash::FxHashSet;
use std::fmt::{Display, Write};

/// How much of a statement is shown, in characters.
const EXAMPLE_MAX: usize = 160;
/// How much of a statement is looked at for that, in bytes.
const LOOKED_AT_MAX: usize = 4096;
/// A list longer than this gets a line for each entry.
const LINE_MAX: usize = 100;
/// The longest name of a rule, in characters, before a number comes behind it.
const NAME_MAX: usize = 180;
/// Stands for objects where there are none. No object has such a name: those of databases are
/// `schema.name`, those of others have no spaces.
const NO_OBJECTS: &str = "(no object)";

pub(super) fn policy(head: &Head<'_>, seen: &Seen, places: &[Place], rules: &[Rule]) -> String {
    let mut text = String::new();
    about(&mut text, seen);
    line(&mut text, "\n[policy]");
    pair(&mut text, "name", quoted(head.name));
    if head.cgroups.is_empty() {
        line(
            &mut text,
            "# No `cgroups`: it governs what `gateway run --policy` starts under it.",
        );
    } else {
        pair(&mut text, "cgroups", list(head.cgroups.iter()));
    }
    line(
        &mut text,
        "# Look at what it would deny for a while, then set this to \"enforce\".",
    );
    pair(&mut text, "mode", quoted("shadow"));
    pair(&mut text, "default", quoted("deny"));
    for place in places {
        resource(&mut text, place);
    }
    let mut names = FxHashSet::default();
    for found in rules {
        if let Some(place) = places.get(found.resource) {
            rule(&mut text, found, place, &mut names);
        }
    }
    text
}

fn about(text: &mut String, seen: &Seen) {
    let since = seen.first.map(|first| format!(" since {}", moment(first)));
    let since = since.unwrap_or_default();
    line(
        text,
        format_args!(
            "# Learned from {}{since}. Read it before you use it.",
            operations(seen.learned)
        ),
    );
    let mut without = |count: u64, why: &str| {
        if count > 0 {
            line(
                text,
                format_args!("# Not learned: {}, {why}.", operations(count)),
            );
        }
    };
    without(seen.denied, "denied by the rules, whatever the mode");
    without(seen.not_approved, "held and not approved");
    without(
        seen.unnameable,
        "not to be named exactly by any rule (a `*` or a control character in a name, or no effect)",
    );
}

fn resource(text: &mut String, place: &Place) {
    line(text, "\n[[resource]]");
    pair(text, "name", quoted(&place.name));
    if let Some(protocol) = &place.protocol {
        pair(text, "protocol", quoted(protocol));
    }
    pair(
        text,
        "hosts",
        list(place.hosts.iter().map(ToString::to_string)),
    );
    let ports: Vec<String> = place.ports.iter().map(ToString::to_string).collect();
    pair(text, "ports", format_args!("[{}]", ports.join(", ")));
}

fn rule(text: &mut String, rule: &Rule, place: &Place, names: &mut FxHashSet<String>) {
    let Rule { body, evidence, .. } = rule;
    line(text, "");
    let since = evidence
        .first
        .map(|first| format!(" since {}", moment(first)));
    let since = since.unwrap_or_default();
    let count = operations(evidence.operations);
    match &evidence.example {
        Some((_, example)) => line(text, format_args!("# {count}{since}, such as: {example}")),
        None => line(text, format_args!("# {count}{since}, without a statement.")),
    }
    for remark in remarks(rule) {
        line(text, format_args!("# {remark}"));
    }
    line(text, "[[rule]]");
    pair(text, "name", quoted(&name(body, place, names)));
    pair(text, "principals", list(rule.principals.iter()));
    pair(text, "resources", list([&place.name].into_iter()));
    pair(
        text,
        "verbs",
        list(body.verbs.iter().map(|verb| verb.name())),
    );
    match &body.objects {
        Objects::Only(objects) => pair(text, "objects", list(objects.iter())),
        Objects::Nothing => pair(text, "objects", list([NO_OBJECTS].into_iter())),
        Objects::Any => {}
    }
    pair(text, "verdict", quoted("allow"));
}

/// What a reader has to know about a rule.
fn remarks(rule: &Rule) -> Vec<String> {
    let body = &rule.body;
    let mut remarks = Vec::new();
    if body.approved {
        let text = "A human approved each of these. Perhaps `verdict = \"hold\"` with `approvers`.";
        remarks.push(text.to_owned());
    }
    if body.verbs.contains(&Verb::Unknown) {
        let protocols = rule.protocols.iter().filter(|name| !name.is_empty());
        let protocols: Vec<String> = protocols.map(|name| shown(name, EXAMPLE_MAX)).collect();
        let protocols = protocols.join(", ");
        remarks.push(format!(
            "What could not be classified, spoken as: {protocols}. It may do anything there."
        ));
    } else if body.is_open() {
        let text = "What these touched cannot be said, so this rule allows any object.";
        remarks.push(text.to_owned());
    }
    match &body.objects {
        Objects::Nothing => remarks.push("Only without objects.".to_owned()),
        Objects::Only(objects) if objects.iter().any(|object| object.ends_with(".*")) => {
            let text = "Many objects of one schema were used: all of it is allowed.";
            remarks.push(text.to_owned());
        }
        Objects::Only(_) | Objects::Any => {}
    }
    if rule.principals.iter().any(|id| id.ends_with("@*")) {
        remarks.push("Many refs of one repository were seen: all of them are allowed.".to_owned());
    }
    remarks
}

fn name(body: &Body, place: &Place, names: &mut FxHashSet<String>) -> String {
    let verbs: Vec<&str> = body.verbs.iter().map(|verb| verb.name()).collect();
    let verbs = verbs.join(", ");
    let room = NAME_MAX.saturating_sub(verbs.len() + 30);
    let place: String = place.name.chars().take(room).collect();
    let more = match body.is_open() {
        true => " of any object",
        false => "",
    };
    let approved = if body.approved { ", approved" } else { "" };
    unique(&format!("{place}: {verbs}{more}{approved}"), names)
}

fn operations(count: u64) -> String {
    match count {
        1 => "1 operation".to_owned(),
        count => format!("{count} operations"),
    }
}

fn line(text: &mut String, line: impl Display) {
    // A String takes everything.
    let _ = writeln!(text, "{line}");
}

fn pair(text: &mut String, key: &str, value: impl Display) {
    line(text, format_args!("{key} = {value}"));
}

fn list(texts: impl Iterator<Item = impl AsRef<str>>) -> String {
    let texts: Vec<String> = texts.map(|text| quoted(text.as_ref())).collect();
    let line = format!("[{}]", texts.join(", "));
    if line.chars().count() <= LINE_MAX {
        return line;
    }
    let lines = texts.iter().map(|text| format!("    {text},\n"));
    format!("[\n{}]", lines.collect::<String>())
}

/// A basic string of TOML. What a terminal would obey, or what cannot be seen, is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if is_plain(c) => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Stands for itself wherever it is shown.
fn is_plain(c: char) -> bool {
    c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric()
}

/// A text in one line of a comment, cut.
fn shown(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for (number, c) in text.chars().enumerate() {
        if number >= max {
            shown.push('…');
            break;
        }
        if is_plain(c) || c == '…' {
            shown.push(c);
        } else if c.is_whitespace() {
            shown.push(' ');
        } else {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        }
    }
    shown
}

/// A statement as an example: without its values, in one line, cut.
pub(super) fn example(statement: &str) -> String {
    let end = statement.floor_char_boundary(LOOKED_AT_MAX);
    let statement = statement.get(..end).unwrap_or_default();
    let bare = without_values(statement);
    let words: Vec<&str> = bare.split_whitespace().collect();
    shown(&words.join(" "), EXAMPLE_MAX)
}

/// The statement with `…` for strings and numbers, and without comments. A policy is read by more
/// people than the journal. What does not end is cut: nobody can tell what is value in it.
fn without_values(statement: &str) -> String {
    let mut bare = String::with_capacity(statement.len());
    let mut rest = statement;
    let mut in_word = false;
    while let Some(c) = rest.chars().next() {
        let (kept, skipped) = match c {
            '\'' => ("'…'", end_of_string(rest)),
            '$' if !in_word => match dollar_tag(rest) {
                Some(tag) => ("$$…$$", behind(rest, tag.len(), tag)),
                None => ("$", Some(1)),
            },
            '-' if rest.starts_with("--") => (" ", behind(rest, 2, "\n")),
            '/' if rest.starts_with("/*") => (" ", end_of_comment(rest)),
            '"' => {
                let end = behind(rest, 1, "\"");
                (end.and_then(|end| rest.get(..end)).unwrap_or("\"…"), end)
            }
            c if c.is_ascii_digit() && !in_word => {
                let number = |c: char| !(c.is_alphanumeric() || c == '.' || c == '_');
                ("…", Some(rest.find(number).unwrap_or(rest.len())))
            }
            c => (
                rest.get(..c.len_utf8()).unwrap_or_default(),
                Some(c.len_utf8()),
            ),
        };
        bare.push_str(kept);
        in_word = c.is_alphanumeric() || c == '_' || kept == "$";
        match skipped.and_then(|skipped| rest.get(skipped..)) {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    bare
}

/// Where a text goes on behind the next `end` after `from`.
fn behind(text: &str, from: usize, end: &str) -> Option<usize> {
    let at = text.get(from..)?.find(end)?;
    Some(from + at + end.len())
}

/// Where a string ends that the text begins with. Whether a backslash before a quote escapes it
/// depends on settings that are not known here: `None`, as if it did not end.
fn end_of_string(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1).peekable();
    let mut before = ' ';
    while let Some((at, c)) = characters.next() {
        match c {
            '\'' if before == '\\' => return None,
            '\'' if characters.peek().is_some_and(|(_, next)| *next == '\'') => {
                characters.next();
            }
            '\'' => return Some(at + 1),
            _ => {}
        }
        before = c;
    }
    None
}

/// Where a comment ends that the text begins with. Some servers nest comments and some do not:
/// `None` for one that holds another.
fn end_of_comment(text: &str) -> Option<usize> {
    let end = behind(text, 2, "*/")?;
    let inner = text.get(2..end)?;
    (!inner.contains("/*")).then_some(end)
}

/// `$$` or `$tag$` at the beginning of a text.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text.get(1..)?.find('$')? + 1;
    let tag = text.get(1..end)?;
    let word = tag.chars().all(|c| c.is_alphanumeric() || c == '_');
    let starts = !tag.starts_with(|c: char| c.is_ascii_digit());
    (word && starts).then(|| text.get(..=end)).flatten()
}

/// RFC 3339 in UTC, with whole seconds.
fn moment(time: Timestamp) -> String {
    let seconds = i64::try_from(time.0 / 1_000_000_000).unwrap_or(i64::MAX);
    match chrono::DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        None => time.0.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_has_no_values_and_one_line() {
        for (statement, expected) in [
            (
                "SELECT a1 FROM t WHERE id = 7",
                "SELECT a1 FROM t WHERE id = …",
            ),
            ("SELECT 'it''s', 1.5e3", "SELECT '…', …"),
            ("SELECT 1.5, 'a\\', 'secret'", "SELECT …, '…'"),
            (
                "INSERT INTO t VALUES ($1, '$2')",
                "INSERT INTO t VALUES ($1, '…')",
            ),
            ("DO $x$ BEGIN 'a' $$ $x$; SELECT 1", "DO $$…$$; SELECT …"),
            ("SELECT $$secret", "SELECT $$…$$"),
            ("SELECT 'secret", "SELECT '…'"),
            (
                "SELECT \"odd 'name\" -- secret\nFROM t",
                "SELECT \"odd 'name\" FROM t",
            ),
            ("SELECT /* secret */ 1", "SELECT …"),
            ("SELECT /* secret", "SELECT"),
            ("SELECT /* a /* b */ secret */ 1", "SELECT"),
            (
                "a\n[[rule]]\r\nx\u{1b}[J\u{202e}",
                "a [[rule]] x\\u{1b}[J\\u{202e}",
            ),
            ("", ""),
        ] {
            assert_eq!(example(statement), expected, "{statement:?}");
        }
        assert_eq!(example(&"x".repeat(9999)).chars().count(), EXAMPLE_MAX + 1);
        assert_eq!(
            example(&format!("{}'", "é".repeat(5000))).chars().count(),
            EXAMPLE_MAX + 1
        );
    }

    #[test]
    fn a_string_is_read_back_as_it_was() {
        for text in ["a", "a\"b\\", "é日\u{202e}\u{1b}\n", "'", "\\U0001"] {
            let written = format!("x = {}", quoted(text));
            let table: toml::Table = written.parse().unwrap();
            assert_eq!(table["x"].as_str(), Some(text), "{written}");
            assert!(!written.contains(['\u{202e}', '\u{1b}', '\n']));
        }
    }
}

//! Reads a policy file table by table and value by value, and goes on after each mistake.
use crate::diagnostic::{Diagnostic, Source, quoted};
use crate::schema::{Key, names};
use std::collections::BTreeSet;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// How many diagnostics one file can have. The rest would not be read by anyone.
const DIAGNOSTICS_MAX: usize = 100;
/// The longest name of a policy, a resource or a rule, in characters.
const NAME_MAX: usize = 200;
/// The longest other text that is shown or matched, in characters.
const TEXT_MAX: usize = 1024;

/// A value with its place in the file.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// A table of the file, and what people call it: `[policy]`, `who`.
#[derive(Clone, Debug)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'static str,
    pub(crate) table: &'a DeTable<'a>,
    pub(crate) span: Range<usize>,
}

impl<'a> Section<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.table
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }
}

/// Collects what is wrong with one file.
#[derive(Debug)]
pub(crate) struct Reader<'s> {
    source: &'s Source,
    diagnostics: Vec<Diagnostic>,
    /// Lines that are not TOML. What else is wrong with them is a consequence.
    broken: BTreeSet<u32>,
}

impl<'s> Reader<'s> {
    /// A reader that has noted what is not TOML.
    pub(crate) fn new(source: &'s Source, errors: &[Error]) -> Reader<'s> {
        let mut reader = Reader {
            source,
            diagnostics: Vec::new(),
            broken: BTreeSet::new(),
        };
        for error in errors {
            let (message, expected) = match error.message().split_once(", expected ") {
                Some((message, expected)) => (message, expected.to_owned()),
                None if error.message() == "duplicate key" => {
                    (error.message(), "each key and each table once".to_owned())
                }
                None => (error.message(), "TOML".to_owned()),
            };
            // An error without a place is about the file as a whole.
            let location = source.location(error.span().unwrap_or(0..0));
            reader
                .diagnostics
                .push(location.diagnostic(message, expected));
        }
        reader.broken = reader.diagnostics.iter().map(|d| d.location.line).collect();
        reader
    }

    /// Is the file TOML at all? If not, nothing can be said about what is missing in it.
    pub(crate) fn is_whole(&self) -> bool {
        self.broken.is_empty()
    }

    /// What was found, in the order of the file.
    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        let mut diagnostics = self.diagnostics;
        diagnostics.sort();
        diagnostics.dedup();
        if diagnostics.len() > DIAGNOSTICS_MAX {
            let more = diagnostics.len() - DIAGNOSTICS_MAX;
            diagnostics.truncate(DIAGNOSTICS_MAX);
            if let Some(last) = diagnostics.last().cloned() {
                let message = format!("{more} more mistakes behind this one are not shown");
                diagnostics.push(last.location.diagnostic(message, "fewer mistakes"));
            }
        }
        diagnostics
    }

    pub(crate) fn error(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let location = self.source.location(span);
        if !self.broken.contains(&location.line) {
            self.diagnostics
                .push(location.diagnostic(message, expected));
        }
    }

    /// Where a part of a text is in the file. Behind an escape nobody can tell, so then it is the
    /// text as a whole.
    pub(crate) fn inside(&self, text: &Located<String>, part: Range<usize>) -> Range<usize> {
        let written = self.source.text().get(text.span.clone());
        let Some(at) = written.and_then(|written| written.find(&text.value)) else {
            return text.span.clone();
        };
        let start = text.span.start + at;
        start + part.start..start + part.end
    }

    /// The line on which a span starts.
    pub(crate) fn line(&self, span: &Range<usize>) -> u32 {
        self.source.location(span.clone()).line
    }

    /// A key that has to be there.
    pub(crate) fn required<'a>(
        &mut self,
        section: &Section<'a>,
        key: &str,
        expected: &str,
    ) -> Option<&'a Value<'a>> {
        let value = section.get(key);
        if value.is_none() && self.is_whole() {
            let message = format!("{} has no `{key}`", section.name);
            self.error(
                section.span.clone(),
                message,
                format!("`{key}`: {expected}"),
            );
        }
        value
    }

    /// Every key that is not known is a mistake, most often one of spelling.
    pub(crate) fn check_keys(&mut self, section: &Section<'_>, keys: &[Key]) {
        self.check_names(section, &names(keys));
    }

    /// As [`Reader::check_keys`], by their names alone.
    pub(crate) fn check_names(&mut self, section: &Section<'_>, known: &[&str]) {
        for (key, _) in section.table.iter() {
            let name = key.get_ref();
            if known.contains(&&**name) {
                continue;
            }
            let expected = match nearest(name, known) {
                Some(near) => format!("`{near}`, perhaps"),
                None => format!("one of {}", list(known, '`')),
            };
            let message = format!("{} has no key {}", section.name, quoted(name));
            self.error(key.span(), message, expected);
        }
    }

    pub(crate) fn wrong_type(&mut self, key: &str, value: &Value<'_>, expected: &str) {
        let kind = kind(value.get_ref());
        self.error(value.span(), format!("`{key}` is {kind}"), expected);
    }

    pub(crate) fn table<'a>(
        &mut self,
        name: &'static str,
        value: &'a Value<'a>,
        expected: &str,
    ) -> Option<Section<'a>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                name,
                table,
                span: value.span(),
            }),
            _ => {
                self.wrong_type(name, value, expected);
                None
            }
        }
    }

    /// The tables under `[[key]]`.
    pub(crate) fn tables<'a>(
        &mut self,
        key: &'static str,
        name: &'static str,
        value: &'a Value<'a>,
        max: usize,
    ) -> Vec<Section<'a>> {
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(key, value, name);
            return Vec::new();
        };
        if let Some(surplus) = array.get(max) {
            let message = format!("more than {max} {name} tables in one policy");
            self.error(surplus.span(), message, format!("at most {max}"));
        }
        array
            .iter()
            .take(max)
            .filter_map(|value| self.table(name, value, "a table"))
            .collect()
    }

    pub(crate) fn string(
        &mut self,
        key: &str,
        value: &Value<'_>,
        expected: &str,
    ) -> Option<Located<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(Located {
                value: text.to_string(),
                span: value.span(),
            }),
            _ => {
                self.wrong_type(key, value, expected);
                None
            }
        }
    }

    /// A list of strings. What is no string is said and left out.
    pub(crate) fn strings(
        &mut self,
        key: &str,
        value: &Value<'_>,
        expected: &str,
    ) -> Option<Vec<Located<String>>> {
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        Some(
            array
                .iter()
                .filter_map(|value| self.string(key, value, expected))
                .collect(),
        )
    }

    /// A list of strings in which something has to be: without the key it would mean `*`, and
    /// nobody can tell whether an empty one was meant to be everything or nothing.
    pub(crate) fn filled_strings(
        &mut self,
        key: &str,
        value: &Value<'_>,
        expected: &str,
    ) -> Option<Vec<Located<String>>> {
        if matches!(value.get_ref(), DeValue::Array(array) if array.is_empty()) {
            self.error(value.span(), format!("`{key}` is an empty list"), expected);
            return None;
        }
        self.strings(key, value, expected)
    }

    /// A whole number in a range.
    pub(crate) fn number(
        &mut self,
        key: &str,
        value: &Value<'_>,
        range: Range<u64>,
        expected: &str,
    ) -> Option<u64> {
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(key, value, expected);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let text = integer.as_str();
            let message = format!("`{key}` is {}", text.get(..40).unwrap_or(text));
            self.error(value.span(), message, expected);
        }
        number
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        key: &str,
        value: &Value<'_>,
        words: &[(&str, T)],
    ) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let expected = list(&names, '"');
        let text = self.string(key, value, &expected)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            self.error(
                text.span,
                format!("`{key}` is {}", quoted(&text.value)),
                expected,
            );
        }
        found.map(|(_, value)| *value)
    }

    /// The name of a policy, a resource or a rule.
    pub(crate) fn name(&mut self, key: &str, value: &Value<'_>) -> Option<Located<String>> {
        const EXPECTED: &str = "a name of 1 to 200 characters";
        let name = self.string(key, value, EXPECTED)?;
        let text = &name.value;
        let fault = if text.trim().is_empty() {
            "is empty"
        } else if text.trim() != text {
            "begins or ends with a space"
        } else if text.chars().count() > NAME_MAX {
            "is too long"
        } else if text.chars().any(char::is_control) {
            "has a control character in it"
        } else {
            return Some(name);
        };
        self.error(
            name.span,
            format!("the name {} {fault}", quoted(text)),
            EXPECTED,
        );
        None
    }

    /// A text that is shown or matched: not empty, not endless, on one line.
    pub(crate) fn check_text(&mut self, key: &str, text: &Located<String>) -> bool {
        let fault = if text.value.is_empty() {
            "is empty"
        } else if text.value.len() > TEXT_MAX {
            "is longer than 1024 bytes"
        } else if text.value.chars().any(char::is_control) {
            "has a control character in it"
        } else {
            return true;
        };
        let message = format!("a text in `{key}` {fault}: {}", quoted(&text.value));
        self.error(text.span.clone(), message, "1 to 1024 bytes on one line");
        false
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `"a", "b" or "c"`
pub(crate) fn list(words: &[&str], quote: char) -> String {
    let quote = |word: &&str| format!("{quote}{word}{quote}");
    match words.split_last() {
        None => "nothing".into(),
        Some((last, [])) => quote(last),
        Some((last, rest)) => {
            format!(
                "{} or {}",
                rest.iter().map(quote).collect::<Vec<_>>().join(", "),
                quote(last)
            )
        }
    }
}

/// The word that was probably meant: one slip of the keyboard away, or two in a longer word.
pub(crate) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    if text.len() > 32 {
        return None;
    }
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let distances = words.iter().map(|word| (slips(&text, word), *word));
    let (distance, word) = distances.min_by_key(|(distance, _)| *distance)?;
    let allowed = if word.chars().count().min(text.len()) > 4 {
        2
    } else {
        1
    };
    (distance <= allowed && distance < text.len()).then_some(word)
}

/// How many characters to add, to drop, to replace, or to swap with a neighbour.
fn slips(left: &[char], right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
    let letter = |text: &[char], i: Option<usize>| i.and_then(|i| text.get(i)).copied();
    let mut before = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let (l, r) = (
                letter(left, i.checked_sub(1)),
                letter(&right, j.checked_sub(1)),
            );
            let (l2, r2) = (
                letter(left, i.checked_sub(2)),
                letter(&right, j.checked_sub(2)),
            );
            let mut best = (at(&above, j) + 1).min(at(&row, j - 1) + 1);
            best = best.min(at(&above, j - 1) + usize::from(l != r));
            if l2.is_some() && l == r2 && l2 == r {
                best = best.min(at(&before, j.saturating_sub(2)) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spelling_mistake_finds_its_word() {
        let words = ["principals", "resources", "verbs", "objects", "verdict"];
        for (text, expected) in [
            ("principal", Some("principals")),
            ("Verbs", Some("verbs")),
            ("verb", Some("verbs")),
            ("objcts", Some("objects")),
            ("nothing", None),
            ("", None),
            ("v", None),
            ("re*", None),
            ("vrebs", Some("verbs")),
        ] {
            assert_eq!(nearest(text, &words), expected, "{text}");
        }
        for (left, right, expected) in [
            ("kitten", "sitting", 3),
            ("", "abc", 3),
            ("abc", "", 3),
            ("nmae", "name", 1),
            ("ca", "abc", 3),
        ] {
            let left: Vec<char> = left.chars().collect();
            assert_eq!(slips(&left, right), expected, "{right}");
        }
        assert_eq!(list(&["a", "b", "c"], '"'), "\"a\", \"b\" or \"c\"");
    }
}

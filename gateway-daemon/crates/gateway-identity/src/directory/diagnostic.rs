//! What is wrong with a directory file: where, what, and what was expected there.
use std::fmt;
use std::sync::Arc;

/// How much of a user's value is quoted in a message, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// One mistake in a directory file. Its order is that of the file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file, as it was asked for.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would have been right.
    pub expected: String,
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: what is wrong (expected what would be right)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic {
            file,
            line,
            column,
            message,
            expected,
        } = self;
        write!(f, "{file}:{line}:{column}: {message} (expected {expected})")
    }
}

/// A user's value inside a message: quoted, escaped, and cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// The places of a text: line and column of a byte offset, without reading the text again for each.
#[derive(Debug)]
pub(super) struct Places<'a> {
    text: &'a str,
    /// Where each line starts, in bytes.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(super) fn new(text: &'a str) -> Places<'a> {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0)
            .chain(ends.map(|(at, _)| at + 1))
            .collect();
        Places { text, lines }
    }

    /// Line and column, both from 1, columns in characters. An offset beyond the text is its end.
    pub(super) fn of(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = line
            .checked_sub(1)
            .and_then(|index| self.lines.get(index))
            .copied();
        let before = self.text.get(start.unwrap_or(0)..offset);
        // A byte order mark is not a character of the first line.
        let counted = before.unwrap_or_default().chars();
        let column = counted.filter(|c| *c != '\u{feff}').count();
        (line, column + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_as_editors_do() {
        let places = Places::new("a\nbü = 1\n\nc");
        for (offset, expected) in [
            (0, (1, 1)),
            (1, (1, 2)),
            (2, (2, 1)),
            (5, (2, 3)),
            (10, (3, 1)),
            (11, (4, 1)),
            (99, (4, 2)),
        ] {
            assert_eq!(places.of(offset), expected, "{offset}");
        }
        assert_eq!(Places::new("").of(0), (1, 1));
        assert_eq!(Places::new("\u{feff}x").of(3), (1, 1));
        assert_eq!(quoted(&"y".repeat(500)).chars().count(), 83);
    }
}

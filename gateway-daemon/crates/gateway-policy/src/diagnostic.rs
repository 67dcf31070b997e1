//! What is wrong with a policy file: where, what, and what was expected there.
use serde::Serialize;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// How much of a user's value is quoted in a message, in characters.
const QUOTED_MAX: usize = 80;
/// How much of a line is shown around a mistake, in characters.
const SHOWN_MAX: usize = 160;

/// A place in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The file, as it was asked for.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters are meant, at least 1; never beyond the end of the line.
    pub width: u32,
    /// The whole line, without its end. `None` when the file could not be read as text.
    pub source: Option<Arc<str>>,
}

impl Location {
    /// A file as a whole.
    #[must_use]
    pub fn whole(file: impl Into<Arc<str>>) -> Location {
        Location {
            file: file.into(),
            line: 1,
            column: 1,
            width: 1,
            source: None,
        }
    }

    pub(crate) fn diagnostic(
        &self,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            location: self.clone(),
            message: message.into(),
            expected: expected.into(),
        }
    }
}

impl fmt::Display for Location {
    /// `file:line:column`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", printable(&self.file), self.line, self.column)
    }
}

/// One mistake in a policy file. Its order is that of files and lines.
///
/// As JSON: one flat object with `file`, `line`, `column`, `width`, `source`, `message`, `expected`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Diagnostic {
    /// Where.
    #[serde(flatten)]
    pub location: Location,
    /// What is wrong.
    pub message: String,
    /// What would have been right.
    pub expected: String,
}

impl Diagnostic {
    /// The diagnostic for people: one line, then the line of the file with a caret below.
    #[must_use]
    pub fn render(&self) -> String {
        let Some(source) = &self.location.source else {
            return self.to_string();
        };
        let number = self.location.line.to_string();
        let column = self.location.column.saturating_sub(1) as usize;
        // A window of a long line, so that one generated line does not fill the screen.
        let skipped = column.saturating_sub(SHOWN_MAX / 2);
        let shown: String = source.chars().skip(skipped).take(SHOWN_MAX).collect();
        let shown = printable(&shown);
        let indent: String = shown
            .chars()
            .chain(std::iter::repeat(' '))
            .take(column - skipped)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let room = (skipped + SHOWN_MAX).saturating_sub(column).max(1);
        let carets = "^".repeat((self.location.width as usize).clamp(1, room));
        let gutter = " ".repeat(number.len());
        format!("{self}\n {number} | {shown}\n {gutter} | {indent}{carets}")
    }
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: error: what is wrong (expected what would be right)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: error: {} (expected {})",
            self.location, self.message, self.expected
        )
    }
}

/// A user's value inside a message: quoted, escaped, and cut when it is long.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

/// A file is shown on a terminal: what could steer it is replaced, tabs stay.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The text of a file, with what is needed to turn spans into locations.
#[derive(Debug)]
pub(crate) struct Source {
    file: Arc<str>,
    text: Arc<str>,
    /// Where each line starts, in bytes. The first is 0.
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(file: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Source {
        let text: Arc<str> = text.into();
        let mut lines = vec![0];
        lines.extend(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(i, _)| i + 1),
        );
        Source {
            file: file.into(),
            text,
            lines,
        }
    }

    pub(crate) fn file(&self) -> &Arc<str> {
        &self.file
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where the bytes of `span` are. A span beyond the text is its end.
    pub(crate) fn location(&self, span: Range<usize>) -> Location {
        let start = floor_boundary(&self.text, span.start);
        let index = self
            .lines
            .partition_point(|line| *line <= start)
            .saturating_sub(1);
        let begin = self.lines.get(index).copied().unwrap_or(0);
        let rest = self.text.get(begin..).unwrap_or_default();
        let line = rest.split('\n').next().unwrap_or_default();
        let line = line.strip_suffix('\r').unwrap_or(line);
        // A byte order mark is not a character of the first line.
        let (line, begin) = match line.strip_prefix('\u{feff}') {
            Some(rest) if begin == 0 => (rest, '\u{feff}'.len_utf8()),
            _ => (line, begin),
        };
        let before = self
            .text
            .get(begin..start)
            .unwrap_or_default()
            .chars()
            .count();
        let end = floor_boundary(&self.text, span.end.max(start)).min(begin + line.len());
        let width = self
            .text
            .get(start..end)
            .unwrap_or_default()
            .chars()
            .count();
        Location {
            file: Arc::clone(&self.file),
            line: u32::try_from(index + 1).unwrap_or(u32::MAX),
            column: u32::try_from(before + 1).unwrap_or(u32::MAX),
            width: u32::try_from(width.max(1)).unwrap_or(u32::MAX),
            source: Some(line.into()),
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, span: Range<usize>) -> (u32, u32, u32) {
        let location = Source::new("f.toml", text).location(span);
        (location.line, location.column, location.width)
    }

    #[test]
    fn spans_become_lines_and_columns_in_characters() {
        assert_eq!(at("", 0..0), (1, 1, 1));
        assert_eq!(at("a = 1\nb = 2\n", 6..7), (2, 1, 1));
        assert_eq!(
            at("a = 1\nb = 2\n", 12..12),
            (3, 1, 1),
            "the end of the file"
        );
        assert_eq!(at("é = \"ü\"\n", 5..9), (1, 5, 3), "characters, not bytes");
        assert_eq!(
            at("a = 1\r\nbb = 2\r\n", 7..99),
            (2, 1, 6),
            "never beyond the line"
        );
        assert_eq!(
            at("\u{feff}a = 1", 3..4),
            (1, 1, 1),
            "the byte order mark counts for nothing"
        );
        assert_eq!(
            at("aé", 2..2),
            (1, 2, 1),
            "inside of a character: its start"
        );
        assert_eq!(at("a", 7..9), (1, 2, 1));
    }

    #[test]
    fn a_diagnostic_shows_the_line_with_a_caret() {
        let source = Source::new("p/ci.toml", "[policy]\n\tmode = \"enforced\"\n");
        let diagnostic = source
            .location(17..27)
            .diagnostic("no such mode", "\"enforce\"");
        assert_eq!(
            diagnostic.render(),
            "p/ci.toml:2:9: error: no such mode (expected \"enforce\")\n \
             2 | \tmode = \"enforced\"\n   | \t       ^^^^^^^^^^"
        );
    }

    #[test]
    fn a_file_cannot_steer_the_terminal_nor_fill_it() {
        let source = Source::new(
            "\u{1b}[2J.toml",
            format!("a = \"\u{1b}[2J\" # {}", "x".repeat(9999)),
        );
        let rendered = source.location(9000..9010).diagnostic("m", "e").render();
        assert!(!rendered.contains('\u{1b}'));
        assert!(rendered.chars().count() < 500);
        assert_eq!(quoted(&"y".repeat(500)).chars().count(), 83);
    }
}

//! A result as psql aligns it. Rows come in parts; what has been shown stays as it is, so a part
//! with longer values is only as wide from there on.
use crate::terminal::escape;
use crate::terminal::screen::{Screen, Tone};
use crate::terminal::table::cut;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

/// How far columns are padded; and on a terminal, how much of a value is shown.
const COLUMN_MAX: usize = 80;
/// The name of a column whose name was not kept, as psql has it for one without.
const NAMELESS: &str = "?column?";

/// Stands where there is no value.
const NULL: &str = "NULL";

/// One result, while it is shown.
#[derive(Debug)]
pub(super) struct Grid {
    names: Vec<String>,
    widths: Vec<usize>,
    /// Columns of numbers stand to the right.
    right: Vec<bool>,
    headed: bool,
    /// How many rows were shown.
    pub(super) rows: usize,
}

impl Grid {
    /// A result with columns of these names.
    pub(super) fn new(columns: &[Value], screen: &Screen) -> Grid {
        let names = columns.iter().map(|name| name.as_str().unwrap_or_default());
        let names: Vec<_> = names.map(|name| shown(name, screen)).collect();
        Grid {
            widths: names.iter().map(|name| padded(name)).collect(),
            right: vec![false; names.len()],
            names,
            headed: false,
            rows: 0,
        }
    }

    /// The lines of a part of its rows; with those of the head when it is the first.
    pub(super) fn part(&mut self, rows: &[Value], screen: &Screen) -> Vec<String> {
        let cell = |value: &Value| value.as_str().map(|text| shown(text, screen));
        let row = |row: &Value| row.as_array().map(|row| row.iter().map(cell).collect());
        let rows: Vec<Vec<Option<String>>> = rows.iter().filter_map(row).collect();
        self.fit(&rows);
        self.rows += rows.len();
        let mut lines = self.head(screen);
        lines.extend(rows.iter().map(|row| self.row(row, screen)));
        lines
    }

    /// Names and the line below them, unless they were shown.
    pub(super) fn head(&mut self, screen: &Screen) -> Vec<String> {
        if std::mem::replace(&mut self.headed, true) {
            return Vec::new();
        }
        let names = self.names.iter().zip(&self.widths).map(|(name, width)| {
            let room = width.saturating_sub(name.width());
            format!(
                " {}{name}{} ",
                " ".repeat(room / 2),
                " ".repeat(room - room / 2)
            )
        });
        let names = names.collect::<Vec<_>>().join("|");
        let below = self.widths.iter().map(|width| "-".repeat(width + 2));
        let below = below.collect::<Vec<_>>().join("+");
        vec![
            screen.paint(Tone::Strong, names.trim_end()),
            screen.paint(Tone::Faint, &below),
        ]
    }

    /// Makes room for a part.
    fn fit(&mut self, rows: &[Vec<Option<String>>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        while self.names.len() < columns {
            self.names.push(NAMELESS.to_owned());
            self.widths.push(NAMELESS.len());
            self.right.push(false);
        }
        let columns = self.widths.iter_mut().zip(&mut self.right);
        for (column, (width, right)) in columns.enumerate() {
            let cells = || rows.iter().filter_map(|row| row.get(column));
            let values = || cells().filter_map(Option::as_deref);
            let needed = cells().map(|cell| padded(cell.as_deref().unwrap_or(NULL)));
            *width = needed.chain([*width]).max().unwrap_or(0);
            if !self.headed {
                *right = values().next().is_some() && values().all(is_number);
            }
        }
    }

    fn row(&self, row: &[Option<String>], screen: &Screen) -> String {
        let columns = self.widths.iter().zip(&self.right);
        let cells = row.iter().zip(columns).map(|(value, (width, right))| {
            // A text that says so is not painted.
            let (text, tone) = match value {
                Some(text) => (text.as_str(), Tone::Plain),
                None => (NULL, Tone::Faint),
            };
            let room = " ".repeat(width.saturating_sub(text.width()));
            let text = screen.paint(tone, text);
            if *right {
                format!(" {room}{text} ")
            } else {
                format!(" {text}{room} ")
            }
        });
        let line = cells.collect::<Vec<_>>().join("|");
        line.trim_end().to_owned()
    }
}

/// In one line, and on a terminal not longer than is bearable.
fn shown(text: &str, screen: &Screen) -> String {
    let text = escape::line(text);
    match screen.width {
        Some(_) => cut(&text, COLUMN_MAX),
        None => text.into_owned(),
    }
}

/// The width that a column needs for a text.
fn padded(text: &str) -> usize {
    text.width().min(COLUMN_MAX)
}

fn is_number(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit()) && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLAIN: Screen = Screen {
        width: None,
        colours: false,
    };

    fn values(value: Value) -> Vec<Value> {
        value.as_array().unwrap().clone()
    }

    #[test]
    fn a_result_looks_as_in_psql() {
        let mut grid = Grid::new(&values(json!(["id", "email", "x"])), &PLAIN);
        let rows = json!([["1", "alice@example.com", null], ["20", "b", "y"]]);
        assert_eq!(
            grid.part(&values(rows), &PLAIN),
            [
                " id |       email       |  x",
                "----+-------------------+------",
                "  1 | alice@example.com | NULL",
                " 20 | b                 | y",
            ]
        );
        let rows = json!([["x", "a longer one than before", "z"]]);
        assert_eq!(
            grid.part(&values(rows), &PLAIN),
            ["  x | a longer one than before | z"],
            "the head is not shown again"
        );
        assert_eq!(grid.rows, 3);
    }

    #[test]
    fn rows_need_not_fit_the_names() {
        let mut grid = Grid::new(&values(json!(["a"])), &PLAIN);
        let rows = json!([["1", "2"], [], "nonsense", ["3"]]);
        assert_eq!(
            grid.part(&values(rows), &PLAIN),
            [" a | ?column?", "---+----------", " 1 |        2", "", " 3",]
        );
        let mut empty = Grid::new(&[], &PLAIN);
        assert_eq!(empty.head(&PLAIN), ["", ""]);
        assert_eq!(empty.head(&PLAIN), [""; 0]);
    }

    #[test]
    fn hostile_values_stay_in_their_cells() {
        let attack = "\u{1b}[2J\n 1 | x\u{9b}\u{202e}";
        for width in [None, Some(80)] {
            let screen = Screen {
                width,
                colours: false,
            };
            let mut grid = Grid::new(&values(json!([attack])), &screen);
            let lines = grid.part(&values(json!([[attack]])), &screen);
            assert_eq!(lines.len(), 3, "{lines:?}");
            for line in lines {
                assert!(
                    !line.contains(['\u{1b}', '\n', '\u{9b}', '\u{202e}']),
                    "{line:?}"
                );
            }
        }
    }

    #[test]
    fn long_values_are_cut_on_a_terminal_only_and_pad_nothing() {
        let long = "x".repeat(10_000);
        let rows = values(json!([[long, "1"], ["short", "2"]]));
        let lines = |width: Option<usize>| {
            let screen = Screen {
                width,
                colours: false,
            };
            Grid::new(&values(json!(["a", "b"])), &screen).part(&rows, &screen)
        };
        let plain = lines(None);
        assert!(plain[2].contains(&long));
        assert!(plain[3].len() < 2 * COLUMN_MAX, "{}", plain[3]);
        let terminal = lines(Some(40));
        assert!(terminal[2].width() < 2 * COLUMN_MAX && terminal[2].contains('…'));
    }
}

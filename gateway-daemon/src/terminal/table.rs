//! Tables for people. Cells are escaped here, so no caller can forget to.
use super::escape;
use super::screen::{Screen, Tone};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Space between columns.
const GAP: &str = "  ";

/// One cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text, which is escaped.
    pub(crate) fn new(text: impl AsRef<str>) -> Cell {
        Cell::toned(text, Tone::Plain)
    }

    /// A text in a colour.
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Cell {
        Cell {
            text: escape::line(text.as_ref()).into_owned(),
            tone,
        }
    }
}

/// A column: its title, and how wide it may get. The last column takes what is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    /// Columns of the terminal at least; for lists that are printed as they come.
    pub(crate) width_min: usize,
    /// Columns of the terminal at most, where there is a terminal.
    pub(crate) width_max: usize,
}

impl Column {
    pub(crate) const fn new(title: &'static str, width_min: usize, width_max: usize) -> Column {
        Column {
            title,
            width_min,
            width_max,
        }
    }
}

/// Rows that are printed as they come: widths are fixed by the columns' minimum.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    widths: Vec<usize>,
    screen: Screen,
}

impl Table {
    /// A table whose rows are not known yet.
    pub(crate) fn streaming(columns: &[Column], screen: Screen) -> Table {
        let widths = columns
            .iter()
            .map(|column| column.width_min.max(column.title.len()))
            .collect();
        Table {
            columns: columns.to_vec(),
            widths,
            screen,
        }
    }

    /// A table that fits these rows.
    pub(crate) fn fitting(columns: &[Column], rows: &[Vec<Cell>], screen: Screen) -> Table {
        let mut table = Table::streaming(columns, screen);
        for row in rows {
            for ((width, cell), column) in table.widths.iter_mut().zip(row).zip(columns) {
                let max = if screen.width.is_some() {
                    column.width_max
                } else {
                    usize::MAX
                };
                *width = (*width)
                    .max(cell.text.width())
                    .min(max.max(column.title.len()));
            }
        }
        table
    }

    /// The line of titles.
    pub(crate) fn head(&self) -> String {
        let cells: Vec<Cell> = self
            .columns
            .iter()
            .map(|column| Cell::toned(column.title, Tone::Faint))
            .collect();
        self.row(&cells)
    }

    /// The line of one row. On a terminal each cell is cut to its column and the last one to the
    /// rest of the line; elsewhere nothing is cut.
    pub(crate) fn row(&self, cells: &[Cell]) -> String {
        let mut line = String::new();
        let mut used = 0;
        for (index, cell) in cells.iter().enumerate() {
            let last = index + 1 == cells.len();
            let width = self.widths.get(index).copied().unwrap_or(0);
            let room = match self.screen.width {
                Some(total) if last => total.saturating_sub(used),
                Some(_) => width,
                None => usize::MAX,
            };
            let text = cut(&cell.text, room);
            let shown = text.width();
            line.push_str(&self.screen.paint(cell.tone, &text));
            if !last {
                let padding = width.saturating_sub(shown);
                line.extend(std::iter::repeat_n(' ', padding));
                line.push_str(GAP);
                used += shown + padding + GAP.len();
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// The text in at most `room` columns, with an ellipsis where something is missing.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if text.len() <= room || text.width() <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 0;
    for character in text.chars() {
        let width = character.width().unwrap_or(0);
        if used + width + 1 > room {
            break;
        }
        used += width;
        kept.push(character);
    }
    if room > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] = [
        Column {
            title: "A",
            width_min: 4,
            width_max: 8,
        },
        Column {
            title: "STATEMENT",
            width_min: 9,
            width_max: 200,
        },
    ];

    fn screen(width: Option<usize>) -> Screen {
        Screen {
            width,
            colours: false,
        }
    }

    #[test]
    fn a_row_is_one_line_that_fits_the_terminal() {
        let table = Table::streaming(&COLUMNS, screen(Some(40)));
        for statement in [
            "x".repeat(500),
            "日本".repeat(100),
            "a\nb\u{1b}[2J".repeat(20),
            String::new(),
        ] {
            let line = table.row(&[Cell::new("name-that-is-long"), Cell::new(&statement)]);
            assert!(line.width() <= 40, "{line}");
            assert!(!line.contains(['\n', '\u{1b}']), "{line:?}");
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_cut() {
        let table = Table::streaming(&COLUMNS, screen(None));
        let long = "x".repeat(500);
        assert!(table.row(&[Cell::new(&long), Cell::new(&long)]).len() > 1000);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = vec![
            vec![Cell::new("ab"), Cell::new("one")],
            vec![Cell::new("abcdef"), Cell::new("two")],
        ];
        let table = Table::fitting(&COLUMNS, &rows, screen(Some(80)));
        assert_eq!(table.head(), "A       STATEMENT");
        assert_eq!(table.row(&rows[0]), "ab      one");
        assert_eq!(table.row(&rows[1]), "abcdef  two");
    }

    #[test]
    fn cutting() {
        for (text, room, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("abc", 0, ""),
            ("abc", 1, "…"),
        ] {
            assert_eq!(cut(text, room), expected, "{text} in {room}");
        }
    }
}

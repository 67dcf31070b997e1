//! What came back for an operation, as far as it is kept: as the client got it, after masks.
//!
//! An answer may be larger than anybody wants to keep. [`Excerpt`] gathers it in parts that a
//! recorder takes, and says how much it left out.
use crate::id::OperationId;
use crate::mask::Masks;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// How large a part may be, in bytes as [`AnswerPart::size`] counts them.
pub const ANSWER_PART_BYTES_MAX: usize = 64 * 1024;
/// What a value or a row counts for besides its text.
const OVERHEAD: usize = 8;
/// Stands at the end of a text that was cut.
const CUT: &str = "\u{2026}";

/// What a policy says about the answer to an operation, should it be allowed.
#[derive(Clone, Debug, Default)]
pub struct AnswerTerms {
    /// What it calls sensitive. `None`: nothing.
    pub masks: Option<Arc<dyn Masks>>,
    /// How many bytes of it are to be kept.
    pub keep: u32,
}

/// A row of a result: values as text, `None` where there is none.
pub type Row = Vec<Option<String>>;

/// A part of the answer to an operation. Sent in the order in which the client got them, before
/// the operation's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// Of which one.
    pub id: OperationId,
    /// When it came.
    pub time: Timestamp,
    /// What came.
    pub part: AnswerPart,
}

/// What a part of an answer is. New ones are added at the end, which is another version of the
/// journal's format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerPart {
    /// A result begins, whose columns have these names. Fewer than a row has values when there
    /// were too many to keep.
    Columns(Vec<Arc<str>>),
    /// Some of its rows.
    Rows(Vec<Row>),
    /// Output that is no rows.
    Text(String),
    /// So much more was there, and is not kept.
    Cut {
        /// Whole rows.
        rows: u64,
        /// Bytes of these, and of values and texts that were cut.
        bytes: u64,
    },
}

impl AnswerPart {
    /// About what it takes in a record, in bytes; not less.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            AnswerPart::Columns(names) => names.iter().map(|name| OVERHEAD + name.len()).sum(),
            AnswerPart::Rows(rows) => rows.iter().map(row_size).sum(),
            AnswerPart::Text(text) => OVERHEAD + text.len(),
            AnswerPart::Cut { .. } => 2 * OVERHEAD,
        }
    }

    /// The same, or what says how much it was when it is too large.
    pub(crate) fn bounded(self) -> AnswerPart {
        if self.size() <= ANSWER_PART_BYTES_MAX {
            return self;
        }
        let (rows, bytes) = match &self {
            AnswerPart::Columns(names) => (0, names.iter().map(|name| name.len()).sum()),
            AnswerPart::Rows(rows) => (rows.len(), rows.iter().map(row_bytes).sum()),
            AnswerPart::Text(text) => (0, text.len()),
            AnswerPart::Cut { .. } => return self,
        };
        AnswerPart::Cut {
            rows: rows as u64,
            bytes: bytes as u64,
        }
    }
}

fn row_size(row: &Row) -> usize {
    OVERHEAD * (1 + row.len()) + row_bytes(row)
}

fn row_bytes(row: &Row) -> usize {
    row.iter().flatten().map(String::len).sum()
}

/// Gathers the answer to one operation: no part is too large, and all together are no more than
/// was agreed. What comes behind that is only counted.
///
/// [`Excerpt::next`] gives the parts that are ready, and is to be asked after each call.
#[derive(Debug)]
pub struct Excerpt {
    /// How many more bytes are kept.
    left: usize,
    /// Rows that are no part yet, and their size.
    rows: Vec<Row>,
    size: usize,
    /// Text that is no part yet. Never beside rows.
    text: String,
    ready: VecDeque<AnswerPart>,
    cut_rows: u64,
    cut_bytes: u64,
}

impl Excerpt {
    /// Of which at most so many bytes are kept, as [`AnswerPart::size`] counts them.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Excerpt {
        Excerpt {
            left: bytes_max,
            rows: Vec::new(),
            size: 0,
            text: String::new(),
            ready: VecDeque::new(),
            cut_rows: 0,
            cut_bytes: 0,
        }
    }

    /// Nothing more is kept: [`Excerpt::skip_row`] is enough for what comes.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.left == 0
    }

    /// A result begins.
    pub fn columns(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        self.flush();
        let mut size = 0;
        let mut fits = |name: &Arc<str>| {
            size += OVERHEAD + name.len();
            size <= ANSWER_PART_BYTES_MAX
        };
        let names: Vec<_> = names.into_iter().take_while(|name| fits(name)).collect();
        let part = AnswerPart::Columns(names);
        if self.take(part.size()) {
            self.ready.push_back(part);
        }
    }

    /// A row of it. Values of one that is larger than a part are cut, and end in `…`.
    pub fn row(&mut self, mut row: Row) {
        let bytes = row_bytes(&row);
        let cut = cut_to_part(&mut row);
        let size = row_size(&row);
        if !self.take(size) {
            self.skip_row(bytes);
            return;
        }
        self.cut_bytes += cut as u64;
        if !self.text.is_empty() || self.size + size > ANSWER_PART_BYTES_MAX {
            self.flush();
        }
        self.size += size;
        self.rows.push(row);
    }

    /// A row that is not kept, with the bytes of its values.
    pub const fn skip_row(&mut self, bytes: usize) {
        self.cut_rows += 1;
        self.cut_bytes += bytes as u64;
    }

    /// A row that nobody reads, with the bytes of its values: `…` stands in its place.
    pub fn unread_row(&mut self, bytes: usize) {
        if self.is_full() {
            return self.skip_row(bytes);
        }
        self.row(vec![Some(CUT.to_owned())]);
        self.cut_bytes += bytes as u64;
    }

    /// Output that is no rows, and is not kept.
    pub const fn skip_text(&mut self, bytes: usize) {
        self.cut_bytes += bytes as u64;
    }

    /// Output that is no rows.
    pub fn text(&mut self, mut text: &str) {
        if !self.rows.is_empty() {
            self.flush();
        }
        while !text.is_empty() && !self.is_full() {
            let room = self.left.min(ANSWER_PART_BYTES_MAX);
            let end = text.floor_char_boundary(room.saturating_sub(OVERHEAD));
            let (head, rest) = text.split_at(end);
            if head.is_empty() || !self.take(OVERHEAD + head.len()) {
                break;
            }
            if OVERHEAD + self.text.len() + head.len() > ANSWER_PART_BYTES_MAX {
                self.flush();
            }
            self.text.push_str(head);
            text = rest;
        }
        if !text.is_empty() {
            self.left = 0;
            self.cut_bytes += text.len() as u64;
        }
    }

    /// What there is becomes a part now: so that what is played back comes when it came.
    pub fn flush(&mut self) {
        if !self.rows.is_empty() {
            self.size = 0;
            let rows = std::mem::take(&mut self.rows);
            self.ready.push_back(AnswerPart::Rows(rows));
        }
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.ready.push_back(AnswerPart::Text(text));
        }
    }

    /// The answer is whole.
    pub fn end(&mut self) {
        self.flush();
        let rows = std::mem::take(&mut self.cut_rows);
        let bytes = std::mem::take(&mut self.cut_bytes);
        if rows > 0 || bytes > 0 {
            self.ready.push_back(AnswerPart::Cut { rows, bytes });
        }
    }

    /// The next part that is ready.
    #[allow(clippy::should_implement_trait, reason = "it goes on after a `None`")]
    pub fn next(&mut self) -> Option<AnswerPart> {
        self.ready.pop_front()
    }

    /// Is there room for so much? Once there is not, nothing more is kept: what is missing is
    /// missing at the end.
    const fn take(&mut self, size: usize) -> bool {
        match self.left.checked_sub(size) {
            Some(left) => self.left = left,
            None => {
                self.left = 0;
                return false;
            }
        }
        true
    }
}

/// Cuts the values of a row that is larger than a part, and says how many bytes are gone.
fn cut_to_part(row: &mut Row) -> usize {
    if row_size(row) <= ANSWER_PART_BYTES_MAX {
        return 0;
    }
    let mut gone = 0;
    // More values than a part could hold, empty as they are, come from no database.
    let values = ANSWER_PART_BYTES_MAX / OVERHEAD - 1;
    for value in row.drain(values.min(row.len())..) {
        gone += value.map_or(0, |value| value.len());
    }
    let share = (ANSWER_PART_BYTES_MAX / (row.len() + 1)).saturating_sub(OVERHEAD);
    for value in row.iter_mut().flatten() {
        if value.len() > share {
            let end = value.floor_char_boundary(share.saturating_sub(CUT.len()));
            gone += value.len() - end;
            value.truncate(end);
            if share >= CUT.len() {
                value.push_str(CUT);
            }
        }
    }
    gone
}

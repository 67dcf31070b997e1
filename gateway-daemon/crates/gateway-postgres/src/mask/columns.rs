//! What becomes of each column of a result.
use super::binary;
use super::outlook::{FieldId, Marked, Outlook, UNPROVEN};
use super::value::{Kind, Shape, cover, integer_text};
use crate::codec::Reader;
use crate::error::Error;
use crate::interpret::flow::{Fields, Outputs};
use gateway_core::mask::{Detector, FieldCounts, Sensitive, Treatment, count};
use gateway_core::{Masker, Masks};
use std::ops::Range;
use std::sync::Arc;

/// What a column is, as RowDescription (`T`) says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) name: Box<[u8]>,
    /// The table that it is a column of; 0: it is none.
    pub(crate) table: u32,
    pub(crate) column: i16,
    pub(crate) type_oid: u32,
    pub(crate) modifier: i32,
    pub(crate) binary: bool,
}

/// Reads a RowDescription.
///
/// # Errors
/// The body is malformed.
pub(crate) fn describe(body: &[u8]) -> Result<Vec<Description>, Error> {
    let mut reader = Reader::new(body);
    let count = reader.u16()?;
    let mut columns = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let name = reader.text()?.into();
        let table = reader.u32()?;
        let column = reader.u16()?.cast_signed();
        let type_oid = reader.u32()?;
        reader.u16()?;
        let modifier = reader.i32()?;
        let binary = match reader.u16()? {
            0 => false,
            1 => true,
            _ => return Err(Error::Value),
        };
        columns.push(Description {
            name,
            table,
            column,
            type_oid,
            modifier,
            binary,
        });
    }
    reader.end()?;
    Ok(columns)
}

/// How rows that were cut are recorded, among the fields that were masked.
const CUT_ROWS: &str = "row:cut";

/// What becomes of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is shown.
    Show,
    /// It is shown, and that is recorded.
    Watch,
    /// It is covered.
    Cover(Treatment),
}

/// A column and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) action: Action,
    pub(crate) kind: Kind,
    /// What could be in it.
    fields: Fields,
}

impl Column {
    /// One that is shown.
    pub(crate) fn shown(kind: Kind) -> Column {
        Column {
            action: Action::Show,
            kind,
            fields: Fields::default(),
        }
    }

    /// One of which nothing is known.
    pub(crate) fn unproven(kind: Kind, with: Treatment) -> Column {
        Column {
            action: Action::Cover(with),
            kind,
            fields: Fields::one(UNPROVEN),
        }
    }

    /// One in which something sensitive could be: each mask is obeyed, and every field recorded.
    pub(crate) fn sensitive(kind: Kind, outlook: &Outlook, marked: &Marked) -> Column {
        let known = marked.fields.iter().map(|field| outlook.field(field));
        let covering = known.filter_map(|field| match field {
            None => Some(Treatment::Null),
            Some(field) => {
                let sensitive = &field.sensitive;
                sensitive.covered.then_some(sensitive.mask.with)
            }
        });
        let action = match (covering.max(), marked.itself) {
            (Some(with), true) => Action::Cover(with),
            // What an expression leaves of a digest or of the last four characters could be chosen
            // such that the value can be put together again.
            (Some(with), false) => Action::Cover(with.max(Treatment::Redact)),
            (None, _) => Action::Watch,
        };
        let names_something = |field: &FieldId| outlook.covers || *field != UNPROVEN;
        if !marked.fields.iter().any(|field| names_something(&field)) {
            return Column::shown(kind);
        }
        Column {
            action,
            kind,
            fields: marked.fields.clone(),
        }
    }
}

/// The columns of a result, and how many values of each were covered or seen so far.
#[derive(Debug)]
pub(crate) struct Columns {
    outlook: Arc<Outlook>,
    masks: Arc<dyn Masks>,
    list: Vec<Column>,
    /// Whether each is a column of a table itself.
    plain: Vec<bool>,
    counts: Vec<u64>,
    detected: Vec<(Detector, bool, u64)>,
    /// Rows that were too long to be looked into.
    cut_rows: u64,
    /// Rows have to be looked into.
    looks: bool,
}

/// What a value becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Became {
    /// It stays.
    Same,
    /// NULL.
    Null,
    /// What was written.
    Written,
}

impl Columns {
    /// Of a result that the server described.
    pub(crate) fn new(
        outlook: Arc<Outlook>,
        masks: Arc<dyn Masks>,
        described: &[Description],
        outputs: &Outputs,
    ) -> Columns {
        let count = described.len();
        let described_column = |(index, described): (usize, &Description)| {
            let not_null = is_not_null(&outlook, described.table, described.column);
            let kind = Kind {
                shape: Shape::of(described.type_oid, described.modifier),
                binary: described.binary,
                not_null,
            };
            column(kind, &outlook, described, &|| {
                outputs.fields_of_no_table(index, count)
            })
        };
        let list = described.iter().enumerate().map(described_column);
        let plain = described.iter().map(|described| described.table != 0);
        Columns {
            plain: plain.collect(),
            ..Columns::of(Arc::clone(&outlook), masks, list.collect())
        }
    }

    /// Of columns that are known otherwise.
    pub(crate) fn of(outlook: Arc<Outlook>, masks: Arc<dyn Masks>, list: Vec<Column>) -> Columns {
        let looks = !masks.detectors().is_empty()
            || list.iter().any(|column| column.action != Action::Show);
        Columns {
            counts: vec![0; list.len()],
            plain: vec![true; list.len()],
            outlook,
            masks,
            list,
            detected: Vec::new(),
            cut_rows: 0,
            looks,
        }
    }

    /// Of a result that the server described, and of which nothing else is known.
    pub(crate) fn blind(masks: Arc<dyn Masks>, described: &[Description]) -> Columns {
        let outlook = Arc::new(Outlook::blind(0, &*masks));
        Columns::new(outlook, masks, described, &Outputs::default())
    }

    /// Of a result of which nothing is known: all of it is covered.
    pub(crate) fn covered(outlook: Arc<Outlook>, masks: Arc<dyn Masks>, count: usize) -> Columns {
        let kind = Kind {
            shape: Shape::Other,
            binary: false,
            not_null: false,
        };
        let column = match outlook.covers {
            true => Column::unproven(kind, Treatment::Null),
            false => Column::shown(kind),
        };
        Columns::of(outlook, masks, vec![column; count])
    }

    /// Do rows have to be looked into?
    pub(crate) fn looks(&self) -> bool {
        self.looks
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// What becomes of a column; `None`: there is no such column.
    pub(crate) fn action(&self, index: usize) -> Option<Action> {
        self.list.get(index).map(|column| column.action)
    }

    /// Is what the client gets of a column covered?
    pub(crate) fn covers(&self, index: usize) -> bool {
        matches!(self.action(index), Some(Action::Cover(..)))
    }

    /// Says that the values come in this format.
    pub(crate) fn formatted(mut self, binary: bool) -> Columns {
        for column in &mut self.list {
            column.kind.binary = binary;
        }
        self
    }

    /// What NULL becomes in a column. Where something was made of a value, that it came to NULL
    /// could tell something about it.
    pub(crate) fn null(&self, index: usize, masker: &dyn Masker, out: &mut Vec<u8>) -> Became {
        let Some(Column { action, kind, .. }) = self.list.get(index) else {
            return Became::Same;
        };
        let Action::Cover(with) = *action else {
            return Became::Same;
        };
        if self.plain.get(index) == Some(&true) || with == Treatment::Null {
            return Became::Same;
        }
        match cover(*kind, with, &[], masker, out) {
            true => Became::Written,
            false => Became::Same,
        }
    }

    /// What the value of a column becomes; written to `out`, if it is.
    pub(crate) fn value(
        &mut self,
        index: usize,
        value: &[u8],
        masker: &dyn Masker,
        out: &mut Vec<u8>,
    ) -> Became {
        let Some(&Column { action, kind, .. }) = self.list.get(index) else {
            // More values than the server described.
            return if self.outlook.covers {
                Became::Null
            } else {
                Became::Same
            };
        };
        match action {
            Action::Cover(with) => {
                self.tell(index);
                match cover(kind, with, value, masker, out) {
                    true => Became::Written,
                    false => Became::Null,
                }
            }
            Action::Watch => {
                self.tell(index);
                self.detect(kind, value, masker, out)
            }
            Action::Show => self.detect(kind, value, masker, out),
        }
    }

    /// What a column of a row becomes that nobody looks into: nothing of the value is needed.
    /// Written to `out`; false: it becomes NULL.
    pub(crate) fn cut(&mut self, index: usize, masker: &dyn Masker, out: &mut Vec<u8>) -> bool {
        let Some(&Column { action, kind, .. }) = self.list.get(index) else {
            return false;
        };
        if action != Action::Show {
            self.tell(index);
        }
        cover(kind, Treatment::Redact, &[], masker, out)
    }

    /// Counts a row that was cut.
    pub(crate) fn tell_cut(&mut self) {
        self.cut_rows += 1;
    }

    /// May a row that is too long be cut? Otherwise the answer ends.
    pub(crate) fn may_cut(&self) -> bool {
        self.masks.cuts_long_rows()
    }

    fn tell(&mut self, index: usize) {
        if let Some(count) = self.counts.get_mut(index) {
            *count += 1;
        }
    }

    /// Looks for what is sensitive wherever it is.
    fn detect(
        &mut self,
        kind: Kind,
        value: &[u8],
        masker: &dyn Masker,
        out: &mut Vec<u8>,
    ) -> Became {
        let masks = Arc::clone(&self.masks);
        if masks.detectors().is_empty() {
            return Became::Same;
        }
        let number;
        let text = match kind.shape {
            Shape::Integer(_) if kind.binary => {
                number = integer_text(true, value);
                number.as_slice()
            }
            _ => value,
        };
        let mut found: Vec<(Range<usize>, Detector, Sensitive)> = Vec::new();
        let mut find = |text: &[u8]| {
            masker.find(
                masks.detectors(),
                text,
                &mut |range, (detector, sensitive)| {
                    found.push((range, *detector, sensitive.clone()));
                },
            );
        };
        find(text);
        match kind.shape {
            Shape::Json | Shape::Jsonb => binary::plain_numbers(value, &mut find),
            Shape::Text { .. } | Shape::Xml | Shape::Integer(_) | Shape::Bytes => {}
            _ if kind.binary => binary::texts(value, &mut find),
            _ => binary::plain_numbers(value, &mut find),
        }
        self.count_detected(&found);
        let strongest = found.iter().filter(|(.., sensitive)| sensitive.covered);
        let Some(with) = strongest.map(|(.., sensitive)| sensitive.mask.with).max() else {
            return Became::Same;
        };
        if !matches!(kind.shape, Shape::Text { .. } | Shape::Xml) {
            // A part of it cannot be exchanged without knowing how it is written.
            return match cover(kind, with.max(Treatment::Redact), text, masker, out) {
                true => Became::Written,
                false => Became::Null,
            };
        }
        let (start, mut at) = (out.len(), 0);
        for (range, _, sensitive) in found.iter().filter(|(.., sensitive)| sensitive.covered) {
            out.extend_from_slice(text.get(at..range.start).unwrap_or_default());
            let part = text.get(range.clone()).unwrap_or_default();
            masker.cover(sensitive.mask.with, part, out);
            at = range.end;
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        kind.shape.fit(out, start);
        Became::Written
    }

    /// Once for each value and detector.
    fn count_detected(&mut self, found: &[(Range<usize>, Detector, Sensitive)]) {
        for (index, (_, detector, sensitive)) in found.iter().enumerate() {
            let before = found.get(..index).unwrap_or_default();
            if before.iter().any(|(_, other, _)| other == detector) {
                continue;
            }
            let key = (*detector, sensitive.covered);
            let known = self
                .detected
                .iter_mut()
                .find(|(of, covered, _)| (*of, *covered) == key);
            match known {
                Some((.., sum)) => *sum += 1,
                None => self.detected.push((key.0, key.1, 1)),
            }
        }
    }

    /// Adds what was covered, and what was seen.
    pub(crate) fn settle(&self, masked: &mut FieldCounts, disclosed: &mut FieldCounts) {
        for (column, sum) in self.list.iter().zip(&self.counts) {
            let fields = column.fields.iter();
            for field in fields.filter_map(|field| self.outlook.field(field)) {
                match column.action {
                    Action::Cover(_) if field.sensitive.covered => {
                        count(masked, &field.name, *sum);
                    }
                    Action::Watch => count(disclosed, &field.name, *sum),
                    // What is only watched is not returned either where something beside it is covered.
                    Action::Cover(_) | Action::Show => {}
                }
            }
        }
        if self.cut_rows > 0 {
            count(masked, &Arc::from(CUT_ROWS), self.cut_rows);
        }
        for (detector, covered, sum) in &self.detected {
            let name = Arc::from(format!("detected:{detector}"));
            count(if *covered { masked } else { disclosed }, &name, *sum);
        }
    }
}

fn is_not_null(outlook: &Outlook, table: u32, number: i16) -> bool {
    let relation = outlook
        .catalogue
        .as_ref()
        .and_then(|catalogue| catalogue.relations.get(&table));
    relation.is_some_and(|relation| {
        let mut columns = relation.columns.iter();
        columns.any(|column| column.number == number && column.not_null)
    })
}

/// What becomes of a column that the server described; `expression` tells what could be in one that is
/// no column of a table.
fn column(
    kind: Kind,
    outlook: &Outlook,
    described: &Description,
    expression: &dyn Fn() -> Fields,
) -> Column {
    let unproven = || match outlook.covers {
        true => Column::unproven(kind, Treatment::Redact),
        false => Column::shown(kind),
    };
    if outlook.catalogue.is_none() {
        return unproven();
    }
    let made_of = |fields: Fields| match fields.is_empty() {
        true => Column::shown(kind),
        false => Column::sensitive(kind, outlook, &Marked::made_of(fields)),
    };
    if described.table == 0 {
        return made_of(expression());
    }
    let is_known = outlook.knows(described.table)
        && (described.column <= 0 || outlook.has_column(described.table, described.column));
    if !is_known {
        // It was added since the catalogue was read.
        return unproven();
    }
    // Number 0 stands for the whole row.
    if described.column == 0 {
        return made_of(outlook.row(described.table));
    }
    match outlook.marked(described.table, described.column) {
        None => Column::shown(kind),
        Some(marked) => Column::sensitive(kind, outlook, marked),
    }
}

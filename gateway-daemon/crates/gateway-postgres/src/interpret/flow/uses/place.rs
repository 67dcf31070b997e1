//! Columns of the result that ORDER BY and GROUP BY name by their places or by what they are called.
use super::Uses;
use crate::interpret::flow::Fields;
use crate::interpret::flow::labels::{Label, labels};
use crate::interpret::flow::nodes::{bare_name, each};
use crate::interpret::tree::{Tree, Value};
use gateway_core::mask::UseKind;
use rustc_hash::FxHashMap;

/// What could be in the columns of a result, for as many questions as there are columns.
struct Places<'a> {
    /// In any of them.
    any: Fields,
    /// In each of them.
    each: Vec<Fields>,
    /// So many have a place that is known: those before a `*`.
    certain: usize,
    /// In those of a name.
    named: FxHashMap<&'a str, Fields>,
    /// In those whose name is not known.
    unnamed: Fields,
}

impl<'a> Uses<'_, 'a> {
    /// `ORDER BY 2`, `ORDER BY upper`, `GROUP BY coalesce`: a number alone is that of a column of the
    /// result, and a name alone can be that of one, which has a name without an alias too.
    pub(super) fn ask_by_place(&mut self, query: &'a Tree) {
        let clauses = ["sort_clause", "group_clause"].map(|clause| query.get(clause));
        if clauses.iter().all(|clause| **clause == Value::Nothing) {
            return;
        }
        let places = self.places(query);
        clauses
            .iter()
            .for_each(|clause| self.ask_in(&places, clause));
    }

    fn places(&self, query: &'a Tree) -> Places<'a> {
        let (outputs, labels) = (self.names.outputs(query), labels(query));
        let mut places = Places {
            any: outputs.any(),
            each: outputs.each(labels.len()),
            certain: labels
                .iter()
                .take_while(|label| **label != Label::Star)
                .count(),
            named: FxHashMap::default(),
            unnamed: Fields::default(),
        };
        for (label, fields) in labels.iter().zip(&places.each) {
            match label {
                Label::Known(name) => _ = places.named.entry(name).or_default().add(fields),
                Label::Any => _ = places.unnamed.add(fields),
                // What it stands for goes by the names of columns.
                Label::Star => {}
            }
        }
        places
    }

    fn ask_in(&mut self, places: &Places<'a>, value: &'a Value) {
        each(value, &mut |item| {
            match item.kind() {
                "SortBy" => self.ask_in(places, item.get("node")),
                "GroupingSet" => self.ask_in(places, item.get("content")),
                "RowExpr" => self.ask_in(places, item.get("args")),
                "List" => self.ask_in(places, item.get("items")),
                "AConst" => {
                    let place = self.place(item).filter(|place| *place < places.certain);
                    // Behind a star nobody knows which one it is.
                    let meant = place.and_then(|place| places.each.get(place));
                    self.add(UseKind::Asks, meant.unwrap_or(&places.any));
                }
                _ => {}
            }
            if let Some(name) = bare_name(item) {
                self.add(UseKind::Asks, &places.unnamed);
                if let Some(fields) = places.named.get(name) {
                    self.add(UseKind::Asks, fields);
                }
            }
        });
    }

    /// The column of the result that a number stands for. What is known of a statement is kept for
    /// all that differ in literals only: a number that is not part of the shape is another next time.
    fn place(&self, number: &Tree) -> Option<usize> {
        let Value::Number(place) = number.get("val").tree()?.fields().next()?.1 else {
            return None;
        };
        let Value::Number(location) = number.get("location") else {
            return None;
        };
        let place = usize::try_from(*place).ok()?.checked_sub(1)?;
        self.text.keeps_number(*location).then_some(place)
    }
}

//! What the server says of sensitive values when something else is written.
//!
//! A row is refused, or another one changes, by what is in columns that the statement does not name:
//! CHECK and UNIQUE over an open column and a sensitive one, an index expression, a partition's
//! bounds, a computed column, a policy for rows; and by what refers to the row from another
//! relation. To write the one then asks about the other.
use super::catalogue::Catalogue;
use super::outlook::{Marked, Outlook};
use crate::interpret::flow::Fields;
use rustc_hash::FxHashMap;

/// What it asks about to write to a relation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ties {
    /// To delete a row of it, or to change what others refer to it by.
    pub(crate) deleting: Fields,
    /// To change a column, by its number.
    columns: FxHashMap<i16, Fields>,
    /// To change any column of it.
    changing: Fields,
}

impl Ties {
    /// What it asks about to change a column.
    pub(crate) fn changing(&self, column: i16) -> Fields {
        let own = self.columns.get(&column).cloned().unwrap_or_default();
        own.and(&self.changing)
    }

    /// What it asks about to change it in any way.
    fn any(&self) -> Fields {
        let columns = self.columns.values();
        columns.fold(self.deleting.clone().and(&self.changing), Fields::and)
    }
}

/// The ties of all relations that have any.
pub(crate) fn of(catalogue: &Catalogue, outlook: &Outlook) -> FxHashMap<u32, Ties> {
    let mut ties = FxHashMap::default();
    tie_columns(catalogue, outlook, &mut ties);
    tie_references(catalogue, outlook, &mut ties);
    if !ties.is_empty() {
        while tie_others(catalogue, &mut ties) {}
    }
    ties
}

/// Columns that the server looks at together. No names at all stand for every column.
fn tie_columns(catalogue: &Catalogue, outlook: &Outlook, ties: &mut FxHashMap<u32, Ties>) {
    for (oid, together) in &catalogue.together {
        let is_whole = together.contains(&0);
        for (sensitive, Marked { fields, .. }) in outlook.marks(*oid) {
            if !is_whole && !together.contains(&sensitive) {
                continue;
            }
            let own = ties.entry(*oid).or_default();
            match is_whole {
                true => _ = own.changing.add(fields),
                false => {
                    for column in together.iter().filter(|column| **column != sensitive) {
                        own.columns.entry(*column).or_default().add(fields);
                    }
                }
            }
        }
    }
}

/// Foreign keys: what refers to a row keeps it where it is, or goes with it.
fn tie_references(catalogue: &Catalogue, outlook: &Outlook, ties: &mut FxHashMap<u32, Ties>) {
    let mut keys: FxHashMap<u32, Vec<i16>> = FxHashMap::default();
    for [(from, column), (to, referenced)] in &catalogue.references {
        keys.entry(*to).or_default().push(*referenced);
        if let Some(Marked { fields, .. }) = outlook.marked(*from, *column) {
            let own = ties.entry(*to).or_default();
            own.deleting.add(fields);
        }
    }
    for (to, own) in ties {
        for column in keys.get(to).into_iter().flatten() {
            own.columns.entry(*column).or_default().add(&own.deleting);
        }
    }
}

/// What is changed by way of another relation. True when that has found more.
fn tie_others(catalogue: &Catalogue, ties: &mut FxHashMap<u32, Ties>) -> bool {
    let mut more = false;
    for (relation, other) in &catalogue.changed_with {
        let Some(any) = ties.get(other).map(Ties::any) else {
            continue;
        };
        // Which of its columns the other's are, is not followed.
        let own = ties.entry(*relation).or_default();
        more |= own.deleting.add(&any) | own.changing.add(&any);
    }
    for (child, parent) in &catalogue.parents {
        more |= tie_parent(catalogue, ties, *child, *parent);
    }
    more
}

/// The rows of children are those of their parents.
fn tie_parent(
    catalogue: &Catalogue,
    ties: &mut FxHashMap<u32, Ties>,
    child: u32,
    parent: u32,
) -> bool {
    let Some(found) = ties.get(&child).cloned() else {
        return false;
    };
    let own = ties.entry(parent).or_default();
    let mut more = own.deleting.add(&found.deleting) | own.changing.add(&found.changing);
    for (number, fields) in &found.columns {
        // What the parent does not have, is not changed by way of it.
        if let Some(same) = catalogue.same_column(child, *number, parent) {
            more |= own.columns.entry(same).or_default().add(fields);
        }
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_changed_by_way_of_another_relation_is_tied() {
        let field = Fields::one(7);
        let catalogue = Catalogue {
            // 1 is a view of 2, whose rows those of 3 go with.
            changed_with: vec![(1, 2), (2, 3)],
            ..Catalogue::default()
        };
        let mut ties: FxHashMap<u32, Ties> = FxHashMap::default();
        ties.entry(3).or_default().columns.insert(4, field.clone());
        while tie_others(&catalogue, &mut ties) {}
        for relation in [1, 2] {
            assert_eq!(ties[&relation].deleting, field, "{relation}");
            assert_eq!(ties[&relation].changing(9), field, "{relation}");
        }
        assert!(ties[&3].deleting.is_empty());
        assert!(ties[&3].changing(9).is_empty());
    }
}

//! What views show and do, read from their definitions.
//!
//! A definition is read when all that it is of has been, and again only when more has been found there
//! since: whoever may make views decides how many there are and how deep, and all sessions wait.
use super::{Doing, Marked, Outlook, UNPROVEN};
use crate::interpret::flow::{self, Fields};
use crate::mask::catalogue::{Catalogue, FIRST_USER_OID, Relation};
use rustc_hash::{FxHashMap, FxHashSet};

/// Steps that all definitions of a database may take to be read, some seconds; those beyond count as ones
/// that cannot be read.
const STEPS_MAX: usize = 64_000_000;
/// To parse a byte takes as long as so many steps.
const STEPS_PER_BYTE: usize = 8;

/// The views of a database, on the way to what they are.
pub(super) struct Readings {
    /// Each behind what it is of.
    order: Vec<u32>,
    /// What each is of.
    needs: FxHashMap<u32, Vec<u32>>,
    /// How much was known of that when it was read.
    read: FxHashMap<u32, usize>,
    left: usize,
}

impl Readings {
    pub(super) fn of(catalogue: &Catalogue) -> Readings {
        let is_view = |oid: u32| {
            let relation = catalogue.relations.get(&oid);
            oid >= FIRST_USER_OID
                && relation.is_some_and(|relation| matches!(relation.kind, b'v' | b'm'))
        };
        let mut needs: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
        for (view, other) in &catalogue.changed_with {
            if view != other && is_view(*view) {
                needs.entry(*view).or_default().push(*other);
            }
        }
        let mut views: Vec<u32> = catalogue.relations.keys().copied().collect();
        views.retain(|oid| is_view(*oid));
        views.sort_unstable();
        Readings {
            order: in_order(&views, &needs),
            needs,
            read: FxHashMap::default(),
            left: STEPS_MAX,
        }
    }
}

/// Each view behind those that it is of.
fn in_order(views: &[u32], needs: &FxHashMap<u32, Vec<u32>>) -> Vec<u32> {
    let all: FxHashSet<u32> = views.iter().copied().collect();
    let (mut order, mut seen) = (Vec::new(), FxHashSet::default());
    for view in views {
        if !seen.insert(*view) {
            continue;
        }
        // A view, and how many of those that it is of have been looked at.
        let mut path = vec![(*view, 0)];
        while let Some((view, next)) = path.last_mut() {
            let needed = needs.get(view).and_then(|needed| needed.get(*next));
            *next += 1;
            match needed {
                Some(other) if all.contains(other) && seen.insert(*other) => {
                    path.push((*other, 0));
                }
                Some(_) => {}
                None => {
                    order.push(*view);
                    path.pop();
                }
            }
        }
    }
    order
}

impl Outlook {
    /// The columns of views, from their definitions. True when there are more than before.
    pub(super) fn mark_views(&mut self, catalogue: &Catalogue, readings: &mut Readings) -> bool {
        let mut more = false;
        for oid in &readings.order {
            let Some(relation) = catalogue.relations.get(oid) else {
                continue;
            };
            let known = readings.needs.get(oid).map(|needs| self.extent(needs));
            if known.is_some() && readings.read.get(oid) == known.as_ref() {
                continue;
            }
            let (doing, columns) = self.view(relation, &mut readings.left);
            readings.read.extend(known.map(|known| (*oid, known)));
            more |= self.views.insert(*oid, doing) != Some(doing);
            for (column, marked) in columns {
                more |= self.mark(*oid, column, &marked);
                more |= !marked.itself && self.demote(*oid, column);
            }
        }
        more
    }

    /// How much is known of relations. It only grows.
    fn extent(&self, relations: &[u32]) -> usize {
        let marks = relations.iter().flat_map(|oid| self.marks(*oid));
        let marks = marks.map(|(_, marked)| 2 * marked.fields.len() + usize::from(!marked.itself));
        let doing = relations.iter().filter_map(|oid| self.views.get(oid));
        let doing = doing.map(|doing| doing.extent());
        marks.sum::<usize>() + doing.sum::<usize>()
    }

    /// A column of a view that goes by the name of a field, and is computed, is not the field itself.
    fn demote(&mut self, relation: u32, column: i16) -> bool {
        let columns = self.marked.get_mut(&relation);
        let marked = columns.and_then(|columns| columns.get_mut(&column));
        marked.is_some_and(|marked| std::mem::replace(&mut marked.itself, false))
    }

    fn view(&self, view: &Relation, left: &mut usize) -> (Doing, Vec<(i16, Marked)>) {
        let definition = view.definition.as_deref().unwrap_or_default();
        *left = left.saturating_sub(definition.len() * STEPS_PER_BYTE);
        let reading = match *left {
            0 => None,
            _ => flow::reading_of(definition, self, left),
        };
        let columns = view.columns.iter().map(|column| column.number);
        let Some((outputs, doing)) = reading else {
            let unproven = Marked::made_of(Fields::one(UNPROVEN));
            let marks = columns.map(|number| (number, unproven.clone()));
            return (Doing::ANYTHING, marks.collect());
        };
        let marks = columns.zip(outputs.marked(view.columns.len()));
        let marks = marks.filter_map(|(number, marked)| Some((number, marked?)));
        (doing, marks.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_come_behind_what_they_are_of() {
        let needs = FxHashMap::from_iter([
            (1, vec![3, 9]),
            (3, vec![4, 2]),
            (2, vec![4]),
            // None of the server's own are like that.
            (5, vec![6]),
            (6, vec![5]),
        ]);
        assert_eq!(in_order(&[1, 2, 3, 4, 5, 6], &needs), [4, 2, 3, 1, 6, 5]);
    }
}

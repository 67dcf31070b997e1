//! What calls functions of somebody's own without naming them in a statement.
//!
//! An expression of a relation does when its rows are written, and a row policy when they are read; a
//! type does when a value of it is made, wherever that is: a cast, a parameter, a field of a row. What a
//! relation has a column of such a type for is any of these: `array_append(a, '5')` makes a value of it.
use super::{Catalogue, TypeParts};
use rustc_hash::FxHashSet;

/// A relation or a type that calls something; 0 stands for none.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) relation: u32,
    pub(super) type_oid: u32,
    /// The type by whose functions it does.
    pub(super) by: u32,
    /// It does when it is only read.
    pub(super) reads: bool,
    /// The column whose expression it is; 0 for none.
    pub(super) column: i16,
}

impl Call {
    fn is_made(&self, types: &FxHashSet<u32>) -> bool {
        self.by == 0 || types.contains(&self.by)
    }
}

/// Notes what calls something in the catalogue, and the relations that do when they are written in `code`.
pub(super) fn note(
    calls: &[Call],
    names: &[(u32, Box<str>)],
    catalogue: &mut Catalogue,
    code: &mut FxHashSet<u32>,
) {
    let types = calling_types(calls, catalogue);
    let made = calls.iter().filter(|call| call.is_made(&types));
    for call in made.filter(|call| call.relation != 0) {
        code.insert(call.relation);
        let Some(relation) = catalogue.relations.get_mut(&call.relation) else {
            continue;
        };
        relation.calls_when_read |= call.reads;
        relation.calls_for_columns |= call.column != 0;
        let mut columns = relation.columns.iter();
        if columns.any(|column| column.generated && column.number == call.column) {
            catalogue.unproven.push((call.relation, call.column));
        }
    }
    for oid in rows_of(&types, catalogue) {
        code.insert(oid);
        if let Some(relation) = catalogue.relations.get_mut(&oid) {
            relation.calls_when_read = true;
        }
    }
    let named = names.iter().filter(|(oid, _)| types.contains(oid));
    for (_, name) in named {
        // `(x).name` can be a cast.
        catalogue.functions.insert(name.clone());
        catalogue.calling_names.insert(name.clone());
    }
    catalogue.calling_types = types;
}

/// The types of which to make a value calls something, with those that are made of them.
fn calling_types(calls: &[Call], catalogue: &Catalogue) -> FxHashSet<u32> {
    let mut types: FxHashSet<u32> = FxHashSet::default();
    loop {
        let before = types.len();
        for call in calls.iter().filter(|call| call.type_oid != 0) {
            if call.is_made(&types) {
                types.insert(call.type_oid);
            }
        }
        if types.is_empty() {
            return types;
        }
        let rows = rows_of(&types, catalogue);
        for (
            oid,
            TypeParts {
                relation,
                element,
                base,
            },
        ) in &catalogue.types
        {
            let parts = [element, base];
            if rows.contains(relation) || parts.iter().any(|part| types.contains(part)) {
                types.insert(*oid);
            }
        }
        if types.len() == before {
            return types;
        }
    }
}

/// The relations with a column of one of these types.
fn rows_of(types: &FxHashSet<u32>, catalogue: &Catalogue) -> FxHashSet<u32> {
    let relations = catalogue.relations.iter();
    let with = relations.filter(|(_, relation)| {
        let mut columns = relation.columns.iter();
        columns.any(|column| types.contains(&column.type_oid))
    });
    with.map(|(oid, _)| *oid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::catalogue::{Column, Relation};

    fn call(relation: u32, type_oid: u32, by: u32) -> Call {
        Call {
            relation,
            type_oid,
            by,
            reads: false,
            column: 0,
        }
    }

    fn parts(relation: u32, element: u32, base: u32) -> TypeParts {
        TypeParts {
            relation,
            element,
            base,
        }
    }

    #[test]
    fn what_is_made_of_a_type_that_calls_something_calls_it_too() {
        let mut catalogue = Catalogue::default();
        let column = Column {
            number: 1,
            name: "a".into(),
            type_oid: 52,
            not_null: false,
            generated: true,
            primary: false,
        };
        let of_it = Relation {
            columns: vec![column],
            ..Relation::default()
        };
        catalogue.relations.insert(1, of_it);
        for oid in [2, 3, 4] {
            catalogue.relations.insert(oid, Relation::default());
        }
        // A domain that calls, a domain over it, an array of that, the row type of 1, and another domain.
        catalogue.types.insert(50, parts(0, 0, 23));
        catalogue.types.insert(51, parts(0, 0, 50));
        catalogue.types.insert(52, parts(0, 51, 0));
        catalogue.types.insert(53, parts(1, 0, 0));
        catalogue.types.insert(60, parts(0, 0, 23));
        let policy = Call {
            reads: true,
            ..call(4, 0, 0)
        };
        // 1 has a computed column, which calls something, 2 an expression that makes a value of the row, 3 one that makes one of the other domain.
        let computed = Call {
            column: 1,
            ..call(1, 0, 0)
        };
        let calls = [
            computed,
            call(0, 50, 0),
            call(2, 0, 53),
            call(3, 0, 60),
            call(0, 60, 60),
            policy,
        ];
        let names = [(51, "over".into()), (60, "other".into())];
        let mut code = FxHashSet::default();
        note(&calls, &names, &mut catalogue, &mut code);
        let mut types: Vec<u32> = catalogue.calling_types.iter().copied().collect();
        types.sort_unstable();
        assert_eq!(types, [50, 51, 52, 53]);
        let mut code: Vec<u32> = code.into_iter().collect();
        code.sort_unstable();
        assert_eq!(code, [1, 2, 4]);
        let read = |oid| catalogue.relations[&oid].calls_when_read;
        assert_eq!([1, 2, 3, 4].map(read), [true, false, false, true]);
        assert_eq!(catalogue.unproven, [(1, 1)]);
        assert!(catalogue.calling_names.contains("over"));
        assert!(!catalogue.calling_names.contains("other"));
    }
}

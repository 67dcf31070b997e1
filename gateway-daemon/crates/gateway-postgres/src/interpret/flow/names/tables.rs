//! What is certain of names: that they are those of tables, or of columns, and what kind of columns.
use super::{Names, ROUNDS_MAX, Range};
use crate::interpret::flow::nodes::is_star;
use crate::interpret::flow::safe::only_argument;
use crate::interpret::tree::Tree;
use crate::mask::outlook::NamedColumn;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

fn hash(name: &str) -> u64 {
    FxBuildHasher.hash_one(name)
}

/// Columns that every table has.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl<'a> Names<'a> {
    /// The tables of this name.
    pub(super) fn ranges_of(&self, row: &str) -> impl Iterator<Item = &Range<'a>> {
        let ranges = self.ranges.iter();
        ranges.filter(move |range| range.visible == row)
    }

    /// Is a name with this qualifier, or without one, certainly that of a column of a table?
    pub(in crate::interpret::flow) fn is_of_table(&self, row: Option<&str>) -> bool {
        match row {
            Some(row) => self.is_table(row),
            None => self.is_flat(),
        }
    }

    /// The columns of the tables of this name, or of all.
    pub(in crate::interpret::flow) fn columns_of(
        &self,
        row: Option<&str>,
    ) -> impl Iterator<Item = &NamedColumn> {
        self.ranges
            .iter()
            .filter(move |range| row.is_none_or(|row| range.visible == row))
            .flat_map(|range| &range.named.columns)
    }

    /// Those of this name.
    pub(in crate::interpret::flow) fn columns_named(
        &self,
        row: Option<&str>,
        name: &str,
    ) -> impl Iterator<Item = &NamedColumn> {
        let columns = self.places_named(name);
        columns
            .filter(move |(range, _)| row.is_none_or(|row| range.visible == row))
            .map(|(_, column)| column)
    }

    /// Columns are looked for by name as often as there are names, in relations of a thousand columns.
    pub(super) fn index_columns(&mut self) {
        for (range, found) in self.ranges.iter().enumerate() {
            let columns = found.named.columns.iter().enumerate();
            let places = columns.map(|(at, column)| (hash(&column.name), range, at));
            self.by_name.extend(places);
        }
        self.by_name.sort_unstable();
    }

    fn places_named(&self, name: &str) -> impl Iterator<Item = (&Range<'a>, &NamedColumn)> {
        let hash = hash(name);
        let start = self.by_name.partition_point(|(other, ..)| *other < hash);
        let places = self.by_name.get(start..).unwrap_or_default().iter();
        let same = places.take_while(move |(other, ..)| *other == hash);
        let found = same.filter_map(|(_, range, at)| {
            let range = self.ranges.get(*range)?;
            Some((range, range.named.columns.get(*at)?))
        });
        found.filter(move |(_, column)| *column.name == *name)
    }

    /// The type that a domain restricts, or the type itself.
    pub(in crate::interpret::flow) fn base_type(&self, oid: u32) -> u32 {
        let types = self.catalogue.as_ref().map(|catalogue| &catalogue.types);
        let mut found = oid;
        for _ in 0..ROUNDS_MAX {
            match types
                .and_then(|types| types.get(&found))
                .map(|parts| parts.base)
            {
                Some(base) if base != 0 => found = base,
                _ => break,
            }
        }
        found
    }

    /// `count(email)` of a column that is never NULL counts rows, and whichever outer join has none
    /// for it.
    pub(super) fn counts_rows(&self, tree: &'a Tree) -> bool {
        let is_count = matches!(
            tree.strings("funcname").as_slice(),
            ["count"] | ["pg_catalog", "count"]
        );
        let (true, false, Some(column)) = (
            is_count && !self.is_type("count"),
            tree.flag("agg_distinct"),
            only_argument(tree).filter(|column| column.kind() == "ColumnRef"),
        ) else {
            return false;
        };
        let (row, name) = match column.strings("fields").as_slice() {
            [name] => (None, *name),
            [row, name] => (Some(*row), *name),
            _ => return false,
        };
        let is_stored = |range: &Range<'_>| {
            range.named.known && !range.named.is_view && !range.is_with && !range.renamed
        };
        let mut meant = self
            .ranges
            .iter()
            .filter(|range| row.is_none_or(|row| range.visible == row));
        let mut columns = self.columns_named(row, name).peekable();
        !is_star(column)
            && self.is_of_table(row)
            && meant.all(is_stored)
            && columns.peek().is_some()
            && columns.all(|column| column.not_null)
    }

    /// Is the name that of tables, and of nothing else?
    pub(super) fn is_table(&self, row: &str) -> bool {
        let mut ranges = self.ranges_of(row).peekable();
        ranges.peek().is_some()
            && ranges.all(|range| range.named.known && !range.is_with && !range.renamed)
            && !self.sources.has_derived(row)
            && !matches!(row, "old" | "new")
    }

    /// Is `row.name` certainly a column of a known table, in which it is not sensitive?
    pub(super) fn is_clean(&self, row: &str, name: &str) -> bool {
        let mut same = self.columns_named(Some(row), name);
        let mut ranges = self.ranges_of(row);
        self.is_table(row)
            && same.all(|column| column.marked.is_none())
            && !ranges.any(|range| match name {
                "ctid" => range.named.placing,
                "xmax" => !range.named.deleting.is_empty(),
                _ => false,
            })
    }

    /// Is `row.name` certainly a column of whatever goes by the name of `row`, and no call?
    pub(super) fn is_column(&self, row: &str, name: &str) -> bool {
        let mut tables = self
            .ranges
            .iter()
            .filter(|range| range.visible == row && !range.is_with)
            .peekable();
        let is_there = tables.peek().is_some() || self.sources.has_rows(row);
        let is_system = SYSTEM_COLUMNS.contains(&name);
        is_there
            && !matches!(row, "old" | "new")
            && self.sources.derived_have(row, name)
            && tables.all(|range| {
                // Of several candidates any may be the one.
                let columns = self.places_named(name);
                let has = columns.filter(|(found, _)| std::ptr::eq(*found, range));
                let has = has.count() >= range.named.candidates.max(1);
                range.named.known && !range.renamed && (has || is_system)
            })
    }
}

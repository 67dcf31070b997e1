//! The names in a statement behind which something sensitive could be.
//!
//! Only two kinds of names are told apart: columns qualified by what is certainly a table and
//! nothing else, and all others. As soon as something sensitive is in a sub-query, a WITH query or
//! any other source that makes rows of its own, every name that could be one of its columns counts
//! as sensitive, whatever it is.
mod mention;
mod stars;
mod tables;

use super::Fields;
use super::known::{
    has_known_operator, is_known_call, is_proven_call, makes_row, parts_taken, qualified_name,
    words_of,
};
use super::nodes::{any_node, each, join_aliases, makes_relation, strings_below, visible_name};
use super::sources::{self, Sources};
use super::text::Made;
use crate::interpret::tree::Tree;
use crate::mask::catalogue::Catalogue;
use crate::mask::outlook::{
    FieldId, Named, NamedColumn, Outlook, TELLING_FIELD, UNKNOWN, UNPROVEN,
};
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::sync::Arc;

/// Aliases of a result list are followed so far; beyond that everything is sensitive.
const ROUNDS_MAX: usize = 32;
/// Steps that a statement may take to be followed: some tenths of a second. Beyond that it counts as
/// one that cannot be read, since others wait for the same thread.
const STEPS_MAX: usize = 4_000_000;

/// A table in FROM, or as a target.
struct Range<'a> {
    /// The name that its columns are qualified by.
    visible: &'a str,
    named: Named,
    /// Its columns have other names here.
    renamed: bool,
    /// It could be a WITH query instead.
    is_with: bool,
}

/// The names of one statement.
pub(super) struct Names<'a> {
    ranges: Vec<Range<'a>>,
    /// Sensitive columns, and aliases in result lists of what is made of them.
    columns: FxHashMap<&'a str, Fields>,
    /// What has rows with something sensitive in them, by table name and alias.
    rows: FxHashMap<&'a str, Fields>,
    /// What could be behind any name that is not certainly a column of a table.
    loose: Fields,
    /// What could be behind any name at all.
    all: Fields,
    sources: Sources<'a>,
    /// The statement does more than read.
    changes: bool,
    /// The statement runs the query of a materialised view.
    refreshes: bool,
    /// A call of something that is not proven to be what it seems.
    unproven: bool,
    /// A table that is not known, or nothing is known.
    doubtful: bool,
    /// A view that has to do with something sensitive, whatever it returns.
    touching_view: bool,
    /// The table of the pieces of long values, of whichever relation.
    pieces: bool,
    made: Made<'a>,
    /// Each column of each range, by the hash of its name.
    by_name: Vec<(u64, usize, usize)>,
    steps: Cell<usize>,
    /// How deep the sources of `*` are followed just now.
    depth: Cell<usize>,
    tree: &'a Tree,
    catalogue: Option<Arc<Catalogue>>,
}

impl<'a> Names<'a> {
    /// Collects them.
    pub(super) fn of(tree: &'a Tree, outlook: &Outlook, made: &Made<'a>) -> Names<'a> {
        let mut names = Names {
            ranges: Vec::new(),
            columns: FxHashMap::default(),
            rows: FxHashMap::default(),
            loose: Fields::default(),
            all: Fields::default(),
            sources: Sources::of(tree),
            changes: changes(tree),
            refreshes: tree.kind() == "RefreshMatViewStmt",
            unproven: false,
            doubtful: outlook.catalogue.is_none(),
            touching_view: false,
            pieces: false,
            made: made.clone(),
            by_name: Vec::new(),
            steps: Cell::new(0),
            depth: Cell::new(0),
            tree,
            catalogue: outlook.catalogue.clone(),
        };
        if outlook.catalogue.is_none() {
            names.all = Fields::one(UNKNOWN);
        }
        for index in 0..names.sources.named.len() {
            names.range(index, outlook);
            let columns = names.ranges.last().map(|range| range.named.columns.len());
            if !names.goes_on(columns.unwrap_or_default()) {
                return names;
            }
        }
        names.enter_excluded(tree);
        names.index_columns();
        names.unproven |= any_node(tree, &|part| names.calls_unknown(part));
        names.follow(tree);
        names
    }

    /// Counts steps, and tells whether there are any left.
    pub(super) fn goes_on(&self, steps: usize) -> bool {
        self.steps.set(self.steps.get().saturating_add(steps));
        !self.is_exhausted()
    }

    /// How many there have been.
    pub(super) fn steps(&self) -> usize {
        self.steps.get()
    }

    /// Was there more to do than is done for one statement? Then nothing that was found is certain.
    pub(super) fn is_exhausted(&self) -> bool {
        self.steps.get() > STEPS_MAX
    }

    /// Could something sensitive be in what the statement names?
    pub(super) fn touches(&self) -> bool {
        self.doubtful
            || self.unproven
            || self.touching_view
            || self
                .ranges
                .iter()
                .any(|range| !range.named.deleting.is_empty())
            || !self.rows.is_empty()
            || !self.all.is_empty()
    }

    /// Does it call nothing but what is known?
    pub(super) fn is_proven(&self) -> bool {
        !self.unproven
    }

    /// Is there a view in it that has to do with something sensitive, whatever it returns?
    pub(super) fn has_touching_view(&self) -> bool {
        self.touching_view
    }

    /// Does it name a table of pieces of long values? The server's own statistics are in such too.
    pub(super) fn has_pieces(&self) -> bool {
        self.pieces
    }

    /// Is it a table that a statement before has made, in the same text?
    pub(super) fn is_made(&self, range: &Tree) -> bool {
        self.made
            .is_table(range.text("schemaname"), range.text("relname"))
    }

    /// Is there a table in it that is not known?
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// What is sensitive in the columns of these names of a relation; without names, in its primary
    /// key.
    pub(super) fn referenced(&self, range: &Tree, columns: &[&str]) -> Fields {
        let mut fields = Fields::default();
        for found in self.targets_of(range) {
            let meant = found.named.columns.iter().filter(|column| match columns {
                [] => column.primary,
                names => names.contains(&&*column.name),
            });
            for marked in meant.filter_map(|column| column.marked.as_ref()) {
                fields.add(&marked.fields);
            }
        }
        fields
    }

    /// What it asks about to delete a row of a relation.
    pub(super) fn deleting(&self, range: &Tree) -> Fields {
        let mut targets = self.targets_of(range).peekable();
        if targets.peek().is_none() {
            return self.every_column();
        }
        targets.fold(self.unseen(range), |asked, found| {
            asked.and(&found.named.deleting)
        })
    }

    /// What it asks about to change a column of a relation.
    pub(super) fn changing(&self, range: &Tree, column: &str) -> Fields {
        let targets = self.targets_of(range);
        let columns = targets.flat_map(|found| &found.named.columns);
        columns
            .filter(|named| *named.name == *column)
            .fold(self.unseen(range), |asked, named| {
                asked.and(&named.changing)
            })
    }

    /// Is something in it of which it tells where its rows are?
    pub(super) fn has_places(&self) -> bool {
        self.ranges.iter().any(|range| range.named.placing)
    }

    /// What it asks about to lock rows of a relation, or to see who has: to write what refers to a row
    /// locks it.
    pub(super) fn locking(&self) -> Fields {
        let ranges = self.ranges.iter();
        let asked = ranges.fold(Fields::default(), |asked, range| {
            asked.and(&range.named.deleting)
        });
        match self.doubtful {
            true => asked.and(&self.every_column()),
            false => asked,
        }
    }

    /// What it asks about to take a sample of a relation: by pages, or by where rows are on them.
    pub(super) fn sampling(&self, range: &Tree) -> Fields {
        let mut ranges = self.targets_of(range);
        match ranges.any(|found| found.named.placing) || self.doubtful {
            true => self.every_column(),
            false => Fields::default(),
        }
    }

    fn targets_of(&self, range: &Tree) -> impl Iterator<Item = &Range<'a>> {
        // Where there are no steps left, what is found here does not count.
        let goes_on = self.goes_on(self.ranges.len());
        let ranges = self.ranges_of(visible_name(range));
        ranges.filter(move |_| goes_on)
    }

    /// All that could be sensitive, where it is not known what ties the columns of a relation.
    fn unseen(&self, range: &Tree) -> Fields {
        match self.doubtful && !self.is_made(range) {
            true => self.every_column(),
            false => Fields::default(),
        }
    }

    /// Are all of its sources tables? Then what a name stands for is a column.
    pub(super) fn is_flat(&self) -> bool {
        self.sources.are_tables()
    }

    /// What could be behind the name of a column.
    pub(super) fn column(&self, name: &str) -> Fields {
        let named = self.columns.get(name).cloned().unwrap_or_default();
        named.and(&self.loose).and(&self.all)
    }

    /// All that could be sensitive.
    pub(super) fn every_column(&self) -> Fields {
        let mut every = self.all.clone().and(&self.loose);
        let known = self.columns.values().chain(self.rows.values());
        known.for_each(|fields| _ = every.add(fields));
        every
    }

    /// The field that a column of the table is, which a statement changes.
    pub(super) fn target_field(&self, range: &Tree, column: &str) -> Option<FieldId> {
        let mut ranges = self.targets_of(range);
        let (Some(found), None) = (ranges.next(), ranges.next()) else {
            return None;
        };
        let mut columns = found.named.columns.iter();
        let marked = columns.find(|named| *named.name == *column)?;
        let marked = marked.marked.as_ref()?;
        // What is stored in a view's column lands in the column of a table that may not be
        // sensitive.
        let is_own = marked.itself && found.named.candidates == 1 && !found.named.is_view;
        marked.fields.iter().next().filter(|_| is_own)
    }

    /// A relation that the statement names, by its number among the sources.
    fn range(&mut self, index: usize, outlook: &Outlook) {
        let Some(source) = self.sources.named.get(index) else {
            return;
        };
        let (tree, is_with) = (source.range, source.with.is_some());
        let (schema, name) = (tree.text("schemaname"), tree.text("relname"));
        let visible = visible_name(tree);
        let named = outlook.named(schema, name);
        // What a trigger or a rule does, nobody sees here.
        self.unproven |= named.runs_code && self.changes || named.doing.calls;
        self.unproven |= named.calls_when_read;
        self.touching_view |= named.doing.touches;
        if self.refreshes {
            self.unproven |= named.refreshing.calls;
            self.touching_view |= named.refreshing.touches;
        }
        // The pieces of long values are in tables that no catalogue of columns lists; without a
        // schema the name may mean one whatever else is called so.
        let is_hidden =
            !is_with && (schema.starts_with("pg_toast") || name.starts_with("pg_toast"));
        self.pieces |= is_hidden;
        let is_there = named.known || outlook.is_own_relation(schema, name);
        let is_known =
            is_with || !is_hidden && (self.is_made(tree) || is_there && !self.made.hides(name));
        if !is_known {
            // It was made since the catalogue was read, or it does not exist. What the server says
            // of its columns decides; about the rest nothing is known.
            self.doubtful = true;
        }
        let renamed = tree
            .tree("alias")
            .is_some_and(|alias| !alias.strings("colnames").is_empty());
        let mut whole = Fields::default();
        let marked = named.columns.iter();
        for marked in marked.filter_map(|column| column.marked.as_ref()) {
            whole.add(&marked.fields);
        }
        if !is_known {
            let field = if is_hidden { UNPROVEN } else { UNKNOWN };
            whole.add(&Fields::one(field));
            self.loose.add(&whole);
        }
        if named.placing {
            let place = self.columns.entry("ctid").or_default();
            place.add(&Fields::one(TELLING_FIELD));
        }
        if !named.deleting.is_empty() {
            let holder = self.columns.entry("xmax").or_default();
            holder.add(&named.deleting);
        }
        if !whole.is_empty() {
            for row in [visible, name, "old", "new", "excluded"] {
                self.rows.entry(row).or_default().add(&whole);
            }
            if renamed {
                // Which name is which is the server's to say.
                self.loose.add(&whole);
            }
        }
        self.ranges.push(Range {
            visible,
            named,
            renamed,
            is_with,
        });
    }

    /// `excluded` has the columns of what is inserted into, where there is one such table.
    fn enter_excluded(&mut self, tree: &'a Tree) {
        const EXCLUDED: &str = "excluded";
        let targets = sources::inserted_into(tree);
        let [target] = targets.as_slice() else { return };
        let mut named = self.ranges.iter().filter(|range| {
            range.visible == visible_name(target) && !range.is_with && !range.renamed
        });
        let (Some(range), None) = (named.next(), named.next()) else {
            return;
        };
        if self.ranges.iter().any(|range| range.visible == EXCLUDED) {
            return;
        }
        let named = range.named.clone();
        self.ranges.push(Range {
            visible: EXCLUDED,
            named,
            renamed: false,
            is_with: false,
        });
    }

    /// Does the node itself call what is not known, in whichever way?
    fn calls_unknown(&self, tree: &'a Tree) -> bool {
        if !self.goes_on(1) {
            return true;
        }
        match tree.kind() {
            "FuncCall" => {
                let parts = tree.strings("funcname");
                !is_known_call(&parts) || self.makes_calling(&parts)
            }
            "TypeName" => self.is_calling(tree),
            "ColumnRef" => qualified_name(tree).is_some_and(|(row, name)| self.is_call(row, name)),
            "AIndirection" => parts_taken(tree).iter().any(|name| self.is_function(name)),
            _ => !has_known_operator(tree) || self.is_word_call(tree),
        }
    }

    /// What is given to a node that may do more with it than compute; `None`: it only computes.
    pub(super) fn given(&self, tree: &'a Tree) -> Option<Fields> {
        match tree.kind() {
            "FuncCall" => {
                let parts = tree.strings("funcname");
                let computes = is_proven_call(&parts) && !self.makes_calling(&parts);
                (!computes).then(|| self.mention_below(tree))
            }
            "TypeCast" => {
                let name = tree.tree("type_name")?;
                let value = tree.tree("arg").filter(|_| self.is_calling(name))?;
                Some(self.mention(value))
            }
            "ColumnRef" => {
                let (row, name) = qualified_name(tree)?;
                self.is_call(row, name).then(|| self.whole(row))
            }
            "AIndirection" => {
                let calls = parts_taken(tree).iter().any(|name| self.is_function(name));
                let argument = tree.tree("arg").filter(|_| calls)?;
                Some(self.mention(argument))
            }
            _ => {
                let calls = !has_known_operator(tree) || self.is_word_call(tree);
                calls.then(|| self.mention_below(tree))
            }
        }
    }

    /// Is it the name of a type of which to make a value calls somebody's function, or may it be?
    fn is_calling(&self, name: &Tree) -> bool {
        let names = name.strings("names");
        let Some(catalogue) = self.catalogue.as_ref() else {
            return false;
        };
        // `t.c%TYPE` is the type of a column.
        name.flag("pct_type") && !catalogue.calling_types.is_empty()
            || names
                .last()
                .is_some_and(|name| catalogue.calling_names.contains(*name))
    }

    /// Does a call make a value of such a type: by the name of the type, or by those of the fields of a
    /// row?
    fn makes_calling(&self, parts: &[&str]) -> bool {
        self.catalogue.as_ref().is_some_and(|catalogue| {
            let is_type = |name: &&str| catalogue.calling_names.contains(*name);
            makes_row(parts) && !catalogue.calling_types.is_empty()
                || parts.last().is_some_and(is_type)
        })
    }

    /// Is it syntax that an older server would take for a call of somebody's function?
    fn is_word_call(&self, tree: &Tree) -> bool {
        words_of(tree).iter().any(|word| self.is_function(word))
    }

    /// Is `row.name` perhaps a call: of a function in FROM it can be one of any function.
    fn is_call(&self, row: &str, name: &str) -> bool {
        self.is_function(name) && !(self.goes_on(self.ranges.len()) && self.is_column(row, name))
    }

    /// Can `(x).name` call a function of which it is not known that it only computes?
    fn is_function(&self, name: &str) -> bool {
        let catalogue = self.catalogue.as_ref();
        catalogue.is_some_and(|catalogue| catalogue.functions.contains(name))
    }

    /// The statement.
    pub(super) fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// Is there a type of the database's own with this name?
    pub(super) fn is_type(&self, name: &str) -> bool {
        let catalogue = self.catalogue.as_ref();
        catalogue.is_none_or(|catalogue| catalogue.type_names.contains(name))
    }

    /// Carries what is sensitive through aliases, until nothing more is found.
    fn follow(&mut self, tree: &'a Tree) {
        self.enter_columns(tree);
        for _ in 0..ROUNDS_MAX {
            let mut more = false;
            self.carry(tree, &mut more);
            if !more || self.is_exhausted() {
                return;
            }
        }
        let every = self.every_column();
        self.all.add(&every);
    }

    /// The sensitive columns of tables, by their own names, as far as the statement has the names.
    fn enter_columns(&mut self, tree: &'a Tree) {
        let mut sensitive: FxHashMap<Box<str>, Fields> = FxHashMap::default();
        for range in &self.ranges {
            for NamedColumn { name, marked, .. } in &range.named.columns {
                if let Some(marked) = marked {
                    let fields = sensitive.entry(name.clone()).or_default();
                    fields.add(&marked.fields);
                }
            }
        }
        if sensitive.is_empty() {
            return;
        }
        let mut words = Vec::new();
        strings_below(tree, &mut words);
        for word in words {
            if let Some(fields) = sensitive.get(word) {
                self.columns.entry(word).or_default().add(fields);
            }
        }
    }

    fn carry(&mut self, tree: &'a Tree, more: &mut bool) {
        if !self.goes_on(1) {
            return;
        }
        match tree.kind() {
            "SelectStmt" => self.carry_targets(tree, "target_list", more),
            "ReturningClause" => self.carry_targets(tree, "exprs", more),
            // Rows of their own: the names and the order of what is in them are not followed.
            "RangeSubselect" | "CommonTableExpr" | "RangeFunction" | "RangeTableFunc"
            | "JsonTable" => {
                let fields = self.mention_below(tree);
                *more |= self.loose.add(&fields);
            }
            "JoinExpr" if join_aliases(tree).next().is_some() => {
                let mut whole = Fields::default();
                self.rows.values().for_each(|fields| _ = whole.add(fields));
                *more |= self.loose.add(&whole);
            }
            _ => {}
        }
        for (field, value) in tree.fields() {
            if !makes_relation(tree.kind(), field) {
                each(value, &mut |below| self.carry(below, more));
            }
        }
    }

    /// A result's alias can be meant in ORDER BY.
    fn carry_targets(&mut self, tree: &'a Tree, list: &str, more: &mut bool) {
        for target in tree.trees(list) {
            if target.kind() != "ResTarget" || target.text("name").is_empty() {
                continue;
            }
            let fields = target.tree("val").map(|value| self.mention(value));
            if let Some(fields) = fields.filter(|fields| !fields.is_empty()) {
                let entry = self.columns.entry(target.text("name")).or_default();
                *more |= entry.add(&fields);
            }
        }
    }
}

/// Is there anything in a statement that is not a query?
fn changes(tree: &Tree) -> bool {
    any_node(tree, &|part| {
        part.kind().ends_with("Stmt") && part.kind() != "SelectStmt"
    })
}

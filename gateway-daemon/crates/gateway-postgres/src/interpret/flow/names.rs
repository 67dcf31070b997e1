//! The names in a statement behind which something sensitive could be.
//!
//! Only two kinds of names are told apart: columns qualified by what is certainly a table and
//! nothing else, and all others. As soon as something sensitive is in a sub-query, a WITH query or
//! any other source that makes rows of its own, every name that could be one of its columns counts
//! as sensitive, whatever it is.
use super::server::tells_of_writes;
use super::{Fields, Output, Outputs};
use crate::interpret::builtin::{self, Meaning};
use crate::interpret::tree::{Tree, Value};
use crate::mask::catalogue::Catalogue;
use crate::mask::outlook::{FieldId, Named, NamedColumn, Outlook, UNKNOWN, UNPROVEN};
use pg_query::protobuf::{SetOperation, SubLinkType};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// Aliases of a result list are followed so far; beyond that everything is sensitive.
const ROUNDS_MAX: usize = 32;

/// Functions that show what other sessions ask, or what is in statistics.
const TELLING_FUNCTIONS: &[&str] = &[
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_mcv_list_items",
    "pg_stat_statements",
    "pg_cursor",
    "pg_prepared_statement",
];

/// Functions of extensions that only compute, whatever schema they are in.
const EXTENSION_FUNCTIONS: &[&str] = &[
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v3",
    "uuid_generate_v4",
    "uuid_generate_v5",
    "uuid_nil",
    "gen_random_bytes",
    "gen_salt",
    "crypt",
    "digest",
    "hmac",
    "similarity",
    "word_similarity",
    "unaccent",
    "levenshtein",
    "soundex",
    "metaphone",
];

/// Columns that every table has.
const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

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
    /// The names of sources that are no tables: of WITH queries, sub-queries, functions, joins.
    derived: FxHashSet<&'a str>,
    /// The names of WITH queries.
    with: FxHashSet<&'a str>,
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
    /// Tables that statements before have made, in the same text.
    made: Vec<&'a str>,
    catalogue: Option<Arc<Catalogue>>,
}

impl<'a> Names<'a> {
    /// Collects them.
    pub(super) fn of(tree: &'a Tree, outlook: &Outlook, made: &[&'a str]) -> Names<'a> {
        let mut names = Names {
            ranges: Vec::new(),
            columns: FxHashMap::default(),
            rows: FxHashMap::default(),
            loose: Fields::default(),
            all: Fields::default(),
            derived: FxHashSet::default(),
            with: FxHashSet::default(),
            changes: changes(tree),
            refreshes: tree.kind() == "RefreshMatViewStmt",
            unproven: false,
            doubtful: outlook.catalogue.is_none(),
            touching_view: false,
            made: made.to_vec(),
            catalogue: outlook.catalogue.clone(),
        };
        if outlook.catalogue.is_none() {
            names.all = Fields::one(UNKNOWN);
        }
        names.collect_sources(tree);
        names.collect(tree, outlook);
        names.enter_excluded(tree);
        names.unproven |= names.calls_by_name(tree);
        names.follow(tree);
        names
    }

    /// Could something sensitive be in what the statement names?
    pub(super) fn touches(&self) -> bool {
        self.doubtful
            || self.unproven
            || self.touching_view
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

    /// Is it a table that a statement before has made, in the same text?
    pub(super) fn is_made(&self, range: &Tree) -> bool {
        self.made.contains(&range.text("relname"))
    }

    /// Is there a table in it that is not known?
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// What is sensitive in the columns of these names of a relation; without names, in its primary
    /// key.
    pub(super) fn referenced(&self, range: &Tree, columns: &[&str]) -> Fields {
        let mut fields = Fields::default();
        let visible = visible_name(range);
        for found in self.ranges.iter().filter(|found| found.visible == visible) {
            let meant = found.named.columns.iter().filter(|column| match columns {
                [] => column.primary,
                names => names.contains(&&*column.name),
            });
            for marked in meant.filter_map(|column| column.marked) {
                fields.add(&Fields::one(marked.field));
            }
        }
        fields
    }

    /// Are all of its sources tables? Then what a name stands for is a column.
    pub(super) fn is_flat(&self) -> bool {
        self.derived.is_empty()
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
        let visible = visible_name(range);
        let mut ranges = self.ranges.iter().filter(|found| found.visible == visible);
        let (Some(found), None) = (ranges.next(), ranges.next()) else {
            return None;
        };
        let mut columns = found.named.columns.iter();
        let marked = columns.find(|named| *named.name == *column)?.marked?;
        // What is stored in a view's column lands in the column of a table that may not be
        // sensitive.
        let is_own = marked.itself && found.named.candidates == 1 && !found.named.is_view;
        is_own.then_some(marked.field)
    }

    /// The names of sources that are no tables.
    fn collect_sources(&mut self, tree: &'a Tree) {
        match tree.kind() {
            "CommonTableExpr" => {
                self.with.insert(tree.text("ctename"));
                self.derived.insert(tree.text("ctename"));
            }
            "RangeSubselect" | "RangeFunction" | "RangeTableFunc" | "JsonTable" => {
                let alias = tree.tree("alias").map(|alias| alias.text("aliasname"));
                self.derived.insert(alias.unwrap_or_default());
            }
            "JoinExpr" => {
                for alias in join_aliases(tree) {
                    self.derived.insert(alias.text("aliasname"));
                }
            }
            // Of RETURNING: rows as they were, and as they are.
            "ReturningOption" => {
                self.derived.insert(tree.text("value"));
            }
            _ => {}
        }
        for (_, value) in tree.fields() {
            each(value, &mut |below| self.collect_sources(below));
        }
    }

    fn collect(&mut self, tree: &'a Tree, outlook: &Outlook) {
        match tree.kind() {
            "RangeVar" => self.range(tree, outlook),
            "FuncCall" if !is_known_call(&tree.strings("funcname")) => self.unproven = true,
            "AExpr" if !is_known_operator(tree) => self.unproven = true,
            _ => {}
        }
        for (field, value) in tree.fields() {
            if !makes_relation(tree.kind(), field) {
                each(value, &mut |below| self.collect(below, outlook));
            }
        }
    }

    fn range(&mut self, tree: &'a Tree, outlook: &Outlook) {
        let (schema, name) = (tree.text("schemaname"), tree.text("relname"));
        let is_with = schema.is_empty() && self.with.contains(name);
        let visible = visible_name(tree);
        let named = outlook.named(schema, name);
        // What a trigger or a rule does, nobody sees here.
        self.unproven |= named.runs_code && self.changes || named.doing.calls;
        self.touching_view |= named.doing.touches;
        if self.refreshes {
            self.unproven |= named.refreshing.calls;
            self.touching_view |= named.refreshing.touches;
        }
        let is_own = matches!(schema, "pg_catalog" | "information_schema")
            || schema.is_empty() && builtin::is_relation(name);
        let is_known = named.known || is_with || is_own || self.is_made(tree);
        if !is_known {
            // It was made since the catalogue was read, or it does not exist. What the server says
            // of its columns decides; about the rest nothing is known.
            self.doubtful = true;
        }
        let renamed = tree
            .tree("alias")
            .is_some_and(|alias| !alias.strings("colnames").is_empty());
        let mut whole = Fields::default();
        for marked in named.columns.iter().filter_map(|column| column.marked) {
            whole.add(&Fields::one(marked.field));
        }
        if !is_known {
            // The pieces of long values are in tables that no catalogue of columns lists.
            let is_hidden = schema.starts_with("pg_toast") || name.starts_with("pg_toast");
            let field = if is_hidden { UNPROVEN } else { UNKNOWN };
            whole.add(&Fields::one(field));
            self.loose.add(&whole);
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
        let mut targets = Vec::new();
        inserts(tree, &mut targets);
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

    /// Is there a call that looks like a column: `row.name`?
    fn calls_by_name(&self, tree: &'a Tree) -> bool {
        any_node(tree, &|part| match part.kind() {
            "ColumnRef" => match part.strings("fields").as_slice() {
                [.., row, name] => self.is_call(row, name),
                _ => false,
            },
            "AIndirection" => part
                .strings("indirection")
                .iter()
                .any(|name| self.is_row_function(name)),
            _ => false,
        })
    }

    fn is_call(&self, row: &str, name: &str) -> bool {
        self.is_row_function(name) && !self.is_column(row, name)
    }

    /// Is there a type of the database's own with this name?
    pub(super) fn is_type(&self, name: &str) -> bool {
        let catalogue = self.catalogue.as_ref();
        catalogue.is_none_or(|catalogue| catalogue.type_names.contains(name))
    }

    fn is_row_function(&self, name: &str) -> bool {
        let catalogue = self.catalogue.as_ref();
        catalogue.is_some_and(|catalogue| catalogue.row_functions.contains(name))
    }

    /// Carries what is sensitive through aliases, until nothing more is found.
    fn follow(&mut self, tree: &'a Tree) {
        self.enter_columns(tree);
        for _ in 0..ROUNDS_MAX {
            let mut more = false;
            self.carry(tree, &mut more);
            if !more {
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
                    fields.add(&Fields::one(marked.field));
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

    /// The columns of what a statement returns.
    pub(super) fn outputs(&self, tree: &'a Tree) -> Outputs {
        match tree.kind() {
            "SelectStmt" => self.select_outputs(tree),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                match tree.tree("returning_clause") {
                    Some(clause) => self.targets(clause, "exprs"),
                    // A rule can return rows of its own.
                    None if self.unproven => Outputs::unproven(),
                    None => Outputs::default(),
                }
            }
            "CopyStmt" | "DeclareCursorStmt" => tree
                .tree("query")
                .map_or(Outputs::default(), |query| self.outputs(query)),
            // What the cursor or the prepared statement returns is known elsewhere.
            "FetchStmt" | "ExecuteStmt" | "CallStmt" => Outputs::unproven(),
            // It shows the statement's own words, and what the planner has computed of them:
            // functions that are called immutable have run by then.
            "ExplainStmt" if self.unproven => Outputs::unproven(),
            _ => Outputs::default(),
        }
    }

    fn select_outputs(&self, tree: &'a Tree) -> Outputs {
        if is_set_operation(tree) {
            let arms = ["larg", "rarg"].map(|arm| {
                tree.tree(arm)
                    .map_or(Outputs::default(), |arm| self.outputs(arm))
            });
            return united(arms);
        }
        if !tree.list("values_lists").is_empty() {
            let mut fields = Fields::default();
            each(tree.get("values_lists"), &mut |value| {
                fields.add(&self.mention(value));
            });
            return Outputs::All(fields);
        }
        self.targets(tree, "target_list")
    }

    fn targets(&self, tree: &'a Tree, list: &str) -> Outputs {
        let mut outputs = Vec::new();
        for target in tree.trees(list) {
            let Some(value) = target.tree("val") else {
                return Outputs::All(self.every_column());
            };
            let mut fields = self.mention(value);
            if self.doubtful {
                fields.add(&Fields::one(UNPROVEN));
            }
            outputs.push(Output {
                star: is_star(value),
                plain: is_plain(value) && self.is_flat(),
                fields,
            });
        }
        Outputs::Each(outputs)
    }

    /// What could be in the value of an expression.
    pub(super) fn mention(&self, tree: &'a Tree) -> Fields {
        let mut fields = Fields::default();
        self.mention_into(tree, &mut fields);
        fields
    }

    /// The same for all that is below a node.
    pub(super) fn mention_below(&self, tree: &'a Tree) -> Fields {
        let mut fields = Fields::default();
        for (_, value) in tree.fields() {
            each(value, &mut |below| self.mention_into(below, &mut fields));
        }
        fields
    }

    fn mention_into(&self, tree: &'a Tree, fields: &mut Fields) {
        match tree.kind() {
            "ColumnRef" => {
                fields.add(&self.reference(tree));
                return;
            }
            "FuncCall" => {
                let parts = tree.strings("funcname");
                // `email(u)` is `u.email`.
                if let Some(name) = parts.last() {
                    fields.add(&self.columns.get(name).cloned().unwrap_or_default());
                }
                if !is_known_call(&parts) {
                    fields.add(&Fields::one(UNPROVEN));
                }
            }
            "AExpr" if !is_known_operator(tree) => _ = fields.add(&Fields::one(UNPROVEN)),
            "AIndirection" => {
                for part in tree.trees("indirection") {
                    if part.kind() == "String" {
                        fields.add(&self.column(part.text("sval")));
                        if self.is_row_function(part.text("sval")) {
                            fields.add(&Fields::one(UNPROVEN));
                        }
                    }
                }
            }
            "JoinExpr" => {
                for column in tree.strings("using_clause") {
                    fields.add(&self.column(column));
                }
                if tree.flag("is_natural") {
                    fields.add(&self.every_column());
                }
            }
            "SubLink" if is_exists(tree) => {
                if let Some(query) = tree.tree("subselect").filter(|query| is_simple(query)) {
                    self.mention_rows(query, fields);
                    return;
                }
            }
            _ => {}
        }
        for (field, value) in tree.fields() {
            if !makes_relation(tree.kind(), field) {
                each(value, &mut |below| self.mention_into(below, fields));
            }
        }
    }

    /// What decides which rows a query has, whatever it returns of them.
    fn mention_rows(&self, query: &'a Tree, fields: &mut Fields) {
        for (field, value) in query.fields() {
            if field != "target_list" {
                each(value, &mut |below| self.mention_into(below, fields));
            }
        }
    }

    /// What could be behind `a`, `a.b`, `a.*` or `*`.
    fn reference(&self, tree: &'a Tree) -> Fields {
        let mut parts = Vec::new();
        let mut star = false;
        for part in tree.trees("fields") {
            match part.kind() {
                "String" => parts.push(part.text("sval")),
                _ => star = true,
            }
        }
        let mut found = self.all.clone();
        let (row, name) = match (parts.as_slice(), star) {
            ([], _) => {
                found.add(&self.loose);
                self.rows.values().for_each(|fields| _ = found.add(fields));
                return found;
            }
            ([.., row], true) => (*row, None),
            ([name], false) => {
                for map in [&self.columns, &self.rows] {
                    found.add(&map.get(name).cloned().unwrap_or_default());
                }
                found.add(&self.loose);
                return found;
            }
            ([.., row, name], false) => (*row, Some(*name)),
        };
        if !self.is_table(row) {
            found.add(&self.loose);
        }
        let whole = self.rows.get(row).cloned().unwrap_or_default();
        match name {
            None => _ = found.add(&whole),
            Some(name) => {
                if let Some(fields) = self.columns.get(name)
                    && !self.is_clean(row, name)
                {
                    found.add(fields);
                }
                // `u.f` is `f(u)` where there is no such column.
                if !self.is_column(row, name) {
                    found.add(&whole);
                }
                if self.is_call(row, name) {
                    found.add(&Fields::one(UNPROVEN));
                }
            }
        }
        found
    }

    /// Is the name that of tables, and of nothing else?
    fn is_table(&self, row: &str) -> bool {
        let mut ranges = self
            .ranges
            .iter()
            .filter(|range| range.visible == row)
            .peekable();
        ranges.peek().is_some()
            && ranges.all(|range| range.named.known && !range.is_with && !range.renamed)
            && !self.derived.contains(row)
            && !matches!(row, "old" | "new")
    }

    /// Is `row.name` certainly a column of a known table, in which it is not sensitive?
    fn is_clean(&self, row: &str, name: &str) -> bool {
        let mut same = self
            .ranges
            .iter()
            .filter(|range| range.visible == row)
            .flat_map(|range| &range.named.columns)
            .filter(|column| *column.name == *name);
        self.is_table(row) && same.all(|column| column.marked.is_none())
    }

    /// Is `row.name` certainly a column, and no call?
    fn is_column(&self, row: &str, name: &str) -> bool {
        let mut ranges = self.ranges.iter().filter(|range| range.visible == row);
        SYSTEM_COLUMNS.contains(&name)
            || self.is_table(row)
                && ranges.all(|range| {
                    let mut columns = range.named.columns.iter();
                    columns.any(|column| *column.name == *name)
                })
    }
}

/// The columns of both arms of a UNION and its kin, one on top of the other.
fn united([left, right]: [Outputs; 2]) -> Outputs {
    match (left, right) {
        (Outputs::Each(left), Outputs::Each(right))
            if left.len() == right.len()
                && left.iter().chain(&right).all(|output| !output.star) =>
        {
            let both = left.into_iter().zip(right);
            Outputs::Each(
                both.map(|(left, right)| Output {
                    star: false,
                    plain: false,
                    fields: left.fields.and(&right.fields),
                })
                .collect(),
            )
        }
        (left, right) => Outputs::All(left.any().and(&right.any())),
    }
}

/// Visits the nodes that a field holds.
pub(super) fn each<'a>(value: &'a Value, work: &mut impl FnMut(&'a Tree)) {
    match value {
        Value::Tree(tree) => work(tree),
        Value::List(values) => {
            for value in values {
                each(value, work);
            }
        }
        Value::Nothing | Value::Flag(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

/// Is there anything in a statement that is not a query?
fn changes(tree: &Tree) -> bool {
    any_node(tree, &|part| {
        part.kind().ends_with("Stmt") && part.kind() != "SelectStmt"
    })
}

/// Is a node like that in the tree, its root included?
pub(super) fn any_node<'a>(tree: &'a Tree, is_one: &dyn Fn(&'a Tree) -> bool) -> bool {
    let mut found = is_one(tree);
    for (_, value) in tree.fields() {
        each(value, &mut |below| found = found || any_node(below, is_one));
    }
    found
}

/// The relation that a statement makes.
pub(super) fn made_relation(tree: &Tree) -> Option<&Tree> {
    match tree.kind() {
        "CreateStmt" => tree.tree("relation"),
        "CreateTableAsStmt" => tree.tree("into")?.tree("rel"),
        "SelectStmt" => tree.tree("into_clause")?.tree("rel"),
        "ViewStmt" => tree.tree("view"),
        _ => None,
    }
}

/// Is it UNION, INTERSECT or EXCEPT?
pub(super) fn is_set_operation(query: &Tree) -> bool {
    !matches!(
        query.choice::<SetOperation>("op"),
        None | Some(SetOperation::Undefined | SetOperation::SetopNone)
    )
}

/// Does the field hold the name of a relation that the statement makes, and not one that it reads?
fn makes_relation(kind: &str, field: &str) -> bool {
    matches!(
        (kind, field),
        ("IntoClause", "rel")
            | ("CreateStmt", "relation")
            | ("ViewStmt", "view")
            | ("CreateSeqStmt", "sequence")
            | ("CompositeTypeStmt", "typevar")
            | ("LockingClause", "locked_rels")
    )
}

/// The tables that a statement inserts into.
fn inserts<'a>(tree: &'a Tree, targets: &mut Vec<&'a Tree>) {
    if tree.kind() == "InsertStmt" {
        targets.extend(tree.tree("relation"));
    }
    for (_, value) in tree.fields() {
        each(value, &mut |below| inserts(below, targets));
    }
}

fn is_exists(link: &Tree) -> bool {
    link.choice::<SubLinkType>("sub_link_type") == Some(SubLinkType::ExistsSublink)
}

/// Is it a SELECT whose rows do not depend on what it returns of them, and which nothing in its list
/// can make fail? What is only looked for may still be computed where rows are counted off.
fn is_simple(query: &Tree) -> bool {
    let clauses = [
        "distinct_clause",
        "values_lists",
        "group_clause",
        "window_clause",
    ];
    let bounds = ["limit_offset", "limit_count", "having_clause"];
    let is_plain = |target: &Tree| {
        let value = target.tree("val");
        value.is_some_and(|value| matches!(value.kind(), "ColumnRef" | "AConst"))
    };
    query.kind() == "SelectStmt"
        && !is_set_operation(query)
        && clauses.iter().all(|clause| query.list(clause).is_empty())
        && bounds.iter().all(|bound| query.tree(bound).is_none())
        && query.trees("target_list").all(is_plain)
}

/// The names that a join goes by.
fn join_aliases(join: &Tree) -> impl Iterator<Item = &Tree> {
    ["alias", "join_using_alias"]
        .into_iter()
        .filter_map(|field| join.tree(field))
}

/// Every text of a `String` node, and every text that names something.
fn strings_below<'a>(tree: &'a Tree, words: &mut Vec<&'a str>) {
    for (_, value) in tree.fields() {
        if let Value::Text(text) = value {
            words.push(text);
        }
        each(value, &mut |below| strings_below(below, words));
    }
}

pub(super) fn visible_name(range: &Tree) -> &str {
    range
        .tree("alias")
        .map_or(range.text("relname"), |alias| alias.text("aliasname"))
}

/// `*`, `u.*`, or `(u).*`.
pub(super) fn is_star(value: &Tree) -> bool {
    let list = match value.kind() {
        "ColumnRef" => "fields",
        "AIndirection" => "indirection",
        _ => return false,
    };
    value.trees(list).any(|part| part.kind() == "AStar")
}

fn is_plain(value: &Tree) -> bool {
    value.kind() == "ColumnRef" && !is_star(value)
}

/// Is it a call of a function of PostgreSQL's own that only computes?
pub(super) fn is_proven_call(parts: &[&str]) -> bool {
    match parts {
        [name] | ["pg_catalog", name] => builtin::function(name) == Some(Meaning::Pure),
        [.., "information_schema", name] => builtin::is_information_function(name),
        _ => false,
    }
}

/// Is it a function that returns nothing of a table?
fn is_known_call(parts: &[&str]) -> bool {
    let last = parts.last().copied().unwrap_or_default();
    let is_own = match parts {
        [name] | ["pg_catalog", name] => matches!(
            builtin::function(name),
            Some(Meaning::Pure | Meaning::Sequence | Meaning::SetConfig)
        ),
        _ => is_proven_call(parts),
    };
    let is_lock = last.starts_with("pg_advisory_") || last.starts_with("pg_try_advisory_");
    (is_own || is_lock || EXTENSION_FUNCTIONS.contains(&last))
        && !TELLING_FUNCTIONS.contains(&last)
        && !tells_of_writes(last)
}

fn is_known_operator(expression: &Tree) -> bool {
    let parts = expression.strings("name");
    parts.is_empty() || parts.last().is_some_and(|name| builtin::is_operator(name))
}

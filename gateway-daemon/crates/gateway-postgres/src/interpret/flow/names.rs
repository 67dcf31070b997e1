//! The names in a statement behind which something sensitive could be.
use super::{Fields, Output, Outputs};
use crate::interpret::builtin::{self, Meaning};
use crate::interpret::tree::{Tree, Value};
use crate::mask::outlook::{Named, Outlook, UNKNOWN, UNPROVEN};
use pg_query::protobuf::SetOperation;
use rustc_hash::{FxHashMap, FxHashSet};

/// Names are followed through so many levels of aliases; beyond that everything is sensitive.
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
    /// Columns.
    columns: FxHashMap<&'a str, Fields>,
    /// What has rows: tables, sub-queries, WITH queries and their aliases.
    rows: FxHashMap<&'a str, Fields>,
    /// Names that certainly are columns.
    plain: FxHashSet<Box<str>>,
    /// What could be behind any name.
    all: Fields,
    /// The names of WITH queries.
    with: FxHashSet<&'a str>,
    /// The statement does more than read.
    changes: bool,
    /// A call of something that is not proven to be what it seems.
    unproven: bool,
    /// A table that is not known, or nothing is known.
    doubtful: bool,
}

impl<'a> Names<'a> {
    /// Collects them.
    pub(super) fn of(tree: &'a Tree, outlook: &Outlook) -> Names<'a> {
        let mut names = Names {
            ranges: Vec::new(),
            columns: FxHashMap::default(),
            rows: FxHashMap::default(),
            plain: FxHashSet::default(),
            all: Fields::default(),
            with: FxHashSet::default(),
            changes: changes(tree),
            unproven: false,
            doubtful: outlook.catalogue.is_none(),
        };
        if outlook.catalogue.is_none() {
            names.all = Fields::one(UNKNOWN);
        }
        with_names(tree, &mut names.with);
        names.collect(tree, outlook);
        names.follow(tree);
        names
    }

    /// Could something sensitive be in what the statement names?
    pub(super) fn touches(&self) -> bool {
        self.doubtful || self.unproven || !self.rows.is_empty() || !self.all.is_empty()
    }

    /// Does it call nothing but what is known?
    pub(super) fn is_proven(&self) -> bool {
        !self.unproven
    }

    /// What could be behind the name of a column.
    pub(super) fn column(&self, name: &str) -> Fields {
        self.columns
            .get(name)
            .cloned()
            .unwrap_or_default()
            .and(&self.all)
    }

    /// All columns that could be sensitive.
    pub(super) fn every_column(&self) -> Fields {
        let mut every = self.all.clone();
        let known = self.columns.values().chain(self.rows.values());
        known.for_each(|fields| _ = every.add(fields));
        every
    }

    /// What could be in a column of the table that a statement changes; the assigned value stays
    /// where it is sensitive.
    pub(super) fn is_sensitive_target(&self, range: &Tree, column: &str) -> bool {
        let visible = visible_name(range);
        let mut ranges = self.ranges.iter().filter(|found| found.visible == visible);
        let (Some(found), None) = (ranges.next(), ranges.next()) else {
            return false;
        };
        found.named.candidates == 1
            && found
                .named
                .columns
                .iter()
                .any(|(name, marked)| **name == *column && marked.is_some())
    }

    fn collect(&mut self, tree: &'a Tree, outlook: &Outlook) {
        match tree.kind() {
            "RangeVar" => self.range(tree, outlook),
            "FuncCall" => self.call(tree),
            "ResTarget" => {
                self.plain.insert(tree.text("name").into());
            }
            _ => {}
        }
        for (field, value) in tree.fields() {
            if !makes_relation(tree.kind(), field) {
                each(value, &mut |below| self.collect(below, outlook));
            }
        }
    }

    fn call(&mut self, tree: &'a Tree) {
        let parts = tree.strings("funcname");
        if !is_proven_call(&parts) {
            self.unproven = true;
        }
    }

    fn range(&mut self, tree: &'a Tree, outlook: &Outlook) {
        let (schema, name) = (tree.text("schemaname"), tree.text("relname"));
        let is_with = schema.is_empty() && self.with.contains(name);
        let visible = visible_name(tree);
        let named = outlook.named(schema, name);
        // What a trigger or a rule does, nobody sees here.
        self.unproven |= named.runs_code && self.changes;
        let is_own = matches!(schema, "pg_catalog" | "information_schema")
            || schema.is_empty() && (builtin::is_relation(name) || name.starts_with("pg_"));
        if !named.known && !is_with && !is_own {
            // It was made since the catalogue was read, or it does not exist. What the server says
            // of its columns decides; about the rest nothing is known.
            self.doubtful = true;
        }
        let alias: Vec<&str> = tree
            .tree("alias")
            .map(|alias| alias.strings("colnames"))
            .unwrap_or_default();
        let mut whole = Fields::default();
        for (index, (column, marked)) in named.columns.iter().enumerate() {
            self.plain.insert(column.clone());
            let Some(marked) = marked else { continue };
            let fields = Fields::one(marked.field);
            whole.add(&fields);
            match (alias.get(index), named.candidates) {
                (None, _) => {}
                (Some(renamed), 1) => {
                    self.columns.entry(renamed).or_default().add(&fields);
                }
                (Some(_), _) => _ = self.all.add(&fields),
            }
        }
        if !whole.is_empty() {
            for row in [visible, name, "old", "new", "excluded"] {
                self.rows.entry(row).or_default().add(&whole);
            }
        }
        self.ranges.push(Range {
            visible,
            named,
            renamed: !alias.is_empty(),
            is_with,
        });
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
        self.all.add(&Fields::one(UNPROVEN));
    }

    /// The sensitive columns of tables, by their own names, as far as the statement has the names.
    fn enter_columns(&mut self, tree: &'a Tree) {
        let mut sensitive: FxHashMap<Box<str>, Fields> = FxHashMap::default();
        for range in &self.ranges {
            for (name, marked) in &range.named.columns {
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
            "RangeSubselect" => {
                if let Some(query) = tree.tree("subquery") {
                    let outputs = self.outputs(query);
                    self.carry_alias(tree.tree("alias"), &outputs, more);
                }
            }
            "CommonTableExpr" => self.carry_with(tree, more),
            "RangeVar" => {
                let name = tree.text("relname");
                if let (true, Some(fields)) = (
                    tree.text("schemaname").is_empty(),
                    self.rows.get(name).cloned(),
                ) && let Some(alias) = tree.tree("alias")
                {
                    self.enter_row(alias.text("aliasname"), &fields, more);
                    if self.with.contains(name) && !alias.strings("colnames").is_empty() {
                        *more |= self.all.add(&fields);
                    }
                }
            }
            "RangeFunction" | "RangeTableFunc" | "JsonTable" => {
                // The names of what they return are not known here.
                let fields = self.mention_below(tree);
                if !fields.is_empty() {
                    *more |= self.all.add(&fields);
                }
            }
            "JoinExpr" => {
                let aliases = [tree.tree("alias"), tree.tree("join_using_alias")];
                for alias in aliases.into_iter().flatten() {
                    let mut whole = Fields::default();
                    self.rows.values().for_each(|fields| _ = whole.add(fields));
                    if !whole.is_empty() {
                        self.enter_row(alias.text("aliasname"), &whole, more);
                        if !alias.strings("colnames").is_empty() {
                            *more |= self.all.add(&whole);
                        }
                    }
                }
            }
            _ => {}
        }
        for (field, value) in tree.fields() {
            if !makes_relation(tree.kind(), field) {
                each(value, &mut |below| self.carry(below, more));
            }
        }
    }

    fn enter_row(&mut self, name: &'a str, fields: &Fields, more: &mut bool) {
        if !fields.is_empty() {
            *more |= self.rows.entry(name).or_default().add(fields);
        }
    }

    fn enter_column(&mut self, name: &'a str, fields: &Fields, more: &mut bool) {
        if !fields.is_empty() {
            *more |= self.columns.entry(name).or_default().add(fields);
        }
    }

    fn carry_targets(&mut self, tree: &'a Tree, list: &str, more: &mut bool) {
        for target in tree
            .trees(list)
            .filter(|target| target.kind() == "ResTarget")
        {
            let Some(value) = target.tree("val") else {
                continue;
            };
            let fields = self.mention(value);
            if fields.is_empty() || is_star(value) {
                continue;
            }
            let name = target.text("name");
            if !name.is_empty() {
                self.enter_column(name, &fields, more);
                continue;
            }
            match derived_names(value) {
                Some(names) => {
                    for name in names {
                        self.enter_column(name, &fields, more);
                    }
                }
                None => *more |= self.all.add(&fields),
            }
        }
    }

    fn carry_alias(&mut self, alias: Option<&'a Tree>, outputs: &Outputs, more: &mut bool) {
        let Some(alias) = alias else { return };
        self.enter_row(alias.text("aliasname"), &outputs.any(), more);
        self.carry_columns(alias.strings("colnames"), outputs, more);
    }

    fn carry_columns(&mut self, columns: Vec<&'a str>, outputs: &Outputs, more: &mut bool) {
        for (index, column) in columns.into_iter().enumerate() {
            let fields = match outputs {
                Outputs::Each(each) if each.iter().all(|output| !output.star) => {
                    outputs.fields(index, each.len())
                }
                _ => outputs.any(),
            };
            self.enter_column(column, &fields, more);
        }
    }

    fn carry_with(&mut self, tree: &'a Tree, more: &mut bool) {
        let Some(query) = tree.tree("ctequery") else {
            return;
        };
        let outputs = self.outputs(query);
        self.enter_row(tree.text("ctename"), &outputs.any(), more);
        self.carry_columns(tree.strings("aliascolnames"), &outputs, more);
        // SEARCH and CYCLE make columns of others.
        if tree.tree("search_clause").is_some() || tree.tree("cycle_clause").is_some() {
            let any = outputs.any();
            if !any.is_empty() {
                *more |= self.all.add(&any);
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
                    None => Outputs::default(),
                }
            }
            "CopyStmt" => match tree.tree("query") {
                Some(query) => self.outputs(query),
                None => Outputs::default(),
            },
            "DeclareCursorStmt" => tree
                .tree("query")
                .map_or(Outputs::default(), |query| self.outputs(query)),
            // What the cursor or the prepared statement returns is known elsewhere.
            "FetchStmt" | "ExecuteStmt" | "CallStmt" => Outputs::unproven(),
            // EXPLAIN shows the statement's own words and no value of a table; SHOW, settings.
            _ => Outputs::default(),
        }
    }

    fn select_outputs(&self, tree: &'a Tree) -> Outputs {
        let is_set = !matches!(
            tree.choice::<SetOperation>("op"),
            None | Some(SetOperation::Undefined | SetOperation::SetopNone)
        );
        if is_set {
            let arms = ["larg", "rarg"].map(|arm| {
                tree.tree(arm)
                    .map_or(Outputs::default(), |arm| self.outputs(arm))
            });
            return united(arms);
        }
        if !tree.list("values_lists").is_empty() {
            let mut fields = Fields::default();
            each(tree.get("values_lists"), &mut |value| {
                _ = fields.add(&self.mention(value))
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
                plain: is_plain(value),
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
                    }
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
        match (parts.as_slice(), star) {
            ([], _) => self.rows.values().for_each(|fields| _ = found.add(fields)),
            ([.., row], true) => match self.rows.get(row) {
                Some(fields) => _ = found.add(fields),
                None if self.is_table(row) => {}
                None => self.rows.values().for_each(|fields| _ = found.add(fields)),
            },
            ([name], false) => {
                for map in [&self.columns, &self.rows] {
                    found.add(&map.get(name).cloned().unwrap_or_default());
                }
            }
            ([.., row, name], false) => {
                if let Some(fields) = self.columns.get(name)
                    && !self.is_clean(row, name)
                {
                    found.add(fields);
                }
                // `u.f` is `f(u)` where there is no such column.
                if let Some(fields) = self.rows.get(row)
                    && !self.is_column(row, name)
                {
                    found.add(fields);
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
        ranges.peek().is_some() && ranges.all(|range| range.named.known && !range.is_with)
    }

    /// Is `row.name` certainly a column of a known table, in which it is not sensitive?
    fn is_clean(&self, row: &str, name: &str) -> bool {
        self.is_table(row)
            && self
                .ranges
                .iter()
                .filter(|range| range.visible == row)
                .all(|range| {
                    let mut same = range
                        .named
                        .columns
                        .iter()
                        .filter(|(column, _)| **column == *name);
                    !range.renamed && same.all(|(_, marked)| marked.is_none())
                })
            && !matches!(row, "old" | "new" | "excluded")
    }

    fn is_column(&self, row: &str, name: &str) -> bool {
        if SYSTEM_COLUMNS.contains(&name) {
            return true;
        }
        if self.is_table(row) {
            return self
                .ranges
                .iter()
                .filter(|range| range.visible == row)
                .any(|range| {
                    range.renamed
                        || range
                            .named
                            .columns
                            .iter()
                            .any(|(column, _)| **column == *name)
                });
        }
        self.plain.contains(name) || self.columns.contains_key(name)
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

/// Is there anything in a statement that is not a query?
fn changes(tree: &Tree) -> bool {
    let mut found = tree.kind().ends_with("Stmt") && tree.kind() != "SelectStmt";
    for (_, value) in tree.fields() {
        each(value, &mut |below| found = found || changes(below));
    }
    found
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

fn with_names<'a>(tree: &'a Tree, names: &mut FxHashSet<&'a str>) {
    if tree.kind() == "CommonTableExpr" {
        names.insert(tree.text("ctename"));
    }
    for (_, value) in tree.fields() {
        each(value, &mut |below| with_names(below, names));
    }
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

pub(super) fn is_star(value: &Tree) -> bool {
    value.kind() == "ColumnRef" && value.trees("fields").any(|part| part.kind() == "AStar")
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

/// Is it a function of PostgreSQL's own that returns nothing of a table?
fn is_known_call(parts: &[&str]) -> bool {
    let telling = parts
        .last()
        .is_some_and(|name| TELLING_FUNCTIONS.contains(name));
    let is_own = match parts {
        [name] | ["pg_catalog", name] => matches!(
            builtin::function(name),
            Some(Meaning::Pure | Meaning::Sequence | Meaning::SetConfig)
        ),
        _ => is_proven_call(parts),
    };
    is_own && !telling
}

fn is_known_operator(expression: &Tree) -> bool {
    let parts = expression.strings("name");
    parts.is_empty() || parts.last().is_some_and(|name| builtin::is_operator(name))
}

/// The names that a column of a sub-query without an alias can have (`FigureColname`). `None` when
/// that is not known.
fn derived_names(value: &Tree) -> Option<Vec<&str>> {
    const UNNAMED: &str = "?column?";
    Some(match value.kind() {
        "ColumnRef" => {
            let last = value
                .trees("fields")
                .filter(|part| part.kind() == "String")
                .last()?;
            vec![last.text("sval")]
        }
        "FuncCall" => vec![value.strings("funcname").last().copied()?],
        "TypeCast" => {
            let mut names = value.tree("arg").and_then(derived_names)?;
            let of_type = value.tree("type_name")?;
            names.extend(of_type.strings("names").last());
            names
        }
        "CollateClause" => derived_names(value.tree("arg")?)?,
        "AIndirection" => {
            let mut names = derived_names(value.tree("arg")?)?;
            let parts = value
                .trees("indirection")
                .filter(|part| part.kind() == "String");
            names.extend(parts.map(|part| part.text("sval")));
            names
        }
        "CaseExpr" => {
            let mut names = vec!["case", UNNAMED];
            if let Some(default) = value.tree("defresult") {
                names.extend(derived_names(default)?);
            }
            names
        }
        "AArrayExpr" => vec!["array"],
        "CoalesceExpr" => vec!["coalesce"],
        "MinMaxExpr" => vec!["greatest", "least"],
        "RowExpr" => vec!["row"],
        "SubLink" => {
            let mut names = vec!["exists", "array", UNNAMED];
            let query = value.tree("subselect")?;
            let first = query.trees("target_list").next()?;
            if !first.text("name").is_empty() {
                names.push(first.text("name"));
            } else {
                names.extend(derived_names(first.tree("val")?)?);
            }
            names
        }
        "AExpr" => vec![UNNAMED, "nullif"],
        "AConst" | "ParamRef" | "BoolExpr" | "NullTest" | "BooleanTest" => vec![UNNAMED, "bool"],
        _ => return None,
    })
}

//! What a statement does with sensitive fields, besides returning them.
//!
//! It asks, when its answer depends on a value that it does not return, or returns covered: in
//! WHERE, in ORDER BY, in what may fail. It takes, when it stores or sends a value elsewhere, or
//! brings code of its own that could.
mod define;
mod naming;
mod place;

pub(super) use define::regroups;
use define::{is_empty_database, is_known_to_bring_no_code, made_type, moves_data, renames_data};

use super::Fields;
use super::names::Names;
use super::nodes::{each, every_node, into_clause, is_set_operation};
use super::safe::must_not_be_a_type;
use super::server::{changes_server, measures_writes};
use super::text::Text;
use crate::interpret::tree::{Tree, Value};
use crate::mask::outlook::{FieldId, Outlook, UNPROVEN};
use gateway_core::mask::UseKind;
use pg_query::protobuf::{CmdType, ObjectType, SetOperation};

/// Collects the uses of one statement.
pub(super) struct Uses<'n, 'a> {
    names: &'n Names<'a>,
    /// The text that the statement is from.
    text: &'n Text<'a>,
    outlook: &'n Outlook,
    pub(super) found: Vec<(UseKind, FieldId)>,
}

impl<'n, 'a> Uses<'n, 'a> {
    pub(super) fn new(names: &'n Names<'a>, text: &'n Text<'a>) -> Uses<'n, 'a> {
        Uses {
            names,
            text,
            outlook: text.outlook(),
            found: Vec::new(),
        }
    }

    fn add(&mut self, kind: UseKind, fields: &Fields) {
        for field in fields.iter() {
            let kind = match (kind, field) {
                // Nobody knows what it is that is taken.
                (UseKind::Takes | UseKind::Names, UNPROVEN) => UseKind::Unproven,
                (kind, _) => kind,
            };
            if self.outlook.is_covered(field) && !self.found.contains(&(kind, field)) {
                self.found.push((kind, field));
            }
        }
    }

    /// Code of the client's own could do anything with any field.
    fn code(&mut self) {
        if self.outlook.covers && !self.found.contains(&(UseKind::Unproven, UNPROVEN)) {
            self.found.push((UseKind::Unproven, UNPROVEN));
        }
    }

    pub(super) fn statement(&mut self, tree: &'a Tree) {
        self.hand_over(tree);
        every_node(tree, &mut |part| self.choose_rows(part));
        if made_type(tree).is_some_and(must_not_be_a_type) || changes_server(tree, self.outlook) {
            self.code();
        }
        match tree.kind() {
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                self.query(tree);
            }
            "CopyStmt" => self.copy(tree),
            "CreateTableAsStmt" => {
                let Some(query) = tree.tree("query") else {
                    return;
                };
                self.query(query);
                if tree.choice::<ObjectType>("objtype") == Some(ObjectType::ObjectMatview) {
                    return self.names_of_view(query, None);
                }
                let outputs = self.outputs(query);
                self.add(UseKind::Takes, &outputs);
            }
            "CreateSchemaStmt" => {
                for element in tree.trees("schema_elts") {
                    self.statement(element);
                }
            }
            "CreateStmt" => {
                if tree.tree("partbound").is_some() {
                    // Rows of the default partition that belong into it keep it from being made.
                    let every = self.names.every_column();
                    self.add(UseKind::Asks, &every);
                }
                self.foreign_keys(tree);
                self.copies_of_code(tree);
                self.other(tree);
            }
            "CreatedbStmt" => {
                // A copy has the tables, and nobody knows what they were called before.
                let template = tree
                    .trees("options")
                    .find(|option| option.text("defname") == "template");
                if template.is_some_and(|option| !is_empty_database(option)) {
                    self.code();
                }
            }
            // It compares each row with the one before, and fails where two of them are the same.
            "RefreshMatViewStmt" if tree.flag("concurrent") && self.names.has_places() => {
                let every = self.names.every_column();
                self.add(UseKind::Asks, &every);
            }
            // What it holds by then is not known, and nothing would follow it.
            "RefreshMatViewStmt" if self.names.is_doubtful() => self.code(),
            "RenameStmt" if !renames_data(tree) => self.code(),
            "AlterObjectSchemaStmt" if !moves_data(tree) => self.code(),
            // What would be seen under another name by then was never seen under this one.
            "RenameStmt" | "AlterObjectSchemaStmt" if self.outlook.catalogue.is_none() => {
                self.code();
            }
            "RenameStmt" => {
                self.names_of_rename(tree);
                self.other(tree);
            }
            "AlterObjectSchemaStmt" => {
                self.names_of_move(tree);
                self.other(tree);
            }
            "ViewStmt" => {
                let Some(query) = tree.tree("query") else {
                    return self.code();
                };
                self.statement(query);
                let replaced = tree.tree("view").filter(|_| tree.flag("replace"));
                self.names_of_view(query, replaced);
            }
            "ExplainStmt" | "DeclareCursorStmt" | "PrepareStmt" => {
                if tree.kind() == "ExplainStmt" && measures_writes(tree) {
                    let every = self.names.every_column();
                    self.add(UseKind::Asks, &every);
                }
                if let Some(query) = tree.tree("query") {
                    self.statement(query);
                }
            }
            // Which values are the same, or how common they are, then shows.
            "IndexStmt" | "CreateStatsStmt" => {
                if tree.kind() == "CreateStatsStmt" || !self.is_about_made(tree) {
                    self.ask_by_names(tree);
                }
                self.ask(tree);
                let kept = self.names.mention(tree);
                self.keep_no_call(&kept);
            }
            "AlterTableStmt" => self.alter_table(tree),
            // In which order the rows lie then shows. Without a table it is about all that were ever
            // clustered.
            "ClusterStmt" => {
                let every = self.names.every_column();
                self.add(UseKind::Asks, &every);
                if tree.tree("relation").is_none() {
                    self.add(UseKind::Asks, &Fields::one(UNPROVEN));
                }
            }
            kind if is_known_to_bring_no_code(kind) => self.other(tree),
            _ => self.code(),
        }
    }

    /// Rows that are taken by whether somebody has locked them, or by where they lie, wherever in a
    /// statement.
    fn choose_rows(&mut self, part: &'a Tree) {
        match part.kind() {
            "LockingClause" => {
                let asked = self.names.locking();
                self.add(UseKind::Asks, &asked);
            }
            "RangeTableSample" => {
                if let Some(range) = part.tree("relation") {
                    let asked = self.names.sampling(range);
                    self.add(UseKind::Asks, &asked);
                }
                self.ask(part);
            }
            _ => {}
        }
    }

    /// What is not known to leave values where they are.
    fn other(&mut self, tree: &'a Tree) {
        let mentioned = self.names.mention(tree);
        self.add(UseKind::Takes, &mentioned);
    }

    /// Values that are given to what is not known only to compute.
    fn hand_over(&mut self, tree: &'a Tree) {
        if let Some(given) = self.names.given(tree) {
            self.add(UseKind::Takes, &given);
        }
        for (_, value) in tree.fields() {
            each(value, &mut |below| self.hand_over(below));
        }
    }

    /// What a query returns, with what `*` brings.
    fn outputs(&self, query: &'a Tree) -> Fields {
        self.names.outputs(query).any()
    }

    fn query(&mut self, tree: &'a Tree) {
        let with = match tree.kind() {
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                tree.tree("with_clause")
            }
            _ => None,
        };
        if let Some(with) = with {
            with.trees("ctes").for_each(|part| self.with_query(part));
        }
        match tree.kind() {
            "SelectStmt" => return self.select(tree),
            "InsertStmt" => self.insert(tree),
            "UpdateStmt" => self.update(tree),
            "DeleteStmt" => {
                self.deletion(tree);
                self.sources(tree.get("using_clause"));
                self.ask_value(tree.get("where_clause"));
            }
            "MergeStmt" => self.merge(tree),
            _ => return self.other(tree),
        }
        if let Some(clause) = tree.tree("returning_clause") {
            for target in clause.trees("exprs") {
                self.target(target);
            }
        }
    }

    fn with_query(&mut self, part: &'a Tree) {
        let Some(query) = part.tree("ctequery") else {
            return;
        };
        self.query(query);
        // Which rows come first, and where they repeat, depends on the columns.
        let ordered = ["search_clause", "cycle_clause"];
        if ordered.iter().any(|clause| part.tree(clause).is_some()) {
            let returned = self.outputs(query);
            self.add(UseKind::Asks, &returned);
        }
    }

    fn select(&mut self, tree: &'a Tree) {
        for target in tree.trees("target_list") {
            self.target(target);
        }
        self.sources(tree.get("from_clause"));
        for field in [
            "where_clause",
            "group_clause",
            "having_clause",
            "window_clause",
            "sort_clause",
            "limit_offset",
            "limit_count",
        ] {
            self.ask_value(tree.get(field));
        }
        self.ask_by_place(tree);
        self.ask_value(tree.get("distinct_clause"));
        let returned = self.outputs(tree);
        if !tree.list("distinct_clause").is_empty() {
            // Which rows are the same shows in how many there are.
            self.add(UseKind::Asks, &returned);
        }
        if into_clause(tree).is_some() {
            self.add(UseKind::Takes, &returned);
        }
        let is_union = tree.choice::<SetOperation>("op") == Some(SetOperation::SetopUnion);
        if is_set_operation(tree) && !(is_union && tree.flag("all")) {
            self.add(UseKind::Asks, &returned);
        }
        for arm in ["larg", "rarg"].iter().filter_map(|arm| tree.tree(arm)) {
            self.query(arm);
        }
        for values in tree.list("values_lists") {
            each(values, &mut |value| self.expression(value));
        }
    }

    /// One column of a result.
    fn target(&mut self, target: &'a Tree) {
        if let Some(value) = target.tree("val") {
            self.expression(value);
        }
    }

    /// An expression whose value is returned, and covered.
    fn expression(&mut self, value: &'a Tree) {
        self.returned(value);
        self.sub_queries(value);
    }

    fn returned(&mut self, value: &'a Tree) {
        if let Some(given) = self.names.given(value) {
            // What it returns is covered. What it is given counts.
            self.add(UseKind::Asks, &given);
            return;
        }
        match value.kind() {
            "ColumnRef" => {}
            // To take parts of a row does not fail; what the row is made of may.
            "AIndirection" if has_names_only(value) => {
                if let Some(row) = value.tree("arg") {
                    self.returned(row);
                }
            }
            _ if self.names.cannot_fail(value) => {}
            _ => self.ask(value),
        }
    }

    fn sub_queries(&mut self, tree: &'a Tree) {
        if tree.kind() == "SubLink" {
            if let Some(query) = tree.tree("subselect") {
                self.query(query);
            }
            return;
        }
        for (_, value) in tree.fields() {
            each(value, &mut |below| self.sub_queries(below));
        }
    }

    fn sources(&mut self, value: &'a Value) {
        each(value, &mut |item| self.source(item));
    }

    fn source(&mut self, item: &'a Tree) {
        match item.kind() {
            "RangeVar" => {}
            "RangeSubselect" => {
                if let Some(query) = item.tree("subquery") {
                    self.query(query);
                }
            }
            "JoinExpr" => {
                self.sources(item.get("larg"));
                self.sources(item.get("rarg"));
                self.ask_value(item.get("quals"));
                for column in item.strings("using_clause") {
                    let fields = self.names.column(column);
                    self.add(UseKind::Asks, &fields);
                }
                if item.flag("is_natural") {
                    let every = self.names.every_column();
                    self.add(UseKind::Asks, &every);
                }
            }
            "RangeFunction" => self.functions(item.get("functions")),
            // Which rows are taken is asked of every node.
            "RangeTableSample" => {}
            _ => self.ask(item),
        }
    }

    /// How many rows a function returns depends on what it is given. What an unknown one reads itself
    /// is covered, and no reason to refuse it; what an unknown one among its arguments reads is.
    fn functions(&mut self, value: &'a Value) {
        each(value, &mut |item| match item.kind() {
            // A call, and what its columns are.
            "List" => self.functions(item.get("items")),
            "FuncCall" => {
                let given = self.names.mention_below(item);
                self.add(UseKind::Asks, &given);
            }
            _ => self.ask(item),
        });
    }

    fn ask(&mut self, tree: &'a Tree) {
        let fields = self.names.mention(tree);
        self.add(UseKind::Asks, &fields);
    }

    fn ask_value(&mut self, value: &'a Value) {
        each(value, &mut |tree| self.ask(tree));
    }

    fn insert(&mut self, tree: &'a Tree) {
        for column in tree.trees("cols") {
            self.subscripts(column);
        }
        if let Some(source) = tree.tree("select_stmt") {
            self.query(source);
            let taken = self.outputs(source);
            self.add(UseKind::Takes, &taken);
        }
        let Some(conflict) = tree.tree("on_conflict_clause") else {
            return;
        };
        if let Some(range) = tree.tree("relation") {
            for assignment in conflict.trees("target_list") {
                self.assignment(range, assignment, true);
            }
        }
        self.ask_value(conflict.get("where_clause"));
        if let Some(infer) = conflict.tree("infer") {
            self.ask_by_names(infer);
            self.ask(infer);
            if !infer.text("conname").is_empty() {
                let every = self.names.every_column();
                self.add(UseKind::Asks, &every);
            }
        }
    }

    fn update(&mut self, tree: &'a Tree) {
        let alone = tree.list("from_clause").is_empty();
        if let Some(range) = tree.tree("relation") {
            for assignment in tree.trees("target_list") {
                self.assignment(range, assignment, alone);
            }
        }
        self.sources(tree.get("from_clause"));
        self.ask_value(tree.get("where_clause"));
    }

    /// What refers to a row says whether it may go, or goes with it.
    fn deletion(&mut self, tree: &'a Tree) {
        if let Some(range) = tree.tree("relation") {
            let asked = self.names.deleting(range);
            self.add(UseKind::Asks, &asked);
        }
    }

    /// A sensitive column may be stored in itself. Another of the same name, in this table or in
    /// another, anybody can make, and have it told what is stored there (CHECK, UNIQUE). `alone`: there
    /// is no other table that the value could be of.
    fn assignment(&mut self, range: &'a Tree, assignment: &'a Tree, alone: bool) {
        self.subscripts(assignment);
        let asked = self.names.changing(range, assignment.text("name"));
        self.add(UseKind::Asks, &asked);
        let Some(value) = assignment.tree("val") else {
            return;
        };
        let taken = self.names.mention(value);
        let target = self.names.target_field(range, assignment.text("name"));
        let mut own = target.map(Fields::one).unwrap_or_default();
        // Of what is computed of it, a unique key would tell whether that is there, and `partial`
        // and `hash` would show what it is of.
        let is_same = value.kind() == "ColumnRef"
            && value.strings("fields").last() == Some(&assignment.text("name"));
        let is_itself = alone && is_same && self.names.is_itself(value);
        let stays = !own.add(&taken) && (taken.is_empty() || is_itself);
        if stays {
            self.expression(value);
        } else {
            self.add(UseKind::Takes, &taken);
        }
    }

    /// `SET a[…] = `, `SET a.b = `: where in a column a value is stored is stored with it. Whether there
    /// is such a place depends on what is there already, and so does whether a domain takes the whole.
    fn subscripts(&mut self, target: &'a Tree) {
        if !target.list("indirection").is_empty() {
            let there = self.names.column(target.text("name"));
            self.add(UseKind::Asks, &there);
        }
        for part in target.trees("indirection") {
            let taken = self.names.mention_below(part);
            self.add(UseKind::Takes, &taken);
            self.sub_queries(part);
        }
    }

    fn merge(&mut self, tree: &'a Tree) {
        self.sources(tree.get("source_relation"));
        self.ask_value(tree.get("join_condition"));
        for clause in tree.trees("merge_when_clauses") {
            if clause.choice::<CmdType>("command_type") == Some(CmdType::CmdDelete) {
                self.deletion(tree);
            }
            self.ask_value(clause.get("condition"));
            if let Some(range) = tree.tree("relation") {
                for assignment in clause.trees("target_list") {
                    self.assignment(range, assignment, false);
                }
            }
            each(clause.get("values"), &mut |value| {
                let taken = self.names.mention(value);
                self.add(UseKind::Takes, &taken);
            });
        }
    }

    fn copy(&mut self, tree: &'a Tree) {
        if let Some(query) = tree.tree("query") {
            self.query(query);
        }
        self.ask_value(tree.get("where_clause"));
        let at_server = !tree.text("filename").is_empty();
        if tree.flag("is_program") || at_server && tree.flag("is_from") {
            // The server's files hold all tables, and a program reads them.
            self.code();
        }
        if at_server && !tree.flag("is_from") {
            let taken = match tree.tree("query") {
                Some(query) => self.outputs(query),
                None => self.names.every_column(),
            };
            self.add(UseKind::Takes, &taken);
        }
    }
}

/// Are all the parts that it takes, or stores in, named: `(u).email`, `(u).*`?
fn has_names_only(tree: &Tree) -> bool {
    let mut parts = tree.trees("indirection");
    parts.all(|part| matches!(part.kind(), "String" | "AStar"))
}

//! What a statement does with sensitive fields, besides returning them.
//!
//! It asks, when its answer depends on a value that it does not return, or returns covered: in
//! WHERE, in ORDER BY, in what may fail. It takes, when it stores or sends a value elsewhere, or
//! brings code of its own that could.
use super::Fields;
use super::names::{
    Names, any_node, each, is_proven_call, is_set_operation, is_star, made_relation,
};
use super::safe::must_not_be_a_type;
use super::server::{changes_server, measures_writes};
use crate::interpret::builtin;
use crate::interpret::tree::{Tree, Value};
use crate::mask::outlook::{FieldId, Outlook, UNPROVEN};
use gateway_core::mask::UseKind;
use pg_query::protobuf::{AlterTableType, ConstrType, ObjectType, SetOperation};

/// Collects the uses of one statement.
pub(super) struct Uses<'n, 'a> {
    names: &'n Names<'a>,
    outlook: &'n Outlook,
    pub(super) found: Vec<(UseKind, FieldId)>,
}

impl<'n, 'a> Uses<'n, 'a> {
    pub(super) fn new(names: &'n Names<'a>, outlook: &'n Outlook) -> Uses<'n, 'a> {
        Uses {
            names,
            outlook,
            found: Vec::new(),
        }
    }

    fn add(&mut self, kind: UseKind, fields: &Fields) {
        for field in fields.iter() {
            let kind = match (kind, field) {
                // Nobody knows what it is that is taken.
                (UseKind::Takes, UNPROVEN) => UseKind::Unproven,
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
                // A mask follows what is in a materialised view, where it is known what that is.
                let is_followed = tree.choice::<ObjectType>("objtype")
                    == Some(ObjectType::ObjectMatview)
                    && !self.names.is_doubtful();
                if !is_followed {
                    let outputs = self.outputs(query);
                    self.add(UseKind::Takes, &outputs);
                }
            }
            "CreateSchemaStmt" => {
                for element in tree.trees("schema_elts") {
                    self.statement(element);
                }
            }
            "CreateStmt" => {
                self.foreign_keys(tree);
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
            // What it holds by then is not known, and nothing would follow it.
            "RefreshMatViewStmt" if self.names.is_doubtful() => self.code(),
            "RenameStmt" if !renames_data(tree) => self.code(),
            "AlterObjectSchemaStmt" if !moves_data(tree) => self.code(),
            // What would be seen under another name by then was never seen under this one.
            "RenameStmt" | "AlterObjectSchemaStmt" if self.outlook.catalogue.is_none() => {
                self.code();
            }
            "ViewStmt" if self.outlook.catalogue.is_none() && tree.flag("replace") => self.code(),
            "ViewStmt" | "ExplainStmt" | "DeclareCursorStmt" | "PrepareStmt" => {
                if tree.kind() == "ExplainStmt" && measures_writes(tree) {
                    let every = self.names.every_column();
                    self.add(UseKind::Asks, &every);
                }
                if let Some(query) = tree.tree("query") {
                    self.statement(query);
                }
            }
            "IndexStmt" | "AlterTableStmt" if self.is_about_made(tree) => self.foreign_keys(tree),
            "IndexStmt" => {
                self.elements(tree, "index_params");
                // Whether an UPDATE has to write to the index, statistics tell.
                self.elements(tree, "index_including_params");
                self.ask(tree);
            }
            "AlterTableStmt" => {
                if tree.trees("cmds").any(regroups) {
                    let every = self.names.every_column();
                    self.add(UseKind::Takes, &every);
                }
                self.foreign_keys(tree);
                for command in tree
                    .trees("cmds")
                    .filter(|command| !looks_at_no_row(command))
                {
                    self.rows_of(command);
                }
                self.other(tree);
            }
            // In which order the rows lie then shows.
            "ClusterStmt" => {
                let every = self.names.every_column();
                self.add(UseKind::Asks, &every);
            }
            kind if is_known_to_bring_no_code(kind) => self.other(tree),
            _ => self.code(),
        }
    }

    /// Is it about a table that the text itself has made?
    fn is_about_made(&self, tree: &'a Tree) -> bool {
        let range = tree.tree("relation");
        range.is_some_and(|range| self.names.is_made(range))
            && !(tree.kind() == "AlterTableStmt" && tree.trees("cmds").any(regroups))
    }

    /// A part of ALTER TABLE that looks at the rows that are there asks about the columns that it
    /// names; where it names none, about all.
    fn rows_of(&mut self, command: &'a Tree) {
        let def = command.tree("def");
        let constraint = def.filter(|def| def.kind() == "Constraint");
        let asked = match command.choice::<AlterTableType>("subtype") {
            Some(AlterTableType::AtSetNotNull | AlterTableType::AtAlterColumnType) => {
                self.names.column(command.text("name"))
            }
            Some(AlterTableType::AtAddColumn) => Fields::default(),
            Some(AlterTableType::AtAddConstraint) if constraint.is_some() => constraint
                .into_iter()
                .flat_map(|constraint| ["keys", "fk_attrs"].map(|list| constraint.strings(list)))
                .flatten()
                .map(|name| self.names.column(name))
                .fold(Fields::default(), |all, fields| all.and(&fields)),
            _ => self.names.every_column(),
        };
        self.add(UseKind::Asks, &asked);
        if let Some(def) = def {
            self.ask(def);
        }
    }

    /// A foreign key can hold, and follow, the values of what it refers to; and whether it takes one
    /// tells whether that is there.
    fn foreign_keys(&mut self, tree: &'a Tree) {
        if tree.kind() == "Constraint"
            && let Some(range) = tree.tree("pktable")
        {
            let columns = tree.strings("pk_attrs");
            let referenced = self.names.referenced(range, &columns);
            self.add(UseKind::Takes, &referenced);
        }
        for (_, value) in tree.fields() {
            each(value, &mut |below| self.foreign_keys(below));
        }
    }

    /// The columns of an index, or those that it is inferred from.
    fn elements(&mut self, tree: &'a Tree, list: &str) {
        for element in tree.trees(list) {
            let column = self.names.column(element.text("name"));
            self.add(UseKind::Asks, &column);
        }
    }

    /// What is not known to leave values where they are.
    fn other(&mut self, tree: &'a Tree) {
        let mentioned = self.names.mention(tree);
        self.add(UseKind::Takes, &mentioned);
    }

    /// Values that are given to what is not known only to compute.
    fn hand_over(&mut self, tree: &'a Tree) {
        let known = match tree.kind() {
            "FuncCall" => is_proven_call(&tree.strings("funcname")),
            "AExpr" => {
                let parts = tree.strings("name");
                parts.is_empty() || parts.last().is_some_and(|name| builtin::is_operator(name))
            }
            _ => true,
        };
        if !known {
            let given = self.names.mention_below(tree);
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
        self.ask_by_number(tree);
        self.ask_value(tree.get("distinct_clause"));
        let returned = self.outputs(tree);
        if !tree.list("distinct_clause").is_empty() {
            // Which rows are the same shows in how many there are.
            self.add(UseKind::Asks, &returned);
        }
        if tree.tree("into_clause").is_some() {
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

    /// `ORDER BY 2`, `GROUP BY 1`: the number is a literal, and what is known of a statement is kept
    /// for all that differ in literals only, so it stands for any column.
    fn ask_by_number(&mut self, tree: &'a Tree) {
        let mut clauses = ["sort_clause", "group_clause"].into_iter();
        if clauses.any(|clause| holds_constant(tree.get(clause))) {
            let returned = self.outputs(tree);
            self.add(UseKind::Asks, &returned);
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
        if value.kind() == "FuncCall" && !is_proven_call(&value.strings("funcname")) {
            // What it returns is covered. What it is given counts.
            let given = self.names.mention_below(value);
            self.add(UseKind::Asks, &given);
        } else if !is_star(value) && !self.names.cannot_fail(value) {
            self.ask(value);
        }
        self.sub_queries(value);
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
            _ => {
                // How many rows a function returns depends on what it is given. What it reads itself
                // is covered, and no reason to refuse it.
                let mut given = self.names.mention(item);
                given.remove(UNPROVEN);
                self.add(UseKind::Asks, &given);
            }
        }
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
                self.assignment(range, assignment);
            }
        }
        self.ask_value(conflict.get("where_clause"));
        if let Some(infer) = conflict.tree("infer") {
            self.elements(infer, "index_elems");
            self.ask(infer);
            if !infer.text("conname").is_empty() {
                let every = self.names.every_column();
                self.add(UseKind::Asks, &every);
            }
        }
    }

    fn update(&mut self, tree: &'a Tree) {
        if let Some(range) = tree.tree("relation") {
            for assignment in tree.trees("target_list") {
                self.assignment(range, assignment);
            }
        }
        self.sources(tree.get("from_clause"));
        self.ask_value(tree.get("where_clause"));
    }

    /// A sensitive column may be stored in that column, as it is.
    fn assignment(&mut self, range: &'a Tree, assignment: &'a Tree) {
        self.subscripts(assignment);
        let Some(value) = assignment.tree("val") else {
            return;
        };
        let taken = self.names.mention(value);
        let target = self.names.target_field(range, assignment.text("name"));
        let mut own = target.map(Fields::one).unwrap_or_default();
        // Of what is computed of it, a unique key would tell whether that is there, and `partial`
        // and `hash` would show what it is of.
        let stays = !own.add(&taken) && (taken.is_empty() || value.kind() == "ColumnRef");
        if stays {
            self.expression(value);
        } else {
            self.add(UseKind::Takes, &taken);
        }
    }

    /// `SET a[…] = `: where in a column a value is stored is stored with it.
    fn subscripts(&mut self, target: &'a Tree) {
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
            self.ask_value(clause.get("condition"));
            if let Some(range) = tree.tree("relation") {
                for assignment in clause.trees("target_list") {
                    self.assignment(range, assignment);
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

/// Is there a constant anywhere below?
fn holds_constant(value: &Value) -> bool {
    let mut found = false;
    each(value, &mut |tree| {
        found = found || any_node(tree, &|part| part.kind() == "AConst");
    });
    found
}

/// Does a part of ALTER TABLE leave the rows that are there unread?
fn looks_at_no_row(command: &Tree) -> bool {
    let plain = match command.tree("def") {
        Some(def) if def.kind() == "ColumnDef" => def.trees("constraints").all(takes_any_row),
        _ => true,
    };
    match command.choice::<AlterTableType>("subtype") {
        Some(AlterTableType::AtAddColumn) => plain,
        Some(
            AlterTableType::AtColumnDefault
            | AlterTableType::AtDropNotNull
            | AlterTableType::AtDropColumn
            | AlterTableType::AtDropConstraint
            | AlterTableType::AtDropExpression
            | AlterTableType::AtChangeOwner
            | AlterTableType::AtSetStatistics
            | AlterTableType::AtSetStorage
            | AlterTableType::AtSetRelOptions
            | AlterTableType::AtResetRelOptions
            | AlterTableType::AtDropInherit
            | AlterTableType::AtDetachPartition
            | AlterTableType::AtReplicaIdentity
            | AlterTableType::AtEnableRowSecurity
            | AlterTableType::AtDisableRowSecurity
            | AlterTableType::AtForceRowSecurity
            | AlterTableType::AtNoForceRowSecurity
            | AlterTableType::AtEnableTrig
            | AlterTableType::AtEnableTrigAll
            | AlterTableType::AtEnableTrigUser
            | AlterTableType::AtDisableTrig
            | AlterTableType::AtDisableTrigAll
            | AlterTableType::AtDisableTrigUser
            | AlterTableType::AtSetTableSpace
            | AlterTableType::AtSetLogged
            | AlterTableType::AtSetUnLogged,
        ) => true,
        _ => false,
    }
}

/// Is it a constraint of a new column that no other column of a row decides about?
fn takes_any_row(constraint: &Tree) -> bool {
    matches!(
        constraint.choice::<ConstrType>("contype"),
        Some(ConstrType::ConstrNull | ConstrType::ConstrNotnull | ConstrType::ConstrDefault)
    )
}

/// Does a part of ALTER TABLE put a table with others, or take it from them? Rows of one then are
/// rows of the other, and masks follow only as long as they are together.
pub(super) fn regroups(command: &Tree) -> bool {
    matches!(
        command.choice::<AlterTableType>("subtype"),
        Some(
            AlterTableType::AtAttachPartition
                | AlterTableType::AtDetachPartition
                | AlterTableType::AtDetachPartitionFinalize
                | AlterTableType::AtAddInherit
                | AlterTableType::AtDropInherit
                | AlterTableType::AtAddOf
                | AlterTableType::AtDropOf
        )
    )
}

/// Does a statement rename what holds data, or nothing that a statement could call? A function with
/// the name of one that only computes would pass for that.
fn renames_data(rename: &Tree) -> bool {
    matches!(
        rename.choice::<ObjectType>("rename_type"),
        Some(
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectSequence
                | ObjectType::ObjectIndex
                | ObjectType::ObjectColumn
                | ObjectType::ObjectTabconstraint
                | ObjectType::ObjectSchema
                | ObjectType::ObjectRole
                | ObjectType::ObjectTrigger
                | ObjectType::ObjectPolicy
        )
    )
}

/// The same of SET SCHEMA.
fn moves_data(statement: &Tree) -> bool {
    matches!(
        statement.choice::<ObjectType>("object_type"),
        Some(
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectSequence
        )
    )
}

/// The name of the type that a statement makes, by itself or with a relation.
fn made_type<'a>(tree: &'a Tree) -> Option<&'a str> {
    let name = |range: &'a Tree| range.text("relname");
    match tree.kind() {
        "CreateEnumStmt" => tree.strings("type_name").last().copied(),
        "CompositeTypeStmt" => tree.tree("typevar").map(name),
        "CreateStmt" | "ViewStmt" | "CreateTableAsStmt" | "SelectStmt" => {
            made_relation(tree).map(name)
        }
        "RenameStmt" => Some(tree.text("newname")),
        _ => None,
    }
}

/// Does the option name a database that comes with PostgreSQL?
fn is_empty_database(option: &Tree) -> bool {
    let name = option.tree("arg").filter(|name| name.kind() == "String");
    let name = name.map(|name| name.text("sval"));
    matches!(name, Some("template0" | "template1"))
}

/// Statements after which the server runs no code that came with them, nor is told how to find
/// some. What is not among them could be anything.
fn is_known_to_bring_no_code(kind: &str) -> bool {
    matches!(
        kind,
        "AlterDatabaseRefreshCollStmt"
            | "AlterDatabaseStmt"
            | "AlterDefaultPrivilegesStmt"
            | "AlterEnumStmt"
            | "AlterObjectSchemaStmt"
            | "AlterOwnerStmt"
            | "AlterRoleStmt"
            | "AlterSeqStmt"
            | "AlterStatsStmt"
            | "CallStmt"
            | "CheckPointStmt"
            | "ClosePortalStmt"
            | "CommentStmt"
            | "CompositeTypeStmt"
            | "ConstraintsSetStmt"
            | "CreateEnumStmt"
            | "CreateRoleStmt"
            | "CreateSeqStmt"
            | "CreateStatsStmt"
            | "CreateTableSpaceStmt"
            | "DeallocateStmt"
            | "DiscardStmt"
            | "DropOwnedStmt"
            | "DropRoleStmt"
            | "DropStmt"
            | "DropTableSpaceStmt"
            | "DropdbStmt"
            | "ExecuteStmt"
            | "FetchStmt"
            | "GrantRoleStmt"
            | "GrantStmt"
            | "ListenStmt"
            | "LockStmt"
            | "NotifyStmt"
            | "ReassignOwnedStmt"
            | "RefreshMatViewStmt"
            | "ReindexStmt"
            | "RenameStmt"
            | "TransactionStmt"
            | "TruncateStmt"
            | "UnlistenStmt"
            | "VacuumStmt"
            | "VariableSetStmt"
            | "VariableShowStmt"
    )
}

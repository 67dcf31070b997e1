//! The walk over a parse tree: every node of it, with a meaning for those that have one.
//!
//! A node of a kind that is not named here or in [`utility`](super::utility) makes the statement
//! `unknown`, at any depth: a grammar that grows adds nothing that passes unseen.
use super::calls::FunctionAlias;
use super::effects::EffectSet;
use super::names;
use super::script::Script;
use super::settings::NamedCall;
use super::tree::{Tree, Value};
use super::{context, utility};
use gateway_core::{Object, Verb};
use rustc_hash::FxHashSet;

/// Deepest tree that is walked. The decoder of the parse tree stops earlier.
const DEPTH_MAX: usize = 200;

/// One walk over one statement.
pub(super) struct Walk<'a, 's> {
    /// What the statements of the text share.
    pub(super) script: &'s mut Script,
    /// What was found.
    pub(super) effects: EffectSet,
    /// The text of the statement.
    pub(super) text: &'a str,
    /// What happens to a table that is named where this part of the tree is.
    pub(super) ambient: Verb,
    /// The statement is explained, not run: whatever it would do to tables, it reads.
    pub(super) plan_only: bool,
    /// It becomes part of what is defined, and runs when that is used.
    pub(super) is_defined: bool,
    /// Functions in FROM whose rows can be taken for a value.
    pub(super) function_aliases: Vec<FunctionAlias<'a>>,
    /// Calls that certainly run, once, when the statement does.
    pub(super) certain_calls: Vec<&'a Tree>,
    /// Calls in which the column `name` is certainly this text.
    pub(super) named_calls: Vec<NamedCall<'a>>,
    /// The names of the WITH queries in sight, innermost last.
    with_names: Vec<FxHashSet<&'a str>>,
    depth: usize,
}

impl<'a, 's> Walk<'a, 's> {
    /// Walks one statement of a text and adds what it does to the script.
    pub(super) fn run(script: &'s mut Script, text: &'a str, statement: &'a Tree) {
        let mut walk = Walk {
            script,
            effects: EffectSet::default(),
            text,
            ambient: Verb::Read,
            plan_only: false,
            is_defined: false,
            function_aliases: Vec::new(),
            certain_calls: Vec::new(),
            named_calls: Vec::new(),
            with_names: Vec::new(),
            depth: 0,
        };
        walk.collect_function_aliases(statement);
        walk.collect_certain_calls(statement);
        walk.collect_named_calls(statement);
        if statement.kind() == "SelectStmt" {
            walk.effects.touch(Verb::Read);
        }
        if !utility::is_free_of_literals(statement) {
            walk.script.depends_on_literals = true;
        }
        walk.visit(statement);
        let effects = walk.effects;
        script.absorb(effects);
    }

    /// Gives a node its meaning.
    pub(super) fn visit(&mut self, tree: &'a Tree) {
        if self.depth >= DEPTH_MAX {
            self.effects.add_anything(Verb::Unknown);
            return;
        }
        self.depth += 1;
        match tree.kind() {
            "SelectStmt" => self.select(tree),
            "InsertStmt" => self.insert(tree),
            "UpdateStmt" => self.update(tree),
            "DeleteStmt" => self.delete(tree),
            "MergeStmt" => self.merge(tree),
            "RangeVar" => self.table(tree, self.ambient),
            "TableLikeClause" => self.in_query(|walk| walk.children(tree)),
            "FuncCall" => self.function_call(tree),
            "AExpr" => self.expression(tree),
            "SubLink" => self.with_operator(tree, "oper_name"),
            "SortBy" => self.with_operator(tree, "use_op"),
            "ColumnRef" => self.column(tree),
            "AIndirection" => self.indirection(tree),
            "RangeTableSample" => self.sample(tree),
            // CREATE FUNCTION … SET: for when the function runs, not for this session.
            "DefElem"
                if tree
                    .tree("arg")
                    .is_some_and(|arg| arg.kind() == "VariableSetStmt") => {}
            kind if is_structure(kind) => self.children(tree),
            _ => {
                if !utility::statement(self, tree) {
                    self.effects.add_anything(Verb::Unknown);
                    self.children(tree);
                }
            }
        }
        self.depth -= 1;
    }

    /// Visits all that is below a node.
    pub(super) fn children(&mut self, tree: &'a Tree) {
        self.children_but(tree, &[]);
    }

    /// Visits all that is below a node but what is in some of its fields.
    pub(super) fn children_but(&mut self, tree: &'a Tree, fields: &[&str]) {
        debug_assert!(
            fields
                .iter()
                .all(|field| tree.fields().any(|(name, _)| name == *field))
        );
        for (name, value) in tree.fields() {
            if !fields.contains(&name) {
                self.value(value);
            }
        }
    }

    /// Visits whatever a field holds.
    pub(super) fn value(&mut self, value: &'a Value) {
        match value {
            Value::Tree(tree) => self.visit(tree),
            Value::List(values) => values.iter().for_each(|value| self.value(value)),
            Value::Nothing | Value::Flag(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    /// Does something where a table that is named is read.
    pub(super) fn in_query(&mut self, work: impl FnOnce(&mut Self)) {
        self.in_ambient(Verb::Read, work);
    }

    /// Does something where a table that is named meets this verb.
    pub(super) fn in_ambient(&mut self, verb: Verb, work: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.ambient, verb);
        work(self);
        self.ambient = before;
    }

    /// The statement does something to objects; when it is only explained, it reads them.
    pub(super) fn act(&mut self, verb: Verb, objects: impl IntoIterator<Item = Object>) {
        let verb = if self.plan_only { Verb::Read } else { verb };
        self.effects.add_all(verb, objects);
    }

    /// A table, where the name could also be that of a WITH query.
    fn table(&mut self, range: &'a Tree, verb: Verb) {
        if self.is_with_query(range) {
            return;
        }
        self.target(range, verb);
        // Whoever updates what is defined here updates the settings of their session.
        if self.is_defined && range.text("relname") == "pg_settings" {
            self.unknown_setting();
        }
    }

    fn is_with_query(&self, range: &Tree) -> bool {
        let name = range.text("relname");
        self.ambient == Verb::Read
            && range.text("schemaname").is_empty()
            && self.with_names.iter().any(|names| names.contains(name))
    }

    /// A table that something is done to. The name of a WITH query is never meant here.
    pub(super) fn target(&mut self, range: &Tree, verb: Verb) {
        let (objects, is_temporary) = self.range_objects(range);
        let verb = if is_temporary && verb == Verb::Define {
            Verb::Write
        } else {
            verb
        };
        self.act(verb, objects);
    }

    /// The objects that a table name can mean, and whether it is certainly a temporary one.
    pub(super) fn range_objects(&self, range: &Tree) -> (Vec<Object>, bool) {
        let (schema, name) = (range.text("schemaname"), range.text("relname"));
        if schema.is_empty() && range.text("relpersistence") == "t" {
            return (vec![names::qualified(context::TEMPORARY, name)], true);
        }
        if schema.is_empty() {
            return (names::relation(&self.script.path, &[name]), false);
        }
        (
            vec![names::qualified(schema, name)],
            schema == context::TEMPORARY,
        )
    }

    fn select(&mut self, tree: &'a Tree) {
        self.in_query(|walk| {
            walk.open_with(tree);
            if let Some(into) = tree.tree("into_clause") {
                walk.new_table(into);
            }
            walk.children_but(tree, &["with_clause", "into_clause", "locking_clause"]);
            walk.locks(tree);
            walk.close_with();
        });
    }

    /// The table that SELECT INTO, CREATE TABLE AS or CREATE MATERIALIZED VIEW makes and fills.
    pub(super) fn new_table(&mut self, into: &'a Tree) {
        if let Some(range) = into.tree("rel") {
            self.target(range, Verb::Define);
            self.target(range, Verb::Write);
        }
        self.children_but(into, &["rel"]);
    }

    fn insert(&mut self, tree: &'a Tree) {
        self.modify(tree, &[Verb::Write]);
    }

    fn update(&mut self, tree: &'a Tree) {
        self.script.has_where &= tree.tree("where_clause").is_some();
        self.modify(tree, &[Verb::Write]);
        // A rule makes this view settable, and what it sets are the settings of the session.
        if tree
            .tree("relation")
            .is_some_and(|range| range.text("relname") == "pg_settings")
        {
            self.unknown_setting();
        }
    }

    fn delete(&mut self, tree: &'a Tree) {
        self.script.has_where &= tree.tree("where_clause").is_some();
        self.modify(tree, &[Verb::Delete]);
    }

    fn merge(&mut self, tree: &'a Tree) {
        use pg_query::protobuf::CmdType;
        let mut verbs = Vec::new();
        for clause in tree.trees("merge_when_clauses") {
            match clause.choice::<CmdType>("command_type") {
                Some(CmdType::CmdInsert | CmdType::CmdUpdate) => verbs.push(Verb::Write),
                Some(CmdType::CmdDelete) => verbs.push(Verb::Delete),
                Some(CmdType::CmdNothing) => verbs.push(Verb::Read),
                _ => verbs.push(Verb::Unknown),
            }
        }
        self.modify(tree, &verbs);
    }

    /// What INSERT, UPDATE, DELETE and MERGE share: a target that is not a source, WITH, and
    /// RETURNING, which gives the target's data out.
    fn modify(&mut self, tree: &'a Tree, verbs: &[Verb]) {
        self.in_query(|walk| {
            walk.open_with(tree);
            if let Some(range) = tree.tree("relation") {
                for verb in verbs {
                    walk.target(range, *verb);
                }
                if is_of_catalog(range) {
                    // What any object is called, who owns it, who may what.
                    walk.effects.add_anything(Verb::Admin);
                    walk.effects.add_anything(Verb::Define);
                }
                if tree.tree("returning_clause").is_some() {
                    walk.target(range, Verb::Read);
                }
            }
            walk.children_but(tree, &["with_clause", "relation"]);
            walk.close_with();
        });
    }

    /// Visits the WITH queries of a statement and brings their names into its sight. A query sees
    /// those before it; with RECURSIVE it sees all, itself too.
    fn open_with(&mut self, tree: &'a Tree) {
        self.with_names.push(FxHashSet::default());
        let Some(with) = tree.tree("with_clause") else {
            return;
        };
        if with.flag("recursive") {
            let names = with
                .trees("ctes")
                .map(|query| query.text("ctename"))
                .collect();
            if let Some(innermost) = self.with_names.last_mut() {
                *innermost = names;
            }
        }
        for query in with.trees("ctes") {
            self.children(query);
            if let Some(innermost) = self.with_names.last_mut() {
                innermost.insert(query.text("ctename"));
            }
        }
    }

    fn close_with(&mut self) {
        self.with_names.pop();
    }

    /// FOR UPDATE and its kin lock rows, as LOCK locks tables: a write to what is locked. Without
    /// names that is all that FROM reads. A name that is not that of a table stands for a
    /// sub-query, and then all is taken for locked too.
    fn locks(&mut self, tree: &'a Tree) {
        let clauses = tree.list("locking_clause");
        if clauses.is_empty() {
            return;
        }
        let mut all = Vec::new();
        tree.list("from_clause")
            .iter()
            .for_each(|item| tables_below(item, &mut all));
        let mut names = FxHashSet::default();
        let mut is_all = false;
        for clause in clauses.iter().filter_map(Value::tree) {
            is_all |= clause.list("locked_rels").is_empty();
            names.extend(
                clause
                    .trees("locked_rels")
                    .map(|range| range.text("relname")),
            );
        }
        let visible: FxHashSet<&str> = all.iter().map(|range| visible_name(range)).collect();
        is_all |= !names.is_subset(&visible);
        for range in all {
            if is_all || names.contains(visible_name(range)) {
                self.table(range, Verb::Write);
            }
        }
    }
}

/// Is it a table of `pg_catalog`, by its own name? `pg_settings` is no table.
fn is_of_catalog(range: &Tree) -> bool {
    let (schema, name) = (range.text("schemaname"), range.text("relname"));
    let is_there = schema == context::CATALOG || schema.is_empty() && name.starts_with("pg_");
    is_there && name != "pg_settings"
}

/// Collects the tables of FROM, through joins and sub-queries.
fn tables_below<'a>(value: &'a Value, found: &mut Vec<&'a Tree>) {
    let Some(tree) = value.tree() else { return };
    match tree.kind() {
        "RangeVar" => found.push(tree),
        "JoinExpr" => ["larg", "rarg"]
            .iter()
            .for_each(|side| tables_below(tree.get(side), found)),
        "RangeTableSample" => tables_below(tree.get("relation"), found),
        "RangeSubselect" => tables_below(tree.get("subquery"), found),
        "SelectStmt" => {
            tree.list("from_clause")
                .iter()
                .for_each(|item| tables_below(item, found));
            ["larg", "rarg"]
                .iter()
                .for_each(|side| tables_below(tree.get(side), found));
        }
        _ => {}
    }
}

fn visible_name(range: &Tree) -> &str {
    range
        .tree("alias")
        .map_or(range.text("relname"), |alias| alias.text("aliasname"))
}

/// Kinds of nodes that mean nothing by themselves; what is below them does.
fn is_structure(kind: &str) -> bool {
    matches!(
        kind,
        "List"
            | "String"
            | "Integer"
            | "Float"
            | "Boolean"
            | "BitString"
            | "AConst"
            | "AStar"
            | "Alias"
            | "ParamRef"
            | "ResTarget"
            | "TypeName"
            | "TypeCast"
            | "CollateClause"
            | "BoolExpr"
            | "NullTest"
            | "BooleanTest"
            | "CaseExpr"
            | "CaseWhen"
            | "CoalesceExpr"
            | "MinMaxExpr"
            | "RowExpr"
            | "AArrayExpr"
            | "AIndices"
            | "SqlValueFunction"
            | "XmlExpr"
            | "XmlSerialize"
            | "SetToDefault"
            | "CurrentOfExpr"
            | "GroupingFunc"
            | "GroupingSet"
            | "WindowDef"
            | "NamedArgExpr"
            | "MultiAssignRef"
            | "MergeSupportFunc"
            | "JoinExpr"
            | "RangeSubselect"
            | "RangeFunction"
            | "RangeTableFunc"
            | "RangeTableFuncCol"
            | "OnConflictClause"
            | "InferClause"
            | "IndexElem"
            | "MergeWhenClause"
            | "ReturningClause"
            | "ReturningOption"
            | "CommonTableExpr"
            | "CteSearchClause"
            | "CteCycleClause"
            | "JsonFormat"
            | "JsonReturning"
            | "JsonValueExpr"
            | "JsonOutput"
            | "JsonArgument"
            | "JsonFuncExpr"
            | "JsonBehavior"
            | "JsonIsPredicate"
            | "JsonTable"
            | "JsonTableColumn"
            | "JsonTablePathSpec"
            | "JsonKeyValue"
            | "JsonParseExpr"
            | "JsonScalarExpr"
            | "JsonSerializeExpr"
            | "JsonObjectConstructor"
            | "JsonArrayConstructor"
            | "JsonArrayQueryConstructor"
            | "JsonAggConstructor"
            | "JsonObjectAgg"
            | "JsonArrayAgg"
            | "ColumnDef"
            | "Constraint"
            | "DefElem"
            | "PartitionSpec"
            | "PartitionElem"
            | "PartitionBoundSpec"
            | "PartitionRangeDatum"
            | "PartitionCmd"
            | "AtAlterConstraint"
            | "ReplicaIdentityStmt"
            | "FunctionParameter"
            | "ObjectWithArgs"
            | "RoleSpec"
            | "AccessPriv"
            | "StatsElem"
            | "TriggerTransition"
            | "PublicationTable"
            | "VacuumRelation"
            | "CreateOpClassItem"
            | "ReturnStmt"
    )
}

//! What statements do with values that define something: tables, constraints, indexes, statistics.
use super::Uses;
use crate::interpret::flow::Fields;
use crate::interpret::flow::nodes::{each, every_node, made_relation};
use crate::interpret::tree::{Tree, Value};
use crate::mask::outlook::UNPROVEN;
use gateway_core::mask::UseKind;
use pg_query::protobuf::{AlterTableType, ConstrType, ObjectType};

impl<'a> Uses<'_, 'a> {
    /// Is it about a table that the text itself has made?
    pub(super) fn is_about_made(&self, tree: &'a Tree) -> bool {
        let range = tree.tree("relation");
        range.is_some_and(|range| self.names.is_made(range))
            && !(tree.kind() == "AlterTableStmt" && tree.trees("cmds").any(regroups))
    }

    /// ALTER TABLE, and what else is altered by the same statement.
    pub(super) fn alter_table(&mut self, tree: &'a Tree) {
        let is_type = tree.choice::<ObjectType>("objtype") == Some(ObjectType::ObjectType);
        // The tables of a type change with it, whatever they are called.
        if is_type || !tree.trees("cmds").all(is_understood) {
            self.code();
        }
        self.foreign_keys(tree);
        if self.is_about_made(tree) {
            self.ask(tree);
        } else {
            self.rows(tree);
        }
        tree.trees("cmds")
            .for_each(|command| self.names_of_column(command));
        self.other(tree);
    }

    fn rows(&mut self, tree: &'a Tree) {
        if tree.trees("cmds").any(regroups) {
            let every = self.names.every_column();
            self.add(UseKind::Takes, &every);
        }
        for command in tree.trees("cmds").filter(|part| !looks_at_no_row(part)) {
            self.rows_of(tree.tree("relation"), command);
        }
        // What somebody's function has computed stays, and nothing would say any more what it is.
        for command in tree.trees("cmds").filter(|part| drops_expression(part)) {
            let column = self.names.column(command.text("name"));
            self.keep_no_call(&column);
        }
    }

    /// LIKE takes defaults and computed columns along, and what those call returns what it reads.
    pub(super) fn copies_of_code(&mut self, tree: &'a Tree) {
        let calls = |part: &'a Tree| {
            part.kind() == "TableLikeClause"
                && *part.get("options") != Value::Number(0)
                && part
                    .tree("relation")
                    .is_some_and(|range| self.named(range).calls_for_columns)
        };
        if tree.trees("table_elts").any(calls) {
            self.code();
        }
    }

    /// What is kept (an index, statistics, a column) must not be what somebody's function has returned.
    pub(super) fn keep_no_call(&mut self, kept: &Fields) {
        if kept.iter().any(|field| field == UNPROVEN) {
            self.code();
        }
    }

    /// A part of ALTER TABLE that looks at the rows that are there asks about the columns that it
    /// names; where it names none, about all. Other values in a column are looked at together with what
    /// is tied to it.
    fn rows_of(&mut self, range: Option<&'a Tree>, command: &'a Tree) {
        let def = command.tree("def");
        let constraint = def.filter(|def| def.kind() == "Constraint");
        let name = command.text("name");
        let tied = || range.map_or_else(Fields::default, |range| self.names.changing(range, name));
        let asked = match command.choice::<AlterTableType>("subtype") {
            Some(AlterTableType::AtSetNotNull) => self.names.column(name),
            Some(AlterTableType::AtAlterColumnType) => self.names.column(name).and(&tied()),
            Some(AlterTableType::AtSetExpression) => self.names.every_column().and(&tied()),
            Some(AlterTableType::AtAddColumn) => Fields::default(),
            Some(AlterTableType::AtAddConstraint) if constraint.is_some() => {
                constraint.iter().for_each(|part| self.ask_by_names(part));
                // The columns of an index that is there already, nobody names.
                let is_of_index = constraint.is_some_and(|part| !part.text("indexname").is_empty());
                match is_of_index {
                    true => self.names.every_column(),
                    false => Fields::default(),
                }
            }
            _ => self.names.every_column(),
        };
        self.add(UseKind::Asks, &asked);
        if let Some(def) = def {
            self.ask(def);
        }
    }

    /// A foreign key can hold, and follow, the values of what it refers to; and whether it takes one
    /// tells whether that is there.
    pub(super) fn foreign_keys(&mut self, tree: &'a Tree) {
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

    /// A part of a statement that names columns without referring to them: keys of a constraint,
    /// elements of an index or of statistics. Every name in it could be that of one.
    pub(super) fn ask_by_names(&mut self, tree: &'a Tree) {
        every_node(tree, &mut |part| {
            let name = match part.kind() {
                "String" => part.text("sval"),
                "IndexElem" | "StatsElem" => part.text("name"),
                _ => return,
            };
            let column = self.names.column(name);
            self.add(UseKind::Asks, &column);
        });
    }
}

fn drops_expression(command: &Tree) -> bool {
    command.choice::<AlterTableType>("subtype") == Some(AlterTableType::AtDropExpression)
}

/// Is it known what a part of ALTER TABLE does? The options of a foreign table say what that is a table of,
/// and what runs to read it.
fn is_understood(command: &Tree) -> bool {
    match command.choice::<AlterTableType>("subtype") {
        Some(
            AlterTableType::AtAddColumn
            | AlterTableType::AtAddConstraint
            | AlterTableType::AtAddIdentity
            | AlterTableType::AtAlterColumnType
            | AlterTableType::AtAlterConstraint
            | AlterTableType::AtClusterOn
            | AlterTableType::AtDropCluster
            | AlterTableType::AtDropIdentity
            | AlterTableType::AtDropOids
            | AlterTableType::AtEnableAlwaysRule
            | AlterTableType::AtEnableAlwaysTrig
            | AlterTableType::AtEnableReplicaRule
            | AlterTableType::AtEnableReplicaTrig
            | AlterTableType::AtEnableRule
            | AlterTableType::AtDisableRule
            | AlterTableType::AtResetOptions
            | AlterTableType::AtSetAccessMethod
            | AlterTableType::AtSetCompression
            | AlterTableType::AtSetExpression
            | AlterTableType::AtSetIdentity
            | AlterTableType::AtSetNotNull
            | AlterTableType::AtSetOptions
            | AlterTableType::AtValidateConstraint,
        ) => true,
        _ => looks_at_no_row(command) || regroups(command),
    }
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
pub(in crate::interpret::flow) fn regroups(command: &Tree) -> bool {
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
pub(super) fn renames_data(rename: &Tree) -> bool {
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
pub(super) fn moves_data(statement: &Tree) -> bool {
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
pub(super) fn made_type<'a>(tree: &'a Tree) -> Option<&'a str> {
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
pub(super) fn is_empty_database(option: &Tree) -> bool {
    let name = option.tree("arg").filter(|name| name.kind() == "String");
    let name = name.map(|name| name.text("sval"));
    matches!(name, Some("template0" | "template1"))
}

/// Statements after which the server runs no code that came with them, nor is told how to find
/// some. What is not among them could be anything.
pub(super) fn is_known_to_bring_no_code(kind: &str) -> bool {
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

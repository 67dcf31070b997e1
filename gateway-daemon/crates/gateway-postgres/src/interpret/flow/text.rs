//! What becomes of names from one statement of a text to the next.
use super::nodes::{each, every_node, into_clause, made_relation};
use super::uses;
use crate::interpret::kept_numbers;
use crate::interpret::tree::Tree;
use crate::mask::outlook::Outlook;
use pg_query::protobuf::{ObjectType, TransactionStmtKind};
use rustc_hash::FxHashSet;
use std::cell::OnceCell;

/// What the names in a text stand for, from one of its statements to the next.
pub(super) struct Text<'a> {
    /// As it was parsed.
    sql: &'a str,
    /// Where the numbers begin that are part of its shape; `None` inside: all are.
    kept: OnceCell<Option<FxHashSet<usize>>>,
    outlook: &'a Outlook,
    /// Something before has changed what names stand for.
    blind: Option<Outlook>,
    pub(super) made: Made<'a>,
}

impl<'a> Text<'a> {
    pub(super) fn new(sql: &'a str, outlook: &'a Outlook) -> Text<'a> {
        Text {
            sql,
            kept: OnceCell::new(),
            outlook,
            blind: None,
            made: Made::default(),
        }
    }

    pub(super) fn outlook(&self) -> &Outlook {
        self.blind.as_ref().unwrap_or(self.outlook)
    }

    /// Is a number at this place the same in all texts for which what is known of this one is known?
    pub(super) fn keeps_number(&self, location: i64) -> bool {
        let kept = self
            .kept
            .get_or_init(|| kept_numbers(self.sql).map(|starts| starts.into_iter().collect()));
        let is_kept = |kept: &FxHashSet<usize>| {
            usize::try_from(location).is_ok_and(|location| kept.contains(&location))
        };
        kept.as_ref().is_none_or(is_kept)
    }

    pub(super) fn go_on(&mut self, tree: &'a Tree) {
        if self.blind.is_none() && shifts_names(tree, self.outlook) {
            self.blind = Some(self.outlook.blinded());
        }
        let is_new = is_new(tree, self.outlook());
        self.made.go_on(tree, is_new);
    }
}

/// The relations that statements before have made, in the same text: no catalogue knows them yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Made<'a> {
    /// Tables with nothing sensitive in them, by schema and name, as they were written.
    tables: Vec<(&'a str, &'a str)>,
    /// Names that may be those of others by now, in any schema: of views, for one.
    others: Vec<&'a str>,
}

impl<'a> Made<'a> {
    /// Is it certainly such a table? A name that is written otherwise may be another's.
    pub(super) fn is_table(&self, schema: &str, name: &str) -> bool {
        self.tables.contains(&(schema, name)) && !self.hides(name)
    }

    /// May something that was made hide what goes by this name otherwise?
    pub(super) fn hides(&self, name: &str) -> bool {
        self.others.contains(&name)
    }

    fn go_on(&mut self, tree: &'a Tree, is_new: bool) {
        let takes_back = tree.kind() == "TransactionStmt" && !begins(tree);
        if takes_back || tree.kind() == "DiscardStmt" {
            // What was made may be gone, and its name be free again. So may what a view has hidden,
            // but nobody can tell.
            self.tables.clear();
            return;
        }
        let table = made_table(tree).filter(|_| is_new);
        every_node(tree, &mut |part| {
            if let Some(range) = made_relation(part).filter(|_| table.is_none()) {
                self.others.push(range.text("relname"));
            }
        });
        self.tables.extend(table);
    }
}

/// A table that is new when the statement is done. A materialised view is none: what is in it can be
/// sensitive.
fn made_table(tree: &Tree) -> Option<(&str, &str)> {
    let is_table = match tree.kind() {
        "CreateStmt" => true,
        "CreateTableAsStmt" => {
            tree.choice::<ObjectType>("objtype") == Some(ObjectType::ObjectTable)
        }
        _ => false,
    };
    if !is_table || !only_adds(tree) || tree.flag("if_not_exists") {
        return None;
    }
    let range = made_relation(tree)?;
    Some((range.text("schemaname"), range.text("relname")))
}

/// May a name mean something else behind the statement, that it could mean before?
fn shifts_names(tree: &Tree, outlook: &Outlook) -> bool {
    match tree.kind() {
        "RenameStmt" | "AlterObjectSchemaStmt" => true,
        "ViewStmt" => tree.flag("replace") || !is_new(tree, outlook),
        "CreateStmt" | "CreateTableAsStmt" | "SelectStmt" | "CreateSchemaStmt" => {
            !leaves_catalogue(tree) && !is_new(tree, outlook)
        }
        "DropStmt" => !matches!(
            tree.choice::<ObjectType>("remove_type"),
            Some(
                ObjectType::ObjectFunction
                    | ObjectType::ObjectIndex
                    | ObjectType::ObjectPolicy
                    | ObjectType::ObjectRule
                    | ObjectType::ObjectSequence
                    | ObjectType::ObjectTrigger
            )
        ),
        "AlterTableStmt" => tree.trees("cmds").any(uses::regroups),
        "TransactionStmt" => outlook.is_own && !begins(tree),
        kind => !leaves_catalogue(tree) && !keeps_relations(kind),
    }
}

/// Statements that change the catalogue, and leave the names of relations and their columns as they
/// are. What is not among them could do anything with them.
fn keeps_relations(kind: &str) -> bool {
    matches!(
        kind,
        "AlterDatabaseStmt"
            | "AlterDefaultPrivilegesStmt"
            | "AlterEnumStmt"
            | "AlterOwnerStmt"
            | "AlterPolicyStmt"
            | "AlterRoleSetStmt"
            | "AlterRoleStmt"
            | "AlterSeqStmt"
            | "AlterStatsStmt"
            // What the code in a database does is not known at all.
            | "CallStmt"
            | "CompositeTypeStmt"
            | "CreateEnumStmt"
            | "CreateFunctionStmt"
            | "CreatePolicyStmt"
            | "CreateRoleStmt"
            | "CreateSeqStmt"
            | "CreateStatsStmt"
            | "CreateTableSpaceStmt"
            | "CreateTrigStmt"
            | "CreatedbStmt"
            | "DropRoleStmt"
            | "ReassignOwnedStmt"
            | "RuleStmt"
    )
}

/// Does it concern temporary tables only, which no other session sees?
pub(super) fn is_private(tree: &Tree, outlook: &Outlook) -> bool {
    match tree.kind() {
        "CreateStmt" | "CreateTableAsStmt" => {
            made_relation(tree).is_some_and(|range| range.text("relpersistence") == "t")
        }
        "DropStmt" if tree.choice::<ObjectType>("remove_type") == Some(ObjectType::ObjectTable) => {
            let mut all = true;
            each(tree.get("objects"), &mut |list| {
                let parts = match list.kind() {
                    "List" => list.strings("items"),
                    _ => Vec::new(),
                };
                all &= matches!(parts.as_slice(), [name] if outlook.is_temporary(name));
            });
            all
        }
        _ => false,
    }
}

/// Does it begin a transaction, or name a point in one?
pub(super) fn begins(tree: &Tree) -> bool {
    matches!(
        tree.choice::<TransactionStmtKind>("kind"),
        Some(
            TransactionStmtKind::TransStmtBegin
                | TransactionStmtKind::TransStmtStart
                | TransactionStmtKind::TransStmtSavepoint
        )
    )
}

/// Statements that make something new, of which nobody knows yet.
pub(super) fn only_adds(tree: &Tree) -> bool {
    match tree.kind() {
        "CreateStmt" => tree.list("inh_relations").is_empty() && tree.tree("partbound").is_none(),
        "CreateTableAsStmt" | "CreateSeqStmt" | "CreateSchemaStmt" | "CreateEnumStmt"
        | "CompositeTypeStmt" | "CreateRoleStmt" | "SelectStmt" => true,
        "ViewStmt" => !tree.flag("replace"),
        _ => false,
    }
}

/// Is the name of what a statement makes not known yet, in any schema? Otherwise it could take the
/// place of what the name has meant so far.
pub(super) fn is_new(tree: &Tree, outlook: &Outlook) -> bool {
    match tree.kind() {
        "CreateStmt" | "CreateTableAsStmt" | "SelectStmt" | "ViewStmt" => {
            outlook.catalogue.is_some()
                && made_relation(tree)
                    .is_some_and(|range| !outlook.named("", range.text("relname")).known)
        }
        "CreateSchemaStmt" => tree.list("schema_elts").is_empty(),
        _ => true,
    }
}

/// Statements that leave the catalogue as it is, unless a function that they call does not.
pub(super) fn leaves_catalogue(tree: &Tree) -> bool {
    match tree.kind() {
        "SelectStmt" => into_clause(tree).is_none(),
        "ExplainStmt" | "DeclareCursorStmt" | "PrepareStmt" => {
            tree.tree("query").is_some_and(leaves_catalogue)
        }
        "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" | "CopyStmt" | "FetchStmt"
        | "ClosePortalStmt" | "ExecuteStmt" | "DeallocateStmt" | "TransactionStmt"
        | "VariableSetStmt" | "VariableShowStmt" | "ListenStmt" | "UnlistenStmt" | "NotifyStmt"
        | "LockStmt" | "TruncateStmt" | "VacuumStmt" | "CheckPointStmt" | "ConstraintsSetStmt"
        | "LoadStmt" | "RefreshMatViewStmt" | "DiscardStmt" | "CommentStmt" | "GrantStmt"
        | "GrantRoleStmt" | "IndexStmt" | "ReindexStmt" | "ClusterStmt" => true,
        _ => false,
    }
}

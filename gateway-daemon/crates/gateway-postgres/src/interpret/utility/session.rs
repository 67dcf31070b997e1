//! Statements about the session itself: transactions, settings, cursors, prepared statements,
//! notifications.
use crate::interpret::context::RoleSchema;
use crate::interpret::names;
use crate::interpret::parse::prepared_text;
use crate::interpret::tree::Tree;
use crate::interpret::walk::Walk;
use gateway_core::Verb;
use pg_query::protobuf::{DiscardMode, TransactionStmtKind};

pub(super) fn statement<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) -> bool {
    match tree.kind() {
        "TransactionStmt" => transaction(walk, tree),
        "VariableSetStmt" => walk.set_statement(tree),
        // What a cursor reads was judged when it was declared. The tables in SET CONSTRAINTS are
        // names of constraints.
        "VariableShowStmt" | "ClosePortalStmt" | "ListenStmt" | "UnlistenStmt" => {
            walk.effects.touch(Verb::Read);
        }
        // Code behind names runs now: of views, of triggers that were put off.
        "ConstraintsSetStmt" | "FetchStmt" => {
            walk.effects.touch(Verb::Read);
            walk.script.changes.plain_strings = true;
            walk.script.changes.text_encoding = true;
        }
        "NotifyStmt" => {
            walk.act(
                Verb::Write,
                [names::of_kind("channel", tree.text("conditionname"))],
            );
        }
        "DeclareCursorStmt" => {
            walk.effects.touch(Verb::Read);
            walk.children(tree);
            walk.script.defer_path();
        }
        "PrepareStmt" => {
            let prepared = walk
                .script
                .prepare(tree.text("name"), prepared_text(walk.text));
            walk.effects.unite(&prepared.effects);
            if prepared.statements != 1 {
                walk.effects.add_anything(Verb::Unknown);
            }
        }
        "ExecuteStmt" => {
            walk.children(tree);
            if walk.plan_only {
                walk.effects.touch(Verb::Read);
            } else {
                walk.script.execute(tree.text("name"));
            }
        }
        "DeallocateStmt" => {
            walk.effects.touch(Verb::Read);
            let name = tree.text("name");
            walk.script
                .deallocate((!tree.flag("isall")).then_some(name));
        }
        "DiscardStmt" => {
            walk.effects.touch(Verb::Read);
            match tree.choice::<DiscardMode>("target") {
                Some(
                    DiscardMode::DiscardPlans
                    | DiscardMode::DiscardSequences
                    | DiscardMode::DiscardTemp,
                ) => {}
                _ => {
                    walk.reset_all();
                    walk.script.change_role(RoleSchema::Unknown);
                    walk.script.deallocate(None);
                }
            }
        }
        _ => return false,
    }
    true
}

fn transaction(walk: &mut Walk<'_, '_>, tree: &Tree) {
    walk.effects.touch(Verb::Read);
    match tree.choice::<TransactionStmtKind>("kind") {
        Some(
            TransactionStmtKind::TransStmtBegin
            | TransactionStmtKind::TransStmtStart
            | TransactionStmtKind::TransStmtSavepoint
            | TransactionStmtKind::TransStmtRelease
            | TransactionStmtKind::TransStmtRollbackPrepared,
        ) => {}
        // It can have made a schema, and given a role another name.
        Some(TransactionStmtKind::TransStmtCommitPrepared) => walk.script.rename_roles(),
        Some(TransactionStmtKind::TransStmtCommit) => walk.script.commit(),
        // Where there is no transaction it does nothing, and says that it has rolled back.
        Some(TransactionStmtKind::TransStmtPrepare) => {
            walk.script.commit();
            walk.script.end_unseen();
        }
        Some(TransactionStmtKind::TransStmtRollback | TransactionStmtKind::TransStmtRollbackTo) => {
            walk.script.roll_back();
        }
        Some(TransactionStmtKind::Undefined) | None => walk.effects.add_anything(Verb::Unknown),
    }
}

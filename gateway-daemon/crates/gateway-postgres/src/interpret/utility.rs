//! Statements other than queries: which verbs, on which objects.
mod data;
mod define;
mod naming;
mod session;

use super::settings;
use super::tree::Tree;
use super::walk::Walk;

/// Gives a statement its meaning. False when the kind of node is none that is known.
pub(super) fn statement<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) -> bool {
    session::statement(walk, tree)
        || data::statement(walk, tree)
        || define::statement(walk, tree)
        || define::of_server(walk, tree)
        || define::of_rights(walk, tree)
}

/// Does a statement mean the same whatever literals it has, but for what is found in the walk?
pub(super) fn is_free_of_literals(tree: &Tree) -> bool {
    match tree.kind() {
        "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" | "ExecuteStmt"
        | "TransactionStmt" | "FetchStmt" => true,
        "VariableSetStmt" => settings::is_free_of_literals(tree),
        _ => false,
    }
}

//! Functions and operators that are known: what only computes, and what is called without looking
//! like a call.
//!
//! PostgreSQL takes `(x).f` and `x.f` for `f(x)` where there is no such column, and older servers
//! take `JSON_SCALAR(x)` for a call of somebody's function, which newer grammars made syntax.
use super::nodes::is_star;
use crate::interpret::builtin::{self, Meaning};
use crate::interpret::calls::is_between;
use crate::interpret::tree::Tree;
use crate::mask::telling;

/// Functions that keep in the session what they are given, where others find it.
const KEEPING_FUNCTIONS: &[&str] = &["setseed"];

/// Functions of extensions that only compute, whatever schema they are in.
pub(crate) const EXTENSION_FUNCTIONS: &[&str] = &[
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

/// Is it a call of a function of PostgreSQL's own that only computes?
pub(super) fn is_proven_call(parts: &[&str]) -> bool {
    match parts {
        [name] | ["pg_catalog", name] => {
            builtin::function(name) == Some(Meaning::Pure) && !KEEPING_FUNCTIONS.contains(name)
        }
        [.., "information_schema", name] => builtin::is_information_function(name),
        _ => false,
    }
}

/// Is it a function that returns nothing of a table?
pub(super) fn is_known_call(parts: &[&str]) -> bool {
    let last = parts.last().copied().unwrap_or_default();
    let is_own = match parts {
        [name] | ["pg_catalog", name] => matches!(
            builtin::function(name),
            Some(Meaning::Pure | Meaning::Sequence | Meaning::SetConfig)
        ),
        _ => is_proven_call(parts),
    };
    let is_lock = last.starts_with("pg_advisory_") || last.starts_with("pg_try_advisory_");
    (is_own || is_lock || EXTENSION_FUNCTIONS.contains(&last)) && !telling::is_function(last)
}

/// Is a function of PostgreSQL's own harmless as `row.name`: does it only compute, and return
/// nothing of a table?
pub(crate) fn only_computes(name: &str) -> bool {
    is_proven_call(&[name]) && is_known_call(&[name])
}

/// Would a function or an operator of this name pass for one of PostgreSQL's own, without a schema?
pub(crate) fn passes_for_known(name: &str) -> bool {
    is_known_call(&[name]) || builtin::is_operator(name)
}

/// Functions that make a row of whatever type the row has that they are given.
pub(super) fn makes_row(parts: &[&str]) -> bool {
    matches!(
        parts.last(),
        Some(
            &("json_populate_record"
                | "json_populate_recordset"
                | "jsonb_populate_record"
                | "jsonb_populate_record_valid"
                | "jsonb_populate_recordset")
        )
    )
}

/// The operators that a node carries are all of PostgreSQL's own.
pub(super) fn has_known_operator(tree: &Tree) -> bool {
    let list = match tree.kind() {
        "AExpr" => "name",
        "SubLink" => "oper_name",
        "SortBy" => "use_op",
        _ => return true,
    };
    // What runs for BETWEEN are `>=` and `<=`.
    tree.kind() == "AExpr" && is_between(tree)
        || match tree.strings(list).as_slice() {
            [] => true,
            [name] | ["pg_catalog", name] => builtin::is_operator(name),
            // Somebody's own, whatever it is called.
            _ => false,
        }
}

/// The functions that syntax of newer grammars is a call of where the server is older.
pub(super) fn words_of(tree: &Tree) -> &'static [&'static str] {
    match tree.kind() {
        "JsonParseExpr" => &["json"],
        "JsonScalarExpr" => &["json_scalar"],
        "JsonSerializeExpr" => &["json_serialize"],
        "JsonObjectConstructor" => &["json_object"],
        "JsonArrayConstructor" | "JsonArrayQueryConstructor" => &["json_array"],
        "JsonObjectAgg" => &["json_objectagg"],
        "JsonArrayAgg" => &["json_arrayagg"],
        "JsonFuncExpr" => &["json_exists", "json_query", "json_value"],
        "JsonTable" => &["json_table"],
        "MergeSupportFunc" => &["merge_action"],
        _ => &[],
    }
}

/// All of them.
pub(crate) const WORDS: &[&str] = &[
    "json",
    "json_array",
    "json_arrayagg",
    "json_exists",
    "json_object",
    "json_objectagg",
    "json_query",
    "json_scalar",
    "json_serialize",
    "json_table",
    "json_value",
    "merge_action",
];

/// The names that `(expression).name…` takes parts by.
pub(super) fn parts_taken(tree: &Tree) -> Vec<&str> {
    match tree.kind() {
        "AIndirection" => tree.strings("indirection"),
        _ => Vec::new(),
    }
}

/// `row.name`, if it is a name with a qualifier.
pub(super) fn qualified_name(tree: &Tree) -> Option<(&str, &str)> {
    if tree.kind() != "ColumnRef" || is_star(tree) {
        return None;
    }
    match tree.strings("fields").as_slice() {
        [.., row, name] => Some((row, name)),
        _ => None,
    }
}

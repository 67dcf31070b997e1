//! Small questions about the parse tree that several parts of the analysis ask.
use crate::interpret::tree::{Tree, Value};
use pg_query::protobuf::SetOperation;

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

/// Visits all nodes of a tree, its root first.
pub(super) fn every_node<'a>(tree: &'a Tree, work: &mut dyn FnMut(&'a Tree)) {
    work(tree);
    for (_, value) in tree.fields() {
        each(value, &mut |below| every_node(below, work));
    }
}

/// Is a node like that in the tree, its root included?
pub(super) fn any_node<'a>(tree: &'a Tree, is_one: &dyn Fn(&'a Tree) -> bool) -> bool {
    let mut found = is_one(tree);
    for (_, value) in tree.fields() {
        each(value, &mut |below| found = found || any_node(below, is_one));
    }
    found
}

/// Every text of a `String` node, and every text that names something.
pub(super) fn strings_below<'a>(tree: &'a Tree, words: &mut Vec<&'a str>) {
    for (_, value) in tree.fields() {
        if let Value::Text(text) = value {
            words.push(text);
        }
        each(value, &mut |below| strings_below(below, words));
    }
}

/// The name that the columns of a table in FROM, or of a target, are qualified by.
pub(super) fn visible_name(range: &Tree) -> &str {
    range
        .tree("alias")
        .map_or(range.text("relname"), |alias| alias.text("aliasname"))
}

/// The names that a join goes by.
pub(super) fn join_aliases(join: &Tree) -> impl Iterator<Item = &Tree> {
    ["alias", "join_using_alias"]
        .into_iter()
        .filter_map(|field| join.tree(field))
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

/// The name that an expression is, if it is one without a qualifier.
pub(super) fn bare_name(value: &Tree) -> Option<&str> {
    if value.kind() != "ColumnRef" || is_star(value) {
        return None;
    }
    match value.strings("fields").as_slice() {
        [name] => Some(name),
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

/// Where a query stores its rows: the first arm of UNION says it for all (`transformSetOperationStmt`).
pub(super) fn into_clause(query: &Tree) -> Option<&Tree> {
    let mut first = query;
    while let Some(arm) = first.tree("larg") {
        first = arm;
    }
    first.tree("into_clause")
}

/// The relation that a statement makes.
pub(super) fn made_relation(tree: &Tree) -> Option<&Tree> {
    match tree.kind() {
        "CreateStmt" => tree.tree("relation"),
        "CreateTableAsStmt" => tree.tree("into")?.tree("rel"),
        "SelectStmt" => into_clause(tree)?.tree("rel"),
        "ViewStmt" => tree.tree("view"),
        _ => None,
    }
}

/// Does the field hold the name of a relation that the statement makes, and not one that it reads?
pub(super) fn makes_relation(kind: &str, field: &str) -> bool {
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

//! Statements that move, lock, remove or explain data, and those that run code.
use crate::interpret::effects::EffectSet;
use crate::interpret::names;
use crate::interpret::tree::{Tree, Value};
use crate::interpret::walk::Walk;
use gateway_core::Verb;
use pg_query::protobuf::{DropBehavior, ObjectType};

pub(super) fn statement<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) -> bool {
    match tree.kind() {
        "CopyStmt" => copy(walk, tree),
        "TruncateStmt" => {
            walk.in_ambient(Verb::Delete, |walk| walk.children(tree));
            cascade(walk, tree, Verb::Delete);
        }
        "LockStmt" => walk.in_ambient(Verb::Write, |walk| walk.children(tree)),
        "RefreshMatViewStmt" => walk.in_ambient(Verb::Write, |walk| walk.children(tree)),
        "CreateTableAsStmt" => {
            if let Some(into) = tree.tree("into") {
                walk.new_table(into);
            }
            match tree.choice::<ObjectType>("objtype") {
                // Its query runs again whenever it is refreshed.
                Some(ObjectType::ObjectMatview) => {
                    walk.in_definition(|walk| walk.value(tree.get("query")));
                }
                _ => walk.value(tree.get("query")),
            }
        }
        "ExplainStmt" => explain(walk, tree),
        "DoStmt" => {
            walk.effects.add_anything(Verb::Execute);
            walk.script.has_where = false;
            walk.script.end_unseen();
        }
        "CallStmt" => {
            walk.script.end_unseen();
            if let Some(call) = tree.tree("funccall") {
                let parts = call.strings("funcname");
                let objects = match parts.as_slice() {
                    [name] => names::routine(&walk.script.path, name),
                    parts => names::in_path(&walk.script.path, parts),
                };
                walk.effects.add_all(Verb::Execute, objects);
            }
            // The call itself is walked too: it can name what is worse than a procedure.
            walk.children(tree);
        }
        _ => return false,
    }
    true
}

/// CASCADE reaches what the statement does not name.
pub(super) fn cascade(walk: &mut Walk<'_, '_>, tree: &Tree, verb: Verb) {
    if tree.choice::<DropBehavior>("behavior") == Some(DropBehavior::DropCascade) {
        walk.effects.add_anything(verb);
    }
}

/// COPY: what it reads or writes, `transfer` of the same, and `admin` for a file or a program of
/// the server.
fn copy<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    walk.script.copies_in |= tree.flag("is_from") && tree.text("filename").is_empty();
    let outer = std::mem::take(&mut walk.effects);
    let verb = if tree.flag("is_from") {
        Verb::Write
    } else {
        Verb::Read
    };
    if let Some(range) = tree.tree("relation") {
        walk.target(range, verb);
    } else {
        walk.effects.touch(Verb::Read);
    }
    walk.in_query(|walk| walk.children_but(tree, &["relation"]));
    let inner: EffectSet = std::mem::replace(&mut walk.effects, outer);
    walk.effects.unite(inner.effects());
    walk.act(Verb::Transfer, inner.objects());
    let file = tree.text("filename");
    if tree.flag("is_program") {
        walk.effects
            .add(Verb::Admin, names::of_kind("program", file));
    } else if !file.is_empty() {
        walk.effects.add(Verb::Admin, names::server_file(file));
    }
}

/// EXPLAIN reads what the statement would touch. With ANALYZE it runs it.
fn explain<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    walk.effects.touch(Verb::Read);
    let runs = tree.trees("options").any(|option| {
        option.text("defname").eq_ignore_ascii_case("analyze") && !is_certainly_false(option)
    });
    let before = walk.plan_only;
    walk.plan_only = before || !runs;
    walk.value(tree.get("query"));
    walk.plan_only = before;
}

fn is_certainly_false(option: &Tree) -> bool {
    let Some(argument) = option.tree("arg") else {
        return false;
    };
    match argument.kind() {
        "String" => {
            let text = argument.text("sval");
            text.eq_ignore_ascii_case("false") || text.eq_ignore_ascii_case("off")
        }
        "Integer" => *argument.get("ival") == Value::Number(0),
        _ => false,
    }
}

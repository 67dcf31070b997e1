//! DDL that reaches beyond the database: other hosts, files and code of the server.
use crate::interpret::classification::anything;
use crate::interpret::names;
use crate::interpret::settings::decides_reading;
use crate::interpret::tree::Tree;
use crate::interpret::walk::Walk;
use gateway_core::{Object, Verb};
use pg_query::protobuf::PublicationObjSpecType;

/// What a statement does beside being DDL.
const DEFINE: &[Verb] = &[Verb::Define];
const DEFINE_AND_ADMIN: &[Verb] = &[Verb::Define, Verb::Admin];
const ADMIN: &[Verb] = &[Verb::Admin];

pub(in super::super) fn statement<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) -> bool {
    let kind = tree.kind();
    let (verbs, object) = match kind {
        "AlterSystemStmt" => {
            let setting = tree
                .tree("setstmt")
                .map(|set| set.text("name"))
                .unwrap_or_default();
            let object = match setting {
                "" => anything(),
                // Of every session from then on, this one too.
                name if decides_reading(name) => anything(),
                name => names::of_kind("parameter", &name.to_ascii_lowercase()),
            };
            walk.act(Verb::Admin, [object]);
            return true;
        }
        "LoadStmt" => (ADMIN, names::server_file(tree.text("filename"))),
        "CheckPointStmt" => (ADMIN, anything()),
        "CreateExtensionStmt" | "AlterExtensionStmt" | "AlterExtensionContentsStmt" => {
            (DEFINE_AND_ADMIN, named(tree, "extension", "extname"))
        }
        "CreatePLangStmt" => (DEFINE_AND_ADMIN, named(tree, "language", "plname")),
        "CreateAmStmt" => (DEFINE_AND_ADMIN, named(tree, "access_method", "amname")),
        "CreateFdwStmt" | "AlterFdwStmt" => (
            DEFINE_AND_ADMIN,
            named(tree, "foreign_data_wrapper", "fdwname"),
        ),
        "CreateForeignServerStmt"
        | "AlterForeignServerStmt"
        | "CreateUserMappingStmt"
        | "AlterUserMappingStmt"
        | "DropUserMappingStmt" => (DEFINE_AND_ADMIN, named(tree, "server", "servername")),
        "ImportForeignSchemaStmt" => {
            // The tables that it lists are those of the other server.
            walk.act(
                Verb::Define,
                [names::schema_wide(tree.text("local_schema"))],
            );
            walk.act(Verb::Admin, [named(tree, "server", "server_name")]);
            return true;
        }
        "CreateSubscriptionStmt" | "AlterSubscriptionStmt" | "DropSubscriptionStmt" => {
            (DEFINE_AND_ADMIN, named(tree, "subscription", "subname"))
        }
        "CreatePublicationStmt" | "AlterPublicationStmt" => {
            publication(walk, tree);
            return true;
        }
        "PublicationObjSpec" => {
            published(walk, tree);
            return true;
        }
        "CreateTableSpaceStmt" | "DropTableSpaceStmt" | "AlterTableSpaceOptionsStmt" => (
            DEFINE_AND_ADMIN,
            named(tree, "tablespace", "tablespacename"),
        ),
        "AlterTableMoveAllStmt" => (DEFINE, anything()),
        "CreatedbStmt"
        | "AlterDatabaseStmt"
        | "AlterDatabaseRefreshCollStmt"
        | "AlterDatabaseSetStmt"
        | "DropdbStmt" => (DEFINE, named(tree, "database", "dbname")),
        "CreateEventTrigStmt" => {
            walk.runs_later(&tree.strings("funcname"));
            (DEFINE, named(tree, "event_trigger", "trigname"))
        }
        "AlterEventTrigStmt" => (DEFINE, named(tree, "event_trigger", "trigname")),
        _ => return false,
    };
    for verb in verbs {
        walk.act(*verb, [object.clone()]);
    }
    // ALTER DATABASE SET is for the sessions to come, not for this one.
    if kind != "AlterDatabaseSetStmt" {
        walk.define(tree);
    }
    true
}

fn named(tree: &Tree, kind: &str, field: &str) -> Object {
    names::of_kind(kind, tree.text(field))
}

/// A publication gives what it names to whoever may replicate.
fn publication<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    walk.act(Verb::Define, [named(tree, "publication", "pubname")]);
    if tree.flag("for_all_tables") {
        walk.act(Verb::Define, [anything()]);
    }
    walk.define(tree);
}

/// One of the things that are published.
fn published<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    use PublicationObjSpecType as Kind;
    match tree.choice::<Kind>("pubobjtype") {
        Some(Kind::PublicationobjTable) => {}
        Some(Kind::PublicationobjTablesInSchema) => {
            walk.act(Verb::Define, [names::schema_wide(tree.text("name"))]);
        }
        _ => walk.act(Verb::Define, [anything()]),
    }
    walk.children(tree);
}

//! What a statement does to the server itself, beyond the tables of its databases: to its own
//! catalogues, to its files, to what it loads and runs. With any of these a masked value can be shown
//! under another name, or code can be had to run that nobody has seen.
use super::nodes::{any_node, each, made_relation};
use super::text::leaves_catalogue;
use crate::interpret::builtin::{self, Meaning};
use crate::interpret::calls::literal_text;
use crate::interpret::settings::name_in_condition;
use crate::interpret::tree::{Tree, Value};
use crate::mask::outlook::Outlook;
use pg_query::protobuf::{DropBehavior, ObjectType, TransactionStmtKind, VariableSetKind};

/// Functions that write files of the server, have it load a library, or run a text, besides those of
/// PostgreSQL's own that do the last. What they read they return, and that is covered.
const CODE_FUNCTIONS: &[&str] = &[
    "lo_import",
    "lo_export",
    "lo_from_bytea",
    "lo_put",
    "lowrite",
    // Of extensions (tablefunc, xml2): they run a text, as `query_to_xml` does.
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "crosstab_hash",
    "crosstabn",
    "connectby",
    "connectby_text",
    "connectby_text_serial",
    "xpath_table",
    // Whether there is such a part of a file, and which bytes are no text, shows in errors and rows.
    "pg_read_file",
    "pg_read_binary_file",
    "pg_stat_file",
    "pg_file_read",
    // The plugin is a library.
    "pg_create_logical_replication_slot",
    "pg_copy_logical_replication_slot",
];

/// Relations of `information_schema`: their views can be replaced without any right over the system's
/// own catalogues, since they are made like any other.
const INFORMATION: &str = "_pg_foreign_data_wrappers _pg_foreign_servers _pg_foreign_table_columns
    _pg_foreign_tables _pg_user_mappings administrable_role_authorizations applicable_roles
    attributes character_sets check_constraint_routine_usage check_constraints
    collation_character_set_applicability collations column_column_usage column_domain_usage
    column_options column_privileges column_udt_usage columns constraint_column_usage
    constraint_table_usage data_type_privileges domain_constraints domain_udt_usage domains
    element_types enabled_roles foreign_data_wrapper_options foreign_data_wrappers
    foreign_server_options foreign_servers foreign_table_options foreign_tables
    information_schema_catalog_name key_column_usage parameters referential_constraints
    role_column_grants role_routine_grants role_table_grants role_udt_grants role_usage_grants
    routine_column_usage routine_privileges routine_routine_usage routine_sequence_usage
    routine_table_usage routines schemata sequences sql_features sql_implementation_info sql_parts
    sql_sizing table_constraints table_privileges tables transforms triggered_update_columns
    triggers udt_privileges usage_privileges user_defined_types user_mapping_options user_mappings
    view_column_usage view_routine_usage view_table_usage views";

/// Does a setting of this name say what the server loads or runs, or let its own catalogues be
/// changed?
pub(crate) fn is_of_server(setting: &str) -> bool {
    let name = setting.to_ascii_lowercase();
    // Those of languages: what runs when one begins (`plperl.on_init`, `pltcl.start_proc`), or what
    // it is loaded from (`pljava.libjvm_location`).
    let is_of_language = name.starts_with("pl") && name.contains('.');
    name.ends_with("_preload_libraries")
        || matches!(
            name.as_str(),
            "allow_system_table_mods"
                | "dynamic_library_path"
                | "extension_control_path"
                | "jit_provider"
        )
        || is_of_language && !name.starts_with("plpgsql.")
}

/// Does a statement change the server itself?
pub(super) fn changes_server(tree: &Tree, outlook: &Outlook) -> bool {
    any_node(tree, &|part| {
        calls_code(part) || sets(part) || writes_file(part)
    }) || sets_by_call(tree, None, outlook)
        || !leaves_catalogue(tree) && any_node(tree, &|part| is_call_of(part, "set_config"))
        || changes_catalogues(tree, outlook)
}

/// Does a query read PostgreSQL's own catalogues? What is written to a view of that is written there.
pub(super) fn reads_catalogues(tree: &Tree, outlook: &Outlook) -> bool {
    any_node(tree, &|part| {
        part.kind() == "RangeVar" && is_of_catalogues(part, false, outlook)
    })
}

/// Does EXPLAIN say how much the statement wrote, or which triggers that ran: one of a foreign key does
/// where a value has changed?
pub(super) fn measures_writes(explain: &Tree) -> bool {
    let has = |name: &str| {
        let mut options = explain.trees("options");
        options.any(|option| option.text("defname").eq_ignore_ascii_case(name))
    };
    has("wal") || has("analyze") && any_node(explain, &is_write)
}

pub(super) fn is_write(tree: &Tree) -> bool {
    matches!(
        tree.kind(),
        "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt"
    )
}

/// Does a statement run triggers of tables that it does not name? Those that TRUNCATE empties as well,
/// or any that were put off until SET CONSTRAINTS … IMMEDIATE.
pub(super) fn runs_other_triggers(tree: &Tree) -> bool {
    match tree.kind() {
        "TruncateStmt" => {
            tree.choice::<DropBehavior>("behavior") != Some(DropBehavior::DropRestrict)
        }
        "ConstraintsSetStmt" => !tree.flag("deferred"),
        _ => false,
    }
}

/// Is it about all the tables that there are, whose indexes and statistics can call anything?
pub(super) fn is_about_everything(tree: &Tree) -> bool {
    match tree.kind() {
        "ClusterStmt" | "ReindexStmt" => tree.tree("relation").is_none(),
        "VacuumStmt" => tree.list("rels").is_empty(),
        _ => false,
    }
}

/// Statements that event triggers are for, beside those that change what the catalogue says of names.
const EVENTS: &[&str] = &[
    "LoadStmt",
    "RefreshMatViewStmt",
    "CommentStmt",
    "GrantStmt",
    "GrantRoleStmt",
    "IndexStmt",
    "ReindexStmt",
    "ClusterStmt",
];

/// Is it one of the statements that event triggers are for, or may it be one?
pub(super) fn is_event(tree: &Tree) -> bool {
    !leaves_catalogue(tree) || any_node(tree, &|part| EVENTS.contains(&part.kind()))
}

/// The cursors on whose rows a statement acts: WHERE CURRENT OF.
pub(super) fn cursors_acted_on(tree: &Tree) -> Vec<Box<str>> {
    let mut names = Vec::new();
    current_of(tree, &mut names);
    names
}

fn current_of(tree: &Tree, names: &mut Vec<Box<str>>) {
    if tree.kind() == "CurrentOfExpr" {
        names.push(tree.text("cursor_name").into());
    }
    for (_, value) in tree.fields() {
        each(value, &mut |below| current_of(below, names));
    }
}

fn calls_code(part: &Tree) -> bool {
    let is_code = |name: &&str| {
        CODE_FUNCTIONS.contains(name)
            || name.starts_with("binary_upgrade_")
            || name.starts_with("pg_ls_")
            || builtin::extension_function(name).is_some()
            || matches!(builtin::function(name), Some(Meaning::RunsText))
    };
    match part.kind() {
        "FuncCall" => part.strings("funcname").last().is_some_and(is_code),
        // `(x).f` and `x.f` are calls as well.
        "AIndirection" => part.strings("indirection").iter().any(is_code),
        "ColumnRef" => match part.strings("fields").as_slice() {
            [_, .., name] => is_code(name),
            _ => false,
        },
        _ => false,
    }
}

fn is_call_of(tree: &Tree, name: &str) -> bool {
    tree.kind() == "FuncCall" && tree.strings("funcname").last() == Some(&name)
}

fn sets(part: &Tree) -> bool {
    part.kind() == "VariableSetStmt"
        && is_of_server(part.text("name"))
        && !matches!(
            part.choice::<VariableSetKind>("kind"),
            Some(VariableSetKind::VarReset | VariableSetKind::VarSetDefault)
        )
}

/// A file of the server could be one that it is configured by.
fn writes_file(part: &Tree) -> bool {
    part.kind() == "CopyStmt" && !part.text("filename").is_empty()
}

/// Does `set_config` set such a setting, or one whose name is not known? `named`: the one that
/// `name` can only be here, in `FROM pg_settings WHERE name = '…'`.
fn sets_by_call<'a>(tree: &'a Tree, named: Option<&'a str>, outlook: &Outlook) -> bool {
    let mut named = named;
    if tree.kind() == "SelectStmt" {
        named = settings_row(tree, outlook);
    }
    if is_call_of(tree, "set_config") {
        let name = tree.list("args").first();
        let is_name = |value: &Value| {
            let column = value.tree().filter(|tree| tree.kind() == "ColumnRef");
            column.is_some_and(|column| column.strings("fields") == ["name"])
        };
        let setting = name.and_then(|name| literal_text(name).or(named.filter(|_| is_name(name))));
        if setting.is_none_or(is_of_server) {
            return true;
        }
    }
    let mut found = false;
    for (_, value) in tree.fields() {
        each(value, &mut |below| {
            found = found || sets_by_call(below, named, outlook);
        });
    }
    found
}

fn settings_row<'a>(query: &'a Tree, outlook: &Outlook) -> Option<&'a str> {
    let [source] = query.list("from_clause") else {
        return None;
    };
    let range = source.tree().filter(|range| range.kind() == "RangeVar")?;
    let is_own = range.text("relname") == "pg_settings"
        && is_catalogue(range, false, outlook)
        && !outlook.named("", "pg_settings").known
        && query.tree("with_clause").is_none();
    name_in_condition(query.tree("where_clause").filter(|_| is_own)?)
}

fn changes_catalogues(tree: &Tree, outlook: &Outlook) -> bool {
    let is_own_schema = |name: &str| is_own_schema(name);
    match tree.kind() {
        "AlterObjectSchemaStmt" if is_own_schema(tree.text("newschema")) => return true,
        "RenameStmt" if tree.choice("rename_type") == Some(ObjectType::ObjectSchema) => {
            return is_own_schema(tree.text("subname"));
        }
        "DropStmt" => return drops_catalogue(tree),
        _ => {}
    }
    let mut found = false;
    targets(tree, &mut |range, is_new| {
        found = found || is_of_catalogues(range, is_new, outlook);
    });
    found || replaces_information(tree)
}

fn is_own_schema(name: &str) -> bool {
    matches!(name, "pg_catalog" | "information_schema") || name.starts_with("pg_toast")
}

/// Is it one of PostgreSQL's own relations, or a view of one?
fn is_of_catalogues(range: &Tree, is_new: bool, outlook: &Outlook) -> bool {
    let named = outlook.named(range.text("schemaname"), range.text("relname"));
    is_catalogue(range, is_new, outlook) || named.doing.reads_catalogues
}

/// Is it one of PostgreSQL's own relations, or can it be? `is_new`: it is made only now.
fn is_catalogue(range: &Tree, is_new: bool, outlook: &Outlook) -> bool {
    match (range.text("schemaname"), range.text("relname")) {
        ("", name) if builtin::is_relation(name) => true,
        // One of a server that is newer than the list.
        ("", name) => name.starts_with("pg_") && !is_new && !outlook.named("", name).known,
        (schema, _) => is_own_schema(schema),
    }
}

fn drops_catalogue(tree: &Tree) -> bool {
    let mut found = false;
    each(tree.get("objects"), &mut |object| {
        found = found
            || any_node(object, &|part| {
                part.kind() == "String" && is_own_schema(part.text("sval"))
            });
        if let [name] = object_parts(object).as_slice() {
            found = found || builtin::is_relation(name);
        }
    });
    found
}

fn object_parts(object: &Tree) -> Vec<&str> {
    match object.kind() {
        "List" => object.strings("items"),
        _ => Vec::new(),
    }
}

/// With `information_schema` in the search path, such a name is that of one of its views.
fn replaces_information(tree: &Tree) -> bool {
    any_node(tree, &|part| {
        part.kind() == "ViewStmt"
            && part.flag("replace")
            && made_relation(part).is_some_and(|view| {
                view.text("schemaname").is_empty()
                    && INFORMATION
                        .split_whitespace()
                        .any(|name| name == view.text("relname"))
            })
    })
}

/// The relations that a statement does not only read, each with whether it makes them.
fn targets<'a>(tree: &'a Tree, tell: &mut impl FnMut(&'a Tree, bool)) {
    match tree.kind() {
        // They leave what is in relations, and what those are called, as it is.
        "LockStmt" | "VacuumStmt" | "ReindexStmt" | "ClusterStmt" | "GrantStmt" | "CommentStmt" => {
            return;
        }
        "RangeVar" => return tell(tree, false),
        _ => {}
    }
    for (field, value) in tree.fields() {
        match (tree.kind(), field) {
            ("SelectStmt", "from_clause" | "locking_clause")
            | ("UpdateStmt", "from_clause")
            | ("DeleteStmt", "using_clause")
            | ("MergeStmt", "source_relation")
            | ("CreateStatsStmt", "relations")
            | ("TableLikeClause", "relation")
            | ("Constraint", "pktable") => {}
            ("CopyStmt", "relation") if !tree.flag("is_from") => {}
            ("CreateStmt", "relation")
            | ("CreateSeqStmt", "sequence")
            | ("CompositeTypeStmt", "typevar")
            | ("IntoClause", "rel") => {
                each(value, &mut |range| tell(range, true));
            }
            ("ViewStmt", "view") => {
                let is_new = !tree.flag("replace");
                each(value, &mut |range| tell(range, is_new));
            }
            _ => each(value, &mut |below| targets(below, &mut *tell)),
        }
    }
}

/// Does it end a transaction that was prepared, of whichever session?
pub(super) fn ends_prepared(tree: &Tree) -> bool {
    tree.kind() == "TransactionStmt"
        && matches!(
            tree.choice::<TransactionStmtKind>("kind"),
            Some(
                TransactionStmtKind::TransStmtCommitPrepared
                    | TransactionStmtKind::TransStmtRollbackPrepared
            )
        )
}

//! DDL: CREATE, ALTER, DROP and what else changes structure, configuration or rights.
mod rights;
mod server;

use super::data::cascade;
use super::naming;
use crate::interpret::context::{CATALOG, RoleSchema, SearchPath};
use crate::interpret::names;
use crate::interpret::tree::{Tree, Value};
use crate::interpret::walk::Walk;
use gateway_core::{Object, Verb};
use pg_query::protobuf::{AlterTableType, ObjectType, ReindexObjectType};

pub(super) use rights::statement as of_rights;
pub(super) use server::statement as of_server;

/// Languages in which a function can do no more than its caller can do in SQL.
const TRUSTED_LANGUAGES: &[&str] = &["sql", "plpgsql", "plperl", "pltcl", "plv8", "pljs"];

pub(super) fn statement<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) -> bool {
    match tree.kind() {
        // All that these touch is named as a table somewhere below.
        "CreateStmt"
        | "CreateForeignTableStmt"
        | "IndexStmt"
        | "CreateSeqStmt"
        | "AlterSeqStmt"
        | "RuleStmt"
        | "CompositeTypeStmt" => walk.define(tree),
        "ViewStmt" => walk.define(tree),
        "AlterTableStmt" => walk.define(tree),
        "AlterTableCmd" => alter_table_command(walk, tree),
        "ClusterStmt" => {
            walk.define(tree);
            walk.define_anything_unless(tree.tree("relation").is_some());
        }
        "VacuumStmt" => {
            walk.define(tree);
            walk.define_anything_unless(!tree.list("rels").is_empty());
        }
        "ReindexStmt" => reindex(walk, tree),
        "CreateTrigStmt" => {
            walk.define(tree);
            walk.runs_later(&tree.strings("funcname"));
        }
        "CreateStatsStmt" | "AlterStatsStmt" => walk.define_name(tree, "defnames"),
        "DefineStmt" => walk.define_name(tree, "defnames"),
        "CreateEnumStmt" | "CreateRangeStmt" | "AlterEnumStmt" | "AlterTypeStmt"
        | "AlterDomainStmt" => {
            walk.define_name(tree, "type_name");
            if tree.kind() == "AlterDomainStmt" {
                cascade(walk, tree, Verb::Define);
            }
        }
        "CreateDomainStmt" => walk.define_name(tree, "domainname"),
        "AlterCollationStmt" => walk.define_name(tree, "collname"),
        "CreateConversionStmt" => walk.define_name(tree, "conversion_name"),
        "CreateOpClassStmt" => walk.define_name(tree, "opclassname"),
        "CreateOpFamilyStmt" | "AlterOpFamilyStmt" => walk.define_name(tree, "opfamilyname"),
        "AlterTsDictionaryStmt" => walk.define_name(tree, "dictname"),
        "AlterTsConfigurationStmt" => walk.define_name(tree, "cfgname"),
        "CreateFunctionStmt" => create_function(walk, tree),
        "AlterFunctionStmt" => walk.define_routine(tree, "func"),
        "AlterOperatorStmt" => walk.define_routine(tree, "opername"),
        "CreateCastStmt" => walk.define_types(tree, &["sourcetype", "targettype"]),
        "CreateTransformStmt" => walk.define_types(tree, &["type_name"]),
        "CreateSchemaStmt" => create_schema(walk, tree),
        "DropStmt" => drop_objects(walk, tree),
        "RenameStmt" => rename(walk, tree),
        "AlterObjectSchemaStmt" => move_to_schema(walk, tree),
        "AlterObjectDependsStmt" => walk.define_typed(tree, "object_type"),
        "CommentStmt" | "SecLabelStmt" => walk.define_typed(tree, "objtype"),
        _ => return false,
    }
    true
}

impl<'a> Walk<'a, '_> {
    /// Every table below is defined anew; queries below read, functions are called.
    pub(super) fn define(&mut self, tree: &'a Tree) {
        if matches!(
            tree.kind(),
            "DefineStmt"
                | "CreateCastStmt"
                | "CreateOpClassStmt"
                | "AlterOpFamilyStmt"
                | "CreateConversionStmt"
                | "CreateTransformStmt"
                | "AlterOperatorStmt"
        ) {
            self.calls_below(tree);
        }
        self.in_ambient(Verb::Define, |walk| {
            walk.in_definition(|walk| walk.children(tree));
        });
    }

    /// Functions that are named below, without being called there: of an aggregate, an operator, a cast.
    fn calls_below(&mut self, tree: &'a Tree) {
        for field in ["objname", "names", "func_name"] {
            if tree.fields().any(|(name, _)| name == field) {
                let name = tree.strings(field).last().copied();
                name.into_iter().for_each(|name| self.call_unseen(name));
            }
        }
        for (_, value) in tree.fields() {
            match value {
                Value::Tree(below) => self.calls_below(below),
                Value::List(values) => {
                    let below = values.iter().filter_map(Value::tree);
                    below.for_each(|below| self.calls_below(below));
                }
                _ => {}
            }
        }
    }

    /// Does something where what is called runs only when what is defined is used.
    pub(super) fn in_definition(&mut self, work: impl FnOnce(&mut Self)) {
        let before = std::mem::replace(&mut self.is_defined, true);
        work(self);
        self.is_defined = before;
    }

    fn define_anything_unless(&mut self, is_named: bool) {
        if !is_named {
            self.act(Verb::Define, [crate::interpret::classification::anything()]);
        }
    }

    /// The object is named by a list of parts in this field.
    fn define_name(&mut self, tree: &'a Tree, field: &str) {
        let objects = names::in_path(&self.script.path, &tree.strings(field));
        self.act(Verb::Define, objects);
        self.define(tree);
    }

    /// The object is a function or an operator, with the types of its arguments.
    fn define_routine(&mut self, tree: &'a Tree, field: &str) {
        let parts = tree
            .tree(field)
            .map(|routine| routine.strings("objname"))
            .unwrap_or_default();
        let objects = names::in_path(&self.script.path, &parts);
        self.act(Verb::Define, objects);
        self.define(tree);
    }

    /// The objects are types.
    fn define_types(&mut self, tree: &'a Tree, fields: &[&str]) {
        for field in fields {
            let objects = naming::type_name(&self.script.path, tree.get(field));
            self.act(Verb::Define, objects);
        }
        self.define(tree);
    }

    /// The object is in `relation`, or in `object` with its kind in this field.
    fn define_typed(&mut self, tree: &'a Tree, kind: &str) {
        let objects = self.typed(tree, kind);
        self.act(Verb::Define, objects);
        self.define(tree);
    }

    fn typed(&self, tree: &Tree, kind: &str) -> Vec<Object> {
        let has_relation = tree
            .fields()
            .any(|(name, value)| name == "relation" && matches!(value, Value::Tree(_)));
        match tree.get("object") {
            Value::Nothing if has_relation => Vec::new(),
            object => naming::objects(&self.script.path, tree.choice(kind), object),
        }
    }

    /// A function that will be called by what is defined here.
    fn runs_later(&mut self, parts: &[&str]) {
        match parts {
            [name] => self.unproven(name, names::routine(&self.script.path, name)),
            // Built-in trigger functions touch nothing but the row that they are given.
            [CATALOG, _] => {}
            parts => {
                let objects = names::in_path(&self.script.path, parts);
                self.unproven(parts.last().copied().unwrap_or_default(), objects);
            }
        }
    }
}

/// One command of ALTER TABLE. Some change who may do what.
fn alter_table_command<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    walk.children(tree);
    cascade(walk, tree, Verb::Define);
    let is_right = matches!(
        tree.choice::<AlterTableType>("subtype"),
        Some(
            AlterTableType::AtChangeOwner
                | AlterTableType::AtEnableRowSecurity
                | AlterTableType::AtDisableRowSecurity
                | AlterTableType::AtForceRowSecurity
                | AlterTableType::AtNoForceRowSecurity
        )
    );
    if is_right {
        walk.act_on_defined(Verb::Grant);
    }
}

impl Walk<'_, '_> {
    /// Another verb for all that the statement defines.
    fn act_on_defined(&mut self, verb: Verb) {
        let defined = self.effects.objects_of(Verb::Define);
        self.act(verb, defined);
    }
}

fn reindex<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    walk.define(tree);
    let name = tree.text("name");
    match tree.choice::<ReindexObjectType>("kind") {
        Some(ReindexObjectType::ReindexObjectIndex | ReindexObjectType::ReindexObjectTable) => {}
        Some(ReindexObjectType::ReindexObjectSchema) => {
            walk.act(Verb::Define, [names::schema_wide(name)]);
        }
        _ => walk.define_anything_unless(false),
    }
}

/// CREATE FUNCTION or PROCEDURE. A language that is not known to be safe makes code that can do
/// all that the server can.
fn create_function<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    walk.define_name(tree, "funcname");
    for option in tree
        .trees("options")
        .filter(|option| option.text("defname") == "language")
    {
        let language = option
            .get("arg")
            .string()
            .unwrap_or_default()
            .to_ascii_lowercase();
        if !TRUSTED_LANGUAGES.contains(&language.as_str()) {
            walk.act(Verb::Admin, [names::of_kind("language", &language)]);
        }
    }
}

/// CREATE SCHEMA, where names in the elements are looked up in the new schema first.
fn create_schema<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    let role = tree
        .tree("authrole")
        .map(|role| role.text("rolename"))
        .unwrap_or_default();
    let name = if tree.text("schemaname").is_empty() {
        role
    } else {
        tree.text("schemaname")
    };
    if name.is_empty() {
        walk.define_anything_unless(false);
    } else {
        walk.act(Verb::Define, [names::schema_wide(name)]);
    }
    let before = walk.script.path.clone();
    // Its elements are made by that role.
    let role_schema = match tree.tree("authrole") {
        None => walk.script.role_schema().clone(),
        Some(_) if !role.is_empty() => RoleSchema::of(role),
        Some(_) => RoleSchema::Unknown,
    };
    walk.script.path = match name {
        "" => SearchPath::unknown(),
        name => before.behind(name, &role_schema),
    };
    walk.define(tree);
    walk.script.path = before;
    walk.script.make_schema(name);
}

fn drop_objects<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    let kind = tree.choice::<ObjectType>("remove_type");
    for object in tree.list("objects") {
        let objects = naming::objects(&walk.script.path, kind, object);
        walk.act(Verb::Define, objects);
    }
    cascade(walk, tree, Verb::Define);
    if is_about_rights(kind) {
        walk.act_on_defined(Verb::Grant);
    }
}

/// Is the kind of object one that decides who may do what?
fn is_about_rights(kind: Option<ObjectType>) -> bool {
    matches!(
        kind,
        Some(ObjectType::ObjectPolicy | ObjectType::ObjectRole)
    )
}

/// RENAME: what had the name, and what has it now.
fn rename<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    let kind = tree.choice::<ObjectType>("rename_type");
    let new_name = tree.text("newname");
    let relation = tree.tree("relation");
    let old = match (tree.get("object"), relation, kind) {
        (Value::Nothing, None, Some(kind)) => naming::by_name_alone(kind, &[tree.text("subname")]),
        _ => walk.typed(tree, "rename_type"),
    };
    walk.act(Verb::Define, old);
    walk.define(tree);
    let is_relation = matches!(
        kind,
        Some(
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectSequence
                | ObjectType::ObjectIndex
                | ObjectType::ObjectForeignTable
        )
    );
    let new = match (relation, kind) {
        (Some(range), _) if is_relation => match range.text("schemaname") {
            "" => names::relation(&walk.script.path, &[new_name]),
            schema => vec![names::qualified(schema, new_name)],
        },
        (None, Some(kind @ (ObjectType::ObjectSchema | ObjectType::ObjectDatabase)))
        | (None, Some(kind @ ObjectType::ObjectRole)) => naming::by_name_alone(kind, &[new_name]),
        _ => Vec::new(),
    };
    walk.act(Verb::Define, new);
    if is_relation && new_name == "pg_settings" {
        // As to make one.
        walk.unknown_setting();
    }
    match kind {
        Some(ObjectType::ObjectSchema) => walk.script.make_schema(new_name),
        Some(ObjectType::ObjectRole) => walk.script.rename_roles(),
        _ => {}
    }
    cascade(walk, tree, Verb::Define);
    if is_about_rights(kind) {
        walk.act_on_defined(Verb::Grant);
    }
}

/// SET SCHEMA: what was there, and what is there now.
fn move_to_schema<'a>(walk: &mut Walk<'a, '_>, tree: &'a Tree) {
    walk.define_typed(tree, "object_type");
    let schema = tree.text("newschema");
    let new = match tree.tree("relation") {
        Some(range) => names::qualified(schema, range.text("relname")),
        None => names::schema_wide(schema),
    };
    walk.act(Verb::Define, [new]);
}

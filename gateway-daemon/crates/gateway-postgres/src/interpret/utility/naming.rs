//! The objects that DDL names in other ways than as a table.
use crate::interpret::classification::anything;
use crate::interpret::context::SearchPath;
use crate::interpret::names;
use crate::interpret::tree::{Tree, Value};
use gateway_core::Object;
use pg_query::protobuf::ObjectType;

/// What a name stands for, given the kind of object that the statement says it is.
pub(super) fn objects(path: &SearchPath, kind: Option<ObjectType>, value: &Value) -> Vec<Object> {
    use ObjectType as T;
    let Some(kind) = kind else {
        return vec![anything()];
    };
    match kind {
        T::ObjectTable
        | T::ObjectView
        | T::ObjectMatview
        | T::ObjectSequence
        | T::ObjectIndex
        | T::ObjectForeignTable => relation(path, &value.strings()),
        T::ObjectType | T::ObjectDomain => type_name(path, value),
        T::ObjectFunction
        | T::ObjectProcedure
        | T::ObjectRoutine
        | T::ObjectAggregate
        | T::ObjectOperator => match value.tree() {
            Some(tree) if tree.kind() == "ObjectWithArgs" => {
                names::in_path(path, &tree.strings("objname"))
            }
            _ => vec![anything()],
        },
        T::ObjectCollation
        | T::ObjectConversion
        | T::ObjectStatisticExt
        | T::ObjectTsconfiguration
        | T::ObjectTsdictionary
        | T::ObjectTsparser
        | T::ObjectTstemplate => names::in_path(path, &value.strings()),
        // What belongs to a table is named after it: the last part is its own name.
        T::ObjectColumn
        | T::ObjectRule
        | T::ObjectTrigger
        | T::ObjectPolicy
        | T::ObjectTabconstraint => match value.strings().split_last() {
            Some((_, table)) if !table.is_empty() => relation(path, table),
            _ => vec![anything()],
        },
        T::ObjectDomconstraint => match value.list().first() {
            Some(domain) => type_name(path, domain),
            None => vec![anything()],
        },
        // The first part is the access method.
        T::ObjectOpclass | T::ObjectOpfamily => match value.strings().split_first() {
            Some((_, name)) if !name.is_empty() => names::in_path(path, name),
            _ => vec![anything()],
        },
        T::ObjectCast | T::ObjectTransform => {
            let types = value.list().iter().filter(|part| part.string().is_none());
            or_anything(types.flat_map(|part| type_name(path, part)).collect())
        }
        _ => by_name_alone(kind, &value.strings()),
    }
}

/// What is in no schema, by its name.
pub(super) fn by_name_alone(kind: ObjectType, parts: &[&str]) -> Vec<Object> {
    use ObjectType as T;
    let [name] = parts else {
        return vec![anything()];
    };
    let kind = match kind {
        T::ObjectSchema => return vec![names::schema_wide(name)],
        T::ObjectDatabase => "database",
        T::ObjectRole => "role",
        T::ObjectTablespace => "tablespace",
        T::ObjectExtension => "extension",
        T::ObjectFdw => "foreign_data_wrapper",
        T::ObjectForeignServer => "server",
        T::ObjectLanguage => "language",
        T::ObjectEventTrigger => "event_trigger",
        T::ObjectPublication => "publication",
        T::ObjectSubscription => "subscription",
        T::ObjectAccessMethod => "access_method",
        T::ObjectParameterAcl => "parameter",
        _ => return vec![anything()],
    };
    vec![names::of_kind(kind, name)]
}

/// A type, as a `TypeName` node or as the parts of its name.
pub(super) fn type_name(path: &SearchPath, value: &Value) -> Vec<Object> {
    match value.tree() {
        Some(tree) if tree.kind() == "TypeName" => names::in_path(path, &tree.strings("names")),
        _ => names::in_path(path, &value.strings()),
    }
}

/// The parts of a relation's name.
fn relation(path: &SearchPath, parts: &[&str]) -> Vec<Object> {
    if parts.is_empty() {
        vec![anything()]
    } else {
        names::relation(path, parts)
    }
}

/// A role as it is written in a statement.
pub(super) fn role(tree: Option<&Tree>) -> Object {
    use pg_query::protobuf::RoleSpecType;
    let Some(tree) = tree else { return anything() };
    match tree.choice::<RoleSpecType>("roletype") {
        Some(RoleSpecType::RolespecCstring) => names::of_kind("role", tree.text("rolename")),
        Some(RoleSpecType::RolespecCurrentRole | RoleSpecType::RolespecCurrentUser) => {
            names::of_kind("role", "current_user")
        }
        Some(RoleSpecType::RolespecSessionUser) => names::of_kind("role", "session_user"),
        Some(RoleSpecType::RolespecPublic) => names::of_kind("role", "public"),
        Some(RoleSpecType::Undefined) | None => anything(),
    }
}

/// At least one object.
pub(super) fn or_anything(objects: Vec<Object>) -> Vec<Object> {
    if objects.is_empty() {
        vec![anything()]
    } else {
        objects
    }
}

//! From the names in a statement to the objects that policies know.
//!
//! There is no catalogue to ask which schema of the search path has the table, so a name that
//! several schemas could have stands for one object in each: an allow must cover all of them, and
//! a deny catches any.
use super::builtin;
use super::context::{CATALOG, SearchPath};
use gateway_core::Object;
use std::sync::Arc;

/// A name with its schema: `public.users`. A part that holds a dot or a quote is written in
/// quotes, so that no name can pass for another.
pub(super) fn qualified(schema: &str, name: &str) -> Object {
    Object::Named(Arc::from(format!("{}.{}", part(schema), part(name))))
}

/// A schema with all that is in it: `public.*`.
pub(super) fn schema_wide(schema: &str) -> Object {
    Object::Named(Arc::from(format!("{}.*", part(schema))))
}

/// What is in no schema: `role:alice`, `database:orders`.
pub(super) fn of_kind(kind: &str, name: &str) -> Object {
    Object::Named(Arc::from(format!("{kind}:{name}")))
}

/// A file of the server, by its path. A relative path could pass for the name of a table.
pub(super) fn server_file(path: &str) -> Object {
    if path.starts_with('/') {
        Object::Named(Arc::from(path))
    } else {
        of_kind("file", path)
    }
}

/// A name of which nobody knows the schema.
pub(super) fn unresolved(name: &str) -> Object {
    Object::Unresolved(Arc::from(part(name)))
}

fn part(name: &str) -> String {
    if name.contains(['.', '"']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

/// The objects that a table, view or sequence name can mean.
pub(super) fn relation(path: &SearchPath, parts: &[&str]) -> Vec<Object> {
    match parts {
        [name] if name.starts_with("pg_") => system_relation(path, name),
        _ => in_path(path, parts),
    }
}

/// The objects that the name of anything that lives in a schema can mean. A database name in
/// front is left out: the server takes no other than its own.
pub(super) fn in_path(path: &SearchPath, parts: &[&str]) -> Vec<Object> {
    match parts {
        [] => vec![super::classification::anything()],
        [name] => {
            let schemas = path.schemas().unwrap_or_default();
            let candidates: Vec<Object> = schemas
                .iter()
                .filter(|schema| &***schema != CATALOG)
                .map(|schema| qualified(schema, name))
                .collect();
            if candidates.is_empty() {
                vec![unresolved(name)]
            } else {
                candidates
            }
        }
        [.., schema, name] => vec![qualified(schema, name)],
    }
}

/// A name with the prefix of the catalogues, which PostgreSQL finds in `pg_catalog` first unless
/// the path says otherwise. Extensions and users can have such names too.
fn system_relation(path: &SearchPath, name: &str) -> Vec<Object> {
    let Some(schemas) = path.schemas() else {
        return vec![unresolved(name)];
    };
    let position = path.catalog_position();
    let before = schemas
        .iter()
        .take(position.unwrap_or(0))
        .map(|schema| qualified(schema, name));
    let mut candidates: Vec<Object> = before.collect();
    candidates.push(qualified(CATALOG, name));
    if !builtin::is_relation(name) {
        let after = schemas
            .iter()
            .skip(position.map_or(0, |position| position + 1));
        candidates.extend(after.map(|schema| qualified(schema, name)));
    }
    candidates
}

/// The objects that an unqualified function or operator name can mean when it is not proven to be
/// a built-in one.
pub(super) fn routine(path: &SearchPath, name: &str) -> Vec<Object> {
    let mut candidates = in_path(path, &[name]);
    // Built-in ones that are on no list.
    if path.is_known() && (name.starts_with("pg_") || name.starts_with("binary_upgrade_")) {
        candidates.retain(|object| matches!(object, Object::Named(_)));
        candidates.push(qualified(CATALOG, name));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::super::context::RoleSchema;
    use super::*;

    fn names(objects: &[Object]) -> Vec<String> {
        objects
            .iter()
            .map(|object| match object {
                Object::Named(name) => name.to_string(),
                Object::Unresolved(name) => format!("?{name}"),
            })
            .collect()
    }

    #[test]
    fn a_relation_is_looked_up_along_the_path() {
        let rows: &[(&str, &[&str], &[&str])] = &[
            ("public", &["users"], &["public.users"]),
            ("public", &["audit", "users"], &["audit.users"]),
            ("public", &["shop", "audit", "users"], &["audit.users"]),
            ("a, b", &["users"], &["a.users", "b.users"]),
            ("", &["users"], &["?users"]),
            ("pg_catalog", &["users"], &["?users"]),
            ("public", &["pg_class"], &["pg_catalog.pg_class"]),
            (
                "public",
                &["pg_stat_statements"],
                &["pg_catalog.pg_stat_statements", "public.pg_stat_statements"],
            ),
            (
                "public, pg_catalog",
                &["pg_class"],
                &["public.pg_class", "pg_catalog.pg_class"],
            ),
            (
                "a, pg_catalog, b",
                &["pg_mine"],
                &["a.pg_mine", "pg_catalog.pg_mine", "b.pg_mine"],
            ),
            ("", &["pg_class"], &["pg_catalog.pg_class"]),
            ("public", &["a.b"], &["public.\"a.b\""]),
            ("public", &["a\"b"], &["public.\"a\"\"b\""]),
            ("public", &["a.b", "c"], &["\"a.b\".c"]),
            ("public", &["*"], &["public.*"]),
        ];
        for (path, parts, expected) in rows {
            let objects = relation(&SearchPath::parse(path, &RoleSchema::Absent), parts);
            assert_eq!(names(&objects), *expected, "{path:?} {parts:?}");
        }
        assert_eq!(
            names(&relation(&SearchPath::unknown(), &["users"])),
            ["?users"]
        );
        assert_eq!(
            names(&relation(&SearchPath::unknown(), &["pg_class"])),
            ["?pg_class"]
        );
    }
}

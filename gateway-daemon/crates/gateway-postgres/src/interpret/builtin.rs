//! What PostgreSQL's own functions, operators and catalogues do, by name.
//!
//! The lists of what is free of effects are allow-lists: a name that is not on one is not proven,
//! and a new server version adds nothing by itself.
mod effectful;
mod pure;

use gateway_core::Verb;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::LazyLock;

/// What calling a function of `pg_catalog` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing but compute, or read what the server knows of itself.
    Pure,
    /// An effect on what the function stands for.
    Effect(Verb),
    /// It runs a query that it is given as a text: it can read anything.
    RunsText,
    /// `nextval` and `setval`: an effect on the sequence that the first argument names.
    Sequence,
    /// `set_config`: SET with computed arguments.
    SetConfig,
}

type Names = LazyLock<FxHashSet<&'static str>>;

static PURE: Names = LazyLock::new(|| {
    pure::FUNCTIONS
        .iter()
        .flat_map(|list| list.split_whitespace())
        .collect()
});
static OPERATORS: Names = LazyLock::new(|| pure::OPERATORS.split_whitespace().collect());
static RELATIONS: Names = LazyLock::new(|| pure::RELATIONS.split_whitespace().collect());
static FIELDS: Names = LazyLock::new(|| pure::FIELDS.split_whitespace().collect());
static INFORMATION: Names = LazyLock::new(|| {
    pure::INFORMATION_SCHEMA_FUNCTIONS
        .split_whitespace()
        .collect()
});

static EFFECTFUL: LazyLock<FxHashMap<&'static str, Meaning>> = LazyLock::new(|| {
    effectful::FUNCTIONS
        .iter()
        .flat_map(|(meaning, list)| list.split_whitespace().map(move |name| (name, *meaning)))
        .collect()
});

/// What a function of `pg_catalog` does. `None` when it is not known to be one, or not proven.
pub(super) fn function(name: &str) -> Option<Meaning> {
    if let Some(meaning) = EFFECTFUL.get(name) {
        return Some(*meaning);
    }
    // Statistics: hundreds of readers, with new ones in each version and no writer among them.
    let is_pure = PURE.contains(name) || name.starts_with("pg_stat_get_");
    is_pure.then_some(Meaning::Pure)
}

/// What a function of a well-known extension does, whatever schema the extension is in.
pub(super) fn extension_function(name: &str) -> Option<Verb> {
    let is_admin = effectful::EXTENSION_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || effectful::EXTENSION_FUNCTIONS.contains(&name);
    is_admin.then_some(Verb::Admin)
}

/// Is it a function of `information_schema` that only computes?
pub(super) fn is_information_function(name: &str) -> bool {
    INFORMATION.contains(name)
}

/// Is there such an operator in `pg_catalog`? All of them only compute.
pub(super) fn is_operator(name: &str) -> bool {
    OPERATORS.contains(name)
}

/// Is there such a table or view in `pg_catalog`?
pub(super) fn is_relation(name: &str) -> bool {
    RELATIONS.contains(name)
}

/// Is it a field of what a built-in function returns?
pub(super) fn is_field(name: &str) -> bool {
    FIELDS.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_function_is_both_pure_and_effectful() {
        for name in EFFECTFUL.keys() {
            assert!(!PURE.contains(name), "{name} is on both lists");
            assert!(
                !name.starts_with("pg_stat_get_"),
                "{name} is hidden by the prefix"
            );
        }
    }

    #[test]
    fn no_list_names_anything_twice() {
        for (what, lists) in [
            ("functions", pure::FUNCTIONS.join(" ")),
            ("operators", pure::OPERATORS.to_owned()),
            ("relations", pure::RELATIONS.to_owned()),
            ("fields", pure::FIELDS.to_owned()),
            (
                "effectful",
                effectful::FUNCTIONS
                    .iter()
                    .map(|row| row.1)
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
        ] {
            let mut seen = FxHashSet::default();
            for name in lists.split_whitespace() {
                assert!(seen.insert(name.to_owned()), "{what}: {name}");
            }
        }
    }

    /// What could be mistaken for harmless by who adds to the lists.
    #[test]
    fn what_runs_text_or_reads_files_is_not_pure() {
        for name in "query_to_xml table_to_xml schema_to_xml database_to_xml cursor_to_xml ts_stat \
             ts_rewrite pg_read_file pg_ls_dir lo_get nextval set_config pg_notify dblink \
             pg_terminate_backend pg_logical_slot_peek_changes pg_stat_file pg_stat_reset"
            .split_whitespace()
        {
            assert_ne!(function(name), Some(Meaning::Pure), "{name}");
        }
    }
}

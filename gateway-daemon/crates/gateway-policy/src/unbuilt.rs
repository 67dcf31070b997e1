//! What the policy language knows and this version does not do: refused by name, never ignored.

/// What is said about it.
pub(crate) fn message(what: &str, purpose: &str) -> String {
    format!("{what} is known, but not built in this version: {purpose}")
}

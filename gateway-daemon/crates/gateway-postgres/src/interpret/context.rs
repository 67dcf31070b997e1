//! What must be known of a session before its SQL can be read: name lookup and string syntax.
use rustc_hash::FxHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// The schema that holds PostgreSQL's own functions, operators and catalogues.
pub(super) const CATALOG: &str = "pg_catalog";
/// The alias of a session's own temporary schema.
pub(super) const TEMPORARY: &str = "pg_temp";
/// Longest identifier in bytes; PostgreSQL cuts longer ones (`NAMEDATALEN - 1`).
pub(super) const IDENTIFIER_BYTES_MAX: usize = 63;

/// The settings of a session on which the meaning of its SQL depends.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SqlContext {
    /// Where unqualified names are looked up.
    pub search_path: SearchPath,
    /// The search path is another one when the transaction ends, perhaps.
    pub path_may_end: bool,
    /// Whether a backslash in a plain string is only a backslash.
    pub plain_strings: PlainStrings,
    /// Whether the bytes of a statement certainly are UTF-8 for the server too.
    pub text_encoding: TextEncoding,
}

impl SqlContext {
    /// A number that equal contexts share.
    pub(super) fn digest(&self) -> u64 {
        let flags = u64::from(self.path_may_end) << 2
            | u64::from(self.plain_strings == PlainStrings::Uncertain) << 1
            | u64::from(self.text_encoding == TextEncoding::Uncertain);
        self.search_path.digest().rotate_left(3) ^ flags
    }
}

/// What the session knows of `standard_conforming_strings`. The server reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum PlainStrings {
    /// It is certainly on: `'\'` is a string of one backslash.
    #[default]
    Standard,
    /// It may be off: a statement with a backslash in a plain string cannot be read.
    Uncertain,
}

/// What the session knows of `client_encoding` and `server_encoding`. The server reports them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum TextEncoding {
    /// It is certainly UTF8, and so is what the database keeps.
    #[default]
    Utf8,
    /// It is UTF8, and the database keeps something else, in which the server cuts long names and folds
    /// upper case: names beyond ASCII cannot be read, strings can.
    Converted,
    /// It may be another, in which bytes beyond ASCII can mean letters that we do not see: only
    /// pure ASCII can be read.
    Uncertain,
}

/// The `search_path` of a session, as far as it is known.
///
/// `"$user"` is left out: the schema of that name is assumed not to exist. A role that has one
/// should be given a path that names it.
#[derive(Clone)]
pub struct SearchPath(Option<Arc<Schemas>>);

struct Schemas {
    names: Vec<Arc<str>>,
    digest: u64,
}

static SERVER_DEFAULT: LazyLock<SearchPath> = LazyLock::new(|| SearchPath::of(["public"]));

impl SearchPath {
    /// A path of these schemas, in their order. `$user` and empty names are left out.
    #[must_use]
    pub fn of<S: AsRef<str>>(schemas: impl IntoIterator<Item = S>) -> SearchPath {
        let names: Vec<Arc<str>> = schemas
            .into_iter()
            .filter(|name| !matches!(name.as_ref(), "" | "$user"))
            .map(|name| Arc::from(name.as_ref()))
            .collect();
        if names.iter().any(|name| name.len() > IDENTIFIER_BYTES_MAX) {
            return SearchPath::unknown();
        }
        let mut hasher = FxHasher::default();
        names.hash(&mut hasher);
        let digest = hasher.finish();
        SearchPath(Some(Arc::new(Schemas { names, digest })))
    }

    /// A path that nobody knows: unqualified names stay unresolved, and no unqualified function
    /// or operator is taken for a built-in one.
    #[must_use]
    pub const fn unknown() -> SearchPath {
        SearchPath(None)
    }

    /// Reads the value of the setting as the server writes it and as `set_config` takes it:
    /// `"$user", public`. Anything that is not a list of identifiers is an unknown path.
    #[must_use]
    pub fn parse(value: &str) -> SearchPath {
        split_identifiers(value).map_or(SearchPath::unknown(), SearchPath::of)
    }

    /// Is the path known?
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// The schemas in their order, or `None` when the path is unknown.
    #[must_use]
    pub fn schemas(&self) -> Option<&[Arc<str>]> {
        self.0.as_ref().map(|schemas| schemas.names.as_slice())
    }

    /// Where the path names `pg_catalog`. Where it does not, PostgreSQL looks there first.
    pub(super) fn catalog_position(&self) -> Option<usize> {
        self.schemas()?.iter().position(|name| &**name == CATALOG)
    }

    /// Does an unqualified name mean the built-in function or operator, if there is one?
    pub(super) fn catalog_is_first(&self) -> bool {
        self.is_known() && self.catalog_position().is_none_or(|position| position == 0)
    }

    fn digest(&self) -> u64 {
        self.0.as_ref().map_or(0, |schemas| schemas.digest)
    }
}

impl Default for SearchPath {
    /// The server's default, `"$user", public`.
    fn default() -> SearchPath {
        SERVER_DEFAULT.clone()
    }
}

impl PartialEq for SearchPath {
    fn eq(&self, other: &SearchPath) -> bool {
        match (&self.0, &other.0) {
            (Some(left), Some(right)) => {
                Arc::ptr_eq(left, right) || left.digest == right.digest && left.names == right.names
            }
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for SearchPath {}

impl fmt::Debug for SearchPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.schemas() {
            Some(names) => f.debug_list().entries(names).finish(),
            None => f.write_str("unknown"),
        }
    }
}

/// Splits a comma-separated list of identifiers as `SplitIdentifierString` does: quoted ones as
/// they are, others in lower case. `None` when it is no such list.
fn split_identifiers(value: &str) -> Option<Vec<String>> {
    let mut rest = value.trim_matches(is_space);
    let mut names = Vec::new();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let (name, after) = take_identifier(rest)?;
        names.push(name);
        rest = after.trim_start_matches(is_space);
        if rest.is_empty() {
            return Some(names);
        }
        rest = rest.strip_prefix(',')?.trim_start_matches(is_space);
    }
}

/// The name in the dotted form `schema.name` that functions such as `nextval` take as text, as
/// `textToQualifiedNameList` reads it. `None` when it is none, or too long to be sure of.
pub(super) fn split_qualified_name(value: &str) -> Option<Vec<String>> {
    let mut rest = value.trim_matches(is_space);
    let mut parts = Vec::new();
    loop {
        let (name, after) = take_identifier(rest)?;
        if name.len() > IDENTIFIER_BYTES_MAX {
            return None;
        }
        parts.push(name);
        rest = after.trim_start_matches(is_space);
        if rest.is_empty() {
            return Some(parts);
        }
        rest = rest.strip_prefix('.')?.trim_start_matches(is_space);
    }
}

/// One identifier from the front of a text, and what follows it.
fn take_identifier(text: &str) -> Option<(String, &str)> {
    if let Some(mut rest) = text.strip_prefix('"') {
        let mut name = String::new();
        loop {
            let (part, after) = rest.split_once('"')?;
            name.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    rest = more;
                }
                None => return Some((name, after)),
            }
        }
    }
    let end = text
        .find(|letter: char| matches!(letter, ',' | '.' | '"') || is_space(letter))
        .unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(end)?;
    // Folding beyond ASCII depends on the server's locale, so such a name is not certain.
    (!name.is_empty() && name.is_ascii()).then(|| (name.to_ascii_lowercase(), rest))
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_the_server_reads_it() {
        let rows: &[(&str, Option<&[&str]>)] = &[
            ("\"$user\", public", Some(&["public"])),
            ("public", Some(&["public"])),
            ("", Some(&[])),
            ("  ", Some(&[])),
            ("\"\"", Some(&[])),
            ("A, \"B\"", Some(&["a", "B"])),
            ("\"a, b\",c", Some(&["a, b", "c"])),
            ("\"a\"\"b\"", Some(&["a\"b"])),
            ("a b", None),
            ("a,", None),
            (",a", None),
            ("\"a", None),
            ("a.b", None),
            ("É", None),
        ];
        for (text, expected) in rows {
            let path = SearchPath::parse(text);
            let expected = match expected {
                Some(names) => SearchPath::of(*names),
                None => SearchPath::unknown(),
            };
            assert_eq!(path, expected, "{text:?}");
        }
    }

    #[test]
    fn a_sequence_name_reads_as_the_server_reads_it() {
        let long = "a".repeat(64);
        let rows: &[(&str, Option<&[&str]>)] = &[
            ("users_id_seq", Some(&["users_id_seq"])),
            ("Public.Users", Some(&["public", "users"])),
            ("\"A.b\" . \"C\"", Some(&["A.b", "C"])),
            ("", None),
            (".a", None),
            ("a.", None),
            ("a,b", None),
            (&long, None),
        ];
        for (text, expected) in rows {
            let parts = split_qualified_name(text);
            let expected = expected.map(|parts| parts.iter().map(ToString::to_string).collect());
            assert_eq!(parts, expected, "{text:?}");
        }
    }

    #[test]
    fn contexts_that_differ_have_other_digests() {
        let default = SqlContext::default();
        let variants = [
            SqlContext {
                search_path: SearchPath::of(["other"]),
                ..default.clone()
            },
            SqlContext {
                search_path: SearchPath::unknown(),
                ..default.clone()
            },
            SqlContext {
                plain_strings: PlainStrings::Uncertain,
                ..default.clone()
            },
            SqlContext {
                text_encoding: TextEncoding::Uncertain,
                ..default.clone()
            },
        ];
        for variant in variants {
            assert_ne!(variant, default);
            assert_ne!(variant.digest(), default.digest());
        }
        assert_eq!(
            SearchPath::parse("public").digest(),
            default.search_path.digest()
        );
    }
}

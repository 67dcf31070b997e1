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
    /// What `"$user"` means in a path that is set.
    pub role_schema: RoleSchema,
    /// The search path, or the role, is another one when the transaction ends, perhaps.
    pub path_may_end: bool,
    /// A portal or a cursor sets the search path or the role when it is fetched from, which anything can
    /// do: whatever a text sets is not certain.
    pub hangs: bool,
    /// Whether a backslash in a plain string is only a backslash.
    pub plain_strings: PlainStrings,
    /// Whether the bytes of a statement certainly are UTF-8 for the server too.
    pub text_encoding: TextEncoding,
}

impl SqlContext {
    /// A number that equal contexts share.
    pub(super) fn digest(&self) -> u64 {
        let flags = u64::from(self.hangs) << 3
            | u64::from(self.path_may_end) << 2
            | u64::from(self.plain_strings == PlainStrings::Uncertain) << 1
            | u64::from(self.text_encoding == TextEncoding::Uncertain);
        self.search_path.digest().rotate_left(3) ^ self.role_schema.digest() ^ flags
    }
}

/// The schema that `"$user"` means in a search path: the one with the name of the current role.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum RoleSchema {
    /// There is no schema of that name, so the server leaves it out.
    #[default]
    Absent,
    /// One of these, or none.
    Named(Arc<[Arc<str>]>),
    /// Nobody knows which role it is.
    Unknown,
}

impl RoleSchema {
    fn digest(&self) -> u64 {
        match self {
            RoleSchema::Absent => 0,
            RoleSchema::Unknown => 1 << 40,
            RoleSchema::Named(names) => {
                let mut hasher = FxHasher::default();
                names.hash(&mut hasher);
                hasher.finish()
            }
        }
    }

    /// Of a role of this name, whose schema may be there or not.
    #[must_use]
    pub fn of(role: &str) -> RoleSchema {
        RoleSchema::Named(Arc::new([Arc::from(role)]))
    }

    /// The same when a schema of this name has been made.
    pub(super) fn or(&self, schema: &str) -> RoleSchema {
        match self {
            RoleSchema::Absent => RoleSchema::of(schema),
            RoleSchema::Named(names) if names.iter().any(|name| &**name == schema) => self.clone(),
            RoleSchema::Named(names) if names.len() < ROLE_SCHEMAS_MAX => {
                let made = std::iter::once(Arc::from(schema));
                RoleSchema::Named(names.iter().cloned().chain(made).collect())
            }
            RoleSchema::Named(_) | RoleSchema::Unknown => RoleSchema::Unknown,
        }
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

/// The `search_path` of a session, as far as it is known. `"$user"` is the schema that it means.
#[derive(Clone)]
pub struct SearchPath(Option<Arc<Schemas>>);

struct Schemas {
    names: Vec<Arc<str>>,
    /// The setting, where it says `"$user"`: another role, another path.
    of_role: Option<Vec<Arc<str>>>,
    digest: u64,
}

/// What stands for the name of the current role in the setting.
const ROLE: &str = "$user";
/// Who makes more schemas in one text has none that is known.
const ROLE_SCHEMAS_MAX: usize = 8;

static SERVER_DEFAULT: LazyLock<SearchPath> =
    LazyLock::new(|| SearchPath::of([ROLE, "public"], &RoleSchema::Absent));

impl SearchPath {
    /// A path of these schemas, in their order. Empty names are left out, as the server does.
    #[must_use]
    pub fn of<S: AsRef<str>>(
        schemas: impl IntoIterator<Item = S>,
        role_schema: &RoleSchema,
    ) -> SearchPath {
        let schemas = schemas.into_iter();
        let setting: Vec<Arc<str>> = schemas
            .map(|name| Arc::from(name.as_ref()))
            .filter(|name: &Arc<str>| !name.is_empty())
            .collect();
        let mut names = Vec::with_capacity(setting.len());
        for name in &setting {
            match (&**name, role_schema) {
                (ROLE, RoleSchema::Absent) => {}
                (ROLE, RoleSchema::Named(schemas)) => names.extend(schemas.iter().cloned()),
                (ROLE, RoleSchema::Unknown) => return SearchPath::unknown(),
                _ => names.push(Arc::clone(name)),
            }
        }
        if names.iter().any(|name| name.len() > IDENTIFIER_BYTES_MAX) {
            return SearchPath::unknown();
        }
        let of_role = setting
            .iter()
            .any(|name| &**name == ROLE)
            .then_some(setting);
        let mut hasher = FxHasher::default();
        (&names, &of_role).hash(&mut hasher);
        let digest = hasher.finish();
        SearchPath(Some(Arc::new(Schemas {
            names,
            of_role,
            digest,
        })))
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
    pub fn parse(value: &str, role_schema: &RoleSchema) -> SearchPath {
        split_identifiers(value).map_or(SearchPath::unknown(), |names| {
            SearchPath::of(names, role_schema)
        })
    }

    /// Is the path known?
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    fn of_role(&self) -> Option<&[Arc<str>]> {
        self.0.as_ref()?.of_role.as_deref()
    }

    /// Does it become another when the role does? An unknown one cannot.
    #[must_use]
    pub fn follows_role(&self) -> bool {
        self.of_role().is_some()
    }

    /// The same, with this schema before it.
    pub(super) fn behind(&self, schema: &str, role_schema: &RoleSchema) -> SearchPath {
        match self.of_role().or(self.schemas()) {
            Some(names) => {
                let names = names.iter().map(|name| &**name);
                SearchPath::of(std::iter::once(schema).chain(names), role_schema)
            }
            None => SearchPath::unknown(),
        }
    }

    /// The same where `"$user"` means this.
    pub(crate) fn under(&self, role_schema: &RoleSchema) -> SearchPath {
        match self.of_role() {
            Some(setting) => SearchPath::of(setting, role_schema),
            None => self.clone(),
        }
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
    /// The server's default, `"$user", public`, of a role without a schema.
    fn default() -> SearchPath {
        SERVER_DEFAULT.clone()
    }
}

impl PartialEq for SearchPath {
    fn eq(&self, other: &SearchPath) -> bool {
        match (&self.0, &other.0) {
            (Some(left), Some(right)) => {
                Arc::ptr_eq(left, right)
                    || left.digest == right.digest
                        && left.names == right.names
                        && left.of_role == right.of_role
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
            let path = SearchPath::parse(text, &RoleSchema::Absent);
            let schemas = path
                .schemas()
                .map(|names| names.iter().map(|name| &**name).collect::<Vec<_>>());
            assert_eq!(schemas.as_deref(), *expected, "{text:?}");
        }
    }

    #[test]
    fn the_schema_of_the_role_stands_where_the_setting_says_so() {
        let app = RoleSchema::of("app");
        let path = SearchPath::parse("a, \"$user\", b", &app);
        assert_eq!(format!("{path:?}"), "[\"a\", \"app\", \"b\"]");
        assert!(path.follows_role());
        assert_ne!(path, SearchPath::parse("a, app, b", &app));
        assert!(!SearchPath::parse("a, app, b", &app).follows_role());
        let unknown = RoleSchema::Unknown;
        assert!(!SearchPath::parse("a, \"$user\"", &unknown).is_known());
        assert!(SearchPath::parse("a, $USER", &unknown).schemas().is_none());
        assert!(SearchPath::parse("a", &unknown).is_known());
        assert!(SearchPath::default().follows_role());
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
                search_path: SearchPath::of(["other"], &RoleSchema::Absent),
                ..default.clone()
            },
            SqlContext {
                search_path: SearchPath::unknown(),
                ..default.clone()
            },
            SqlContext {
                role_schema: RoleSchema::Unknown,
                ..default.clone()
            },
            SqlContext {
                hangs: true,
                ..default.clone()
            },
            SqlContext {
                role_schema: RoleSchema::of("app"),
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
            SearchPath::parse("\"$user\", public", &RoleSchema::Absent).digest(),
            default.search_path.digest()
        );
    }
}

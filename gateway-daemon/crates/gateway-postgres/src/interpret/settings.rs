//! Settings: SET, RESET, and the function and the view that do the same.
use super::calls::literal_text;
use super::context::{CATALOG, RoleSchema, SearchPath};
use super::names;
use super::script::PathChange;
use super::tree::{Tree, Value};
use super::walk::Walk;
use gateway_core::Verb;
use pg_query::protobuf::VariableSetKind;

/// Settings with which a session acts on the server or takes its protections away.
const ADMIN_SETTINGS: &[&str] = &[
    "allow_system_table_mods",
    "dynamic_library_path",
    "extension_control_path",
    "local_preload_libraries",
    "session_preload_libraries",
    "session_replication_role",
    "shared_preload_libraries",
];

/// A call of `set_config` on the rows of `pg_settings` that are called so.
pub(super) struct NamedCall<'a> {
    call: &'a Tree,
    setting: &'a str,
    /// It certainly is that view.
    is_qualified: bool,
}

/// What a setting becomes.
enum NewValue {
    Path(SearchPath),
    Role(String),
    /// What it was when the session began.
    Reset,
    /// A value without a meaning here, or one that is not known.
    Other,
}

impl<'a> Walk<'a, '_> {
    /// SET, SET LOCAL, RESET.
    pub(super) fn set_statement(&mut self, tree: &'a Tree) {
        self.effects.touch(Verb::Read);
        let name = tree.text("name");
        match tree.choice::<VariableSetKind>("kind") {
            Some(VariableSetKind::VarSetValue) => {
                let value = set_value(name, tree.list("args"), self.script.role_schema());
                self.assign(name, value, tree.flag("is_local"));
            }
            Some(VariableSetKind::VarSetDefault | VariableSetKind::VarReset) => {
                self.assign(name, NewValue::Reset, tree.flag("is_local"));
            }
            Some(VariableSetKind::VarResetAll) => self.reset_all(),
            // SET TRANSACTION and SET SESSION CHARACTERISTICS.
            Some(VariableSetKind::VarSetMulti) => {}
            _ => self.unknown_setting(),
        }
        self.children(tree);
    }

    /// Every setting goes back to what it was when the session began, but for the role.
    pub(super) fn reset_all(&mut self) {
        self.script.change_path(PathChange::Reset);
        self.script.changes.plain_strings = true;
        self.script.changes.text_encoding = true;
    }

    /// Any setting may become anything, the role among them.
    pub(super) fn unknown_setting(&mut self) {
        self.effects.add_anything(Verb::Admin);
        self.reset_all();
        self.script.lose_path();
        self.script.change_role(RoleSchema::Unknown);
    }

    /// The function `set_config(name, value, is_local)`: SET of that name, when it is a literal.
    /// Otherwise it could be SET ROLE.
    pub(super) fn set_config(&mut self, tree: &'a Tree) {
        let [name, value, is_local] = tree.list("args") else {
            return self.set_anything();
        };
        let mut named = self.named_calls.iter();
        let named = named
            .find(|named| std::ptr::eq(named.call, tree))
            .filter(|_| column_name(name) == Some("name"))
            .map(|named| (named.setting, named.is_qualified));
        let literal = plain_text(name).map(|name| (name, true));
        let Some((name, is_sure)) = literal.or(named) else {
            return self.set_anything();
        };
        if !is_sure {
            // A temporary relation can have the name of the view, and name other settings.
            self.script.lose_path();
            self.script.change_role(RoleSchema::Unknown);
        }
        // Whoever uses what is defined sets it, and nobody sees that then.
        if self.is_defined && Setting::of(name) != Setting::Other {
            return self.set_anything();
        }
        self.effects.touch(Verb::Read);
        let value = match (Setting::of(name), plain_text(value)) {
            (Setting::SearchPath, Some(text)) => {
                NewValue::Path(SearchPath::parse(text, self.script.role_schema()))
            }
            (Setting::Role, Some(text)) => NewValue::Role(text.to_owned()),
            _ => NewValue::Other,
        };
        // Where another schema comes first, it can be another function.
        let is_own = self.script.path.catalog_is_first()
            || tree.strings("funcname").first() == Some(&CATALOG);
        let mut certain = self.certain_calls.iter();
        let is_certain = is_own && certain.any(|call| std::ptr::eq(*call, tree));
        match literal_flag(is_local) {
            Some(is_local) if is_certain => self.assign(name, value, is_local),
            _ => {
                self.assign(name, value, false);
                match Setting::of(name) {
                    Setting::SearchPath => self.script.lose_path(),
                    Setting::Role => self.script.change_role(RoleSchema::Unknown),
                    _ => {}
                }
            }
        }
    }

    pub(super) fn set_anything(&mut self) {
        let set_config = names::qualified("pg_catalog", "set_config");
        self.effects.add(Verb::Execute, set_config);
        self.unknown_setting();
    }

    fn assign(&mut self, name: &str, value: NewValue, is_local: bool) {
        match Setting::of(name) {
            Setting::SearchPath if matches!(value, NewValue::Reset) && !is_local => {
                self.script.change_path(PathChange::Reset);
            }
            Setting::SearchPath => {
                let path = match value {
                    NewValue::Path(path) => path,
                    _ => SearchPath::unknown(),
                };
                let change = if is_local {
                    PathChange::SetLocally
                } else {
                    PathChange::Set
                };
                self.script.change_path(change(path));
            }
            Setting::Role => {
                let role = match value {
                    NewValue::Role(role) => Some(role),
                    NewValue::Reset => Some("default".to_owned()),
                    // One that is computed.
                    NewValue::Path(_) | NewValue::Other => None,
                };
                match &role {
                    Some(role) => self.effects.add(Verb::Admin, names::of_kind("role", role)),
                    None => self.effects.add_anything(Verb::Admin),
                }
                // Who that is nobody sees here.
                let role = role.filter(|role| !matches!(role.as_str(), "none" | "default"));
                self.script.change_role(match role {
                    Some(role) => RoleSchema::of(&role),
                    None => RoleSchema::Unknown,
                });
            }
            Setting::PlainStrings => self.script.changes.plain_strings = true,
            Setting::TextEncoding => self.script.changes.text_encoding = true,
            Setting::Admin => {
                let object = names::of_kind("parameter", &name.to_ascii_lowercase());
                self.effects.add(Verb::Admin, object);
            }
            Setting::Other => {}
        }
    }

    /// Remembers the calls that stand alone in a SELECT without anything else: they certainly run,
    /// so what they set is set.
    pub(super) fn collect_certain_calls(&mut self, statement: &'a Tree) {
        if statement.kind() != "SelectStmt" {
            return;
        }
        let is_bare = statement.fields().all(|(name, value)| match (name, value) {
            ("target_list", _) => true,
            (_, Value::Tree(_)) => false,
            (_, Value::List(values)) => values.is_empty(),
            _ => true,
        });
        let values: Vec<&Tree> = statement
            .trees("target_list")
            .filter_map(|target| target.tree("val"))
            .collect();
        // Beside something that returns rows, and none of them, it does not run.
        if is_bare && values.iter().all(|value| is_plain(value)) {
            let calls = values
                .into_iter()
                .filter(|value| value.kind() == "FuncCall");
            self.certain_calls.extend(calls);
        }
    }
}

impl<'a> Walk<'a, '_> {
    /// Remembers the calls in `SELECT set_config(name, …) FROM pg_settings WHERE name = 'x'`, the
    /// way in which pg_dump sets what an older server may not have.
    pub(super) fn collect_named_calls(&mut self, statement: &'a Tree) {
        if statement.kind() != "SelectStmt" || !self.script.path.catalog_is_first() {
            return;
        }
        let [source] = statement.list("from_clause") else {
            return;
        };
        let is_settings = |source: &&Tree| {
            source.kind() == "RangeVar"
                && source.text("relname") == "pg_settings"
                && matches!(source.text("schemaname"), "" | CATALOG)
                && source.tree("alias").is_none()
        };
        let Some(source) = source.tree().filter(is_settings) else {
            return;
        };
        let is_plain = statement.tree("with_clause").is_none();
        let condition = statement.tree("where_clause").filter(|_| is_plain);
        let Some(setting) = condition.and_then(name_in_condition) else {
            return;
        };
        let values = statement.trees("target_list");
        let values = values.filter_map(|target| target.tree("val"));
        self.named_calls.extend(values.map(|call| NamedCall {
            call,
            setting,
            is_qualified: source.text("schemaname") == CATALOG,
        }));
    }
}

/// The text in the condition `name = 'text'`.
pub(super) fn name_in_condition(condition: &Tree) -> Option<&str> {
    use pg_query::protobuf::AExprKind;
    let is_equation = condition.kind() == "AExpr"
        && condition.choice::<AExprKind>("kind") == Some(AExprKind::AexprOp)
        && matches!(
            condition.strings("name").as_slice(),
            ["="] | ["pg_catalog", "="]
        )
        && column_name(condition.get("lexpr")) == Some("name");
    is_equation.then(|| plain_text(condition.get("rexpr")))?
}

/// Is it one value, whatever that is: a constant, a sub-query, or `set_config` of constants?
fn is_plain(value: &Tree) -> bool {
    fn is_constant(value: &Tree) -> bool {
        match value.kind() {
            "AConst" | "ParamRef" | "SubLink" => true,
            "TypeCast" => value.tree("arg").is_some_and(is_constant),
            _ => false,
        }
    }
    let is_argument = |value: &Value| value.tree().is_some_and(is_constant);
    is_constant(value)
        || value.kind() == "FuncCall"
            && value.strings("funcname").last() == Some(&"set_config")
            && value.list("args").iter().all(is_argument)
}

/// A literal that is of type `text` for certain, or becomes that: one of another type can mean another
/// function of that name, or have another value. `text` alone can be a type of the temporary schema.
fn plain_text(value: &Value) -> Option<&str> {
    let tree = value.tree()?;
    if tree.kind() != "TypeCast" {
        return literal_text(value);
    }
    let kind = tree.tree("type_name")?;
    let is_text = kind.strings("names") == [CATALOG, "text"]
        && kind.list("typmods").is_empty()
        && kind.list("array_bounds").is_empty();
    let argument = tree.get("arg");
    let is_literal = argument.tree().is_some_and(|tree| tree.kind() == "AConst");
    (is_text && is_literal).then(|| literal_text(argument))?
}

/// The name in a reference to a column without a table.
fn column_name(value: &Value) -> Option<&str> {
    let tree = value.tree().filter(|tree| tree.kind() == "ColumnRef")?;
    match tree.strings("fields").as_slice() {
        [name] => Some(*name),
        _ => None,
    }
}

/// Settings that mean something here. The server compares their names without regard to case.
#[derive(PartialEq, Eq)]
enum Setting {
    SearchPath,
    Role,
    PlainStrings,
    TextEncoding,
    Admin,
    Other,
}

impl Setting {
    fn of(name: &str) -> Setting {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "search_path" => Setting::SearchPath,
            "role" | "session_authorization" => Setting::Role,
            "standard_conforming_strings" => Setting::PlainStrings,
            "client_encoding" => Setting::TextEncoding,
            name if ADMIN_SETTINGS.contains(&name) => Setting::Admin,
            _ => Setting::Other,
        }
    }
}

/// Does it decide how a session reads its texts and looks up its names?
pub(super) fn decides_reading(name: &str) -> bool {
    !matches!(Setting::of(name), Setting::Admin | Setting::Other)
}

/// Does a SET of this name mean the same whatever literals it has?
pub(super) fn is_free_of_literals(tree: &Tree) -> bool {
    tree.choice::<VariableSetKind>("kind") == Some(VariableSetKind::VarSetValue)
        && Setting::of(tree.text("name")) == Setting::Other
}

/// The value in a SET. A list of names is a path, each as it is written: `SET search_path = 'a, b'`
/// is one schema with a comma in its name.
fn set_value(name: &str, arguments: &[Value], role_schema: &RoleSchema) -> NewValue {
    let texts: Option<Vec<&str>> = arguments
        .iter()
        .map(|value| {
            value
                .tree()
                .filter(|tree| tree.kind() == "AConst")?
                .get("val")
                .string()
        })
        .collect();
    match (Setting::of(name), texts) {
        (Setting::SearchPath, Some(schemas)) => {
            NewValue::Path(SearchPath::of(schemas, role_schema))
        }
        (Setting::Role, Some(texts)) => NewValue::Role(texts.concat()),
        _ => NewValue::Other,
    }
}

/// The value of a literal of type boolean.
fn literal_flag(value: &Value) -> Option<bool> {
    let tree = value.tree().filter(|tree| tree.kind() == "AConst")?;
    let constant = tree.tree("val").filter(|value| value.kind() == "Boolean")?;
    Some(constant.flag("boolval"))
}

//! Calls: of functions by their name, by an operator, and by what looks like a column.
//!
//! PostgreSQL takes `(x).f` and, where `x` is a function in FROM, `x.f` for `f(x)` when there is no
//! field of that name. So `SELECT ('/etc/passwd'::text).pg_read_file` reads a file.
use super::builtin::{self, Meaning};
use super::classification::anything;
use super::context::{CATALOG, split_qualified_name};
use super::names;
use super::tree::{Tree, Value};
use super::walk::Walk;
use gateway_core::{Object, Verb};
use pg_query::protobuf::AExprKind;

/// A proven function in FROM, by the name that its row goes by.
pub(super) struct FunctionAlias<'a> {
    name: &'a str,
    columns: Vec<&'a str>,
}

/// Is it BETWEEN, in any of its forms? The name of the operator is a keyword there.
pub(super) fn is_between(expression: &Tree) -> bool {
    matches!(
        expression.choice::<AExprKind>("kind"),
        Some(
            AExprKind::AexprBetween
                | AExprKind::AexprNotBetween
                | AExprKind::AexprBetweenSym
                | AExprKind::AexprNotBetweenSym
        )
    )
}

impl<'a> Walk<'a, '_> {
    /// A call in its usual form.
    pub(super) fn function_call(&mut self, tree: &'a Tree) {
        self.call(&tree.strings("funcname"), tree);
        self.children_but(tree, &["funcname"]);
    }

    fn call(&mut self, parts: &[&str], tree: &'a Tree) {
        match parts {
            [] => self.effects.add_anything(Verb::Unknown),
            [name] => {
                let meaning = builtin::function(name);
                if let Some(meaning) = meaning {
                    self.built_in(name, meaning, tree);
                }
                if meaning.is_none() || !self.script.path.catalog_is_first() {
                    self.unproven(name, names::routine(&self.script.path, name));
                }
            }
            [.., CATALOG, name] => match builtin::function(name) {
                Some(meaning) => self.built_in(name, meaning, tree),
                None => self.unproven(name, vec![names::qualified(CATALOG, name)]),
            },
            [.., "information_schema", name] if builtin::is_information_function(name) => {}
            [.., schema, name] => self.unproven(name, vec![names::qualified(schema, name)]),
        }
    }

    /// A function that is not proven free of effects.
    pub(super) fn unproven(&mut self, name: &str, objects: Vec<Object>) {
        if let Some(verb) = builtin::extension_function(name) {
            self.effects.add_all(verb, objects.iter().cloned());
        }
        self.effects.add_all(Verb::Execute, objects);
    }

    fn built_in(&mut self, name: &str, meaning: Meaning, tree: &'a Tree) {
        match meaning {
            Meaning::Pure => {}
            Meaning::Effect(verb) => self.effects.add(verb, names::qualified(CATALOG, name)),
            Meaning::RunsText => self.runs_text(name),
            Meaning::Sequence => {
                self.script.depends_on_literals = true;
                let objects = tree
                    .list("args")
                    .first()
                    .and_then(|first| self.sequence(first));
                self.effects
                    .add_all(Verb::Write, objects.unwrap_or_else(|| vec![anything()]));
            }
            Meaning::SetConfig => {
                self.script.depends_on_literals = true;
                self.set_config(tree);
            }
        }
    }

    fn runs_text(&mut self, name: &str) {
        self.effects
            .add(Verb::Execute, names::qualified(CATALOG, name));
        self.effects.add_anything(Verb::Read);
        // It may call `set_config` as well.
        self.script.lose_path();
    }

    /// A function whose arguments are not in sight.
    pub(super) fn call_unseen(&mut self, name: &str) {
        match builtin::function(name) {
            Some(Meaning::Effect(verb)) => self.effects.add(verb, names::qualified(CATALOG, name)),
            Some(Meaning::RunsText) => self.runs_text(name),
            Some(Meaning::SetConfig) => self.set_anything(),
            Some(Meaning::Sequence) => self.effects.add_anything(Verb::Write),
            Some(Meaning::Pure) | None => {}
        }
    }

    /// The objects that a literal name of a sequence can mean.
    fn sequence(&self, argument: &Value) -> Option<Vec<Object>> {
        let text = literal_text(argument)?;
        // A number is an object id, and `-` is none.
        if text.bytes().all(|byte| byte.is_ascii_digit()) || text == "-" {
            return None;
        }
        let parts = split_qualified_name(text)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        Some(names::relation(&self.script.path, &parts))
    }

    /// An expression with an operator, or one of the forms that stand for some.
    pub(super) fn expression(&mut self, tree: &'a Tree) {
        if is_between(tree) {
            // The name is a keyword here, and what runs are `>=` and `<=`.
            self.operator(&[">="]);
            self.operator(&["<="]);
        } else {
            self.operator(&tree.strings("name"));
        }
        self.children_but(tree, &["name"]);
    }

    /// A node that can carry an operator in one of its fields.
    pub(super) fn with_operator(&mut self, tree: &'a Tree, field: &str) {
        let name = tree.strings(field);
        if !name.is_empty() {
            self.operator(&name);
        }
        self.children_but(tree, &[field]);
    }

    /// An operator is a function by another name.
    fn operator(&mut self, parts: &[&str]) {
        match parts {
            [] => self.effects.add_anything(Verb::Unknown),
            [name] if builtin::is_operator(name) && self.script.path.catalog_is_first() => {}
            [name] => self.unproven(name, names::routine(&self.script.path, name)),
            [.., CATALOG, name] if builtin::is_operator(name) => {}
            [.., schema, name] => self.unproven(name, vec![names::qualified(schema, name)]),
        }
    }

    /// TABLESAMPLE calls a function that the method names.
    pub(super) fn sample(&mut self, tree: &'a Tree) {
        let method = tree.strings("method");
        match method.as_slice() {
            ["bernoulli" | "system"] if self.script.path.catalog_is_first() => {}
            [CATALOG, "bernoulli" | "system"] => {}
            [name] => self.unproven(name, names::routine(&self.script.path, name)),
            parts => {
                let objects = names::in_path(&self.script.path, parts);
                self.unproven(parts.last().copied().unwrap_or_default(), objects);
            }
        }
        self.children_but(tree, &["method"]);
    }

    /// `alias.name`, where the alias is that of a function in FROM, can call the name.
    pub(super) fn column(&mut self, tree: &'a Tree) {
        if let [alias, name] = tree.strings("fields").as_slice() {
            let is_call = self
                .function_aliases
                .iter()
                .any(|function| function.name == *alias && !function.columns.contains(name));
            if is_call {
                self.field(name);
            }
        }
        self.children_but(tree, &["fields"]);
    }

    /// `(expression).name` can call the name. Of a function that is not proven, the names of the
    /// fields are not known either; the call itself is an effect already.
    pub(super) fn indirection(&mut self, tree: &'a Tree) {
        let is_unproven_call = tree
            .tree("arg")
            .is_some_and(|base| base.kind() == "FuncCall" && !is_proven(&base.strings("funcname")));
        if !is_unproven_call {
            for step in tree.list("indirection") {
                if let Some(name) = step.string() {
                    self.field(name);
                }
            }
        }
        self.children(tree);
    }

    fn field(&mut self, name: &str) {
        match builtin::function(name) {
            Some(Meaning::Pure) if self.script.path.catalog_is_first() => {}
            Some(Meaning::Effect(_) | Meaning::Sequence | Meaning::RunsText) => {
                self.call_unseen(name);
            }
            _ if builtin::is_field(name) => {}
            _ => self.unproven(name, names::routine(&self.script.path, name)),
        }
    }

    /// Finds the functions in FROM anywhere below a node.
    pub(super) fn collect_function_aliases(&mut self, tree: &'a Tree) {
        if tree.kind() == "RangeFunction" {
            self.function_alias(tree);
        }
        for (_, value) in tree.fields() {
            self.collect_below(value);
        }
    }

    fn collect_below(&mut self, value: &'a Value) {
        match value {
            Value::Tree(tree) => self.collect_function_aliases(tree),
            Value::List(values) => values.iter().for_each(|value| self.collect_below(value)),
            Value::Nothing | Value::Flag(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    fn function_alias(&mut self, tree: &'a Tree) {
        let mut columns: Vec<&'a str> = tree.trees("coldeflist").map(column_name).collect();
        let mut default_name = None;
        for item in tree.list("functions") {
            if let [call, definitions] = item.list() {
                let call = call.tree();
                let parts = call.filter(|call| call.kind() == "FuncCall");
                let parts = parts
                    .map(|call| call.strings("funcname"))
                    .unwrap_or_default();
                if call.is_some_and(|call| call.kind() == "FuncCall") && !is_proven(&parts) {
                    return;
                }
                default_name = default_name.or(parts.last().copied());
                columns.extend(
                    definitions
                        .list()
                        .iter()
                        .filter_map(Value::tree)
                        .map(column_name),
                );
            }
        }
        let name = match tree.tree("alias") {
            Some(alias) => {
                columns.extend(alias.strings("colnames"));
                Some(alias.text("aliasname"))
            }
            None => default_name,
        };
        match name {
            // A function that returns one value names its column after the row.
            Some(name) => {
                columns.push(name);
                self.function_aliases.push(FunctionAlias { name, columns });
            }
            // COALESCE or the like in FROM, without an alias: its name is not known here.
            None => self.effects.add_anything(Verb::Execute),
        }
    }
}

fn column_name(definition: &Tree) -> &str {
    definition.text("colname")
}

/// Is a function by this name known to do nothing, wherever the path leads?
fn is_proven(parts: &[&str]) -> bool {
    match parts {
        [name] | [CATALOG, name] => builtin::function(name).is_some(),
        ["information_schema", name] => builtin::is_information_function(name),
        _ => false,
    }
}

/// The text of a string literal, also of one that is cast to a type that leaves it as it is.
pub(super) fn literal_text(value: &Value) -> Option<&str> {
    let tree = value.tree()?;
    match tree.kind() {
        "AConst" => tree.get("val").string(),
        "TypeCast" => {
            let kind = tree.tree("type_name")?;
            let names = kind.strings("names");
            let keeps = matches!(
                names.as_slice(),
                ["text" | "regclass" | "varchar" | "unknown"]
                    | [CATALOG, "text" | "regclass" | "varchar" | "unknown"]
            );
            let is_plain = kind.list("typmods").is_empty() && kind.list("array_bounds").is_empty();
            (keeps && is_plain)
                .then(|| literal_text(tree.get("arg")))
                .flatten()
        }
        _ => None,
    }
}

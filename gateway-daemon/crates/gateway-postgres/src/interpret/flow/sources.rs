//! What a statement takes rows from, by PostgreSQL's own rules of scope: which names are tables',
//! which are those of WITH queries, and which columns a source certainly has.
//!
//! The name of a WITH query stands for it in FROM, within the statement that it belongs to and in
//! what is below that, behind its own place or, with RECURSIVE, everywhere. A name with a schema, a
//! target of INSERT and its kin, and any name that is not in FROM is a table's
//! (`parserOpenTable`, `scanNameSpaceForCTE`).
use super::labels::{self, Label};
use super::nodes::{each, join_aliases, makes_relation, visible_name};
use crate::interpret::tree::{Tree, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// A relation that a statement names.
pub(super) struct Named<'a> {
    pub(super) range: &'a Tree,
    /// It is a WITH query where it stands.
    pub(super) with: Option<With<'a>>,
}

/// A WITH query.
#[derive(Clone)]
pub(super) struct With<'a> {
    name: &'a str,
    /// It certainly has these.
    columns: Vec<&'a str>,
    pub(super) query: Option<&'a Tree>,
}

/// What a statement takes rows from.
#[derive(Default)]
pub(super) struct Sources<'a> {
    /// In their order.
    pub(super) named: Vec<Named<'a>>,
    /// The names of what makes rows of its own: of WITH queries, sub-queries, functions, joins. A
    /// table may go by the same name elsewhere.
    derived: FxHashSet<&'a str>,
    /// There is one whose name is not known: any may be that.
    has_nameless: bool,
    /// The columns that each source of such a name certainly has.
    columns: FxHashMap<&'a str, Vec<Vec<&'a str>>>,
}

/// The WITH queries in sight, innermost last.
type Scope<'a> = Vec<With<'a>>;

impl<'a> Sources<'a> {
    pub(super) fn of(tree: &'a Tree) -> Sources<'a> {
        let mut sources = Sources::default();
        sources.visit(tree, false, &mut Vec::new());
        sources
    }

    /// Are all of them tables? Then what a name stands for is a column.
    pub(super) fn are_tables(&self) -> bool {
        self.derived.is_empty() && !self.has_nameless
    }

    /// Is there something that makes rows of its own by this name?
    pub(super) fn has_derived(&self, name: &str) -> bool {
        self.has_nameless || self.derived.contains(name)
    }

    /// The WITH query that a name in FROM stands for; `None`: it stands for a table. What is `None` within
    /// could not be read.
    pub(super) fn with_query(&self, range: &Tree) -> Option<Option<&'a Tree>> {
        let mut named = self.named.iter();
        let found = named.find(|named| std::ptr::eq(named.range, range))?;
        found.with.as_ref().map(|with| with.query)
    }

    /// Is there something with rows of its own that is called `row` where it stands?
    pub(super) fn has_rows(&self, row: &str) -> bool {
        self.columns.contains_key(row)
    }

    /// Has whatever goes by the name of `row` a column `name`, tables left aside?
    pub(super) fn derived_have(&self, row: &str, name: &str) -> bool {
        let mut sources = self.columns.get(row).into_iter().flatten();
        !self.has_nameless && sources.all(|columns| columns.contains(&name))
    }

    /// `from`: it stands where a WITH query can be meant.
    fn visit(&mut self, tree: &'a Tree, from: bool, scope: &mut Scope<'a>) {
        match tree.kind() {
            "RangeVar" => return self.range(tree, from, scope),
            "CommonTableExpr" => _ = self.derived.insert(tree.text("ctename")),
            "RangeSubselect" => {
                let renamed = column_names(tree);
                let columns = tree.tree("subquery");
                let columns = columns.map(|query| labels::certain(query, renamed));
                self.derive(alias(tree).unwrap_or_default(), columns.unwrap_or_default());
            }
            "RangeFunction" => self.function(tree),
            "RangeTableFunc" => self.derive(alias(tree).unwrap_or("xmltable"), column_names(tree)),
            "JsonTable" => self.derive(alias(tree).unwrap_or("json_table"), column_names(tree)),
            "JoinExpr" => {
                for alias in join_aliases(tree) {
                    self.derive(alias.text("aliasname"), alias.strings("colnames"));
                }
            }
            // Of RETURNING: rows as they were, and as they are.
            "ReturningOption" => self.derive(tree.text("value"), Vec::new()),
            _ => {}
        }
        let outside = scope.len();
        if let Some(with) = with_of(tree) {
            self.with(with, scope);
        }
        for (field, value) in tree.fields() {
            if field == "with_clause" || makes_relation(tree.kind(), field) {
                continue;
            }
            let from = reads_from(tree.kind(), field, from);
            each(value, &mut |below| self.visit(below, from, scope));
        }
        scope.truncate(outside);
    }

    /// Brings the WITH queries of a statement into its sight, one after the other.
    fn with(&mut self, with: &'a Tree, scope: &mut Scope<'a>) {
        let defined = |part: &'a Tree| {
            let renamed = part.strings("aliascolnames");
            let query = part.tree("ctequery");
            let columns = query.map(|query| labels::certain(query, renamed));
            With {
                name: part.text("ctename"),
                columns: columns.unwrap_or_default(),
                query,
            }
        };
        let is_recursive = with.flag("recursive");
        if is_recursive {
            scope.extend(with.trees("ctes").map(defined));
        }
        for query in with.trees("ctes") {
            self.visit(query, false, scope);
            if !is_recursive {
                scope.push(defined(query));
            }
        }
    }

    fn range(&mut self, tree: &'a Tree, from: bool, scope: &Scope<'a>) {
        let is_bare = tree.text("schemaname").is_empty() && tree.text("catalogname").is_empty();
        let name = tree.text("relname");
        let found = scope.iter().rev().find(|with| with.name == name);
        let with = found.filter(|_| from && is_bare).cloned();
        if let Some(with) = &with {
            let renamed = column_names(tree);
            let sources = self.columns.entry(visible_name(tree)).or_default();
            sources.push(match renamed.is_empty() {
                true => with.columns.clone(),
                false => renamed,
            });
        }
        self.named.push(Named { range: tree, with });
    }

    /// Without an alias it goes by the name that a column of a result would have.
    fn function(&mut self, tree: &'a Tree) {
        let defined = tree
            .trees("coldeflist")
            .map(|column| column.text("colname"));
        let columns: Vec<&str> = column_names(tree).into_iter().chain(defined).collect();
        if let Some(name) = alias(tree) {
            return self.derive(name, columns);
        }
        // The first of each list is what is called.
        for called in tree.list("functions") {
            let called = called.list().first().and_then(Value::tree);
            match called.map(labels::figured) {
                Some(Label::Known(name)) => self.derive(name, columns.clone()),
                _ => self.has_nameless = true,
            }
        }
    }

    fn derive(&mut self, name: &'a str, columns: Vec<&'a str>) {
        self.derived.insert(name);
        self.columns.entry(name).or_default().push(columns);
    }
}

fn with_of(tree: &Tree) -> Option<&Tree> {
    match tree.kind() {
        "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
            tree.tree("with_clause")
        }
        _ => None,
    }
}

/// Can a relation in the field be a WITH query? `from`: it can where the node stands.
fn reads_from(kind: &str, field: &str, from: bool) -> bool {
    match (kind, field) {
        ("SelectStmt" | "UpdateStmt", "from_clause")
        | ("DeleteStmt", "using_clause")
        | ("MergeStmt", "source_relation") => true,
        ("JoinExpr", "larg" | "rarg") | ("RangeTableSample", "relation") | ("List", "items") => {
            from
        }
        _ => false,
    }
}

/// The alias of what stands in FROM.
fn alias(item: &Tree) -> Option<&str> {
    item.tree("alias").map(|alias| alias.text("aliasname"))
}

fn column_names(item: &Tree) -> Vec<&str> {
    item.tree("alias")
        .map(|alias| alias.strings("colnames"))
        .unwrap_or_default()
}

/// Every table that a statement inserts into.
pub(super) fn inserted_into(tree: &Tree) -> Vec<&Tree> {
    let mut targets = Vec::new();
    super::nodes::every_node(tree, &mut |part| {
        if part.kind() == "InsertStmt" {
            targets.extend(part.tree("relation"));
        }
    });
    targets
}

#[cfg(test)]
mod tests {
    use super::Sources;
    use crate::interpret::parse::parse_each;

    #[test]
    fn a_with_query_is_meant_where_it_is_in_sight() {
        let rows = [
            ("with c as (select 1) select * from c", "c"),
            ("with c as (select 1) select * from s.c", ""),
            ("select * from c, (with c as (select 1) select 1) s", ""),
            (
                "select * from c, (with c as (select 1) select * from c) s",
                "c",
            ),
            ("with c as (select * from c) select 1", ""),
            ("with recursive c as (select * from c) select 1", "c"),
            (
                "with a as (select 1), b as (select * from a) select * from b",
                "a b",
            ),
            ("with a as (select * from b), b as (select 1) select 1", ""),
            (
                "with c as (select 1) select (select 1 from t join (c tablesample system (1)) on true)",
                "c",
            ),
            (
                "with c as (select 1) select (select 1 from t join c on true)",
                "c",
            ),
            ("with c as (select 1) insert into c select * from c", "c"),
            ("with c as (select 1) update c set a = 1", ""),
            ("with c as (select 1) update t set a = 1 from c", "c"),
            ("with c as (select 1) delete from c using c as d", "c"),
            (
                "with c as (select 1) merge into c using c on true when matched then delete",
                "c",
            ),
            ("with c as (select 1) select 1 union select * from c", "c"),
            ("(with c as (select 1) select 1) union select * from c", ""),
            ("insert into t with c as (select 1) select * from c", "c"),
        ];
        for (sql, expected) in rows {
            let Some(statements) = parse_each(sql) else {
                continue;
            };
            let sources = Sources::of(&statements[0].1);
            let named = sources.named.iter();
            let with = named.filter(|named| named.with.is_some());
            let with: Vec<_> = with.map(|named| named.range.text("relname")).collect();
            assert_eq!(with.join(" "), expected, "{sql}");
        }
    }

    #[test]
    fn columns_that_are_certain() {
        let sql = "with c(a) as (select 1, x as b from t) select 1 from c, c as d(e), \
                   (select upper(y), t.* from t) s, f() as g(h), f() as i, (select z from t) j(k), lower('a')";
        let statements = parse_each(sql).unwrap();
        let sources = Sources::of(&statements[0].1);
        for (row, name, expected) in [
            ("c", "a", true),
            ("c", "b", true),
            ("c", "x", false),
            ("d", "e", true),
            ("d", "a", false),
            ("s", "upper", true),
            ("s", "y", false),
            ("g", "h", true),
            ("i", "i", false),
            ("j", "k", true),
            ("j", "z", false),
            ("lower", "lower", false),
        ] {
            assert_eq!(sources.derived_have(row, name), expected, "{row}.{name}");
        }
    }
}

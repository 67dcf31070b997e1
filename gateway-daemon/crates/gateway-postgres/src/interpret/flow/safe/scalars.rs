//! Which values have no structure: texts, numbers, times. An array, a row or a JSON value has one, and
//! whether something can be done with it depends on that.
use crate::interpret::flow::known::is_proven_call;
use crate::interpret::flow::labels::label;
use crate::interpret::flow::names::Names;
use crate::interpret::flow::nodes::{any_node, bare_name, every_node, is_set_operation, is_star};
use crate::interpret::tree::Tree;
use pg_query::protobuf::SubLinkType;

use super::is_joining;

/// Names are followed through so many others.
const NAMES_MAX: usize = 4;

/// Functions that take any value, and whose own is a text or a number.
pub(super) const SCALAR: &[&str] = &[
    "upper",
    "lower",
    "initcap",
    "concat",
    "concat_ws",
    "md5",
    "char_length",
    "character_length",
    "octet_length",
    "bit_length",
    "length",
    "reverse",
    "btrim",
    "ltrim",
    "rtrim",
    "quote_literal",
    "quote_nullable",
    "left",
    "right",
    "split_part",
    "string_agg",
    "count",
];
/// Types without a structure (`pg_type.dat`): `bool`, `bytea`, `char`, `name`, `int8`, `int2`, `int4`,
/// `text`, `oid`, `cidr`, `float4`, `float8`, `macaddr`, `inet`, `bpchar`, `varchar`, `date`, `time`,
/// `timestamp`, `timestamptz`, `interval`, `timetz`, `numeric`, `uuid`.
const SCALAR_TYPES: &[u32] = &[
    16, 17, 18, 19, 20, 21, 23, 25, 26, 650, 700, 701, 829, 869, 1042, 1043, 1082, 1083, 1114,
    1184, 1186, 1266, 1700, 2950,
];

impl<'a> Names<'a> {
    /// Is the value of an expression with something sensitive in it certainly a text, a number or
    /// the like?
    pub(super) fn is_scalar(&self, tree: &'a Tree) -> bool {
        self.is_scalar_but(tree, &mut Vec::new())
    }

    /// `asked`: the names that are taken for those of scalars, since that is being looked at.
    fn is_scalar_but(&self, tree: &'a Tree, asked: &mut Vec<&'a str>) -> bool {
        if !self.goes_on(1) {
            return false;
        }
        match tree.kind() {
            "ColumnRef" => self.names_scalar(tree, asked),
            "TypeCast" => self.to_text(tree),
            "CollateClause" => tree
                .tree("arg")
                .is_some_and(|below| self.is_scalar_but(below, asked)),
            "AExpr" => {
                // With a text on one side it is a text.
                let mut side = |field| {
                    tree.tree(field)
                        .is_some_and(|side| self.is_scalar_but(side, asked))
                };
                is_joining(tree) && (side("lexpr") || side("rexpr"))
            }
            "FuncCall" => {
                let parts = tree.strings("funcname");
                is_proven_call(&parts) && parts.last().is_some_and(|name| SCALAR.contains(name))
            }
            "CoalesceExpr" => tree
                .trees("args")
                .all(|part| self.mention(part).is_empty() || self.is_scalar_but(part, asked)),
            "SubLink" => {
                let query = tree.tree("subselect");
                let targets = query.map(|query| query.list("target_list"));
                match targets {
                    Some([target]) => {
                        let value = target.tree().and_then(|target| target.tree("val"));
                        value.is_some_and(|value| self.is_scalar_but(value, asked))
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }

    /// The same, or made of such values only; `rows`: it may be a row.
    pub(super) fn is_of_scalars(&self, tree: &'a Tree, rows: bool) -> bool {
        if self.is_scalar(tree) {
            return true;
        }
        let all = |list: &str| {
            let mut parts = tree.trees(list);
            parts.all(|part| self.mention(part).is_empty() || self.is_of_scalars(part, rows))
        };
        rows && match tree.kind() {
            "ColumnRef" => match bare_name(tree) {
                Some(row) => self.has_scalars_only(Some(row)),
                None => self.has_scalars_only(None),
            },
            "RowExpr" => all("args"),
            "FuncCall" => {
                let parts = tree.strings("funcname");
                let builds = |name: &&str| name.starts_with("json") || name.starts_with("to_json");
                is_proven_call(&parts) && parts.last().is_some_and(builds) && all("args")
            }
            _ => false,
        }
    }

    /// Is a name certainly that of a column with a type that has no structure?
    fn names_scalar(&self, tree: &'a Tree, asked: &mut Vec<&'a str>) -> bool {
        let parts = tree.strings("fields");
        let (row, name) = match parts.as_slice() {
            [name] => (None, *name),
            [.., row, name] => (Some(*row), *name),
            [] => return false,
        };
        if is_star(tree) {
            return false;
        }
        if !self.is_of_table(row) {
            return self.has_scalars_only(None) || self.derives_scalar(name, asked);
        }
        let mut columns = self.columns_named(row, name).peekable();
        columns.peek().is_some() && columns.all(|column| self.is_scalar_type(column.type_oid))
    }

    /// Is whatever goes by a name certainly without a structure, in tables and in what is derived from
    /// them?
    fn derives_scalar(&self, name: &'a str, asked: &mut Vec<&'a str>) -> bool {
        if asked.contains(&name) {
            return true;
        }
        if asked.len() >= NAMES_MAX {
            return false;
        }
        asked.push(name);
        let mut stored = self.columns_named(None, name);
        let mut made = Vec::new();
        let mut is_certain = !self.is_doubtful()
            && stored.all(|column| self.is_scalar_type(column.type_oid))
            && !name.starts_with("column");
        every_node(self.tree(), &mut |part| match part.kind() {
            _ if !self.goes_on(1) => is_certain = false,
            "ResTarget" if label(part).may_be(name) => made.extend(part.tree("val")),
            // Where names are given to what has others, or none.
            "Alias" => is_certain &= !part.strings("colnames").contains(&name),
            "CommonTableExpr" => is_certain &= !part.strings("aliascolnames").contains(&name),
            "RangeFunction" | "RangeTableFunc" | "JsonTable" => is_certain = false,
            // The type of a column is that of all arms.
            "SelectStmt" => is_certain &= !is_set_operation(part),
            _ => {}
        });
        let is_scalar = is_certain
            && made
                .into_iter()
                .all(|value| self.mention(value).is_empty() || self.is_scalar_but(value, asked));
        asked.pop();
        is_scalar
    }

    /// Is nothing sensitive but what has no structure in the tables of this name, or in any table
    /// where the name is that of something else? What is derived from them could be built there.
    fn has_scalars_only(&self, row: Option<&str>) -> bool {
        let row = row.filter(|row| self.is_of_table(Some(row)));
        let mut marked = self
            .columns_of(row)
            .filter(|column| column.marked.is_some());
        !self.is_doubtful()
            && marked.all(|column| self.is_scalar_type(column.type_oid))
            && (row.is_some()
                || !any_node(self.tree(), &|part| {
                    !self.goes_on(1) || builds_structure(part)
                }))
    }

    fn is_scalar_type(&self, oid: u32) -> bool {
        SCALAR_TYPES.contains(&self.base_type(oid))
    }
}

/// Could something be built of values here that is not a text or a number?
fn builds_structure(tree: &Tree) -> bool {
    match tree.kind() {
        "AArrayExpr" | "RowExpr" | "RangeFunction" | "RangeTableFunc" | "JsonTable" => true,
        "SubLink" => tree.choice::<SubLinkType>("sub_link_type") == Some(SubLinkType::ArraySublink),
        "FuncCall" => {
            let parts = tree.strings("funcname");
            let is_scalar = parts
                .last()
                .is_some_and(|name| SCALAR.contains(name) || NUMBERING.contains(name));
            !(is_proven_call(&parts) && is_scalar)
        }
        "TypeCast" => tree
            .tree("type_name")
            .is_none_or(|target| !target.list("array_bounds").is_empty() || is_json(target)),
        _ => false,
    }
}

/// Window functions and clocks that stand in many a sub-query.
const NUMBERING: &[&str] = &["row_number", "rank", "dense_rank", "now"];

fn is_json(target: &Tree) -> bool {
    let names = target.strings("names");
    names.last().is_none_or(|name| name.starts_with("json"))
}

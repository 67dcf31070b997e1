//! Expressions that do not fail, whatever value they are given, and that are NULL only where the
//! value is: whether one fails would tell something about a value that is covered.
use super::names::{Names, is_proven_call};
use crate::interpret::tree::{Tree, Value};
use pg_query::protobuf::{AExprKind, SubLinkType};

/// Functions of one argument, or of several of which any may be any value.
const OF_ANYTHING: &[&str] = &[
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
    "reverse",
    "btrim",
    "ltrim",
    "rtrim",
    "quote_literal",
    "quote_nullable",
    "to_json",
    "to_jsonb",
    "row_to_json",
    "array_to_json",
    "json_build_array",
    "jsonb_build_array",
    "json_agg",
    "jsonb_agg",
    "count",
    "min",
    "max",
    "any_value",
];
/// Functions that take any value in their first argument, where the others are constants.
const OF_FIRST: &[&str] = &["left", "right", "split_part", "string_agg"];
/// Functions that take any value in every second argument.
const OF_SECOND: &[&str] = &["json_build_object", "jsonb_build_object"];

impl<'a> Names<'a> {
    /// Can the expression be computed whatever is sensitive in it?
    pub(super) fn cannot_fail(&self, tree: &'a Tree) -> bool {
        if self.mention(tree).is_empty() {
            return true;
        }
        match tree.kind() {
            "ColumnRef" => true,
            "TypeCast" => self.to_text(tree) && self.field(tree, "arg"),
            "CollateClause" | "NamedArgExpr" | "NullTest" => self.field(tree, "arg"),
            "CoalesceExpr" => self.list(tree, "args"),
            "RowExpr" => {
                let parts: Vec<&Tree> = tree.trees("args").collect();
                self.list(tree, "args") && self.can_be_joined(&parts)
            }
            "AExpr" => {
                tree.choice::<AExprKind>("kind") == Some(AExprKind::AexprOp)
                    && tree.strings("name") == ["||"]
                    && self.field(tree, "lexpr")
                    && self.field(tree, "rexpr")
                    && self.can_be_joined(
                        &[tree.tree("lexpr"), tree.tree("rexpr")]
                            .map(|operand| operand.unwrap_or(tree)),
                    )
            }
            "FuncCall" => self.call_cannot_fail(tree),
            // The query in it is looked at by itself.
            "SubLink" => matches!(
                tree.choice::<SubLinkType>("sub_link_type"),
                Some(SubLinkType::ExprSublink | SubLinkType::ExistsSublink)
            ),
            // `(u).*` is a list of columns.
            "AIndirection" => super::names::is_star(tree) && self.field(tree, "arg"),
            _ => false,
        }
    }

    fn field(&self, tree: &'a Tree, field: &str) -> bool {
        tree.tree(field).is_none_or(|below| self.cannot_fail(below))
    }

    fn list(&self, tree: &'a Tree, field: &str) -> bool {
        tree.trees(field).all(|below| self.cannot_fail(below))
    }

    /// A cast that takes every value. A type of that name elsewhere could be one that does not.
    fn to_text(&self, cast: &Tree) -> bool {
        let Some(target) = cast.tree("type_name") else {
            return false;
        };
        let name = match target.strings("names").as_slice() {
            ["pg_catalog", name] => *name,
            [name] if !self.is_type(name) => *name,
            _ => return false,
        };
        target.list("array_bounds").is_empty() && matches!(name, "text" | "varchar" | "bpchar")
    }

    fn call_cannot_fail(&self, tree: &'a Tree) -> bool {
        let parts = tree.strings("funcname");
        let simple = !tree.flag("agg_distinct")
            && tree.list("agg_order").is_empty()
            && [tree.get("agg_filter"), tree.get("over")]
                .iter()
                .all(|field| **field == Value::Nothing);
        let (true, true, Some(name)) = (simple, is_proven_call(&parts), parts.last()) else {
            return false;
        };
        if self.is_type(name) {
            // With one argument it may be a cast.
            return false;
        }
        let may_be = |index: usize| {
            OF_ANYTHING.contains(name)
                || OF_FIRST.contains(name) && index == 0
                || OF_SECOND.contains(name) && index % 2 == 1
                || *name == "length" && tree.list("args").len() == 1
        };
        let arguments: Vec<&Tree> = tree.trees("args").collect();
        let each = arguments.iter().enumerate().all(|(index, argument)| {
            self.mention(argument).is_empty() || may_be(index) && self.cannot_fail(argument)
        });
        each && self.can_be_joined(&arguments) && self.can_grow(name, &arguments)
    }
}

/// Could a type of this name make something fail that is taken not to?
pub(super) fn must_not_be_a_type(name: &str) -> bool {
    let lists = [
        OF_ANYTHING,
        OF_FIRST,
        OF_SECOND,
        &["length", "text", "varchar", "bpchar"],
    ];
    lists.iter().any(|list| list.contains(&name))
}

//! Expressions that do not fail, whatever value they are given, and that are NULL only where the
//! value is: whether one fails would tell something about a value that is covered.
//!
//! What is too long for the server fails too. Against that there is no more here than that nothing
//! is computed beside a sensitive value that grows: what is stored in tables can be long.
mod scalars;

use super::known::is_proven_call;
use super::names::Names;
use super::nodes::each;
use crate::interpret::tree::{Tree, Value};
use pg_query::protobuf::{AExprKind, SubLinkType};
use scalars::SCALAR;

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
    "quote_literal",
    "quote_nullable",
    "to_json",
    "row_to_json",
    "array_to_json",
    "json_build_array",
    "json_agg",
    "count",
    "min",
    "max",
    "any_value",
];
/// Functions that take any value in their first argument, where the others are constants. None of
/// them cuts: how long a part is that somebody chose tells what is in the value, and there are many
/// ways to find out how long something covered is (what it takes to sort it, to store it, to send
/// it), while of the value itself nothing but its length is learned that way.
const OF_FIRST: &[&str] = &["string_agg"];
/// Functions that cut off spaces, and with a second argument whatever it says.
const CUTTING: &[&str] = &["btrim", "ltrim", "rtrim"];
/// Functions that take any value in every second argument.
const OF_SECOND: &[&str] = &["json_build_object"];
/// Functions of values without a structure: an array cannot hold arrays of different sizes, and
/// what a `json` holds may be none that `jsonb` takes. Of the first kind any argument may be one,
/// of the second every second.
const OF_SCALARS: &[&str] = &["array_agg", "to_jsonb", "jsonb_agg", "jsonb_build_array"];
const OF_SECOND_SCALARS: &[&str] = &["jsonb_build_object"];

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
            // What stands behind a sensitive value is computed where that is NULL, and only there.
            "CoalesceExpr" => tree
                .trees("args")
                .all(|part| match self.mention(part).is_empty() {
                    true => self.is_at_hand(part),
                    false => self.cannot_fail(part),
                }),
            "CaseExpr" => self.is_one_or_null(tree),
            "RowExpr" => {
                let parts: Vec<&Tree> = tree.trees("args").collect();
                self.list(tree, "args") && self.can_be_joined(&parts)
            }
            "AExpr" => {
                let operands = [tree.tree("lexpr"), tree.tree("rexpr")];
                is_joining(tree)
                    && self.operand(tree, "lexpr")
                    && self.operand(tree, "rexpr")
                    && self.can_be_joined(&operands.map(|operand| operand.unwrap_or(tree)))
            }
            "FuncCall" => self.call_cannot_fail(tree),
            // The query in it is looked at by itself.
            "SubLink" => matches!(
                tree.choice::<SubLinkType>("sub_link_type"),
                Some(SubLinkType::ExprSublink | SubLinkType::ExistsSublink)
            ),
            // `(u).*` is a list of columns, and `(u).email` is one.
            "AIndirection" => {
                let mut parts = tree.trees("indirection");
                self.given(tree).is_none()
                    && parts.all(|part| matches!(part.kind(), "String" | "AStar"))
                    && self.field(tree, "arg")
            }
            _ => false,
        }
    }

    /// CASE that is one value, or NULL where a condition about something else says so.
    fn is_one_or_null(&self, case: &'a Tree) -> bool {
        let mut results: Vec<&Tree> = case.tree("defresult").into_iter().collect();
        let mut is_open = case.tree("arg").is_none();
        for when in case.trees("args") {
            let condition = when.tree("expr");
            is_open &= condition.is_some_and(|condition| self.mention(condition).is_empty());
            results.extend(when.tree("result"));
        }
        results.retain(|result| !(result.kind() == "AConst" && result.flag("isnull")));
        is_open && matches!(results.as_slice(), [one] if self.cannot_fail(one))
    }

    fn field(&self, tree: &'a Tree, field: &str) -> bool {
        tree.tree(field).is_none_or(|below| self.cannot_fail(below))
    }

    fn list(&self, tree: &'a Tree, field: &str) -> bool {
        tree.trees(field).all(|below| self.cannot_fail(below))
    }

    /// What is computed beside a sensitive value could be so long that the two together are too
    /// long; and of a value with a structure, not everything can be put behind another.
    fn operand(&self, tree: &'a Tree, field: &str) -> bool {
        tree.tree(field)
            .is_none_or(|below| match self.mention(below).is_empty() {
                true => is_short(below),
                false => self.is_scalar(below) && self.cannot_fail(below),
            })
    }

    /// Is it a value that is there without computing anything?
    fn is_at_hand(&self, tree: &'a Tree) -> bool {
        match tree.kind() {
            "AConst" | "ParamRef" => true,
            "ColumnRef" => self.given(tree).is_none(),
            "TypeCast" => self.to_text(tree) && self.at_hand_below(tree),
            _ => false,
        }
    }

    fn at_hand_below(&self, tree: &'a Tree) -> bool {
        tree.tree("arg").is_some_and(|below| self.is_at_hand(below))
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
        // A length cuts.
        target.list("array_bounds").is_empty()
            && target.list("typmods").is_empty()
            && matches!(name, "text" | "varchar" | "bpchar")
    }

    fn call_cannot_fail(&self, tree: &'a Tree) -> bool {
        let parts = tree.strings("funcname");
        let is_plain = |sort: &'a Tree| {
            let by = sort.tree("node").filter(|by| by.kind() == "ColumnRef");
            by.is_some() && self.mention(sort).is_empty()
        };
        let simple = !tree.flag("agg_distinct")
            && tree.trees("agg_order").all(is_plain)
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
        let may_be = |index: usize, argument: &'a Tree| {
            OF_ANYTHING.contains(name)
                || OF_FIRST.contains(name) && index == 0
                || OF_SECOND.contains(name) && index % 2 == 1
                || (*name == "length" || CUTTING.contains(name)) && tree.list("args").len() == 1
                || (OF_SCALARS.contains(name) || OF_SECOND_SCALARS.contains(name) && index % 2 == 1)
                    && self.is_of_scalars(argument, *name != "array_agg")
        };
        let arguments: Vec<&Tree> = tree.trees("args").collect();
        let each = arguments.iter().enumerate().all(|(index, argument)| {
            match self.mention(argument).is_empty() {
                true => is_short(argument),
                false => may_be(index, argument) && self.cannot_fail(argument),
            }
        });
        each && self.can_be_joined(&arguments) && self.can_grow(name, &arguments)
    }
}

/// `a || b`.
fn is_joining(tree: &Tree) -> bool {
    tree.choice::<AExprKind>("kind") == Some(AExprKind::AexprOp) && tree.strings("name") == ["||"]
}

/// A constant or a column, and nothing computed that is longer than those.
pub(super) fn is_short(tree: &Tree) -> bool {
    let all = |list: &str| tree.trees(list).all(is_short);
    match tree.kind() {
        "AConst" | "ParamRef" | "ColumnRef" => true,
        "TypeCast" | "CollateClause" => tree.tree("arg").is_some_and(is_short),
        "CoalesceExpr" => all("args"),
        "AExpr" if is_joining(tree) => {
            let side = |field| tree.tree(field).is_none_or(is_short);
            side("lexpr") && side("rexpr")
        }
        "FuncCall" => {
            let parts = tree.strings("funcname");
            let is_scalar = parts.last().is_some_and(|name| SCALAR.contains(name));
            is_proven_call(&parts) && is_scalar && all("args")
        }
        _ => false,
    }
}

/// Could a type of this name make something fail that is taken not to?
pub(super) fn must_not_be_a_type(name: &str) -> bool {
    let lists = [
        OF_ANYTHING,
        OF_FIRST,
        CUTTING,
        OF_SECOND,
        OF_SCALARS,
        OF_SECOND_SCALARS,
        &["length", "text", "varchar", "bpchar"],
    ];
    lists.iter().any(|list| list.contains(&name))
}

/// The only argument of a call.
pub(super) fn only_argument(call: &Tree) -> Option<&Tree> {
    let mut arguments = Vec::new();
    each(call.get("args"), &mut |argument| arguments.push(argument));
    match arguments.as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

//! How long what is computed of a value can be. What is put together with it can be so long that the
//! two are too long, and then whether that fails tells how long the one is: where that depends on
//! what the value is, and not only on how long, it would tell the value bit by bit.
use super::known::is_proven_call;
use super::names::Names;
use super::safe::is_short;
use crate::interpret::tree::Tree;
use pg_query::protobuf::AExprKind;

/// Functions whose result is as long as what they are given, or of a length that they are told. What
/// a mark of JSON adds to what it escapes is left out of that.
const KEEPING: &[&str] = &[
    "upper",
    "lower",
    "initcap",
    "reverse",
    "md5",
    "left",
    "right",
    "concat",
    "concat_ws",
    "to_json",
    "to_jsonb",
    "row_to_json",
    "array_to_json",
    "json_build_array",
    "jsonb_build_array",
    "json_build_object",
    "jsonb_build_object",
    // These return a number.
    "length",
    "char_length",
    "character_length",
    "octet_length",
    "bit_length",
    "count",
];
/// Aggregates that are the longer the more values there are, however short these are.
const GROWING: &[&str] = &["string_agg", "json_agg", "jsonb_agg"];

impl<'a> Names<'a> {
    /// Can these be put together, where each by itself cannot fail? A column can be as long as
    /// whoever fills it likes.
    pub(super) fn can_be_joined(&self, parts: &[&'a Tree]) -> bool {
        let keeps = parts.iter().all(|part| self.keeps_length(part));
        parts.iter().all(|part| {
            !self.mention(part).is_empty() || is_constant(part) || keeps && is_short(part)
        })
    }

    /// The same for what an aggregate is given.
    pub(super) fn can_grow(&self, function: &str, arguments: &[&'a Tree]) -> bool {
        !GROWING.contains(&function) || arguments.iter().all(|part| self.keeps_length(part))
    }

    /// Does how long it is depend on nothing of a sensitive value but how long that is?
    fn keeps_length(&self, tree: &'a Tree) -> bool {
        if self.mention(tree).is_empty() {
            return true;
        }
        let below = |field: &str| tree.tree(field).is_none_or(|part| self.keeps_length(part));
        let all = |field: &str| tree.trees(field).all(|part| self.keeps_length(part));
        match tree.kind() {
            "ColumnRef" | "NullTest" => true,
            "TypeCast" | "CollateClause" | "NamedArgExpr" => below("arg"),
            "AIndirection" => super::nodes::is_star(tree) && below("arg"),
            "RowExpr" | "CoalesceExpr" => all("args"),
            "AExpr" => {
                tree.choice::<AExprKind>("kind") == Some(AExprKind::AexprOp)
                    && tree.strings("name") == ["||"]
                    && below("lexpr")
                    && below("rexpr")
            }
            "FuncCall" => {
                let parts = tree.strings("funcname");
                let known = |name: &&str| KEEPING.contains(name) || GROWING.contains(name);
                is_proven_call(&parts) && parts.last().is_some_and(known) && all("args")
            }
            _ => false,
        }
    }
}

fn is_constant(tree: &Tree) -> bool {
    match tree.kind() {
        "AConst" | "ParamRef" => true,
        "TypeCast" => tree.tree("arg").is_some_and(is_constant),
        _ => false,
    }
}

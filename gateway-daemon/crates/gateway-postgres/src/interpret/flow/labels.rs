//! What PostgreSQL calls the columns of a result (`FigureColname` in `parse_target.c`).
//!
//! `SELECT upper(email) FROM users ORDER BY upper` orders by what is returned: a column without an
//! alias has a name all the same.
use super::nodes::{is_set_operation, is_star};
use crate::interpret::tree::{Tree, Value};
use pg_query::protobuf::{AExprKind, SubLinkType};

/// The name of a column of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label<'a> {
    Known(&'a str),
    /// Several, each with a name of its own: `*`.
    Star,
    /// What its server calls it is not known here.
    Any,
}

impl Label<'_> {
    /// Could one column have this name?
    pub(super) fn may_be(self, name: &str) -> bool {
        match self {
            Label::Known(known) => known == name,
            Label::Star => false,
            Label::Any => true,
        }
    }
}

/// What a column without a name is called.
const NAMELESS: &str = "?column?";

/// The name of one entry of a result list.
pub(super) fn label(target: &Tree) -> Label<'_> {
    match (target.text("name"), target.tree("val")) {
        ("", Some(value)) if is_star(value) => Label::Star,
        ("", Some(value)) => figured(value),
        ("", None) => Label::Any,
        (name, _) => Label::Known(name),
    }
}

/// The names of a query's columns, in their order.
pub(super) fn labels(query: &Tree) -> Vec<Label<'_>> {
    let of = |list: &'_ str| query.trees(list).map(label).collect();
    match query.kind() {
        "SelectStmt" if is_set_operation(query) => match query.tree("larg") {
            Some(left) => labels(left),
            None => vec![Label::Any],
        },
        "SelectStmt" if query.list("values_lists").is_empty() => of("target_list"),
        "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
            match query.tree("returning_clause") {
                Some(clause) => clause.trees("exprs").map(label).collect(),
                None => Vec::new(),
            }
        }
        _ => vec![Label::Any],
    }
}

/// The names that a query's columns certainly have, where the first of them are `renamed`.
pub(super) fn certain<'a>(query: &'a Tree, renamed: Vec<&'a str>) -> Vec<&'a str> {
    let labels = labels(query);
    let mut names = renamed;
    // Behind a star nobody knows which ones are renamed.
    if names.is_empty() || !labels.contains(&Label::Star) {
        let kept = labels.iter().skip(names.len());
        let kept: Vec<&str> = kept
            .filter_map(|label| match label {
                Label::Known(name) => Some(*name),
                Label::Star | Label::Any => None,
            })
            .collect();
        names.extend(kept);
    }
    names
}

/// How sure PostgreSQL is of a name: one that is only a type's or CASE's gives way to a better one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    None,
    Weak,
    Strong,
}

/// The name that an expression gives to a column.
pub(super) fn figured(value: &Tree) -> Label<'_> {
    match figure(value) {
        Some((Strength::None, _)) => Label::Known(NAMELESS),
        Some((_, name)) => Label::Known(name),
        None => Label::Any,
    }
}

/// `None`: it is not known here.
fn figure(value: &Tree) -> Option<(Strength, &str)> {
    let last = |list: &'static str| value.strings(list).last().copied();
    let strong = |name| Some((Strength::Strong, name));
    match value.kind() {
        "ColumnRef" => last("fields").and_then(strong),
        "AIndirection" => match last("indirection") {
            Some(name) => strong(name),
            None => figure(value.tree("arg")?),
        },
        "FuncCall" => last("funcname").and_then(strong),
        "AExpr" if value.choice::<AExprKind>("kind") == Some(AExprKind::AexprNullif) => {
            strong("nullif")
        }
        "TypeCast" => {
            let (strength, name) = figure(value.tree("arg")?)?;
            let kind = value.tree("type_name")?.strings("names").last().copied();
            match kind {
                Some(kind) if strength < Strength::Strong => Some((Strength::Weak, kind)),
                _ => Some((strength, name)),
            }
        }
        "CaseExpr" => {
            let (strength, name) = match value.tree("defresult") {
                Some(otherwise) => figure(otherwise)?,
                None => (Strength::None, NAMELESS),
            };
            match strength {
                Strength::Strong => Some((strength, name)),
                Strength::None | Strength::Weak => Some((Strength::Weak, "case")),
            }
        }
        "CollateClause" => figure(value.tree("arg")?),
        "SubLink" => match value.choice::<SubLinkType>("sub_link_type") {
            Some(SubLinkType::ExistsSublink) => strong("exists"),
            Some(SubLinkType::ArraySublink) => strong("array"),
            Some(SubLinkType::ExprSublink) => match labels(value.tree("subselect")?).first() {
                Some(Label::Known(name)) => strong(name),
                _ => None,
            },
            Some(SubLinkType::AnySublink | SubLinkType::AllSublink) => {
                Some((Strength::None, NAMELESS))
            }
            _ => None,
        },
        "AArrayExpr" => strong("array"),
        "RowExpr" => strong("row"),
        "CoalesceExpr" => strong("coalesce"),
        "GroupingFunc" => strong("grouping"),
        // These have no name of their own. NULLIF was above.
        "AExpr" | "BoolExpr" | "NullTest" | "BooleanTest" | "ParamRef" => {
            Some((Strength::None, NAMELESS))
        }
        // A constant, unless it is cast.
        "AConst" if *value.get("val") != Value::Nothing || value.flag("isnull") => {
            Some((Strength::None, NAMELESS))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Label, labels};
    use crate::interpret::parse::parse_each;

    #[test]
    fn columns_are_called_what_the_server_calls_them() {
        let rows = [
            ("select a, t.b, c as d, (e).f, t.*", "a b d f *"),
            (
                "select upper(a), pg_catalog.lower(a), count(*)",
                "upper lower count",
            ),
            (
                "select a || 'x', 1, 'x', not a, a is null",
                "?column? ?column? ?column? ?column? ?column?",
            ),
            ("select a::text, (a || 'x')::text, 'x'::date", "a text date"),
            (
                "select case when a then b end, case when a then b else c end",
                "case c",
            ),
            ("select case when a then b else 1 end::int", "int4"),
            (
                "select (select a from t), exists (select 1), array(select 1), array[1]",
                "a exists array array",
            ),
            (
                "select coalesce(a, b), row(a), nullif(a, b), a collate \"C\", a[1]",
                "coalesce row nullif a a",
            ),
            ("select upper(a) union select 1", "upper"),
            ("delete from t returning upper(a), b", "upper b"),
            ("values (1)", "any"),
            ("select greatest(a, b), xmlelement(name a)", "any any"),
        ];
        for (sql, expected) in rows {
            let statements = parse_each(sql).unwrap();
            let found: Vec<_> = labels(&statements[0].1)
                .iter()
                .map(|label| match label {
                    Label::Known(name) => *name,
                    Label::Star => "*",
                    Label::Any => "any",
                })
                .collect();
            assert_eq!(found.join(" "), expected, "{sql}");
        }
    }
}

//! What could be in the value of an expression, and in the columns of a result.
use super::Names;
use crate::interpret::flow::known::parts_taken;
use crate::interpret::flow::nodes::{each, every_node, is_set_operation, is_star, makes_relation};
use crate::interpret::flow::{Fields, Output, Outputs};
use crate::interpret::tree::Tree;
use crate::mask::outlook::{Marked, UNPROVEN};
use pg_query::protobuf::SubLinkType;

impl<'a> Names<'a> {
    /// The columns of what a statement returns.
    pub(in crate::interpret::flow) fn outputs(&self, tree: &'a Tree) -> Outputs {
        match tree.kind() {
            "SelectStmt" => self.select_outputs(tree),
            "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => {
                match tree.tree("returning_clause") {
                    Some(clause) => self.targets(clause, "exprs"),
                    // A rule can return rows of its own.
                    None if self.unproven => Outputs::unproven(),
                    None => Outputs::default(),
                }
            }
            "CopyStmt" | "DeclareCursorStmt" => tree
                .tree("query")
                .map_or(Outputs::default(), |query| self.outputs(query)),
            // What the cursor or the prepared statement returns is known elsewhere.
            "FetchStmt" | "ExecuteStmt" | "CallStmt" => Outputs::unproven(),
            // It shows the statement's own words, and what the planner has computed of them:
            // functions that are called immutable have run by then. How wide its rows are, and how
            // much memory it took to sort them, depends on the values.
            "ExplainStmt" if self.unproven || self.touching_view => Outputs::unproven(),
            // How many pages there are decides about the costs.
            "ExplainStmt" if self.has_places() => Outputs::unproven(),
            "ExplainStmt" => Outputs::All(self.mention_below(tree)),
            _ => Outputs::default(),
        }
    }

    pub(super) fn select_outputs(&self, tree: &'a Tree) -> Outputs {
        if is_set_operation(tree) {
            let arms = ["larg", "rarg"].map(|arm| {
                tree.tree(arm)
                    .map_or(Outputs::default(), |arm| self.outputs(arm))
            });
            return united(arms);
        }
        if !tree.list("values_lists").is_empty() {
            let mut fields = Fields::default();
            each(tree.get("values_lists"), &mut |value| {
                fields.add(&self.mention(value));
            });
            return Outputs::All(fields);
        }
        self.targets(tree, "target_list")
    }

    pub(super) fn targets(&self, tree: &'a Tree, list: &str) -> Outputs {
        let mut outputs = Vec::new();
        for target in tree.trees(list) {
            let Some(value) = target.tree("val") else {
                return Outputs::All(self.every_column());
            };
            if self.is_exhausted() {
                return Outputs::unproven();
            }
            let star = self.star_of(value, tree);
            // Of tables alone, what is merged is less than all of it.
            let is_merged = is_column_star(value) && (star.is_none() || self.is_flat());
            let mut fields = star.unwrap_or_else(|| self.mention(value));
            if self.doubtful {
                fields.add(&Fields::one(UNPROVEN));
            }
            outputs.push(Output {
                star: is_star(value),
                merged: match is_merged {
                    true => self.merged(),
                    false => fields.clone(),
                },
                plain: self.is_itself(value),
                fields,
            });
        }
        Outputs::Each(outputs)
    }

    /// Is it a column and nothing else, which holds a sensitive field as it is, whatever it is a column
    /// of? That of a view can be computed.
    pub(in crate::interpret::flow) fn is_itself(&self, value: &Tree) -> bool {
        if !is_plain(value) || !self.is_flat() || !self.goes_on(self.ranges.len()) {
            return false;
        }
        let mut meant = match value.strings("fields").as_slice() {
            [name] => self.marks_of(None, name),
            [.., row, name] => self.marks_of(Some(row), name),
            [] => return false,
        };
        meant.all(|marked| marked.itself)
    }

    fn marks_of(&self, row: Option<&str>, name: &str) -> impl Iterator<Item = &Marked> {
        self.columns_named(row, name)
            .filter_map(|column| column.marked.as_ref())
    }

    /// What could be in such columns of `*` that are no table's own: where all sources are tables, a
    /// join makes one of two columns of the same name, and nothing else is computed.
    fn merged(&self) -> Fields {
        let mut is_certain = self.is_flat() && !self.doubtful;
        let mut merged = Fields::default();
        every_node(self.tree, &mut |part| {
            is_certain &= self.goes_on(1);
            if part.kind() == "JoinExpr" {
                is_certain &= !part.flag("is_natural");
                for name in part.strings("using_clause") {
                    merged.add(&self.column(name));
                }
            }
        });
        match is_certain {
            true => merged,
            false => self.every_column(),
        }
    }

    /// What could be in the value of an expression.
    pub(in crate::interpret::flow) fn mention(&self, tree: &'a Tree) -> Fields {
        let mut fields = Fields::default();
        self.mention_into(tree, &mut fields);
        fields
    }

    /// The same for all that is below a node.
    pub(in crate::interpret::flow) fn mention_below(&self, tree: &'a Tree) -> Fields {
        let mut fields = Fields::default();
        for (_, value) in tree.fields() {
            each(value, &mut |below| self.mention_into(below, &mut fields));
        }
        fields
    }

    pub(super) fn mention_into(&self, tree: &'a Tree, fields: &mut Fields) {
        if !self.goes_on(1) {
            return;
        }
        match tree.kind() {
            "ColumnRef" => {
                fields.add(&self.reference(tree));
                return;
            }
            "FuncCall" => {
                // `email(u)` is `u.email`.
                if let Some(name) = tree.strings("funcname").last() {
                    fields.add(&self.columns.get(name).cloned().unwrap_or_default());
                }
                // A word of newer grammars, which is a name for older servers.
                if tree.strings("funcname") == ["pg_catalog", "system_user"] {
                    fields.add(&self.column("system_user"));
                }
            }
            "AIndirection" => {
                for name in parts_taken(tree) {
                    fields.add(&self.column(name));
                }
            }
            "JoinExpr" => {
                for column in tree.strings("using_clause") {
                    fields.add(&self.column(column));
                }
                if tree.flag("is_natural") {
                    fields.add(&self.every_column());
                }
            }
            "SubLink" if is_exists(tree) => {
                if let Some(query) = tree.tree("subselect").filter(|query| is_simple(query)) {
                    self.mention_rows(query, fields);
                    return;
                }
            }
            _ => {}
        }
        if self.calls_unknown(tree) {
            fields.add(&Fields::one(UNPROVEN));
        }
        let counts_rows = tree.kind() == "FuncCall" && self.counts_rows(tree);
        for (field, value) in tree.fields() {
            let is_left_out = makes_relation(tree.kind(), field) || counts_rows && field == "args";
            if !is_left_out {
                each(value, &mut |below| self.mention_into(below, fields));
            }
        }
    }

    /// What decides which rows a query has, whatever it returns of them.
    pub(super) fn mention_rows(&self, query: &'a Tree, fields: &mut Fields) {
        for (field, value) in query.fields() {
            if field != "target_list" {
                each(value, &mut |below| self.mention_into(below, fields));
            }
        }
    }

    /// What could be behind `a`, `a.b`, `a.*` or `*`.
    pub(super) fn reference(&self, tree: &'a Tree) -> Fields {
        // Ranges are looked through some times for a name that is qualified by one.
        if !self.goes_on(tree.list("fields").len() * (self.ranges.len() + self.rows.len())) {
            return Fields::default();
        }
        let mut parts = Vec::new();
        let mut star = false;
        for part in tree.trees("fields") {
            match part.kind() {
                "String" => parts.push(part.text("sval")),
                _ => star = true,
            }
        }
        let mut found = self.all.clone();
        let (row, name) = match (parts.as_slice(), star) {
            ([], _) => {
                found.add(&self.loose);
                self.rows.values().for_each(|fields| _ = found.add(fields));
                return found;
            }
            ([.., row], true) => (*row, None),
            ([name], false) => {
                for map in [&self.columns, &self.rows] {
                    found.add(&map.get(name).cloned().unwrap_or_default());
                }
                found.add(&self.loose);
                return found;
            }
            ([.., row, name], false) => (*row, Some(*name)),
        };
        let whole = self.whole(row);
        if !self.is_table(row) {
            found.add(&self.loose);
        }
        match name {
            None => _ = found.add(&whole),
            Some(name) => {
                if let Some(fields) = self.columns.get(name)
                    && !self.is_clean(row, name)
                {
                    found.add(fields);
                }
                // `u.f` is `f(u)` where there is no such column.
                if !self.is_column(row, name) {
                    found.add(&whole);
                }
                if self.is_call(row, name) {
                    found.add(&Fields::one(UNPROVEN));
                }
            }
        }
        found
    }

    /// What could be in any column of a row.
    pub(super) fn whole(&self, row: &str) -> Fields {
        let whole = self.rows.get(row).cloned().unwrap_or_default();
        match self.is_table(row) {
            true => whole.and(&self.all),
            false => whole.and(&self.loose).and(&self.all),
        }
    }
}

/// The columns of both arms of a UNION and its kin, one on top of the other.
pub(super) fn united([left, right]: [Outputs; 2]) -> Outputs {
    match (left, right) {
        (Outputs::Each(left), Outputs::Each(right))
            if left.len() == right.len()
                && left.iter().chain(&right).all(|output| !output.star) =>
        {
            let both = left.into_iter().zip(right);
            Outputs::Each(
                both.map(|(left, right)| Output {
                    star: false,
                    plain: false,
                    fields: left.fields.and(&right.fields),
                    merged: Fields::default(),
                })
                .collect(),
            )
        }
        (left, right) => Outputs::All(left.any().and(&right.any())),
    }
}

pub(super) fn is_exists(link: &Tree) -> bool {
    link.choice::<SubLinkType>("sub_link_type") == Some(SubLinkType::ExistsSublink)
}

/// Is it a SELECT whose rows do not depend on what it returns of them, and which nothing in its list
/// can make fail? What is only looked for may still be computed where rows are counted off.
pub(super) fn is_simple(query: &Tree) -> bool {
    let clauses = [
        "distinct_clause",
        "values_lists",
        "group_clause",
        "window_clause",
    ];
    let bounds = ["limit_offset", "limit_count", "having_clause"];
    let is_plain = |target: &Tree| {
        let value = target.tree("val");
        value.is_some_and(|value| matches!(value.kind(), "ColumnRef" | "AConst"))
    };
    query.kind() == "SelectStmt"
        && !is_set_operation(query)
        && clauses.iter().all(|clause| query.list(clause).is_empty())
        && bounds.iter().all(|bound| query.tree(bound).is_none())
        && query.trees("target_list").all(is_plain)
}

/// `*` or `u.*`.
fn is_column_star(value: &Tree) -> bool {
    value.kind() == "ColumnRef" && is_star(value)
}

pub(super) fn is_plain(value: &Tree) -> bool {
    value.kind() == "ColumnRef" && !is_star(value)
}

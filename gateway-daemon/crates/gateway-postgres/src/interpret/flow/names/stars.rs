//! What could be in the columns that a bare `*` stands for: those of the sources beside it, and not
//! whatever else the statement names.
use super::Names;
use crate::interpret::flow::Fields;
use crate::interpret::flow::nodes::{is_star, visible_name};
use crate::interpret::tree::Tree;

/// Sources within sources are followed so far; WITH RECURSIVE goes round in a circle.
const DEPTH_MAX: usize = 16;

impl<'a> Names<'a> {
    /// Of a `*` in the list of this query. `None`: it is none, or what it stands for is not certain.
    pub(super) fn star_of(&self, value: &Tree, query: &'a Tree) -> Option<Fields> {
        let is_bare = value.kind() == "ColumnRef" && value.list("fields").len() == 1;
        if !is_bare || !is_star(value) || query.kind() != "SelectStmt" {
            return None;
        }
        let depth = self.depth.get();
        if depth == DEPTH_MAX {
            return None;
        }
        self.depth.set(depth + 1);
        let mut fields = self.all.clone();
        let mut sources = query.list("from_clause").iter();
        let is_certain = sources.all(|source| {
            let source = source.tree();
            source.is_some_and(|source| self.source_into(source, &mut fields).is_some())
        });
        self.depth.set(depth);
        is_certain.then_some(fields)
    }

    fn source_into(&self, source: &'a Tree, fields: &mut Fields) -> Option<()> {
        if !self.goes_on(1) {
            return None;
        }
        match source.kind() {
            "RangeVar" => match self.sources.with_query(source) {
                None => _ = fields.add(&self.whole(visible_name(source))),
                Some(query) => _ = fields.add(&self.outputs(query?).any()),
            },
            "RangeSubselect" => _ = fields.add(&self.outputs(source.tree("subquery")?).any()),
            "JoinExpr" => {
                self.source_into(source.tree("larg")?, fields)?;
                self.source_into(source.tree("rarg")?, fields)?;
            }
            _ => return None,
        }
        Some(())
    }
}

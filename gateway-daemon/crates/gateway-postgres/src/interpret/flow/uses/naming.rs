//! Names under which something sensitive is found.
//!
//! A statement is judged by what its names stand for, and runs by what they stand for when it has its
//! locks. Who holds one decides when that is, and what has been made of a name by then: what a view
//! does, or has stored, is in nobody's statement. So nothing masked gets another name from a session
//! in which it is masked.
use super::Uses;
use crate::interpret::flow::Fields;
use crate::interpret::flow::nodes::every_node;
use crate::interpret::tree::Tree;
use crate::mask::outlook::{Named, UNKNOWN};
use gateway_core::mask::UseKind;
use pg_query::protobuf::{AlterTableType, ConstrType, ObjectType};

impl<'a> Uses<'_, 'a> {
    /// CREATE VIEW, CREATE MATERIALIZED VIEW: what it shows goes by the columns of the view. What one
    /// shows by now that is replaced loses its names, and what is judged by them has them back when
    /// that is taken back.
    pub(super) fn names_of_view(&mut self, query: &'a Tree, replaced: Option<&'a Tree>) {
        let shown = self.outputs(query);
        self.add(UseKind::Names, &shown);
        if let Some(view) = replaced {
            let showed = self.named(view);
            self.add(UseKind::Names, &sensitive(&showed, None));
        }
    }

    /// ALTER … RENAME.
    pub(super) fn names_of_rename(&mut self, rename: &'a Tree) {
        let kind = rename.choice::<ObjectType>("rename_type");
        let renamed = match (kind, rename.tree("relation")) {
            (Some(ObjectType::ObjectSchema), _) => self.outlook.in_schema(rename.text("subname")),
            (
                Some(
                    ObjectType::ObjectTabconstraint
                    | ObjectType::ObjectTrigger
                    | ObjectType::ObjectPolicy,
                ),
                _,
            )
            | (_, None) => return,
            (Some(ObjectType::ObjectColumn), Some(range)) => {
                self.renamed(range, Some(rename.text("subname")))
            }
            // ALTER INDEX renames tables as well; indexes are in no catalogue of columns.
            (Some(ObjectType::ObjectIndex), Some(range)) if !self.named(range).known => return,
            (_, Some(range)) => self.renamed(range, None),
        };
        self.add(UseKind::Names, &renamed);
    }

    /// ALTER … SET SCHEMA.
    pub(super) fn names_of_move(&mut self, statement: &'a Tree) {
        if let Some(range) = statement.tree("relation") {
            let moved = self.renamed(range, None);
            self.add(UseKind::Names, &moved);
        }
    }

    /// A new column that is computed of others stays when they are gone (DROP EXPRESSION).
    pub(super) fn names_of_column(&mut self, command: &'a Tree) {
        if command.choice::<AlterTableType>("subtype") != Some(AlterTableType::AtAddColumn) {
            return;
        }
        every_node(command, &mut |part| {
            let is_computed = part.kind() == "Constraint"
                && part.choice::<ConstrType>("contype") == Some(ConstrType::ConstrGenerated);
            if is_computed {
                let made_of = self.names.mention(part);
                self.add(UseKind::Names, &made_of);
            }
        });
    }

    /// What is sensitive in a relation, or in its column of that name.
    fn renamed(&self, range: &'a Tree, column: Option<&str>) -> Fields {
        let named = self.named(range);
        match named.known || self.names.is_made(range) {
            true => sensitive(&named, column),
            false => Fields::one(UNKNOWN),
        }
    }

    pub(super) fn named(&self, range: &Tree) -> Named {
        let (schema, name) = (range.text("schemaname"), range.text("relname"));
        self.outlook.named(schema, name)
    }
}

fn sensitive(named: &Named, column: Option<&str>) -> Fields {
    let columns = named.columns.iter();
    let meant = columns.filter(|known| column.is_none_or(|name| *known.name == *name));
    let marked = meant.filter_map(|known| known.marked.as_ref());
    marked.fold(Fields::default(), |all, marked| all.and(&marked.fields))
}

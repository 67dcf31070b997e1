//! Where the values in the answer to a statement come from, and what else it does with them.
//!
//! The server says which column of which table a column of the answer is. This is for what it does
//! not say: expressions. Columns have no scopes here: a name that could mean a sensitive column
//! anywhere in the statement means one, unless its qualifier shows that it does not. So what is
//! found to be clean is clean, and some of what is clean is not found.
//!
//! - [`sources`]: what rows come from, by PostgreSQL's rules of scope, and [`labels`]: what the columns
//!   of a result are called.
//! - [`names`]: what could be behind a name, in an expression and in a result.
//! - [`uses`]: what a statement does with that besides returning it, and [`safe`]: what it returns
//!   whatever that is.
//! - [`known`]: what only computes, and what is a call without looking like one.
//! - [`text`]: what becomes of names from one statement of a text to the next.
//! - [`copying`]: how COPY writes.
mod copying;
mod known;
mod labels;
mod names;
mod nodes;
mod safe;
pub(crate) mod server;
mod sizes;
mod sources;
#[cfg(test)]
pub(crate) mod tests;
mod text;
mod uses;

pub(crate) use copying::{CopyFormat, CopyOut, CopySource, NULL_TEXT};
pub(crate) use known::{EXTENSION_FUNCTIONS, WORDS, only_computes, passes_for_known};

use super::parse::parse_each;
use super::tree::{Tree, Value};
use crate::mask::outlook::{Doing, FieldId, Marked, Outlook, UNKNOWN, UNPROVEN};
use gateway_core::mask::UseKind;
use names::Names;
use nodes::{any_node, every_node};
use text::{Made, Text, begins, is_new, is_private, leaves_catalogue, only_adds};
use uses::Uses;

/// Fields, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<FieldId>);

impl Fields {
    pub(crate) fn one(field: FieldId) -> Fields {
        Fields(vec![field])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = FieldId> + '_ {
        self.0.iter().copied()
    }

    /// True when there are more than before.
    pub(crate) fn add(&mut self, other: &Fields) -> bool {
        let before = self.0.len();
        for field in &other.0 {
            if !self.0.contains(field) {
                self.0.push(*field);
            }
        }
        self.0.len() > before
    }

    pub(crate) fn and(mut self, other: &Fields) -> Fields {
        self.add(other);
        self
    }
}

/// One column of a result, as the statement words it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    /// It stands for several columns: `*`.
    star: bool,
    /// It is a column's name and nothing else.
    plain: bool,
    /// What could be in it.
    fields: Fields,
    /// Of several columns: what could be in those that are no table's own.
    merged: Fields,
}

/// The columns of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// In their order.
    Each(Vec<Output>),
    /// What could be in any of them.
    All(Fields),
}

impl Default for Outputs {
    fn default() -> Outputs {
        Outputs::All(Fields::default())
    }
}

impl Outputs {
    pub(crate) fn unproven() -> Outputs {
        Outputs::All(Fields::one(UNPROVEN))
    }

    /// What could be in any of them.
    pub(crate) fn any(&self) -> Fields {
        match self {
            Outputs::All(fields) => fields.clone(),
            Outputs::Each(outputs) => {
                let mut any = Fields::default();
                for output in outputs {
                    any.add(&output.fields);
                }
                any
            }
        }
    }

    /// The one at `index` of `count`.
    fn output(&self, index: usize, count: usize) -> Option<&Output> {
        self.output_beside(self.stars(), index, count)
    }

    /// The first and the last `*`.
    fn stars(&self) -> Option<(usize, usize)> {
        let Outputs::Each(outputs) = self else {
            return None;
        };
        let first = outputs.iter().position(|output| output.star)?;
        let last = outputs.iter().rposition(|output| output.star)?;
        Some((first, last))
    }

    fn output_beside(
        &self,
        stars: Option<(usize, usize)>,
        index: usize,
        count: usize,
    ) -> Option<&Output> {
        let Outputs::Each(outputs) = self else {
            return None;
        };
        let Some((first, last)) = stars else {
            return outputs.get(index).filter(|_| outputs.len() == count);
        };
        if index < first {
            return outputs.get(index);
        }
        let behind = outputs.len() - 1 - last;
        let left = count.checked_sub(index)?;
        if left <= behind {
            return outputs.get(outputs.len() - left);
        }
        None
    }

    /// What could be in each of `count`.
    pub(crate) fn each(&self, count: usize) -> Vec<Fields> {
        let (stars, any) = (self.stars(), self.any());
        let fields = (0..count).map(|index| self.output_beside(stars, index, count));
        fields
            .map(|output| output.map_or_else(|| any.clone(), |output| output.fields.clone()))
            .collect()
    }

    /// What could be in the one at `index` of `count`.
    pub(crate) fn fields(&self, index: usize, count: usize) -> Fields {
        self.output(index, count)
            .map_or_else(|| self.any(), |output| output.fields.clone())
    }

    /// The same, of one of which the server says that it is no column of a table.
    pub(crate) fn fields_of_no_table(&self, index: usize, count: usize) -> Fields {
        if let (None, Outputs::Each(outputs)) = (self.output(index, count), self)
            && outputs.iter().any(|output| output.star)
        {
            let mut fields = Fields::default();
            for output in outputs {
                fields.add(match output.star {
                    true => &output.merged,
                    false => &output.fields,
                });
            }
            return fields;
        }
        self.fields(index, count)
    }

    /// What is sensitive about each of `count`.
    pub(crate) fn marked(&self, count: usize) -> Vec<Option<Marked>> {
        let (stars, any) = (self.stars(), self.any());
        let outputs = (0..count).map(|index| self.output_beside(stars, index, count));
        let marked = outputs.map(|output| {
            let fields = output.map_or_else(|| any.clone(), |output| output.fields.clone());
            let itself = output.is_some_and(|output| output.plain && fields.len() == 1);
            (!fields.is_empty()).then_some(Marked { fields, itself })
        });
        marked.collect()
    }
}

/// What one statement does with the values of others than itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatementFlow {
    /// The columns of its answer.
    pub(crate) outputs: Outputs,
    pub(crate) copy: Option<CopyOut>,
    /// The cursor that its rows are from.
    pub(crate) fetches: Option<Box<str>>,
    /// The cursor that it declares.
    pub(crate) declares: Option<Box<str>>,
    /// That stays when the transaction ends.
    pub(crate) holds: bool,
    /// The cursor that it closes; empty for all.
    pub(crate) closes: Option<Box<str>>,
    /// The prepared statement that it executes. Its rows are from there, unless it explains that.
    pub(crate) executes: Option<Box<str>>,
    /// It shows how something is executed, and not what comes of that.
    pub(crate) explains: bool,
    /// The cursors on whose rows it acts, where it touches something sensitive.
    pub(crate) acts_on: Vec<Box<str>>,
}

/// What a text does with the values of others than itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Each of its statements, in their order.
    pub(crate) statements: Vec<StatementFlow>,
    /// What it does with sensitive fields, besides returning them.
    pub(crate) uses: Vec<(UseKind, FieldId)>,
    /// Something sensitive could be in its answers, its errors or its own literals.
    pub(crate) touches: bool,
    /// It names a relation that is not known.
    pub(crate) unknown: bool,
    /// It does more than read.
    pub(crate) writes: bool,
    /// It may change the catalogue.
    pub(crate) alters: bool,
    /// It may change what is there already, and not only add to it.
    pub(crate) replaces: bool,
    /// It ends a transaction, or a part of one, and may take changes back.
    pub(crate) ends: bool,
    /// It gives sensitive values to what may fail with them, or calls what is not known.
    pub(crate) quotes: bool,
    /// It calls what is not known.
    pub(crate) calls: bool,
}

impl Flow {
    /// Of a text that cannot be read.
    pub(crate) fn unreadable() -> Flow {
        Flow {
            statements: Vec::new(),
            uses: vec![(UseKind::Unproven, UNKNOWN)],
            touches: true,
            unknown: false,
            writes: true,
            alters: true,
            replaces: true,
            ends: true,
            quotes: true,
            calls: true,
        }
    }

    /// Reads a text.
    pub(crate) fn of(sql: &str, outlook: &Outlook) -> Flow {
        // What literals say can decide about everything: of a text that is too long to be parsed with
        // them, nothing but rows that are inserted is understood.
        let short = super::shortened(sql);
        let parsed = short.as_deref().unwrap_or(sql);
        let Some(statements) = parse_each(parsed) else {
            return Flow::unreadable();
        };
        if short.is_some() && outlook.covers && !statements.iter().all(|(_, tree)| is_bulk(tree)) {
            return Flow::unreadable();
        }
        let mut flow = Flow::default();
        let mut text = Text::new(parsed, outlook);
        for (words, tree) in &statements {
            let Some(mut statement) = statement(words, tree, &text, &mut flow) else {
                return Flow::unreadable();
            };
            text.go_on(tree);
            if short.is_some() {
                // Some of its columns are missing there.
                statement.outputs = Outputs::All(statement.outputs.any());
            }
            flow.statements.push(statement);
        }
        flow
    }

    /// The same text, where `executed` is what it executes.
    pub(crate) fn executing(&self, executed: &Flow) -> Flow {
        // A new field has to be thought of here.
        let Flow {
            statements,
            uses,
            touches,
            unknown,
            writes,
            alters,
            replaces,
            ends,
            quotes,
            calls,
        } = executed;
        let mut united = self.clone();
        for found in uses {
            if !united.uses.contains(found) {
                united.uses.push(*found);
            }
        }
        united.touches |= touches;
        united.unknown |= unknown;
        united.writes |= writes;
        united.alters |= alters;
        united.replaces |= replaces;
        united.ends |= ends;
        united.quotes |= quotes;
        united.calls |= calls;
        // It may tell which triggers ran.
        let explains = united.statements.iter().any(|found| found.explains);
        if explains && *writes && *touches && !united.uses.contains(&(UseKind::Asks, UNPROVEN)) {
            united.uses.push((UseKind::Asks, UNPROVEN));
        }
        let executing = united.statements.iter_mut();
        for found in executing.filter(|found| found.executes.is_some()) {
            match statements.as_slice() {
                [one] => {
                    found.declares.clone_from(&one.declares);
                    found.closes.clone_from(&one.closes);
                    found.acts_on.extend_from_slice(&one.acts_on);
                }
                // Any cursor may be another one.
                _ => found.closes = Some(Box::default()),
            }
        }
        united
    }

    /// The flow of the statement at `index`.
    pub(crate) fn statement(&self, index: usize) -> Option<&StatementFlow> {
        self.statements.get(index)
    }
}

/// Is it an INSERT of rows that are written out, in which nothing is called and nothing asked?
fn is_bulk(tree: &Tree) -> bool {
    let values = |source: &Tree| !source.list("values_lists").is_empty();
    let does_more = |part: &Tree| {
        matches!(
            part.kind(),
            "FuncCall" | "SubLink" | "RangeFunction" | "CommonTableExpr" | "OnConflictClause"
        )
    };
    tree.kind() == "InsertStmt"
        && tree.tree("select_stmt").is_some_and(values)
        && !any_node(tree, &does_more)
}

/// The columns of a query's answer, and what else it does; `None` when it cannot be read. `left`: the
/// steps that are left for it and for others.
pub(crate) fn reading_of(
    query: &str,
    outlook: &Outlook,
    left: &mut usize,
) -> Option<(Outputs, Doing)> {
    let statements = parse_each(query)?;
    let [(_, tree)] = statements.as_slice() else {
        return None;
    };
    let names = Names::of(tree, outlook, &Made::default());
    let outputs = names.outputs(tree);
    let doing = Doing {
        touches: names.touches(),
        calls: !names.is_proven(),
        reads_catalogues: server::reads_catalogues(tree, outlook),
    };
    *left = left.saturating_sub(names.steps());
    (!names.is_exhausted()).then_some((outputs, doing))
}

/// `None`: there is more to follow in it than is followed.
fn statement(words: &str, tree: &Tree, text: &Text<'_>, flow: &mut Flow) -> Option<StatementFlow> {
    let outlook = text.outlook();
    let names = Names::of(tree, outlook, &text.made);
    let mut uses = Uses::new(&names, text);
    uses.statement(tree);
    if names.has_pieces() && outlook.covers {
        uses.found.push((UseKind::Unproven, UNPROVEN));
    }
    let quotes = !uses.found.is_empty();
    for found in uses.found {
        if !flow.uses.contains(&found) {
            flow.uses.push(found);
        }
    }
    let catalogue = outlook.catalogue.as_ref();
    let calls = !names.is_proven()
        || server::runs_other_triggers(tree)
        || server::is_about_everything(tree)
        || catalogue.is_none_or(|known| known.event_triggers) && server::is_event(tree);
    flow.calls |= calls;
    let touches = names.touches() || calls;
    flow.touches |= touches;
    flow.unknown |= names.is_doubtful() && outlook.catalogue.is_some();
    flow.writes |= !matches!(tree.kind(), "SelectStmt" | "FetchStmt" | "ClosePortalStmt")
        || any_node(tree, &server::is_write)
        || !names.is_proven();
    flow.alters |= !leaves_catalogue(tree);
    let keeps = is_private(tree, outlook)
        || leaves_catalogue(tree)
        || only_adds(tree) && is_new(tree, outlook);
    flow.replaces |= !keeps;
    flow.ends |= tree.kind() == "TransactionStmt" && !begins(tree);
    flow.quotes |= calls || names.has_touching_view() || quotes;
    if server::ends_prepared(tree) {
        // Whatever was done in it, and whoever did it.
        flow.alters = true;
        flow.replaces = true;
    }
    let outputs = names.outputs(tree);
    if names.is_exhausted() {
        return None;
    }
    let mut found = StatementFlow {
        outputs,
        acts_on: match names.touches() {
            true => server::cursors_acted_on(tree),
            false => Vec::new(),
        },
        ..StatementFlow::default()
    };
    match tree.kind() {
        "CopyStmt" if !tree.flag("is_from") => {
            let out = copying::copy_out(words, tree);
            // What cannot be read on its way cannot be covered.
            let unreadable = out.format == CopyFormat::Other
                || matches!(&out.source, CopySource::Query(query) if query.is_empty());
            if unreadable && flow.touches && outlook.covers {
                flow.uses.push((UseKind::Unproven, UNPROVEN));
            }
            found.copy = Some(out);
        }
        "FetchStmt" => {
            found.fetches = Some(tree.text("portalname").into());
            flow.touches = true;
        }
        "DeclareCursorStmt" => {
            found.declares = Some(tree.text("portalname").into());
            let options = match tree.get("options") {
                Value::Number(options) => *options,
                _ => CURSOR_OPT_HOLD,
            };
            found.holds = options & CURSOR_OPT_HOLD != 0;
        }
        // It says something about a column, perhaps, which it names by parts of any kind.
        "CommentStmt" | "SecLabelStmt" => flow.touches = true,
        "ClosePortalStmt" => found.closes = Some(tree.text("portalname").into()),
        _ => {}
    }
    if let Some(executed) = executed(tree) {
        found.executes = Some(executed.into());
        flow.touches = true;
        if tree.kind() == "ExplainStmt" {
            found.explains = true;
            found.outputs = Outputs::unproven();
        }
        if any_node(tree, &|part| part.kind() == "CreateTableAsStmt") {
            flow.uses.push((UseKind::Unproven, UNPROVEN));
        }
    }
    Some(found)
}

/// The prepared statement that a statement executes, wherever in it: EXPLAIN and CREATE TABLE AS
/// take one.
fn executed(tree: &Tree) -> Option<&str> {
    let mut name = None;
    every_node(tree, &mut |part| {
        if part.kind() == "ExecuteStmt" {
            name = Some(part.text("name"));
        }
    });
    name
}

/// `WITH HOLD` (`parsenodes.h`).
const CURSOR_OPT_HOLD: i64 = 0x0020;

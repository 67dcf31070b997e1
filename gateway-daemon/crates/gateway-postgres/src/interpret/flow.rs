//! Where the values in the answer to a statement come from, and what else it does with them.
//!
//! The server says which column of which table a column of the answer is. This is for what it does
//! not say: expressions. There is no scoping here: a name that could mean a sensitive column
//! anywhere in the statement means one, unless its qualifier shows that it does not. So what is
//! found to be clean is clean, and some of what is clean is not found.
mod names;
mod safe;
pub(crate) mod server;
mod sizes;
#[cfg(test)]
mod tests;
mod uses;

use super::parse::{parse_each, scan};
use super::tree::{Tree, Value};
use crate::mask::outlook::{Doing, FieldId, Marked, Outlook, UNKNOWN, UNPROVEN};
use gateway_core::mask::UseKind;
use names::Names;
use pg_query::protobuf::{ObjectType, Token, TransactionStmtKind};
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

    fn remove(&mut self, field: FieldId) {
        self.0.retain(|known| *known != field);
    }

    fn and(mut self, other: &Fields) -> Fields {
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
    fn output(&self, index: usize, count: usize) -> Option<Output> {
        let Outputs::Each(outputs) = self else {
            return None;
        };
        let first = outputs.iter().position(|output| output.star);
        let last = outputs.iter().rposition(|output| output.star);
        let (Some(first), Some(last)) = (first, last) else {
            return outputs
                .get(index)
                .filter(|_| outputs.len() == count)
                .cloned();
        };
        if index < first {
            return outputs.get(index).cloned();
        }
        let behind = outputs.len() - 1 - last;
        let left = count.checked_sub(index)?;
        if left <= behind {
            return outputs.get(outputs.len() - left).cloned();
        }
        None
    }

    /// What could be in the one at `index` of `count`.
    pub(crate) fn fields(&self, index: usize, count: usize) -> Fields {
        self.output(index, count)
            .map_or_else(|| self.any(), |output| output.fields)
    }

    /// What is sensitive about the one at `index` of `count`.
    pub(crate) fn marked(&self, index: usize, count: usize, outlook: &Outlook) -> Option<Marked> {
        let output = self.output(index, count);
        let itself = output
            .as_ref()
            .is_some_and(|output| output.plain && output.fields.0.len() == 1);
        let fields = output.map_or_else(|| self.any(), |output| output.fields);
        let field = fields
            .iter()
            .max_by_key(|field| outlook.is_covered(*field))?;
        Some(Marked { field, itself })
    }
}

/// A COPY to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyOut {
    /// What is copied.
    pub(crate) source: CopySource,
    pub(crate) format: CopyFormat,
}

/// What is copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CopySource {
    /// The named columns of a table, or all of them.
    Table {
        schema: Box<str>,
        name: Box<str>,
        columns: Vec<Box<str>>,
    },
    /// The answer to a query of this text.
    Query(Box<str>),
}

/// What stands for NULL in the text format; in CSV it is nothing.
pub(crate) const NULL_TEXT: &str = "\\N";

/// How the copied data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyFormat {
    /// A line for a row, with backslashes before what is special.
    Text { delimiter: u8, header: bool },
    /// Values in quotes where needed.
    Csv {
        delimiter: u8,
        header: bool,
        quote: u8,
        escape: u8,
    },
    /// Values with their lengths.
    Binary,
    /// One that is not known.
    Other,
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
    /// The prepared statement that its rows are from.
    pub(crate) executes: Option<Box<str>>,
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
    /// It stores values of relations, perhaps elsewhere.
    pub(crate) moves: bool,
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
            moves: true,
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
        let short = super::shortened(sql);
        let Some(statements) = parse_each(short.as_deref().unwrap_or(sql)) else {
            return Flow::unreadable();
        };
        let mut flow = Flow::default();
        let mut text = Text {
            outlook,
            blind: None,
            made: Vec::new(),
        };
        for (words, tree) in &statements {
            let mut statement = statement(words, tree, &text, &mut flow);
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
            moves,
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
        united.moves |= moves;
        united.writes |= writes;
        united.alters |= alters;
        united.replaces |= replaces;
        united.ends |= ends;
        united.quotes |= quotes;
        united.calls |= calls;
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

/// The columns of a query's answer, and what else it does; `None` when it cannot be read.
pub(crate) fn reading_of(query: &str, outlook: &Outlook) -> Option<(Outputs, Doing)> {
    let statements = parse_each(query)?;
    let [(_, tree)] = statements.as_slice() else {
        return None;
    };
    let names = Names::of(tree, outlook, &[]);
    let doing = Doing {
        touches: names.touches(),
        calls: !names.is_proven(),
        reads_catalogues: server::reads_catalogues(tree, outlook),
    };
    Some((names.outputs(tree), doing))
}

/// What the names in a text stand for, from one of its statements to the next.
struct Text<'a> {
    outlook: &'a Outlook,
    /// Something before has changed what names stand for.
    blind: Option<Outlook>,
    /// The tables that it has made itself, with nothing sensitive in them.
    made: Vec<&'a str>,
}

impl<'a> Text<'a> {
    fn outlook(&self) -> &Outlook {
        self.blind.as_ref().unwrap_or(self.outlook)
    }

    fn go_on(&mut self, tree: &'a Tree) {
        if self.blind.is_none() && shifts_names(tree, self.outlook) {
            self.blind = Some(self.outlook.blinded());
        }
        if let Some(name) = made_table(tree).filter(|_| is_new(tree, self.outlook())) {
            self.made.push(name);
        }
    }
}

/// A table that is new when the statement is done.
fn made_table(tree: &Tree) -> Option<&str> {
    let is_table = matches!(tree.kind(), "CreateStmt" | "CreateTableAsStmt");
    if !is_table || !only_adds(tree) || tree.flag("if_not_exists") {
        return None;
    }
    names::made_relation(tree).map(|range| range.text("relname"))
}

/// May a name mean something else behind the statement, that it could mean before?
fn shifts_names(tree: &Tree, outlook: &Outlook) -> bool {
    match tree.kind() {
        "RenameStmt" | "AlterObjectSchemaStmt" => true,
        "ViewStmt" => tree.flag("replace") || !is_new(tree, outlook),
        "CreateStmt" | "CreateTableAsStmt" | "SelectStmt" | "CreateSchemaStmt" => {
            !leaves_catalogue(tree) && !is_new(tree, outlook)
        }
        "DropStmt" => !matches!(
            tree.choice::<ObjectType>("remove_type"),
            Some(
                ObjectType::ObjectFunction
                    | ObjectType::ObjectIndex
                    | ObjectType::ObjectPolicy
                    | ObjectType::ObjectRule
                    | ObjectType::ObjectSequence
                    | ObjectType::ObjectTrigger
            )
        ),
        "AlterTableStmt" => tree.trees("cmds").any(uses::regroups),
        "TransactionStmt" => outlook.is_own && !begins(tree),
        _ => false,
    }
}

fn statement(words: &str, tree: &Tree, text: &Text<'_>, flow: &mut Flow) -> StatementFlow {
    let outlook = text.outlook();
    let names = Names::of(tree, outlook, &text.made);
    let mut uses = Uses::new(&names, outlook);
    uses.statement(tree);
    let quotes = !uses.found.is_empty();
    for found in uses.found {
        if !flow.uses.contains(&found) {
            flow.uses.push(found);
        }
    }
    let catalogue = outlook.catalogue.as_ref();
    let calls = !names.is_proven()
        || server::runs_other_triggers(tree)
        || server::is_event(tree) && catalogue.is_none_or(|known| known.event_triggers);
    flow.calls |= calls;
    flow.touches |= names.touches() || calls;
    flow.unknown |= names.is_doubtful() && outlook.catalogue.is_some();
    flow.moves |= moves(tree);
    flow.writes |= !matches!(tree.kind(), "SelectStmt" | "FetchStmt" | "ClosePortalStmt")
        || !names.is_proven();
    flow.alters |= !leaves_catalogue(tree);
    let keeps = is_private(tree, outlook)
        || leaves_catalogue(tree)
        || only_adds(tree) && is_new(tree, outlook);
    flow.replaces |= !keeps;
    flow.ends |= tree.kind() == "TransactionStmt" && !begins(tree);
    flow.quotes |= calls || names.has_touching_view() || quotes;
    if ends_prepared(tree) {
        // Whatever was done in it, and whoever did it.
        flow.alters = true;
        flow.replaces = true;
    }
    let mut found = StatementFlow {
        outputs: names.outputs(tree),
        acts_on: match names.touches() {
            true => server::cursors_acted_on(tree),
            false => Vec::new(),
        },
        ..StatementFlow::default()
    };
    match tree.kind() {
        "CopyStmt" if !tree.flag("is_from") => {
            let out = copy(words, tree);
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
        "ExecuteStmt" => {
            found.executes = Some(tree.text("name").into());
            flow.touches = true;
        }
        "CreateTableAsStmt" => {
            if let Some(query) = tree
                .tree("query")
                .filter(|query| query.kind() == "ExecuteStmt")
            {
                found.executes = Some(query.text("name").into());
                flow.uses.push((UseKind::Unproven, UNPROVEN));
            }
        }
        _ => {}
    }
    found
}

/// `WITH HOLD` (`parsenodes.h`).
const CURSOR_OPT_HOLD: i64 = 0x0020;

/// Does a statement store what it finds in relations? What it changes in place it does not move.
fn moves(tree: &Tree) -> bool {
    names::any_node(tree, &|part| match part.kind() {
        "InsertStmt" => part.tree("select_stmt").is_some_and(has_source),
        "UpdateStmt" => {
            !part.list("from_clause").is_empty() || part.trees("target_list").any(has_source)
        }
        "MergeStmt" | "CreateTableAsStmt" | "RefreshMatViewStmt" => true,
        "SelectStmt" => part.tree("into_clause").is_some(),
        _ => false,
    })
}

fn has_source(tree: &Tree) -> bool {
    names::any_node(tree, &|part| part.kind() == "RangeVar")
}

/// Does it concern temporary tables only, which no other session sees?
fn is_private(tree: &Tree, outlook: &Outlook) -> bool {
    match tree.kind() {
        "CreateStmt" | "CreateTableAsStmt" => {
            names::made_relation(tree).is_some_and(|range| range.text("relpersistence") == "t")
        }
        "DropStmt" if tree.choice::<ObjectType>("remove_type") == Some(ObjectType::ObjectTable) => {
            let mut all = true;
            names::each(tree.get("objects"), &mut |list| {
                let parts = match list.kind() {
                    "List" => list.strings("items"),
                    _ => Vec::new(),
                };
                all &= matches!(parts.as_slice(), [name] if outlook.is_temporary(name));
            });
            all
        }
        _ => false,
    }
}

/// Does it end a transaction that was prepared, of whichever session?
fn ends_prepared(tree: &Tree) -> bool {
    tree.kind() == "TransactionStmt"
        && matches!(
            tree.choice::<TransactionStmtKind>("kind"),
            Some(
                TransactionStmtKind::TransStmtCommitPrepared
                    | TransactionStmtKind::TransStmtRollbackPrepared
            )
        )
}

/// Does it begin a transaction, or name a point in one?
fn begins(tree: &Tree) -> bool {
    matches!(
        tree.choice::<TransactionStmtKind>("kind"),
        Some(
            TransactionStmtKind::TransStmtBegin
                | TransactionStmtKind::TransStmtStart
                | TransactionStmtKind::TransStmtSavepoint
        )
    )
}

/// Statements that make something new, of which nobody knows yet.
fn only_adds(tree: &Tree) -> bool {
    match tree.kind() {
        "CreateStmt" => tree.list("inh_relations").is_empty() && tree.tree("partbound").is_none(),
        "CreateTableAsStmt" | "CreateSeqStmt" | "CreateSchemaStmt" | "CreateEnumStmt"
        | "CompositeTypeStmt" | "CreateRoleStmt" | "SelectStmt" => true,
        "ViewStmt" => !tree.flag("replace"),
        _ => false,
    }
}

/// Is the name of what a statement makes not known yet, in any schema? Otherwise it could take the
/// place of what the name has meant so far.
fn is_new(tree: &Tree, outlook: &Outlook) -> bool {
    match tree.kind() {
        "CreateStmt" | "CreateTableAsStmt" | "SelectStmt" | "ViewStmt" => {
            outlook.catalogue.is_some()
                && names::made_relation(tree)
                    .is_some_and(|range| !outlook.named("", range.text("relname")).known)
        }
        "CreateSchemaStmt" => tree.list("schema_elts").is_empty(),
        _ => true,
    }
}

/// Statements that leave the catalogue as it is, unless a function that they call does not.
fn leaves_catalogue(tree: &Tree) -> bool {
    match tree.kind() {
        "SelectStmt" => tree.tree("into_clause").is_none(),
        "ExplainStmt" | "DeclareCursorStmt" | "PrepareStmt" => {
            tree.tree("query").is_some_and(leaves_catalogue)
        }
        "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" | "CopyStmt" | "FetchStmt"
        | "ClosePortalStmt" | "ExecuteStmt" | "DeallocateStmt" | "TransactionStmt"
        | "VariableSetStmt" | "VariableShowStmt" | "ListenStmt" | "UnlistenStmt" | "NotifyStmt"
        | "LockStmt" | "TruncateStmt" | "VacuumStmt" | "CheckPointStmt" | "ConstraintsSetStmt"
        | "LoadStmt" | "RefreshMatViewStmt" | "DiscardStmt" | "CommentStmt" | "GrantStmt"
        | "GrantRoleStmt" | "IndexStmt" | "ReindexStmt" | "ClusterStmt" => true,
        _ => false,
    }
}

fn copy(text: &str, tree: &Tree) -> CopyOut {
    let source = match tree.tree("relation") {
        Some(range) => CopySource::Table {
            schema: range.text("schemaname").into(),
            name: range.text("relname").into(),
            columns: tree
                .strings("attlist")
                .into_iter()
                .map(Into::into)
                .collect(),
        },
        None => CopySource::Query(copied_query(text).unwrap_or_default().into()),
    };
    CopyOut {
        source,
        format: copy_format(tree),
    }
}

/// The text between the first pair of parentheses.
fn copied_query(text: &str) -> Option<&str> {
    let mut depth = 0_i32;
    let mut start = None;
    for token in scan(text)? {
        match token.token() {
            Token::Ascii40 => {
                depth += 1;
                if depth == 1 {
                    start = Some(usize::try_from(token.end).ok()?);
                }
            }
            Token::Ascii41 => {
                depth -= 1;
                if depth == 0 {
                    return text.get(start?..usize::try_from(token.start).ok()?);
                }
            }
            _ => {}
        }
    }
    None
}

fn copy_format(tree: &Tree) -> CopyFormat {
    let mut format = "text";
    let (mut delimiter, mut quote, mut escape) = (None, None, None);
    let mut header = false;
    let mut null = None;
    for option in tree.trees("options") {
        let word = option_word(option);
        match option.text("defname") {
            "format" => format = word.unwrap_or("?"),
            "delimiter" => delimiter = word,
            "null" => null = word,
            "quote" => quote = word,
            "escape" => escape = word,
            "header" => header = is_on(option),
            "force_quote" | "freeze" | "force_not_null" | "force_null" => {}
            _ => return CopyFormat::Other,
        }
    }
    let byte = |text: Option<&str>, default: u8| match text.map(str::as_bytes) {
        None => Some(default),
        Some([byte]) if !matches!(byte, b'\n' | b'\r') => Some(*byte),
        Some(_) => None,
    };
    // A value that equals another marker could not be told from NULL, and would be shown.
    let plain = if format == "csv" { "" } else { NULL_TEXT };
    if null.is_some_and(|null| null != plain) {
        return CopyFormat::Other;
    }
    match format {
        "text" => {
            let Some(delimiter) = byte(delimiter, b'\t') else {
                return CopyFormat::Other;
            };
            CopyFormat::Text { delimiter, header }
        }
        "csv" => {
            let quote = byte(quote, b'"');
            let escape = byte(escape, quote.unwrap_or(b'"'));
            let (Some(delimiter), Some(quote), Some(escape)) =
                (byte(delimiter, b','), quote, escape)
            else {
                return CopyFormat::Other;
            };
            CopyFormat::Csv {
                delimiter,
                header,
                quote,
                escape,
            }
        }
        "binary" => CopyFormat::Binary,
        _ => CopyFormat::Other,
    }
}

fn option_word(option: &Tree) -> Option<&str> {
    let argument = option.tree("arg")?;
    match argument.kind() {
        "String" => Some(argument.text("sval")),
        // `DELIMITER 5`: a number is taken for its text, which is not at hand here.
        "Integer" | "Float" => Some("??"),
        "TypeName" => argument.strings("names").last().copied(),
        _ => None,
    }
}

fn is_on(option: &Tree) -> bool {
    match option.tree("arg") {
        None => true,
        Some(argument) => match argument.kind() {
            "Boolean" => argument.flag("boolval"),
            "Integer" => *argument.get("ival") != Value::Number(0),
            _ => !matches!(
                option_word(option)
                    .unwrap_or_default()
                    .to_ascii_lowercase()
                    .as_str(),
                "false" | "off" | "0"
            ),
        },
    }
}

//! Masks in a session: what is known of its database, what is said about each answer, and what is
//! asked of the upstream besides what the client asks.
use super::cursors::{CursorChange, Cursors};
use super::judge::{Phase, Question};
use super::names::{Outcome, significant};
use super::pipeline::{Entry, Own, Request};
use super::queue::Queue;
use super::recording::Keeping;
use super::serving::{Fault, Serving};
use super::statement::Statement;
use crate::codec::response::{Complaint, Severity, Transaction};
use crate::codec::{frame, push_text};
use crate::error::Error;
use crate::interpret::Classification;
use crate::interpret::flow::{CopyFormat, CopyOut, CopySource, Flow, Outputs};
use crate::mask::catalogue::{self, Ask, Catalogue, Loading, REQUESTS};
use crate::mask::columns::{Action, Column, Columns, Description, action_for, describe};
use crate::mask::copy::CopyStream;
use crate::mask::outlook::{FieldId, Outlook, Remembered, UNKNOWN, UNPROVEN};
use crate::mask::store::Fresh;
use crate::mask::value::{Kind, Shape};
use crate::mask::words;
use gateway_core::mask::{Use, UseKind};
use gateway_core::{Masks, Parameter};
use gateway_protocol::Effects;
use std::sync::Arc;

/// The name of the statement that a copied query is described by.
const COPIED: &[u8] = b"gateway_copied";
/// Prepared statements that execute prepared statements are followed so far.
const EXECUTES_MAX: usize = 4;
/// For one request the catalogue is read so often.
const LOADS_MAX: u32 = 3;
/// "Program limit exceeded".
const LIMITED: &str = "54000";

/// What the policy says about one answer.
#[derive(Debug)]
pub(super) struct View {
    outlook: Arc<Outlook>,
    masks: Arc<dyn Masks>,
    flow: Arc<Flow>,
    /// What a cursor or a prepared statement returns, where the text is one FETCH or EXECUTE.
    inner: Option<Outputs>,
    /// What it returns may come from what was there before, or will be there by then.
    is_shifting: bool,
    /// What its names stand for may be changing.
    names_change: bool,
    /// Error texts may quote values.
    quotes: bool,
    /// The database's generation when it was looked at.
    generation: u64,
}

impl View {
    /// The same through a veil: of what is kept.
    pub(super) fn veiled(
        outlook: Arc<Outlook>,
        masks: Arc<dyn Masks>,
        flow: Arc<Flow>,
        inner: Option<Outputs>,
    ) -> View {
        View {
            is_shifting: flow.alters && flow.statements.len() > 1,
            outlook,
            masks,
            flow,
            inner,
            names_change: false,
            quotes: true,
            generation: 0,
        }
    }

    pub(super) fn masks(&self) -> &Arc<dyn Masks> {
        &self.masks
    }

    /// What a statement copies to the client; `None` when it does not, or when the table could be
    /// another by then.
    pub(super) fn copy(&self, statement: usize) -> Option<&CopyOut> {
        if self.is_shifting || self.names_change {
            return None;
        }
        self.flow.statement(statement)?.copy.as_ref()
    }

    /// Columns that are known.
    pub(super) fn listed(&self, list: Vec<Column>) -> Columns {
        Columns::of(Arc::clone(&self.outlook), Arc::clone(&self.masks), list)
    }

    fn outputs(&self, statement: usize) -> Outputs {
        match self.flow.statement(statement) {
            _ if self.is_shifting || self.names_change => Outputs::unproven(),
            Some(found) if found.fetches.is_none() && found.executes.is_none() => {
                found.outputs.clone()
            }
            Some(_) if self.flow.statements.len() == 1 => {
                self.inner.clone().unwrap_or_else(Outputs::unproven)
            }
            _ => Outputs::unproven(),
        }
    }

    pub(super) fn columns(&self, statement: usize, described: &[Description]) -> Columns {
        let outputs = self.outputs(statement);
        let outlook = match self.is_shifting {
            true => Arc::new(Outlook::blind(0, &*self.masks)),
            false => Arc::clone(&self.outlook),
        };
        Columns::new(outlook, Arc::clone(&self.masks), described, &outputs)
    }
}

/// What a request is asked permission with, besides what it says itself.
#[derive(Debug)]
pub(super) struct Seen {
    view: Arc<View>,
    pub(super) uses: Vec<Use>,
    /// Something sensitive may be in its text, its values and its answer.
    touches: bool,
    /// Before it the upstream is asked about this query.
    copies: Option<Box<str>>,
}

impl Seen {
    /// The text as it may be written down; `None`: as it is.
    pub(super) fn shown(&self, text: &str, out: &dyn Effects) -> Option<String> {
        if self.touches {
            return Some(words::cover_statement(text, out.masker()));
        }
        let searched = words::search(text.as_bytes(), &*self.view.masks, out.masker())?;
        Some(String::from_utf8_lossy(&searched).into_owned())
    }

    /// The same of bind values.
    pub(super) fn parameters(
        &self,
        parameters: &[Parameter],
        out: &dyn Effects,
    ) -> Option<Vec<Parameter>> {
        match (parameters, self.touches) {
            ([], _) => None,
            (_, true) => Some(words::cover_parameters(parameters, out.masker())),
            (_, false) => words::search_parameters(parameters, &*self.view.masks, out.masker()),
        }
    }

    /// Adds the use of what a mask has put in a value's place.
    pub(super) fn look_for_constants(
        &mut self,
        text: &str,
        parameters: &[Parameter],
        out: &dyn Effects,
    ) {
        let View { outlook, flow, .. } = &*self.view;
        if !(self.touches && flow.writes && outlook.covers) {
            return;
        }
        let masker = out.masker();
        let writes = words::holds_constant(text, masker)
            || parameters
                .iter()
                .any(|value| words::is_constant(value, masker));
        if writes {
            let found = use_of(outlook, UseKind::WritesCover, 0);
            self.uses.extend(found);
        }
    }
}

fn use_of(outlook: &Outlook, kind: UseKind, field: FieldId) -> Option<Use> {
    let field = outlook.field(field)?;
    Some(Use {
        kind,
        field: Arc::clone(&field.name),
        mask: Arc::clone(&field.sensitive.mask),
    })
}

/// What comes of looking at a request.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing about it is sensitive.
    Plain,
    /// The catalogue has to be read first.
    Wait,
    Seen(Box<Seen>),
}

/// The masks of a session. There are none as long as the policy calls nothing sensitive.
#[derive(Debug, Default)]
pub(super) struct Masking {
    /// The catalogue as this session's open transaction sees it.
    own: Option<Option<Arc<Catalogue>>>,
    /// It is being read.
    loading: Option<Loading>,
    /// What the database's generation was when that began.
    generation: u64,
    /// How often this session has changed it, or may have.
    alterations: u64,
    /// How often it was read for the request that waits: others may change it all the time.
    loads: u32,
    /// It was read for the request that is looked at.
    just_read: bool,
    /// It was read once more for what the request names.
    read_again: bool,
    /// The open transaction, or what was just asked, has changed it.
    changed: bool,
    /// What was looked at last changes it, when it is sent.
    altering: bool,
    /// And not only adds to it.
    replacing: bool,
    /// Something has been replaced since the transaction began.
    replaced: bool,
    /// What the policy said last.
    latest: Option<Arc<Outlook>>,
    /// A request that may replace something for all sessions has no answer yet.
    changing: bool,
    /// Another session is changing what names stand for.
    names_change: bool,
    /// What is known of the database within the open transaction only.
    found: Remembered,
    /// Something sensitive was touched: errors that come late may be about it.
    sensitive: bool,
    /// The columns of the answer that comes.
    columns: Option<Columns>,
    /// The columns of the query that is copied next.
    copied: Option<Vec<Description>>,
    copy: Option<CopyStream>,
    /// The rest of the answer is not for the client.
    swallow: bool,
    cursors: Cursors,
    /// What requests without an answer make of those.
    cursor_changes: Queue<CursorChange>,
}

/// When a portal was made, or a cursor declared: the generation of the database, and how often the
/// session had changed it. What it returns is what was there then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(u64, u64);

/// The changes that a request makes of its entry, and what goes before it.
type Prelude = Option<Vec<u8>>;

impl Masking {
    /// Is an error or a notice about a table that has something sensitive?
    fn is_about_sensitive(&self, body: &[u8]) -> Result<bool, Error> {
        let Some(outlook) = self.latest.as_ref().filter(|outlook| outlook.covers) else {
            return Ok(false);
        };
        let Some((schema, table)) = words::table_of(body)? else {
            return Ok(false);
        };
        let names = std::str::from_utf8(schema)
            .ok()
            .zip(std::str::from_utf8(table).ok());
        Ok(names.is_none_or(|(schema, table)| outlook.is_sensitive(schema, table)))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let masking = self.masking.as_ref();
        if masking.is_some_and(|masking| masking.changing) {
            self.shared.store.end_change(&self.database, true);
        }
    }
}

impl Serving {
    fn masking(&mut self) -> &mut Masking {
        self.masking.get_or_insert_default()
    }

    /// What the policy calls sensitive about a statement. `meaning` is that of its own text.
    pub(super) fn look(
        &mut self,
        meaning: Option<&Arc<Classification>>,
        question: &Question<'_>,
        out: &mut dyn Effects,
    ) -> Look {
        self.cursor_flow = None;
        let terms = out.answer_terms(&question.operation(&self.shared));
        // What is only parsed has no answer yet.
        let keep = match question.phase {
            Phase::Parse => 0,
            Phase::Query | Phase::Execute => terms.keep,
        };
        self.looked = Keeping::of(keep, None);
        let Some(masks) = terms.masks else {
            return Look::Plain;
        };
        let Some(outlook) = self.outlook(&*masks, out) else {
            return Look::Wait;
        };
        self.masking().latest = Some(Arc::clone(&outlook));
        self.looked = self.keeping(keep, &masks, &outlook, meaning, question.text);
        let (flow, inner) = self.flow(meaning, question.text, &outlook);
        if flow.unknown && self.reads_again(&outlook, out) {
            return Look::Wait;
        }
        // What is not there just now the server will not find either, unless the text makes it.
        let absent =
            flow.statements.len() == 1 && outlook.catalogue.is_some() && self.masking().just_read;
        let changed = self.masking().changed;
        // To end a transaction takes changes back, perhaps.
        let shifts = flow.alters || flow.ends && changed;
        let masking = self.masking();
        masking.altering = shifts;
        masking.replacing = flow.replaces || flow.ends && changed;
        let mut uses: Vec<Use> = Vec::new();
        for (kind, field) in flow
            .uses
            .iter()
            .chain(inner.iter().flat_map(|(flow, _)| &flow.uses))
        {
            let is_void = absent && (*kind, *field) == (UseKind::Asks, UNKNOWN);
            uses.extend(use_of(&outlook, *kind, *field).filter(|_| outlook.covers && !is_void));
        }
        let late = meaning.is_none_or(|meaning| meaning.may_end_transaction);
        let touches = flow.touches
            || inner.as_ref().is_some_and(|(flow, _)| flow.touches)
            || late && self.masking().sensitive;
        // What runs later may meet what is there by then.
        let names_change = self.masking().names_change;
        let is_later = question.is_stale
            || names_change
            || flow.statements.len() > 1
            || self.pipeline.is_running();
        let is_later = is_later && outlook.covers && question.phase != Phase::Parse;
        if !touches && uses.is_empty() && masks.detectors().is_empty() && !is_later {
            self.cursor_flow = names_cursor(&flow).then_some(flow);
            return Look::Plain;
        }
        let quotes = flow.quotes || inner.as_ref().is_some_and(|(flow, _)| flow.quotes);
        let fetches = flow.statements.iter().any(|found| found.fetches.is_some());
        let (cursor, is_current) = self.cursor(&flow);
        let inner = inner.map(|(_, outputs)| outputs).or(cursor);
        self.cursor_flow = names_cursor(&flow).then(|| Arc::clone(&flow));
        let copies = copied_query(&flow).map(Into::into);
        Look::Seen(Box::new(Seen {
            view: Arc::new(View {
                is_shifting: question.is_stale
                    || shifts && flow.statements.len() > 1
                    || fetches && !is_current,
                names_change,
                generation: self.shared.store.generation(&self.database),
                outlook,
                masks,
                flow,
                inner,
                quotes,
            }),
            uses,
            touches,
            copies,
        }))
    }

    /// A statement names what is not known: somebody may have made or renamed it elsewhere, and the
    /// catalogue is read once more for it.
    fn reads_again(&mut self, outlook: &Outlook, out: &dyn Effects) -> bool {
        let reads = outlook.catalogue.is_some() && outlook.covers && self.can_load(out);
        let masking = self.masking();
        if std::mem::take(&mut masking.read_again) {
            masking.just_read = true;
        }
        if !reads || masking.just_read {
            return false;
        }
        masking.read_again = true;
        self.begin_reading();
        true
    }

    fn can_load(&self, out: &dyn Effects) -> bool {
        self.pipeline.is_empty()
            && self.settings.text_is_utf8()
            && !self.up.unsynced
            && !out.is_holding()
            && self.transaction != Transaction::Failed
    }

    fn begin_reading(&mut self) {
        let generation = self.shared.store.generation(&self.database);
        let masking = self.masking();
        masking.loading = Some(Loading::default());
        masking.generation = generation;
    }

    /// What the policy says about the database; `None`: it has to be asked first.
    fn outlook(&mut self, masks: &dyn Masks, out: &dyn Effects) -> Option<Arc<Outlook>> {
        let database = Arc::clone(&self.database);
        let can_load = self.can_load(out);
        let is_open = self.transaction != Transaction::Idle;
        let shared = Arc::clone(&self.shared);
        let masking = self.masking();
        if masking.loading.is_some() {
            return None;
        }
        let fresh = shared.store.fresh(&database);
        let catalogue = match (&masking.own, masking.changed, fresh.clone()) {
            (Some(own), true, _) => own.clone(),
            (_, false, Fresh::Yes(catalogue)) => Some(catalogue),
            // A question that fails would fail the client's transaction.
            (_, false, Fresh::Old(catalogue)) if is_open => Some(catalogue),
            // Read once for each request, it is what was there just now.
            (_, false, Fresh::Changing(catalogue)) if masking.loads > 0 => catalogue,
            (_, false, Fresh::Changing(_)) if !can_load => None,
            _ if can_load && masking.loads < LOADS_MAX => {
                masking.loads += 1;
                self.begin_reading();
                return None;
            }
            // What it was a while ago will do; what is known to have changed will not.
            (_, false, Fresh::Old(catalogue)) => Some(catalogue),
            _ => None,
        };
        masking.just_read = std::mem::take(&mut masking.loads) > 0;
        masking.names_change = matches!(fresh, Fresh::Changing(_));
        let found = masking.changed.then_some(&mut masking.found);
        let store = &shared.store;
        Some(store.outlook(&database, catalogue.as_ref(), masks, found))
    }

    /// What a text does, and what it executes, where that is one prepared statement.
    pub(super) fn flow(
        &self,
        meaning: Option<&Arc<Classification>>,
        text: &str,
        outlook: &Outlook,
    ) -> (Arc<Flow>, Option<(Arc<Flow>, Outputs)>) {
        let store = &self.shared.store;
        let flow = match meaning {
            Some(meaning) if meaning.statements > 0 || meaning.shape > 1 => {
                store.flow(meaning.shape, text, outlook)
            }
            _ => Arc::new(Flow::unreadable()),
        };
        let mut names: Vec<Box<str>> = Vec::new();
        names.extend(
            flow.statements
                .iter()
                .filter_map(|found| found.executes.clone()),
        );
        if names.is_empty() {
            return (flow, None);
        }
        let executed = match (names.as_slice(), flow.statements.len()) {
            ([name], 1) => self.executed(name, outlook, EXECUTES_MAX),
            _ => None,
        };
        let executed = executed.unwrap_or_else(|| Arc::new(Flow::unreadable()));
        let outputs = match executed.statements.as_slice() {
            [one] => one.outputs.clone(),
            _ => Outputs::unproven(),
        };
        (flow, Some((executed, outputs)))
    }

    /// What the prepared statement of this name does.
    fn executed(&self, name: &str, outlook: &Outlook, depth: usize) -> Option<Arc<Flow>> {
        let key = significant(name.as_bytes()).filter(|key| !key.is_empty())?;
        let segment = self.pipeline.segment();
        let statement: &Arc<Statement> = self.statements.look_up(key, segment).one()?;
        let meaning = statement.meaning.as_ref()?;
        let flow = self
            .shared
            .store
            .flow(meaning.shape, &statement.text, outlook);
        let [one] = flow.statements.as_slice() else {
            return None;
        };
        match &one.executes {
            None => Some(flow),
            Some(next) if depth > 0 => self.executed(next, outlook, depth - 1),
            Some(_) => None,
        }
    }

    /// What the cursor returns that a text fetches from, and whether what was there when it was
    /// declared is there still.
    fn cursor(&self, flow: &Flow) -> (Option<Outputs>, bool) {
        let ([one], Some(masking)) = (flow.statements.as_slice(), &self.masking) else {
            return (None, false);
        };
        let name = one.fetches.as_ref();
        match name.and_then(|name| masking.cursors.find(name)) {
            Some(cursor) => {
                let is_current = Some(cursor.stamp) == self.stamp();
                (Some(cursor.outputs.clone()), is_current)
            }
            None => (None, false),
        }
    }

    /// What is known of the database within the open transaction only.
    pub(super) fn found(&self) -> Remembered {
        let masking = self.masking.as_ref();
        masking.map_or_else(Remembered::default, |masking| masking.found.clone())
    }

    /// Now. `None`: the policy has called nothing sensitive so far.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let masking = self.masking.as_ref()?;
        let generation = self.shared.store.generation(&self.database);
        Some(Stamp(generation, masking.alterations))
    }

    /// The name becomes that of a portal.
    pub(super) fn forget_cursor(&mut self, name: &[u8]) {
        if let Some(masking) = &mut self.masking {
            masking.cursors.forget(name);
        }
    }

    /// The questions about the catalogue go upstream.
    pub(super) fn begin_loading(&mut self, out: &mut dyn Effects) {
        for _ in 0..catalogue::QUESTIONS {
            for ask in REQUESTS {
                let request = match ask {
                    Ask::Close | Ask::ClosePortal => Request::Close,
                    Ask::Parse => Request::Parse,
                    Ask::Bind => Request::Bind,
                    Ask::Execute => Request::Execute,
                };
                self.pipeline.push_own(request, Own::Apart);
            }
        }
        self.pipeline.push_own(Request::Sync, Own::Apart);
        out.send_upstream(&self.admitted, &catalogue::questions());
        out.pause_client(true);
    }

    /// The catalogue was read, or could not be.
    pub(super) fn end_loading(&mut self, out: &mut dyn Effects) {
        let database = Arc::clone(&self.database);
        let shared = Arc::clone(&self.shared);
        let open = self.transaction != Transaction::Idle;
        let masking = self.masking();
        let Some(loading) = masking.loading.take() else {
            return;
        };
        match loading.finish() {
            Some(catalogue) if masking.changed && open => {
                masking.own = Some(Some(Arc::new(catalogue)));
            }
            Some(catalogue) => {
                masking.changed = false;
                masking.own = None;
                shared.store.read(&database, catalogue, masking.generation);
            }
            // It is this session that could not read it; others may.
            None => masking.loads = LOADS_MAX,
        }
        out.pause_client(false);
    }

    fn begin_cursors(&mut self, entry: &mut Entry, flow: &Flow) {
        let Some(stamp) = self.stamp() else { return };
        let masking = self.masking();
        if let Some(change) = masking.cursors.begin(flow, stamp) {
            masking.cursor_changes.push(change);
            entry.names_cursor = true;
        }
    }

    /// A request is answered that makes something of the name of a cursor.
    pub(super) fn settle_cursor(&mut self, outcome: Outcome) {
        let masking = self.masking();
        if let Some(change) = masking.cursor_changes.pop() {
            masking.cursors.settle(change, outcome);
        }
    }

    /// A request that was looked at goes upstream: its entry is marked, and what goes before it is
    /// returned. `portal`: of an Execute.
    pub(super) fn see(
        &mut self,
        entry: &mut Entry,
        seen: Option<Box<Seen>>,
        portal: Option<&[u8]>,
    ) -> Prelude {
        if let Some(masking) = &mut self.masking {
            let altering = std::mem::take(&mut masking.altering);
            let replacing = std::mem::take(&mut masking.replacing);
            if altering && entry.request != Request::Parse {
                masking.changed = true;
                masking.alterations += 1;
                // What was read before is not what is behind it.
                masking.own = None;
                masking.replaced |= replacing;
                if replacing && !std::mem::replace(&mut masking.changing, true) {
                    self.shared.store.begin_change(&self.database);
                }
            }
        }
        if let Some(flow) = self
            .cursor_flow
            .take()
            .filter(|_| entry.request != Request::Parse)
        {
            self.begin_cursors(entry, &flow);
        }
        if let Some(keeping) = self.looked.take() {
            entry.recorded = true;
            self.keepings.push(keeping);
        }
        let Some(seen) = seen.map(|seen| *seen) else {
            let portal = portal.filter(|_| entry.recorded)?;
            return Some(self.ask_about(portal));
        };
        entry.viewed = true;
        self.masking().sensitive |= seen.touches && seen.view.outlook.covers;
        self.views.push(seen.view);
        let apart = match portal {
            Some(_) => Own::Within,
            None => Own::Apart,
        };
        if entry.request == Request::Parse {
            return None;
        }
        if let Some(query) = seen.copies {
            let mut prelude = catalogue::message(Ask::Close, COPIED, "");
            prelude.extend(catalogue::message(Ask::Parse, COPIED, &query));
            prelude.extend(describe_message(b'S', COPIED));
            prelude.extend(catalogue::message(Ask::Close, COPIED, ""));
            for request in [
                Request::Close,
                Request::Parse,
                Request::DescribeStatement,
                Request::Close,
            ] {
                self.pipeline.push_own(request, apart);
            }
            if apart == Own::Apart {
                prelude.extend(frame(b'S', |_| {}));
                self.pipeline.push_own(Request::Sync, apart);
            }
            return Some(prelude);
        }
        Some(self.ask_about(portal?))
    }

    /// The server is asked about the columns of a portal.
    fn ask_about(&mut self, portal: &[u8]) -> Vec<u8> {
        self.pipeline.push_own(Request::DescribePortal, Own::Within);
        describe_message(b'P', portal)
    }

    /// What the server says about the columns of an answer.
    pub(super) fn described(&mut self, own: bool, copied: bool, body: &[u8]) -> Result<(), Error> {
        let described = describe(body)?;
        if own && copied {
            self.masking().copied = Some(described);
            return Ok(());
        }
        let Some(view) = self.views.front().cloned() else {
            return Ok(());
        };
        let statement = self.reply.statements;
        let columns = match self.is_current(&view) {
            true => view.columns(statement, &described),
            false => Columns::blind(Arc::clone(&view.masks), &described),
        };
        self.masking().columns = Some(columns);
        Ok(())
    }

    /// Is the database what it was when the request was looked at, as far as is known?
    fn is_current(&self, view: &View) -> bool {
        !view.outlook.covers || self.shared.store.generation(&self.database) == view.generation
    }

    /// The columns of the row that comes; `None`: it need not be looked into.
    pub(super) fn columns_of_row(&mut self) -> Option<&mut Columns> {
        let view = self.views.front()?.clone();
        let masking = self.masking.get_or_insert_default();
        let columns = masking.columns.get_or_insert_with(|| {
            // Rows that nobody has described.
            Columns::covered(Arc::clone(&view.outlook), Arc::clone(&view.masks), 0)
        });
        (columns.looks() || columns.len() == 0).then_some(columns)
    }

    /// The columns of the result that comes, as far as they were looked at.
    pub(super) fn columns_for_client(&self) -> Option<&Columns> {
        self.masking.as_ref()?.columns.as_ref()
    }

    /// The columns of the copy that comes.
    pub(super) fn client_copy(&self) -> Option<&Columns> {
        Some(self.masking.as_ref()?.copy.as_ref()?.columns())
    }

    /// The columns of the query that is copied next.
    pub(super) fn copied_query(&self) -> Option<Vec<Description>> {
        self.masking.as_ref()?.copied.clone()
    }

    /// A row has as many values as its columns were described: `count` is how its body begins.
    pub(super) fn check_row(&self, count: &[u8]) -> Result<(), Error> {
        let columns = self
            .masking
            .as_ref()
            .and_then(|masking| masking.columns.as_ref());
        let said = count.first_chunk().map(|count| u16::from_be_bytes(*count));
        match (columns, said) {
            (Some(columns), Some(said))
                if columns.len() > 0 && columns.len() != usize::from(said) =>
            {
                Err(Error::Value)
            }
            _ => Ok(()),
        }
    }

    /// A copy to the client begins. False: it cannot be read on its way.
    pub(super) fn begin_copy_out(&mut self, body: &[u8]) -> Result<bool, Error> {
        let Some(view) = self.views.front().cloned() else {
            return Ok(true);
        };
        let statement = self.reply.statements;
        let plan = view.copy(statement).filter(|_| self.is_current(&view));
        let masking = self.masking.get_or_insert_default();
        let copied = masking.copied.take();
        let mut reader = crate::codec::Reader::new(body);
        reader.byte()?;
        let count = usize::from(reader.u16()?);
        let Some(plan) = plan else {
            return Ok(!view.outlook.covers);
        };
        let columns = match &plan.source {
            CopySource::Query(_) => copied
                .filter(|described| described.len() == count)
                .map(|described| view.columns(statement, &described)),
            CopySource::Table { .. } => table_columns(&view, plan)
                .filter(|columns| columns.len() == count)
                .map(|list| view.listed(list)),
        };
        let columns = columns.unwrap_or_else(|| {
            Columns::covered(Arc::clone(&view.outlook), Arc::clone(&view.masks), count)
        });
        if !columns.looks() {
            return Ok(true);
        }
        let limit = self.shared.limits.masked_row_bytes;
        let stream = CopyStream::new(plan.format, columns, limit);
        if !stream.is_readable()
            || !self.settings.text_is_utf8() && plan.format != CopyFormat::Binary
        {
            return Ok(!view.outlook.covers);
        }
        masking.copy = Some(stream);
        Ok(true)
    }

    pub(super) fn copy_stream(&mut self) -> Option<&mut CopyStream> {
        self.masking.as_mut()?.copy.as_mut()
    }

    /// The answer to one statement of a text is whole.
    pub(super) fn statement_answered(&mut self) {
        let Some(masking) = &mut self.masking else {
            return;
        };
        let columns = masking.columns.take();
        let copy = masking.copy.take();
        let (masked, disclosed) = (&mut self.reply.masked, &mut self.reply.disclosed);
        if let Some(columns) = &columns {
            columns.settle(masked, disclosed);
        }
        if let Some(copy) = &copy {
            copy.columns().settle(masked, disclosed);
        }
    }

    /// The answer to a request is whole.
    pub(super) fn view_answered(&mut self) {
        self.statement_answered();
        self.views.pop();
        if let Some(masking) = &mut self.masking {
            masking.copied = None;
        }
    }

    /// ReadyForQuery.
    pub(super) fn masking_ready(&mut self, transaction: Transaction) {
        let Some(masking) = &mut self.masking else {
            return;
        };
        let store = &self.shared.store;
        if self.pipeline.is_empty() && std::mem::take(&mut masking.changing) {
            store.end_change(&self.database, false);
        }
        if transaction == Transaction::Idle && self.pipeline.is_empty() {
            masking.cursors.end_transaction();
            if std::mem::take(&mut masking.changed) {
                masking.own = None;
                store.remember(&self.database, std::mem::take(&mut masking.found));
                let replaced = std::mem::take(&mut masking.replaced);
                store.changed(&self.database, replaced);
            }
        } else if masking.changed {
            // It may have changed once more.
            masking.own = None;
        }
    }

    /// What an error or a notice becomes; `None`: it stays.
    pub(super) fn cover_words(
        &mut self,
        kind: u8,
        front: Option<Entry>,
        body: &[u8],
        out: &dyn Effects,
    ) -> Result<Option<Vec<u8>>, Error> {
        let Some(masking) = &self.masking else {
            return Ok(None);
        };
        let view = front
            .filter(|entry| entry.viewed)
            .and_then(|_| self.views.front());
        let own = front.is_some_and(|entry| entry.own != Own::No);
        let asks = front.is_some_and(|entry| {
            let judged = matches!(
                entry.request,
                Request::Query | Request::Execute | Request::Parse
            );
            !own && (judged || entry.clean)
        });
        let covers = match view {
            Some(view) => {
                view.flow.touches && view.outlook.covers || masking.sensitive && !asks_cleanly(view)
            }
            None => masking.sensitive && !asks,
        };
        if covers {
            let quotes = view.is_some_and(|view| view.quotes || view.is_shifting);
            return words::cover_message(kind, body, quotes).map(Some);
        }
        if !own && masking.is_about_sensitive(body)? {
            // Something was done to it that the statement does not show: by a foreign key, perhaps.
            return words::cover_message(kind, body, true).map(Some);
        }
        Ok(view.and_then(|view| words::search_message(kind, body, &*view.masks, out.masker())))
    }

    /// Tells the client that the answer ends here; the rest of it is not for the client.
    pub(super) fn cut_answer(&mut self, message: &str) -> Vec<u8> {
        self.masking().swallow = true;
        self.reply
            .error
            .get_or_insert_with(|| Arc::from(format!("{LIMITED}: {message}")));
        Complaint {
            severity: Severity::Error,
            code: LIMITED,
            message,
            detail: None,
            utf8: self.settings.text_is_utf8(),
        }
        .encode()
    }

    /// Is the rest of an answer kept from the client?
    pub(super) fn is_swallowing(&self) -> bool {
        self.masking.as_ref().is_some_and(|masking| masking.swallow)
    }

    /// Is a message of this kind kept from the client? The end of the answer is not.
    pub(super) fn swallows(&mut self, kind: u8) -> Result<bool, Fault> {
        let Some(masking) = self.masking.as_mut().filter(|masking| masking.swallow) else {
            return Ok(false);
        };
        match kind {
            b'Z' => {
                masking.swallow = false;
                Ok(false)
            }
            // The client would have to answer it.
            b'G' | b'W' => Err(Error::Unasked.into()),
            b'S' | b'A' => Ok(false),
            _ => Ok(true),
        }
    }

    fn loading(&mut self) -> Option<&mut Loading> {
        self.masking.as_mut()?.loading.as_mut()
    }

    /// A row of the gateway's own question.
    pub(super) fn own_row(&mut self, body: &[u8]) {
        if let Some(loading) = self.loading() {
            loading.row(body);
        }
    }

    pub(super) fn own_answered(&mut self) {
        if let Some(loading) = self.loading() {
            loading.answered();
        }
    }

    pub(super) fn own_failed(&mut self) {
        if let Some(loading) = self.loading() {
            loading.fail();
        }
    }
}

/// What a function returns that is called by its number, nobody knows.
pub(super) fn of_function_call(masks: Option<&dyn Masks>) -> Vec<Use> {
    let Some(masks) = masks.filter(|masks| masks.cover()) else {
        return Vec::new();
    };
    let outlook = Outlook::blind(0, masks);
    use_of(&outlook, UseKind::Unproven, UNPROVEN)
        .into_iter()
        .collect()
}

/// Does nothing of a view reach beyond the statement itself? The end of a transaction does.
fn asks_cleanly(view: &View) -> bool {
    !view.flow.statements.is_empty() && !view.flow.writes
}

fn names_cursor(flow: &Flow) -> bool {
    let mut statements = flow.statements.iter();
    statements.any(|found| found.declares.is_some() || found.closes.is_some())
}

fn copied_query(flow: &Flow) -> Option<&str> {
    let [one] = flow.statements.as_slice() else {
        return None;
    };
    match &one.copy.as_ref()?.source {
        CopySource::Query(query) if !query.is_empty() => Some(query),
        _ => None,
    }
}

fn describe_message(kind: u8, name: &[u8]) -> Vec<u8> {
    frame(b'D', |body| {
        body.push(kind);
        push_text(body, name);
    })
}

/// The columns of COPY table TO; `None` when it is not certain which those are.
pub(super) fn table_columns(view: &View, plan: &CopyOut) -> Option<Vec<Column>> {
    let CopySource::Table {
        schema,
        name,
        columns,
    } = &plan.source
    else {
        return None;
    };
    let catalogue = view.outlook.catalogue.as_ref()?;
    let candidates: Vec<_> = catalogue.named(schema, name).collect();
    let marked = |oid: u32| view.outlook.marks(oid).next().is_some();
    let (oid, relation) = match candidates.as_slice() {
        [one] => *one,
        // Any of these: nothing needs to be covered if nothing is sensitive in any.
        [first, ..] if !candidates.iter().any(|(oid, _)| marked(*oid)) => *first,
        _ => return None,
    };
    let column = |number: i16, type_oid: u32, not_null: bool| {
        let action = match view.outlook.marked(oid, number) {
            None => Action::Show,
            Some(marked) => action_for(&view.outlook, marked.field, marked.itself),
        };
        Column {
            action,
            kind: Kind {
                shape: Shape::of(type_oid, 0),
                binary: false,
                not_null,
            },
        }
    };
    if columns.is_empty() {
        // Generated columns are not copied.
        let all = relation.columns.iter().filter(|column| !column.generated);
        return Some(
            all.map(|found| column(found.number, found.type_oid, found.not_null))
                .collect(),
        );
    }
    columns
        .iter()
        .map(|name| {
            let found = relation.columns.iter().find(|found| found.name == *name)?;
            Some(column(found.number, found.type_oid, found.not_null))
        })
        .collect()
}

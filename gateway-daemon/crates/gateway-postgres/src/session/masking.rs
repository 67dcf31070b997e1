//! Masks in a session: what is said about each request, and what is asked of the upstream besides
//! what the client asks.
//!
//! - [`reading`]: what is known of the database.
//! - [`plan`]: what is asked as soon as a prepared statement is planned.
//! - [`view`], [`answers`]: what becomes of an answer.
mod answers;
mod plan;
mod reading;
mod view;

pub(super) use answers::table_columns;
pub(super) use plan::Plan;
pub(super) use reading::own_request;
pub(super) use view::View;

use super::cursors::{CursorChange, Cursors};
use super::judge::{Phase, Question};
use super::names::{Outcome, significant};
use super::pipeline::{Entry, Own, Request};
use super::queue::Queue;
use super::recording::Keeping;
use super::serving::Serving;
use super::statement::Statement;
use crate::codec::{frame, push_text};
use crate::interpret::flow::{CopySource, Fields, Flow, Outputs};
use crate::interpret::{Classification, TextEncoding};
use crate::mask::catalogue::{self, Ask, Catalogue, Loading};
use crate::mask::columns::{Columns, Description};
use crate::mask::copy::CopyStream;
use crate::mask::outlook::{FieldId, Outlook, Remembered, UNKNOWN, UNPROVEN};
use crate::mask::words;
use gateway_core::mask::{Predicates, Use, UseKind};
use gateway_core::{Masks, Parameter};
use gateway_protocol::Effects;
use std::sync::Arc;

/// The name of the statement that a copied query is described by.
const COPIED: &[u8] = b"gateway_copied";
/// Prepared statements that execute prepared statements are followed so far.
const EXECUTES_MAX: usize = 4;

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
    /// Could it ask what a human is to be asked about as soon as it is planned, before it is executed?
    /// The planner calls functions that are stable or immutable, where what they are given is known.
    pub(super) fn asks_when_planned(&self) -> bool {
        let is_held = |found: &Use| matches!(found.mask.predicates, Predicates::Hold(_));
        self.view.flow.calls && self.uses.iter().any(is_held)
    }

    /// What it was judged by: the number of the database as it was then.
    pub(super) fn basis(&self) -> u64 {
        self.view.generation
    }

    /// The text as it may be written down; `None`: as it is.
    pub(super) fn shown(&self, text: &str, out: &dyn Effects) -> Option<String> {
        if self.touches {
            let is_read = !self.view.flow.statements.is_empty();
            return Some(words::cover_statement(text, is_read, out.masker()));
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
    /// What the policy said last, about the database and of itself.
    latest: Option<Arc<Outlook>>,
    masks: Option<Arc<dyn Masks>>,
    /// What is known of the database within the open transaction only.
    found: Remembered,
    /// Something sensitive was touched: errors that come late may be about it.
    sensitive: bool,
    /// And by what is not known: a trigger can be deferred.
    calls: bool,
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
            Phase::Parse | Phase::Bind => 0,
            Phase::Query | Phase::Execute => terms.keep,
        };
        self.looked = Keeping::of(keep, None);
        let Some(masks) = terms.masks else {
            return Look::Plain;
        };
        let Some(outlook) = self.outlook(&*masks) else {
            return Look::Wait;
        };
        let outlook = match question.is_stale && outlook.covers {
            // It runs as it was planned, by what was there then.
            true => self.shared.store.blind(&self.database, &*masks),
            false => outlook,
        };
        self.masking().latest = Some(Arc::clone(&outlook));
        self.masking().masks = Some(Arc::clone(&masks));
        self.looked = self.keeping(keep, &masks, &outlook, meaning, question.text);
        let (flow, executed) = self.flow(meaning, question.text, &outlook);
        if flow.unknown && self.reads_again(&outlook) {
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
        for (kind, field) in &flow.uses {
            let is_void = absent && (*kind, *field) == (UseKind::Asks, UNKNOWN);
            uses.extend(use_of(&outlook, *kind, *field).filter(|_| outlook.covers && !is_void));
        }
        if question.phase != Phase::Parse {
            let asked = self.acted_on(&flow);
            uses.extend(asked.into_iter().filter_map(|field| {
                use_of(&outlook, UseKind::Asks, field).filter(|_| outlook.is_covered(field))
            }));
        }
        let runs = outlook.covers && question.phase != Phase::Parse;
        let late = meaning.is_none_or(|meaning| meaning.may_end_transaction);
        let touches = flow.touches || late && self.masking().sensitive;
        // What runs later may meet what is there by then.
        let is_later = question.is_stale || flow.statements.len() > 1 || self.pipeline.is_running();
        let is_later = is_later && runs;
        if !touches && uses.is_empty() && masks.detectors().is_empty() && !is_later {
            self.cursor_flow = names_cursor(&flow).then_some(flow);
            return Look::Plain;
        }
        let quotes = flow.quotes;
        let fetches = flow.statements.iter().any(|found| found.fetches.is_some());
        let (cursor, is_current) = self.cursor(&flow);
        let inner = executed.or(cursor);
        self.cursor_flow = names_cursor(&flow).then(|| Arc::clone(&flow));
        let copies = copied_query(&flow).map(Into::into);
        Look::Seen(Box::new(Seen {
            view: Arc::new(View {
                is_shifting: question.is_stale
                    || shifts && flow.statements.len() > 1
                    || fetches && !is_current,
                generation: self.shared.store.generation(&self.database),
                reads_utf8: !flow.calls && self.copies_utf8(meaning),
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

    /// Does a copy certainly come in UTF-8, whatever is asked before it is answered?
    fn copies_utf8(&mut self, meaning: Option<&Arc<Classification>>) -> bool {
        let context = self.settings.context(self.pipeline.has_open_segment());
        let is_certain = context.text_encoding != TextEncoding::Uncertain;
        is_certain && meaning.is_some_and(|meaning| !meaning.changes.text_encoding)
    }

    /// What a text does, together with the prepared statements that it executes, and what those
    /// return.
    pub(super) fn flow(
        &self,
        meaning: Option<&Arc<Classification>>,
        text: &str,
        outlook: &Outlook,
    ) -> (Arc<Flow>, Option<Outputs>) {
        let flow = self.own_flow(meaning, text, outlook);
        let mut names = flow.statements.iter();
        let Some(name) = names.find_map(|found| found.executes.as_ref()) else {
            return (flow, None);
        };
        // Of several statements, one before could prepare another one of this name.
        let executed = match flow.statements.len() {
            1 => self.executed(name, outlook, EXECUTES_MAX),
            _ => None,
        };
        let (executed, outputs) =
            executed.unwrap_or_else(|| (Arc::new(Flow::unreadable()), Outputs::unproven()));
        (Arc::new(flow.executing(&executed)), Some(outputs))
    }

    /// What a text does, but for what it executes.
    fn own_flow(
        &self,
        meaning: Option<&Arc<Classification>>,
        text: &str,
        outlook: &Outlook,
    ) -> Arc<Flow> {
        match meaning {
            Some(meaning) if meaning.statements > 0 || meaning.shape > 1 => {
                self.shared.store.flow(meaning.shape, text, outlook)
            }
            _ => Arc::new(Flow::unreadable()),
        }
    }

    /// What the prepared statement of this name does, and what it returns. `None`: that is not
    /// certain.
    fn executed(
        &self,
        name: &str,
        outlook: &Outlook,
        depth: usize,
    ) -> Option<(Arc<Flow>, Outputs)> {
        let key = significant(name.as_bytes()).filter(|key| !key.is_empty())?;
        let segment = self.pipeline.segment();
        let statement: &Arc<Statement> = self.statements.look_up(key, segment).one()?;
        let flow = self.own_flow(statement.meaning.as_ref(), &statement.text, outlook);
        let [one] = flow.statements.as_slice() else {
            return None;
        };
        match &one.executes {
            None => {
                let outputs = one.outputs.clone();
                Some((flow, outputs))
            }
            Some(next) => {
                let (executed, outputs) = self.executed(next, outlook, depth.checked_sub(1)?)?;
                Some((Arc::new(flow.executing(&executed)), outputs))
            }
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

    /// What is returned by the cursors on whose rows a text acts. An index can have them in the order
    /// of what they return: which row is whose, acting on them would show.
    fn acted_on(&self, flow: &Flow) -> Vec<FieldId> {
        let mut fields = Fields::default();
        for name in flow.statements.iter().flat_map(|found| &found.acts_on) {
            let cursors = self.masking.as_ref().map(|masking| &masking.cursors);
            let cursor = cursors.and_then(|cursors| cursors.find(name));
            match cursor.filter(|cursor| Some(cursor.stamp) == self.stamp()) {
                Some(cursor) => _ = fields.add(&cursor.outputs.any()),
                None => _ = fields.add(&Fields::one(UNPROVEN)),
            }
        }
        fields.iter().collect()
    }

    /// The name becomes that of a portal, when `entry` is answered.
    pub(super) fn name_portal(&mut self, entry: &mut Entry, name: &[u8]) {
        if let Some(masking) = &mut self.masking
            && let Some(change) = masking.cursors.name_portal(name)
        {
            masking.cursor_changes.push(change);
            entry.names_cursor = true;
        }
    }

    /// May what is executed under the name of a portal be a cursor that SQL has declared?
    pub(super) fn may_be_declared(&self, portal: &[u8]) -> bool {
        let masking = self.masking.as_ref();
        masking.is_some_and(|masking| masking.cursors.may_be_declared(portal))
    }

    fn begin_cursors(&mut self, entry: &mut Entry, flow: &Flow) {
        self.masking().cursors.declare(flow);
        let Some(stamp) = self.stamp() else { return };
        let masking = self.masking();
        if let Some(change) = masking.cursors.begin(flow, stamp) {
            masking.cursor_changes.push(change);
            entry.names_cursor = true;
        }
    }

    /// A request is answered that makes something of the name of a cursor.
    pub(super) fn settle_cursor(&mut self, outcome: Outcome) {
        // One that is held can be there, or gone, although the transaction failed in the end.
        let outcome = match outcome {
            Outcome::Failed => Outcome::Unsure,
            outcome => outcome,
        };
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
                if replacing {
                    self.shared.store.changed(&self.database, true);
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
        let masking = self.masking();
        masking.sensitive |= seen.touches && seen.view.outlook.covers;
        masking.calls |= seen.view.flow.calls && entry.request != Request::Parse;
        self.views.push(seen.view);
        let apart = match portal {
            Some(_) => Own::Within,
            None => Own::Apart,
        };
        if entry.request == Request::Parse {
            return None;
        }
        // A Sync of the gateway's own would end what the client has begun without one.
        let copies = seen.copies.filter(|_| apart == Own::Within || !entry.alone);
        if let Some(query) = copies {
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
}

/// The use of what could do anything with masked values: a function that is called by its number, or
/// a library that the server loads.
pub(super) fn unproven_use(masks: Option<&dyn Masks>) -> Vec<Use> {
    let Some(masks) = masks.filter(|masks| masks.cover()) else {
        return Vec::new();
    };
    let outlook = Outlook::blind(0, masks);
    use_of(&outlook, UseKind::Unproven, UNPROVEN)
        .into_iter()
        .collect()
}

fn names_cursor(flow: &Flow) -> bool {
    let mut statements = flow.statements.iter();
    // What is executed is with what executes it.
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

//! The client's messages once it is logged in: which pass, which are judged, which are replaced.
use super::judge::{Phase, Question, Reading, ask, attributes};
use super::masking::{self, Look};
use super::names::significant;
use super::pipeline::{Entry, Request};
use super::refusal::{self, Wording};
use super::serving::{Change, Rest, Serving, Step, whole};
use super::statement::{Statement, record_values};
use crate::codec::request::{self, Target};
use crate::codec::{HEADER_BYTES, Header};
use crate::error::Error;
use crate::interpret::{Classification, PreparedChange};
use gateway_core::{Effect, Object, Obstacle, Operation, Verb};
use gateway_protocol::Effects;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What can have run the unnamed portal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// Nothing: only what describes it came since it was bound.
    Fresh,
    /// The first that came was its own Execute, without a limit of rows.
    Executed,
    /// Anything.
    #[default]
    Exposed,
}

impl Unnamed {
    /// Something came that can run it, unless it was run to its end before.
    pub(super) fn expose(&mut self) {
        if *self == Unnamed::Fresh {
            *self = Unnamed::Exposed;
        }
    }
}

/// The state of what the client sends.
#[derive(Debug, Default)]
pub(super) struct Upward {
    /// The rest of a frame that passes, or is dropped, in pieces.
    pub(super) rest: Rest,
    /// The client has said goodbye.
    pub(super) terminated: bool,
    /// The upstream ignores everything up to the next Sync, so it need not get it.
    pub(super) absorbing: bool,
    /// Something of the extended protocol was sent since the last Sync.
    pub(super) unsynced: bool,
    /// What came since the unnamed portal was bound.
    pub(super) unnamed: Unnamed,
    /// The upstream was told to send what it has answered, and got nothing since.
    pub(super) flushed: bool,
    /// The next request waits for the answers to those before it.
    pub(super) waits: bool,
    /// Syncs that came while the upstream read copy data, and nothing behind them went there since.
    pub(super) early_syncs: usize,
    /// Copy data that was sent and not attributed to a request yet, in bytes.
    pub(super) copy_bytes: u64,
}

/// PostgreSQL takes no longer Describe, Execute or Close (`PQ_SMALL_MESSAGE_LIMIT`).
const SMALL_BYTES_MAX: usize = 10_000;
/// A longer unnamed statement is not remembered for the case that it comes again.
const REMEMBERED_BYTES_MAX: usize = 16 * 1024;
/// The key of the limit in the configuration.
pub(super) const HELD: &str = "limits.held_bytes";
const SMALL: &str = "the longest message of this type";

/// Could it copy from the client?
fn may_copy_in(meaning: Option<&Classification>) -> bool {
    meaning.is_none_or(|meaning| meaning.copies_in)
}

impl Serving {
    /// Takes the message that `bytes` begin with.
    pub(super) fn step_request(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Error> {
        match header.kind {
            b'X' => return self.terminate(header, bytes),
            b'S' | b'H' | b'c' if header.size != HEADER_BYTES => return Err(Error::Length),
            b'Q' | b'P' | b'B' | b'E' | b'D' | b'C' | b'H' | b'S' | b'F' | b'd' | b'c' | b'f' => {}
            b'p' => return Err(Error::Order),
            _ => return Err(Error::Type),
        }
        if self.up.absorbing && header.kind != b'S' {
            return Ok(self.up.rest.begin(header.size, bytes.len(), true));
        }
        if self.reply.copy.is_reading() {
            return self.step_copying(header, bytes);
        }
        if self.pipeline.is_closed() {
            return Ok(self.wait_for_answers());
        }
        match header.kind {
            // Nobody reads it any more.
            b'd' | b'c' | b'f' => return Ok(self.up.rest.begin(header.size, bytes.len(), true)),
            b'S' => return self.sync(header),
            // There is nothing to flush, and the upstream would take the next error for one of the extended
            // protocol, and skip to a Sync: also a timeout of the Query before, which comes late.
            b'H' if self.pipeline.is_empty() || !self.up.unsynced => {
                return Ok(Step::Drop(header.size));
            }
            b'H' => {
                self.up.flushed = true;
                return Ok(Step::Pass(header.size));
            }
            _ => {}
        }
        let limits = &self.shared.limits;
        let (limit, name) = match header.kind {
            b'Q' | b'P' => (limits.statement_bytes, "limits.statement_bytes"),
            b'B' | b'F' => (limits.bind_bytes, "limits.bind_bytes"),
            _ => (SMALL_BYTES_MAX, SMALL),
        };
        let Some(body) = whole(header, bytes, limit, name)? else {
            return Ok(Step::Wait);
        };
        self.check_room()?;
        let is_apart = matches!(header.kind, b'Q' | b'F');
        let has_names = matches!(header.kind, b'Q' | b'P' | b'B' | b'E');
        if self.must_wait(is_apart) || has_names && self.awaits_path() {
            return Ok(self.wait_for_answers());
        }
        if has_names && self.wants_path() {
            return Ok(Step::AskPath);
        }
        self.up.unsynced |= matches!(header.kind, b'D' | b'C');
        let step = self.take_request(header, body, out)?;
        if !step.stays() && !matches!(header.kind, b'B' | b'D') {
            self.up.unnamed.expose();
        }
        self.up.flushed &= is_apart || step.stays();
        Ok(step)
    }

    fn take_request(
        &mut self,
        header: Header,
        body: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Error> {
        match header.kind {
            b'Q' => self.query(header.size, body, out),
            b'P' => self.parse(header.size, body, out),
            b'B' => self.bind(header.size, body, out),
            b'E' => self.execute(header.size, body, out),
            b'D' => self.describe(header.size, body),
            b'C' => self.close(header.size, body),
            _ => self.call_function(header.size, body, out),
        }
    }

    fn check_room(&self) -> Result<(), Error> {
        if self.pipeline.len() < self.shared.limits.pipeline {
            Ok(())
        } else {
            Err(Error::Pipeline)
        }
    }

    /// A request stays where it is until everything before it is answered. Without a Sync the upstream
    /// keeps answers back until it is told not to.
    pub(super) fn wait_for_answers(&mut self) -> Step {
        let flush = self.up.unsynced && !std::mem::replace(&mut self.up.flushed, true);
        Step::Await { flush }
    }

    /// The client's next request stays where it is.
    pub(super) fn wait_client(&mut self, out: &mut dyn Effects) {
        self.up.waits = true;
        out.pause_client(true);
    }

    /// Something was answered: what waits for that is looked at again.
    pub(super) fn resume_client(&mut self, out: &mut dyn Effects) {
        let is_copying = self.reply.copy.is_reading();
        let goes_on = self.pipeline.is_empty() || self.up.absorbing || is_copying;
        if self.up.waits && goes_on {
            self.up.waits = false;
            out.pause_client(false);
        }
    }

    /// Does the next request have to wait until everything before is answered? `is_apart`: it is a
    /// Query or a FunctionCall.
    fn must_wait(&self, is_apart: bool) -> bool {
        let within = is_apart && self.up.unsynced && !self.pipeline.is_empty();
        within || self.pipeline.is_closed()
    }

    /// Is it open where names are looked up, until what was sent is answered?
    fn awaits_path(&self) -> bool {
        let open_segment = self.pipeline.has_open_segment();
        !self.pipeline.is_empty() && self.settings.awaits_path(open_segment)
    }

    fn sync(&mut self, header: Header) -> Result<Step, Error> {
        self.check_room()?;
        self.up.flushed = true;
        self.up.unnamed.expose();
        self.push_sync(header.size);
        Ok(Step::Pass(header.size))
    }

    /// The client says goodbye. Nothing that it sends behind that is looked at.
    pub(super) fn terminate(&mut self, header: Header, bytes: &[u8]) -> Result<Step, Error> {
        if header.size != HEADER_BYTES || bytes.len() < HEADER_BYTES {
            return Err(Error::Length);
        }
        self.up.terminated = true;
        Ok(Step::Pass(header.size))
    }

    fn query(&mut self, size: usize, body: &[u8], out: &mut dyn Effects) -> Result<Step, Error> {
        let reading = self.read(request::query(body)?);
        let own = reading.meaning.clone();
        let meaning = reading.meaning.map(|meaning| self.unite(meaning));
        if let Some(wording) = self.limit_changes(meaning.as_deref(), body.len()) {
            return Ok(self.refuse(Request::Query, size, wording));
        }
        let none = Vec::new();
        let question = Question {
            meaning: meaning.as_deref(),
            text: &reading.text,
            parameters: &[],
            attributes: meaning
                .as_ref()
                .map_or(&none, |meaning| &meaning.attributes),
            phase: Phase::Query,
            is_stale: false,
            announces: false,
        };
        let mut seen = match self.look(own.as_ref(), &question, out) {
            Look::Wait => return Ok(self.wait()),
            Look::Plain => None,
            Look::Seen(seen) => Some(seen),
        };
        match ask(&question, seen.as_deref_mut(), &self.shared, out) {
            Ok(clearance) => {
                let mut entry = Entry::new(Request::Query, size);
                entry.operation = clearance.id().seq;
                entry.alone = self.ends_unsynced() || may_copy_in(meaning.as_deref());
                let before = self.see(&mut entry, seen, None);
                self.push_statement(entry, meaning, size);
                Ok(Step::cleared(size, clearance, before))
            }
            Err(obstacle) => Ok(self.stop(Request::Query, size, obstacle, out)),
        }
    }

    /// A Query or a FunctionCall goes upstream. Does it end what was begun without a Sync?
    fn ends_unsynced(&mut self) -> bool {
        self.up.flushed = true;
        std::mem::take(&mut self.up.unsynced)
    }

    fn parse(&mut self, size: usize, body: &[u8], out: &mut dyn Effects) -> Result<Step, Error> {
        let parse = request::parse(body)?;
        let name = significant(parse.name);
        if let Some(wording) = self.limit_statement(name, body.len()) {
            return Ok(self.refuse(Request::Parse, size, wording));
        }
        let mut reading = self.read(parse.text);
        let meaning = reading
            .meaning
            .take()
            .map(|meaning| (self.unite(Arc::clone(&meaning)), meaning));
        let (united, meaning) = meaning.unzip();
        reading.meaning = meaning;
        let own = reading.meaning.clone();
        let attributes = attributes(united.as_deref(), Phase::Parse);
        let question = Question {
            meaning: united.as_deref(),
            text: &reading.text,
            parameters: &[],
            attributes: &attributes,
            phase: Phase::Parse,
            is_stale: false,
            // Unless what was judged before would run it.
            announces: name == Some(b"") || !self.unnamed_is_indirect(),
        };
        let mut seen = match self.look(own.as_ref(), &question, out) {
            Look::Wait => return Ok(self.wait()),
            Look::Plain => None,
            Look::Seen(seen) => Some(seen),
        };
        let clearance = match ask(&question, seen.as_deref_mut(), &self.shared, out) {
            Ok(clearance) => clearance,
            Err(obstacle) => return Ok(self.stop(Request::Parse, size, obstacle, out)),
        };
        let mut entry = Entry::new(Request::Parse, size);
        entry.operation = clearance.id().seq;
        self.up.unsynced = true;
        let clean = seen.is_none();
        self.see(&mut entry, seen, None);
        if let Some(name) = name {
            let statement = self.prepare(name, &reading, &parse);
            statement.clean.store(clean, Ordering::Relaxed);
            *statement.prepared.lock() = self.stamp();
            let position = self.pipeline.next();
            let (name, _) = self.statements.change(name, position, Some(statement));
            self.changes.push(Change::Statement(name));
            entry.changes = true;
        }
        self.pipeline.push(entry);
        Ok(Step::Cleared(size, clearance))
    }

    /// The statement that a Parse makes. Many clients send the same unnamed one again and again.
    fn prepare(
        &mut self,
        name: &[u8],
        reading: &Reading<'_>,
        parse: &request::Parse<'_>,
    ) -> Arc<Statement> {
        let last = self.last_unnamed.as_ref().filter(|_| name.is_empty());
        if let Some(last) = last.filter(|last| last.is_same(reading, parse.types())) {
            return Arc::clone(last);
        }
        let statement = Arc::new(Statement::new(reading, parse.types(), &self.held));
        if name.is_empty() {
            let short = reading.text.len() <= REMEMBERED_BYTES_MAX;
            self.last_unnamed = short.then(|| Arc::clone(&statement));
        }
        statement
    }

    fn execute(&mut self, size: usize, body: &[u8], out: &mut dyn Effects) -> Result<Step, Error> {
        let request::Execute {
            portal: name,
            is_limited,
        } = request::execute(body)?;
        let found = self.executed_portal(name);
        let statement = found.statement;
        let own = found.meaning;
        let meaning = own.clone().map(|meaning| self.unite(meaning));
        let text_bytes = statement
            .as_ref()
            .map_or(0, |statement| statement.text.len());
        if let Some(wording) = self.limit_changes(meaning.as_deref(), text_bytes) {
            return Ok(self.refuse(Request::Execute, size, wording));
        }
        let text = match &statement {
            Some(statement) => Cow::Borrowed(&*statement.text),
            None => format!("portal \"{}\"", String::from_utf8_lossy(name)).into(),
        };
        let attributes = match &statement {
            Some(statement) => statement.attributes_of(meaning.as_ref()),
            None => Cow::Owned(attributes(None, Phase::Execute)),
        };
        let question = Question {
            meaning: meaning.as_deref(),
            text: &text,
            parameters: &[],
            attributes: &attributes,
            phase: Phase::Execute,
            is_stale: found.is_stale,
            // Whoever had to be asked was asked when it was bound.
            announces: found.is_judged,
        };
        let mut seen = match self.look(own.as_ref(), &question, out) {
            Look::Wait => return Ok(self.wait()),
            Look::Plain => None,
            Look::Seen(seen) => Some(seen),
        };
        let segment = self.pipeline.segment();
        let portal = significant(name).and_then(|name| self.portals.look_up(name, segment).one());
        let was_asked = portal.is_some_and(|portal| portal.asked.load(Ordering::Relaxed));
        let question = Question {
            parameters: portal.map_or(&[], |portal| portal.parameters.as_slice()),
            ..question
        };
        match ask(&question, seen.as_deref_mut(), &self.shared, out) {
            Ok(clearance) => {
                let mut entry = Entry::new(Request::Execute, size);
                entry.operation = clearance.id().seq;
                entry.alone = may_copy_in(meaning.as_deref());
                let is_fresh = name.is_empty() && self.up.unnamed == Unnamed::Fresh;
                entry.is_unsure = !is_fresh || was_asked;
                if is_fresh && !is_limited {
                    self.up.unnamed = Unnamed::Executed;
                }
                if let Some(portal) = portal {
                    portal.asked.store(true, Ordering::Relaxed);
                }
                self.up.unsynced = true;
                let before = self.see(&mut entry, seen, Some(name));
                self.push_statement(entry, meaning, text_bytes);
                Ok(Step::cleared(size, clearance, before))
            }
            Err(obstacle) => Ok(self.stop(Request::Execute, size, obstacle, out)),
        }
    }

    fn describe(&mut self, size: usize, body: &[u8]) -> Result<Step, Error> {
        let entry = match request::target(body)? {
            Target::Portal(_) => Entry::new(Request::DescribePortal, size),
            Target::Statement(name) => {
                let statement = significant(name)
                    .and_then(|name| self.statements.look_up(name, self.pipeline.segment()).one());
                // Weak, so that a pipeline of these does not keep what was replaced since.
                self.described
                    .push(statement.map(Arc::downgrade).unwrap_or_default());
                let mut entry = Entry::new(Request::DescribeStatement, size);
                entry.describes = true;
                entry
            }
        };
        self.pipeline.push(entry);
        Ok(Step::Pass(size))
    }

    fn close(&mut self, size: usize, body: &[u8]) -> Result<Step, Error> {
        let mut entry = Entry::new(Request::Close, size);
        let position = self.pipeline.next();
        let change = match request::target(body)? {
            Target::Statement(name) => significant(name)
                .filter(|name| self.statements.contains(name))
                .map(|name| Change::Statement(self.statements.change(name, position, None).0)),
            Target::Portal(name) => significant(name)
                .filter(|name| self.portals.contains(name))
                .map(|name| Change::Portal(self.portals.change(name, position, None).0)),
        };
        if let Some(change) = change {
            entry.changes = true;
            self.changes.push(change);
        }
        self.pipeline.push(entry);
        Ok(Step::Pass(size))
    }

    /// A function by its number: what it does, nobody knows.
    fn call_function(
        &mut self,
        size: usize,
        body: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Error> {
        let call = request::function_call(body)?;
        let mut parameters = Vec::new();
        let types = &self.shared.types;
        record_values(
            &mut parameters,
            call.values.iter(),
            |_| 0,
            types,
            self.kept(),
        );
        let name = format!("function:{}", call.function);
        let object = Object::Unresolved(Arc::from(name.as_str()));
        let effects = [Effect {
            verb: Verb::Execute,
            objects: vec![object],
        }];
        let operation = Operation {
            protocol: crate::NAME,
            verb: Verb::Execute,
            effects: &effects,
            statement: &name,
            parameters: &parameters,
            attributes: &[],
            announces: false,
            uses: &[],
            shown: None,
            shape: None,
            basis: 0,
        };
        let uses = masking::unproven_use(out.masks(&operation).as_deref());
        let asked = out.submit(&Operation {
            uses: &uses,
            ..operation
        });
        match asked {
            Ok(clearance) => {
                self.settings.sent_call(self.pipeline.next());
                let mut entry = Entry::new(Request::FunctionCall, size);
                entry.operation = clearance.id().seq;
                entry.alone = self.ends_unsynced();
                self.pipeline.push(entry);
                Ok(Step::Cleared(size, clearance))
            }
            Err(obstacle) => Ok(self.stop(Request::FunctionCall, size, obstacle, out)),
        }
    }

    /// The request stays where it is until the catalogue is there. Its first reader asks for it.
    pub(super) fn wait(&self) -> Step {
        match self.pipeline.is_empty() {
            true => Step::Load,
            false => Step::Wait,
        }
    }

    /// A request that got no clearance: it is refused, or stays where it is until a human answers.
    pub(super) fn stop(
        &mut self,
        request: Request,
        size: usize,
        obstacle: Obstacle,
        out: &mut dyn Effects,
    ) -> Step {
        match obstacle {
            Obstacle::Refused(refusal) => self.refuse(request, size, Wording::Refused(refusal)),
            Obstacle::Held(notice) => {
                // Not in the middle of a message; then it waits without a word.
                if !notice.again && self.down.bytes == 0 {
                    out.send_client(&refusal::notice(&notice, self.settings.text_is_utf8()));
                }
                Step::Wait
            }
        }
    }

    /// Something that cannot succeed goes upstream in the place of a request, so the upstream
    /// answers at the right moment and fails the transaction as it would for any error.
    pub(super) fn refuse(&mut self, request: Request, size: usize, wording: Wording) -> Step {
        let words = wording.for_upstream();
        let instead = match request {
            Request::Query => request::failing_query(&words),
            Request::FunctionCall => request::failing_function_call(),
            _ => request::failing_parse(&words),
        };
        self.refusals.push(wording);
        let mut entry = Entry::new(request, size);
        entry.refused = true;
        if request.is_extended() {
            self.up.unsynced = true;
            self.up.absorbing = true;
        } else {
            entry.alone = self.ends_unsynced();
        }
        self.pipeline.push(entry);
        Step::Replace(size, instead)
    }

    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.held.bytes().saturating_add(bytes) <= self.shared.limits.held_bytes
    }

    /// Is there no room for a prepared statement of so many bytes?
    fn limit_statement(&self, name: Option<&[u8]>, bytes: usize) -> Option<Wording> {
        let limit = self.shared.limits.prepared_statements;
        if !self.statements.contains(name?) && self.statements.len() >= limit {
            return Some(Wording::Limited("limits.prepared_statements"));
        }
        (!self.has_room(bytes)).then_some(Wording::Limited(HELD))
    }

    /// Is there no room for what a text of so many bytes prepares and changes?
    fn limit_changes(&self, meaning: Option<&Classification>, bytes: usize) -> Option<Wording> {
        let changes = meaning.map(|meaning| &meaning.changes)?;
        if changes.is_empty() {
            return None;
        }
        let is_prepare = |change: &&PreparedChange| matches!(change, PreparedChange::Prepare(_));
        let prepared = changes.prepared.iter().filter(is_prepare).count();
        let limit = self.shared.limits.prepared_statements;
        if prepared > 0 && self.statements.len() + prepared > limit {
            return Some(Wording::Limited("limits.prepared_statements"));
        }
        // The text as a whole, and once more in its parts.
        (!self.has_room(bytes.saturating_mul(2))).then_some(Wording::Limited(HELD))
    }
}

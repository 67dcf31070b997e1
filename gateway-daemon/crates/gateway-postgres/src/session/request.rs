//! The client's messages once it is logged in: which pass, which are judged, which are replaced.
use super::judge::{Phase, Question, Reading, ask, attributes};
use super::masking::{self, Look, Plan};
use super::names::significant;
use super::pipeline::{Entry, Request};
use super::refusal::{self, Wording};
use super::serving::{Change, Copy, Rest, Serving, Step, whole};
use super::statement::{Keep, Portal, Statement, record_values, size_of_values};
use crate::codec::request::{self, Target};
use crate::codec::{HEADER_BYTES, Header};
use crate::error::Error;
use crate::interpret::{Classification, PreparedChange};
use gateway_core::{Effect, Object, Obstacle, Operation, Verb};
use gateway_protocol::Effects;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
    /// Copy data that was sent and not attributed to a request yet, in bytes.
    pub(super) copy_bytes: u64,
}

/// PostgreSQL takes no longer Describe, Execute or Close (`PQ_SMALL_MESSAGE_LIMIT`).
const SMALL_BYTES_MAX: usize = 10_000;
/// A longer unnamed statement is not remembered for the case that it comes again.
const REMEMBERED_BYTES_MAX: usize = 16 * 1024;
/// The key of the limit in the configuration.
const HELD: &str = "limits.held_bytes";
const SMALL: &str = "the longest message of this type";

impl Serving {
    /// Takes the message that `bytes` begin with.
    pub(super) fn step_request(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Error> {
        match header.kind {
            b'S' => return self.sync(header),
            b'X' => return self.terminate(header, bytes),
            b'Q' | b'P' | b'B' | b'E' | b'D' | b'C' | b'H' | b'F' | b'd' | b'c' | b'f' => {}
            b'p' => return Err(Error::Order),
            _ => return Err(Error::Type),
        }
        if self.up.absorbing {
            return Ok(self.up.rest.begin(header.size, bytes.len(), true));
        }
        match header.kind {
            b'd' => {
                self.up.copy_bytes += header.size as u64;
                return Ok(self.up.rest.begin(header.size, bytes.len(), false));
            }
            b'c' | b'f' => return self.end_copy(header, bytes),
            b'H' if header.size != HEADER_BYTES => return Err(Error::Length),
            b'H' => return Ok(Step::Pass(header.size)),
            _ if self.reply.copy.is_reading() => return Err(Error::Copying),
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
        self.up.unsynced |= matches!(header.kind, b'B' | b'D' | b'C');
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

    fn sync(&mut self, header: Header) -> Result<Step, Error> {
        if header.size != HEADER_BYTES {
            return Err(Error::Length);
        }
        self.check_room()?;
        self.up.absorbing = false;
        self.up.unsynced = false;
        let reading = self.reply.copy.is_reading();
        let request = if reading {
            Request::MaybeSync
        } else {
            Request::Sync
        };
        self.pipeline.push(Entry::new(request, header.size));
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

    /// CopyDone or CopyFail. Outside of a copy the upstream ignores them.
    fn end_copy(&mut self, header: Header, bytes: &[u8]) -> Result<Step, Error> {
        if header.kind == b'c' && header.size != HEADER_BYTES {
            return Err(Error::Length);
        }
        self.check_room()?;
        match &mut self.reply.copy {
            Copy::In { ended } | Copy::Both { ended } => *ended = true,
            Copy::None | Copy::Out => {}
        }
        if self.pipeline.front().is_some() {
            self.pipeline
                .push(Entry::new(Request::CopyEnd, header.size));
        }
        Ok(self.up.rest.begin(header.size, bytes.len(), false))
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
                let before = self.see(&mut entry, seen, None);
                // It ends what was begun without a Sync.
                self.up.unsynced = false;
                self.push_statement(entry, meaning, size);
                Ok(Step::cleared(size, clearance, before))
            }
            Err(obstacle) => Ok(self.stop(Request::Query, size, obstacle, out)),
        }
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

    fn bind(&mut self, size: usize, body: &[u8], out: &mut dyn Effects) -> Result<Step, Error> {
        let bind = request::bind(body)?;
        let mut entry = Entry::new(Request::Bind, size);
        let statement = significant(bind.statement).and_then(|name| {
            self.statements
                .look_up(name, self.pipeline.segment())
                .one()
                .cloned()
        });
        // It is planned now, and what is planned is computed in part.
        match self.plan(statement.as_deref(), out) {
            Plan::Wait => return Ok(self.wait()),
            Plan::Refused(wording) => return Ok(self.refuse(Request::Bind, size, wording)),
            Plan::As { clean } => entry.clean = clean,
        }
        let Some(name) = significant(bind.portal) else {
            // A name that cannot be followed: whoever executes it executes the unknown.
            self.pipeline.push(entry);
            return Ok(Step::Pass(size));
        };
        if !self.portals.contains(name) && self.portals.len() >= self.shared.limits.portals {
            return Ok(self.refuse(Request::Bind, size, Wording::Limited("limits.portals")));
        }
        let mut parameters = std::mem::take(&mut self.spare);
        let limits = &self.shared.limits;
        let keep = Keep {
            value_bytes: limits.parameter_bytes,
            total_bytes: limits.parameters_bytes,
        };
        let type_of = |index| {
            statement
                .as_ref()
                .map_or(0, |statement| statement.parameter_type(index))
        };
        record_values(
            &mut parameters,
            bind.values.iter(),
            type_of,
            &self.shared.types,
            keep,
        );
        let held = match name {
            [] => None,
            _ => Some(size_of_values(&parameters)),
        };
        if held.is_some_and(|bytes| !self.has_room(bytes)) {
            return Ok(self.refuse(Request::Bind, size, Wording::Limited(HELD)));
        }
        let portal = Portal {
            statement,
            parameters,
            stamp: self.stamp(),
            _share: held.map(|bytes| self.held.share(bytes)),
        };
        self.name_portal(&mut entry, name);
        let position = self.pipeline.next();
        let (name, unused) = self.portals.change(name, position, Some(portal));
        if let Some(portal) = unused {
            self.reuse(portal);
        }
        self.changes.push(Change::Portal(name));
        entry.changes = true;
        self.pipeline.push(entry);
        Ok(Step::Pass(size))
    }

    fn execute(&mut self, size: usize, body: &[u8], out: &mut dyn Effects) -> Result<Step, Error> {
        let name = request::execute(body)?;
        let segment = self.pipeline.segment();
        let portal = significant(name).and_then(|name| self.portals.look_up(name, segment).one());
        // It runs as it was planned when it was bound, if it is what was bound.
        let is_stale =
            self.stamp() != portal.and_then(|portal| portal.stamp) || self.may_be_declared(name);
        let statement = portal.and_then(|portal| portal.statement.clone());
        let own = statement
            .as_deref()
            .and_then(|statement| self.read_again(statement));
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
        // They are kept with the statement, unless it means something else by now.
        let attributes = match &statement {
            Some(statement) if statement.means(meaning.as_ref()) => {
                Cow::Borrowed(&statement.attributes)
            }
            _ => Cow::Owned(attributes(meaning.as_deref(), Phase::Execute)),
        };
        let question = Question {
            meaning: meaning.as_deref(),
            text: &text,
            parameters: &[],
            attributes: &attributes,
            phase: Phase::Execute,
            is_stale,
        };
        let mut seen = match self.look(own.as_ref(), &question, out) {
            Look::Wait => return Ok(self.wait()),
            Look::Plain => None,
            Look::Seen(seen) => Some(seen),
        };
        let portal = significant(name).and_then(|name| self.portals.look_up(name, segment).one());
        let question = Question {
            parameters: portal.map_or(&[], |portal| portal.parameters.as_slice()),
            ..question
        };
        match ask(&question, seen.as_deref_mut(), &self.shared, out) {
            Ok(clearance) => {
                let mut entry = Entry::new(Request::Execute, size);
                entry.operation = clearance.id().seq;
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
        let limits = &self.shared.limits;
        let keep = Keep {
            value_bytes: limits.parameter_bytes,
            total_bytes: limits.parameters_bytes,
        };
        let mut parameters = Vec::new();
        record_values(
            &mut parameters,
            call.values.iter(),
            |_| 0,
            &self.shared.types,
            keep,
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
                self.pipeline.push(entry);
                Ok(Step::Cleared(size, clearance))
            }
            Err(obstacle) => Ok(self.stop(Request::FunctionCall, size, obstacle, out)),
        }
    }

    /// The request stays where it is until the catalogue is there. Its first reader asks for it.
    fn wait(&self) -> Step {
        match self.pipeline.is_empty() {
            true => Step::Load,
            false => Step::Wait,
        }
    }

    /// A request that got no clearance: it is refused, or stays where it is until a human answers.
    fn stop(
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
    fn refuse(&mut self, request: Request, size: usize, wording: Wording) -> Step {
        let words = wording.for_upstream();
        let instead = match request {
            Request::Query => request::failing_query(&words),
            Request::FunctionCall => request::failing_function_call(),
            _ => request::failing_parse(&words),
        };
        self.refusals.push(wording);
        let mut entry = Entry::new(request, size);
        entry.refused = true;
        self.pipeline.push(entry);
        self.up.absorbing |= request.is_extended();
        Step::Replace(size, instead)
    }

    fn has_room(&self, bytes: usize) -> bool {
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

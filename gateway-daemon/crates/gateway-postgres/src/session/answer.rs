//! The upstream's messages once it is ready: which request each answers, and what that settles.
use super::names::Outcome;
use super::pipeline::{Entry, Own, Request};
use super::serving::{Change, Copy, Fault, Reply, Rest, Serving, Step};
use crate::codec::response::{self, Transaction};
use crate::codec::{HEADER_BYTES, Header};
use crate::error::Error;
use crate::interpret::{Classification, PreparedChange};
use crate::mask::row;
use gateway_protocol::{Answer, Effects, ProtocolError};
use std::sync::{Arc, Weak};

/// The text could not be parsed.
const SYNTAX_ERROR: &[u8] = b"42601";

/// May a message of this kind be part of the answer to this request?
const fn answers(request: Request, kind: u8) -> bool {
    match request {
        Request::Query => {
            matches!(
                kind,
                b'T' | b'D' | b'C' | b'I' | b'G' | b'H' | b'W' | b'd' | b'c'
            )
        }
        Request::Execute => {
            matches!(
                kind,
                b'D' | b'C' | b'I' | b's' | b'G' | b'H' | b'W' | b'd' | b'c'
            )
        }
        Request::Parse => kind == b'1',
        Request::Bind => kind == b'2',
        Request::Close => kind == b'3',
        Request::DescribeStatement => matches!(kind, b't' | b'T' | b'n'),
        Request::DescribePortal => matches!(kind, b'T' | b'n'),
        Request::FunctionCall => kind == b'V',
        Request::Sync => false,
    }
}

/// Why an answer ends.
const LONG_ROW: &str =
    "gateway: a row with masked fields is longer than limits.masked_row_bytes, or cannot be read";
const UNREADABLE_COPY: &str = "gateway: what is copied cannot be masked: its format is not known \
     here, or the catalogue is being changed; try again later in that case";

impl Serving {
    /// Takes the message that `bytes` begin with.
    pub(super) fn step_answer(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        match header.kind {
            b'D' => return self.data_row(header, bytes, out),
            b'd' => return self.copy_data(header, bytes, out),
            b'C' => return self.command_complete(header, bytes, out),
            b'Z' => return self.ready(header, bytes, out),
            b'E' => return self.error(header, bytes, out),
            b'S' => return self.parameter_status(header, bytes, out),
            b't' => return self.parameter_description(header, bytes),
            b'N' => return self.notice(header, bytes, out),
            b'A' => return self.notification(header, bytes, out),
            b'T' => return self.row_description(header, bytes, out),
            b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'c' => {
                if header.size != HEADER_BYTES {
                    return Err(Error::Length.into());
                }
                return self.bare(header, bytes, out);
            }
            b'G' | b'H' | b'W' => return self.begin_copy(header, bytes),
            b'V' => {
                self.expect(header)?;
                self.reply.statements += 1;
            }
            b'R' | b'K' | b'v' => return Err(Error::Order.into()),
            _ => return Err(Error::Type.into()),
        }
        Ok(self.down.begin(header.size, bytes.len(), false))
    }

    /// The request that a message of this kind answers.
    fn expect(&mut self, header: Header) -> Result<Entry, Fault> {
        let entry = self.front_for(header)?;
        self.reply.bytes += header.size as u64;
        Ok(entry)
    }

    /// The same, for a message that may not be whole yet.
    fn front_for(&mut self, header: Header) -> Result<Entry, Fault> {
        match self.pipeline.front() {
            Some(entry) if entry.refused => Err(Error::Accepted.into()),
            Some(entry) if answers(entry.request, header.kind) => Ok(entry),
            _ => Err(Error::Unasked.into()),
        }
    }

    /// Messages without a body.
    fn bare(&mut self, header: Header, bytes: &[u8], out: &mut dyn Effects) -> Result<Step, Fault> {
        let entry = self.expect(header)?;
        match (header.kind, entry.request) {
            (b'c', _) => match self.reply.copy {
                Copy::Out => {
                    self.reply.copy = Copy::None;
                    if let Some(copy) = self.copy_stream() {
                        copy.finish().map_err(|_| Error::Value)?;
                    }
                }
                Copy::Both { .. } => {}
                Copy::None | Copy::In { .. } => return Err(Error::Unasked.into()),
            },
            (b'I', Request::Query) => {
                self.reply.statements += 1;
                if entry.viewed {
                    self.statement_answered();
                }
            }
            _ => {
                self.finish_request(Outcome::Done, out)?;
            }
        }
        Ok(self
            .down
            .begin(header.size, bytes.len(), entry.own != Own::No))
    }

    fn row_description(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let entry = self.front_for(header)?;
        let own = entry.own != Own::No;
        let copied = own && entry.request == Request::DescribeStatement;
        // What the gateway asks about a portal, it asks for the request behind it.
        let (viewed, recorded) = match self.pipeline.second().filter(|_| own) {
            Some(next) => (copied || next.viewed, !copied && next.recorded),
            None => (entry.viewed, entry.recorded),
        };
        let step = if own || viewed || recorded {
            let Some(body) = self.control(header, bytes)? else {
                return Ok(Step::Wait);
            };
            if viewed {
                self.described(own, copied, body)?;
            }
            if recorded {
                self.record_result(viewed, body)?;
            }
            match own {
                true => Step::Drop(header.size),
                false => Step::Pass(header.size),
            }
        } else {
            self.down.begin(header.size, bytes.len(), false)
        };
        self.expect(header)?;
        if entry.request != Request::Query {
            self.finish_request(Outcome::Done, out)?;
        }
        Ok(step)
    }

    /// A row: looked into where something in it may be sensitive.
    fn data_row(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let entry = self.front_for(header)?;
        if entry.own != Own::No {
            let Some(body) = self.control(header, bytes)? else {
                return Ok(Step::Wait);
            };
            match self.path_asked {
                true => self.path_row(body)?,
                false => self.own_row(body),
            }
            return Ok(Step::Drop(header.size));
        }
        if entry.viewed {
            let Some(count) = bytes.get(HEADER_BYTES..HEADER_BYTES + 2) else {
                return Ok(Step::Wait);
            };
            self.check_row(count)?;
        }
        let limit = self.shared.limits.masked_row_bytes;
        if entry.viewed && self.columns_of_row().is_some() {
            if header.size > limit {
                self.expect(header)?;
                return self.long_row(header, bytes, out);
            }
            let Some(body) = bytes.get(HEADER_BYTES..header.size) else {
                return Ok(Step::Wait);
            };
            self.expect(header)?;
            self.reply.data_rows += 1;
            let mut made = std::mem::take(&mut self.made);
            let changed = match self.columns_of_row() {
                Some(columns) => row::rewrite(body, columns, out.masker(), &mut made),
                None => Ok(false),
            };
            if entry.recorded {
                let row = match changed {
                    Ok(true) => made.get(HEADER_BYTES..).unwrap_or_default(),
                    _ => body,
                };
                self.record_row(row, out)?;
            }
            self.made = made;
            return Ok(match changed? {
                true => Step::Made(header.size),
                false => Step::Pass(header.size),
            });
        }
        if entry.recorded && !self.record_passing_row(header, bytes, out)? {
            return Ok(Step::Wait);
        }
        self.expect(header)?;
        self.reply.data_rows += 1;
        Ok(self.down.begin(header.size, bytes.len(), false))
    }

    /// A row that is too long to be looked into: the client gets another one in its place, or the
    /// answer ends, as the policy says.
    fn long_row(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let count = bytes.get(HEADER_BYTES..HEADER_BYTES + 2);
        let count = count.and_then(|count| count.first_chunk());
        let columns = self.columns_of_row().filter(|columns| columns.may_cut());
        let (Some(count), Some(columns)) = (count, columns) else {
            return Ok(self.cut(header, bytes, LONG_ROW));
        };
        let mut made = Vec::new();
        row::cut(u16::from_be_bytes(*count), columns, out.masker(), &mut made);
        self.reply.data_rows += 1;
        if self.pipeline.front().is_some_and(|entry| entry.recorded) {
            self.record_row(made.get(HEADER_BYTES..).unwrap_or_default(), out)?;
        }
        self.made.extend_from_slice(&made);
        Ok(self.drop_rest(header, bytes))
    }

    /// The answer cannot be looked into: it ends here with an error.
    fn cut(&mut self, header: Header, bytes: &[u8], why: &str) -> Step {
        let words = self.cut_answer(why);
        self.made.extend_from_slice(&words);
        self.drop_rest(header, bytes)
    }

    /// What was made takes the place of this message, which may still be on its way.
    fn drop_rest(&mut self, header: Header, bytes: &[u8]) -> Step {
        let taken = header.size.min(bytes.len());
        self.down = Rest {
            bytes: header.size - taken,
            drop: true,
        };
        Step::Made(taken)
    }

    /// A notice: it may quote what is masked.
    fn notice(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        if self.masking.is_none() {
            return Ok(self.down.begin(header.size, bytes.len(), false));
        }
        let Some(body) = self.control(header, bytes)? else {
            return Ok(Step::Wait);
        };
        let front = self.pipeline.front();
        let covered = self.cover_words(b'N', front, body, out)?;
        Ok(Step::covered(header.size, covered))
    }

    fn parameter_description(&mut self, header: Header, bytes: &[u8]) -> Result<Step, Fault> {
        let Some(body) = self.control(header, bytes)? else {
            return Ok(Step::Wait);
        };
        let entry = self.expect(header)?;
        if entry.own != Own::No {
            return Ok(Step::Drop(header.size));
        }
        let types = response::parameter_description(body)?;
        if let Some(statement) = self.described.front().and_then(Weak::upgrade) {
            statement.describe(types);
        }
        Ok(Step::Pass(header.size))
    }

    fn parameter_status(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &dyn Effects,
    ) -> Result<Step, Fault> {
        let Some(body) = self.control(header, bytes)? else {
            return Ok(Step::Wait);
        };
        let (name, value) = response::parameter_status(body)?;
        self.settings.reported(name, value);
        let covered = self.search_texts(b'S', 0, body, out);
        Ok(Step::covered(header.size, covered))
    }

    /// A NotificationResponse: a process, and two texts.
    fn notification(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &dyn Effects,
    ) -> Result<Step, Fault> {
        if self.masking.is_none() {
            return Ok(self.down.begin(header.size, bytes.len(), false));
        }
        let Some(body) = self.control(header, bytes)? else {
            return Ok(Step::Wait);
        };
        let covered = self.search_texts(b'A', 4, body, out);
        Ok(Step::covered(header.size, covered))
    }

    fn begin_copy(&mut self, header: Header, bytes: &[u8]) -> Result<Step, Fault> {
        let Some(body) = self.control(header, bytes)? else {
            return Ok(Step::Wait);
        };
        let entry = self.expect(header)?;
        self.reply.copied = true;
        self.reply.copy = match header.kind {
            b'H' => Copy::Out,
            // From here on the upstream takes nothing but copy data. What it would take for that
            // must not be on its way.
            _ if !entry.alone => return Err(Error::Unasked.into()),
            b'G' => Copy::In { ended: false },
            _ => Copy::Both { ended: false },
        };
        let described = self.copied_query().filter(|_| entry.recorded);
        if header.kind == b'H' && entry.viewed && !self.begin_copy_out(body)? {
            return Ok(self.cut(header, bytes, UNREADABLE_COPY));
        }
        if header.kind == b'H' && entry.recorded {
            self.record_copy(entry.viewed, body, described)?;
        }
        Ok(Step::Pass(header.size))
    }

    fn copy_data(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let entry = self.front_for(header)?;
        if !matches!(self.reply.copy, Copy::Out | Copy::Both { .. }) {
            return Err(Error::Unasked.into());
        }
        let limit = self.shared.limits.masked_row_bytes;
        if self.copy_stream().is_none() {
            if entry.recorded && !self.record_passing_data(header, bytes, out)? {
                return Ok(Step::Wait);
            }
            self.expect(header)?;
            return Ok(self.down.begin(header.size, bytes.len(), false));
        }
        if header.size > limit {
            self.expect(header)?;
            return Ok(self.cut(header, bytes, LONG_ROW));
        }
        let Some(body) = bytes.get(HEADER_BYTES..header.size) else {
            return Ok(Step::Wait);
        };
        self.expect(header)?;
        let mut made = std::mem::take(&mut self.made);
        let taken = self
            .copy_stream()
            .map(|copy| copy.take(body, out.masker(), &mut made));
        if entry.recorded && !matches!(taken, Some(Err(_))) {
            self.record_data(made.get(HEADER_BYTES..).unwrap_or_default(), out)?;
        }
        self.made = made;
        if matches!(taken, Some(Err(_))) {
            self.made.clear();
            return Ok(self.cut(header, bytes, LONG_ROW));
        }
        Ok(Step::Made(header.size))
    }

    fn command_complete(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let Some(body) = self.control(header, bytes)? else {
            return Ok(Step::Wait);
        };
        let tag = response::command_tag(body)?;
        let entry = self.expect(header)?;
        if entry.own != Own::No {
            match entry.request {
                Request::Query => self.reply.statements += 1,
                _ => {
                    self.own_answered();
                    self.finish_request(Outcome::Done, out)?;
                }
            }
            return Ok(Step::Drop(header.size));
        }
        match std::mem::take(&mut self.reply.copy) {
            Copy::In { ended: false } => return Err(Error::Unasked.into()),
            Copy::None | Copy::Out | Copy::In { .. } | Copy::Both { .. } => {}
        }
        self.settings.completed(tag);
        self.reply.statements += 1;
        if let Some(recording) = &mut self.recording {
            recording.end_result();
        }
        if let Some(rows) = response::rows(tag) {
            self.reply.rows = Some(self.reply.rows.unwrap_or(0).saturating_add(rows));
        }
        match entry.request {
            Request::Execute => {
                if !entry.is_unsure {
                    self.portal_executed();
                }
                self.finish_request(Outcome::Done, out)?;
            }
            _ if entry.viewed => self.statement_answered(),
            _ => {}
        }
        Ok(Step::Pass(header.size))
    }

    fn ready(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        if header.size != HEADER_BYTES + 1 {
            return Err(Error::Length.into());
        }
        let Some(body) = bytes.get(HEADER_BYTES..header.size) else {
            return Ok(Step::Wait);
        };
        let transaction = response::ready(body)?;
        let entry = match self.pipeline.front() {
            Some(entry) if entry.request.ends_ready() => entry,
            _ => return Err(Error::Unasked.into()),
        };
        if entry.refused && !self.reply.refused {
            return Err(Error::Accepted.into());
        }
        let failed = self.reply.error.is_some();
        let answered = failed || self.reply.refused || self.reply.statements > 0;
        if self.reply.copy != Copy::None || entry.request != Request::Sync && !answered {
            return Err(Error::Unasked.into());
        }
        self.reply.bytes += header.size as u64;
        let outcome = if failed {
            Outcome::Failed
        } else {
            Outcome::Done
        };
        let position = self.finish_request(outcome, out)?;
        self.settings.ready(position, transaction);
        self.transaction = transaction;
        if entry.own != Own::No {
            match std::mem::take(&mut self.path_asked) {
                true => self.path_answered(),
                false => self.end_loading(out),
            }
            return Ok(Step::Drop(header.size));
        }
        self.masking_ready(transaction);
        if transaction == Transaction::Idle
            && let Some(portal) = self.portals.clear()
        {
            self.reuse(portal);
        }
        Ok(Step::Pass(header.size))
    }

    fn error(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        let Some(body) = self.control(header, bytes)? else {
            return Ok(Step::Wait);
        };
        let fields = response::error(body)?;
        if fields.is_fatal() {
            self.upstream_leaves = true;
            let front = self.pipeline.front();
            let covered = self.cover_words(b'E', front, body, out)?;
            let words = covered
                .as_deref()
                .and_then(|words| words.get(HEADER_BYTES..));
            self.reply.error = Some(words.map_or(Ok(fields), response::error)?.summary());
            self.abandon("the server closed the connection before it answered", out)?;
            return Ok(Step::covered(header.size, covered));
        }
        let entry = loop {
            match self.pipeline.front() {
                // What the gateway asks before a request fails in that request's place.
                Some(Entry {
                    own: Own::Within, ..
                }) => {
                    self.finish_request(Outcome::Failed, out)?;
                }
                Some(entry) => break entry,
                // A timeout has run out behind what was answered, before a Sync.
                None if self.up.unsynced => {
                    self.settings.failed(false);
                    self.up.absorbing = true;
                    let covered = self.cover_words(b'E', None, body, out)?;
                    return Ok(Step::covered(header.size, covered));
                }
                None => return Err(Error::Unasked.into()),
            }
        };
        self.settings.failed(self.reply.statements > 0);
        if entry.own != Own::No {
            return self.own_error(header.size, entry, fields, out);
        }
        let covered = match entry.refused {
            true => None,
            false => self.cover_words(b'E', Some(entry), body, out)?,
        };
        let step = if entry.refused && !self.reply.refused {
            self.reply.refused = true;
            let wording = self.refusals.pop().ok_or(Error::Unasked)?;
            Step::Replace(
                header.size,
                wording.for_client(self.settings.text_is_utf8()),
            )
        } else {
            self.reply.bytes += header.size as u64;
            self.reply.is_syntax_error = fields.code == SYNTAX_ERROR;
            if self.reply.error.is_none() {
                let covered = covered
                    .as_deref()
                    .and_then(|words| words.get(HEADER_BYTES..));
                let fields = covered.map_or(Ok(fields), response::error)?;
                self.reply.error = Some(fields.summary());
            }
            Step::covered(header.size, covered)
        };
        self.reply.copy = Copy::None;
        if entry.request.is_extended() {
            self.finish_request(Outcome::Failed, out)?;
            self.skip_to_sync(out)?;
        }
        self.send_early_syncs(out);
        Ok(step)
    }

    /// A question of the gateway's own failed. Behind one of the extended protocol the upstream skips
    /// the rest; behind a Query and a Sync it says that it is ready.
    fn own_error(
        &mut self,
        size: usize,
        entry: Entry,
        fields: response::ErrorFields<'_>,
        out: &mut dyn Effects,
    ) -> Result<Step, Fault> {
        match self.path_asked {
            true => self.path_failed(fields.code),
            false => self.own_failed(),
        }
        if entry.request.is_extended() {
            self.finish_request(Outcome::Failed, out)?;
            self.skip_to_sync(out)?;
        } else {
            self.reply.error = Some(fields.summary());
        }
        Ok(Step::Drop(size))
    }

    /// The upstream ignores what was asked up to the next Sync.
    fn skip_to_sync(&mut self, out: &mut dyn Effects) -> Result<(), ProtocolError> {
        loop {
            match self.pipeline.front() {
                Some(Entry {
                    request: Request::Sync,
                    ..
                }) => return Ok(()),
                Some(_) => {
                    self.reply.error = Some(Arc::clone(&self.shared.skipped));
                    self.finish_request(Outcome::Failed, out)?;
                }
                None => {
                    self.up.absorbing = true;
                    return Ok(());
                }
            }
        }
    }

    /// No request that is open will be answered any more.
    pub(super) fn abandon(
        &mut self,
        why: &str,
        out: &mut dyn Effects,
    ) -> Result<(), ProtocolError> {
        let why: Arc<str> = Arc::from(why);
        self.complete_login(Some(Arc::clone(&why)), out)?;
        while self.pipeline.front().is_some() {
            self.reply.error.get_or_insert_with(|| Arc::clone(&why));
            self.finish_request(Outcome::Unsure, out)?;
        }
        Ok(())
    }

    /// Takes the first request off the pipeline: it is answered, or it never will be. Returns its
    /// position.
    fn finish_request(
        &mut self,
        outcome: Outcome,
        out: &mut dyn Effects,
    ) -> Result<u64, ProtocolError> {
        if self.pipeline.front().is_some_and(|entry| entry.recorded) {
            self.end_recording(outcome, out)?;
        }
        if self.pipeline.front().is_some_and(|entry| entry.viewed) {
            self.view_answered();
        }
        let reply = std::mem::take(&mut self.reply);
        let Some((position, entry)) = self.pipeline.pop() else {
            return Ok(0);
        };
        if entry.names_cursor {
            self.settle_cursor(outcome);
        }
        if entry.changes {
            self.settle_change(entry, outcome, &reply);
        }
        if entry.describes {
            self.described.pop();
        }
        if entry.refused && !reply.refused {
            self.refusals.pop();
        }
        if entry.operation != 0 {
            let copied = if reply.copied {
                std::mem::take(&mut self.up.copy_bytes)
            } else {
                0
            };
            let rows = reply
                .rows
                .or((reply.data_rows > 0).then_some(reply.data_rows));
            let answer = Answer {
                rows,
                bytes_up: u64::from(entry.bytes_up) + copied,
                bytes_down: reply.bytes,
                error: reply.error,
                masked: reply.masked,
                disclosed: reply.disclosed,
            };
            out.complete(self.operation(entry.operation), answer)?;
        }
        Ok(position)
    }

    /// The oldest open change has happened, or it has not.
    fn settle_change(&mut self, entry: Entry, outcome: Outcome, reply: &Reply) {
        let (is_syntax_error, statements) = (reply.is_syntax_error, reply.statements);
        match self.changes.pop() {
            Some(Change::Statement(name)) => _ = self.statements.settle(&name, outcome),
            Some(Change::Portal(name)) => {
                if let Some(portal) = self.portals.settle(&name, outcome) {
                    self.reuse(portal);
                }
            }
            Some(Change::Session { meaning, names, .. }) => {
                let whole = entry.request == Request::Execute
                    || is_syntax_error && is_unreadable(meaning.as_deref())
                    || meaning
                        .as_ref()
                        .is_some_and(|meaning| meaning.statements == 1);
                let outcome = match outcome {
                    // Of several statements, those before the one that failed have left their marks. So has
                    // one that failed when it was done: when what was begun before it was committed with
                    // it, or when something was said about it.
                    Outcome::Failed if !whole || entry.alone || statements > 0 => Outcome::Unsure,
                    // What had this name may be gone, and another be there: a cursor.
                    Outcome::Done if entry.is_unsure => Outcome::Unsure,
                    outcome => outcome,
                };
                self.settings.answered(meaning.as_deref(), outcome);
                self.settle_prepared(meaning.as_deref(), &names, outcome);
            }
            None => {}
        }
    }

    fn settle_prepared(
        &mut self,
        meaning: Option<&Classification>,
        names: &[super::names::Name],
        outcome: Outcome,
    ) {
        for name in names {
            self.statements.settle(name, outcome);
        }
        let changes = meaning.map_or(&[PreparedChange::Unknown][..], |meaning| {
            &meaning.changes.prepared
        });
        for change in changes {
            match (change, outcome) {
                (_, Outcome::Failed) => {}
                (PreparedChange::Unknown, _) => self.statements.blur(),
                (PreparedChange::DeallocateAll, Outcome::Done) if changes.len() == 1 => {
                    self.statements.clear_named();
                }
                _ => {}
            }
        }
    }
}

fn is_unreadable(meaning: Option<&Classification>) -> bool {
    meaning.is_none_or(|meaning| meaning.statements == 0)
}

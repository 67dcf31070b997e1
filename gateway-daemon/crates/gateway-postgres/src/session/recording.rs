//! Answers that the policy wants kept: what the client got, as text.
//!
//! What the policy calls sensitive is not written down, whoever may see it. So an answer that could
//! have something sensitive in it is looked at through a veil: the view of a policy that covers all
//! of it. What the client got covered already, is written down as the client got it.
use super::masking::{View, table_columns};
use super::names::Outcome;
use super::serving::Serving;
use crate::codec::value::{self, describe as describe_value};
use crate::codec::{HEADER_BYTES, Header, Reader};
use crate::error::Error;
use crate::interpret::Classification;
use crate::interpret::flow::{CopyFormat, CopySource};
use crate::mask::columns::{Action, Column, Columns, Description, describe};
use crate::mask::copy::CopyStream;
use crate::mask::outlook::Outlook;
use crate::mask::value::{Kind, Shape};
use crate::mask::veil::{Veil, search_value};
use crate::mask::words;
use gateway_core::answer::Row;
use gateway_core::mask::Treatment;
use gateway_core::{Excerpt, Masker, Masks};
use gateway_protocol::{Effects, ProtocolError};
use std::sync::Arc;

/// A row or message that is longer is not read, unless masks need it whole. It is also the most
/// that is kept of a value.
const READ_BYTES_MAX: usize = 64 * 1024;

/// How an answer is to be kept.
#[derive(Debug)]
pub(super) struct Keeping {
    bytes: u32,
    /// `None`: nothing in it is sensitive.
    veil: Option<Arc<View>>,
}

impl Keeping {
    /// `None`: nothing is kept.
    pub(super) fn of(bytes: u32, veil: Option<View>) -> Option<Keeping> {
        let veil = veil.map(Arc::new);
        (bytes > 0).then_some(Keeping { bytes, veil })
    }
}

/// A column of the result that comes.
#[derive(Clone, Copy, Debug)]
struct Shown {
    type_oid: u32,
    binary: bool,
    /// It is not written down.
    covered: bool,
}

/// Copy data that comes.
#[derive(Debug, Default)]
enum Copied {
    /// None that is kept.
    #[default]
    No,
    /// As it is.
    Plain,
    /// Through the veil.
    Veiled(CopyStream),
    /// Only how much it is, and why.
    Counted(u64, &'static str),
}

const BINARY: &str = "in binary format";
const UNREAD: &str = "that cannot be shown to be free of masked values";

/// The answer to the first request of the pipeline, as far as it is kept.
#[derive(Debug)]
pub(super) struct Recording {
    excerpt: Excerpt,
    veil: Option<Arc<View>>,
    /// `None`: nobody has described them.
    columns: Option<Vec<Shown>>,
    /// The names of the columns of a result that has no row yet.
    names: Option<Vec<Arc<str>>>,
    copied: Copied,
}

impl Recording {
    fn of(keeping: &Keeping) -> Recording {
        Recording {
            excerpt: Excerpt::new(keeping.bytes as usize),
            veil: keeping.veil.clone(),
            columns: None,
            names: None,
            copied: Copied::No,
        }
    }

    /// A result begins. `columns`: what the client gets of it, where masks look at it.
    fn result(&mut self, described: &[Description], statement: usize, columns: Option<&Columns>) {
        self.end_result();
        let veiled = self.veil.as_ref();
        let veiled = veiled.map(|veil| veil.columns(statement, described));
        let shown = |(index, described): (usize, &Description)| Shown {
            type_oid: described.type_oid,
            binary: described.binary,
            covered: !columns.is_some_and(|columns| columns.covers(index))
                && veiled
                    .as_ref()
                    .is_some_and(|veiled| veiled.action(index) != Some(Action::Show)),
        };
        let name = |described: &Description| value::text(&described.name, READ_BYTES_MAX).into();
        self.columns = Some(described.iter().enumerate().map(shown).collect());
        self.names = Some(described.iter().map(name).collect());
    }

    /// The result is whole. One without rows has columns all the same.
    pub(super) fn end_result(&mut self) {
        self.name_columns();
        if let Copied::Counted(bytes, why) = std::mem::take(&mut self.copied) {
            match self.excerpt.is_full() {
                true => self
                    .excerpt
                    .skip_text(usize::try_from(bytes).unwrap_or(usize::MAX)),
                false => self.excerpt.text(&format!("[{bytes} bytes {why}]\n")),
            }
        }
        self.columns = None;
    }

    /// How many bytes the values of a row have.
    fn size_of_values(&self, body: usize) -> usize {
        let columns = self.columns.as_ref().map_or(0, Vec::len);
        body.saturating_sub(2 + 4 * columns)
    }

    /// A row comes.
    fn name_columns(&mut self) {
        if let Some(names) = self.names.take() {
            self.excerpt.columns(names);
        }
    }

    /// A row, as the client gets it.
    fn row(&mut self, body: &[u8], masker: &dyn Masker) -> Result<(), Error> {
        self.name_columns();
        if self.excerpt.is_full() {
            self.excerpt.skip_row(self.size_of_values(body.len()));
            return Ok(());
        }
        let mut reader = Reader::new(body);
        let count = usize::from(reader.u16()?);
        let mut row = Row::with_capacity(count);
        for index in 0..count {
            let value = reader.value()?;
            row.push(value.map(|value| self.value(index, value, masker)));
        }
        reader.end()?;
        self.excerpt.row(row);
        Ok(())
    }

    /// A value as it may be written down.
    fn value(&mut self, index: usize, value: &[u8], masker: &dyn Masker) -> String {
        let shown = self.columns.as_ref().and_then(|columns| columns.get(index));
        let shown = shown.copied().unwrap_or(Shown {
            type_oid: 0,
            binary: false,
            covered: self.veil.is_some(),
        });
        if shown.covered {
            return String::from_utf8_lossy(&words::constant(masker)).into_owned();
        }
        let mut text = String::new();
        let whole = describe_value(
            &mut text,
            value,
            shown.binary,
            shown.type_oid,
            READ_BYTES_MAX,
        );
        if let Some(whole) = whole {
            let cut = usize::try_from(whole).unwrap_or(usize::MAX);
            self.excerpt.skip_text(cut.saturating_sub(text.len()));
            text.push('\u{2026}');
        }
        match &self.veil {
            Some(veil) => search_value(value, text, &**veil.masks(), masker),
            None => text,
        }
    }

    /// Copy data, as the client gets it.
    fn data(&mut self, data: &[u8], masker: &dyn Masker) {
        if self.excerpt.is_full() {
            return self.unread_data(data.len());
        }
        match &mut self.copied {
            Copied::No => {}
            Copied::Counted(bytes, _) => *bytes += data.len() as u64,
            Copied::Plain => self.excerpt.text(&String::from_utf8_lossy(data)),
            Copied::Veiled(stream) => {
                let mut made = Vec::new();
                if stream.take(data, masker, &mut made).is_err() {
                    return self.unread_data(data.len());
                }
                let rows = made.get(HEADER_BYTES..).unwrap_or_default();
                self.excerpt.text(&String::from_utf8_lossy(rows));
            }
        }
    }

    /// Copy data that is not read.
    fn unread_data(&mut self, bytes: usize) {
        let is_full = self.excerpt.is_full();
        match &mut self.copied {
            Copied::No => {}
            Copied::Counted(counted, _) => *counted += bytes as u64,
            // Where a row begins is not known any more.
            Copied::Veiled(_) if !is_full => {
                self.copied = Copied::Counted(bytes as u64, UNREAD);
            }
            Copied::Plain | Copied::Veiled(_) => {
                if !is_full {
                    self.excerpt.text("\u{2026}\n");
                }
                self.excerpt.skip_text(bytes);
            }
        }
    }
}

impl Serving {
    /// How the answer to a statement is to be kept, in a policy that calls something sensitive.
    pub(super) fn keeping(
        &self,
        bytes: u32,
        masks: &Arc<dyn Masks>,
        outlook: &Outlook,
        meaning: Option<&Arc<Classification>>,
        text: &str,
    ) -> Option<Keeping> {
        if bytes == 0 {
            return None;
        }
        let masks: Arc<dyn Masks> = Arc::new(Veil::of(Arc::clone(masks)));
        let store = &self.shared.store;
        let mut found = self.found();
        let catalogue = outlook.catalogue.as_ref();
        let outlook = store.outlook(&self.database, catalogue, &*masks, Some(&mut found));
        let (flow, inner) = self.flow(meaning, text, &outlook);
        let is_clean = !flow.touches && flow.uses.is_empty() && masks.detectors().is_empty();
        let veil = (!is_clean).then(|| View::veiled(outlook, masks, flow, inner));
        Keeping::of(bytes, veil)
    }

    /// What is kept of the answer that comes; `None` where it is not for the client.
    fn recording(&mut self) -> Option<&mut Recording> {
        if self.is_swallowing() {
            return None;
        }
        let keeping = self.keepings.front()?;
        let recording = self
            .recording
            .get_or_insert_with(|| Box::new(Recording::of(keeping)));
        Some(recording)
    }

    /// The server has described a result that is kept. `viewed`: masks look at it.
    pub(super) fn record_result(&mut self, viewed: bool, body: &[u8]) -> Result<(), Error> {
        let described = describe(body)?;
        let statement = self.reply.statements;
        if self.recording().is_none() {
            return Ok(());
        }
        let mut recording = self.recording.take();
        if let Some(recording) = &mut recording {
            let columns = self.columns_for_client().filter(|_| viewed);
            recording.result(&described, statement, columns);
        }
        self.recording = recording;
        Ok(())
    }

    /// A row, as the client gets it.
    pub(super) fn record_row(
        &mut self,
        body: &[u8],
        out: &mut dyn Effects,
    ) -> Result<(), ProtocolError> {
        if let Some(recording) = self.recording() {
            let row = recording.row(body, out.masker());
            row.map_err(|error| error.of(gateway_protocol::Side::Upstream))?;
        }
        self.keep(out)
    }

    /// A row that nobody else looks into. False: it has to be whole first.
    pub(super) fn record_passing_row(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<bool, ProtocolError> {
        let Some(recording) = self.recording() else {
            return Ok(true);
        };
        recording.name_columns();
        let size = recording.size_of_values(header.size - HEADER_BYTES);
        if recording.excerpt.is_full() {
            recording.excerpt.skip_row(size);
        } else if header.size > READ_BYTES_MAX {
            recording.excerpt.unread_row(size);
        } else {
            let Some(body) = bytes.get(HEADER_BYTES..header.size) else {
                return Ok(false);
            };
            self.record_row(body, out)?;
        }
        Ok(true)
    }

    /// A copy to the client begins. `described`: the columns of the query that is copied.
    pub(super) fn record_copy(
        &mut self,
        viewed: bool,
        body: &[u8],
        described: Option<Vec<Description>>,
    ) -> Result<(), Error> {
        let mut reader = Reader::new(body);
        let binary = reader.byte()? == 1;
        let count = usize::from(reader.u16()?);
        let veil = self.recording().and_then(|found| found.veil.clone());
        let copied = match veil {
            _ if binary => Copied::Counted(0, BINARY),
            None => Copied::Plain,
            Some(veil) => self
                .veiled_copy(&veil, viewed, count, described)
                .map_or(Copied::Counted(0, UNREAD), Copied::Veiled),
        };
        if let Some(recording) = self.recording() {
            recording.copied = copied;
        }
        Ok(())
    }

    /// `None`: it cannot be read on its way.
    fn veiled_copy(
        &self,
        veil: &View,
        viewed: bool,
        count: usize,
        described: Option<Vec<Description>>,
    ) -> Option<CopyStream> {
        let statement = self.reply.statements;
        let plan = veil.copy(statement)?;
        let is_readable = !matches!(plan.format, CopyFormat::Other | CopyFormat::Binary);
        if !is_readable || !self.settings.text_is_utf8() {
            return None;
        }
        let actions: Option<Vec<Action>> = match &plan.source {
            CopySource::Query(_) => described.and_then(|described| {
                let columns = veil.columns(statement, &described);
                (0..described.len()).map(|at| columns.action(at)).collect()
            }),
            CopySource::Table { .. } => table_columns(veil, plan)
                .map(|list| list.iter().map(|column| column.action).collect()),
        };
        let actions = actions.filter(|actions| actions.len() == count);
        let actions = actions.unwrap_or_else(|| vec![Action::Cover(Treatment::Redact); count]);
        let client = self.client_copy().filter(|_| viewed);
        // Nobody reads it back.
        let kind = Kind {
            shape: Shape::Text { longest: None },
            binary: false,
            not_null: false,
        };
        let column = |(index, action)| {
            let is_covered = client.is_some_and(|columns| columns.covers(index));
            match action == Action::Show || is_covered {
                true => Column::shown(kind),
                false => Column::unproven(kind, Treatment::Redact),
            }
        };
        let list = actions.into_iter().enumerate().map(column).collect();
        let columns = veil.listed(list);
        Some(CopyStream::new(plan.format, columns, READ_BYTES_MAX))
    }

    /// Copy data, as the client gets it.
    pub(super) fn record_data(
        &mut self,
        data: &[u8],
        out: &mut dyn Effects,
    ) -> Result<(), ProtocolError> {
        if data.is_empty() {
            return Ok(());
        }
        if let Some(recording) = self.recording() {
            recording.data(data, out.masker());
        }
        self.keep(out)
    }

    /// Copy data that nobody else looks into. False: the message has to be whole first.
    pub(super) fn record_passing_data(
        &mut self,
        header: Header,
        bytes: &[u8],
        out: &mut dyn Effects,
    ) -> Result<bool, ProtocolError> {
        let Some(recording) = self.recording() else {
            return Ok(true);
        };
        let is_read = matches!(recording.copied, Copied::Plain | Copied::Veiled(_));
        if !is_read || recording.excerpt.is_full() || header.size > READ_BYTES_MAX {
            recording.unread_data(header.size - HEADER_BYTES);
            return Ok(true);
        }
        let Some(body) = bytes.get(HEADER_BYTES..header.size) else {
            return Ok(false);
        };
        self.record_data(body, out)?;
        Ok(true)
    }

    /// The answer to the first request of the pipeline is whole.
    pub(super) fn end_recording(
        &mut self,
        outcome: Outcome,
        out: &mut dyn Effects,
    ) -> Result<(), ProtocolError> {
        if let Some(recording) = &mut self.recording {
            if outcome == Outcome::Failed {
                // What was described never came.
                recording.names = None;
            }
            recording.end_result();
            recording.excerpt.end();
        }
        self.keep(out)?;
        self.recording = None;
        self.keepings.pop();
        Ok(())
    }

    /// What has come so far is kept, before it leaves for the client: what is played back comes
    /// when it came.
    pub(super) fn keep_so_far(&mut self, out: &mut dyn Effects) -> Result<(), ProtocolError> {
        if let Some(recording) = &mut self.recording {
            recording.excerpt.flush();
        }
        self.keep(out)
    }

    /// Hands over what is ready.
    fn keep(&mut self, out: &mut dyn Effects) -> Result<(), ProtocolError> {
        let Some(recording) = &mut self.recording else {
            return Ok(());
        };
        let front = self.pipeline.front().filter(|entry| entry.recorded);
        let Some(entry) = front else { return Ok(()) };
        while let Some(part) = recording.excerpt.next() {
            let id = gateway_core::OperationId {
                session: self.admitted.id().session,
                seq: entry.operation,
            };
            out.answer(id, part)?;
        }
        Ok(())
    }
}

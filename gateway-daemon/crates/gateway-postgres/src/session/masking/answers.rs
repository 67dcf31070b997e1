//! What becomes of answers on their way to the client: rows, copies, errors.

use super::{Masking, View};
use crate::codec::response::{Complaint, Severity};
use crate::error::Error;
use crate::interpret::flow::{CopyFormat, CopyOut, CopySource};
use crate::mask::columns::{Column, Columns, Description, describe};
use crate::mask::copy::CopyStream;
use crate::mask::value::{Kind, Shape};
use crate::mask::words::{self, Source};
use crate::session::pipeline::{Entry, Own, Request};
use crate::session::serving::{Fault, Serving};
use gateway_protocol::Effects;
use std::sync::Arc;

/// "Program limit exceeded".
const LIMITED: &str = "54000";

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

impl Serving {
    /// What the server says about the columns of an answer.
    pub(in crate::session) fn described(
        &mut self,
        own: bool,
        copied: bool,
        body: &[u8],
    ) -> Result<(), Error> {
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
    pub(super) fn is_current(&self, view: &View) -> bool {
        !view.outlook.covers || self.shared.store.generation(&self.database) == view.generation
    }

    /// The columns of the row that comes; `None`: it need not be looked into.
    pub(in crate::session) fn columns_of_row(&mut self) -> Option<&mut Columns> {
        let view = self.views.front()?.clone();
        let masking = self.masking.get_or_insert_default();
        let columns = masking.columns.get_or_insert_with(|| {
            // Rows that nobody has described.
            Columns::covered(Arc::clone(&view.outlook), Arc::clone(&view.masks), 0)
        });
        (columns.looks() || columns.len() == 0).then_some(columns)
    }

    /// The columns of the result that comes, as far as they were looked at.
    pub(in crate::session) fn columns_for_client(&self) -> Option<&Columns> {
        self.masking.as_ref()?.columns.as_ref()
    }

    /// The columns of the copy that comes.
    pub(in crate::session) fn client_copy(&self) -> Option<&Columns> {
        Some(self.masking.as_ref()?.copy.as_ref()?.columns())
    }

    /// The columns of the query that is copied next.
    pub(in crate::session) fn copied_query(&self) -> Option<Vec<Description>> {
        self.masking.as_ref()?.copied.clone()
    }

    /// A row has as many values as its columns were described: `count` is how its body begins.
    pub(in crate::session) fn check_row(&self, count: &[u8]) -> Result<(), Error> {
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
    pub(in crate::session) fn begin_copy_out(&mut self, body: &[u8]) -> Result<bool, Error> {
        let Some(view) = self.views.front().cloned() else {
            return Ok(true);
        };
        let statement = self.reply.statements;
        let plan = view.copy(statement).filter(|_| self.is_current(&view));
        let is_utf8 = view.reads_utf8 && self.settings.text_is_utf8();
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
        if !stream.is_readable() || !is_utf8 && plan.format != CopyFormat::Binary {
            return Ok(!view.outlook.covers);
        }
        masking.copy = Some(stream);
        Ok(true)
    }

    pub(in crate::session) fn copy_stream(&mut self) -> Option<&mut CopyStream> {
        self.masking.as_mut()?.copy.as_mut()
    }

    /// The answer to one statement of a text is whole.
    pub(in crate::session) fn statement_answered(&mut self) {
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
    pub(in crate::session) fn view_answered(&mut self) {
        self.statement_answered();
        self.views.pop();
        if let Some(masking) = &mut self.masking {
            masking.copied = None;
        }
    }

    /// What an error or a notice becomes; `None`: it stays.
    pub(in crate::session) fn cover_words(
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
            // What was called before can run as late as at the end of the transaction.
            let ends = view.is_none_or(|view| view.flow.ends);
            let source = match view {
                _ if ends && masking.calls => Source::Code,
                Some(view) if view.flow.calls || view.is_shifting => Source::Code,
                Some(view) if view.quotes => Source::Values,
                _ => Source::Names,
            };
            return words::cover_message(kind, body, source).map(Some);
        }
        if !own && masking.is_about_sensitive(body)? {
            // Something was done to it that the statement does not show: by a foreign key, perhaps.
            return words::cover_message(kind, body, Source::Values).map(Some);
        }
        // What comes late is of a statement before: a constraint that was deferred.
        let masks = view.map(|view| &view.masks).or(masking.masks.as_ref());
        Ok(masks.and_then(|masks| words::search_message(kind, body, &**masks, out.masker())))
    }

    /// What a message of texts becomes that belongs to no request: `bytes` go before the texts.
    pub(in crate::session) fn search_texts(
        &self,
        kind: u8,
        bytes: usize,
        body: &[u8],
        out: &dyn Effects,
    ) -> Option<Vec<u8>> {
        let masks = self.masking.as_ref()?.masks.as_ref()?;
        words::search_texts(kind, bytes, body, &**masks, out.masker())
    }

    /// Tells the client that the answer ends here; the rest of it is not for the client.
    pub(in crate::session) fn cut_answer(&mut self, message: &str) -> Vec<u8> {
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
    pub(in crate::session) fn is_swallowing(&self) -> bool {
        self.masking.as_ref().is_some_and(|masking| masking.swallow)
    }

    /// Is a message of this kind kept from the client? The end of the answer is not.
    pub(in crate::session) fn swallows(&mut self, kind: u8) -> Result<bool, Fault> {
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
}

/// Does nothing of a view reach beyond the statement itself? The end of a transaction does.
fn asks_cleanly(view: &View) -> bool {
    !view.flow.statements.is_empty() && !view.flow.writes
}

/// The columns of COPY table TO; `None` when it is not certain which those are.
pub(in crate::session) fn table_columns(view: &View, plan: &CopyOut) -> Option<Vec<Column>> {
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
        let kind = Kind {
            shape: Shape::of(type_oid, 0),
            binary: false,
            not_null,
        };
        match view.outlook.marked(oid, number) {
            None => Column::shown(kind),
            Some(marked) => Column::sensitive(kind, &view.outlook, marked),
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

//! What the policy says about one answer.

use crate::interpret::flow::{CopyOut, Flow, Outputs};
use crate::mask::columns::{Column, Columns, Description};
use crate::mask::outlook::Outlook;
use gateway_core::Masks;
use std::sync::Arc;

/// What the policy says about one answer.
#[derive(Debug)]
pub(in crate::session) struct View {
    pub(super) outlook: Arc<Outlook>,
    pub(super) masks: Arc<dyn Masks>,
    pub(super) flow: Arc<Flow>,
    /// What a cursor or a prepared statement returns, where the text is one FETCH or EXECUTE.
    pub(super) inner: Option<Outputs>,
    /// What it returns may come from what was there before, or will be there by then.
    pub(super) is_shifting: bool,
    /// Error texts may quote values.
    pub(super) quotes: bool,
    /// What it copies certainly comes in UTF-8.
    pub(super) reads_utf8: bool,
    /// The database's generation when it was looked at.
    pub(super) generation: u64,
}

impl View {
    /// The same through a veil: of what is kept.
    pub(in crate::session) fn veiled(
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
            quotes: true,
            reads_utf8: false,
            generation: 0,
        }
    }

    pub(in crate::session) fn masks(&self) -> &Arc<dyn Masks> {
        &self.masks
    }

    /// What a statement copies to the client; `None` when it does not, or when the table could be
    /// another by then.
    pub(in crate::session) fn copy(&self, statement: usize) -> Option<&CopyOut> {
        if self.is_shifting {
            return None;
        }
        self.flow.statement(statement)?.copy.as_ref()
    }

    /// Columns that are known.
    pub(in crate::session) fn listed(&self, list: Vec<Column>) -> Columns {
        Columns::of(Arc::clone(&self.outlook), Arc::clone(&self.masks), list)
    }

    fn outputs(&self, statement: usize) -> Outputs {
        match self.flow.statement(statement) {
            _ if self.is_shifting => Outputs::unproven(),
            Some(found)
                if found.fetches.is_none() && (found.executes.is_none() || found.explains) =>
            {
                found.outputs.clone()
            }
            Some(_) if self.flow.statements.len() == 1 => {
                self.inner.clone().unwrap_or_else(Outputs::unproven)
            }
            _ => Outputs::unproven(),
        }
    }

    pub(in crate::session) fn columns(
        &self,
        statement: usize,
        described: &[Description],
    ) -> Columns {
        let outputs = self.outputs(statement);
        let outlook = match self.is_shifting {
            true => Arc::new(Outlook::blind(0, &*self.masks)),
            false => Arc::clone(&self.outlook),
        };
        Columns::new(outlook, Arc::clone(&self.masks), described, &outputs)
    }
}

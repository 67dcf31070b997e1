//! What people did to the gateway itself.
use super::{Pattern, first_since};
use crate::error::ReadError;
use crate::reader::{Reader, Records};
use crate::record::{Act, RecordKind};
use crate::stored::Brief;
use crate::view::ActView;
use gateway_core::Timestamp;
use std::sync::Arc;

/// Which acts are looked for. Every field that is set narrows; the default finds everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActQuery {
    /// At this moment or later. See [`Query::since`](super::Query::since).
    pub since: Option<Timestamp>,
    /// By this principal.
    pub who: Option<Pattern>,
    /// Of this kind: `approve`, `kill` …
    pub act: Option<String>,
    /// Done to this.
    pub target: Option<Pattern>,
}

impl ActQuery {
    fn wants(&self, act: &Act) -> bool {
        let target = act.target.as_deref().unwrap_or_default();
        self.since.is_none_or(|since| act.time >= since)
            && self.act.as_deref().is_none_or(|wanted| wanted == &*act.act)
            && self.who.as_ref().is_none_or(|who| who.matches(&act.who))
            && self.target.as_ref().is_none_or(|t| t.matches(target))
    }
}

/// The acts that a query finds, from the oldest on, as far as the journal goes now.
///
/// An error stands for records that cannot be read. The iterator goes on behind it, unless a file
/// operation failed.
pub fn acts(reader: &Reader, query: &ActQuery) -> Result<Acts, ReadError> {
    let start = match query.since {
        Some(since) => first_since(reader, since)?,
        None => Default::default(),
    };
    let visit = match reader.index().map(|index| index.visit_acts()) {
        Some(Ok(visit)) => Some(Arc::new(visit)),
        Some(Err(error)) => {
            // Slower, and the same answer.
            tracing::warn!(%error, "the index is not asked");
            None
        }
        None => None,
    };
    Ok(Acts {
        query: query.clone(),
        records: reader.records_from(start).visiting(visit),
    })
}

/// Made by [`acts()`].
#[derive(Debug)]
pub struct Acts {
    query: ActQuery,
    records: Records,
}

impl Iterator for Acts {
    type Item = Result<ActView, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let seen = self.records.next_raw(|raw| match raw.brief()? {
                Brief::Act(_) => raw.record().map(Some),
                _ => Ok(None),
            })?;
            let record = match seen {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) => return Some(Err(error)),
            };
            if let RecordKind::Act(act) = record.kind
                && self.query.wants(&act)
            {
                let sequence = record.sequence;
                return Some(Ok(ActView { sequence, act }));
            }
        }
    }
}

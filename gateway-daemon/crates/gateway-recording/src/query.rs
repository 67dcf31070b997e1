//! Questions to the journal: which operations, which sessions, and what comes next.
//!
//! Everything here streams with bounded memory, however large the journal is. What belongs
//! together lies apart in the journal: an operation's resolution and its outcome come after it,
//! its session's beginning long before. Resolutions and outcomes are waited for in a bounded
//! window, beginnings are kept in a bounded store of openings that can look back.
mod acts;
mod follow;
mod holds;
mod openings;
mod operations;
mod pattern;
mod replay;
mod sessions;
mod window;

pub use acts::{ActQuery, Acts, acts};
pub use follow::{Follower, Start};
pub use operations::{Operations, operations};
pub use pattern::Pattern;
pub use replay::{Replay, replay};
pub use sessions::{Sessions, sessions};

use crate::error::ReadError;
use crate::reader::{Position, Reader, Records, Visit};
use crate::record::{StoredOperation, was_held, was_refused};
use crate::stored::{Brief, OperationBrief};
use crate::view::{OperationView, SessionEnding, SessionView};
use gateway_core::mask::FieldCounts;
use gateway_core::{OperationOutcome, SessionId, SessionOpened, Timestamp, TreeId, Verb, Verdict};
use rustc_hash::FxHashSet;
use std::sync::Arc;

/// What is looked for. Every field that is set narrows; the default finds everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Of this session.
    pub session: Option<SessionId>,
    /// Of this tree.
    pub tree: Option<TreeId>,
    /// By this principal, or with it as a delegate.
    pub principal: Option<Pattern>,
    /// On this resource.
    pub resource: Option<Pattern>,
    /// By this protocol.
    pub protocol: Option<String>,
    /// Operations decided at this moment or later; sessions that were open then or later.
    ///
    /// Segments are left out by the time of their first record. Where the clock was set back
    /// by more than the time that a segment spans, operations from before that can be missed.
    pub since: Option<Timestamp>,
    /// Of sessions that are open now.
    pub live: bool,
    /// Operations with this verb among their effects. Not asked of sessions.
    pub verb: Option<Verb>,
    /// Operations with this verdict: `allow`, `deny`, `hold`, `approved`, `denied`, `expired`.
    /// What was held and is answered has the verdict of the answer, and no longer `hold`. Not
    /// asked of sessions.
    pub verdict: Option<String>,
    /// Operations with this text in their statement, a parameter or the name of an object, in
    /// whichever case. Not asked of sessions.
    pub grep: Option<String>,
    /// Operations that returned a sensitive field of such a name in the clear. Not asked of
    /// sessions.
    pub disclosed: Option<Pattern>,
    /// Operations of whose answers a field of such a name was covered. Not asked of sessions.
    pub masked: Option<Pattern>,
}

impl Query {
    /// What can be said of an operation from the beginning of its record.
    fn wants_brief(&self, operation: &OperationBrief<'_>) -> bool {
        let never_answered = was_refused(operation.verdict, operation.mode);
        !(never_answered && self.asks_of_answers())
            && self
                .session
                .is_none_or(|session| session == operation.id.session)
            && self.since.is_none_or(|since| operation.time >= since)
            && self
                .protocol
                .as_deref()
                .is_none_or(|protocol| protocol == operation.protocol)
            && self
                .resource
                .as_ref()
                .is_none_or(|resource| resource.matches(operation.resource))
            && self
                .verdict
                .as_deref()
                .is_none_or(|verdict| can_become(operation, verdict))
    }

    /// What can be said of an operation only when it is known what came of it.
    fn wants_view(&self, view: &OperationView) -> bool {
        self.verdict
            .as_deref()
            .is_none_or(|verdict| verdict == view.verdict().name())
            && (!self.asks_of_answers()
                || view
                    .outcome
                    .as_ref()
                    .is_some_and(|outcome| self.wants_outcome(outcome)))
    }

    /// Is something asked that only the answer to an operation can say?
    fn asks_of_answers(&self) -> bool {
        self.disclosed.is_some() || self.masked.is_some()
    }

    /// What can be said of an operation from how it was answered.
    fn wants_outcome(&self, outcome: &OperationOutcome) -> bool {
        names_one(self.disclosed.as_ref(), &outcome.disclosed)
            && names_one(self.masked.as_ref(), &outcome.masked)
    }

    /// What more can be said without its session.
    fn wants_operation(&self, operation: &StoredOperation, grep: Option<&str>) -> bool {
        self.verb.is_none_or(|verb| {
            operation.verb == verb || operation.effects.iter().any(|e| e.verb == verb)
        }) && grep.is_none_or(|text| mentions(operation, text))
    }

    /// What can be said of a session from its first record; `None`: that record is lost.
    fn wants_subject(&self, opened: Option<&SessionOpened>) -> bool {
        let Some(opened) = opened else {
            return self.tree.is_none()
                && self
                    .principal
                    .as_ref()
                    .is_none_or(|principal| principal.matches("unknown"));
        };
        let subject = &opened.subject;
        let mut principals = std::iter::once(&subject.principal).chain(&subject.delegates);
        self.session.is_none_or(|session| session == opened.session)
            && self.tree.is_none_or(|tree| tree == subject.lineage.tree)
            && self
                .principal
                .as_ref()
                .is_none_or(|pattern| principals.any(|principal| pattern.matches(&principal.id)))
    }

    /// What can be said of a session only when its end is known.
    fn wants_session(&self, session: &SessionView) -> bool {
        let end = match &session.ending {
            SessionEnding::Closed(closed) => Some(closed.time),
            SessionEnding::Lost { before } => *before,
            SessionEnding::Live => None,
        };
        (!self.live || session.is_live())
            && self
                .since
                .is_none_or(|since| end.is_none_or(|end| end >= since))
            && self.protocol.is_none_or_eq(session.protocol.as_deref())
            && self
                .resource
                .as_ref()
                .is_none_or(|resource| resource.matches(&session.resource_or_destination()))
    }
}

/// Is there a field of such a name? The protocol and the detectors say what fields are called.
fn names_one(wanted: Option<&Pattern>, fields: &FieldCounts) -> bool {
    wanted.is_none_or(|wanted| fields.iter().any(|(name, _)| wanted.matches(name)))
}

/// Can the operation have this verdict once it is known what came of it?
fn can_become(operation: &OperationBrief<'_>, verdict: &str) -> bool {
    if was_held(operation.verdict, operation.mode) {
        let not_held = [Verdict::Allow, Verdict::Deny].map(Verdict::name);
        return !not_held.contains(&verdict);
    }
    verdict == operation.verdict.name()
}

/// The comparison of a wanted text with one that may not be known.
trait Wanted {
    fn is_none_or_eq(&self, known: Option<&str>) -> bool;
}

impl Wanted for Option<String> {
    fn is_none_or_eq(&self, known: Option<&str>) -> bool {
        self.is_none() || self.as_deref() == known
    }
}

/// `text` is in lower case.
fn mentions(operation: &StoredOperation, text: &str) -> bool {
    let found = |place: &str| place.to_lowercase().contains(text);
    found(&operation.statement)
        || operation
            .effects
            .iter()
            .flat_map(|e| &e.objects)
            .any(|object| found(object.name()))
        || operation
            .parameters
            .iter()
            .filter_map(|p| p.value.as_deref())
            .any(found)
}

/// Where to begin, and what to leave out.
fn plan(reader: &Reader, query: &Query, of_sessions: bool) -> Result<Records, ReadError> {
    let mut start = Position::default();
    if let (Some(since), false) = (query.since, of_sessions) {
        start = first_since(reader, since)?;
    }
    let mut visit: Option<Arc<Visit>> = None;
    if let Some(index) = reader.index() {
        match index.visit(query) {
            Ok(found) => visit = found.map(Arc::new),
            // Slower, and the same answer.
            Err(error) => tracing::warn!(%error, "the index is not asked"),
        }
    }
    Ok(reader.records_from(start).visiting(visit))
}

/// The last segment that begins before a moment, as far as the segments' times go up.
fn first_since(reader: &Reader, since: Timestamp) -> Result<Position, ReadError> {
    let mut start = Position::default();
    for segment in reader.segments()? {
        let position = Position { segment, offset: 0 };
        let mut records = reader.records_from(position);
        match records.next_raw(|raw| raw.brief().map(|brief| brief.time())) {
            Some(Ok(time)) if time >= since => break,
            Some(Ok(_)) => start = position,
            // Unreadable ones are read past, and said, on the way.
            Some(Err(_)) | None => {}
        }
    }
    Ok(start)
}

/// The sessions that are open now, and up to where that was found out.
fn live_sessions(reader: &Reader) -> Result<(FxHashSet<SessionId>, Position), ReadError> {
    let mut live = FxHashSet::default();
    if !reader.is_written() {
        return Ok((live, reader.end()?));
    }
    let mut records = reader.records();
    let mut look = |brief: Brief<'_>| match brief {
        Brief::SessionOpened(brief) => {
            live.insert(brief.session);
        }
        Brief::SessionClosed(brief) => {
            live.remove(&brief.session);
        }
        brief if brief.is_boundary() => live.clear(),
        _ => {}
    };
    // Errors are for the scan that shows the records.
    while records.next_raw(|raw| raw.brief().map(&mut look)).is_some() {}
    Ok((live, records.position()))
}

#[cfg(test)]
mod tests;

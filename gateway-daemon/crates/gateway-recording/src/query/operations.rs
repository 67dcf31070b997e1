//! Operations with their outcomes and their sessions, in the order in which they were decided.
use super::openings::{self, Openings};
use super::window::Window;
use super::{Query, live_sessions, plan};
use crate::error::ReadError;
use crate::reader::{Position, Reader, Records};
use crate::record::{NoteKind, Record, RecordKind, StoredOperation};
use crate::stored::Brief;
use crate::view::OperationView;
use gateway_core::SessionId;
use rustc_hash::FxHashSet;
use std::time::Instant;

/// The operations that a query finds, from the oldest on, as far as the journal goes now.
///
/// An error stands for records that cannot be read. The iterator goes on behind it, unless a file
/// operation failed.
pub fn operations(reader: &Reader, query: &Query) -> Result<Operations, ReadError> {
    let records = plan(reader, query, false)?;
    Ok(Operations {
        scan: Scan::new(reader, query, records)?,
    })
}

/// Made by [`operations()`].
#[derive(Debug)]
pub struct Operations {
    scan: Scan,
}

impl Iterator for Operations {
    type Item = Result<OperationView, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(view) = self.scan.window.pop_settled() {
                return Some(Ok(view));
            }
            if self.scan.window.is_full() {
                self.scan.look_ahead();
                continue;
            }
            match self.scan.read(None) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Some(Err(error)),
                None if self.scan.window.is_empty() => return None,
                // What has no outcome now gets none here.
                None => self.scan.window.settle_all(|_| {}),
            }
        }
    }
}

/// Sessions that are open, and up to where that was read.
type Live = (FxHashSet<SessionId>, Position);

/// Reads on and puts together what belongs together.
#[derive(Debug)]
pub(super) struct Scan {
    records: Records,
    query: Query,
    /// What is searched for in texts, in lower case.
    grep: Option<String>,
    openings: Openings,
    /// The sessions that were open, and up to where that was read. Only when it is asked for.
    live: Option<Live>,
    pub(super) window: Window<OperationView>,
    /// The one session that was asked for has ended.
    over: bool,
}

impl Scan {
    pub(super) fn new(reader: &Reader, query: &Query, records: Records) -> Result<Scan, ReadError> {
        let live = if query.live {
            Some(live_sessions(reader)?)
        } else {
            None
        };
        Ok(Scan {
            openings: Openings::new(reader, records.position()),
            live,
            grep: query.grep.as_ref().map(|text| text.to_lowercase()),
            query: query.clone(),
            records,
            window: Window::default(),
            over: false,
        })
    }

    /// Reads one record; `None` at the end.
    pub(super) fn read(&mut self, now: Option<Instant>) -> Option<Result<(), ReadError>> {
        if self.over {
            return None;
        }
        let (query, live, window) = (&self.query, &self.live, &self.window);
        let openings = &mut self.openings;
        let seen = self.records.next_raw(|raw| {
            let wanted = match raw.brief()? {
                Brief::Operation(brief) => {
                    let session = brief.id.session;
                    query.wants_brief(&brief)
                        && live
                            .as_ref()
                            .is_none_or(|(live, _)| live.contains(&session))
                        && query.wants_subject(openings.get(session).as_deref())
                }
                Brief::Outcome(brief) => window.waits_for(brief.id.session, brief.id.seq),
                _ => true,
            };
            if wanted {
                raw.record().map(Some)
            } else {
                Ok(None)
            }
        })?;
        match seen {
            Ok(record) => {
                if let Some(record) = record {
                    self.observe(record, now);
                }
                Some(Ok(()))
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn observe(&mut self, record: Record, now: Option<Instant>) {
        match record.kind {
            RecordKind::SessionOpened(opened) => {
                if let Some((live, known_to)) = &mut self.live
                    && record.position >= *known_to
                {
                    live.insert(opened.session);
                }
                self.openings.opened(opened, record.position);
            }
            RecordKind::Operation(operation) => self.decided(record.sequence, operation, now),
            RecordKind::SessionClosed(closed) => {
                self.over = self.query.session == Some(closed.session);
                self.openings.closed(closed.session);
                complete(&mut self.window, RecordKind::SessionClosed(closed));
            }
            RecordKind::Note(note) => {
                if note.kind == NoteKind::Opened {
                    self.openings.clear();
                }
                complete(&mut self.window, RecordKind::Note(note));
            }
            outcome @ RecordKind::Outcome(_) => complete(&mut self.window, outcome),
        }
    }

    fn decided(&mut self, sequence: u64, operation: StoredOperation, now: Option<Instant>) {
        if !self.query.wants_operation(&operation, self.grep.as_deref()) {
            return;
        }
        let id = operation.id;
        let session = self.openings.get(id.session);
        let refused = operation.was_refused();
        // Shared with others of its session, and still held in memory by each of them alone.
        let weight = weight(&operation) + session.as_deref().map_or(0, openings::weight);
        let view = OperationView {
            sequence,
            operation,
            outcome: None,
            session,
        };
        if refused {
            self.window.push_settled(id.session, view, weight);
        } else {
            self.window.push((id.session, id.seq), view, weight, now);
        }
    }

    /// The window is full and its first view still waits: reads ahead for what is missing, without
    /// taking up anything new. What is not found has not happened yet.
    pub(super) fn look_ahead(&mut self) {
        let mut records = self.records.fork();
        while !self.window.is_settled() {
            let window = &self.window;
            let seen = records.next_raw(|raw| match raw.brief()? {
                Brief::Outcome(brief) if window.waits_for(brief.id.session, brief.id.seq) => {
                    raw.record().map(Some)
                }
                Brief::SessionClosed(_) | Brief::Note(_) => raw.record().map(Some),
                _ => Ok(None),
            });
            match seen {
                Some(Ok(Some(record))) => complete(&mut self.window, record.kind),
                // The scan itself says it when it gets there.
                Some(Ok(None) | Err(_)) => {}
                None => break,
            }
        }
        self.window.settle_all(|_| {});
    }
}

/// What a record says about operations that were decided before it.
fn complete(window: &mut Window<OperationView>, kind: RecordKind) {
    match kind {
        RecordKind::Outcome(outcome) => {
            let id = outcome.id;
            window.settle(id.session, id.seq, |view| view.outcome = Some(outcome));
        }
        RecordKind::SessionClosed(closed) => window.settle_session(closed.session, |_| {}),
        RecordKind::Note(note) if note.kind == NoteKind::Opened => window.settle_all(|_| {}),
        _ => {}
    }
}

/// About what an operation takes in memory.
fn weight(operation: &StoredOperation) -> usize {
    let objects: usize = operation
        .effects
        .iter()
        .map(|effect| {
            64 + effect
                .objects
                .iter()
                .map(|o| 32 + o.name().len())
                .sum::<usize>()
        })
        .sum();
    let parameters: usize = operation
        .parameters
        .iter()
        .map(|parameter| 64 + parameter.value.as_ref().map_or(0, String::len))
        .sum();
    512 + operation.statement.len() + objects + parameters + 96 * operation.attributes.len()
}

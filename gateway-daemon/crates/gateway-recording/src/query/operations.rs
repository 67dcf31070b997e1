//! Operations with their outcomes and their sessions, in the order in which they were decided.
use super::holds::{Asked, Hold, Holds};
use super::openings::{self, Openings};
use super::window::Window;
use super::{Query, live_sessions, plan};
use crate::error::ReadError;
use crate::reader::{Position, Reader, Records};
use crate::record::{NoteKind, Record, RecordKind, StoredOperation};
use crate::stored::{Brief, OutcomeBrief, ResolutionBrief};
use crate::view::OperationView;
use gateway_core::{OperationId, OperationOutcome, Resolution, SessionId, Verdict};
use rustc_hash::FxHashSet;
use std::time::Instant;

/// The operations that a query finds, from the oldest on, as far as the journal goes now.
///
/// An error stands for records that cannot be read. The iterator goes on behind it, unless a file
/// operation failed.
pub fn operations(reader: &Reader, query: &Query) -> Result<Operations, ReadError> {
    let records = plan(reader, query, false)?;
    Ok(Operations {
        scan: Scan::new(reader, query, records, None)?,
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
                if self.scan.wants(&view) {
                    return Some(Ok(view));
                }
                continue;
            }
            if self.scan.window.is_full() {
                self.scan.look_ahead();
                continue;
            }
            match self.scan.read(None) {
                Some(Ok(())) => {}
                Some(Err(error)) => return Some(Err(error)),
                None if self.scan.window.is_empty() => return None,
                None => self.scan.settle_rest(),
            }
        }
    }
}

/// Sessions that are open, and up to where that was read.
type Live = (FxHashSet<SessionId>, Position);

/// Reads on and puts together what belongs together.
#[derive(Debug)]
pub(super) struct Scan {
    reader: Reader,
    records: Records,
    query: Query,
    /// What is searched for in texts, in lower case.
    grep: Option<String>,
    openings: Openings,
    /// The sessions that were open, and up to where that was read. Only when it is asked for.
    live: Option<Live>,
    pub(super) window: Window<OperationView>,
    /// Those that wait for a human, where each is given twice: when it is held, and when that
    /// ends; and where answers decide what is given, those that wait for theirs, so that a slow
    /// one does not keep back the others. Otherwise they wait in the window.
    holds: Option<Holds>,
    /// Nobody writes the journal, and this was so before its end was met.
    final_look: bool,
    /// The one session that was asked for has ended.
    over: bool,
}

impl Scan {
    pub(super) fn new(
        reader: &Reader,
        query: &Query,
        records: Records,
        holds: Option<Holds>,
    ) -> Result<Scan, ReadError> {
        let live = if query.live {
            Some(live_sessions(reader)?)
        } else {
            None
        };
        Ok(Scan {
            reader: reader.clone(),
            openings: Openings::new(reader, records.position()),
            live,
            grep: query.grep.as_ref().map(|text| text.to_lowercase()),
            query: query.clone(),
            records,
            window: Window::default(),
            holds,
            final_look: false,
            over: false,
        })
    }

    /// Is this, with all that is known about it, what the query asks for?
    pub(super) fn wants(&self, view: &OperationView) -> bool {
        self.query.wants_view(view)
    }

    /// Reads one record; `None` at the end.
    pub(super) fn read(&mut self, now: Option<Instant>) -> Option<Result<(), ReadError>> {
        if let Some(hold) = self.holds.as_mut().and_then(Holds::next_lost) {
            // What is never answered is not what somebody looks for who asks about answers.
            if !self.query.asks_of_answers() {
                self.held_no_more(hold, OperationView::lose, now);
            }
            return Some(Ok(()));
        }
        if self.over {
            return None;
        }
        let (query, live, window) = (&self.query, &self.live, &self.window);
        let holds = self.holds.as_ref();
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
                Brief::Outcome(OutcomeBrief { id, .. })
                | Brief::Resolution(ResolutionBrief { id, .. }) => {
                    waits(window, id) || holds.is_some_and(|holds| holds.has(id))
                }
                Brief::Act(_) | Brief::Answer(_) => false,
                _ => true,
            };
            if wanted {
                raw.record().map(Some)
            } else {
                Ok(None)
            }
        })?;
        self.final_look = false;
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
            RecordKind::Operation(operation) => {
                self.decided(record.sequence, record.position, operation, now);
            }
            RecordKind::Resolution(resolution) => {
                self.resolved(resolution, record.position, now);
            }
            RecordKind::SessionClosed(closed) => {
                self.over = self.query.session == Some(closed.session);
                if let Some(holds) = &mut self.holds {
                    holds.lose_session(closed.session);
                }
                self.openings.closed(closed.session);
                complete(&mut self.window, RecordKind::SessionClosed(closed));
            }
            RecordKind::Note(note) => {
                if note.kind == NoteKind::Opened {
                    self.openings.clear();
                    if let Some(holds) = &mut self.holds {
                        holds.lose_all();
                    }
                }
                complete(&mut self.window, RecordKind::Note(note));
            }
            RecordKind::Outcome(outcome) => {
                let holds = self.holds.as_mut();
                match holds.and_then(|holds| holds.take(outcome.id)) {
                    Some(_) if !self.query.wants_outcome(&outcome) => {}
                    Some(hold) => self.held_no_more(hold, |view| view.answer(outcome), now),
                    None => complete(&mut self.window, RecordKind::Outcome(outcome)),
                }
            }
            RecordKind::Act(_) | RecordKind::Answer(_) => {}
        }
    }

    fn decided(
        &mut self,
        sequence: u64,
        position: Position,
        operation: StoredOperation,
        now: Option<Instant>,
    ) {
        if !self.query.wants_operation(&operation, self.grep.as_deref()) {
            return;
        }
        let id = operation.id;
        let session = self.openings.get(id.session);
        let view = OperationView::new(sequence, operation, session);
        let awaited = self.query.asks_of_answers();
        let told_twice = view.is_waiting() && self.holds.is_some();
        if let Some(holds) = self.holds.as_mut().filter(|_| told_twice || awaited) {
            holds.held(Hold {
                id,
                operation: position,
                opened: self.openings.place(id.session),
                asked: if told_twice {
                    Asked::Waits
                } else {
                    Asked::Nobody
                },
            });
            if awaited {
                return;
            }
        }
        self.push(view, told_twice, now);
    }

    fn resolved(&mut self, resolution: Resolution, place: Position, now: Option<Instant>) {
        let id = resolution.id;
        let awaited = self.query.asks_of_answers();
        let hold = match &mut self.holds {
            Some(holds) if awaited => {
                return holds.resolved(id, resolution.verdict == Verdict::Approved, place);
            }
            Some(holds) => holds.take(id),
            None => None,
        };
        match hold {
            Some(hold) => self.held_no_more(hold, |view| view.resolve(resolution), now),
            None => complete(&mut self.window, RecordKind::Resolution(resolution)),
        }
    }

    fn push(&mut self, view: OperationView, settled: bool, now: Option<Instant>) {
        let id = view.operation.id;
        // Shared with others of its session, and still held in memory by each of them alone.
        let opened = view.session.as_deref().map_or(0, openings::weight);
        let weight = weight(&view.operation) + opened;
        if settled || view.was_refused() {
            self.window.push_settled(id.session, view, weight);
        } else {
            self.window.push((id.session, id.seq), view, weight, now);
        }
    }

    /// Gives an operation that was given as held once more, with what came of that. Where its
    /// record is gone by now, there is nothing to give.
    fn held_no_more(
        &mut self,
        hold: Hold,
        ending: impl FnOnce(&mut OperationView),
        now: Option<Instant>,
    ) {
        let record = self.reader.records_from(hold.operation).next();
        let Some(Ok(record)) = record else { return };
        let RecordKind::Operation(operation) = record.kind else {
            return;
        };
        if operation.id != hold.id {
            return;
        }
        let session = hold
            .opened
            .and_then(|place| self.openings.read(hold.id.session, place));
        let mut view = OperationView::new(record.sequence, operation, session);
        if let Asked::Approved(place) = hold.asked
            && let Some(Ok(record)) = self.reader.records_from(place).next()
            && let RecordKind::Resolution(resolution) = record.kind
        {
            view.resolve(resolution);
        }
        ending(&mut view);
        let answered = view.outcome.is_some();
        self.push(view, answered, now);
    }

    /// The end of the journal was met: is nobody left to hold what was given as held? Then there
    /// is more to read.
    pub(super) fn is_forsaken(&mut self) -> bool {
        let Some(holds) = self.holds.as_mut().filter(|holds| holds.any_waits()) else {
            return false;
        };
        if self.reader.is_written() {
            return false;
        }
        // As in `settle_rest`: first its last words are read.
        if std::mem::replace(&mut self.final_look, true) {
            holds.lose_all();
        }
        true
    }

    /// The end of the journal was met: what has no outcome now gets none here. What waits for
    /// a human still does, if there is somebody to hold it.
    fn settle_rest(&mut self) {
        // The last words of a daemon may have come after the end was met, and before it died.
        if !self.final_look && !self.reader.is_written() {
            self.final_look = true;
            return;
        }
        settle_all(&mut self.window, self.final_look);
    }

    /// The window is full and its first view still waits: reads ahead for what is missing, without
    /// taking up anything new. What is not found has not happened yet.
    pub(super) fn look_ahead(&mut self) {
        let mut records = self.records.fork();
        let mut final_look = false;
        while !self.window.is_settled() {
            let window = &self.window;
            let seen = records.next_raw(|raw| match raw.brief()? {
                Brief::Outcome(OutcomeBrief { id, .. })
                | Brief::Resolution(ResolutionBrief { id, .. })
                    if waits(window, id) =>
                {
                    raw.record().map(Some)
                }
                Brief::SessionClosed(_) | Brief::Note(_) => raw.record().map(Some),
                _ => Ok(None),
            });
            match seen {
                Some(Ok(Some(record))) => complete(&mut self.window, record.kind),
                // The scan itself says it when it gets there.
                Some(Ok(None) | Err(_)) => {}
                None if !final_look && !self.reader.is_written() => final_look = true,
                None => break,
            }
        }
        settle_all(&mut self.window, final_look);
    }
}

fn waits(window: &Window<OperationView>, id: OperationId) -> bool {
    window.waits_for(id.session, id.seq)
}

fn settle_all(window: &mut Window<OperationView>, lost: bool) {
    window.settle_all(|view| {
        if lost {
            view.lose();
        }
    });
}

/// What a record says about operations that were decided before it.
fn complete(window: &mut Window<OperationView>, kind: RecordKind) {
    match kind {
        RecordKind::Outcome(outcome) => {
            let (id, weight) = (outcome.id, weight_of_outcome(&outcome));
            window.settle((id.session, id.seq), weight, |view| view.answer(outcome));
        }
        RecordKind::Resolution(resolution) => {
            let id = resolution.id;
            let Some(view) = window.waiting(id.session, id.seq) else {
                return;
            };
            view.resolve(resolution);
            // What was approved waits on, for its outcome.
            if view.was_refused() {
                window.settle((id.session, id.seq), 0, |_| {});
            }
        }
        RecordKind::SessionClosed(closed) => {
            window.settle_session(closed.session, OperationView::lose);
        }
        RecordKind::Note(note) if note.kind == NoteKind::Opened => settle_all(window, true),
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

/// About what its answer adds to that.
fn weight_of_outcome(outcome: &OperationOutcome) -> usize {
    let fields = outcome.masked.iter().chain(&outcome.disclosed);
    let names: usize = fields.map(|(name, _)| 64 + name.len()).sum();
    names + outcome.error.as_deref().map_or(0, str::len)
}

//! Sessions from their beginning to their end, in the order in which they began.
use super::openings::weight;
use super::window::Window;
use super::{Query, plan};
use crate::error::ReadError;
use crate::reader::{Reader, Records};
use crate::record::{NoteKind, RecordKind, was_held, was_refused};
use crate::stored::{Brief, OperationBrief, ResolutionBrief};
use crate::view::SessionView;
use gateway_core::{OperationOutcome, Verdict, mask};

/// The sessions that a query finds, from the oldest on, as far as the journal goes now.
///
/// An error stands for records that cannot be read. The iterator goes on behind it, unless a file
/// operation failed.
pub fn sessions(reader: &Reader, query: &Query) -> Result<Sessions, ReadError> {
    let records = plan(reader, query, true)?;
    Ok(Sessions {
        reader: reader.clone(),
        query: query.clone(),
        records,
        window: Window::default(),
        over: false,
    })
}

/// Made by [`sessions()`].
#[derive(Debug)]
pub struct Sessions {
    reader: Reader,
    query: Query,
    records: Records,
    window: Window<SessionView>,
    /// The one session that was asked for has ended.
    over: bool,
}

impl Iterator for Sessions {
    type Item = Result<SessionView, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(view) = self.window.pop_settled() {
                if self.query.wants_session(&view) {
                    return Some(Ok(view));
                }
                continue;
            }
            if self.window.is_full() {
                self.look_ahead();
                continue;
            }
            let seen = if self.over {
                None
            } else {
                next(&mut self.records, &mut self.window)
            };
            match seen {
                Some(Ok(Some(kind))) => self.observe(kind),
                Some(Ok(None)) => {}
                Some(Err(error)) => return Some(Err(error)),
                None if self.window.is_empty() => return None,
                None => settle_rest(&mut self.window, &self.reader),
            }
        }
    }
}

impl Sessions {
    fn observe(&mut self, kind: RecordKind) {
        match kind {
            RecordKind::SessionOpened(opened) => {
                if self.query.wants_subject(Some(&opened)) {
                    let (session, weight) = (opened.session, weight(&opened));
                    self.window
                        .push((session, 0), SessionView::new(opened), weight, None);
                }
            }
            RecordKind::SessionClosed(closed) => {
                self.over = self.query.session == Some(closed.session);
                complete(&mut self.window, RecordKind::SessionClosed(closed));
            }
            kind => complete(&mut self.window, kind),
        }
    }

    /// The window is full and its first session is open: reads ahead for the ends of all that are
    /// in it.
    fn look_ahead(&mut self) {
        let mut records = self.records.fork();
        while !self.window.is_settled() {
            match next(&mut records, &mut self.window) {
                Some(Ok(Some(kind))) => complete(&mut self.window, kind),
                Some(Ok(None) | Err(_)) => {}
                None => break,
            }
        }
        settle_rest(&mut self.window, &self.reader);
    }
}

/// What has no end at the end of the journal is open, if there is somebody to hold it open.
fn settle_rest(window: &mut Window<SessionView>, reader: &Reader) {
    let live = reader.is_written();
    window.settle_all(|view| {
        if !live {
            view.lose(None);
        }
    });
}

/// Reads one record. What only counts is counted at once; what begins or ends a session is given
/// back.
fn next(
    records: &mut Records,
    window: &mut Window<SessionView>,
) -> Option<Result<Option<RecordKind>, ReadError>> {
    records.next_raw(|raw| {
        match raw.brief()? {
            Brief::Operation(brief) => {
                if let Some(view) = window.waiting(brief.id.session, 0) {
                    count(view, &brief);
                }
            }
            Brief::Outcome(brief) => {
                if let Some(view) = window.waiting(brief.id.session, 0)
                    && let RecordKind::Outcome(outcome) = raw.record()?.kind
                {
                    count_outcome(view, &outcome);
                }
            }
            Brief::Resolution(brief) => {
                if let Some(view) = window.waiting(brief.id.session, 0) {
                    count_resolution(view, &brief);
                }
            }
            Brief::Act(_) | Brief::Answer(_) => {}
            Brief::SessionOpened(_) | Brief::SessionClosed(_) | Brief::Note(_) => {
                return raw.record().map(|record| Some(record.kind));
            }
        }
        Ok(None)
    })
}

fn count(view: &mut SessionView, operation: &OperationBrief<'_>) {
    view.operations += 1;
    view.denied += u64::from(was_refused(operation.verdict, operation.mode));
    let held = u64::from(was_held(operation.verdict, operation.mode));
    view.held += held;
    view.waiting += held;
    // Opening a session is decided before its protocol is known.
    if view.protocol.as_deref() != Some(operation.protocol) {
        view.protocol = Some(operation.protocol.into());
    }
    if view.resource.as_deref() != Some(operation.resource) {
        view.resource = Some(operation.resource.into());
    }
}

fn count_outcome(view: &mut SessionView, outcome: &OperationOutcome) {
    view.bytes_up += outcome.bytes_up;
    view.bytes_down += outcome.bytes_down;
    view.masked = view.masked.saturating_add(mask::total(&outcome.masked));
}

/// One whose operation is lost, or that comes again, counts for nothing.
fn count_resolution(view: &mut SessionView, resolution: &ResolutionBrief) {
    if let Some(waiting) = view.waiting.checked_sub(1) {
        view.waiting = waiting;
        view.denied += u64::from(resolution.verdict != Verdict::Approved);
    }
}

/// What a record says about sessions that began before it.
fn complete(window: &mut Window<SessionView>, kind: RecordKind) {
    match kind {
        RecordKind::SessionClosed(closed) => {
            window.settle((closed.session, 0), 0, |view| view.close(closed));
        }
        RecordKind::Note(note) if note.kind == NoteKind::Opened => {
            let before = Some(note.time);
            window.settle_all(|view| view.lose(before));
        }
        _ => {}
    }
}

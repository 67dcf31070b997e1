//! A session as it happened: its records, one after the other.
use super::{Query, plan};
use crate::error::ReadError;
use crate::reader::{Reader, Records};
use crate::record::Record;
use crate::stored::Brief;
use crate::view::{Event, EventView};
use gateway_core::{SessionId, Timestamp};

/// What the journal has of a session, in the order in which it was recorded, as far as it goes
/// now. With `after`, what comes behind the record of that number.
///
/// Nothing is put together and nothing is waited for, so memory is bounded by the largest record.
/// An error stands for records that cannot be read. The iterator goes on behind it, unless a file
/// operation failed.
pub fn replay(
    reader: &Reader,
    session: SessionId,
    after: Option<u64>,
) -> Result<Replay, ReadError> {
    let query = Query {
        session: Some(session),
        ..Query::default()
    };
    Ok(Replay {
        reader: reader.clone(),
        records: plan(reader, &query, true)?,
        session,
        after: after.unwrap_or(0),
        known: false,
        over: false,
        final_look: false,
    })
}

/// Made by [`replay()`].
#[derive(Debug)]
pub struct Replay {
    reader: Reader,
    records: Records,
    session: SessionId,
    after: u64,
    /// A record of the session was met.
    known: bool,
    /// It has ended.
    over: bool,
    /// Nobody writes the journal, and this was so before its end was met.
    final_look: bool,
}

/// What a record is to the session.
enum Seen {
    /// Nothing, or it was asked for what comes behind.
    Other,
    /// A part of it.
    Part(Box<Record>),
    /// A daemon began.
    Boundary(u64, Timestamp),
}

impl Replay {
    /// Was a record of the session met, among those included that were not asked for?
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.known
    }

    fn read(&mut self) -> Option<Result<Seen, ReadError>> {
        let (session, after) = (self.session, self.after);
        let (known, over) = (&mut self.known, &mut self.over);
        self.records.next_raw(|raw| {
            let brief = raw.brief()?;
            if *known && brief.is_boundary() {
                return Ok(Seen::Boundary(raw.sequence, brief.time()));
            }
            if brief.session() != Some(session) {
                return Ok(Seen::Other);
            }
            *known = true;
            *over = matches!(brief, Brief::SessionClosed(_));
            if raw.sequence <= after {
                return Ok(Seen::Other);
            }
            raw.record().map(|record| Seen::Part(Box::new(record)))
        })
    }

    /// The daemon that served it ended before it did.
    fn lost(&mut self, sequence: Option<u64>, before: Option<Timestamp>) -> EventView {
        self.over = true;
        EventView {
            sequence,
            session: self.session,
            event: Event::Lost { before },
        }
    }
}

impl Iterator for Replay {
    type Item = Result<EventView, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            match self.read() {
                Some(Ok(Seen::Part(record))) => {
                    if let Some(view) = EventView::of(*record) {
                        return Some(Ok(view));
                    }
                }
                Some(Ok(Seen::Boundary(sequence, time))) => {
                    return Some(Ok(self.lost(Some(sequence), Some(time))));
                }
                Some(Ok(Seen::Other)) => {}
                Some(Err(error)) => return Some(Err(error)),
                None if !self.known || self.reader.is_written() => return None,
                // The last words of a daemon may have come after the end was met.
                None if !std::mem::replace(&mut self.final_look, true) => {}
                None => return Some(Ok(self.lost(None, None))),
            }
        }
        None
    }
}

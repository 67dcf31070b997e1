//! The beginnings of sessions, for the operations that belong to them.
use crate::reader::{Position, Reader};
use crate::record::RecordKind;
use crate::stored::Brief;
use gateway_core::{SessionId, SessionOpened};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// How much the beginnings in memory may weigh, in bytes. Others are read again when needed.
const WEIGHT_MAX: usize = 32 << 20;
/// How many sessions that are open at once are known by their place. It is far beyond what a
/// daemon serves, and a bound where a journal says nonsense.
const PLACES_MAX: usize = 1 << 20;

/// Knows where each open session began, and holds as many beginnings as fit.
#[derive(Debug)]
pub(super) struct Openings {
    reader: Reader,
    /// Where the scan began: what lies before was not seen, and is read when it is asked for.
    unseen: Option<Position>,
    held: FxHashMap<SessionId, Arc<SessionOpened>>,
    /// In the order in which they came; those that are gone are skipped.
    order: VecDeque<SessionId>,
    weight: usize,
    places: FxHashMap<SessionId, Position>,
}

impl Openings {
    pub(super) fn new(reader: &Reader, start: Position) -> Openings {
        Openings {
            reader: reader.clone(),
            unseen: (start > Position::default()).then_some(start),
            held: FxHashMap::default(),
            order: VecDeque::new(),
            weight: 0,
            places: FxHashMap::default(),
        }
    }

    pub(super) fn opened(&mut self, opened: Arc<SessionOpened>, place: Position) {
        let session = opened.session;
        if self.places.len() < PLACES_MAX {
            self.places.insert(session, place);
        }
        self.hold(opened);
    }

    pub(super) fn closed(&mut self, session: SessionId) {
        self.places.remove(&session);
        if let Some(opened) = self.held.remove(&session) {
            self.weight = self.weight.saturating_sub(weight(&opened));
        }
        while self
            .order
            .front()
            .is_some_and(|session| !self.held.contains_key(session))
        {
            self.order.pop_front();
        }
    }

    /// Another daemon began: no session is open.
    pub(super) fn clear(&mut self) {
        self.unseen = None;
        self.held.clear();
        self.order.clear();
        self.weight = 0;
        self.places.clear();
    }

    pub(super) fn get(&mut self, session: SessionId) -> Option<Arc<SessionOpened>> {
        if let Some(opened) = self.held.get(&session) {
            return Some(Arc::clone(opened));
        }
        let place = self.place(session)?;
        let opened = self.read(session, place)?;
        self.hold(Arc::clone(&opened));
        Some(opened)
    }

    /// Reads the beginning of a session at its place, also when the session has ended.
    pub(super) fn read(&self, session: SessionId, place: Position) -> Option<Arc<SessionOpened>> {
        let record = self.reader.records_from(place).next()?.ok()?;
        match record.kind {
            RecordKind::SessionOpened(opened) if opened.session == session => Some(opened),
            _ => None,
        }
    }

    pub(super) fn place(&mut self, session: SessionId) -> Option<Position> {
        if let Some(place) = self.places.get(&session) {
            return Some(*place);
        }
        if let Some(Ok(Some(entry))) = self.reader.index().map(|index| index.session(session))
            && entry.opened.is_some()
        {
            return entry.opened;
        }
        self.look_back();
        self.places.get(&session).copied()
    }

    /// Reads what lies before the scan, once, for the sessions that were open when it began.
    fn look_back(&mut self) {
        let Some(end) = self.unseen.take() else {
            return;
        };
        let mut before: FxHashMap<SessionId, Position> = FxHashMap::default();
        let mut records = self.reader.records();
        // What is damaged there cannot be asked; its sessions stay unknown.
        while records.position() < end
            && records
                .next_raw(|raw| {
                    match raw.brief()? {
                        _ if raw.position >= end => {}
                        Brief::SessionOpened(brief) if before.len() < PLACES_MAX => {
                            before.insert(brief.session, raw.position);
                        }
                        Brief::SessionClosed(brief) => {
                            before.remove(&brief.session);
                        }
                        brief if brief.is_boundary() => before.clear(),
                        _ => {}
                    }
                    Ok(())
                })
                .is_some()
        {}
        for (session, place) in before {
            self.places.entry(session).or_insert(place);
        }
    }

    fn hold(&mut self, opened: Arc<SessionOpened>) {
        let session = opened.session;
        self.weight += weight(&opened);
        if let Some(before) = self.held.insert(session, opened) {
            self.weight = self.weight.saturating_sub(weight(&before));
        } else {
            self.order.push_back(session);
        }
        while self.weight > WEIGHT_MAX && self.held.len() > 1 {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(opened) = self.held.remove(&oldest) {
                self.weight = self.weight.saturating_sub(weight(&opened));
            }
        }
        // Sessions that ended out of order leave their names behind; not more than there are.
        if self.order.len() > 2 * self.held.len() + 64 {
            self.order.retain(|session| self.held.contains_key(session));
        }
    }
}

/// About what a beginning takes in memory.
pub(super) fn weight(opened: &SessionOpened) -> usize {
    let subject = &opened.subject;
    let processes = subject.lineage.processes.iter().map(|process| {
        let argv: usize = process
            .argv
            .iter()
            .map(|argument| argument.len() + 32)
            .sum();
        256 + process.exe.len() + argv + process.cgroup.len()
    });
    512 + 128 * (1 + subject.delegates.len()) + processes.sum::<usize>()
}

//! Portals: a statement with values (Bind), which anything can run from then on that knows its name.
use super::judge::{Phase, Question, ask, attributes};
use super::masking::{Look, Plan};
use super::names::{Lookup, significant};
use super::pipeline::{Entry, Request};
use super::refusal::Wording;
use super::request::{HELD, Unnamed};
use super::serving::{Change, Serving, Step};
use super::statement::{Bound, Keep, Portal, Statement, record_values, size_of_values};
use crate::codec::request;
use crate::error::Error;
use crate::interpret::Classification;
use gateway_core::{Clearance, Obstacle, Parameter};
use gateway_protocol::Effects;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What comes of asking permission for a portal.
enum Judged {
    /// The catalogue has to be read first.
    Wait,
    /// `None`: it is asked when it is executed.
    As(Option<Clearance>),
    Not(Obstacle),
}

/// What is executed.
pub(super) struct Executed {
    /// `None`: nobody knows.
    pub(super) statement: Option<Arc<Statement>>,
    pub(super) meaning: Option<Arc<Classification>>,
    /// It was planned when the database was another, perhaps.
    pub(super) is_stale: bool,
    /// Permission was asked when it was bound.
    pub(super) is_judged: bool,
}

impl Serving {
    pub(super) fn bind(
        &mut self,
        size: usize,
        body: &[u8],
        out: &mut dyn Effects,
    ) -> Result<Step, Error> {
        let bind = request::bind(body)?;
        let segment = self.pipeline.segment();
        let found = significant(bind.statement).map(|name| self.statements.look_up(name, segment));
        let is_named = !bind.portal.is_empty();
        if matches!(found, Some(Lookup::Ambiguous)) && !self.pipeline.is_empty() {
            return Ok(self.wait_for_answers());
        }
        let statement = found.and_then(Lookup::one).cloned();
        // It is planned now, and what is planned is computed in part.
        let planned = match self.plan(statement.as_deref(), out) {
            Plan::Wait => return Ok(self.wait()),
            Plan::Refused(wording) => return Ok(self.refuse(Request::Bind, size, wording)),
            Plan::As(planned) => planned,
        };
        let name = significant(bind.portal);
        let parameters = self.bound_values(&bind, statement.as_deref());
        let held = is_named.then(|| size_of_values(&parameters));
        if let Some(wording) = self.limit_portal(name, held) {
            return Ok(self.refuse(Request::Bind, size, wording));
        }
        let mut entry = Entry::new(Request::Bind, size);
        entry.clean = planned.clean;
        let portal = Portal {
            bound: Bound {
                meaning: planned.meaning,
                generation: self.settings.generation(),
                stamp: self.stamp(),
                // Whatever has a name can be run without being executed by the protocol, and so can what has
                // none, by what is planned and what ends a transaction.
                is_judged: is_named || planned.stops,
                statement,
            },
            parameters,
            asked: AtomicBool::new(false),
            executed: AtomicBool::new(false),
            _share: held.map(|bytes| self.held.share(bytes)),
        };
        // What it executes can be exchanged before it is run.
        let united = planned.united.as_deref();
        let united = united.filter(|_| !(is_named && portal.bound.is_indirect()));
        let clearance = match self.judge_portal(&bind, &portal, united, out) {
            Judged::Wait => return Ok(self.wait()),
            Judged::As(clearance) => clearance,
            // Drivers prepare it again.
            Judged::Not(Obstacle::Refused(_)) if portal.bound.statement.is_none() => {
                return Ok(self.refuse(Request::Bind, size, Wording::Unknown));
            }
            Judged::Not(obstacle) => {
                self.reuse(portal);
                return Ok(self.stop(Request::Bind, size, obstacle, out));
            }
        };
        entry.operation = clearance.as_ref().map_or(0, |clearance| clearance.id().seq);
        if !is_named && self.up.unnamed == Unnamed::Exposed {
            self.settings.unnamed_was_exposed();
        }
        let position = self.pipeline.next();
        let changes = portal.bound.changes();
        self.settings.sent_portal(position, changes, is_named);
        self.keep_portal(&mut entry, name, portal);
        self.up.unsynced = true;
        if is_named {
            self.up.unnamed.expose();
        } else {
            self.up.unnamed = Unnamed::Fresh;
        }
        self.pipeline.push(entry);
        Ok(match clearance {
            Some(clearance) => Step::Cleared(size, clearance),
            None => Step::Pass(size),
        })
    }

    /// Is there no room for a portal of this name, whose values take so many bytes?
    fn limit_portal(&self, name: Option<&[u8]>, held: Option<usize>) -> Option<Wording> {
        let is_new = name.is_none_or(|name| !self.portals.contains(name));
        if is_new && self.portals.len() >= self.shared.limits.portals {
            return Some(Wording::Limited("limits.portals"));
        }
        let has_room = held.is_none_or(|bytes| self.has_room(bytes));
        (!has_room).then_some(Wording::Limited(HELD))
    }

    /// The values of a Bind, as they are recorded.
    fn bound_values(
        &mut self,
        bind: &request::Bind<'_>,
        statement: Option<&Statement>,
    ) -> Vec<Parameter> {
        let mut parameters = std::mem::take(&mut self.spare);
        let type_of = |index| statement.map_or(0, |statement| statement.parameter_type(index));
        let types = &self.shared.types;
        record_values(
            &mut parameters,
            bind.values.iter(),
            type_of,
            types,
            self.kept(),
        );
        parameters
    }

    pub(super) fn kept(&self) -> Keep {
        Keep {
            value_bytes: self.shared.limits.parameter_bytes,
            total_bytes: self.shared.limits.parameters_bytes,
        }
    }

    /// Asks permission for what becomes a portal, where that cannot be left to its execution.
    fn judge_portal(
        &mut self,
        bind: &request::Bind<'_>,
        portal: &Portal,
        meaning: Option<&Classification>,
        out: &mut dyn Effects,
    ) -> Judged {
        if !portal.bound.is_judged {
            return Judged::As(None);
        }
        let text = match &portal.bound.statement {
            Some(statement) => Cow::Borrowed(&*statement.text),
            None => format!("statement \"{}\"", String::from_utf8_lossy(bind.statement)).into(),
        };
        let question = Question {
            meaning,
            text: &text,
            parameters: &[],
            attributes: &attributes(meaning, Phase::Bind),
            phase: Phase::Bind,
            is_stale: false,
            announces: false,
        };
        let mut seen = match self.look(portal.bound.meaning.as_ref(), &question, out) {
            Look::Wait => return Judged::Wait,
            Look::Plain => None,
            Look::Seen(seen) => Some(seen),
        };
        let question = Question {
            parameters: &portal.parameters,
            ..question
        };
        match ask(&question, seen.as_deref_mut(), &self.shared, out) {
            Ok(clearance) => Judged::As(Some(clearance)),
            Err(obstacle) => Judged::Not(obstacle),
        }
    }

    /// The portal is there once `entry` is answered. A name that cannot be followed is not: whoever
    /// executes it executes the unknown.
    fn keep_portal(&mut self, entry: &mut Entry, name: Option<&[u8]>, portal: Portal) {
        let Some(name) = name else { return };
        self.name_portal(entry, name);
        let position = self.pipeline.next();
        let (name, unused) = self.portals.change(name, position, Some(portal));
        if let Some(portal) = unused {
            self.reuse(portal);
        }
        self.changes.push(Change::Portal(name));
        entry.changes = true;
    }

    /// What is executed under the name of a portal.
    pub(super) fn executed_portal(&mut self, name: &[u8]) -> Executed {
        let segment = self.pipeline.segment();
        let portal = significant(name).and_then(|name| self.portals.look_up(name, segment).one());
        let bound = portal.map_or_else(Bound::default, |portal| portal.bound.clone());
        let is_fresh = name.is_empty() && self.up.unnamed == Unnamed::Fresh;
        let meaning = self.read_portal(&bound, is_fresh);
        // It runs as it was planned when it was bound, if it is what was bound.
        let is_stale = self.stamp() != bound.stamp || self.may_be_declared(name);
        let is_same = match (&meaning, &bound.meaning) {
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            _ => false,
        };
        Executed {
            is_judged: bound.is_judged && !bound.is_indirect() && is_same && !is_stale,
            statement: bound.statement,
            meaning,
            is_stale,
        }
    }

    /// Does the unnamed portal execute a statement by its name, and has not done so yet? Another one of
    /// that name would be run in its place.
    pub(super) fn unnamed_is_indirect(&self) -> bool {
        match self.portals.look_up(b"", self.pipeline.segment()) {
            Lookup::Absent => false,
            Lookup::Ambiguous => true,
            Lookup::One(portal) => {
                portal.bound.is_indirect() && !portal.executed.load(Ordering::Relaxed)
            }
        }
    }

    /// An Execute of the unnamed portal has come to its end.
    pub(super) fn portal_executed(&mut self) {
        if let Some(portal) = self.portals.settled_unnamed() {
            portal.executed.store(true, Ordering::Relaxed);
        }
        self.settings.unnamed_executed(self.pipeline.first());
    }
}

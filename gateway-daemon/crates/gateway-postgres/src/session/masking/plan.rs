//! Prepared statements that are planned.
use crate::interpret::Classification;
use crate::interpret::flow::Flow;
use crate::mask::outlook::Outlook;
use crate::session::judge::{Phase, Question};
use crate::session::refusal::Wording;
use crate::session::serving::Serving;
use crate::session::statement::Statement;
use gateway_core::mask::{Predicates, UseKind};
use gateway_protocol::Effects;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What comes of looking at a statement that is to be planned.
pub(in crate::session) enum Plan {
    /// The catalogue has to be read first.
    Wait,
    Refused(Wording),
    As(Planned),
}

/// A statement that becomes a portal.
#[derive(Debug, Default)]
pub(in crate::session) struct Planned {
    /// What it does. `None`: nobody knows.
    pub(in crate::session) meaning: Option<Arc<Classification>>,
    /// The same, with what it executes.
    pub(in crate::session) united: Option<Arc<Classification>>,
    /// Nothing sensitive is in it.
    pub(in crate::session) clean: bool,
    /// It would not pass at once, if it were executed.
    pub(in crate::session) stops: bool,
}

impl Serving {
    /// A prepared statement is planned (Bind). It was judged when it was prepared; where something has
    /// changed since, it may ask something else: the planner compares with what is in statistics, and
    /// calls what is not volatile, so that it can fail already.
    pub(in crate::session) fn plan(
        &mut self,
        statement: Option<&Statement>,
        out: &mut dyn Effects,
    ) -> Plan {
        let masking = self.masking.as_ref();
        let latest = masking.and_then(|masking| masking.latest.as_ref());
        let is_masked = latest.is_some_and(|outlook| outlook.covers);
        let Some(statement) = statement else {
            return match is_masked {
                true => Plan::Refused(Wording::Unknown),
                false => Plan::As(Planned {
                    stops: true,
                    ..Planned::default()
                }),
            };
        };
        let clean = statement.clean.load(Ordering::Relaxed);
        let meaning = self.read_again(statement);
        let united = meaning.clone().map(|meaning| self.unite(meaning));
        let attributes = statement.attributes_of(united.as_ref());
        let question = Question {
            meaning: united.as_deref(),
            text: &statement.text,
            parameters: &[],
            attributes: &attributes,
            phase: Phase::Execute,
            is_stale: false,
            announces: false,
        };
        let operation = question.operation(&self.shared);
        let stops = !out.would_pass(&operation);
        let Some(masks) = out.masks(&operation).filter(|masks| masks.cover()) else {
            return Plan::As(Planned {
                meaning,
                united,
                clean,
                stops,
            });
        };
        let Some(outlook) = self.outlook(&*masks) else {
            return Plan::Wait;
        };
        let (flow, _) = self.flow(meaning.as_ref(), &statement.text, &outlook);
        let has_changed = *statement.prepared.lock() != self.stamp();
        let asks = asks(&flow, &outlook);
        if has_changed && asks {
            return Plan::Refused(Wording::Changed);
        }
        // The values of its parameters are made here.
        let catalogue = outlook.catalogue.as_ref();
        let makes = catalogue.is_some_and(|known| statement.may_take(&known.calling_types));
        let masking = self.masking();
        masking.sensitive |= flow.touches || makes;
        masking.calls |= flow.calls || makes;
        Plan::As(Planned {
            meaning,
            united,
            clean: !(flow.touches || makes),
            stops: stops || asks,
        })
    }
}

/// Does it do anything with what is masked, besides returning it, that the policy does not allow?
fn asks(flow: &Flow, outlook: &Outlook) -> bool {
    flow.uses.iter().any(|(kind, field)| {
        let field = outlook.field(*field);
        let allows = |predicates: &Predicates| matches!(predicates, Predicates::Allow);
        let is_open = field.is_some_and(|field| allows(&field.sensitive.mask.predicates));
        !(is_open && *kind == UseKind::Asks)
    })
}

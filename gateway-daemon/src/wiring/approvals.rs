//! What waits for a human, as the control API shows it and takes answers to it.
use super::acts::Acts;
use super::callers::TaggedCallers;
use super::people::People;
use gateway_approvals::{Answered, Approvals, Caller as Answerer, Pending};
use gateway_control::view::AnswerView;
use gateway_control::{AnswerError, Caller, Callers, Gone, LineSink, PortError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a watcher is looked after while nothing changes, so that its leaving is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The questions, and who may see and answer them.
pub(crate) struct Questions {
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) people: Arc<People>,
    pub(crate) callers: Arc<TaggedCallers>,
    pub(crate) acts: Acts,
}

impl Questions {
    /// Who answers. Who comes by the network is outside of every tree.
    fn answerer(&self, caller: &Caller) -> Result<Answerer, PortError> {
        Ok(Answerer {
            principal: self.people.acting(caller)?,
            tree: match caller {
                Caller::Local(peer) => self.callers.tree_of(peer)?,
                Caller::Remote(_) => None,
            },
        })
    }

    /// The questions that are shown to a caller.
    fn seen(&self, only: Option<&Answerer>) -> Vec<Arc<Pending>> {
        let mut all = self.approvals.list();
        if let Some(caller) = only {
            all.retain(|pending| self.approvals.may_answer(caller, pending));
        }
        all
    }

    /// Goes on with what comes and what is answered, until the caller leaves.
    fn watch(&self, only: Option<&Answerer>, out: &mut dyn LineSink) -> Result<(), PortError> {
        let mut known: BTreeMap<String, Arc<Pending>> = BTreeMap::new();
        loop {
            let version = self.approvals.version();
            let now: BTreeMap<String, Arc<Pending>> = self
                .seen(only)
                .into_iter()
                .map(|pending| (pending.id().to_string(), pending))
                .collect();
            for (id, pending) in &now {
                if !known.contains_key(id) && line(out, pending, "pending", None)?.is_err() {
                    return Ok(());
                }
            }
            for (id, pending) in &known {
                if now.contains_key(id) {
                    continue;
                }
                let outcome = self.approvals.outcome(id);
                let state = outcome
                    .as_ref()
                    .map_or("denied", |outcome| outcome.verdict.name());
                if line(out, pending, state, outcome.as_ref())?.is_err() {
                    return Ok(());
                }
            }
            known = now;
            while self.approvals.version() == version {
                if out.pause(LOOK_EVERY).is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// One question with its state; behind an answer also who gave it.
fn line(
    out: &mut dyn LineSink,
    pending: &Pending,
    state: &str,
    outcome: Option<&Answered>,
) -> Result<Result<(), Gone>, PortError> {
    let failed = |error: serde_json::Error| PortError(error.to_string());
    let mut value = serde_json::to_value(pending).map_err(failed)?;
    if let Some(object) = value.as_object_mut() {
        object.insert("state".to_owned(), state.into());
        if let Some(outcome) = outcome {
            object.insert("approver".to_owned(), outcome.approver.as_deref().into());
            object.insert("reason".to_owned(), outcome.reason.as_deref().into());
        }
    }
    Ok(out.line(serde_json::to_vec(&value).map_err(failed)?))
}

impl gateway_control::Approvals for Questions {
    fn pending(
        &self,
        caller: &Caller,
        answerable: bool,
        watch: bool,
        out: &mut dyn LineSink,
    ) -> Result<(), PortError> {
        let caller = answerable.then(|| self.answerer(caller)).transpose()?;
        if watch {
            return self.watch(caller.as_ref(), out);
        }
        for pending in self.seen(caller.as_ref()) {
            if line(out, &pending, "pending", None)?.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn answer(
        &self,
        caller: &Caller,
        id: &str,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<AnswerView, AnswerError> {
        let answerer = self
            .answerer(caller)
            .map_err(|PortError(error)| AnswerError::NotAllowed(error))?;
        let who = Arc::clone(&answerer.principal.id);
        let act = if approve { "approve" } else { "deny" };
        let said = reason.map(str::to_owned);
        let fits = self.approvals.check(id, approve, &answerer, said);
        fits.map_err(refused)?;
        // Recorded first: what cannot be recorded does not happen.
        let recorded = self.acts.record(act, &who, caller, Some(id), reason);
        recorded.map_err(|error| AnswerError::Failed(error.to_string()))?;
        let reason = reason.map(str::to_owned);
        let answered = self.approvals.answer(id, approve, &answerer, reason);
        let answered = answered.map_err(refused)?;
        Ok(AnswerView {
            id: id.to_owned(),
            verdict: answered.verdict.name().to_owned(),
            approver: who.to_string(),
        })
    }
}

fn refused(error: gateway_approvals::AnswerError) -> AnswerError {
    use gateway_approvals::AnswerError as Refused;
    let text = error.to_string();
    match error {
        Refused::NoSuchQuestion(_) => AnswerError::Unknown(text),
        Refused::AlreadyAnswered(_) => AnswerError::Over(text),
        Refused::NotAllowed(_) => AnswerError::NotAllowed(text),
        Refused::ReasonTooLong(_) | Refused::ReasonNotPlain(_) => AnswerError::Malformed(text),
    }
}

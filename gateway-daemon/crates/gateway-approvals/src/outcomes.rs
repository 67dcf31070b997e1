//! How the last questions ended, for whoever answers too late.
use crate::moment::{Moment, rfc3339};
use gateway_core::{OperationId, Timestamp, Verdict};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// How many endings are remembered.
const OUTCOMES_MAX: usize = 1024;

/// How a question ended. JSON keys: `id, verdict, approver, reason, time, grant_until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The operation that waited.
    pub id: OperationId,
    /// [`Verdict::Approved`], [`Verdict::Denied`] or [`Verdict::Expired`].
    pub verdict: Verdict,
    /// Who answered; `None` when nobody did.
    pub approver: Option<Arc<str>>,
    /// Why: in the approver's words, or in the gateway's when nobody answered.
    pub reason: Option<Arc<str>>,
    /// When.
    pub time: Timestamp,
    /// Until when the approval covers what is like it; `None`: this one operation only, also when
    /// no more grants could be kept.
    pub grant_until: Option<Timestamp>,
}

impl Serialize for Answered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut keys = serializer.serialize_struct("Answered", 6)?;
        keys.serialize_field("id", &self.id.to_string())?;
        keys.serialize_field("verdict", self.verdict.name())?;
        keys.serialize_field("approver", &self.approver)?;
        keys.serialize_field("reason", &self.reason)?;
        keys.serialize_field("time", &Moment(self.time))?;
        keys.serialize_field("grant_until", &self.grant_until.map(Moment))?;
        keys.end()
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {}", self.id, self.verdict)?;
        if let Some(approver) = &self.approver {
            write!(f, " by {approver}")?;
        }
        write!(f, " at {}", rfc3339(self.time))?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// The last endings by id.
#[derive(Default)]
pub(crate) struct Outcomes {
    order: VecDeque<OperationId>,
    by_id: HashMap<OperationId, Answered>,
}

impl Outcomes {
    pub(crate) fn remember(&mut self, answered: Answered) {
        if self.by_id.insert(answered.id, answered.clone()).is_some() {
            return;
        }
        self.order.push_back(answered.id);
        if self.order.len() > OUTCOMES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    pub(crate) fn get(&self, id: OperationId) -> Option<&Answered> {
        self.by_id.get(&id)
    }
}

/// Reads an id as it is shown: `s0000000000001.4`. One id has one text.
pub(crate) fn parse_id(text: &str) -> Option<OperationId> {
    let (session, seq) = text.split_once('.')?;
    let id = OperationId {
        session: session.parse().ok()?,
        seq: seq.parse().ok()?,
    };
    (id.to_string() == text.to_ascii_lowercase()).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::SessionId;

    fn id(seq: u32) -> OperationId {
        OperationId {
            session: SessionId(1),
            seq,
        }
    }

    fn answered(seq: u32) -> Answered {
        Answered {
            id: id(seq),
            verdict: Verdict::Denied,
            approver: Some("user:eve".into()),
            reason: Some("no".into()),
            time: Timestamp(1_000_000_000),
            grant_until: None,
        }
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut outcomes = Outcomes::default();
        for seq in 0..3000 {
            outcomes.remember(answered(seq));
        }
        assert_eq!(outcomes.by_id.len(), OUTCOMES_MAX);
        assert_eq!(outcomes.order.len(), OUTCOMES_MAX);
        assert!(outcomes.get(id(1975)).is_none());
        assert!(outcomes.get(id(1976)).is_some());
    }

    #[test]
    fn an_ending_says_who_and_what() {
        assert_eq!(
            answered(4).to_string(),
            "s0000000000001.4 was denied by user:eve at 1970-01-01T00:00:01.000000Z: no"
        );
        assert_eq!(
            serde_json::to_value(answered(4)).unwrap(),
            serde_json::json!({
                "id": "s0000000000001.4", "verdict": "denied", "approver": "user:eve",
                "reason": "no", "time": "1970-01-01T00:00:01.000000Z", "grant_until": null,
            })
        );
    }

    #[test]
    fn an_id_has_one_text() {
        assert_eq!(parse_id("s0000000000001.4"), Some(id(4)));
        assert_eq!(
            parse_id("S0000000000001.4"),
            None,
            "the prefix is lower case"
        );
        for wrong in [
            "",
            "4",
            "s0000000000001",
            "s0000000000001.",
            "s0000000000001.04",
            "s0000000000001.+4",
            "s0000000000001.4.5",
            "s0000000000001.4294967296",
            "t0000000000001.4",
        ] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }
}

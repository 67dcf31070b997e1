//! What people do to the gateway itself, in the journal.
use crate::terminal::moment;
use gateway_control::Caller;
use gateway_core::RecordError;
use gateway_recording::{Act, Journal};
use std::sync::Arc;

/// Records acts.
#[derive(Clone)]
pub(crate) struct Acts(pub(crate) Arc<Journal>);

impl Acts {
    /// Somebody does something. To be called before it is done.
    pub(crate) fn record(
        &self,
        act: &str,
        who: &str,
        caller: &Caller,
        target: Option<&str>,
        reason: Option<&str>,
    ) -> Result<(), RecordError> {
        self.0.act(&Act {
            time: moment::now(),
            act: act.into(),
            who: who.into(),
            uid: match caller {
                Caller::Local(peer) => Some(peer.uid),
                Caller::Remote(_) => None,
            },
            target: target.map(Arc::from),
            reason: reason.map(Arc::from),
        })
    }
}

//! Statements that are not sent while another session makes something of their names.
use crate::interpret::flow::Flow;
use crate::session::serving::Serving;
use std::sync::Arc;

impl Serving {
    /// Lets a statement through that is looked at. False: it would cross another session's.
    pub(super) fn enter(&mut self, flow: &Arc<Flow>) -> bool {
        let shared = Arc::clone(&self.shared);
        let database = Arc::clone(&self.database);
        let masking = self.masking();
        if masking.session == 0 {
            masking.session = shared.store.session();
        }
        masking.entered = shared.store.enter(&database, masking.session, flow);
        masking.entered.is_some()
    }

    /// What was let through last is not sent, or not yet.
    pub(in crate::session) fn withdraw(&mut self) {
        let Some(masking) = &mut self.masking else {
            return;
        };
        if let Some(found) = masking.entered.take() {
            let store = &self.shared.store;
            store.withdraw(&self.database, masking.session, found);
        }
    }

    /// The first one that waits is answered.
    pub(in crate::session) fn crossed(&mut self) {
        if let Some(masking) = &self.masking {
            let store = &self.shared.store;
            store.answered(&self.database, masking.session);
        }
    }
}

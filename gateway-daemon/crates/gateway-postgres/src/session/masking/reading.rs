//! What a session knows of its database: when the catalogue is asked for, which one counts, and what
//! the session's own changes mean for that.

use super::{Masking, Stamp};
use crate::codec::response::Transaction;
use crate::mask::catalogue::{self, Ask, Loading, REQUESTS};
use crate::mask::outlook::{Outlook, Remembered};
use crate::mask::store::{Database, Fresh, Store};
use crate::session::pipeline::{Own, Request};
use crate::session::serving::Serving;
use gateway_core::Masks;
use gateway_protocol::Effects;
use std::sync::Arc;

/// For one request the catalogue is read so often.
const LOADS_MAX: u32 = 3;

/// The request that a question of the gateway's own is.
pub(in crate::session) const fn own_request(ask: Ask) -> Request {
    match ask {
        Ask::Close | Ask::ClosePortal => Request::Close,
        Ask::Parse => Request::Parse,
        Ask::Bind => Request::Bind,
        Ask::Execute => Request::Execute,
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // What of it was committed (COMMIT AND CHAIN), or will be, is known to nobody else.
        if let Some(masking) = &mut self.masking {
            masking.hand_over(&self.shared.store, &self.database);
        }
    }
}

impl Masking {
    /// What the session has found and changed counts for all from now on.
    fn hand_over(&mut self, store: &Store, database: &Database) {
        if std::mem::take(&mut self.changed) {
            self.own = None;
            store.remember(database, std::mem::take(&mut self.found));
            store.changed(database, std::mem::take(&mut self.replaced));
        }
    }
}

impl Serving {
    /// A statement names what is not known: somebody may have made or renamed it elsewhere, and the
    /// catalogue is read once more for it.
    pub(super) fn reads_again(&mut self, outlook: &Outlook) -> bool {
        let reads = outlook.catalogue.is_some() && outlook.covers && self.can_load();
        let masking = self.masking();
        if std::mem::take(&mut masking.read_again) {
            masking.just_read = true;
        }
        if !reads || masking.just_read {
            return false;
        }
        masking.read_again = true;
        self.begin_reading();
        true
    }

    pub(super) fn can_load(&self) -> bool {
        self.pipeline.is_empty()
            && self.settings.text_is_utf8()
            && !self.up.unsynced
            && self.transaction != Transaction::Failed
    }

    pub(super) fn begin_reading(&mut self) {
        let generation = self.shared.store.generation(&self.database);
        let masking = self.masking();
        masking.loading = Some(Loading::default());
        masking.generation = generation;
    }

    /// What the policy says about the database; `None`: it has to be asked first.
    pub(super) fn outlook(&mut self, masks: &dyn Masks) -> Option<Arc<Outlook>> {
        let database = Arc::clone(&self.database);
        let can_load = self.can_load();
        let is_open = self.transaction != Transaction::Idle;
        let shared = Arc::clone(&self.shared);
        let masking = self.masking();
        if masking.loading.is_some() {
            return None;
        }
        let fresh = shared.store.fresh(&database);
        let catalogue = match (&masking.own, masking.changed, fresh) {
            (Some(own), true, _) => own.clone(),
            (_, false, Fresh::Yes(catalogue)) => Some(catalogue),
            // A question that fails would fail the client's transaction.
            (_, false, Fresh::Old(catalogue)) if is_open => Some(catalogue),
            _ if can_load && masking.loads < LOADS_MAX => {
                masking.loads += 1;
                self.begin_reading();
                return None;
            }
            // What it was a while ago will do; what is known to have changed will not.
            (_, false, Fresh::Old(catalogue)) => Some(catalogue),
            _ => None,
        };
        masking.just_read = std::mem::take(&mut masking.loads) > 0;
        let found = masking.changed.then_some(&mut masking.found);
        let store = &shared.store;
        Some(store.outlook(&database, catalogue.as_ref(), masks, found))
    }

    /// What is known of the database within the open transaction only.
    pub(in crate::session) fn found(&self) -> Remembered {
        let masking = self.masking.as_ref();
        masking.map_or_else(Remembered::default, |masking| masking.found.clone())
    }

    /// Now. `None`: the policy has called nothing sensitive so far.
    pub(in crate::session) fn stamp(&self) -> Option<Stamp> {
        let masking = self.masking.as_ref()?;
        let generation = self.shared.store.generation(&self.database);
        Some(Stamp(generation, masking.alterations))
    }

    /// The questions about the catalogue go upstream.
    pub(in crate::session) fn begin_loading(&mut self, out: &mut dyn Effects) {
        for _ in 0..catalogue::QUESTIONS {
            for ask in REQUESTS {
                self.pipeline.push_own(own_request(ask), Own::Apart);
            }
        }
        self.pipeline.push_own(Request::Sync, Own::Apart);
        out.send_upstream(&self.admitted, &catalogue::questions());
        out.pause_client(true);
    }

    /// The catalogue was read, or could not be.
    pub(in crate::session) fn end_loading(&mut self, out: &mut dyn Effects) {
        let database = Arc::clone(&self.database);
        let shared = Arc::clone(&self.shared);
        let open = self.transaction != Transaction::Idle;
        let masking = self.masking();
        let Some(loading) = masking.loading.take() else {
            return;
        };
        // Names mean what is there now all the same.
        let is_old = open && loading.is_snapshot();
        match loading.finish().filter(|_| !is_old) {
            Some(catalogue) if masking.changed && open => {
                masking.own = Some(Some(Arc::new(catalogue)));
            }
            Some(catalogue) => {
                masking.changed = false;
                masking.own = None;
                let began = masking.generation;
                shared.store.read(&database, catalogue, began);
            }
            // It is this session that could not read it; others may.
            None => masking.loads = LOADS_MAX,
        }
        out.pause_client(false);
    }

    /// ReadyForQuery.
    pub(in crate::session) fn masking_ready(&mut self, transaction: Transaction) {
        let Some(masking) = &mut self.masking else {
            return;
        };
        if transaction == Transaction::Idle && self.pipeline.is_empty() {
            masking.cursors.end_transaction();
            masking.hand_over(&self.shared.store, &self.database);
        } else if masking.changed {
            // It may have changed once more.
            masking.own = None;
        }
    }

    pub(super) fn loading(&mut self) -> Option<&mut Loading> {
        self.masking.as_mut()?.loading.as_mut()
    }

    /// A row of the gateway's own question.
    pub(in crate::session) fn own_row(&mut self, body: &[u8]) {
        if let Some(loading) = self.loading() {
            loading.row(body);
        }
    }

    pub(in crate::session) fn own_answered(&mut self) {
        if let Some(loading) = self.loading() {
            loading.answered();
        }
    }

    pub(in crate::session) fn own_failed(&mut self) {
        if let Some(loading) = self.loading() {
            loading.fail();
        }
    }
}

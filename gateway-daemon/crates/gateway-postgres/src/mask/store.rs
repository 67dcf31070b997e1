//! What all sessions share about databases: their catalogues, what policies say about those, and
//! what statements do.
use super::catalogue::Catalogue;
use super::marks::Marks;
use super::outlook::Outlook;
use crate::interpret::flow::Flow;
use gateway_core::Masks;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A catalogue is read anew after this long: nobody says when a session elsewhere has changed it.
const FRESH: Duration = Duration::from_secs(10);
/// So many databases are remembered.
const DATABASES_MAX: usize = 256;
/// So many outlooks are remembered.
const OUTLOOKS_MAX: usize = 64;
/// So many flows are remembered.
const FLOWS_MAX: usize = 16_384;

/// A database, as sessions reach it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    pub(crate) address: SocketAddr,
    pub(crate) name: Box<[u8]>,
}

#[derive(Debug, Default)]
struct Known {
    catalogue: Option<Arc<Catalogue>>,
    /// `None`: it has changed since.
    read: Option<Instant>,
    /// How often a session has changed it.
    generation: u64,
}

/// Whether a catalogue can be used.
#[derive(Clone, Debug)]
pub(crate) enum Fresh {
    /// It can.
    Yes(Arc<Catalogue>),
    /// It has not been read for a while.
    Old(Arc<Catalogue>),
    /// It was never read, or has changed since.
    No,
}

struct Seen {
    catalogue: Option<Arc<Catalogue>>,
    masks: u64,
    outlook: Arc<Outlook>,
}

type Flows = FxHashMap<(u64, u64), Arc<Flow>>;

/// Shared by all sessions of a gateway.
pub(crate) struct Store {
    now: fn() -> Instant,
    databases: Mutex<FxHashMap<Database, Known>>,
    marks: Marks,
    outlooks: Mutex<Vec<Seen>>,
    flows: Mutex<Flows>,
    next: AtomicU64,
}

impl Store {
    pub(crate) fn new(now: fn() -> Instant, marks: Marks) -> Store {
        Store {
            now,
            databases: Mutex::default(),
            marks,
            outlooks: Mutex::default(),
            flows: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// What is known of a database.
    pub(crate) fn fresh(&self, database: &Database) -> Fresh {
        let databases = self.databases.lock();
        let Some(known) = databases.get(database) else {
            return Fresh::No;
        };
        let is_fresh = known
            .read
            .is_some_and(|read| (self.now)().saturating_duration_since(read) < FRESH);
        match &known.catalogue {
            Some(catalogue) if is_fresh => Fresh::Yes(Arc::clone(catalogue)),
            Some(catalogue) if known.read.is_some() => Fresh::Old(Arc::clone(catalogue)),
            _ => Fresh::No,
        }
    }

    /// How often sessions have changed a database.
    pub(crate) fn generation(&self, database: &Database) -> u64 {
        let databases = self.databases.lock();
        databases.get(database).map_or(0, |known| known.generation)
    }

    /// A session has read the catalogue. It began in that generation: what it has
    /// read may be what was there before a change, and then it is not fresh.
    pub(crate) fn read(&self, database: &Database, catalogue: Catalogue, began: u64) {
        let mut databases = self.databases.lock();
        if databases.len() >= DATABASES_MAX && !databases.contains_key(database) {
            databases.clear();
        }
        let known = databases.entry(database.clone()).or_default();
        known.read = (known.generation == began).then(|| (self.now)());
        // The same as before comes with all that was found out about it.
        if known.catalogue.as_deref() != Some(&catalogue) {
            known.catalogue = Some(Arc::new(catalogue));
        }
    }

    /// A session has changed the catalogue, or may have. `replaces`: it has not only added to it, and
    /// what was found out about answers that are still to come does not count.
    pub(crate) fn changed(&self, database: &Database, replaces: bool) {
        let mut databases = self.databases.lock();
        let known = databases.entry(database.clone()).or_default();
        known.read = None;
        known.generation += u64::from(replaces);
    }

    /// What a policy says about a database. `is_shared`: as all sessions see it.
    pub(crate) fn outlook(
        &self,
        database: &Database,
        catalogue: Option<&Arc<Catalogue>>,
        masks: &dyn Masks,
        is_shared: bool,
    ) -> Arc<Outlook> {
        let is_same = |seen: &&Seen| {
            let same = match (&seen.catalogue, catalogue) {
                (Some(before), Some(now)) => Arc::ptr_eq(before, now),
                (None, None) => true,
                _ => false,
            };
            same && seen.masks == masks.id()
        };
        if let Some(seen) = self.outlooks.lock().iter().find(is_same) {
            return Arc::clone(&seen.outlook);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let outlook = Arc::new(match catalogue {
            None => Outlook::blind(id, masks),
            Some(catalogue) => {
                let before = self.marks.of(database);
                let outlook = Outlook::new(id, Arc::clone(catalogue), masks, &before);
                // What a transaction sees alone may never be there for others.
                if is_shared {
                    self.marks.update(database, |known| outlook.remember(known));
                }
                outlook
            }
        });
        let mut outlooks = self.outlooks.lock();
        if outlooks.len() >= OUTLOOKS_MAX {
            outlooks.remove(0);
        }
        outlooks.push(Seen {
            catalogue: catalogue.cloned(),
            masks: masks.id(),
            outlook: Arc::clone(&outlook),
        });
        outlook
    }

    /// What a statement of this shape does. Not remembered for 0, which is no shape.
    pub(crate) fn flow(&self, shape: u64, text: &str, outlook: &Outlook) -> Arc<Flow> {
        let key = (outlook.id, shape);
        if shape != 0
            && let Some(flow) = self.flows.lock().get(&key)
        {
            return Arc::clone(flow);
        }
        let flow = Arc::new(Flow::of(text, outlook));
        let mut flows = self.flows.lock();
        if flows.len() >= FLOWS_MAX {
            flows.clear();
        }
        if shape != 0 {
            flows.insert(key, Arc::clone(&flow));
        }
        flow
    }
}

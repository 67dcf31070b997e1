//! What all sessions share about databases: their catalogues, what policies say about those, and
//! what statements do.
use super::catalogue::Catalogue;
use super::marks::Marks;
use super::outlook::{Outlook, Remembered};
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
    /// Another number each time that a session has changed it, and after it was forgotten.
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
    /// Of the marks: what was found later is not in it.
    version: u64,
    outlook: Arc<Outlook>,
}

impl Seen {
    fn is_of(&self, catalogue: Option<&Arc<Catalogue>>) -> bool {
        match (&self.catalogue, catalogue) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        }
    }
}

type Databases = FxHashMap<Database, Known>;
type Flows = FxHashMap<(u64, u64), Arc<Flow>>;

/// Shared by all sessions of a gateway.
pub(crate) struct Store {
    now: fn() -> Instant,
    databases: Mutex<Databases>,
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

    /// One that was never given before.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn known<'d>(&self, databases: &'d mut Databases, database: &Database) -> &'d mut Known {
        databases.entry(database.clone()).or_insert_with(|| Known {
            generation: self.number(),
            ..Known::default()
        })
    }

    /// What is known of a database.
    pub(crate) fn fresh(&self, database: &Database) -> Fresh {
        let databases = self.databases.lock();
        let Some(known) = databases.get(database) else {
            return Fresh::No;
        };
        let now = (self.now)();
        let is_fresh = known
            .read
            .is_some_and(|read| now.saturating_duration_since(read) < FRESH);
        match &known.catalogue {
            Some(catalogue) if is_fresh => Fresh::Yes(Arc::clone(catalogue)),
            Some(catalogue) if known.read.is_some() => Fresh::Old(Arc::clone(catalogue)),
            _ => Fresh::No,
        }
    }

    /// The number of a database as it is now.
    pub(crate) fn generation(&self, database: &Database) -> u64 {
        let mut databases = self.databases.lock();
        // Asked for each statement: only a database that is not known yet is worth a copy of its name.
        if let Some(known) = databases.get(database) {
            return known.generation;
        }
        self.known(&mut databases, database).generation
    }

    /// A session has read the catalogue. It began in that generation: what it has read may be what was
    /// there before a change, and then it is not fresh.
    pub(crate) fn read(&self, database: &Database, catalogue: Catalogue, began: u64) {
        let mut databases = self.databases.lock();
        if databases.len() >= DATABASES_MAX && !databases.contains_key(database) {
            databases.clear();
        }
        let known = self.known(&mut databases, database);
        let is_same = known.generation == began;
        known.read = is_same.then(|| (self.now)());
        // The same as before comes with all that was found out about it.
        if known.catalogue.as_deref() != Some(&catalogue) {
            known.catalogue = Some(Arc::new(catalogue));
        }
    }

    /// A session has changed the catalogue, or may have. `replaces`: it has not only added to it, and
    /// what was found out about answers that are still to come does not count.
    pub(crate) fn changed(&self, database: &Database, replaces: bool) {
        let mut databases = self.databases.lock();
        let known = self.known(&mut databases, database);
        known.read = None;
        if replaces {
            known.generation = self.number();
        }
    }

    /// Keeps what a session has found out about a database within a transaction.
    pub(crate) fn remember(&self, database: &Database, found: Remembered) {
        self.marks.update(database, |known| {
            for (column, found) in found {
                let known = known.entry(column).or_default();
                for name in &found.fields {
                    known.add(name, found.itself);
                }
            }
        });
    }

    /// Is a catalogue what was read last, and has nothing changed since? One that was read before a
    /// transaction ended does not show what that has made.
    fn is_current(&self, database: &Database, catalogue: &Arc<Catalogue>) -> bool {
        let databases = self.databases.lock();
        databases.get(database).is_some_and(|known| {
            let read = known.catalogue.as_ref().filter(|_| known.read.is_some());
            read.is_some_and(|read| Arc::ptr_eq(read, catalogue))
        })
    }

    /// What a policy says about a database of which nothing is known.
    pub(crate) fn blind(&self, database: &Database, masks: &dyn Masks) -> Arc<Outlook> {
        self.outlook(database, None, masks, None)
    }

    /// What a policy says about a database as all sessions see it; or with what a session has
    /// `found` within a transaction, which nobody else may ever see.
    pub(crate) fn outlook(
        &self,
        database: &Database,
        catalogue: Option<&Arc<Catalogue>>,
        masks: &dyn Masks,
        found: Option<&mut Remembered>,
    ) -> Arc<Outlook> {
        let version = self.marks.version();
        let is_same = |seen: &&Seen| {
            let is_new = catalogue.is_none() || seen.version == version;
            is_new && seen.masks == masks.id() && seen.is_of(catalogue)
        };
        if let Some(seen) = self.outlooks.lock().iter().find(is_same) {
            return Arc::clone(&seen.outlook);
        }
        let (outlook, version) = match catalogue {
            None => (Outlook::blind(self.number(), masks), version),
            Some(catalogue) => self.new_outlook(database, catalogue, masks, found),
        };
        let outlook = Arc::new(outlook);
        let mut outlooks = self.outlooks.lock();
        outlooks.retain(|seen| !(seen.masks == masks.id() && seen.is_of(catalogue)));
        if outlooks.len() >= OUTLOOKS_MAX {
            outlooks.remove(0);
        }
        outlooks.push(Seen {
            catalogue: catalogue.cloned(),
            masks: masks.id(),
            version,
            outlook: Arc::clone(&outlook),
        });
        outlook
    }

    /// With the version of the marks that are in it.
    fn new_outlook(
        &self,
        database: &Database,
        catalogue: &Arc<Catalogue>,
        masks: &dyn Masks,
        found: Option<&mut Remembered>,
    ) -> (Outlook, u64) {
        if let Some(found) = found {
            let mut known = self.marks.of(database);
            let own = found.iter().map(|(column, field)| (*column, field.clone()));
            known.remembered.extend(own);
            let id = self.number();
            let mut outlook = Outlook::new(id, Arc::clone(catalogue), masks, &known.remembered);
            outlook.is_own = true;
            outlook.add_to(found);
            return (outlook, known.version);
        }
        let is_current = self.is_current(database, catalogue);
        loop {
            let known = self.marks.of(database);
            let id = self.number();
            let outlook = Outlook::new(id, Arc::clone(catalogue), masks, &known.remembered);
            let updated = self.marks.update(database, |known| {
                if is_current {
                    outlook.forget_gone(known);
                }
                outlook.add_to(known);
            });
            // Otherwise another session has found more meanwhile.
            if updated.before == known.version {
                return (outlook, updated.after);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::super::marks::Nowhere;
    use super::super::outlook::Found;
    use super::*;
    use gateway_testkit::FakeMasks;

    #[test]
    fn what_is_found_later_is_in_the_next_outlook() {
        const MASKS: FakeMasks = FakeMasks {
            covered: &["public.users.email"],
            watched: &[],
        };
        let store = Store::new(Instant::now, Marks::new(Vec::new(), Arc::new(Nowhere)));
        let database = Database {
            address: ([10, 0, 0, 7], 5432).into(),
            name: (*b"orders").into(),
        };
        let catalogue = Arc::new(Catalogue::default());
        let outlook = || store.outlook(&database, Some(&catalogue), &MASKS, None).id;
        let first = outlook();
        assert_eq!(outlook(), first, "nothing was found");
        let mut email = Found::default();
        email.add(&Arc::from("public.users.email"), true);
        store.remember(&database, Remembered::from_iter([((20_000, 2), email)]));
        assert_ne!(outlook(), first, "of the same catalogue");
    }
}

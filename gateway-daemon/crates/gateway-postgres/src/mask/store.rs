//! What all sessions share about databases: their catalogues, what policies say about those, and
//! what statements do.
use super::catalogue::Catalogue;
use super::crossing::{Crossing, Let, Moment};
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
/// A request whose session has left counts as under way for this long where the server does not say what
/// runs for it.
const LEFT: Duration = Duration::from_secs(600);
/// By then the server has begun with what was sent before a session left.
const BEGUN: Duration = Duration::from_secs(10);
/// So many sessions that left are told apart.
const LEFT_MAX: usize = 256;
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
    /// Sessions that change it just now, or may: what is read by others may be what was there
    /// before, and is what was there before a moment later.
    changing: UnderWay,
    /// Requests that store what they find in relations.
    moving: UnderWay,
    /// What may not cross.
    crossing: Crossing,
    /// Its processes are those that sessions were told of: no pool is between.
    is_direct: bool,
}

/// Requests of one sort that were not answered yet.
#[derive(Debug, Default)]
struct UnderWay {
    requests: u32,
    /// Of sessions that left before they had their answer: the server goes on.
    left: Vec<Left>,
}

/// A session that left.
#[derive(Debug)]
pub(crate) struct Left {
    at: Instant,
    /// The process of the server that served it; `None`: it is not known.
    process: Option<u32>,
    /// The server says what runs for it.
    told: bool,
}

impl Left {
    pub(super) fn new(at: Instant, process: Option<u32>, told: bool) -> Left {
        let told = told && process.is_some();
        Left { at, process, told }
    }

    /// May the server go on with what it was sent?
    pub(super) fn counts(&self, now: Instant) -> bool {
        self.told || now.saturating_duration_since(self.at) < LEFT
    }

    /// Does the server run nothing more for it?
    pub(super) fn is_over(&self, processes: Processes<'_>) -> bool {
        let has_begun = processes.asked.saturating_duration_since(self.at) >= BEGUN;
        let runs = |process: u32| processes.running.contains(&process);
        has_begun && !self.process.is_none_or(runs)
    }

    /// The same, of which nobody can say any more what runs for it.
    pub(super) fn unknown(self) -> Left {
        Left::new(self.at, None, false)
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Answered,
    /// The session left, and the process of the server that served it may go on.
    Left(Option<u32>),
}

/// What the server said of its processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processes<'a> {
    /// When it was asked.
    pub(crate) asked: Instant,
    /// Those that served a session, or ran something.
    pub(crate) running: &'a [u32],
}

impl UnderWay {
    fn begin(&mut self) {
        self.requests += 1;
    }

    /// `told`: the server says what runs.
    fn end(&mut self, ended: Ended, now: Instant, told: bool) {
        self.requests = self.requests.saturating_sub(1);
        let Ended::Left(process) = ended else { return };
        self.left.retain(|left| left.counts(now));
        if self.left.len() >= LEFT_MAX {
            // The last one stands for all that come.
            self.left.pop();
            self.left.push(Left::new(now, None, false));
        } else {
            self.left.push(Left::new(now, process, told));
        }
    }

    /// Forgets the sessions that left and whose processes run nothing more. True: there was one.
    fn settle(&mut self, processes: Processes<'_>) -> bool {
        let before = self.left.len();
        self.left.retain(|left| !left.is_over(processes));
        self.left.len() < before
    }

    /// Is one under way, or may one be whose session left?
    fn is_any(&self, now: Instant) -> bool {
        self.requests > 0 || self.is_left(now)
    }

    fn is_left(&self, now: Instant) -> bool {
        self.left.iter().any(|left| left.counts(now))
    }
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
    /// It is being changed: what was read a moment ago may not be true any more by the time of an
    /// answer.
    Changing,
}

struct Seen {
    catalogue: Option<Arc<Catalogue>>,
    masks: u64,
    outlook: Arc<Outlook>,
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

    pub(crate) fn now(&self) -> Instant {
        (self.now)()
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
        if known.changing.is_any(now) {
            return Fresh::Changing;
        }
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

    /// A session has read the catalogue. It began in that generation: what it has
    /// read may be what was there before a change, and then it is not fresh. `processes`: where the
    /// server's are those that sessions were told of. Gives what it has read.
    pub(crate) fn read(
        &self,
        database: &Database,
        catalogue: Catalogue,
        began: (u64, Moment),
        processes: Option<Processes<'_>>,
    ) -> Arc<Catalogue> {
        let mut databases = self.databases.lock();
        if databases.len() >= DATABASES_MAX && !databases.contains_key(database) {
            let now = (self.now)();
            databases.retain(|_, known| {
                let is_under_way = known.changing.is_any(now) || known.moving.is_any(now);
                is_under_way || !known.crossing.is_empty()
            });
        }
        let known = self.known(&mut databases, database);
        let mut settled = false;
        known.is_direct = processes.is_some();
        if let Some(processes) = processes {
            known.moving.settle(processes);
            // What it has changed meanwhile may have been read before.
            settled = known.changing.settle(processes) | known.crossing.settle(processes);
        }
        let is_same = (known.generation, known.crossing.moment()) == began;
        let is_new = is_same && known.changing.requests == 0 && !settled;
        known.read = is_new.then(|| (self.now)());
        // The same as before comes with all that was found out about it.
        match &known.catalogue {
            Some(before) if **before == catalogue => Arc::clone(before),
            _ => Arc::clone(known.catalogue.insert(Arc::new(catalogue))),
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

    /// A request goes upstream that may replace something for all sessions, by the time of its
    /// answer.
    pub(crate) fn begin_change(&self, database: &Database) {
        let mut databases = self.databases.lock();
        let known = self.known(&mut databases, database);
        known.read = None;
        known.generation = self.number();
        known.changing.begin();
    }

    /// It was answered, or will not be.
    pub(crate) fn end_change(&self, database: &Database, ended: Ended) {
        let mut databases = self.databases.lock();
        let known = self.known(&mut databases, database);
        known.read = None;
        known.generation = self.number();
        let told = known.is_direct;
        known.changing.end(ended, (self.now)(), told);
    }

    /// A request goes upstream that stores what it finds in relations.
    pub(crate) fn begin_move(&self, database: &Database) {
        let mut databases = self.databases.lock();
        self.known(&mut databases, database).moving.begin();
    }

    /// It was answered, or will not be.
    pub(crate) fn end_move(&self, database: &Database, ended: Ended) {
        let mut databases = self.databases.lock();
        let known = self.known(&mut databases, database);
        let told = known.is_direct;
        known.moving.end(ended, (self.now)(), told);
    }

    /// A number for a session, which no other has.
    pub(crate) fn session(&self) -> u64 {
        self.number()
    }

    /// Now, in the order of what sessions make of names.
    pub(crate) fn moment(&self, database: &Database) -> Moment {
        self.cross(database, |crossing| crossing.moment())
    }

    /// Lets a statement of a session through that was judged by what was there at a moment; `None`: it
    /// would cross another session's.
    pub(crate) fn enter(
        &self,
        database: &Database,
        session: u64,
        flow: &Arc<Flow>,
        judged: Moment,
    ) -> Option<Let> {
        let now = (self.now)();
        self.cross(database, |crossing| {
            crossing.enter(session, flow, judged, now)
        })
    }

    /// What was let through last was not sent.
    pub(crate) fn withdraw(&self, database: &Database, session: u64, found: Let) {
        self.cross(database, |crossing| crossing.withdraw(session, found));
    }

    /// The first of a session's statements that wait is answered.
    pub(crate) fn answered(&self, database: &Database, session: u64) {
        self.cross(database, |crossing| crossing.answered(session));
    }

    /// The transaction of a session has ended.
    pub(crate) fn ended(&self, database: &Database, session: u64) {
        self.cross(database, |crossing| crossing.ended(session));
    }

    /// A session left, which this process of the server served.
    pub(crate) fn left(&self, database: &Database, session: u64, process: Option<u32>) {
        let at = (self.now)();
        self.with(database, |known| {
            let left = Left::new(at, process, known.is_direct);
            known.crossing.left(session, left);
        });
    }

    /// Does one that left have something on its way, of which the server may know that it is over?
    pub(crate) fn may_be_over(&self, database: &Database) -> bool {
        self.cross(database, |crossing| crossing.has_left())
    }

    fn cross<T>(&self, database: &Database, work: impl FnOnce(&mut Crossing) -> T) -> T {
        self.with(database, |known| work(&mut known.crossing))
    }

    fn with<T>(&self, database: &Database, work: impl FnOnce(&mut Known) -> T) -> T {
        let mut databases = self.databases.lock();
        // Asked for each statement: only a database that is not known yet is worth a copy of its name.
        match databases.get_mut(database) {
            Some(known) => work(known),
            None => work(self.known(&mut databases, database)),
        }
    }

    /// Is there no such request but of sessions that left?
    pub(crate) fn only_left_moving(&self, database: &Database) -> bool {
        let databases = self.databases.lock();
        let moving = databases.get(database).map(|known| &known.moving);
        moving.is_some_and(|moving| moving.requests == 0 && moving.is_left((self.now)()))
    }

    /// Are such requests on their way?
    pub(crate) fn is_moving(&self, database: &Database) -> bool {
        let databases = self.databases.lock();
        let known = databases.get(database);
        known.is_some_and(|known| known.moving.is_any((self.now)()))
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
        let id = self.number();
        let outlook = Arc::new(match catalogue {
            None => Outlook::blind(id, masks),
            Some(catalogue) => {
                let mut before = self.marks.of(database);
                if let Some(found) = &found {
                    let found = found.iter().map(|(column, field)| (*column, field.clone()));
                    before.extend(found);
                }
                let mut outlook = Outlook::new(id, Arc::clone(catalogue), masks, &before);
                outlook.is_own = found.is_some();
                match found {
                    Some(found) => outlook.add_to(found),
                    None => {
                        let is_current = self.is_current(database, catalogue);
                        self.marks.update(database, |known| {
                            if is_current {
                                outlook.forget_gone(known);
                            }
                            outlook.add_to(known);
                        });
                    }
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

#[cfg(test)]
mod tests {
    use super::super::marks::Nowhere;
    use super::*;
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    fn now() -> Instant {
        NOW.get().unwrap_or_else(|| {
            let now = Instant::now();
            NOW.set(Some(now));
            now
        })
    }

    fn later(seconds: u64) {
        NOW.set(Some(now() + Duration::from_secs(seconds)));
    }

    /// The catalogue is read, and the server says who runs something.
    fn read(store: &Store, running: &[u32]) {
        let began = (store.generation(&orders()), store.moment(&orders()));
        let asked = now();
        let processes = Some(Processes { asked, running });
        store.read(&orders(), Catalogue::default(), began, processes);
    }

    fn orders() -> Database {
        Database {
            address: ([10, 0, 0, 7], 5432).into(),
            name: (*b"orders").into(),
        }
    }

    fn store() -> Store {
        Store::new(now, Marks::new(Vec::new(), Arc::new(Nowhere)))
    }

    #[test]
    fn who_left_is_waited_for_while_the_server_goes_on() {
        let store = store();
        store.begin_move(&orders());
        assert!(!store.only_left_moving(&orders()));
        store.end_move(&orders(), Ended::Left(Some(7)));
        assert!(store.only_left_moving(&orders()));
        read(&store, &[]);
        assert!(store.is_moving(&orders()), "it may not have begun yet");
        later(11);
        read(&store, &[5, 7]);
        assert!(store.is_moving(&orders()), "it runs");
        read(&store, &[5]);
        assert!(!store.is_moving(&orders()));
    }

    #[test]
    fn who_left_without_a_number_is_waited_for_until_the_end() {
        let store = store();
        store.begin_move(&orders());
        store.end_move(&orders(), Ended::Left(None));
        later(590);
        read(&store, &[]);
        assert!(store.is_moving(&orders()));
        later(20);
        assert!(!store.is_moving(&orders()));
    }

    #[test]
    fn the_catalogue_is_read_anew_when_a_change_is_over() {
        let store = store();
        store.begin_change(&orders());
        store.end_change(&orders(), Ended::Left(Some(7)));
        later(11);
        read(&store, &[7]);
        assert!(matches!(store.fresh(&orders()), Fresh::Changing));
        read(&store, &[]);
        // It may have been read before the change, and who runs what after it.
        assert!(matches!(store.fresh(&orders()), Fresh::No));
        read(&store, &[]);
        assert!(matches!(store.fresh(&orders()), Fresh::Yes(_)));
    }

    #[test]
    fn many_who_leave_are_one() {
        let store = store();
        for number in 0..1000 {
            store.begin_move(&orders());
            store.end_move(&orders(), Ended::Left(Some(number)));
        }
        later(11);
        read(&store, &[]);
        assert!(store.is_moving(&orders()));
        let databases = store.databases.lock();
        assert!(databases[&orders()].moving.left.len() <= LEFT_MAX);
    }
}

//! Whose tree is whose: decided when a tree is rooted, and kept.
//!
//! Reading the login uid takes microseconds and must be done at once, since a root can vanish.
//! Naming the user can take seconds, so threads of its own do that, and only who needs the name
//! waits for it.
use crate::accounts::Accounts;
use crate::local::local_id;
use crate::login::{LoginUid, LoginUids, UNSET_LOGIN_UID};
use crate::state::{IdentityFile, IdentityNote, SavedIdentity};
use gateway_core::{Assurance, Principal, Process, Provenance, TreeId};
use parking_lot::{Condvar, Mutex};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How many trees are remembered. One more is `unknown`, which only rules for everyone match.
pub const TREES_MAX: usize = 65_536;
/// How many users are looked up at a time: one slow answer must not delay the others.
const LOOKUPS_AT_ONCE: usize = 4;
/// What is not a user: `(uid_t) -1`.
const NO_UID: u32 = u32::MAX;

/// The process at the root of a tree, as it was when the tree began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its pid (tgid).
    pub pid: u32,
    /// When its leader started, nanoseconds since boot.
    pub start: u64,
    /// Its effective user id.
    pub uid: u32,
    /// Its login uid, where the kernel half reported it with the event; else it is read from /proc.
    pub login_uid: Option<u32>,
}

/// The principals of all trees.
pub struct Identities {
    shared: Arc<Shared>,
    logins: Box<dyn LoginUids>,
}

struct Shared {
    state: Mutex<State>,
    /// There is somebody to look up, or it is over.
    work: Condvar,
    /// Somebody was looked up: for tasks, and for threads.
    answered: Notify,
    answered_to_threads: Condvar,
    accounts: Box<dyn Accounts>,
}

#[derive(Default)]
struct State {
    trees: FxHashMap<TreeId, Entry>,
    queue: VecDeque<u32>,
    /// Who is in the queue, or being looked up.
    wanted: FxHashSet<u32>,
    dirty: bool,
    closed: bool,
}

/// Whose tree it is.
#[derive(Clone, Debug)]
struct Entry {
    uid: u32,
    name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// The directory has not answered yet.
    Pending,
    /// The directory could not be asked; it is tried again whenever somebody asks.
    Failed,
    /// It stays.
    Known(Arc<str>),
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities")
            .field("trees", &self.len())
            .finish_non_exhaustive()
    }
}

impl Identities {
    /// Starts with no tree.
    ///
    /// # Errors
    /// The threads that look users up cannot be started.
    pub fn new(accounts: Box<dyn Accounts>, logins: Box<dyn LoginUids>) -> io::Result<Identities> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            answered: Notify::new(),
            answered_to_threads: Condvar::new(),
            accounts,
        });
        let identities = Identities { shared, logins };
        for _ in 0..LOOKUPS_AT_ONCE {
            let shared = Arc::clone(&identities.shared);
            let thread = std::thread::Builder::new().name("accounts".to_owned());
            thread
                .stack_size(256 << 10)
                .spawn(move || shared.look_up_users())?;
        }
        Ok(identities)
    }

    /// A tree began. To be called at once, by the thread that reads the kernel half's reports:
    /// it does not wait for the directory. Of a tree that is known already nothing changes.
    pub fn rooted(&self, tree: TreeId, root: &Root) {
        if self.shared.state.lock().trees.contains_key(&tree) {
            return;
        }
        let login_uid = match root.login_uid {
            Some(UNSET_LOGIN_UID) => LoginUid::Unset,
            Some(login_uid) => LoginUid::Set(login_uid),
            None => self.logins.login_uid(root.pid, root.start),
        };
        self.shared
            .state
            .lock()
            .add(tree, uid_of(login_uid, root.uid));
        self.shared.work.notify_one();
    }

    /// Whose tree it is, without waiting. `None`: the tree is not known, or the directory has not
    /// answered yet.
    #[must_use]
    pub fn settled(&self, tree: TreeId) -> Option<Principal> {
        let mut state = self.shared.state.lock();
        let entry = state.trees.get(&tree)?.clone();
        if entry.name == Name::Failed {
            state.want(entry.uid);
            self.shared.work.notify_one();
        }
        match entry.name {
            Name::Pending => None,
            Name::Failed => Some(principal(entry.uid, local_id(entry.uid, None))),
            Name::Known(id) => Some(principal(entry.uid, id)),
        }
    }

    /// Whose tree it is. Waits for the directory; the caller limits the wait, and takes
    /// [`Identities::by_number`] when it is over.
    ///
    /// For a tree whose beginning was not reported, `root` is the first process of a lineage.
    /// A gap there means that it may not be the root, and then the tree is nobody's.
    pub async fn principal(&self, tree: TreeId, root: Option<&Process>) -> Principal {
        if !self.begin(tree, root) {
            return Principal::unknown();
        }
        loop {
            // Registered before the check, so that no answer falls in between.
            let mut answered = std::pin::pin!(self.shared.answered.notified());
            answered.as_mut().enable();
            if let Some(principal) = self.settled(tree) {
                return principal;
            }
            if !self.knows(tree) {
                return Principal::unknown();
            }
            answered.await;
        }
    }

    /// As [`Identities::principal`], for a thread: waits for the directory for at most `patience`,
    /// and then tells whose tree it is by number.
    #[must_use]
    pub fn principal_within(
        &self,
        tree: TreeId,
        root: Option<&Process>,
        patience: Duration,
    ) -> Principal {
        if !self.begin(tree, root) {
            return Principal::unknown();
        }
        if let Some(principal) = self.settled(tree) {
            return principal;
        }
        let mut state = self.shared.state.lock();
        self.shared.answered_to_threads.wait_while_for(
            &mut state,
            |state| {
                state
                    .trees
                    .get(&tree)
                    .is_some_and(|entry| entry.name == Name::Pending)
            },
            patience,
        );
        drop(state);
        self.settled(tree).unwrap_or_else(|| self.by_number(tree))
    }

    /// Makes a tree known whose beginning was not reported. `false`: it is nobody's.
    fn begin(&self, tree: TreeId, root: Option<&Process>) -> bool {
        if self.knows(tree) {
            return true;
        }
        if let Some(root) = root.filter(|root| root.provenance != Provenance::Gap) {
            self.rooted(tree, &Root::from(root));
        }
        self.knows(tree)
    }

    /// Whose tree it is, by number: `local:#1000`.
    #[must_use]
    pub fn by_number(&self, tree: TreeId) -> Principal {
        let uid = self
            .shared
            .state
            .lock()
            .trees
            .get(&tree)
            .map(|entry| entry.uid);
        uid.map_or_else(Principal::unknown, |uid| {
            principal(uid, local_id(uid, None))
        })
    }

    /// Is it decided whose tree it is?
    #[must_use]
    pub fn knows(&self, tree: TreeId) -> bool {
        self.shared.state.lock().trees.contains_key(&tree)
    }

    /// Forgets the trees that have ended. A tree must be known to whoever answers `lives` before
    /// it is given to [`Identities::rooted`].
    pub fn retain(&self, lives: impl Fn(TreeId) -> bool) {
        let mut state = self.shared.state.lock();
        let before = state.trees.len();
        state.trees.retain(|&tree, _| lives(tree));
        state.dirty |= state.trees.len() != before;
    }

    /// How many trees are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.state.lock().trees.len()
    }

    /// Is no tree known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes whose trees are whose, when that has changed.
    ///
    /// # Errors
    /// The file could not be written. The next save tries again.
    pub fn save(&self, file: &mut IdentityFile) -> io::Result<()> {
        let trees = {
            let mut state = self.shared.state.lock();
            if !state.dirty && !file.failed {
                return Ok(());
            }
            state.dirty = false;
            state.saved()
        };
        file.write(trees)
    }

    /// Takes over what an earlier daemon saved in this boot. To be called before the first
    /// [`Identities::rooted`]. Returns how many trees there were.
    ///
    /// # Errors
    /// There was nothing usable, for this reason. Nothing has changed.
    pub fn restore(&self, file: &IdentityFile) -> Result<usize, IdentityNote> {
        let saved = file.read()?;
        let mut state = self.shared.state.lock();
        for identity in saved {
            state.add(identity.tree, identity.uid);
            if let (Some(id), Some(entry)) = (identity.id, state.trees.get_mut(&identity.tree)) {
                entry.name = Name::Known(id);
            }
        }
        // Users whose tree has a name are not looked up again.
        let pending: FxHashSet<u32> = state.pending().collect();
        state.queue.retain(|uid| pending.contains(uid));
        state.wanted.retain(|uid| pending.contains(uid));
        let count = state.trees.len();
        drop(state);
        self.shared.work.notify_all();
        Ok(count)
    }
}

impl Drop for Identities {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        // Not waited for: a thread may be in the middle of a look-up that takes long.
        self.shared.work.notify_all();
    }
}

impl State {
    fn add(&mut self, tree: TreeId, uid: u32) {
        if self.trees.len() >= TREES_MAX || self.trees.contains_key(&tree) {
            return;
        }
        self.trees.insert(
            tree,
            Entry {
                uid,
                name: Name::Pending,
            },
        );
        self.dirty = true;
        self.want(uid);
    }

    /// Has a user looked up. The queue holds each once, so it is no longer than there are trees.
    fn want(&mut self, uid: u32) {
        if self.wanted.insert(uid) {
            self.queue.push_back(uid);
        }
    }

    fn pending(&self) -> impl Iterator<Item = u32> {
        self.trees
            .values()
            .filter(|entry| entry.name == Name::Pending)
            .map(|entry| entry.uid)
    }

    fn answer(&mut self, uid: u32, name: &Name) {
        self.wanted.remove(&uid);
        for entry in self.trees.values_mut() {
            if entry.uid == uid && !matches!(entry.name, Name::Known(_)) {
                entry.name = name.clone();
                self.dirty = true;
            }
        }
    }

    fn saved(&self) -> Vec<SavedIdentity> {
        let saved = self.trees.iter().map(|(&tree, entry)| {
            let id = match &entry.name {
                Name::Known(id) => Some(Arc::clone(id)),
                Name::Pending | Name::Failed => None,
            };
            SavedIdentity {
                tree,
                uid: entry.uid,
                id,
            }
        });
        saved.collect()
    }
}

impl Shared {
    /// What a thread does until it is over.
    fn look_up_users(&self) {
        let mut state = self.state.lock();
        while !state.closed {
            let Some(uid) = state.queue.pop_front() else {
                self.work.wait(&mut state);
                continue;
            };
            drop(state);
            let name = self.look_up(uid);
            state = self.state.lock();
            state.answer(uid, &name);
            self.answered.notify_waiters();
            self.answered_to_threads.notify_all();
        }
    }

    fn look_up(&self, uid: u32) -> Name {
        match self.accounts.name_of(uid) {
            Ok(name) => Name::Known(local_id(uid, name.as_deref()).into()),
            Err(_) => Name::Failed,
        }
    }
}

impl From<&Process> for Root {
    fn from(process: &Process) -> Root {
        Root {
            pid: process.pid,
            start: process.start,
            uid: process.uid,
            login_uid: None,
        }
    }
}

/// Whom the kernel's word names.
fn uid_of(login_uid: LoginUid, uid: u32) -> u32 {
    match login_uid {
        LoginUid::Set(login_uid) => login_uid,
        LoginUid::Unset => uid,
        LoginUid::Unreadable => NO_UID,
    }
}

fn principal(uid: u32, id: impl Into<Arc<str>>) -> Principal {
    if uid == NO_UID {
        return Principal::unknown();
    }
    Principal {
        id: id.into(),
        assurance: Assurance::Kernel,
        groups: Vec::new(),
    }
}

/// Whose tree it is, by its root alone. Asks the directory, and may wait for it.
#[must_use]
pub fn identify(root: &Process, logins: &dyn LoginUids, accounts: &dyn Accounts) -> Principal {
    let uid = uid_of(logins.login_uid(root.pid, root.start), root.uid);
    let name = accounts.name_of(uid).ok().flatten();
    principal(uid, local_id(uid, name.as_deref()))
}

#[cfg(test)]
mod tests;

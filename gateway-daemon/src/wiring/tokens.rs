//! Tokens that jobs carry: found in environments, given with `gateway run`, verified, and bound to
//! the process that presents them.
//!
//! Environments are read on threads of their own, as soon as an exec is reported: the process may
//! be gone a moment later. A connection waits for those of its own lineage; what is still not
//! known then is refused.
use crate::terminal::moment;
use gateway_core::{Assurance, Lineage, Principal, Process, Timestamp, TreeId};
use gateway_identity::{
    BindError, BindingFile, Bindings, Bound, CiSystem, IssuerError, Issuers, TokenError,
    VerifiedToken, environment,
};
use gateway_lineage::{Forest, ProcessKey};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Environments that wait to be read.
const QUEUE_MAX: usize = 65_536;
/// An issuer that is slow must not keep the tokens of the others waiting.
const READERS: usize = 4;
/// How long a connection waits for the tokens of its lineage.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Tokens whose verification is remembered: every process of a job has the same one.
const REMEMBERED_MAX: usize = 1024;
/// Processes of which it is not known who they are.
const UNSURE_MAX: usize = 65_536;
/// Processes that say whose job they are, without one above them that does.
const ASSERTED_MAX: usize = 65_536;
/// How long a token that was not good is not looked at again.
const BAD_FOR: Duration = Duration::from_secs(15);

/// Who verifies logins by SSH. An issuer of this name is told apart by its tokens.
const SSHD: &str = "sshd";

/// A process that executed something.
type Presenter = (TreeId, ProcessKey);

/// All tokens, and what they bound.
pub(crate) struct Tokens {
    shared: Arc<Shared>,
    queue: Option<SyncSender<Presenter>>,
}

struct Shared {
    issuers: Option<Arc<Issuers>>,
    bindings: Bindings,
    file: Mutex<BindingFile>,
    forest: Arc<Forest>,
    /// Whose environment is not read yet, and how often.
    unread: Mutex<HashMap<ProcessKey, u32>>,
    read: Condvar,
    /// Who presented something that did not bind, or may have: whatever stands below is refused.
    unsure: Mutex<HashMap<ProcessKey, Unsure>>,
    /// CI systems whose variables are looked for.
    systems: Vec<CiSystem>,
    /// Who says in its environment whose job it is.
    asserted: Mutex<HashMap<ProcessKey, Asserted>>,
    remembered: Mutex<HashMap<String, Remembered>>,
}

/// Why it is not known who stands behind a process.
#[derive(Clone, Copy)]
struct Unsure {
    tree: TreeId,
    /// When it was looked at last.
    since: Instant,
    /// It may be known later: the issuer could not be reached.
    again: bool,
}

/// Whose job a process says that it is.
struct Asserted {
    tree: TreeId,
    principal: Principal,
}

#[derive(Clone)]
enum Remembered {
    Good(Box<VerifiedToken>),
    Bad(TokenError, Instant),
}

impl Tokens {
    /// Takes over what an earlier daemon of this boot bound.
    pub(crate) fn open(
        issuers: Option<Arc<Issuers>>,
        systems: Vec<CiSystem>,
        state_dir: &Path,
        boot_id: &str,
        forest: &Arc<Forest>,
    ) -> io::Result<Tokens> {
        let bindings = Bindings::new();
        let file = BindingFile::new(state_dir, boot_id);
        match bindings.restore(&file) {
            Ok(count) => tracing::info!(bindings = count, "tokens"),
            Err(note) if note.is_loss() => {
                tracing::error!(%note, "whose trees these are is lost: they are nobody's");
                bindings.doubt(forest.trees().iter().map(|summary| summary.tree));
            }
            Err(note) => tracing::info!(bindings = 0, %note, "tokens"),
        }
        let looks = has_variables(issuers.as_deref()) || !systems.is_empty();
        let shared = Arc::new(Shared {
            issuers,
            bindings,
            file: Mutex::new(file),
            forest: Arc::clone(forest),
            unread: Mutex::default(),
            read: Condvar::new(),
            unsure: Mutex::default(),
            systems,
            asserted: Mutex::default(),
            remembered: Mutex::default(),
        });
        let queue = looks.then(|| start_readers(&shared)).transpose()?;
        Ok(Tokens { shared, queue })
    }

    /// A process executed something: its environment is new. Does not wait.
    pub(crate) fn executed(&self, tree: TreeId, process: ProcessKey) {
        let Some(queue) = &self.queue else { return };
        *self.shared.unread.lock().entry(process).or_default() += 1;
        match queue.try_send((tree, process)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                tracing::error!(%tree, "too many environments wait to be read: the tree is nobody's");
                self.shared.bindings.doubt([tree]);
                self.shared.done(process);
            }
        }
    }

    /// A process presents a token that was verified.
    pub(crate) fn present(
        &self,
        tree: TreeId,
        process: ProcessKey,
        token: &VerifiedToken,
    ) -> Result<(), String> {
        self.shared.bind(tree, process, token).map(drop)
    }

    /// Those who may say who somebody is.
    pub(crate) fn issuers(&self) -> Option<&Arc<Issuers>> {
        self.shared.issuers.as_ref()
    }

    /// What [`Tokens::sign_in`] would do; nothing is bound.
    pub(crate) fn may_sign_in(
        &self,
        tree: TreeId,
        root: ProcessKey,
        principal: &Principal,
    ) -> Result<Bound, String> {
        let bindings = &self.shared.bindings;
        let found = bindings.may_bind_once(tree, (root.pid, root.start), principal);
        found.map_err(|error| error.to_string())
    }

    /// A person signed in for a tree: its root is theirs, once.
    pub(crate) fn sign_in(
        &self,
        tree: TreeId,
        root: ProcessKey,
        token: &VerifiedToken,
    ) -> Result<Bound, String> {
        let (bindings, key) = (&self.shared.bindings, (root.pid, root.start));
        let bound = bindings.bind_once(tree, key, token, moment::now());
        let bound = bound.map_err(|error| error.to_string())?;
        self.shared.kept(bound)
    }

    /// Somebody logged in by SSH: the tree whose root is the process of sshd is theirs, once.
    pub(crate) fn log_in(
        &self,
        tree: TreeId,
        root: ProcessKey,
        principal: &Principal,
    ) -> Result<Bound, String> {
        let (bindings, key) = (&self.shared.bindings, (root.pid, root.start));
        let bound = bindings.bind_login(tree, key, principal, SSHD);
        let bound = bound.map_err(|error| error.to_string())?;
        self.shared.kept(bound)
    }

    /// Did an SSH login make this process a root?
    pub(crate) fn logged_in(&self, tree: TreeId, root: &Process) -> bool {
        let bindings = self.shared.bindings.of(tree);
        let mut bindings = bindings.iter();
        let key = (root.pid, root.start);
        bindings.any(|one| one.process == key && &*one.issuer == SSHD && one.token.is_empty())
    }

    /// A person presents another token where they are signed in already: it is this tree's too.
    pub(crate) fn claim(&self, tree: TreeId, token: &VerifiedToken) -> Result<(), String> {
        let claimed = self.shared.bindings.claim(tree, token, moment::now());
        claimed.map_err(|error| error.to_string())?;
        self.shared.kept(Bound::Again).map(drop)
    }

    /// Is the token good? Nothing is bound.
    pub(crate) fn verify(&self, token: &str) -> Result<VerifiedToken, String> {
        let Some(issuers) = &self.shared.issuers else {
            return Err("no [[issuer]] is configured, so no token can be verified".to_owned());
        };
        let verified = issuers.verify(token, moment::now());
        verified.map_err(|error| error.to_string())
    }

    /// Who stands behind a lineage, where `described` says what is known without tokens. `None`: a
    /// token of it is still being looked at.
    pub(crate) fn subject(
        &self,
        lineage: &Lineage,
        described: Principal,
    ) -> Option<(Principal, Vec<Principal>)> {
        if self.queue.is_some() && !self.shared.wait_until_read(lineage) {
            return None;
        }
        if !self.is_certain(lineage) {
            return None;
        }
        Some(self.shared.subject(lineage, described))
    }

    /// Is it certain who stands behind a lineage? What could not be told because an issuer was
    /// away is looked at again.
    fn is_certain(&self, lineage: &Lineage) -> bool {
        if !self.shared.bindings.is_certain(lineage) {
            return false;
        }
        let mut certain = true;
        for process in &lineage.processes {
            let key = ProcessKey::new(process.pid, process.start);
            let unsure = self.shared.unsure.lock().get(&key).copied();
            if let Some(unsure) = unsure {
                certain = false;
                if unsure.again && unsure.since.elapsed() > BAD_FOR {
                    self.executed(unsure.tree, key);
                }
            }
        }
        certain
    }

    /// Has nobody presented anything in this tree?
    pub(crate) fn is_unbound(&self, tree: TreeId) -> bool {
        self.shared.bindings.is_unbound(tree)
    }

    /// Does a tree own this token?
    pub(crate) fn owner(&self, token: &VerifiedToken) -> Option<TreeId> {
        self.shared.bindings.owner(token)
    }

    /// Is everything about this lineage known, without waiting?
    pub(crate) fn is_settled(&self, lineage: &Lineage) -> bool {
        let reading = self.queue.is_some() && is_unread(&self.shared.unread.lock(), lineage);
        !reading && self.is_certain(lineage)
    }

    /// Who stands behind a lineage by now, for those who only look.
    pub(crate) fn known(
        &self,
        lineage: &Lineage,
        described: Principal,
    ) -> (Principal, Vec<Principal>) {
        self.shared.subject(lineage, described)
    }

    /// Forgets the trees that have ended, and the processes that nobody descends from any more,
    /// and saves.
    pub(crate) fn retain(&self, lives: impl Fn(TreeId) -> bool) -> io::Result<()> {
        let forest = &self.shared.forest;
        let known = |process: ProcessKey| forest.tree_of_process(process).is_some();
        let mut unsure = self.shared.unsure.lock();
        unsure.retain(|process, unsure| lives(unsure.tree) && known(*process));
        drop(unsure);
        let mut asserted = self.shared.asserted.lock();
        asserted.retain(|process, asserted| lives(asserted.tree) && known(*process));
        drop(asserted);
        self.shared.bindings.retain(&lives);
        self.shared
            .bindings
            .retain_processes(|_, (pid, start)| known(ProcessKey::new(pid, start)));
        self.shared.save()
    }
}

fn start_readers(shared: &Arc<Shared>) -> io::Result<SyncSender<Presenter>> {
    let (queue, waiting) = sync_channel(QUEUE_MAX);
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..READERS {
        let (shared, waiting) = (Arc::clone(shared), Arc::clone(&waiting));
        let thread = std::thread::Builder::new().name("tokens".to_owned());
        thread.spawn(move || shared.read_environments(&waiting))?;
    }
    Ok(queue)
}

impl Shared {
    /// Until the queue is gone.
    fn read_environments(&self, waiting: &Mutex<Receiver<Presenter>>) {
        loop {
            let next = waiting.lock().recv();
            let Ok((tree, process)) = next else { return };
            self.read_environment(tree, process);
            self.done(process);
        }
    }

    /// A token that could not be looked at, or that is another tree's, leaves it unsure who this
    /// is. One that is merely worth nothing (expired, forged) is none.
    fn read_environment(&self, tree: TreeId, process: ProcessKey) {
        let issuers = self.issuers.as_deref();
        let tokens = issuers.into_iter().flat_map(Issuers::variables);
        let words = self.systems.iter().flat_map(|system| system.variables());
        let names: Vec<&str> = tokens.chain(words.copied()).collect();
        let Some(found) = environment(process.pid, process.start, &names) else {
            // It was executed with something, and is gone before anybody could look.
            if has_variables(issuers) {
                self.set_unsure(tree, process, false);
            }
            return;
        };
        self.settle(process);
        self.note_words(tree, process, &found);
        let Some(issuers) = issuers else { return };
        for (name, token) in found {
            if !issuers.variables().any(|variable| variable == name) {
                continue;
            }
            let verified = match self.verify_once(issuers, token) {
                Ok(verified) => verified,
                Err(error) => {
                    tracing::warn!(%tree, pid = process.pid, %name, %error, "a token is not good");
                    if matches!(
                        error,
                        TokenError::NoKeys { .. } | TokenError::UnknownKey { .. }
                    ) {
                        self.set_unsure(tree, process, true);
                    }
                    continue;
                }
            };
            match self.bind(tree, process, &verified) {
                Ok(bound) => {
                    self.unsure.lock().remove(&process);
                    if bound == Bound::New {
                        tracing::info!(%tree, pid = process.pid, %name, "a token was bound");
                    }
                }
                Err(error) => {
                    tracing::warn!(%tree, pid = process.pid, %name, %error, "a token was not bound");
                    self.set_unsure(tree, process, false);
                }
            }
        }
    }

    /// A process can be read again. What it presented and nobody could judge is not undone by
    /// executing something else without it.
    fn settle(&self, process: ProcessKey) {
        let mut unsure = self.unsure.lock();
        if unsure.get(&process).is_some_and(|unsure| !unsure.again) {
            unsure.remove(&process);
        }
    }

    /// Keeps whose job it says that it is, unless it or one above it has said so before.
    fn note_words(&self, tree: TreeId, process: ProcessKey, found: &[(String, String)]) {
        let mut says = self.systems.iter();
        let Some(principal) = says.find_map(|system| system.principal(found)) else {
            return;
        };
        let lineage = self.forest.lineage_of(process);
        let mut asserted = self.asserted.lock();
        let said = |lineage: &Lineage| {
            let mut keys = lineage.processes.iter().map(key);
            keys.any(|key| asserted.contains_key(&key))
        };
        if asserted.contains_key(&process) || lineage.as_ref().is_some_and(said) {
            return;
        }
        if asserted.len() >= ASSERTED_MAX {
            tracing::warn!(%tree, "too many jobs say whose they are: this one is not named");
            return;
        }
        asserted.insert(process, Asserted { tree, principal });
    }

    /// Who stands behind a lineage. What a job merely says names it, as a delegate: it can only
    /// narrow what whoever the kernel says it is may do, and a condition that looks at the
    /// principal looks at nothing that a job chose.
    fn subject(&self, lineage: &Lineage, described: Principal) -> (Principal, Vec<Principal>) {
        let (principal, mut delegates) = self.bindings.subject(lineage, described);
        if self.systems.is_empty() || principal.assurance == Assurance::Verified {
            return (principal, delegates);
        }
        let asserted = self.asserted.lock();
        let mut keys = lineage.processes.iter().map(key);
        let said = keys.find_map(|key| asserted.get(&key));
        delegates.extend(said.map(|said| said.principal.clone()));
        (principal, delegates)
    }

    fn set_unsure(&self, tree: TreeId, process: ProcessKey, again: bool) {
        let mut unsure = self.unsure.lock();
        if unsure.len() >= UNSURE_MAX {
            tracing::error!(%tree, "too many processes of whom it is not known who they are");
            self.bindings.doubt([tree]);
            return;
        }
        let since = Instant::now();
        unsure.insert(process, Unsure { tree, since, again });
    }

    /// Every process of a job has its token, and it is verified for the first.
    fn verify_once(&self, issuers: &Issuers, token: String) -> Result<VerifiedToken, TokenError> {
        match self.remembered.lock().get(&token).cloned() {
            Some(Remembered::Good(verified)) if verified.expires > moment::now() => {
                return Ok(*verified);
            }
            Some(Remembered::Bad(error, since)) if since.elapsed() < BAD_FOR => return Err(error),
            _ => {}
        }
        let verified = issuers.verify(&token, moment::now());
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        let kept = match &verified {
            Ok(verified) => Remembered::Good(Box::new(verified.clone())),
            Err(error) => Remembered::Bad(error.clone(), Instant::now()),
        };
        remembered.insert(token, kept);
        verified
    }

    /// A descendant of a process that is bound to the same principal presents nothing new.
    fn bind(
        &self,
        tree: TreeId,
        process: ProcessKey,
        verified: &VerifiedToken,
    ) -> Result<Bound, String> {
        let now: Timestamp = moment::now();
        if self.stands_above(tree, process, &verified.principal) {
            let claimed = self.bindings.claim(tree, verified, now);
            return match claimed {
                // The one above was bound with it when it was still good.
                Ok(()) | Err(BindError::Expired) => Ok(Bound::Again),
                Err(error) => Err(error.to_string()),
            };
        }
        let bound = self
            .bindings
            .bind(tree, (process.pid, process.start), verified, now)
            .map_err(|error| error.to_string())?;
        self.kept(bound)
    }

    /// A binding counts only when it outlives the daemon.
    fn kept(&self, bound: Bound) -> Result<Bound, String> {
        let saved = self.save();
        saved.map_err(|error| format!("the binding could not be kept: {error}"))?;
        Ok(bound)
    }

    fn stands_above(&self, tree: TreeId, process: ProcessKey, principal: &Principal) -> bool {
        let lineage = self.forest.lineage_of(process);
        let Some(lineage) = lineage.filter(|lineage| lineage.tree == tree) else {
            return false;
        };
        let (first, others) = self.bindings.subject(&lineage, Principal::unknown());
        first.id == principal.id || others.iter().any(|other| other.id == principal.id)
    }

    fn done(&self, process: ProcessKey) {
        let mut unread = self.unread.lock();
        if let Some(count) = unread.get_mut(&process) {
            *count -= 1;
            if *count == 0 {
                unread.remove(&process);
            }
        }
        drop(unread);
        self.read.notify_all();
    }

    /// Waits until no environment of a lineage is unread; false when that takes too long.
    fn wait_until_read(&self, lineage: &Lineage) -> bool {
        let waits = |unread: &mut HashMap<ProcessKey, u32>| is_unread(unread, lineage);
        let mut unread = self.unread.lock();
        let waited = self.read.wait_while_for(&mut unread, waits, PATIENCE);
        !waited.timed_out()
    }

    fn save(&self) -> io::Result<()> {
        self.bindings.save(&mut self.file.lock())
    }
}

fn has_variables(issuers: Option<&Issuers>) -> bool {
    issuers.is_some_and(|issuers| issuers.variables().next().is_some())
}

fn key(process: &Process) -> ProcessKey {
    ProcessKey::new(process.pid, process.start)
}

fn is_unread(unread: &HashMap<ProcessKey, u32>, lineage: &Lineage) -> bool {
    !unread.is_empty()
        && lineage
            .processes
            .iter()
            .any(|process| unread.contains_key(&key(process)))
}

/// The issuers of the configuration, ready to be asked. `None` when there are none.
pub(crate) fn issuers(
    configs: &[gateway_identity::IssuerConfig],
) -> Result<Option<Arc<Issuers>>, String> {
    if configs.is_empty() {
        return Ok(None);
    }
    let fetch = gateway_identity::HttpFetch::new().map_err(|error| error.to_string())?;
    let issuers = Issuers::new(configs.to_vec(), Box::new(fetch));
    issuers
        .map(|issuers| Some(Arc::new(issuers)))
        .map_err(|error: IssuerError| error.to_string())
}

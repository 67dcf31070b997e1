//! Tokens that jobs carry: found in environments, given with `gateway run`, verified, and bound to
//! the process that presents them.
//!
//! Environments are read on threads of their own, as soon as an exec is reported: the process may
//! be gone a moment later. A connection waits for those of its own lineage; what is still not
//! known then is refused.
use crate::terminal::moment;
use gateway_core::{Lineage, Principal, Process, Timestamp, TreeId};
use gateway_identity::{
    BindingFile, Bindings, Bound, IssuerError, Issuers, TokenError, VerifiedToken, environment,
};
use gateway_lineage::{Forest, ProcessKey};
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, HashSet};
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
/// How long a token that was not good is not looked at again.
const BAD_FOR: Duration = Duration::from_secs(15);

/// A process that executed something.
type Presenter = (TreeId, ProcessKey);

/// All tokens, and what they bound.
pub(crate) struct Tokens {
    shared: Arc<Shared>,
    queue: Option<SyncSender<Presenter>>,
}

struct Shared {
    issuers: Option<Issuers>,
    bindings: Bindings,
    file: Mutex<BindingFile>,
    forest: Arc<Forest>,
    /// Whose environment is not read yet.
    unread: Mutex<HashSet<ProcessKey>>,
    read: Condvar,
    remembered: Mutex<HashMap<String, Remembered>>,
}

#[derive(Clone)]
enum Remembered {
    Good(Box<VerifiedToken>),
    Bad(TokenError, Instant),
}

impl Tokens {
    /// Takes over what an earlier daemon of this boot bound.
    pub(crate) fn open(
        issuers: Option<Issuers>,
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
        let looks = issuers
            .as_ref()
            .is_some_and(|issuers| issuers.variables().next().is_some());
        let shared = Arc::new(Shared {
            issuers,
            bindings,
            file: Mutex::new(file),
            forest: Arc::clone(forest),
            unread: Mutex::default(),
            read: Condvar::new(),
            remembered: Mutex::default(),
        });
        let queue = looks.then(|| start_readers(&shared)).transpose()?;
        Ok(Tokens { shared, queue })
    }

    /// A process executed something: its environment is new. Does not wait.
    pub(crate) fn executed(&self, tree: TreeId, process: ProcessKey) {
        let Some(queue) = &self.queue else { return };
        self.shared.unread.lock().insert(process);
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
        Some(self.shared.bindings.subject(lineage, described))
    }

    /// Is a token of this lineage being looked at?
    pub(crate) fn is_reading(&self, lineage: &Lineage) -> bool {
        self.queue.is_some() && is_unread(&self.shared.unread.lock(), lineage)
    }

    /// Who stands behind a lineage by now, for those who only look.
    pub(crate) fn known(
        &self,
        lineage: &Lineage,
        described: Principal,
    ) -> (Principal, Vec<Principal>) {
        self.shared.bindings.subject(lineage, described)
    }

    /// Forgets the trees that have ended, and saves.
    pub(crate) fn retain(&self, lives: impl Fn(TreeId) -> bool) -> io::Result<()> {
        self.shared.bindings.retain(lives);
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

    fn read_environment(&self, tree: TreeId, process: ProcessKey) {
        let Some(issuers) = &self.issuers else { return };
        let names: Vec<&str> = issuers.variables().collect();
        for (name, token) in environment(process.pid, process.start, &names) {
            let found = self
                .verify_once(issuers, token)
                .map_err(|error| error.to_string())
                .and_then(|verified| self.bind(tree, process, &verified));
            match found {
                Ok(Bound::New) => {
                    tracing::info!(%tree, pid = process.pid, %name, "a token was bound");
                }
                Ok(Bound::Again) => {}
                Err(error) => {
                    tracing::warn!(%tree, pid = process.pid, %name, %error, "a token is not good");
                }
            }
        }
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
        if self.stands_above(tree, process, &verified.principal) {
            return Ok(Bound::Again);
        }
        let now: Timestamp = moment::now();
        let bound = self
            .bindings
            .bind(tree, (process.pid, process.start), verified, now)
            .map_err(|error| error.to_string())?;
        self.save()
            .map_err(|error| format!("the binding could not be kept: {error}"))?;
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
        self.unread.lock().remove(&process);
        self.read.notify_all();
    }

    /// Waits until no environment of a lineage is unread; false when that takes too long.
    fn wait_until_read(&self, lineage: &Lineage) -> bool {
        let waits = |unread: &mut HashSet<ProcessKey>| is_unread(unread, lineage);
        let mut unread = self.unread.lock();
        let waited = self.read.wait_while_for(&mut unread, waits, PATIENCE);
        !waited.timed_out()
    }

    fn save(&self) -> io::Result<()> {
        self.bindings.save(&mut self.file.lock())
    }
}

fn is_unread(unread: &HashSet<ProcessKey>, lineage: &Lineage) -> bool {
    let key = |process: &Process| ProcessKey::new(process.pid, process.start);
    !unread.is_empty()
        && lineage
            .processes
            .iter()
            .any(|process| unread.contains(&key(process)))
}

/// The issuers of the configuration, ready to be asked. `None` when there are none.
pub(crate) fn issuers(
    configs: &[gateway_identity::IssuerConfig],
) -> Result<Option<Issuers>, String> {
    if configs.is_empty() {
        return Ok(None);
    }
    let fetch = gateway_identity::HttpFetch::new().map_err(|error| error.to_string())?;
    let issuers = Issuers::new(configs.to_vec(), Box::new(fetch));
    issuers
        .map(Some)
        .map_err(|error: IssuerError| error.to_string())
}

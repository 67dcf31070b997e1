//! Which verified principals stand where in a tree.
//!
//! A binding covers the process that presented a token, and its descendants, for as long as they
//! live: that the token expires later changes nothing. The root-most one on the way to a process
//! makes the principal, deeper ones are delegates. A token belongs to the first tree that presents
//! it. A thief who is first is a declared limit.
use crate::token::VerifiedToken;
use gateway_core::{Assurance, Lineage, Principal, Process, Provenance, Timestamp, TreeId};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};
use std::collections::hash_map::Entry;
use std::io;
use std::sync::Arc;

mod state;

pub use state::{BindingFile, BindingNote};

/// How many tokens are remembered. While all of them are valid, no other is taken.
pub const TOKENS_MAX: usize = 65_536;
/// How many bindings there are in all trees together. One more is refused.
pub const BINDINGS_MAX: usize = 65_536;
/// How many bindings one tree has, so that it cannot take the room of the others.
pub const BINDINGS_PER_TREE_MAX: usize = 4_096;
/// How many tokens one process presents.
pub const BINDINGS_PER_PROCESS_MAX: usize = 8;

/// A process: its pid (tgid), and when its leader started, in nanoseconds since boot.
pub type ProcessKey = (u32, u64);

/// One verified principal at one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The process that presented the token.
    pub process: ProcessKey,
    /// Whom the token proved.
    pub principal: Principal,
    /// Which issuer said so, by its name in the configuration; or who else verified a login.
    pub issuer: Arc<str>,
    /// The token's subject, in the words of its issuer.
    pub subject: Arc<str>,
    /// The token's id; empty where there was none.
    pub token: Arc<str>,
}

/// What became of a token that was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It binds from now on.
    New,
    /// It did already, here.
    Again,
}

/// Why a token does not bind. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// Another tree presented it before, and it may be stolen.
    #[error("the token belongs to tree {0}, which presented it first")]
    OfAnotherTree(TreeId),
    /// It was valid when it was verified, and is no more.
    #[error("the token has expired")]
    Expired,
    /// Somebody else stands at this process already, and that stays.
    #[error("another principal is bound here already, and stays")]
    OfAnotherPrincipal,
    /// What was bound in this tree was lost: it is nobody's until it ends.
    #[error("whose tree this is was lost, and it is nobody's until it ends")]
    Doubtful,
    /// Only verified principals bind.
    #[error("the principal is not verified")]
    NotVerified,
    /// Too many valid tokens are remembered already.
    #[error("{TOKENS_MAX} tokens are in use, no other is taken before one of them expires")]
    TooManyTokens,
    /// Too many processes are bound already.
    #[error(
        "too many bindings: at most {BINDINGS_MAX} in all, {BINDINGS_PER_TREE_MAX} in a tree, \
         {BINDINGS_PER_PROCESS_MAX} at a process"
    )]
    TooManyBindings,
}

/// The bindings of all trees.
#[derive(Debug, Default)]
pub struct Bindings {
    state: Mutex<State>,
}

/// An issuer's name and the id of a token of it: two issuers may use the same ids.
type TokenKey = (Arc<str>, Arc<str>);

#[derive(Debug, Default)]
struct State {
    trees: FxHashMap<TreeId, Tree>,
    /// How many bindings all trees have.
    count: usize,
    tokens: FxHashMap<TokenKey, Owner>,
    /// With this many tokens it is time to look for expired ones.
    tidy_at: usize,
    /// Trees whose bindings were lost.
    doubtful: FxHashSet<TreeId>,
    dirty: bool,
}

#[derive(Debug, Default)]
struct Tree {
    /// Those of one process in the order in which they were made.
    at: FxHashMap<ProcessKey, Vec<Binding>>,
    count: usize,
}

/// Whose a token is.
#[derive(Clone, Copy, Debug)]
struct Owner {
    tree: TreeId,
    expires: Timestamp,
}

impl Bindings {
    /// None.
    #[must_use]
    pub fn new() -> Bindings {
        Bindings::default()
    }

    /// A process of a tree presents a token. To be called with a process that is known to be in
    /// that tree, and to be answered only after [`Bindings::save`]: a binding that a killed daemon
    /// forgets would free its tree of a delegate.
    ///
    /// A second token at the same process is a delegate of the first one's principal.
    ///
    /// # Errors
    /// It does not bind, for this reason.
    pub fn bind(
        &self,
        tree: TreeId,
        process: ProcessKey,
        token: &VerifiedToken,
        now: Timestamp,
    ) -> Result<Bound, BindError> {
        self.state.lock().bind(tree, process, token, now)
    }

    /// Somebody signed in for a tree, whose root is `process`: as [`Bindings::bind`], but there is
    /// one principal at most who is bound in this way. The same one again changes nothing, whatever
    /// the token.
    ///
    /// # Errors
    /// It does not bind, for this reason.
    pub fn bind_once(
        &self,
        tree: TreeId,
        process: ProcessKey,
        token: &VerifiedToken,
        now: Timestamp,
    ) -> Result<Bound, BindError> {
        let mut state = self.state.lock();
        match state.room_for_one(tree, process, &token.principal)? {
            Bound::Again => Ok(Bound::Again),
            Bound::New => state.bind(tree, process, token, now),
        }
    }

    /// Somebody logged in for a tree, whose root is `process`, and `source` verified who: as
    /// [`Bindings::bind_once`], but there is no token that could be presented again.
    ///
    /// # Errors
    /// It does not bind, for this reason.
    pub fn bind_login(
        &self,
        tree: TreeId,
        process: ProcessKey,
        principal: &Principal,
        source: &str,
    ) -> Result<Bound, BindError> {
        let mut state = self.state.lock();
        if principal.assurance != Assurance::Verified {
            return Err(BindError::NotVerified);
        }
        if state.room_for_one(tree, process, principal)? == Bound::Again {
            return Ok(Bound::Again);
        }
        let binding = Binding {
            process,
            principal: principal.clone(),
            issuer: source.into(),
            subject: Arc::clone(&principal.id),
            token: "".into(),
        };
        state.add(tree, binding)?;
        state.dirty = true;
        Ok(Bound::New)
    }

    /// What [`Bindings::bind_once`] would find at a process; nothing is bound.
    ///
    /// # Errors
    /// It would not bind, for this reason.
    pub fn may_bind_once(
        &self,
        tree: TreeId,
        process: ProcessKey,
        principal: &Principal,
    ) -> Result<Bound, BindError> {
        self.state.lock().room_for_one(tree, process, principal)
    }

    /// Does the lineage show all that could be bound on its way? One with a gap does not when the
    /// tree has a binding that it does not show: whoever made the gap may stand behind it.
    #[must_use]
    pub fn is_certain(&self, lineage: &Lineage) -> bool {
        let state = self.state.lock();
        let Some(tree) = state.trees.get(&lineage.tree) else {
            return true;
        };
        let placed =
            |process: &Process| matches!(process.provenance, Provenance::Gap | Provenance::Cgroup);
        if !lineage.processes.iter().any(placed) {
            return true;
        }
        let shown: FxHashSet<ProcessKey> = lineage
            .processes
            .iter()
            .map(|process| (process.pid, process.start))
            .collect();
        tree.at.keys().all(|process| shown.contains(process))
    }

    /// Does a tree own this token? Whoever else has it got it from there.
    #[must_use]
    pub fn owner(&self, token: &VerifiedToken) -> Option<TreeId> {
        let key = (Arc::clone(&token.issuer), Arc::clone(&token.id));
        self.state.lock().tokens.get(&key).map(|owner| owner.tree)
    }

    /// A tree presents a token at a process that needs no binding for it, since one above has the
    /// same principal. The token is the tree's from now on all the same.
    ///
    /// # Errors
    /// It is another tree's, or there is no room to remember it.
    pub fn claim(
        &self,
        tree: TreeId,
        token: &VerifiedToken,
        now: Timestamp,
    ) -> Result<(), BindError> {
        let mut state = self.state.lock();
        let key = (Arc::clone(&token.issuer), Arc::clone(&token.id));
        match state.tokens.get(&key) {
            Some(owner) if owner.tree != tree => Err(BindError::OfAnotherTree(owner.tree)),
            Some(_) => Ok(()),
            None if token.expires <= now => Err(BindError::Expired),
            None => {
                state.make_room_for_a_token(now)?;
                let owner = Owner {
                    tree,
                    expires: token.expires,
                };
                state.tokens.insert(key, owner);
                state.dirty = true;
                Ok(())
            }
        }
    }

    /// Who acts: the principal, and the delegates in the order of the processes that presented
    /// them, each id once. Without a binding on the way from the root to the acting process it is
    /// who is `described` by other means, without delegates.
    #[must_use]
    pub fn subject(&self, lineage: &Lineage, described: Principal) -> (Principal, Vec<Principal>) {
        let state = self.state.lock();
        let mut found: Vec<Principal> = Vec::new();
        if let Some(tree) = state.trees.get(&lineage.tree) {
            for process in &lineage.processes {
                let bindings = tree.at.get(&(process.pid, process.start));
                for binding in bindings.into_iter().flatten() {
                    if found.iter().all(|one| one.id != binding.principal.id) {
                        found.push(binding.principal.clone());
                    }
                }
            }
        }
        if state.doubtful.contains(&lineage.tree) {
            // Who stood above is not known any more; who was found can still only narrow.
            return (Principal::unknown(), found);
        }
        drop(state);
        let mut found = found.into_iter();
        match found.next() {
            Some(principal) => (principal, found.collect()),
            None => (described, Vec::new()),
        }
    }

    /// The bindings of a tree, for whoever asks why somebody is its principal. By process.
    #[must_use]
    pub fn of(&self, tree: TreeId) -> Vec<Binding> {
        let state = self.state.lock();
        let bindings = state.trees.get(&tree).into_iter().flat_map(Tree::bindings);
        let mut bindings: Vec<Binding> = bindings.cloned().collect();
        bindings.sort_by_key(|binding| (binding.process.1, binding.process.0));
        bindings
    }

    /// Has nobody presented anything in a tree, as far as can be told?
    #[must_use]
    pub fn is_unbound(&self, tree: TreeId) -> bool {
        let state = self.state.lock();
        !state.trees.contains_key(&tree) && !state.doubtful.contains(&tree)
    }

    /// Forgets the bindings of trees that have ended. Their tokens stay theirs until they expire.
    pub fn retain(&self, lives: impl Fn(TreeId) -> bool) {
        let mut state = self.state.lock();
        state.forget(|tree, _| !lives(tree));
        state.doubtful.retain(|&tree| lives(tree));
    }

    /// Forgets the bindings of processes that have ended together with all of their descendants,
    /// in trees that live for long.
    pub fn retain_processes(&self, lives: impl Fn(TreeId, ProcessKey) -> bool) {
        self.state
            .lock()
            .forget(|tree, process| !lives(tree, process));
    }

    /// How many bindings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().count
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the bindings and the remembered tokens, when they have changed.
    ///
    /// # Errors
    /// The file could not be written. The next save tries again.
    pub fn save(&self, file: &mut BindingFile) -> io::Result<()> {
        let saved = {
            let mut state = self.state.lock();
            if !state.dirty && !file.failed {
                return Ok(());
            }
            state.dirty = false;
            state.saved()
        };
        file.write(saved)
    }

    /// Takes over what an earlier daemon saved in this boot. To be called before the first
    /// [`Bindings::bind`]. Returns how many bindings there were.
    ///
    /// # Errors
    /// There was nothing usable, for this reason. Nothing has changed. Where
    /// [`BindingNote::is_loss`], the trees that live already go to [`Bindings::doubt`].
    pub fn restore(&self, file: &BindingFile) -> Result<usize, BindingNote> {
        let saved = file.read()?;
        let mut state = self.state.lock();
        for (tree, binding) in saved.bindings {
            // What was within the limits when it was saved is within them now.
            let _ = state.add(tree, binding);
        }
        for token in saved.tokens.into_iter().take(TOKENS_MAX) {
            let owner = Owner {
                tree: token.tree,
                expires: token.expires,
            };
            state.tokens.insert((token.issuer, token.id), owner);
        }
        state.doubtful.extend(saved.doubtful);
        Ok(state.count)
    }

    /// The bindings of these trees were lost: from now on they are nobody's, until they end.
    pub fn doubt(&self, trees: impl IntoIterator<Item = TreeId>) {
        let mut state = self.state.lock();
        state.doubtful.extend(trees);
        state.dirty = true;
    }
}

impl Binding {
    fn of(process: ProcessKey, token: &VerifiedToken) -> Binding {
        Binding {
            process,
            principal: token.principal.clone(),
            issuer: Arc::clone(&token.issuer),
            subject: Arc::clone(&token.subject),
            token: Arc::clone(&token.id),
        }
    }
}

impl Tree {
    fn bindings(&self) -> impl Iterator<Item = &Binding> {
        self.at.values().flatten()
    }
}

impl State {
    fn bind(
        &mut self,
        tree: TreeId,
        process: ProcessKey,
        token: &VerifiedToken,
        now: Timestamp,
    ) -> Result<Bound, BindError> {
        if token.principal.assurance != Assurance::Verified {
            return Err(BindError::NotVerified);
        }
        let key = (Arc::clone(&token.issuer), Arc::clone(&token.id));
        match self.tokens.get(&key) {
            Some(owner) if owner.tree != tree => {
                return Err(BindError::OfAnotherTree(owner.tree));
            }
            Some(_) if self.has(tree, process, &key) => return Ok(Bound::Again),
            _ if token.expires <= now => return Err(BindError::Expired),
            Some(_) => {}
            None => self.make_room_for_a_token(now)?,
        }
        self.add(tree, Binding::of(process, token))?;
        let owner = Owner {
            tree,
            expires: token.expires,
        };
        self.tokens.insert(key, owner);
        self.dirty = true;
        Ok(Bound::New)
    }

    /// Is there nobody at a process yet, or only this principal?
    fn room_for_one(
        &self,
        tree: TreeId,
        process: ProcessKey,
        principal: &Principal,
    ) -> Result<Bound, BindError> {
        if self.doubtful.contains(&tree) {
            return Err(BindError::Doubtful);
        }
        let found = self.trees.get(&tree).and_then(|tree| tree.at.get(&process));
        match found.and_then(|bindings| bindings.first()) {
            None => Ok(Bound::New),
            Some(first) if first.principal.id == principal.id => Ok(Bound::Again),
            Some(_) => Err(BindError::OfAnotherPrincipal),
        }
    }

    fn has(&self, tree: TreeId, process: ProcessKey, (issuer, id): &TokenKey) -> bool {
        let bindings = self.trees.get(&tree).and_then(|tree| tree.at.get(&process));
        bindings
            .into_iter()
            .flatten()
            .any(|binding| binding.issuer == *issuer && binding.token == *id)
    }

    fn add(&mut self, tree: TreeId, binding: Binding) -> Result<(), BindError> {
        if self.count >= BINDINGS_MAX {
            return Err(BindError::TooManyBindings);
        }
        let tree = self.trees.entry(tree).or_default();
        if tree.count >= BINDINGS_PER_TREE_MAX {
            return Err(BindError::TooManyBindings);
        }
        match tree.at.entry(binding.process) {
            Entry::Occupied(at) if at.get().len() >= BINDINGS_PER_PROCESS_MAX => {
                return Err(BindError::TooManyBindings);
            }
            at => at.or_default().push(binding),
        }
        tree.count += 1;
        self.count += 1;
        Ok(())
    }

    /// Forgets expired tokens, but never a valid one. Looks for them seldom enough that it costs
    /// little, and often enough that most of what is remembered is of use.
    fn make_room_for_a_token(&mut self, now: Timestamp) -> Result<(), BindError> {
        const TIDY_AT_LEAST: usize = 64;
        if self.tokens.len() >= self.tidy_at.clamp(TIDY_AT_LEAST, TOKENS_MAX) {
            self.tokens.retain(|_, owner| owner.expires > now);
            self.tidy_at = self.tokens.len() * 2;
        }
        if self.tokens.len() >= TOKENS_MAX {
            return Err(BindError::TooManyTokens);
        }
        Ok(())
    }

    fn forget(&mut self, ended: impl Fn(TreeId, ProcessKey) -> bool) {
        let before = self.count;
        self.count = 0;
        self.trees.retain(|&id, tree| {
            tree.at.retain(|&process, _| !ended(id, process));
            tree.count = tree.bindings().count();
            self.count += tree.count;
            tree.count > 0
        });
        self.dirty |= self.count != before;
    }

    fn saved(&self) -> state::Saved {
        let bindings = self.trees.iter().flat_map(|(&id, tree)| {
            let bindings = tree.bindings().cloned();
            bindings.map(move |binding| (id, binding))
        });
        let tokens = self.tokens.iter().map(|((issuer, id), owner)| {
            let (issuer, id) = (Arc::clone(issuer), Arc::clone(id));
            state::SavedToken {
                issuer,
                id,
                tree: owner.tree,
                expires: owner.expires,
            }
        });
        state::Saved {
            bindings: bindings.collect(),
            tokens: tokens.collect(),
            doubtful: self.doubtful.iter().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests;

//! Whose trees they are: looked up when a tree begins, kept over a restart.
use super::tokens::Tokens;
use gateway_capture::Capture;
use gateway_core::{Lineage, Principal, Process, Provenance, TreeId};
use gateway_identity::{
    CiSystem, Identities, IdentityFile, Issuers, LoginUid, LoginUids, Root, SystemAccounts,
    SystemLoginUids, UNSET_LOGIN_UID,
};
use gateway_lineage::{Forest, TreeSummary};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection waits for the user database, which was asked when its tree began. Then
/// the principal is a number, which only rules for everyone match.
const PATIENCE: Duration = Duration::from_millis(200);

/// The principal, and the delegates on the way.
pub(crate) type Standing = (Principal, Vec<Principal>);

/// The principals of trees.
pub(crate) struct Principals {
    identities: Identities,
    tokens: Tokens,
    capture: Arc<Capture>,
    file: Mutex<IdentityFile>,
    /// The trees of the last round. One that was never seen here may just have begun.
    seen: Mutex<HashSet<TreeId>>,
}

impl Principals {
    /// Takes over what an earlier daemon of this boot knew.
    pub(crate) fn open(
        issuers: Option<Arc<Issuers>>,
        systems: Vec<CiSystem>,
        state_dir: &Path,
        boot_id: &str,
        forest: &Arc<Forest>,
        capture: &Arc<Capture>,
    ) -> io::Result<Principals> {
        let identities = Identities::new(Box::new(SystemAccounts), Box::new(SystemLoginUids))?;
        let file = IdentityFile::new(state_dir, boot_id);
        match identities.restore(&file) {
            Ok(trees) => tracing::info!(trees, "identities"),
            Err(note) => tracing::info!(trees = 0, %note, "identities"),
        }
        Ok(Principals {
            identities,
            tokens: Tokens::open(issuers, systems, state_dir, boot_id, forest)?,
            capture: Arc::clone(capture),
            file: Mutex::new(file),
            seen: Mutex::default(),
        })
    }

    /// A tree began. Does not wait.
    pub(crate) fn rooted(&self, tree: TreeId, pid: u32, start: u64, uid: u32) {
        let login_uid = self.login_uid_of_boundary(pid, start);
        self.identities.rooted(
            tree,
            &Root {
                pid,
                start,
                uid,
                login_uid,
            },
        );
    }

    /// The root of a job runs what the job wants from the start, and could set a login uid that
    /// nobody has set before: that of the service which forked it counts. `None`: no such root.
    fn login_uid_of_boundary(&self, pid: u32, start: u64) -> Option<u32> {
        let tag = self.capture.tag(pid, start).ok().flatten()?;
        let (boundary, begun) = tag.boundary?;
        match SystemLoginUids.login_uid(boundary, begun) {
            LoginUid::Set(uid) => Some(uid),
            LoginUid::Unset | LoginUid::Unreadable => Some(UNSET_LOGIN_UID),
        }
    }

    /// The tokens that jobs carry.
    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Who stands behind a connection. Waits for what is not known yet; `None` when it is not
    /// known in time.
    pub(crate) fn subject(&self, lineage: &Lineage) -> Option<Standing> {
        let described = self.described(lineage.tree, lineage.root());
        self.tokens.subject(lineage, described)
    }

    /// The same without waiting; `None` when something is not known yet.
    pub(crate) fn settled(&self, lineage: &Lineage) -> Option<Standing> {
        if !self.tokens.is_settled(lineage) {
            return None;
        }
        let described = self.identities.settled(lineage.tree)?;
        Some(self.tokens.known(lineage, described))
    }

    /// Whose tree it is by the kernel's word alone, as far as that is known by now.
    pub(crate) fn described_by_kernel(&self, tree: TreeId) -> Option<Principal> {
        self.identities.settled(tree)
    }

    /// The same for those who only look.
    pub(crate) fn of(&self, lineage: &Lineage) -> Standing {
        let described = self.described(lineage.tree, lineage.root());
        self.tokens.known(lineage, described)
    }

    /// Whose tree it is, at its root.
    pub(crate) fn of_tree(&self, tree: TreeId, root: Option<&Process>) -> Principal {
        let processes = root.into_iter().cloned().collect();
        self.of(&Lineage { tree, processes }).0
    }

    /// Whose tree it is by the kernel's word.
    fn described(&self, tree: TreeId, root: Option<&Process>) -> Principal {
        let root = root.filter(|root| root.provenance != Provenance::Gap);
        if let Some(root) = root.filter(|_| !self.identities.knows(tree)) {
            self.rooted(tree, root.pid, root.start, root.uid);
        }
        self.identities.principal_within(tree, root, PATIENCE)
    }

    /// Looks up trees whose beginning nobody reported, forgets those that have ended, and saves.
    pub(crate) fn tidy(&self, trees: &[TreeSummary]) -> io::Result<()> {
        for summary in trees {
            let root = summary.root.as_ref();
            if let Some(root) = root.filter(|root| root.provenance != Provenance::Gap) {
                self.rooted(summary.tree, root.pid, root.start, root.uid);
            }
        }
        let now: HashSet<TreeId> = trees.iter().map(|summary| summary.tree).collect();
        let mut seen = self.seen.lock();
        self.identities
            .retain(|tree| now.contains(&tree) || !seen.contains(&tree));
        self.tokens
            .retain(|tree| now.contains(&tree) || !seen.contains(&tree))?;
        *seen = now;
        self.identities.save(&mut self.file.lock())
    }

    /// Forgets what an earlier daemon knew about trees that are gone. For the start, when all
    /// that live are known and none begins.
    pub(crate) fn keep_only(&self, trees: &[TreeSummary]) -> io::Result<()> {
        *self.seen.lock() = trees.iter().map(|summary| summary.tree).collect();
        let seen = self.seen.lock().clone();
        self.identities.retain(|tree| seen.contains(&tree));
        self.tokens.retain(|tree| seen.contains(&tree))?;
        self.tidy(trees)
    }
}

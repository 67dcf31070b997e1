//! The directory: who exists, in which groups, and who has left.
//!
//! Two sources, each optional: a file that administrators write ([`DirectoryFile`]), and a store
//! that an identity provider fills over SCIM ([`Scim`]). They are united when somebody is looked up:
//!
//! - the file's groups win over those of SCIM when it has a `groups` key for that user;
//! - `offboarded` in either wins: deny beats allow;
//! - who is in neither is active and has no groups. The directory says who has left; whether a
//!   stranger may do anything is for the policy, whose rules name groups that a stranger has not.
//!
//! **Names.** A user is a principal, `user:alice@acme.com`. Behind `user:` case does not count, as
//! RFC 7643 has it for `userName`: the identity provider and the issuer of tokens often differ in
//! it, and a capital letter must not undo an offboarding. No letter outside of ASCII is ever taken
//! for one inside, so no look-alike of a name gets its groups. Any other principal (`local:`, `ci:`)
//! is compared as it is.
//!
//! **Nothing is forgotten.** A bad file never replaces a good one while the daemon runs. At start a
//! bad or missing file, or a damaged store, is an error and the daemon must not start: there is no
//! copy of the last good file, since starting with an old one could bring somebody back. An
//! offboarded principal has no groups, so that neither a role nor a list of approvers names it.
mod diagnostic;
mod entry;
mod file;
mod name;
mod scim;
#[cfg(test)]
mod tests;

pub use diagnostic::Diagnostic;
pub use entry::{Entry, Status};
pub use file::DirectoryFile;
pub use scim::{Scim, ScimRequest, ScimResponse, ScimStoreError};

use arc_swap::ArcSwap;
use file::Stamp;
use gateway_core::{Principal, Subject};
use name::Key;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory cannot be used, or a reload of it was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// The file could not be read.
    #[error("{}: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why, and what was expected.
        reason: String,
    },
    /// The file has mistakes: at most 100 of them, in the order of the file.
    #[error("{}", joined(.0))]
    Mistakes(Vec<Diagnostic>),
}

fn joined(diagnostics: &[Diagnostic]) -> String {
    let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// What of the file is in force.
#[derive(Debug)]
struct InForce {
    file: DirectoryFile,
    generation: u64,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    in_force: ArcSwap<InForce>,
    /// One reload at a time, and what it last saw on disk.
    last: Mutex<LastRead>,
}

#[derive(Debug)]
struct LastRead {
    /// Also of a file that was refused, so that it is not read again until it changes.
    stamp: Option<Stamp>,
    rejected: Option<Arc<DirectoryError>>,
}

/// Who exists, from the file and from SCIM. Looking up never blocks.
#[derive(Debug, Default)]
pub struct Directory {
    source: Option<Source>,
    scim: Option<Arc<Scim>>,
}

impl Directory {
    /// The directory from its sources. Without any, everybody is unknown.
    ///
    /// # Errors
    /// The file is missing, unreadable or wrong: the daemon must not start.
    pub fn open(file: Option<&Path>, scim: Option<Arc<Scim>>) -> Result<Directory, DirectoryError> {
        let source = file.map(Source::open).transpose()?;
        Ok(Directory { source, scim })
    }

    /// What the directory says of a principal. `local:NAME` is the user whose `local` it is.
    #[must_use]
    pub fn lookup(&self, principal_id: &str) -> Entry {
        let in_force = self.source.as_ref().map(|source| source.in_force.load());
        let written = in_force
            .as_ref()
            .and_then(|in_force| in_force.file.get(&Key::of(principal_id)));
        // A local account leads to its user, and so to what SCIM says of that user.
        let user = written.map_or(principal_id, |written| &written.name);
        let pushed = self.scim.as_ref().and_then(|scim| scim.entry(user));
        match (written, pushed) {
            (None, None) => Entry::unknown(),
            (None, Some(pushed)) => pushed,
            (Some(written), None) => written.entry(),
            (Some(written), Some(pushed)) => written.united(pushed),
        }
    }

    /// Whether this principal has left.
    #[must_use]
    pub fn status(&self, principal_id: &str) -> Status {
        self.lookup(principal_id).status
    }

    /// The first of a subject's principals that has left: the principal, then each delegate.
    /// An operation needs all of them, so one that has left denies it.
    #[must_use]
    pub fn offboarded<'a>(&self, subject: &'a Subject) -> Option<&'a Principal> {
        std::iter::once(&subject.principal)
            .chain(&subject.delegates)
            .find(|principal| self.status(&principal.id) == Status::Offboarded)
    }

    /// The principal with its own groups, then those of the directory, each once. Who is offboarded
    /// has none. Identity and assurance stay as they were.
    #[must_use]
    pub fn enrich(&self, principal: &Principal) -> Principal {
        let entry = self.lookup(&principal.id);
        let mut groups: Vec<Arc<str>> = Vec::new();
        if entry.status == Status::Active {
            let mut seen = std::collections::BTreeSet::new();
            let all = principal.groups.iter().chain(&entry.groups);
            groups.extend(all.filter(|group| seen.insert(Arc::clone(group))).cloned());
        }
        Principal {
            id: Arc::clone(&principal.id),
            assurance: principal.assurance,
            groups,
        }
    }

    /// Grows with every change of what this directory says, and only then. What was derived from it
    /// under another generation is to be derived anew; read it before looking up.
    #[must_use]
    pub fn generation(&self) -> u64 {
        let file = self
            .source
            .as_ref()
            .map_or(0, |source| source.in_force.load().generation);
        let scim = self.scim.as_ref().map_or(0, |scim| scim.generation());
        file.saturating_add(scim)
    }

    /// Whether the file on disk is another than the one that was last read, whether that was taken
    /// or refused. Costs one `stat`.
    #[must_use]
    pub fn changed_on_disk(&self) -> bool {
        self.source
            .as_ref()
            .is_some_and(|source| Stamp::of(&source.path) != source.last.lock().stamp)
    }

    /// Reads the file again. True when what it says has changed.
    ///
    /// # Errors
    /// The file is missing, unreadable or wrong. What was in force stays in force.
    pub fn reload(&self) -> Result<bool, DirectoryError> {
        self.source.as_ref().map_or(Ok(false), Source::reload)
    }

    /// Why the file as it is now is not in force.
    #[must_use]
    pub fn rejected(&self) -> Option<Arc<DirectoryError>> {
        self.source.as_ref()?.last.lock().rejected.clone()
    }
}

impl Source {
    fn open(path: &Path) -> Result<Source, DirectoryError> {
        // Taken before reading: a change in between is then seen as one.
        let stamp = Stamp::of(path);
        let file = DirectoryFile::read(path)?;
        Ok(Source {
            path: path.to_owned(),
            in_force: ArcSwap::from_pointee(InForce {
                file,
                generation: 1,
            }),
            last: Mutex::new(LastRead {
                stamp,
                rejected: None,
            }),
        })
    }

    fn reload(&self) -> Result<bool, DirectoryError> {
        let mut last = self.last.lock();
        last.stamp = Stamp::of(&self.path);
        let file = match DirectoryFile::read(&self.path) {
            Ok(file) => file,
            Err(error) => {
                last.rejected = Some(Arc::new(error.clone()));
                return Err(error);
            }
        };
        last.rejected = None;
        let before = self.in_force.load();
        if before.file == file {
            return Ok(false);
        }
        let generation = before.generation.saturating_add(1);
        self.in_force.store(Arc::new(InForce { file, generation }));
        Ok(true)
    }
}

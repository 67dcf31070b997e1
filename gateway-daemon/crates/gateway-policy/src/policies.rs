//! The policies in force: reloaded while decisions are made, never worse than before.
use crate::compile::compile;
use crate::diagnostic::{Diagnostic, Location, Source};
use crate::directory::{self, DirectoryError, Files};
use crate::last_good::{LastGood, Texts};
use crate::place::unnamed;
use crate::policy::{Policy, PolicySummary};
use crate::set::{Collision, PolicySet, collisions};
use arc_swap::{ArcSwap, Guard};
use gateway_core::ports::Case;
use gateway_core::{Decision, Destination, Judge, LinkTerms, Mode, Timestamp, Verdict};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Says what time it is. Asked only where a condition asks.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a load of the policy directory did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReloadReport {
    /// The generation of the policies that are in force since.
    pub generation: u64,
    /// The policies in force, in the order of their names.
    pub loaded: Vec<PolicySummary>,
    /// Files that were not taken.
    pub rejected: Vec<RejectedFile>,
    /// What is wrong with them, in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// Names of policies that were in force before and are no longer.
    pub removed: Vec<Arc<str>>,
    /// The set could not be kept for the next start, or the kept one could not be read; why.
    pub unsaved: Option<String>,
}

impl ReloadReport {
    /// Every file was taken, and the set is kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.rejected.is_empty() && self.diagnostics.is_empty() && self.unsaved.is_none()
    }
}

/// A policy file that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedFile {
    /// Its name in the policy directory.
    pub file: Arc<str>,
    /// The policy that is in force in its place: that of its last good version.
    pub kept: Option<Arc<str>>,
}

/// The daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The policy directory cannot be read, and no earlier set is kept.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A policy file is wrong, and no earlier set is kept.
    #[error("{} in the policy files, and no earlier good set is kept:\n{}", count(.0), rendered(.0))]
    Rejected(Vec<Diagnostic>),
    /// A policy file is wrong, and the set that was kept cannot be read.
    #[error(
        "{} in the policy files, and the last good set cannot be read: {kept}\n{}",
        count(.diagnostics),
        rendered(.diagnostics)
    )]
    Kept {
        /// What is wrong with the policy files.
        diagnostics: Vec<Diagnostic>,
        /// What is wrong with the kept set.
        kept: String,
    },
}

fn count(diagnostics: &[Diagnostic]) -> String {
    match diagnostics.len() {
        1 => "1 mistake".into(),
        many => format!("{many} mistakes"),
    }
}

fn rendered(diagnostics: &[Diagnostic]) -> String {
    diagnostics
        .iter()
        .map(Diagnostic::render)
        .collect::<Vec<_>>()
        .join("\n")
}

/// One consistent state, swapped as a whole: who sees the generation sees its policies.
#[derive(Debug, Default)]
struct InForce {
    generation: u64,
    set: PolicySet,
    /// The files behind the set, with their texts.
    files: Kept,
    report: Arc<ReloadReport>,
}

/// Good versions of files: the policy and the text that it was read from.
type Kept = BTreeMap<Arc<str>, (Arc<Policy>, Arc<str>)>;

/// The policies in force. Judges, and can be reloaded at any time.
pub struct Policies {
    directory: PathBuf,
    last_good: LastGood,
    in_force: ArcSwap<InForce>,
    /// One reload at a time. Decisions never wait for it.
    reloading: Mutex<()>,
    clock: Clock,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies")
            .field("directory", &self.directory)
            .field("in_force", &self.in_force)
            .finish_non_exhaustive()
    }
}

impl Policies {
    /// Loads the policy directory at the start of the daemon. For a bad file its last good version
    /// is used, which is kept below `state_dir`; [`Policies::report`] says so. The clock is what
    /// conditions see as `time`.
    ///
    /// # Errors
    /// Something is wrong with the directory, and there is no last good set.
    pub fn open(policy_dir: &Path, state_dir: &Path, clock: Clock) -> Result<Policies, OpenError> {
        let last_good = LastGood::new(state_dir.join("policies-last-good"));
        let (texts, unreadable) = match last_good.read() {
            Ok(texts) => (texts, None),
            Err(error) => (Texts::new(), Some(error.to_string())),
        };
        let kept = recompile(policy_dir, &texts);
        let settled = match directory::read(policy_dir) {
            Ok(files) => settle(files, &kept),
            Err(error) if kept.is_empty() => return Err(error.into()),
            Err(error) => keep_all(&error, &kept),
        };
        if kept.is_empty() && !settled.diagnostics.is_empty() {
            return Err(match unreadable {
                Some(kept) => OpenError::Kept {
                    diagnostics: settled.diagnostics,
                    kept,
                },
                None => OpenError::Rejected(settled.diagnostics),
            });
        }
        let policies = Policies {
            directory: policy_dir.to_path_buf(),
            last_good,
            in_force: ArcSwap::from_pointee(InForce::default()),
            reloading: Mutex::new(()),
            clock,
        };
        policies.put_in_force(settled, &texts, Vec::new());
        Ok(policies)
    }

    /// Reads the directory anew. What is good comes into force at once and as a whole, what is bad
    /// is left as it was. A file that is gone takes its policy with it; a directory that cannot be
    /// read changes nothing.
    pub fn reload(&self) -> Arc<ReloadReport> {
        let _one_at_a_time = self
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = self.in_force.load_full();
        let settled = match directory::read(&self.directory) {
            Ok(files) => settle(files, &before.files),
            Err(error) => keep_all(&error, &before.files),
        };
        let removed = before.set.policies().map(|policy| Arc::clone(&policy.name));
        let removed = removed.filter(|name| {
            !settled
                .files
                .values()
                .any(|(policy, _)| policy.name == *name)
        });
        let removed = removed.collect();
        let mut texts = texts(&before.files);
        if before.report.unsaved.is_some() {
            // What is on disk is not what is in force: write it, whatever has changed.
            texts.insert("".into(), "".into());
        }
        self.put_in_force(settled, &texts, removed)
    }

    /// What the last load did.
    #[must_use]
    pub fn report(&self) -> Arc<ReloadReport> {
        Arc::clone(&self.in_force.load().report)
    }

    /// The policies in force now. Cheap; not to be held for long.
    #[must_use]
    pub fn set(&self) -> Snapshot {
        Snapshot(self.in_force.load())
    }

    fn put_in_force(
        &self,
        settled: Settled,
        on_disk: &Texts,
        removed: Vec<Arc<str>>,
    ) -> Arc<ReloadReport> {
        let texts = texts(&settled.files);
        let saved = if texts == *on_disk {
            Ok(())
        } else {
            self.last_good.write(&texts)
        };
        let set = PolicySet::new(settled.files.values().map(|(policy, _)| Arc::clone(policy)));
        let generation = self.in_force.load().generation.wrapping_add(1);
        let report = Arc::new(ReloadReport {
            generation,
            loaded: set.summaries(),
            rejected: settled.rejected,
            diagnostics: settled.diagnostics,
            removed,
            unsaved: saved.err().map(|error| error.to_string()),
        });
        let next = InForce {
            generation,
            set,
            files: settled.files,
            report: Arc::clone(&report),
        };
        self.in_force.store(Arc::new(next));
        report
    }
}

impl Judge for Policies {
    fn generation(&self) -> u64 {
        self.in_force.load().generation
    }

    fn decide(&self, case: &Case<'_>) -> Decision {
        match self.in_force.load().set.policy(case.policy) {
            Some(policy) if policy.asks_time() => policy.decide(case, (self.clock)()),
            Some(policy) => policy.decide(case, Timestamp::default()),
            None => Decision {
                verdict: Verdict::Deny,
                mode: Mode::Enforce,
                resource: unnamed(case.destination),
                rule: None,
                message: Some(format!("the policy {:?} is not loaded", case.policy).into()),
                hold: None,
                masks: None,
                answers: None,
                stable: true,
            },
        }
    }

    fn terms(&self, policy: &str, destination: &Destination) -> Arc<LinkTerms> {
        match self.in_force.load().set.policy(policy) {
            Some(policy) => policy.link_terms(destination),
            None => Arc::default(),
        }
    }
}

/// The policies that were in force when it was taken.
pub struct Snapshot(Guard<Arc<InForce>>);

impl std::ops::Deref for Snapshot {
    type Target = PolicySet;

    fn deref(&self) -> &PolicySet {
        &self.0.set
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.set.fmt(f)
    }
}

fn texts(files: &Kept) -> Texts {
    files
        .iter()
        .map(|(name, (_, text))| (Arc::clone(name), Arc::clone(text)))
        .collect()
}

/// Reads kept texts again. One that is no longer good, since this version is stricter than the one
/// that kept it, is as if it were not there.
fn recompile(directory: &Path, texts: &Texts) -> Kept {
    let mut kept = Kept::new();
    for (name, text) in texts {
        let file: Arc<str> = directory.join(&**name).to_string_lossy().into();
        if let Ok(policy) = compile(&Source::new(file, Arc::clone(text))) {
            kept.insert(Arc::clone(name), (Arc::new(policy), Arc::clone(text)));
        }
    }
    kept
}

/// What is to be in force after a load.
struct Settled {
    files: Kept,
    rejected: Vec<RejectedFile>,
    diagnostics: Vec<Diagnostic>,
}

fn keep_all(error: &DirectoryError, kept: &Kept) -> Settled {
    let file: Arc<str> = error.path.to_string_lossy().into();
    let message = format!("the policy directory cannot be read: {}", error.source);
    let diagnostic = Location::whole(file).diagnostic(message, "a readable directory");
    Settled {
        files: kept.clone(),
        rejected: Vec::new(),
        diagnostics: vec![diagnostic],
    }
}

/// Takes the good files, and for the others their last good versions. Files that do not fit
/// together: those that changed go back to what they were, until all fit.
fn settle(found: Files, kept: &Kept) -> Settled {
    let mut diagnostics = Vec::new();
    let mut rejected: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut files = Kept::new();
    for (name, source) in found {
        let good = source
            .map_err(|diagnostic| vec![diagnostic])
            .and_then(|source| {
                let text: Arc<str> = source.text().into();
                compile(&source).map(|policy| (Arc::new(policy), text))
            });
        match good {
            Ok(good) => drop(files.insert(name, good)),
            Err(found) => {
                diagnostics.extend(found);
                reject(&name, kept, &mut files, &mut rejected);
            }
        }
    }
    loop {
        let policies = files
            .iter()
            .map(|(name, (policy, _))| (Arc::clone(name), Arc::clone(policy)));
        let collisions = collisions(&policies.collect());
        if collisions.is_empty() {
            break;
        }
        let is_kept = |file: &Arc<str>| {
            files.get(file).map(|(_, text)| text) == kept.get(file).map(|(_, text)| text)
        };
        // What was in force stays, what is new goes. Two that were in force and do not fit were
        // tampered with where they were kept: neither is to be trusted.
        let losers: Vec<(Collision, bool)> = collisions
            .into_iter()
            .map(|collision| {
                (
                    is_kept(&collision.file),
                    is_kept(&collision.with),
                    collision,
                )
            })
            .filter(|(kept, with_kept, _)| !kept || *with_kept)
            .map(|(kept, _, collision)| (collision, kept))
            .collect();
        for (loser, was_kept) in losers {
            reject(&loser.file, kept, &mut files, &mut rejected);
            if was_kept {
                files.remove(&loser.file);
            }
            diagnostics.push(loser.diagnostic);
        }
    }
    let rejected = rejected.into_iter().map(|file| RejectedFile {
        kept: files.get(&file).map(|(policy, _)| Arc::clone(&policy.name)),
        file,
    });
    let rejected = rejected.collect();
    diagnostics.sort_by(|a, b| a.location.cmp(&b.location));
    Settled {
        files,
        rejected,
        diagnostics,
    }
}

/// Puts the last good version of a file in its place, if there is one.
fn reject(name: &Arc<str>, kept: &Kept, files: &mut Kept, rejected: &mut BTreeSet<Arc<str>>) {
    rejected.insert(Arc::clone(name));
    match kept.get(name) {
        Some(good) => drop(files.insert(Arc::clone(name), good.clone())),
        None => drop(files.remove(name)),
    }
}

//! All policies in force together: an immutable snapshot.
use crate::cgroup::CgroupGlob;
use crate::compile::compile;
use crate::diagnostic::{Diagnostic, Source, quoted};
use crate::directory::{self, DirectoryError};
use crate::place::unnamed;
use crate::policy::{Policy, PolicySummary};
use gateway_core::Destination;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Policies that fit together: no two have the same name, and no cgroup is claimed by two with
/// the same right.
#[derive(Debug, Default)]
pub struct PolicySet {
    by_name: BTreeMap<Arc<str>, Arc<Policy>>,
    /// The hot path finds a policy here.
    index: FxHashMap<Arc<str>, Arc<Policy>>,
}

/// What came out of reading policy files: those without a mistake, and the mistakes of the others.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The policies of the good files.
    pub set: PolicySet,
    /// What is wrong with the bad ones, in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
}

impl PolicySet {
    /// Loads a directory. A file with a mistake is left out; files that collide with each other
    /// are all left out, since nothing says which of them is meant.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn load(directory: &Path) -> Result<Loaded, DirectoryError> {
        Ok(load(directory::read(directory)?))
    }

    /// Loads one file by itself.
    #[must_use]
    pub fn load_file(file: &Path) -> Loaded {
        load([(file.to_string_lossy().into(), directory::read_file(file))].into())
    }

    /// Loads texts as if they were files: `(name, text)`.
    #[must_use]
    pub fn load_texts<'t>(files: impl IntoIterator<Item = (&'t str, &'t str)>) -> Loaded {
        let source = |(file, text): (&'t str, &'t str)| (file.into(), Ok(Source::new(file, text)));
        load(files.into_iter().map(source).collect())
    }

    /// What is wrong with a file. Empty: nothing.
    #[must_use]
    pub fn check_file(file: &Path) -> Vec<Diagnostic> {
        PolicySet::load_file(file).diagnostics
    }

    /// What is wrong with the files of a directory, by themselves and together. Empty: nothing.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn check_dir(directory: &Path) -> Result<Vec<Diagnostic>, DirectoryError> {
        Ok(PolicySet::load(directory)?.diagnostics)
    }

    pub(crate) fn new(policies: impl IntoIterator<Item = Arc<Policy>>) -> PolicySet {
        let by_name: BTreeMap<Arc<str>, Arc<Policy>> = policies
            .into_iter()
            .map(|policy| (Arc::clone(&policy.name), policy))
            .collect();
        let index = by_name
            .iter()
            .map(|(name, policy)| (Arc::clone(name), Arc::clone(policy)));
        PolicySet {
            index: index.collect(),
            by_name,
        }
    }

    /// The policies in the order of their names.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.by_name.values()
    }

    /// The policy of this name.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&Arc<Policy>> {
        self.index.get(name)
    }

    /// What people want to know about the policies, in the order of their names.
    #[must_use]
    pub fn summaries(&self) -> Vec<PolicySummary> {
        self.policies().map(|policy| policy.summary()).collect()
    }

    /// Nothing is governed by it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The policy that a cgroup is under: the one whose glob has the longest literal prefix. The
    /// path is that of `/proc/PID/cgroup` after `0::`, with or without its leading `/`.
    #[must_use]
    pub fn for_cgroup(&self, path: &str) -> Option<&Arc<Policy>> {
        let named = self
            .policies()
            .filter_map(|policy| Some((policy.literal_prefix_len(path)?, policy)));
        // No two have the same length for one path; that was checked.
        named
            .max_by_key(|(length, _)| *length)
            .map(|(_, policy)| policy)
    }

    /// The catalogue name of a destination under a policy, else `address:port`.
    #[must_use]
    pub fn resource_name(&self, policy: &str, destination: &Destination) -> Arc<str> {
        match self.policy(policy) {
            Some(policy) => policy.resource_name(destination),
            None => unnamed(destination),
        }
    }

    /// Resources that demand a protocol nobody speaks. Such a resource refuses everything, so it
    /// is a mistake; but which protocols there are is not known here.
    #[must_use]
    pub fn check_protocols(&self, known: &[&str]) -> Vec<Diagnostic> {
        let places = self.policies().flat_map(|policy| &policy.places.protocols);
        let unknown = places.filter(|(protocol, _)| !known.contains(&&**protocol));
        unknown
            .map(|(protocol, location)| {
                let expected = crate::reader::list(known, '"');
                location.diagnostic(
                    format!("there is no protocol {}", quoted(protocol)),
                    expected,
                )
            })
            .collect()
    }
}

fn load(files: directory::Files) -> Loaded {
    let mut diagnostics = Vec::new();
    let mut policies: BTreeMap<Arc<str>, Arc<Policy>> = BTreeMap::new();
    for (name, source) in files {
        match source
            .map_err(|diagnostic| vec![diagnostic])
            .and_then(|source| compile(&source))
        {
            Ok(policy) => drop(policies.insert(name, Arc::new(policy))),
            Err(found) => diagnostics.extend(found),
        }
    }
    for collision in collisions(&policies) {
        policies.remove(&collision.file);
        diagnostics.push(collision.diagnostic);
    }
    diagnostics.sort_by(|a, b| a.location.cmp(&b.location));
    Loaded {
        set: PolicySet::new(policies.into_values()),
        diagnostics,
    }
}

/// One side of a collision between two files.
#[derive(Debug)]
pub(crate) struct Collision {
    /// The file to which it is said.
    pub(crate) file: Arc<str>,
    /// The file that it collides with.
    pub(crate) with: Arc<str>,
    pub(crate) diagnostic: Diagnostic,
}

/// With how many others one name or glob is said to collide. Enough to find the mistake.
const COLLISIONS_MAX: usize = 8;

/// A file, its policy, and the number of one of its cgroup globs.
type Claim<'a> = (&'a Arc<str>, &'a Policy, usize);

/// All that does not fit together, said to both sides of each collision.
pub(crate) fn collisions(policies: &BTreeMap<Arc<str>, Arc<Policy>>) -> Vec<Collision> {
    let mut found = Vec::new();
    let mut names: FxHashMap<&str, Vec<(&Arc<str>, &Policy)>> = FxHashMap::default();
    // Only globs with the same literal prefix can be equally specific for one path.
    let mut prefixes: FxHashMap<&str, Vec<Claim<'_>>> = FxHashMap::default();
    // And of two that name the same cgroups one would never count.
    let mut heads: FxHashMap<&str, Vec<Claim<'_>>> = FxHashMap::default();
    for (file, policy) in policies {
        let namesakes = names.entry(&*policy.name).or_default();
        for other in namesakes.iter().take(COLLISIONS_MAX) {
            found.extend(namesake((file, policy), *other));
        }
        namesakes.push((file, policy));
        for (index, glob) in policy.cgroups.iter().enumerate() {
            let claim: Claim<'_> = (file, policy, index);
            let equal = prefixes.entry(glob.literal_prefix()).or_default();
            let same = heads.entry(glob.head()).or_default();
            let ties = rivals(claim, equal, |other| glob.overlaps(other));
            let twins = rivals(claim, same, |other| {
                glob.literal_prefix() != other.literal_prefix()
            });
            for rival in ties.chain(twins) {
                found.extend(tie(claim, rival));
                found.extend(tie(rival, claim));
            }
            equal.push(claim);
            same.push(claim);
        }
    }
    found
}

/// The globs of other policies that collide with one.
fn rivals<'a>(
    claim: Claim<'a>,
    others: &[Claim<'a>],
    collides: impl Fn(&CgroupGlob) -> bool,
) -> impl Iterator<Item = Claim<'a>> {
    let (_, policy, _) = claim;
    others
        .iter()
        .filter(move |(_, other, index)| {
            !std::ptr::eq(*other, policy) && other.cgroups.get(*index).is_some_and(&collides)
        })
        .take(COLLISIONS_MAX)
        .copied()
}

/// Two policies of one name.
fn namesake(left: (&Arc<str>, &Policy), right: (&Arc<str>, &Policy)) -> [Collision; 2] {
    [(left, right), (right, left)].map(|((file, policy), (with, other))| {
        let message = format!("the policy name {} is taken", quoted(&policy.name));
        let expected = format!("another name; it is used at {}", other.places.name);
        collision(file, with, policy.places.name.diagnostic(message, expected))
    })
}

/// Two globs that match the same path with the same right, said to the first.
fn tie(here: Claim<'_>, there: Claim<'_>) -> Option<Collision> {
    let ((file, policy, index), (with, other, other_index)) = (here, there);
    let (glob, place) = (
        policy.cgroups.get(index)?,
        policy.places.cgroups.get(index)?,
    );
    let (rival, rival_place) = (
        other.cgroups.get(other_index)?,
        other.places.cgroups.get(other_index)?,
    );
    let (here, there) = (
        quoted(glob.text()),
        format!("{} of policy {}", quoted(rival.text()), quoted(&other.name)),
    );
    let message = if glob.head() == rival.head() {
        format!("{here} here and {there} govern the same cgroups")
    } else {
        let prefix = quoted(glob.literal_prefix());
        format!(
            "{here} here and {there} can govern the same cgroup, and both have the literal prefix {prefix}"
        )
    };
    let expected = format!("globs of different literal prefix; the other is at {rival_place}");
    Some(collision(file, with, place.diagnostic(message, expected)))
}

fn collision(file: &Arc<str>, with: &Arc<str>, diagnostic: Diagnostic) -> Collision {
    Collision {
        file: Arc::clone(file),
        with: Arc::clone(with),
        diagnostic,
    }
}

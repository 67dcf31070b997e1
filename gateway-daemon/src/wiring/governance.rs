//! Policies in force, in the judge and in the kernel at once: which slot of the kernel's maps is
//! which policy.
use super::before::Before;
use crate::terminal::moment;
use arc_swap::ArcSwap;
use gateway_capture::{Capture, CaptureError, Governed};
use gateway_core::Timestamp;
use gateway_files::{Lasting, PRIVATE};
use gateway_policy::{Policies, ReloadReport};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a connection waits for a reload that is under way, whose slot it may bring.
const RELOAD_WAIT_MAX: Duration = Duration::from_millis(200);

/// Slots and names. A slot keeps its name when its policy goes: its trees stay governed, and
/// records go on to name what they are under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SlotNames {
    names: HashMap<u32, Arc<str>>,
    in_force: HashMap<Arc<str>, u32>,
}

/// The policies, judged and governed by.
pub(crate) struct Governance {
    policies: Arc<Policies>,
    capture: Arc<Capture>,
    before: Arc<Before>,
    slots: ArcSwap<SlotNames>,
    /// One at a time.
    applying: Mutex<()>,
    /// When the policies in force were loaded.
    loaded: AtomicU64,
    /// Why the kernel could not be told about the policies in force.
    failed: Mutex<Option<String>>,
    /// Where slots and names are kept over a restart.
    file: PathBuf,
}

impl Governance {
    pub(crate) fn new(
        policies: Arc<Policies>,
        capture: Arc<Capture>,
        before: Arc<Before>,
        state_dir: &Path,
    ) -> Self {
        let file = state_dir.join("slots.json");
        let names = read_names(&file).unwrap_or_else(|error| {
            tracing::warn!(%error, file = %file.display(), "the names of slots cannot be read");
            HashMap::new()
        });
        Governance {
            policies,
            capture,
            before,
            slots: ArcSwap::from_pointee(SlotNames {
                names,
                ..SlotNames::default()
            }),
            applying: Mutex::new(()),
            loaded: AtomicU64::new(moment::now().0),
            failed: Mutex::new(None),
            file,
        }
    }

    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// When the policies in force were loaded.
    pub(crate) fn loaded(&self) -> Timestamp {
        Timestamp(self.loaded.load(Ordering::Relaxed))
    }

    /// Why the kernel does not know the policies in force, when it does not.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failed.lock().clone()
    }

    /// Tells the kernel which cgroups are governed, and by what.
    pub(crate) fn apply(&self) -> Result<(), CaptureError> {
        let _one_at_a_time = self.applying.lock();
        self.apply_locked()
    }

    fn apply_locked(&self) -> Result<(), CaptureError> {
        let governed: Vec<Governed> = self
            .policies
            .set()
            .summaries()
            .into_iter()
            .map(|policy| Governed {
                name: policy.name.to_string(),
                mode: policy.mode,
                posture: policy.posture,
                cgroups: policy.cgroups.iter().map(ToString::to_string).collect(),
                unix: policy.unix.iter().map(ToString::to_string).collect(),
            })
            .collect();
        let applied = self.capture.govern_cgroups(&governed);
        *self.failed.lock() = applied.as_ref().err().map(ToString::to_string);
        let slots = applied?;
        let mut names = SlotNames {
            names: self.slots.load().names.clone(),
            ..SlotNames::default()
        };
        for policy in &governed {
            if let Some(slot) = slots.slot(&policy.name) {
                let name: Arc<str> = policy.name.as_str().into();
                names.names.insert(slot, Arc::clone(&name));
                names.in_force.insert(name, slot);
            }
        }
        if names.names != self.slots.load().names
            && let Err(error) = write_names(&self.file, &names.names)
        {
            tracing::warn!(%error, "the names of slots could not be kept");
        }
        self.slots.store(Arc::new(names));
        self.before.look_at(slots.unjudged());
        Ok(())
    }

    /// Reads the policy directory anew. What is bad is left as it was.
    pub(crate) fn reload(&self) -> Arc<ReloadReport> {
        let _one_at_a_time = self.applying.lock();
        let report = self.policies.reload();
        if let Err(error) = self.apply_locked() {
            tracing::error!(%error, "the kernel could not be told about the policies");
        }
        self.loaded.store(moment::now().0, Ordering::Relaxed);
        report
    }

    /// The policy of a slot, in force or not any more.
    pub(crate) fn policy_of(&self, slot: u32) -> Option<Arc<str>> {
        if let Some(name) = self.slots.load().names.get(&slot) {
            return Some(Arc::clone(name));
        }
        // The kernel may govern by a policy that is just coming into force.
        drop(self.applying.try_lock_for(RELOAD_WAIT_MAX)?);
        self.slots.load().names.get(&slot).cloned()
    }

    /// Does the policy of a slot name programs whose children begin trees of their own?
    pub(crate) fn has_boundaries(&self, slot: u32) -> bool {
        let slots = self.slots.load();
        let set = self.policies.set();
        let policy = slots.names.get(&slot).and_then(|name| set.policy(name));
        policy.is_some_and(|policy| !policy.boundaries().is_empty())
    }

    /// The programs whose children begin trees of their own, under the policy of a slot. None
    /// when it is not in force any more.
    pub(crate) fn boundaries_of(&self, slot: u32) -> Vec<Box<str>> {
        let slots = self.slots.load();
        let Some(name) = slots.names.get(&slot) else {
            return Vec::new();
        };
        let set = self.policies.set();
        let policy = set.policy(name);
        policy.map_or_else(Vec::new, |policy| policy.boundaries().to_vec())
    }

    /// The slot of a policy that is in force.
    pub(crate) fn slot_of(&self, name: &str) -> Option<u32> {
        self.slots.load().in_force.get(name).copied()
    }
}

fn read_names(file: &Path) -> io::Result<HashMap<u32, Arc<str>>> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(error) => Err(error),
    }
}

fn write_names(file: &Path, names: &HashMap<u32, Arc<str>>) -> io::Result<()> {
    let names = serde_json::to_vec(names)?;
    gateway_files::replace(file, PRIVATE, Lasting::Process, &[&names]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_restart_and_damage_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("slots.json");
        assert!(read_names(&file).unwrap().is_empty());
        let names = HashMap::from([(3, Arc::from("ci")), (7, Arc::from("x\"y"))]);
        write_names(&file, &names).unwrap();
        assert_eq!(read_names(&file).unwrap(), names);
        std::fs::write(&file, "{").unwrap();
        assert!(read_names(&file).is_err());
    }
}

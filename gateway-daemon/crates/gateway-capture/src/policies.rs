//! Which cgroups are governed, by which policy, and how strictly.
use crate::error::CaptureError;
use crate::globs::{Glob, compile};
use crate::host::fnv1a;
use crate::load::{Capture, lock};
use crate::maps::keys;
use crate::scan::Judged;
use crate::wire::Wire;
use aya::maps::lpm_trie::Key;
use gateway_common::config::{Config, SLOTS, Slot, inbound, mode, refuses, unsure_since};
use gateway_common::glob::Table;
use gateway_common::socket::UnixName;
use gateway_core::{Inbound, Mode, Posture, TreeId};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A policy, as far as the capture needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governed {
    /// Its name.
    pub name: String,
    /// How strictly it is applied.
    pub mode: Mode,
    /// How it stands to those who connect to its trees, and to a dead daemon.
    pub posture: Posture,
    /// Its cgroups, as globs from the cgroup2 mount.
    pub cgroups: Vec<String>,
    /// The unix sockets of others that its trees may use: names, or beginnings with a `*` behind them.
    pub unix: Vec<String>,
}

/// Which policy is in which slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    by_name: HashMap<String, u32>,
    unjudged: HashSet<TreeId>,
}

impl Slots {
    /// The slot of a policy that is in force.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The policy in a slot; `None` when it is not in force any more.
    #[must_use]
    pub fn name(&self, slot: u32) -> Option<&str> {
        self.by_name
            .iter()
            .find(|(_, there)| **there == slot)
            .map(|(name, _)| name.as_str())
    }

    /// The trees that may have sockets from before: see [`Capture::judge_sockets`]. Those that are
    /// governed, or refused something, since a moment ago.
    #[must_use]
    pub const fn unjudged(&self) -> &HashSet<TreeId> {
        &self.unjudged
    }
}

/// What is in force, kept for the time when tags were lost.
#[derive(Default)]
pub(crate) struct InForce {
    table: Option<Box<Table>>,
}

const fn mode_number(mode: Mode) -> u32 {
    match mode {
        Mode::Observe => mode::OBSERVE,
        Mode::Shadow => mode::SHADOW,
        Mode::Enforce => mode::ENFORCE,
    }
}

impl Capture {
    /// Puts policies in force: finds and tags the processes that they govern, names the cgroups in
    /// the kernel, and only then raises the modes. A tree that is governed stays so, under the mode
    /// that its policy had, when the policy is not there any more.
    ///
    /// # Errors
    /// The globs or the policies are too many, or a map cannot be written. What was in force
    /// before stays so.
    pub fn govern_cgroups(&self, policies: &[Governed]) -> Result<Slots, CaptureError> {
        let mut in_force = lock(&self.in_force);
        let mut slots = self.assign_slots(policies)?;
        let globs: Vec<Glob> = policies
            .iter()
            .flat_map(|policy| {
                let slot = slots.by_name.get(&policy.name).copied();
                policy.cgroups.iter().filter_map(move |pattern| {
                    Some(Glob {
                        pattern: pattern.clone(),
                        slot: slot?,
                    })
                })
            })
            .collect();
        let table = compile(&self.root.path, &globs)?;
        let judged = Judged::new(&self.root.cgroups(), &table);
        // Processes before cgroups: a fork in between inherits its parent's tag.
        slots.unjudged.extend(self.tag_missing(&judged, None)?);
        if let Err(error) = self.name_cgroups(&judged, &table) {
            if let Some(before) = &in_force.table {
                let judged = Judged::new(&self.root.cgroups(), before);
                self.drop_names(&judged, before)?;
            }
            return Err(error);
        }
        self.activate(&table)?;
        // Cgroups and processes that came meanwhile.
        for _ in 0..3 {
            let judged = Judged::new(&self.root.cgroups(), &table);
            self.name_cgroups(&judged, &table)?;
            let missed = self.tag_missing(&judged, None)?;
            if missed.is_empty() {
                break;
            }
            slots.unjudged.extend(missed);
        }
        self.name_sockets(policies, &slots)?;
        let mut raised = HashSet::new();
        for policy in policies {
            if let Some(slot) = slots.by_name.get(&policy.name) {
                let mode = mode_number(policy.mode);
                if refuses(mode) && !self.enforces(*slot)? {
                    raised.insert(*slot);
                }
                self.write_slot(*slot, &policy.name, mode, policy.posture)?;
            }
        }
        // What an earlier daemon governed may not have been looked at.
        let first = in_force.table.is_none();
        let of_others = self.tags()?.into_iter();
        let of_others = of_others.filter(|tag| first || raised.contains(&tag.slot));
        slots.unjudged.extend(of_others.map(|tag| tag.tree));
        in_force.table = Some(table);
        Ok(slots)
    }

    /// Looks for processes and cgroups that the kernel half could not tag.
    pub(crate) fn repair(&self) -> Result<usize, CaptureError> {
        let in_force = lock(&self.in_force);
        let Some(table) = &in_force.table else {
            return Ok(0);
        };
        // What comes from here on is for the next time.
        let (failures, misses) = (self.read().failures()?, self.misses.load(Ordering::Acquire));
        let since = unsure_since(&self.read().configuration()?, &failures);
        let judged = Judged::new(&self.root.cgroups(), table);
        self.name_cgroups(&judged, table)?;
        let written = self.tag_missing(&judged, since)?;
        let mut maps = self.write();
        let config = maps.configuration()?;
        let missed_at = match self.misses.load(Ordering::Acquire) == misses {
            true => 0,
            false => config.missed_at,
        };
        maps.configure(Config {
            repaired: failures.last,
            missed_at,
            ..config
        })?;
        Ok(written.len())
    }

    /// Does the policy in this slot refuse?
    pub(crate) fn enforces(&self, slot: u32) -> Result<bool, CaptureError> {
        let Wire(there) = self
            .read()
            .policies
            .get(&slot, 0)
            .map_err(|error| CaptureError::new("read the map POLICIES", &error))?;
        Ok(refuses(there.mode))
    }

    fn assign_slots(&self, policies: &[Governed]) -> Result<Slots, CaptureError> {
        let read_error = |error| CaptureError::new("read the map POLICIES", &error);
        let mut there = Vec::new();
        for index in 0..SLOTS {
            there.push(self.read().policies.get(&index, 0).map_err(read_error)?.0);
        }
        let wanted: HashSet<u64> = policies
            .iter()
            .map(|policy| fnv1a(policy.name.as_bytes()))
            .collect();
        let held: HashSet<u32> = self.tags()?.iter().map(|tag| tag.slot).collect();
        let mut slots = Slots::default();
        for policy in policies {
            let name = fnv1a(policy.name.as_bytes());
            let free = |(index, slot): &(usize, &Slot)| {
                slot.name == 0 || (!wanted.contains(&slot.name) && !held.contains(&(*index as u32)))
            };
            let found = there
                .iter()
                .position(|slot| slot.name == name)
                .or_else(|| there.iter().enumerate().find(free).map(|(index, _)| index));
            let index = found.ok_or(CaptureError::TooManyPolicies { max: SLOTS })?;
            let new = there.get(index).is_none_or(|slot| slot.name != name);
            if let Some(slot) = there.get_mut(index) {
                slot.name = name;
            }
            slots.by_name.insert(policy.name.clone(), index as u32);
            if new {
                // Raised at the end. Nothing is tagged with it yet.
                let posture = Posture::default();
                self.write_slot(index as u32, &policy.name, mode::OBSERVE, posture)?;
            }
        }
        Ok(slots)
    }

    fn write_slot(
        &self,
        slot: u32,
        name: &str,
        mode: u32,
        posture: Posture,
    ) -> Result<(), CaptureError> {
        let wait = posture.allow_after.map_or(0, |time| time.as_nanos());
        let value = Slot {
            name: fnv1a(name.as_bytes()),
            mode,
            inbound: match posture.inbound {
                Inbound::OwnTree => inbound::OWN_TREE,
                Inbound::Any => inbound::ANY,
            },
            // Longer than can be counted is never.
            allow_after: u64::try_from(wait).unwrap_or(0),
            datagrams: u32::from(posture.datagrams),
            reserved: 0,
        };
        self.write()
            .policies
            .set(slot, Wire(value), 0)
            .map_err(|error| CaptureError::new("write the map POLICIES", &error))
    }

    /// Makes the map of governed cgroups what was judged. Names are added before others go, unless
    /// those take the room.
    fn name_cgroups(&self, judged: &Judged, table: &Table) -> Result<(), CaptureError> {
        if self.add_names(judged).is_err() {
            self.drop_names(judged, table)?;
            self.add_names(judged)?;
        }
        self.drop_names(judged, table)
    }

    fn add_names(&self, judged: &Judged) -> Result<(), CaptureError> {
        let fail = |error| CaptureError::new("write the map CGROUPS", &error);
        let mut maps = self.write();
        let mut all = judged.slots.iter();
        let added = all.try_for_each(|(id, slot)| maps.cgroups.insert(*id, *slot, 0));
        drop(maps);
        // Also where only some have got names.
        outlast_reading_ahead();
        self.write().end_naming()?;
        added.map_err(fail)
    }

    fn drop_names(&self, judged: &Judged, table: &Table) -> Result<(), CaptureError> {
        let there = keys(&self.read().cgroups, "CGROUPS")?;
        // A cgroup that was made after we looked was named by the kernel half: it is not ours to
        // remove, unless it is gone.
        let now = Judged::new(&self.root.cgroups(), table);
        for id in there {
            if judged.slots.contains_key(&id) || now.slots.contains_key(&id) {
                continue;
            }
            // One that is too far down for a path keeps the name that it has.
            if now.seen.contains(&id) || !self.root.has(id) {
                let _ = self.write().cgroups.remove(&id);
            }
        }
        Ok(())
    }

    /// Names the cgroups that have no name, and forgets those that are gone: the kernel can skip the
    /// programs that do so.
    ///
    /// # Errors
    /// The map cannot be read or written.
    pub fn sweep_cgroups(&self) -> Result<(), CaptureError> {
        let in_force = lock(&self.in_force);
        let Some(table) = &in_force.table else {
            return Ok(());
        };
        let judged = Judged::new(&self.root.cgroups(), table);
        self.name_cgroups(&judged, table)
    }

    /// Says which unix sockets of others the trees of each policy may use. What is listed is added before
    /// other names go; a policy that is not in force any more keeps its own.
    fn name_sockets(&self, policies: &[Governed], slots: &Slots) -> Result<(), CaptureError> {
        let fail = |error| CaptureError::new("write the map UNIX_NAMES", &error);
        let mut wanted = HashSet::new();
        let mut in_force = HashSet::new();
        for policy in policies {
            let Some(slot) = slots.slot(&policy.name) else {
                continue;
            };
            in_force.insert(slot.to_be_bytes());
            let names = policy.unix.iter();
            wanted.extend(names.filter_map(|name| UnixName::of_pattern(slot, name)));
        }
        let mut maps = self.write();
        for (bits, name) in &wanted {
            maps.unix_names
                .insert(&Key::new(*bits, Wire(*name)), 1, 0)
                .map_err(fail)?;
        }
        let there: Vec<Key<Wire<UnixName>>> = maps
            .unix_names
            .keys()
            .collect::<Result<_, _>>()
            .map_err(|error| CaptureError::new("read the map UNIX_NAMES", &error))?;
        for key in there {
            let (bits, Wire(name)) = (key.prefix_len(), key.data());
            if in_force.contains(&name.slot) && !wanted.contains(&(bits, name)) {
                maps.unix_names.remove(&key).map_err(fail)?;
            }
        }
        Ok(())
    }

    /// Fills the glob table that is not in force, and puts it in force.
    fn activate(&self, table: &Table) -> Result<(), CaptureError> {
        let mut maps = self.write();
        let config = maps.configuration()?;
        let next = (config.globs & 1) ^ 1;
        maps.globs
            .set(next, Wire(*table), 0)
            .map_err(|error| CaptureError::new("write the map GLOBS", &error))?;
        maps.configure(Config {
            globs: next,
            ..config
        })
    }
}

/// Until no program can have read the new number of a naming that is yet to be written, and before it
/// that a name was not there. The kernel half reads the number first; where processors read later
/// words ahead of earlier ones, what they have read ahead is thrown away at the next interrupt, and a
/// pause is far longer than what they keep. x86-64 does no such thing.
fn outlast_reading_ahead() {
    if cfg!(not(target_arch = "x86_64")) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

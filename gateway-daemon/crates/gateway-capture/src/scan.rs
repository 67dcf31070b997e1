//! The processes that were there before the programs, and those whose tags could not be written.
//!
//! The kernel's own list is read, since /proc tells start times in ticks only.
use crate::cgroup::Cgroup;
use crate::error::CaptureError;
use crate::load::{Capture, lock};
use crate::missed::now_ns;
use crate::wire::{Wire, read_scanned};
use aya::programs::Iter;
use aya::{Btf, Ebpf};
use gateway_common::glob::{NO_SLOT, Table};
use gateway_common::scan::Scanned;
use gateway_common::tag::Tag;
use gateway_core::TreeId;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

const PROGRAM: &str = "list_processes";
/// `BPF_NOEXIST`: a tag that the kernel half wrote meanwhile is the better one.
const NO_EXIST: u64 = 1;

fn fail(error: &(dyn std::error::Error + 'static)) -> CaptureError {
    CaptureError::new("list the processes", error)
}

fn iterator(ebpf: &mut Ebpf) -> Result<&mut Iter, CaptureError> {
    let missing = || CaptureError::System {
        what: format!("find the program {PROGRAM}"),
        detail: "the eBPF object does not have it".into(),
    };
    ebpf.program_mut(PROGRAM)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|error: aya::programs::ProgramError| fail(&error))
}

pub(crate) fn load(ebpf: &mut Ebpf, types: &Btf) -> Result<(), CaptureError> {
    iterator(ebpf)?
        .load("task", types)
        .map_err(|error| fail(&error))
}

/// Which policy each cgroup and each process is under.
pub(crate) struct Judged {
    /// Cgroup id → policy slot, of the governed ones.
    pub(crate) slots: HashMap<u64, u32>,
    /// All that there are, by their ids.
    pub(crate) seen: HashSet<u64>,
}

impl Judged {
    pub(crate) fn new(cgroups: &[Cgroup], table: &Table) -> Judged {
        let judged = cgroups
            .iter()
            .map(|cgroup| (cgroup.id, table.judge(cgroup.path.as_bytes())));
        Judged {
            slots: judged.filter(|(_, slot)| *slot != NO_SLOT).collect(),
            seen: cgroups.iter().map(|cgroup| cgroup.id).collect(),
        }
    }
}

impl Capture {
    /// All processes of the host, with their exact start times.
    pub(crate) fn processes(&self) -> Result<Vec<Scanned>, CaptureError> {
        let mut ebpf = lock(&self.ebpf);
        let program = iterator(&mut ebpf)?;
        let id = program.attach().map_err(|error| fail(&error))?;
        let link = program.take_link(id).map_err(|error| fail(&error))?;
        let mut file = link.into_file().map_err(|error| fail(&error))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| fail(&error))?;
        let mut rest = bytes.as_slice();
        let mut all = Vec::new();
        while let Some((process, tail)) = read_scanned(rest) {
            all.push(process);
            rest = tail;
        }
        Ok(all)
    }

    /// Writes the missing tags of processes in governed cgroups, and of children of tagged ones
    /// that started at `forked_since` or later. Gives the tree of each that was written.
    pub(crate) fn tag_missing(
        &self,
        judged: &Judged,
        forked_since: Option<u64>,
    ) -> Result<Vec<TreeId>, CaptureError> {
        let own = std::process::id();
        let salt = self.read().configuration()?.boot_salt;
        let mut known: HashMap<u32, Tag> = HashMap::new();
        let mut processes = self.processes()?;
        // A parent is there before its child.
        processes.sort_by_key(|process| (process.start, process.tgid));
        for entry in self.read().tags.iter() {
            let (pid, Wire(tag)) = entry.map_err(|error| fail(&error))?;
            known.insert(pid, tag);
        }
        known.retain(|pid, tag| {
            processes
                .iter()
                .any(|process| process.tgid == *pid && tag.is_of(process.start))
        });
        // The first tree of each cgroup, for those whose parents died before we looked.
        let mut first: HashMap<u64, Tag> = HashMap::new();
        let mut written = Vec::new();
        for process in &processes {
            if let Some(tag) = known.get(&process.tgid) {
                first.entry(process.cgroup).or_insert(*tag);
                continue;
            }
            let drains = self.read().draining.get(&process.tgid, 0).ok();
            if process.tgid == own || drains == Some(process.start) {
                continue;
            }
            let parent = known.get(&process.parent_tgid);
            let lost = forked_since.is_some_and(|since| process.start >= since);
            let tag = match (judged.slots.get(&process.cgroup), parent) {
                (_, Some(parent)) if lost || judged.slots.contains_key(&process.cgroup) => {
                    self.child_tag(parent, process, salt)
                }
                (Some(slot), _) => match first.get(&process.cgroup) {
                    // An orphan: of the tree of its cgroup.
                    Some(root) if process.parent_tgid <= 1 => Tag {
                        parent_start: 0,
                        ..root.inherited(process.tgid, process.start)
                    },
                    _ => Tag::root(process.tgid, process.start, salt, *slot),
                },
                (None, _) => continue,
            };
            if self.write_tag(process.tgid, tag)? {
                written.push(TreeId(tag.tree));
            }
            first.entry(process.cgroup).or_insert(tag);
            known.insert(process.tgid, tag);
        }
        Ok(written)
    }

    /// Writes a tag, unless the kernel half has written one for this process.
    fn write_tag(&self, pid: u32, tag: Tag) -> Result<bool, CaptureError> {
        let mut maps = self.write();
        let current = maps.tags.get(&pid, 0).ok();
        if current.is_some_and(|Wire(there)| there.is_of(tag.start)) {
            return Ok(false);
        }
        // A stale tag of an earlier process is overwritten.
        let flags = if current.is_some() { 0 } else { NO_EXIST };
        match maps.tags.insert(pid, Wire(tag), flags) {
            Ok(()) => Ok(true),
            Err(_) if maps.tags.get(&pid, 0).is_ok() => Ok(false),
            Err(error) => Err(CaptureError::new("write the map TAGS", &error)),
        }
    }

    /// Makes a process the root of a new tree under a policy, before it runs what it is to run.
    /// A process that is governed already stays in its tree, which is returned.
    ///
    /// # Errors
    /// The process is gone, or the tag cannot be written.
    pub fn govern(&self, pid: u32, slot: u32) -> Result<TreeId, CaptureError> {
        let processes = self.processes()?;
        let process = processes
            .iter()
            .find(|process| process.tgid == pid)
            .ok_or(CaptureError::NoProcess { pid })?;
        let salt = self.read().configuration()?.boot_salt;
        let tag = Tag::root(pid, process.start, salt, slot);
        if self.write_tag(pid, tag)? {
            return Ok(TreeId(tag.tree));
        }
        let Wire(there) = self
            .read()
            .tags
            .get(&pid, 0)
            .map_err(|error| CaptureError::new("read the map TAGS", &error))?;
        Ok(TreeId(there.tree))
    }

    /// Removes the tags of processes that are gone: the exit hook can be skipped under load. A
    /// stale tag never matches a later process; this only frees its memory. Says how many.
    ///
    /// # Errors
    /// A map cannot be read or written.
    pub fn sweep(&self) -> Result<usize, CaptureError> {
        // Tags first, then processes: what is in the first list and not in the second has exited.
        let tags = self.read().tags()?;
        let processes = self.processes()?;
        let alive: HashMap<u32, u64> = processes
            .iter()
            .map(|process| (process.tgid, process.start))
            .collect();
        let mut removed = Vec::new();
        for tag in tags
            .iter()
            .filter(|tag| alive.get(&tag.pid) != Some(&tag.start))
        {
            let mut maps = self.write();
            let stale = maps
                .tags
                .get(&tag.pid, 0)
                .is_ok_and(|Wire(there)| there.is_of(tag.start));
            if stale && maps.tags.remove(&tag.pid).is_ok() {
                removed.push(tag.pid);
            }
        }
        self.restore(&removed)?;
        self.sweep_boundaries(&alive)?;
        self.sweep_handshakes()?;
        Ok(removed.len())
    }

    /// A pid that was reused in the very moment of its removal has lost the tag of its new owner:
    /// it is written again, from the parent's.
    fn restore(&self, removed: &[u32]) -> Result<(), CaptureError> {
        if removed.is_empty() {
            return Ok(());
        }
        let salt = self.read().configuration()?.boot_salt;
        for process in self
            .processes()?
            .iter()
            .filter(|process| removed.contains(&process.tgid))
        {
            let parent = self.read().tags.get(&process.parent_tgid, 0).ok();
            if let Some(Wire(parent)) = parent {
                self.write_tag(process.tgid, self.child_tag(&parent, process, salt))?;
            }
        }
        Ok(())
    }

    /// The tag that the kernel half would have written at the fork.
    fn child_tag(&self, parent: &Tag, child: &Scanned, salt: u64) -> Tag {
        let maps = self.read();
        match maps.boundaries.get(&child.parent_tgid, 0) {
            Ok(start) if parent.is_of(start) => {
                parent.begun(child.parent_tgid, child.tgid, child.start, salt)
            }
            _ => parent.inherited(child.parent_tgid, child.start),
        }
    }

    /// Frees the marks of boundaries that are gone. They match no later process.
    fn sweep_boundaries(&self, alive: &HashMap<u32, u64>) -> Result<(), CaptureError> {
        for boundary in self.boundaries()? {
            if alive.get(&boundary.pid) != Some(&boundary.start) {
                self.unmark_boundary(boundary.pid)?;
            }
        }
        Ok(())
    }

    /// Removes handshakes that never ended: a client that was killed between the two hooks.
    fn sweep_handshakes(&self) -> Result<(), CaptureError> {
        const OLD_NS: u64 = 120_000_000_000;
        let now = now_ns()?;
        let old: Vec<_> = self
            .read()
            .handshakes
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, Wire(flow))| now.saturating_sub(flow.at) > OLD_NS)
            .map(|(key, _)| key)
            .collect();
        for key in old {
            let _ = self.write().handshakes.remove(&key);
        }
        Ok(())
    }
}

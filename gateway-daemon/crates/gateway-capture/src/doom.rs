//! Ends all processes of a tree. A tree is no cgroup: its processes are found by their tags.
use crate::error::CaptureError;
use crate::load::{Capture, lock};
use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::programs::{BtfTracePoint, ProgramError};
use aya::{Btf, Ebpf};
use gateway_core::TreeId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Kills whoever is of a doomed tree at its next system call.
pub(crate) const PROGRAM: &str = "end_doomed";
/// Where it is attached.
pub(crate) const TRACEPOINT: &str = "sys_enter";
/// So often in a row nobody may be found. Once is not enough: a process that was being forked
/// when the tags were read gets its own behind that.
const EMPTY_PASSES: u32 = 2;
/// Between two passes: killed processes need a moment to go.
const PAUSE: Duration = Duration::from_millis(5);

impl Capture {
    /// Kills the processes of a tree until none is left, and says how many were found. Meanwhile
    /// the kernel half kills each that makes a system call, so none can run away by forking.
    ///
    /// # Errors
    /// A map cannot be read or written, or some are left after `patience`.
    pub fn end_tree(&self, tree: TreeId, patience: Duration) -> Result<usize, CaptureError> {
        let _one_at_a_time = lock(&self.ending);
        self.write()
            .doomed
            .insert(tree.0, 1, 0)
            .map_err(|error| CaptureError::new("write the map DOOMED", &error))?;
        let ended = self
            .watch_calls()
            .and_then(|link| self.kill_all(tree, patience, link));
        // It fails when it is not there any more, which is what is wanted.
        let _ = self.write().doomed.remove(&tree.0);
        ended
    }

    /// Attaches the program that kills at system calls.
    fn watch_calls(&self) -> Result<BtfTracePointLinkId, CaptureError> {
        let fail = |error: &(dyn std::error::Error + 'static)| {
            CaptureError::new(format!("attach the program {PROGRAM}"), error)
        };
        let types = Btf::from_sys_fs().map_err(|error| fail(&error))?;
        let mut ebpf = lock(&self.ebpf);
        let program = program(&mut ebpf)?;
        match program.load(TRACEPOINT, &types) {
            Ok(()) | Err(ProgramError::AlreadyLoaded) => {}
            Err(error) => return Err(fail(&error)),
        }
        program.attach().map_err(|error| fail(&error))
    }

    fn kill_all(
        &self,
        tree: TreeId,
        patience: Duration,
        link: BtfTracePointLinkId,
    ) -> Result<usize, CaptureError> {
        let killed = self.kill_until_none(tree, patience);
        let detached = program(&mut lock(&self.ebpf))?.detach(link);
        detached.map_err(|error| CaptureError::new(format!("detach {PROGRAM}"), &error))?;
        killed
    }

    fn kill_until_none(&self, tree: TreeId, patience: Duration) -> Result<usize, CaptureError> {
        let deadline = Instant::now() + patience;
        let mut killed: HashSet<(u32, u64)> = HashSet::new();
        let mut empty = 0;
        while empty < EMPTY_PASSES {
            let found = self.kill_once(tree, &mut killed)?;
            empty = if found == 0 { empty + 1 } else { 0 };
            if found > 0 && Instant::now() > deadline {
                return Err(CaptureError::System {
                    what: format!("end the processes of tree {tree}"),
                    detail: format!("{found} are left after {} s", patience.as_secs()),
                });
            }
            std::thread::sleep(PAUSE);
        }
        Ok(killed.len())
    }

    /// Kills whom it finds, and says how many there were.
    fn kill_once(
        &self,
        tree: TreeId,
        killed: &mut HashSet<(u32, u64)>,
    ) -> Result<usize, CaptureError> {
        let mut tags = self.tags()?;
        tags.retain(|tag| tag.tree == tree);
        if tags.is_empty() {
            return Ok(0);
        }
        // Held first, identified then: what is killed is what was tagged, or nothing.
        let held: Vec<_> = tags
            .into_iter()
            .filter_map(|tag| Some((tag.pid, tag.start, hold(tag.pid)?)))
            .collect();
        let alive: HashMap<u32, u64> = self
            .processes()?
            .iter()
            .map(|process| (process.tgid, process.start))
            .collect();
        let mut found = 0;
        for (pid, start, process) in held {
            if alive.get(&pid) != Some(&start) {
                continue;
            }
            found += 1;
            // It fails when the process has just gone.
            if pidfd_send_signal(&process, Signal::KILL).is_ok() {
                killed.insert((pid, start));
            }
        }
        Ok(found)
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut BtfTracePoint, CaptureError> {
    let missing = || CaptureError::System {
        what: format!("find the program {PROGRAM}"),
        detail: "the eBPF object does not have it".into(),
    };
    ebpf.program_mut(PROGRAM)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|error: ProgramError| {
            CaptureError::new(format!("find the program {PROGRAM}"), &error)
        })
}

fn hold(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

//! Services that run many jobs (CI runners): what they start begins a tree of its own, so that a
//! job has a principal, a lineage and grants of its own.
//!
//! A policy names the programs. A process that runs one is marked in the kernel, which gives each
//! of its children a new tree from then on, until it executes something else. A job must not
//! become such a service, or it could leave its own tree behind. So a process is marked only in a
//! tree whose root still lives and was not itself forked by a boundary, and in which nobody has
//! presented anything, read or not; and what it runs is told by the file itself, not by a name
//! that a job may choose.
//!
//! All of that is done on a thread of its own, and asks no file system: a job that executes a file
//! of its own FUSE mount, or very many, holds up nothing but this.
use super::governance::Governance;
use super::identity::Principals;
use gateway_capture::{Capture, CaptureError, ProcessKey, TagEntry};
use gateway_core::TreeId;
use gateway_lineage::Forest;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Execs that wait to be looked at. One more is not looked at, and begins no trees.
const QUEUE_MAX: usize = 4096;
/// How often it is looked whether somebody has presented something in a boundary's tree since.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is to be looked at.
enum Look {
    /// A process executed something.
    Executed(TreeId, ProcessKey),
    /// All of them: other policies are in force, or the daemon has just started.
    All,
}

/// Which processes are boundaries.
pub(crate) struct Boundaries {
    shared: Arc<Shared>,
    queue: SyncSender<Look>,
}

struct Shared {
    capture: Arc<Capture>,
    governance: Arc<Governance>,
    forest: Arc<Forest>,
    principals: Arc<Principals>,
}

impl Boundaries {
    pub(crate) fn start(
        capture: &Arc<Capture>,
        governance: &Arc<Governance>,
        forest: &Arc<Forest>,
        principals: &Arc<Principals>,
    ) -> io::Result<Boundaries> {
        let shared = Arc::new(Shared {
            capture: Arc::clone(capture),
            governance: Arc::clone(governance),
            forest: Arc::clone(forest),
            principals: Arc::clone(principals),
        });
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let looker = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("boundaries".to_owned());
        thread.spawn(move || looker.run(&waiting))?;
        Ok(Boundaries { shared, queue })
    }

    /// A process executed something: it may be a boundary now. Does not wait.
    pub(crate) fn executed(&self, tree: TreeId, process: ProcessKey, slot: u32) {
        // Most policies have none.
        if self.shared.governance.has_boundaries(slot)
            && self.queue.try_send(Look::Executed(tree, process)).is_err()
        {
            tracing::warn!(%tree, pid = process.pid, "too many execs: whether this is a boundary is not looked at");
        }
    }

    /// Other policies are in force, or there is nothing in force yet. Does not wait.
    pub(crate) fn review(&self) {
        if self.queue.try_send(Look::All).is_err() {
            tracing::error!("too many execs: boundaries are not looked for");
        }
    }
}

impl Shared {
    /// Until the queue is gone.
    fn run(&self, waiting: &Receiver<Look>) {
        let mut last = Instant::now();
        loop {
            let looked = match waiting.recv_timeout(LOOK_EVERY) {
                Ok(Look::Executed(tree, process)) => self.look_at(tree, process),
                Ok(Look::All) => self.look_at_all(),
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let looked = looked.and_then(|()| {
                if last.elapsed() < LOOK_EVERY {
                    return Ok(());
                }
                last = Instant::now();
                self.look_at_marks()
            });
            if let Err(error) = looked {
                tracing::error!(%error, "boundaries could not be looked at");
            }
        }
    }

    fn look_at(&self, tree: TreeId, process: ProcessKey) -> Result<(), CaptureError> {
        let tag = self.capture.tag(process.pid, process.start)?;
        let Some(tag) = tag.filter(|tag| tag.tree == tree) else {
            return Ok(());
        };
        let programs = self.governance.boundaries_of(tag.slot);
        if self.may_be_one(&tag)?
            && runs_one_of(tag.pid, &programs)
            && self.is_nobodys(&tag)
            // The pid may be another's by now, whose file it was.
            && self.capture.tag(process.pid, process.start)?.is_some()
        {
            tracing::info!(%tree, pid = process.pid, "a boundary: what it starts are trees");
            self.capture.mark_boundary(process)?;
        }
        Ok(())
    }

    fn look_at_all(&self) -> Result<(), CaptureError> {
        let marked = self.capture.boundaries()?;
        for tag in self.capture.tags()? {
            let process = ProcessKey {
                pid: tag.pid,
                start: tag.start,
            };
            let programs = self.governance.boundaries_of(tag.slot);
            if !marked.contains(&process) {
                if !programs.is_empty() {
                    self.look_at(tag.tree, process)?;
                }
            } else if !is_called_like_one_of(tag.pid, &programs) {
                self.capture.unmark_boundary(tag.pid)?;
            }
        }
        Ok(())
    }

    /// Where somebody has presented something since, there is no boundary any more.
    fn look_at_marks(&self) -> Result<(), CaptureError> {
        for process in self.capture.boundaries()? {
            let tag = self.capture.tag(process.pid, process.start)?;
            if tag.is_some_and(|tag| !self.principals.tokens().is_unbound(tag.tree)) {
                tracing::warn!(
                    pid = process.pid,
                    "a boundary no more: its tree is somebody's"
                );
                self.capture.unmark_boundary(process.pid)?;
            }
        }
        Ok(())
    }

    /// Is it in a tree that can have boundaries? By the kernel's word: a report that was lost must
    /// not make a job a service.
    fn may_be_one(&self, tag: &TagEntry) -> Result<bool, CaptureError> {
        if !self.principals.tokens().is_unbound(tag.tree) {
            return Ok(false);
        }
        if tag.root {
            return Ok(tag.boundary.is_none());
        }
        let key = gateway_lineage::ProcessKey::new(tag.pid, tag.start);
        let lineage = self.forest.lineage_of(key);
        let Some(root) = lineage.as_ref().and_then(|lineage| lineage.root()) else {
            return Ok(false);
        };
        let root = self.capture.tag(root.pid, root.start)?;
        Ok(root.is_some_and(|root| root.root && root.tree == tag.tree && root.boundary.is_none()))
    }

    /// Has nobody on its way presented anything? Waits until that is known.
    fn is_nobodys(&self, tag: &TagEntry) -> bool {
        let key = gateway_lineage::ProcessKey::new(tag.pid, tag.start);
        let Some(lineage) = self.forest.lineage_of(key) else {
            return false;
        };
        self.principals.subject(&lineage).is_some() && self.principals.tokens().is_unbound(tag.tree)
    }
}

/// Does a process run one of these files, whatever it calls it?
fn runs_one_of(pid: u32, programs: &[Box<str>]) -> bool {
    let Ok(runs) = identity(&format!("/proc/{pid}/exe")) else {
        return false;
    };
    programs
        .iter()
        .any(|program| identity(program).is_ok_and(|file| file == runs))
}

/// Device and inode, as the kernel has them: the server of a FUSE or network file system is not
/// asked.
fn identity(path: &str) -> io::Result<(u32, u32, u64)> {
    let found = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::INO)?;
    Ok((found.stx_dev_major, found.stx_dev_minor, found.stx_ino))
}

/// The same for one that was marked before: its file may have been replaced since.
fn is_called_like_one_of(pid: u32, programs: &[Box<str>]) -> bool {
    let Ok(path) = fs::read_link(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let path = path.to_string_lossy();
    let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
    let named = |program: &str| {
        let real = fs::canonicalize(program);
        program == path || real.is_ok_and(|real| real.to_string_lossy() == path)
    };
    programs.iter().any(|program| named(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_its_file_and_not_its_name() {
        let own = fs::read_link("/proc/self/exe").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("runner");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let copy = directory.path().join("copy");
        fs::copy(&own, &copy).unwrap();
        let named = |path: &std::path::Path| -> [Box<str>; 1] { [path.to_str().unwrap().into()] };
        let runs = |path: &std::path::Path| runs_one_of(std::process::id(), &named(path));
        assert!(runs(&own) && runs(&link));
        assert!(!runs(&copy) && !runs(&directory.path().join("gone")));
        let called =
            |path: &std::path::Path| is_called_like_one_of(std::process::id(), &named(path));
        assert!(called(&own) && called(&link) && !called(&copy));
    }
}

//! Services that run many jobs (CI runners): what they start begins a tree of its own, so that a
//! job has a principal, a lineage and grants of its own.
//!
//! A policy names the programs. A process that runs one is marked in the kernel, which gives each
//! of its children a new tree from then on. A job must not become such a service, or it could
//! leave its own tree behind. So a process is marked only in a tree whose root still lives and was
//! not itself forked by a boundary, and to which nobody is bound; and what it runs is told by the
//! file itself, not by a name that a job may choose.
use super::governance::Governance;
use super::identity::Principals;
use gateway_capture::{Capture, CaptureError, ProcessKey};
use gateway_core::TreeId;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// Which processes are boundaries.
pub(crate) struct Boundaries {
    pub(crate) capture: Arc<Capture>,
    pub(crate) governance: Arc<Governance>,
    pub(crate) principals: Arc<Principals>,
}

impl Boundaries {
    /// A process executed something: it may be a boundary now, or be one no more.
    pub(crate) fn executed(&self, tree: TreeId, process: ProcessKey, slot: u32) {
        let programs = self.governance.boundaries_of(slot);
        let result = if programs.is_empty() {
            // Most policies have none, and most processes were never marked.
            Ok(())
        } else if self.is_boundary(tree, process, &programs) {
            tracing::info!(%tree, pid = process.pid, "a boundary: what it starts are trees");
            self.capture.mark_boundary(process)
        } else {
            self.capture.unmark_boundary(process.pid)
        };
        if let Err(error) = result {
            tracing::error!(%error, %tree, pid = process.pid, "a boundary could not be kept");
        }
    }

    /// Looks at all processes: at the start, and when other policies are in force. What is marked
    /// stays so as long as its policy has boundaries: its file may have been replaced since.
    pub(crate) fn review(&self) -> Result<(), CaptureError> {
        let marked = self.capture.boundaries()?;
        for tag in self.capture.tags()? {
            let programs = self.governance.boundaries_of(tag.slot);
            let process = ProcessKey {
                pid: tag.pid,
                start: tag.start,
            };
            match (marked.contains(&process), programs.is_empty()) {
                (true, true) => self.capture.unmark_boundary(tag.pid)?,
                (false, false) => self.executed(tag.tree, process, tag.slot),
                _ => {}
            }
        }
        Ok(())
    }

    fn is_boundary(&self, tree: TreeId, process: ProcessKey, programs: &[Box<str>]) -> bool {
        runs_one_of(process.pid, programs)
            && self.principals.tokens().is_unbound(tree)
            && self.began_by_itself(tree)
            // The pid may be another's by now, whose file it was.
            && matches!(self.capture.tag(process.pid, process.start), Ok(Some(tag)) if tag.tree == tree)
    }

    /// Does the root of a tree live, and was it not forked by a boundary? By the kernel's word: a
    /// report that was lost must not make a job a service.
    fn began_by_itself(&self, tree: TreeId) -> bool {
        let Ok(tags) = self.capture.tags() else {
            return false;
        };
        let mut roots = tags.iter().filter(|tag| tag.tree == tree && tag.root);
        roots.next().is_some_and(|root| root.boundary.is_none())
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

/// Device and inode.
fn identity(path: &str) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
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
        let runs = |path: &std::path::Path| {
            runs_one_of(std::process::id(), &[path.to_str().unwrap().into()])
        };
        assert!(runs(&own) && runs(&link));
        assert!(!runs(&copy) && !runs(&directory.path().join("gone")));
    }
}

//! A BPF file system of our own, so that no pin of a test can meet a pin of the host.
use crate::running;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted bpffs. Dropping it unmounts it, which also lets go of every pin inside.
pub struct Bpffs {
    mount: PathBuf,
}

impl Bpffs {
    /// Mounts one on a directory, which is made.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn mount(mount: &Path) -> Result<Bpffs> {
        fs::create_dir_all(mount)?;
        running::run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(mount))?.success()?;
        Ok(Bpffs {
            mount: mount.to_owned(),
        })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        unmount(&self.mount);
    }
}

pub(crate) fn unmount(mount: &Path) {
    let unmounted = running::run(Command::new("umount").arg("--lazy").arg(mount));
    if let Err(error) = unmounted.and_then(running::Outcome::success) {
        eprintln!("left behind: {error:#}");
    }
}

//! Commands inside a cgroup, as a runner or a service manager starts them.
use crate::{Running, Subtree};
use anyhow::Result;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The unprivileged user of the attack tests: `nobody`.
pub const NOBODY: u32 = 65534;

/// A cgroup to run commands in: a governed job, or a place that no policy names.
#[derive(Clone, Debug)]
pub struct Job {
    cgroup: PathBuf,
}

impl Job {
    /// The cgroup `jobs/NAME`, which the harness's policies govern.
    ///
    /// # Errors
    /// The cgroup cannot be made.
    pub fn governed(subtree: &Subtree, name: &str) -> Result<Job> {
        Ok(Job {
            cgroup: subtree.child(&format!("jobs/{name}"))?,
        })
    }

    /// The cgroup `free/NAME`: hooked, since it is in the subtree, and governed by nothing.
    ///
    /// # Errors
    /// The cgroup cannot be made.
    pub fn free(subtree: &Subtree, name: &str) -> Result<Job> {
        Ok(Job {
            cgroup: subtree.child(&format!("free/{name}"))?,
        })
    }

    /// The cgroup in the file system.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// A command that moves itself into the cgroup and then becomes the program, under the same
    /// process id. Arguments and environment are added to it as to any command.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        inside(&self.cgroup, program)
    }

    /// The same as an unprivileged user, without capabilities.
    #[must_use]
    pub fn command_as(&self, uid: u32, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command("setpriv");
        command
            .args([format!("--reuid={uid}"), format!("--regid={uid}")])
            .args(["--clear-groups", "--"])
            .arg(program);
        command
    }

    /// Starts a Python program in the cgroup, with the drivers at hand.
    ///
    /// # Errors
    /// `cargo xtask setup` has not run, or it cannot be started.
    pub fn python(&self, program: &str, arguments: &[&str]) -> Result<Running> {
        let mut command = self.command(crate::place::python()?);
        command.args(["-u", "-c", program]).args(arguments);
        Running::start(&mut command)
    }
}

/// A command that moves itself into a cgroup and then becomes the program.
#[must_use]
pub fn inside(cgroup: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec \"$@\""])
        .arg(cgroup)
        .arg(program);
    command
}

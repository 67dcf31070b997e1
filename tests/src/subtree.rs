//! A cgroup subtree of our own. Nothing is ever attached above it: the host's top is not ours.
use crate::{place, wait};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A cgroup beneath the cgroup2 mount. Dropping it kills what is inside and removes it.
pub struct Subtree {
    path: PathBuf,
    name: String,
}

impl Subtree {
    /// Makes one with a name that nobody else has.
    ///
    /// # Errors
    /// There is no cgroup2, or we are not root.
    pub fn create() -> Result<Subtree> {
        ensure!(
            place::is_root(),
            "tests with cgroups need root: run them as root"
        );
        let name = place::unique_name();
        let path = place::cgroup2()?.join(&name);
        fs::create_dir(&path).with_context(|| format!("cgroup {}", path.display()))?;
        Ok(Subtree { path, name })
    }

    /// Where it is in the file system.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its path as policies and `/proc/PID/cgroup` write it, without the leading slash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A cgroup in it, made when it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn child(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cgroup {}", path.display()))?;
        Ok(path)
    }

    /// Kills everything in one of its cgroups and waits until it is gone. The cgroup stays.
    ///
    /// # Errors
    /// Something survives.
    pub fn kill(&self, name: &str) -> Result<()> {
        kill_all(&self.path.join(name))
    }
}

impl Drop for Subtree {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            eprintln!("left behind: {error:#}");
        }
    }
}

/// Kills everything in a cgroup and removes it with all beneath.
///
/// # Errors
/// Something survives, or the cgroup is busy.
pub fn remove(path: &Path) -> Result<()> {
    kill_all(path)?;
    wait::until_true(
        &format!("removal of {}", path.display()),
        Duration::from_secs(5),
        || remove_empty(path).is_ok() || !path.exists(),
    )
}

fn kill_all(path: &Path) -> Result<()> {
    fs::write(path.join("cgroup.kill"), "1").with_context(|| format!("kill {}", path.display()))?;
    let events = path.join("cgroup.events");
    wait::until_true(
        &format!("the end of all in {}", path.display()),
        Duration::from_secs(10),
        || {
            fs::read_to_string(&events)
                .is_ok_and(|text| text.lines().any(|line| line == "populated 0"))
        },
    )
}

fn remove_empty(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_empty(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

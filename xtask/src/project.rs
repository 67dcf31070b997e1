//! Where things are: the repository, cargo's build directory, and what setup puts there.
use anyhow::{Context, Result};
use gateway_tests::place;
use std::path::{Path, PathBuf};

/// The repository that this xtask was built from.
pub(crate) struct Project {
    /// The top of the work tree.
    pub(crate) root: PathBuf,
    /// Cargo's build directory. Everything that setup makes is in here, so that `cargo clean`
    /// removes it.
    pub(crate) target: PathBuf,
}

impl Project {
    /// Finds the repository and the build directory.
    pub(crate) fn locate() -> Result<Project> {
        let root = place::repository();
        let target = place::build_directory().context("xtask runs as `cargo xtask`")?;
        Ok(Project { root, target })
    }

    /// Where cargo installs the tools that the project needs and the host lacks.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The Python environment with the drivers.
    pub(crate) fn venv(&self) -> PathBuf {
        place::venv(&self.target)
    }

    /// A path as people write it: relative to the repository where it is inside.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

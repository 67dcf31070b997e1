//! The Python drivers, in an environment of their own inside cargo's build directory.
use super::announce;
use crate::process;
use crate::project::Project;
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

/// Exact versions: a driver that changes must not change a verdict about the gateway.
const REQUIREMENTS: &[&str] = &["psycopg[binary]==3.3.9", "asyncpg==0.31.0"];
/// Debian's own, whatever else calls itself python3 on the PATH: its venv module is the package
/// that setup installs.
const PYTHON: &str = "/usr/bin/python3";

pub(super) fn provide(project: &Project) -> Result<()> {
    let venv = project.venv();
    let marker = venv.join("gateway-requirements.txt");
    let wanted = REQUIREMENTS.join("\n");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    announce(
        &format!("{} in {}", REQUIREMENTS.join(", "), project.shown(&venv)),
        "real Python drivers for the demo and the tests",
    );
    process::run(
        Command::new(PYTHON)
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )?;
    process::run(
        Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(REQUIREMENTS),
    )?;
    fs::write(&marker, wanted).with_context(|| marker.display().to_string())
}

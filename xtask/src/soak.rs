//! `cargo xtask soak`.
use crate::project::Project;
use anyhow::Result;

pub(crate) fn run(_project: &Project, _arguments: &[String]) -> Result<()> {
    Ok(())
}

//! `cargo xtask setup`: prepares a Debian 12 host that has Rust, and says what it does and why.
//!
//! Idempotent, and quick when nothing is missing. Debian packages are installed for the host;
//! everything else goes into cargo's build directory, so that `cargo clean` removes it.
mod bpf;
mod packages;
mod python;

pub(crate) use bpf::compiler_with_sources;

use crate::project::Project;
use anyhow::{Result, bail};

/// A group of things that a command needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What compiling the daemon needs.
    Build,
    /// A real PostgreSQL, its clients and drivers, and what the network tests need.
    Peers,
    /// The proxies that the benchmark compares with.
    Rivals,
    /// The toolchain of the kernel half. Only a change of the kernel half needs it.
    Bpf,
}

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: cargo xtask setup");
    }
    provide(
        project,
        &[Part::Build, Part::Peers, Part::Rivals, Part::Bpf],
    )?;
    println!("setup: everything is there");
    Ok(())
}

/// Installs what of these parts is missing.
pub(crate) fn provide(project: &Project, parts: &[Part]) -> Result<()> {
    packages::provide(parts)?;
    if parts.contains(&Part::Peers) {
        python::provide(project)?;
    }
    if parts.contains(&Part::Bpf) {
        bpf::provide(project)?;
    }
    Ok(())
}

/// Says that something is being done, and why.
fn announce(what: &str, why: &str) {
    println!("setup: {what} ({why})");
}

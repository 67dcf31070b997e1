//! `cargo xtask setup`: prepares a Debian 12 host that has Rust, and says what it does and why.
//!
//! Idempotent, and quick when nothing is missing. Debian packages are installed for the host;
//! everything else goes into cargo's build directory, so that `cargo clean` removes it.
mod bpf;
mod packages;
mod provider;
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
    /// A real OpenID provider, for the tests of identity. Comes with [`Part::Peers`].
    Provider,
    /// The proxies that the benchmark compares with.
    Rivals,
    /// The toolchain of the kernel half. Only a change of the kernel half needs it.
    Bpf,
    /// What boots other kernels. Only `cargo xtask vm` needs it.
    Vm,
}

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    if !arguments.is_empty() {
        bail!("usage: cargo xtask setup");
    }
    provide(
        project,
        &[
            Part::Build,
            Part::Peers,
            Part::Provider,
            Part::Rivals,
            Part::Bpf,
        ],
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
    if parts.contains(&Part::Provider) {
        provider::provide(project)?;
    }
    if parts.contains(&Part::Bpf) {
        bpf::provide(project)?;
    }
    Ok(())
}

/// Installs the OpenID provider, or says why it cannot: the tests that need it are skipped then, and
/// name themselves.
pub(crate) fn offer_provider(project: &Project) {
    if let Err(error) = provide(project, &[Part::Peers, Part::Provider]) {
        println!("setup: there is no OpenID provider, and its tests are skipped: {error:#}");
    }
}

/// Says that something is being done, and why.
fn announce(what: &str, why: &str) {
    eprintln!("setup: {what} ({why})");
}

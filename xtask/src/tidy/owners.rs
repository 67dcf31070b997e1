//! Heavy dependencies have one owner each, as `deny.toml` says: cargo-deny reads the same lines
//! over the whole graph; this holds them for our own packages where cargo-deny is not installed.
use super::layers::Package;
use crate::project::Project;
use anyhow::{Context, Result, ensure};
use std::fs;
use toml::Table;

pub(super) fn faults(project: &Project, packages: &[Package]) -> Result<Vec<String>> {
    let text = fs::read_to_string(project.root.join("deny.toml")).context("deny.toml")?;
    let owned = owned(&text)?;
    ensure!(!owned.is_empty(), "deny.toml names no owner of anything");
    Ok(strangers(&owned, packages))
}

/// A dependency, and who may name it.
struct Owned {
    name: String,
    owners: Vec<String>,
}

fn owned(deny: &str) -> Result<Vec<Owned>> {
    let table: Table = deny.parse().context("deny.toml")?;
    let entries = table
        .get("bans")
        .and_then(|bans| bans.get("deny"))
        .and_then(toml::Value::as_array)
        .context("deny.toml has no [bans] deny = [...]")?;
    entries
        .iter()
        .map(|entry| {
            let text = |value: &toml::Value| value.as_str().map(str::to_owned);
            Some(Owned {
                name: text(entry.get("crate")?)?,
                owners: entry
                    .get("wrappers")?
                    .as_array()?
                    .iter()
                    .map(text)
                    .collect::<Option<_>>()?,
            })
        })
        .collect::<Option<_>>()
        .context("deny.toml: each entry of [bans] deny has `crate` and `wrappers`")
}

fn strangers(owned: &[Owned], packages: &[Package]) -> Vec<String> {
    let mut faults = Vec::new();
    for package in packages {
        for dependency in &package.dependencies {
            let entry = owned.iter().find(|owned| owned.name == dependency.name);
            if let Some(entry) = entry
                && !entry.owners.contains(&package.name)
            {
                faults.push(format!(
                    "{} must not depend on {}, which belongs to {}",
                    package.name,
                    entry.name,
                    entry.owners.join(", ")
                ));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::super::layers::Dependency;
    use super::*;

    fn package(name: &str, dependency: &str) -> Package {
        let dependency = Dependency {
            name: dependency.into(),
            development: false,
        };
        Package {
            name: name.into(),
            dependencies: vec![dependency],
        }
    }

    #[test]
    fn only_the_owner_may_name_it() {
        let owned = owned("[bans]\ndeny = [{ crate = \"aya\", wrappers = [\"gateway-capture\"] }]")
            .unwrap();
        assert!(strangers(&owned, &[package("gateway-capture", "aya")]).is_empty());
        assert!(strangers(&owned, &[package("gateway-proxy", "tokio")]).is_empty());
        assert_eq!(
            strangers(&owned, &[package("gateway-proxy", "aya")]).len(),
            1
        );
    }

    #[test]
    fn a_line_without_an_owner_is_refused() {
        assert!(owned("[bans]\ndeny = [{ crate = \"aya\" }]").is_err());
        assert!(owned("[bans]").is_err());
    }
}

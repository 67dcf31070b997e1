//! The one-way rule: which crate may depend on which. Siblings never see each other.
use crate::process;
use crate::project::Project;
use anyhow::{Context, Result};
use serde_json::Value;

/// A package of ours, with the names of everything that it depends on.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
}

/// One line of a package's manifest.
pub(super) struct Dependency {
    pub(super) name: String,
    /// Only its tests need it.
    pub(super) development: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Layer {
    Abi,
    Kernel,
    Core,
    /// What others do with the system in one way: no vocabulary, no port.
    Base,
    Spi,
    Service,
    Protocol,
    Driver,
    App,
    /// Fakes for the tests of the others.
    Kit,
    /// The harness: it meets the product from outside, as its users do.
    Harness,
    Tool,
}

/// Every crate has its place. One that is not here is a fault until somebody decides.
const LAYERS: &[(&str, Layer)] = &[
    ("gateway-common", Layer::Abi),
    ("gateway-ebpf", Layer::Kernel),
    ("gateway-core", Layer::Core),
    ("gateway-files", Layer::Base),
    ("gateway-protocol", Layer::Spi),
    ("gateway-capture", Layer::Service),
    ("gateway-lineage", Layer::Service),
    ("gateway-identity", Layer::Service),
    ("gateway-policy", Layer::Service),
    ("gateway-approvals", Layer::Service),
    ("gateway-credentials", Layer::Service),
    ("gateway-masking", Layer::Service),
    ("gateway-recording", Layer::Service),
    ("gateway-dns", Layer::Protocol),
    ("gateway-postgres", Layer::Protocol),
    ("gateway-proxy", Layer::Driver),
    ("gateway-control", Layer::Driver),
    ("gateway-daemon", Layer::App),
    ("gateway-testkit", Layer::Kit),
    ("gateway-tests", Layer::Harness),
    ("xtask", Layer::Tool),
];

/// Single edges beyond the table, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "gateway-capture",
    "gateway-common",
    "it loads the programs that speak this ABI",
)];

fn layer(name: &str) -> Option<Layer> {
    LAYERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, layer)| *layer)
}

fn below(layer: Layer) -> &'static [Layer] {
    match layer {
        Layer::Abi | Layer::Core | Layer::Base | Layer::Harness => &[],
        Layer::Kernel => &[Layer::Abi],
        Layer::Spi => &[Layer::Core],
        Layer::Service => &[Layer::Core, Layer::Base],
        Layer::Protocol => &[Layer::Core, Layer::Spi],
        Layer::Driver => &[Layer::Core, Layer::Base, Layer::Spi],
        // It has the fakes of the drivers' ports too.
        Layer::Kit => &[Layer::Core, Layer::Spi, Layer::Driver],
        Layer::App => &[
            Layer::Abi,
            Layer::Core,
            Layer::Base,
            Layer::Spi,
            Layer::Service,
            Layer::Protocol,
            Layer::Driver,
        ],
        Layer::Tool => &[Layer::Harness],
    }
}

fn permitted(from: &str, to: &str, development: bool) -> bool {
    let (Some(upper), Some(lower)) = (layer(from), layer(to)) else {
        return false;
    };
    below(upper).contains(&lower)
        || (development && lower == Layer::Kit)
        || EXCEPTIONS.iter().any(|(a, b, _)| (*a, *b) == (from, to))
}

/// What of these packages breaks the table.
pub(super) fn faults(packages: &[Package]) -> Vec<String> {
    let ours = |name: &str| packages.iter().any(|package| package.name == name);
    let mut faults = Vec::new();
    for package in packages {
        let name = &package.name;
        if layer(name).is_none() {
            faults.push(format!(
                "{name} has no layer; give it one in xtask/src/tidy/layers.rs"
            ));
        }
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| ours(&dependency.name))
        {
            if !permitted(name, &dependency.name, dependency.development) {
                faults.push(format!("{name} must not depend on {}", dependency.name));
            }
        }
    }
    faults
}

/// The packages of the workspace and of the kernel half, from their manifests.
pub(super) fn packages(project: &Project) -> Result<Vec<Package>> {
    let mut packages = Vec::new();
    for manifest in ["Cargo.toml", "gateway-ebpf/Cargo.toml"] {
        let text = process::read(
            process::cargo()
                .args([
                    "metadata",
                    "--format-version",
                    "1",
                    "--no-deps",
                    "--manifest-path",
                ])
                .arg(project.root.join(manifest)),
        )?;
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata")?;
        packages.extend(
            list(&metadata, "packages")?
                .iter()
                .map(package)
                .collect::<Result<Vec<_>>>()?,
        );
    }
    Ok(packages)
}

fn package(value: &Value) -> Result<Package> {
    let dependencies = list(value, "dependencies")?.iter().map(|dependency| {
        Ok(Dependency {
            name: text(dependency, "name")?,
            development: dependency["kind"] == "dev",
        })
    });
    Ok(Package {
        name: text(value, "name")?,
        dependencies: dependencies.collect::<Result<_>>()?,
    })
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key]
        .as_array()
        .with_context(|| format!("cargo metadata: no list `{key}`"))
}

fn text(value: &Value, key: &str) -> Result<String> {
    Ok(value[key]
        .as_str()
        .with_context(|| format!("cargo metadata: no text `{key}`"))?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, expected: bool) {
        assert_eq!(permitted(from, to, false), expected, "{from} -> {to}");
    }

    #[test]
    fn the_table_is_one_way_and_siblings_are_strangers() {
        check("gateway-protocol", "gateway-core", true);
        check("gateway-core", "gateway-protocol", false);
        check("gateway-postgres", "gateway-protocol", true);
        check("gateway-postgres", "gateway-policy", false);
        check("gateway-policy", "gateway-postgres", false);
        check("gateway-policy", "gateway-recording", false);
        check("gateway-proxy", "gateway-control", false);
        check("gateway-capture", "gateway-common", true);
        check("gateway-lineage", "gateway-common", false);
        check("gateway-ebpf", "gateway-common", true);
        check("gateway-daemon", "gateway-postgres", true);
        check("gateway-tests", "gateway-core", false);
        check("gateway-testkit", "gateway-postgres", false);
    }

    #[test]
    fn fakes_are_for_tests_only() {
        assert!(permitted("gateway-proxy", "gateway-testkit", true));
        assert!(!permitted("gateway-proxy", "gateway-testkit", false));
        assert!(!permitted("gateway-daemon", "gateway-testkit", false));
    }

    #[test]
    fn a_crate_without_a_layer_is_a_fault() {
        let stray = Package {
            name: "gateway-stray".into(),
            dependencies: Vec::new(),
        };
        assert_eq!(faults(&[stray]).len(), 1);
    }
}

//! `cargo xtask ebpf`: builds the kernel half, without and with its debug log, and puts the objects
//! beside the crate that loads them, with a manifest of what they were built from.
//!
//! The objects are kept in the repository, so that a plain `cargo build` needs no BPF toolchain.
//! What keeps them honest is the manifest: the digest of the sources, and those of the objects.
use crate::process;
use crate::project::Project;
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const OBJECT_DIRECTORY: &str = "gateway-daemon/crates/gateway-capture/object";
/// The objects, and the features of the kernel half that each is built with.
const OBJECTS: [(&str, &[&str]); 2] = [
    ("gateway.bpf.o", &[]),
    ("gateway.debug.bpf.o", &["--features", "debug-log"]),
];
const MANIFEST: &str = "gateway.bpf.sources.sha256";

/// The release of bpf-linker whose LLVM fits the Rust of this workspace.
pub(crate) const LINKER_VERSION: &str = "0.10.3";

pub(crate) fn run(project: &Project, arguments: &[String]) -> Result<()> {
    match arguments {
        [] => build(project),
        [flag] if flag == "--check" => check(project),
        _ => bail!("usage: cargo xtask ebpf [--check]"),
    }
}

fn build(project: &Project) -> Result<()> {
    crate::setup::provide(project, &[crate::setup::Part::Bpf])?;
    let sources = sources_digest(&project.root)?;
    let mut objects = Vec::new();
    for (name, features) in OBJECTS {
        let object = fs::read(compile(project, features)?);
        objects.push((name, object.context("the object that cargo built")?));
    }
    ensure!(
        sources == sources_digest(&project.root)?,
        "the sources changed during the build"
    );

    let directory = project.root.join(OBJECT_DIRECTORY);
    fs::create_dir_all(&directory)?;
    let mut manifest = format!(
        "# Written by `cargo xtask ebpf`, held by `cargo xtask ebpf --check`.\n\
         # Built with: {}\n\
         {sources}  sources\n",
        toolchain(project)?,
    );
    for (name, object) in objects {
        fs::write(directory.join(name), &object)?;
        let digest = hexadecimal(&Sha256::digest(&object));
        manifest.push_str(&format!("{digest}  {name}\n"));
        println!("ebpf: {OBJECT_DIRECTORY}/{name}, {} bytes", object.len());
    }
    fs::write(directory.join(MANIFEST), manifest)?;
    Ok(())
}

/// Needs no toolchain: the digests say whether the objects are those that were built from these
/// sources. That the compiler made of them what they say is not proven by this.
pub(crate) fn check(project: &Project) -> Result<()> {
    let directory = project.root.join(OBJECT_DIRECTORY);
    let manifest = fs::read_to_string(directory.join(MANIFEST))
        .with_context(|| format!("{OBJECT_DIRECTORY}/{MANIFEST}; `cargo xtask ebpf` makes it"))?;
    let said = |name: &str| {
        manifest
            .lines()
            .find_map(|line| line.strip_suffix(name)?.strip_suffix("  "))
            .with_context(|| format!("{MANIFEST} has no line for {name}"))
    };
    ensure!(
        said("sources")? == sources_digest(&project.root)?,
        "the kernel half's sources are not those that its objects were built from; \
         run `cargo xtask ebpf` and commit the objects with them"
    );
    for (name, _) in OBJECTS {
        let object = fs::read(directory.join(name)).context(name)?;
        ensure!(
            said(name)? == hexadecimal(&Sha256::digest(&object)),
            "{name} is not the object that its manifest describes; run `cargo xtask ebpf`"
        );
    }
    println!("ebpf: the objects are built from these sources");
    Ok(())
}

fn compile(project: &Project, features: &[&str]) -> Result<PathBuf> {
    let target = project.target.join("ebpf");
    // Paths of this machine have no place in an object that is shipped.
    let remap = format!(
        "target.bpfel-unknown-none.rustflags=[\"--remap-path-prefix={}=gateway\"]",
        project.root.display()
    );
    let mut command = process::cargo();
    command
        .args([
            "build",
            "--release",
            "--locked",
            "--config",
            &remap,
            "--target-dir",
        ])
        .arg(&target)
        .args(features)
        .current_dir(project.root.join("gateway-ebpf"))
        .env("PATH", search_path(project)?)
        // `-Z build-std` on a stable compiler: the target has no precompiled core.
        .env("RUSTC_BOOTSTRAP", "1");
    // Flags meant for the host would replace those of gateway-ebpf/.cargo/config.toml.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    if let Some(compiler) = crate::setup::compiler_with_sources() {
        command.env("RUSTC", compiler);
    }
    process::run(&mut command)?;
    Ok(target.join("bpfel-unknown-none/release/gateway-ebpf"))
}

fn search_path(project: &Project) -> Result<std::ffi::OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let tools = std::iter::once(project.tools().join("bin"));
    Ok(std::env::join_paths(
        tools.chain(std::env::split_paths(&inherited)),
    )?)
}

fn toolchain(project: &Project) -> Result<String> {
    let rustc = crate::setup::compiler_with_sources().unwrap_or_else(|| "rustc".into());
    let compiler = process::read(Command::new(rustc).arg("--version"))?;
    let linker = process::read(
        Command::new("bpf-linker")
            .arg("--version")
            .env("PATH", search_path(project)?),
    )?;
    Ok(format!("{}, {}", compiler.trim(), linker.trim()))
}

/// One digest over everything that the object is made of, in an order that no file system decides.
fn sources_digest(root: &Path) -> Result<String> {
    let mut files = vec![
        "gateway-ebpf/Cargo.toml".into(),
        "gateway-ebpf/Cargo.lock".into(),
        "gateway-ebpf/.cargo/config.toml".into(),
        "gateway-common/Cargo.toml".into(),
    ];
    for directory in ["gateway-ebpf/src", "gateway-common/src"] {
        collect(root, Path::new(directory), &mut files)?;
    }
    files.sort();
    let mut digest = Sha256::new();
    for file in &files {
        let content = fs::read(root.join(file)).with_context(|| file.display().to_string())?;
        // Lengths first: no two different trees give the same bytes.
        for part in [file.as_os_str().as_encoded_bytes(), &content] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    Ok(hexadecimal(&digest.finalize()))
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(root.join(directory))
        .with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let fixed = [
            ("gateway-ebpf/Cargo.toml", ""),
            ("gateway-ebpf/Cargo.lock", ""),
            ("gateway-ebpf/.cargo/config.toml", ""),
            ("gateway-common/Cargo.toml", ""),
            ("gateway-common/src/lib.rs", "//! Shared."),
        ];
        for (path, content) in fixed.iter().chain(files) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn the_digest_sees_content_names_and_borders() {
        let digest = |files: &[(&str, &str)]| sources_digest(tree(files).path()).unwrap();
        let base = digest(&[
            ("gateway-ebpf/src/a.rs", "x"),
            ("gateway-ebpf/src/b.rs", "y"),
        ]);
        assert_eq!(
            base,
            digest(&[
                ("gateway-ebpf/src/b.rs", "y"),
                ("gateway-ebpf/src/a.rs", "x")
            ]),
            "the order of creation does not matter"
        );
        for changed in [
            [
                ("gateway-ebpf/src/a.rs", "X"),
                ("gateway-ebpf/src/b.rs", "y"),
            ],
            [
                ("gateway-ebpf/src/a.rs", "y"),
                ("gateway-ebpf/src/b.rs", "x"),
            ],
            [
                ("gateway-ebpf/src/a.rs", "x"),
                ("gateway-ebpf/src/c.rs", "y"),
            ],
            [
                ("gateway-ebpf/src/a.rs", "x"),
                ("gateway-ebpf/src/deep/b.rs", "y"),
            ],
            [
                ("gateway-ebpf/src/a.rs", "x"),
                ("gateway-common/src/lib.rs", "//! Other."),
            ],
        ] {
            assert_ne!(base, digest(&changed), "{changed:?}");
        }
    }
}

//! The toolchain of the kernel half: the library sources of the compiler, and bpf-linker.
use super::announce;
use crate::ebpf::LINKER_VERSION;
use crate::process;
use crate::project::Project;
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's second compiler, the one that it has the library sources of.
const DEBIAN_COMPILER: &str = "/usr/bin/rustc";

pub(super) fn provide(project: &Project) -> Result<()> {
    provide_library_sources()?;
    if linker_is_there(project) {
        return Ok(());
    }
    announce(
        &format!(
            "bpf-linker {LINKER_VERSION} in {}",
            project.shown(&project.tools())
        ),
        "links the kernel half; takes about a minute",
    );
    process::run(
        process::cargo()
            .args([
                "install",
                "bpf-linker",
                "--locked",
                "--quiet",
                "--version",
                LINKER_VERSION,
            ])
            .arg("--root")
            .arg(project.tools()),
    )
}

/// The compiler to build the kernel half with, when it is not the one that cargo uses.
pub(crate) fn compiler_with_sources() -> Option<PathBuf> {
    let debian = || has_library_sources(DEBIAN_COMPILER).then(|| PathBuf::from(DEBIAN_COMPILER));
    if has_library_sources("rustc") {
        None
    } else {
        debian()
    }
}

fn has_library_sources(compiler: &str) -> bool {
    let sysroot = process::read(Command::new(compiler).args(["--print", "sysroot"]));
    sysroot.is_ok_and(|sysroot| {
        Path::new(sysroot.trim())
            .join("lib/rustlib/src/rust/library/core/src/lib.rs")
            .is_file()
    })
}

fn provide_library_sources() -> Result<()> {
    if has_library_sources("rustc") || has_library_sources(DEBIAN_COMPILER) {
        return Ok(());
    }
    let why = "the BPF target has no precompiled core library";
    if process::on_path("rustup") {
        announce("rust-src from rustup", why);
        if process::run(Command::new("rustup").args(["component", "add", "rust-src"])).is_ok()
            && has_library_sources("rustc")
        {
            return Ok(());
        }
        println!("setup: rustup could not provide it; trying Debian's own compiler");
    }
    announce("Debian packages rustc-web, rust-web-src", why);
    super::packages::install(&["rustc-web", "rust-web-src"])?;
    ensure!(
        has_library_sources(DEBIAN_COMPILER),
        "rust-web-src is installed, and {DEBIAN_COMPILER} does not find the library sources"
    );
    Ok(())
}

fn linker_is_there(project: &Project) -> bool {
    let expected = format!("bpf-linker {LINKER_VERSION}");
    let own = project.tools().join("bin/bpf-linker");
    [own.as_path(), Path::new("bpf-linker")]
        .iter()
        .any(|program| {
            process::read(Command::new(program).arg("--version"))
                .is_ok_and(|version| version.trim() == expected)
        })
}

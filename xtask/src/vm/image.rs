//! The guest's root: a file system in memory with busybox, the product and what it links to.
use crate::process;
use anyhow::{Context, Result};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's busybox-static puts it there.
const BUSYBOX: &str = "/bin/busybox";

const FILES: [(&str, &str); 7] = [
    ("init", include_str!("init.sh")),
    ("seal.sh", include_str!("seal.sh")),
    ("bin/greet", "#!/bin/sh\nread -r _\necho hello\n"),
    (
        "etc/gateway/gateway.toml",
        "[capture]\ncgroup_root = \"auto\"\n",
    ),
    ("etc/gateway/policies/vm.toml", include_str!("policy.toml")),
    ("etc/resolv.conf", ""),
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
];

/// What the guest mounts file systems on, or writes to.
const DIRECTORIES: [&str; 8] = [
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "var",
    "root",
    "etc/cron.d",
];

/// Makes an initramfs for this binary, and the program that tries what it closes.
pub(super) fn make(binary: &Path, intruder: &Path, directory: &Path) -> Result<PathBuf> {
    let root = directory.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for part in DIRECTORIES {
        fs::create_dir_all(root.join(part))?;
    }
    for (path, text) in FILES {
        write(&root.join(path), text)?;
    }
    for program in [binary, intruder, Path::new(BUSYBOX)] {
        copy_libraries(program, &root)?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).context(BUSYBOX)?;
    symlink("busybox", root.join("bin/sh"))?;
    for (program, name) in [(binary, "bin/gateway"), (intruder, "bin/intruder")] {
        strip(program, &root.join(name))?;
    }
    pack(&root, &directory.join("initramfs"))
}

/// Writes a file that may be executed.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("a directory")?)?;
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
}

/// Copies a program without its debug information, which is most of it, and all of which would be in
/// the guest's memory.
pub(super) fn strip(program: &Path, copy: &Path) -> Result<()> {
    fs::create_dir_all(copy.parent().context("a program's directory")?)?;
    process::read(
        Command::new("strip")
            .arg("--strip-debug")
            .arg("-o")
            .arg(copy)
            .arg(program),
    )?;
    Ok(())
}

/// Where an absolute path is in a guest's root.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// What a program is linked to, at the same places; nothing for a static one.
fn copy_libraries(program: &Path, root: &Path) -> Result<()> {
    // Fails for a static program.
    let Ok(listed) = process::read(Command::new("ldd").arg(program)) else {
        return Ok(());
    };
    for library in libraries(&listed) {
        let copy = below(root, Path::new(library));
        fs::create_dir_all(copy.parent().context("a library's directory")?)?;
        fs::copy(library, &copy).context(library.to_owned())?;
    }
    Ok(())
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
pub(super) fn libraries(listed: &str) -> Vec<&str> {
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .collect()
}

fn pack(root: &Path, image: &Path) -> Result<PathBuf> {
    process::read(
        Command::new("sh")
            .args([
                "-c",
                "find . | cpio --quiet --create --format=newc --owner=0:0 >\"$0\"",
            ])
            .arg(image)
            .current_dir(root),
    )?;
    Ok(image.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_lists_is_copied() {
        let listed = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(
            libraries(listed),
            ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }
}

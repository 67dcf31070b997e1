//! The guest's root: a file system in memory with busybox, the product and what it links to.
use crate::process;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
    copy_libraries(&[binary, intruder, Path::new(BUSYBOX)], &root)?;
    fs::copy(BUSYBOX, root.join("bin/busybox")).context(BUSYBOX)?;
    symlink("busybox", root.join("bin/sh"))?;
    for (program, name) in [(binary, "bin/gateway"), (intruder, "bin/intruder")] {
        strip(program, &root.join(name))?;
    }
    let image = directory.join("initramfs");
    pack(&contents(&root)?, &root, File::create(&image)?)?;
    Ok(image)
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

/// Copies what programs are linked to, to the same places; nothing for a static one.
fn copy_libraries(programs: &[&Path], root: &Path) -> Result<()> {
    for library in libraries(programs)? {
        let copy = below(root, &library);
        fs::create_dir_all(copy.parent().context("a library's directory")?)?;
        fs::copy(&library, &copy).with_context(|| library.display().to_string())?;
    }
    Ok(())
}

/// What programs are linked to.
pub(super) fn libraries(programs: &[&Path]) -> Result<BTreeSet<PathBuf>> {
    // It fails where one is static, and lists the others all the same.
    let output = Command::new("ldd").args(programs).output().context("ldd")?;
    let listed = String::from_utf8_lossy(&output.stdout);
    let found: BTreeSet<PathBuf> = listed_libraries(&listed).map(PathBuf::from).collect();
    ensure!(!found.is_empty(), "ldd lists no library");
    Ok(found)
}

/// `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`. Of several
/// programs, each is named in a line before its own, without a tab.
fn listed_libraries(listed: &str) -> impl Iterator<Item = &str> {
    let lines = listed.lines().filter(|line| line.starts_with('\t'));
    lines.filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}

/// Everything in a directory, by paths from there: directories before what is in them.
pub(super) fn contents(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = process::read(
        Command::new("find")
            .args([".", "-mindepth", "1", "-printf", "%P\\n"])
            .current_dir(directory),
    )?;
    Ok(listed.lines().map(PathBuf::from).collect())
}

/// Writes an archive of these files, whose paths are those below a directory.
pub(super) fn pack(files: &BTreeSet<PathBuf>, directory: &Path, archive: File) -> Result<()> {
    let mut cpio = Command::new("cpio")
        .args(["--quiet", "--create", "--format=newc", "--owner=0:0"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(archive)
        .spawn()
        .context("cpio")?;
    let mut names = cpio.stdin.take().context("cpio's input")?;
    for file in files {
        writeln!(names, "{}", file.display())?;
    }
    drop(names);
    ensure!(
        cpio.wait()?.success(),
        "cpio could not pack the guest's root"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_lists_is_copied() {
        let listed = "/bin/a:\n\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(
            listed_libraries(listed).collect::<Vec<_>>(),
            ["/lib/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }
}

//! The guest's root for the tests of the harness: what they need of this machine, at the same places.
//!
//! The files of some Debian packages, all that these link to, the tests and the product. They are
//! packed from where they are: only what is changed for the guest is copied before.
use super::image;
use crate::process;
use crate::project::Project;
use anyhow::{Context, Result, ensure};
use gateway_tests::place;
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the tests call, and what that calls.
const PACKAGES: &[&str] = &[
    "bash",
    "busybox-static",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "hostname",
    "iproute2",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "login",
    "mount",
    "passwd",
    "postgresql-15",
    "postgresql-client-15",
    "procps",
    "python3-minimal",
    "python3.11-minimal",
    "sed",
    "tzdata",
    "util-linux",
    "util-linux-extra",
];

/// What no package owns, or another one does.
const FILES: &[&str] = &[
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/services",
    "/etc/shadow",
    "/usr/lib/locale/C.utf8",
];

/// Most of what these packages have, and nothing that is used.
const LEFT_OUT: &[&str] = &[
    "/usr/share/doc",
    "/usr/share/info",
    "/usr/share/lintian",
    "/usr/share/locale",
    "/usr/share/man",
    "/usr/share/postgresql/15/man",
    // The compiler of expressions: it is larger than all the rest.
    "/usr/lib/postgresql/15/lib/bitcode",
    "/usr/lib/postgresql/15/lib/llvmjit",
];

/// Drivers and what they need, of the tests' Python.
const DRIVERS: &[&str] = &["psycopg", "typing_extensions"];

/// Tests that take minutes, run once each kernel: those of capture, of lineage, of the ways out, and
/// of a storm under a kernel that preempts itself.
pub(super) const ALL: &[&str] = &["attacks::", "capture::", "lineage::", "storm::who_runs"];
/// One of them, for each run of all tests: it captures, and follows whoever connects to its root.
pub(super) const SHORT: &[&str] = &["lineage::the_lineage_reaches_the_root"];

/// The directories that a guest has, whoever fills them.
const DIRECTORIES: [&str; 9] = [
    "dev", "proc", "sys", "run", "tmp", "var/lib", "var/log", "root", "modules",
];

/// Makes an initramfs that runs the tests whose names begin so.
pub(super) fn make(
    project: &Project,
    beginnings: &[&str],
    module: &Path,
    directory: &Path,
) -> Result<PathBuf> {
    let program = program(project)?;
    let names = chosen(&program, beginnings)?;
    let root = directory.join("tests-root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for part in DIRECTORIES {
        fs::create_dir_all(root.join(part))?;
    }
    image::write(&root.join("init"), include_str!("tests.sh"))?;
    image::write(&root.join("names"), &(names.join("\n") + "\n"))?;
    image::write(&root.join("program"), &program.display().to_string())?;
    let manifest = project.root.join("tests");
    image::write(&root.join("manifest"), &manifest.display().to_string())?;
    let name = module.file_name().context("a module's name")?;
    fs::copy(module, root.join("modules").join(name))?;
    let gateway = project.target.join("release/gateway");
    for (from, to) in [(&program, &program), (&place::gateway()?, &gateway)] {
        image::strip(from, &image::below(&root, to))?;
    }
    let image = directory.join("initramfs-tests");
    let files = files(project, &[&program, &place::gateway()?])?;
    pack(&files, Path::new("/"), fs::File::create(&image)?)?;
    // The kernel unpacks one archive after the other, and the later one wins.
    let own = fs::File::options().append(true).open(&image)?;
    pack(&below(&root)?, &root, own)?;
    Ok(image)
}

/// The program that has the tests.
fn program(project: &Project) -> Result<PathBuf> {
    let built = process::read(
        process::cargo()
            .args(["test", "--locked", "-p", "gateway-tests"])
            .args(["--test", "integration", "--no-run", "--message-format=json"])
            .current_dir(&project.root),
    )?;
    let messages = built.lines().map(serde_json::from_str::<serde_json::Value>);
    let mut programs = messages.filter_map(|message| {
        let message = message.ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    programs.next().context("cargo built no integration tests")
}

fn chosen(program: &Path, beginnings: &[&str]) -> Result<Vec<String>> {
    let listed = process::read(Command::new(program).args(["--list", "--format=terse"]))?;
    let names = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"));
    let mut chosen = Vec::new();
    for beginning in beginnings {
        let before = chosen.len();
        let found = names.clone().filter(|name| name.starts_with(beginning));
        chosen.extend(found.map(str::to_owned));
        ensure!(chosen.len() > before, "no test is called {beginning}…");
    }
    Ok(chosen)
}

/// All that is taken from this machine: absolute paths, directories before what is in them.
fn files(project: &Project, programs: &[&Path]) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let owned = process::read(Command::new("dpkg").arg("--listfiles").args(PACKAGES))?;
    let owned = owned.lines().filter(|line| line.starts_with('/'));
    let is_used = |line: &&str| !LEFT_OUT.iter().any(|left| line.starts_with(left));
    for file in owned.filter(is_used).chain(FILES.iter().copied()) {
        enter(Path::new(file), &mut found);
    }
    // The links through which programs are found: /bin, /lib64/ld-linux-x86-64.so.2.
    for link in ["/bin", "/sbin", "/lib", "/lib64"] {
        found.insert(PathBuf::from(link));
    }
    let packages = format!("{}/lib/python3.11/site-packages", venv(project).display());
    let mut trees = vec![
        PathBuf::from("/usr/lib/locale/C.utf8"),
        project.root.join("tests/integration/scripts"),
        project.root.join("policies"),
    ];
    for entry in fs::read_dir(&packages).context(packages)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if DRIVERS.iter().any(|driver| name.starts_with(driver)) {
            trees.push(entry.path());
        }
    }
    for tree in trees {
        enter(&tree, &mut found);
        let files = match tree.is_dir() {
            true => below(&tree)?,
            false => BTreeSet::new(),
        };
        files
            .iter()
            .for_each(|file| enter(&tree.join(file), &mut found));
    }
    for file in ["bin/python3", "pyvenv.cfg"] {
        enter(&venv(project).join(file), &mut found);
    }
    enter(&project.target.join("CACHEDIR.TAG"), &mut found);
    for library in libraries(
        found
            .iter()
            .map(PathBuf::as_path)
            .chain(programs.iter().copied()),
    )? {
        enter(&library, &mut found);
    }
    Ok(found)
}

fn venv(project: &Project) -> PathBuf {
    place::venv(&project.target)
}

/// Enters a file where it really is, with the directories above it, and what it is a link to.
fn enter(file: &Path, found: &mut BTreeSet<PathBuf>) {
    let (Some(Ok(parent)), Some(name)) = (file.parent().map(Path::canonicalize), file.file_name())
    else {
        return;
    };
    let real = parent.join(name);
    if real.symlink_metadata().is_err() || !found.insert(real.clone()) {
        return;
    }
    found.extend(parent.ancestors().map(Path::to_path_buf));
    if let Ok(target) = fs::read_link(&real) {
        enter(&parent.join(target), found);
    }
}

/// What programs and libraries among these are linked to.
fn libraries<'a>(files: impl Iterator<Item = &'a Path>) -> Result<BTreeSet<PathBuf>> {
    let linked: Vec<&Path> = files.filter(|file| is_elf(file)).collect();
    // It fails for some of them, which are linked to nothing.
    let output = Command::new("ldd").args(linked).output().context("ldd")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    // Between them are the names of the programs.
    let listed: Vec<&str> = listed
        .lines()
        .filter(|line| line.starts_with('\t'))
        .collect();
    let listed = listed.join("\n");
    let libraries = image::libraries(&listed);
    ensure!(!libraries.is_empty(), "ldd lists no library");
    Ok(libraries.into_iter().map(PathBuf::from).collect())
}

fn is_elf(file: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    let is_file = file.symlink_metadata().is_ok_and(|data| data.is_file());
    is_file
        && fs::File::open(file).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && magic == *b"\x7fELF"
}

/// Everything in a directory, by paths from there.
fn below(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = process::read(
        Command::new("find")
            .args([".", "-mindepth", "1"])
            .current_dir(directory),
    )?;
    let names = listed.lines().map(|line| line.trim_start_matches("./"));
    Ok(names.map(PathBuf::from).collect())
}

/// Writes an archive of these files, whose paths are those below a directory.
fn pack(files: &BTreeSet<PathBuf>, directory: &Path, archive: fs::File) -> Result<()> {
    let mut cpio = Command::new("cpio")
        .args(["--quiet", "--create", "--format=newc", "--owner=0:0"])
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(archive)
        .spawn()
        .context("cpio")?;
    let mut names = cpio.stdin.take().context("cpio's input")?;
    for file in files {
        let name = file.strip_prefix("/").unwrap_or(file);
        if !name.as_os_str().is_empty() {
            writeln!(names, "{}", name.display())?;
        }
    }
    drop(names);
    ensure!(
        cpio.wait()?.success(),
        "cpio could not pack the guest's root"
    );
    Ok(())
}

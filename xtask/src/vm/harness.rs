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
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the tests call, and what that calls.
const PACKAGES: &[&str] = &[
    "bash",
    "busybox-static",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "iproute2",
    "libpam-modules",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "login",
    "mount",
    "postgresql-15",
    "postgresql-client-15",
    "procps",
    "python3-minimal",
    "python3.11-minimal",
    "sed",
    "slirp4netns",
    "tzdata",
    "util-linux",
];

/// What no package owns, or another one does.
const FILES: &[&str] = &[
    "/etc/group",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/resolv.conf",
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

/// The root of the guests, without the module of a kernel.
pub(super) struct Root {
    image: PathBuf,
}

impl Root {
    /// Packs one that runs the tests whose names begin so.
    pub(super) fn make(project: &Project, beginnings: &[&str], directory: &Path) -> Result<Root> {
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
        let (binary, gateway) = (place::gateway()?, project.target.join("release/gateway"));
        for (from, to) in [(&program, &program), (&binary, &gateway)] {
            image::strip(from, &image::below(&root, to))?;
        }
        let image = directory.join("initramfs-tests");
        let files = files(project, &[&program, &binary])?;
        image::pack(&files, Path::new("/"), File::create(&image)?)?;
        // The kernel unpacks one archive after the other, and the later one wins.
        image::pack(&image::contents(&root)?, &root, appended(&image)?)?;
        Ok(Root { image })
    }

    /// The same with the modules of a kernel.
    pub(super) fn with(&self, files: &[PathBuf]) -> Result<PathBuf> {
        let image = self.image.with_extension("kernel");
        fs::copy(&self.image, &image)?;
        let place = tempfile::tempdir()?;
        let modules = place.path().join("modules");
        fs::create_dir(&modules)?;
        for module in files {
            let name = module.file_name().context("a module's name")?;
            fs::copy(module, modules.join(name))?;
        }
        image::pack(
            &image::contents(place.path())?,
            place.path(),
            appended(&image)?,
        )?;
        Ok(image)
    }
}

fn appended(image: &Path) -> Result<File> {
    let file = File::options().append(true).open(image);
    file.with_context(|| image.display().to_string())
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

/// All that is taken from this machine, by paths from its root.
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
            true => image::contents(&tree)?,
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
    let own = found
        .iter()
        .map(PathBuf::as_path)
        .filter(|file| is_elf(file));
    let linked: Vec<&Path> = own.chain(programs.iter().copied()).collect();
    for library in image::libraries(&linked)? {
        enter(&library, &mut found);
    }
    let found = found.iter().filter_map(|file| file.strip_prefix("/").ok());
    let found = found.filter(|file| !file.as_os_str().is_empty());
    Ok(found.map(Path::to_path_buf).collect())
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

fn is_elf(file: &Path) -> bool {
    let mut magic = [0; 4];
    let is_file = file.symlink_metadata().is_ok_and(|data| data.is_file());
    is_file
        && File::open(file).is_ok_and(|mut file| file.read_exact(&mut magic).is_ok())
        && magic == *b"\x7fELF"
}

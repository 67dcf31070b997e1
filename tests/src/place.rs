//! Where things are on this host, and what it is.
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Everything that the harness makes on the host bears this in its name, followed by the process id
/// of the run and a number.
pub const PREFIX: &str = "gateway-test";

/// The top of the work tree. Cargo says at run time where it is: a build directory may have come
/// from a cache, or from a clone elsewhere.
#[must_use]
pub fn repository() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().unwrap_or(&package).to_path_buf()
}

/// Cargo's build directory, which this very program was built into.
///
/// # Errors
/// The program was copied out of it.
pub fn build_directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let found = program
        .ancestors()
        .find(|path| path.join("CACHEDIR.TAG").is_file());
    Ok(found
        .with_context(|| format!("{} is in no build directory", program.display()))?
        .into())
}

/// The Python environment that `cargo xtask setup` makes in a build directory.
#[must_use]
pub fn venv(build_directory: &Path) -> PathBuf {
    build_directory.join("venv")
}

/// The Python that has the drivers.
///
/// # Errors
/// `cargo xtask setup` has not made it.
pub fn python() -> Result<PathBuf> {
    let python = venv(&build_directory()?).join("bin/python3");
    ensure!(
        python.exists(),
        "{} is missing: run `cargo xtask setup`",
        python.display()
    );
    Ok(python)
}

/// The binary under test that somebody has built elsewhere: `GATEWAY_BINARY`.
#[must_use]
pub fn given_gateway() -> Option<PathBuf> {
    std::env::var_os("GATEWAY_BINARY").map(PathBuf::from)
}

/// The binary under test: the one that is given, or the release build.
///
/// # Errors
/// It is not there.
pub fn gateway() -> Result<PathBuf> {
    let binary = match given_gateway() {
        Some(binary) => binary,
        None => build_directory()?.join("release/gateway"),
    };
    ensure!(
        binary.is_file(),
        "{} is missing: run `cargo build --release -p gateway-daemon`, or `cargo xtask test`",
        binary.display()
    );
    Ok(binary)
}

/// The directory of PostgreSQL 15's own programs.
///
/// # Errors
/// It is not installed.
pub fn postgres_programs() -> Result<PathBuf> {
    let programs = PathBuf::from("/usr/lib/postgresql/15/bin");
    ensure!(
        programs.join("postgres").is_file(),
        "no PostgreSQL 15: run `cargo xtask setup`"
    );
    Ok(programs)
}

/// Where cgroup2 is mounted: its place differs between unified and hybrid hosts.
///
/// # Errors
/// It is not mounted.
pub fn cgroup2() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        if let (Some(place), Some("cgroup2")) = (words.next(), words.next()) {
            return Ok(place.into());
        }
    }
    bail!("cgroup2 is not mounted")
}

/// Is this root?
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A name that no other thing of this run has, and that tells whose run it was.
#[must_use]
pub fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!(
        "{PREFIX}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A directory of this run, removed with the value.
///
/// # Errors
/// It cannot be made.
pub fn temporary_directory() -> Result<tempfile::TempDir> {
    sweep_once();
    let directory = tempfile::Builder::new()
        .prefix(&format!("{}-", unique_name()))
        .tempdir()
        .context("a temporary directory")?;
    Ok(directory)
}

fn sweep_once() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(crate::sweep::sweep);
}

/// Lets this process and its children open as many files as the host permits.
///
/// # Errors
/// The limit cannot be set.
pub fn raise_file_limit() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = most.max(20_000);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).context("the limit of open files")
}

/// The files below a directory that have this text in them. The journal's segments are large, and
/// grep is quick.
///
/// # Errors
/// They cannot be searched.
pub fn files_with(directory: &Path, text: &str) -> Result<Vec<String>> {
    let outcome = loop {
        let mut grep = std::process::Command::new("grep");
        grep.args(["-r", "-l", "-a", "-F", "-e", text])
            .arg(directory);
        let outcome = crate::running::run(&mut grep)?;
        // A daemon that runs replaces files beneath it.
        let vanished = outcome.stderr.contains("No such file or directory");
        if !(outcome.code() > 1 && vanished && directory.exists()) {
            break outcome;
        }
    };
    ensure!(outcome.code() <= 1, "{outcome:?}");
    Ok(outcome.stdout.lines().map(str::to_owned).collect())
}

//! The cgroups of `gateway run`: one for each command, made beneath one directory, removed when
//! nobody is left in it.
use gateway_core::TreeId;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What every directory of ours is called. Nothing else is ever removed.
const PREFIX: &str = "run-";
/// Deeper than this a job's own cgroups are left where they are.
const DEPTH_MAX: usize = 64;

/// The cgroup that systemd delegated to this service (`Delegate=yes`), if it did: commands belong
/// beneath it and nowhere else.
pub(crate) fn delegated(mount: &Path) -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET")?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!path.is_empty()).then(|| mount.join(path))
}

/// The directory beneath which commands get their cgroups.
pub(crate) struct RunCgroups {
    base: PathBuf,
    /// The same from the cgroup2 mount, as processes show their cgroups.
    shown: PathBuf,
    runs_max: usize,
    /// Held while one is made or removed, so that none is taken for empty before its command
    /// has moved in. Holds the trees that `gateway run` made.
    trees: Mutex<HashSet<TreeId>>,
}

impl RunCgroups {
    /// Commands get their cgroups beneath `base`, a directory beneath `mount`, which is made when it
    /// is first needed.
    pub(crate) fn new(base: PathBuf, mount: &Path, runs_max: usize) -> RunCgroups {
        let shown = base.strip_prefix(mount).unwrap_or(&base).to_owned();
        RunCgroups {
            base,
            shown,
            runs_max,
            trees: Mutex::default(),
        }
    }

    #[cfg(test)]
    fn base(&self) -> &Path {
        &self.base
    }

    /// Makes a cgroup, lets `govern` make the process a tree, and moves it in.
    pub(crate) fn enter<E: From<io::Error>>(
        &self,
        pid: u32,
        start_ticks: u64,
        govern: impl FnOnce(&Path) -> Result<TreeId, E>,
    ) -> Result<TreeId, E> {
        let mut trees = self.trees.lock();
        fs::create_dir_all(&self.base)?;
        if self.runs()?.len() >= self.runs_max {
            return Err(io::Error::other("too many commands run already (limits.runs)").into());
        }
        let place = self.base.join(format!("{PREFIX}{pid}-{start_ticks}"));
        match fs::create_dir(&place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        // The tag first: in its new cgroup it is never seen without.
        let entered = govern(&place).and_then(|tree| {
            fs::write(place.join("cgroup.procs"), pid.to_string())?;
            Ok(tree)
        });
        match entered {
            Ok(tree) => {
                trees.insert(tree);
                Ok(tree)
            }
            Err(error) => {
                let _ = fs::remove_dir(&place);
                Err(error)
            }
        }
    }

    /// Was this tree made by `gateway run`? Known since the start of the daemon, or by the cgroup
    /// that its root was put into.
    pub(crate) fn made(&self, tree: TreeId, root_cgroup: &str) -> bool {
        let beneath = |cgroup: &str| {
            let cgroup = Path::new(cgroup);
            let named = cgroup
                .file_name()
                .is_some_and(|name| is_run(name.as_encoded_bytes()));
            named && cgroup.parent() == Some(&self.shown)
        };
        self.trees.lock().contains(&tree) || beneath(root_cgroup)
    }

    /// Forgets trees that have ended, and removes the cgroups in which nobody is left.
    pub(crate) fn sweep(&self, alive: &HashSet<TreeId>) {
        let mut trees = self.trees.lock();
        trees.retain(|tree| alive.contains(tree));
        for run in self.runs().unwrap_or_default() {
            if !is_populated(&run) {
                remove(&run, DEPTH_MAX);
            }
        }
    }

    fn runs(&self) -> io::Result<Vec<PathBuf>> {
        runs_beneath(&self.base)
    }
}

fn is_run(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

fn runs_beneath(base: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(base) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let is_ours = |entry: &fs::DirEntry| {
        entry.file_type().is_ok_and(|kind| kind.is_dir())
            && entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(PREFIX.as_bytes())
    };
    Ok(entries
        .flatten()
        .filter(is_ours)
        .map(|entry| entry.path())
        .collect())
}

/// The kernel says 1 while a process lives anywhere beneath. What cannot be read counts as lived in.
fn is_populated(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events")).map_or(true, |events| {
        !events.lines().any(|line| line == "populated 0")
    })
}

/// The cgroups at and beneath `top`, each behind its parent; not deeper than `depth` below it.
fn tree_of(top: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = vec![(top.to_owned(), 0)];
    let mut next = 0;
    while let Some((directory, level)) = found.get(next).cloned() {
        next += 1;
        if level >= depth {
            continue;
        }
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                found.push((entry.path(), level + 1));
            }
        }
    }
    found.into_iter().map(|(directory, _)| directory).collect()
}

/// Removes a cgroup and those that the job made in it, deepest first. The kernel refuses to remove
/// one that somebody lives in.
fn remove(cgroup: &Path, depth: usize) -> bool {
    tree_of(cgroup, depth)
        .iter()
        .rev()
        .all(|directory| fs::remove_dir(directory).is_ok())
}

/// Removes every cgroup of `gateway run` beneath `base`, and `base` itself if it is ours alone.
/// Processes that still live there move to the cgroup above. Says what could not be removed.
pub(crate) fn uninstall(base: &Path, keep_base: bool) -> Vec<PathBuf> {
    let above = if keep_base { Some(base) } else { base.parent() };
    let mut left = Vec::new();
    for run in runs_beneath(base).unwrap_or_default() {
        // A job may fork while it is moved; each round moves those that were born in the last.
        for _ in 0..100 {
            for directory in tree_of(&run, DEPTH_MAX) {
                evacuate(&directory, above);
            }
            if !is_populated(&run) {
                break;
            }
        }
        if !remove(&run, DEPTH_MAX) {
            left.push(run);
        }
    }
    if !keep_base && base.exists() && fs::remove_dir(base).is_err() {
        left.push(base.to_owned());
    }
    left
}

fn evacuate(cgroup: &Path, above: Option<&Path>) {
    let Some(above) = above.filter(|above| same_filesystem(cgroup, above)) else {
        return;
    };
    let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines() {
        let _ = fs::write(above.join("cgroup.procs"), pid);
    }
}

fn same_filesystem(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => one.dev() == other.dev(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a cgroup. The real ones are for the integration tests.
    fn fake(populated: bool) -> (tempfile::TempDir, RunCgroups) {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("gateway");
        let run = base.join("run-7-1").join("inner");
        fs::create_dir_all(&run).unwrap();
        let events = format!("populated {}\nfrozen 0\n", u8::from(populated));
        fs::write(base.join("run-7-1/cgroup.events"), events).unwrap();
        (directory, RunCgroups::new(base, Path::new("/"), 2))
    }

    #[test]
    fn who_lives_in_a_cgroup_decides_whether_it_goes() {
        let (_directory, runs) = fake(true);
        runs.sweep(&HashSet::new());
        assert!(runs.base().join("run-7-1/inner").exists());
        fs::remove_file(runs.base().join("run-7-1/cgroup.events")).unwrap();
        runs.sweep(&HashSet::new());
        assert!(
            runs.base().join("run-7-1/inner").exists(),
            "in doubt it stays"
        );
    }

    #[test]
    fn a_failure_leaves_no_cgroup_and_the_number_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let runs = RunCgroups::new(directory.path().join("gateway"), directory.path(), 2);
        let failed = runs.enter(7, 1, |_| Err::<TreeId, io::Error>(io::Error::other("no")));
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(runs.base()).unwrap().count(), 0);
        for pid in [1, 2] {
            runs.enter(pid, 1, |_| Ok::<_, io::Error>(TreeId(u64::from(pid))))
                .unwrap();
        }
        assert!(runs.made(TreeId(1), ""));
        let third = runs.enter(3, 1, |_| Ok::<_, io::Error>(TreeId(3)));
        assert!(third.unwrap_err().to_string().contains("limits.runs"));
        runs.sweep(&HashSet::from([TreeId(2)]));
        assert!(!runs.made(TreeId(1), ""), "forgotten with its end");
        assert!(runs.made(TreeId(2), ""));
    }

    #[test]
    fn a_tree_is_known_by_the_cgroup_of_its_root_after_a_restart() {
        let mount = Path::new("/sys/fs/cgroup/unified");
        let runs = RunCgroups::new(mount.join("x/gateway"), mount, 2);
        assert!(runs.made(TreeId(1), "x/gateway/run-7-1"));
        assert!(!runs.made(TreeId(1), "x/gateway"));
        assert!(!runs.made(TreeId(1), "y/run-7-1"));
        assert!(!runs.made(TreeId(1), "gateway/run-7-1"));
        assert!(!runs.made(TreeId(1), "z/x/gateway/run-7-1"));
        assert!(!runs.made(TreeId(1), "run-7-1"));
        assert!(!runs.made(TreeId(1), ""));
    }

    #[test]
    fn only_our_own_directories_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("service");
        fs::create_dir_all(base.join("run-1-1")).unwrap();
        fs::create_dir_all(base.join("other")).unwrap();
        fs::write(base.join("run-1-1/cgroup.procs"), "").unwrap();
        let left = uninstall(&base, true);
        assert_eq!(
            left,
            [base.join("run-1-1")],
            "not empty here: the fake has a file"
        );
        assert!(base.join("other").exists());
        assert!(uninstall(&directory.path().join("nowhere"), false).is_empty());
    }
}

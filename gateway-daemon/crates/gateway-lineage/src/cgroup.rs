//! From a cgroup's id to its path.
//!
//! The id of a cgroup is the inode number of its directory in the cgroup2 file system. It is not
//! used again before reboot, and a cgroup2 directory cannot be renamed, so a name once known stays
//! true also when the cgroup is gone.
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io::Read;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many names are remembered.
const NAMES_MAX: usize = 16_384;
/// How many ids that no directory has are remembered.
const ABSENT_MAX: usize = 4_096;
/// How many directories one walk visits.
const DIRECTORIES_MAX: usize = 65_536;
/// How much of a walk's cost one failed look-up pays off: walks are at most this many directories
/// per look-up in the long run, however fast cgroups come and go.
const PAID_PER_MISS: usize = 64;
/// How much of /proc/PID/cgroup is read: up to a dozen hierarchies, one of them long.
const MEMBERSHIP_BYTES_MAX: u64 = 16_384;

/// Names cgroups. Paths are those of `/proc/PID/cgroup` after `0::/`: from the cgroup2 mount,
/// without a leading slash; the top is the empty path.
pub trait CgroupPaths: Send + Sync {
    /// The path of a cgroup. `pid` is a process that was in it, and may be gone: a hint.
    fn path_of(&self, cgroup_id: u64, pid: u32) -> Option<Arc<str>>;

    /// The cgroup that a process is in now, with its id.
    fn of_process(&self, pid: u32) -> Option<(u64, Arc<str>)>;
}

/// The names of the cgroups beneath a directory.
#[derive(Debug)]
pub struct CgroupNames {
    mount: PathBuf,
    root: PathBuf,
    proc: PathBuf,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    paths: FxHashMap<u64, Arc<str>>,
    absent: FxHashSet<u64>,
    /// Directories that were visited and not yet paid for; no walk before this is 0.
    owed: usize,
}

impl Names {
    fn insert(&mut self, cgroup_id: u64, path: Arc<str>) {
        if self.paths.len() >= NAMES_MAX && !self.paths.contains_key(&cgroup_id) {
            self.paths.clear();
        }
        self.absent.remove(&cgroup_id);
        self.paths.insert(cgroup_id, path);
    }

    fn insert_absent(&mut self, cgroup_id: u64) {
        if self.absent.len() >= ABSENT_MAX {
            self.absent.clear();
        }
        self.absent.insert(cgroup_id);
    }
}

impl CgroupNames {
    /// Names what is beneath `root`, which lies beneath `mount`, the mount point of cgroup2.
    #[must_use]
    pub fn new(mount: &Path, root: &Path) -> CgroupNames {
        CgroupNames {
            mount: mount.to_owned(),
            root: root.to_owned(),
            proc: PathBuf::from("/proc"),
            names: Mutex::default(),
        }
    }

    /// Takes a name that somebody else knows: the kernel half sees each cgroup being made.
    pub fn learn(&self, cgroup_id: u64, path: &str) {
        self.names
            .lock()
            .insert(cgroup_id, path.trim_start_matches('/').into());
    }

    /// Drops a name that nobody will ask for any more.
    pub fn forget(&self, cgroup_id: u64) {
        self.names.lock().paths.remove(&cgroup_id);
    }

    fn known(&self, cgroup_id: u64) -> Option<Arc<str>> {
        self.names.lock().paths.get(&cgroup_id).cloned()
    }

    /// Visits the directories beneath the root, unless an earlier walk is not yet paid for.
    fn walk_for(&self, cgroup_id: u64) -> Option<Arc<str>> {
        {
            let mut names = self.names.lock();
            names.owed = names.owed.saturating_sub(PAID_PER_MISS);
            if names.owed > 0 || names.absent.contains(&cgroup_id) {
                return None;
            }
        }
        let found = walk(&self.mount, &self.root);
        let mut names = self.names.lock();
        names.owed = found.len();
        let sought = found
            .iter()
            .find(|(id, _)| *id == cgroup_id)
            .map(|(_, path)| Arc::clone(path));
        for (id, path) in found.into_iter().take(NAMES_MAX / 2) {
            names.insert(id, path);
        }
        match &sought {
            Some(path) => names.insert(cgroup_id, Arc::clone(path)),
            None => names.insert_absent(cgroup_id),
        }
        sought
    }
}

impl CgroupPaths for CgroupNames {
    fn path_of(&self, cgroup_id: u64, pid: u32) -> Option<Arc<str>> {
        if let Some(path) = self.known(cgroup_id) {
            return Some(path);
        }
        match self.of_process(pid) {
            Some((id, path)) if id == cgroup_id => Some(path),
            _ => self.walk_for(cgroup_id),
        }
    }

    fn of_process(&self, pid: u32) -> Option<(u64, Arc<str>)> {
        let mut membership = Vec::new();
        let file = std::fs::File::open(self.proc.join(pid.to_string()).join("cgroup")).ok()?;
        file.take(MEMBERSHIP_BYTES_MAX)
            .read_to_end(&mut membership)
            .ok()?;
        let path = unified_path(&membership)?;
        let id = std::fs::symlink_metadata(self.mount.join(&*path))
            .ok()?
            .ino();
        if let Some(known) = self.known(id) {
            return Some((id, known));
        }
        self.names.lock().insert(id, Arc::clone(&path));
        Some((id, path))
    }
}

/// The path in the default hierarchy. The kernel allows no line end in a cgroup's name.
fn unified_path(membership: &[u8]) -> Option<Arc<str>> {
    let line = membership
        .split(|&b| b == b'\n')
        .find_map(|line| line.strip_prefix(b"0::/"))?;
    // A name that is not UTF-8 cannot be looked up by its lossy form; the walk names it.
    std::str::from_utf8(line).ok().map(Arc::from)
}

/// The ids and paths of all directories beneath `root`, itself included, without recursion.
fn walk(mount: &Path, root: &Path) -> Vec<(u64, Arc<str>)> {
    let mut found = Vec::new();
    let mut open = Vec::new();
    if let Ok(metadata) = std::fs::symlink_metadata(root) {
        open.push((metadata.ino(), root.to_owned()));
    }
    while let Some((id, directory)) = open.pop() {
        let relative = directory.strip_prefix(mount).unwrap_or(&directory);
        found.push((id, Arc::from(relative.to_string_lossy())));
        // One that vanishes during the walk has no children to find.
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            if found.len() + open.len() >= DIRECTORIES_MAX {
                break;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push((entry.ino(), entry.path()));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any directory tree has inode numbers; these tests need no cgroup2.
    fn names(directory: &Path) -> CgroupNames {
        let mut names = CgroupNames::new(directory, directory);
        names.proc = directory.join("proc");
        names
    }

    fn id_of(path: &Path) -> u64 {
        std::fs::metadata(path).expect("metadata").ino()
    }

    #[test]
    fn a_path_is_found_by_walking_and_stays_known_when_it_is_gone() {
        let directory = tempfile::tempdir().expect("tempdir");
        let names = names(directory.path());
        let job = directory.path().join("ci.slice/job-1");
        std::fs::create_dir_all(&job).expect("mkdir");
        let id = id_of(&job);
        assert_eq!(names.path_of(id, 0).as_deref(), Some("ci.slice/job-1"));
        assert_eq!(
            names.path_of(id_of(directory.path()), 0).as_deref(),
            Some(""),
            "the top"
        );
        std::fs::remove_dir(&job).expect("rmdir");
        assert_eq!(names.path_of(id, 0).as_deref(), Some("ci.slice/job-1"));
        names.forget(id);
        assert_eq!(names.path_of(id, 0), None);
    }

    #[test]
    fn a_process_names_its_cgroup_only_when_the_id_fits() {
        let directory = tempfile::tempdir().expect("tempdir");
        let names = names(directory.path());
        std::fs::create_dir_all(directory.path().join("a/b")).expect("mkdir");
        std::fs::create_dir_all(directory.path().join("proc/7")).expect("mkdir");
        let membership = "9:name=systemd:/x\n4:memory:/y\n0::/a/b\n";
        std::fs::write(directory.path().join("proc/7/cgroup"), membership).expect("write");
        let id = id_of(&directory.path().join("a/b"));
        assert_eq!(names.of_process(7), Some((id, "a/b".into())));
        assert_eq!(names.path_of(id, 7).as_deref(), Some("a/b"));
        assert_eq!(names.path_of(u64::MAX, 7), None, "the process has moved on");
        assert_eq!(names.of_process(8), None);
    }

    #[test]
    fn walks_are_paid_for_by_look_ups() {
        let directory = tempfile::tempdir().expect("tempdir");
        let names = names(directory.path());
        for number in 0..PAID_PER_MISS * 3 {
            std::fs::create_dir(directory.path().join(number.to_string())).expect("mkdir");
        }
        assert_eq!(names.path_of(u64::MAX, 0), None);
        let late = directory.path().join("late");
        std::fs::create_dir(&late).expect("mkdir");
        let looks = (1..)
            .find(|_| names.path_of(id_of(&late), 0).is_some())
            .expect("found");
        assert_eq!(looks, 4, "193 directories at 64 a look");
        assert_eq!(names.path_of(u64::MAX, 0), None);
        assert_eq!(names.names.lock().absent.len(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let directory = tempfile::tempdir().expect("tempdir");
        let names = names(directory.path());
        for id in 0..3 * NAMES_MAX as u64 {
            names.learn(id << 32, "/x");
        }
        assert!(names.names.lock().paths.len() <= NAMES_MAX);
        let last = (3 * NAMES_MAX as u64 - 1) << 32;
        assert_eq!(
            names.path_of(last, 0).as_deref(),
            Some("x"),
            "the last one is among them"
        );
    }

    #[test]
    fn this_process_is_in_a_cgroup() {
        let mounts = std::fs::read_to_string("/proc/mounts").expect("mounts");
        let mount = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|fields| fields.get(2) == Some(&"cgroup2"))
            .and_then(|fields| fields.get(1).map(PathBuf::from))
            .expect("this test needs cgroup2 mounted, as the product does");
        let names = CgroupNames::new(&mount, &mount);
        let (id, path) = names.of_process(std::process::id()).expect("own cgroup");
        assert_eq!(id, id_of(&mount.join(&*path)));
        assert_eq!(names.path_of(id, 0), Some(path), "also without the process");
    }
}

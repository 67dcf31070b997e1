//! Who else holds a socket. The kernel does not say how many do, so every process is asked.
use super::descriptors::{inode_of, numbers_in};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Descriptors that are looked at in one search: some seconds' worth.
const LOOKS_MAX: usize = 1 << 20;

/// Which processes hold which sockets, of those that were asked.
pub(crate) struct Holders {
    by_inode: HashMap<u64, Vec<u32>>,
    /// Everybody was asked.
    pub(crate) complete: bool,
}

impl Holders {
    /// Asks every process of the host for these sockets, but not this one and those.
    pub(crate) fn search(wanted: &HashSet<u64>, but: &HashSet<u32>) -> Holders {
        Holders::search_in(Path::new("/proc"), wanted, but, LOOKS_MAX)
    }

    fn search_in(
        proc: &Path,
        wanted: &HashSet<u64>,
        but: &HashSet<u32>,
        looks_max: usize,
    ) -> Holders {
        let mut found = Holders {
            by_inode: HashMap::new(),
            complete: true,
        };
        let own = std::process::id();
        let mut looks = 0;
        let pids = numbers_in::<u32>(proc);
        for pid in pids.filter(|pid| *pid != own && !but.contains(pid)) {
            let descriptors = proc.join(pid.to_string()).join("fd");
            for number in numbers_in::<u32>(&descriptors) {
                looks += 1;
                if looks > looks_max {
                    found.complete = false;
                    return found;
                }
                found.look(pid, &descriptors.join(number.to_string()), wanted);
            }
        }
        found
    }

    fn look(&mut self, pid: u32, descriptor: &PathBuf, wanted: &HashSet<u64>) {
        let Ok(target) = fs::read_link(descriptor) else {
            return;
        };
        let inode = target.to_str().and_then(inode_of);
        let Some(inode) = inode.filter(|inode| wanted.contains(inode)) else {
            return;
        };
        let pids = self.by_inode.entry(inode).or_default();
        if pids.last() != Some(&pid) {
            pids.push(pid);
        }
    }

    /// Who holds this one.
    pub(crate) fn of(&self, inode: u64) -> &[u32] {
        self.by_inode.get(&inode).map_or(&[], Vec::as_slice)
    }

    /// Everybody who holds any of them.
    pub(crate) fn all(&self) -> HashSet<u32> {
        self.by_inode.values().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn holders_are_found_once_each_and_never_ourselves() {
        let proc = tempfile::tempdir().unwrap();
        let own = std::process::id();
        let (one, other) = (own.wrapping_add(1), own.wrapping_add(2));
        for (pid, links) in [
            (own, ["socket:[7]", "socket:[8]"]),
            (one, ["socket:[7]", "socket:[7]"]),
            (other, ["socket:[9]", "pipe:[7]"]),
        ] {
            let descriptors = proc.path().join(pid.to_string()).join("fd");
            fs::create_dir_all(&descriptors).unwrap();
            for (number, link) in links.iter().enumerate() {
                symlink(link, descriptors.join(number.to_string())).unwrap();
            }
        }
        fs::create_dir_all(proc.path().join("sys/fd")).unwrap();
        let wanted = HashSet::from([7, 8]);
        let nobody = HashSet::new();
        let holders = Holders::search_in(proc.path(), &wanted, &nobody, 100);
        assert!(holders.complete);
        assert_eq!(holders.of(7), [one]);
        assert_eq!(holders.of(8), [0_u32; 0]);
        assert_eq!(holders.of(9), [0_u32; 0], "nobody asked for it");
        assert_eq!(holders.all(), HashSet::from([one]));
        let cut = Holders::search_in(proc.path(), &wanted, &nobody, 3);
        assert!(!cut.complete);
        let but = HashSet::from([one]);
        let holders = Holders::search_in(proc.path(), &wanted, &but, 3);
        assert!(holders.complete && holders.all().is_empty());
    }
}

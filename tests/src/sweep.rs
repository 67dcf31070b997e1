//! What a killed run left behind is removed by the next one.
use crate::{bpffs, place, running, subtree};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Removes the cgroups, mounts, namespaces and directories of runs whose process is gone.
pub fn sweep() {
    if !place::is_root() {
        return;
    }
    if let Ok(cgroup2) = place::cgroup2() {
        for path in stale_entries(&cgroup2) {
            report(&path, subtree::remove(&path));
        }
    }
    for path in stale_mounts() {
        bpffs::unmount(&path);
    }
    for path in stale_entries(Path::new("/run/netns")) {
        if let Some(name) = path.file_name() {
            let removed = running::run(Command::new("ip").args(["netns", "delete"]).arg(name));
            report(&path, removed.map(drop));
        }
    }
    for path in stale_entries(&std::env::temp_dir()) {
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        report(&path, removed.map_err(Into::into));
    }
}

fn report(path: &Path, removed: anyhow::Result<()>) {
    match removed {
        Ok(()) => eprintln!("removed {}, left by an earlier run", path.display()),
        Err(error) => eprintln!("{} was left by an earlier run: {error:#}", path.display()),
    }
}

fn stale_entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_stale(path))
        .collect()
}

fn stale_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let places = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(PathBuf::from);
    places
        .filter(|place| place.ancestors().any(is_stale))
        .collect()
}

/// Ours by its name, and the process that the name tells is gone.
fn is_stale(path: &Path) -> bool {
    let pid = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix(place::PREFIX)?.strip_prefix('-'))
        .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_dead_are_stale() {
        let check = |name: &str, expected: bool| {
            assert_eq!(
                is_stale(Path::new("/x").join(name).as_path()),
                expected,
                "{name}"
            );
        };
        check("gateway-test-999999999-1", true);
        check("gateway-test-999999999-1-aB3", true);
        check(&place::unique_name(), false);
        check("gateway-test", false);
        check("gateway-test-x-1", false);
        check("gateway", false);
        check("postgres", false);
    }
}

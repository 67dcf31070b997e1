//! The cgroup2 hierarchy: where it is mounted, and which cgroups it has.
use crate::error::CaptureError;
use crate::syscall;
use nix::errno::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The cgroup that the programs are attached to.
#[derive(Debug)]
pub struct Root {
    /// Its directory.
    pub directory: PathBuf,
    /// Its path from the cgroup2 mount, without slashes at the ends; empty for the mount.
    pub path: String,
    /// The mount.
    pub mount: PathBuf,
}

/// One cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its id: the inode number of its directory.
    pub id: u64,
    /// Its path from the cgroup2 mount, without slashes at the ends. Any bytes.
    pub path: OsString,
}

/// The first cgroup2 mount, on a unified or a hybrid host.
///
/// # Errors
/// There is none.
pub fn mount() -> Result<PathBuf, CaptureError> {
    let mounts = std::fs::read_to_string("/proc/mounts")
        .map_err(|error| CaptureError::new("read /proc/mounts", &error))?;
    find_mount(&mounts).ok_or(CaptureError::NoCgroup2)
}

fn find_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, target, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(unescape(target)))
    })
}

/// /proc/mounts writes blanks and backslashes in octal (fs/proc_namespace.c: mangle).
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

impl Root {
    /// The configured root; `None` stands for the cgroup2 mount itself.
    ///
    /// # Errors
    /// It is not a directory of a cgroup2 mount.
    pub fn open(configured: Option<&Path>) -> Result<Root, CaptureError> {
        let mount = mount()?;
        let Some(directory) = configured else {
            return Ok(Root {
                directory: mount.clone(),
                path: String::new(),
                mount,
            });
        };
        let wrong = || CaptureError::NotCgroup2 {
            path: directory.to_owned(),
        };
        let directory = directory.canonicalize().map_err(|_| wrong())?;
        let path = directory
            .strip_prefix(&mount)
            .ok()
            .and_then(Path::to_str)
            .ok_or_else(wrong)?
            .to_owned();
        if !directory.join("cgroup.controllers").exists() {
            return Err(wrong());
        }
        Ok(Root {
            directory,
            path,
            mount,
        })
    }

    /// Its directory, opened: what programs are attached to.
    ///
    /// # Errors
    /// It is gone.
    pub fn file(&self) -> Result<File, CaptureError> {
        File::open(&self.directory).map_err(|error| {
            CaptureError::new(format!("open cgroup {}", self.directory.display()), &error)
        })
    }

    /// Is there a cgroup of this id, wherever? Where that cannot be found out, there is.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        syscall::has_cgroup(&self.mount, id) != Err(Errno::ESTALE)
    }

    /// All cgroups at and below the root. One that vanishes meanwhile is left out, and so is one whose
    /// path is longer than the kernel takes.
    #[must_use]
    pub fn cgroups(&self) -> Vec<Cgroup> {
        let mut found = Vec::new();
        let mut open = vec![(self.directory.clone(), OsString::from(&self.path))];
        while let Some((directory, path)) = open.pop() {
            let Ok(metadata) = std::fs::metadata(&directory) else {
                continue;
            };
            let Ok(entries) = std::fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let mut below = path.clone();
                    if !below.is_empty() {
                        below.push("/");
                    }
                    below.push(entry.file_name());
                    open.push((entry.path(), below));
                }
            }
            found.push(Cgroup {
                id: metadata.ino(),
                path,
            });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_on_unified_and_hybrid_hosts() {
        let unified = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n";
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(find_mount(unified), Some("/sys/fs/cgroup".into()));
        assert_eq!(find_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(find_mount("proc /proc proc rw 0 0\n"), None);
        assert_eq!(
            find_mount("x /a\\040b cgroup2 rw 0 0\n"),
            Some("/a b".into())
        );
    }

    #[test]
    fn what_is_not_a_cgroup_is_refused() {
        assert!(matches!(
            Root::open(Some(Path::new("/tmp"))),
            Err(CaptureError::NotCgroup2 { .. })
        ));
        assert!(Root::open(Some(Path::new("/nowhere"))).is_err());
    }
}

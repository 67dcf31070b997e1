//! The pinned state: what stays in force when the daemon dies.
//!
//! ```text
//! bpffs_dir/maps/NAME           one pin per map
//! bpffs_dir/links-HASH/NAME     one pin per program that is attached; HASH names the object
//! bpffs_dir/links-was-HASH/NAME the same, while they are being given other programs
//! ```
//! A set of links is complete when it has all names. It is made under the name `new-HASH` and
//! renamed, so that a daemon which dies in between leaves no half of a set behind. The links of the
//! set before it are pinned in both until then: what dies in between detaches nothing.
use crate::error::CaptureError;
use crate::object::Object;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where the pins of one gateway are.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    directory: PathBuf,
}

impl Pins {
    pub(crate) fn new(directory: &Path) -> Pins {
        Pins {
            directory: directory.to_owned(),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.directory.join("maps").join(name)
    }

    /// The links of an object.
    pub(crate) fn links(&self, object: Object) -> PathBuf {
        self.directory
            .join(format!("links-{}", object.short_hash()))
    }

    /// The links of an object while they are being made.
    pub(crate) fn new_links(&self, object: Object) -> PathBuf {
        self.directory.join(format!("new-{}", object.short_hash()))
    }

    /// Makes the directories, and removes what a daemon that died at this point left.
    pub(crate) fn prepare(&self) -> Result<(), CaptureError> {
        let maps = self.directory.join("maps");
        std::fs::create_dir_all(&maps)
            .map_err(|error| CaptureError::new(format!("make {}", maps.display()), &error))?;
        for entry in self.entries("new-")? {
            remove_tree(&entry)?;
        }
        Ok(())
    }

    /// Gives the sets of links that are there another name: their programs are about to be
    /// replaced, one by one, so no daemon may take them for what the name says. Says where they
    /// are now.
    pub(crate) fn retire_links(&self) -> Result<Vec<PathBuf>, CaptureError> {
        for set in self.entries("links-")? {
            let name = set.file_name().unwrap_or_default().to_string_lossy();
            let Some(hash) = name.strip_prefix("links-") else {
                continue;
            };
            if hash.starts_with("was-") {
                continue;
            }
            let retired = self.directory.join(format!("links-was-{hash}"));
            // Of an earlier replacement that has ended in the set which is renamed now.
            remove_tree(&retired)?;
            std::fs::rename(&set, &retired)
                .map_err(|error| CaptureError::new(format!("rename {}", set.display()), &error))?;
        }
        self.entries("links-was-")
    }

    /// Puts the new set of links in force, and drops all others.
    pub(crate) fn commit_links(&self, object: Object) -> Result<(), CaptureError> {
        let (from, to) = (self.new_links(object), self.links(object));
        if to.exists() {
            remove_tree(&to)?;
        }
        std::fs::rename(&from, &to)
            .map_err(|error| CaptureError::new(format!("rename {}", from.display()), &error))?;
        self.drop_others(object)
    }

    /// Drops all sets of links but that of an object.
    pub(crate) fn drop_others(&self, object: Object) -> Result<(), CaptureError> {
        let own = self.links(object);
        for entry in self.entries("links-")? {
            if entry != own {
                remove_tree(&entry)?;
            }
        }
        Ok(())
    }

    pub(crate) fn entries(&self, prefix: &str) -> Result<Vec<PathBuf>, CaptureError> {
        let what = || format!("read {}", self.directory.display());
        let mut found = Vec::new();
        for entry in
            std::fs::read_dir(&self.directory).map_err(|error| CaptureError::new(what(), &error))?
        {
            let entry = entry.map_err(|error| CaptureError::new(what(), &error))?;
            let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            // bpffs has files of its own, such as maps.debug.
            if directory && entry.file_name().to_string_lossy().starts_with(prefix) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }
}

/// bpffs has directories and pins only.
fn remove_tree(path: &Path) -> Result<(), CaptureError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(CaptureError::new(
            format!("remove {}", path.display()),
            &error,
        )),
        _ => Ok(()),
    }
}

/// Detaches everything: removes all pins, and the mount when it is the gateway's own. To be called
/// when no daemon runs: a running one holds its links. Can be repeated. Says whether anything was
/// there.
///
/// # Errors
/// Something could not be removed; what was removed stays so.
pub fn uninstall(bpffs_dir: &Path) -> Result<bool, CaptureError> {
    let there = bpffs_dir.exists();
    if !there {
        return Ok(false);
    }
    // Links first: while the maps are there, what still runs is still judged.
    let pins = Pins::new(bpffs_dir);
    let mut any = false;
    for prefix in ["new-", "links-", "maps"] {
        for entry in pins.entries(prefix)? {
            any = true;
            remove_tree(&entry)?;
        }
    }
    // A mount point of our own; EINVAL says that it is none.
    let _ = nix::mount::umount2(bpffs_dir, nix::mount::MntFlags::MNT_DETACH);
    match std::fs::remove_dir(bpffs_dir) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(CaptureError::new(
                format!("remove {}", bpffs_dir.display()),
                &error,
            ))
        }
        _ => Ok(any),
    }
}

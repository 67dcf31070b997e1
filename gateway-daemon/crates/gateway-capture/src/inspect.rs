//! What is in the bpffs directory, and who put it there. Only looks.
use crate::attach::{self, is_complete};
use crate::error::CaptureError;
use crate::host;
use crate::maps::{PINNED, check_version};
use crate::object::Object;
use crate::pins::Pins;
use crate::syscall::open_pin;
use crate::{debug, seal};
use aya::maps::MapInfo;
use aya::programs::ProgramInfo;
use aya::programs::links::{FdLink, PinnedLink};
use nix::sys::statfs::{BPF_FS_MAGIC, FsType, statfs};
use nix::sys::statvfs::FsFlags;
use nix::unistd::{AccessFlags, eaccess};
use std::collections::HashSet;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a start would find where it pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The directory is there, on a bpffs.
    There,
    /// It would be made, on a bpffs that is mounted.
    Made,
    /// A bpffs would be mounted for it.
    Mounted,
    /// It cannot be written.
    ReadOnly,
}

/// Looks where the pins of a gateway are, or would be.
///
/// # Errors
/// The kernel has no bpffs, or the caller may not look.
pub fn place(directory: &Path) -> Result<Place, CaptureError> {
    let look = |error: &(dyn std::error::Error + 'static)| {
        CaptureError::new(format!("look at {}", directory.display()), error)
    };
    let exists = |path: &Path| exists(path).map_err(|error| look(&error));
    let mount_point = host::bpffs_place(directory);
    if mount_point != directory && !exists(mount_point)? {
        return Err(CaptureError::System {
            what: format!("find {}", mount_point.display()),
            detail: "the kernel has no bpffs, or sysfs is not mounted".into(),
        });
    }
    let there = exists(directory)?;
    let mut nearest = if there { directory } else { mount_point };
    while !exists(nearest)? {
        nearest = nearest.parent().unwrap_or(Path::new("/"));
    }
    let found = statfs(nearest).map_err(|error| look(&std::io::Error::from(error)))?;
    let on_bpffs = found.filesystem_type() == BPF_FS_MAGIC;
    // What is mounted over does not have to be writable.
    if !on_bpffs && (there || nearest == mount_point) {
        return Ok(Place::Mounted);
    }
    if found.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(Place::ReadOnly);
    }
    eaccess(nearest, AccessFlags::W_OK).map_err(|error| look(&std::io::Error::from(error)))?;
    Ok(match (there, on_bpffs) {
        (true, _) => Place::There,
        (false, true) => Place::Made,
        (false, false) => Place::Mounted,
    })
}

fn exists(path: &Path) -> std::io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is pinned.
#[derive(Debug, Default)]
pub struct Left {
    /// All programs of this build are attached.
    pub attached: bool,
    /// And those of BPF LSM.
    pub sealed: bool,
    /// Sets of links of other builds: a daemon of this one replaces them.
    pub other_builds: Vec<PathBuf>,
    /// Why a daemon of this version could not take over what is there.
    pub conflict: Option<CaptureError>,
    /// What no gateway has put there, each in words.
    pub foreign: Vec<String>,
}

/// Looks at the pins in a directory. A directory that is not there has none.
///
/// # Errors
/// The caller may not look.
pub fn left(directory: &Path) -> Result<Left, CaptureError> {
    let fail = |error: &(dyn std::error::Error + 'static)| {
        CaptureError::new(format!("read {}", directory.display()), error)
    };
    let on_bpffs = match statfs(directory) {
        Ok(found) => is_bpffs(found.filesystem_type()),
        Err(nix::Error::ENOENT) => false,
        Err(error) => return Err(fail(&std::io::Error::from(error))),
    };
    if !on_bpffs {
        return Ok(Left::default());
    }
    let pins = Pins::new(directory);
    let mut left = Left {
        attached: [Object::Plain, Object::Debug]
            .iter()
            .any(|object| is_complete(&pins.links(*object))),
        sealed: [Object::Plain, Object::Debug]
            .iter()
            .any(|object| seal::is_complete(&pins.links(*object))),
        ..Left::default()
    };
    let own = [Object::Plain, Object::Debug].map(|object| pins.links(object));
    for entry in std::fs::read_dir(directory).map_err(|error| fail(&error))? {
        let path = entry.map_err(|error| fail(&error))?.path();
        let name = name_of(&path);
        if name == "maps" {
            look_at_maps(&path, &mut left)?;
        } else if own.contains(&path) || name.starts_with("new-") {
            look_at_links(&path, &mut left)?;
        } else if name.starts_with("links-") {
            look_at_links(&path, &mut left)?;
            left.other_builds.push(path);
        } else if !KERNELS_OWN.contains(&name.as_str()) {
            left.foreign.push(describe(&path)?);
        }
    }
    left.foreign.sort();
    Ok(left)
}

/// What the kernel itself puts at the top of a bpffs (`kernel/bpf/preload`).
const KERNELS_OWN: [&str; 2] = ["maps.debug", "progs.debug"];

fn is_bpffs(kind: FsType) -> bool {
    kind == BPF_FS_MAGIC
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, CaptureError> {
    let fail = |error: &(dyn std::error::Error + 'static)| {
        CaptureError::new(format!("read {}", directory.display()), error)
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|error| fail(&error))? {
        paths.push(entry.map_err(|error| fail(&error))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn look_at_maps(directory: &Path, left: &mut Left) -> Result<(), CaptureError> {
    for path in entries(directory)? {
        let name = name_of(&path);
        let known = PINNED.contains(&name.as_str()) || name == debug::MAP;
        if known && map_name(&path)?.is_some_and(|found| found == name) {
            continue;
        }
        let what = describe(&path)?;
        if known {
            // A start would take it for its own map.
            left.conflict = Some(CaptureError::System {
                what: format!("use {}", path.display()),
                detail: format!("there is {what}"),
            });
        }
        left.foreign.push(what);
    }
    let config = directory.join("CONFIG");
    if left.conflict.is_none() && config.exists() {
        left.conflict = version_conflict(directory, &config)?;
    }
    Ok(())
}

fn version_conflict(directory: &Path, config: &Path) -> Result<Option<CaptureError>, CaptureError> {
    match check_version(config, directory.parent().unwrap_or(directory)) {
        Ok(()) => Ok(None),
        Err(error @ CaptureError::NotPermitted { .. }) => Err(error),
        Err(error) => Ok(Some(error)),
    }
}

fn look_at_links(directory: &Path, left: &mut Left) -> Result<(), CaptureError> {
    for path in entries(directory)? {
        let name = name_of(&path);
        let known = attach::names().any(|known| known == name) || seal::hook(&name).is_some();
        if !known || program_of(&path)?.is_none() {
            left.foreign.push(describe(&path)?);
        }
    }
    Ok(())
}

/// The ids of the programs whose links are pinned in this directory.
///
/// # Errors
/// The caller may not look.
pub fn programs(directory: &Path) -> Result<HashSet<u32>, CaptureError> {
    let pins = Pins::new(directory);
    let mut ids = HashSet::new();
    if !directory.is_dir() {
        return Ok(ids);
    }
    for prefix in ["links-", "new-"] {
        for set in pins.entries(prefix)? {
            for path in entries(&set)? {
                ids.extend(program_of(&path)?);
            }
        }
    }
    Ok(ids)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn program_of(path: &Path) -> Result<Option<u32>, CaptureError> {
    if kind(path)? != Some(Kind::Link) {
        return Ok(None);
    }
    let link = PinnedLink::from_pin(path).map_err(|error| look(path, &error))?;
    let info = FdLink::from(link).info();
    let info = info.map_err(|error| look(path, &error))?;
    Ok(Some(info.program_id()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Map,
    Program,
    Link,
}

fn look(path: &Path, error: &(dyn std::error::Error + 'static)) -> CaptureError {
    CaptureError::new(format!("look at {}", path.display()), error)
}

/// What a pin is; `None` when it is none. The kernel says it in the name of the descriptor
/// (bpf_anon_inode).
fn kind(path: &Path) -> Result<Option<Kind>, CaptureError> {
    let fail = |error: nix::Error| look(path, &std::io::Error::from(error));
    let pin = match open_pin(path) {
        Ok(pin) => pin,
        Err(error @ nix::Error::EPERM) => return Err(fail(error)),
        // The kernel's word for what is no pin, too.
        Err(nix::Error::EACCES) => {
            eaccess(path, AccessFlags::R_OK | AccessFlags::W_OK).map_err(fail)?;
            return Ok(None);
        }
        Err(_) => return Ok(None),
    };
    let name = std::fs::read_link(format!("/proc/self/fd/{}", pin.as_raw_fd()))
        .map_err(|error| look(path, &error))?;
    Ok(match name.to_str() {
        Some("anon_inode:bpf-map") => Some(Kind::Map),
        Some("anon_inode:bpf-prog") => Some(Kind::Program),
        Some("anon_inode:bpf_link" | "anon_inode:bpf-link") => Some(Kind::Link),
        _ => None,
    })
}

fn map_name(path: &Path) -> Result<Option<String>, CaptureError> {
    if kind(path)? != Some(Kind::Map) {
        return Ok(None);
    }
    let info = MapInfo::from_pin(path).map_err(|error| look(path, &error))?;
    Ok(info.name_as_str().map(str::to_owned))
}

/// A pin in words: what it is, and whose.
fn describe(path: &Path) -> Result<String, CaptureError> {
    let found = std::fs::metadata(path).map_err(|error| look(path, &error))?;
    let what = match kind(path)? {
        Some(Kind::Map) => format!("the map {:?}", map_name(path)?.unwrap_or_default()),
        Some(Kind::Program) => {
            let info = ProgramInfo::from_pin(path).map_err(|error| look(path, &error))?;
            format!("the program {:?}", info.name_as_str().unwrap_or_default())
        }
        Some(Kind::Link) => "a link".to_owned(),
        None if found.is_dir() => "a directory".to_owned(),
        None => "a file".to_owned(),
    };
    Ok(format!(
        "{what} at {} of uid {}",
        path.display(),
        found.uid()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_files_has_no_pins_and_would_be_mounted_over() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(place(directory.path()).unwrap(), Place::Mounted);
        assert_eq!(
            place(&directory.path().join("a/b")).unwrap(),
            Place::Mounted
        );
        let left = left(directory.path()).unwrap();
        assert!(left.foreign.is_empty() && !left.attached && left.conflict.is_none());
        assert!(programs(directory.path()).unwrap().is_empty());
        assert!(!directory.path().join("a").exists(), "it only looks");
    }
}

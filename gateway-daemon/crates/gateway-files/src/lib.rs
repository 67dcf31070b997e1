//! The daemon's files that are there whole or not at all, whatever interrupts their writing.
//!
//! A file is written beside the one whose place it takes, and renamed over it (rename(2): whoever
//! opens the name finds the one or the other). Who writes a file is alone in that: the daemon has the
//! lock of its state directory.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod sealed;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a file outlives, once it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// The daemon, killed at any moment: enough for what means nothing after a reboot.
    Process,
    /// A power loss: it is on the disk, and so is its name.
    Disk,
}

/// Only for the daemon.
pub const PRIVATE: u32 = 0o600;

/// Puts a file of these parts, in their order, in the place of what has that name. Gives the new
/// file, open for appending.
///
/// # Errors
/// It could not be written. Then the old one is there, or, after an error at the very end, the new
/// one, of which it is not certain that it outlives a power loss.
pub fn replace(path: &Path, mode: u32, lasting: Lasting, parts: &[&[u8]]) -> io::Result<File> {
    let beside = beside(path);
    // Of somebody who was interrupted. What is there is not opened: it could be a link.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    for part in parts {
        file.write_all(part)?;
    }
    if lasting == Lasting::Disk {
        file.sync_all()?;
    }
    fs::rename(&beside, path)?;
    if lasting == Lasting::Disk {
        // A name in a directory lasts once the directory is on the disk.
        File::open(directory(path))?.sync_all()?;
    }
    Ok(file)
}

/// Where it is written: what has that name is never taken for whole.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn a_file_takes_the_place_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.bin");
        for (lasting, text) in [(Lasting::Process, "one"), (Lasting::Disk, "other")] {
            let mut file = replace(&path, PRIVATE, lasting, &[b"the ", text.as_bytes()]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("the {text}"));
            file.write_all(b" more").unwrap();
            assert!(fs::read_to_string(&path).unwrap().ends_with(" more"));
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, PRIVATE);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_was_left_behind_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("a"), directory.path().join("other"));
        fs::write(&other, "stays").unwrap();
        symlink(&other, directory.path().join("a.new")).unwrap();
        replace(&path, 0o644, Lasting::Process, &[b"new"]).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "stays");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "old").unwrap();
        fs::create_dir(directory.path().join("a.new")).unwrap();
        replace(&path, PRIVATE, Lasting::Disk, &[b"new"]).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        replace(
            &directory.path().join("none/a"),
            PRIVATE,
            Lasting::Disk,
            &[],
        )
        .unwrap_err();
    }

    #[test]
    fn a_name_alone_is_in_the_working_directory() {
        assert_eq!(directory(Path::new("a")), Path::new("."));
        assert_eq!(directory(Path::new("/a")), Path::new("/"));
        assert_eq!(directory(Path::new("b/a")), Path::new("b"));
    }
}

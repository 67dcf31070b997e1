//! The programs of BPF LSM, by which the tier is `seal`. All of them are attached, or none: where one
//! cannot be, the gateway goes on in the lower tier, and says why.
use crate::attach::{program, wrong_kind};
use crate::btf;
use crate::error::CaptureError;
use aya::programs::Program;
use aya::programs::links::FdLink;
use aya::{Btf, Ebpf};
use gateway_common::config::SealOffsets;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The programs, and the hooks that they are for.
pub(crate) const PROGRAMS: [(&str, &str); 30] = [
    ("judge_family", "socket_create"),
    ("own_socket", "socket_post_create"),
    ("judge_unix_stream", "unix_stream_connect"),
    ("judge_unix_datagram", "unix_may_send"),
    ("judge_received", "file_receive"),
    ("judge_trace", "ptrace_access_check"),
    ("judge_bpf", "bpf"),
    ("keep_file", "inode_unlink"),
    ("keep_directory", "inode_rmdir"),
    ("keep_name", "inode_rename"),
    ("keep_mount", "sb_umount"),
    ("judge_open", "file_open"),
    ("judge_ioctl", "file_ioctl"),
    ("judge_mount", "fs_context_parse_param"),
    ("judge_code", "kernel_load_data"),
    ("judge_code_file", "kernel_read_file"),
    ("judge_netlink", "netlink_send"),
    ("judge_option", "socket_setsockopt"),
    ("judge_map", "mmap_file"),
    ("judge_key", "key_alloc"),
    ("guard_create", "inode_create"),
    ("guard_mknod", "inode_mknod"),
    ("guard_mkdir", "inode_mkdir"),
    ("guard_symlink", "inode_symlink"),
    ("guard_link", "inode_link"),
    ("guard_attributes", "inode_setattr"),
    ("guard_mount", "sb_mount"),
    ("guard_moved_mount", "move_mount"),
    ("guard_root", "sb_pivotroot"),
    ("guard_daemon", "task_kill"),
];

/// Which security modules are active, in the order in which they are asked.
const ACTIVE: &str = "/sys/kernel/security/lsm";
/// The mounts of process 1.
const HOST_MOUNTS: &str = "/proc/1/ns/mnt";

/// Why the tier is not `seal`, in words.
pub type Unsealed = String;

/// Is BPF LSM active? Programs can be attached where it is not, and are never called.
///
/// # Errors
/// It is not, or the kernel does not say.
pub fn active() -> Result<(), Unsealed> {
    match std::fs::read_to_string(ACTIVE) {
        Ok(list) if list.trim().split(',').any(|name| name == "bpf") => Ok(()),
        Ok(list) => Err(format!("BPF LSM is not active ({})", list.trim())),
        Err(error) => Err(format!(
            "whether BPF LSM is active is not known: {ACTIVE}: {error}"
        )),
    }
}

/// The offsets that the programs need.
///
/// # Errors
/// The kernel lacks a field, or /proc does not say which mounts are the host's.
pub(crate) fn offsets(types: &btf::Types) -> Result<SealOffsets, CaptureError> {
    let mounts = std::fs::metadata(HOST_MOUNTS)
        .map_err(|error| CaptureError::new(format!("look at {HOST_MOUNTS}"), &error))?;
    Ok(SealOffsets {
        // An inode number of nsfs has 32 bits.
        host_mounts: mounts.ino() as u32,
        ..btf::seal_offsets_in(types)?
    })
}

/// The programs are attached already, by an earlier daemon.
pub(crate) fn is_complete(links: &Path) -> bool {
    PROGRAMS.iter().all(|(name, _)| links.join(name).exists())
}

/// Attaches the programs, and pins their links in this directory, unless they are there.
pub(crate) fn attach(
    ebpf: &mut Ebpf,
    types: &Btf,
    place: &Path,
    lacking: &Result<(), Unsealed>,
) -> Result<(), Unsealed> {
    if is_complete(place) {
        return Ok(());
    }
    active()?;
    lacking.clone()?;
    let links = attach_all(ebpf, types).map_err(|error| error.to_string())?;
    // Of an earlier daemon that died at this point.
    clear(place);
    for (name, link) in links {
        // A dropped link detaches; a pinned one stays.
        if let Err(error) = link.pin(place.join(name)) {
            clear(place);
            return Err(format!("the program {name} cannot be pinned: {error}"));
        }
    }
    Ok(())
}

/// Takes the links away that are there: a set that is not whole is none.
fn clear(place: &Path) {
    for (name, _) in PROGRAMS {
        // It fails where there is none.
        let _ = std::fs::remove_file(place.join(name));
    }
}

fn attach_all(ebpf: &mut Ebpf, types: &Btf) -> Result<Vec<(&'static str, FdLink)>, CaptureError> {
    let mut links = Vec::new();
    for (name, hook) in PROGRAMS {
        let fail = |error: &(dyn std::error::Error + 'static)| {
            CaptureError::new(format!("load the program {name}"), error)
        };
        let Program::Lsm(lsm) = program(ebpf, name)? else {
            return Err(wrong_kind(name));
        };
        lsm.load(hook, types).map_err(|error| fail(&error))?;
        let id = lsm.attach().map_err(|error| fail(&error))?;
        let link = lsm.take_link(id).map_err(|error| fail(&error))?;
        links.push((name, link.into()));
    }
    Ok(links)
}

/// The hook of a program; `None`: it is none of these.
pub(crate) fn hook(name: &str) -> Option<&'static str> {
    let found = PROGRAMS.iter().find(|(program, _)| *program == name);
    found.map(|(_, hook)| *hook)
}

impl crate::Capture {
    /// Is the tier `seal`?
    ///
    /// # Errors
    /// It is not, for this reason.
    pub fn sealed(&self) -> Result<(), &str> {
        self.sealed.as_ref().copied().map_err(String::as_str)
    }

    /// Says that a unix socket that listens is the gateway's: governed processes reach it. To be called
    /// before it is served.
    ///
    /// # Errors
    /// The map cannot be written.
    pub fn own_socket(&self, listener: BorrowedFd<'_>) -> Result<(), CaptureError> {
        self.write().own(listener.as_raw_fd())
    }
}

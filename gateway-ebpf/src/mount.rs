//! `lsm/fs_context_parse_param` (vfs_parse_fs_param): a file system is being set up, by mount(2) or by
//! fsopen(2) and fsconfig(2), which no hook for mounts sees before the file system has spoken to a server.
//! Each has at least its source as a parameter.
//!
//! Governed processes set up file systems of block devices, and those that stay within the host; what
//! speaks to others (NFS, CIFS, Ceph, 9P …) is refused, and so is naming a program for the kernel to start
//! (release_agent). -ENOPARAM goes on. Closes row 39.
use crate::kernel::{self, Address};
use crate::seal::{self, PASS};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;

/// What a hook returns that does not know the parameter (security_fs_context_parse_param).
const ENOPARAM: i32 = 519;
const FS_REQUIRES_DEV: u32 = 1;

/// What has no device and stays within the host.
const LOCAL: [[u8; 16]; 20] = [
    padded(b"proc"),
    padded(b"sysfs"),
    padded(b"tmpfs"),
    padded(b"devtmpfs"),
    padded(b"devpts"),
    padded(b"cgroup"),
    padded(b"cgroup2"),
    padded(b"overlay"),
    padded(b"fuse"),
    padded(b"mqueue"),
    padded(b"ramfs"),
    padded(b"hugetlbfs"),
    padded(b"bpf"),
    padded(b"securityfs"),
    padded(b"debugfs"),
    padded(b"tracefs"),
    padded(b"configfs"),
    padded(b"pstore"),
    padded(b"binfmt_misc"),
    padded(b"autofs"),
];

const fn padded(name: &[u8]) -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut index = 0;
    while index < name.len() {
        bytes[index] = name[index];
        index += 1;
    }
    bytes
}

#[lsm(hook = "fs_context_parse_param")]
pub fn judge_mount(ctx: LsmContext) -> i32 {
    let caller = match seal::caller() {
        Err(PASS) => return -ENOPARAM,
        Err(verdict) => return verdict,
        Ok(caller) => caller,
    };
    if is_local(ctx.arg::<*const c_void>(0), ctx.arg::<*const c_void>(1)) == Some(true) {
        return -ENOPARAM;
    }
    match seal::deny(&caller, refused::MOUNT) {
        PASS => -ENOPARAM,
        verdict => verdict,
    }
}

#[inline(always)]
fn is_local(context: Address, parameter: Address) -> Option<bool> {
    if kernel::parameter(parameter)? == padded(b"release_agent") {
        return Some(false);
    }
    let (name, flags) = kernel::file_system(context)?;
    if flags & FS_REQUIRES_DEV != 0 {
        return Some(true);
    }
    let mut index = 0;
    while index < LOCAL.len() {
        if name == LOCAL[index] {
            return Some(true);
        }
        index += 1;
    }
    Some(false)
}

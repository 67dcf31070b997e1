//! `lsm/inode_unlink`, `inode_rmdir`, `inode_rename` (vfs_unlink, vfs_rmdir, vfs_rename) and `lsm/sb_umount`
//! (path_umount): something is removed or moved, or a file system is taken away.
//!
//! What a bpffs holds, governed processes leave alone: with the pins the programs would go. So
//! would they with the file system, also by a lazy unmount of one above it: that is refused where the host
//! would see it. Nor do they take away or replace what is guarded (`guard.rs`). Closes row 37, with
//! `command.rs`.
use crate::guard;
use crate::kernel::{self, Address};
use crate::seal::{self, PASS};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;

const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
const MNT_DETACH: i32 = 2;

#[lsm(hook = "inode_unlink")]
pub fn keep_file(ctx: LsmContext) -> i32 {
    judge(ctx.arg::<*const c_void>(0), ctx.arg::<*const c_void>(1))
}

#[lsm(hook = "inode_rmdir")]
pub fn keep_directory(ctx: LsmContext) -> i32 {
    judge(ctx.arg::<*const c_void>(0), ctx.arg::<*const c_void>(1))
}

#[lsm(hook = "inode_rename")]
pub fn keep_name(ctx: LsmContext) -> i32 {
    match judge(ctx.arg::<*const c_void>(0), ctx.arg::<*const c_void>(1)) {
        PASS => judge(ctx.arg::<*const c_void>(2), ctx.arg::<*const c_void>(3)),
        verdict => verdict,
    }
}

#[lsm(hook = "sb_umount")]
pub fn keep_mount(ctx: LsmContext) -> i32 {
    let mount: Address = ctx.arg::<*const c_void>(0);
    let flags: i32 = ctx.arg(1);
    if kernel::magic_of_mount(mount) == Some(BPF_FS_MAGIC) || takes_others(mount, flags) {
        return match seal::caller() {
            Err(verdict) => verdict,
            Ok(caller) => seal::deny(&caller, refused::PINS),
        };
    }
    PASS
}

/// Do the mounts below this one go with it, where the host sees it?
#[inline(always)]
fn takes_others(mount: Address, flags: i32) -> bool {
    flags & MNT_DETACH != 0
        && (kernel::is_shared(mount) || kernel::has_mounts_of_host(kernel::current()))
}

/// `directory` is where `dentry` is to go from, or to.
#[inline(always)]
fn judge(directory: Address, dentry: Address) -> i32 {
    let caller = match seal::caller() {
        Err(verdict) => return verdict,
        Ok(caller) => caller,
    };
    if kernel::magic_of(directory) == Some(BPF_FS_MAGIC) {
        return seal::deny(&caller, refused::PINS);
    }
    if guard::of(dentry) != 0 {
        return seal::deny(&caller, refused::GUARDED);
    }
    PASS
}

//! Files that governed processes leave alone: the gateway's policies, state, socket and binary, and those
//! that have others work (tables of cron, units of systemd). `lsm/inode_create`, `inode_mknod`,
//! `inode_mkdir`, `inode_symlink`, `inode_link` (vfs_create and its kin), `inode_setattr` (notify_change),
//! `sb_mount`, `move_mount` (path_mount, move_mount), `sb_pivotroot` (pivot_root), and `task_kill`
//! (check_kill_permission) for the gateway's process. Opening is judged by `device.rs`, removing and
//! renaming by `pinned.rs`.
//!
//! A file is known by its inode, and found from anything below it, however it is reached: by another
//! mount, by /proc/PID/root, by a descriptor. Closes rows 30 and 62.
use crate::governed;
use crate::kernel::{self, Address};
use crate::maps::{GUARDED, LESSON};
use crate::seal::{self, PASS};
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use core::ptr;
use gateway_common::event::refused;
use gateway_common::guard::{DEPTH_MAX, guarded};

/// What mount(2) changes in a mount that is there already: MS_REMOUNT, and to whom it is shared.
const MS_ON_THE_SPOT: u64 = 0x20 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;

/// How a file is guarded, by itself or by what it is in; 0: it is not.
#[inline(always)]
pub(crate) fn of(dentry: Address) -> u64 {
    let mut how = alone(dentry);
    let mut below = dentry;
    let mut depth = 0;
    while depth < DEPTH_MAX {
        let Some(above) = kernel::parent_of(below) else {
            break;
        };
        if above == below {
            break;
        }
        how |= alone(above) & !guarded::ABOVE;
        below = above;
        depth += 1;
    }
    how
}

#[inline(always)]
fn alone(dentry: Address) -> u64 {
    let Some(inode) = kernel::inode_of_dentry(dentry) else {
        return 0;
    };
    // A name that nothing has yet.
    if inode.is_null() {
        return 0;
    }
    let Some(file) = kernel::identity_of(inode) else {
        return 0;
    };
    // SAFETY: copied at once.
    unsafe { GUARDED.get(file) }.map_or(0, |value| *value & guarded::HOW)
}

/// Does a governed process not open this?
#[inline(always)]
pub(crate) fn is_shut(file: Address) -> bool {
    let Some(dentry) = kernel::dentry_of(file) else {
        return true;
    };
    let against = if kernel::is_writable(file) {
        guarded::CLOSED
    } else {
        guarded::SECRET
    };
    of(dentry) & against != 0
}

/// Guards the file that the daemon opens, where it has said so.
#[inline(always)]
pub(crate) fn learn(file: Address) {
    let Some(lesson) = LESSON.get(0) else {
        return;
    };
    let id = bpf_get_current_pid_tgid();
    let (thread, process) = (id & 0xffff_ffff, (id >> 32) as u32);
    if lesson.thread != thread || governed::configuration().is_none_or(|c| c.daemon_tgid != process)
    {
        return;
    }
    if let Some(inode) = kernel::inode_of(file)
        && let Some(file) = kernel::identity_of(inode)
    {
        // The daemon looks whether it is there.
        let _ = GUARDED.insert(file, lesson.value, 0);
    }
}

/// Refuses a governed process what changes one of these.
#[inline(always)]
fn judge(dentry: Address, against: u64) -> i32 {
    match seal::caller() {
        Err(verdict) => verdict,
        Ok(caller) if of(dentry) & against != 0 => seal::deny(&caller, refused::GUARDED),
        Ok(_) => PASS,
    }
}

#[lsm(hook = "inode_create")]
pub fn guard_create(ctx: LsmContext) -> i32 {
    judge(ctx.arg::<*const c_void>(1), guarded::CLOSED)
}

#[lsm(hook = "inode_mknod")]
pub fn guard_mknod(ctx: LsmContext) -> i32 {
    judge(ctx.arg::<*const c_void>(1), guarded::CLOSED)
}

#[lsm(hook = "inode_mkdir")]
pub fn guard_mkdir(ctx: LsmContext) -> i32 {
    judge(ctx.arg::<*const c_void>(1), guarded::CLOSED)
}

#[lsm(hook = "inode_symlink")]
pub fn guard_symlink(ctx: LsmContext) -> i32 {
    judge(ctx.arg::<*const c_void>(1), guarded::CLOSED)
}

/// By a second name, elsewhere, nothing would be found.
#[lsm(hook = "inode_link")]
pub fn guard_link(ctx: LsmContext) -> i32 {
    match judge(ctx.arg::<*const c_void>(0), guarded::HOW) {
        PASS => judge(ctx.arg::<*const c_void>(2), guarded::CLOSED),
        verdict => verdict,
    }
}

#[lsm(hook = "inode_setattr")]
pub fn guard_attributes(ctx: LsmContext) -> i32 {
    // Each is read, volatile: the compiler would read one at an address that it chooses first, which
    // the verifier of 6.12 does not allow of a context.
    let arguments = ctx.as_ptr().cast::<Address>();
    // SAFETY: the hook has two arguments at least.
    let (first, second) = unsafe {
        (
            ptr::read_volatile(arguments),
            ptr::read_volatile(arguments.add(1)),
        )
    };
    let dentry = match kernel::argument_of_setattr() {
        0 => first,
        _ => second,
    };
    judge(dentry, guarded::CLOSED)
}

#[lsm(hook = "sb_mount")]
pub fn guard_mount(ctx: LsmContext) -> i32 {
    let flags: u64 = ctx.arg(3);
    if flags & MS_ON_THE_SPOT != 0 {
        return PASS;
    }
    judge_place(ctx.arg::<*const c_void>(1))
}

#[lsm(hook = "move_mount")]
pub fn guard_moved_mount(ctx: LsmContext) -> i32 {
    judge_place(ctx.arg::<*const c_void>(1))
}

/// What is mounted over is not found any more by its path, where the host sees the mount.
#[inline(always)]
fn judge_place(path: Address) -> i32 {
    let shared = kernel::mount_of_path(path).is_none_or(kernel::is_shared);
    if !shared && !kernel::has_mounts_of_host(kernel::current()) {
        return PASS;
    }
    match kernel::dentry_of_path(path) {
        Some(dentry) => judge(dentry, guarded::HOW),
        None => PASS,
    }
}

/// Another root for all processes of the host.
#[lsm(hook = "sb_pivotroot")]
pub fn guard_root(_: LsmContext) -> i32 {
    if !kernel::has_mounts_of_host(kernel::current()) {
        return PASS;
    }
    match seal::caller() {
        Err(verdict) => verdict,
        Ok(caller) => seal::deny(&caller, refused::GUARDED),
    }
}

/// Whoever ends the gateway cuts itself off, or waits for `when_down` to let it pass.
#[lsm(hook = "task_kill")]
pub fn guard_daemon(ctx: LsmContext) -> i32 {
    let task: Address = ctx.arg::<*const c_void>(0);
    let (Some(tgid), Some(config)) = (kernel::tgid(task), governed::configuration()) else {
        return PASS;
    };
    if tgid != config.daemon_tgid || kernel::start(task) != Some(config.daemon_start) {
        return PASS;
    }
    match seal::caller() {
        Err(verdict) => verdict,
        Ok(caller) => seal::deny(&caller, refused::SIGNAL),
    }
}

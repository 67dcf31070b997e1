//! `lsm/file_open` (do_dentry_open): a file is opened. `lsm/file_ioctl` (ioctl): it is told something.
//!
//! Governed processes do not open the devices by which packets are made (TUN/TAP, vhost, ppp), others'
//! keyboards are played (uinput), or the memory is seen, however they are named; nor, for writing, the
//! files that say what the kernel starts (core_pattern, modprobe, release_agent, uevent_helper), by what
//! it runs others' programs (binfmt_misc), or whom it speaks to (configfs); nor what is guarded (`guard.rs`).
//! Nor do they type into terminals (TIOCSTI), which may be others'. Closes rows 22, 54.
use crate::guard;
use crate::kernel::{self, Address};
use crate::seal::{self, PASS};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;

const PROC_SUPER_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;
const CGROUP_SUPER_MAGIC: u64 = 0x27_e0eb;
const CONFIGFS_MAGIC: u64 = 0x6265_6570;
const BINFMTFS_MAGIC: u64 = 0x4249_4e4d;

/// `MKDEV` of the kernel.
const fn number(major: u32, minor: u32) -> u32 {
    major << 20 | minor
}

const MEM: u32 = number(1, 1);
const KMEM: u32 = number(1, 2);
const PORT: u32 = number(1, 4);
const TUN: u32 = number(10, 200);
const VHOST_NET: u32 = number(10, 238);
const VHOST_VSOCK: u32 = number(10, 241);
const UINPUT: u32 = number(10, 223);
const PPP: u32 = number(108, 0);

/// Puts a character into the input of a terminal.
const TIOCSTI: u32 = 0x5412;

#[lsm(hook = "file_open")]
pub fn judge_open(ctx: LsmContext) -> i32 {
    let file: Address = ctx.arg::<*const c_void>(0);
    let caller = match seal::caller() {
        Err(verdict) => {
            guard::learn(file);
            return verdict;
        }
        Ok(caller) => caller,
    };
    let reason = match reason(file) {
        None if guard::is_shut(file) => refused::GUARDED,
        None => return PASS,
        Some(reason) => reason,
    };
    seal::deny(&caller, reason)
}

/// Why a governed process does not open this; `None`: it may.
#[inline(always)]
fn reason(file: Address) -> Option<u32> {
    let inode = kernel::inode_of(file)?;
    if makes_packets(inode) {
        return Some(refused::DEVICE_FILE);
    }
    let magic = kernel::magic_of(inode)?;
    let is_named = |name: &[u8; 16]| -> Option<bool> {
        Some(kernel::name_of(kernel::dentry_of(file)?)? == *name)
    };
    if magic == PROC_SUPER_MAGIC && is_named(b"kcore\0\0\0\0\0\0\0\0\0\0\0")? {
        return Some(refused::DEVICE_FILE);
    }
    if !kernel::is_writable(file) {
        return None;
    }
    let commands = match magic {
        PROC_SUPER_MAGIC => {
            is_named(b"core_pattern\0\0\0\0")?
                || is_named(b"modprobe\0\0\0\0\0\0\0\0")?
                || is_named(b"hotplug\0\0\0\0\0\0\0\0\0")?
                || is_named(b"poweroff_cmd\0\0\0\0")?
        }
        SYSFS_MAGIC => is_named(b"uevent_helper\0\0\0")?,
        CGROUP_SUPER_MAGIC => is_named(b"release_agent\0\0\0")?,
        CONFIGFS_MAGIC | BINFMTFS_MAGIC => true,
        _ => false,
    };
    if commands {
        Some(refused::KERNEL_FILE)
    } else {
        None
    }
}

#[lsm(hook = "file_ioctl")]
pub fn judge_ioctl(ctx: LsmContext) -> i32 {
    let command: u32 = ctx.arg(1);
    if command != TIOCSTI {
        return PASS;
    }
    match seal::caller() {
        Err(verdict) => verdict,
        Ok(caller) => seal::deny(&caller, refused::DEVICE_FILE),
    }
}

/// Is it a device by which packets are made, others are acted for, or the memory is seen?
#[inline(always)]
pub(crate) fn makes_packets(inode: Address) -> bool {
    matches!(
        kernel::character_device(inode),
        Some(MEM | KMEM | PORT | TUN | VHOST_NET | VHOST_VSOCK | UINPUT | PPP)
    )
}

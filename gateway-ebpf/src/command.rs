//! `lsm/bpf` (__sys_bpf): the system call bpf() is made.
//!
//! Governed processes load nothing, and reach nothing that is loaded: not the gateway's maps, programs and
//! links either. Programs that say which devices a cgroup may use are left to them, since container
//! engines need these, and they see no packet. Closes rows 24 (XDP, tc) and 37.
use crate::kernel::{self, Address};
use crate::seal::{self, EPERM, PASS};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_DETACH: i32 = 9;
const BPF_PROG_QUERY: i32 = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

#[lsm(hook = "bpf")]
pub fn judge_bpf(ctx: LsmContext) -> i32 {
    let caller = match seal::caller() {
        Err(verdict) => return verdict,
        Ok(caller) => caller,
    };
    let command: i32 = ctx.arg(0);
    if is_about_devices(command, ctx.arg::<*const c_void>(1)) {
        return PASS;
    }
    seal::refuse(&caller, refused::BPF, [command as u32, 0, 0], -EPERM)
}

/// `attr` is the kernel's copy of `union bpf_attr`.
#[inline(always)]
fn is_about_devices(command: i32, attr: Address) -> bool {
    let (at, expected) = match command {
        BPF_PROG_LOAD => (0, BPF_PROG_TYPE_CGROUP_DEVICE),
        BPF_PROG_ATTACH | BPF_PROG_DETACH => (8, BPF_CGROUP_DEVICE),
        BPF_PROG_QUERY => (4, BPF_CGROUP_DEVICE),
        _ => return false,
    };
    kernel::plain::<u32>(attr, at) == Some(expected)
}

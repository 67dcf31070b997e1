//! `lsm/ptrace_access_check` (ptrace_may_access): a process is to be traced, its memory written, or a
//! descriptor taken from it: ptrace(2), process_vm_readv(2), /proc/PID/mem, pidfd_getfd(2).
//!
//! A governed process does that to its own tree only. Looking (PTRACE_MODE_READ: /proc/PID/exe, fd, maps)
//! stays as it is, so that ps and lsof work. Closes rows 28, 34.
use crate::governed::{self, Process};
use crate::kernel::{self, Address};
use crate::seal::{self, PASS};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;

const PTRACE_MODE_ATTACH: u32 = 2;

#[lsm(hook = "ptrace_access_check")]
pub fn judge_trace(ctx: LsmContext) -> i32 {
    let mode: u32 = ctx.arg(1);
    if mode & PTRACE_MODE_ATTACH == 0 {
        return PASS;
    }
    let caller = match seal::caller() {
        Err(verdict) => return verdict,
        Ok(caller) => caller,
    };
    if tree_of(ctx.arg::<*const c_void>(0)) == Some(caller.1.tree) {
        return PASS;
    }
    seal::deny(&caller, refused::TRACE)
}

#[inline(always)]
fn tree_of(task: Address) -> Option<u64> {
    let process = Process {
        tgid: kernel::tgid(task)?,
        start: kernel::start(task)?,
    };
    Some(governed::tag_of(process)?.tree)
}

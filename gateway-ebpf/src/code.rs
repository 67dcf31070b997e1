//! `lsm/kernel_load_data` (init_module, kexec_load) and `lsm/kernel_read_file` (finit_module,
//! kexec_file_load): code for the kernel is brought in.
//!
//! Governed processes bring none; firmware that a driver asks for in their name is the driver's. Modules
//! that the kernel asks for itself are loaded by modprobe, which is nobody's child. Closes row 38.
use crate::seal::{self, EPERM, PASS};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use gateway_common::event::refused;

/// `READING_FIRMWARE`, `LOADING_FIRMWARE`: the one number that kernels agree on.
const FIRMWARE: u32 = 1;

#[lsm(hook = "kernel_load_data")]
pub fn judge_code(ctx: LsmContext) -> i32 {
    judge(ctx.arg(0))
}

#[lsm(hook = "kernel_read_file")]
pub fn judge_code_file(ctx: LsmContext) -> i32 {
    judge(ctx.arg(1))
}

#[inline(always)]
fn judge(what: u32) -> i32 {
    if what == FIRMWARE {
        return PASS;
    }
    match seal::caller() {
        Err(verdict) => verdict,
        Ok(caller) => seal::refuse(&caller, refused::CODE, [what, 0, 0], -EPERM),
    }
}

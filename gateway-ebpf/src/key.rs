//! `lsm/key_alloc` (key_alloc): a key is made.
//!
//! What request_key(2) does not find, the kernel has /sbin/request-key fetch, from a name server or a
//! directory, in nobody's name; for that it makes a key of its own type first. Governed processes get none
//! fetched. Closes row 54, with `device.rs`.
use crate::kernel;
use crate::seal::{self, PASS};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;

/// `.request_key_auth`, as far as it is read.
const ORDER: [u8; 16] = *b".request_key_au\0";

#[lsm(hook = "key_alloc")]
pub fn judge_key(ctx: LsmContext) -> i32 {
    if kernel::type_of_key(ctx.arg::<*const c_void>(0)) != Some(ORDER) {
        return PASS;
    }
    match seal::caller() {
        Err(verdict) => verdict,
        Ok(caller) => seal::deny(&caller, refused::KEY),
    }
}

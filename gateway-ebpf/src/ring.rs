//! `lsm/mmap_file` (vm_mmap_pgoff): a file is mapped into memory.
//!
//! A ring of io_uring that a thread of its maker serves (IORING_SETUP_SQPOLL) does what is written into
//! it in that process's name. Governed processes map those of their own tree only. Closes row 69.
use crate::governed::{self, Process};
use crate::kernel::{self, Address};
use crate::receive::is_ring;
use crate::seal::{self, PASS};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;
use gateway_common::tag::Tag;

#[lsm(hook = "mmap_file")]
pub fn judge_map(ctx: LsmContext) -> i32 {
    let file: Address = ctx.arg::<*const c_void>(0);
    // Memory of no file.
    if file.is_null() {
        return PASS;
    }
    let Some(name) = kernel::dentry_of(file).and_then(kernel::name_of) else {
        return PASS;
    };
    if !is_ring(&name) {
        return PASS;
    }
    let caller = match seal::caller() {
        Err(verdict) => return verdict,
        Ok(caller) => caller,
    };
    if is_served_within(file, &caller) == Some(true) {
        return PASS;
    }
    seal::deny(&caller, refused::RING)
}

#[inline(always)]
fn is_served_within(file: Address, (process, tag): &(Process, Tag)) -> Option<bool> {
    let server = kernel::server_of_ring(file)?;
    if server == 0 || server == process.tgid {
        return Some(true);
    }
    // The number may have been given to another one since: then that is of the tree, and the ring dead.
    Some(governed::tree_of_tgid(server)? == tag.tree)
}

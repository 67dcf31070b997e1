//! `lsm/file_receive` (receive_fd): a descriptor comes in, in a message of a unix socket, or by
//! pidfd_getfd(2).
//!
//! A governed process gets the sockets of its own tree only, no device that makes packets, and
//! neither rings nor anything of BPF. Where a message carries a refused one, the kernel cuts its descriptors
//! off (MSG_CTRUNC). Closes row 25.
use crate::device;
use crate::kernel::{self, Address};
use crate::maps::{OWNERS, SOCKETS};
use crate::seal::{self, PASS};
use crate::storage;
use aya_ebpf::helpers::generated::bpf_sock_from_file;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;

const ANON_INODE_FS_MAGIC: u64 = 0x0904_1934;

#[lsm(hook = "file_receive")]
pub fn judge_received(ctx: LsmContext) -> i32 {
    let caller = match seal::caller() {
        Err(verdict) => return verdict,
        Ok(caller) => caller,
    };
    let file: *mut c_void = ctx.arg::<*const c_void>(0).cast_mut();
    // SAFETY: the helper takes a file of the kernel's.
    let socket = unsafe { bpf_sock_from_file(file.cast()) };
    let may = if socket.is_null() {
        !is_dangerous(file.cast_const()).unwrap_or(true)
    } else {
        is_of_tree(kernel::sock_of(socket.cast_const().cast()), caller.1.tree)
    };
    if may {
        return PASS;
    }
    seal::deny(&caller, refused::PASSED_IN)
}

#[inline(always)]
fn is_of_tree(sock: *mut c_void, tree: u64) -> bool {
    if sock.is_null() {
        return false;
    }
    let owner = storage::get(&OWNERS, sock);
    // SAFETY: not null.
    if !owner.is_null() && unsafe { (*owner).tree } == tree {
        return true;
    }
    // Those that a listener of IP accepted have a copy of its storage, and no owner.
    let flow = storage::get(&SOCKETS, sock);
    // SAFETY: not null.
    !flow.is_null() && unsafe { (*flow).tree } == tree
}

/// Is it something by which another one than the receiver acts on the network, or on the gateway?
#[inline(always)]
fn is_dangerous(file: Address) -> Option<bool> {
    let inode = kernel::inode_of(file)?;
    if device::makes_packets(inode) {
        return Some(true);
    }
    if kernel::magic_of(inode)? != ANON_INODE_FS_MAGIC {
        return Some(false);
    }
    let name = kernel::name_of(kernel::dentry_of(file)?)?;
    Some(is_ring(&name) || (name[0] == b'b' && name[1] == b'p' && name[2] == b'f'))
}

/// A ring of io_uring, by the name that the kernel gives to it.
#[inline(always)]
pub(crate) fn is_ring(name: &[u8; 16]) -> bool {
    u64::from_ne_bytes([
        name[0], name[1], name[2], name[3], name[4], name[5], name[6], name[7],
    ]) == u64::from_ne_bytes(*b"[io_urin")
}

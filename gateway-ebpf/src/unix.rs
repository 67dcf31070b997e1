//! `lsm/unix_stream_connect` (unix_stream_connect) and `lsm/unix_may_send` (unix_dgram_connect,
//! unix_dgram_sendmsg): a unix socket is connected to one that listens, or sends a datagram.
//!
//! A governed process reaches the sockets of its own tree and the gateway's. Of those that nobody
//! governed has made it reaches those whose names its policy lists: the name that the listener was bound
//! to, as `ss -xl` shows it. Those of other trees it never reaches. Closes rows 29, 30, 31, 32, 33.
use crate::governed::Process;
use crate::kernel::{self, Address};
use crate::maps::{OWNERS, UNIX_NAMES};
use crate::seal::{self, EPERM, PASS};
use crate::storage;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use core::ptr;
use gateway_common::event::refused;
use gateway_common::socket::{GATEWAY, NAME_BYTES, NAME_MAX, Owner, UnixName};
use gateway_common::tag::Tag;

const AF_UNIX: u32 = 1;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const ENOMEM: i32 = 12;

#[lsm(hook = "unix_stream_connect")]
pub fn judge_unix_stream(ctx: LsmContext) -> i32 {
    let listener: *mut c_void = ctx.arg::<*const c_void>(1).cast_mut();
    let accepted: *mut c_void = ctx.arg::<*const c_void>(2).cast_mut();
    let owner = owner_of(listener);
    // What comes of a governed listener is its tree's: it may be passed on within that.
    if let Some(tree) = owner
        && tree != GATEWAY
        && !storage::set(&OWNERS, accepted, &mut Owner { tree })
    {
        return -ENOMEM;
    }
    match seal::caller() {
        Err(verdict) => verdict,
        Ok(caller) => judge(&caller, listener, owner, SOCK_STREAM),
    }
}

#[lsm(hook = "unix_may_send")]
pub fn judge_unix_datagram(ctx: LsmContext) -> i32 {
    let caller = match seal::caller() {
        Err(verdict) => return verdict,
        Ok(caller) => caller,
    };
    let receiver = kernel::sock_of(ctx.arg::<*const c_void>(1));
    if receiver.is_null() {
        return -EPERM;
    }
    judge(&caller, receiver, owner_of(receiver), SOCK_DGRAM)
}

/// The tree that a socket is of; `None`: of nobody who is governed.
#[inline(always)]
fn owner_of(sock: *mut c_void) -> Option<u64> {
    let owner = storage::get(&OWNERS, sock);
    if owner.is_null() {
        return None;
    }
    // SAFETY: not null.
    Some(unsafe { (*owner).tree })
}

#[inline(always)]
fn judge(caller: &(Process, Tag), other: *mut c_void, owner: Option<u64>, kind: u32) -> i32 {
    let tag = &caller.1;
    let may = match owner {
        Some(GATEWAY) => true,
        Some(tree) => tree == tag.tree,
        None => is_listed(other.cast_const(), tag.slot),
    };
    if may {
        return PASS;
    }
    seal::refuse(caller, refused::UNIX, [AF_UNIX, kind, 0], -EPERM)
}

/// Does the policy list the name that the socket is bound to?
#[inline(always)]
fn is_listed(sock: Address, slot: u32) -> bool {
    let Some((from, len)) = kernel::unix_name(sock) else {
        return false;
    };
    if len == 0 || len > NAME_MAX as u32 {
        return false;
    }
    let mut name = UnixName {
        slot: slot.to_be_bytes(),
        name: [0; NAME_BYTES],
    };
    // Once more, in the form that the verifier follows; volatile, or the compiler would leave it out.
    // SAFETY: a local.
    let len = unsafe { ptr::read_volatile(&raw const len) } & (NAME_BYTES as u32 - 1);
    // SAFETY: `len` is within the buffer, as the verifier proves.
    let read = unsafe { bpf_probe_read_kernel(name.name.as_mut_ptr().cast(), len, from.cast()) };
    if read != 0 {
        return false;
    }
    let key = Key::new(UnixName::BITS, name);
    UNIX_NAMES.get(&key).is_some()
}

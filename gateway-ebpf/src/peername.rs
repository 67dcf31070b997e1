//! `cgroup/getpeername4`, `getpeername6` (inet_getname): a process asks whom it is connected to.
//!
//! It is told the address that it meant, so that drivers which compare it do not stumble. Must
//! return 1; the address is given back through the context.
use crate::maps::SOCKETS;
use crate::storage;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use core::ptr;
use gateway_common::flow::{Flow, state};

#[cgroup_sock_addr(getpeername4)]
pub fn give_peername4(ctx: SockAddrContext) -> i32 {
    if let Some(flow) = redirected(&ctx) {
        let ip = flow.destination;
        // SAFETY: fields that this hook may write; volatile, for whole words.
        unsafe {
            let word = u32::from_ne_bytes([ip[12], ip[13], ip[14], ip[15]]);
            ptr::write_volatile(&raw mut (*ctx.sock_addr).user_ip4, word);
            ptr::write_volatile(
                &raw mut (*ctx.sock_addr).user_port,
                u32::from(flow.port.to_be()),
            );
        }
    }
    1
}

#[cgroup_sock_addr(getpeername6)]
pub fn give_peername6(ctx: SockAddrContext) -> i32 {
    if let Some(flow) = redirected(&ctx) {
        let ip = flow.destination;
        // SAFETY: fields that this hook may write; volatile, for whole words.
        unsafe {
            let words = (&raw mut (*ctx.sock_addr).user_ip6).cast::<u32>();
            ptr::write_volatile(words, u32::from_ne_bytes([ip[0], ip[1], ip[2], ip[3]]));
            ptr::write_volatile(
                words.add(1),
                u32::from_ne_bytes([ip[4], ip[5], ip[6], ip[7]]),
            );
            ptr::write_volatile(
                words.add(2),
                u32::from_ne_bytes([ip[8], ip[9], ip[10], ip[11]]),
            );
            ptr::write_volatile(
                words.add(3),
                u32::from_ne_bytes([ip[12], ip[13], ip[14], ip[15]]),
            );
            ptr::write_volatile(
                &raw mut (*ctx.sock_addr).user_port,
                u32::from(flow.port.to_be()),
            );
        }
    }
    1
}

#[inline(always)]
fn redirected(ctx: &SockAddrContext) -> Option<Flow> {
    // SAFETY: a field of the context.
    let socket = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    if socket.is_null() {
        return None;
    }
    let flow = storage::get(&SOCKETS, socket.cast());
    if flow.is_null() {
        return None;
    }
    // SAFETY: not null, a whole value of this socket.
    let flow = unsafe { *flow };
    (flow.state == state::REDIRECTED).then_some(flow)
}

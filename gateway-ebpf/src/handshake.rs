//! `sockops`: TCP_CONNECT_CB runs after the source port is chosen and before the SYN leaves;
//! PASSIVE_ESTABLISHED_CB at the end of the handshake, before accept() can return the socket.
//!
//! The first publishes the flow under its source, the second moves it into the storage of the
//! accepted socket, from where the daemon reads it by descriptor. Taking it by source at accept
//! would be wrong: after a reset and a reused port, one connection got another's flow.
//! What a governed listener accepts bears its tag from then on. The return value does not matter.
//! Closes rows 11, 50, 61.
use crate::maps::{ACCEPTED, HANDSHAKES, LISTENERS, SOCKETS};
use crate::storage;
use aya_ebpf::bindings::{BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_TCP_CONNECT_CB};
use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use core::ptr;
use gateway_common::address::{self, Ip};
use gateway_common::flow::{Handshake, state};

const AF_INET: u32 = 2;

#[sock_ops]
pub fn follow_handshake(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => {
            publish(&ctx);
        }
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => {
            accept(&ctx);
        }
        _ => {}
    }
    1
}

#[inline(always)]
fn netns(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the helper takes this context.
    unsafe { bpf_get_netns_cookie(ctx.ops.cast()) }
}

/// `remote_port` is a `__be16` in the upper half of a `__be32`.
#[inline(always)]
fn remote_port(ctx: &SockOpsContext) -> u32 {
    u32::from_be(ctx.remote_port())
}

#[inline(always)]
fn local_ip(ctx: &SockOpsContext) -> Ip {
    if ctx.family() == AF_INET {
        return address::mapped(ctx.local_ip4());
    }
    // Word by word: the verifier takes no wider reads of the context.
    // SAFETY: fields of the context.
    let words = unsafe { &raw const (*ctx.ops).local_ip6 }.cast::<u32>();
    words_at(words)
}

#[inline(always)]
fn remote_ip(ctx: &SockOpsContext) -> Ip {
    if ctx.family() == AF_INET {
        return address::mapped(ctx.remote_ip4());
    }
    // SAFETY: fields of the context.
    let words = unsafe { &raw const (*ctx.ops).remote_ip6 }.cast::<u32>();
    words_at(words)
}

#[inline(always)]
fn words_at(words: *const u32) -> Ip {
    // SAFETY: four words of the context; volatile, so that they are not read as one.
    unsafe {
        address::from_words([
            ptr::read_volatile(words),
            ptr::read_volatile(words.add(1)),
            ptr::read_volatile(words.add(2)),
            ptr::read_volatile(words.add(3)),
        ])
    }
}

/// The gateway's ports in this namespace.
#[inline(always)]
fn is_listener(netns: u64, port: u32) -> bool {
    // SAFETY: read at once.
    match unsafe { LISTENERS.get(netns) } {
        Some(listeners) => port != 0 && (listeners.v4 == port || listeners.v6 == port),
        None => false,
    }
}

#[inline(always)]
fn publish(ctx: &SockOpsContext) -> Option<()> {
    let netns = netns(ctx);
    let port = remote_port(ctx);
    if !is_listener(netns, port) {
        return None;
    }
    let key = Handshake {
        netns,
        ip: local_ip(ctx),
        port: ctx.local_port(),
        listener: port,
    };
    // SAFETY: the context's socket, checked for null by the verifier's demand below.
    let socket = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if socket.is_null() {
        return None;
    }
    let flow = storage::get(&SOCKETS, socket.cast());
    if flow.is_null() {
        let _ = HANDSHAKES.remove(key);
        return None;
    }
    // SAFETY: not null, a whole value of this socket.
    let flow = unsafe { *flow };
    if flow.state == state::REDIRECTED {
        // A full map leaves no entry, and the daemon resets what has none.
        let _ = HANDSHAKES.insert(key, flow, 0);
    } else {
        let _ = HANDSHAKES.remove(key);
    }
    Some(())
}

#[inline(always)]
fn accept(ctx: &SockOpsContext) -> Option<()> {
    // SAFETY: the context's socket, checked for null by the verifier's demand below.
    let socket = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if socket.is_null() {
        return None;
    }
    let inherited = storage::get(&SOCKETS, socket.cast());
    if !inherited.is_null() {
        // SAFETY: not null. A copy of the listener's, which the daemon's does not have.
        unsafe { (*inherited).state = state::ACCEPTED };
        return None;
    }
    let netns = netns(ctx);
    let port = ctx.local_port();
    if !is_listener(netns, port) {
        return None;
    }
    let key = Handshake {
        netns,
        ip: remote_ip(ctx),
        port: remote_port(ctx),
        listener: port,
    };
    // SAFETY: copied at once.
    let mut flow = *unsafe { HANDSHAKES.get(key) }?;
    let _ = HANDSHAKES.remove(key);
    storage::set(&ACCEPTED, socket.cast(), &mut flow);
    Some(())
}

//! `cgroup_skb/egress` (ip_finish_output, ip6_finish_output): a packet leaves a socket, after local
//! netfilter. The backstop: whatever the other hooks decided, a governed socket emits only to
//! loopback, or DNS to a resolver of the host.
//!
//! 1 lets the packet go, 0 drops it. It judges the output device and the header's addresses, never
//! the socket's: a socket bound to a device after its redirected connect sends 127.0.0.1 out of
//! that device. Options and extension headers can carry a source route, so none may be there.
//! Closes rows 14, 23, 64, 65.
use crate::debug;
use crate::governed;
use crate::maps::{RESOLVERS, SOCKETS, count};
use crate::storage;
use aya_ebpf::helpers::generated::{bpf_sk_fullsock, bpf_skb_load_bytes};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use core::mem::MaybeUninit;
use gateway_common::address::{self, Ip};
use gateway_common::counter;
use gateway_common::flow::state;

/// The loopback device has this index in every network namespace (LOOPBACK_IFINDEX).
const LOOPBACK: u32 = 1;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const DNS: u16 = 53;

#[cgroup_skb(egress)]
pub fn drop_strays(ctx: SkBuffContext) -> i32 {
    // SAFETY: a field of the context.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return 1;
    }
    // SAFETY: not null. A time-wait or request socket has no storage of its own.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return 1;
    }
    let flow = storage::get(&SOCKETS, socket.cast());
    if flow.is_null() {
        return 1;
    }
    // SAFETY: not null.
    let (flow_state, slot) = unsafe { ((*flow).state, (*flow).slot) };
    if flow_state == state::PASSED || may_leave(&ctx) || !governed::refuses(slot) {
        return 1;
    }
    count(counter::BACKSTOP_DROPS);
    // SAFETY: fields of the context.
    let (device, length) = unsafe { ((*ctx.skb.skb).ifindex, (*ctx.skb.skb).len) };
    debug::dropped(device, length);
    0
}

#[inline(always)]
fn load<T>(ctx: &SkBuffContext, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes the whole value, or fails.
    let result = unsafe {
        bpf_skb_load_bytes(
            ctx.skb.skb.cast(),
            offset,
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
        )
    };
    // SAFETY: written.
    if result == 0 {
        Some(unsafe { value.assume_init() })
    } else {
        None
    }
}

#[inline(always)]
fn may_leave(ctx: &SkBuffContext) -> bool {
    let Some(first) = load::<u8>(ctx, 0) else {
        return false;
    };
    let (destination, protocol, header) = match first {
        // Version 4, five words: no options.
        0x45 => {
            let (Some(protocol), Some(ip)) = (load::<u8>(ctx, 9), load::<u32>(ctx, 16)) else {
                return false;
            };
            (address::mapped(ip), protocol, 20)
        }
        _ if first >> 4 == 6 => {
            let (Some(protocol), Some(ip)) = (load::<u8>(ctx, 6), load::<Ip>(ctx, 24)) else {
                return false;
            };
            (ip, protocol, 40)
        }
        _ => return false,
    };
    if protocol != IPPROTO_TCP && protocol != IPPROTO_UDP {
        return false;
    }
    // SAFETY: a field of the context: the device that the packet leaves by.
    let on_loopback = unsafe { (*ctx.skb.skb).ifindex } == LOOPBACK;
    if on_loopback && protocol == IPPROTO_TCP && address::is_loopback(&destination) {
        return true;
    }
    protocol == IPPROTO_UDP
        && RESOLVERS.get_ptr(destination).is_some()
        && load::<u16>(ctx, header + 2).map(u16::from_be) == Some(DNS)
}

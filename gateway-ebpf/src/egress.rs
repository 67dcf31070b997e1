//! `cgroup_skb/egress` (ip_finish_output, ip6_finish_output): a packet leaves a socket, after local
//! netfilter. The backstop: whatever the other hooks decided, a governed socket emits only TCP on
//! loopback, and questions for name servers to the gateway's own ports, which it publishes here:
//! the port of the source is known at last, and nobody has read the datagram yet. Nobody else
//! sends to these ports.
//!
//! 1 lets the packet go, 0 drops it. It judges the output device and the header's addresses, never
//! the socket's: a socket bound to a device after its redirected connect sends 127.0.0.1 out of
//! that device. Options and extension headers can carry a source route, so none may be there.
//! Closes rows 14, 23, 64, 65.
use crate::debug;
use crate::governed;
use crate::maps::{DATAGRAMS, DNS_SLOTS, QUESTIONS, SOCKETS, count};
use crate::question::{DNS, is_gateway, server_at};
use crate::release::withdraw;
use crate::storage;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_sk_fullsock, bpf_skb_load_bytes};
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use core::mem::MaybeUninit;
use gateway_common::address::{self, Ip};
use gateway_common::counter;
use gateway_common::flow::{Flow, Handshake, state};

/// The loopback device has this index in every network namespace (LOOPBACK_IFINDEX).
const LOOPBACK: u32 = 1;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// The length of an IPv4 header without options, and of an IPv6 header without extensions.
const HEADER4: u32 = 20;
const HEADER6: u32 = 40;

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
    // Nearly all packets of the host end here, so what is read of them is little.
    if flow.is_null() && !(on_loopback(&ctx) && is_datagram(&ctx)) {
        return 1;
    }
    let packet = read(&ctx);
    if let Some(packet) = &packet
        && is_for_gateway(&ctx, packet)
    {
        // Governed or not: what comes in there has been published, or does not come in.
        let published = publish(&ctx, packet, socket);
        if !published && !flow.is_null() {
            count_drop(&ctx);
        }
        return i32::from(published);
    }
    if flow.is_null() {
        return 1;
    }
    // SAFETY: not null.
    let (flow_state, slot) = unsafe { ((*flow).state, (*flow).slot) };
    let stays = packet.is_some_and(|packet| packet.stays(&ctx));
    if flow_state == state::PASSED || stays || !governed::refuses(slot) {
        return 1;
    }
    count_drop(&ctx);
    0
}

#[inline(always)]
fn count_drop(ctx: &SkBuffContext) {
    count(counter::BACKSTOP_DROPS);
    // SAFETY: fields of the context.
    let (device, length) = unsafe { ((*ctx.skb.skb).ifindex, (*ctx.skb.skb).len) };
    debug::dropped(device, length);
}

/// What is read of a packet's header.
struct Packet {
    destination: Ip,
    protocol: u8,
    /// The length of the header, and with that where the next one begins.
    header: u32,
}

impl Packet {
    /// Is it TCP that stays on loopback?
    #[inline(always)]
    fn stays(&self, ctx: &SkBuffContext) -> bool {
        on_loopback(ctx) && self.protocol == IPPROTO_TCP && address::is_loopback(&self.destination)
    }
}

/// Does the packet leave by the loopback device?
#[inline(always)]
fn on_loopback(ctx: &SkBuffContext) -> bool {
    // SAFETY: a field of the context.
    unsafe { (*ctx.skb.skb).ifindex == LOOPBACK }
}

/// Does UDP follow right behind the header?
#[inline(always)]
fn is_datagram(ctx: &SkBuffContext) -> bool {
    let protocol = match load::<u8>(ctx, 0) {
        Some(first) if first >> 4 == 4 => load::<u8>(ctx, 9),
        Some(_) => load::<u8>(ctx, 6),
        None => None,
    };
    protocol == Some(IPPROTO_UDP)
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

/// Reads the header. None when it has options, or another one behind it that could name a route.
#[inline(always)]
fn read(ctx: &SkBuffContext) -> Option<Packet> {
    let first = load::<u8>(ctx, 0)?;
    let (destination, protocol, header) = match first {
        // Version 4, five words: no options.
        0x45 => (
            address::mapped(load::<u32>(ctx, 16)?),
            load::<u8>(ctx, 9)?,
            HEADER4,
        ),
        _ if first >> 4 == 6 => (load::<Ip>(ctx, 24)?, load::<u8>(ctx, 6)?, HEADER6),
        _ => return None,
    };
    Some(Packet {
        destination,
        protocol,
        header,
    })
}

/// The ports of the packet, which begin behind the header: source and destination.
#[inline(always)]
fn ports(ctx: &SkBuffContext, packet: &Packet) -> Option<(u16, u16)> {
    let source = load::<u16>(ctx, packet.header)?;
    let destination = load::<u16>(ctx, packet.header + 2)?;
    Some((u16::from_be(source), u16::from_be(destination)))
}

/// Is it a datagram for a port on which the gateway takes questions? A port alone does not tell:
/// when the daemon is dead, it may be anybody's.
#[inline(always)]
fn is_for_gateway(ctx: &SkBuffContext, packet: &Packet) -> bool {
    if packet.protocol != IPPROTO_UDP
        || !on_loopback(ctx)
        || !address::is_loopback(&packet.destination)
    {
        return false;
    }
    let Some((_, port)) = ports(ctx, packet) else {
        return false;
    };
    DNS_SLOTS.get_ptr(u32::from(port)).is_some()
        && is_gateway(ctx.skb.skb.cast(), &packet.destination, port)
}

/// Says whose question it is, under the source that the gateway sees. False: it is nobody's, or
/// there is no memory, and it must not arrive.
#[inline(always)]
fn publish(ctx: &SkBuffContext, packet: &Packet, socket: *mut bpf_sock) -> bool {
    let questions = storage::get(&QUESTIONS, socket.cast());
    if questions.is_null() {
        return false;
    }
    let Some((port, listener)) = ports(ctx, packet) else {
        return false;
    };
    let server = server_at(questions, listener);
    if server.is_null() {
        return false;
    }
    let source = if packet.header == HEADER4 {
        load::<u32>(ctx, 12).map(address::mapped)
    } else {
        load::<Ip>(ctx, 8)
    };
    let Some(source) = source else {
        return false;
    };
    // SAFETY: not null, whole values of this socket.
    unsafe {
        let moved = (*server).source_port != u32::from(port)
            || (*server).listener != u32::from(listener)
            || !address::same(&(*server).source, &source);
        if moved {
            withdraw((*questions).netns, server);
        }
        let key = Handshake {
            netns: (*questions).netns,
            ip: source,
            port: u32::from(port),
            listener: u32::from(listener),
        };
        let flow = Flow {
            destination: (*server).ip,
            source: if address::is_loopback(&source) {
                [0; 16]
            } else {
                source
            },
            start: (*questions).start,
            tree: (*questions).tree,
            cookie: (*questions).cookie,
            netns: (*questions).netns,
            at: bpf_ktime_get_boot_ns(),
            tgid: (*questions).tgid,
            slot: (*questions).slot,
            state: state::REDIRECTED,
            port: DNS,
            family: (*questions).family as u16,
        };
        if DATAGRAMS.insert(key, flow, 0).is_err() {
            return false;
        }
        (*server).source = source;
        (*server).source_port = u32::from(port);
        (*server).listener = u32::from(listener);
    }
    true
}

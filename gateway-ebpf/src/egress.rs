//! `cgroup_skb/egress` (ip_finish_output, ip6_finish_output): a packet leaves a socket, after local
//! netfilter. The backstop: whatever the other hooks decided, a governed socket emits only TCP on
//! loopback, to where its socket is connected and, past the gateway, to its own tree; where its policy
//! takes nobody else in what it accepts too, and questions for name servers to the gateway's own ports,
//! which it publishes here: the port of the source is known at last, and nobody has read the datagram
//! yet. Nobody else sends to these ports.
//!
//! 1 lets the packet go, 0 drops it. It judges the output device and the header's addresses, never
//! the socket's alone: a socket bound to a device after its redirected connect sends 127.0.0.1 out of
//! that device, and netfilter may have written other addresses into the header, also of a service on
//! loopback. Options and extension headers can carry a source route, so none may be there.
//! Closes rows 14, 23, 41, 64, 65.
use crate::connect::bound_source;
use crate::debug;
use crate::governed;
use crate::lookup::{self, End, LOCALHOST4, LOCALHOST6, Receiver};
use crate::maps::{DATAGRAMS, DNS_DOORS, QUESTIONS, count};
use crate::packet::{self, Packet, is_datagram, on_loopback};
use crate::question::{is_gateway, server_at};
use crate::release::withdraw;
use crate::storage;
use aya_ebpf::bindings::{BPF_TCP_LISTEN, bpf_sock};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use core::ptr;
use gateway_common::address::{self, Ip};
use gateway_common::counter;
use gateway_common::flow::{Flow, Handshake, state};

#[cgroup_skb(egress)]
pub fn drop_strays(ctx: SkBuffContext) -> i32 {
    let flow = packet::flow(&ctx);
    // Nearly all packets of the host end here, so what is read of them is little. What is not governed
    // may send anything but datagrams for the gateway.
    if flow.is_null()
        && (packet::is_plainly_stream(&ctx) || !(on_loopback(&ctx) && is_datagram(&ctx)))
    {
        return 1;
    }
    let socket = packet::socket(&ctx);
    if socket.is_null() {
        return 1;
    }
    let packet = packet::read(&ctx);
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
    // SAFETY: not null; a field of a socket.
    let (flow_state, slot, listens) = unsafe {
        let listens = (*socket).state == BPF_TCP_LISTEN;
        ((*flow).state, (*flow).slot, listens)
    };
    let passes = match flow_state {
        state::PASSED => true,
        // A listener itself sends nothing but what accepts.
        _ if listens || flow_state == state::ACCEPTED => {
            governed::admits(slot) || answers(&ctx, packet.as_ref())
        }
        _ => stays(&ctx, packet.as_ref(), socket, flow),
    };
    if passes || !governed::refuses(slot) {
        return 1;
    }
    count_drop(&ctx);
    0
}

/// Is it TCP that stays on loopback, as its socket sent it, and comes to the gateway or its own tree?
#[inline(always)]
fn stays(
    ctx: &SkBuffContext,
    packet: Option<&Packet>,
    socket: *mut bpf_sock,
    flow: *mut Flow,
) -> bool {
    let Some(packet) = packet else {
        return false;
    };
    if !packet.is_stream() || !on_loopback(ctx) || !address::is_loopback(&packet.destination) {
        return false;
    }
    let (Some(source), Some((from, to))) = (packet.source(ctx), packet.ports(ctx)) else {
        return false;
    };
    // SAFETY: not null; fields of a socket, the port of its peer as a `__be16`.
    let (own_port, peer_port) = unsafe {
        let peer_port = ptr::read_volatile(&raw const (*socket).dst_port);
        ((*socket).src_port, u16::from_be(peer_port))
    };
    // A reset is sent when the socket has given its port back already (tcp_close).
    let sent_as_it_is = u32::from(from) == own_port || packet.is_reset(ctx);
    if to != peer_port || !sent_as_it_is {
        return false;
    }
    // SAFETY: not null, as the caller knows.
    let (flow_state, tree) = unsafe { ((*flow).state, (*flow).tree) };
    if flow_state == state::REDIRECTED {
        // The gateway knows by the source whose connection it is.
        let own = bound_source(socket, packet.family());
        return is_localhost(&packet.destination)
            && (address::same(&own, &source) || packet.is_reset(ctx));
    }
    let here = End {
        ip: &packet.destination,
        port: to,
    };
    let there = End {
        ip: &source,
        port: from,
    };
    match lookup::receiver(ctx.skb.skb.cast(), here, there) {
        Receiver::Nobody => true,
        Receiver::Connected(receiver) => receiver == tree,
        // Of several that share the port the kernel takes one that is not known yet.
        Receiver::Listening(listener) => listener == tree && !packet.has_payload(ctx),
    }
}

/// Is it the address at which the gateway listens?
#[inline(always)]
fn is_localhost(ip: &Ip) -> bool {
    address::same(ip, &LOCALHOST4) || address::same(ip, &LOCALHOST6)
}

/// Is it TCP on loopback by any address of this host? Who is accepted has been judged as its
/// packets came (`ingress`), and may be the gateway, which dials the address that was meant.
#[inline(always)]
fn answers(ctx: &SkBuffContext, packet: Option<&Packet>) -> bool {
    packet.is_some_and(|packet| packet.is_stream() && on_loopback(ctx))
}

#[inline(always)]
fn count_drop(ctx: &SkBuffContext) {
    count(counter::BACKSTOP_DROPS);
    // SAFETY: fields of the context.
    let (device, length) = unsafe { ((*ctx.skb.skb).ifindex, (*ctx.skb.skb).len) };
    debug::dropped(device, length);
}

/// Is it a datagram for a port on which the gateway takes questions? A port alone does not tell:
/// when the daemon is dead, it may be anybody's.
#[inline(always)]
fn is_for_gateway(ctx: &SkBuffContext, packet: &Packet) -> bool {
    if !packet.is_datagram() || !on_loopback(ctx) || !address::is_loopback(&packet.destination) {
        return false;
    }
    let Some((_, port)) = packet.ports(ctx) else {
        return false;
    };
    DNS_DOORS.get_ptr(u32::from(port)).is_some()
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
    let Some((port, listener)) = packet.ports(ctx) else {
        return false;
    };
    let server = server_at(questions, listener);
    if server.is_null() {
        return false;
    }
    let Some(source) = packet.source(ctx) else {
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
            port: (*server).port as u16,
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

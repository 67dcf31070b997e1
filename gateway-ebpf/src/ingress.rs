//! `cgroup_skb/ingress` (tcp_filter, sk_filter_trim_cap): a packet arrives at a socket.
//!
//! 1 lets it arrive, 0 drops it. A governed process may listen, but unless its policy says
//! `inbound = "any"` nobody outside of its tree can connect to it: an accomplice could fetch what
//! the process may not send. The SYN is judged, and whatever else comes to the listener before the
//! connection stands. Who sends is known by its socket, which has to be in this network namespace:
//! one of the tree itself, or one with which the gateway dials for the tree. Closes row 58.
use crate::governed;
use crate::lookup::{self, End};
use crate::maps::count;
use crate::packet::{self, Packet};
use crate::report;
use aya_ebpf::bindings::BPF_TCP_LISTEN;
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::cgroup_skb;
use aya_ebpf::programs::SkBuffContext;
use gateway_common::counter;
use gateway_common::event::Refused;
use gateway_common::flow::Flow;

const SOCK_STREAM: u32 = 1;
const IPPROTO_TCP: u32 = 6;
const AF_INET6: u32 = 10;
/// A listener's strangers are reported this often, in nanoseconds, and counted always: whoever
/// knocks must not fill the ring.
const REPORT_EVERY: u64 = 1_000_000_000;

#[cgroup_skb(ingress)]
pub fn drop_strangers(ctx: SkBuffContext) -> i32 {
    let flow = packet::flow(&ctx);
    // Nearly all packets of the host end here.
    if flow.is_null() || !listens(&ctx) {
        return 1;
    }
    // SAFETY: not null.
    let (tree, slot) = unsafe { ((*flow).tree, (*flow).slot) };
    if governed::admits(slot) {
        return 1;
    }
    let packet = packet::read(&ctx);
    if packet
        .as_ref()
        .is_some_and(|packet| is_own(&ctx, packet, tree))
    {
        return 1;
    }
    count(counter::INBOUND_DROPS);
    report(&ctx, packet.as_ref(), flow);
    i32::from(!governed::refuses(slot))
}

#[inline(always)]
fn listens(ctx: &SkBuffContext) -> bool {
    let socket = packet::socket(ctx);
    // SAFETY: not null; a field of a socket.
    !socket.is_null() && unsafe { (*socket).state } == BPF_TCP_LISTEN
}

/// Does it come from a socket of the tree? The end of a connection does, whoever sends it.
#[inline(always)]
fn is_own(ctx: &SkBuffContext, packet: &Packet, tree: u64) -> bool {
    let Some((port, listener)) = packet.ports(ctx) else {
        return false;
    };
    if packet.is_reset(ctx) {
        return true;
    }
    let Some(source) = packet.source(ctx) else {
        return false;
    };
    let here = End { ip: &source, port };
    let there = End {
        ip: &packet.destination,
        port: listener,
    };
    lookup::sender(ctx.skb.skb.cast(), here, there) == tree
}

/// Says who knocked, once in a while.
#[inline(always)]
fn report(ctx: &SkBuffContext, packet: Option<&Packet>, flow: *mut Flow) {
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: not null, as the caller knows; a listener's flow is of use for this alone.
    unsafe {
        if now - (*flow).at < REPORT_EVERY && (*flow).family != 0 {
            return;
        }
        (*flow).at = now;
        (*flow).family = AF_INET6 as u16;
    }
    let source = packet.and_then(|packet| packet.source(ctx));
    let ports = packet.and_then(|packet| packet.ports(ctx));
    let what = Refused {
        destination: source.unwrap_or([0; 16]),
        port: ports.map_or(0, |(port, _)| u32::from(port)),
        socket_type: SOCK_STREAM,
        protocol: IPPROTO_TCP,
        family: AF_INET6,
    };
    // SAFETY: as above.
    report::stranger(unsafe { &*flow }, what);
}

//! Who listens on a port of this network namespace: the gateway, or somebody else? A process that
//! takes the port of a dead daemon does not have its mark.
use crate::maps::{MARKS, SOCKETS};
use crate::storage;
use aya_ebpf::bindings::bpf_sock_tuple;
use aya_ebpf::helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release};
use core::ffi::c_void;
use core::mem::zeroed;
use gateway_common::address::{self, Ip};

const CURRENT_NETNS: u64 = u64::MAX;
pub(crate) const LOCALHOST4: Ip = address::mapped(u32::from_ne_bytes([127, 0, 0, 1]));
pub(crate) const LOCALHOST6: Ip = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// What kind of socket is looked for.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Tcp,
    Udp,
}

/// What is known of the socket that listens somewhere.
pub(crate) struct Listener {
    /// The mark of the daemon that listens; 0 when it is not ours.
    pub(crate) mark: u64,
    /// The tree of the process that listens; 0 when it is not governed, or nobody listens.
    pub(crate) tree: u64,
}

/// Looks up who listens there. `ctx` is the context of a program that may look sockets up.
#[inline(always)]
pub(crate) fn listener(ctx: *mut c_void, kind: Kind, ip: &Ip, port: u16) -> Listener {
    let mut nobody = Listener { mark: 0, tree: 0 };
    // SAFETY: plain data; the size tells the kernel which of the two forms it is.
    let mut tuple: bpf_sock_tuple = unsafe { zeroed() };
    let size = if address::is_mapped(ip) || address::is_unspecified(ip) {
        let host = if address::is_unspecified(ip) {
            LOCALHOST4
        } else {
            *ip
        };
        // SAFETY: the IPv4 form of the union.
        let v4 = unsafe { &mut tuple.__bindgen_anon_1.ipv4 };
        v4.daddr = u32::from_ne_bytes([host[12], host[13], host[14], host[15]]);
        v4.dport = port.to_be();
        size_of_val(v4)
    } else {
        // SAFETY: the IPv6 form of the union.
        let v6 = unsafe { &mut tuple.__bindgen_anon_1.ipv6 };
        v6.daddr = [
            u32::from_ne_bytes([ip[0], ip[1], ip[2], ip[3]]),
            u32::from_ne_bytes([ip[4], ip[5], ip[6], ip[7]]),
            u32::from_ne_bytes([ip[8], ip[9], ip[10], ip[11]]),
            u32::from_ne_bytes([ip[12], ip[13], ip[14], ip[15]]),
        ];
        v6.dport = port.to_be();
        size_of_val(v6)
    };
    let (tuple, size) = (&raw mut tuple, size as u32);
    // SAFETY: the helpers take this context and read `size` bytes of the tuple.
    let socket = unsafe {
        match kind {
            Kind::Tcp => bpf_sk_lookup_tcp(ctx, tuple, size, CURRENT_NETNS, 0),
            Kind::Udp => bpf_sk_lookup_udp(ctx, tuple, size, CURRENT_NETNS, 0),
        }
    };
    if socket.is_null() {
        return nobody;
    }
    let mark = storage::get(&MARKS, socket.cast());
    if !mark.is_null() {
        // SAFETY: not null.
        nobody.mark = unsafe { (*mark).generation };
    }
    let flow = storage::get(&SOCKETS, socket.cast());
    if !flow.is_null() {
        // SAFETY: not null.
        nobody.tree = unsafe { (*flow).tree };
    }
    // SAFETY: the reference of the lookup above.
    unsafe { bpf_sk_release(socket.cast()) };
    nobody
}

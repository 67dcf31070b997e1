//! Sockets of this network namespace, by their addresses: who listens on a port, the gateway or
//! somebody else, and who sends a packet? A process that takes the port of a dead daemon does not
//! have its mark.
use crate::maps::{DIALS, MARKS, SOCKETS};
use crate::storage;
use aya_ebpf::bindings::{BPF_TCP_LISTEN, BPF_TCP_NEW_SYN_RECV, bpf_sock, bpf_sock_tuple};
use aya_ebpf::helpers::generated::{
    bpf_get_listener_sock, bpf_sk_fullsock, bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release,
    bpf_skc_lookup_tcp,
};
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
    /// The policy of that tree.
    pub(crate) slot: u32,
}

/// One end of a connection.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) ip: &'a Ip,
    pub(crate) port: u16,
}

/// Looks up who listens there. `ctx` is the context of a program that may look sockets up.
#[inline(always)]
pub(crate) fn listener(ctx: *mut c_void, kind: Kind, ip: &Ip, port: u16) -> Listener {
    let mut found = Listener {
        mark: 0,
        tree: 0,
        slot: 0,
    };
    // 0.0.0.0 is an IPv4-mapped address too.
    let there = if address::is_unspecified(ip) {
        LOCALHOST4
    } else {
        *ip
    };
    let here = End { ip: &there, port };
    let socket = socket(ctx, kind, None, here);
    if socket.is_null() {
        return found;
    }
    let mark = storage::get(&MARKS, socket.cast());
    if !mark.is_null() {
        // SAFETY: not null.
        found.mark = unsafe { (*mark).generation };
    }
    let flow = storage::get(&SOCKETS, socket.cast());
    if !flow.is_null() {
        // SAFETY: not null.
        (found.tree, found.slot) = unsafe { ((*flow).tree, (*flow).slot) };
    }
    // SAFETY: the reference of the lookup above.
    unsafe { bpf_sk_release(socket.cast()) };
    found
}

/// For which tree the socket of this network namespace stands that a packet to `there` came from;
/// 0: for none. `ctx` is the context of a program that may look sockets up.
#[inline(always)]
pub(crate) fn sender(ctx: *mut c_void, here: End<'_>, there: End<'_>) -> u64 {
    // As the answer would find it.
    let socket = socket(ctx, Kind::Tcp, Some(there), here);
    if socket.is_null() {
        return 0;
    }
    let mut tree = 0;
    // SAFETY: not null; a field of a socket. Where nobody is connected, the kernel finds who
    // listens on the port, on any address.
    if unsafe { (*socket).state } != BPF_TCP_LISTEN {
        let flow = storage::get(&SOCKETS, socket.cast());
        let dial = storage::get(&DIALS, socket.cast());
        if !flow.is_null() {
            // SAFETY: not null.
            tree = unsafe { (*flow).tree };
        } else if !dial.is_null() {
            // SAFETY: not null.
            tree = unsafe { (*dial).tree };
        }
    }
    // SAFETY: the reference of the lookup above.
    unsafe { bpf_sk_release(socket.cast()) };
    tree
}

/// Who a packet comes to.
pub(crate) enum Receiver {
    /// No socket reads it.
    Nobody,
    /// A connection, which stands for this tree; 0: for none.
    Connected(u64),
    /// One that listens, for this tree. Of those that share the port (SO_REUSEPORT) it may be
    /// another one: a program of theirs may choose, which is asked with the packet alone.
    Listening(u64),
}

/// Who a packet of TCP comes to in this network namespace. `ctx` is the context of a program that may
/// look sockets up.
#[inline(always)]
pub(crate) fn receiver(ctx: *mut c_void, here: End<'_>, there: End<'_>) -> Receiver {
    let (tuple, size) = tuple(Some(there), here);
    // SAFETY: the helper takes this context and reads `size` bytes of the tuple.
    let found =
        unsafe { bpf_skc_lookup_tcp(ctx, (&raw const tuple).cast_mut(), size, CURRENT_NETNS, 0) };
    if found.is_null() {
        return Receiver::Nobody;
    }
    // SAFETY: not null; a field of a socket.
    let state = unsafe { (*found).state };
    // A connection in the making stands for the one that listens, which is known by it.
    // SAFETY: not null.
    let socket = unsafe {
        match state {
            BPF_TCP_NEW_SYN_RECV => bpf_get_listener_sock(found),
            _ => bpf_sk_fullsock(found),
        }
    };
    let mut receiver = match state {
        BPF_TCP_NEW_SYN_RECV => Receiver::Connected(0),
        // In TIME_WAIT nothing is read any more.
        _ => Receiver::Nobody,
    };
    if !socket.is_null() {
        let flow = storage::get(&SOCKETS, socket.cast());
        let tree = if flow.is_null() {
            0
        } else {
            // SAFETY: not null.
            unsafe { (*flow).tree }
        };
        receiver = match state {
            BPF_TCP_LISTEN => Receiver::Listening(tree),
            _ => Receiver::Connected(tree),
        };
    }
    // SAFETY: the reference of the lookup above.
    unsafe { bpf_sk_release(found.cast()) };
    receiver
}

/// The socket with this local end; `there` is the other one, of a connection. It is to be released
/// unless it is null.
#[inline(always)]
fn socket(ctx: *mut c_void, kind: Kind, there: Option<End<'_>>, here: End<'_>) -> *mut bpf_sock {
    let (tuple, size) = tuple(there, here);
    let tuple = (&raw const tuple).cast_mut();
    // SAFETY: the helpers take this context and read `size` bytes of the tuple.
    unsafe {
        match kind {
            Kind::Tcp => bpf_sk_lookup_tcp(ctx, tuple, size, CURRENT_NETNS, 0),
            Kind::Udp => bpf_sk_lookup_udp(ctx, tuple, size, CURRENT_NETNS, 0),
        }
    }
}

/// The addresses of a connection, and how many bytes of them there are.
#[inline(always)]
fn tuple(there: Option<End<'_>>, here: End<'_>) -> (bpf_sock_tuple, u32) {
    // SAFETY: plain data; the size tells the kernel which of the two forms it is.
    let mut tuple: bpf_sock_tuple = unsafe { zeroed() };
    let size = if address::is_mapped(here.ip) {
        // SAFETY: the IPv4 form of the union.
        let v4 = unsafe { &mut tuple.__bindgen_anon_1.ipv4 };
        if let Some(there) = there {
            v4.saddr = word(there.ip, 12);
            v4.sport = there.port.to_be();
        }
        v4.daddr = word(here.ip, 12);
        v4.dport = here.port.to_be();
        size_of_val(v4)
    } else {
        // SAFETY: the IPv6 form of the union.
        let v6 = unsafe { &mut tuple.__bindgen_anon_1.ipv6 };
        if let Some(there) = there {
            v6.saddr = words(there.ip);
            v6.sport = there.port.to_be();
        }
        v6.daddr = words(here.ip);
        v6.dport = here.port.to_be();
        size_of_val(v6)
    };
    (tuple, size as u32)
}

/// A `__be32` of an address.
#[inline(always)]
fn word(ip: &Ip, at: usize) -> u32 {
    u32::from_ne_bytes([ip[at], ip[at + 1], ip[at + 2], ip[at + 3]])
}

#[inline(always)]
fn words(ip: &Ip) -> [u32; 4] {
    [word(ip, 0), word(ip, 4), word(ip, 8), word(ip, 12)]
}

//! `cgroup/connect4`, `cgroup/connect6` (inet_stream_connect, TCP Fast Open's sendto, and connect
//! on datagram sockets): a process names a destination.
//!
//! 1 lets the call go on, with the address as rewritten; 0 refuses with EPERM or what
//! bpf_set_retval says. An error inside refuses a governed task. An IPv4-mapped address on an IPv6
//! socket comes to connect6. connect(AF_UNSPEC) does not come here, so the destination is
//! overwritten each time. Closes rows 10, 11, 13, 15-17, 19, 20, 36, 41-43, 60, 61, 66.
use crate::debug::{self, Hook};
use crate::governed::{self, Process, Standing};
use crate::lookup::{self, Kind, LOCALHOST4, LOCALHOST6, Listener};
use crate::maps::{DIALS, LISTENERS, SOCKETS, count};
use crate::{question, report, storage};
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{
    bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_ktime_get_boot_ns, bpf_set_retval,
    bpf_setsockopt,
};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use core::mem::size_of;
use core::ptr;
use gateway_common::address::{self, Ip};
use gateway_common::counter;
use gateway_common::event::{Refused, refused};
use gateway_common::flow::{Flow, state};
use gateway_common::tag::Tag;

const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const IPPROTO_TCP: u32 = 6;
const ECONNREFUSED: i32 = 111;
const SOL_SOCKET: i32 = 1;
const SO_BINDTODEVICE: i32 = 25;

#[cgroup_sock_addr(connect4)]
pub fn redirect4(ctx: SockAddrContext) -> i32 {
    // SAFETY: a field of the context.
    let word = unsafe { ptr::read_volatile(&raw const (*ctx.sock_addr).user_ip4) };
    decide::<4>(&ctx, address::mapped(word))
}

#[cgroup_sock_addr(connect6)]
pub fn redirect6(ctx: SockAddrContext) -> i32 {
    decide::<6>(&ctx, read_ip6(&ctx))
}

/// The IPv6 address of the context, word by word: the verifier takes no wider reads.
#[inline(always)]
pub(crate) fn read_ip6(ctx: &SockAddrContext) -> Ip {
    // SAFETY: fields of the context.
    unsafe {
        let words = (&raw const (*ctx.sock_addr).user_ip6).cast::<u32>();
        address::from_words([
            ptr::read_volatile(words),
            ptr::read_volatile(words.add(1)),
            ptr::read_volatile(words.add(2)),
            ptr::read_volatile(words.add(3)),
        ])
    }
}

/// The port of the context, in host byte order.
#[inline(always)]
pub(crate) fn read_port(ctx: &SockAddrContext) -> u16 {
    // SAFETY: a field of the context: a `__be16` in a word.
    u16::from_be(unsafe { ptr::read_volatile(&raw const (*ctx.sock_addr).user_port) } as u16)
}

/// One attempt to connect by a governed process.
pub(crate) struct Attempt {
    pub(crate) process: Process,
    pub(crate) tag: Tag,
    pub(crate) destination: Ip,
    pub(crate) port: u16,
    pub(crate) family: u16,
    pub(crate) enforce: bool,
}

impl Attempt {
    /// Refuses it, and reports why. In observe and shadow it passes, and the report is the gap.
    #[inline(always)]
    pub(crate) fn refuse(&self, ctx: &SockAddrContext, reason: u32, errno: i32) -> i32 {
        // SAFETY: fields of the context.
        let (family, socket_type, protocol) = unsafe {
            (
                (*ctx.sock_addr).family,
                (*ctx.sock_addr).type_,
                (*ctx.sock_addr).protocol,
            )
        };
        let what = Refused {
            destination: self.destination,
            port: u32::from(self.port),
            socket_type,
            protocol,
            family,
        };
        if reason == refused::DOWN {
            count(counter::REFUSED_DOWN);
        }
        let waited = reason == refused::DOWN && governed::passes_when_down(self.tag.slot);
        let reason = if waited { refused::WAITED } else { reason };
        report::refused(self.process, &self.tag, reason, what);
        if waited || !self.enforce {
            return self.pass(ctx);
        }
        if errno != 0 {
            // SAFETY: sets the errno of this system call.
            unsafe { bpf_set_retval(-errno) };
        }
        0
    }

    #[inline(always)]
    fn pass(&self, ctx: &SockAddrContext) -> i32 {
        count(counter::PASSED);
        self.remember(ctx, state::PASSED, 0);
        1
    }

    /// Writes the flow into the socket's storage. False when there is no memory.
    #[inline(always)]
    pub(crate) fn remember(&self, ctx: &SockAddrContext, state: u32, netns: u64) -> bool {
        // SAFETY: a field of the context.
        let socket = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
        if socket.is_null() {
            return false;
        }
        let mut flow = Flow {
            destination: self.destination,
            source: bound_source(socket, self.family),
            start: self.process.start,
            tree: self.tag.tree,
            // SAFETY: the helper takes this context.
            cookie: unsafe { bpf_get_socket_cookie(ctx.sock_addr.cast()) },
            netns,
            // SAFETY: no arguments.
            at: unsafe { bpf_ktime_get_boot_ns() },
            tgid: self.process.tgid,
            slot: self.tag.slot,
            state,
            port: self.port,
            family: self.family,
        };
        storage::set(&SOCKETS, socket.cast(), &mut flow)
    }
}

/// The address that the socket is bound to; zero when it is not.
#[inline(always)]
pub(crate) fn bound_source(socket: *mut bpf_sock, family: u16) -> Ip {
    // SAFETY: not null; fields of a socket, word by word.
    unsafe {
        if family == 4 {
            let word = ptr::read_volatile(&raw const (*socket).src_ip4);
            return if word == 0 {
                [0; 16]
            } else {
                address::mapped(word)
            };
        }
        let words = (&raw const (*socket).src_ip6).cast::<u32>();
        address::from_words([
            ptr::read_volatile(words),
            ptr::read_volatile(words.add(1)),
            ptr::read_volatile(words.add(2)),
            ptr::read_volatile(words.add(3)),
        ])
    }
}

/// One function for each family, so that the compiler cannot merge their writes to the context.
#[inline(always)]
fn decide<const FAMILY: u16>(ctx: &SockAddrContext, destination: Ip) -> i32 {
    let port = u32::from(read_port(ctx));
    let verdict = connect::<FAMILY>(ctx, &destination);
    debug::destination(Hook::Connect, &destination, port, verdict);
    verdict
}

#[cfg_attr(feature = "debug-log", inline(never))]
#[cfg_attr(not(feature = "debug-log"), inline(always))]
fn connect<const FAMILY: u16>(ctx: &SockAddrContext, destination: &Ip) -> i32 {
    let (process, tag) = match governed::standing() {
        Standing::Free => return 1,
        Standing::Daemon => return dial(ctx, destination),
        Standing::Unsure => return 0,
        Standing::Governed(process, tag) => (process, tag),
    };
    let enforce = governed::refuses(tag.slot);
    let attempt = Attempt {
        process,
        tag,
        destination: *destination,
        port: read_port(ctx),
        family: FAMILY,
        enforce,
    };
    // SAFETY: fields of the context.
    let (kind, protocol) = unsafe { ((*ctx.sock_addr).type_, (*ctx.sock_addr).protocol) };
    if kind == SOCK_DGRAM {
        return question::ask(ctx, &attempt, true);
    }
    if kind != SOCK_STREAM || protocol != IPPROTO_TCP {
        return attempt.refuse(ctx, refused::SOCKET, 0);
    }
    stream(ctx, &attempt)
}

/// The daemon dials. What a tree keeps for itself is refused at once to others, whose packets
/// would be dropped.
#[inline(always)]
fn dial(ctx: &SockAddrContext, destination: &Ip) -> i32 {
    if !address::is_loopback(destination) {
        return 1;
    }
    // SAFETY: a field of the context.
    let socket = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    if socket.is_null() {
        return 1;
    }
    let listener = listener(ctx, destination, read_port(ctx));
    if listener.tree == 0 || governed::admits(listener.slot) || !governed::refuses(listener.slot) {
        return 1;
    }
    let dial = storage::get(&DIALS, socket.cast());
    // SAFETY: read only when it is not null.
    if !dial.is_null() && unsafe { (*dial).tree } == listener.tree {
        return 1;
    }
    // SAFETY: sets the errno of this system call.
    unsafe { bpf_set_retval(-ECONNREFUSED) };
    0
}

#[inline(always)]
fn stream(ctx: &SockAddrContext, attempt: &Attempt) -> i32 {
    if address::is_link_local_v6(&attempt.destination) {
        return attempt.refuse(ctx, refused::LINK_LOCAL, 0);
    }
    if address::is_loopback(&attempt.destination) {
        let listener = listener(ctx, &attempt.destination, attempt.port);
        if listener.mark != 0 {
            return attempt.refuse(ctx, refused::LISTENER, ECONNREFUSED);
        }
        if listener.tree == attempt.tag.tree {
            if attempt.remember(ctx, state::OWN_TREE, 0) || !attempt.enforce {
                return 1;
            }
            return 0;
        }
    }
    redirect(ctx, attempt)
}

#[inline(always)]
fn redirect(ctx: &SockAddrContext, attempt: &Attempt) -> i32 {
    // SAFETY: the helper takes this context.
    let netns = unsafe { bpf_get_netns_cookie(ctx.sock_addr.cast()) };
    // SAFETY: read at once.
    let (v4, v6) = match unsafe { LISTENERS.get(netns) } {
        Some(listeners) => (listeners.v4, listeners.v6),
        None => (0, 0),
    };
    let over_v4 = attempt.family == 4 || address::is_mapped(&attempt.destination);
    let (ip, port) = if over_v4 {
        (LOCALHOST4, v4)
    } else {
        (LOCALHOST6, v6)
    };
    let generation = governed::configuration().map_or(0, |config| config.generation);
    if port == 0 || generation == 0 || listener(ctx, &ip, port as u16).mark != generation {
        return attempt.refuse(ctx, refused::DOWN, ECONNREFUSED);
    }
    if !free_of_device(ctx) {
        return attempt.refuse(ctx, refused::DEVICE, 0);
    }
    if !attempt.remember(ctx, state::REDIRECTED, netns) {
        return attempt.refuse(ctx, refused::STORAGE, 0);
    }
    count(counter::REDIRECTED);
    write_address(ctx, attempt.family, &ip, port as u16);
    1
}

/// Writes an address into the context.
#[inline(always)]
pub(crate) fn write_address(ctx: &SockAddrContext, family: u16, ip: &Ip, port: u16) {
    // SAFETY: fields that this hook may write; volatile, for whole words.
    unsafe {
        let last = u32::from_ne_bytes([ip[12], ip[13], ip[14], ip[15]]);
        if family == 4 {
            ptr::write_volatile(&raw mut (*ctx.sock_addr).user_ip4, last);
        } else {
            // The last word first: as the last store of both branches it would be merged into one
            // through a computed pointer, which the verifier refuses.
            let words = (&raw mut (*ctx.sock_addr).user_ip6).cast::<u32>();
            ptr::write_volatile(words.add(3), last);
            ptr::write_volatile(words, u32::from_ne_bytes([ip[0], ip[1], ip[2], ip[3]]));
            ptr::write_volatile(
                words.add(1),
                u32::from_ne_bytes([ip[4], ip[5], ip[6], ip[7]]),
            );
            ptr::write_volatile(
                words.add(2),
                u32::from_ne_bytes([ip[8], ip[9], ip[10], ip[11]]),
            );
        }
        ptr::write_volatile(&raw mut (*ctx.sock_addr).user_port, u32::from(port.to_be()));
    }
}

/// Who listens on a loopback address of this network namespace, by TCP?
#[inline(always)]
fn listener(ctx: &SockAddrContext, ip: &Ip, port: u16) -> Listener {
    lookup::listener(ctx.sock_addr.cast(), Kind::Tcp, ip, port)
}

/// Frees a socket of the device that it is bound to, with which its SYN for 127.0.0.1 would leave.
#[inline(always)]
fn free_of_device(ctx: &SockAddrContext) -> bool {
    // SAFETY: a field of the context.
    let socket = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    if socket.is_null() {
        return false;
    }
    // SAFETY: not null; a field of a socket.
    if unsafe { (*socket).bound_dev_if } == 0 {
        return true;
    }
    let mut none = [0u8; 4];
    // SAFETY: the helper reads four bytes of the stack.
    unsafe {
        bpf_setsockopt(
            ctx.sock_addr.cast(),
            SOL_SOCKET,
            SO_BINDTODEVICE,
            none.as_mut_ptr().cast(),
            none.len() as i32,
        ) == 0
    }
}

const _: () = assert!(
    size_of::<Flow>() < 256,
    "the flow lives on a stack of 512 bytes"
);

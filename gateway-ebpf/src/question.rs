//! Questions for name servers: datagrams to port 53, which go to the gateway in place of the server.
//! So do all others, where a policy knows destinations for them.
//!
//! A socket may ask several servers at once, and is told by the source of an answer whose it is. So
//! each server that it names gets one of [`DNS_PORTS`] ports of the gateway: the port of a question
//! says which server was meant, and that of an answer which one it is given back as. The port of
//! the source is not known before the datagram leaves (`sendmsg` runs before autobind), so the
//! egress hook publishes the question, and no datagram reaches the gateway's ports without that.
use crate::connect::{Attempt, write_address};
use crate::governed;
use crate::lookup::{self, Kind, LOCALHOST4, LOCALHOST6};
use crate::maps::{LISTENERS, QUESTIONS, count};
use crate::storage;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie};
use aya_ebpf::programs::SockAddrContext;
use core::ffi::c_void;
use gateway_common::address::{self, Ip};
use gateway_common::config::{DNS_PORTS, Listeners};
use gateway_common::counter;
use gateway_common::event::refused;
use gateway_common::flow::{Questions, Server, state};

/// The port of name servers.
const DNS: u16 = 53;
/// That of QUIC: clients that are refused take TCP.
const QUIC: u16 = 443;
const ECONNREFUSED: i32 = 111;

/// A datagram socket names its peer (`connected`), or sends to one.
#[inline(always)]
pub(crate) fn ask(ctx: &SockAddrContext, attempt: &Attempt, connected: bool) -> i32 {
    if attempt.port != DNS && !may_pass(attempt) {
        return attempt.refuse(ctx, refused::DATAGRAM, 0);
    }
    if address::is_link_local_v6(&attempt.destination) {
        return attempt.refuse(ctx, refused::LINK_LOCAL, 0);
    }
    // SAFETY: a field of the context.
    let socket = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    if socket.is_null() {
        return attempt.refuse(ctx, refused::STORAGE, 0);
    }
    // SAFETY: not null; a field of a socket. With a device it would leave the host as 127.0.0.1.
    if unsafe { (*socket).bound_dev_if } > 1 {
        return attempt.refuse(ctx, refused::DEVICE, 0);
    }
    let questions = storage::get_or_zero(&QUESTIONS, socket.cast());
    if questions.is_null() {
        return attempt.refuse(ctx, refused::STORAGE, 0);
    }
    let place = place(questions, &attempt.destination, attempt.port);
    // SAFETY: the helper takes this context.
    let netns = unsafe { bpf_get_netns_cookie(ctx.sock_addr.cast()) };
    let over_v4 = attempt.family == 4 || address::is_mapped(&attempt.destination);
    let port = port_of(netns, over_v4, place);
    let ip = if over_v4 { LOCALHOST4 } else { LOCALHOST6 };
    if port == 0 || !is_gateway(ctx.sock_addr.cast(), &ip, port) {
        return attempt.refuse(ctx, refused::DOWN, ECONNREFUSED);
    }
    // SAFETY: not null, a whole value of this socket.
    unsafe {
        let server = server(questions, place);
        (*server).ip = attempt.destination;
        (*server).port = u32::from(attempt.port);
        (*server).named = 1;
        (*questions).start = attempt.process.start;
        (*questions).tree = attempt.tag.tree;
        (*questions).tgid = attempt.process.tgid;
        (*questions).slot = attempt.tag.slot;
        (*questions).family = u32::from(attempt.family);
        (*questions).netns = netns;
        (*questions).cookie = bpf_get_socket_cookie(ctx.sock_addr.cast());
    }
    if connected && !attempt.remember(ctx, state::REDIRECTED, netns) {
        return attempt.refuse(ctx, refused::STORAGE, 0);
    }
    count(counter::REDIRECTED);
    write_address(ctx, attempt.family, &ip, port);
    1
}

/// May a datagram that asks for no name go to the gateway, which judges it? Not what clients have
/// another way for (QUIC), and not what has several receivers.
#[inline(always)]
fn may_pass(attempt: &Attempt) -> bool {
    attempt.port != QUIC
        && !address::is_of_many(&attempt.destination)
        && governed::takes_datagrams(attempt.tag.slot)
}

/// Does the gateway listen on this UDP port of loopback, and is it alive?
#[inline(always)]
pub(crate) fn is_gateway(ctx: *mut c_void, ip: &Ip, port: u16) -> bool {
    let generation = governed::configuration().map_or(0, |config| config.generation);
    generation != 0 && lookup::listener(ctx, Kind::Udp, ip, port).mark == generation
}

/// Which of a socket's servers stands behind a port of the gateway. Null: none does.
#[inline(always)]
pub(crate) fn server_at(questions: *mut Questions, port: u16) -> *mut Server {
    // SAFETY: a whole value.
    let Some(listeners) = LISTENERS.get_ptr(unsafe { (*questions).netns }) else {
        return core::ptr::null_mut();
    };
    let mut place = 0;
    // SAFETY: a whole value; within the arrays.
    while unsafe { !stands_at(listeners, place, u32::from(port)) } {
        place += 1;
        if place == DNS_PORTS {
            return core::ptr::null_mut();
        }
    }
    let server = server(questions, place as u32);
    // SAFETY: a place of a whole value.
    if unsafe { (*server).named } == 0 {
        return core::ptr::null_mut();
    }
    server
}

/// Is this the gateway's port for a place, of either family?
///
/// # Safety
/// `listeners` is a whole value, and the place is one.
#[inline(always)]
unsafe fn stands_at(listeners: *const Listeners, place: usize, port: u32) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        let v4 = (&raw const (*listeners).dns4).cast::<u32>().add(place);
        let v6 = (&raw const (*listeners).dns6).cast::<u32>().add(place);
        *v4 == port || *v6 == port
    }
}

/// One of the servers. The number is cut to what there is, which the verifier can follow.
#[inline(always)]
pub(crate) fn server(questions: *mut Questions, place: u32) -> *mut Server {
    // SAFETY: within the array.
    unsafe {
        (&raw mut (*questions).servers)
            .cast::<Server>()
            .add(place as usize & (DNS_PORTS - 1))
    }
}

/// The place of a server: its own, or a free one, or the one that was given away longest ago.
#[inline(always)]
fn place(questions: *mut Questions, ip: &Ip, port: u16) -> u32 {
    let mut free = DNS_PORTS as u32;
    let mut number = DNS_PORTS as u32;
    while number > 0 {
        number -= 1;
        let server = server(questions, number);
        // SAFETY: a place of a whole value.
        let (named, known, at) = unsafe { ((*server).named, (*server).ip, (*server).port) };
        if named == 0 {
            free = number;
        } else if at == u32::from(port) && address::same(&known, ip) {
            return number;
        }
    }
    if free < DNS_PORTS as u32 {
        return free;
    }
    // SAFETY: a whole value.
    unsafe {
        let next = (*questions).next & (DNS_PORTS as u32 - 1);
        (*questions).next = next + 1;
        next
    }
}

/// The gateway's port for a place; 0 when there is none.
#[inline(always)]
fn port_of(netns: u64, over_v4: bool, place: u32) -> u16 {
    let Some(listeners) = LISTENERS.get_ptr(netns) else {
        return 0;
    };
    // SAFETY: a whole value; within the arrays.
    unsafe {
        let ports = if over_v4 {
            (&raw const (*listeners).dns4).cast::<u32>()
        } else {
            (&raw const (*listeners).dns6).cast::<u32>()
        };
        *ports.add(place as usize & (DNS_PORTS - 1)) as u16
    }
}

const _: () = assert!(DNS_PORTS.is_power_of_two());

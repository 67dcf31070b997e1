//! `cgroup/recvmsg4`, `recvmsg6` (udp_recvmsg, udpv6_recvmsg): a process is told where a datagram
//! came from; connected sockets too.
//!
//! An answer of the gateway is given back as one of the server that was asked, since resolvers drop
//! what comes from anybody else. Must return 1; the address is given back through the context.
use crate::connect::{read_ip6, read_port, write_address};
use crate::maps::QUESTIONS;
use crate::{question, storage};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use core::ptr;
use gateway_common::address::{self, Ip};

#[cgroup_sock_addr(recvmsg4)]
pub fn give_source4(ctx: SockAddrContext) -> i32 {
    // SAFETY: a field of the context.
    let word = unsafe { ptr::read_volatile(&raw const (*ctx.sock_addr).user_ip4) };
    give(&ctx, &address::mapped(word), 4);
    1
}

#[cgroup_sock_addr(recvmsg6)]
pub fn give_source6(ctx: SockAddrContext) -> i32 {
    let ip = read_ip6(&ctx);
    give(&ctx, &ip, 6);
    1
}

#[inline(always)]
fn give(ctx: &SockAddrContext, from: &Ip, family: u16) {
    // SAFETY: a field of the context.
    let socket = unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk };
    if socket.is_null() {
        return;
    }
    let questions = storage::get(&QUESTIONS, socket.cast());
    if questions.is_null() || !address::is_loopback(from) {
        return;
    }
    let server = question::server_at(questions, read_port(ctx));
    if server.is_null() {
        return;
    }
    // SAFETY: not null, a place of a whole value.
    let (ip, port) = unsafe { ((*server).ip, (*server).port) };
    if family == 4 && !address::is_mapped(&ip) {
        return;
    }
    write_address(ctx, family, &ip, port as u16);
}

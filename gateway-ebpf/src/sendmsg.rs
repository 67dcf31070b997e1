//! `cgroup/sendmsg4`, `sendmsg6` (udp_sendmsg, udpv6_sendmsg): an unconnected datagram socket
//! sends, once per message of sendmmsg too.
//!
//! 1 lets it be sent, 0 refuses with EPERM. Does not run for connected sockets: these are decided
//! at connect. An IPv4-mapped address on an IPv6 socket comes to sendmsg4. Closes rows 12, 14.
use crate::connect::{Attempt, read_ip6, read_port};
use crate::debug::{self, Hook};
use crate::governed::{self, Standing};
use crate::question;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;
use core::ptr;
use gateway_common::address::{self, Ip};

#[cgroup_sock_addr(sendmsg4)]
pub fn judge_datagram4(ctx: SockAddrContext) -> i32 {
    // SAFETY: a field of the context.
    let word = unsafe { ptr::read_volatile(&raw const (*ctx.sock_addr).user_ip4) };
    decide::<4>(&ctx, address::mapped(word))
}

#[cgroup_sock_addr(sendmsg6)]
pub fn judge_datagram6(ctx: SockAddrContext) -> i32 {
    decide::<6>(&ctx, read_ip6(&ctx))
}

/// One function for each family, so that the compiler cannot merge their writes to the context.
#[inline(always)]
fn decide<const FAMILY: u16>(ctx: &SockAddrContext, destination: Ip) -> i32 {
    let port = u32::from(read_port(ctx));
    let verdict = judge::<FAMILY>(ctx, &destination);
    debug::destination(Hook::Datagram, &destination, port, verdict);
    verdict
}

#[cfg_attr(feature = "debug-log", inline(never))]
#[cfg_attr(not(feature = "debug-log"), inline(always))]
fn judge<const FAMILY: u16>(ctx: &SockAddrContext, destination: &Ip) -> i32 {
    match governed::standing() {
        Standing::Free | Standing::Daemon => 1,
        Standing::Unsure => 0,
        Standing::Governed(process, tag) => {
            let enforce = governed::refuses(tag.slot);
            let port = read_port(ctx);
            let attempt = Attempt {
                process,
                tag,
                destination: *destination,
                port,
                family: FAMILY,
                enforce,
            };
            question::ask(ctx, &attempt, false)
        }
    }
}

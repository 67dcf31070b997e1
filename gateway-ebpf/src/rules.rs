//! `lsm/netlink_send` (netlink_sendmsg) and `lsm/socket_setsockopt` (__sys_setsockopt): the kernel is told
//! what to do with packets.
//!
//! A filter of tc, or a rule of netfilter, sends packets on that the backstop took for loopback's. Governed
//! processes make none, in no network namespace; links, addresses and routes they do make, of which the
//! backstop judges what comes. Netlink is read message by message; protocols that no governed process
//! could open (`family.rs`) are refused, whoever opened the socket. The tables of iptables-legacy are set by
//! setsockopt on any socket of IP. Closes row 24.
use crate::family;
use crate::kernel::{self, Address};
use crate::seal::{self, EPERM, PASS};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;

const AF_NETLINK: u32 = 16;
const NETLINK_ROUTE: u16 = 0;
const RTM_NEWTFILTER: u16 = 44;
const RTM_NEWACTION: u16 = 48;
const RTM_NEWCHAIN: u16 = 100;
/// Of `struct nlmsghdr`.
const HEADER: u32 = 16;
/// How many messages at once are read; more are refused.
const MESSAGES_MAX: u32 = 64;

const SOL_IP: i32 = 0;
const SOL_IPV6: i32 = 41;
/// `IPT_BASE_CTL`; the options of IP end before it, and behind it are those of netfilter alone.
const NETFILTER_MIN: i32 = 64;
/// `IP6T_SO_SET_ADD_COUNTERS`; IPv6 has options of its own behind it.
const NETFILTER6_MAX: i32 = 65;

#[lsm(hook = "netlink_send")]
pub fn judge_netlink(ctx: LsmContext) -> i32 {
    let caller = match seal::caller() {
        Err(verdict) => return verdict,
        Ok(caller) => caller,
    };
    let protocol = kernel::protocol_of(ctx.arg::<*const c_void>(0));
    let may = match protocol {
        Some(NETLINK_ROUTE) => makes_no_rule(ctx.arg::<*const c_void>(1)) == Some(true),
        Some(protocol) => family::is_plain_netlink(i32::from(protocol)),
        None => false,
    };
    if may {
        return PASS;
    }
    let numbers = [AF_NETLINK, 0, protocol.map_or(0, u32::from)];
    seal::refuse(&caller, refused::RULES, numbers, -EPERM)
}

/// Reads the messages as netlink_rcv_skb does: each begins with its length and its type.
#[inline(always)]
fn makes_no_rule(skb: Address) -> Option<bool> {
    let (data, len) = kernel::packet(skb)?;
    let mut at = 0;
    let mut messages = 0;
    while messages < MESSAGES_MAX {
        if at >= len || len - at < HEADER {
            return Some(true);
        }
        let message: u32 = kernel::plain(data, at as usize)?;
        let kind: u16 = kernel::plain(data, at as usize + 4)?;
        if message < HEADER || message > len - at {
            return Some(true);
        }
        if matches!(kind, RTM_NEWTFILTER | RTM_NEWACTION | RTM_NEWCHAIN) {
            return Some(false);
        }
        at += (message + 3) & !3;
        messages += 1;
    }
    None
}

#[lsm(hook = "socket_setsockopt")]
pub fn judge_option(ctx: LsmContext) -> i32 {
    let (level, option): (i32, i32) = (ctx.arg(1), ctx.arg(2));
    let is_rule = match level {
        SOL_IP => option >= NETFILTER_MIN,
        SOL_IPV6 => option >= NETFILTER_MIN && option <= NETFILTER6_MAX,
        _ => false,
    };
    if !is_rule {
        return PASS;
    }
    match seal::caller() {
        Err(verdict) => verdict,
        Ok(caller) => seal::deny(&caller, refused::RULES),
    }
}

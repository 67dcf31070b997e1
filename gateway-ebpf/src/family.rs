//! `lsm/socket_create` and `lsm/socket_post_create` (__sock_create): a socket of any family is made, by
//! socket(2), socketpair(2) or io_uring.
//!
//! Of AF_INET and AF_INET6 `create.rs` decides; unix sockets are judged when they are used; netlink is
//! there to ask for addresses, routes and sockets, and to hear of devices. All else is refused, as a kernel
//! would that was built without it (EAFNOSUPPORT, EPROTONOSUPPORT), so that programs do
//! without. Sockets that the kernel makes for itself are its own. Whoever made a socket is
//! written into it. Closes rows 5, 6, 7, 8, 9.
use crate::maps::OWNERS;
use crate::seal::{self, PASS};
use crate::{governed, kernel, storage};
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use core::ffi::c_void;
use gateway_common::event::refused;
use gateway_common::socket::Owner;

const AF_UNIX: i32 = 1;
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
const AF_NETLINK: i32 = 16;
const NETLINK_ROUTE: i32 = 0;
const NETLINK_SOCK_DIAG: i32 = 4;
const NETLINK_KOBJECT_UEVENT: i32 = 15;
const ENOMEM: i32 = 12;
const EPROTONOSUPPORT: i32 = 93;
const EAFNOSUPPORT: i32 = 97;

/// May governed processes speak to the kernel by this protocol?
#[inline(always)]
pub(crate) const fn is_plain_netlink(protocol: i32) -> bool {
    matches!(
        protocol,
        NETLINK_ROUTE | NETLINK_SOCK_DIAG | NETLINK_KOBJECT_UEVENT
    )
}

#[lsm(hook = "socket_create")]
pub fn judge_family(ctx: LsmContext) -> i32 {
    let (family, kind, protocol): (i32, i32, i32) = (ctx.arg(0), ctx.arg(1), ctx.arg(2));
    let by_kernel: i32 = ctx.arg(3);
    let verdict = match family {
        _ if by_kernel != 0 => return PASS,
        AF_UNIX | AF_INET | AF_INET6 => return PASS,
        AF_NETLINK if is_plain_netlink(protocol) => return PASS,
        AF_NETLINK => -EPROTONOSUPPORT,
        _ => -EAFNOSUPPORT,
    };
    match seal::caller() {
        Err(verdict) => verdict,
        Ok(caller) => {
            let numbers = [family as u32, kind as u32, protocol as u32];
            seal::refuse(&caller, refused::FAMILY, numbers, verdict)
        }
    }
}

#[lsm(hook = "socket_post_create")]
pub fn own_socket(ctx: LsmContext) -> i32 {
    let by_kernel: i32 = ctx.arg(4);
    if by_kernel != 0 {
        return PASS;
    }
    let (_, tag) = match seal::caller() {
        Err(verdict) => return verdict,
        Ok(caller) => caller,
    };
    let sock = kernel::sock_of(ctx.arg::<*const c_void>(0));
    let written = !sock.is_null() && storage::set(&OWNERS, sock, &mut Owner { tree: tag.tree });
    if written || !governed::refuses(tag.slot) {
        PASS
    } else {
        -ENOMEM
    }
}

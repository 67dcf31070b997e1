//! `cgroup/sock_create` (inet_create, inet6_create): a socket of AF_INET or AF_INET6 is made.
//!
//! 1 lets it be made, 0 refuses with EPERM or what bpf_set_retval says. TCP and UDP only: whatever
//! else would carry data past the proxy. MPTCP is refused with EPROTONOSUPPORT, upon which Go and
//! others take TCP. Closes rows 3, 4, 9. The hook never sees AF_PACKET, AF_VSOCK, AF_ALG.
use crate::debug;
use crate::governed::{self, Standing};
use crate::maps::SOCKETS;
use crate::{report, storage};
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_set_retval};
use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;
use gateway_common::event::{Refused, refused};
use gateway_common::flow::{Flow, state};

const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const IPPROTO_IP: u32 = 0;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_MPTCP: u32 = 262;
const EPROTONOSUPPORT: i32 = 93;

#[cgroup_sock(sock_create)]
pub fn judge_socket(ctx: SockContext) -> i32 {
    // SAFETY: the context is a socket; the verifier checks each field.
    let (family, kind, protocol) =
        unsafe { ((*ctx.sock).family, (*ctx.sock).type_, (*ctx.sock).protocol) };
    let verdict = judge(&ctx, family, kind, protocol);
    debug::socket(family, kind, protocol, verdict);
    verdict
}

#[cfg_attr(feature = "debug-log", inline(never))]
#[cfg_attr(not(feature = "debug-log"), inline(always))]
fn judge(ctx: &SockContext, family: u32, kind: u32, protocol: u32) -> i32 {
    let (process, tag) = match governed::standing() {
        Standing::Free | Standing::Daemon => return 1,
        Standing::Unsure => return 0,
        Standing::Governed(process, tag) => (process, tag),
    };
    let inspectable = match kind {
        SOCK_STREAM => protocol == IPPROTO_IP || protocol == IPPROTO_TCP,
        SOCK_DGRAM => protocol == IPPROTO_IP || protocol == IPPROTO_UDP,
        _ => false,
    };
    let enforce = governed::refuses(tag.slot);
    if !inspectable {
        let what = Refused {
            destination: [0; 16],
            port: 0,
            socket_type: kind,
            protocol,
            family,
        };
        report::refused(process, &tag, refused::SOCKET, what);
        if enforce {
            if protocol == IPPROTO_MPTCP {
                // SAFETY: sets the errno of this system call.
                unsafe { bpf_set_retval(-EPROTONOSUPPORT) };
            }
            return 0;
        }
        return 1;
    }
    let mut flow = Flow {
        destination: [0; 16],
        source: [0; 16],
        start: process.start,
        tree: tag.tree,
        cookie: 0,
        netns: 0,
        // SAFETY: no arguments.
        at: unsafe { bpf_ktime_get_boot_ns() },
        tgid: process.tgid,
        slot: tag.slot,
        state: state::CREATED,
        port: 0,
        family: 0,
    };
    if storage::set(&SOCKETS, ctx.sock.cast(), &mut flow) || !enforce {
        return 1;
    }
    0
}

//! `cgroup/sock_release` (inet_release): a socket is closed for good.
//!
//! What it has asked is forgotten: whoever gets its port next must not be taken for it. The return
//! value does not matter.
use crate::maps::{DATAGRAMS, QUESTIONS};
use crate::question::server;
use crate::storage;
use aya_ebpf::macros::cgroup_sock;
use aya_ebpf::programs::SockContext;
use gateway_common::config::DNS_PORTS;
use gateway_common::flow::{Handshake, Server};

#[cgroup_sock(sock_release)]
pub fn forget_questions(ctx: SockContext) -> i32 {
    let questions = storage::get(&QUESTIONS, ctx.sock.cast());
    if questions.is_null() {
        return 1;
    }
    let mut place = 0;
    while place < DNS_PORTS as u32 {
        // SAFETY: a place of a whole value.
        unsafe { withdraw((*questions).netns, server(questions, place)) };
        place += 1;
    }
    1
}

/// Takes back what was published for a server.
///
/// # Safety
/// `server` is a whole value.
#[inline(always)]
pub(crate) unsafe fn withdraw(netns: u64, server: *mut Server) {
    // SAFETY: as the caller says.
    let (ip, port, listener) =
        unsafe { ((*server).source, (*server).source_port, (*server).listener) };
    if port == 0 {
        return;
    }
    let key = Handshake {
        netns,
        ip,
        port,
        listener,
    };
    let _ = DATAGRAMS.remove(key);
    // SAFETY: as the caller says.
    unsafe { (*server).source_port = 0 };
}

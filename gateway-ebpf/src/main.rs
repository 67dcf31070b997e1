//! The kernel half of the gateway: one file per hook.
//!
//! | file | hook | since |
//! |---|---|---|
//! | `wakeup` | `tp_btf/sched_wakeup_new` | a task's tag is inherited |
//! | `exec` | `tp_btf/sched_process_exec` | the file and the arguments are reported |
//! | `exit` | `tp_btf/sched_process_exit` | the tag is removed |
//! | `mkdir` | `tp_btf/cgroup_mkdir` | a new cgroup is judged by its path |
//! | `create` | `cgroup/sock_create` | kinds of sockets that cannot be inspected are refused |
//! | `connect` | `cgroup/connect4`, `connect6` | the destination is remembered and rewritten |
//! | `sendmsg` | `cgroup/sendmsg4`, `sendmsg6` | datagrams are refused, but questions for name servers |
//! | `recvmsg` | `cgroup/recvmsg4`, `recvmsg6` | their answers come from the server that was meant |
//! | `release` | `cgroup/sock_release` | what a socket asked is forgotten |
//! | `handshake` | `sockops` | the destination is published, and moved to the accepted socket |
//! | `peername` | `cgroup/getpeername4`, `getpeername6` | the client sees the address it meant |
//! | `egress` | `cgroup_skb/egress` | the backstop |
//! | `ingress` | `cgroup_skb/ingress` | strangers do not reach what governed processes listen on |
//! | `doom` | `tp_btf/sys_enter`, while a tree is being ended | its processes are killed |
//! | `scan` | `iter/task` | the daemon reads all processes with their exact start times |
//!
//! Decisions read maps only; events merely report. An internal error refuses when the task is
//! governed, and passes when it is not.
//!
//! No function here bears a section's name (`sockops`): the linker takes the two for one symbol.
#![no_std]
#![no_main]

mod connect;
mod create;
mod debug;
mod doom;
mod egress;
mod exec;
mod exit;
mod governed;
mod handshake;
mod ingress;
mod kernel;
mod lookup;
mod maps;
mod mkdir;
mod packet;
mod peername;
mod question;
mod recvmsg;
mod release;
mod report;
mod scan;
mod sendmsg;
mod storage;
mod wakeup;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// `bpf_setsockopt`, the ring buffer and the BTF reads are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

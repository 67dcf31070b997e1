//! The kernel half of the gateway: one file per hook.
//!
//! | file | hook | since |
//! |---|---|---|
//! | `wakeup` | `tp_btf/sched_wakeup_new` | a task's tag is inherited |
//! | `exec` | `tp_btf/sched_process_exec` | the file and the arguments are reported |
//! | `exit` | `tp_btf/sched_process_exit` | the tag is removed |
//! | `mkdir` | `tp_btf/cgroup_mkdir` | a new cgroup is judged by its path |
//! | `rmdir` | `tp_btf/cgroup_rmdir` | one that is gone is forgotten |
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
//! Where BPF LSM is active (the tier seal), all of these too; `seal` is what they share:
//!
//! | file | hook | what |
//! |---|---|---|
//! | `family` | `lsm/socket_create`, `socket_post_create` | families of sockets; whose a socket is |
//! | `unix` | `lsm/unix_stream_connect`, `unix_may_send` | unix sockets of others |
//! | `receive` | `lsm/file_receive` | descriptors that come in |
//! | `trace` | `lsm/ptrace_access_check` | other processes, their memory and descriptors |
//! | `command` | `lsm/bpf` | the system call bpf() |
//! | `pinned` | `lsm/inode_unlink`, `inode_rmdir`, `inode_rename`, `sb_umount` | the pins |
//! | `guard` | `lsm/inode_create`, `inode_mknod`, `inode_mkdir`, `inode_symlink`, `inode_link`, `inode_setattr`, `sb_mount`, `move_mount`, `sb_pivotroot`, `task_kill` | the gateway's files and process, and files that have others work |
//! | `device` | `lsm/file_open`, `file_ioctl` | TUN/TAP, and what the kernel starts |
//! | `mount` | `lsm/fs_context_parse_param` | file systems of the network |
//! | `code` | `lsm/kernel_load_data`, `kernel_read_file` | modules, kexec |
//! | `rules` | `lsm/netlink_send`, `socket_setsockopt` | tc and netfilter |
//! | `ring` | `lsm/mmap_file` | rings that others serve |
//! | `key` | `lsm/key_alloc` | keys that the kernel has fetched |
//!
//! Decisions read maps only; events merely report. An internal error refuses when the task is
//! governed, and passes when it is not.
//!
//! No function here bears a section's name (`sockops`): the linker takes the two for one symbol.
#![no_std]
#![no_main]

mod code;
mod command;
mod connect;
mod create;
mod debug;
mod device;
mod doom;
mod egress;
mod exec;
mod exit;
mod family;
mod governed;
mod guard;
mod handshake;
mod ingress;
mod kernel;
mod key;
mod lookup;
mod maps;
mod mkdir;
mod mount;
mod packet;
mod peername;
mod pinned;
mod question;
mod receive;
mod recvmsg;
mod release;
mod report;
mod ring;
mod rmdir;
mod rules;
mod scan;
mod seal;
mod sendmsg;
mod storage;
mod trace;
mod unix;
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

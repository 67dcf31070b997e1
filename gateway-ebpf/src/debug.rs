//! What the kernel half says of its decisions through aya-log, in the object for debugging only
//! (`cargo xtask ebpf` builds both; `capture.debug_log` chooses).
//!
//! Only governed processes are spoken of: whatever is written about others would be noise of the
//! whole host. Each function is a BPF function of its own and takes plain numbers: inlined into a
//! hook, the text would not fit on its stack beside the flow, and the compiler would merge writes
//! to the context in ways that the verifier refuses.
#[cfg(feature = "debug-log")]
use crate::governed;
use gateway_common::address::Ip;

/// A hook, as it is named in the log.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Hook {
    Connect = 0,
    Datagram = 1,
}

/// `connect` or `sendmsg` to an address was decided. `verdict` is what the hook returns.
#[cfg(feature = "debug-log")]
#[inline(always)]
pub(crate) fn destination(hook: Hook, ip: &Ip, port: u32, verdict: i32) {
    let ip = u128::from_be_bytes(*ip);
    say_destination(hook, (ip >> 64) as u64, ip as u64, port, verdict);
}

#[cfg(feature = "debug-log")]
#[inline(never)]
fn say_destination(hook: Hook, high: u64, low: u64, port: u32, verdict: i32) {
    let Some(process) = governed_process() else {
        return;
    };
    let hook = match hook {
        Hook::Connect => "connect",
        Hook::Datagram => "datagram",
    };
    aya_log_ebpf::info!(
        (),
        "{} to {:i} port {} by {}: {}",
        hook,
        bytes(high, low),
        port,
        process.tgid,
        word(verdict)
    );
}

/// `sock_create` was decided.
#[cfg(feature = "debug-log")]
#[inline(never)]
pub(crate) fn socket(family: u32, kind: u32, protocol: u32, verdict: i32) {
    let Some(process) = governed_process() else {
        return;
    };
    aya_log_ebpf::info!(
        (),
        "socket({}, {}, {}) by {}: {}",
        family,
        kind,
        protocol,
        process.tgid,
        word(verdict)
    );
}

/// The backstop dropped a packet.
#[cfg(feature = "debug-log")]
#[inline(never)]
pub(crate) fn dropped(device: u32, length: u32) {
    aya_log_ebpf::info!((), "egress: dropped {} bytes for device {}", length, device);
}

/// A process inherited the tag of its parent.
#[cfg(feature = "debug-log")]
#[inline(never)]
pub(crate) fn inherited(child: u32, parent: u32, tree: u64) {
    aya_log_ebpf::info!((), "fork: {} of {} is of tree {:x}", child, parent, tree);
}

#[cfg(feature = "debug-log")]
#[inline(always)]
fn governed_process() -> Option<governed::Process> {
    Some(governed::current_process()).filter(|process| governed::tag_of(*process).is_some())
}

#[cfg(feature = "debug-log")]
#[inline(always)]
fn bytes(high: u64, low: u64) -> [u8; 16] {
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

#[cfg(feature = "debug-log")]
#[inline(always)]
fn word(verdict: i32) -> &'static str {
    if verdict == 0 { "refused" } else { "passed" }
}

#[cfg(not(feature = "debug-log"))]
mod silent {
    use super::{Hook, Ip};

    #[inline(always)]
    pub(crate) fn destination(_: Hook, _: &Ip, _: u32, _: i32) {}
    #[inline(always)]
    pub(crate) fn socket(_: u32, _: u32, _: u32, _: i32) {}
    #[inline(always)]
    pub(crate) fn dropped(_: u32, _: u32) {}
    #[inline(always)]
    pub(crate) fn inherited(_: u32, _: u32, _: u64) {}
}
#[cfg(not(feature = "debug-log"))]
pub(crate) use silent::{destination, dropped, inherited, socket};

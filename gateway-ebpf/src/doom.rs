//! `tp_btf/sys_enter` (trace_sys_enter): a system call begins. Attached only while a tree is being
//! ended.
//!
//! Whoever is of a doomed tree is killed before its call does anything: fork fails with a fatal
//! signal pending (copy_process), so a chain of processes that fork and exit faster than they can
//! be found ends here. The return value is ignored.
use crate::governed;
use crate::maps::DOOMED;
use aya_ebpf::helpers::generated::bpf_send_signal;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

const SIGKILL: u32 = 9;

#[btf_tracepoint(function = "sys_enter")]
pub fn end_doomed(_: BtfTracePointContext) -> i32 {
    if let Some(tag) = governed::tag_of(governed::current_process())
        && DOOMED.get_ptr(tag.tree).is_some()
    {
        // SAFETY: signals the task that runs.
        unsafe { bpf_send_signal(SIGKILL) };
    }
    0
}

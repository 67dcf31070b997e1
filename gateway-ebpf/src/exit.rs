//! `tp_btf/sched_process_exit` (do_exit): a task exits. It can be skipped under load, so the
//! daemon sweeps; a stale tag does no harm, since it never matches another start time.
//!
//! The leader of a group may exit long before its last thread; only the last one counts. The
//! return value is ignored. Closes row 51.
use crate::governed;
use crate::kernel;
use crate::maps::TAGS;
use crate::report;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "sched_process_exit")]
pub fn drop_tag(_ctx: BtfTracePointContext) -> i32 {
    exited();
    0
}

#[inline(always)]
fn exited() -> Option<()> {
    let process = governed::current_process();
    let tag = governed::tag_of(process)?;
    if !kernel::group_is_dead(kernel::current()) {
        return None;
    }
    report::exited(process, &tag);
    let _ = TAGS.remove(process.tgid);
    Some(())
}

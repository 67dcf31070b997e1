//! `tp_btf/cgroup_rmdir` (cgroup_rmdir): a cgroup is gone. No task is in it any more, and its id does
//! not come again: its name only takes room that new ones need.
use crate::kernel::{self, Address};
use crate::maps::CGROUPS;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;

#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn forget_cgroup(ctx: BtfTracePointContext) -> i32 {
    let cgroup: Address = ctx.arg(0);
    if kernel::in_default_hierarchy(cgroup)
        && let Some(id) = kernel::cgroup_id(cgroup)
    {
        let _ = CGROUPS.remove(id);
    }
    0
}

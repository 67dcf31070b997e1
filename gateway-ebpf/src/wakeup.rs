//! `tp_btf/sched_wakeup_new` (wake_up_new_task): a new task is about to run for the first time.
//!
//! The current task is the one that forked, the argument is the child; interrupts are off, so this
//! run cannot be skipped in favour of another one on the CPU, as those of `sched_process_fork` and
//! of fentry programs can. The child has not run yet: no connect of it can come before its tag.
//! Children stay in the tree of who forked them, but for those of a boundary: a service that runs
//! many jobs, each a tree of its own under the same policy.
//!
//! The return value is ignored. Closes rows 1, 2, 47, 49, 52, 53, 56, 67, 68.
use crate::debug;
use crate::governed::{self, Process};
use crate::kernel::{self, Address};
use crate::report;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gateway_common::event::rooted;

#[btf_tracepoint(function = "sched_wakeup_new")]
pub fn tag_new_task(ctx: BtfTracePointContext) -> i32 {
    inherit(ctx.arg::<*const core::ffi::c_void>(0));
    0
}

#[inline(always)]
fn inherit(child: Address) -> Option<()> {
    if !kernel::is_leader(child) {
        return None;
    }
    let parent = governed::current_process();
    let tag = governed::govern(kernel::current(), parent, rooted::FORK);
    let process = Process {
        tgid: kernel::tgid(child)?,
        start: kernel::start(child)?,
    };
    match tag {
        Some(tag) if governed::is_boundary(parent) => {
            let cgroup = kernel::cgroup_of(child).unwrap_or(0);
            governed::begin(process, parent, &tag, cgroup);
        }
        Some(tag) => {
            let inherited = tag.inherited(parent.tgid, process.start);
            governed::write_or_kill(process.tgid, &inherited);
            debug::inherited(process.tgid, parent.tgid, inherited.tree);
            report::forked(process, &inherited, kernel::cgroup_of(child).unwrap_or(0));
        }
        // CLONE_INTO_CGROUP: the child may be in another cgroup than the task that forked.
        None => {
            governed::govern(child, process, rooted::FORK);
        }
    }
    Some(())
}

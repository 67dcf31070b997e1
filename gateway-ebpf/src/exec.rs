//! `tp_btf/sched_process_exec` (exec_binprm): the current task runs a new file now.
//!
//! The arguments are still as the kernel laid them out, since no instruction of the new file has
//! run. The return value is ignored. A process that came into its cgroup without a fork there
//! becomes the root of a tree here.
use crate::governed;
use crate::kernel;
use crate::maps::SCRATCH;
use crate::report;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::mem::size_of;
use gateway_common::event::{ARGV_MAX, Event, FILE_MAX, kind, rooted};

#[btf_tracepoint(function = "sched_process_exec")]
pub fn report_exec(ctx: BtfTracePointContext) -> i32 {
    executed(&ctx);
    0
}

#[inline(always)]
fn executed(ctx: &BtfTracePointContext) -> Option<()> {
    let task = kernel::current();
    let process = governed::current_process();
    let tag = governed::govern(task, process, rooted::EXEC)?;
    governed::end_boundary(process);
    let binprm = ctx.arg::<*const core::ffi::c_void>(2);
    let record = SCRATCH.get_ptr_mut(0)?;
    let cgroup = kernel::cgroup_of(task).unwrap_or(0);
    let (from, to) = kernel::arguments(task).unwrap_or((0, 0));
    let whole = to.wrapping_sub(from);
    // The verifier follows a comparison better than a minimum.
    let mut length = whole;
    if length > ARGV_MAX as u64 {
        length = ARGV_MAX as u64;
    }
    // SAFETY: the scratch slot is this CPU's own; tracing programs do not migrate, and a nested
    // run of this one cannot be, since exec does not nest.
    unsafe {
        (*record).head = report::head(kind::EXECUTED, process, &tag, cgroup, 0);
        (*record).head.detail = u32::from(whole > ARGV_MAX as u64);
        let file = kernel::executed_file(binprm)?;
        let read = bpf_probe_read_kernel_str(
            (&raw mut (*record).file).cast(),
            FILE_MAX as u32,
            file.cast(),
        );
        (*record).head.file_len = if read > 0 { read as u32 - 1 } else { 0 };
        if bpf_probe_read_user(
            (&raw mut (*record).argv).cast(),
            length as u32,
            from as *const _,
        ) != 0
        {
            length = 0;
            (*record).head.detail = 1;
        }
        (*record).head.argv_len = length as u32;
        report::executed(&*record, size_of::<Event>() + FILE_MAX + length as usize);
    }
    Some(())
}

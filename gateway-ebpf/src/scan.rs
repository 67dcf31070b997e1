//! `iter/task` (bpf_iter_task): the daemon reads the list of all tasks, at its start and after a
//! failure. Writes one record per process into the reader's file; 0 goes on, 1 would stop.
//!
//! aya has no macro for this kind of program.
use crate::kernel::{self, Address};
use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::bpf_seq_write;
use core::mem::size_of;
use gateway_common::scan::Scanned;

/// `struct bpf_iter_meta`: what all iterators have in common.
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
}

/// `struct bpf_iter__task`: the task is null behind the last one.
#[repr(C)]
pub struct TaskContext {
    meta: *const Meta,
    task: Address,
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub extern "C" fn list_processes(ctx: *const TaskContext) -> i32 {
    // SAFETY: the kernel gives a whole context; the verifier knows its types.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if !task.is_null() {
        // SAFETY: the meta data of a running iterator is never null.
        list(unsafe { (*meta).seq }, task);
    }
    0
}

#[inline(always)]
fn list(out: *mut seq_file, task: Address) -> Option<()> {
    if !kernel::is_leader(task) {
        return None;
    }
    let mut record = Scanned {
        start: kernel::start(task)?,
        cgroup: kernel::cgroup_of(task)?,
        tgid: kernel::tgid(task)?,
        parent_tgid: kernel::parent_tgid(task).unwrap_or(0),
    };
    // SAFETY: the record lives until the helper returns.
    unsafe { bpf_seq_write(out, (&raw mut record).cast(), size_of::<Scanned>() as u32) };
    Some(())
}

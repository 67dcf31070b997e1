//! The few kernel fields that are read, by offsets that the daemon took from this kernel's BTF.
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use core::ffi::c_void;
use core::ptr;
use gateway_common::config::Offsets;

/// Set by the daemon before the programs are loaded.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets {
    task_pid: 0,
    task_tgid: 0,
    task_group_leader: 0,
    task_start_boottime: 0,
    task_cgroups: 0,
    task_real_parent: 0,
    task_mm: 0,
    task_signal: 0,
    signal_live: 0,
    css_set_dfl_cgrp: 0,
    cgroup_kn: 0,
    cgroup_root: 0,
    root_hierarchy_id: 0,
    kernfs_id: 0,
    mm_arg_start: 0,
    mm_arg_end: 0,
    binprm_filename: 0,
};

macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a static of plain data. Volatile, since the loader overwrites it.
        unsafe { ptr::read_volatile(&raw const OFFSETS.$field) } as usize
    };
}

/// A kernel address. Never dereferenced, only read through the probe helper.
pub(crate) type Address = *const c_void;

#[inline(always)]
fn read<T>(base: Address, offset: usize) -> Option<T> {
    // SAFETY: the helper checks the address and fails on a bad one.
    unsafe { bpf_probe_read_kernel(base.cast::<u8>().wrapping_add(offset).cast::<T>()) }.ok()
}

/// The task that runs.
#[inline(always)]
pub(crate) fn current() -> Address {
    // SAFETY: no arguments, never null.
    unsafe { bpf_get_current_task_btf() }.cast_const().cast()
}

/// Is the task the leader of its thread group, that is, a process and not one more thread?
#[inline(always)]
pub(crate) fn is_leader(task: Address) -> bool {
    let pid: Option<u32> = read(task, offset!(task_pid));
    pid.is_some() && pid == tgid(task)
}

/// `task_struct.tgid`
#[inline(always)]
pub(crate) fn tgid(task: Address) -> Option<u32> {
    read(task, offset!(task_tgid))
}

/// The process that a task is a child of now. For processes that were there before the programs
/// only: a parent that has exited is replaced here.
#[inline(always)]
pub(crate) fn parent_tgid(task: Address) -> Option<u32> {
    tgid(read(task, offset!(task_real_parent))?)
}

/// When the process that runs started. As [`start`], for the hooks that everybody's sockets come
/// through: the verifier knows where the fields of the running task are, so they are loaded without
/// a helper.
#[inline(always)]
pub(crate) fn own_start() -> u64 {
    // SAFETY: never null; the verifier checks that the offsets, which it takes for constants since
    // the loader has frozen them, are those of fields of this type.
    unsafe {
        let task = bpf_get_current_task_btf().cast::<u8>();
        let leader = ptr::read_volatile(
            task.add(offset!(task_group_leader))
                .cast::<*const u8>(),
        );
        ptr::read_volatile(leader.add(offset!(task_start_boottime)).cast::<u64>())
    }
}

/// When the process started: `start_boottime` of the group leader, which survives an exec by
/// another thread (de_thread copies it).
#[inline(always)]
pub(crate) fn start(task: Address) -> Option<u64> {
    let leader: Address = read(task, offset!(task_group_leader))?;
    read(leader, offset!(task_start_boottime))
}

/// The id of the task's cgroup in the default hierarchy.
#[inline(always)]
pub(crate) fn cgroup_of(task: Address) -> Option<u64> {
    let css_set: Address = read(task, offset!(task_cgroups))?;
    let cgroup: Address = read(css_set, offset!(css_set_dfl_cgrp))?;
    cgroup_id(cgroup)
}

/// A cgroup's id: the inode number of its directory.
#[inline(always)]
pub(crate) fn cgroup_id(cgroup: Address) -> Option<u64> {
    let node: Address = read(cgroup, offset!(cgroup_kn))?;
    read(node, offset!(kernfs_id))
}

/// Is the cgroup in the default (version 2) hierarchy? Its id is 0.
#[inline(always)]
pub(crate) fn in_default_hierarchy(cgroup: Address) -> bool {
    let Some(root) = read::<Address>(cgroup, offset!(cgroup_root)) else {
        return false;
    };
    read::<i32>(root, offset!(root_hierarchy_id)) == Some(0)
}

/// Has the last thread of the task's group exited? `signal->live` counts down in do_exit.
#[inline(always)]
pub(crate) fn group_is_dead(task: Address) -> bool {
    let Some(signal) = read::<Address>(task, offset!(task_signal)) else {
        return false;
    };
    read::<i32>(signal, offset!(signal_live)) == Some(0)
}

/// Where the arguments of the task are, in its own memory: from, to.
#[inline(always)]
pub(crate) fn arguments(task: Address) -> Option<(u64, u64)> {
    let mm: Address = read(task, offset!(task_mm))?;
    Some((
        read(mm, offset!(mm_arg_start))?,
        read(mm, offset!(mm_arg_end))?,
    ))
}

/// `linux_binprm.filename`: a kernel string.
#[inline(always)]
pub(crate) fn executed_file(binprm: Address) -> Option<*const u8> {
    read(binprm, offset!(binprm_filename))
}

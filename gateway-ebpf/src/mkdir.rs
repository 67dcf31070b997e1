//! `tp_btf/cgroup_mkdir` (cgroup_mkdir): a cgroup was made. Its path is known, and no task is in it.
//!
//! Ids of cgroups change at each restart of a service, also while the daemon is dead, so the globs
//! are matched here. The return value is ignored. Fires for all hierarchies; only the default one
//! counts.
use crate::governed;
use crate::kernel::{self, Address};
use crate::maps::{CGROUPS, GLOBS, PATHS, count};
use crate::report;
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use gateway_common::counter;
use gateway_common::glob::{NO_SLOT, PATH_MAX, START, UNJUDGED};

#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn judge_new_cgroup(ctx: BtfTracePointContext) -> i32 {
    let cgroup: Address = ctx.arg(0);
    if !kernel::in_default_hierarchy(cgroup) {
        return 0;
    }
    if judge(cgroup, ctx.arg(1)).is_none() {
        count(counter::CGROUPS_UNMATCHED);
        leave_unjudged(cgroup);
    }
    0
}

/// Who comes into this one is refused until the daemon has looked; without room for that, whoever is
/// new on the host.
#[inline(always)]
fn leave_unjudged(cgroup: Address) {
    let id = kernel::cgroup_id(cgroup);
    match id.map(|id| CGROUPS.insert(id, UNJUDGED, 0)) {
        Some(Ok(())) => report::rescan(),
        // SAFETY: no arguments.
        _ => governed::fail(unsafe { bpf_ktime_get_boot_ns() }),
    }
}

/// `None` when the daemon has to look itself.
#[inline(always)]
fn judge(cgroup: Address, path: *const u8) -> Option<()> {
    let config = governed::configuration()?;
    let table = GLOBS.get(config.globs & 1)?;
    let buffer = PATHS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own slot.
    let bytes = unsafe { &mut (*buffer).bytes };
    // SAFETY: the helper writes at most PATH_MAX bytes, the zero included.
    let read = unsafe {
        bpf_probe_read_kernel_str(bytes.as_mut_ptr().cast(), PATH_MAX as u32, path.cast())
    };
    if read <= 1 || read >= PATH_MAX as i64 {
        return None;
    }
    let mut state = START;
    // The first byte is the leading slash.
    let mut index = 1;
    while index < PATH_MAX {
        let byte = bytes[index];
        if byte == 0 {
            break;
        }
        state = table.step(state, byte);
        index += 1;
    }
    let slot = table.slot(state);
    if slot != NO_SLOT {
        CGROUPS.insert(kernel::cgroup_id(cgroup)?, slot, 0).ok()?;
    }
    Some(())
}

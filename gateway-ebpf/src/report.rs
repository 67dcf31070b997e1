//! What is reported to the daemon. Nothing here changes a decision.
use crate::governed::Process;
use crate::maps::{EVENTS, ExecRecord, count};
use aya_ebpf::helpers::bpf_get_current_uid_gid;
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_ringbuf_output};
use core::mem::size_of;
use core::ptr;
use gateway_common::counter;
use gateway_common::event::{Event, Refused, kind, refused};
use gateway_common::flow::Flow;
use gateway_common::tag::Tag;

/// The daemon looks at the ring by itself often enough; waking it for each fork would cost the
/// forking process.
const NO_WAKEUP: u64 = 1;

/// The head of an event about a process.
#[inline(always)]
pub(crate) fn head(kind: u32, process: Process, tag: &Tag, cgroup: u64, detail: u32) -> Event {
    Event {
        kind,
        tgid: process.tgid,
        start: process.start,
        tree: tag.tree,
        // SAFETY: no arguments.
        at: unsafe { bpf_ktime_get_boot_ns() },
        parent_start: tag.parent_start,
        cgroup,
        parent_tgid: tag.parent_tgid,
        slot: tag.slot,
        uid: bpf_get_current_uid_gid() as u32,
        detail,
        file_len: 0,
        argv_len: 0,
    }
}

#[inline(always)]
fn output<T>(record: &T, size: usize, flags: u64) {
    // SAFETY: `record` is readable for `size` bytes; the verifier proves it.
    let result = unsafe {
        bpf_ringbuf_output(
            ptr::from_ref(&EVENTS).cast_mut().cast(),
            ptr::from_ref(record).cast_mut().cast(),
            size as u64,
            flags,
        )
    };
    if result != 0 {
        count(counter::EVENTS_LOST);
    }
}

/// A process became the root of a tree.
#[inline(always)]
pub(crate) fn rooted(process: Process, tag: &Tag, cgroup: u64, how: u32) {
    output(
        &head(kind::ROOTED, process, tag, cgroup, how),
        size_of::<Event>(),
        0,
    );
}

/// A governed process forked; the event is about the child.
#[inline(always)]
pub(crate) fn forked(child: Process, tag: &Tag, cgroup: u64) {
    output(
        &head(kind::FORKED, child, tag, cgroup, 0),
        size_of::<Event>(),
        NO_WAKEUP,
    );
}

/// The last thread of a governed process exited.
#[inline(always)]
pub(crate) fn exited(process: Process, tag: &Tag) {
    output(
        &head(kind::EXITED, process, tag, 0, 0),
        size_of::<Event>(),
        NO_WAKEUP,
    );
}

/// A governed process executed a file. `size` is that of the head, the file and the arguments.
#[inline(always)]
pub(crate) fn executed(record: &ExecRecord, size: usize) {
    output(record, size, 0);
}

#[repr(C)]
struct RefusedRecord {
    head: Event,
    refused: Refused,
}

/// Something was refused.
#[inline(always)]
pub(crate) fn refused(process: Process, tag: &Tag, reason: u32, what: Refused) {
    count(counter::REFUSED);
    // In the ring at once: the callers' stacks are nearly full.
    let Some(mut record) = EVENTS.reserve_untyped::<RefusedRecord>(0) else {
        count(counter::EVENTS_LOST);
        return;
    };
    record.write(RefusedRecord {
        head: head(kind::REFUSED, process, tag, 0, reason),
        refused: what,
    });
    record.submit(NO_WAKEUP);
}

/// A stranger's packet to a governed listener was dropped. No process runs here that it is about.
#[inline(always)]
pub(crate) fn stranger(listener: &Flow, what: Refused) {
    let Some(mut record) = EVENTS.reserve_untyped::<RefusedRecord>(0) else {
        count(counter::EVENTS_LOST);
        return;
    };
    record.write(RefusedRecord {
        head: Event {
            kind: kind::REFUSED,
            tgid: listener.tgid,
            start: listener.start,
            tree: listener.tree,
            at: listener.at,
            parent_start: 0,
            cgroup: 0,
            parent_tgid: 0,
            slot: listener.slot,
            uid: 0,
            detail: refused::INBOUND,
            file_len: 0,
            argv_len: 0,
        },
        refused: what,
    });
    record.submit(NO_WAKEUP);
}

/// The daemon has to look at the cgroups and processes itself.
#[inline(always)]
pub(crate) fn rescan() {
    let nobody = Tag {
        start: 0,
        tree: 0,
        parent_start: 0,
        parent_tgid: 0,
        slot: 0,
    };
    let event = head(kind::RESCAN, Process { tgid: 0, start: 0 }, &nobody, 0, 0);
    output(&event, size_of::<Event>(), 0);
}

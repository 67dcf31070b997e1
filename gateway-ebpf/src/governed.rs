//! Who is governed. The one place that reads and writes tags.
//!
//! A process is governed when its tag says so, or, before it has one, when its cgroup or an
//! ancestor of it is named by a policy. From then on the tag follows the process.
use crate::kernel::{self, Address, Cgroup};
use crate::maps::{
    ALIVE, BOUNDARIES, CGROUPS, CONFIG, DRAINING, FAILURES, FREE, NAMINGS, POLICIES, TAGS, count,
};
use crate::report;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_ktime_get_boot_ns, bpf_send_signal,
};
use core::ptr;
use gateway_common::config::{self, Config};
use gateway_common::counter;
use gateway_common::event::rooted;
use gateway_common::free;
use gateway_common::glob::UNJUDGED;
use gateway_common::tag::Tag;

const SIGKILL: u32 = 9;
/// How deep below the root a cgroup that a policy names can be found from a process further down, and
/// how far above a process.
const CGROUP_DEPTH_MAX: i32 = 24;

/// The configuration; `None` before the daemon has written one.
#[inline(always)]
pub(crate) fn configuration() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// A process: thread group id and start time.
#[derive(Clone, Copy)]
pub(crate) struct Process {
    pub(crate) tgid: u32,
    pub(crate) start: u64,
}

/// The process that runs.
#[inline(always)]
pub(crate) fn current_process() -> Process {
    Process {
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        start: kernel::own_start(),
    }
}

/// The tag of a process; a stale one of an earlier process with this pid does not count.
#[inline(always)]
pub(crate) fn tag_of(process: Process) -> Option<Tag> {
    // SAFETY: the value is copied at once; values are written whole.
    let tag = unsafe { TAGS.get(process.tgid) }?;
    if tag.is_of(process.start) {
        Some(*tag)
    } else {
        None
    }
}

/// The tree of the process with this number. For processes that are known to live.
#[inline(always)]
pub(crate) fn tree_of_tgid(tgid: u32) -> Option<u64> {
    // SAFETY: copied at once.
    Some(unsafe { TAGS.get(tgid) }?.tree)
}

/// Is this the daemon, or the one before it, which drains?
#[inline(always)]
pub(crate) fn is_daemon(process: Process) -> bool {
    match configuration() {
        Some(config)
            if config.daemon_tgid == process.tgid && config.daemon_start == process.start =>
        {
            true
        }
        // SAFETY: copied at once.
        _ => unsafe { DRAINING.get(process.tgid) }.copied() == Some(process.start),
    }
}

/// The slot of a cgroup that a policy names.
#[inline(always)]
pub(crate) fn slot_of_cgroup(cgroup: u64) -> Option<u32> {
    // SAFETY: copied at once.
    unsafe { CGROUPS.get(cgroup) }.copied()
}

/// The slot of the nearest cgroup above the current task that a policy names. A task that was
/// moved, or made in place by CLONE_INTO_CGROUP, may connect before any other hook has seen it.
///
/// Nearly all tasks of the host have none, and each time the same: what this CPU has found out last is
/// good as long as the daemon has named nothing since. What `mkdir` names is new, and nobody has
/// been in it before.
#[inline(always)]
fn slot_of_current_cgroups() -> Option<u32> {
    // Once: the task may be in another one by the next look.
    let own = Cgroup::own();
    let (Some(namings), Some(free)) = (NAMINGS.get_ptr_mut(0), FREE.get_ptr_mut(0)) else {
        return slot_above(own).unwrap_or_else(slot_from_the_root);
    };
    // SAFETY: the only entries of arrays, aligned words, of which one is this CPU's own.
    let (last, now) = unsafe { (ptr::read_volatile(free), ptr::read_volatile(namings)) };
    let word = free::word(own.id(), now);
    if last != 0 && last == word {
        return None;
    }
    let Some(found) = slot_above(own) else {
        return slot_from_the_root();
    };
    if found.is_none() {
        // The number from before the walk: what was named meanwhile has another one by then. One word,
        // written whole: another task of this CPU may come between.
        // SAFETY: as above.
        unsafe { ptr::write_volatile(free, word) };
    }
    found
}

/// The slot of a cgroup or of the nearest above it; `None`: there are more than are looked at.
#[inline(always)]
fn slot_above(own: Cgroup) -> Option<Option<u32>> {
    let mut cgroup = own;
    let mut level = 0;
    while level < CGROUP_DEPTH_MAX {
        if let Some(slot) = slot_of_cgroup(cgroup.id()) {
            return Some(Some(slot));
        }
        let Some(parent) = cgroup.parent() else {
            return Some(None);
        };
        cgroup = parent;
        level += 1;
    }
    None
}

/// The same from the other end, of a task that is further down than anybody makes cgroups who does not
/// want to hide.
#[inline(always)]
fn slot_from_the_root() -> Option<u32> {
    let mut found = None;
    let mut level = 0;
    while level < CGROUP_DEPTH_MAX {
        // SAFETY: the helper takes any level, and gives 0 below the task's own cgroup.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        if id == 0 {
            break;
        }
        if let Some(slot) = slot_of_cgroup(id) {
            found = Some(slot);
        }
        level += 1;
    }
    found
}

/// Is this a service whose children begin trees of their own?
#[inline(always)]
pub(crate) fn is_boundary(process: Process) -> bool {
    // SAFETY: copied at once.
    unsafe { BOUNDARIES.get(process.tgid) }.copied() == Some(process.start)
}

/// What runs another file now is a boundary no more, until the daemon says so again.
#[inline(always)]
pub(crate) fn end_boundary(process: Process) {
    if is_boundary(process) {
        let _ = BOUNDARIES.remove(process.tgid);
    }
}

/// Makes the child of a boundary the root of a new tree.
#[inline(always)]
pub(crate) fn begin(child: Process, parent: Process, tag: &Tag, cgroup: u64) {
    let salt = configuration().map_or(0, |config| config.boot_salt);
    let tag = tag.begun(parent.tgid, child.tgid, child.start, salt);
    write_or_kill(child.tgid, &tag);
    report::rooted(child, &tag, cgroup, rooted::BOUNDARY);
}

/// The tag of the root of a new tree.
#[inline(always)]
fn root(process: Process, slot: u32) -> Tag {
    let salt = configuration().map_or(0, |config| config.boot_salt);
    Tag::root(process.tgid, process.start, salt, slot)
}

/// Writes a tag. When there is no memory for it, untagged processes that are younger than this
/// moment may not connect until the daemon has looked.
#[inline(always)]
fn write(tgid: u32, tag: &Tag) -> bool {
    let written = TAGS.insert(tgid, tag, 0).is_ok();
    if !written {
        count(counter::TAGS_FAILED);
        fail(tag.start);
    }
    written
}

/// Writes a tag in a tracing hook. When there is no memory for it, the task that runs is killed.
/// Not for socket hooks: before 6.2 the kernel does not let them signal.
#[inline(always)]
pub(crate) fn write_or_kill(tgid: u32, tag: &Tag) {
    if !write(tgid, tag) {
        // SAFETY: signals the task that runs.
        unsafe { bpf_send_signal(SIGKILL) };
    }
}

/// Says that tags may be missing of processes that started then or later.
#[inline(always)]
pub(crate) fn fail(since: u64) {
    if let (Some(config), Some(failures)) = (configuration(), FAILURES.get_ptr_mut(0)) {
        // SAFETY: the only entry of an array, of aligned words; the helper has no arguments.
        unsafe {
            let (last, oldest) = (&raw mut (*failures).last, &raw mut (*failures).since);
            // The oldest that is not repaired counts.
            if ptr::read_volatile(last) == config.repaired || since < ptr::read_volatile(oldest) {
                ptr::write_volatile(oldest, since);
            }
            ptr::write_volatile(last, bpf_ktime_get_boot_ns());
        }
    }
    report::rescan();
}

/// The tag of a task in a tracing hook, made now when its cgroup asks for it.
#[inline(always)]
pub(crate) fn govern(task: Address, process: Process, how: u32) -> Option<Tag> {
    if let Some(tag) = tag_of(process) {
        return Some(tag);
    }
    let cgroup = kernel::cgroup_of(task)?;
    let slot = slot_of_cgroup(cgroup).filter(|slot| *slot != UNJUDGED)?;
    if is_daemon(process) {
        return None;
    }
    let tag = root(process, slot);
    write_or_kill(process.tgid, &tag);
    report::rooted(process, &tag, cgroup, how);
    Some(tag)
}

/// What a socket hook has to know about the process that runs.
pub(crate) enum Standing {
    /// None of ours: nothing may change for it.
    Free,
    /// The daemon.
    Daemon,
    /// Governed.
    Governed(Process, Tag),
    /// Tags may be missing, and this process has none: refused.
    Unsure,
}

/// The standing of the process that runs, in a socket hook.
#[inline(always)]
pub(crate) fn standing() -> Standing {
    let process = current_process();
    if let Some(tag) = tag_of(process) {
        return Standing::Governed(process, tag);
    }
    if is_daemon(process) {
        return Standing::Daemon;
    }
    if let Some(slot) = slot_of_current_cgroups() {
        if slot == UNJUDGED {
            return Standing::Unsure;
        }
        let cgroup = kernel::cgroup_of(kernel::current()).unwrap_or(0);
        let tag = root(process, slot);
        if !write(process.tgid, &tag) {
            return Standing::Unsure;
        }
        report::rooted(process, &tag, cgroup, rooted::CONNECT);
        return Standing::Governed(process, tag);
    }
    let (Some(config), Some(failures)) = (configuration(), FAILURES.get(0)) else {
        return Standing::Free;
    };
    match config::unsure_since(config, failures) {
        Some(since) if process.start >= since => Standing::Unsure,
        _ => Standing::Free,
    }
}

/// Does the policy of this slot refuse?
#[inline(always)]
pub(crate) fn refuses(slot: u32) -> bool {
    match POLICIES.get(slot) {
        Some(policy) => config::refuses(policy.mode),
        None => true,
    }
}

/// May anybody connect to what trees under the policy of this slot listen on?
#[inline(always)]
pub(crate) fn admits(slot: u32) -> bool {
    match POLICIES.get(slot) {
        Some(policy) => config::admits(policy.inbound),
        None => false,
    }
}

/// Do datagrams other than questions for names go to the gateway, under the policy of this slot?
#[inline(always)]
pub(crate) fn takes_datagrams(slot: u32) -> bool {
    match POLICIES.get(slot) {
        Some(policy) => policy.datagrams == 1,
        None => false,
    }
}

/// Has the daemon been silent for so long that the policy of this slot lets pass?
#[inline(always)]
pub(crate) fn passes_when_down(slot: u32) -> bool {
    let (Some(policy), Some(alive)) = (POLICIES.get(slot), ALIVE.get(0)) else {
        return false;
    };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    config::passes_when_down(policy.allow_after, *alive, now)
}

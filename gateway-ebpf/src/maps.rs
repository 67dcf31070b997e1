//! The maps. Names are the names of their pins. None is an LRU map: eviction would be a silent
//! downgrade that an attacker can force.
use crate::storage::ClonedStorage;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, PerCpuArray, RingBuf, SkStorage};
use aya_ebpf::macros::btf_map;
use gateway_common::config::{
    BOUNDARIES_MAX, Config, DNS_DOORS_MAX, DOOMED_MAX, DRAINING_MAX, Failures, Listeners,
    NAMESPACES_MAX, SLOTS, Slot,
};
use gateway_common::flow::{Dial, Flow, Handshake, Mark, Questions};
use gateway_common::glob::Table;
use gateway_common::guard::{FileId, GUARDED_MAX, Lesson};
use gateway_common::socket::{NAMES_MAX, Owner, UnixName};
use gateway_common::tag::Tag;
use gateway_common::{counter, event};

const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;

/// Thread group id → tag. The daemon sets its size to pid_max at load, so that an insert can fail
/// for lack of memory only.
#[btf_map]
pub(crate) static TAGS: HashMap<u32, Tag, 32768, ON_DEMAND> = HashMap::new();

/// Cgroup id → policy slot, for each cgroup that a glob names. Whoever fills it, with cgroups below one
/// that was delegated to it, has used up some gigabytes of memory by then.
#[btf_map]
pub(crate) static CGROUPS: HashMap<u64, u32, 1_048_576, ON_DEMAND> = HashMap::new();

/// How often the daemon has named cgroups: what is remembered of an earlier time does not count.
#[btf_map]
pub(crate) static NAMINGS: Array<u64, 1> = Array::new();

/// The cgroup in which this CPU last met a process that no policy names, as [`free::word`] says it.
/// Not pinned: programs that are loaded anew remember nothing.
///
/// [`free::word`]: gateway_common::free::word
#[btf_map]
pub(crate) static FREE: PerCpuArray<u64, 1> = PerCpuArray::new();

/// The policies.
#[btf_map]
pub(crate) static POLICIES: Array<Slot, { SLOTS as usize }> = Array::new();

/// The globs, twice: one in force, one to be filled ([`Config::globs`]).
#[btf_map]
pub(crate) static GLOBS: Array<Table, 2> = Array::new();

/// What could not be written down.
#[btf_map]
pub(crate) static FAILURES: Array<Failures, 1> = Array::new();

/// What the daemon says.
#[btf_map]
pub(crate) static CONFIG: Array<Config, 1> = Array::new();

/// Network namespace cookie → where the gateway listens there.
#[btf_map]
pub(crate) static LISTENERS: HashMap<u64, Listeners, { NAMESPACES_MAX as usize }, ON_DEMAND> =
    HashMap::new();

/// The gateway's ports for questions, of all network namespaces: what goes elsewhere is not looked
/// at any further. The values mean nothing.
#[btf_map]
pub(crate) static DNS_DOORS: HashMap<u32, u32, { DNS_DOORS_MAX as usize }, ON_DEMAND> =
    HashMap::new();

/// What a question for a name server is, by where it comes from. Written before the datagram
/// reaches the gateway, and removed with the socket that it came from.
#[btf_map]
pub(crate) static DATAGRAMS: HashMap<Handshake, Flow, 262144, ON_DEMAND> = HashMap::new();

/// What governed datagram sockets ask.
#[btf_map]
pub(crate) static QUESTIONS: SkStorage<Questions> = SkStorage::new();

/// Handshakes on their way: from the SYN to the end of the three-way handshake.
#[btf_map]
pub(crate) static HANDSHAKES: HashMap<Handshake, Flow, 262144, ON_DEMAND> = HashMap::new();

/// Governed sockets, and what they accept: the kernel copies the storage of a listener to the
/// sockets that come of it.
#[btf_map]
pub(crate) static SOCKETS: ClonedStorage<Flow> = ClonedStorage::new();

/// Sockets that the daemon accepts. Never a CLONE map: the entry is moved here.
#[btf_map]
pub(crate) static ACCEPTED: SkStorage<Flow> = SkStorage::new();

/// The sockets that the daemon dials with.
#[btf_map]
pub(crate) static DIALS: SkStorage<Dial> = SkStorage::new();

/// Thread group id → start time of the daemon before this one, whose sessions go on: it is as little
/// governed as the daemon.
#[btf_map]
pub(crate) static DRAINING: HashMap<u32, u64, { DRAINING_MAX as usize }, ON_DEMAND> =
    HashMap::new();

/// When the daemon last said that it is alive: nanoseconds since boot.
#[btf_map]
pub(crate) static ALIVE: Array<u64, 1> = Array::new();

/// The daemon's own listeners.
#[btf_map]
pub(crate) static MARKS: SkStorage<Mark> = SkStorage::new();

/// Whose sockets of other families are: those that governed processes make, and the gateway's.
#[btf_map]
pub(crate) static OWNERS: SkStorage<Owner> = SkStorage::new();

/// The unix sockets of others that policies let their trees use. The values mean nothing.
#[btf_map]
pub(crate) static UNIX_NAMES: LpmTrie<UnixName, u32, { NAMES_MAX as usize }> = LpmTrie::new();

/// The files that governed processes leave alone, and how each is guarded.
#[btf_map]
pub(crate) static GUARDED: HashMap<FileId, u64, { GUARDED_MAX as usize }, ON_DEMAND> =
    HashMap::new();

/// Which file the daemon is about to open, for that.
#[btf_map]
pub(crate) static LESSON: Array<Lesson, 1> = Array::new();

/// Trees whose processes are to end, one and all.
#[btf_map]
pub(crate) static DOOMED: HashMap<u64, u32, { DOOMED_MAX as usize }> = HashMap::new();

/// Thread group id → start time of the services whose children begin trees of their own. The
/// daemon alone puts them there; an exec takes them out.
#[btf_map]
pub(crate) static BOUNDARIES: HashMap<u32, u64, { BOUNDARIES_MAX as usize }, ON_DEMAND> =
    HashMap::new();

/// What is counted.
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { counter::COUNT as usize }> = PerCpuArray::new();

/// Where an exec event is put together: too large for the stack.
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<ExecRecord, 1> = PerCpuArray::new();

/// Where a cgroup's path is read to.
#[btf_map]
pub(crate) static PATHS: PerCpuArray<PathBuffer, 1> = PerCpuArray::new();

/// Events to the daemon: room for some 50,000 forks, or 6,000 execs, between two looks of 10 ms.
/// The daemon maps it twice, which counts as its memory.
#[btf_map]
pub(crate) static EVENTS: RingBuf<[u8; 0], { 4 << 20 }> = RingBuf::new();

/// An exec event as it goes over the ring; the arguments are cut to their length.
#[repr(C)]
pub(crate) struct ExecRecord {
    pub(crate) head: event::Event,
    pub(crate) file: [u8; event::FILE_MAX],
    pub(crate) argv: [u8; event::ARGV_MAX],
}

/// A path and the zero behind it.
#[repr(C)]
pub(crate) struct PathBuffer {
    pub(crate) bytes: [u8; gateway_common::glob::PATH_MAX],
}

/// Adds one to a counter of this CPU.
#[inline(always)]
pub(crate) fn count(which: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(which) {
        // SAFETY: the slot is this CPU's own and stays for the life of the map.
        unsafe { *value += 1 };
    }
}

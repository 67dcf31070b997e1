//! The maps, from the daemon's side.
use crate::error::CaptureError;
use crate::syscall::{first_value, open_pin};
use crate::wire::Wire;
use aya::maps::{
    Array, HashMap, LpmTrie, Map, MapData, MapError, MapInfo, MapType, PerCpuArray, SkStorage,
};
use aya::{Ebpf, Pod};
use gateway_common::config::{Config, Failures, Listeners, Slot};
use gateway_common::flow::{Dial, Flow as KernelFlow, Handshake, Mark};
use gateway_common::glob::Table;
use gateway_common::guard::{FileId, Lesson};
use gateway_common::socket::{GATEWAY, Owner, UnixName};
use gateway_common::tag::Tag;
use gateway_common::{ABI_VERSION, address, counter};
use gateway_core::TreeId;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

/// The names of all maps that are pinned.
pub(crate) const PINNED: [&str; 26] = [
    "TAGS",
    "CGROUPS",
    "NAMINGS",
    "FAILURES",
    "POLICIES",
    "GLOBS",
    "CONFIG",
    "LISTENERS",
    "DNS_DOORS",
    "DATAGRAMS",
    "QUESTIONS",
    "HANDSHAKES",
    "SOCKETS",
    "ACCEPTED",
    "DIALS",
    "DRAINING",
    "ALIVE",
    "MARKS",
    "OWNERS",
    "UNIX_NAMES",
    "GUARDED",
    "LESSON",
    "DOOMED",
    "BOUNDARIES",
    "COUNTERS",
    "EVENTS",
];

/// What the kernel remembers about an accepted connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Where the process meant to go.
    pub destination: SocketAddr,
    /// The address that its socket was bound to.
    pub bound_source: Option<IpAddr>,
    /// Its tree.
    pub tree: TreeId,
    /// The process.
    pub pid: u32,
    /// When it started: nanoseconds since boot.
    pub start: u64,
    /// The policy of its tree.
    pub slot: u32,
    /// The client socket's cookie.
    pub cookie: u64,
    /// The cookie of its network namespace.
    pub netns: u64,
}

impl Flow {
    fn of(flow: &KernelFlow) -> Flow {
        Flow {
            destination: SocketAddr::new(ip_of(flow.destination), flow.port),
            bound_source: (flow.source != [0; 16]).then(|| ip_of(flow.source)),
            tree: TreeId(flow.tree),
            pid: flow.tgid,
            start: flow.start,
            slot: flow.slot,
            cookie: flow.cookie,
            netns: flow.netns,
        }
    }
}

/// A governed process, as the kernel's tag map has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagEntry {
    /// The process.
    pub pid: u32,
    /// When it started: nanoseconds since boot.
    pub start: u64,
    /// Its tree.
    pub tree: TreeId,
    /// The policy of its tree.
    pub slot: u32,
    /// The process that forked it; `None` for the root of a tree, and for a process whose parents
    /// had died before the gateway looked: that one is in the tree of its cgroup.
    pub parent: Option<(u32, u64)>,
    /// It is the root of its tree.
    pub root: bool,
    /// The service that forked this root, when that is a boundary.
    pub boundary: Option<(u32, u64)>,
}

impl TagEntry {
    fn of(pid: u32, tag: &Tag, salt: u64) -> TagEntry {
        let forked_by = (tag.parent_start != 0).then_some((tag.parent_tgid, tag.parent_start));
        let root = tag.is_root(pid, salt);
        TagEntry {
            pid,
            start: tag.start,
            tree: TreeId(tag.tree),
            slot: tag.slot,
            parent: forked_by.filter(|_| !root),
            root,
            boundary: forked_by.filter(|_| root),
        }
    }
}

/// What the kernel half counted since it was attached, over all CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // as in gateway_common::counter
pub struct Counters {
    pub backstop_drops: u64,
    pub events_lost: u64,
    pub tags_failed: u64,
    pub refused_down: u64,
    pub refused: u64,
    pub redirected: u64,
    pub passed: u64,
    pub cgroups_unmatched: u64,
    pub inbound_drops: u64,
}

/// All maps that the daemon uses, opened.
pub(crate) struct Maps {
    pub(crate) tags: HashMap<MapData, u32, Wire<Tag>>,
    pub(crate) cgroups: HashMap<MapData, u64, u32>,
    namings: Array<MapData, u64>,
    failures: Array<MapData, Wire<Failures>>,
    pub(crate) policies: Array<MapData, Wire<Slot>>,
    pub(crate) globs: Array<MapData, Wire<Table>>,
    pub(crate) config: Array<MapData, Wire<Config>>,
    pub(crate) listeners: HashMap<MapData, u64, Wire<Listeners>>,
    /// The gateway's ports for questions, of all network namespaces; the values mean nothing.
    pub(crate) dns_doors: HashMap<MapData, u32, u32>,
    datagrams: HashMap<MapData, Wire<Handshake>, Wire<KernelFlow>>,
    pub(crate) handshakes: HashMap<MapData, Wire<Handshake>, Wire<KernelFlow>>,
    pub(crate) sockets: SkStorage<MapData, Wire<KernelFlow>>,
    accepted: SkStorage<MapData, Wire<KernelFlow>>,
    dials: SkStorage<MapData, Wire<Dial>>,
    pub(crate) draining: HashMap<MapData, u32, u64>,
    alive: Array<MapData, u64>,
    pub(crate) marks: SkStorage<MapData, Wire<Mark>>,
    owners: SkStorage<MapData, Wire<Owner>>,
    pub(crate) unix_names: LpmTrie<MapData, Wire<UnixName>, u32>,
    pub(crate) guarded: HashMap<MapData, Wire<FileId>, u64>,
    pub(crate) lesson: Array<MapData, Wire<Lesson>>,
    pub(crate) doomed: HashMap<MapData, u64, u32>,
    pub(crate) boundaries: HashMap<MapData, u32, u64>,
    counters: PerCpuArray<MapData, u64>,
}

/// Refuses what a daemon of another version has pinned in a directory, by its configuration there.
pub(crate) fn check_version(pin: &Path, directory: &Path) -> Result<(), CaptureError> {
    let (found, expected) = (version_at(pin)?, u64::from(ABI_VERSION));
    // 0: a daemon died before it could write itself into the map.
    if found == 0 || found == expected {
        return Ok(());
    }
    Err(CaptureError::OtherVersion {
        path: directory.to_owned(),
        found,
        expected,
    })
}

/// Of which version the daemon was that pinned its configuration here: its first word, whatever comes
/// behind it in other versions.
fn version_at(pin: &Path) -> Result<u64, CaptureError> {
    let fail = |error: &(dyn std::error::Error + 'static)| {
        CaptureError::new(format!("read {}", pin.display()), error)
    };
    let info = MapInfo::from_pin(pin).map_err(|error| fail(&error))?;
    let size = info.value_size() as usize;
    if !matches!(info.map_type(), Ok(MapType::Array)) || size < size_of::<u64>() {
        return Err(CaptureError::System {
            what: format!("read {}", pin.display()),
            detail: "it is no configuration of a gateway".to_owned(),
        });
    }
    let map = open_pin(pin).map_err(|error| fail(&error))?;
    let value = first_value(&map, size).map_err(|error| fail(&error))?;
    Ok(u64::from_ne_bytes(
        value.first_chunk().copied().unwrap_or_default(),
    ))
}

fn take<T>(ebpf: &mut Ebpf, name: &str) -> Result<T, CaptureError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or_else(|| CaptureError::System {
        what: format!("find the map {name}"),
        detail: "the eBPF object does not have it".into(),
    })?;
    T::try_from(map).map_err(|error| CaptureError::new(format!("open the map {name}"), &error))
}

impl Maps {
    pub(crate) fn take(ebpf: &mut Ebpf) -> Result<Maps, CaptureError> {
        Ok(Maps {
            tags: take(ebpf, "TAGS")?,
            cgroups: take(ebpf, "CGROUPS")?,
            namings: take(ebpf, "NAMINGS")?,
            failures: take(ebpf, "FAILURES")?,
            policies: take(ebpf, "POLICIES")?,
            globs: take(ebpf, "GLOBS")?,
            config: take(ebpf, "CONFIG")?,
            listeners: take(ebpf, "LISTENERS")?,
            dns_doors: take(ebpf, "DNS_DOORS")?,
            datagrams: take(ebpf, "DATAGRAMS")?,
            handshakes: take(ebpf, "HANDSHAKES")?,
            sockets: take(ebpf, "SOCKETS")?,
            accepted: take(ebpf, "ACCEPTED")?,
            dials: take(ebpf, "DIALS")?,
            draining: take(ebpf, "DRAINING")?,
            alive: take(ebpf, "ALIVE")?,
            marks: take(ebpf, "MARKS")?,
            owners: take(ebpf, "OWNERS")?,
            unix_names: take(ebpf, "UNIX_NAMES")?,
            guarded: take(ebpf, "GUARDED")?,
            lesson: take(ebpf, "LESSON")?,
            doomed: take(ebpf, "DOOMED")?,
            boundaries: take(ebpf, "BOUNDARIES")?,
            counters: take(ebpf, "COUNTERS")?,
        })
    }

    /// Cgroups have been named: what the kernel half remembers of those that were not does not count
    /// any more.
    pub(crate) fn end_naming(&mut self) -> Result<(), CaptureError> {
        let fail = |error| CaptureError::new("write the map NAMINGS", &error);
        let before = self.namings.get(&0, 0).map_err(fail)?;
        self.namings.set(0, before + 1, 0).map_err(fail)
    }

    /// What the kernel half could not write down.
    pub(crate) fn failures(&self) -> Result<Failures, CaptureError> {
        let read = self.failures.get(&0, 0);
        Ok(read
            .map_err(|error| CaptureError::new("read the map FAILURES", &error))?
            .0)
    }

    pub(crate) fn configuration(&self) -> Result<Config, CaptureError> {
        let read = self.config.get(&0, 0);
        Ok(read
            .map_err(|error| CaptureError::new("read the map CONFIG", &error))?
            .0)
    }

    pub(crate) fn configure(&mut self, config: Config) -> Result<(), CaptureError> {
        self.config
            .set(0, Wire(config), 0)
            .map_err(|error| CaptureError::new("write the map CONFIG", &error))
    }

    /// The flow behind an accepted socket.
    pub(crate) fn flow(&self, accepted: BorrowedFd<'_>) -> Result<Option<Flow>, CaptureError> {
        let flow = match self.accepted.get(&accepted.as_raw_fd(), 0) {
            Ok(Wire(flow)) => flow,
            Err(MapError::KeyNotFound) => return Ok(None),
            Err(error) => return Err(CaptureError::new("read the map ACCEPTED", &error)),
        };
        Ok(Some(Flow::of(&flow)))
    }

    /// Says for which tree a socket is dialled with.
    pub(crate) fn dial_for(&mut self, socket: RawFd, tree: TreeId) -> Result<(), CaptureError> {
        self.dials
            .insert(&socket, Wire(Dial { tree: tree.0 }), 0)
            .map_err(|error| CaptureError::new("write the map DIALS", &error))
    }

    /// Says that a socket is the gateway's own.
    pub(crate) fn own(&mut self, socket: RawFd) -> Result<(), CaptureError> {
        self.owners
            .insert(&socket, Wire(Owner { tree: GATEWAY }), 0)
            .map_err(|error| CaptureError::new("write the map OWNERS", &error))
    }

    /// Says that the daemon is alive: at this moment, in nanoseconds since boot.
    pub(crate) fn beat(&mut self, now: u64) -> Result<(), CaptureError> {
        self.alive
            .set(0, now, 0)
            .map_err(|error| CaptureError::new("write the map ALIVE", &error))
    }

    /// The flow behind a datagram.
    pub(crate) fn question(&self, key: Handshake) -> Result<Option<Flow>, CaptureError> {
        match self.datagrams.get(&Wire(key), 0) {
            Ok(Wire(flow)) => Ok(Some(Flow::of(&flow))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(CaptureError::new("read the map DATAGRAMS", &error)),
        }
    }

    pub(crate) fn tags(&self) -> Result<Vec<TagEntry>, CaptureError> {
        let salt = self.configuration()?.boot_salt;
        let mut all = Vec::new();
        for entry in self.tags.iter() {
            let (pid, Wire(tag)) =
                entry.map_err(|error| CaptureError::new("read the map TAGS", &error))?;
            all.push(TagEntry::of(pid, &tag, salt));
        }
        Ok(all)
    }

    /// The tag of a process; `None` when it is not governed.
    pub(crate) fn tag(&self, pid: u32, start: u64) -> Result<Option<TagEntry>, CaptureError> {
        let salt = self.configuration()?.boot_salt;
        match self.tags.get(&pid, 0) {
            Ok(Wire(tag)) if tag.is_of(start) => Ok(Some(TagEntry::of(pid, &tag, salt))),
            Ok(_) | Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(CaptureError::new("read the map TAGS", &error)),
        }
    }

    pub(crate) fn counters(&self) -> Result<Counters, CaptureError> {
        let sum = |which| {
            let values = self.counters.get(&which, 0);
            let values =
                values.map_err(|error| CaptureError::new("read the map COUNTERS", &error))?;
            Ok::<u64, CaptureError>(values.iter().sum())
        };
        Ok(Counters {
            backstop_drops: sum(counter::BACKSTOP_DROPS)?,
            events_lost: sum(counter::EVENTS_LOST)?,
            tags_failed: sum(counter::TAGS_FAILED)?,
            refused_down: sum(counter::REFUSED_DOWN)?,
            refused: sum(counter::REFUSED)?,
            redirected: sum(counter::REDIRECTED)?,
            passed: sum(counter::PASSED)?,
            cgroups_unmatched: sum(counter::CGROUPS_UNMATCHED)?,
            inbound_drops: sum(counter::INBOUND_DROPS)?,
        })
    }
}

/// All keys of a map; a key that vanishes meanwhile is left out.
pub(crate) fn keys<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    name: &str,
) -> Result<Vec<K>, CaptureError> {
    map.keys()
        .collect::<Result<_, _>>()
        .map_err(|error| CaptureError::new(format!("read the map {name}"), &error))
}

/// An address of the kernel half; IPv4-mapped ones are IPv4.
pub(crate) fn ip_of(ip: address::Ip) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(ip)).to_canonical()
}

/// An address for the kernel half.
pub(crate) fn ip_for(ip: IpAddr) -> address::Ip {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

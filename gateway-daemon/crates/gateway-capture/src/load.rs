//! Attaches the programs and pins them, or takes over what an earlier daemon left pinned.
use crate::attach::is_complete;
use crate::debug::{self, DebugLog};
use crate::error::CaptureError;
use crate::events::Events;
use crate::listen::{Elsewhere, Unclaimed};
use crate::maps::{self, Counters, Flow, Maps, PINNED, TagEntry, ip_for};
use crate::missed::{TagPrograms, now_ns};
use crate::object::Object;
use crate::pins::Pins;
use crate::policies::InForce;
use crate::seal::{self, Unsealed};
use crate::space::Visitor;
use crate::wire::Wire;
use crate::{attach, btf, cgroup, host, scan};
use aya::{Btf, Ebpf, EbpfLoader};
use gateway_common::ABI_VERSION;
use gateway_common::config::{Config, Offsets, SealOffsets};
use gateway_common::flow::Handshake;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What the capture has to know of its host.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// The cgroup to attach to; `None` is the cgroup2 mount.
    pub cgroup_root: Option<PathBuf>,
    /// Where to pin.
    pub bpffs_dir: PathBuf,
    /// Which of the two forms of the programs to attach.
    pub object: Object,
    /// The daemon before this one lives: its sessions go on while this one accepts.
    pub draining: bool,
}

/// What was found at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The programs were attached already, by an earlier daemon with the same object.
    pub taken_over: bool,
}

/// The kernel half, attached.
pub struct Capture {
    pub(crate) maps: RwLock<Maps>,
    /// Kept for the one program that is attached anew for each list of processes.
    pub(crate) ebpf: Mutex<Ebpf>,
    /// The globs in force, which are needed again when tags were lost.
    pub(crate) in_force: Mutex<InForce>,
    pub(crate) tag_programs: Mutex<TagPrograms>,
    /// How often it was found that the kernel has skipped runs.
    pub(crate) misses: AtomicU64,
    pub(crate) root: cgroup::Root,
    /// Held while a tree is being ended: one at a time.
    pub(crate) ending: Mutex<()>,
    /// Held while sockets are judged: one look at a time.
    pub(crate) judging: Mutex<()>,
    events: Mutex<Option<Events>>,
    debug_log: Mutex<Option<DebugLog>>,
    /// When this daemon attached itself, in nanoseconds since boot.
    pub(crate) began: u64,
    /// Why the tier is not `seal`, where it is not.
    pub(crate) sealed: Result<(), Unsealed>,
    /// The network namespace of the daemon; 0 before it listens.
    pub(crate) netns: AtomicU64,
    /// Its sockets there once more, for a daemon that takes over.
    pub(crate) home: Mutex<Vec<OwnedFd>>,
    /// The others that it listens in.
    pub(crate) elsewhere: Mutex<Elsewhere>,
    pub(crate) unclaimed: Mutex<Unclaimed>,
    pub(crate) visitor: Visitor,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Capture {
    /// Attaches the programs, or takes the pinned ones over. Governs nothing new by itself, and
    /// lets nothing of a governed tree through before [`Capture::listen`].
    ///
    /// # Errors
    /// The host lacks something, or the pinned state is of another version.
    pub fn start(options: &CaptureOptions) -> Result<(Capture, Started), CaptureError> {
        host::check_kernel()?;
        let types = btf::read(Path::new(btf::VMLINUX))?;
        let offsets = OffsetsOf::kernel(&types)?;
        drop(types);
        let root = cgroup::Root::open(options.cgroup_root.as_deref())?;
        host::make_bpffs(&options.bpffs_dir)?;
        let pins = Pins::new(&options.bpffs_dir);
        pins.prepare()?;
        check_version(&pins)?;

        let kernel_types = Btf::from_sys_fs()
            .map_err(|error| CaptureError::new("read the kernel's BTF", &error))?;
        let mut loader = loader(&kernel_types, &offsets);
        for name in PINNED {
            loader.map_pin_path(name, pins.map(name));
        }
        if options.object == Object::Debug {
            loader.map_pin_path(debug::MAP, pins.map(debug::MAP));
        }
        let mut ebpf = loader
            .load(options.object.bytes())
            .map_err(|error| CaptureError::new("load the eBPF object", &error))?;
        scan::load(&mut ebpf, &kernel_types)?;
        let events = Events::take(&mut ebpf)?;
        let debug_log = match options.object {
            Object::Plain => None,
            Object::Debug => Some(DebugLog::take(&mut ebpf)?),
        };
        let mut maps = Maps::take(&mut ebpf)?;
        remember_draining(&mut maps, options.draining)?;
        introduce(&mut maps)?;
        let taken_over = is_complete(&pins.links(options.object));
        let sealed = if taken_over {
            // One that died before it had dropped them.
            pins.drop_others(options.object)?;
            let links = pins.links(options.object);
            seal::attach(&mut ebpf, &kernel_types, &links, &offsets.lacking)
        } else {
            let place = attach::Place {
                root: &root.file()?,
                pins: &pins,
                object: options.object,
            };
            attach::attach(&mut ebpf, &kernel_types, &place, &offsets.lacking)?
        };
        let capture = Capture {
            maps: RwLock::new(maps),
            ebpf: Mutex::new(ebpf),
            in_force: Mutex::new(InForce::default()),
            tag_programs: Mutex::new(TagPrograms::open(&pins, options.object)?),
            misses: AtomicU64::new(0),
            root,
            ending: Mutex::new(()),
            judging: Mutex::new(()),
            events: Mutex::new(Some(events)),
            debug_log: Mutex::new(debug_log),
            began: now_ns()?,
            sealed,
            netns: AtomicU64::new(0),
            home: Mutex::default(),
            elsewhere: Mutex::default(),
            unclaimed: Mutex::default(),
            visitor: Visitor::default(),
        };
        capture.recognise_daemon()?;
        Ok((capture, Started { taken_over }))
    }

    /// The events, to be read by one thread. `None` when they were taken before.
    #[must_use]
    pub fn events(&self) -> Option<Events> {
        lock(&self.events).take()
    }

    /// What the programs for debugging say, to be read by one thread. `None` with the plain ones,
    /// and when it was taken before.
    #[must_use]
    pub fn debug_log(&self) -> Option<DebugLog> {
        lock(&self.debug_log).take()
    }

    /// The flow behind an accepted socket; `None` when it did not come through the connect hook.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn flow(&self, accepted: BorrowedFd<'_>) -> Result<Option<Flow>, CaptureError> {
        self.read().flow(accepted)
    }

    /// Whose a datagram is that came from `source` to the gateway's port `listener` in a network
    /// namespace, and which server it was for; `None` when it is nobody's.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn question(
        &self,
        netns: u64,
        listener: u16,
        source: SocketAddr,
    ) -> Result<Option<Flow>, CaptureError> {
        let key = Handshake {
            netns,
            ip: ip_for(source.ip()),
            port: u32::from(source.port()),
            listener: u32::from(listener),
        };
        self.read().question(key)
    }

    /// All governed processes. Includes stale tags until the next [`Capture::sweep`].
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn tags(&self) -> Result<Vec<TagEntry>, CaptureError> {
        self.read().tags()
    }

    /// The tag of one process; `None` when it is not governed.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn tag(&self, pid: u32, start: u64) -> Result<Option<TagEntry>, CaptureError> {
        self.read().tag(pid, start)
    }

    /// What the kernel half counted.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counters(&self) -> Result<Counters, CaptureError> {
        self.read().counters()
    }

    /// A panic elsewhere does not make a map wrong: each access is one system call.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the kernel half which process is never governed: this one, by pid and start time.
    fn recognise_daemon(&self) -> Result<(), CaptureError> {
        let pid = std::process::id();
        let processes = self.processes()?;
        let own = processes.iter().find(|process| process.tgid == pid);
        let own = own.ok_or(CaptureError::NoProcess { pid })?;
        let mut maps = self.write();
        let config = maps.configuration()?;
        maps.configure(Config {
            daemon_start: own.start,
            daemon_tgid: pid,
            ..config
        })
    }

    /// The cgroup that the programs are attached to, from the cgroup2 mount.
    #[must_use]
    pub const fn root(&self) -> &cgroup::Root {
        &self.root
    }
}

/// A panic elsewhere does not make what is inside wrong.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Refuses pinned state of another version, before a program is loaded against maps that it does
/// not fit.
fn check_version(pins: &Pins) -> Result<(), CaptureError> {
    let pin = pins.map("CONFIG");
    match pin.exists() {
        true => maps::check_version(&pin, pins.directory()),
        false => Ok(()),
    }
}

/// Keeps the daemon before this one from being governed, while its sessions go on. Earlier ones
/// are gone.
fn remember_draining(maps: &mut Maps, draining: bool) -> Result<(), CaptureError> {
    for gone in maps::keys(&maps.draining, "DRAINING")? {
        let _ = maps.draining.remove(&gone);
    }
    if !draining {
        return Ok(());
    }
    let before = maps.configuration()?;
    maps.draining
        .insert(before.daemon_tgid, before.daemon_start, 0)
        .map_err(|error| CaptureError::new("write the map DRAINING", &error))
}

/// Writes this daemon into the state. Its generation begins when it listens.
fn introduce(maps: &mut Maps) -> Result<(), CaptureError> {
    let mut config = maps.configuration()?;
    let expected = u64::from(ABI_VERSION);
    let pid = std::process::id();
    config = Config {
        abi: expected,
        daemon_start: 0, // not known yet: `recognise_daemon`
        boot_salt: host::boot_salt()?,
        daemon_tgid: pid,
        ..config
    };
    maps.configure(config)?;
    maps.beat(now_ns()?)
}

/// The offsets of this kernel's fields.
pub(crate) struct OffsetsOf {
    needed: Wire<Offsets>,
    seal: Wire<SealOffsets>,
    /// Why the programs of BPF LSM cannot run here, where they cannot.
    pub(crate) lacking: Result<(), Unsealed>,
}

impl OffsetsOf {
    /// # Errors
    /// A field is lacking that nothing works without.
    pub(crate) fn kernel(types: &btf::Types) -> Result<OffsetsOf, CaptureError> {
        let (seal, lacking) = match seal::offsets(types) {
            Ok(offsets) => (offsets, Ok(())),
            Err(error) => (SealOffsets::default(), Err(error.to_string())),
        };
        Ok(OffsetsOf {
            needed: Wire(btf::offsets_in(types)?),
            seal: Wire(seal),
            lacking,
        })
    }
}

/// What the objects are loaded with, here and where it is only tried.
pub(crate) fn loader<'a>(types: &'a Btf, offsets: &'a OffsetsOf) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.btf(Some(types));
    loader.override_global("OFFSETS", &offsets.needed, true);
    loader.override_global("SEAL_OFFSETS", &offsets.seal, true);
    loader.map_max_entries("TAGS", host::pid_max());
    loader
}

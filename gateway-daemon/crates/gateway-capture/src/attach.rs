//! Attaches the programs. Where those of another build are attached, they are replaced in place: at
//! no moment is a hook without a program, and no connection is judged by two of them.
//!
//! A link of a cgroup is given another program (`BPF_LINK_UPDATE`, __cgroup_bpf_replace): each call
//! of the hook runs the old one or the new one. The kernel has no such thing for tracing programs,
//! so the new ones are attached beside the old ones, and these go last. For a moment both run: they
//! write the same tags, and a fork is reported twice.
use crate::error::CaptureError;
use crate::object::Object;
use crate::pins::Pins;
use crate::seal::{self, Unsealed};
use crate::syscall;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program};
use aya::{Btf, Ebpf};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The tracing programs, and the tracepoints that they are for.
pub(crate) const TRACING: [(&str, &str); 5] = [
    ("tag_new_task", "sched_wakeup_new"),
    ("report_exec", "sched_process_exec"),
    ("drop_tag", "sched_process_exit"),
    ("judge_new_cgroup", "cgroup_mkdir"),
    ("forget_cgroup", "cgroup_rmdir"),
];

/// The programs of the cgroup. The backstop comes first: no moment without it.
const CGROUP: [&str; 13] = [
    "drop_strays",
    "drop_strangers",
    "forget_questions",
    "give_source4",
    "give_source6",
    "follow_handshake",
    "give_peername4",
    "give_peername6",
    "judge_socket",
    "judge_datagram4",
    "judge_datagram6",
    "redirect4",
    "redirect6",
];

/// The programs that have links.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CGROUP
        .into_iter()
        .chain(TRACING.into_iter().map(|(name, _)| name))
}

pub(crate) fn is_complete(links: &Path) -> bool {
    names().all(|name| links.join(name).exists())
}

/// Where the programs are attached, and their links pinned.
pub(crate) struct Place<'a> {
    pub(crate) root: &'a File,
    pub(crate) pins: &'a Pins,
    pub(crate) object: Object,
}

/// Attaches all programs and pins their links, in the place of those that are there. Tracing
/// first: who is tagged later is judged less. Those of BPF LSM last, unless something is `lacking` for
/// them; says whether they are.
pub(crate) fn attach(
    ebpf: &mut Ebpf,
    types: &Btf,
    place: &Place<'_>,
    lacking: &Result<(), Unsealed>,
) -> Result<Result<(), Unsealed>, CaptureError> {
    let Place { root, pins, object } = *place;
    // From here on what is attached may be of two builds, and is none's own.
    let earlier = pins.retire_links()?;
    let new = pins.new_links(object);
    std::fs::create_dir_all(&new)
        .map_err(|error| CaptureError::new(format!("make {}", new.display()), &error))?;
    let mut links = Vec::new();
    for (name, tracepoint) in TRACING {
        links.push((name, attach_tracing(ebpf, name, tracepoint, types)?));
    }
    for name in CGROUP {
        let link = match replace(ebpf, name, root, &earlier)? {
            Some(link) => link,
            None => attach_cgroup(ebpf, name, root)?,
        };
        links.push((name, link));
    }
    for (name, link) in links {
        let path = new.join(name);
        // A dropped link detaches; a pinned one stays.
        link.pin(&path)
            .map_err(|error| CaptureError::new(format!("pin {}", path.display()), &error))?;
    }
    let sealed = seal::attach(ebpf, types, &new, lacking);
    pins.commit_links(object)?;
    Ok(sealed)
}

/// Gives the program to the link that an earlier one of this name has. `None` when there is none
/// on this cgroup.
fn replace(
    ebpf: &mut Ebpf,
    name: &str,
    root: &File,
    earlier: &[PathBuf],
) -> Result<Option<FdLink>, CaptureError> {
    let what = || format!("replace the program {name}");
    let failed = |error: &(dyn std::error::Error + 'static)| CaptureError::new(what(), error);
    let cgroup = root.metadata().map_err(|error| failed(&error))?.ino();
    for pin in earlier.iter().map(|links| links.join(name)) {
        if !pin.exists() {
            continue;
        }
        let fd = syscall::open_pin(&pin).map_err(|error| failed(&error))?;
        if syscall::cgroup_of_link(&fd).map_err(|error| failed(&error))? != Some(cgroup) {
            continue;
        }
        load_cgroup(ebpf, name)?;
        let program = program(ebpf, name)?;
        let program = program.fd().map_err(|error| failed(&error))?;
        syscall::update_link(&fd, program).map_err(|error| failed(&error))?;
        let link = PinnedLink::from_pin(&pin).map_err(|error| failed(&error))?;
        return Ok(Some(link.into()));
    }
    Ok(None)
}

fn load_cgroup(ebpf: &mut Ebpf, name: &str) -> Result<(), CaptureError> {
    let loaded = match program(ebpf, name)? {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        _ => return Err(wrong_kind(name)),
    };
    loaded.map_err(|error| CaptureError::new(format!("load the program {name}"), &error))
}

pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program, CaptureError> {
    ebpf.program_mut(name).ok_or_else(|| CaptureError::System {
        what: format!("find the program {name}"),
        detail: "the eBPF object does not have it".into(),
    })
}

fn attach_tracing(
    ebpf: &mut Ebpf,
    name: &str,
    tracepoint: &str,
    types: &Btf,
) -> Result<FdLink, CaptureError> {
    let load = |error: &(dyn std::error::Error + 'static)| {
        CaptureError::new(format!("load the program {name}"), error)
    };
    let Program::BtfTracePoint(tracing) = program(ebpf, name)? else {
        return Err(wrong_kind(name));
    };
    tracing
        .load(tracepoint, types)
        .map_err(|error| load(&error))?;
    let id = tracing.attach().map_err(|error| load(&error))?;
    Ok(tracing.take_link(id).map_err(|error| load(&error))?.into())
}

fn attach_cgroup(ebpf: &mut Ebpf, name: &str, root: &File) -> Result<FdLink, CaptureError> {
    let load = |error: &(dyn std::error::Error + 'static)| {
        CaptureError::new(format!("load the program {name}"), error)
    };
    // The kernel lets others attach beside us whatever is said here; any other mode is refused.
    let mode = CgroupAttachMode::Single;
    load_cgroup(ebpf, name)?;
    macro_rules! attach {
        ($program:expr, $($argument:expr),*) => {{
            let id = $program.attach($($argument),*).map_err(|error| load(&error))?;
            $program
                .take_link(id)
                .map_err(|error| load(&error))?
                .try_into()
                .map_err(|error: aya::programs::links::LinkError| load(&error))
        }};
    }
    match program(ebpf, name)? {
        Program::CgroupSockAddr(program) => attach!(program, root, mode),
        Program::CgroupSock(program) => attach!(program, root, mode),
        Program::SockOps(program) => attach!(program, root, mode),
        Program::CgroupSkb(program) => {
            let direction = match name {
                "drop_strangers" => CgroupSkbAttachType::Ingress,
                _ => CgroupSkbAttachType::Egress,
            };
            attach!(program, root, direction, mode)
        }
        _ => Err(wrong_kind(name)),
    }
}

pub(crate) fn wrong_kind(name: &str) -> CaptureError {
    CaptureError::System {
        what: format!("load the program {name}"),
        detail: "it is of another kind than expected".into(),
    }
}

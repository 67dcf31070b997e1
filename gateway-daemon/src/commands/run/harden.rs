//! What is taken from a process before it becomes the command.
use crate::exit::Failure;
use gateway_policy::Measure;
use nix::libc;
use nix::sys::prctl::{get_no_new_privs, set_no_new_privs};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use seccompiler::sock_filter;
use std::io;

/// Applies a policy's measures to this process. What is not known is not ignored.
pub(super) fn apply(names: &[String]) -> Result<(), Failure> {
    let measure = |name: &String| {
        Measure::named(name).ok_or_else(|| {
            Failure::no(format!(
                "the policy asks for {name:?}, which this binary does not know"
            ))
        })
    };
    let mut measures = names.iter().map(measure).collect::<Result<Vec<_>, _>>()?;
    // Each may need what a later one takes.
    measures.sort_unstable();
    for measure in measures {
        let failed = |error: io::Error| Failure::no(format!("harden: {}: {error}", measure.name()));
        match measure {
            Measure::CloseSockets => close_sockets(),
            Measure::NoNewPrivs => set_no_new_privs().map_err(io::Error::from),
            Measure::Seccomp => filter_system_calls(),
            Measure::DropCapabilities => drop_capabilities(),
        }
        .map_err(failed)?;
    }
    Ok(())
}

/// Sockets that were opened outside do not follow inside. Other descriptors stay as they are:
/// a job server's pipes and process substitution pass through `env` too.
fn close_sockets() -> io::Result<()> {
    let (_, mut keep) = descriptors()?;
    keep.sort_unstable();
    close_fds::set_fds_cloexec(3, &keep);
    Ok(())
}

/// The process that waits for the command needs no sockets but those of its standard streams, and
/// would share with the command what the gateway is to end there.
pub(super) fn let_go_of_sockets() -> io::Result<()> {
    let (sockets, _) = descriptors()?;
    for number in sockets.into_iter().filter(|number| *number > 2) {
        nix::unistd::close(number)?;
    }
    Ok(())
}

/// The numbers of this process's descriptors: those that are sockets, and the others.
fn descriptors() -> io::Result<(Vec<i32>, Vec<i32>)> {
    let (mut sockets, mut others) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let target = target.as_os_str().as_encoded_bytes();
        match target.starts_with(b"socket:") {
            true => sockets.push(number),
            false => others.push(number),
        }
    }
    Ok((sockets, others))
}

/// Nothing is left in any set. Of root, what a program gains by being executed is limited by the
/// bounding set, so that is emptied first; who may not do that gains nothing only without new
/// privileges.
fn drop_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    // The kernel knows no more than 64, and fails on those that it does not know.
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if !capability_is_in_bounding_set(one).unwrap_or(false) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            Err(_) if get_no_new_privs()? => break,
            Err(error) => {
                let words = format!(
                    "the bounding set cannot be emptied ({error}): expected CAP_SETPCAP, or \
                     \"no-new-privs\" in the policy's `harden`"
                );
                return Err(io::Error::other(words));
            }
        }
    }
    let nothing = CapabilitySet::empty();
    Ok(set_capabilities(
        None,
        CapabilitySets {
            effective: nothing,
            permitted: nothing,
            inheritable: nothing,
        },
    )?)
}

/// Loads the filter. It implies no-new-privs, without which a user may not load one.
fn filter_system_calls() -> io::Result<()> {
    seccompiler::apply_filter(&filter()).map_err(|error| io::Error::other(error.to_string()))
}

/// The offsets in `struct seccomp_data`, of the halves that count.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENT_0: u32 = 16;
const ARGUMENT_2: u32 = 32;
/// `AUDIT_ARCH_X86_64` (linux/audit.h): a 64-bit, little-endian x86-64.
const X86_64: u32 = 0xc000_003e;
/// System calls of the x32 ABI have this bit (`__X32_SYSCALL_BIT`).
const X32: u32 = 0x4000_0000;
/// Rings take requests for sockets that no filter sees.
const IO_URING: [i64; 3] = [
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];
/// The families whose traffic the hooks see, and the one that stays on the host.
const FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// The filter, in classic BPF (`seccomp(2)`): sockets of the families that can be governed, and
/// netlink to ask for addresses and routes, as resolvers do; no rings; no other ABI, whose numbers
/// mean other calls.
fn filter() -> Vec<sock_filter> {
    let absent = refused(libc::ENOSYS);
    let mut filter = vec![
        load(ARCHITECTURE),
        if_equal(X86_64, 1, 0),
        absent.clone(),
        load(NUMBER),
        if_at_least(X32, 0, 1),
        absent.clone(),
    ];
    for number in IO_URING {
        filter.extend([if_equal(number as u32, 0, 1), absent.clone()]);
    }
    filter.extend([
        if_equal(libc::SYS_socket as u32, 2, 0),
        if_equal(libc::SYS_socketpair as u32, 1, 0),
        ended(libc::SECCOMP_RET_ALLOW),
        load(ARGUMENT_0),
    ]);
    for family in FAMILIES {
        filter.extend([
            if_equal(family as u32, 0, 1),
            ended(libc::SECCOMP_RET_ALLOW),
        ]);
    }
    filter.extend([
        if_equal(libc::AF_NETLINK as u32, 1, 0),
        refused(libc::EAFNOSUPPORT),
        load(ARGUMENT_2),
        if_equal(libc::NETLINK_ROUTE as u32, 0, 1),
        ended(libc::SECCOMP_RET_ALLOW),
        refused(libc::EPROTONOSUPPORT),
    ]);
    filter
}

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

const fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

/// Skips so many instructions where what was loaded is equal, and so many where not.
const fn if_equal(value: u32, equal: u8, other: u8) -> sock_filter {
    instruction(
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        equal,
        other,
        value,
    )
}

const fn if_at_least(value: u32, yes: u8, no: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, yes, no, value)
}

const fn ended(action: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

const fn refused(errno: i32) -> sock_filter {
    ended(libc::SECCOMP_RET_ERRNO | errno as u32)
}

//! The commands of bpf(2) that aya keeps to itself, and kcmp(2), which no library has. All but
//! [`update_link`] only look.
use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_LINK_UPDATE: libc::c_int = 29;
/// As many as the kernel allows on one cgroup (`BPF_CGROUP_MAX_PROGS`).
const PROGRAMS_MAX: usize = 64;

/// bpf(2).
///
/// # Safety
/// The attribute is that of the command, and the addresses in it are of what lives across the call and
/// is as long as the command takes it for.
#[allow(unsafe_code)]
unsafe fn bpf<T>(command: libc::c_int, attribute: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: the caller's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attribute),
            size_of::<T>(),
        )
    };
    Errno::result(result)
}

/// A descriptor that the kernel has just made.
///
/// # Safety
/// Nobody else has it.
#[allow(unsafe_code)]
unsafe fn owned(descriptor: libc::c_long) -> OwnedFd {
    // SAFETY: the caller's.
    unsafe { OwnedFd::from_raw_fd(descriptor as RawFd) }
}

/// `union bpf_attr`, as far as `BPF_PROG_QUERY` uses it. The kernel writes up to its end.
#[repr(C)]
#[derive(Default)]
struct Query {
    target: u32,
    hook: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

/// The same, as far as `BPF_OBJ_GET` uses it.
#[repr(C)]
#[derive(Default)]
struct Get {
    path: u64,
    unused: u32,
    flags: u32,
}

/// The programs that are attached to one hook of one cgroup, by themselves.
pub(crate) struct OnHook {
    pub(crate) programs: Vec<u32>,
    /// As they were attached: who may attach beside them.
    pub(crate) flags: u32,
}

/// What is attached to this hook of a cgroup; what is attached above it does not count.
pub(crate) fn programs_on(cgroup: impl AsFd, hook: u32) -> Result<OnHook, Errno> {
    let mut ids = [0_u32; PROGRAMS_MAX];
    let mut query = Query {
        target: cgroup.as_fd().as_raw_fd() as u32,
        hook,
        ids: ids.as_mut_ptr() as u64,
        count: PROGRAMS_MAX as u32,
        ..Query::default()
    };
    // SAFETY: the attribute and the list live across the call, and are as long as they say.
    #[allow(unsafe_code)]
    unsafe { bpf(BPF_PROG_QUERY, &mut query) }?;
    let programs = ids.into_iter().take(query.count as usize).collect();
    Ok(OnHook {
        programs,
        flags: query.attach_flags,
    })
}

/// The same, as far as `BPF_MAP_LOOKUP_ELEM` uses it.
#[repr(C)]
#[derive(Default)]
struct LookUp {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The first value of an array whose values have so many bytes.
pub(crate) fn first_value(array: impl AsFd, size: usize) -> Result<Vec<u8>, Errno> {
    let key = 0_u32;
    let mut value = vec![0; size];
    let mut look = LookUp {
        map: array.as_fd().as_raw_fd() as u32,
        key: (&raw const key) as u64,
        value: value.as_mut_ptr() as u64,
        ..LookUp::default()
    };
    // SAFETY: the attribute, the key and the value live across the call; the kernel writes a value's size.
    #[allow(unsafe_code)]
    unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &mut look) }?;
    Ok(value)
}

/// `struct file_handle` of a cgroup (kernfs_encode_fh).
#[repr(C)]
struct CgroupHandle {
    bytes: u32,
    kind: i32,
    id: u64,
}

/// `FILEID_KERNFS` (include/linux/exportfs.h)
const FILEID_KERNFS: i32 = 0xfe;

/// Is there a cgroup of this id, below the mount of their file system? ESTALE: there is none.
pub(crate) fn has_cgroup(mount: &Path, id: u64) -> Result<(), Errno> {
    let mount = File::open(mount).map_err(|_| Errno::EBADF)?;
    let mut handle = CgroupHandle {
        bytes: size_of::<u64>() as u32,
        kind: FILEID_KERNFS,
        id,
    };
    // SAFETY: the handle lives across the call, and is as long as it says.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut handle,
            libc::O_PATH,
        )
    };
    let descriptor = Errno::result(result)?;
    // SAFETY: the kernel has made it for us, and nobody else knows it.
    #[allow(unsafe_code)]
    drop(unsafe { owned(descriptor) });
    Ok(())
}

/// Opens a pin, whatever it is.
pub(crate) fn open_pin(path: &Path) -> Result<OwnedFd, Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let mut get = Get {
        path: path.as_ptr() as u64,
        ..Get::default()
    };
    // SAFETY: the attribute and the path live across the call; the kernel has made the descriptor for us,
    // and nobody else knows it.
    #[allow(unsafe_code)]
    unsafe {
        bpf(BPF_OBJ_GET, &mut get).map(|descriptor| owned(descriptor))
    }
}

/// `union bpf_attr`, as far as `BPF_LINK_UPDATE` uses it.
#[repr(C)]
#[derive(Default)]
struct Update {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// Puts another program in the place of the one that a link has, at once.
pub(crate) fn update_link(link: impl AsFd, program: impl AsFd) -> Result<(), Errno> {
    let mut update = Update {
        link: link.as_fd().as_raw_fd() as u32,
        program: program.as_fd().as_raw_fd() as u32,
        ..Update::default()
    };
    // SAFETY: the attribute lives across the call; both descriptors are open.
    #[allow(unsafe_code)]
    unsafe { bpf(BPF_LINK_UPDATE, &mut update) }.map(drop)
}

/// The id of the cgroup that a link is on, as the kernel shows it (bpf_cgroup_link_show_fdinfo);
/// `None` when it is on none. A cgroup that was removed has the id 0.
pub(crate) fn cgroup_of_link(link: impl AsFd) -> std::io::Result<Option<u64>> {
    let path = format!("/proc/self/fdinfo/{}", link.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("cgroup_id:"));
    Ok(id.and_then(|id| id.trim().parse().ok()))
}

/// `KCMP_FILES` (include/uapi/linux/kcmp.h): one table of descriptors, or two.
const KCMP_FILES: libc::c_long = 2;

/// Have these two threads one table of descriptors?
pub(crate) fn shares_descriptors(one: u32, other: u32) -> Result<bool, Errno> {
    // SAFETY: takes numbers only. The kernel says 0 for equal, and 1 to 3 for an order.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            libc::c_long::from(one),
            libc::c_long::from(other),
            KCMP_FILES,
            0,
            0,
        )
    };
    Errno::result(result).map(|order| order == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pin_is_an_error() {
        assert!(open_pin(Path::new("/proc/self/stat")).is_err());
        assert!(open_pin(Path::new("/nowhere")).is_err());
        assert!(open_pin(Path::new("a\0b")).is_err());
    }

    #[test]
    fn threads_share_descriptors_unless_they_say_otherwise() {
        let own = nix::unistd::gettid().as_raw().unsigned_abs();
        std::thread::spawn(move || {
            let this = nix::unistd::gettid().as_raw().unsigned_abs();
            assert_eq!(shares_descriptors(own, this), Ok(true));
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).unwrap();
            assert_eq!(shares_descriptors(own, this), Ok(false));
        })
        .join()
        .unwrap();
        assert!(shares_descriptors(own, u32::MAX >> 1).is_err());
    }

    #[test]
    fn what_is_no_cgroup_is_an_error() {
        let file = std::fs::File::open("/").unwrap();
        assert!(programs_on(&file, 10).is_err());
    }
}

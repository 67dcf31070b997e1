//! The few kernel fields that are read, by offsets that the daemon took from this kernel's BTF.
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel_str};
use core::ffi::c_void;
use core::ptr;
use gateway_common::config::{Offsets, SealOffsets};
use gateway_common::guard::FileId;

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
    cgroup_parent: 0,
    css_cgroup: 0,
    root_hierarchy_id: 0,
    kernfs_id: 0,
    mm_arg_start: 0,
    mm_arg_end: 0,
    binprm_filename: 0,
};

/// Likewise, where the kernel has BPF LSM.
#[unsafe(no_mangle)]
static SEAL_OFFSETS: SealOffsets = SealOffsets {
    socket_sk: 0,
    sock_protocol: 0,
    unix_addr: 0,
    unix_address_len: 0,
    unix_address_name: 0,
    file_inode: 0,
    file_mode: 0,
    file_dentry: 0,
    file_private: 0,
    inode_mode: 0,
    inode_rdev: 0,
    inode_number: 0,
    inode_super: 0,
    super_magic: 0,
    super_dev: 0,
    dentry_name: 0,
    dentry_parent: 0,
    dentry_inode: 0,
    path_dentry: 0,
    path_mount: 0,
    vfsmount_super: 0,
    mount_mnt: 0,
    mount_group: 0,
    task_nsproxy: 0,
    nsproxy_mnt: 0,
    mnt_inum: 0,
    fs_context_type: 0,
    fs_type_name: 0,
    fs_type_flags: 0,
    fs_parameter_key: 0,
    skb_data: 0,
    skb_len: 0,
    ring_queue: 0,
    queue_tgid: 0,
    key_type: 0,
    key_type_name: 0,
    setattr_dentry: 0,
    host_mounts: 0,
};

macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a static of plain data. Volatile, since the loader overwrites it.
        unsafe { ptr::read_volatile(&raw const OFFSETS.$field) } as usize
    };
}

macro_rules! seal_offset {
    ($field:ident) => {
        // SAFETY: as above.
        unsafe { ptr::read_volatile(&raw const SEAL_OFFSETS.$field) } as usize
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
    let leader: *const u8 = load(current().cast(), offset!(task_group_leader));
    load(leader, offset!(task_start_boottime))
}

/// When the process started: `start_boottime` of the group leader, which survives an exec by
/// another thread (de_thread copies it).
#[inline(always)]
pub(crate) fn start(task: Address) -> Option<u64> {
    let leader: Address = read(task, offset!(task_group_leader))?;
    read(leader, offset!(task_start_boottime))
}

/// A cgroup that the verifier knows for one: its fields are loaded without a helper, as in
/// [`own_start`], and one that is gone reads as zeros.
#[derive(Clone, Copy)]
pub(crate) struct Cgroup(*const u8);

impl Cgroup {
    /// That of the task that runs, in the default hierarchy. A task may be moved at any moment; what is
    /// above a cgroup stays.
    #[inline(always)]
    pub(crate) fn own() -> Cgroup {
        let set = load(current().cast(), offset!(task_cgroups));
        Cgroup(load(set, offset!(css_set_dfl_cgrp)))
    }

    /// Its id: the inode number of its directory.
    #[inline(always)]
    pub(crate) fn id(self) -> u64 {
        let node: *const u8 = load(self.0, offset!(cgroup_kn));
        load(node, offset!(kernfs_id))
    }

    /// The one above it; `None` of the root.
    #[inline(always)]
    pub(crate) fn parent(self) -> Option<Cgroup> {
        let above: *const u8 = load(self.0, offset!(cgroup_parent));
        (!above.is_null()).then(|| Cgroup(load(above, offset!(css_cgroup))))
    }
}

/// A field of a structure that the verifier knows. It takes offsets for constants, since the loader has
/// frozen them, and checks that they are those of fields of this type.
#[inline(always)]
fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: what cannot be read is zero, and the type is an address or a number.
    unsafe { ptr::read_volatile(base.add(offset).cast::<T>()) }
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

/// The sock of a socket, as the helpers of socket storage take it: read by the program itself, so that
/// the verifier knows what it is. Null when the socket has none.
#[inline(always)]
pub(crate) fn sock_of(socket: Address) -> *mut c_void {
    let field = socket
        .cast::<u8>()
        .wrapping_add(seal_offset!(socket_sk))
        .cast::<*mut c_void>();
    // SAFETY: a field of a socket that the kernel handed over; the verifier checks the offset.
    unsafe { ptr::read_volatile(field) }
}

/// `sock.sk_protocol`
#[inline(always)]
pub(crate) fn protocol_of(sock: Address) -> Option<u16> {
    read(sock, seal_offset!(sock_protocol))
}

/// The name that a unix socket is bound to: where it is, and how long. `None` when it has none.
#[inline(always)]
pub(crate) fn unix_name(sock: Address) -> Option<(*const u8, u32)> {
    const FAMILY_BYTES: u32 = 2;
    let address: Address = read(sock, seal_offset!(unix_addr))?;
    if address.is_null() {
        return None;
    }
    let len: u32 = read(address, seal_offset!(unix_address_len))?;
    let name = address
        .cast::<u8>()
        .wrapping_add(seal_offset!(unix_address_name) + FAMILY_BYTES as usize);
    Some((name, len.checked_sub(FAMILY_BYTES)?))
}

/// `file.f_inode`
#[inline(always)]
pub(crate) fn inode_of(file: Address) -> Option<Address> {
    read(file, seal_offset!(file_inode))
}

/// May what is opened be written?
#[inline(always)]
pub(crate) fn is_writable(file: Address) -> bool {
    const FMODE_WRITE: u32 = 2;
    let mode: Option<u32> = read(file, seal_offset!(file_mode));
    mode.is_none_or(|mode| mode & FMODE_WRITE != 0)
}

/// `file.f_path.dentry`
#[inline(always)]
pub(crate) fn dentry_of(file: Address) -> Option<Address> {
    read(file, seal_offset!(file_dentry))
}

/// `path.dentry`
#[inline(always)]
pub(crate) fn dentry_of_path(path: Address) -> Option<Address> {
    read(path, seal_offset!(path_dentry))
}

/// The number of the device that an inode stands for, when it is a character device.
#[inline(always)]
pub(crate) fn character_device(inode: Address) -> Option<u32> {
    const S_IFMT: u16 = 0o170_000;
    const S_IFCHR: u16 = 0o020_000;
    let mode: u16 = read(inode, seal_offset!(inode_mode))?;
    if mode & S_IFMT != S_IFCHR {
        return None;
    }
    read(inode, seal_offset!(inode_rdev))
}

/// The magic number of the file system that an inode is in.
#[inline(always)]
pub(crate) fn magic_of(inode: Address) -> Option<u64> {
    magic(read(inode, seal_offset!(inode_super))?)
}

/// `super_block.s_magic`
#[inline(always)]
fn magic(super_block: Address) -> Option<u64> {
    read(super_block, seal_offset!(super_magic))
}

/// Which file an inode is.
#[inline(always)]
pub(crate) fn identity_of(inode: Address) -> Option<FileId> {
    let super_block: Address = read(inode, seal_offset!(inode_super))?;
    let device: u32 = read(super_block, seal_offset!(super_dev))?;
    Some(FileId {
        number: read(inode, seal_offset!(inode_number))?,
        device: u64::from(device),
    })
}

/// The first bytes of the last component of a path, with zeros behind them.
#[inline(always)]
pub(crate) fn name_of(dentry: Address) -> Option<[u8; 16]> {
    text(read(dentry, seal_offset!(dentry_name))?)
}

/// `dentry.d_parent`, which is the dentry itself at the top.
#[inline(always)]
pub(crate) fn parent_of(dentry: Address) -> Option<Address> {
    read(dentry, seal_offset!(dentry_parent))
}

/// `dentry.d_inode`
#[inline(always)]
pub(crate) fn inode_of_dentry(dentry: Address) -> Option<Address> {
    read(dentry, seal_offset!(dentry_inode))
}

/// The first bytes of a kernel string; the last one is always zero.
#[inline(always)]
fn text(from: *const u8) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    // SAFETY: the helper writes at most 16 bytes, the zero included.
    let read = unsafe {
        bpf_probe_read_kernel_str(bytes.as_mut_ptr().cast(), bytes.len() as u32, from.cast())
    };
    if read <= 0 { None } else { Some(bytes) }
}

/// What a mount is of: the magic number of the file system.
#[inline(always)]
pub(crate) fn magic_of_mount(mount: Address) -> Option<u64> {
    magic(read(mount, seal_offset!(vfsmount_super))?)
}

/// Do others see what becomes of this mount? (`mount.mnt_group_id`)
#[inline(always)]
pub(crate) fn is_shared(mount: Address) -> bool {
    let whole = mount
        .cast::<u8>()
        .wrapping_sub(seal_offset!(mount_mnt))
        .cast();
    read::<i32>(whole, seal_offset!(mount_group)) != Some(0)
}

/// `path.mnt`
#[inline(always)]
pub(crate) fn mount_of_path(path: Address) -> Option<Address> {
    read(path, seal_offset!(path_mount))
}

/// Which argument of `inode_setattr` is the dentry: others came before it in 6.9.
#[inline(always)]
pub(crate) fn argument_of_setattr() -> usize {
    seal_offset!(setattr_dentry)
}

/// Does the task see the mounts of the host?
#[inline(always)]
pub(crate) fn has_mounts_of_host(task: Address) -> bool {
    let host = seal_offset!(host_mounts) as u32;
    mounts_of(task).is_none_or(|inum| inum == host)
}

#[inline(always)]
fn mounts_of(task: Address) -> Option<u32> {
    let proxy: Address = read(task, seal_offset!(task_nsproxy))?;
    let namespace: Address = read(proxy, seal_offset!(nsproxy_mnt))?;
    read(namespace, seal_offset!(mnt_inum))
}

/// The file system that is being set up: its name, and `fs_flags`.
#[inline(always)]
pub(crate) fn file_system(context: Address) -> Option<([u8; 16], u32)> {
    let kind: Address = read(context, seal_offset!(fs_context_type))?;
    Some((
        text(read(kind, seal_offset!(fs_type_name))?)?,
        read(kind, seal_offset!(fs_type_flags))?,
    ))
}

/// `fs_parameter.key`
#[inline(always)]
pub(crate) fn parameter(of: Address) -> Option<[u8; 16]> {
    text(read(of, seal_offset!(fs_parameter_key))?)
}

/// The bytes of a packet: where they are, and how many.
#[inline(always)]
pub(crate) fn packet(skb: Address) -> Option<(Address, u32)> {
    Some((
        read(skb, seal_offset!(skb_data))?,
        read(skb, seal_offset!(skb_len))?,
    ))
}

/// A plain value at a kernel address, where the kernel's own layout is that of its ABI.
#[inline(always)]
pub(crate) fn plain<T: Copy>(base: Address, offset: usize) -> Option<T> {
    read(base, offset)
}

/// The process whose thread serves a ring of io_uring; 0 when it is served by those who call.
#[inline(always)]
pub(crate) fn server_of_ring(file: Address) -> Option<u32> {
    let ring: Address = read(file, seal_offset!(file_private))?;
    let queue: Address = read(ring, seal_offset!(ring_queue))?;
    if queue.is_null() {
        return Some(0);
    }
    read(queue, seal_offset!(queue_tgid))
}

/// The name of a key's type.
#[inline(always)]
pub(crate) fn type_of_key(key: Address) -> Option<[u8; 16]> {
    let kind: Address = read(key, seal_offset!(key_type))?;
    text(read(kind, seal_offset!(key_type_name))?)
}

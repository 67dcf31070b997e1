//! What the daemon tells the kernel half.

/// How many policies can be in force or still hold trees.
pub const SLOTS: u32 = 256;
/// How many network namespaces can have listeners.
pub const NAMESPACES_MAX: u32 = 4096;
/// How many trees can be ended at once.
pub const DOOMED_MAX: u32 = 4096;
/// How many daemons can have sessions that go on after another one has taken over.
pub const DRAINING_MAX: u32 = 16;
/// How many services can have children that begin trees of their own.
pub const BOUNDARIES_MAX: u32 = 4096;

/// The one entry of the configuration map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// [`ABI_VERSION`](crate::ABI_VERSION).
    pub abi: u64,
    /// The daemon's start time; with `daemon_tgid` it is the one process that is never governed.
    pub daemon_start: u64,
    /// Which daemon: set anew by each one, carried by the marks on its listeners.
    pub generation: u64,
    /// Mixed into the ids of trees, so that those of two boots differ.
    pub boot_salt: u64,
    /// What the kernel half has failed in up to then is repaired: [`Failures::last`].
    pub repaired: u64,
    /// Since when the kernel has skipped runs of tag programs, in nanoseconds since boot; 0 when it has
    /// not. The daemon alone can count them.
    pub missed_at: u64,
    /// The daemon's process id.
    pub daemon_tgid: u32,
    /// Which of the two glob tables is in force.
    pub globs: u32,
}

/// What the kernel half could not write down. The daemon never writes it, so that nothing that comes
/// while it repairs what was before is lost.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// When it failed last, in nanoseconds since boot; 0 when it never has. Another value is another
    /// failure.
    pub last: u64,
    /// Since when tags may be missing for what is not repaired.
    pub since: u64,
}

/// Since when tags may be missing, in nanoseconds since boot. Untagged processes that started then or
/// later may not connect until the daemon has looked.
#[must_use]
#[inline(always)]
pub const fn unsure_since(config: &Config, failures: &Failures) -> Option<u64> {
    let failed = failures.last != config.repaired;
    match (failed, config.missed_at) {
        (false, 0) => None,
        (false, missed) => Some(missed),
        (true, missed) if missed != 0 && missed < failures.since => Some(missed),
        (true, _) => Some(failures.since),
    }
}

/// How a policy's trees are treated.
pub mod mode {
    /// The slot was never used. A tree under it is refused.
    pub const UNSET: u32 = 0;
    /// Record only.
    pub const OBSERVE: u32 = 1;
    /// Record what enforce would do.
    pub const SHADOW: u32 = 2;
    /// Refuse.
    pub const ENFORCE: u32 = 3;
}

/// One policy. It keeps its slot while any tree is under it, over restarts too.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// A hash of the policy's name, by which a restarted daemon finds the slot again.
    pub name: u64,
    /// One of [`mode`].
    pub mode: u32,
    /// One of [`inbound`].
    pub inbound: u32,
    /// How long the daemon has to be silent before its trees pass uninspected, in nanoseconds; 0:
    /// they never do.
    pub allow_after: u64,
    /// 1: datagrams other than questions for names go to the gateway; 0: they are refused.
    pub datagrams: u32,
    /// Not used; zero.
    pub reserved: u32,
}

/// Who may connect to what a policy's trees listen on.
pub mod inbound {
    /// Their own tree, and nobody else.
    pub const OWN_TREE: u32 = 0;
    /// Anybody.
    pub const ANY: u32 = 1;
}

/// Does what its trees listen on take connections of others? What is not known does not.
#[must_use]
#[inline(always)]
pub const fn admits(inbound: u32) -> bool {
    inbound == inbound::ANY
}

/// May trees pass uninspected now, since the daemon has been silent for as long as their policy
/// says? `alive` is when it last said a word; 0: it never did. Both in nanoseconds since boot.
#[must_use]
#[inline(always)]
pub const fn passes_when_down(allow_after: u64, alive: u64, now: u64) -> bool {
    allow_after != 0 && alive != 0 && now > alive && now - alive > allow_after
}

/// Is a policy of this mode one that refuses? What is not known refuses.
#[must_use]
#[inline(always)]
pub const fn refuses(mode: u32) -> bool {
    mode != mode::OBSERVE && mode != mode::SHADOW
}

/// How many servers a datagram socket can ask and still be told which of them answers: each has
/// a port of the gateway of its own. resolv.conf(5) knows three; musl asks them all at once, from
/// one socket and with one id.
pub const DNS_PORTS: usize = 4;

/// How many such ports there can be, over all network namespaces.
pub const DNS_DOORS_MAX: u32 = 65536;

/// Where the gateway listens in a network namespace, all on loopback; 0 where it does not.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listeners {
    /// The TCP port on 127.0.0.1, in host byte order.
    pub v4: u32,
    /// The TCP port on ::1, in host byte order.
    pub v6: u32,
    /// The UDP ports on 127.0.0.1 that take questions for name servers.
    pub dns4: [u32; DNS_PORTS],
    /// The same on ::1.
    pub dns6: [u32; DNS_PORTS],
}

/// Offsets of the kernel's fields, in bytes, resolved from its own type information at load.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// `task_struct.pid`
    pub task_pid: u32,
    /// `task_struct.tgid`
    pub task_tgid: u32,
    /// `task_struct.group_leader`
    pub task_group_leader: u32,
    /// `task_struct.start_boottime`
    pub task_start_boottime: u32,
    /// `task_struct.cgroups`
    pub task_cgroups: u32,
    /// `task_struct.real_parent`: for processes that were there before the programs only.
    pub task_real_parent: u32,
    /// `task_struct.mm`
    pub task_mm: u32,
    /// `task_struct.signal`
    pub task_signal: u32,
    /// `signal_struct.live`
    pub signal_live: u32,
    /// `css_set.dfl_cgrp`
    pub css_set_dfl_cgrp: u32,
    /// `cgroup.kn`
    pub cgroup_kn: u32,
    /// `cgroup.root`
    pub cgroup_root: u32,
    /// `cgroup.self.parent`
    pub cgroup_parent: u32,
    /// `cgroup_subsys_state.cgroup`
    pub css_cgroup: u32,
    /// `cgroup_root.hierarchy_id`
    pub root_hierarchy_id: u32,
    /// `kernfs_node.id`
    pub kernfs_id: u32,
    /// `mm_struct.arg_start`
    pub mm_arg_start: u32,
    /// `mm_struct.arg_end`
    pub mm_arg_end: u32,
    /// `linux_binprm.filename`
    pub binprm_filename: u32,
}

/// The same for the programs of BPF LSM, which a kernel may be without. All zero where they are not
/// loaded.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealOffsets {
    /// `socket.sk`
    pub socket_sk: u32,
    /// `sock.sk_protocol`
    pub sock_protocol: u32,
    /// `unix_sock.addr`
    pub unix_addr: u32,
    /// `unix_address.len`
    pub unix_address_len: u32,
    /// `unix_address.name`
    pub unix_address_name: u32,
    /// `file.f_inode`
    pub file_inode: u32,
    /// `file.f_mode`
    pub file_mode: u32,
    /// `file.f_path.dentry`
    pub file_dentry: u32,
    /// `file.private_data`
    pub file_private: u32,
    /// `inode.i_mode`
    pub inode_mode: u32,
    /// `inode.i_rdev`
    pub inode_rdev: u32,
    /// `inode.i_ino`
    pub inode_number: u32,
    /// `inode.i_sb`
    pub inode_super: u32,
    /// `super_block.s_magic`
    pub super_magic: u32,
    /// `super_block.s_dev`
    pub super_dev: u32,
    /// `dentry.d_name.name`
    pub dentry_name: u32,
    /// `dentry.d_parent`
    pub dentry_parent: u32,
    /// `dentry.d_inode`
    pub dentry_inode: u32,
    /// `path.dentry`
    pub path_dentry: u32,
    /// `path.mnt`
    pub path_mount: u32,
    /// `vfsmount.mnt_sb`
    pub vfsmount_super: u32,
    /// `mount.mnt`
    pub mount_mnt: u32,
    /// `mount.mnt_group_id`
    pub mount_group: u32,
    /// `task_struct.nsproxy`
    pub task_nsproxy: u32,
    /// `nsproxy.mnt_ns`
    pub nsproxy_mnt: u32,
    /// `mnt_namespace.ns.inum`
    pub mnt_inum: u32,
    /// `fs_context.fs_type`
    pub fs_context_type: u32,
    /// `file_system_type.name`
    pub fs_type_name: u32,
    /// `file_system_type.fs_flags`
    pub fs_type_flags: u32,
    /// `fs_parameter.key`
    pub fs_parameter_key: u32,
    /// `sk_buff.data`
    pub skb_data: u32,
    /// `sk_buff.len`
    pub skb_len: u32,
    /// `io_ring_ctx.sq_data`
    pub ring_queue: u32,
    /// `io_sq_data.task_tgid`
    pub queue_tgid: u32,
    /// `key.type`
    pub key_type: u32,
    /// `key_type.name`
    pub key_type_name: u32,
    /// Not an offset: which argument of the hook `inode_setattr` is the dentry.
    pub setattr_dentry: u32,
    /// Not an offset: the inode number of the host's mount namespace, that of process 1.
    pub host_mounts: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_refuses() {
        assert!(refuses(mode::UNSET));
        assert!(refuses(mode::ENFORCE));
        assert!(refuses(99));
        assert!(!refuses(mode::OBSERVE));
        assert!(!refuses(mode::SHADOW));
        assert!(!admits(inbound::OWN_TREE));
        assert!(admits(inbound::ANY));
        assert!(!admits(99));
    }

    #[test]
    fn a_silent_daemon_frees_nobody_before_the_time_that_the_policy_says() {
        for (allow_after, alive, now, expected) in [
            (0, 1, u64::MAX, false),
            (10, 5, 15, false),
            (10, 5, 16, true),
            (10, 0, 1000, false),
            (10, 1000, 5, false),
        ] {
            assert_eq!(passes_when_down(allow_after, alive, now), expected);
        }
    }

    #[test]
    fn tags_may_be_missing_since_the_first_thing_that_is_not_repaired() {
        for (last, since, repaired, missed_at, expected) in [
            (0, 0, 0, 0, None),
            (71, 70, 0, 0, Some(70)),
            (71, 70, 71, 0, None),
            (72, 70, 71, 0, Some(70)),
            (72, 70, 72, 50, Some(50)),
            (72, 70, 71, 50, Some(50)),
            (72, 70, 71, 90, Some(70)),
        ] {
            let config = Config {
                repaired,
                missed_at,
                ..Config::default()
            };
            assert_eq!(unsure_since(&config, &Failures { last, since }), expected);
        }
    }
}

//! Offsets of kernel fields, from the kernel's own type information (BTF).
//!
//! The format is that of the kernel's `Documentation/bpf/btf.rst`: a header, a list of types, a
//! string table. Structs with their members and their anonymous parts are looked at, and which
//! hooks there are by name, in one pass over the file, which is not kept.
use crate::error::CaptureError;
use gateway_common::config::{Offsets, SealOffsets};
use std::collections::{HashMap, HashSet};
use std::path::Path;

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
/// What a typedef is called that stands for a tracepoint, before the tracepoint's name.
const TRACEPOINT: &[u8] = b"btf_trace_";
/// The same for functions that stand for hooks of BPF LSM.
const LSM_HOOK: &[u8] = b"bpf_lsm_";

/// Where a kernel says its types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

struct Member {
    name: u32,
    kind: u32,
    /// In bits.
    offset: u32,
}

/// The structs and unions of a BTF file.
pub struct Types {
    strings: Vec<u8>,
    /// By type id.
    members: HashMap<u32, Vec<Member>>,
    /// Structs by name.
    named: HashMap<Vec<u8>, u32>,
    /// Tracepoints and hooks of BPF LSM, with what stands before their names.
    hooks: HashSet<Vec<u8>>,
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(
            self.0.get(at..at.checked_add(2)?)?.try_into().ok()?,
        ))
    }
    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(
            self.0.get(at..at.checked_add(4)?)?.try_into().ok()?,
        ))
    }
}

/// How many bytes follow the twelve of `struct btf_type`, by kind.
fn extra_len(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        1 | 14 | 17 => 4,                                 // INT, VAR, DECL_TAG
        3 => 12,                                          // ARRAY
        KIND_STRUCT | KIND_UNION | 15 | 19 => 12 * count, // STRUCT, UNION, DATASEC, ENUM64
        6 | 13 => 8 * count,                              // ENUM, FUNC_PROTO
        2 | 7..=12 | 16 | 18 => 0, // PTR, FWD, TYPEDEF, modifiers, FUNC, FLOAT, TYPE_TAG
        _ => return None,
    })
}

impl Types {
    /// Reads a BTF file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(data: &[u8]) -> Result<Types, &'static str> {
        let bytes = Bytes(data);
        if bytes.u16(0) != Some(MAGIC) {
            return Err("it does not begin with the magic number");
        }
        let section = |offset_at: usize| {
            let header = bytes.u32(4)? as usize;
            let from = header.checked_add(bytes.u32(offset_at)? as usize)?;
            data.get(from..from.checked_add(bytes.u32(offset_at + 4)? as usize)?)
        };
        let types = section(8).ok_or("the type section is cut")?;
        let strings = section(16).ok_or("the string section is cut")?.to_vec();
        let mut all = Types {
            strings,
            members: HashMap::new(),
            named: HashMap::new(),
            hooks: HashSet::new(),
        };
        all.read(&Bytes(types))
            .ok_or("a type is cut or of a kind that is not known")?;
        Ok(all)
    }

    fn read(&mut self, types: &Bytes<'_>) -> Option<()> {
        let mut at = 0;
        let mut id = 1;
        while at < types.0.len() {
            let (name, info) = (types.u32(at)?, types.u32(at + 4)?);
            let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
            if kind == KIND_STRUCT || kind == KIND_UNION {
                let bitfields = info >> 31 != 0;
                let mut members = Vec::with_capacity(count);
                for index in 0..count {
                    let member = at + 12 + index * 12;
                    let offset = types.u32(member + 8)?;
                    members.push(Member {
                        name: types.u32(member)?,
                        kind: types.u32(member + 4)?,
                        offset: if bitfields {
                            offset & 0xff_ffff
                        } else {
                            offset
                        },
                    });
                }
                self.members.insert(id, members);
                if kind == KIND_STRUCT && name != 0 {
                    let name = self.string(name)?.to_vec();
                    self.named.entry(name).or_insert(id);
                }
            }
            let hook = match kind {
                KIND_TYPEDEF => Some(TRACEPOINT),
                KIND_FUNC => Some(LSM_HOOK),
                _ => None,
            };
            if let Some(prefix) = hook
                && let name = self.string(name)?
                && name.starts_with(prefix)
            {
                let name = name.to_vec();
                self.hooks.insert(name);
            }
            at = at + 12 + extra_len(kind, count)?;
            id += 1;
        }
        Some(())
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.strings.get(offset as usize..)?;
        rest.get(..rest.iter().position(|byte| *byte == 0)?)
    }

    /// The offset of a field in bytes, also when it is in an anonymous struct or union inside.
    #[must_use]
    pub fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let id = *self.named.get(structure.as_bytes())?;
        Some(self.find(id, field.as_bytes(), 8)? / 8)
    }

    /// Is there a tracepoint of this name?
    #[must_use]
    pub fn has_tracepoint(&self, name: &str) -> bool {
        self.hooks.contains(&[TRACEPOINT, name.as_bytes()].concat())
    }

    /// Was the kernel built with BPF LSM (CONFIG_BPF_LSM)?
    #[must_use]
    pub fn has_lsm(&self) -> bool {
        self.has_lsm_hook("socket_create")
    }

    /// Does BPF LSM know this hook?
    #[must_use]
    pub fn has_lsm_hook(&self, name: &str) -> bool {
        self.hooks.contains(&[LSM_HOOK, name.as_bytes()].concat())
    }

    fn find(&self, id: u32, field: &[u8], depth: u32) -> Option<u32> {
        let members = self.members.get(&id)?;
        for member in members {
            if member.name != 0 && self.string(member.name)? == field {
                return Some(member.offset);
            }
        }
        let inner = depth.checked_sub(1)?;
        members
            .iter()
            .filter(|member| member.name == 0)
            .find_map(|member| Some(member.offset + self.find(member.kind, field, inner)?))
    }
}

/// Reads the types that a kernel says.
///
/// # Errors
/// There is no BTF, or it cannot be understood.
pub fn read(path: &Path) -> Result<Types, CaptureError> {
    let data = std::fs::read(path).map_err(|_| CaptureError::NoBtf { path: path.into() })?;
    Types::parse(&data).map_err(|what| CaptureError::BadBtf {
        path: path.into(),
        what,
    })
}

/// Resolves the offsets that the programs need.
///
/// # Errors
/// There is no BTF, or it lacks a field.
pub fn offsets(path: &Path) -> Result<Offsets, CaptureError> {
    offsets_in(&read(path)?)
}

/// The same in types that were read.
///
/// # Errors
/// A field is lacking.
pub fn offsets_in(types: &Types) -> Result<Offsets, CaptureError> {
    let get = |structure: &str, field: &str| field_in(types, structure, field);
    Ok(Offsets {
        task_pid: get("task_struct", "pid")?,
        task_tgid: get("task_struct", "tgid")?,
        task_group_leader: get("task_struct", "group_leader")?,
        task_start_boottime: get("task_struct", "start_boottime")?,
        task_cgroups: get("task_struct", "cgroups")?,
        task_real_parent: get("task_struct", "real_parent")?,
        task_mm: get("task_struct", "mm")?,
        task_signal: get("task_struct", "signal")?,
        signal_live: get("signal_struct", "live")?,
        css_set_dfl_cgrp: get("css_set", "dfl_cgrp")?,
        cgroup_kn: get("cgroup", "kn")?,
        cgroup_root: get("cgroup", "root")?,
        cgroup_parent: get("cgroup", "self")? + get("cgroup_subsys_state", "parent")?,
        css_cgroup: get("cgroup_subsys_state", "cgroup")?,
        root_hierarchy_id: get("cgroup_root", "hierarchy_id")?,
        kernfs_id: get("kernfs_node", "id")?,
        mm_arg_start: get("mm_struct", "arg_start")?,
        mm_arg_end: get("mm_struct", "arg_end")?,
        binprm_filename: get("linux_binprm", "filename")?,
    })
}

fn field_in(types: &Types, structure: &str, field: &str) -> Result<u32, CaptureError> {
    types
        .offset(structure, field)
        .ok_or_else(|| CaptureError::NoField {
            what: format!("{structure}.{field}"),
        })
}

/// The offsets that the programs of BPF LSM need beside these.
///
/// # Errors
/// A field is lacking.
pub(crate) fn seal_offsets_in(types: &Types) -> Result<SealOffsets, CaptureError> {
    let get = |structure: &str, field: &str| field_in(types, structure, field);
    Ok(SealOffsets {
        socket_sk: get("socket", "sk")?,
        sock_protocol: get("sock", "sk_protocol")?,
        unix_addr: get("unix_sock", "addr")?,
        unix_address_len: get("unix_address", "len")?,
        unix_address_name: get("unix_address", "name")?,
        file_inode: get("file", "f_inode")?,
        file_mode: get("file", "f_mode")?,
        file_dentry: get("file", "f_path")? + get("path", "dentry")?,
        file_private: get("file", "private_data")?,
        inode_mode: get("inode", "i_mode")?,
        inode_rdev: get("inode", "i_rdev")?,
        inode_number: get("inode", "i_ino")?,
        inode_super: get("inode", "i_sb")?,
        super_magic: get("super_block", "s_magic")?,
        super_dev: get("super_block", "s_dev")?,
        dentry_name: get("dentry", "d_name")? + get("qstr", "name")?,
        dentry_parent: get("dentry", "d_parent")?,
        dentry_inode: get("dentry", "d_inode")?,
        path_dentry: get("path", "dentry")?,
        path_mount: get("path", "mnt")?,
        vfsmount_super: get("vfsmount", "mnt_sb")?,
        mount_mnt: get("mount", "mnt")?,
        mount_group: get("mount", "mnt_group_id")?,
        task_nsproxy: get("task_struct", "nsproxy")?,
        nsproxy_mnt: get("nsproxy", "mnt_ns")?,
        mnt_inum: get("mnt_namespace", "ns")? + get("ns_common", "inum")?,
        fs_context_type: get("fs_context", "fs_type")?,
        fs_type_name: get("file_system_type", "name")?,
        fs_type_flags: get("file_system_type", "fs_flags")?,
        fs_parameter_key: get("fs_parameter", "key")?,
        skb_data: get("sk_buff", "data")?,
        skb_len: get("sk_buff", "len")?,
        ring_queue: get("io_ring_ctx", "sq_data")?,
        queue_tgid: get("io_sq_data", "task_tgid")?,
        key_type: get("key", "type")?,
        key_type_name: get("key_type", "name")?,
        // The idmap of the mount came to be the first one together with this hook.
        setattr_dentry: u32::from(types.has_lsm_hook("inode_post_setattr")),
        host_mounts: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_all_fields() {
        let offsets = offsets(Path::new(VMLINUX)).unwrap();
        assert_ne!(offsets.task_tgid, 0);
        assert_eq!(
            offsets.task_tgid,
            offsets.task_pid + 4,
            "pid_t pid; pid_t tgid;"
        );
        assert_eq!(offsets.mm_arg_end, offsets.mm_arg_start + 8);
    }

    #[test]
    fn this_kernel_has_the_fields_for_bpf_lsm() {
        let types = read(Path::new(VMLINUX)).unwrap();
        let offsets = seal_offsets_in(&types).unwrap();
        assert_eq!(offsets.file_dentry % 8, 0);
        assert_ne!(offsets.socket_sk, 0);
    }

    #[test]
    fn tracepoints_are_known_by_their_names() {
        let types = read(Path::new(VMLINUX)).unwrap();
        assert!(types.has_tracepoint("sched_wakeup_new"));
        assert!(!types.has_tracepoint("sched_wakeup_old"));
        assert!(!types.has_tracepoint(""));
    }

    #[test]
    fn nonsense_is_an_error_and_not_a_panic() {
        assert!(Types::parse(&[]).is_err());
        assert!(Types::parse(&[0; 64]).is_err());
        let real = std::fs::read(VMLINUX).unwrap();
        for cut in [2, 10, 23, 24, 100, 5000] {
            assert!(Types::parse(&real[..cut]).is_err(), "cut at {cut}");
        }
        let missing = offsets(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(missing.contains("CONFIG_DEBUG_INFO_BTF"), "{missing}");
    }
}

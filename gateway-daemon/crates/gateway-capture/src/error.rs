//! What can be wrong with a host, a kernel, or a pinned state.
use std::path::PathBuf;

/// Why the capture cannot start or go on. Each text says what was expected and where.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The kernel is older than what was tested.
    #[error("kernel {found} is too old: the programs need 6.1 or later")]
    KernelTooOld {
        /// What `uname -r` says.
        found: String,
    },
    /// The kernel gives no type information.
    #[error("the kernel has no BTF at {path}: it has to be built with CONFIG_DEBUG_INFO_BTF=y")]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The type information lacks a field.
    #[error("the kernel's BTF has no {what}: this kernel is not supported")]
    NoField {
        /// `struct.field`
        what: String,
    },
    /// The type information cannot be read.
    #[error("the kernel's BTF at {path} cannot be read: {what}")]
    BadBtf {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// No cgroup2 hierarchy.
    #[error("no cgroup2 mount in /proc/mounts: mount one, or set capture.cgroup_root")]
    NoCgroup2,
    /// The configured root is not in a cgroup2 hierarchy.
    #[error("capture.cgroup_root {path} is not a directory of a cgroup2 mount")]
    NotCgroup2 {
        /// What was configured.
        path: PathBuf,
    },
    /// The kernel says no.
    #[error(
        "not permitted to {what}: run as root, with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN ({detail})"
    )]
    NotPermitted {
        /// What was tried.
        what: String,
        /// The system's words.
        detail: String,
    },
    /// The pinned state was made by another version.
    #[error(
        "the pinned state in {path} has ABI version {found}, this gateway has {expected}: run `gateway uninstall` first (governed processes stay cut off until then)"
    )]
    OtherVersion {
        /// The bpffs directory.
        path: PathBuf,
        /// What it says.
        found: u64,
        /// What we are.
        expected: u64,
    },
    /// The globs do not fit.
    #[error("the cgroup globs of all policies together are too large: {what}")]
    Globs {
        /// What does not fit.
        what: String,
    },
    /// All policy slots are taken.
    #[error("more than {max} policies are in force or still hold trees")]
    TooManyPolicies {
        /// How many there can be.
        max: u32,
    },
    /// A process that is to be governed is gone.
    #[error("process {pid} does not exist")]
    NoProcess {
        /// Its id.
        pid: u32,
    },
    /// Something in the kernel or the file system failed.
    #[error("cannot {what}: {detail}")]
    System {
        /// What was tried.
        what: String,
        /// The system's words.
        detail: String,
    },
}

impl CaptureError {
    /// Words an error of a library, with all its causes, and tells a missing permission apart.
    pub(crate) fn new(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut detail = error.to_string();
        let mut permission = is_permission(error);
        let mut source = error.source();
        while let Some(cause) = source {
            detail.push_str(": ");
            detail.push_str(&cause.to_string());
            permission |= is_permission(cause);
            source = cause.source();
        }
        if permission {
            return CaptureError::NotPermitted {
                what: what.into(),
                detail,
            };
        }
        CaptureError::System {
            what: what.into(),
            detail,
        }
    }
}

fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

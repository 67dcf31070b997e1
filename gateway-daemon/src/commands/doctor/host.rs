//! What /proc, /sys and the unit files say about the host.
use super::check::{Check, Viewer};
use std::io;
use std::path::{Path, PathBuf};

/// The host's files; tests have a directory of their own.
pub(crate) struct Host {
    root: PathBuf,
}

/// A capability, its number (capability.h), and what the gateway does by it.
struct Capability {
    name: &'static str,
    number: u32,
    used_for: &'static str,
}

const fn capability(name: &'static str, number: u32, used_for: &'static str) -> Capability {
    Capability {
        name,
        number,
        used_for,
    }
}

/// Without these no program can be loaded or attached.
const NEEDED: [Capability; 4] = [
    capability("CAP_BPF", 39, "load programs"),
    capability("CAP_PERFMON", 38, "load tracing programs"),
    capability("CAP_NET_ADMIN", 12, "attach programs to cgroups"),
    capability("CAP_SYS_ADMIN", 21, "mount bpffs, list programs"),
];

/// Without these the gateway does less.
const USEFUL: [Capability; 4] = [
    capability("CAP_SYS_PTRACE", 19, "see files and arguments of processes"),
    capability("CAP_DAC_READ_SEARCH", 2, "see files of processes"),
    capability("CAP_DAC_OVERRIDE", 1, "move commands into cgroups"),
    capability("CAP_SYS_RESOURCE", 24, "have more descriptors"),
];
const SYS_RESOURCE: u32 = 24;

/// The namespaces that every host starts with have fixed numbers (include/linux/proc_ns.h).
const NAMESPACES: [(&str, &str); 3] = [
    ("pid", "pid:[4026531836]"),
    ("cgroup", "cgroup:[4026531835]"),
    ("user", "user:[4026531837]"),
];

/// Where systemd looks for units, the first first.
const UNITS: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

impl Host {
    pub(crate) fn this() -> Host {
        Host { root: "/".into() }
    }

    #[cfg(test)]
    fn at(root: &Path) -> Host {
        Host {
            root: root.to_owned(),
        }
    }

    fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(self.root.join(path))
    }

    /// A file of one word; `None` when it is not there.
    fn word(&self, path: &str) -> io::Result<Option<String>> {
        match self.read(path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn effective_capabilities(&self) -> Option<u64> {
        let status = self.read("proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    }

    /// May the caller do what the daemon has to do?
    pub(crate) fn capabilities(&self, viewer: Viewer) -> Check {
        const NAME: &str = "capabilities";
        const SERVICE: &str = "start it with the CapabilityBoundingSet of docs/gateway.service";
        let Some(effective) = self.effective_capabilities() else {
            let detail = "/proc/self/status does not say";
            return Check::unknown(NAME, detail, "mount /proc");
        };
        let lacking = |of: &[Capability]| {
            let without = of.iter().filter(|one| effective >> one.number & 1 == 0);
            let words = without.map(|one| format!("{} ({})", one.name, one.used_for));
            words.collect::<Vec<_>>().join(", ")
        };
        let (needed, useful) = (lacking(&NEEDED), lacking(&USEFUL));
        if !needed.is_empty() {
            return viewer.denied(NAME, format!("without {needed}"), SERVICE);
        }
        if !useful.is_empty() {
            return Check::warning(NAME, format!("without {useful}"), SERVICE);
        }
        Check::ok(NAME, "all that are needed")
    }

    /// Process ids, cgroup paths and capabilities have to be the host's.
    pub(crate) fn namespaces(&self) -> Check {
        const NAME: &str = "namespaces";
        let mut other = Vec::new();
        for (name, initial) in NAMESPACES {
            match std::fs::read_link(self.root.join("proc/self/ns").join(name)) {
                Ok(link) if link == Path::new(initial) => {}
                Ok(_) => other.push(name),
                Err(error) => {
                    let detail = format!("/proc/self/ns/{name}: {error}");
                    return Check::unknown(NAME, detail, "mount /proc");
                }
            }
        }
        if other.is_empty() {
            return Check::ok(NAME, "pid, cgroup and user namespace are the host's");
        }
        let detail = format!("not the host's: {}", other.join(", "));
        Check::missing(NAME, detail, "start the gateway outside of containers")
    }

    /// Is BPF LSM active? `built` is whether the kernel has it at all, as far as that is known;
    /// `unsealed` why the programs for it do not run.
    pub(crate) fn lsm(&self, built: Option<bool>, unsealed: Option<&str>) -> Check {
        const NAME: &str = "lsm";
        const BOOT: &str = "boot with bpf in lsm= (the tier seal)";
        match self.word("sys/kernel/security/lsm") {
            Ok(Some(active)) if active.split(',').any(|name| name == "bpf") => match unsealed {
                None => Check::ok(NAME, format!("BPF LSM is active ({active})")),
                Some(reason) => {
                    let detail = format!("BPF LSM is active, but {reason}");
                    Check::warning(NAME, detail, "run gateway doctor as root; please report it")
                }
            },
            _ if built == Some(false) => {
                let kernel = "a kernel with CONFIG_BPF_LSM=y (the tier seal)";
                Check::warning(NAME, "the kernel was built without BPF LSM", kernel)
            }
            Ok(Some(active)) => {
                Check::warning(NAME, format!("BPF LSM is not active ({active})"), BOOT)
            }
            Ok(None) => {
                let mount = "mount -t securityfs securityfs /sys/kernel/security";
                let detail = "securityfs is not mounted, so which LSMs are active is not known";
                Check::unknown(NAME, detail, mount)
            }
            Err(error) => Check::unknown(NAME, error.to_string(), "run gateway doctor as root"),
        }
    }

    fn lockdown_mode(&self) -> io::Result<Option<String>> {
        Ok(self.word("sys/kernel/security/lockdown")?.map(|modes| {
            let chosen = modes.split_whitespace();
            let mut chosen = chosen.filter_map(|mode| mode.strip_prefix('[')?.strip_suffix(']'));
            chosen.next().unwrap_or("none").to_owned()
        }))
    }

    /// Does the kernel defend itself from root?
    pub(crate) fn lockdown(&self) -> Check {
        const NAME: &str = "lockdown";
        const BOOT: &str = "boot with lockdown=integrity (closes row 38)";
        match self.lockdown_mode() {
            Ok(Some(mode)) if mode == "integrity" => Check::ok(NAME, mode),
            Ok(Some(mode)) if mode == "confidentiality" => {
                let detail = "confidentiality: the kernel may refuse the tracing programs";
                Check::warning(NAME, detail, BOOT)
            }
            Ok(Some(_)) => Check::warning(NAME, "none: root can change the kernel", BOOT),
            Ok(None) => {
                let detail = "not known: the kernel does not say (CONFIG_SECURITY_LOCKDOWN_LSM, \
                              securityfs)";
                let mount = "mount -t securityfs securityfs /sys/kernel/security";
                Check::unknown(NAME, detail, mount)
            }
            Err(error) => Check::unknown(NAME, error.to_string(), "run gateway doctor as root"),
        }
    }

    /// `Some(true)`: root can load modules.
    fn takes_modules(&self) -> Option<bool> {
        match self.word("proc/sys/kernel/modules_disabled") {
            Ok(Some(word)) => Some(word == "0"),
            // The list is there exactly when the kernel knows modules.
            Ok(None) if self.root.join("proc/sys/kernel").is_dir() => {
                Some(self.root.join("proc/modules").exists())
            }
            _ => None,
        }
    }

    /// Can root put code of its own into the kernel?
    pub(crate) fn modules(&self) -> Check {
        const NAME: &str = "modules";
        match self.takes_modules() {
            Some(false) => Check::ok(NAME, "the kernel loads no modules"),
            Some(true) => Check::warning(
                NAME,
                "root can load kernel modules",
                "lockdown=integrity, or kernel.modules_disabled=1 after the start",
            ),
            None => Check::unknown(NAME, "/proc does not say", "mount /proc"),
        }
    }

    /// `Some(true)`: root can start another kernel.
    fn takes_kexec(&self) -> Option<bool> {
        match self.word("proc/sys/kernel/kexec_load_disabled") {
            Ok(Some(word)) => Some(word == "0"),
            Ok(None) if self.root.join("proc/sys/kernel").is_dir() => Some(false),
            _ => None,
        }
    }

    /// The same by another kernel.
    pub(crate) fn kexec(&self) -> Check {
        const NAME: &str = "kexec";
        match self.takes_kexec() {
            Some(false) => Check::ok(NAME, "the kernel starts no other one"),
            Some(true) => Check::warning(
                NAME,
                "root can start another kernel",
                "lockdown=integrity, or kernel.kexec_load_disabled=1",
            ),
            None => Check::unknown(NAME, "/proc does not say", "mount /proc"),
        }
    }

    /// Why nobody gets code of their own into this kernel. `None`: root does.
    pub(crate) fn no_kernel_code(&self) -> Option<&'static str> {
        if let Ok(Some(mode)) = self.lockdown_mode()
            && (mode == "integrity" || mode == "confidentiality")
        {
            return Some("lockdown is on");
        }
        let closed = self.takes_modules() == Some(false) && self.takes_kexec() == Some(false);
        closed.then_some("the kernel loads no modules and starts no other kernel")
    }

    /// May everybody load programs?
    pub(crate) fn unprivileged_bpf(&self) -> Check {
        const NAME: &str = "unprivileged-bpf";
        match self.word("proc/sys/kernel/unprivileged_bpf_disabled") {
            Ok(Some(word)) if word == "0" => Check::warning(
                NAME,
                "every user may load BPF programs",
                "kernel.unprivileged_bpf_disabled=1",
            ),
            Ok(Some(_)) => Check::ok(NAME, "BPF programs need a capability"),
            Ok(None) => Check::unknown(NAME, "/proc does not say", "mount /proc"),
            Err(error) => Check::unknown(NAME, error.to_string(), "run gateway doctor as root"),
        }
    }

    /// Can the daemon have as many descriptors as its sessions may need? `hard` is the caller's
    /// limit.
    pub(crate) fn descriptors(&self, wanted: u64, hard: u64) -> Check {
        const NAME: &str = "descriptors";
        let most = self.word("proc/sys/fs/nr_open").ok().flatten();
        let most: u64 = most.and_then(|word| word.parse().ok()).unwrap_or(hard);
        let may_raise = self
            .effective_capabilities()
            .is_some_and(|effective| effective >> SYS_RESOURCE & 1 == 1);
        let allowed = if may_raise { most } else { hard };
        if allowed >= wanted {
            let detail = format!("{wanted} are enough for limits.sessions, {allowed} are allowed");
            return Check::ok(NAME, detail);
        }
        let detail = format!("{allowed} are allowed; limits.sessions may need {wanted}");
        let remedy = if allowed == most {
            "raise fs.nr_open, or lower limits.sessions"
        } else {
            "raise the limit (LimitNOFILE= of the service), or lower limits.sessions"
        };
        Check::warning(NAME, detail, remedy)
    }

    /// Is the daemon started again by somebody?
    pub(crate) fn service(&self) -> Check {
        const NAME: &str = "service";
        let unit = UNITS
            .iter()
            .map(|place| Path::new(place).join("gateway.service"))
            .find(|unit| self.root.join(unit).exists());
        // sd_booted(3)
        let systemd = self.root.join("run/systemd/system").is_dir();
        match (systemd, unit) {
            (true, Some(unit)) => Check::ok(NAME, format!("/{}", unit.display())),
            (true, None) => Check::warning(
                NAME,
                "no gateway.service: nobody starts the daemon at boot",
                "install docs/gateway.service, and enable it",
            ),
            (false, _) => Check::warning(
                NAME,
                "systemd does not run here",
                "have the daemon started at boot, and again when it ends",
            ),
        }
    }
}

#[cfg(test)]
mod tests;

//! The ways out of the gateway, by the numbers of the design: which tier closes each, what does,
//! and what this version leaves open. The one list; docs/limitations.md is held against it.
use serde::Serialize;

/// The weakest tier that closes a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tier {
    /// Against root too, as long as it does not turn on the gateway itself.
    Attest,
    /// Against jobs without root and capabilities, started with `harden`.
    Contain,
    /// Against root, with BPF LSM.
    Seal,
}

impl Tier {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Tier::Attest => "attest",
            Tier::Contain => "contain",
            Tier::Seal => "seal",
        }
    }
}

/// One way out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) number: u8,
    pub(crate) way: &'static str,
    pub(crate) tier: Tier,
    /// What closes it, or would.
    pub(crate) closed_by: &'static str,
    /// `None`: this version closes it on every host that it runs on.
    pub(crate) open: Option<Open>,
}

/// Why a way is open in this version, and what a host can do about it today.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) reason: &'static str,
    pub(crate) remedy: &'static str,
}

const fn closed(number: u8, way: &'static str, closed_by: &'static str) -> Way {
    Way {
        number,
        way,
        tier: Tier::Attest,
        closed_by,
        open: None,
    }
}

const fn open(
    number: u8,
    tier: Tier,
    way: &'static str,
    closed_by: &'static str,
    reason: &'static str,
    remedy: &'static str,
) -> Way {
    Way {
        number,
        way,
        tier,
        closed_by,
        open: Some(Open { reason, remedy }),
    }
}

const NOT_ATTEST: &str = "not built yet";
const NOT_CONTAIN: &str = "open to root, and to who has the capability";
const NOT_HARDENED: &str =
    "open where the policy does not harden, or the job was not started by gateway run";

const FILTER: &str = "harden = [\"seccomp\"] in the policy, for jobs that gateway run starts";
const NO_PRIVILEGE: &str = "harden = [\"no-new-privs\", \"drop-capabilities\"] in the policy, for jobs that gateway run starts as a user";
const NOT_SEAL: &str = "the programs of BPF LSM are not active (the tier seal)";

const NO_CAPABILITIES: &str = "run the job as a user without capabilities";
const OWN_USER: &str = "run the job as a user of its own";
const OWN_MOUNTS: &str = "run the job where it does not see the sockets of such services";

use Tier::{Attest, Contain, Seal};

/// All of them.
pub(crate) const WAYS: &[Way] = &[
    closed(
        1,
        "move the task to another cgroup",
        "the tag is the task's, not the cgroup's",
    ),
    closed(
        2,
        "make a child cgroup",
        "the tag is the task's, not the cgroup's",
    ),
    closed(3, "a raw IP socket", "refused when the socket is made"),
    closed(
        4,
        "an ICMP datagram socket (ping) as a tunnel",
        "refused when the socket is made",
    ),
    open(
        5,
        Contain,
        "AF_PACKET",
        "harden; BPF LSM",
        NOT_HARDENED,
        FILTER,
    ),
    open(
        6,
        Contain,
        "AF_XDP",
        "harden; BPF LSM",
        NOT_HARDENED,
        FILTER,
    ),
    open(
        7,
        Contain,
        "AF_VSOCK",
        "harden; BPF LSM",
        NOT_HARDENED,
        FILTER,
    ),
    open(
        8,
        Contain,
        "AF_ALG, AF_SMC, netlink writes, TIPC, RDS, Bluetooth and others",
        "harden; BPF LSM",
        NOT_HARDENED,
        FILTER,
    ),
    closed(
        9,
        "SCTP, DCCP, UDP-Lite, MPTCP",
        "refused by protocol when the socket is made",
    ),
    closed(
        10,
        "io_uring: socket, connect, sendmsg",
        "the same paths in the kernel, with the same hooks",
    ),
    closed(11, "TCP Fast Open", "the connect hook runs"),
    closed(12, "sendmmsg", "the hook runs for each message"),
    closed(13, "connected UDP, then send", "decided at connect"),
    closed(
        14,
        "UDP with IP_PKTINFO or other control messages",
        "decided at sendmsg; the backstop",
    ),
    closed(
        15,
        "connect(AF_UNSPEC), then connect again",
        "the destination is overwritten each time",
    ),
    closed(16, "connect to 0.0.0.0 or ::", "counts as loopback"),
    closed(17, "IPv4-mapped IPv6 addresses", "handled in both hooks"),
    closed(
        18,
        "NAT64 (64:ff9b::/96), 6to4, Teredo",
        "policies judge the IPv4 address inside too",
    ),
    closed(19, "link-local addresses with a scope", "refused"),
    closed(
        20,
        "setns or unshare into another network namespace",
        "the hooks still run; without a listener there, refused",
    ),
    closed(
        21,
        "a user namespace with a network stack of its own (slirp, pasta)",
        "its sockets on the host are governed",
    ),
    open(
        22,
        Contain,
        "TUN/TAP and routes of one's own",
        "harden; BPF LSM",
        NOT_HARDENED,
        NO_PRIVILEGE,
    ),
    closed(
        23,
        "nft DNAT of loopback, policy routing, route changes",
        "the backstop judges what leaves, and to whom on loopback",
    ),
    open(
        24,
        Contain,
        "tc, netfilter or XDP rules of one's own, on lo too",
        "harden; BPF LSM",
        NOT_HARDENED,
        NO_PRIVILEGE,
    ),
    open(
        25,
        Seal,
        "a connected socket that an ungoverned process passes in",
        "BPF LSM",
        NOT_SEAL,
        OWN_MOUNTS,
    ),
    open(
        26,
        Attest,
        "sockets that were open when the process was governed",
        "ended behind the first exec",
        "what is sent in the milliseconds before that leaves; what an ungoverned process shares goes on, and is recorded",
        "start jobs in their cgroup or with gateway run, with no sockets open",
    ),
    open(
        27,
        Attest,
        "sockets that were connected before the programs were attached",
        "ended when the policy comes into force, or recorded",
        "a process that prepares for it keeps one: it can look accepted, or be in flight between two processes",
        "start the daemon before the jobs",
    ),
    open(
        28,
        Contain,
        "pidfd_getfd",
        "another user for each job; BPF LSM",
        "open to root, and to the owner of the other process",
        OWN_USER,
    ),
    open(
        29,
        Seal,
        "the socket of docker, containerd or podman",
        "BPF LSM",
        NOT_SEAL,
        "keep the job out of the group that may use it",
    ),
    open(
        30,
        Seal,
        "systemd-run, at, cron, D-Bus activation",
        "BPF LSM",
        NOT_SEAL,
        "deny the job's user (at.deny, cron.deny, polkit)",
    ),
    open(
        31,
        Seal,
        "an agent of another tree (ssh-agent, tmux, an editor's server)",
        "BPF LSM",
        NOT_SEAL,
        OWN_USER,
    ),
    open(
        32,
        Seal,
        "abstract and datagram unix sockets",
        "BPF LSM",
        NOT_SEAL,
        OWN_MOUNTS,
    ),
    open(
        33,
        Attest,
        "resolver daemons (systemd-resolved, nscd) as a channel",
        "a policy for names; BPF LSM",
        "a question over a unix socket is not seen without the programs of BPF LSM (the tier seal)",
        OWN_MOUNTS,
    ),
    open(
        34,
        Seal,
        "ptrace, process_vm_writev, /proc/PID/mem of an ungoverned process",
        "BPF LSM",
        NOT_SEAL,
        OWN_USER,
    ),
    closed(
        36,
        "kill -9 the daemon",
        "pinned programs refuse until it is back",
    ),
    open(
        37,
        Contain,
        "remove the pins, detach the links",
        "no root; BPF LSM",
        NOT_CONTAIN,
        NO_CAPABILITIES,
    ),
    open(
        38,
        Contain,
        "kernel modules, kexec",
        "no root; lockdown; BPF LSM",
        NOT_CONTAIN,
        "boot with lockdown=integrity, or run the job as a user without capabilities",
    ),
    open(
        39,
        Contain,
        "NFS, CIFS and nbd mounts",
        "no root; BPF LSM",
        NOT_CONTAIN,
        "run the job as a user without CAP_SYS_ADMIN",
    ),
    closed(
        40,
        "a virtual machine with a network stack of its own",
        "its sockets on the host are governed (TAP: 22)",
    ),
    closed(
        41,
        "an ungoverned service on loopback as a relay",
        "a listener outside of the tree is a destination like others, on a shared port too",
    ),
    closed(42, "the host's own addresses", "a destination like others"),
    closed(
        43,
        "metadata addresses of clouds",
        "a destination like others",
    ),
    closed(
        44,
        "DNS as a tunnel",
        "questions are rebuilt, judged by name, limited by length, rate and number, and recorded",
    ),
    open(
        45,
        Attest,
        "domain fronting, ECH, a SNI or Host of another name",
        "a SNI of another name than the destination's, and ECH, count for no name; HTTP inspected",
        "HTTP is not understood: what is asked for inside of TLS, or in the clear, is not known",
        "allow addresses that serve one name only",
    ),
    closed(
        47,
        "static binaries, system calls without libc",
        "the hooks are in the kernel",
    ),
    closed(
        49,
        "a storm of forks and execs, to lose events or to fill maps",
        "decisions read maps; a full map refuses",
    ),
    closed(
        50,
        "a flood of connections, to evict entries",
        "no map forgets by itself",
    ),
    closed(
        51,
        "a process id that is used again",
        "the start time is compared",
    ),
    closed(
        52,
        "double fork, setsid, nohup, a new pid namespace, init as parent",
        "the tag is inherited at fork",
    ),
    closed(53, "vfork, clone3, CLONE_PARENT", "the same tracepoint"),
    open(
        54,
        Contain,
        "helpers that the kernel starts (core_pattern, modprobe)",
        "no root; BPF LSM",
        NOT_CONTAIN,
        NO_CAPABILITIES,
    ),
    closed(56, "sudo, su, setuid", "the tag is not the uid"),
    closed(
        58,
        "bind and wait: a peer connects in, and data leaves on that connection",
        "packets from outside of the tree do not reach its listeners, but by inbound = \"any\"",
    ),
    closed(
        60,
        "SO_BINDTODEVICE, SO_MARK, IP_TRANSPARENT, VRF",
        "checked at connect; the backstop",
    ),
    closed(
        61,
        "borrow the daemon: its listener, its control socket",
        "no entry in the map, reset; the kernel says who asks",
    ),
    open(
        62,
        Seal,
        "write the gateway's policies, state, binary or pins",
        "BPF LSM",
        "open to root without the programs of BPF LSM (the tier seal)",
        NO_CAPABILITIES,
    ),
    open(
        63,
        Attest,
        "DNAT of the daemon's own dial, by root of its network namespace",
        "comparing the peer with what was dialled",
        NOT_ATTEST,
        "upstream = \"verify-full\" with a credential, and jobs without CAP_NET_ADMIN",
    ),
    closed(
        64,
        "SO_BINDTODEVICE after the redirected connect",
        "the backstop judges the output device",
    ),
    closed(
        65,
        "IPv6 routing headers, IPv4 source routes",
        "the backstop drops them",
    ),
    closed(
        66,
        "wait for the daemon's death and bind its port",
        "connect verifies the listener's mark",
    ),
    closed(
        67,
        "CLONE_INTO_CGROUP",
        "tagged at wake-up; connect looks at the cgroups above",
    ),
    open(
        68,
        Attest,
        "have the kernel skip a tracing program",
        "the skipped runs are counted, and repaired",
        "looked for once a second: until then a process that was skipped is free where its cgroup is not governed",
        "govern by cgroup (cgroups of the policy), not by gateway run alone",
    ),
    open(
        69,
        Seal,
        "an io_uring ring that an ungoverned parent left open",
        "BPF LSM",
        NOT_SEAL,
        "start jobs in their cgroup or with gateway run, with no descriptors open",
    ),
];

/// What the programs of BPF LSM close, where they are active.
pub(crate) const SEALED: [u8; 20] = [
    5, 6, 7, 8, 22, 24, 25, 28, 29, 30, 31, 32, 33, 34, 37, 38, 39, 54, 62, 69,
];

/// Can the daemon enforce anything on this host?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Footing {
    /// All that it needs is there.
    Firm,
    /// Something is missing.
    Missing,
    /// Some of it could not be checked.
    Unknown,
}

/// What a host does about ways that this version leaves open.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// Why nobody gets code of their own into this kernel (row 38).
    pub(crate) no_kernel_code: Option<&'static str>,
    /// The programs are not attached to the top of the hierarchy (rows 1 and 67).
    pub(crate) subtree: bool,
    /// The programs of BPF LSM are attached, or would be.
    pub(crate) sealed: bool,
}

/// A way on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) row: u8,
    pub(crate) way: &'static str,
    pub(crate) tier: Tier,
    pub(crate) result: State,
    /// Of an open one why it is, of a closed one what closes it.
    pub(crate) reason: &'static str,
    pub(crate) remedy: Option<&'static str>,
}

/// Is it one?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Closed,
    Open,
}

/// All ways, as they are on this host.
pub(crate) fn rows(footing: Footing, facts: &Facts) -> Vec<Row> {
    WAYS.iter().map(|way| way.on(footing, facts)).collect()
}

impl Way {
    fn on(&self, footing: Footing, facts: &Facts) -> Row {
        let open = self.open.or(self.opened_by(facts));
        let (result, reason, remedy) = match (footing, self.closed_by_host(facts), open) {
            (_, Some(fact), _) => (State::Closed, fact, None),
            (_, None, Some(open)) => (State::Open, open.reason, Some(open.remedy)),
            (Footing::Firm, None, None) => (State::Closed, self.closed_by, None),
            (Footing::Missing, None, None) => (
                State::Open,
                "the gateway cannot enforce anything here",
                Some("what the checks say that is missing"),
            ),
            // What was not looked at is never called fine.
            (Footing::Unknown, None, None) => (
                State::Open,
                "whether the gateway can enforce here is not known",
                Some("run gateway doctor as root"),
            ),
        };
        Row {
            row: self.number,
            way: self.way,
            tier: self.tier,
            result,
            reason,
            remedy,
        }
    }

    /// Why the host closes it, whatever the gateway does.
    fn closed_by_host(&self, facts: &Facts) -> Option<&'static str> {
        match self.number {
            38 if facts.no_kernel_code.is_some() => facts.no_kernel_code,
            number if facts.sealed && SEALED.contains(&number) => Some(self.closed_by),
            _ => None,
        }
    }

    /// Why the host's configuration opens what this version closes elsewhere.
    const fn opened_by(&self, facts: &Facts) -> Option<Open> {
        match self.number {
            1 | 67 if facts.subtree => Some(Open {
                reason: "sockets that are made outside of capture.cgroup_root are not seen",
                remedy: "capture.cgroup_root = \"auto\"",
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

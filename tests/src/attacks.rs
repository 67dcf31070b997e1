//! The ways out, tried. Each attempt sends a token to a sink in another network namespace, first
//! from an ungoverned process, which shows that the way is one, then from a governed one, where it
//! must not arrive.
pub mod proofs;
mod ways;

use crate::running::PATIENCE;
use crate::sniffer::Sniffer;
use crate::{
    Cluster, Daemon, Job, Namespace, Outcome, Running, Subtree, job, policy, running, wait,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use ways::PRELUDE;
pub use ways::{Control, Stage, Way, ways};

const SINK_PORT: u16 = 7000;
/// Something in the other namespace connects to this port of the host, over and over.
const CALLED_PORT: u16 = 7010;
/// How long an attempt may take: some go through all numbers of processes, which a guest without KVM
/// takes minutes for.
const ATTEMPT_MAX: Duration = Duration::from_secs(300);
/// How long the token of a way that works is on its way, at most: some start a process that outlives them.
const ARRIVAL_MAX: Duration = Duration::from_secs(4);
const PYTHON: &str = "/usr/bin/python3";

const CALLER: &str = r#"
import socket, sys, time
print("calling", flush=True)
while True:
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 1) as connection:
            connection.recv(4096)
    except OSError:
        time.sleep(0.02)
"#;

/// Takes from a command what can be taken.
const HARDENED: &str = "[policy]\nname = \"hardened\"\nmode = \"enforce\"\ndefault = \"deny\"\n\
    harden = [\"close-sockets\", \"no-new-privs\", \"seccomp\", \"drop-capabilities\"]\n";

/// What came of an attempt.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The attempt.
    pub way: &'static Way,
    /// Did the token arrive without a gateway?
    pub control: bool,
    /// Did it arrive from the governed process?
    pub arrived: bool,
    /// What the control's program wrote, and the other one.
    pub said: [String; 2],
}

impl Tried {
    /// Is the way one here, and closed?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.control && !self.arrived
    }

    /// What is wrong with it, if anything is: it gets out, or a control that has to arrive does not.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let Way { row, name, .. } = self.way;
        let [control, attack] = &self.said;
        if self.arrived {
            return Some(format!("row {row}: {name} got out: {attack}"));
        }
        let missing = !self.control && self.way.control == Control::Arrives;
        missing.then(|| format!("row {row}: {name} proves nothing here: {control}"))
    }
}

/// Everything that attempts are made from, through and to.
pub struct Field {
    /// The daemon that governs.
    pub daemon: Daemon,
    /// Where everything lives.
    pub subtree: Arc<Subtree>,
    sniffer: Sniffer,
    _caller: Running,
    _relay: Running,
    /// What each attempt is told, but for its token.
    map: Value,
    free: Job,
    governed: Job,
    namespace: Namespace,
    cluster: Cluster,
}

impl Field {
    /// Sets it up.
    ///
    /// # Errors
    /// Some part does not come up.
    pub fn open() -> Result<Field> {
        let subtree = Arc::new(Subtree::create()?);
        let namespace = Namespace::create()?;
        answer_for_loopback(&namespace)?;
        let sniffer = Sniffer::start(&namespace, SINK_PORT)?;
        let caller = call(&namespace)?;
        let (free, governed) = (
            Job::free(&subtree, "free")?,
            Job::governed(&subtree, "attacker")?,
        );
        let (relay, relayed) = relay(&free, &namespace)?;
        let cluster = Cluster::start_on(&[std::net::Ipv6Addr::LOCALHOST.into()])?;
        let rules = policy::with_rules(&subtree, cluster.port(), policy::ALLOW_ALL)
            .replace("[\"127.0.0.1\"]", "[\"127.0.0.1\", \"::1\"]");
        let prepared = Daemon::prepare(&subtree)?.policy("test", &rules)?;
        let mut daemon = prepared.policy("hardened", HARDENED)?.start()?;
        daemon.expect_backstop_drops();
        let map = json!({
            "host": namespace.address().to_string(),
            "own_address": namespace.host().to_string(),
            "host6": namespace.address_v6().to_string(),
            "port": SINK_PORT,
            "called_port": CALLED_PORT,
            "relay_port": relayed[0],
            "shared_port": relayed[1],
            "holder": relayed[2..],
            "device": namespace.host_link(),
            "namespace": namespace.name(),
            "database_port": cluster.port(),
            "free_cgroup": free.cgroup(),
            "daemon": daemon.pid()?,
            "daemon_ports": listening_ports(daemon.pid()?)?,
            "pins": daemon.pins(),
        });
        Ok(Field {
            daemon,
            subtree,
            sniffer,
            _caller: caller,
            _relay: relay,
            map,
            free,
            governed,
            namespace,
            cluster,
        })
    }

    /// Tries a way: first the control, then what must not get out.
    ///
    /// # Errors
    /// A program cannot be started, or the daemon has died of an earlier way.
    pub fn attempt(&mut self, way: &'static Way) -> Result<Tried> {
        let alive = self.daemon.is_alive();
        ensure!(alive || way.stage == Stage::Dead, "the daemon is dead");
        let label = format!("{}-control", way.name);
        let command = python(&self.free, way.root);
        let control_said = self.run(command, way, &label, false)?;
        let control = self.arrives(&label);
        let label = format!("{}-attack", way.name);
        let command = match way.stage {
            // The first one that needs a dead daemon kills it.
            Stage::Governed | Stage::Dead => python(&self.governed, way.root),
            Stage::Hardened => self.hardened()?,
        };
        let said = self.run(command, way, &label, true)?;
        self.fence(&label)?;
        Ok(Tried {
            way,
            control,
            arrived: self.sniffer.tokens().contains(&format!("gwtok-{label}")),
            said: [control_said, said],
        })
    }

    fn hardened(&self) -> Result<Command> {
        let mut command = self.daemon.gateway_as(job::NOBODY)?;
        command.args(["run", "--policy", "hardened", "--", PYTHON]);
        Ok(command)
    }

    /// Runs the way's program and returns what it said.
    fn run(&self, mut command: Command, way: &Way, label: &str, governed: bool) -> Result<String> {
        let mut map = self.map.clone();
        map["token"] = Sniffer::token(label).into();
        map["governed"] = governed.into();
        let program = format!("{PRELUDE}{}", way.program);
        command.args(["-u", "-c", &program, &map.to_string()]);
        let outcome = Running::start(&mut command)?.wait(ATTEMPT_MAX)?;
        Ok(format!(
            "{} {}",
            outcome.stdout.trim(),
            outcome.stderr.trim()
        ))
    }

    /// Does this token arrive, within the time that a working way takes?
    fn arrives(&self, label: &str) -> bool {
        let token = format!("gwtok-{label}");
        let there = || self.sniffer.tokens().contains(&token);
        wait::until_true("the token", ARRIVAL_MAX, there).is_ok()
    }

    /// Returns when everything that was sent before has arrived: the link keeps the order.
    fn fence(&self, label: &str) -> Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        // Twice: each CPU has a queue of its own, and one may overtake what another CPU sent.
        for number in 0..2 {
            let token = Sniffer::token(&format!("fence{number}-{label}"));
            let sink = (self.namespace.address(), SINK_PORT);
            wait::until_true("the fence to arrive", PATIENCE, || {
                // What could not be sent is sent again.
                let _ = socket.send_to(token.as_bytes(), sink);
                self.sniffer.tokens().contains(token.trim_end_matches('.'))
            })?;
        }
        Ok(())
    }

    /// Shows that the refusals were not those of something that is broken: with a daemon that lives,
    /// a governed client is served.
    ///
    /// # Errors
    /// It is not.
    pub fn still_works(&mut self) -> Result<Outcome> {
        if !self.daemon.is_alive() {
            let _ = self.daemon.crash();
            self.daemon.restart()?;
        }
        let mut psql = self.governed.command("psql");
        psql.args(["-X", "-d", &self.cluster.address(), "-c", "select 'fine'"]);
        running::run(&mut psql)?.success()
    }
}

fn python(job: &Job, root: bool) -> Command {
    if root {
        job.command(PYTHON)
    } else {
        job.command_as(job::NOBODY, PYTHON)
    }
}

/// What `gateway doctor` says of each row on this host, where it governs the whole of it.
///
/// # Errors
/// It fails, or some part that it needs does not come up.
pub fn doctor_rows() -> Result<Vec<Value>> {
    let subtree = Arc::new(Subtree::create()?);
    let daemon = Daemon::prepare(&subtree)?.stopped()?;
    let config = std::fs::read_to_string(daemon.config_file())?;
    let given = format!("cgroup_root = {:?}", subtree.path());
    ensure!(config.contains(&given), "{given} in {config}");
    let whole = config.replace(&given, "cgroup_root = \"auto\"");
    std::fs::write(daemon.config_file(), whole)?;
    let mut objects = daemon.json(&["doctor", "--all"])?;
    objects.retain(|object| object["kind"] == "row");
    Ok(objects)
}

/// A neighbour that means harm answers ARP for 127.0.0.1 too, so that packets which leave the host
/// with that destination find their way.
fn answer_for_loopback(namespace: &Namespace) -> Result<()> {
    let mut command = namespace.command("sh");
    command.args(["-c", "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"]);
    running::run(&mut command)?.success().map(drop)
}

fn call(namespace: &Namespace) -> Result<Running> {
    let mut caller = namespace.command(PYTHON);
    let host = namespace.host().to_string();
    caller.args(["-u", "-c", CALLER, &host, &CALLED_PORT.to_string()]);
    Running::start(&mut caller)
}

/// Starts the relay, and returns the numbers that it says: its port, the one that it shares, its
/// process, and the descriptor of the connection that it holds.
fn relay(free: &Job, namespace: &Namespace) -> Result<(Running, Vec<u32>)> {
    let mut command = free.command(PYTHON);
    command.args(["-u", "-c", include_str!("attacks/relay.py")]);
    command.args([namespace.address().to_string(), SINK_PORT.to_string()]);
    let mut relay = Running::start(&mut command)?;
    relay.wait_for_output("relaying", PATIENCE)?;
    let said = relay.stdout();
    let numbers = said
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<Result<Vec<u32>, _>>();
    let numbers = numbers.context("the relay's numbers")?;
    ensure!(numbers.len() == 4, "the relay said {said:?}");
    Ok((relay, numbers))
}

/// The TCP ports that a process listens on.
///
/// # Errors
/// It is gone.
pub fn listening_ports(pid: u32) -> Result<Vec<u16>> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))?;
    let sockets: Vec<String> = descriptors
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            let link = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(link.to_owned())
        })
        .collect();
    let mut ports = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table)?.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN.
            if let [_, local, _, "0A", ..] = words.as_slice()
                && words
                    .get(9)
                    .is_some_and(|inode| sockets.iter().any(|one| one == inode))
                && let Some((_, port)) = local.rsplit_once(':')
            {
                ports.push(u16::from_str_radix(port, 16)?);
            }
        }
    }
    Ok(ports)
}

//! The ways out of capture.md that this kernel can try without BPF LSM. Each sends a token to a
//! sink in another network namespace, first from an ungoverned process, which shows that the way
//! is one, then from a governed one, where it must not arrive.
pub(crate) mod ways;

use gateway_tests::running::{self, PATIENCE};
use gateway_tests::sniffer::Sniffer;
use gateway_tests::{Cluster, Daemon, Job, Namespace, Running, Subtree, job, policy, wait};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;
use ways::{Control, PRELUDE, WAYS, Way};

const SINK_PORT: u16 = 7000;
/// Something in the other namespace connects to this port of the host, over and over.
const CALLED_PORT: u16 = 7010;

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

struct Field {
    daemon: Daemon,
    sniffer: Sniffer,
    _caller: Running,
    namespace: Namespace,
    cluster: Cluster,
    subtree: Arc<Subtree>,
}

impl Field {
    fn open() -> Field {
        let subtree = Arc::new(Subtree::create().unwrap());
        let namespace = Namespace::create().unwrap();
        answer_for_loopback(&namespace);
        let sniffer = Sniffer::start(&namespace, SINK_PORT).unwrap();
        let mut caller = namespace.command("/usr/bin/python3");
        let host = namespace.host().to_string();
        caller.args(["-u", "-c", CALLER, &host, &CALLED_PORT.to_string()]);
        let caller = Running::start(&mut caller).unwrap();
        let cluster = Cluster::start_on(&[std::net::Ipv6Addr::LOCALHOST.into()]).unwrap();
        let rules = policy::with_rules(&subtree, cluster.port(), policy::ALLOW_ALL)
            .replace("[\"127.0.0.1\"]", "[\"127.0.0.1\", \"::1\"]");
        let daemon = Daemon::prepare(&subtree)
            .unwrap()
            .policy("test", &rules)
            .unwrap()
            .start()
            .unwrap();
        Field {
            daemon,
            sniffer,
            _caller: caller,
            namespace,
            cluster,
            subtree,
        }
    }

    /// What a way needs to know, as its program's first argument.
    fn map(&self, token: &str, free: &Job) -> String {
        serde_json::json!({
            "host": self.namespace.address().to_string(),
            "own_address": self.namespace.host().to_string(),
            "host6": self.namespace.address_v6().to_string(),
            "port": SINK_PORT,
            "called_port": CALLED_PORT,
            "token": token,
            "device": self.namespace.host_link(),
            "namespace": self.namespace.name(),
            "database_port": self.cluster.port(),
            "free_cgroup": free.cgroup(),
        })
        .to_string()
    }

    /// Tries the way from this job and returns what its program said.
    fn attempt(&self, way: &Way, from: &Job, free: &Job, label: &str) -> String {
        let token = Sniffer::token(label);
        let mut command = if way.root {
            from.command("/usr/bin/python3")
        } else {
            from.command_as(job::NOBODY, "/usr/bin/python3")
        };
        let program = format!("{PRELUDE}{}", way.program);
        command.args(["-u", "-c", &program, &self.map(&token, free)]);
        let outcome = Running::start(&mut command)
            .unwrap()
            .wait(Duration::from_secs(20))
            .unwrap();
        format!("{} {}", outcome.stdout.trim(), outcome.stderr.trim())
    }

    /// Does this token arrive, within the time that a working way takes?
    fn arrives(&self, label: &str) -> bool {
        let token = format!("gwtok-{label}");
        let there = || self.sniffer.tokens().contains(&token);
        wait::until_true("the token", Duration::from_secs(1), there).is_ok()
    }

    /// Returns when everything that was sent before has arrived: the link keeps the order.
    fn fence(&self, label: &str) {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Twice: each CPU has a queue of its own, and one may overtake what another CPU sent.
        for number in 0..2 {
            let token = Sniffer::token(&format!("fence{number}-{label}"));
            let sink = (self.namespace.address(), SINK_PORT);
            wait::until_true("the fence to arrive", PATIENCE, || {
                socket.send_to(token.as_bytes(), sink).unwrap();
                self.sniffer.tokens().contains(token.trim_end_matches('.'))
            })
            .unwrap();
        }
    }
}

#[test]
fn no_way_out_lets_a_token_through() {
    let mut field = Field::open();
    field.daemon.expect_backstop_drops();
    let free = Job::free(&field.subtree, "free").unwrap();
    let governed = Job::governed(&field.subtree, "attacker").unwrap();
    let mut failures = Vec::new();
    for way in WAYS {
        let control = format!("{}-control", way.name);
        let said = field.attempt(way, &free, &free, &control);
        let arrived = field.arrives(&control);
        if !arrived && way.control == Control::Arrives {
            failures.push(format!(
                "row {}: {} proves nothing here: {said}",
                way.row, way.name
            ));
        }
        let attack = format!("{}-attack", way.name);
        let said = field.attempt(way, &governed, &free, &attack);
        field.fence(&attack);
        if field.sniffer.tokens().contains(&format!("gwtok-{attack}")) {
            failures.push(format!("row {}: {} got out: {said}", way.row, way.name));
        }
        if !field.daemon.is_alive() {
            failures.push(format!("row {}: {} ended the daemon", way.row, way.name));
            break;
        }
    }
    assert!(
        failures.is_empty(),
        "{}\n{}",
        failures.join("\n"),
        field.daemon.said()
    );
    // The field still works: the refusals above are not those of something that is broken.
    let mut psql = governed.command("psql");
    psql.args(["-X", "-d", &field.cluster.address(), "-c", "select 'fine'"]);
    running::run(&mut psql).unwrap().success().unwrap();
}

#[test]
fn an_allowed_flow_arrives_and_is_recorded() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let namespace = Namespace::create().unwrap();
    let sniffer = Sniffer::start(&namespace, SINK_PORT).unwrap();
    let text = policy::opaque_to(&subtree, &namespace.address().to_string(), SINK_PORT);
    let daemon = Daemon::prepare(&subtree)
        .unwrap()
        .policy("test", &text)
        .unwrap()
        .start()
        .unwrap();
    let job = Job::governed(&subtree, "sender").unwrap();
    let program = "import socket, sys\n\
        s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)\n\
        s.sendall(sys.argv[3].encode())\ns.shutdown(socket.SHUT_WR)\ns.recv(1)\n";
    let host = namespace.address().to_string();
    let token = Sniffer::token("allowed");
    let sender = job
        .python(program, &[&host, &SINK_PORT.to_string(), &token])
        .unwrap();
    sender.wait(PATIENCE).unwrap().success().unwrap();
    assert!(
        sniffer.tokens().contains("gwtok-allowed"),
        "{}",
        daemon.said()
    );
    wait::until_true("the session to be closed", PATIENCE, || {
        daemon
            .sessions()
            .unwrap()
            .iter()
            .any(|session| !session["closed"].is_null())
    })
    .unwrap();
    let sessions = daemon.sessions().unwrap();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(sessions[0]["protocol"], "opaque");
    assert_eq!(sessions[0]["resource"], "sink");
    assert_eq!(sessions[0]["bytes_up"], token.len());
}

/// A neighbour that means harm answers ARP for 127.0.0.1 too, so that packets which leave the host
/// with that destination find their way.
fn answer_for_loopback(namespace: &Namespace) {
    let mut command = namespace.command("sh");
    command.args(["-c", "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"]);
    running::run(&mut command).unwrap().success().unwrap();
}

/// A stranger who finds the daemon's listener gets nothing from it.
#[test]
fn the_daemon_cannot_be_borrowed() {
    let field = Field::open();
    let ports = listening_ports(field.daemon.pid().unwrap());
    assert!(!ports.is_empty(), "the daemon listens somewhere");
    let program = "import socket, sys\n\
        for port in sys.argv[1:]:\n    \
            try:\n        \
                s = socket.create_connection(('127.0.0.1', int(port)), 5)\n        \
                s.settimeout(5)\n        \
                s.sendall(b'\\0\\0\\0\\x08\\x04\\xd2\\x16/')\n        \
                print('answer', b''.join(iter(lambda: s.recv(100), b'')))\n    \
            except OSError as error:\n        \
                print('refused', type(error).__name__)\n";
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    for job in [
        Job::free(&field.subtree, "stranger").unwrap(),
        Job::governed(&field.subtree, "insider").unwrap(),
    ] {
        let said = job
            .python(program, &ports)
            .unwrap()
            .wait(PATIENCE)
            .unwrap()
            .stdout;
        // An insider is answered by the gateway itself, which declines to encrypt and then waits
        // for a login that it could refuse.
        let by_the_gateway = job.cgroup().ends_with("insider");
        for answer in said.lines().filter(|line| line.starts_with("answer")) {
            let declined = by_the_gateway && answer == "answer b'N'";
            assert!(
                declined || answer == "answer b''",
                "{}: {said}",
                job.cgroup().display()
            );
        }
    }
}

/// The TCP ports that a process listens on.
pub(crate) fn listening_ports(pid: u32) -> Vec<u16> {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
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
        for line in std::fs::read_to_string(table).unwrap().lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN.
            if words[3] == "0A" && sockets.iter().any(|inode| inode == words[9]) {
                let (_, port) = words[1].rsplit_once(':').unwrap();
                ports.push(u16::from_str_radix(port, 16).unwrap());
            }
        }
    }
    ports
}

//! Who can connect to what governed processes listen on.
use gateway_tests::running::PATIENCE;
use gateway_tests::{Daemon, Job, Namespace, Running, Subtree, policy, wait};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// Long enough for a connection on this host, and for the second try of one whose first packet was
/// lost.
const SOON: Duration = Duration::from_millis(1500);

/// What a tree gives to whoever it accepts.
const SECRET: &str = "s3cr3t";

/// Listens on all addresses of both families, says so, and gives the secret to whoever comes.
const SERVER: &str = r#"
import socket, sys, threading
port = int(sys.argv[1])
def serve(listener):
    while True:
        try:
            connection, peer = listener.accept()
            connection.sendall(b"s3cr3t")
            connection.close()
        except OSError as error:
            print(error, flush=True)
v4 = socket.create_server(("0.0.0.0", port))
v6 = socket.create_server(("::", port), family=socket.AF_INET6)
threading.Thread(target=serve, args=[v6], daemon=True).start()
print("listening", flush=True)
serve(v4)
"#;

/// Connects and prints what it is given, or what went wrong.
const CLIENT: &str = r#"
import socket, sys
for host in sys.argv[2:]:
    try:
        with socket.create_connection((host, int(sys.argv[1])), 5) as connection:
            connection.settimeout(5)
            print(host, connection.recv(100).decode() or "end", flush=True)
    except OSError as error:
        print(host, type(error).__name__, flush=True)
"#;

/// A daemon, a place outside of the host, and a free port.
struct Place {
    daemon: Daemon,
    namespace: Namespace,
    subtree: Arc<Subtree>,
    port: u16,
}

impl Place {
    fn new(keys: &str) -> Place {
        let subtree = Arc::new(Subtree::create().unwrap());
        let namespace = Namespace::create().unwrap();
        let text = policy::opaque_anywhere(&subtree, keys);
        let prepared = Daemon::prepare(&subtree).unwrap();
        let daemon = prepared.policy("test", &text).unwrap().start().unwrap();
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = probe.local_addr().unwrap().port();
        Place {
            daemon,
            namespace,
            subtree,
            port,
        }
    }

    /// Starts a program in a job, which says that it listens.
    fn listens(&self, job: &Job, program: &str) -> Running {
        let server = job.python(program, &[&self.port.to_string()]).unwrap();
        wait::until_true("the server to listen", PATIENCE, || {
            let said = server.stdout();
            said.contains("listening") && said.ends_with('\n')
        })
        .unwrap();
        server
    }

    /// All addresses of this host that lead to the server.
    fn addresses(&self) -> [IpAddr; 3] {
        [
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
            self.namespace.host().into(),
        ]
    }

    /// What a process outside of all trees gets at an address.
    fn stranger(&self, ip: IpAddr) -> Option<String> {
        fetch(TcpStream::connect_timeout(&SocketAddr::new(ip, self.port), SOON).ok()?)
    }

    /// What a process in another network namespace gets, over the wire.
    fn neighbour(&self) -> String {
        let mut client = self.namespace.command("/usr/bin/python3");
        let host = self.namespace.host().to_string();
        let short = CLIENT.replace(", 5)", ", 1.5)");
        client.args(["-c", &short, &self.port.to_string(), &host]);
        let running = Running::start(&mut client).unwrap();
        running.wait(PATIENCE).unwrap().stdout
    }

    /// What a client in a job gets at all addresses.
    fn client(&self, job: &Job) -> String {
        let hosts = self.addresses().map(|ip| ip.to_string());
        let port = self.port.to_string();
        let mut arguments = vec![port.as_str()];
        arguments.extend(hosts.iter().map(String::as_str));
        let client = job.python(CLIENT, &arguments).unwrap();
        client.wait(Duration::from_secs(60)).unwrap().stdout
    }
}

fn fetch(mut connection: TcpStream) -> Option<String> {
    connection.set_read_timeout(Some(SOON)).unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).ok()?;
    Some(text)
}

/// A process of the tree that runs in this job, which it forks.
fn with_client(program: &str) -> String {
    program.replace(
        "print(\"listening\", flush=True)",
        "import os, subprocess\nprint(\"listening\", flush=True)\n\
         subprocess.Popen([sys.executable, \"-c\", sys.argv[2], sys.argv[1], *sys.argv[3:]])",
    )
}

#[test]
fn only_its_own_tree_reaches_what_a_process_listens_on() {
    let place = Place::new("");
    let job = Job::governed(&place.subtree, "server").unwrap();
    let hosts = place.addresses().map(|ip| ip.to_string());
    let port = place.port.to_string();
    let mut arguments = vec![port.as_str(), CLIENT];
    arguments.extend(hosts.iter().map(String::as_str));
    let server = job.python(&with_client(SERVER), &arguments).unwrap();
    // Its own child: on loopback directly, by the host's other address through the gateway.
    wait::until_true("the tree's own client", PATIENCE, || {
        hosts
            .iter()
            .all(|host| server.stdout().contains(&format!("{host} ")))
    })
    .unwrap();
    for host in &hosts {
        assert!(
            server.stdout().contains(&format!("{host} {SECRET}")),
            "{}\n{}",
            server.stdout(),
            place.daemon.said()
        );
    }
    let sessions = place.daemon.sessions().unwrap();
    assert_eq!(sessions.len(), 1, "that by the other address: {sessions:?}");
    // Nobody else.
    for ip in place.addresses() {
        assert_eq!(place.stranger(ip), None, "{ip}");
    }
    assert!(!place.neighbour().contains(SECRET));
    let free = Job::free(&place.subtree, "free").unwrap();
    assert!(!place.client(&free).contains(SECRET));
    // Another tree is refused at once, on loopback: the gateway cannot reach it either.
    let other = Job::governed(&place.subtree, "other").unwrap();
    let said = place.client(&other);
    assert!(!said.contains(SECRET), "{said}");
    for ip in ["127.0.0.1", "::1"] {
        assert!(
            said.contains(&format!("{ip} ConnectionResetError")),
            "{said}"
        );
    }
    let said = place.daemon.said();
    assert!(said.contains("somebody outside of the tree"), "{said}");
}

#[test]
fn a_policy_can_let_anybody_in() {
    let place = Place::new("inbound = \"any\"");
    let job = Job::governed(&place.subtree, "server").unwrap();
    let _server = place.listens(&job, SERVER);
    for ip in place.addresses() {
        assert_eq!(place.stranger(ip).as_deref(), Some(SECRET), "{ip}");
    }
    assert!(place.neighbour().contains(SECRET));
    let other = Job::governed(&place.subtree, "other").unwrap();
    let said = place.client(&other);
    assert_eq!(said.matches(SECRET).count(), 3, "{said}");
    // What was accepted is governed all the same: what connects anew goes through the gateway.
    assert_eq!(place.daemon.sessions().unwrap().len(), 3);
    // It ends with the policy.
    let text = policy::opaque_anywhere(&place.subtree, "");
    place.daemon.put_in_force("test", &text).unwrap();
    for ip in place.addresses() {
        assert_eq!(place.stranger(ip), None, "{ip}");
    }
    assert!(!place.neighbour().contains(SECRET));
}

#[test]
fn what_observes_refuses_nobody() {
    let place = Place::new("");
    let text = policy::opaque_anywhere(&place.subtree, "").replace("enforce", "observe");
    place.daemon.put_in_force("test", &text).unwrap();
    let job = Job::governed(&place.subtree, "server").unwrap();
    let _server = place.listens(&job, SERVER);
    for ip in place.addresses() {
        assert_eq!(place.stranger(ip).as_deref(), Some(SECRET), "{ip}");
    }
    assert!(place.neighbour().contains(SECRET));
}

/// Ways to come by a listener that nobody judges.
const TRICKS: [(&str, &str); 5] = [
    (
        "listen without bind, on the port that the kernel chose",
        r#"
s = socket.socket()
s.listen()
serve(s)
"#,
    ),
    (
        "a listener again, out of what a listener accepted",
        r#"
first = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(first.getsockname())
accepted, _ = first.accept()
first.close()
libc = ctypes.CDLL(None, use_errno=True)
unspecified = b"\0" * 16
assert libc.connect(accepted.fileno(), unspecified, 16) == 0
client.close()
accepted.bind(("0.0.0.0", 0))
accepted.listen()
serve(accepted)
"#,
    ),
    (
        "a listener out of a connection",
        r#"
other = socket.create_server(("127.0.0.1", 0))
s = socket.create_connection(other.getsockname())
libc = ctypes.CDLL(None, use_errno=True)
assert libc.connect(s.fileno(), b"\0" * 16, 16) == 0
s.bind(("0.0.0.0", 0))
s.listen()
serve(s)
"#,
    ),
    (
        "one that shares its port",
        r#"
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind(("0.0.0.0", 0))
s.listen()
serve(s)
"#,
    ),
    (
        "TCP Fast Open",
        r#"
s = socket.socket()
s.setsockopt(socket.IPPROTO_TCP, 23, 16)
s.bind(("0.0.0.0", 0))
s.listen()
serve(s)
"#,
    ),
];

const TRICK: &str = r#"
import ctypes, os, socket, sys
port = int(sys.argv[1])
def serve(listener):
    print("listening", listener.getsockname()[1], flush=True)
    while True:
        connection, peer = listener.accept()
        connection.sendall(b"s3cr3t")
        connection.close()
"#;

#[test]
fn no_trick_makes_a_listener_that_strangers_reach() {
    for keys in ["inbound = \"any\"", ""] {
        let place = Place::new(keys);
        for (number, (what, program)) in TRICKS.into_iter().enumerate() {
            let job = Job::governed(&place.subtree, &format!("trick{number}")).unwrap();
            let server = place.listens(&job, &format!("{TRICK}{program}"));
            let said = server.stdout();
            let port = said.split_whitespace().nth(1).unwrap().parse().unwrap();
            let there = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
            let got = TcpStream::connect_timeout(&there, SOON)
                .ok()
                .and_then(fetch);
            let open = !keys.is_empty();
            assert_eq!(got.as_deref() == Some(SECRET), open, "{what}: {got:?}");
        }
    }
}

/// Where nobody is connected, the kernel's look-up finds who listens on the port: a stranger whose
/// own port is one that the tree listens on is a stranger still.
#[test]
fn a_stranger_does_not_pass_by_the_port_it_comes_from() {
    let place = Place::new("");
    let job = Job::governed(&place.subtree, "server").unwrap();
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let other = second.local_addr().unwrap().port();
    drop(second);
    let program = format!("{TRICK}more = socket.create_server((\"0.0.0.0\", {other}))\n")
        + "serve(socket.create_server((\"0.0.0.0\", port)))\n";
    let _server = place.listens(&job, &program);
    let mut client = place.namespace.command("/usr/bin/python3");
    let connect = format!(
        "import socket\ns = socket.socket()\ns.bind(('', {other}))\ns.settimeout(1.5)\n\
         try:\n    s.connect(('{}', {}))\n    print(s.recv(100))\n\
         except OSError as error:\n    print(type(error).__name__)\n",
        place.namespace.host(),
        place.port
    );
    client.args(["-c", &connect]);
    let said = Running::start(&mut client).unwrap().wait(PATIENCE).unwrap();
    assert!(said.stdout.contains("TimeoutError"), "{said:?}");
}

/// Whoever knocks does not fill the ring of events: few are said, all are counted.
#[test]
fn a_flood_of_strangers_loses_no_event() {
    let place = Place::new("");
    let job = Job::governed(&place.subtree, "server").unwrap();
    let _server = place.listens(&job, SERVER);
    let mut flood = Command::new("/usr/bin/python3");
    let program = "import socket, sys\n\
        held = []\n\
        for _ in range(5000):\n    \
            s = socket.socket()\n    s.setblocking(False)\n    \
            s.connect_ex(('127.0.0.1', int(sys.argv[1])))\n    s.close()\n";
    flood.args(["-c", program, &place.port.to_string()]);
    let flood = Running::start(&mut flood).unwrap();
    flood.wait(PATIENCE).unwrap().success().unwrap();
    let status = place.daemon.status().unwrap();
    assert_eq!(status["losses"]["events"], 0, "{status}");
    assert!(place.daemon.said().matches("outside of the tree").count() < 20);
}

//! UDP that is no question for a name: refused at once, but where a policy has a resource for it.
use gateway_tests::running::PATIENCE;
use gateway_tests::{Daemon, Job, Namespace, Running, Subtree, wait};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Answers each datagram with what it was, in capitals, and where it came from.
const ECHO: &str = r#"
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    data, peer = s.recvfrom(70000)
    print(len(data), flush=True)
    s.sendto(data.upper()[:60000], peer)
"#;

const PORT: u16 = 7300;
/// A port of the same host that no resource names.
const OTHER: u16 = 7301;

struct Place {
    daemon: Daemon,
    echo: Running,
    other: Running,
    namespace: Namespace,
    subtree: Arc<Subtree>,
}

impl Place {
    fn new(config: &str) -> Place {
        let subtree = Arc::new(Subtree::create().unwrap());
        let namespace = Namespace::create().unwrap();
        let text = Place::policy(&subtree, &namespace, "protocol = \"udp\"\n");
        let prepared = Daemon::prepare(&subtree).unwrap();
        let prepared = prepared.policy("test", &text).unwrap().config(config);
        let daemon = prepared.start().unwrap();
        let [echo, other] = [PORT, OTHER].map(|port| echo(&namespace, "0.0.0.0", port));
        Place {
            daemon,
            echo,
            other,
            namespace,
            subtree,
        }
    }

    /// Everything is allowed; `protocol` is that of the resource.
    fn policy(subtree: &Subtree, namespace: &Namespace, protocol: &str) -> String {
        format!(
            "[policy]\nname = \"test\"\ncgroups = [\"{}/jobs/**\"]\n\n\
             [[resource]]\nname = \"statistics\"\n{protocol}hosts = [\"{}\", \"{}\", \"127.0.0.1\"]\n\
             ports = [{PORT}]\n\n\
             [[rule]]\nname = \"all\"\nverbs = [\"*\", \"unknown\"]\nverdict = \"allow\"\n",
            subtree.name(),
            namespace.address(),
            namespace.address_v6()
        )
    }

    /// Runs a program in a job; `host`, `port` and `other` are known to it.
    fn run(&self, name: &str, program: &str) -> String {
        let head = format!(
            "import socket, sys, time\nhost, port, other = {:?}, {PORT}, {OTHER}\n\
             s = socket.socket(type=socket.SOCK_DGRAM)\ns.settimeout(2)\n",
            self.namespace.address().to_string()
        );
        let job = Job::governed(&self.subtree, name).unwrap();
        let running = job.python(&format!("{head}{program}"), &[]).unwrap();
        let outcome = running.wait(PATIENCE).unwrap();
        outcome.stdout + &outcome.stderr
    }

    fn sessions(&self) -> Vec<Value> {
        self.daemon.sessions().unwrap()
    }
}

fn echo(namespace: &Namespace, host: &str, port: u16) -> Running {
    let mut python = namespace.command("/usr/bin/python3");
    python.args(["-u", "-c", ECHO, host, &port.to_string()]);
    let mut running = Running::start(&mut python).unwrap();
    running.wait_for_output("listening", PATIENCE).unwrap();
    running
}

#[test]
fn a_flow_passes_and_is_recorded() {
    let place = Place::new("[limits]\ndatagrams_idle = \"2s\"\n");
    let program = "s.sendto(b'one', (host, port))\nprint(s.recvfrom(100))\n\
        s.sendto(b'two', (host, port))\nprint(s.recvfrom(100))\n\
        c = socket.socket(type=socket.SOCK_DGRAM)\nc.settimeout(2)\nc.connect((host, port))\n\
        c.send(b'x' * 40000)\ndata = c.recv(70000)\nprint(len(data), data[:3], c.getpeername())\n";
    let said = place.run("sender", program);
    let host = place.namespace.address();
    let expected = format!(
        "(b'ONE', ('{host}', {PORT}))\n(b'TWO', ('{host}', {PORT}))\n40000 b'XXX' ('{host}', {PORT})\n"
    );
    assert_eq!(said, expected, "{}", place.daemon.said());
    // Two flows, each a session with one operation, which end with their silence.
    wait::until_true("the flows to end", PATIENCE, || {
        let sessions = place.sessions();
        sessions.len() == 2 && sessions.iter().all(|session| !session["closed"].is_null())
    })
    .unwrap();
    let mut bytes: Vec<(u64, u64)> = Vec::new();
    for session in place.sessions() {
        assert_eq!(session["protocol"], "udp", "{session:#?}");
        assert_eq!(session["resource"], "statistics");
        assert_eq!(session["destination"]["port"], PORT);
        assert_eq!(session["end"], "client");
        let of = |key: &str| session[key].as_u64().unwrap();
        bytes.push((of("bytes_up"), of("bytes_down")));
    }
    bytes.sort_unstable();
    assert_eq!(bytes, [(6, 6), (40_000, 40_000)]);
    let log = place.daemon.log().unwrap();
    assert_eq!(log.len(), 2, "{log:#?}");
    for operation in log {
        assert_eq!(operation["verdict"], "allow");
        assert_eq!(operation["verb"], "unknown");
        assert!(operation["bytes_up"].as_u64() > Some(0), "{operation:#?}");
    }
}

/// Only where a resource says so, whatever the rules allow; and refused elsewhere without a word to
/// the network.
#[test]
fn datagrams_pass_only_where_a_resource_is_for_them() {
    let place = Place::new("");
    let program = "s.settimeout(1)\n\
        for to in [(host, other)] * 3:\n    s.sendto(b'out', to)\n\
        try:\n    print(s.recvfrom(100))\nexcept OSError as error:\n    print(type(error).__name__)\n";
    assert_eq!(place.run("elsewhere", program), "TimeoutError\n");
    let log = place.daemon.log().unwrap();
    assert_eq!(log.len(), 1, "one question for the whole flow: {log:#?}");
    assert_eq!(log[0]["verdict"], "deny");
    let message = log[0]["message"].as_str().unwrap();
    assert!(message.contains("protocol = \"udp\""), "{message}");
    assert_eq!(place.other.stdout(), "listening\n", "nothing arrived");

    // What has several receivers, and what has another way, is refused by the kernel.
    let refused = "for to in [('224.0.0.251', 5353), ('255.255.255.255', 9), (host, 443)]:\n    \
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)\n    \
        try:\n        s.sendto(b'out', to)\n        print('sent')\n    \
        except OSError as error:\n        print(type(error).__name__)\n";
    assert_eq!(place.run("many", refused), "PermissionError\n".repeat(3));

    // Without such a resource all is.
    let text = Place::policy(&place.subtree, &place.namespace, "");
    place.daemon.put_in_force("test", &text).unwrap();
    let said = place.run("none", "s.sendto(b'out', (host, port))\n");
    assert!(said.contains("PermissionError"), "{said}");
    assert_eq!(place.echo.stdout(), "listening\n", "nothing arrived");
}

/// A connection to what datagrams are for is none of them.
#[test]
fn a_resource_for_datagrams_takes_no_stream() {
    let place = Place::new("");
    let mut server = place.namespace.command("/usr/bin/python3");
    let accept = format!(
        "import socket\ns = socket.create_server(('', {PORT}))\nprint('listening', flush=True)\n\
         c, _ = s.accept()\nprint(c.recv(10), flush=True)\n"
    );
    server.args(["-u", "-c", &accept]);
    let mut server = Running::start(&mut server).unwrap();
    server.wait_for_output("listening", PATIENCE).unwrap();
    let program = "t = socket.create_connection((host, port), 5)\nt.settimeout(8)\n\
        t.sendall(b'secret')\n\
        try:\n    print(t.recv(10))\nexcept OSError as error:\n    print(type(error).__name__)\n";
    let said = place.run("stream", program);
    assert!(said.contains("ConnectionResetError"), "{said}");
    assert!(!server.stdout().contains("secret"), "{}", server.stdout());
}

#[test]
fn a_flow_can_be_killed_and_a_daemon_that_dies_ends_it() {
    let mut place = Place::new("");
    let program = "s.settimeout(1)\n\
        for _ in range(40):\n    \
            try:\n        s.sendto(b'again', (host, port))\n        print(s.recvfrom(100)[0], flush=True)\n    \
            except OSError as error:\n        print(type(error).__name__, flush=True)\n    \
            time.sleep(0.1)\n";
    let head = format!(
        "import socket, time\nhost, port = {:?}, {PORT}\ns = socket.socket(type=socket.SOCK_DGRAM)\n",
        place.namespace.address().to_string()
    );
    let job = Job::governed(&place.subtree, "long").unwrap();
    let mut job = job.python(&format!("{head}{program}"), &[]).unwrap();
    job.wait_for_output("AGAIN", PATIENCE).unwrap();
    let session = place.sessions()[0]["session"].as_str().unwrap().to_owned();
    let killed = place.daemon.run(&["kill", &session]).unwrap();
    assert_eq!(killed.code(), 0, "{killed:?}");
    wait::until_true("another session", PATIENCE, || place.sessions().len() == 2).unwrap();
    let ends: Vec<Value> = place
        .sessions()
        .iter()
        .map(|one| one["end"].clone())
        .collect();
    assert!(ends.contains(&Value::from("killed")), "{ends:?}");
    place.daemon.crash().unwrap();
    job.wait_for_output("Error", PATIENCE).unwrap();
    place.daemon.restart().unwrap();
    let before = job.stdout().matches("AGAIN").count();
    wait::until_true("it to go on", Duration::from_secs(10), || {
        job.stdout().matches("AGAIN").count() > before
    })
    .unwrap();
}

//! IPv4 addresses inside of IPv6 ones: real connections to a real server that has such addresses.
use gateway_tests::{Daemon, Job, Namespace, Running, Subtree, running};
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;

const PORT: u16 = 7000;

/// What the server answers with.
const SERVER: &str = r#"
import socket, sys
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6)
print("serving", flush=True)
while True:
    with server.accept()[0] as connection:
        connection.recv(100)
        connection.sendall(b"hello")
"#;

const CLIENT: &str = r#"
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as connection:
        connection.sendall(b"greet")
        print(connection.recv(100).decode())
except OSError as error:
    print(error)
"#;

const RULES: &str = r#"
[[resource]]
name = "net"
hosts = ["198.18.0.0/24"]

[[rule]]
name = "net"
resources = ["net"]
verbs = ["connect", "unknown"]
verdict = "allow"

[[rule]]
name = "tunnels"
resources = ["[2002:*"]
verbs = ["connect", "unknown"]
verdict = "allow"

[[rule]]
name = "never"
resources = ["198.18.66.*"]
verdict = "deny"
"#;

/// 198.18.0.7, which is allowed; 198.18.66.7, which is denied; and 198.18.99.7, of which nothing is
/// said: behind a translator, and at the end of a tunnel.
const CASES: [(&str, &str, &str); 6] = [
    ("64:ff9b::c612:7", "net", "allow"),
    ("64:ff9b::c612:4207", "[64:ff9b::c612:4207]:7000", "deny"),
    ("64:ff9b::c612:6307", "[64:ff9b::c612:6307]:7000", "deny"),
    ("2002:c612:7::1", "[2002:c612:7::1]:7000", "allow"),
    ("2002:c612:4207::1", "[2002:c612:4207::1]:7000", "deny"),
    ("2002:c612:6307::1", "[2002:c612:6307::1]:7000", "allow"),
];

/// Gives the namespace an address, and the host a way there, which goes with the link.
fn lead(namespace: &Namespace, address: &str) {
    let address = format!("{address}/128");
    let mut inside = Command::new("ip");
    inside.args([
        "-n",
        namespace.name(),
        "address",
        "add",
        &address,
        "dev",
        "lo",
    ]);
    let mut route = Command::new("ip");
    route.args([
        "-6",
        "route",
        "add",
        &address,
        "via",
        &namespace.address_v6().to_string(),
    ]);
    for command in [&mut inside, &mut route] {
        running::run(command).unwrap().success().unwrap();
    }
}

#[test]
fn the_policy_judges_the_address_inside() {
    let subtree = Arc::new(Subtree::create().unwrap());
    let namespace = Namespace::create().unwrap();
    for (address, ..) in CASES {
        lead(&namespace, address);
    }
    let mut server = namespace.command("python3");
    server.args(["-c", SERVER, &PORT.to_string()]);
    let mut server = Running::start(&mut server).unwrap();
    server
        .wait_for_output("serving", running::PATIENCE)
        .unwrap();
    let policy = format!(
        "[policy]\nname = \"test\"\ncgroups = [\"{}/jobs/**\"]\n{RULES}",
        subtree.name()
    );
    let prepared = Daemon::prepare(&subtree).unwrap();
    let daemon = prepared.policy("test", &policy).unwrap().start().unwrap();
    let free = Job::free(&subtree, "free").unwrap();
    let governed = Job::governed(&subtree, "job").unwrap();
    for (address, resource, verdict) in CASES {
        let ask = |job: &Job| {
            let asked = job.python(CLIENT, &[address, &PORT.to_string()]).unwrap();
            asked.wait(running::PATIENCE).unwrap().stdout
        };
        assert_eq!(ask(&free).trim(), "hello", "{address}: it is no way");
        let heard = ask(&governed);
        assert_eq!(
            heard.trim() == "hello",
            verdict == "allow",
            "{address}: {heard}"
        );
        let of = |operation: &&Value| operation["destination"]["ip"] == address;
        let log = daemon.log().unwrap();
        let recorded: Vec<&Value> = log.iter().filter(of).collect();
        assert!(!recorded.is_empty(), "{address}");
        for operation in recorded {
            assert_eq!(operation["verdict"], verdict, "{address}");
            assert_eq!(operation["resource"], resource, "{address}");
        }
    }
}

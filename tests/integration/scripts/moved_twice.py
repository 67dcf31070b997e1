"""A process is moved out of a governed cgroup in the very moment in which it makes a socket, and back again: it is
governed there, whatever its CPU has seen in between. The arguments say where: the governed cgroup, a free one, and
for how many seconds that is tried."""
import mmap
import os
import socket
import struct
import sys
import time

governed, free = (os.open(f"{cgroup}/cgroup.procs", os.O_WRONLY) for cgroup in sys.argv[1:3])
until = time.monotonic() + float(sys.argv[3])
cpus = sorted(os.sched_getaffinity(0))
if len(cpus) < 2:
    sys.exit("it takes two processors")
shared = mmap.mmap(-1, 4096)
READY, GO, MOVED, AT = range(4)


def get(slot):
    return struct.unpack_from("q", shared, slot * 8)[0]


def put(slot, value):
    struct.pack_into("q", shared, slot * 8, value)


def until_set(slot, value):
    while get(slot) != value:
        pass


server = socket.create_server(("127.0.0.1", 0), backlog=128)
server.setblocking(False)
os.sched_setaffinity(0, {cpus[0]})
os.write(free, b"0")


def moved_child():
    os.sched_setaffinity(0, {cpus[1]})
    put(READY, 1)
    until_set(GO, 1)
    at = get(AT)
    while time.perf_counter_ns() < at:
        pass
    socket.socket().close()
    put(READY, 2)
    until_set(MOVED, 1)
    # Nothing is allowed there: what arrives has passed the gateway by.
    with socket.socket() as late:
        late.settimeout(5)
        try:
            late.connect(server.getsockname())
            late.sendall(b"direct")
        except OSError:
            pass


took, tries, direct = 100_000, 0, 0
while time.monotonic() < until:
    for slot in (READY, GO, MOVED):
        put(slot, 0)
    child = os.fork()
    if child == 0:
        moved_child()
        os._exit(0)
    number = str(child).encode()
    until_set(READY, 1)
    os.write(governed, number)
    moment = time.perf_counter_ns() + 30_000
    put(AT, moment + int(took * (0.1 + 0.9 * (tries % 97) / 97)))
    put(GO, 1)
    while time.perf_counter_ns() < moment:
        pass
    os.write(free, number)
    took = (took * 15 + time.perf_counter_ns() - moment) // 16
    until_set(READY, 2)
    os.write(governed, number)
    put(MOVED, 1)
    os.waitpid(child, 0)
    tries += 1
    try:
        while True:
            server.accept()[0].close()
            direct += 1
    except BlockingIOError:
        pass
print(f"{direct} of {tries} passed by; a move takes {took} ns")
sys.exit(direct > 0 or tries == 0)

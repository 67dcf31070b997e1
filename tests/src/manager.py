"""A service manager as small as can be: it listens to the daemon (sd_notify), keeps the descriptors
that it is given (FDSTORE), and passes them to the next daemon.

HUP: SIGTERM, wait, start. USR1: SIGKILL. USR2: start. WINCH: the daemon is to give way to another.
TERM: SIGTERM, wait, end."""
import array, ctypes, fcntl, os, signal, socket, struct, sys, threading, time

SIGNALS = {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTERM}
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
libc = ctypes.CDLL(None)
libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notified.bind(f"\0gateway-test-manager-{os.getpid()}")
notified.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
os.environ["NOTIFY_SOCKET"] = f"@gateway-test-manager-{os.getpid()}"
kept, main = [], None


def listen():
    global main
    while True:
        text, data, _, _ = notified.recvmsg(4096, 4096)
        fds = array.array("i")
        for level, kind, content in data:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(content[: len(content) // 4 * 4])
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                sender = struct.unpack("iii", content)[0]
        said = dict(line.split("=", 1) for line in text.decode().splitlines())
        name = said.get("FDNAME")
        if sender != main:
            print("ignored", sender, said, flush=True)
            continue
        if "MAINPID" in said:
            main = int(said["MAINPID"])
            print("main", main, flush=True)
        if said.get("FDSTOREREMOVE") == "1":
            for entry in [entry for entry in kept if entry[0] == name]:
                os.close(entry[1])
                kept.remove(entry)
            print("kept", len(kept), flush=True)
        if said.get("FDSTORE") == "1":
            for fd in fds:
                high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)
                os.close(fd)
                kept.append((name, high))
            print("kept", len(kept), flush=True)
        if said.get("READY") == "1":
            print("ready", main, flush=True)


def begin():
    """In the child: what is kept lies from descriptor 3 on, in the order of its names."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for number, (_, fd) in enumerate(kept, 3):
        os.dup2(fd, number, inheritable=True)
    if kept:
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.environ["LISTEN_FDS"] = str(len(kept))
        os.environ["LISTEN_FDNAMES"] = ":".join(name for name, _ in kept)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def start():
    global main
    read, write = os.pipe()
    main = spawn(read, write)
    os.write(write, b"x")
    os.close(read)
    os.close(write)


def spawn(read, write):
    """Waits for the word, so that whoever listens knows its number before it says something."""
    pid = os.fork()
    if pid:
        return pid
    os.read(read, 1)
    os.close(read)
    os.close(write)
    begin()
    os.execv(sys.argv[1], sys.argv[1:])


def stop(with_signal):
    os.kill(main, with_signal)
    while True:
        try:
            _, status = os.waitpid(main, 0)
            break
        except ChildProcessError:
            # One that took over is somebody else's child, until that one is gone.
            time.sleep(0.05)
    code = os.waitstatus_to_exitcode(status)
    print("stopped", code, flush=True)
    return code


fcntl.fcntl(notified, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
threading.Thread(target=listen, daemon=True).start()
start()
while True:
    told = signal.sigwait(SIGNALS)
    if told == signal.SIGUSR1:
        stop(signal.SIGKILL)
    elif told == signal.SIGUSR2:
        start()
    elif told == signal.SIGWINCH:
        os.kill(main, signal.SIGUSR2)
    else:
        code = stop(signal.SIGTERM)
        if told == signal.SIGTERM:
            sys.exit(code & 0xFF)
        start()

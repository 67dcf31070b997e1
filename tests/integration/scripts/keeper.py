"""Connects to each of `KIND,HOST,PORT`, does what it is told to do then, waits for a file, and
sends a token over each connection. `then` is a way on: nothing; `move` into a cgroup and
execute oneself; `share` the same in a child, while the parent goes on as well; `hand` the same,
while the parent lets go when it is told; `fork` into a cgroup without any exec."""
import json, os, socket, sys, time
told = json.loads(sys.argv[1])
def connect(target):
    kind, host, port = target.split(",")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    IPPROTO_MPTCP = 262
    protocol = IPPROTO_MPTCP if kind == "mptcp" else 0
    s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM, protocol)
    s.connect((host, int(port)))
    return s
def enter():
    with open(told["cgroup"] + "/cgroup.procs", "w") as procs:
        procs.write("0")
def wait_for(name):
    while not os.path.exists(name):
        time.sleep(0.01)
def speak(sockets, go, token):
    print("connected", os.getpid(), flush=True)
    wait_for(go)
    for target, s in sockets:
        try:
            for attempt in range(3):
                s.sendall(token.encode())
                time.sleep(0.05)
            print("sent", target, flush=True)
        except OSError as error:
            print("failed", target, type(error).__name__, flush=True)
inherited = told.get("inherited")
if inherited:
    sockets = [(target, socket.socket(fileno=number)) for target, number in inherited]
    speak(sockets, told["go"], told["token"])
    sys.exit()
sockets = [(target, connect(target)) for target in told["targets"]]
def go_on():
    for _, s in sockets:
        s.set_inheritable(True)
    told["inherited"] = [(target, s.fileno()) for target, s in sockets]
    os.execv(sys.executable, [sys.executable, "-u", "-c", told["program"], json.dumps(told)])
then = told.get("then")
if then == "move":
    enter()
    go_on()
if then in ("share", "hand") and os.fork() == 0:
    enter()
    go_on()
if then == "fork" and os.fork() == 0:
    enter()
    # The first fork in the cgroup is what the gateway sees of it.
    if os.fork() == 0:
        os._exit(0)
    speak(sockets, told["go"], told["token"])
    os._exit(0)
if then == "fork":
    for _, s in sockets:
        s.close()
    os.wait()
    sys.exit()
if then == "hand":
    wait_for(told["parent_go"])
    for _, s in sockets:
        s.close()
    os.wait()
    sys.exit()
if then == "share":
    speak(sockets, told["parent_go"], told["parent_token"])
    os.wait()
    sys.exit()
speak(sockets, told["go"], told["token"])

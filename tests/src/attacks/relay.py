"""An ungoverned service of root on loopback, which takes what it is given to the sink: on a port of
its own, and on one that it shares with whoever has its uid. It holds a connection of its own too."""
import os, socket, sys, threading

sink = (sys.argv[1], int(sys.argv[2]))
own = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
shared = socket.socket()
shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
shared.bind(("127.0.0.1", 0))
shared.listen(100)
held = socket.create_connection(sink)


def pass_on(connection):
    with connection:
        connection.settimeout(3)
        try:
            data = connection.recv(65536)
            if data:
                with socket.create_connection(sink, 3) as onward:
                    onward.sendall(data)
        except OSError:
            pass


def serve(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=pass_on, args=(connection,), daemon=True).start()


threading.Thread(target=serve, args=(own,), daemon=True).start()
print("relaying", own.getsockname()[1], shared.getsockname()[1], os.getpid(), held.fileno(), flush=True)
serve(shared)

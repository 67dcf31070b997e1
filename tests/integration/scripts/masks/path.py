"""Unqualified names mean what the server looks up, however its search path came to be: what is in the schema
`secret` is refused."""
import socket
import struct

from judge import database, end, faults, host, look, port
from protocol import Wire

READ = "select * from people"


class As(Wire):
    """Logs in with these words in its StartupMessage."""

    def __init__(self, user, *words):
        self.socket = socket.create_connection((host, int(port)))
        self.held = b""
        words = ["user", user, "database", database, *words]
        body = struct.pack(">i", 196608) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
        self.socket.sendall(struct.pack(">i", len(body) + 4) + body)
        self.until_ready()


def frame(kind, body=b""):
    return kind + struct.pack(">i", len(body) + 4) + body


def query(sql):
    return frame(b"Q", sql.encode() + b"\0")


def parse(sql, name=""):
    return frame(b"P", f"{name}\0{sql}\0".encode() + b"\0\0")


def bind(portal, name=""):
    return frame(b"B", f"{portal}\0{name}\0".encode() + b"\0" * 6)


def execute(portal):
    return frame(b"E", portal.encode() + b"\0" + struct.pack(">i", 0))


SYNC = frame(b"S")


def ask(what, session, *packets, passes=False):
    """Each packet ends with something that is answered by ReadyForQuery."""
    seen = []
    for packet in packets:
        session.socket.sendall(packet)
        seen += session.until_ready()
    look(what, seen)
    refused = any(m[:1] == b"E" and b"C42501" in m for m in seen)
    rows = sum(m[:1] == b"D" for m in seen)
    print(what, "refused" if refused else rows, flush=True)
    if passes and refused:
        faults.append(f"{what}: {seen}")
    session.socket.close()


PLAIN = "postgres"
# The role, the database's setting for it, the startup message, and all three in one.
ask("as it is", As(PLAIN), query(READ), passes=True)
ask("of the role", As("of_secret"), query(READ))
ask("of the startup message", As(PLAIN, "search_path", "secret"), query(READ))
ask("of the options", As(PLAIN, "options", "-c search_path=secret"), query(READ))
ask("both", As(PLAIN, "search_path", "public", "options", "-c search_path=secret"), query(READ))
ask("both turned", As(PLAIN, "options", "-c search_path=secret", "search_path", "public"), query(READ))
ask("twice", As(PLAIN, "options", "-csearch_path=public --search_path=secret"), query(READ))
ask("reset", As("of_secret"), query("set search_path = public"), query("reset search_path"), query(READ))
ask("discarded", As("of_secret"), query("set search_path = public"), query("discard all"), query(READ))
ask("reset in a transaction", As("of_secret"), query("begin"), query("set search_path = public"),
    query("reset search_path"), query(READ))

# A portal is planned under the path of its Bind, or of its Execute, whichever it is.
ask("bound before", As(PLAIN), query("begin"), query("set search_path = secret"),
    parse(READ, "s") + bind("p", "s") + SYNC, query("set search_path = public"), execute("p") + SYNC)
ask("bound before, prepared elsewhere", As(PLAIN), query("begin"), parse(READ, "s") + SYNC,
    query("set search_path = secret"), bind("p", "s") + SYNC, query("set search_path = public"),
    execute("p") + SYNC)
ask("bound before, fetched", As(PLAIN), query("begin"), parse(READ, "s") + SYNC,
    query("set search_path = secret"), bind("p", "s") + SYNC, query("set search_path = public"),
    query("fetch all from p"))
for command in [f"declare c cursor for {READ}", f"create temp table t as {READ}", f"copy ({READ}) to stdout"]:
    ask(f"a command: {command}", As(PLAIN), query("begin"), parse(command, "s") + bind("p", "s") + SYNC,
        query("set search_path = secret"), execute("p") + SYNC, query("fetch all from c"))

# What sets it runs when it is fetched from.
SETS = "select set_config('search_path', 'secret', false)"
ask("a cursor", As(PLAIN), query("begin"), query(f"declare c cursor for {SETS}"),
    query("set search_path = public"), query("fetch all from c"), query(READ))
ask("a portal", As(PLAIN), query("begin"), parse(SETS) + bind("p") + SYNC,
    query("set search_path = public"), query("fetch all from p"), query(READ))
ask("a portal that another cursor has replaced", As(PLAIN), query("begin"),
    parse("set search_path = public", "s") + bind("p", "s") + SYNC, query("close p"),
    query(f"declare p cursor for {SETS}"), execute("p") + SYNC, query(READ))
ask("a portal that is used up", As(PLAIN), query("begin"), query("set search_path = secret"),
    parse("select set_config('search_path', 'public', false) where false", "s") + bind("p", "s") + SYNC,
    execute("p") + SYNC, query(READ))
ask("what is prepared", As(PLAIN), query(f"prepare s as {SETS}"), query("execute s"), query(READ))
end()

"""What the gateway believes of a session and what the server has must not come apart: names that are
given twice, given and never taken, or given by the other way. Nothing of what is masked may be there."""
import struct
import sys

from protocol import Wire

host, port, user, database = sys.argv[1:5]
CLEAN = "select note from plain"
MASKED = "select upper(email), email from users"
# A mail, a salary as text, and all of them in binary.
NEEDLES = [b"k4n4ry", b"91827364", *(struct.pack(">i", 918273640 + n) for n in range(1, 6))]
EXECUTE = struct.pack(">i", 0)


def parse(name, sql):
    return b"P", f"{name}\0{sql}\0".encode() + b"\0\0"


def bind(portal, name, formats=b"\0\0"):
    return b"B", f"{portal}\0{name}\0".encode() + b"\0" * 4 + formats


def execute(portal="", rows=EXECUTE):
    return b"E", portal.encode() + b"\0" + rows


def close(kind, name):
    return b"C", kind + name.encode() + b"\0"


SYNC, FLUSH, BROKEN = (b"S", b""), (b"H", b""), parse("", "selec broken")


class Session:
    def __init__(self):
        self.wire = Wire(host, port, user, database)

    def run(self, *messages):
        """Everything at once, and a Sync behind it."""
        packed = b"".join(
            kind + struct.pack(">i", len(body) + 4) + body for kind, body in [*messages, SYNC]
        )
        self.wire.socket.sendall(packed)
        answers = [self.wire.until_ready() for _ in range(1 + sum(m == SYNC for m in messages))]
        return self.seen(sum(answers, []))

    def ask(self, sql):
        return self.seen(self.wire.simple(sql))

    def seen(self, messages):
        raw = b"".join(messages)
        for needle in NEEDLES:
            assert needle not in raw.lower(), raw
        return raw


def skipped(first, second):
    """A name that a message gives which the server skips, behind an error."""
    session = Session()
    session.run(parse("s", first))
    session.run(BROKEN, close(b"S", "s"), parse("s", second))
    session.run(bind("", "s"), execute())
    session.run(BROKEN, close(b"S", "s"), SYNC, bind("", "s"), execute())
    # In one go, with the error before the names are known to be given.
    session.run(BROKEN, close(b"S", "s"), parse("s", second), SYNC, bind("", "s"), execute())
    session.run(parse("t", "select 1/(select 0)"), bind("", "t"), execute(), close(b"S", "s"),
                parse("s", second), SYNC, bind("", "s"), execute(), close(b"S", "s"))


def twice(first, second):
    """A name that is there already: the server refuses the second."""
    session = Session()
    session.run(parse("s", first))
    session.run(parse("s", second))
    session.run(bind("", "s"), execute())
    session.run(parse("s", second), SYNC, bind("", "s"), execute())
    session.ask("begin")
    session.run(bind("p", "s"))
    session.run(parse("", second), bind("p", ""), SYNC, execute("p"))
    session.ask("rollback")
    session.ask(f"prepare s as {second}")
    session.ask("execute s")
    session.run(bind("", "s"), execute())


def other_way(first, second):
    """Named by SQL, used by the protocol, and the other way round."""
    session = Session()
    session.run(parse("s", first))
    session.ask("deallocate s")
    session.ask(f"prepare s as {second}")
    session.run(bind("", "s"), execute())
    session.ask("deallocate all")
    session.run(parse("s", first))
    session.run(parse("d", "deallocate s"), bind("", "d"), execute(), parse("s", second),
                bind("", "s"), execute())
    session.ask("discard all")
    session.run(parse("s", second))
    session.run(bind("", "s"), execute())
    # Prepared in what is rolled back, it stays.
    session.ask("begin")
    session.ask(f"prepare kept as {second}")
    session.ask("rollback")
    session.run(bind("", "kept"), execute())
    session.ask("execute kept")
    # SQL cuts names at 63 bytes, and folds their case; the protocol does neither.
    for long in ("n" * 70, "S", '"S"'):
        session.ask(f"prepare {long} as {second}")
        for name in (long[:63], long, long.lower(), long.strip('"')):
            session.run(bind("", name), execute())
            session.ask(f"execute {long}")
        session.run(parse("n" * 63, first), bind("", "n" * 63), execute())


def portals(first, second):
    """Portals are cursors, and cursors are portals."""
    session = Session()
    session.ask("begin")
    session.ask(f"declare c cursor for {second}")
    session.run(execute("c", struct.pack(">i", 1)), execute("c"))
    session.ask("rollback")
    session.ask("begin")
    session.run(parse("", first), bind("c", ""), execute("c", struct.pack(">i", 1)))
    session.ask("close c")
    session.ask(f"declare c cursor for {second}")
    session.run(execute("c"))
    session.ask("rollback")
    session.ask("begin")
    session.run(parse("", second), bind("c", ""), parse("", first), execute("c"))
    session.ask("rollback")
    # Gone with the transaction, and there again under the same name.
    session.run(parse("one", first), parse("two", second))
    session.run(bind("c", "one"), SYNC, bind("c", "two"), SYNC, execute("c"))
    session.ask("begin")
    session.run(bind("c", "one"))
    session.ask("savepoint a")
    session.run(close(b"P", "c"), bind("c", "two"))
    session.ask("rollback to a")
    session.run(execute("c"))
    session.ask("rollback")
    session.ask(f"declare h cursor with hold for {second}")
    session.run(execute("h"))
    session.ask("fetch 2 from h")
    session.ask("close h")
    # Declared by what was prepared, by the protocol, and where a Bind meets it.
    session.run(parse("dc", f"declare c cursor for {second}"))
    session.ask("begin")
    session.run(parse("", first), bind("c", ""))
    session.ask("close c")
    session.ask("execute dc")
    session.run(execute("c"))
    session.ask("rollback")
    session.ask("begin")
    session.run(parse("", first), bind("c", ""), parse("", "close c"), bind("", ""), execute(),
                bind("", "dc"), execute(), execute("c"))
    session.ask("rollback")
    session.ask(f"declare h cursor with hold for {second}")
    session.run(parse("", first), bind("h", ""), SYNC, execute("h"))
    session.ask("close all")
    session.ask("begin")
    session.ask("savepoint a")
    session.run(parse("", first), bind("c", ""))
    session.ask("rollback to a")
    session.ask(f"declare c cursor for {second}")
    session.run(execute("c"))
    session.ask("rollback")
    # The unnamed portal goes on after the unnamed statement has changed.
    session.ask("begin")
    session.run(parse("", second), bind("", ""), execute("", struct.pack(">i", 1)), parse("", first),
                execute("", struct.pack(">i", 1)), execute(""))
    session.ask("rollback")
    # Formats are of the portal.
    for formats in (b"\0\1\0\1", b"\0\2\0\0\0\1", b"\0\2\0\1\0\0"):
        session.run(parse("", second), bind("", "", formats), execute())


def flushed(first, second):
    """Answers that are asked for with Flush, and errors in between."""
    session = Session()
    session.run(parse("", first), FLUSH, bind("", ""), FLUSH, execute(), FLUSH,
                parse("", second), FLUSH, bind("", ""), FLUSH, execute(), FLUSH)
    session.run(FLUSH, parse("", second), bind("", ""), execute(), BROKEN, FLUSH, execute())
    # Texts with several statements, of which one fails.
    session.ask(f"{first}; {second}; select 1/0; {first}")
    session.ask(f"begin; declare c cursor for {second}; commit; fetch c")
    session.ask(f"select 1/0; prepare q as {first}")
    session.ask(f"prepare q as {second}")
    session.ask("execute q")
    # A function by its own message: its number, a binary argument, a binary result.
    answer = session.ask("select 'mail_of'::regproc::oid")
    digits = bytes(byte for byte in answer.split(b"D", 1)[-1][10:18] if 48 <= byte <= 57)
    body = struct.pack(">ihhhiih", int(digits or b"0"), 1, 1, 1, 4, 1, 1)
    session.wire.send(b"F", body)
    session.seen(session.wire.until_ready())


for case in (skipped, twice, other_way, portals, flushed):
    case(CLEAN, MASKED)
    case(MASKED, CLEAN)
    case(MASKED, "select ssn, salary from users")
print("done")

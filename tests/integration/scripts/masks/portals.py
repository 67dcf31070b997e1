"""A held statement runs when a human says so, and nobody does: a portal is run by more than Execute."""
import struct

from judge import connect, end, faults

# Each takes one of the accounts.
TAKES = "delete from accounts where id = (select min(id) from accounts) returning id"
LONG = "n" * 63 + "\u00e9"


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


SYNC, FLUSH = frame(b"S"), frame(b"H")


def tries(what, *packets):
    session = connect()
    try:
        for packet in [query("begin"), *packets, query("commit")]:
            session.socket.sendall(packet)
            session.until_ready()
    except (EOFError, ConnectionError):
        print(what, "ended the session", flush=True)
    session.socket.close()
    left = connect().simple("select count(*) from accounts")[1][11:]
    print(what, left, flush=True)
    if left != b"3":
        faults.append(f"{what}: {left} are left")


for fetch in ["fetch all from p", "move all in p", "select cursor_to_xml('p', 10, true, false, '')",
              "select * from taken('p')"]:
    tries(fetch, parse(TAKES, "s") + bind("p", "s") + SYNC, query(fetch))
    tries(f"{fetch}, prepared before", parse(TAKES, "s") + SYNC, bind("p", "s") + SYNC, query(fetch))
    tries(f"{fetch}, by EXECUTE", query(f"prepare s as {TAKES}"), parse("execute s", "e") + bind("p", "e") + SYNC,
          query(fetch))
    tries(f"{fetch}, executed", parse(TAKES, "s") + bind("p", "s") + parse(fetch, "f") + bind("q", "f") + execute("q")
          + SYNC)
    tries(f"{fetch}, in one go", parse(TAKES, "s") + bind("p", "s") + FLUSH + query(fetch) + SYNC)
tries("a long name", parse(TAKES, "s") + bind(LONG, "s") + SYNC, query(f"fetch all from {'n' * 63}"),
      query(f"fetch all from {LONG}"))
tries("the unnamed one", parse(TAKES, "s") + bind("", "s") + parse("select * from taken('')", "f") + bind("q", "f")
      + execute("q") + SYNC)
tries("itself", parse("fetch all from p", "s") + bind("p", "s") + execute("p") + SYNC,
      parse(TAKES, "t") + bind("p", "t") + SYNC, query("fetch all from p"))
tries("in a circle", parse("fetch all from q", "s") + bind("p", "s") + parse("fetch all from p", "t") + bind("q", "t")
      + execute("p") + SYNC)
end()

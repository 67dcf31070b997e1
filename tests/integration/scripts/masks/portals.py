"""A held statement runs when a human says so, and nobody does: a portal is run by more than Execute."""
import struct
import time

from judge import connect, done, end, faults
from protocol import FLUSH, SYNC, bind, execute, frame, parse, query

# Each takes one of the accounts.
TAKES = "delete from accounts where id = (select min(id) from accounts) returning id"
LONG = "n" * 63 + "\u00e9"


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
# What it executes is exchanged, before it is run.
HARMLESS, XML = "select 1 as id", "select cursor_to_xml('', 10, true, false, '')"
CLOSE = frame(b"C", b"Ss\0")
for runs in ["execute s", "explain analyze execute s", "create temp table t as execute s"]:
    portal = parse(HARMLESS, "s") + parse(runs, "e") + bind("p", "e")
    for last in [execute("p") + SYNC, query("fetch all from p")]:
        tries(f"another statement for {runs}", portal + SYNC, CLOSE + parse(TAKES, "s") + SYNC, last)
    tries(f"the same at once: {runs}", portal + CLOSE + parse(TAKES, "s") + execute("p") + SYNC)
# The unnamed one, of a statement that is another one by now, or that nobody knows.
tries("another statement in the unnamed one", parse(HARMLESS, "s") + parse("execute s", "e") + parse(XML, "f") + SYNC,
      bind("", "e") + CLOSE + parse(TAKES, "s") + bind("q", "f") + execute("q") + SYNC)
tries("the unnamed one of no plain name", parse(XML, "f") + SYNC,
      parse(TAKES, "\u00e9") + bind("", "\u00e9") + bind("q", "f") + execute("q") + SYNC)
session = connect()
session.simple("begin")
session.socket.sendall(parse(HARMLESS, "s") + SYNC + CLOSE + SYNC + parse(TAKES, "s") + SYNC + bind("", "s")
                       + parse(XML, "f") + bind("q", "f") + execute("q") + SYNC)
for _ in range(4):
    session.until_ready()
session.simple("commit")
tries("the unnamed one of one of two", query("select 1"))

# What is planned, analysed or committed runs the unnamed one by its empty name.
for number in range(6):
    held = f"declare c{number} cursor with hold for {XML}"
    tries(f"a held cursor {number}", query("commit"),
          parse(held) + bind("") + execute("") + parse(TAKES) + bind("") + SYNC, query("begin"))
setup = connect()
done(setup, "create domain fetching as text check (cursor_to_xml('', 10, true, false, '') is not null)",
     "create type with_it as (a fetching)",
     "create function planned(c refcursor) returns int immutable language plpgsql as "
     "$$ declare r record; begin fetch c into r; return 1; end $$")
for what in ["select '{x}'::fetching[]", "select '(x)'::with_it", "select planned('')"]:
    bound = parse(TAKES, "s") + bind("", "s")
    tries(f"planned: {what}", bound + SYNC, query(what))
    tries(f"parsed: {what}", bound + parse(what, "f") + SYNC)
    tries(f"bound: {what}", parse(what, "f") + SYNC, bound + bind("q", "f") + SYNC)
done(setup, "drop function planned", "drop type with_it", "drop domain fetching")

# Nothing of the gateway's falls into a frame of the client's, whose end would be a message then.
question = query("SELECT pg_catalog.current_setting('search_path'), CURRENT_USER, "
                 "pg_catalog.to_regnamespace(pg_catalog.quote_ident(CURRENT_USER::pg_catalog.text)) IS NOT NULL")
smuggled = query("delete from a")
smuggled += query("--" + "x" * (len(question) - len(smuggled) - len(query("--"))))
done(connect(), "create table a (id int)", "insert into a values (1), (2), (3)")
session = connect()
session.socket.sendall(query("set search_path = public, pg_temp; copy a from stdin"))
for _ in range(2):
    session.message()
session.socket.sendall(frame(b"d", b"bad\n") + b"d" + struct.pack(">i", 204) + b"y" * 10)
session.until_ready()
time.sleep(0.2)
session.socket.sendall((b"y" * 190)[:190 - len(smuggled)] + smuggled)
session.simple("select 1")
left = connect().simple("select count(*) from a")[1][11:]
if left != b"3":
    faults.append(f"smuggled: {left} are left")
end()

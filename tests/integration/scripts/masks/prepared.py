"""Statements that the protocol prepares and SQL executes, cursors that change their names, and what a
Bind has planned. Each answer is in the words of the server: nothing of what is masked may be there."""
import socket
import struct
import sys

from protocol import Wire

host, port, user, database = sys.argv[1:5]


def parse(name, sql):
    return b"P", f"{name}\0{sql}\0".encode() + b"\0\0"


def bind(portal, name):
    return b"B", f"{portal}\0{name}\0".encode() + b"\0" * 6


def run(wire, *messages):
    for kind, body in [*messages, (b"S", b"")]:
        wire.send(kind, body)
    return seen(wire.until_ready())


def seen(messages):
    raw = b"".join(messages)
    assert b"k4n4ry" not in raw.lower(), raw
    return raw


def ask(wire, sql):
    return seen(wire.simple(sql))


# A change, and what stores something, by EXECUTE.
wire = Wire(host, port, user, database)
ask(wire, "create view pvz as select id, note as m from plain")
assert b"42501" in run(wire, parse("ddl", "create or replace view pvz as select id, email as m from users"))
assert b"42501" in ask(wire, "execute ddl")
run(wire, parse("ddl", "create or replace view pvz as select id, upper(note) as m from plain"))
assert b"CREATE VIEW" in ask(wire, "execute ddl")
assert b"NOTHING" in ask(wire, "select m from pvz where m like 'NOTH%'")
ask(wire, "drop view pvz")

# Cursors by EXECUTE, and by portals of the same name.
wire = Wire(host, port, user, database)
run(wire, parse("dc", "declare c cursor for select upper(email) from users"), parse("cc", "close c"))
ask(wire, "begin")
ask(wire, "declare c cursor for select upper(note) from plain")
ask(wire, "execute cc")
ask(wire, "execute dc")
assert b"[masked]" in ask(wire, "fetch 2 from c")
ask(wire, "rollback")
ask(wire, "begin")
run(
    wire,
    parse("", "declare c cursor for select upper(note) from plain"),
    bind("", ""),
    (b"E", b"\0" + struct.pack(">i", 0)),
    (b"C", b"Pc\0"),
    parse("", "select upper(email) from users"),
    bind("c", ""),
)
assert b"[masked]" in ask(wire, "fetch 2 from c")
ask(wire, "rollback")

# What a Bind has planned.
wire = Wire(host, port, user, database)
for letter in (107, 108):
    for sql in (
        f"select 1/(ascii(substr(imm(1), 1, 1)) - {letter})",
        f"select 1 from plain where id < 1/(ascii(substr(mail_of(1), 1, 1)) - {letter})",
    ):
        answer = run(wire, parse("", sql), bind("", ""))
        assert b"42501" in answer and answer.count(b"\x32\0\0\0\4") == 0, answer

# In which order an index has the values of a cursor.
wire = Wire(host, port, user, database)
ask(wire, "begin")
ask(wire, "declare c cursor for select email from users")
ask(wire, "fetch 1 from c")
assert b"42501" in ask(wire, "update users set name = name where current of c returning id")
ask(wire, "rollback")

# Who leaves in the middle stops nobody for longer than the server goes on.
wire = Wire(host, port, user, database)
wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
wire.send(b"Q", b"insert into sink select id, note from plain where pg_sleep(1) is not null\0")
other = Wire(host, port, user, database)
while b"pg_sleep(1) is not null" not in ask(
    other, "select 'pg_sleep(1) is not null' from pg_locks where relation = 'sink'::regclass"
):
    pass
wire.socket.close()
tries = 0
while b"42501" in ask(other, "create or replace view zz as select id from plain"):
    tries += 1
    assert tries < 10_000
    ask(other, "select pg_sleep(0.2)")
assert b"CREATE VIEW" in ask(other, "create or replace view zz as select id from plain")
ask(other, "drop view zz")
print("done")

"""What the protocol has prepared is executed by SQL, within something else; values of parameters are made by what
checks them."""
import struct
import sys

from protocol import Wire

host, port, user, database = sys.argv[1:5]
wire = Wire(host, port, user, database)


def prepare(name, sql):
    wire.send(b"P", f"{name}\0{sql}\0".encode() + struct.pack(">h", 0))
    wire.send(b"S")
    wire.until_ready()


prepare("taking", "insert into sink select id, email from users")
prepare("asking", "select id from users where email like 'k4n4ry-1%'")
prepare("showing", "select id, email from users")
for sql in [
    "explain analyze execute taking",
    "explain (analyze, costs off) execute asking",
    "explain analyze create table taken as execute showing",
]:
    kinds = [message[:1] for message in wire.simple(sql)]
    assert kinds == [b"E", b"Z"], (sql, kinds)
seen = b"".join(wire.simple("explain execute showing") + wire.simple("select * from sink"))
assert b"width" not in seen and b"k4n4ry" not in seen, seen
# Of a type whose constraint calls a function that says what it has read.
row = next(message for message in wire.simple("select 'refused'::regtype::oid") if message[:1] == b"D")
for statement in ["", "again"]:
    name = statement.encode() + b"\0"
    wire.send(b"P", name + b"select $1\0" + struct.pack(">hI", 1, int(row[11:])))
    wire.send(b"B", b"\0" + name + struct.pack(">hhi", 0, 1, 1) + b"1" + struct.pack(">h", 0))
    wire.send(b"E", b"\0" + struct.pack(">i", 0))
    wire.send(b"S")
    seen = wire.until_ready()
    assert any(message[:1] == b"E" and b"[masked" in message for message in seen), seen
    assert b"k4n4ry" not in b"".join(seen), seen
print("done")

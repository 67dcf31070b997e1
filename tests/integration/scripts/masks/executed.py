"""What the protocol has prepared is executed by SQL, within something else."""
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
print("done")

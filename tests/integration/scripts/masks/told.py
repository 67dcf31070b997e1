"""What the server says without being asked: settings, notifications, errors that come at the end."""
import sys

from protocol import Wire

host, port, user, database = sys.argv[1:5]
ADDRESS = b"someone@example.com"
wire = Wire(host, port, user, database)
seen = wire.simple("set application_name = 'someone@example.com'")
assert any(m[:1] == b"S" and b"[masked]" in m for m in seen), seen
seen += wire.simple("listen told")
answer = wire.simple("select pg_notify('told', 'from someone@example.com to you')")
assert any(m[:1] == b"A" and m.endswith(b"told\0from [masked] to you\0") for m in answer), answer
seen += answer
seen += wire.simple("create temp table late (email text unique deferrable initially deferred)")
wire.send(b"P", b"\0insert into late select 'some' || 'one@example.com' from generate_series(1, 2)\0\0\0")
wire.send(b"B", b"\0\0\0\0\0\0\0\0")
wire.send(b"E", b"\0\0\0\0\0")
wire.send(b"S")
answer = wire.until_ready()
assert any(m[:1] == b"E" and b"[masked" in m for m in answer), answer
seen += answer
assert ADDRESS not in b"".join(seen), seen
print("done")

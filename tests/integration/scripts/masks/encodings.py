"""Databases that keep their text in another encoding than UTF-8: what two names are there, the gateway
must not take for something else."""
import sys

from protocol import Wire

host, port, user = sys.argv[1:4]
long = "é" * 22
# The server cuts both at 63 bytes of its own, to the same name; and it folds É where its locale does.
PAIRS = [(f'"{long}A"', f'"{long}B"'), ("é", "É"), (r'U&"\00E9"', "É")]
QUESTIONS = [
    "select (select upper({b}.email) from users as {a} limit 1) from plain as {b}",
    "select 1 from plain as {b} where exists (select 1 from users as {a} where {b}.email like 'k4n%')",
    "insert into sink select 5, (select {b}.email from users as {a} limit 1) from plain as {b}",
]
for database in ["euc", "latin"]:
    wire = Wire(host, port, user, database)
    wire.simple("set client_encoding = 'UTF8'")
    for a, b in PAIRS:
        for question in QUESTIONS:
            seen = b"".join(wire.simple(question.format(a=a, b=b)))
            assert b"42501" in seen, (database, question.format(a=a, b=b), seen)
    # Strings are no names.
    seen = b"".join(wire.simple("select 'été' from plain limit 1"))
    assert "été".encode() in seen and b"42501" not in seen, seen
    seen = b"".join(wire.simple("select stolen from sink"))
    assert b"k4n4ry" not in seen, seen
print("done")

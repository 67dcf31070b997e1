"""Prints what every statement of a file brings back, byte for byte, in every form of the protocol."""
import sys

from protocol import Wire

host, port, user, database, path = sys.argv[1:6]
wire = Wire(host, port, user, database)
for line in open(path):
    sql = line.rstrip("\n").replace("\\;", ";")
    for form in ["simple", "text", "binary", "described"]:
        seen = []
        for part in sql.split(";;"):
            seen += wire.ask(part, form)
        print(f"{form}: {sql}\n  {b''.join(seen).hex()}")
        if seen[-1][5:6] != b"I":
            wire.simple("rollback")

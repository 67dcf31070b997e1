"""Prints what every statement of a file brings back, byte for byte, in every form of the protocol."""
import sys

from protocol import Wire

host, port, user, database, path = sys.argv[1:6]
for form, sql, seen in Wire(host, port, user, database).ask_each(path):
    print(f"{form}: {sql}\n  {b''.join(seen).hex()}")

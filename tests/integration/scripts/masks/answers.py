"""Prints what every statement of a file brings back, in every form of the protocol, without what
differs between two servers that hold the same: the numbers of objects, and those of sessions and
operations."""
import re
import sys

from protocol import Wire

host, port, user, database, path = sys.argv[1:6]


def shown(message):
    """A message, a description without the numbers of tables and their columns."""
    kind, body = message[:1], message[5:]
    if kind == b"T":
        names, at = [], 2
        while at < len(body):
            end = body.index(b"\0", at)
            names.append(body[at:end])
            at = end + 19
        body = b",".join(names)
    if kind in b"EN":
        body = re.sub(rb"\bs[0-9a-z]{13}\b(\.\d+)?", b"SESSION", body)
    return kind + body


for form, sql, seen in Wire(host, port, user, database).ask_each(path):
    print(f"{form}: {sql}\n  {[shown(message) for message in seen]}")

"""What scripts that attack masks have in common: they ask through the gateway, and collect what should not have
happened. The arguments say where: host, port, user, database."""
import sys

from protocol import Wire

host, port, user, database = sys.argv[1:5]
CANARY = b"k4n4ry"
faults = []


def connect():
    return Wire(host, port, user, database)


def refused(seen):
    """Did the gateway refuse it?"""
    return any(m[:1] == b"E" and b"C42501" in m for m in seen)


def done(session, *statements):
    """None of them fails."""
    for sql in statements:
        seen = session.simple(sql)
        if any(m[:1] == b"E" for m in seen):
            faults.append(f"{sql}: {seen}")


def look(what, seen):
    """Nothing of a masked value is in it."""
    if CANARY in b"".join(seen):
        faults.append(f"{what}: {seen}")


def end():
    print("\n".join(faults))
    print("done" if not faults else "FAULTS")

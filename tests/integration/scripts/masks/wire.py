"""Asks every statement of a file in every form of the protocol, and looks at each byte that comes
back: nothing of what is masked may be among them."""
import hashlib
import struct
import sys

from protocol import Wire

host, port, user, database, path = sys.argv[1:6]

emails = [f"k4n4ry-{n}@example.com" for n in range(1, 6)]
needles = [b"k4n4ry", b"yr4n4k", b"91827364", b"c0ffee00", b"1987-", b"k4n4", b"azRuNHJ5", b"6b346e34"]
needles += [bytes.fromhex("c0ffee00c0ff4ee0")]
needles += [struct.pack(">i", 918273640 + n) for n in range(1, 6)]
needles += [struct.pack(">i", -4593)]
for email in emails:
    needles += [hashlib.md5(email.encode()).hexdigest().encode()]
    needles += [hashlib.sha256(email.encode()).hexdigest()[:16].encode()]


def words(seen):
    """The error of an answer, or its tag."""
    for message in seen:
        if message[:1] == b"E":
            fields = {f[:1]: f[1:] for f in message[5:].split(b"\0") if f}
            return "E " + (fields.get(b"C", b"") + b" " + fields.get(b"M", b"")).decode(errors="replace")
    tags = [m[5:-1].decode(errors="replace") for m in seen if m[:1] == b"C"]
    return "C " + "; ".join(tags)


asked = found = 0
for form, sql, seen in Wire(host, port, user, database).ask_each(path):
    raw = b"".join(seen)
    for needle in needles:
        if needle.lower() in raw.lower() if needle.isalnum() else needle in raw:
            found += 1
            print(f"FOUND {needle!r} in {form}: {sql}\n  {raw[:600]!r}")
            break
    asked += form == "simple"
    print(f"{form}: {sql}\n  {words(seen)}")
print(f"{asked} statements, {found} found")

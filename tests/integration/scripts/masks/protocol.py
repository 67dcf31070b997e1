"""A client of the PostgreSQL protocol that shows each byte that it gets, and the messages that it sends."""
import socket
import struct


def frame(kind, body=b""):
    return kind + struct.pack(">i", len(body) + 4) + body


def query(sql):
    return frame(b"Q", sql.encode() + b"\0")


def parse(sql, name=""):
    return frame(b"P", f"{name}\0{sql}\0".encode() + b"\0\0")


def bind(portal="", name=""):
    return frame(b"B", f"{portal}\0{name}\0".encode() + b"\0" * 6)


def execute(portal="", rows=0):
    return frame(b"E", portal.encode() + b"\0" + struct.pack(">i", rows))


def extended(sql):
    """Parsed, bound and executed without a name."""
    return parse(sql) + bind() + execute()


SYNC, FLUSH = frame(b"S"), frame(b"H")


class Wire:
    def __init__(self, host, port, user, database):
        self.socket = socket.create_connection((host, int(port)))
        # A request is several small writes, which would wait for each other's acknowledgement.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held = b""
        body = struct.pack(">i", 196608) + f"user\0{user}\0database\0{database}\0\0".encode()
        self.socket.sendall(struct.pack(">i", len(body) + 4) + body)
        self.until_ready()

    def message(self):
        while len(self.held) < 5 or len(self.held) < 1 + struct.unpack(">i", self.held[1:5])[0]:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(self.held)
            self.held += more
        size = 1 + struct.unpack(">i", self.held[1:5])[0]
        message, self.held = self.held[:size], self.held[size:]
        return message

    def until_ready(self):
        seen = []
        while True:
            message = self.message()
            seen.append(message)
            if message[:1] == b"Z":
                return seen

    def send(self, kind, body=b""):
        self.socket.sendall(kind + struct.pack(">i", len(body) + 4) + body)

    def simple(self, sql):
        self.send(b"Q", sql.encode() + b"\0")
        return self.until_ready()

    def extended(self, sql, binary, describe):
        self.send(b"P", b"\0" + sql.encode() + b"\0\0\0")
        if describe:
            self.send(b"D", b"S\0")
        self.send(b"B", b"\0\0\0\0\0\0" + struct.pack(">hh", 1, 1 if binary else 0))
        self.send(b"E", b"\0" + struct.pack(">i", 0))
        self.send(b"S")
        return self.until_ready()

    def ask(self, sql, form):
        """Simple; or extended with values as text or in binary, or described before."""
        if form == "simple":
            return self.simple(sql)
        return self.extended(sql, form == "binary", form == "described")

    def ask_each(self, path):
        """Asks every statement of a file in each form. Gives the form, the statement, and the messages
        that came back; what is left open is taken back."""
        for line in open(path):
            sql = line.rstrip("\n").replace("\\;", ";")
            if not sql:
                continue
            for form in ["simple", "text", "binary", "described"]:
                seen = []
                for part in sql.split(";;"):
                    seen += self.ask(part, form)
                yield form, sql, seen
                if seen[-1][5:6] != b"I":
                    self.simple("rollback")

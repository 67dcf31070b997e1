# Hundreds of clients that connect, query, cancel, abort, half-close and vanish at random, in the
# clear and over TLS. Says what they did, in JSON; a client that is kept waiting is one that is stuck.
import asyncio, json, os, random, socket, ssl, struct, sys, time

PORT, CLIENTS, SECONDS, SEED = (int(word) for word in sys.argv[1:5])
PATIENCE = 60
random.seed(SEED)
context = ssl._create_unverified_context()
end = time.monotonic() + SECONDS
counts, stuck, odd = {}, [], []


def count(what):
    counts[what] = counts.get(what, 0) + 1


def frame(kind, body=b''):
    return kind + struct.pack('!i', len(body) + 4) + body


class Left(Exception):
    """The session ended as this client wanted it."""


class Session:
    number = 0

    async def open(self):
        self.reader, self.writer = await asyncio.open_connection('127.0.0.1', PORT)
        self.tls = random.random() < 0.5
        if self.tls:
            self.writer.write(struct.pack('!ii', 8, 80877103))
            assert await self.reader.readexactly(1) == b'S'
            await self.writer.start_tls(context)
        body = struct.pack('!i', 196608) + b'user\0postgres\0database\0postgres\0\0'
        self.writer.write(struct.pack('!i', len(body) + 4) + body)
        self.key = None
        await self.ready()

    async def message(self):
        head = await self.reader.readexactly(5)
        body = await self.reader.readexactly(struct.unpack('!i', head[1:])[0] - 4)
        return head[:1], body

    async def ready(self):
        while True:
            kind, body = await self.message()
            if kind == b'K':
                self.key = body
            if kind == b'E' and b'FATAL' in body:
                raise RuntimeError(body.decode(errors='replace'))
            if kind == b'Z':
                return

    def text(self, sql):
        Session.number += 1
        return sql.replace('ID', f"'{SEED}-{os.getpid()}-{Session.number}'").encode() + b'\0'

    async def query(self):
        self.writer.write(frame(b'Q', self.text('select ID')))
        await self.ready()

    async def extended(self):
        parse = frame(b'P', b'\0' + self.text('select ID, $1::text') + struct.pack('!h', 0))
        value = b'v' * random.randrange(20)
        bind = frame(b'B', b'\0\0' + struct.pack('!hhi', 0, 1, len(value)) + value + struct.pack('!h', 0))
        self.writer.write(parse + bind + frame(b'E', b'\0' + struct.pack('!i', 0)) + frame(b'S'))
        await self.ready()

    async def large(self):
        self.writer.write(frame(b'Q', self.text("select repeat('x', 300000), ID")))
        await self.ready()

    async def pipeline(self):
        for _ in range(20):
            self.writer.write(frame(b'Q', self.text('select ID')))
        for _ in range(20):
            await self.ready()

    async def cancel(self):
        self.writer.write(frame(b'Q', self.text('select pg_sleep(5), ID')))
        await asyncio.sleep(random.random() / 10)
        reader, writer = await asyncio.open_connection('127.0.0.1', PORT)
        writer.write(struct.pack('!ii', 8 + len(self.key), 80877102) + self.key)
        await reader.read()
        writer.close()
        await self.ready()

    async def idle(self):
        await asyncio.sleep(random.random())

    async def abort(self):
        self.writer.write(frame(b'Q', self.text('select pg_sleep(0.05), ID')))
        await asyncio.sleep(random.random() / 20)
        raw = self.writer.get_extra_info('socket')
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.writer.transport.abort()
        raise Left

    async def vanish(self):
        self.writer.write(frame(b'Q', self.text("select repeat('x', 3000000), ID")))
        await self.reader.readexactly(1000)
        raise Left

    async def cut(self):
        self.writer.write(frame(b'Q', self.text('select ID'))[:-4])
        await self.writer.drain()
        raise Left

    async def half_close(self):
        self.writer.write(frame(b'Q', self.text('select ID')))
        if self.writer.can_write_eof():
            self.writer.write_eof()
        else:
            self.writer.write(frame(b'X'))
        await self.reader.read()
        raise Left

    async def leave(self):
        self.writer.write(frame(b'X'))
        await self.reader.read()
        raise Left


LIVELY = ['query', 'extended', 'large', 'pipeline', 'cancel', 'idle']
LAST = ['abort', 'vanish', 'cut', 'half_close', 'leave']


async def client():
    while time.monotonic() < end:
        session = Session()
        what = 'open'
        try:
            await asyncio.wait_for(session.open(), PATIENCE)
            for what in random.choices(LIVELY, k=random.randrange(6)) + [random.choice(LAST)]:
                count(what)
                await asyncio.wait_for(getattr(session, what)(), PATIENCE)
        except Left:
            pass
        except asyncio.TimeoutError:
            stuck.append(what)
        except Exception as error:
            odd.append(f'{what}: {type(error).__name__}: {error}')
        finally:
            if hasattr(session, 'writer'):
                session.writer.transport.abort() if random.random() < 0.5 else session.writer.close()


async def main():
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    print(json.dumps({'counts': counts, 'stuck': stuck[:5], 'odd': odd[:5], 'odd_count': len(odd)}))


asyncio.run(main())

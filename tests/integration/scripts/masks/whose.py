"""Which answer belongs to which request must not be a guess: what is masked in one answer passes in clear where
it is taken for another. The server is stopped at the moments when the two could come apart."""
import os
import signal
import socket
import struct
import time

from judge import connect, done, end, faults, look
from protocol import FLUSH, SYNC, extended, frame, parse, query

CLEAN = "select note from plain"
MASKED = "select email, email as note from users"
KANJI = "U&'\\8868'"  # In SJIS its second byte is a backslash.

DONE, DATA, BAD = frame(b"c"), frame(b"d", b"copied\n"), frame(b"d", b"too\tmany\tcolumns\n")
KINDS = b"123CDEGHINTVZcdnst"


def rest(session):
    """What still comes to a client that says no more, until nothing does."""
    session.socket.settimeout(2)
    session.socket.shutdown(socket.SHUT_WR)
    seen = []
    try:
        while True:
            seen.append(session.message())
    except (socket.timeout, EOFError, ConnectionError):
        return seen


def exchange(what, session, *packets, expected=None):
    for packet in packets:
        session.socket.sendall(packet)
    seen = rest(session)
    look(what, seen)
    kinds = b"".join(m[:1] for m in seen if m[:1] in KINDS).decode()
    print(what, kinds, flush=True)
    if expected is not None and kinds != expected:
        faults.append(f"{what}: {kinds} and not {expected}: {seen}")
    session.socket.close()


def backend(session):
    return int(session.simple("select pg_backend_pid()")[1][11:])


def stopped(session, pid, packet, pause):
    """The server gets it all at once, when its timeout has run out."""
    os.kill(pid, signal.SIGSTOP)
    try:
        session.socket.sendall(packet)
        time.sleep(pause)
    finally:
        os.kill(pid, signal.SIGCONT)


def timeouts():
    behind = query(CLEAN) + query(MASKED) + query(CLEAN) + SYNC + query(MASKED) + query(CLEAN)
    for what, before, packet in [
        ("a query behind a Flush", parse(CLEAN) + FLUSH, behind),
        ("copy data behind a Flush", parse(CLEAN) + FLUSH, DATA + DONE + behind),
        ("a Sync behind a Flush", parse(CLEAN) + FLUSH, SYNC + behind),
        ("a function behind a Flush", parse(CLEAN) + FLUSH, frame(b"F", struct.pack(">IHHH", 1598, 0, 0, 0)) + behind),
        ("an Execute behind a Flush", extended(CLEAN) + FLUSH, extended(MASKED) + SYNC + behind),
    ]:
        session = connect()
        pid = backend(session)
        done(session, "set statement_timeout = 300")
        session.socket.sendall(before)
        session.message()
        stopped(session, pid, packet, 0.6)
        exchange(what, session, SYNC, query(MASKED))
    # It runs out at the end of a Query, and comes with the next message: a Flush has the server skip.
    shown, masked = "select left(note, 8) as note from plain", "select left(email, 8) as note from users"
    tail = query("select 1") + query(shown) + SYNC + query(masked) + query(shown)
    for attempt in range(12):
        session = connect()
        done(session, "set statement_timeout = 40")
        session.socket.sendall(query("copy plain (note) from stdin"))
        session.message()
        time.sleep(0.07)
        exchange(f"a late timeout of a copy {attempt}", session, DONE + tail)
        session = connect()
        done(session, f"set statement_timeout = {2 + attempt % 8}")
        words = "x y " * 20000
        exchange(f"a late timeout {attempt}", session, query(f"prepare s as select '{words}'::tsvector") + FLUSH + tail)
    # Nothing of the client's is on its way when it runs out.
    session = connect()
    done(session, "set statement_timeout = 200")
    session.socket.sendall(parse(CLEAN) + FLUSH)
    time.sleep(0.5)
    exchange("nothing behind a Flush", session, query(MASKED), SYNC, query(MASKED), query(CLEAN))


def copies():
    into = query("copy plain (note) from stdin")
    behind = query(CLEAN) + query(MASKED) + query(CLEAN) + query(MASKED)
    for syncs in [0, 1, 3]:
        for data in [b"", DATA, DATA + BAD]:
            for last in [DONE, DONE + SYNC, frame(b"f", b"no\0") + SYNC, SYNC + DONE]:
                for begin in [into, extended("copy plain (note) from stdin")]:
                    session = connect()
                    packet = begin + SYNC * syncs + data + SYNC * syncs + last
                    # All at once, and when the copy has begun.
                    exchange(f"copy {syncs} {data} {last} {begin[:1]}", session, packet + SYNC + behind)
    session = connect()
    two = query("copy plain (note) from stdin; copy plain (note) from stdin")
    exchange("two copies in one text", session, two + DATA + DONE + DATA + DONE + query(MASKED) + query(CLEAN))
    session = connect()
    both = "copy (select email from users) to stdout; copy plain (note) from stdin; select email from users"
    exchange("three answers in one text", session, query(both) + DATA + DONE + SYNC + behind)
    session = connect()
    done(session, "create view all_plain as select note from plain")
    for begin in [query, extended]:
        session = connect()
        exchange("a copy that fails at once", session,
                 begin("copy all_plain from stdin") + SYNC + DATA + DONE + SYNC + behind)
    done(connect(), "drop view all_plain")


def late_errors():
    """A constraint that is put off fails at a Sync, or where the gateway asks something."""
    setup = connect()
    done(setup, "create table deferred (id int unique deferrable initially deferred)")
    for what, packet in [
        ("a Sync", extended("insert into deferred values (1), (1)") + SYNC + extended(MASKED) + SYNC),
        ("a query", extended("insert into deferred values (1), (1)") + query(MASKED) + query(CLEAN)),
        ("a copied query", extended("insert into deferred values (1), (1)")
         + query("copy (select email from users) to stdout") + query(MASKED) + query(CLEAN)),
        ("a new name", extended("insert into deferred values (1), (1)")
         + query("select * from nowhere") + query(MASKED) + query(CLEAN)),
    ]:
        exchange(f"an error put off to {what}", connect(), packet, query(MASKED), SYNC, query(CLEAN))
    done(setup, "drop table deferred")


def encodings():
    copy = f"copy (select {KANJI}, email from users) to stdout"
    sets = "set client_encoding = 'SJIS'"
    exchange("an encoding in one text", connect(), query(f"{sets}; {copy}"), query(MASKED))
    exchange("an encoding in one batch", connect(), extended(sets) + extended(copy) + SYNC, query(MASKED))
    exchange("an encoding of the transaction", connect(),
             query("begin") + extended("set local client_encoding = 'SJIS'") + extended(copy) + SYNC)
    exchange("an encoding without a Sync", connect(), extended(sets) + FLUSH + query(copy), query(MASKED))
    exchange("an encoding before", connect(), query(sets) + query(copy), query(MASKED))


def lasting():
    """PREPARE, DEALLOCATE and CLOSE last, though the transaction that they are in fails when it is committed."""
    setup = connect()
    done(setup, "create table deferred (id int unique deferrable initially deferred)",
         "create table skew (id int, v int)", "insert into skew values (1, 0), (2, 0)")
    fails = extended("insert into deferred values (1), (1)")
    prepared = "select left(email, 20) as x from users"
    exchange("names that last", connect(), query("prepare s as select left(note, 20) as x from plain"),
             fails + query("deallocate s"), fails + query(f"prepare s as {prepared}"), query("execute s"),
             frame(b"B", b"\0s\0" + b"\0" * 6) + frame(b"D", b"P\0") + frame(b"E", b"\0\0\0\0\0") + SYNC)
    session, other = connect(), connect()
    done(session, "declare c cursor with hold for select left(note, 20) as x from plain")
    session.socket.sendall(fails + query("close c"))
    session.until_ready()
    other.simple("begin isolation level serializable")
    other.simple("select * from skew")
    session.socket.sendall(extended("set transaction isolation level serializable") + extended("select * from skew")
                           + extended("update skew set v = 1 where id = 1") + FLUSH)
    for _ in range(11):
        session.message()
    other.simple("update skew set v = 1 where id = 2")
    other.simple("commit")
    exchange("a cursor that lasts", session, query(f"declare c cursor with hold for {prepared}"),
             query("fetch all from c"))
    done(setup, "drop table deferred", "drop table skew")


def own_names():
    """What the gateway asks under names of its own cannot take the place of what the client has named so."""
    done(connect(), "create table kan (\"\u8868\" int)", "insert into kan values (1)")
    for name in ["gateway_copied", "gateway_path", "gateway_catalogue_0"]:
        exchange(f"the name {name}", connect(),
                 query(f"prepare {name} as select left(note, 20) as x, length(note) as y from plain"),
                 query(f"execute {name}"), query("set client_encoding = 'LATIN1'"),
                 query("copy (select left(u.email, 20) as x, k.* from users u, kan k) to stdout"),
                 query("set client_encoding = 'UTF8'"), query(f"execute {name}"))
    done(connect(), "drop table kan")


def smuggled():
    """Nothing of the gateway's falls into a frame of the client's, whose end would be a message then."""
    lock, session = connect(), connect()
    lock.simple("begin")
    lock.simple("lock table users in access exclusive mode")
    hidden = query("") + query("table users")
    session.socket.sendall(query("set search_path = public, hr; copy plain (note) from stdin"))
    for _ in range(2):
        session.message()
    session.socket.sendall(BAD + b"d" + struct.pack(">i", 204) + b"y" * 10)
    session.until_ready()
    time.sleep(0.3)
    session.socket.sendall(b"y" * (190 - len(hidden)) + hidden)
    time.sleep(0.3)
    session.socket.sendall(query("select id, note from plain"))
    time.sleep(0.3)
    lock.simple("rollback")
    exchange("a frame in two parts", session, query(CLEAN))


def everyday():
    """What drivers do still works."""
    session = connect()
    exchange("a query behind a described statement", session,
             parse(CLEAN, "s") + frame(b"D", b"Ss\0") + FLUSH + query("select 1") + query(CLEAN))
    session = connect()
    exchange("a savepoint in a batch", session,
             query("begin") + parse("select 1", "s") + FLUSH + query("savepoint a")
             + extended("select 2") + query("release savepoint a") + query("commit"),
             expected="CZ1CZ12DCCZCZ")
    session = connect()
    exchange("a copy of a driver", session,
             extended("copy plain (note) from stdin") + SYNC + DATA + DONE + SYNC + query("select 1"),
             expected="12GCZTDCZ")
    done(connect(), "delete from plain where note = 'copied'")


timeouts()
copies()
late_errors()
encodings()
lasting()
own_names()
smuggled()
everyday()
end()

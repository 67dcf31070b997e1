"""Two sessions, one of which holds a lock: what the other waits with means something else by the time
that it goes on, or would. And portals that were planned when a name meant something else."""
import struct
import sys
import time

from judge import connect, done, end, faults, look, refused


def extended(session, sql):
    session.send(b"P", b"\0" + sql.encode() + b"\0\0\0")
    session.send(b"D", b"S\0")
    session.send(b"B", b"\0\0\0\0\0\0\0\0")
    session.send(b"E", b"\0" + struct.pack(">i", 0))
    session.send(b"S")


class Watcher:
    """Sees what waits for a lock."""

    def __init__(self):
        self.session = connect()

    def until_something_waits(self):
        for _ in range(3000):
            seen = self.session.simple("select 1 from pg_locks where not granted")
            if any(m[:1] == b"D" for m in seen):
                return
            if any(m[:1] == b"E" for m in seen):
                raise SystemExit(f"what waits cannot be seen: {seen}")
            time.sleep(0.01)
        raise SystemExit("nothing waits")


watcher = Watcher()


def waits(form, sql, prepare, changes, restore):
    """`sql` waits for `gate` while `changes` make something else of its names."""
    holder, waiter = connect(), connect()
    done(holder, "create table if not exists gate (i int)", *prepare)
    done(holder, "begin", "lock table gate in access exclusive mode")
    if form == "simple":
        waiter.send(b"Q", sql.encode() + b"\0")
    else:
        extended(waiter, sql)
    watcher.until_something_waits()
    answers = [holder.simple(change) for change in changes]
    end = "commit" if not any(map(refused, answers)) else "rollback"
    done(holder, end)
    seen = waiter.until_ready()
    look(f"{form}: {sql}", seen)
    if end == "commit" and not refused(seen):
        faults.append(f"{form}: {sql} and {changes} both went through: {seen}")
    if end == "commit":
        done(holder, *restore)
    for session in (holder, waiter):
        session.socket.close()
    print(form, sql, "-", "the change" if end == "rollback" else "the statement", "was refused")


clean = "create or replace view moving as select id, note as x from plain"
shows = "create or replace view moving as select id, ssn as x from users"
for form, sql in [
    ("simple", "select m.x from gate g right join moving m on true"),
    ("extended", "select m.x from gate g right join moving m on true"),
    ("simple", "copy (select m.x from gate g right join moving m on true) to stdout"),
    ("simple", "select m.id from gate g right join moving m on true where m.x like '%ssn-3'"),
    ("simple", "select m.x::int from gate g right join moving m on true"),
    ("simple", "select set_config('a.b', max(m.x), false) from gate g right join moving m on true"),
]:
    waits(form, sql, [clean], [shows], [clean])
waits("simple", "select count(*) from gate g right join brand_new m on true where m.x like '%ssn-3'", [],
      ["create view brand_new as select id, ssn as x from users"], ["drop view brand_new"])
waits("simple", "update tt set note = x from gate right join plain on true",
      ["create table if not exists tt (id int, note text, x text)"],
      ["alter table tt rename to tt_old", "alter table users rename column ssn to x",
       "alter table users rename to tt"],
      ["alter table tt rename to users", "alter table users rename column x to ssn",
       "alter table tt_old rename to tt"])
swap = ["alter schema s1 rename to s1_old", "alter schema public rename to s1"]
back = ["alter schema s1 rename to public", "alter schema s1_old rename to s1"]
tables = ["create schema if not exists s1", "create table if not exists s1.users (id int, email text)"]
waits("simple", "select u.email from public.gate g right join s1.users u on true", tables, swap, back)


def stale(sql, prepare, changes, restore, *, ask):
    """A portal is planned while a name means something else, and executed when it does not."""
    session = connect()
    done(session, *prepare, ask)
    session.send(b"P", b"st\0" + sql.encode() + b"\0\0\0")
    session.send(b"S")
    parsed = session.until_ready()
    if refused(parsed):
        faults.append(f"{sql}: {parsed}")
    done(session, "begin", *changes)
    session.send(b"B", b"pp\0st\0\0\0\0\0\0\0")
    session.send(b"S")
    bound = session.until_ready()
    look(sql, bound)
    if any(m[:1] == b"E" for m in bound):
        # Already to plan it would have asked. What is open is taken back before another session begins.
        session.simple("rollback")
        session.socket.close()
        print("not planned:", sql)
        return
    done(session, *restore, ask)
    session.send(b"E", b"pp\0" + struct.pack(">i", 0))
    session.send(b"S")
    seen = session.until_ready()
    look(sql, seen)
    if not refused(seen):
        faults.append(f"{sql}: planned with another view, and not refused: {seen}")
    session.simple("rollback")
    session.socket.close()
    print("stale portal:", sql)


sink = "create table if not exists sink (a int, t text)"
for sql in [
    "insert into sink select id, x from moving",
    "update plain set note = m.x from moving m where m.id = plain.id",
    "select set_config('a.b', max(x), false) from moving",
    "select id from moving where x like '%ssn-3'",
    "select x::int from moving",
]:
    stale(sql, [sink, clean], [shows], [clean], ask="select * from moving")
stale("select id from s1.users u where u.email like '%-1@%'", [*tables, "create schema if not exists s3"],
      swap, back, ask="select * from s1.users")

def planned(sql, prepare, change, restore):
    """Bind plans what was prepared before a name meant something else."""
    session = connect()
    done(session, *prepare)
    session.send(b"P", b"st\0" + sql.encode() + b"\0\0\0")
    session.send(b"S")
    session.until_ready()
    done(session, *change)
    session.send(b"B", b"\0st\0\0\0\0\0\0\0")
    session.send(b"S")
    seen = session.until_ready()
    look(sql, seen)
    if not any(m[:1] == b"E" and (b"C0A000" in m or b"C42501" in m) for m in seen):
        faults.append(f"{sql} is planned with another view: {seen}")
    done(session, *restore)
    session.socket.close()
    print("planned:", sql)


if sys.argv[5].endswith("deny"):
    for question in ["select id from moving where x like '%-ssn-3%\\'",
                     "select id from moving where x > 'l'",
                     "select x::int from moving"]:
        planned(question, [clean], [shows], [clean])
session = connect()
done(session, clean)
session.send(b"P", b"st\0select id, x from moving\0\0\0")
session.send(b"S")
session.until_ready()
done(session, shows)
session.send(b"B", b"\0st\0\0\0\0\0\0\0")
session.send(b"E", b"\0" + struct.pack(">i", 0))
session.send(b"S")
seen = session.until_ready()
look("what is only returned", seen)
if not any(m[:1] == b"D" for m in seen):
    faults.append(f"what is only returned is covered, and not refused: {seen}")
done(session, clean)


# A view over another one asks, or hands over, in its own definition.
session = connect()
done(session, clean)
for over in ["select count(*) as n from moving where x like '%ssn-3%'",
             "select set_config('a.b', max(x), false) as n from moving"]:
    done(session, f"create view over as {over}")
    seen = session.simple(shows)
    if not refused(seen):
        faults.append(f"{over}: what is below it became sensitive: {seen}")
    look(over, session.simple("select * from over") + session.simple("show a.b"))
    done(session, "drop view over")
session.socket.close()


def races(sql, change, restore, delays):
    """A change between the look at a statement, which takes its time, and the moment that it is sent."""
    for delay in delays:
        holder, waiter = connect(), connect()
        done(holder, *restore)
        waiter.send(b"Q", sql.encode() + b"\0")
        time.sleep(delay)
        holder.simple(change)
        look(sql[:80], waiter.until_ready())
        for session in (holder, waiter):
            session.socket.close()


slow = " or ".join(f"m.id = {n}" for n in range(1500))
races(f"select m.x, m.id from moving m where m.x is not null and ({slow})", shows, [clean],
      [0.02, 0.05, 0.1, 0.2, 0.3])
for delay in [0.005, 0.01, 0.02, 0.05]:
    holder, waiter = connect(), connect()
    done(holder, clean)
    done(waiter, "begin", f"create table zz_{int(delay * 1000)} (i int)")
    waiter.send(b"Q", b"select m.x, m.id from moving m\0")
    time.sleep(delay)
    # Where the statement was sooner, the change waits for the end of its transaction.
    holder.send(b"Q", shows.encode() + b"\0")
    look("with a catalogue of its own", waiter.until_ready())
    waiter.simple("rollback")
    holder.until_ready()
    for session in (holder, waiter):
        session.socket.close()

end()

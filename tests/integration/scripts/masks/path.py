"""Unqualified names mean what the server looks up, however its search path came to be: what is in the schema
`secret` is refused."""
import socket
import struct
import time

from judge import connect, database, done, end, faults, host, look, port
from protocol import SYNC, Wire, bind, execute, frame, parse, query

READ = "select * from people"


class As(Wire):
    """Logs in with these words in its StartupMessage."""

    def __init__(self, user, *words):
        self.socket = socket.create_connection((host, int(port)))
        self.held = b""
        words = ["user", user, "database", database, *words]
        body = struct.pack(">i", 196608) + b"".join(word.encode() + b"\0" for word in words) + b"\0"
        self.socket.sendall(struct.pack(">i", len(body) + 4) + body)
        self.until_ready()


def ask(what, session, *packets, passes=False):
    """Each packet ends with something that is answered by ReadyForQuery."""
    seen = []
    for packet in packets:
        session.socket.sendall(packet)
        seen += session.until_ready()
    look(what, seen)
    refused = any(m[:1] == b"E" and b"C42501" in m for m in seen)
    rows = sum(m[:1] == b"D" for m in seen)
    print(what, "refused" if refused else rows, flush=True)
    if passes and refused:
        faults.append(f"{what}: {seen}")
    session.socket.close()


PLAIN = "postgres"
# The role, the database's setting for it, the startup message, and all three in one.
ask("as it is", As(PLAIN), query(READ), passes=True)
ask("of the role", As("of_secret"), query(READ))
ask("of the startup message", As(PLAIN, "search_path", "secret"), query(READ))
ask("of the options", As(PLAIN, "options", "-c search_path=secret"), query(READ))
ask("both", As(PLAIN, "search_path", "public", "options", "-c search_path=secret"), query(READ))
ask("both turned", As(PLAIN, "options", "-c search_path=secret", "search_path", "public"), query(READ))
ask("twice", As(PLAIN, "options", "-csearch_path=public --search_path=secret"), query(READ))
ask("reset", As("of_secret"), query("set search_path = public"), query("reset search_path"), query(READ))
ask("discarded", As("of_secret"), query("set search_path = public"), query("discard all"), query(READ))
ask("reset in a transaction", As("of_secret"), query("begin"), query("set search_path = public"),
    query("reset search_path"), query(READ))

# A portal is planned under the path of its Bind, or of its Execute, whichever it is.
ask("bound before", As(PLAIN), query("begin"), query("set search_path = secret"),
    parse(READ, "s") + bind("p", "s") + SYNC, query("set search_path = public"), execute("p") + SYNC)
ask("bound before, prepared elsewhere", As(PLAIN), query("begin"), parse(READ, "s") + SYNC,
    query("set search_path = secret"), bind("p", "s") + SYNC, query("set search_path = public"),
    execute("p") + SYNC)
ask("bound before, fetched", As(PLAIN), query("begin"), parse(READ, "s") + SYNC,
    query("set search_path = secret"), bind("p", "s") + SYNC, query("set search_path = public"),
    query("fetch all from p"))
for command in [f"declare c cursor for {READ}", f"create temp table t as {READ}", f"copy ({READ}) to stdout"]:
    ask(f"a command: {command}", As(PLAIN), query("begin"), parse(command, "s") + bind("p", "s") + SYNC,
        query("set search_path = secret"), execute("p") + SYNC, query("fetch all from c"))

# What sets it runs when it is fetched from.
SETS = "select set_config('search_path', 'secret', false)"
ask("a cursor", As(PLAIN), query("begin"), query(f"declare c cursor for {SETS}"),
    query("set search_path = public"), query("fetch all from c"), query(READ))
ask("a portal", As(PLAIN), query("begin"), parse(SETS) + bind("p") + SYNC,
    query("set search_path = public"), query("fetch all from p"), query(READ))
ask("a portal that another cursor has replaced", As(PLAIN), query("begin"),
    parse("set search_path = public", "s") + bind("p", "s") + SYNC, query("close p"),
    query(f"declare p cursor for {SETS}"), execute("p") + SYNC, query(READ))
ask("a portal that is used up", As(PLAIN), query("begin"), query("set search_path = secret"),
    parse("select set_config('search_path', 'public', false) where false", "s") + bind("p", "s") + SYNC,
    execute("p") + SYNC, query(READ))
ask("what is prepared", As(PLAIN), query(f"prepare s as {SETS}"), query("execute s"), query(READ))

# Back to what it was: savepoints, and ends of transactions in the middle of a text.
SECRET, PUBLIC = query("set search_path = secret"), query("set search_path = public")
BEGIN, LOCAL = query("begin"), query("set local search_path = public")
ask("back to a savepoint", As(PLAIN), BEGIN, SECRET, query("savepoint a"), PUBLIC, query("rollback to a"), query(READ))
ask("back to a savepoint, locally", As(PLAIN), BEGIN, query("set local search_path = secret"), query("savepoint a"),
    query("set local search_path = '$user', public"), query("rollback to a"), query(READ))
ask("back to a savepoint at once", As(PLAIN), BEGIN, SECRET, query("savepoint a"), PUBLIC,
    parse("rollback to a") + bind("") + execute("") + parse(READ) + bind("") + execute("") + SYNC)
for end_of in ["commit", "commit and chain", "prepare transaction 'gateway'", "rollback"]:
    ask(f"{end_of} in a text", As(PLAIN), SECRET, BEGIN, LOCAL, query(f"{end_of}; {READ}"))
ask("begin in a text", As(PLAIN), SECRET, query("begin; set local search_path = public"),
    query(f"select 1; commit; select 2; {READ}"))

# EXECUTE: its parameters are computed before it is planned, and what it does counts wherever it was prepared.
CALL = "set_config('search_path', 'secret', false)"
ask("a parameter", As(PLAIN), query(f"prepare s(text) as {READ}"), query(f"execute s({CALL})"))
ask("a parameter of the protocol's", As(PLAIN), parse("select * from people where $1 = 'secret'", "s") + SYNC,
    parse(f"execute s({CALL})") + bind("") + execute("") + SYNC)
ask("a parameter in one text", As(PLAIN), query(f"prepare s(text) as {READ}; execute s({CALL})"))
for runs in ["execute s", "create temp table t as execute s", "explain analyze execute s"]:
    ask(f"prepared in the same text: {runs}", As(PLAIN), query(f"prepare s as {SETS}; {runs}; {READ}"))
    ask(f"prepared in the text before: {runs}", As(PLAIN), query(f"prepare s as {SETS}; {runs}"), query(READ))
ask("a portal of EXECUTE", As(PLAIN), BEGIN, query(f"prepare s as {READ}"), parse("execute s", "e") + bind("p", "e") + SYNC,
    SECRET, query("fetch all from p"))
ask("a portal of another EXECUTE", As(PLAIN), BEGIN,
    parse("select ''::text as set_config", "s") + parse("execute s", "e") + bind("p", "e") + SYNC,
    frame(b"C", b"Ss\0") + parse(SETS, "s") + SYNC, query("fetch all from p"), query(READ))

# A cursor in one text with what fetches from it; one that is held runs when it is committed.
for text in [f"declare c cursor for {SETS}; fetch all from c; {READ}",
             f"begin; declare c cursor for {SETS}; fetch all from c; {READ}; commit",
             f"begin; declare c cursor with hold for {SETS}; commit; {READ}"]:
    ask(text, As(PLAIN), query(text))
    ask(f"begin; {text}", As(PLAIN), BEGIN, query(text))

# The unnamed portal, run by its name or for the second time.
XML = "select cursor_to_xml('', 10, true, false, '')"
ask("the unnamed portal", As(PLAIN), parse(SETS) + bind("") + parse(XML, "f") + bind("q", "f") + execute("q") + SYNC,
    query(READ))
ask("the unnamed portal of no plain name", As(PLAIN), BEGIN, parse(READ, "\u00e9") + SYNC, SECRET,
    parse(XML, "f") + bind("", "\u00e9") + bind("q", "f") + execute("q") + SYNC)
PUB = "select pg_catalog.set_config('search_path', 'public, public', false)"
ask("a used portal", As(PLAIN), BEGIN, SECRET,
    parse("savepoint a", "a") + parse("rollback to a", "r") + parse(PUB, "s") + SYNC,
    bind("", "s") + bind("q", "a") + execute("q") + execute("") + bind("z", "r") + execute("z") + SYNC,
    execute("") + SYNC, query("select 1"), query(READ))
ask("an error behind the end", As(PLAIN), query("set client_min_messages = log"),
    query("set log_min_duration_statement = 0"), query("set log_statement = none"),
    query(f"select {CALL}, set_config('client_encoding', 'LATIN1', false) /* \u8868 */"), query(READ))

# What does not run, and what sets it under another name.
ask("rows of rows", As(PLAIN), SECRET,
    query("select set_config('search_path', 'public', false), generate_series(1, generate_series(1, 0))"), query(READ))
ask("a view of the settings", As(PLAIN), query("create temp view v as select name, setting from pg_settings"),
    query("update v set setting = 'secret' where name = 'search_path'"), query(READ))
ask("an aggregate", As(PLAIN),
    query("create aggregate sets(text, boolean) (sfunc = set_config, stype = text, initcond = 'search_path')"),
    query("select sets('secret', false)"), query(READ))
ask("an operator", As(PLAIN), query("create operator |=| (rightarg = text, function = pg_catalog.ts_stat)"),
    query("select |=| 'select to_tsvector(''simple'', name) from secret.people'"))
ask("by its text", As(PLAIN), query("select query_to_xml('select * from secret.people', true, false, '')"))
ask("another name of the schema", As(PLAIN), query("begin"),
    query("update pg_namespace set nspname = 'open' where nspname = 'secret'"), query("select * from open.people"))
ask("for all sessions", As(PLAIN), query("alter system set search_path = 'secret'"))

# "$user" is the schema of the role, whoever made it that.
ask("the role's own", As("secret"), query(READ))
ask("the options' role", As(PLAIN, "options", "-c role=secret"), query(READ))
ask("the role's role", As("as_secret"), query(READ))
BECOMES = ["set role secret", "set session authorization secret", "select set_config('role', 'secret', false)",
           "do $$ begin set role secret; end $$"]
for becomes in BECOMES:
    ask(becomes, As(PLAIN), query(becomes), query(READ))
    ask(f"{becomes}, in one text", As(PLAIN), query(f"{becomes}; {READ}"))
    ask(f"{becomes}, at once", As(PLAIN),
        parse(becomes) + bind("") + execute("") + parse(READ) + bind("") + execute("") + SYNC, SYNC)
    ask(f"{becomes}, in a transaction", As(PLAIN), BEGIN, query("select 1"), query(becomes), query(READ))
    ask(f"{becomes}, and a failure", As(PLAIN), BEGIN, query(becomes), query("savepoint a"), query("reset role"),
        query("select 1/0"), query("rollback to a"), query(READ))
    ask(f"{becomes}, behind a rollback", As(PLAIN), BEGIN, query(f"rollback; {becomes}"), query(READ))
    ask(f"{becomes}, behind a rollback in one go", As(PLAIN), BEGIN, parse("rollback") + bind("") + execute("")
        + parse(becomes) + bind("") + execute("") + SYNC, query(READ))
    ask(f"{becomes}, prepared", As(PLAIN), parse(READ, "s") + SYNC, query(becomes), bind("", "s") + execute("") + SYNC)
    ask(f"{becomes}, and prepared", As(PLAIN), query(f"prepare s as {READ}"), query(becomes), query("execute s"))
    ask(f"{becomes}, and a path", As(PLAIN), query("set search_path = public"), query(becomes),
        query("set search_path = '$user', public"), query("set search_path = \"$user\", public"), query(READ))
USER = query('set search_path = "$user", public')
ROLES = query("set role secret")
OUT = query("select 1")
for text in ["begin; set local role postgres; commit", "select set_config('role', 'postgres', true); commit",
             "set local session authorization postgres; commit", "begin; set local role postgres; prepare transaction 'g1'"]:
    ask(f"{text}, and then", As("secret"), query(f"{text}; {READ}"))
for ends in ["commit", "commit and chain", "prepare transaction 'g2'"]:
    ask(f"locally, {ends} in a text", As("secret"), BEGIN, query(f"set local role postgres; {ends}; {READ}"))
    ask(f"locally, a path, {ends} in a text", As("secret"), BEGIN, query("set local role postgres"),
        query(f'set search_path = "$user", public; {ends}; {READ}'))
    ask(f"locally, a path, {ends}", As("secret"), BEGIN, query("set local role postgres"), USER, query(ends), query(READ))
    ask(f"locally, a path by a function, {ends}", As("secret"), BEGIN, query("set local role postgres"),
        query("""select set_config('search_path', '"$user", public', false)"""), query(ends), query(READ))
# Whether the schema is there says nothing of the path.
ask("not in the path before", As("secret", "search_path", "public"), OUT, USER, query(READ))
ask("not in the path before, in one text", As("secret", "search_path", "public"),
    query(f'set search_path = "$user", public; {READ}'))
ask("not in the path before, locally", As("secret", "search_path", "public"), BEGIN,
    query('set local search_path = "$user", public'), query(READ))
ask("a path and back", As("of_secret", "search_path", "public"), query("set role secret"), query("reset all"),
    query("set search_path = public"), query("discard plans"), USER, query(READ))
# A portal that sets the role, bound where the path does not follow it.
SETS_ROLE = "select set_config('role', 'secret', false)"
for before, behind in [([], [USER]), ([USER], [])]:
    ask("a portal's role that is not followed", As(PLAIN), OUT, PUBLIC, BEGIN, parse(SETS_ROLE) + bind("p") + SYNC,
        *before, query("fetch all from p"), *behind, query(READ))
    ask("a cursor's role that is not followed", As(PLAIN), OUT, PUBLIC, BEGIN, query(f"declare c cursor for {SETS_ROLE}"),
        *before, query("fetch all from c"), *behind, query(READ))
ask("a portal's role, committed", As(PLAIN), OUT, PUBLIC, BEGIN, parse(SETS_ROLE) + bind("p") + SYNC,
    query("fetch all from p"), query("commit"), USER, query(READ))
ask("the unnamed portal's role", As(PLAIN), PUBLIC, BEGIN,
    parse(SETS_ROLE) + bind("") + parse(XML, "f") + bind("q", "f") + execute("q") + SYNC, USER, query(READ))
# EXECUTE, whose parameters are computed first.
ROLE = "set_config('role', 'secret', false)"
for runs in [f"execute s({ROLE})", f"create temp table t as execute s({ROLE})"]:
    ask(f"a parameter's role: {runs}", As(PLAIN), query(f"prepare s(text) as {READ}"), query(runs),
        query("select * from pg_temp.t"))
    ask(f"a parameter's role in one text: {runs}", As(PLAIN), query(f"prepare s(text) as {READ}; {runs}"),
        query("select * from pg_temp.t"))
# What is made with a schema is made by its owner.
ask("an owner's view", As(PLAIN), query("create schema x authorization secret create view v as select * from people"),
    query("select * from x.v"))
ask("a session's view", As("secret"), query("set role postgres"),
    query("create schema y authorization session_user create view v as select * from people"), query("select * from y.v"))
# Code that commits.
ask("a procedure in a pipeline that fails", As(PLAIN), OUT, parse("set search_path = secret") + bind("") + execute("")
    + parse("call public.commits()") + bind("") + execute("") + parse("select public.nobody()") + SYNC, query(READ))
for sets in ["set search_path = secret", "set role secret"]:
    ask(f"{sets}: a procedure that fails", As(PLAIN), OUT, parse(sets) + bind("") + execute("")
        + query("call public.commits_and_fails()"), query(READ))
    ask(f"{sets}: a procedure, and a name that is none", As(PLAIN), OUT, parse(sets) + bind("") + execute("")
        + query("call public.commits_and_fails()"),
        frame(b"C", b"Snobody\0") + parse(READ) + bind("") + execute("") + SYNC)
# What hangs on a cursor or a portal hangs on it whatever is set in between.
for sets, known in [(SETS, "set search_path = public"), (SETS, "set local search_path = public"),
                    (SETS_ROLE, 'set role other; set search_path = "$user", public')]:
    for fetches in ["fetch all from c", "move all in c", "select public.runs('c')"]:
        ask(f"{known} in between: {fetches}", As(PLAIN), BEGIN, query(f"declare c cursor for {sets}; {known}; {fetches}; {READ}"))
        ask(f"{known} behind: {fetches}", As(PLAIN), BEGIN, query(f"declare c cursor for {sets}"),
            query(f"{known}; {fetches}; {READ}"))
        ask(f"{known} behind a portal: {fetches}", As(PLAIN), BEGIN, parse(sets) + bind("c") + SYNC,
            query(f"{known}; {fetches}; prepare r as {READ}; execute r"))
    for ends in ["commit", "commit and chain"]:
        ask(f"{known} in between, held: {ends}", As(PLAIN),
            query(f"begin; declare c cursor with hold for {sets}; {known}; {ends}; {READ}"))
        ask(f"{known} behind, held: {ends}", As(PLAIN), BEGIN, query(f"declare c cursor with hold for {sets}"),
            query(f"{known}; {ends}; {READ}"))
# What does nothing, and says that it has rolled back.
PREPARES = parse("prepare transaction 'x'") + bind("") + execute("") + SYNC
ask("prepared without a transaction", As(PLAIN), OUT, parse("set search_path = secret") + bind("") + execute("") + PREPARES,
    query(READ))
ask("prepared by a query without a transaction", As(PLAIN), OUT,
    parse("set search_path = secret") + bind("") + execute("") + query("prepare transaction 'x'"), query(READ))
# The unnamed portal, run by somebody else before it is replaced.
RUNS = parse("select public.runs('')", "f")
for sets, behind in [(SETS, []), (SETS_ROLE, [USER])]:
    replaced = parse("select 1") + bind("") + execute("") + SYNC
    run = parse(sets, "s") + RUNS + bind("", "s") + bind("q", "f") + execute("q")
    ask(f"replaced: {sets}", As(PLAIN), PUBLIC, BEGIN, run + replaced, *behind, query(READ))
    ask(f"replaced behind a Sync: {sets}", As(PLAIN), PUBLIC, BEGIN, run + SYNC, replaced, *behind, query(READ))
    ask(f"a limit: {sets}", As(PLAIN), PUBLIC, BEGIN,
        parse(f"select x.* from (values (1), (2)) v, lateral ({sets}) x", "s") + RUNS + bind("", "s")
        + execute("", 1) + bind("q", "f") + execute("q") + replaced, *behind, query(READ))
ask("a used portal's role", As("secret"), PUBLIC, BEGIN,
    parse("select set_config('role', 'other', false)", "s") + parse("savepoint a", "k") + parse("rollback to a", "z") + RUNS
    + bind("", "s") + bind("k", "k") + execute("k") + bind("q", "f") + execute("q") + bind("z", "z") + execute("z") + SYNC,
    execute("") + SYNC, USER, query(READ))
# What was read when the role was another.
for runs in [bind("", "s") + execute("") + SYNC, query("execute s")]:
    ask("a schema that is made", As(PLAIN), PUBLIC, BEGIN, parse("create schema z1", "s") + SYNC, ROLES, runs, USER, query(READ))
# Functions and types that only look like the server's own.
ask("another set_config", As(PLAIN), query("set search_path = secret, public"),
    query("create function public.set_config(varchar, varchar, boolean) returns text language sql as 'select ''x''::text'"),
    query("select set_config('search_path', 'public'::varchar, false)"), query(READ))
done(connect(), "drop function public.set_config")
ask("another text", As(PLAIN),
    query("create type public.text as enum ('public'); "
          "create function public.conv(public.text) returns pg_catalog.text language sql immutable as "
          "$$select 'secret'::pg_catalog.text$$; "
          "create cast (public.text as pg_catalog.text) with function public.conv as implicit"),
    query("set search_path = public, pg_catalog"),
    query("select pg_catalog.set_config('search_path', 'public'::text, false)"), query(READ))
done(connect(), "drop cast (public.text as pg_catalog.text)", "drop function public.conv", "drop type public.text")
ask("text of the temporary schema", As(PLAIN), query("create type pg_temp.text as enum ('public')"),
    query("create function public.conv2(pg_temp.text) returns pg_catalog.text language sql immutable as "
          "$$select 'secret'::pg_catalog.text$$; "
          "create cast (pg_temp.text as pg_catalog.text) with function public.conv2(pg_temp.text) as implicit"),
    query("select set_config('search_path', 'public'::text, false)"), query(READ))
done(connect(), "create function public.set_config(text, text, boolean) returns text language sql as "
     "'select ''x''::pg_catalog.text'")
ask("a set_config before the server's", As(PLAIN), query("set search_path = public, pg_catalog"), BEGIN,
    query("set role secret"), query("select set_config('role', 'other', false)"), USER, query(READ))
ask("a set_config before the server's, in one text", As("secret"), query("set search_path = public, pg_catalog"),
    query(f'select set_config(\'role\', \'other\', false); set search_path = "$user", public; {READ}'))
done(connect(), "drop function public.set_config",
     "create function public.eqv(text, varchar) returns bool language sql as $$select $1 = 'search_path'::text$$",
     "create operator public.= (leftarg = text, rightarg = varchar, function = public.eqv)")
NAMED = "select set_config(name, 'secret', false) from pg_settings where name = 'application_name'"
ask("another equals", As(PLAIN), query(f"{NAMED}::varchar"), query(READ))
done(connect(), "drop operator public.= (text, varchar)",
     "create collation public.ci (provider = icu, locale = 'und@colStrength=primary;colAlternate=shifted', deterministic = false)")
for rename in ["alter table zz rename to pg_settings", "alter table pg_temp.zz rename to pg_settings"]:
    ask(rename, As(PLAIN), query("create temp table zz (name text collate public.ci)"),
        query("insert into zz values ('Search_Path')"), query(rename),
        query(NAMED.replace("application_name", "searchpath")), query(READ))
ask("made by a function", As(PLAIN), query("select public.makes_settings()"),
    query(NAMED.replace("application_name", "searchpath")), query(READ))
# The unnamed portal that was bound before another one was executed to its end.
for sets, behind in [(SETS, []), (SETS_ROLE, [USER])]:
    session = As(PLAIN)
    session.simple("set search_path = public")
    session.simple("begin")
    session.socket.sendall(parse(sets, "s") + parse("select 1", "s0") + RUNS + SYNC)
    session.until_ready()
    session.socket.sendall(bind("", "s0") + frame(b"H"))
    time.sleep(0.3)
    session.held = session.socket.recv(100)
    ask(f"bound behind: {sets}", session, execute("") + bind("", "s") + bind("q", "f") + execute("q") + SYNC, *behind, query(READ))
# Settings keep the name that a role had; what is asked within a transaction is those.
done(connect(), "alter role secret rename to was")
ask("a new name", As("other"), BEGIN, query("set session authorization postgres"), query("alter role other rename to secret"),
    query("reset session authorization"), query(READ))
done(connect(), "alter role was rename to secret")
ask("back at the end", As("secret"), BEGIN, query("set local role postgres"), query("commit"), query(READ))
ask("a cursor's role", As(PLAIN), BEGIN, query("declare c cursor for select set_config('role', 'secret', false)"),
    query("fetch all from c"), query(READ))
ask("a portal's role", As(PLAIN), BEGIN, parse("set role secret") + bind("p") + SYNC, query("select 1"),
    execute("p") + SYNC, query(READ))
ask("a name for the role's schema", As("other"), query("create schema other"),
    query("create view other.people as select * from secret.people"), query(READ))

# What everybody does.
ask("another role", As(PLAIN), query("set role other"), query("reset role"), query(READ), passes=True)
ask("another role for a while", As(PLAIN), BEGIN, query("set local role other"), query(READ), query("commit"),
    query(READ), passes=True)
for text in ["create role mig; grant mig to other; create table migrated (i int); drop table migrated; drop role mig",
             "create schema vv; create table vv.t (i int); select * from people"]:
    ask(text, As(PLAIN), query(text), passes=True)
for sets in ["select set_config('role', 'other', true)", "select set_config('search_path', 'public', false)"]:
    ask(sets, As(PLAIN), parse(sets) + bind("") + execute("") + SYNC, query(READ), passes=True)
ask("rights in a transaction", As("other"), BEGIN, query("grant usage on schema public to secret"), query(READ), passes=True)
for sets in ["set local search_path = public", "set local role other"]:
    ask(f"closed: {sets}", As(PLAIN), BEGIN, parse(sets) + bind("") + execute("") + frame(b"C", b"P\0") + SYNC, query(READ),
        passes=True)
ask("as pg_dump does", As(PLAIN), query("select pg_catalog.set_config('search_path', '', false)"),
    query(NAMED.replace("'secret'", "'me'")), query("select * from public.people"), passes=True)
ask("a level of its own", As(PLAIN), query("reset role"), BEGIN, query("set transaction isolation level serializable"),
    query(READ), passes=True)
for before in [[query("reset all")], [query("discard all")], [BEGIN, LOCAL, query("savepoint a"), query("select 1/0"),
                                                              query("rollback to a")],
               [BEGIN, query("reset search_path")], [parse("", "") + SYNC]]:
    ask("afterwards", As(PLAIN), *before, query(READ), passes=True)
session = As(PLAIN)
session.socket.sendall(query("discard all") + query(READ))
ask("at once", session, b"", b"", passes=True)
session = As(PLAIN)
ask("the unnamed statement stays", session, query("reset all"), parse(READ) + SYNC, bind("") + execute("") + SYNC,
    passes=True)
end()

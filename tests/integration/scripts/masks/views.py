"""Views over views that become something else, and what materialised views have stored of them: nothing of
that is in the statement that uses them. And columns that are called as others were."""
from judge import connect, done, end, faults, look, refused

CLEAN = "create or replace view {} as select id, note as x from plain"
SHOWS = "create or replace view {} as select id, ssn as x from users"
ASKS = "select set_config('a.b', max(x), false) as n, count(*) filter (where x like '%ssn-3') as c from {}"


def stopped(session, sql):
    if not refused(session.simple(sql)):
        faults.append(f"{sql}: not refused")
    print("refused:", sql)


def shows_nothing(session, *statements):
    for sql in statements:
        look(sql, session.simple(sql))


one, other = connect(), connect()
done(one, "create schema elsewhere")

# Over one of the same name; over a name with a quote.
for name, over in [("same", "elsewhere.same"), ('"a""b"', "over_quoted"), ("low", "middle")]:
    done(one, CLEAN.format(f"public.{name}"), f"create view {over} as {ASKS.format('public.' + name)}")
    stopped(one, SHOWS.format(f"public.{name}"))
    shows_nothing(one, f"select 1 from {over}", "show a.b")

# Made in the same text, in a transaction of another session, and in one that has just ended.
done(one, CLEAN.format("text_low"))
stopped(one, f"create view text_over as {ASKS.format('text_low')}; {SHOWS.format('text_low')}")
done(one, CLEAN.format("open_low"), "begin", f"create view open_over as {ASKS.format('open_low')}")
stopped(other, SHOWS.format("open_low"))
done(one, "commit")
stopped(other, SHOWS.format("open_low"))
shows_nothing(one, "select 1 from open_over", "show a.b")

# What was stored of a view stays sensitive, whatever that shows by then.
done(one, SHOWS.format("text_source"))
stopped(one, f"create materialized view text_store as select id, x from text_source; {CLEAN.format('text_source')}")
done(one, SHOWS.format("open_source"), "begin",
     "create materialized view open_store as select id, x from open_source")
stopped(other, CLEAN.format("open_source"))
done(one, "commit", CLEAN.format("open_source"))
shows_nothing(one, "select * from open_store")
shows_nothing(other, "select * from open_store")

# A transaction that nobody has any more.
done(one, SHOWS.format("left_source"), "begin",
     "create materialized view left_store as select id, x from left_source", CLEAN.format("left_source"))
stopped(one, "prepare transaction 'left'")
done(one, "rollback")
stopped(one, "begin; create table left_table (i int); prepare transaction 'left'")
done(one, "rollback", "begin", "insert into plain values (77, 'seventy-seven')", "prepare transaction 'left'",
     "rollback prepared 'left'")

# A column of the same name is not the same column.
done(one, "alter table users rename column email to was",
     "alter table users add column email text check (set_config('a.b', email, false) is not null)")
stopped(one, "update users set email = was where id = 3")
done(one, "alter table users rename to away", "create table users (id int primary key, email text, note text)",
     "insert into users values (3, '', 'x')")
stopped(one, "update users set email = away.was from away where away.id = 3 and users.id = 3")
stopped(one, "merge into users using away on away.id = users.id when matched then update set email = away.was")
done(one, "update users set email = email, note = 'y'",
     "insert into users values (3, 'own', 'z') on conflict (id) do update set email = excluded.email")
shows_nothing(one, "show a.b")
done(one, "drop table users", "alter table away drop column email", "alter table away rename column was to email",
     "alter table away rename to users")

# What a migration does is not stopped.
for _ in range(2):
    done(one, "begin", "create or replace view first as select id, note from plain",
         "create or replace view second as select id, note from first", "commit")
    done(other, "select * from second")

end()

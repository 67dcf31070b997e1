"""Nothing masked gets another name from a session in which it is masked: not by a view, nor by a rename, in
whatever it is wrapped. What others have named so stays covered."""
from judge import connect, done, end, faults, look, refused

one, other = connect(), connect()


def stopped(*statements):
    """All but the last are harmless."""
    done(one, *statements[:-1])
    if not refused(one.simple(statements[-1])):
        faults.append(f"{statements}: not refused")
    one.simple("rollback")
    print("refused:", statements[-1])


def passes(*statements):
    done(one, *statements)


CLEAN = "create or replace view {} as select id, note as x from plain"
SHOWS = "create or replace view {} as select id, ssn as x from users"
LETTERS = "select i, c from generate_series(1, 13) i, generate_series(32, 126) c, {} l " \
          "where l.id = 3 and ascii(substr(x, i, 1)) = c"

# Views, alone and in other statements.
stopped("create view fresh as select email from users")
stopped("create temp view fresh as select email from users")
stopped("create view fresh as select u from users u")
stopped("create view fresh as select contact_mail from v_users")
stopped("create view fresh as select mail_of(1)")
stopped("create materialized view fresh as select email from users")
stopped("create materialized view fresh as select m from mv_users with no data")
stopped("explain analyze create materialized view fresh as select email from users")
stopped("create schema inner_1 create view fresh as select email as note from users")
stopped(f"create schema inner_2 create view low (id, x) as select id, ssn from users create view over as {LETTERS.format('low')}")
stopped("create schema inner_3 create view low as select id, note as x from plain "
        f"create view over as {LETTERS.format('low')} create or replace view low (id, x) as select id, ssn from users")
stopped("select id, note into fresh from plain union all select id, ssn from users")
stopped("explain analyze (select id, note into fresh from plain) union all select id, ssn from users")
stopped(CLEAN.format("low"), "begin", f"create view over as {LETTERS.format('low')}", SHOWS.format("low"))
stopped("begin", "create schema inner_4 create view over as select max(x) from low", SHOWS.format("low"))
stopped("begin", f"explain analyze create materialized view over as {LETTERS.format('low')}", SHOWS.format("low"))
stopped(f"create view text_over as {LETTERS.format('low')}; {SHOWS.format('low')}")
stopped("create or replace view v_users as select 1 as id, ''::text as name, ''::text as contact_mail, '' as loud, 1 as size")
# What a view sets, it sets whenever somebody reads it.
stopped("create view sets as select set_config('standard_conforming_strings', 'off', false)")
stopped("create materialized view sets as select set_config('a.b', 'x', false)")
stopped("create table sets (i int, a text default set_config('standard_conforming_strings', 'off', false))")
stopped("create table sets (i int check (set_config('client_encoding', 'SJIS', false) is not null))")

# Other names and other schemas.
stopped("alter table users rename to members")
stopped("alter index users rename to members")
stopped("alter table users rename column email to mail")
stopped("alter view v_users rename to harmless")
stopped("alter view v_users rename column contact_mail to note")
stopped("alter materialized view mv_users rename column m to note")
stopped("alter table users set schema hr")
stopped("alter schema public rename to other")
stopped("alter schema hr rename to other")
stopped("alter table users add column copied text generated always as (upper(ssn)) stored")
stopped("begin", "alter table plain rename to plain_2", "alter table users rename to plain")

# What has nothing masked in it has any name, and others see that.
passes("create view open_names as select id, name from users", "alter view open_names rename to names_2",
       "alter table users rename column name to called", "alter table users rename column called to name",
       "create schema mine", "alter table plain set schema mine", "alter table mine.plain set schema public",
       "alter schema mine rename to mine_2", "drop schema mine_2",
       "alter index users_pkey rename to users_key", "alter index users_key rename to users_pkey",
       "alter table users add column age int", "alter table users drop column age",
       "create table made (i int)", "alter table made rename to made_2", "drop table made_2",
       "begin", "insert into plain values (77, 'seventy-seven')", "prepare transaction 'left'", "rollback prepared 'left'")
done(other, "select * from names_2")
for _ in range(2):
    passes("begin", CLEAN.format("first"), "create or replace view second as select id, x from first", "commit")
    done(other, "select * from second")
passes("drop view second, first, names_2")

# A column of the same name is not the same column.
stopped("begin", "alter table users add column mail text check (mail <> '')", "update users set mail = email where id = 3")
passes("create schema own", "create table own.users (id int primary key, email text, note text)",
       "insert into own.users values (3, '', 'x')")
stopped("update own.users set email = u.email from users u where u.id = 3 and own.users.id = 3")
stopped("merge into own.users o using users u on u.id = o.id when matched then update set email = u.email")
passes("insert into own.users values (3, 'own', 'z') on conflict (id) do update set email = excluded.email")
# Nor does what is hidden in a WITH query write what a mask has put there.
stopped("with x as (update users set name = '[masked]' where id = 1 returning 1) select * from x")

# A daemon with debug assertions lives through it.
one.simple("select name from pg_settings where name = 'work_mem' and set_config(name, '5000', false) is not null")
for statement in ["select * from v_users", "select contact_mail || '' from v_users", "select * from mv_users", "show a.b"]:
    look(statement, other.simple(statement))

end()
